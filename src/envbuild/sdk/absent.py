"""Absent: names that Azure ML has and envbuild has not; whoever imports one is told what there is instead."""

from __future__ import annotations

from collections.abc import Mapping

from envbuild.form import did_you_mean


def missing(module: str, name: str, absent: Mapping[str, str]) -> ImportError | AttributeError:
    """What the ``__getattr__`` of a module raises for a name that it does not have.

    :param absent: for each name that Azure has there, why it is missing and what to do about it.

    >>> raise missing("envbuild.sdk.compute", "AksCompute", {"AksCompute": "there is no Kubernetes here"})
    Traceback (most recent call last):
    ImportError: envbuild.sdk.compute has no AksCompute: there is no Kubernetes here
    """
    if name in absent:
        return ImportError(f"{module} has no {name}: {absent[name]}", name=module)
    return AttributeError(f"module {module!r} has no attribute {name!r}{did_you_mean(name, absent)}")


def lacking(kind: type, name: str, absent: Mapping[str, str]) -> AttributeError:
    """What the ``__getattr__`` of a class raises for an attribute that its objects, or it itself, do not have.

    :param absent: as in `missing`.

    >>> class Workspace: ...
    >>> raise lacking(Workspace, "tags", {"tags": "runs and models have tags"})
    Traceback (most recent call last):
    AttributeError: Workspace has no tags: runs and models have tags
    """
    if name in absent:
        return AttributeError(f"{kind.__name__} has no {name}: {absent[name]}", name=name)
    known = [each for each in dir(kind) if each[0] != "_"]
    return AttributeError(f"{kind.__name__!r} has no attribute {name!r}{did_you_mean(name, known)}", name=name)

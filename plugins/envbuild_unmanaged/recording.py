"""Recording: an interpreter in the words of a lock, and what has become of one since.

The record is an observation: nothing in it is fetched or installed, and whoever looks after the interpreter may change
it at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from envbuild import Artifact, Digest, Lock, Package
from envbuild_unmanaged.observing import Distribution, Interpreter

KIND = "unmanaged"
_PYTHON = "python"


def packages(found: Interpreter) -> tuple[Package, ...]:
    """The interpreter, and each of its distributions.

    Where it lies counts: two that have the same packages are two, since each may change without the other.
    """
    itself = Package(
        name=_PYTHON,
        version=found.version,
        kind=KIND,
        artifact=Artifact(kind="installed"),
        details={
            "executable": str(found.executable),
            "prefix": str(found.prefix),
            "implementation": found.implementation,
            "abi": found.abi,
            "platform": found.platform,
        },
    )
    return (itself, *(_package(each) for each in found.distributions if each.name != _PYTHON))


def _package(each: Distribution) -> Package:
    details = {"origin": each.origin or "", "editable": "yes" if each.editable else ""}
    return Package(
        name=each.name,
        version=each.version,
        kind=KIND,
        artifact=Artifact(kind="installed", digest=Digest(each.record) if each.record else None),
        details={key: value for key, value in details.items() if value},
    )


def differences(lock: Lock, found: Interpreter) -> Iterator[str]:
    """Say in what the interpreter is not what was recorded."""
    before = {each.name: each for each in lock.of_kind(KIND)}
    after = {each.name: each for each in packages(found)}
    for name in sorted(before.keys() | after.keys(), key=lambda name: (name != _PYTHON, name)):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            yield f"{name} {new.version} is new" if new else f"{old} is gone"
        elif old.version != new.version:
            yield f"{name} is {new.version} now, and was {old.version}"
        elif old.artifact.digest != new.artifact.digest:
            yield f"{old} has other files"
        elif old.details != new.details:
            yield "; ".join(_told(name, old.details, new.details))


def _told(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key, "not known"), new.get(key, "not known")
        if before != after:
            yield f"{key} of {name} is {after} now, and was {before}"

"""Lending: a pytest for environments that have none.

The environment stays what its lock says. What it is lent is an environment of its own, locked and built as any other,
whose packages come last on the path of a worker: whatever both have is the environment's.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from envbuild import PythonNotFound

if TYPE_CHECKING:
    from pathlib import Path

    from envbuild.lock import Lock
    from envbuild.pipeline import Prepared
    from envbuild.pytest_plugin.environments import Environments


_NAME = "lent-to-tests"


def lend(wanted: Sequence[str], prepared: Prepared, environments: Environments) -> list[Path]:
    """The folders to be put last on the path of a worker, so that it finds ``wanted``; none if it has it all.

    :param wanted: normalized names of distributions, such as ``pytest``.
    :raises EnvbuildError: they cannot be had for the environment's Python.
    """
    lock = prepared.locked.lock
    present = {canonicalize_name(each.name) for each in lock.packages}
    missing = [name for name in wanted if name not in present]
    if not missing:
        return []
    python = Version(lock.python)
    asked = [_requirement(name, python) for name in missing]
    made = _made(asked, python, (), environments)
    kept = _in_the_way(lock, made.locked.lock)
    if kept:
        # They would be found first, so what is lent has to get along with them.
        made = _made(asked, python, kept, environments)
    return [_packages(made)]


def _requirement(name: str, python: Version) -> str:
    """The version that we have ourselves, if it is for that Python, else any."""
    try:
        ours = distribution(name)
    except PackageNotFoundError:
        return name
    fits = SpecifierSet(ours.metadata["Requires-Python"] or "").contains(python, prereleases=True)
    return f"{name}=={ours.version}" if fits else name


def _made(asked: Sequence[str], python: Version, kept: Sequence[str], environments: Environments) -> Prepared:
    same = f"{python.major}.{python.minor}"
    try:
        return _ready(asked, same, kept, environments)
    except PythonNotFound:
        # What an older Python can read, a newer one can; conda's may be one that the machine does not have otherwise.
        return _ready(asked, f"<{same}", kept, environments)


def _ready(asked: Sequence[str], python: str, kept: Sequence[str], environments: Environments) -> Prepared:
    from envbuild.definition import Definition
    from envbuild.project import Project
    from envbuild.requirement import Requirement

    definition = Definition(
        name=_NAME,
        python=python,
        pip=tuple(Requirement.parse(each) for each in asked),
        constraints=tuple(Requirement.parse(each) for each in kept),
    )
    return environments.prepare(Project(definition=definition, spec=_NAME))


def _in_the_way(lock: Lock, lent: Lock) -> list[str]:
    """The packages of an environment that are others than those of the same name that it is lent."""
    present = {canonicalize_name(each.name): each.version for each in lock.packages}
    found = []
    for each in lent.packages:
        version = present.get(canonicalize_name(each.name))
        if version is not None and version != each.version:
            found.append(f"{each.name}=={version}")
    return found


def _packages(prepared: Prepared) -> Path:
    """Where the packages of an environment lie."""
    # An environment's Python is in its bin.
    prefix = prepared.image.interpreter.parents[1]
    return next(prefix.glob("lib/python3*/site-packages"))

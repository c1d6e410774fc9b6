"""Scaffolding: a plugin to begin with, as a distribution of its own that works and whose tests pass.

What is written lies in ``templates``, a file for a file, as it is but for ``$name`` and its like. A hook has a module
of its own there, and its tests, which hold it to the contract in `envbuild.testing`.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template

from envbuild.definition import OWN_SECTIONS
from envbuild.errors import EnvbuildError, Refused
from envbuild.hookspecs import API_VERSION, GROUP
from envbuild.loading import installed
from envbuild.plugins import HOOKS

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""Normalised as PEP 503 has it, and with ``_`` for ``-`` part of an identifier."""

_LONGEST = 100
_TEMPLATES = Path(__file__).with_name("templates")

_MODULES = {
    "resolve_dependencies": "resolving",
    "compute_hash": "hashing",
    "build_image": "building",
    "run_target": "running",
    "deploy_target": "deploying",
}
"""The module that each hook is in."""

_SAYS = {
    "resolve_dependencies": "pins what stands in the section `{name}`: files of the project, by their digest",
    "compute_hash": "says how packages of the kind `{name}` are laid out: another layout is another environment",
    "build_image": "puts files that are locked as packages of the kind `{name}` below `share/{name}`",
    "run_target": "the target `{name}`: a process on this machine",
    "deploy_target": "the target `{name}`: a service that is a process on this machine",
}
"""What each hook does as it is written, for the README."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written.

    :param name: the plugin's name, and that of its section or target.
    :param hooks: the hooks that it answers, in the order of the story.
    """

    name: str
    hooks: tuple[str, ...]

    @classmethod
    def of(cls, name: str, hooks: Iterable[str]) -> Plan:
        """A plan, if such a plugin can be.

        :raises EnvbuildError: the name is none for a plugin, or another plugin has it.
        """
        if not _NAME.fullmatch(name) or len(name) > _LONGEST:
            raise EnvbuildError(
                f"{name!r} is no name for a plugin",
                hint="lower-case letters, digits and single hyphens between them make one, and a letter begins it",
            )
        if name in (*OWN_SECTIONS, "python"):
            raise EnvbuildError(
                f"{name!r} is a section of definitions that is envbuild's own", hint="choose another name"
            )
        taken = {each.point.name: each.point for each in installed()}
        if name in taken:
            raise EnvbuildError(
                f"there is a plugin {name!r} already ({taken[name].value}), and one of two is not loaded",
                hint="choose another name; 'envbuild plugins' lists those that are taken",
            )
        asked = set(hooks)
        return cls(name, tuple(each for each in HOOKS if each in asked))

    @property
    def distribution(self) -> str:
        """What is installed with pip."""
        return f"{GROUP}-{self.name}"

    @property
    def package(self) -> str:
        """What is imported."""
        return self.distribution.replace("-", "_")

    def files(self) -> Iterator[tuple[str, str]]:
        """Every file of the distribution: its path, and what is in it."""
        words = self._words()
        for template, path in self._paths():
            text = (_TEMPLATES / f"{template}.in").read_text(encoding="utf-8")
            yield path, Template(text).substitute(words)

    def _paths(self) -> Iterator[tuple[str, str]]:
        for each in ("pyproject.toml", "README.md"):
            yield each, each
        modules = [_MODULES[hook] for hook in self.hooks]
        for each in ("__init__", "plugin", *modules):
            yield f"src/{each}.py", f"src/{self.package}/{each}.py"
        yield "src/py.typed", f"src/{self.package}/py.typed"
        for each in modules:
            yield f"tests/test_{each}.py", f"tests/test_{each}.py"
        if "build_image" in self.hooks:
            yield "tests/together.py", "tests/together.py"

    def _words(self) -> dict[str, str]:
        modules = [(_MODULES[hook], hook) for hook in self.hooks]
        return {
            "name": self.name,
            "distribution": self.distribution,
            "package": self.package,
            "api": str(API_VERSION),
            "answers": "\n".join(f"- `{hook}`: {_SAYS[hook].format(name=self.name)}" for hook in self.hooks),
            "imports": "\n".join(f"from {self.package}.{module} import {hook}" for module, hook in sorted(modules)),
            "names": ", ".join(f'"{hook}"' for hook in sorted(self.hooks)),
        }


def write(plan: Plan, folder: Path) -> Path:
    """Write a distribution, whole or not at all.

    :raises Refused: there is something of that name, or what would be above it is no folder.
    :raises EnvbuildError: it cannot be written there.
    """
    if os.path.lexists(folder):
        raise Refused(f"there is {folder} already", hint="say with -o where to write it, or put that away first")
    above = next(each for each in folder.parents if os.path.lexists(each))
    if not above.is_dir():
        raise Refused(f"{above} is no folder", hint="say with -o where to write it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise EnvbuildError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        for path, text in plan.files():
            file = beside / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        # What is temporary is nobody else's to read, and this is no longer.
        beside.chmod(0o777 & ~_umask())
        beside.rename(folder)
    except OSError as error:
        raise EnvbuildError(f"{folder} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _umask() -> int:
    found = os.umask(0o022)
    os.umask(found)
    return found

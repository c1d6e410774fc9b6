"""Interpreters: which Python an environment gets, and where such a one is on this machine."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envbuild import PythonNotFound
from envbuild_pip.uv import run_uv

OLDEST = Version("3.8")
"""The oldest Python that uv fills environments for, and that a run's own helpers are written for."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python on this machine."""

    version: Version
    path: Path

    def __str__(self) -> str:
        return f"{self.version} ({self.path})"


def own() -> Interpreter | None:
    """The interpreter that envbuild itself runs on, outside of any virtual environment."""
    base = getattr(sys, "_base_executable", sys.executable)
    if not base or sys.implementation.name != "cpython":
        return None
    return Interpreter(Version(platform.python_version()), Path(base).resolve())


def installed(variables: Mapping[str, str]) -> tuple[Interpreter, ...]:
    """All CPythons that uv finds here, each once, the newest first."""
    search = os.pathsep.join(_search_path(variables))
    arguments = ["python", "list", "--only-installed", "--all-versions", "--output-format", "json", "--no-config"]
    _, output, _ = run_uv(arguments, variables={**variables, "PATH": search})
    found: dict[Path, Interpreter] = {}
    for entry in json.loads(output or "[]"):
        if entry["implementation"] == "cpython" and entry.get("variant", "default") == "default" and entry["path"]:
            path = Path(entry["path"]).resolve()
            # A virtual environment's Python resolves to the one it was made from, unless it was copied.
            if not (path.parent.parent / "pyvenv.cfg").exists():
                found.setdefault(path, Interpreter(Version(entry["version"]), path))
    return tuple(sorted(found.values(), key=lambda each: (each.version, str(each.path)), reverse=True))


def choose(wanted: SpecifierSet, candidates: Iterable[Interpreter]) -> Interpreter | None:
    """The first of ``candidates`` that fits; pre-releases only where they are asked for.

    >>> here = [Interpreter(Version(v), Path(v)) for v in ("3.14.0rc1", "3.13.0", "3.12.1")]
    >>> str(choose(SpecifierSet(">=3.10"), here).version), choose(SpecifierSet("==3.9.*"), here)
    ('3.13.0', None)
    """
    early = bool(wanted.prereleases)
    fitting = (each for each in candidates if wanted.contains(each.version, prereleases=early))
    return next((each for each in fitting if each.version >= OLDEST), None)


def exactly(version: str, variables: Mapping[str, str]) -> Interpreter | None:
    """A Python of that very version, to the patch."""
    mine = own()
    if mine and mine.version == Version(version):
        return mine
    return next((each for each in installed(variables) if each.version == Version(version)), None)


def find(wanted: SpecifierSet, asked: str, variables: Mapping[str, str]) -> Interpreter:
    """A Python that fits; our own where it does, since that is one that surely works.

    :param asked: what the user wrote, for the message.
    :raises PythonNotFound: none fits; the message lists those that were found.
    """
    mine = own()
    found = choose(wanted, [mine] if mine else [])
    if found:
        return found
    candidates = installed(variables)
    found = choose(wanted, candidates)
    if found:
        return found
    listed = ", ".join(str(each) for each in candidates if each.version >= OLDEST) or "none"
    raise PythonNotFound(
        f"no Python on this machine fits {asked!r}; found: {listed}", hint=_instead(wanted, asked, candidates)
    )


def _instead(wanted: SpecifierSet, asked: str, candidates: Sequence[Interpreter]) -> str:
    """What to do where no Python fits."""
    if not any(wanted.contains(f"3.{minor}.{patch}") for minor in range(OLDEST.minor, 100) for patch in range(100)):
        return f"Python {OLDEST} is the oldest that environments may have: ask for another in the definition"
    exact = next((str(each.version) for each in wanted if each.operator == "=="), "")
    minor = ".".join(exact.split(".")[:2])
    near = [each for each in candidates if minor and str(each.version).startswith(f"{minor}.")]
    if near and exact.count(".") > 1:
        return f"ask for any {minor} (python={minor}), which {near[0].version} is, or install {exact}"
    return f"install one ('uv python install {_example(asked)}' does), or ask for another in the definition"


def latest_known(wanted: SpecifierSet, variables: Mapping[str, str]) -> Version | None:
    """The newest release that uv knows of and that fits, for a machine other than this one."""
    arguments = ["python", "list", "--all-versions", "--all-platforms", "--output-format", "json", "--no-config"]
    _, output, _ = run_uv([*arguments, "--offline"], variables=variables)
    known = {Version(entry["version"]) for entry in json.loads(output or "[]") if entry["implementation"] == "cpython"}
    fitting = [version for version in known if version in wanted and not version.is_prerelease and version >= OLDEST]
    return max(fitting, default=None)


def _search_path(variables: Mapping[str, str]) -> list[str]:
    """PATH with what is behind pyenv's shims in their place: they answer for Pythons that they refuse to start."""
    pyenv = Path(variables.get("PYENV_ROOT") or Path(variables.get("HOME", "/")) / ".pyenv")
    folders = [each for each in variables.get("PATH", "").split(os.pathsep) if each and Path(each) != pyenv / "shims"]
    versions = sorted(pyenv.glob("versions/*/bin")) if pyenv.is_dir() else []
    return [*folders, *(str(each) for each in versions)]


def _example(asked: str) -> str:
    digits = asked.lstrip("=<>~! ").split(",")[0].removesuffix(".*")
    return digits or "3.12"

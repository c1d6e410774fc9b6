"""Observing: finding the interpreter that a definition names, and asking it what it is and what it has."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import Version

from envbuild import Definition, EnvbuildError, PythonNotFound, run_program, without_credentials

OLDEST = Version("3.8")
"""The oldest Python that a run's own helpers are written for."""

_PROBE = Path(__file__).with_name("probe.py")
_PATIENCE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """What an interpreter can import, by the name that it was installed under.

    :param record: a digest over what its RECORD says of its files, where it has one.
    :param origin: the URL that it was installed from, where that was no index.
    :param editable: its files are not in the interpreter's folders.
    :param scripts: the programs that it brings.
    """

    name: str
    version: str
    record: str | None = None
    origin: str | None = None
    editable: bool = False
    scripts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python as it was found.

    :param executable: how it is started, as its own environment has it: where that is a link, it is none of its target.
    :param prefix: the folder of its environment.
    :param scripts: the folder of its programs.
    :param virtual: whether it is that of a virtual environment; ``conda``, of one that conda has made.
    """

    version: str
    executable: Path
    prefix: Path
    scripts: Path
    virtual: bool
    conda: bool
    implementation: str
    abi: str
    platform: str
    distributions: tuple[Distribution, ...]

    @property
    def is_its_own(self) -> bool:
        """Whether the folder of its programs holds no others, as that of a system does."""
        return self.virtual or self.conda


def observe(definition: Definition, variables: Mapping[str, str]) -> Interpreter:
    """Find the interpreter that ``definition`` names, and ask it.

    :raises PythonNotFound: there is none, it is none, it is too old, or another than the definition asks for.
    """
    root = definition.root or Path.cwd()
    told = _ask(find(str(definition.interpreter), root, variables), root, variables)
    version = Version(told["version"])
    if version < OLDEST:
        raise PythonNotFound(
            f"{told['executable']} is Python {version}, and {OLDEST} is the oldest that envbuild runs",
            hint="name another interpreter",
        )
    if not definition.python_range.contains(version, prereleases=True):
        raise PythonNotFound(
            f"{told['executable']} is Python {version}, and the definition asks for {definition.python}",
            hint="name another interpreter, or do not say which Python it has to be",
        )
    return Interpreter(
        version=str(version),
        executable=Path(told["executable"]),
        prefix=Path(told["prefix"]),
        scripts=Path(told["scripts"]),
        virtual=told["virtual"],
        conda=told["conda"],
        implementation=told["implementation"],
        abi=told["abi"],
        platform=told["platform"],
        distributions=tuple(_distribution(each) for each in told["distributions"]),
    )


def find(asked: str, root: Path, variables: Mapping[str, str]) -> Path:
    """The program that ``asked`` stands for: a name on the path, a program, or the folder of an environment.

    :raises PythonNotFound: there is none.
    """
    if "/" not in asked and not asked.startswith("~"):
        # An empty PATH is one that has nothing, and not one that was forgotten.
        found = shutil.which(asked, path=variables.get("PATH", os.defpath))
        if found is None:
            folder = _in_folder(root / asked)
            hint = f"for that folder, write ./{asked}" if folder else "name its path, or activate what it belongs to"
            raise PythonNotFound(f"no program {asked!r} is on PATH", hint=hint)
        return root / found
    # Links stay as they are: that of a virtual environment leads out of it.
    place = Path(os.path.normpath(root / Path(asked).expanduser()))
    if place.is_dir():
        inside = _in_folder(place)
        if inside is None:
            raise PythonNotFound(f"{place} is no environment: it has no bin/python", hint="name its Python")
        return inside
    if not place.is_file():
        raise PythonNotFound(f"there is no Python at {place}", hint="put it back, or name another interpreter")
    return place


def _in_folder(folder: Path) -> Path | None:
    return next((each for name in ("python", "python3") if (each := folder / "bin" / name).is_file()), None)


def _ask(program: Path, root: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    # Isolated, so that nothing of ours is taken for its own; and it leaves no compiled code behind.
    command = [str(program), "-I", "-B", str(_PROBE)]
    try:
        done = run_program(command, variables=variables, directory=root, timeout=_PATIENCE)
        told = json.loads(done.stdout)
    except (EnvbuildError, OSError, ValueError) as error:
        complaint = done.stderr.strip().splitlines() if isinstance(error, ValueError) else [str(error)]
        if "Unknown option: -I" in complaint:
            raise PythonNotFound(f"{program} is older than Python {OLDEST}", hint="name another interpreter") from error
        said = f" ({complaint[-1]})" if complaint else ""
        raise PythonNotFound(f"{program} is no Python that can be used{said}", hint="name another") from error
    if not isinstance(told, dict) or "version" not in told:
        raise PythonNotFound(f"{program} is no Python: it answers something else", hint="name another")
    return told


def _distribution(told: Mapping[str, Any]) -> Distribution:
    origin = told["origin"]
    return Distribution(
        name=told["name"],
        version=told["version"],
        record=told["record"],
        origin=_place(origin) if origin else None,
        editable=bool(origin and origin["editable"]),
        scripts=tuple(told["scripts"]),
    )


def _place(origin: Mapping[str, Any]) -> str:
    # What stands behind a question mark is a token more often than not.
    url = without_credentials(origin["url"]).partition("?")[0]
    kind = f"{origin['vcs']}+" if origin["vcs"] else ""
    return f"{kind}{url}" + (f"@{origin['commit']}" if origin["commit"] else "")

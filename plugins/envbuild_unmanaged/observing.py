"""Observing: finding the interpreter that a definition names, and asking it what it is and what it has."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from envbuild import Definition, EnvbuildError, PythonNotFound, run_program, without_credentials

OLDEST = Version("3.8")
"""The oldest Python that a run's own helpers are written for."""

_PROBE = Path(__file__).with_name("probe.py")
_PATIENCE = 60
_EXCERPT = 120

_INTERPRETER = {
    "executable": str,
    "prefix": str,
    "scripts": str,
    "virtual": bool,
    "conda": bool,
    "implementation": str,
    "abi": str,
    "platform": str,
    "distributions": list,
}
_DISTRIBUTION = {"name": str, "version": str, "record": str | None, "origin": dict | None, "scripts": list}
_ORIGIN = {"url": str, "vcs": str, "commit": str, "editable": bool}
_RECORD = re.compile("[0-9a-f]{64}")


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
    program = find(str(definition.interpreter), root, variables)
    told = _ask(program, root, variables)
    try:
        version = Version(told["version"])
    except (KeyError, TypeError, InvalidVersion) as error:
        raise _no_python(program, json.dumps(told)) from error
    if version < OLDEST and isinstance(told.get("executable"), str):
        raise PythonNotFound(
            f"{told['executable']} is Python {version}, and {OLDEST} is the oldest that envbuild runs",
            hint="name another interpreter",
        )
    if not _is_whole(told):
        raise _no_python(program, json.dumps(told))
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
    # Nobody else who prints as this Python starts or ends knows the word that its answer stands behind.
    word = secrets.token_hex(8)
    # Isolated, so that nothing of ours is taken for its own; and it leaves no compiled code behind.
    command = [str(program), "-I", "-B", str(_PROBE), word]
    try:
        done = run_program(command, variables=variables, directory=root, timeout=_PATIENCE)
    except (EnvbuildError, OSError, ValueError) as error:
        raise PythonNotFound(f"{program} is no Python that can be used ({error})", hint="name another") from error
    complaint = done.stderr.strip().splitlines()
    if "Unknown option: -I" in complaint:
        raise PythonNotFound(f"{program} is older than Python {OLDEST}", hint="name another interpreter")
    answer = done.stdout.partition(word)[2]
    try:
        told, _ = json.JSONDecoder().raw_decode(answer)
    except (ValueError, RecursionError) as error:
        if complaint:
            said = _excerpt(complaint[-1])
            raise PythonNotFound(f"{program} is no Python that can be used ({said})", hint="name another") from error
        raise _no_python(program, answer or done.stdout) from error
    if not isinstance(told, dict):
        raise _no_python(program, answer)
    return told


def _no_python(program: Path, answer: str) -> PythonNotFound:
    said = _excerpt(answer)
    return PythonNotFound(f"{program} is no Python: it answers {said or 'nothing'}", hint="name another")


def _excerpt(text: str) -> str:
    line = " ".join("".join(each if each.isprintable() else " " for each in text[:1000]).split())
    return line if len(line) <= _EXCERPT else f"{line[:_EXCERPT]}…"


def _is_whole(told: Mapping[str, Any]) -> bool:
    """Whether an answer has all that ours has, and nothing that could not be recorded."""
    return _has(told, _INTERPRETER) and all(
        _has(each, _DISTRIBUTION)
        and (each["record"] is None or _RECORD.fullmatch(each["record"]))
        and (each["origin"] is None or _has(each["origin"], _ORIGIN))
        and all(isinstance(script, str) for script in each["scripts"])
        for each in told["distributions"]
    )


def _has(told: object, kinds: Mapping[str, Any]) -> bool:
    return isinstance(told, dict) and all(key in told and isinstance(told[key], kind) for key, kind in kinds.items())


def _distribution(told: Mapping[str, Any]) -> Distribution:
    origin = told["origin"]
    return Distribution(
        name=_text(told["name"]),
        version=_text(told["version"]),
        record=told["record"],
        origin=_place(origin) if origin else None,
        editable=bool(origin and origin["editable"]),
        scripts=tuple(told["scripts"]),
    )


def _text(told: str) -> str:
    # Of bytes that are no text, nothing can be written into a lock.
    return told.encode(errors="replace").decode()


def _place(origin: Mapping[str, Any]) -> str:
    # What stands behind a question mark is a token more often than not.
    url = without_credentials(_text(origin["url"])).partition("?")[0]
    kind = f"{_text(origin['vcs'])}+" if origin["vcs"] else ""
    return f"{kind}{url}" + (f"@{_text(origin['commit'])}" if origin["commit"] else "")

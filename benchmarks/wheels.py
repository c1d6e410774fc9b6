"""Wheels: what does it cost that a build backend does more than hatchling?

Each row is a process of its own that does what front ends ask of a backend, for a project of one module.
"""

from __future__ import annotations

import sys
import zipfile
from dataclasses import replace
from pathlib import Path

from benchmarks.hashing import lock_of
from benchmarks.measuring import CommandFailed, Contender, Section, Taken, in_turns
from benchmarks.place import Place, write

ROUNDS = 25

_OURS, _THEIRS = "envbuild.backend", "hatchling.build"
_LOCKED = f"{_OURS}, with a lock of 50 packages"

_IMPORTING = "Importing a build backend"
_ASKING = "Asking what building a wheel requires"
_WHEEL = "Building a wheel"
_SDIST = "Building an sdist"
_STEPS = {
    _IMPORTING: "",
    _ASKING: "; backend.get_requires_for_build_wheel()",
    _WHEEL: "; backend.build_wheel(sys.argv[1])",
    _SDIST: "; backend.build_sdist(sys.argv[1])",
}

_PROJECT = """\
[build-system]
requires = ["envbuild[backend]"]
build-backend = "envbuild.backend"

[project]
name = "small"
version = "1.0"
"""


def measure(place: Place, rounds: int) -> list[Section]:
    """Take each step with both backends; a lock counts only where something is built."""
    plain, locked = _project(place), _locked(_project(place))
    out = place.folder("dist")
    found = []
    for title, step in _STEPS.items():
        contenders = [
            _contender(place, each, f"import sys, {each} as backend{step}", plain, out) for each in (_OURS, _THEIRS)
        ]
        if title in (_WHEEL, _SDIST):
            contenders.append(_contender(place, _LOCKED, f"import sys, {_OURS} as backend{step}", locked, out))
        contenders.append(_contender(place, "python -c pass", "pass", plain, out))
        rows = in_turns(contenders, rounds)
        found.append(Section(title=f"{title}, {rounds} rounds", subject=_OURS, rows=rows))
        if title == _WHEEL:
            _check(out)
    return found


def _contender(place: Place, name: str, program: str, folder: Path, out: Path) -> Contender:
    def act() -> Taken:
        return place.take(sys.executable, "-c", program, out, directory=folder)

    return Contender(name=name, act=act)


def _project(place: Place) -> Path:
    folder = place.folder("project")
    (folder / "small.py").write_text("x = 1\n", encoding="utf-8")
    (folder / "pyproject.toml").write_text(_PROJECT, encoding="utf-8")
    return folder


def _locked(folder: Path) -> Path:
    """Give the project a lock that is really compared with it."""
    from envbuild import reading
    from envbuild.fingerprint import lock_document

    made_from = lock_document(reading.read(folder / "pyproject.toml")).digest
    lock = replace(lock_of(50), definition="pyproject.toml", made_from=made_from)
    return write(folder, pylock_toml=lock.to_toml())


def _check(out: Path) -> None:
    """See to it that the last wheel has what only envbuild adds: the one with the lock was built last."""
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        if not any("/sboms/" in name for name in archive.namelist()):
            raise CommandFailed(f"{wheel.name} does not say in which environment it was tested")

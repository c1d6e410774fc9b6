"""Running: how long does a script that does nothing take, in an environment that is there?

The script is ``pass``, the project has one small dependency, and everything was run before. envbuild also
records the run, which none of the others does; that it did is checked.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

from benchmarks.measuring import CommandFailed, Contender, Row, Section, Taken, in_turns
from benchmarks.place import Place, own_repository, write

ROUNDS = 25

_WARM = "envbuild run s.py"
_SCRIPT = "pass\n"
_PROJECT = """\
[project]
name = "small"
version = "1"
requires-python = ">=3.11"
dependencies = ["iniconfig"]
"""
_TOX = """\
[tox]
no_package = true
[testenv:s]
deps = iniconfig
commands = python s.py
"""
_NOX = """\
import nox

@nox.session
def s(session):
    session.install("iniconfig")
    session.run("python", "s.py")
"""
_HATCH = """\
[tool.hatch.envs.s]
detached = true
dependencies = ["iniconfig"]
"""


def measure(place: Place, rounds: int) -> list[Section]:
    """Run the script by all means there are."""
    folders = [_envbuild_project(place, name) for name in ("warm", "afresh", "edited")]
    peers, missing = _peers(place)
    contenders = [*_envbuild(place, *folders), *_uv(place), *peers]
    before = sum(_recorded(place, each) for each in folders)
    rows = in_turns(contenders, rounds)
    added = sum(_recorded(place, each) for each in folders) - before
    if added != len(folders) * rounds:
        raise CommandFailed(f"{len(folders) * rounds} runs by envbuild left {added} records")
    return [
        Section(
            title=f"Running `pass` in an environment that is there, {rounds} rounds",
            subject=_WARM,
            rows=[*rows, *missing],
            notes=(
                f"'envbuild runs list' has {added} more runs than before: each of them was recorded.",
                "afresh: without the stamp that a repetition relies on; definition and lock are read again.",
                "edited: s.py was changed just before; the snapshot is another one each time.",
            ),
        )
    ]


def _peers(place: Place) -> tuple[list[Contender], list[Row]]:
    makers = {"tox": _tox, "nox": _nox, "hatch": _hatch}
    found = {name: place.program(name) for name in makers}
    there = [makers[name](place, program) for name, program in found.items() if program]
    return there, [Row(name, missing="could not be installed") for name, program in found.items() if not program]


def _envbuild(place: Place, warm: Path, afresh: Path, edited: Path) -> list[Contender]:
    numbers = count()
    stamps = Path(_workspace(afresh)["ENVBUILD_WORKSPACE"]) / "warm"

    def edit() -> None:
        (edited / "s.py").write_text(f"{next(numbers)}\n", encoding="utf-8")

    return [
        Contender(name=_WARM, act=_run(place, warm)),
        Contender(name=f"{_WARM}, afresh", act=_run(place, afresh), prepare=lambda: shutil.rmtree(stamps)),
        Contender(name=f"{_WARM}, edited", act=_run(place, edited), prepare=edit),
    ]


def _envbuild_project(place: Place, name: str) -> Path:
    folder = write(place.folder(f"envbuild-{name}"), s_py=_SCRIPT, pyproject_toml=_PROJECT)
    place.set_up(place.envbuild, "lock", directory=folder, variables=_workspace(folder))
    own_repository(place, folder)
    # Files that were changed a moment ago are not relied on, so a stamp may only be left by a later run.
    for _ in range(3):
        place.set_up(place.envbuild, "run", "s.py", directory=folder, variables=_workspace(folder))
    if not any((Path(_workspace(folder)["ENVBUILD_WORKSPACE"]) / "warm").iterdir()):
        raise CommandFailed("three runs of envbuild left nothing that a fourth could rely on")
    return folder


def _workspace(folder: Path) -> dict[str, str]:
    return {"ENVBUILD_WORKSPACE": f"{folder}.workspace"}


def _run(place: Place, folder: Path) -> Callable[[], Taken]:
    return lambda: place.take(place.envbuild, "run", "s.py", directory=folder, variables=_workspace(folder))


def _recorded(place: Place, folder: Path) -> int:
    command = (place.envbuild, "runs", "list", "--limit", "1000000", "--json")
    return len(json.loads(place.told(*command, directory=folder, variables=_workspace(folder))[1]))


def _uv(place: Place) -> list[Contender]:
    folder = write(place.folder("uv"), s_py=_SCRIPT, pyproject_toml=_PROJECT)
    place.set_up(place.uv, "sync", "--quiet", "--python", place.python, directory=folder)
    return [
        _contender(place, folder, "bare .venv/bin/python s.py", folder / ".venv" / "bin" / "python", "s.py"),
        _contender(place, folder, "uv run s.py", place.uv, "run", "s.py"),
        _contender(place, folder, "uv run --frozen --offline s.py", place.uv, "run", "--frozen", "--offline", "s.py"),
    ]


def _tox(place: Place, program: Path) -> Contender:
    folder = write(place.folder("tox"), s_py=_SCRIPT, tox_ini=_TOX)
    words = ("run", "-q", "-e", "s", "--skip-pkg-install")
    # The first run is the one that installs what the environment needs.
    place.set_up(program, *words[:-1], directory=folder)
    return _contender(place, folder, "tox run -q --skip-pkg-install", program, *words)


def _nox(place: Place, program: Path) -> Contender:
    folder = write(place.folder("nox"), s_py=_SCRIPT, noxfile_py=_NOX)
    place.set_up(program, directory=folder)
    return _contender(place, folder, "nox -R", program, "-R")


def _hatch(place: Place, program: Path) -> Contender:
    folder = write(place.folder("hatch"), s_py=_SCRIPT, pyproject_toml=_PROJECT + _HATCH)
    return _contender(place, folder, "hatch run s:python -c pass", program, "run", "s:python", "-c", "pass")


def _contender(place: Place, folder: Path, name: str, *words: str | Path) -> Contender:
    place.set_up(*words, directory=folder)
    return Contender(name=name, act=lambda: place.take(*words, directory=folder))

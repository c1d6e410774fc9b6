"""Running: how long does a script that does nothing take, in an environment that is there?

The script is ``pass``, the project has one small dependency, and everything was run before. envbuild also
records the run, which none of the others does; that it did is checked.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measuring import CommandFailed, Contender, Row, Section, in_turns
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
    project = _envbuild_project(place)
    contenders, rows = [*_envbuild(place, project), *_uv(place)], []
    for name, make in _PEERS.items():
        program = place.program(name.split()[0])
        if program:
            contenders.append(make(place, program, name))
        else:
            rows.append(Row(name, missing=f"{name.split()[0]} could not be installed"))
    before = _recorded(place, project)
    rows = in_turns(contenders, rounds) + rows
    added = _recorded(place, project) - before
    if added != 3 * rounds:
        raise CommandFailed(f"{3 * rounds} runs by envbuild left {added} records")
    return [
        Section(
            title=f"Running `pass` in an environment that is there, {rounds} rounds",
            subject=_WARM,
            rows=rows,
            notes=(
                f"'envbuild runs list' has {added} more runs than before: each of them was recorded.",
                "afresh: without the stamp that a repetition relies on, so the definition and lock are read again.",
                "edited: s.py was changed just before, so the snapshot is another one each time.",
            ),
        )
    ]


def _envbuild_project(place: Place) -> Path:
    folder = write(place.folder("running/envbuild"), s_py=_SCRIPT, pyproject_toml=_PROJECT)
    place.set_up(place.envbuild, "lock", directory=folder)
    own_repository(place, folder)
    for _ in range(3):
        # A file that was changed a moment ago is looked at again, so the first run leaves no stamp.
        place.set_up(place.envbuild, "run", "s.py", directory=folder)
    return folder


def _envbuild(place: Place, folder: Path) -> list[Contender]:
    def run() -> Contender:
        raise NotImplementedError

    act = lambda: place.take(place.envbuild, "run", "s.py", directory=folder)  # noqa: E731
    warm = place.work / "workspace" / "warm"
    script = folder / "s.py"
    count = iter(range(1_000_000))
    back = lambda: (script.write_text(_SCRIPT), act())  # noqa: E731
    del run, back
    return [
        Contender(name=_WARM, act=act),
        Contender(name="envbuild run s.py, afresh", act=act, prepare=lambda: shutil.rmtree(warm, ignore_errors=True)),
        Contender(
            name="envbuild run s.py, edited",
            act=act,
            prepare=lambda: script.write_text(f"{next(count)}\n", encoding="utf-8"),
        ),
    ]


def _recorded(place: Place, folder: Path) -> int:
    listed = place.set_up(place.envbuild, "runs", "list", "--limit", "1000000", "--json", directory=folder)
    return len(json.loads(listed))


def _uv(place: Place) -> list[Contender]:
    folder = write(place.folder("running/uv"), s_py=_SCRIPT, pyproject_toml=_PROJECT)
    place.set_up(place.uv, "sync", "--quiet", "--python", place.python, directory=folder)
    ways: dict[str, Sequence[str | Path]] = {
        "bare .venv/bin/python s.py": (folder / ".venv" / "bin" / "python", "s.py"),
        "uv run s.py": (place.uv, "run", "s.py"),
        "uv run --frozen --offline s.py": (place.uv, "run", "--frozen", "--offline", "s.py"),
    }
    return [Contender(name=name, act=_command(place, folder, way)) for name, way in ways.items()]


def _command(place: Place, folder: Path, words: Sequence[str | Path]) -> Callable[[], object]:
    place.set_up(*words, directory=folder)
    return lambda: place.take(*words, directory=folder)

"""Starting: how long does a command take that does next to nothing, and how much of it is importing?"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.measuring import Contender, Row, Section, in_turns
from benchmarks.place import Place

ROUNDS = 25

_SUBJECT = "envbuild --version"


def measure(place: Place, rounds: int) -> list[Section]:
    """Start everything that can be started."""
    folder = place.folder("starting")
    own: dict[str, tuple[str | Path, ...]] = {
        "python -c pass": (sys.executable, "-c", "pass"),
        'python -c "import envbuild"': (sys.executable, "-c", "import envbuild"),
        _SUBJECT: (place.envbuild, "--version"),
        "envbuild run --help": (place.envbuild, "run", "--help"),
        "envbuild runs list (none)": (place.envbuild, "runs", "list"),
        "envbuild plugins": (place.envbuild, "plugins"),
    }
    programs = {f"{name} --version": place.program(name) for name in ("uv", "pip", "tox", "nox", "hatch")}
    words = own | {name: (program, "--version") for name, program in programs.items() if program}
    contenders = [_contender(place, folder, name, *words[name]) for name in words]
    missing = [Row(name, missing="could not be installed") for name, program in programs.items() if not program]
    return [
        Section(
            title=f"Starting, {rounds} rounds",
            subject=_SUBJECT,
            rows=[*in_turns(contenders, rounds), *missing],
        )
    ]


def _contender(place: Place, folder: Path, name: str, *words: str | Path) -> Contender:
    return Contender(name=name, act=lambda: place.take(*words, directory=folder))

"""Listing: how long does a full catalogue take to look through?

Ten thousand versions of a hundred names, put there through the catalogue's own functions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.measuring import CommandFailed, Contender, Row, Section, in_turns
from benchmarks.place import Place

ROUNDS = 12

_SUBJECT = "envbuild env list"
_NAMES = 100


def measure(place: Place, rounds: int) -> list[Section]:
    """List names, versions and runs, and compare with what only starts."""
    versions = 200 if place.quick else 10_000
    folder = place.folder("listing")
    workspace = {"ENVBUILD_WORKSPACE": str(folder)}
    _fill(folder, versions)
    ways: dict[str, tuple[str | Path, ...]] = {
        _SUBJECT: (place.envbuild, "env", "list"),
        "envbuild env list NAME": (place.envbuild, "env", "list", "name-007"),
        "envbuild env list --all --limit 50": (place.envbuild, "env", "list", "--all", "--limit", "50"),
        "envbuild env list --all": (place.envbuild, "env", "list", "--all"),
        "envbuild env list --all --json": (place.envbuild, "env", "list", "--all", "--json"),
        "python -c pass": (sys.executable, "-c", "pass"),
    }
    _, told = place.told(*ways["envbuild env list --all --json"], directory=folder, variables=workspace)
    if len(json.loads(told)) != versions:
        raise CommandFailed(f"{len(json.loads(told))} of {versions} versions were listed")
    pip = place.program("pip")
    ways |= {"pip list": (pip, "list")} if pip else {}
    rows = in_turns([_contender(place, folder, workspace, name, *ways[name]) for name in ways], rounds)
    missing = [] if pip else [Row("pip list", missing="could not be installed")]
    title = f"Listing {versions} versions of {_NAMES} names, {rounds} rounds"
    return [Section(title=title, subject=_SUBJECT, rows=[*rows, *missing])]


def _contender(place: Place, folder: Path, workspace: dict[str, str], name: str, *words: str | Path) -> Contender:
    return Contender(name=name, act=lambda: place.take(*words, directory=folder, variables=workspace))


def _fill(workspace: Path, versions: int) -> None:
    from envbuild import Digest
    from envbuild.workspace import Workspace

    catalogue = Workspace(workspace).catalogue
    with catalogue.transaction():
        for number in range(versions):
            name = f"name-{number % _NAMES:03}"
            digest = Digest.of(str(number).encode())
            catalogue.register(name, digest, description=f"the environment of team {number % 7}")
    catalogue.close()

"""Sharing: what does the second project with the same lock cost?

Of envbuild it gets the environment that there is; of uv another one, however quickly. In the same table: a project
whose environment is there already, which is what every build but the first is.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.building import project, uv_prefix
from benchmarks.measuring import Contender, Section, Taken, in_turns
from benchmarks.place import Place

ROUNDS = 10

_SECOND = "envbuild build, in a second project"


def measure(place: Place, rounds: int) -> list[Section]:
    """Let both make a copied project usable."""
    workspace = place.folder("workspace")
    first = project(place, workspace)
    given = {"ENVBUILD_WORKSPACE": str(workspace)}

    def copied() -> Path:
        return Path(shutil.copytree(first, place.folder("second"), dirs_exist_ok=True))

    def build(folder: Path) -> Taken:
        return place.take(place.envbuild, "build", "-q", directory=folder, variables=given)

    def uv(folder: Path) -> Taken:
        venv, sync = uv_prefix(place, folder / "pylock.toml", folder / ".venv")
        return venv + sync

    contenders = [
        Contender(name=_SECOND, act=lambda: build(copied())),
        Contender(name="envbuild build, in the same project again", act=lambda: build(first)),
        Contender(name="uv venv + uv pip sync --offline, in a second project", act=lambda: uv(copied())),
    ]
    rows = in_turns(contenders, rounds)
    images = len(list((workspace / "store" / "images").iterdir()))
    return [
        Section(
            title=f"A second project with the same lock, {rounds} rounds",
            subject=_SECOND,
            rows=rows,
            notes=(f"The store holds {images} environment after {rounds} second projects.",),
        )
    ]

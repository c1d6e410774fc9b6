"""Building: how long does an environment take whose packages uv has in its cache?

scikit-learn and pandas with all that they need, from one lock; nothing is fetched and nothing resolved. envbuild
builds into a store that lacks the environment each time, so it checks, seals and publishes it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from benchmarks.measuring import CommandFailed, Contender, Row, Section, Taken, in_turns, timed
from benchmarks.place import Place, write

ROUNDS = 7

_STEP = "envbuild build, only the building"
_WHOLE = "envbuild build, the whole command"
_UV = "uv venv + uv pip sync --offline"
_PACKAGES = ("scikit-learn", "pandas")


def project(place: Place, workspace: Path) -> Path:
    """Make a project with the packages of this benchmark, locked and built in ``workspace``."""
    packages = "iniconfig\n" if place.quick else "".join(f"{each}\n" for each in _PACKAGES)
    folder = write(place.folder("project"), requirements_txt=packages)
    place.set_up(place.envbuild, "build", directory=folder, variables={"ENVBUILD_WORKSPACE": str(workspace)})
    return folder


def uv_prefix(place: Place, lock: Path, prefix: Path) -> tuple[Taken, Taken]:
    """Make an environment by uv alone: what ``uv venv`` took, and ``uv pip sync``."""
    here = lock.parent
    venv = place.take(place.uv, "venv", "--quiet", "--relocatable", "--python", place.python, prefix, directory=here)
    asked = ("--quiet", "--offline", "--preview-features=pylock", f"--python={prefix / 'bin' / 'python'}")
    return venv, place.take(place.uv, "pip", "sync", *asked, lock, directory=here)


def measure(place: Place, rounds: int) -> list[Section]:
    """Build the same by envbuild, by uv and by pip."""
    first = place.folder("first")
    folder = project(place, first)
    lock = folder / "pylock.toml"
    files = sum(len(names) for _, _, names in os.walk(_prefix(first)))
    uv_prefix(place, lock, place.folder("warm-up") / "prefix")
    rows, steps, parts = _take_turns(place, first, folder, rounds)
    seal = Row("of envbuild's: seal what was installed", tuple(_seal(_prefix(first)) for _ in range(rounds)))
    by_name = {row.name: row for row in [*rows, *parts, seal]}
    built = Row.of_seconds(_STEP, steps)
    left = built.wall - by_name[_UV].wall - seal.wall
    notes = (
        f"{files} files; the same lock and uv cache; a store without this environment, or an empty folder, each time.",
        f"{built.wall / by_name[_UV].wall:.2f} × uv alone for the building (the aim is 1.05); what is more than uv's: "
        f"{seal.wall * 1e3:.0f} ms sealing, {left * 1e3:.0f} ms all else (publishing, starting uv twice, locks).",
        f"{(by_name[_WHOLE].wall - built.wall) * 1e3:.0f} ms of the whole command are not building: "
        "starting, imports, plugins, reading the definition and its lock, recording the resolution.",
        "pip gets a venv without pip in it and a folder with the wheels, so that it needs no index.",
    )
    title = f"Building from a warm cache: {', '.join(_PACKAGES) if not place.quick else 'iniconfig'}, {rounds} rounds"
    return [Section(title=title, subject=_WHOLE, rows=[rows[0], built, *rows[1:], *parts, seal], notes=notes)]


def _take_turns(place: Place, workspace: Path, folder: Path, rounds: int) -> tuple[list[Row], list[float], list[Row]]:
    steps: list[float] = []
    parts: dict[str, list[Taken]] = {"of uv's: uv venv": [], "of uv's: uv pip sync": []}

    def envbuild() -> Taken:
        # The store has been used before, as a user's has, but lacks this environment; moved away, since removing it
        # would slow down whoever comes next.
        _prefix(workspace).parent.rename(place.folder("aside") / "image")
        given = {"ENVBUILD_WORKSPACE": str(workspace)}
        taken, told = place.told(place.envbuild, "build", "--json", "-q", directory=folder, variables=given)
        result = json.loads(told)
        if not result["built"]:
            raise CommandFailed("nothing was built")
        steps.append(result["seconds"]["building"])
        return taken

    def uv() -> Taken:
        both = uv_prefix(place, folder / "pylock.toml", place.folder("uv") / "prefix")
        for found, taken in zip(parts.values(), both, strict=True):
            found.append(taken)
        return both[0] + both[1]

    contenders = [
        Contender(name=_WHOLE, act=envbuild),
        Contender(name=_UV, act=uv),
    ]
    program = place.program("pip")
    if program:
        contenders.append(_pip(place, program, folder))
    rows = in_turns(contenders, rounds)
    if not program:
        rows.append(Row("pip install", missing="could not be installed"))
    return rows, steps, [Row(name, tuple(found)) for name, found in parts.items()]


def _pip(place: Place, program: Path, folder: Path) -> Contender:
    wheels, pins = place.folder("wheels"), _pins(folder)
    place.set_up(program, "download", "--quiet", "--no-deps", *pins, "--dest", wheels, directory=folder)

    def act() -> Taken:
        prefix = place.folder("pip") / "prefix"
        python = prefix / "bin" / "python"
        made = place.take(place.python, "-m", "venv", "--without-pip", prefix, directory=folder)
        asked = ("--quiet", "--no-deps", "--no-compile", "--no-index", "--find-links", wheels)
        return made + place.take(program, "--python", python, "install", *asked, *pins, directory=folder)

    # It is slower by so much that one round in four tells enough.
    return Contender(name="venv + pip install --no-deps --no-compile", act=act, every=4)


def _pins(folder: Path) -> list[str]:
    from envbuild import Lock

    text = (folder / "pylock.toml").read_text(encoding="utf-8")
    return [f"{each.name}=={each.version}" for each in Lock.parse(text, where="pylock.toml").packages]


def _seal(prefix: Path) -> Taken:
    from envbuild.seal import seal, to_json

    return timed(lambda: to_json(seal(prefix)))


def _prefix(workspace: Path) -> Path:
    return next((workspace / "store" / "images").glob("*/prefix"))

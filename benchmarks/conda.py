"""Conda: what do solving, linking and running cost in an environment of conda packages?

scikit-learn with all that it needs, repackaged from wheels for a channel in a folder, with the CPython of this machine;
rattler's cache has it all. py-rattler is driven directly, in a process of its own as a user's script would be: reading
every cached file before it is linked, and as it does by itself, which trusts them. envbuild locks, links, checks, seals
and publishes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring import CommandFailed, Contender, Row, Section, Taken, in_turns
from benchmarks.place import ROOT, Place, own_repository, write

ROUNDS = 11

_STEPS = "envbuild build, only solving and building"
_WHOLE = "envbuild build, the whole command"
_CHECKING = "py-rattler, every cached file read"
_TRUSTING = "py-rattler, by default"
_WARM = "envbuild run s.py"

_SCIENCE = ("scikit-learn==1.6.1", "numpy==2.2.6", "scipy==1.15.3", "joblib==1.5.1", "threadpoolctl==3.6.0")
_SMALL = ("iniconfig==2.0.0",)

_CHANNEL = """\
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from support import repackaged
from support.channel import Channel, this_subdir
python, folder, *wheels = sys.argv[1:]
made = Channel(Path(folder))
try:
    made.put(*repackaged.python(Path(python), subdir=this_subdir()))
except repackaged.Unsuitable as error:
    sys.exit(f"no channel without a Python that can be moved: {{error}}")
made.put(*repackaged.wheels(wheels, Path(python), Path(folder + ".unpacked"), subdir=this_subdir()))
made.index()
"""

_DIRECTLY = """\
import asyncio, os, sys
from pathlib import Path
from rattler import Channel, Gateway, MatchSpec, Subdir, VirtualPackage, install, solve
from rattler.package_cache import PackageCache, ValidationMode

async def main(channel, prefix, checked, *specs):
    cache = Path(os.environ["RATTLER_CACHE_DIR"])
    platform = Subdir.current()
    records = await solve(
        [Channel(channel)],
        [MatchSpec(each) for each in specs],
        gateway=Gateway(cache_dir=cache / "repodata"),
        platforms=[platform, "noarch"],
        virtual_packages=[each.into_generic() for each in VirtualPackage.detect()],
    )
    mode = ValidationMode.full() if checked == "full" else None
    packages = PackageCache.new_layered([cache / "pkgs"], validation_mode=mode)
    await install(records, prefix, platform=platform, package_cache=packages, show_progress=False,
                  execute_link_scripts=False)

asyncio.run(main(*sys.argv[1:]))
# rattler's threads do not always survive the end of Python.
os._exit(0)
"""


def measure(place: Place, rounds: int) -> list[Section]:
    """Solve and link, share, and run."""
    channel = _channel(place)
    workspace = place.folder("conda-workspace")
    project = _project(place, channel, workspace)
    return [
        _linking(place, channel, workspace, project, rounds),
        _sharing(place, workspace, project, rounds),
        _running(place, workspace, project, rounds),
    ]


def _packages(place: Place) -> tuple[str, ...]:
    return _SMALL if place.quick else _SCIENCE


def _channel(place: Place) -> str:
    """Make the channel, in a process of its own, and say where it is."""
    folder = place.folder("channels") / "science"
    code = _CHANNEL.format(tests=str(ROOT / "tests"))
    place.set_up(sys.executable, "-c", code, place.python, folder, *_packages(place), directory=folder.parent)
    return folder.as_uri()


def _specs(place: Place) -> list[str]:
    minor = subprocess.run(
        [place.python, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    return [f"python {minor}.*", _packages(place)[0].replace("==", " ")]


def _project(place: Place, channel: str, workspace: Path) -> Path:
    lines = [f"channels: [{channel!r}]", "dependencies:", *(f"  - {each!r}" for each in _specs(place))]
    folder = write(place.folder("conda-project"), environment_yml="\n".join(lines) + "\n", s_py="pass\n")
    place.set_up(place.envbuild, "build", directory=folder, variables=_given(place, workspace))
    own_repository(place, folder)
    return folder


def _given(place: Place, workspace: Path) -> dict[str, str]:
    return {"ENVBUILD_WORKSPACE": str(workspace), "RATTLER_CACHE_DIR": str(place.work / "rattler")}


def _linking(place: Place, channel: str, workspace: Path, project: Path, rounds: int) -> Section:
    steps: list[float] = []

    def envbuild() -> Taken:
        # As in `building`: a store that has been used, and lacks this environment; and nothing is locked yet.
        _prefix(workspace).parent.rename(place.folder("aside") / "image")
        (project / "pylock.toml").unlink()
        command = (place.envbuild, "build", "--json", "-q")
        taken, told = place.told(*command, directory=project, variables=_given(place, workspace))
        result = json.loads(told)
        if not result["built"]:
            raise CommandFailed("nothing was built")
        steps.append(sum(result["seconds"].values()))
        return taken

    contenders = [
        Contender(name=_WHOLE, act=envbuild),
        Contender(name=_CHECKING, act=_directly(place, channel, workspace, "full")),
        Contender(name=_TRUSTING, act=_directly(place, channel, workspace, "default")),
    ]
    whole, *rattler = in_turns(contenders, rounds)
    own = Row.of_seconds(_STEPS, steps)
    checking, trusting = rattler
    count = len(list(_prefix(workspace).glob("conda-meta/*.json")))
    notes = (
        f"{count} packages from a folder, all in rattler's cache; no lock; a store without this environment, or an "
        "empty folder, each time.",
        f"solving and building: {own.wall / checking.wall:.2f} × py-rattler that reads every cached file (the aim is "
        f"1.05), {own.wall / trusting.wall:.2f} × py-rattler that trusts them. envbuild looks at size, time and inode "
        "of each, and reads what is not as it was when it was last read.",
        f"{(whole.wall - own.wall) * 1e3:.0f} ms of the whole command are neither: starting, imports, plugins.",
        "py-rattler's times have its own starting and imports in them, and neither lock nor seal nor record.",
    )
    title = f"Solving and linking {_packages(place)[0]} from conda packages, {rounds} rounds"
    return Section(title=title, subject=_STEPS, rows=[own, whole, *rattler], notes=notes)


def _directly(place: Place, channel: str, workspace: Path, checked: str) -> Callable[[], Taken]:
    def act() -> Taken:
        prefix = place.folder("rattler") / "prefix"
        words = (sys.executable, "-c", _DIRECTLY, channel, prefix, checked, *_specs(place))
        taken = place.take(*words, directory=prefix.parent, variables=_given(place, workspace))
        if not (prefix / "conda-meta").is_dir():
            raise CommandFailed("py-rattler linked nothing")
        return taken

    return act


def _sharing(place: Place, workspace: Path, project: Path, rounds: int) -> Section:
    given = _given(place, workspace)

    def second() -> Taken:
        folder = Path(shutil.copytree(project, place.folder("second"), dirs_exist_ok=True))
        return place.take(place.envbuild, "build", "-q", directory=folder, variables=given)

    again = Contender(
        name="envbuild build, in the same project again",
        act=lambda: place.take(place.envbuild, "build", "-q", directory=project, variables=given),
    )
    rows = in_turns([Contender(name="envbuild build, in a second project", act=second), again], rounds)
    images = len(list((workspace / "store" / "images").iterdir()))
    return Section(
        title=f"A second project with the same lock of conda packages, {rounds} rounds",
        subject=rows[0].name,
        rows=rows,
        notes=(f"The store holds {images} environment after {rounds} second projects.",),
    )


def _running(place: Place, workspace: Path, project: Path, rounds: int) -> Section:
    given = _given(place, workspace)
    # Files that were changed a moment ago are not relied on, so a stamp may only be left by a later run.
    for _ in range(3):
        place.set_up(place.envbuild, "run", "s.py", directory=project, variables=given)
    python = _prefix(workspace) / "bin" / "python"
    contenders = [
        Contender(
            name=_WARM, act=lambda: place.take(place.envbuild, "run", "s.py", directory=project, variables=given)
        ),
        Contender(name="bare PREFIX/bin/python s.py", act=lambda: place.take(python, "s.py", directory=project)),
    ]
    return Section(
        title=f"Running `pass` in an environment of conda packages, {rounds} rounds",
        subject=_WARM,
        rows=in_turns(contenders, rounds),
        notes=("By envbuild each run was recorded.",),
    )


def _prefix(workspace: Path) -> Path:
    return next((workspace / "store" / "images").glob("*/prefix"))

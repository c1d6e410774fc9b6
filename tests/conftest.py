"""What the tests share: real things that a machine may lack, and what is said where it does.

A test that needs such a thing skips at a desk, and fails where ``--require NAME`` names it, as CI does.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml  # noqa: F401  pytester forgets modules that a test was the first to import; this one cannot come twice
from hypothesis import HealthCheck, settings
from support import conda_shelf, repackaged
from support.bench import Bench
from support.bench import bench as make_bench
from support.channel import Channel, this_subdir
from support.desk import Desk
from support.desk import desk as make_desk
from support.index import Index, serving
from support.installed import ROOT, wheel_of
from support.shelf import stock
from support.stage import Park, Stage

from envbuild import EnvbuildError

pytest_plugins = ["pytester"]

# How long an example takes says nothing on a machine that has other things to do.
settings.register_profile("envbuild", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("envbuild")

PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
"""The versions that environments may have."""

SCIENCE = ("scikit-learn==1.6.1", "numpy==2.2.6", "scipy==1.15.3", "joblib==1.5.1", "threadpoolctl==3.6.0")
"""What the iris fixture trains with."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require",
        action="append",
        default=[],
        metavar="NAME",
        help="fail, rather than skip, tests that lack NAME (pythons, network, …); repeatable",
    )


def requires(config: pytest.Config, name: str, reason: str) -> None:
    """Skip the test for want of ``name``, or fail it where ``name`` is required."""
    if name in config.getoption("--require"):
        pytest.fail(f"--require {name}: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def lacking(pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """`requires`, for tests: ``lacking("pythons", "no Python 3.8 found")``."""
    return lambda name, reason: requires(pytestconfig, name, reason)


@pytest.fixture(scope="session")
def interpreters() -> dict[str, Path]:
    """The interpreters of this machine by version (``3.8``), those that really start."""
    found = {}
    for version in PYTHONS:
        path = next((path for path in _candidates(version) if _starts(path, version)), None)
        if path is not None:
            found[version] = path
    return found


@pytest.fixture(params=PYTHONS)
def interpreter(
    request: pytest.FixtureRequest, interpreters: dict[str, Path], lacking: Callable[[str, str], None]
) -> Path:
    """Each Python that environments may have, one after the other."""
    if request.param not in interpreters:
        lacking("pythons", f"no Python {request.param} found on PATH or among pyenv's versions")
    return interpreters[request.param]


@pytest.fixture
def index() -> Iterator[Index]:
    """An index of packages on loopback, with what `support.shelf` says on it."""
    with serving(Index()) as served:
        stock(served)
        yield served


@pytest.fixture(scope="session")
def channel(
    interpreters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, lacking: Callable[[str, str], None]
) -> Channel:
    """A conda channel with Pythons that run, and with what `support.conda_shelf` says; nobody adds to it."""
    if importlib.util.find_spec("rattler") is None:
        lacking("conda", "py-rattler is not installed")
    made = Channel(tmp_path_factory.mktemp("channels") / "main")
    for version in ("3.11", "3.12"):
        if version not in interpreters:
            lacking("conda", f"no Python {version} found that could be repackaged")
        try:
            made.put(*repackaged.python(interpreters[version], subdir=this_subdir()))
        except repackaged.Unsuitable as error:
            lacking("conda", str(error))
    conda_shelf.stock(made)
    made.index()
    return made


@pytest.fixture(scope="session")
def science(
    channel: Channel,
    interpreters: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    lacking: Callable[[str, str], None],
) -> Channel:
    """What is in `channel`, and scikit-learn with all that it needs; nobody adds to it."""
    made = Channel(tmp_path_factory.mktemp("science") / "science")
    made.put(*channel.packages.values())
    unpacked = tmp_path_factory.mktemp("wheels")
    try:
        made.put(*repackaged.wheels(SCIENCE, interpreters["3.11"], unpacked, subdir=this_subdir()))
    except subprocess.CalledProcessError as error:
        lacking("network", f"no index of packages can be reached: {error.stderr.strip()}")
    made.index()
    return made


@pytest.fixture
def channels(tmp_path: Path) -> Callable[[str], Channel]:
    """Empty channels of the test's own, each under its name."""
    return lambda name: Channel(tmp_path / "channels" / name)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A project folder, a workspace and a cache of the test's own, and the command line."""
    return make_desk(tmp_path)


@pytest.fixture(scope="session")
def own_wheel(tmp_path_factory: pytest.TempPathFactory, lacking: Callable[[str, str], None]) -> Path:
    """The wheel of envbuild, where it can be installed with all that it depends on."""
    folder = tmp_path_factory.mktemp("own")
    try:
        return wheel_of(ROOT, folder)
    except AssertionError as error:
        lacking("network", f"envbuild cannot be built: {error}")
        raise


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A source folder to be in, a workspace of the test's own, and the SDK; no run outlives the test."""
    made = make_bench(tmp_path, monkeypatch)
    yield made
    # What lets go on a script that waits, should its run have been killed.
    (tmp_path / "go").touch()
    core = made.workspace._core
    for run in (core.root / "runs").glob("*"):
        core.cancel(run.name)


@pytest.fixture
def git(tmp_path: Path, lacking: Callable[[str, str], None]) -> Callable[..., str]:
    """Run git in a folder, with nobody's configuration but the test's."""
    program = shutil.which("git")
    if program is None:
        lacking("git", "no git found on PATH")

    def run(folder: Path, *words: str) -> str:
        me = {f"GIT_{who}_{what}": f"{who}@host.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "HOME": str(tmp_path)}
        done = subprocess.run(
            ["git", "-C", folder, *words],
            env={"PATH": os.environ["PATH"], **me, **alone},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    return run


@pytest.fixture(scope="session")
def park(tmp_path_factory: pytest.TempPathFactory, lacking: Callable[[str, str], None]) -> Park:
    """Environments for tests of the pytest plugin, each built once."""
    # It is part of the names of tests, among which tests choose by what names of their own have in them.
    folder = tmp_path_factory.mktemp("own")
    home = folder / "home"
    home.mkdir()
    pyenv = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    made = Park(
        folder,
        {
            "ENVBUILD_WORKSPACE": str(folder / "workspace"),
            "UV_CACHE_DIR": str(folder / "uv-cache"),
            "PYENV_ROOT": pyenv,
        },
    )
    ours = [f"{name}=={distribution(name).version}" for name in ("pytest", "hypothesis", "coverage")]
    own = made.write("own.txt", "\n".join([*ours, "pytest-asyncio", "pytest-xdist", "toolz"]) + "\n")
    try:
        made.environment(own)
    except EnvbuildError as error:
        lacking("network", f"no index of packages can be reached: {error}")
    return made


@pytest.fixture
def stage(pytester: pytest.Pytester, park: Park, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A small suite of the test's own, and environments to run it in."""
    return Stage(pytester, park, monkeypatch)


def _candidates(version: str) -> Iterator[Path]:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)
    for folder in os.get_exec_path():
        found = shutil.which(f"python{version}", path=folder)
        if found:
            yield Path(found)


def _starts(path: Path, version: str) -> bool:
    """Whether it is that Python, and not a shim of pyenv's that stands for one which is not there."""
    asked = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([path, "-I", "-c", asked], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and answer.stdout.strip() == version

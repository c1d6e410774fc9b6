"""The channel of the tests' own: what rattler solves and installs from it is what a channel of the world would give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import repackaged
from support.channel import Channel, serving, this_subdir
from support.conda_packages import PLACEHOLDER, package

_RATTLER = """
import asyncio, json, os, sys
from rattler import (BuildString, Gateway, GenericVirtualPackage, PackageName, Version, VirtualPackage, install,
                     solve)

told = json.load(sys.stdin)

async def main():
    virtual = [each.into_generic() for each in VirtualPackage.detect()]
    for name, version in told["virtual"].items():
        virtual.append(GenericVirtualPackage(PackageName(name), Version(version), BuildString("0")))
    records = await solve(told["channels"], told["specs"], Gateway(cache_dir=told["cache"] + "/repodata"),
                          virtual_packages=virtual, platforms=told["platforms"])
    if told["prefix"]:
        await install(records, told["prefix"], cache_dir=told["cache"] + "/pkgs", show_progress=False)
    return [f"{each.name.normalized} {each.version} {each.build}" for each in records]

try:
    answer = {"records": asyncio.run(main())}
except Exception as error:
    answer = {"error": type(error).__name__, "message": str(error)}
print(json.dumps(answer), flush=True)
os._exit(0)
"""


@dataclass
class Rattler:
    """rattler in a process of its own, with a cache and a prefix of the test's own."""

    folder: Path

    @property
    def prefix(self) -> Path:
        return self.folder / "prefix"

    def try_(
        self, *specs: str, channels: list[str], install: bool = False, platform: str = "", **virtual: str
    ) -> dict[str, Any]:
        told = {
            "platforms": [platform or this_subdir(), "noarch"],
            "channels": channels,
            "specs": specs,
            "virtual": virtual,
            "cache": str(self.folder / "cache"),
            "prefix": str(self.prefix) if install else None,
        }
        hidden = {"HOME": str(self.folder), "RATTLER_AUTH_FILE": str(self.folder / "none.json")}
        command = [sys.executable, "-c", _RATTLER]
        environment = {**os.environ, **hidden}
        done = subprocess.run(
            command, input=json.dumps(told), env=environment, capture_output=True, text=True, timeout=300, check=True
        )
        return json.loads(done.stdout)

    def solve(self, *specs: str, channel: Channel, **virtual: str) -> list[str]:
        answer = self.try_(*specs, channels=[channel.url], **virtual)
        assert "error" not in answer, answer
        return answer["records"]

    def install(self, *specs: str, channel: Channel) -> None:
        answer = self.try_(*specs, channels=[channel.url], install=True)
        assert "error" not in answer, answer

    def run(self, program: str, *words: str, **more: Any) -> str:
        """Run a program of the prefix with nothing of this process in its environment."""
        command = [self.prefix / "bin" / program, *words]
        done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=120, check=False, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def rattler(tmp_path: Path) -> Rattler:
    return Rattler(tmp_path)


@pytest.mark.parametrize("version", ["3.11", "3.12"])
def test_the_python_of_this_machine_runs_in_another_prefix(rattler: Rattler, channel: Channel, version: str) -> None:
    rattler.install(f"python {version}.*", channel=channel)

    asked = "import ctypes, hashlib, json, sqlite3, ssl, sys, sysconfig, zlib; print(sys.prefix, sys.version_info[:2])"
    assert rattler.run("python", "-c", asked) == f"{rattler.prefix} ({version.replace('.', ', ')})"
    mapped = rattler.run("python", "-c", "print(open('/proc/self/maps').read())" if sys.platform == "linux" else "")
    ours = [line.split()[-1] for line in mapped.splitlines() if "libpython" in line]
    assert all(line.startswith(str(rattler.prefix)) for line in ours)
    told = rattler.run("python", "-c", "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))")
    assert told == str(rattler.prefix / "lib")


def test_what_pypi_has_trains_the_iris_fixture(rattler: Rattler, science: Channel) -> None:
    rattler.install("python 3.11.*", "scikit-learn", channel=science)

    training = (
        "from sklearn.datasets import load_iris; from sklearn.linear_model import LogisticRegression as Model; "
        "x, y = load_iris(return_X_y=True); print(Model(max_iter=1000).fit(x, y).score(x, y) > 0.9)"
    )
    assert rattler.run("python", "-c", training) == "True"
    listed = (
        "from importlib.metadata import distribution as d; print(d('numpy').version, d('numpy').read_text('INSTALLER'))"
    )
    assert rattler.run("python", "-c", listed) == "2.2.6 conda"
    assert "2.2.6" in rattler.run("numpy-config", "--version")


def test_a_noarch_package_has_its_modules_and_script_in_either_python(rattler: Rattler, channel: Channel) -> None:
    rattler.install("python 3.12.*", "almanac", channel=channel)

    assert rattler.run("almanac") == "almanac 2.0"
    module = rattler.run("python", "-c", "import almanac; print(almanac.__file__)")
    assert module == str(rattler.prefix / "lib/python3.12/site-packages/almanac/__init__.py")


def test_the_prefix_is_put_where_packages_ask_for_it(rattler: Rattler, channel: Channel) -> None:
    rattler.install("rooted", "trigger", "veteran", channel=channel)

    prefix = rattler.prefix
    assert (prefix / "etc/rooted.conf").read_text() == f"home = {prefix}\nshare = {prefix}/share\n"
    assert rattler.run("rooted") == f"rooted in {prefix}"
    binary = (prefix / "lib/rooted.link").read_bytes()
    assert binary.startswith(b"\x7fBIN\0" + os.fsencode(prefix) + b"/share/rooted\0")
    assert len(binary) == len(b"\x7fBIN\0") + len(PLACEHOLDER) + len(b"/share/rooted\0end\0")
    assert (prefix / "share/veteran.txt").read_text() == "veteran 1.0 0\n"
    assert not (prefix / "triggered").exists()
    files = [each for each in prefix.rglob("*") if each.is_file() and each.parent.name != "conda-meta"]
    assert not [each for each in files if PLACEHOLDER.encode() in each.read_bytes()]


def test_the_build_that_a_machine_can_run_is_chosen(rattler: Rattler, channel: Channel) -> None:
    assert rattler.solve("kernel", channel=channel) == ["kernel 1.0 cpu_1"]
    assert rattler.solve("kernel", channel=channel, __cuda="12.4") == ["kernel 1.0 cuda_2"]
    assert rattler.solve("kernel", channel=channel, __cuda="11.8") == ["kernel 1.0 cpu_1"]


@pytest.mark.parametrize(
    ("asked", "named"),
    [(["expedition"], "fuel"), (["up", "down"], "helper"), (["recent"], "__glibc"), (["nowhere"], "nowhere")],
)
def test_what_cannot_be_had_is_refused_by_name(
    rattler: Rattler, channel: Channel, asked: list[str], named: str
) -> None:
    answer = rattler.try_(*asked, channels=[channel.url])

    assert answer["error"] == "SolverError"
    assert named in answer["message"]


def test_the_same_is_had_over_http(rattler: Rattler, channel: Channel) -> None:
    with serving(channel) as served:
        answer = rattler.try_("veteran", "helper", "python 3.11.*", channels=[served.url], install=True)

    assert "error" not in answer, answer
    assert sorted(name.split("-")[0] for name in served.downloads()) == ["helper", "python", "veteran"]
    assert rattler.run("python", "-c", "import helper; print(helper.__version__)") == "1.1"


def test_a_password_is_wanted(rattler: Rattler, channel: Channel) -> None:
    with serving(channel, password="secret") as served:
        refused = rattler.try_("veteran", channels=[served.url], install=True)
        wrong = rattler.try_("veteran", channels=[served.with_password("other")], install=True)
        let_in = rattler.try_("veteran", channels=[served.with_password()], install=True)

    assert "401" in refused["message"]
    assert "401" in wrong["message"]
    assert let_in["records"] == ["veteran 1.0 0"]


def test_a_token_is_wanted(rattler: Rattler, channel: Channel) -> None:
    with serving(channel, token="tk-123-secret") as served:
        refused = rattler.try_("veteran", channels=[served.url], install=True)
        let_in = rattler.try_("veteran", channels=[served.with_token()], install=True)

    assert "401" in refused["message"]
    assert let_in["records"] == ["veteran 1.0 0"]


def test_a_server_can_break_off_and_lack_files(rattler: Rattler, channels: Callable[[str], Channel]) -> None:
    channel = channels("poor")
    torn, gone = channel.add("torn"), channel.add("gone")
    with serving(channel) as served:
        served.dying.add(torn.filename)
        served.gone.add(gone.filename)
        answers = [rattler.try_(name, channels=[served.url], install=True) for name in ("torn", "gone")]
        served.dying.clear()
        mended = rattler.try_("torn", channels=[served.url], install=True)

    assert all("error" in answer for answer in answers)
    assert mended["records"] == ["torn 1.0 0"]


def test_what_is_put_behind_the_back_of_the_index_has_other_bytes(
    rattler: Rattler, channels: Callable[[str], Channel]
) -> None:
    channel = channels("tampered")
    damaged, smuggled = channel.add("damaged"), channel.add("smuggled")
    channel.index()
    channel.damage(damaged)
    channel.smuggle(package("smuggled", "1.0", subdir=this_subdir(), files={"share/smuggled.txt": "evil\n"}))

    with serving(channel) as served:
        answers = [rattler.try_(name, channels=[served.url], install=True) for name in ("damaged", "smuggled")]

    assert all("error" in answer for answer in answers)
    assert channel.file(smuggled).read_bytes() != smuggled.data


def test_the_first_of_two_channels_has_its_way(rattler: Rattler, channels: Callable[[str], Channel]) -> None:
    first, second = channels("first"), channels("second")
    first.add("both", "1.0")
    second.add("both", "2.0")
    second.add("only", "1.0")

    answer = rattler.try_("both", "only", channels=[first.url, second.url])

    assert sorted(answer["records"]) == ["both 1.0 0", "only 1.0 0"]


@pytest.mark.parametrize("platform", ["linux-aarch64", "osx-arm64", "win-64"])
def test_it_can_be_solved_for_other_machines(rattler: Rattler, channel: Channel, platform: str) -> None:
    answer = rattler.try_("almanac", "python 3.11.*", channels=[channel.url], platform=platform)

    assert [record.split()[0] for record in sorted(answer["records"])] == ["almanac", "helper", "python"]
    assert platform in {each.subdir for each in channel.find("python")}


def test_a_real_package_is_the_same_at_every_call(channel: Channel, interpreters: dict[str, Path]) -> None:
    again = repackaged.python(interpreters["3.11"], subdir=this_subdir())

    assert [each.sha256 for each in again] == [
        channel.packages[f"{each.subdir}/{each.filename}"].sha256 for each in again
    ]


def test_what_is_put_there_later_is_there(rattler: Rattler, channels: Callable[[str], Channel]) -> None:
    channel = channels("growing")
    channel.add("early", files={"share/early.txt": "first\n"})
    assert rattler.solve("early", channel=channel) == ["early 1.0 0"]

    channel.add("late", depends=["early"])
    channel.add("early", files={"share/early.txt": "again\n"})

    rattler.install("late", channel=channel)
    assert (rattler.prefix / "share/early.txt").read_text() == "again\n"
    index = json.loads((channel.folder / this_subdir() / "repodata.json").read_text())
    assert index["packages.conda"]["early-1.0-0.conda"]["sha256"] == channel.find("early")[0].sha256


def test_the_index_says_what_the_packages_say(channel: Channel) -> None:
    stated: dict[str, Any] = {}
    for path in channel.folder.glob("*/repodata.json"):
        index = json.loads(path.read_text())
        told = index["packages"] | index["packages.conda"]
        stated |= {f"{path.parent.name}/{name}": each for name, each in told.items()}

    assert set(stated) == set(channel.packages)
    for name, packed in channel.packages.items():
        told = {"sha256": packed.sha256, "md5": packed.md5, "size": len(packed.data)}
        assert told.items() <= stated[name].items()
        assert stated[name].get("timestamp") == packed.about.get("timestamp")
        assert stated[name]["depends"] == packed.about["depends"]


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8})?\.txt", fullmatch=True), st.binary(max_size=40)),
    st.sampled_from([".conda", ".tar.bz2"]),
    st.sampled_from([None, "generic", "python"]),
)
def test_a_package_is_the_same_at_every_call(files: dict[str, bytes], archive: str, noarch: str | None) -> None:
    backwards = dict(reversed(files.items()))

    one = package("same", "1.0", subdir="linux-64", files=files, archive=archive, noarch=noarch)
    other = package("same", "1.0", subdir="linux-64", files=backwards, archive=archive, noarch=noarch)

    assert one == other

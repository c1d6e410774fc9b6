"""The pytest plugin: environments of every Python, with an old pytest, a new one or none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest
from support.channel import Channel
from support.stage import Stage

SUITE = """
import sys
import pytest

@pytest.fixture(scope="module")
def made(tmp_path_factory): return tmp_path_factory.mktemp("made")
@pytest.mark.parametrize("n", [1, 2])
def test_n(n, made, capsys):
    print(sys.version_info[:2])
    assert n == 1, "told"
def test_skips(): pytest.skip("why")
@pytest.mark.xfail
def test_xfails(): assert 0
class TestClass:
    def test_in_class(self, monkeypatch, caplog): pass
"""
"""A bit of everything."""

DONE = {"passed": 2, "failed": 1, "skipped": 1, "xfailed": 1}


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"])
def test_a_python_without_a_pytest_is_lent_one(stage: Stage, version: str) -> None:
    wanted = version.replace(".", ", ")
    stage.lay({"test_a.py": f"{SUITE}def test_version(): assert sys.version_info[:2] == ({wanted})\n"})

    said = stage.pytest(f"--envbuild={stage.bare(version)}")

    assert said.outcomes == {**DONE, "passed": 3}, said.text
    said.has("*AssertionError: told*")


@pytest.mark.parametrize("version", ["7.0.1", "7.4.4", "8.0.2"])
def test_an_environment_with_an_older_pytest_uses_it(stage: Stage, version: str) -> None:
    definition = stage.park.write(f"pytest{version}.txt", f"pytest=={version}\n")
    stage.lay({"test_a.py": SUITE + f"def test_version(): assert pytest.__version__ == '{version}'\n"})

    said = stage.pytest(f"--envbuild={definition}", "--junitxml=junit.xml")

    assert said.outcomes == {**DONE, "passed": 3}, said.text


def test_what_is_lent_gets_along_with_the_old_packages_of_the_environment(stage: Stage) -> None:
    definition = stage.park.write("old.txt", "packaging==21.3\npluggy==1.5.0\nattrs==20.3.0\n")
    stage.lay({"test_a.py": SUITE})

    said = stage.pytest(f"--envbuild={definition}")

    assert said.outcomes == DONE, said.text


def test_what_is_cached_needs_no_network(stage: Stage) -> None:
    stage.lay({"test_a.py": SUITE})

    said = stage.pytest(f"--envbuild={stage.bare('3.12')}", "--envbuild-offline")

    assert said.outcomes == DONE, said.text


def test_the_users_own_interpreter_can_be_the_environment(stage: Stage) -> None:
    own = stage.park.environment(stage.own).interpreter
    stage.lay({"mine.yml": f"interpreter: {own}\n", "test_a.py": SUITE})

    said = stage.pytest("--envbuild=mine.yml")

    assert said.outcomes == DONE, said.text


def test_what_conda_brings_is_tested_as_what_pip_does(stage: Stage, channel: Channel) -> None:
    definition = f"channels: [{channel.url}]\ndependencies: [python=3.11, almanac=1.0]\n"
    tests = f"import almanac\n{SUITE}def test_version(): assert almanac.__version__ == '1.0'\n"
    stage.lay({"environment.yml": definition, "test_a.py": tests})

    said = stage.pytest("--envbuild=environment.yml", "-n", "2")

    assert said.outcomes == {**DONE, "passed": 3}, said.text


def test_a_wrapper_may_put_the_worker_anywhere(stage: Stage, lacking: Callable[[str, str], None]) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        lacking("root", "only root has namespaces of its own")
    alone = """
def test_nobody_else_is_there():
    import os

    assert os.getpid() == 1
"""
    stage.lay({"test_a.py": SUITE + alone})

    said = stage.inside("--envbuild-wrapper=unshare --net --mount --pid --fork")

    assert said.outcomes == {**DONE, "passed": 3}, said.text

"""The pytest plugin beside others: pytest-xdist, pytest-cov, JUnit reports, and settings that only the host knows."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from support.packages import project
from support.stage import Stage

SHARED = """
import os, sys
import pytest

@pytest.mark.parametrize("n", range(6))
def test_where(n, worker_id):
    assert worker_id == os.environ["PYTEST_XDIST_WORKER"]
    assert "envs" not in sys.prefix
class TestTogether:
    def test_a(self): type(self).pid = os.getpid()
    def test_b(self): assert os.getpid() == self.pid
"""


@pytest.mark.parametrize("dist", ["load", "loadscope", "loadfile", "worksteal", "each"])
def test_xdist_shares_out_what_runs_in_an_environment(stage: Stage, dist: str) -> None:
    suite = SHARED if dist in ("loadscope", "loadfile", "each") else SHARED.partition("class ")[0]
    stage.lay({"test_shared.py": suite, "test_more.py": "def test_more(): pass\n"})

    said = stage.inside("-n", "2", "--dist", dist, "-q")

    tests = 1 + (8 if "class" in suite else 6)
    assert said.code == 0, said.text
    assert said.outcomes == {"passed": tests * (2 if dist == "each" else 1)}
    assert "warning" not in said.text


def test_xdist_says_what_plain_pytest_says(stage: Stage) -> None:
    suite = "import pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_n(n): assert n < 2\n"
    stage.lay({"test_shared.py": suite})

    said = stage.inside("-n", "2", "-rA")

    said.has("PASSED test_shared.py::test_n?0-*/own.txt?", "FAILED test_shared.py::test_n?2-*/own.txt? - assert 2 < 2")
    assert said.outcomes == {"passed": 2, "failed": 2}


def test_one_build_is_enough_for_all_workers_of_xdist(stage: Stage) -> None:
    fresh = stage.folder / "fresh.txt"
    stage.lay({"fresh.txt": f"{stage.own.read_text()}six\n", "test_a.py": SHARED.partition("class ")[0]})

    said = stage.pytest(f"--envbuild={fresh}", "-n", "4")

    assert said.outcomes == {"passed": 6}, said.text
    assert said.text.count("Building") <= 1


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_where_pytest_writes_to_is_no_part_of_a_local_project(stage: Stage, workers: list[str]) -> None:
    # Standard output, which grows with every line, is a file in the project's folder.
    stage.lay(project("lib", "1.0"))
    where = stage.folder.with_name(f"{stage.folder.name}-where")
    noting = f"import sys, lib\ndef test_a():\n    open({str(where)!r}, 'a').write(sys.prefix)\n"
    stage.lay({"fresh.txt": f"{stage.own.read_text()}-e .\n", "test_a.py": noting})

    said = stage.pytest("--envbuild=fresh.txt", *workers)

    assert said.outcomes == {"passed": 1}, said.text
    (told,) = re.findall(r"fresh.txt  sha256:(\w+)", said.text)
    assert told in where.read_text()


def test_nothing_of_the_host_is_visible_inside(stage: Stage) -> None:
    stage.lay(
        {
            "test_visible.py": """
import importlib.metadata, importlib.util, json, pathlib, sys
def test_visible():
    names = sorted(each.metadata["Name"].lower().replace("_", "-") for each in importlib.metadata.distributions())
    modules = [str(getattr(each, "__file__", "")) for each in sys.modules.values()]
    found = {"path": sys.path, "modules": modules, "names": names, "uv": bool(importlib.util.find_spec("uv"))}
    pathlib.Path("seen.json").write_text(json.dumps(found))
"""
        }
    )

    for words in ([], ["-n", "1"]):
        assert stage.inside(*words).code == 0
        seen = json.loads((stage.folder / "seen.json").read_text())
        has = set(stage.park.environment(stage.own).packages)
        assert set(seen["names"]) - {"envbuild"} == has
        assert not seen["uv"]
        site = str(Path(pytest.__file__).parents[1])
        ours = [path for path in (*seen["path"], *seen["modules"]) if site in path]
        assert ours == []


MEASURED = """
import sys

AT_IMPORT = 1


def chosen(n):
    if sys.version_info >= (3, 12):
        return n + 1
    if n > 5:
        return n + 2
    return n + 3
"""
"""Code of which each environment executes other lines."""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_pytest_cov_makes_one_report_of_the_host_and_all_environments(stage: Stage, workers: list[str]) -> None:
    old, new = (stage.bare(version) for version in ("3.8", "3.12"))
    stage.lay(
        {
            "own_code.py": MEASURED,
            "test_code.py": f"""
import pytest
from own_code import chosen
@pytest.mark.envbuild({str(old)!r}, {str(new)!r})
def test_chosen(): assert chosen(1) in (2, 4)
def test_here(): assert chosen(6) in (7, 8)
""",
        }
    )
    report = ["--cov=own_code", "--cov-branch", "--cov-report=term-missing", "--cov-report=xml", "--cov-context=test"]

    said = stage.pytest(*report, "--cov-fail-under=100", *workers)

    assert said.outcomes == {"passed": 3}, said.text
    said.has("own_code.py * 100%*", "Required test coverage of 100% reached*")
    assert said.code == 0
    with sqlite3.connect(stage.folder / ".coverage") as data:
        contexts = {context for (context,) in data.execute("SELECT context FROM context")}
    data.close()
    assert {"test_code.py::test_chosen|run", "test_code.py::test_here|run"} <= contexts
    assert Xml.parse(stage.folder / "coverage.xml").getroot().get("line-rate") == "1"


PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "ours"
version = "1"
"""


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ("[tool.pytest.ini_options]\npythonpath = ['lib/src']\n", "lib/src"),
        ("[tool.coverage.paths]\nours = ['lib/src/ours', '*/site-packages/ours']\n", "ours"),
    ],
    ids=["path", "installed"],
)
def test_lines_of_a_project_that_is_in_the_environment_are_reported_of_its_source(
    stage: Stage, settings: str, source: str
) -> None:
    stage.lay(
        {
            "pyproject.toml": settings,
            "lib/pyproject.toml": PROJECT,
            "lib/src/ours/__init__.py": "def chosen(n):\n    if n:\n        return 1\n    return 2\n",
            "own.txt": "-e ./lib\n",
            "test_a.py": "def test_a():\n    from ours import chosen\n    assert chosen(1) == 1\n",
        }
    )

    said = stage.pytest("--envbuild=own.txt", f"--cov={source}", "--cov-report=term-missing")

    assert said.outcomes == {"passed": 1}, said.text
    said.has("lib/src/ours/__init__.py * 4 * 1 * 75% * 4")


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
def test_each_case_of_a_junit_report_names_its_environment(stage: Stage, family: str) -> None:
    stage.lay(
        {
            "pytest.ini": "[pytest]\nasyncio_default_fixture_loop_scope = function\n",
            "test_a.py": """
import pytest
def test_passes(record_testsuite_property):
    record_testsuite_property("suite", "ours")
def test_fails(): assert 0
def test_skips(): pytest.skip("why")
""",
        }
    )

    said = stage.inside("--junitxml=junit.xml", "-o", f"junit_family={family}", "-W", "error")

    assert said.outcomes == {"passed": 1, "failed": 1, "skipped": 1}, said.text
    own = stage.park.environment(stage.own)
    for case in stage.cases():
        told = {each.get("name"): each.get("value") for each in case.iter("property")}
        assert told["envbuild_id"] == str(own.id)
        assert told["envbuild_environment"] == stage.label
    suite = Xml.parse(stage.folder / "junit.xml").getroot().find("testsuite/properties/property")
    assert suite is not None
    assert (suite.get("name"), suite.get("value")) == ("suite", "ours")


def test_settings_of_plugins_that_only_the_host_has_do_no_harm_inside(stage: Stage) -> None:
    bare = stage.bare("3.12")
    stage.lay(
        {
            "pyproject.toml": """
[tool.pytest.ini_options]
addopts = ["-n", "1", "--cov=.", "--strict-config", "--strict-markers", "-p", "xdist"]
required_plugins = ["pytest-xdist", "pytest-cov"]
filterwarnings = ["error"]
envbuild_timeout = "60"
pythonpath = ["lib"]
""",
            "lib/helper.py": "VALUE = 1\n",
            "tests/test_a.py": "import helper\ndef test_a(): assert helper.VALUE\n",
        }
    )

    said = stage.pytest(f"--envbuild={bare}")

    assert (said.code, said.outcomes) == (0, {"passed": 1}), said.text


def test_what_a_test_records_is_in_the_junit_report(stage: Stage) -> None:
    stage.lay(
        {
            "test_a.py": """
def test_a(record_property, record_xml_attribute):
    record_property("colour", "red")
    record_xml_attribute("assertions", 3)
"""
        }
    )

    assert stage.inside("--junitxml=junit.xml", "-o", "junit_family=xunit1").code == 0

    (case,) = stage.cases()
    assert case.get("assertions") == "3"
    assert {each.get("name"): each.get("value") for each in case.iter("property")}["colour"] == "red"

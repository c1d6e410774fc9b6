"""Tests that passed before in the same environment, with the same files, can be left out."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.pytest_plugin.records import Files, Findings, Pass, Record, fingerprint, read, write

ID = f"sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Where environments are built, once for all tests."""
    folder = tmp_path_factory.mktemp("shop")
    pyenv = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    return {
        "ENVBUILD_WORKSPACE": str(folder / "workspace"),
        "UV_CACHE_DIR": str(folder / "uv-cache"),
        "PYENV_ROOT": pyenv,
    }


class Suite:
    """A small suite of a test's own."""

    def __init__(self, pytester: pytest.Pytester, lacking: Callable[[str, str], None]) -> None:
        self.pytester = pytester
        self.folder = pytester.path
        self.said = ""
        self._lacking = lacking
        self.write({"pytest.ini": "[pytest]\n", "requirements.txt": ""})

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    def run(self, *words: str, spec: str = "requirements.txt", code: int | None = None) -> set[str]:
        """Run what has not passed before, and give the names of the tests that were run."""
        return self.plain("--envbuild-skip-passed", *words, spec=spec, code=code)

    def plain(self, *words: str, spec: str = "requirements.txt", code: int | None = None) -> set[str]:
        """Run all tests."""
        done = self.pytester.runpytest_subprocess("-rA", f"--envbuild={spec}", *words, timeout=180)
        self.said = f"{done.stdout}\n{done.stderr}"
        if "cannot be reached" in self.said or "cannot be fetched" in self.said:
            self._lacking("network", f"no index of packages can be reached: {self.said}")
        assert "INTERNALERROR" not in self.said, self.said
        assert code is None or done.ret == code, self.said
        ran = re.findall(r"^(?:PASSED|FAILED|ERROR|XFAIL|SKIPPED) .*?::(\S+?)\[", self.said, re.MULTILINE)
        return set(ran)

    @property
    def record(self) -> Path:
        """The file in which is kept what has passed."""
        (found,) = (self.folder / ".pytest_cache/d/envbuild-passed").glob("*.json")
        return found


@pytest.fixture
def suite(
    pytester: pytest.Pytester,
    shop: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    lacking: Callable[[str, str], None],
) -> Suite:
    for name in list(os.environ):
        if name.startswith(("PYTEST_", "COV_", "ENVBUILD_")):
            monkeypatch.delenv(name)
    for name, value in shop.items():
        monkeypatch.setenv(name, value)
    # What a test does must not depend on how old the bytecode of the one before is.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return Suite(pytester, lacking)


READING = {
    "conftest.py": "",
    "tests/conftest.py": """
        import pytest, rates

        @pytest.fixture
        def small():
            with open("data/small.txt") as stream:
                return stream.read()

        @pytest.fixture(scope="session")
        def large():
            with open("data/large.txt") as stream:
                return stream.read()
    """,
    "tests/rates.py": "RATE = 2\n",
    "tests/test_first.py": """
        import pytest
        from pathlib import Path
        from shared.tax import tax

        DATA = Path(__file__).parents[1] / "data"

        def test_tax(): assert tax()
        def test_reads(): assert (DATA / "read.txt").read_text()
        def test_uses_a_fixture(small): assert small
        def test_lists(): assert list(DATA.glob("*.csv")) is not None
        def test_perhaps():
            try:
                (DATA / "local.txt").read_text()
            except FileNotFoundError:
                pass
    """,
    "tests/test_second.py": """
        from functools import lru_cache
        import shared

        @lru_cache
        def kept():
            return open("data/kept.txt").read()

        def test_cached(): assert kept()
        def test_cached_again(): assert kept()
        def test_imports_late():
            from shared import late
            assert late.NAME
    """,
    "tests/test_third.py": """
        def test_large(large): assert large
        def test_alone(): pass
    """,
    "shared/__init__.py": "",
    "shared/tax.py": "from shared import zones\ndef tax(): return zones.COUNT\n",
    "shared/zones.py": "COUNT = 3\n",
    "shared/late.py": "NAME = 'late'\n",
    **{f"data/{name}.txt": "1" for name in ("read", "small", "large", "kept")},
}

FIRST = {"test_tax", "test_reads", "test_uses_a_fixture", "test_lists", "test_perhaps"}
SECOND = {"test_cached", "test_cached_again", "test_imports_late"}
THIRD = {"test_large", "test_alone"}


def dedented(files: Mapping[str, str]) -> dict[str, str]:
    from textwrap import dedent

    return {name: dedent(text) for name, text in files.items()}


def test_only_what_depends_on_a_changed_file_is_run_again(suite: Suite) -> None:
    suite.write({**dedented(READING), "pytest.ini": "[pytest]\npythonpath = .\n"})
    assert suite.run(code=0) == FIRST | SECOND | THIRD
    assert suite.run(code=0) == set()
    assert re.search(r"envbuild: 10 tests passed before in requirements\.txt sha256:\w+ with the same", suite.said)
    changes: list[tuple[str, str | None, set[str]]] = [
        ("tests/test_third.py", READING["tests/test_third.py"].replace("        ", "") + "\n", THIRD),
        ("shared/zones.py", "COUNT = 4\n", FIRST),
        ("data/read.txt", "2", {"test_reads"}),
        ("data/small.txt", "2", {"test_uses_a_fixture"}),
        ("data/kept.txt", "2", SECOND),
        ("data/new.csv", "", {"test_lists"}),
        ("data/local.txt", "2", {"test_perhaps", "test_lists"} - {"test_lists"}),
        ("shared/late.py", "NAME = 'later'\n", {"test_imports_late"}),
        ("data/large.txt", "2", {"test_large", "test_alone"}),
        ("conftest.py", "X = 1\n", FIRST | SECOND | THIRD),
        ("shared/conftest.py", "", set()),
        ("tests/rates.py", "RATE = 3\n", FIRST | SECOND | THIRD),
        ("unrelated.txt", "1", set()),
    ]
    for name, text, affected in changes:
        suite.write({name: text or ""})
        assert suite.run(code=0) == affected, f"{name} has changed\n{suite.said}"
    assert suite.run(code=0) == set()

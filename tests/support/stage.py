"""A stage: a small suite that pytest runs twice, as an environment's own and from outside, and what differs.

What comes out of the environment's own pytest is what users know, so it is also what is wanted of ours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from envbuild.pytest_plugin.environments import Environment, Environments


@dataclass
class Park:
    """Definitions of environments that all tests of a session share, and what they are made into.

    :param folder: where the definitions are, and their locks.
    :param variables: the environment variables of whoever uses them.
    """

    folder: Path
    variables: Mapping[str, str]
    made: dict[str, Environment] = field(default_factory=dict)

    def write(self, name: str, text: str) -> Path:
        """Write a definition, unless it is there already."""
        file = self.folder / name
        if not file.exists():
            file.write_text(text, encoding="utf-8")
        return file

    def environment(self, file: Path) -> Environment:
        """What the definition is made into."""
        key = str(file)
        if key not in self.made:
            with pytest.MonkeyPatch.context() as patch:
                for name, value in self.variables.items():
                    patch.setenv(name, value)
                self.made[key] = Environments(self.folder).get(key)
        return self.made[key]


@dataclass
class Said:
    """A run of pytest that has ended.

    :param text: what it wrote to its standard output.
    """

    code: int
    text: str
    err: str

    @property
    def plain(self) -> list[str]:
        """The lines that a user reads, without what is of one run, or says where the tests ran."""
        return _without_sections([_cleaned(line) for line in self.text.splitlines() if not _HEADER.match(line)])

    @property
    def outcomes(self) -> dict[str, int]:
        """The counts of the last line."""
        return pytest.RunResult.parse_summary_nouns(self.text.splitlines())

    def has(self, *lines: str) -> None:
        """See to it that lines that match these patterns are there, in that order."""
        pytest.LineMatcher(self.text.splitlines()).fnmatch_lines(list(lines))


class Stage:
    """A project folder in which tests run, and the environments that they may run in.

    :param name: of the definition that is used where a test names none.
    """

    def __init__(self, pytester: pytest.Pytester, park: Park, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester = pytester
        self.monkeypatch = monkeypatch
        self.park = park
        self.name = "own.txt"
        self.own = park.folder / self.name
        for name, value in park.variables.items():
            monkeypatch.setenv(name, value)
        for name in list(os.environ):
            if name.startswith(("PYTEST_", "COV_", "ENVBUILD_")) and name not in park.variables:
                monkeypatch.delenv(name)
        # Where these are set, pytest says all of a failure a second time in its summary.
        for name in ("CI", "BUILD_NUMBER"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("COLUMNS", "400")
        # In which order the codes of bold and of red come is as the order of a set.
        monkeypatch.setenv("PYTHONHASHSEED", "0")
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    @property
    def label(self) -> str:
        """What the environment is called in the names of tests."""
        return os.path.relpath(self.own, self.folder)

    @property
    def folder(self) -> Path:
        """Where the project is."""
        return self.pytester.path

    def move(self, folder: str, *requirements: str) -> None:
        """From here on run tests in another environment.

        :param folder: a name for it; the file in it has the name that all such files have.
        """
        (self.park.folder / folder).mkdir(exist_ok=True)
        self.own = self.park.write(f"{folder}/{self.name}", "\n".join(requirements) + "\n")

    def share(self, *modules: str) -> None:
        """Have pytest outside find what the environment has under these names, as if it were installed there too."""
        python = Path(self.park.environment(self.own).interpreter)
        (site,) = python.parent.parent.glob("lib/python*/site-packages")
        shared = self.folder.with_name(f"{self.folder.name}-shared")
        shared.mkdir()
        for each in site.iterdir():
            if each.name.partition("-")[0].removesuffix(".py") in modules:
                (shared / each.name).symlink_to(each)
        self.monkeypatch.setenv("PYTHONPATH", str(shared))

    def install_outside(self, name: str, source: str) -> None:
        """Have pytest outside find a plugin that no environment has, as if it were installed."""
        folder = self.folder.with_name(f"{self.folder.name}-outside")
        described = folder / f"{name}-1.dist-info"
        described.mkdir(parents=True)
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n", encoding="utf-8")
        (described / "entry_points.txt").write_text(f"[pytest11]\n{name} = {name}\n", encoding="utf-8")
        self.monkeypatch.setenv("PYTHONPATH", str(folder))

    def bare(self, version: str) -> Path:
        """The definition of an environment with that Python and nothing else."""
        return self.park.write(f"bare{version}.yml", f'python: "{version}"\n')

    def lay(self, files: Mapping[str, str]) -> None:
        """Write files of the project."""
        for name, text in files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    def pytest(self, *words: str | Path) -> Said:
        """Run the pytest beside which envbuild is installed."""
        return _said(self.pytester.runpytest_subprocess(*words, timeout=120))

    def inside(self, *words: str | Path) -> Said:
        """Run all tests in the environment."""
        return self.pytest(f"--envbuild={self.own}", *words)

    def alone(self, *words: str | Path) -> Said:
        """Run the environment's own pytest."""
        python = self.park.environment(self.own).interpreter
        base = self.folder / f"alone-{len(list(self.folder.glob('alone-*')))}"
        return _said(self.pytester.run(python, "-m", "pytest", f"--basetemp={base}", *words, timeout=120))

    def same(self, *words: str | Path) -> Said:
        """Run the tests both ways, and see to it that users read the same, and that the suite did the same.

        :returns: what was said of those in the environment.
        """
        alone, did = self.alone(*words), self.log
        self.forget()
        inside = self.inside(*words)
        differs = "\n".join(unified_diff(alone.plain, inside.plain, "alone", "inside", lineterm="", n=2))
        assert not differs, f"{differs}\n{inside.err}"
        assert inside.code == alone.code
        assert self.log == did
        return inside

    def forget(self) -> None:
        """Undo what a run has left: its caches, and ``log.txt``, in which suites write what they do."""
        self.pytester.run("rm", "-rf", ".pytest_cache", "log.txt")

    @property
    def log(self) -> list[str]:
        """What a suite has written to ``log.txt``."""
        file = self.folder / "log.txt"
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    def cases(self, name: str = "junit.xml") -> list[Xml.Element]:
        """The test cases of a JUnit report."""
        return list(Xml.parse(self.folder / name).getroot().iter("testcase"))


_OWN = r"(\.\./)+own\d+/(\S+/)?own\.txt"
_LABEL = re.compile(rf"\[{_OWN}\]|-{_OWN}(?=\])")
_HEADER = re.compile(r"platform |rootdir: |plugins: |cachedir: |envbuild: |hypothesis profile |asyncio: |configfile: ")
_OF_ONE_RUN = (
    (re.compile(r"\bin \d+\.\d+s( \(\S+\))?"), "in TIME"),
    (re.compile(r"^\d+\.\d+s (?=call|setup|teardown)"), "TIME "),
    (re.compile(r"\d+:\d\d:\d\d(?= ago)"), "TIME"),
    (re.compile(r"0x[0-9a-f]{6,}"), "0xADDRESS"),
    (re.compile(r"\S*/(alone-\d+|runpytest-\d+/own\d+-own-txt-\d+)\b"), "BASETEMP"),
    (re.compile(r"(.)\1{5,}"), r"\1\1\1"),
    (re.compile(r"[ =_]+(?=\[ *\d+%\]$)"), " "),
)


def _cleaned(line: str) -> str:
    line = _LABEL.sub("", line)
    for pattern, instead in _OF_ONE_RUN:
        line = pattern.sub(instead, line)
    return line.strip().removesuffix("\x1b[0m")


def _without_sections(lines: list[str]) -> list[str]:
    """The lines, without what we add below a test that failed."""
    kept, skip = [], 0
    for line in lines:
        if re.match(rf"\(inside {_OWN} ", line):
            continue
        if re.fullmatch(r"-+ envbuild environment -+", line):
            skip = 2
        if not skip:
            kept.append(line)
        skip = max(0, skip - 1)
    return kept


def _said(result: pytest.RunResult) -> Said:
    return Said(int(result.ret), "\n".join(result.outlines) + "\n", "\n".join(result.errlines))

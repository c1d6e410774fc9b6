"""Records: which tests have passed in an environment, and what the files were that they depended on.

A record is a JSON file in the folder that pytest has for its cache. It belongs to one checkout, goes where the checkout
goes, and is gone with ``--cache-clear``. It names files as seen from the root folder and says what was in them, never
when they changed, so that it is as good after a fresh checkout.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from runpy import run_path
from typing import Any, Self

from envbuild import inside_path
from envbuild.digest import Digest

PROGRAM = Path(inside_path()) / "envbuild" / "seen.py"
"""What a worker is sent to see what tests depend on."""

_FORMAT = 1
_MOST_RECORDS = 20
_MOST_BYTES = 1 << 26
_TOLD = ("label", "collected", "run", "failed", "writes", "left_out")


def fingerprint(circumstances: str, contents: Mapping[str, str]) -> str:
    """What a test depends on, in one digest: names of files, and what `Files.content` says of each.

    >>> fingerprint("", {"a": "1", "b": "2"}) == fingerprint("", {"b": "2", "a": "1"})
    True
    """
    return Digest.of(json.dumps([circumstances, sorted(contents.items())]).encode()).hex


class Files:
    """What is in the files of a project; each is read once, as long as it stays as it is.

    :param root: the folder that names are relative to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, tuple[str, str]] = {}

    def content(self, name: str) -> str:
        """What tells the content of a file from any other.

        Of a folder that is its names; something that is not there, or is no file, has a word of its own.
        """
        now = self.signature(name)
        known = self._known.get(name)
        if known is None or known[0] != now:
            known = self._known[name] = now, self._content(name, now)
        return known[1]

    def _content(self, name: str, now: str) -> str:
        path = self.root / name
        with suppress(OSError):
            if stat.S_ISREG(path.stat().st_mode):
                with path.open("rb") as stream:
                    return Digest.of_stream(stream).hex
            return f"names {now}" if path.is_dir() else "other"
        return "absent"

    def signature(self, name: str) -> str:
        """What tells that a file has been left alone since a worker took its signature."""
        found: str = _signature()(os.path.join(self.root, name))  # noqa: PTH118  pathlib is slow
        return found


@cache
def _signature() -> Callable[[str], str]:
    # The same program takes it in the worker, so that the two cannot differ.
    found: Callable[[str], str] = run_path(str(PROGRAM))["signature"]
    return found


@dataclass(frozen=True, slots=True)
class Pass:
    """A test that has passed.

    :param names: the files that it depended on, sorted.
    :param fingerprint: what they were, see `fingerprint`.
    """

    names: tuple[str, ...]
    fingerprint: str


@dataclass(slots=True)
class Findings:
    """What one process has found out about the tests of an environment in one session.

    :param collected: all tests of the files that were looked at.
    :param run: those whose earlier passing counts no more.
    :param failed: those among them that have not passed, here or wherever else they were run.
    :param writes: the files of the project that tests wrote.
    :param left_out: the node ids of those that were not run, since they passed before.
    """

    label: str
    collected: list[str] = field(default_factory=list)
    passed: dict[str, Pass] = field(default_factory=dict)
    run: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    writes: dict[str, list[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """What can be sent to another process."""
        return {**{name: getattr(self, name) for name in _TOLD}, **_tabled(self.passed)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """Undo `to_dict`."""
        return cls(passed=_untabled(told), **{name: told[name] for name in _TOLD})


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of the tests in one environment.

    :param writes: the files of the project that each test wrote when it was last run.
    """

    passed: Mapping[str, Pass] = field(default_factory=dict)
    writes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def written(self) -> set[str]:
        """The files that tests write: who depends on one of them depends on another test."""
        return {name for names in self.writes.values() for name in names}

    def after(self, findings: Findings, root: Path) -> Record:
        """The record after a session; what is no test any more is left out of it."""
        collected = set(findings.collected)
        looked_at = {_file(key) for key in collected}
        is_there = cache(lambda name: (root / name).exists())

        def stays(key: str) -> bool:
            return key in collected or (_file(key) not in looked_at and is_there(_file(key)))

        gone = {*findings.run, *findings.passed}
        failed = set(findings.failed)
        new = {key: each for key, each in findings.passed.items() if key not in failed}
        passed = {key: each for key, each in self.passed.items() if stays(key) and key not in gone}
        writes = {key: each for key, each in self.writes.items() if stays(key) and key not in gone}
        return Record({**passed, **new}, {**writes, **findings.writes})

    def to_dict(self) -> dict[str, Any]:
        """The written form, before it becomes JSON."""
        return {"format": _FORMAT, "writes": dict(self.writes), **_tabled(self.passed)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """Undo `to_dict`.

        :raises ValueError: it is not what `to_dict` gives.
        """
        try:
            if told["format"] != _FORMAT:
                raise ValueError(f"format {told['format']!r} is not {_FORMAT}")
            writes = {str(key): [*map(str, names)] for key, names in told["writes"].items()}
            return cls(_untabled(told), writes)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


def read(folder: Path, identity: str) -> Record:
    """The record of the environment with that id; an empty one if there is none.

    :raises ValueError: what is there is no record.
    :raises OSError: it cannot be read.
    """
    path = _path(folder, identity)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        return Record.from_dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return Record()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def write(folder: Path, identity: str, record: Record) -> None:
    """Write the record of an environment: all of it or nothing. The oldest go where there are too many.

    :raises OSError: it cannot be written.
    """
    path = _path(folder, identity)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(record.to_dict(), separators=(",", ":")), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    kept = sorted(folder.glob("*.json"), key=lambda each: each.stat().st_mtime_ns, reverse=True)
    for each in kept[_MOST_RECORDS:]:
        each.unlink(missing_ok=True)


def _path(folder: Path, identity: str) -> Path:
    return folder / f"{Digest.parse(identity).hex}.json"


def _file(key: str) -> str:
    return key.partition("::")[0]


def _tabled(passed: Mapping[str, Pass]) -> dict[str, Any]:
    """Tests with their files, each file and each set of files written once."""
    files: dict[str, int] = {}
    sets: dict[tuple[str, ...], int] = {}
    tests = {key: [sets.setdefault(each.names, len(sets)), each.fingerprint] for key, each in passed.items()}
    numbered = [[files.setdefault(name, len(files)) for name in names] for names in sets]
    return {"files": list(files), "sets": numbered, "tests": tests}


def _untabled(told: Mapping[str, Any]) -> dict[str, Pass]:
    files = _texts(told["files"])
    sets = [tuple(sorted(files[_index(number)] for number in numbers)) for numbers in told["sets"]]
    tests = {}
    for key, (number, digest) in told["tests"].items():
        Digest(digest)
        tests[key] = Pass(sets[_index(number)], digest)
    return tests


def _index(number: Any) -> int:
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"{number!r} is no index")
    return number


def _texts(values: Iterable[Any]) -> list[str]:
    found = list(values)
    if not all(isinstance(each, str) for each in found):
        raise ValueError("a name that is no text")
    return found

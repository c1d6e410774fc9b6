"""Passed: leaving out tests that passed before in the same environment, with the same files.

`Passed` tells workers to look what each test depends on (`envbuild/inside/envbuild/seen.py`), records what passes, and
takes what has passed already from the tests to be run. Where anything is in doubt, the test is run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envbuild.digest import Digest
from envbuild.pytest_plugin import records
from envbuild.pytest_plugin.nodes import InsideTest
from envbuild.pytest_plugin.records import Files, Findings, Pass, Record

if TYPE_CHECKING:
    from envbuild.pytest_plugin.collected import Test
    from envbuild.pytest_plugin.environments import Environment
    from envbuild.pytest_plugin.inside import Inside

OPTION = "--envbuild-skip-passed"
DEPENDS = "envbuild_depends"

_FOLDER = "envbuild-passed"

_SHOWN = {
    "verbose", "quiet", "tbstyle", "color", "code_highlight", "showlocals", "reportchars", "basetemp", "fulltrace",
    "no_header", "no_summary", "xfail_tb", "fold_skipped", "no_fold_skipped", "usepdb", "usepdb_cls", "trace",
    "show_capture", "durations_min", "setupshow", "setuponly", "setupplan", "showfixtures",
    "show_fixtures_per_test", "help", "version", "disable_warnings", "last_failed_no_failures", "loadgroup",
    "testrunuid", "px", "rsyncdir", "rsyncignore", "maxschedchunk", "maxworkerrestart",
}  # fmt: skip
"""Options about what is shown, and where tests are run, which make no test pass or fail."""

_VARIABLES = ("PYTHON", "PYTEST_", "LANG", "LC_", "TZ")
"""How the environment variables begin that count although no test can be seen to read them."""

_NOT_COUNTED = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION", "PYTEST_XDIST_", "PYTEST_ADDOPTS")


def passing(config: pytest.Config) -> Passed | None:
    """Begin to leave out tests, if that is asked for, or to forget those that fail, if any are recorded."""
    asked = bool(config.getoption("envbuild_skip_passed") or config.getini("envbuild_skip_passed"))
    cache: Any = getattr(config, "cache", None)
    if cache is None:
        if not asked:
            return None
        raise pytest.UsageError(f"{OPTION} keeps what passed in pytest's cache, which -p no:cacheprovider turns off")
    if any(Path(pattern).is_absolute() for pattern in config.getini(DEPENDS)):
        raise pytest.UsageError(f"{DEPENDS}: patterns are as seen from the root folder, none begins with a slash")
    folder = Path(cache._cachedir) / "d" / _FOLDER
    if not asked and not folder.is_dir():
        return None
    made = Passed(config, folder, asked=asked)
    config.pluginmanager.register(made, "envbuild-passed")
    return made


class Passed:
    """What has passed, in one session.

    :param folder: where records are.
    :param asked: whether tests are to be left out and recorded; else those that fail are forgotten, and that is all.
    """

    def __init__(self, config: pytest.Config, folder: Path, *, asked: bool) -> None:
        self.config = config
        self.folder = folder
        self.asked = asked
        self.files = Files(config.rootpath)
        self.findings: dict[str, Findings] = {}
        self.notes: list[str] = []
        self._options: dict[str, Mapping[str, Any]] = {}
        self._workers: dict[Inside, _Told] = {}
        self._records: dict[str, Record] = {}
        self._written: dict[str, set[str]] = {}

    # -- what workers say

    def seen(self, environment: Environment, options: Mapping[str, Any]) -> dict[str, Any] | None:
        """What a worker is to do in order to see what tests depend on; ``None`` if it is not to look.

        :param options: those of the pytest inside.
        """
        if not self.asked:
            return None
        self._options[environment.id] = {name: each for name, each in options.items() if name not in _SHOWN}
        factory: Any = self.config._tmp_path_factory  # type: ignore[attr-defined]
        return {
            "program": records.PROGRAM.read_text(encoding="utf-8"),
            "root": str(self.config.rootpath),
            "ignored": [environment.prefix, *environment.lent, str(self.folder.parents[1]), str(factory.getbasetemp())],
        }

    def hear(self, inside: Inside, message: list[Any]) -> None:
        """Heed what a worker says of what tests depend on."""
        match message:
            case ["watching"]:
                self._workers[inside] = _Told()
            case ["seen", files]:
                self._workers[inside].see(files)
            case ["bases", told]:
                circumstances = self._circumstances(inside.environment, told["plugins"])
                self._workers[inside].base(told["sets"], told["of"], circumstances)
            case ["needs", number, needs, writes]:
                self._workers[inside].run(_Needs(number, tuple(needs), writes))
            case ["unsure", numbers]:
                self._workers[inside].unsure.update(numbers)

    def _circumstances(self, environment: Environment, plugins: Sequence[str]) -> str:
        """What all tests of an environment depend on besides files, in one digest."""
        config, root = self.config, self.config.rootpath
        variables = {**os.environ, **environment.declared}
        counted = [name for name in variables if name.startswith(_VARIABLES) and not name.startswith(_NOT_COUNTED)]
        told = {
            "settings": os.path.relpath(config.inipath, root) if config.inipath else "",
            "directory": os.path.relpath(config.invocation_params.dir, root),
            "options": self._options[environment.id],
            "wrapper": config.getoption("envbuild_wrapper") or config.getini("envbuild_wrapper"),
            # Where the environment lies, which may be among them, is no matter.
            "variables": {
                name: variables[name].replace(environment.prefix, "") for name in (*counted, *environment.declared)
            },
            "plugins": list(plugins),
            "files": {name: self.files.content(name) for name in self._named()},
        }
        return Digest.of(json.dumps(told, sort_keys=True).encode()).hex

    def _named(self) -> list[str]:
        """The files of which the user says that all tests depend on them."""
        root = self.config.rootpath
        found = {each for pattern in self.config.getini(DEPENDS) for each in root.glob(pattern)}
        return sorted(each.relative_to(root).as_posix() for each in found)

    def _found(self, environment: Environment) -> Findings:
        return self.findings.setdefault(environment.id, Findings(environment.label))

    # -- leaving out

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what passed before, of the tests that are left when all others have had their say."""
        if not self.asked:
            return
        left_out = [item for item in items if isinstance(item, InsideTest) and self._has_passed(item)]
        for item in left_out:
            self._found(item.inside.environment).left_out.append(item.nodeid)
        if left_out:
            gone = set(left_out)
            items[:] = [item for item in items if item not in gone]
            config.hook.pytest_deselected(items=left_out)

    def _has_passed(self, item: InsideTest) -> bool:
        told = self._workers.get(item.inside)
        record = self._record(item.inside.environment)
        before = record.passed.get(_key(item.test))
        if before is None or told is None:
            return False
        # A file that is imported now and was not then may well stand before another of its name.
        if not told.base_of(item.test.number).issubset(before.names):
            return False
        # What another test writes is not there before that has run.
        if not self._written[item.inside.environment.id].isdisjoint(before.names):
            return False
        return self._fingerprint(told, before.names) == before.fingerprint

    def _record(self, environment: Environment) -> Record:
        if environment.id not in self._records:
            record = self._records[environment.id] = self._read(environment.id, environment.label)
            self._written[environment.id] = record.written()
        return self._records[environment.id]

    def _fingerprint(self, told: _Told, names: tuple[str, ...]) -> str:
        if names not in told.fingerprints:
            contents = {name: self.files.content(name) for name in names}
            told.fingerprints[names] = records.fingerprint(told.circumstances, contents)
        return told.fingerprints[names]

    def _read(self, identity: str, label: str) -> Record:
        try:
            return records.read(self.folder, identity)
        except (OSError, ValueError) as error:
            self.notes.append(f"what passed before in {label} is not used, its record cannot be read: {error}")
            return Record()

    # -- recording

    def note(self, item: InsideTest, reports: Sequence[Any]) -> None:
        """Note how a test ended, which its worker has just told."""
        key = _key(item.test)
        findings = self._found(item.inside.environment)
        if not self.asked:
            if any(each.failed for each in reports):
                findings.run.append(key)
            return
        findings.run.append(key)
        has_passed = _all_passed(reports)
        if not has_passed:
            findings.failed.append(key)
        told = self._workers.get(item.inside)
        needs = told.taken() if told is not None else None
        if told is None or needs is None:
            # The worker was lost, and with it what it might still have said of those before.
            self.distrust(item.inside)
            return
        if needs.writes:
            findings.writes[key] = needs.writes
        if has_passed:
            told.passed[key] = needs

    def distrust(self, inside: Inside) -> None:
        """Take back what has passed in a worker that came to grief."""
        if inside in self._workers:
            self._workers[inside].passed.clear()

    def _conclude(self) -> None:
        """Make findings of what workers have told."""
        # Of a file of which only some tests were asked for, the others may be unknown.
        is_whole = not any("::" in argument for argument in self.config.args)
        for inside, told in self._workers.items():
            findings = self._found(inside.environment)
            if is_whole:
                findings.collected += [_key(test) for test in inside.all_tests()]
            told.fingerprints.clear()
            for key, needs in told.passed.items():
                names = told.names(needs)
                if needs.number not in told.unsure and self._is_settled(told, names):
                    findings.passed[key] = Pass(names, self._fingerprint(told, names))

    def _is_settled(self, told: _Told, names: tuple[str, ...]) -> bool:
        """Whether files still are what they were when a worker first saw them."""
        if names not in told.settled:
            told.settled[names] = all(self._stands(name, told.signatures[name]) for name in names)
        return told.settled[names]

    def _stands(self, name: str, signature: str) -> bool:
        return signature != "other" and self.files.signature(name) == signature

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Record what has passed, or leave that to the process that distributes the tests."""
        self._conclude()
        output = getattr(self.config, "workeroutput", None)
        if output is not None:
            output[_FOLDER] = {identity: each.to_dict() for identity, each in self.findings.items()}
            return
        if not self.config.getoption("collectonly"):
            self._save()
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and any(each.left_out for each in self.findings.values()):
            # All that there was to be done is done.
            session.exitstatus = pytest.ExitCode.OK

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a process to which tests were distributed has found out."""
        told: Mapping[str, Any] = getattr(node, "workeroutput", {}).get(_FOLDER, {})
        for identity, each in told.items():
            found = Findings.from_dict(each)
            ours = self.findings.setdefault(identity, Findings(found.label, left_out=found.left_out))
            ours.collected = found.collected or ours.collected
            ours.run += found.run
            ours.failed += found.failed
            ours.passed |= found.passed
            ours.writes |= found.writes

    def _save(self) -> None:
        for identity, findings in self.findings.items():
            before = self._read(identity, findings.label)
            if not self.asked and before.passed.keys().isdisjoint(findings.run):
                continue
            try:
                cache: Any = self.config.cache
                cache.mkdir(_FOLDER)
                records.write(self.folder, identity, before.after(findings, self.config.rootpath))
            except OSError as error:
                self.notes.append(f"what passed in {findings.label} cannot be recorded: {error}")

    # -- telling

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Which tests were left out, and what could not be kept."""
        for identity, findings in self.findings.items():
            count = len(findings.left_out)
            if count:
                terminalreporter.write_line(
                    f"envbuild: {count} test{'s' * (count != 1)} passed before in {findings.label} {identity} "
                    f"with the same files and {'were' if count != 1 else 'was'} left out ({OPTION})"
                )
            if self.config.getoption("verbose") > 0:
                for each in findings.left_out:
                    terminalreporter.write_line(f"  {each}")
        for note in dict.fromkeys(self.notes):
            terminalreporter.write_line(f"envbuild: {note}", yellow=True)


@dataclass(frozen=True, slots=True)
class _Needs:
    """What a test turned out to depend on: what it depends on when it is collected, and more.

    :param number: the test's, in its worker.
    """

    number: int
    more: tuple[int, ...]
    writes: list[str]


class _Told:
    """What one worker has told of what its tests depend on."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.signatures: dict[str, str] = {}
        self.circumstances = ""
        self.unsure: set[int] = set()
        self.passed: dict[str, _Needs] = {}
        self.fingerprints: dict[tuple[str, ...], str] = {}
        self.settled: dict[tuple[str, ...], bool] = {}
        self._bases: list[frozenset[str]] = []
        self._of: list[int] = []
        self._needs: _Needs | None = None
        self._names: dict[tuple[int, tuple[int, ...]], tuple[str, ...]] = {}

    def base(self, sets: Iterable[Iterable[int]], of: list[int], circumstances: str) -> None:
        """Take what its tests depend on as soon as they are collected."""
        self._bases = [frozenset(self.files[number] for number in numbers) for numbers in sets]
        self._of = of
        self.circumstances = circumstances

    def base_of(self, number: int) -> frozenset[str]:
        """What a test depends on as soon as it is collected."""
        return self._bases[self._of[number]]

    def see(self, files: Iterable[Sequence[str]]) -> None:
        """Take files, which get the next numbers."""
        for name, signature in files:
            self.files.append(name)
            self.signatures[name] = signature

    def run(self, needs: _Needs) -> None:
        """Take what the test that was run just now depends on."""
        self._needs = needs

    def taken(self) -> _Needs | None:
        """What the last test depends on; ``None`` if that was not told."""
        needs, self._needs = self._needs, None
        return needs

    def names(self, needs: _Needs) -> tuple[str, ...]:
        """All files that a test depends on, sorted."""
        key = self._of[needs.number], needs.more
        if key not in self._names:
            more = {self.files[number] for number in needs.more}
            self._names[key] = tuple(sorted(self._bases[key[0]] | more))
        return self._names[key]


def _key(test: Test) -> str:
    """What a record knows a test by."""
    return f"{test.nodeid}#{test.occurrence}" if test.occurrence else test.nodeid


def _all_passed(reports: Sequence[Any]) -> bool:
    """Whether a test passed, from its setup to its teardown: neither skipped nor expected to fail, nor tried twice."""
    phases = {each.when for each in reports}
    return {"setup", "call", "teardown"} <= phases and all(
        each.outcome == "passed" and not hasattr(each, "wasxfail") for each in reports
    )

"""Hosting: the part of the pytest plugin that finds out which tests run in environments, and in which."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envbuild import EnvbuildError
from envbuild.pytest_plugin import company, marks, placing, selection
from envbuild.pytest_plugin.collected import SkippedInside
from envbuild.pytest_plugin.environments import Environments, located
from envbuild.pytest_plugin.fixtures import NAMES as FIXTURES
from envbuild.pytest_plugin.inside import Inside
from envbuild.pytest_plugin.nodes import InsideFile, InsideTest
from envbuild.pytest_plugin.passed import Passed, passing
from envbuild.pytest_plugin.running import Running
from envbuild.pytest_plugin.standins import PerhapsModule, Unavailable, lets_others_run
from envbuild.pytest_plugin.starting import Starter, measures
from envbuild.pytest_plugin.telling import Told
from envbuild.pytest_plugin.watching import mentions, modules

if TYPE_CHECKING:
    from envbuild.pytest_plugin.conftests import Conftests
    from envbuild.pytest_plugin.environments import Environment
    from envbuild.pytest_plugin.marks import Marked


class Hosting:
    """Finds the tests of one session that run in environments; `Running` has them run there.

    :param options: those of the command line, as far as they are known.
    :param inis: the settings that only we know.
    """

    def __init__(
        self,
        config: pytest.Config,
        options: argparse.Namespace,
        inis: Sequence[str],
        conftests: Conftests,
        *,
        has_terminal: bool,
    ) -> None:
        self.config = config
        self.options = options
        self.conftests = conftests
        self.everywhere = _asked(config, options)
        self.environments = Environments(
            config.rootpath,
            wanted=("pytest", "coverage") if measures(options) else ("pytest",),
            offline=options.envbuild_offline,
            locked=options.envbuild_locked,
            progress=Told(config),
        )
        self.starter = Starter(config, options, inis, conftests.passed_on, has_terminal=has_terminal)
        self.passed: Passed | None = None
        self.running = Running(self)
        self.insides: dict[str, Inside] = {}
        self._marked: dict[Path, Marked] = {}
        self._seen: dict[Path, int] = {}
        self._wrong: set[Path] = set()
        self._broken: dict[str, EnvbuildError] = {}
        # Errors of collecting that do not keep the rest from being run.
        self.tolerated = 0

    def start_early(self) -> None:
        """Start workers in environments that are at hand, while pytest is still being set up here."""
        for spec in self.everywhere:
            environment = self.environments.at_hand(spec)
            if environment is not None:
                self.starter.start_early(environment)

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Now all options are known."""
        self.options = self.starter.options = config.option
        self.passed = self.starter.passed = passing(config)

    # -- finding out which tests there are

    def inside(self, spec: str, *, files: Sequence[str] | None) -> Inside:
        """The tests in one environment; its worker begins to collect them.

        :raises EnvbuildError: the environment cannot be had.
        """
        if spec not in self.insides:
            environment = self._environment(spec)
            limit = self.options.envbuild_timeout or float(self.config.getini("envbuild_timeout") or 0)
            self.insides[spec] = Inside(
                environment,
                spec,
                self.config,
                self.starter,
                everywhere=spec in self.everywhere,
                files=files,
                limit=limit or None,
            )
            self.insides[spec].begin()
        return self.insides[spec]

    def _environment(self, spec: str) -> Environment:
        if spec in self._broken:
            raise self._broken[spec]
        try:
            return self.environments.get(spec)
        except EnvbuildError as error:
            # Not tried again for each file.
            self._broken[spec] = error
            raise

    def begin(self) -> None:
        """Start the workers that all tests run in, side by side.

        :raises EnvbuildError: an environment cannot be had.
        """
        for spec in self.everywhere:
            self.inside(spec, files=None)

    def prepare(self, arguments: list[str]) -> None:
        """Look which environments are named, before anything is collected, and which tests.

        All modules that may be collected are looked at, so that a worker collects all of its own at once.

        :param arguments: those of pytest; names of tests become what they are called here.
        :raises UsageError: a test is asked for that does not exist, or something that cannot be done there.
        """
        company.refuse(self.config)
        for path in modules(self.config, arguments):
            self._marks(path)
        try:
            self.begin()
        except EnvbuildError as error:
            raise pytest.UsageError(error.message) from error
        if not hasattr(self.config, "workerinput"):
            for refusal in (self.insides[spec].refusal() for spec in self.everywhere if spec in self.insides):
                if refusal:
                    raise pytest.UsageError("\n".join((refusal, *self.conftests.described(self.config.rootpath))))
            self._tell(company.headings(self.config, [self.insides[spec] for spec in self.everywhere]))
        arguments[:] = selection.understood(self, arguments)

    def _marks(self, path: Path) -> Marked:
        """What can be seen of the marks in a file."""
        if path not in self._seen:
            self._seen[path] = len(self._seen)
            found = marks.read(path.read_bytes(), self._is_test) if mentions(path) else marks.NOTHING
            if found.specs or found.wrong:
                self._marked[path] = found
        return self._marked.get(path, marks.NOTHING)

    def _is_test(self, name: str) -> bool:
        return any(
            name.startswith(pattern) or fnmatch(name, pattern) for pattern in self.config.getini("python_functions")
        )

    def specs(self, path: Path) -> list[str]:
        """The environments that marks in a file name, as `located` gives them."""
        folders = (path.parent, self.config.rootpath)
        return list(dict.fromkeys(located(each, *folders) for each in self._marks(path).specs))

    def is_only_inside(self, path: Path) -> bool:
        """Whether no test of a file runs here."""
        return bool(self.everywhere) or self._marks(path).every

    def is_told_wrong(self, path: Path) -> bool:
        """Whether it was reported already that marks in a file are not as they should be."""
        return path in self._wrong

    def files(self, spec: str) -> list[str]:
        """All files with tests whose mark names an environment."""
        return [str(path) for path in self._marked if spec in self.specs(path)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Where others collect for us, they also look for settings that nobody knows."""
        if self.config.pluginmanager.has_plugin("dsession"):
            self._know_all()

    def _know_all(self) -> None:
        # pytest 9 has given it another name.
        self._know(vars(self.config).get("_inicfg") or vars(self.config).get("inicfg") or ())

    def _know(self, settings: Iterable[str]) -> None:
        """Take on settings that plugins inside know, before pytest looks for those that nobody knows."""
        parser: Any = self.config._parser
        for name in settings:
            if name not in parser._inidict:
                parser.addini(name, "of a plugin inside an environment")

    @pytest.hookimpl(wrapper=True)
    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> Generator[None, Any, Any]:
        """Put tests that run in environments in the place of, or beside, those that run here."""
        found: list[pytest.Collector] = yield
        return self.hosted(file_path, parent, found)

    def hosted(
        self, file_path: Path, parent: pytest.Collector, found: list[pytest.Collector]
    ) -> list[pytest.Collector]:
        """What is to be collected of a file.

        :param found: what there is of it here.
        """
        marked = self._marks(file_path)
        specs = self.specs(file_path)
        insides, reasons = self._asked_for(file_path, [*self.everywhere, *specs])
        shown = [
            InsideFile.from_parent(parent, path=file_path, inside=has)
            for has in insides
            if has.spec not in self.everywhere or file_path in has.paths() or (has.is_lost and found)
        ]
        here = self.conftests.checked(file_path, parent, found, needed=not marked.every)
        leaves_out = any(has.leaves_out(file_path) for has in insides)
        here = [] if marked.whole or (self.everywhere and not leaves_out) else here
        return [*here, *shown, *(Unavailable.from_parent(parent, path=file_path, reason=each) for each in reasons)]

    def _asked_for(self, path: Path, specs: Iterable[str]) -> tuple[list[Inside], list[str]]:
        """The environments that tests of a file are for, and why some cannot be had."""
        wrong = [f"{path}:{line}: {reason}" for line, reason in self._marks(path).wrong]
        insides: list[Inside] = []
        reasons: list[str] = []
        asked = dict.fromkeys(specs)
        waiting = deque(asked)
        while waiting:
            spec = waiting.popleft()
            try:
                insides.append(self.covering(spec, path))
            except EnvbuildError as error:
                reasons.append(self._unavailable(path, spec, error))
            if not waiting:
                # Not all that a mark names can be seen without importing it.
                waiting.extend(dict.fromkeys(each for has in insides for each in has.others(path) if each not in asked))
                asked |= dict.fromkeys(waiting)
        wrong = wrong or list(dict.fromkeys(each for has in insides for each in has.wrong(path)))
        if wrong:
            self._wrong.add(path)
        return insides, [*wrong, *reasons]

    def covering(self, spec: str, path: Path) -> Inside:
        """The tests in one environment, those of a file among them.

        :raises EnvbuildError: the environment cannot be had.
        """
        if spec in self.everywhere:
            return self.inside(spec, files=None)
        has = self.inside(spec, files=self.files(spec) or [str(path)])
        if has.files is not None and str(path) not in has.files:
            # In the order in which pytest collects them.
            has.include(sorted((*has.files, str(path)), key=lambda each: self._seen.get(Path(each), len(self._seen))))
        return has

    def _unavailable(self, path: Path, spec: str, error: EnvbuildError) -> str:
        """Say why an environment cannot be had, and where it is asked for."""
        folders = (path.parent, self.config.rootpath)
        lines = (line for each, line in self._marks(path).lines.items() if located(each, *folders) == spec)
        line = next(lines, None)
        return error.message if line is None else f"{path}:{line}: {error.message}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makemodule(self, module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
        """A module of which every test runs in an environment need not be importable here."""
        if self._marks(module_path).every:
            return PerhapsModule.from_parent(parent, path=module_path)
        return None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> Generator[None, Any, Any]:
        """Have tests run where their marks say, and leave out what is not wanted."""
        self.place(session, items)
        selection.deselect(self.config, items)
        with company.order_left_inside(self.config, items):
            return (yield)

    def _is_elsewhere(self, item: pytest.Item) -> bool:
        """Whether a test that was collected here has no mark, and runs where all do."""
        if not self.everywhere or item.get_closest_marker(marks.NAME) is not None:
            return False
        return not FIXTURES.intersection(getattr(item, "fixturenames", ()))

    def place(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Put in the place of tests with marks what environments have of them, in the order that it has there."""
        items[:] = [each for each in items if isinstance(each, InsideTest) or not self._is_elsewhere(each)]
        placing.place(self, session, items)
        for inside in self.insides.values():
            places = [place for place, each in enumerate(items) if getattr(each, "inside", None) is inside]
            found: list[Any] = [items[place] for place in places]
            if any(one.position > other.position for one, other in pairwise(found)):
                # A plugin out here has put them in an order of its own.
                continue
            ordered = sorted(found, key=inside.place)
            for place, each in zip(places, ordered, strict=True):
                items[place] = each

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        """Note which errors are of an environment, or of its lack: what else there is runs all the same."""
        report = yield
        report.lets_others_run = lets_others_run(collector, self._marked)
        call: Any = getattr(report, "call", None)
        if call is not None and call.excinfo is not None and isinstance(call.excinfo.value, SkippedInside):
            # A file is skipped where it says so.
            report.longrepr = call.excinfo.value.skipped
        return report

    def pytest_collectreport(self, report: Any) -> None:
        """Count them."""
        self.tolerated += report.failed and getattr(report, "lets_others_run", False)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take on what the environments know, and refuse to debug where nobody could be talked to.

        :raises UsageError: a debugger is asked for in tests that run in environments, and there is no terminal.
        """
        self._know([name for each in self.insides.values() for name in each.inis])
        # pytest comes here after an interrupt too, when nobody is to wait for a worker.
        if any(each.was_lost for each in self.insides.values()):
            # What it would have known nobody can tell.
            self._know_all()
        asked = [name for name in ("--pdb", "--trace") if self.config.getoption(name, False)]
        if asked and not self.starter.can_debug and any(isinstance(each, InsideTest) for each in session.items):
            raise pytest.UsageError(
                f"{asked[0]}: to debug inside an environment takes a terminal as standard input, and no wrapper"
            )

    def pytest_unconfigure(self) -> None:
        """Let go of the environments; workers are ended already, unless pytest came to grief."""
        self.running.end_workers()
        self.starter.close()
        self.environments.close()

    # -- telling

    def pytest_report_header(self) -> list[str]:
        """Which environments all tests run in."""
        if hasattr(self.config, "workerinput"):
            return []
        try:
            if not self.config.pluginmanager.has_plugin("dsession"):
                self.begin()
            told = [self.environments.get(spec).described for spec in self.everywhere]
            return [f"envbuild: {each}" for each in (*told, *self.conftests.described(self.config.rootpath))]
        except EnvbuildError as error:
            raise pytest.UsageError(error.message) from error

    def _tell(self, lines: Iterable[str]) -> None:
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        for line in lines if reporter is not None else ():
            reporter.write_line(line)

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        """Which environments the marks have asked for."""
        asked = [inside for spec, inside in self.insides.items() if spec not in self.everywhere]
        counts = {inside: sum(getattr(each, "inside", None) is inside for each in items) for inside in asked}
        told = [f"envbuild: {counts[inside]} in {inside.environment.described}" for inside in asked]
        return [*told, *company.headings(self.config, asked)]

    @pytest.hookimpl(wrapper=True)
    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Generator[None, Any, Any]:
        """Say so if a plugin is to blame that cannot do with stand-ins."""
        result = yield
        blamed = company.blamed(self.config, excinfo.tb) if self.insides else ""
        self._tell([blamed] if blamed else [])
        return result

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Have all processes of pytest-xdist shuffle alike."""
        node.workerinput.setdefault("randomly_seed", self.starter.seed)


def _asked(config: pytest.Config, options: argparse.Namespace) -> list[str]:
    """The environments for all tests that have no mark, as `located` gives them.

    :raises UsageError: one is named by nothing.
    """
    if any(not each.strip() for each in options.envbuild or ()):
        raise pytest.UsageError("--envbuild: an empty SPEC names no environment")
    given = [located(each, config.invocation_params.dir) for each in options.envbuild or ()]
    return list(dict.fromkeys(given or (located(each, config.rootpath) for each in config.getini("envbuild"))))

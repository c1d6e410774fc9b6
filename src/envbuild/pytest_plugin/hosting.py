"""Hosting: the part of the pytest plugin that finds out which tests run in environments, and has them run there."""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Generator, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envbuild import EnvbuildError
from envbuild.pytest_plugin import marks
from envbuild.pytest_plugin.environments import Environments, located
from envbuild.pytest_plugin.inside import Inside
from envbuild.pytest_plugin.nodes import InsideFile, InsideTest
from envbuild.pytest_plugin.passed import Passed, passing
from envbuild.pytest_plugin.starting import Starter, measures

if TYPE_CHECKING:
    from envbuild.pytest_plugin.inside import Following
    from envbuild.pytest_plugin.marks import Marked


class Hosting:
    """Hosts tests in environments for one session.

    :param options: those of the command line, as far as they are known.
    :param inis: the settings that only we know.
    """

    def __init__(self, config: pytest.Config, options: argparse.Namespace, inis: Sequence[str]) -> None:
        self.config = config
        self.options = options
        self.everywhere = _asked(config, options)
        self.environments = Environments(
            config.rootpath,
            wanted=("pytest", "coverage") if measures(options) else ("pytest",),
            offline=options.envbuild_offline,
            locked=options.envbuild_locked,
            progress=_Told(config),
        )
        self.starter = Starter(config, options, inis)
        self.passed: Passed | None = None
        self.insides: dict[str, Inside] = {}
        self.trouble: list[str] = []
        self._marked: dict[Path, Marked] = {}
        self._positions: dict[pytest.Item, int] = {}
        self._following: dict[pytest.Item, Following] = {}

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
            environment = self.environments.get(spec)
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
            self.insides[spec].passed = self.passed
            self.insides[spec].begin()
        return self.insides[spec]

    def begin(self) -> None:
        """Start the workers that all tests run in, side by side.

        :raises EnvbuildError: an environment cannot be had.
        """
        for spec in self.everywhere:
            self.inside(spec, files=None)

    def look(self, arguments: Sequence[str]) -> None:
        """Read the marks of all modules that may be collected, so that a worker collects all of its own at once."""
        for path in _modules(self.config, arguments):
            try:
                found = marks.read(path.read_bytes(), self._is_test)
            except OSError:
                continue
            if found.specs:
                self._marked[path] = found

    def _is_test(self, name: str) -> bool:
        return any(
            name.startswith(pattern) or fnmatch(name, pattern) for pattern in self.config.getini("python_functions")
        )

    def specs(self, path: Path) -> list[str]:
        """The environments that marks in a file name, as `located` gives them."""
        marked = self._marked.get(path)
        if marked is None:
            return []
        return list(dict.fromkeys(located(each, path.parent, self.config.rootpath) for each in marked.specs))

    def files(self, spec: str) -> list[str]:
        """All files with tests whose mark names an environment."""
        return [str(path) for path in self._marked if spec in self.specs(path)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """Look which environments are named, before anything is collected, and have them all collect at once."""
        self.look(session.config.args)
        try:
            self.begin()
        except EnvbuildError as error:
            raise pytest.UsageError(error.message) from error

    @pytest.hookimpl(wrapper=True)
    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> Generator[None, Any, Any]:
        """Put tests that run in environments in the place of, or beside, those that run here."""
        found: list[pytest.Collector] = yield
        inside: list[pytest.Collector] = []
        specs = self.specs(file_path)
        for spec in dict.fromkeys([*self.everywhere, *specs]):
            files = None if spec in self.everywhere else self.files(spec)
            try:
                has = self.inside(spec, files=files)
            except EnvbuildError as error:
                inside.append(Unavailable.from_parent(parent, path=file_path, reason=error.message))
                continue
            if spec in specs or file_path in has.paths() or (found and has.is_lost):
                inside.append(InsideFile.from_parent(parent, path=file_path, inside=has))
        marked = self._marked.get(file_path, marks.NOTHING)
        here: list[pytest.Collector] = [] if self.everywhere or marked.whole else found
        return [*here, *inside]

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makemodule(self, module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
        """A module of which every test runs in an environment need not be importable here."""
        if self._marked.get(module_path, marks.NOTHING).every:
            return PerhapsModule.from_parent(parent, path=module_path)
        return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out here what runs in an environment, and take on the order that it has there."""
        items[:] = [each for each in items if isinstance(each, InsideTest) or not self._is_elsewhere(each)]
        for inside in self.insides.values():
            places = [place for place, each in enumerate(items) if getattr(each, "inside", None) is inside]
            ordered = sorted((items[place] for place in places), key=lambda each: each.test.number)  # type: ignore[attr-defined]
            for place, each in zip(places, ordered, strict=True):
                items[place] = each

    def _is_elsewhere(self, item: pytest.Item) -> bool:
        return item.get_closest_marker(marks.NAME) is not None

    # -- running them

    def _number(self, items: Sequence[pytest.Item]) -> None:
        """Note in which order tests will come."""
        self._positions = {item: position for position, item in enumerate(items)}
        following: dict[Inside, InsideTest] = {}
        for item in reversed(items):
            if isinstance(item, InsideTest):
                self._following[item] = following.get(item.inside)
                following[item.inside] = item

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Run the tests, and end the workers before anything is made of what they have left."""
        if not hasattr(session.config, "workerinput"):
            self._number(session.items)
        if all(isinstance(each, InsideTest) for each in session.items):
            # What is here now stays to the end; nothing that tests do here could be hidden by that.
            gc.freeze()
        try:
            return (yield)
        finally:
            for inside in self.insides.values():
                inside.ask_to_finish()
            for inside in self.insides.values():
                trouble = inside.finish()
                if trouble:
                    if self.passed is not None:
                        self.passed.distrust(inside)
                    self.trouble.append(f"{inside.environment}\n{trouble}")
                    session.testsfailed += 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Have a test of ours run where it belongs."""
        if not isinstance(item, InsideTest):
            return None
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = item.inside.run(item, self._coming(item, nextitem))
        if self.passed is not None:
            self.passed.note(item, reports)
        for report in reports:
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        asked = item.inside.stop_asked()
        if asked:
            item.session.shouldstop = asked
        return True

    def _coming(self, item: InsideTest, nextitem: pytest.Item | None) -> Iterator[tuple[InsideTest, Following]]:
        """The test, and those in the same environment that come right after it, each with what follows it there."""
        if item not in self._positions:
            # Somebody else distributes the tests, and tells of no more than the next.
            if nextitem is None:
                yield item, None
            elif isinstance(nextitem, InsideTest) and nextitem.inside is item.inside:
                yield item, nextitem
            else:
                yield item, "more"
            return
        items = item.session.items
        for position in range(self._positions[item], len(items)):
            each = items[position]
            if not isinstance(each, InsideTest) or each.inside is not item.inside:
                return
            yield each, self._following[each]

    def pytest_unconfigure(self) -> None:
        """Let go of the environments; workers are ended already, unless pytest came to grief."""
        for inside in self.insides.values():
            inside.ask_to_finish()
            inside.finish()
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
            return [f"envbuild: {self.environments.get(spec).described}" for spec in self.everywhere]
        except EnvbuildError as error:
            raise pytest.UsageError(error.message) from error

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        """Which environments the marks have asked for."""
        asked = [inside for spec, inside in self.insides.items() if spec not in self.everywhere]
        counts = {inside: sum(getattr(each, "inside", None) is inside for each in items) for inside in asked}
        return [f"envbuild: {counts[inside]} in {inside.environment.described}" for inside in asked]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """What went wrong when the workers ended."""
        for trouble in self.trouble:
            terminalreporter.section("envbuild", red=True)
            terminalreporter.write_line(trouble)


def _asked(config: pytest.Config, options: argparse.Namespace) -> list[str]:
    """The environments for all tests that have no mark, as `located` gives them."""
    given = [located(each, config.invocation_params.dir) for each in options.envbuild or ()]
    return list(dict.fromkeys(given or (located(each, config.rootpath) for each in config.getini("envbuild"))))


class Unavailable(pytest.File):
    """The tests of a file in an environment that cannot be had."""

    def __init__(self, *, reason: str, **options: Any) -> None:
        super().__init__(**options)
        self.reason = reason

    def collect(self) -> list[pytest.Item]:
        """Say why there are none."""
        raise self.CollectError(self.reason)


class PerhapsModule(pytest.Module):
    """A module of which every test that can be seen runs in an environment."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        """Give what there is; nothing where the module cannot be imported here."""
        try:
            return list(super().collect())
        except self.CollectError as error:
            if isinstance(error.__cause__, ImportError):
                return []
            raise


def _modules(config: pytest.Config, arguments: Sequence[str]) -> Iterator[Path]:
    """The Python files that pytest may come upon."""
    patterns = config.getini("python_files")
    skipped = config.getini("norecursedirs")
    for argument in arguments:
        path = config.invocation_params.dir / argument.partition("::")[0]
        if path.is_file():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(each for each in folders if not any(fnmatch(each, pattern) for pattern in skipped))
            yield from (
                Path(folder, name)
                for name in sorted(names)
                if name.endswith(".py") and any(fnmatch(name, pattern) for pattern in patterns)
            )


class _Told:
    """Progress, as lines of the terminal reporter."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def step(self, doing: str) -> Any:
        from contextlib import nullcontext

        self.note(doing)
        return nullcontext()

    def note(self, message: str) -> None:
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and self.config.getoption("verbose") >= 0:
            reporter.ensure_newline()
            reporter.write_line(f"envbuild: {message}")

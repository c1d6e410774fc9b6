"""Inside: the tests of one session in one environment.

`Inside` has a worker collect them and run them, and replaces it when it is lost.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from envbuild.pytest_plugin.collected import SkippedInside, Test
from envbuild.pytest_plugin.environments import Environment, located
from envbuild.pytest_plugin.fixtures import NAMES as FIXTURES
from envbuild.pytest_plugin.reports import Reports
from envbuild.pytest_plugin.warned import Warned
from envbuild.pytest_plugin.worker import Worker, WorkerLost

if TYPE_CHECKING:
    from envbuild.pytest_plugin.nodes import InsideTest
    from envbuild.pytest_plugin.starting import Starter

    Following = InsideTest | None | Literal["more"]
    """What a worker is to run next: nothing, or something that is not known yet."""

_AHEAD = 64
"""How many tests a worker is told of at a time. What that takes fits into a pipe many times over, so that neither side
ever waits for the other to read."""

_FINISHING = 60.0
"""How long a worker may take to tear down what is left, in seconds, where tests have no limit."""


class Inside:
    """The tests of a session in one environment.

    :param environment: the environment.
    :param spec: what it is asked for by, as `located` gives it.
    :param everywhere: whether it is for all tests, rather than for those only whose mark names it.
    :param files: those to be collected there; ``None`` for what pytest was asked for.
    :param limit: the seconds that a test may take.
    :ivar inis: the settings that the pytest inside knows.
    :ivar plugins: the packages that its plugins come from, as `company.package` has them.
    :ivar headings: what plugins there say at the top, each with its package.
    :ivar summaries: what some of them had to say when all tests were done.
    """

    def __init__(
        self,
        environment: Environment,
        spec: str,
        config: pytest.Config,
        starter: Starter,
        *,
        everywhere: bool,
        files: Sequence[str] | None,
        limit: float | None,
    ) -> None:
        self.environment = environment
        self.spec = spec
        self.label = environment.label
        self.config = config
        self.everywhere = everywhere
        self.files = files
        self.inis: list[str] = []
        self.plugins: frozenset[str] = frozenset()
        self.headings: list[tuple[str, str]] = []
        self.summaries: list[str] = []
        self._limit = limit
        # A debugger's prompt comes when all before it has been told.
        is_debugged = config.getoption("usepdb", False) or config.getoption("trace", False)
        self._ahead = 1 if is_debugged or at_once(config) else _AHEAD
        self._starter = starter
        self._reports = Reports(config, environment)
        self._warned = Warned()
        self._worker: Worker | None = None
        self._lost = ""
        self._has_refused = False
        self._is_ending = False
        self._is_debugged = False
        self._is_collected = False
        self._has_chosen = False
        self._errors: dict[str, str] = {}
        self._skips: dict[str, tuple[str, int, str]] = {}
        self._crashed: dict[str, str] = {}
        self._collecting: str | None = None
        self._tests: dict[str, list[Test]] = {}
        self._numbers: dict[tuple[str, int], int] = {}
        self._outstanding: dict[tuple[str, int], None] = {}
        self._told: list[str] = []
        self._running = ""

    # -- collecting

    def begin(self) -> None:
        """Start the worker, which begins to collect, unless there is nothing left to be collected.

        :raises WorkerLost: it cannot be started.
        """
        if self._worker is None and not self._is_collected:
            files = self._still_asked_for()
            if files is None or files:
                self._warned.begin()
                self._worker = self._starter.start(self.environment, files, list(self._crashed))

    def _still_asked_for(self) -> Sequence[str] | None:
        """What the worker is to collect; ``None`` for what pytest was asked for."""
        if not self._crashed:
            return self.files
        asked = self._starter.arguments if self.files is None else self.files
        folder = self.config.invocation_params.dir
        # What is named is collected even where it is to be ignored. The links that lead there are part of its name.
        return [each for each in asked if os.path.abspath(folder / each) not in self._crashed]  # noqa: PTH100

    @property
    def is_lost(self) -> bool:
        """Whether the worker has come to an end before it had collected anything."""
        self._collect()
        return bool(self._lost)

    @property
    def was_lost(self) -> bool:
        """Whether that is known already; nobody waits for the worker to collect."""
        return bool(self._lost)

    def refusal(self) -> str:
        """Why pytest did not begin there at all; empty if it did."""
        self._collect()
        return f"{self._lost}\n(inside {self.environment})" if self._has_refused else ""

    def paths(self) -> set[Path]:
        """The files of which the worker has anything to say."""
        self._collect()
        said = (*self._tests, *self._errors, *self._skips, *self._crashed)
        return {self.config.rootpath / each for each in said}

    def include(self, files: Sequence[str]) -> None:
        """Have the worker collect these files too; it has run nothing yet.

        :param files: all that it is to collect.
        :raises WorkerLost: it cannot be started again.
        """
        self.ask_to_finish()
        self.finish()
        self.files = files
        self._tests.clear()
        self._is_collected = False
        self._lost = ""
        self.begin()

    def place(self, item: Any) -> int:
        """A test's place in the order that the worker has."""
        return self._numbers[item.test.key]

    def has_collected(self, path: Path) -> bool:
        """Whether the worker could collect a file."""
        try:
            self.tests(path)
        except (pytest.Collector.CollectError, pytest.skip.Exception):
            return False
        return True

    def others(self, path: Path) -> list[str]:
        """All environments that tests of a file name, as `located` gives them."""
        self._collect()
        folders = (path.parent, self.config.rootpath)
        tests = self._tests.get(str(path), ())
        named = dict.fromkeys(spec for test in tests for spec in test.specs or ())
        return list(dict.fromkeys(located(spec, *folders) for spec in named))

    def wrong(self, path: Path) -> list[str]:
        """What is wrong with the marks of tests of a file."""
        self._collect()
        tests = self._tests.get(str(path), ())
        return [f"{path}:{(test.location[1] or 0) + 1}: {test.wrong}" for test in tests if test.wrong]

    def tests(self, path: Path, only: Container[str] | None = None) -> list[Test]:
        """The tests of a file that are for this environment.

        :param only: the names of tests that are known to be; ``None`` to go by their marks.
        :raises CollectError: the file, or something above it, could not be collected.
        """
        self._collect()
        if self._lost:
            raise pytest.Collector.CollectError(f"{self._lost}\n(inside {self.environment})")
        for place in (path, *path.parents):
            name = place.relative_to(self.config.rootpath).as_posix() if self._is_below(place) else str(place)
            name = "" if name == "." else name
            if str(place) in self._crashed:
                raise pytest.Collector.CollectError(f"{self._crashed[str(place)]}\n(inside {self.environment})")
            if name in self._errors:
                raise pytest.Collector.CollectError(f"{self._errors[name].rstrip()}\n(inside {self.environment})")
            if name in self._skips:
                raise SkippedInside(self._skips[name])
        tests = self._tests.get(str(path), ())
        return [test for test in tests if (self.is_for(test) if only is None else test.nodeid in only)]

    def _is_below(self, place: Path) -> bool:
        return self.config.rootpath in (place, *place.parents)

    def all_tests(self) -> list[Test]:
        """What the worker has collected, whichever environment it is for."""
        return [test for tests in self._tests.values() for test in tests]

    def is_for(self, test: Test) -> bool:
        """Whether a test is to run in this environment."""
        specs = test.specs
        if specs is None:
            return self.everywhere and not FIXTURES.intersection(test.fixtures)
        folders = (Path(test.path).parent, self.config.rootpath)
        return any(located(spec, *folders) == self.spec for spec in specs)

    def leaves_out(self, path: Path) -> bool:
        """Whether the file has tests without a mark that run outside all the same, for they ask for our fixtures."""
        self._collect()
        tests = self._tests.get(str(path), ())
        return self.everywhere and any(test.specs is None and not self.is_for(test) for test in tests)

    def _collect(self) -> None:
        while not self._is_collected:
            try:
                self.begin()
                if self._worker is not None:
                    self._take(self._said("collected"))
            except WorkerLost as error:
                self.kill()
                # That it is lost at the same file again means that it cannot be kept from it.
                if self._collecting is None or self._collecting in self._crashed or self._has_refused:
                    self._lost = str(error)
                else:
                    # The others can be collected without the file that was its end.
                    self._crashed[self._collecting], self._collecting = str(error), None
                    continue
            self._is_collected = True

    def _take(self, message: list[Any]) -> None:
        """Note what a worker has collected; what tests there are stays as the first has said."""
        self._errors = message[1]["errors"]
        self._skips = {name: tuple(skip) for name, skip in message[1]["skips"].items()}
        self._collecting = None
        self._has_chosen = False
        self.inis = message[1]["inis"]
        self.plugins = frozenset(message[1]["plugins"])
        self.headings = [(package, line) for package, line in message[1]["headings"]]
        seen: dict[str, int] = {}
        self._numbers.clear()
        again = bool(self._tests)
        for number, (path, nodeid, *described) in enumerate(message[1]["tests"]):
            occurrence = seen[nodeid] = seen.get(nodeid, -1) + 1
            self._numbers[nodeid, occurrence] = number
            if not again:
                test = Test(number, occurrence, path, nodeid, *described)
                self._tests.setdefault(path, []).append(test)

    # -- running

    def run(self, item: InsideTest, coming: Iterable[tuple[InsideTest, Following]]) -> Iterator[Any]:
        """Run a test, and give what is to be reported of it, as it comes in.

        :param coming: the test, and those that are sure to be run behind it, each with what follows it: they are on
            their way while this one goes on.
        :raises Exit: it has asked for the end of the session; likewise `KeyboardInterrupt`.
        """
        started = time.time()
        self._running = item.nodeid
        try:
            worker = self._worker or self._another(item)
            if not self._has_chosen:
                self._choose(worker, item)
            if item.test.key not in self._outstanding or len(self._outstanding) < self._ahead // 2:
                self._send(worker, coming)
            while (message := self._said("report", "done"))[0] == "report":
                yield self._reports.report(item, message[1])
                worker.send("report")
        except (WorkerLost, pytest.fail.Exception) as error:
            # The second is a plugin's out here, such as pytest-timeout's, that thinks this is the test.
            self.kill()
            yield self._reports.crash(item, str(error), started)
            return
        del self._outstanding[item.test.key]
        yield from (self._reports.report(item, each) for each in message[2])

    def _choose(self, worker: Worker, item: InsideTest) -> None:
        """Tell a worker which tests it is to run, the first of which is ``item``, as far as anybody can know."""
        items: Sequence[Any] = item.session.items
        keys = [each.test.key for each in items[items.index(item) :] if getattr(each, "inside", None) is self]
        worker.send("chosen", [self._numbers[key] for key in keys if key in self._numbers])
        self._has_chosen = True

    def _another(self, item: InsideTest) -> Worker:
        """Start another worker in the place of one that was lost, and have it collect what is still to be run."""
        items = item.session.items
        left = {str(each.path) for each in items[items.index(item) :] if getattr(each, "inside", None) is self}
        self._warned.begin()
        self._worker = self._starter.start(self.environment, sorted(left))
        self._take(self._said("collected"))
        return self._worker

    def _send(self, worker: Worker, coming: Iterable[tuple[InsideTest, Following]]) -> None:
        for item, following in coming:
            if len(self._outstanding) >= self._ahead:
                break
            key = item.test.key
            if key in self._outstanding:
                continue
            if key not in self._numbers:
                raise WorkerLost(f"{item.test.nodeid} was not found again when its worker had to be replaced")
            worker.send("run", self._numbers[key], self._number(following))
            self._outstanding[key] = None

    def _number(self, following: Following) -> int | str | None:
        if following is None or isinstance(following, str):
            return following
        return self._numbers.get(following.test.key, "more")

    def _said(self, *kinds: str) -> list[Any]:
        """Listen until the worker says something of these kinds; what it says before is heeded.

        :raises WorkerLost: it will say nothing more.
        """
        while self._worker is not None:
            limit = None if self._is_debugged else self._limit
            message = self._worker.receive(limit, more=len(self._outstanding) > _AHEAD // 4)
            self._is_debugged = False
            if message[0] in kinds:
                return message
            self._heed(message)
        raise WorkerLost("there is no worker")

    def _heed(self, message: list[Any]) -> None:
        match message:
            case ["ready", _] | ["finished"]:
                pass
            case ["collecting", path]:
                self._collecting = path
            case ["written", text]:
                self._reports.write(text)
            case ["property" | "attribute" as kind, name, value]:
                self._reports.note(self._running, kind, name, value)
            case ["basetemp"] if self._worker is not None:
                self._worker.send("basetemp", self._starter.basetemp(self.environment))
            case ["warning", told]:
                self._warn(told)
            case ["paused"] if self._worker is not None:
                # The one that it was told of first is the one that it is at.
                self._outstanding = dict.fromkeys(list(self._outstanding)[:1])
                self._worker.send("paused")
            case ["stop", reason]:
                self._told.append(reason)
            case ["debugging"]:
                # However long somebody thinks.
                self._is_debugged = True
            case ["exit", reason, code]:
                self._is_ending = True
                pytest.exit(reason, code)
            case ["interrupted"]:
                self._is_ending = True
                raise KeyboardInterrupt
            case ["refused", text]:
                self._has_refused = True
                added = self._starter.added
                raise WorkerLost(f"{text}\n(with --envbuild-args: {shlex.join(added)})" if added else text)
            case ["failed", text]:
                raise WorkerLost(f"pytest cannot go on there: {text}")
            case _ if self._starter.passed is not None:
                self._starter.passed.hear(self, message)

    def kill(self) -> None:
        """End the worker at once."""
        if self._worker is not None:
            self._worker.kill()
        self._worker = None
        self._outstanding = {}

    def interrupt(self) -> None:
        """Have the worker stop what it is doing, and tear down."""
        if self._worker is not None and not self._is_ending:
            self._is_ending = True
            self._worker.interrupt()

    def stop_asked(self) -> str:
        """Why something inside wants no more tests to be run; empty if nothing does."""
        return self._told[0] if self._told else ""

    def ask_to_finish(self, heard: Sequence[str] | None = None) -> None:
        """Have the worker end; `finish` waits for it.

        :param heard: the plugins that need not say anything at the end; ``None`` for all.
        """
        if self._worker is not None:
            self._worker.send("finish", heard)

    def finish(self) -> str:
        """Wait for the end of the worker, which tears down what is left.

        :returns: what went wrong with that; empty if nothing did.
        """
        if self._worker is None:
            return ""
        worker, self._worker = self._worker, None
        trouble = ""
        for message in worker.finish(self._limit or _FINISHING):
            if message[0] in ("failed", "refused") and not self._is_ending:
                trouble = message[1]
            elif message[0] == "warning":
                self._warn(message[1])
            elif message[0] == "summary":
                self.summaries.append(message[1])
            elif message[0] == "lost" and self._is_collected and not self._is_ending:
                self._reports.warn(_lost(message[1], self.label))
        return trouble

    def _warn(self, told: dict[str, Any]) -> None:
        if self._warned.is_news(told):
            self._reports.warn(told)


def _lost(reason: str, label: str) -> dict[str, Any]:
    """The warning that a worker did not end in good order when all had been run."""
    category = ["pytest", "PytestWarning"]
    place = {"filename": label, "lineno": 0, "nodeid": "", "location": None, "allocated": None}
    return {"message": reason, "category": category, "when": "runtest", **place}


def at_once(config: pytest.Config) -> bool:
    """Whether what a test prints is seen while it goes on, so that all that is said of it has to come in its place."""
    has_logs = config.pluginmanager.has_plugin("logging-plugin")
    live_log = has_logs and (config.getini("log_cli") or config.getoption("log_cli_level", None))
    return bool(config.getoption("capture", "no") != "fd" or config.getoption("setupshow", False) or live_log)

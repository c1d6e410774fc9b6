"""Running: tests that were collected in environments are run there, in the order that pytest outside gives them."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from envbuild.pytest_plugin.interrupts import interrupted_at
from envbuild.pytest_plugin.nodes import InsideTest

if TYPE_CHECKING:
    from envbuild.pytest_plugin.hosting import Hosting
    from envbuild.pytest_plugin.inside import Following, Inside


class Running:
    """Runs the tests of one session.

    :param hosting: knows the environments, each with its worker.
    """

    _has_frozen = False

    def __init__(self, hosting: Hosting) -> None:
        self.hosting = hosting
        self.trouble: list[str] = []
        self._positions: dict[pytest.Item, int] = {}
        self._following: dict[pytest.Item, Following] = {}

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
            self._freeze()
        # pytest runs nothing if there is any error by now.
        session.testsfailed -= self.hosting.tolerated
        try:
            return (yield)
        except KeyboardInterrupt:
            self.interrupt()
            raise
        finally:
            session.testsfailed += self.hosting.tolerated + self.end_workers()

    @classmethod
    def _freeze(cls) -> None:
        """Have the collector leave alone what is here now: it stays to the end of the session."""
        if cls._has_frozen:
            # What an earlier session in this process has left.
            gc.unfreeze()
            gc.collect()
        cls._has_frozen = True
        gc.freeze()

    def end_workers(self) -> int:
        """Have all workers end, side by side; how many had trouble with that.

        :raises KeyboardInterrupt: somebody would not wait for that; they have ended all the same.
        """
        before = len(self.trouble)
        heard = _heard(self.hosting.config)
        try:
            for inside in self.hosting.insides.values():
                inside.ask_to_finish(heard)
            for inside in self.hosting.insides.values():
                trouble = inside.finish()
                if trouble:
                    if self.hosting.passed is not None:
                        self.hosting.passed.distrust(inside)
                    self.trouble.append(f"{inside.environment}\n{trouble}")
        except KeyboardInterrupt:
            for inside in self.hosting.insides.values():
                inside.kill()
            raise
        return len(self.trouble) - before

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Have a test of ours run where it belongs."""
        if not isinstance(item, InsideTest):
            return None
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = []
        with interrupted_at(item.config.rootpath / item.location[0], item.location[1] or 0):
            for report in item.inside.run(item, self._coming(item, nextitem)):
                reports.append(report)
                hook.pytest_runtest_logreport(report=report)
        if self.hosting.passed is not None:
            self.hosting.passed.note(item, reports)
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

    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, Any] | None:
        """Show that a test is tried again, by a plugin that only the environment has."""
        return ("rerun", "R", ("RERUN", {"yellow": True})) if report.outcome == "rerun" else None

    @pytest.hookimpl(optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item) -> bool | None:
        """Leave it to the pytest-timeout inside, if there is one, to interrupt a test: it knows where that is."""
        return (isinstance(item, InsideTest) and "pytest_timeout" in item.inside.plugins) or None

    @pytest.hookimpl(optionalhook=True)
    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> bool | None:
        """There is no timer here."""
        return self.pytest_timeout_set_timer(item)

    def interrupt(self) -> None:
        """Have all workers stop what they are doing, and tear down."""
        for inside in self.hosting.insides.values():
            inside.interrupt()

    def pytest_keyboard_interrupt(self) -> None:
        """Have workers stop that are still collecting."""
        self.interrupt()

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """What plugins inside have to say, and what went wrong when the workers ended."""
        for inside in self.hosting.insides.values():
            for text in inside.summaries:
                terminalreporter.ensure_newline()
                terminalreporter.write(text)
            if inside.summaries:
                terminalreporter.write_line(f"(inside {inside.environment})")
        for trouble in self.trouble:
            terminalreporter.section("envbuild", red=True)
            terminalreporter.write_line(trouble)


def _heard(config: pytest.Config) -> list[str]:
    """The plugins that are heard when all is done, so that they need not be heard inside.

    What is installed may be needed inside to know anything; it is heard on both sides, each of its own.
    """
    installed = [plugin for plugin, _ in config.pluginmanager.list_plugin_distinfo()]
    return [name for name, plugin in config.pluginmanager.list_name_plugin() if plugin not in (None, *installed)]

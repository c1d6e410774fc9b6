"""Watching: what the pytest plugin does in every session, which is little until a test asks for an environment.

Marks are looked for where pytest comes by anyway: in the text of the files that it collects, for modules that only an
environment can import, and on the tests, for all other ways in which marks get there. The first one that is found
brings `envbuild.pytest_plugin.hosting`.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envbuild.pytest_plugin import terminal
from envbuild.pytest_plugin.conftests import Conftests

if TYPE_CHECKING:
    from envbuild.pytest_plugin.hosting import Hosting

_NAME = "envbuild"
_WRITTEN = "envbuild_written"

_TELLING = ("help", "version", "markers", "showfixtures", "show_fixtures_per_test", "cacheshow")
"""Options with which pytest runs no tests, and only tells something."""


class Watching:
    """Watches one session for tests that are to run in environments.

    :param inis: the settings that only we know.
    """

    def __init__(self, config: pytest.Config, inis: Sequence[str]) -> None:
        self.config = config
        self.inis = inis
        self.hosting: Hosting | None = None
        # While pytest captures, it is another file.
        self.has_terminal = terminal.is_ours(0)
        self.conftests = Conftests(self._may_fail)
        self.conftests.watch(config.pluginmanager)

    def is_asked(self, options: Any) -> bool:
        """Whether all tests are to run in environments, by the command line or by the settings.

        :param options: those of the command line, as far as they are known.
        """
        if any(getattr(options, name, None) for name in _TELLING):
            return False
        return bool(options.envbuild or self.config.getini(_NAME))

    def start_early(self) -> None:
        """Start what can be started while pytest is still being set up."""
        options = self.config.known_args_namespace
        # With these, others run the tests.
        if self.is_asked(options) and not any(getattr(options, name, None) for name in ("numprocesses", "tx")):
            self.hosting = self._hosting(options)
            self.hosting.start_early()

    def _hosting(self, options: Any) -> Hosting:
        from envbuild.pytest_plugin.hosting import Hosting

        return Hosting(self.config, options, self.inis, self.conftests, has_terminal=self.has_terminal)

    def host(self) -> Hosting:
        """Begin to host tests in environments, if that was not begun yet."""
        if self.hosting is None:
            self.hosting = self._hosting(self.config.option)
        if not self.config.pluginmanager.is_registered(self.hosting):
            self.config.pluginmanager.register(self.hosting, "envbuild-hosting")
            self.config.pluginmanager.register(self.hosting.running, "envbuild-running")
            self._heed_termination()
        return self.hosting

    def _heed_termination(self) -> None:
        """From here on there are workers, which nobody would end if this process just went."""
        from envbuild.pytest_plugin.interrupts import terminated_as_interrupted

        heeding = ExitStack()
        heeding.enter_context(terminated_as_interrupted())
        self.config.add_cleanup(heeding.close)

    def _may_fail(self, conftest: Path) -> bool:
        """Whether there are tests below a conftest.py that run in environments."""
        options = self.config.known_args_namespace
        if self.is_asked(options):
            return True
        if any(getattr(options, name, None) for name in _TELLING):
            return False
        from envbuild.pytest_plugin import marks

        below = modules(self.config, [str(conftest.parent)])
        return any(mentions(path) and marks.read(path.read_bytes(), lambda _: True).specs for path in below)

    # -- pytest's hooks

    def pytest_configure(self) -> None:
        """Host tests from the start, if that is asked for."""
        if _WRITTEN in (given := getattr(self.config, "workerinput", {})):
            from envbuild import written

            written.heed((device, inode) for device, inode in given[_WRITTEN])
        if self.is_asked(self.config.option):
            self.host()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of pytest-xdist what its environments are not to be taken of: the file that we write to."""
        if node.gateway.spec.popen:
            from envbuild import written

            node.workerinput[_WRITTEN] = sorted(written.being_written())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Have the names of tests understood, which end with an environment's.

        :raises UsageError: there is no such test.
        """
        self._prepare(session)
        try:
            return (yield)
        except pytest.UsageError as error:
            if not self.conftests.passed_on:
                raise
            # What was meant as the value of such an option may have been taken for a test.
            raise pytest.UsageError(*error.args, *self.conftests.described(self.config.rootpath)) from error

    def _prepare(self, session: pytest.Session) -> None:
        named = [each for each in session.config.args if "::" in each]
        folder = self.config.invocation_params.dir
        if self.hosting is None and any(mentions(folder / each.partition("::")[0]) for each in named):
            self.host()
        if self.hosting is not None:
            self.hosting.prepare(session.config.args)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> Generator[None, Any, Any]:
        """Look for marks in the text of a file."""
        if self.hosting is not None or not self._is_test_file(file_path, parent.session):
            return (yield)
        if not (self.conftests.failed or mentions(file_path)):
            return (yield)
        hosting = self.host()
        hosting.prepare(self.config.args)
        # Too late for its own hook to be called with this file.
        return hosting.hosted(file_path, parent, (yield))

    def _is_test_file(self, path: Path, session: pytest.Session) -> bool:
        patterns = self.config.getini("python_files")
        return any(fnmatch(path.name, each) for each in patterns) or session.isinitpath(path)

    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Look for marks on tests, when each conftest.py has put there what it wants, and before any are selected."""
        self.place(session, items)

    def place(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Put tests with marks in their place that are not there yet."""
        if any(not hasattr(each, "inside") and each.get_closest_marker(_NAME) for each in items):
            self.host().place(session, items)


def mentions(path: Path) -> bool:
    """Whether a Python file may have a mark of ours."""
    if path.suffix != ".py":
        return False
    try:
        return _NAME.encode() in path.read_bytes()
    except OSError:
        return False


def modules(config: pytest.Config, arguments: Sequence[str]) -> Iterator[Path]:
    """The Python files that pytest may come upon, in the order in which it does."""
    patterns = config.getini("python_files")
    skipped = config.getini("norecursedirs")

    def below(folder: Path) -> Iterator[Path]:
        try:
            entries = sorted(os.scandir(folder), key=lambda each: each.name)
        except OSError:
            return
        for each in entries:
            if each.is_dir() and not (each.is_symlink() and folder.resolve().is_relative_to(Path(each).resolve())):
                if each.name != "__pycache__" and not any(fnmatch(each.name, pattern) for pattern in skipped):
                    yield from below(Path(each))
            elif each.name.endswith(".py") and any(fnmatch(each.name, pattern) for pattern in patterns):
                yield Path(each)

    for argument in arguments:
        path = Path(os.path.abspath(config.invocation_params.dir / argument.partition("::")[0]))  # noqa: PTH100
        if path.is_dir():
            yield from below(path)
        elif path.is_file():
            yield path

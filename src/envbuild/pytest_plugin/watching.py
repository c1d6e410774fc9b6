"""Watching: what the pytest plugin does in every session, which is little until a test asks for an environment.

Marks are looked for where pytest comes by anyway: in the text of the files that it collects, for modules that only an
environment can import, and on the tests, for all other ways in which marks get there. The first one that is found
brings `envbuild.pytest_plugin.hosting`.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envbuild.pytest_plugin.conftests import Conftests

if TYPE_CHECKING:
    from envbuild.pytest_plugin.hosting import Hosting

_NAME = "envbuild"

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
        self.conftests = Conftests(self._may_fail)
        self.conftests.watch(config.pluginmanager)

    def asked(self, options: Any = None) -> tuple[list[str], list[str]]:
        """The environments that all tests are to run in: those of the command line, those of the settings."""
        options = options or self.config.option
        if any(getattr(options, name, None) for name in _TELLING):
            return [], []
        given = list(options.envbuild or ())
        return given, [] if given else list(self.config.getini(_NAME))

    def host(self) -> Hosting:
        """Begin to host tests in environments, if that was not begun yet.

        :raises UsageError: what was asked for cannot be.
        """
        if self.hosting is None:
            from envbuild.pytest_plugin.environments import located
            from envbuild.pytest_plugin.hosting import Hosting

            given, set_ = self.asked()
            here, root = self.config.invocation_params.dir, self.config.rootpath
            everywhere = [*(located(each, here) for each in given), *(located(each, root) for each in set_)]
            self.hosting = Hosting(self.config, everywhere, self.inis, self.conftests)
            self.config.pluginmanager.register(self.hosting, "envbuild-hosting")
        return self.hosting

    def _may_fail(self, conftest: Path) -> bool:
        """Whether there are tests below a conftest.py that run in environments."""
        options = self.config.known_args_namespace
        if any(self.asked(options)):
            return True
        if any(getattr(options, name, None) for name in _TELLING):
            return False
        from envbuild.pytest_plugin import marks

        below = modules(self.config, [str(conftest.parent)])
        return any(mentions(path) and marks.read(path.read_bytes(), lambda _: True).specs for path in below)

    # -- pytest's hooks

    def pytest_configure(self) -> None:
        """Host tests from the start, if that is asked for."""
        if any(self.asked()):
            self.host()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """Have the names of tests understood, which end with an environment's."""
        named = [each for each in session.config.args if "::" in each]
        folder = self.config.invocation_params.dir
        if self.hosting is None and any(mentions(folder / each.partition("::")[0]) for each in named):
            self.host()
        if self.hosting is not None:
            self.hosting.prepare(session.config.args)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> Generator[None, Any, Any]:
        """Look for marks in the text of a file."""
        if self.hosting is not None or not (self.conftests.failed or mentions(file_path)):
            return (yield)
        hosting = self.host()
        hosting.prepare(self.config.args)
        # Too late for its own hook to be called with this file.
        return hosting.hosted(file_path, parent, (yield))

    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Look for marks on tests, when each conftest.py has put there what it wants."""
        if any(each.get_closest_marker(_NAME) for each in items):
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
            if each.is_dir():
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

"""conftest.py files that cannot be imported here, since they import what only an environment has.

The tests below them run in environments, where they can be imported. So the error is kept, and is that of those tests
only that are to run here. What a conftest.py defines is not there then: neither its hooks, which are called inside,
nor its options, which are passed on to the pytest inside.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_IMPORT = "_importconftest"
"""The method of pytest's plugin manager that all of them are imported by."""


class Conftests:
    """The conftest.py files of a session that could not be imported.

    :param may_fail: whether one need not be importable here; is asked when one is not.
    """

    def __init__(self, may_fail: Callable[[Path], bool]) -> None:
        self.failed: dict[Path, Exception] = {}
        self.passed_on: list[str] = []
        self._may_fail = may_fail
        self._instead: dict[Path, ModuleType] = {}

    def watch(self, manager: pytest.PytestPluginManager) -> None:
        """Be there when one cannot be imported."""
        load = getattr(manager, _IMPORT, None)
        if load is None:
            return

        def importing(*args: Any, **kwargs: Any) -> Any:
            for each in (*args, *kwargs.values()):
                if isinstance(each, Path) and each in self._instead:
                    return self._instead[each]
            try:
                return load(*args, **kwargs)
            except Exception as error:
                path = _failing(error)
                if path is None or not self._may_fail(path):
                    raise
                self.failed[path] = error
                return self._stand_in(path)

        setattr(manager, _IMPORT, importing)

    def _stand_in(self, path: Path) -> ModuleType:
        module = ModuleType(path.stem)
        module.__file__ = str(path)
        self._instead[path] = module
        return module

    def pass_on(self, parser: pytest.Parser, args: list[str]) -> None:
        """Take out of the arguments what may be options of a conftest.py that could not be imported."""
        if not self.failed:
            return
        _, unknown = parser.parse_known_and_unknown_args(args)
        self.passed_on += unknown
        args[:] = [each for each in args if each not in unknown]

    def above(self, path: Path) -> Exception | None:
        """Why the uppermost conftest.py could not be imported of those that a file needs; ``None`` if all could."""
        found = [each for each in self.failed if each.parent in path.parents]
        return self.failed[min(found, key=lambda each: len(each.parts))] if found else None

    def checked(
        self, path: Path, parent: pytest.Collector, found: list[pytest.Collector], *, needed: bool
    ) -> list[pytest.Collector]:
        """What was found in a file; not if something above the file could not be imported.

        :param needed: whether anything in the file is to run here, so that the error has to be told.
        """
        error = self.above(path)
        if error is None or not found:
            return found
        from envbuild.pytest_plugin.standins import Unavailable

        return [Unavailable.from_parent(parent, path=path, reason=error)] if needed else []

    def described(self, folder: Path) -> list[str]:
        """What is to be known of them, a line each."""
        said = [
            f"{_relative(path, folder)} cannot be imported here: {_cause(error)}" for path, error in self.failed.items()
        ]
        if self.passed_on:
            said.append(f"options that nothing here knows are left to the environments: {' '.join(self.passed_on)}")
        return said


def _failing(error: Exception) -> Path | None:
    """The conftest.py that raised an ImportError; ``None`` if the error is another one."""
    if type(error).__name__ != "ConftestImportFailure" or not isinstance(error.__cause__, ImportError):
        return None
    path = getattr(error, "path", None)
    return path if isinstance(path, Path) else None


def _cause(error: Exception) -> str:
    return f"{type(error.__cause__).__name__}: {error.__cause__}"


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if folder in path.parents else str(path)

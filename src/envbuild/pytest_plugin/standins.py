"""Stand-ins: what is collected where a module cannot be, or need not be, collected as it is."""

from __future__ import annotations

from typing import Any

import pytest


class Unavailable(pytest.File):
    """The tests of a file that cannot be run where they are to run.

    :param reason: why; a text, or the error that pytest would have raised itself.
    """

    def __init__(self, *, reason: str | Exception, **options: Any) -> None:
        super().__init__(**options)
        self.reason = reason

    def collect(self) -> list[pytest.Item]:
        """Say why there are none.

        :raises CollectError: always, or the error that was given.
        """
        if isinstance(self.reason, Exception):
            raise self.reason
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


def lets_others_run(collector: pytest.Collector, modules: Any) -> bool:
    """Whether the other tests are run although this could not be collected.

    That is so where an environment is to blame, or what is not in an environment: a module or a conftest.py that
    cannot be imported here, beside tests that are run elsewhere.

    :param modules: the modules that have tests with marks.
    """
    return isinstance(collector, Unavailable) or (isinstance(collector, pytest.Module) and collector.path in modules)

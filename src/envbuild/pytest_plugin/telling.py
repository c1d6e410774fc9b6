"""Telling: what is locked and built for tests, as lines of pytest's own report."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest


class Told:
    """Progress, as lines of the terminal reporter."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def step(self, doing: str) -> Any:
        """Tell what is being done."""
        self.note(doing)
        return nullcontext()

    def note(self, message: str) -> None:
        """Tell something, unless pytest is to be quiet."""
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        capturing: Any = self.config.pluginmanager.get_plugin("capturemanager")
        if reporter is not None and self.config.getoption("verbose") >= 0:
            # What a fixture has built is no output of the test that asked for it first.
            with capturing.global_and_fixture_disabled() if capturing else nullcontext():
                reporter.ensure_newline()
                reporter.write_line(f"envbuild: {message}")

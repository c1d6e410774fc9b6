"""The terminal: colours where they are wanted, progress where somebody watches."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def coloured(stream: TextIO) -> bool:
    """Whether ``stream`` takes colours: a terminal, unless NO_COLOR is set or it is a dumb one."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def emphasis(text: str, colour: str, stream: TextIO | None = None) -> str:
    """``text`` in a colour, if the stream (standard error by default) takes it."""
    if not coloured(stream or sys.stderr):
        return text
    return f"\x1b[1;{_COLOURS[colour]}m{text}\x1b[0m"


class TerminalProgress:
    """Progress on standard error: a spinner on a terminal, a line at a time elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._animated = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and "CI" not in os.environ

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """Show that ``doing`` goes on."""
        if self.quiet:
            yield
        elif self._animated:
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            console = Console(stderr=True)
            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            with Progress(*columns, console=console, transient=True) as shown:
                shown.add_task(doing)
                yield
        else:
            sys.stderr.write(f"{doing}\n")
            sys.stderr.flush()
            yield

    def note(self, message: str) -> None:
        """Say something."""
        if not self.quiet:
            sys.stderr.write(f"{emphasis('note:', 'yellow')} {message}\n")

"""Progress: what a long step tells about itself while it goes on.

Code that takes time is passed a `Progress` and tells it; whoever made it decides whether anything is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol


class Progress(Protocol):
    """Where a step tells what it is doing."""

    def step(self, doing: str) -> AbstractContextManager[None]:
        """Say that ``doing`` ("Resolving 12 requirements") goes on until the context ends."""
        ...

    def note(self, message: str) -> None:
        """Say something that the user should see whether or not anything is animated."""
        ...


def counted(count: int, thing: str) -> str:
    """So many of a thing.

    >>> counted(1, "package"), counted(12, "package")
    ('1 package', '12 packages')
    """
    return f"{count} {thing}{'' if count == 1 else 's'}"


class _Quiet:
    """Tells nobody."""

    def step(self, doing: str) -> AbstractContextManager[None]:  # noqa: ARG002
        return nullcontext()

    def note(self, message: str) -> None:
        pass


class Written:
    r"""Progress that is written down, a line for each thing that is told.

    :param write: takes the lines, each with its end.

    >>> lines = []
    >>> progress = Written(lines.append)
    >>> progress.note("nothing to do")
    >>> lines
    ['nothing to do\n']
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """Write what is being done, and how long it took once it is."""
        self._write(f"{doing}\n")
        started = time.perf_counter()
        yield
        self._write(f"{doing}: done in {time.perf_counter() - started:.2f} s\n")

    def note(self, message: str) -> None:
        """Write a message."""
        self._write(f"{message}\n")


QUIET: Progress = _Quiet()
"""Progress that nobody watches."""

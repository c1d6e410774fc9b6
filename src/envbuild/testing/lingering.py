"""Lingering: the threads and the programs that still go on when whoever began them has answered."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MARK = "ENVBUILD_TESTING_MARK"
"""The variable by which programs are known that one of ours has started, whoever their parent has become."""

_PATIENCE = 2
"""How many seconds what ends just now may take for it."""


class Process(NamedTuple):
    """A process, and the command line that it has."""

    number: int
    command: str

    def __str__(self) -> str:
        return f"the process {self.number}: {self.command}"


@dataclass(frozen=True)
class GoingOn:
    """What goes on at one moment; processes only where there is ``/proc``.

    :param mark: the value of `MARK` that our programs have.
    """

    mark: str
    threads: frozenset[threading.Thread]
    processes: frozenset[Process]

    @classmethod
    def now(cls, mark: str) -> GoingOn:
        """What goes on now."""
        return cls(mark, frozenset(threading.enumerate()), frozenset(_processes(mark)))

    def since(self) -> tuple[list[threading.Thread], list[Process]]:
        """What has begun since, and goes on although it has had time to end."""
        until = time.monotonic() + _PATIENCE
        while True:
            now = GoingOn.now(self.mark)
            threads = now.threads - self.threads
            # By their numbers: between fork and exec a process has the command line of its parent.
            known = {each.number for each in self.processes}
            processes = [each for each in now.processes if each.number not in known]
            if not (threads or processes) or time.monotonic() > until:
                return sorted(threads, key=lambda each: each.name), sorted(processes)
            time.sleep(0.02)


def end(processes: list[Process]) -> None:
    """End processes that should not be there any more."""
    for each in processes:
        # It may have ended by itself meanwhile.
        with suppress(ProcessLookupError):
            os.kill(each.number, signal.SIGKILL)


def _processes(mark: str) -> Iterator[Process]:
    """The children of this process, and all that have the mark, but those that have ended."""
    sought = f"\0{MARK}={mark}\0".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        # Others may end meanwhile, or be hidden.
        with suppress(OSError, IndexError):
            state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            number = int(folder.name)
            if state in "ZX" or number == os.getpid():
                continue
            if int(parent) == os.getpid() or sought in b"\0" + (folder / "environ").read_bytes() + b"\0":
                command = (folder / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
                yield Process(number, command.decode(errors="replace"))

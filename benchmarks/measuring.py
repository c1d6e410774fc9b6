"""Measuring: contenders that take turns, so that whatever else the machine does meanwhile hits all of them alike."""

from __future__ import annotations

import os
import resource
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

TIMEOUT = 120.0
"""How long any one command may take, in seconds."""


class CommandFailed(Exception):
    """A command that was to be measured went wrong: its numbers would say nothing."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What something took, in seconds.

    :param wall: by the clock.
    :param cpu: of the processor, for the process and all that it waited for.
    """

    wall: float
    cpu: float

    def __add__(self, other: Taken) -> Taken:
        return Taken(self.wall + other.wall, self.cpu + other.cpu)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Something to be measured.

    :param act: does it once, and says what it took.
    :param prepare: puts everything back to where it was before; it is not measured.
    :param every: it takes part in every so many rounds, where it is slow.
    """

    name: str
    act: Callable[[], Taken]
    prepare: Callable[[], object] = lambda: None
    every: int = 1


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: all that one contender took.

    :param missing: why there are no numbers.
    """

    name: str
    taken: tuple[Taken, ...] = ()
    missing: str = ""

    @property
    def wall(self) -> float:
        """The least by the clock."""
        return min(each.wall for each in self.taken)

    @property
    def median(self) -> float:
        """The median by the clock."""
        return statistics.median(each.wall for each in self.taken)

    @property
    def cpu(self) -> float:
        """The least of the processor."""
        return min(each.cpu for each in self.taken)

    @classmethod
    def of_seconds(cls, name: str, seconds: Iterable[float]) -> Row:
        """A line of times that somebody else took; what the processor did is not known."""
        return cls(name, tuple(Taken(each, float("nan")) for each in seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table.

    :param subject: the row that all others are compared with.
    :param rates: say how often a second, too.
    :param notes: what has to be known to read it.
    """

    title: str
    subject: str
    rows: Sequence[Row]
    rates: bool = False
    notes: Sequence[str] = field(default_factory=tuple)


def in_turns(contenders: Sequence[Contender], rounds: int) -> list[Row]:
    """Let all act once, then all once more, and so on: A B C A B C."""
    taken: dict[str, list[Taken]] = {each.name: [] for each in contenders}
    for number in range(rounds):
        for each in contenders:
            if number % each.every == 0:
                each.prepare()
                taken[each.name].append(each.act())
    return [Row(name, tuple(found)) for name, found in taken.items()]


def run_command(command: Sequence[str | Path], directory: Path, variables: Mapping[str, str]) -> tuple[Taken, str]:
    """Run a command to its end: what it took, and what it printed.

    :raises CommandFailed: it did not end well, or not in time.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen(
            words,
            cwd=directory,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        # Popen.wait(timeout=…) looks every 50 ms, which is longer than some of these commands take.
        alarm = threading.Timer(TIMEOUT, _kill, [process.pid])
        alarm.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        alarm.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            err.seek(0)
            said = err.read().decode("utf-8", "replace").strip()[-2000:]
            raise CommandFailed(f"{' '.join(words)} in {directory} ended with {process.returncode}:\n{said}")
        out.seek(0)
        return Taken(wall, usage.ru_utime + usage.ru_stime), out.read().decode("utf-8", "replace")


def timed(call: Callable[[], object], times: int = 1) -> Taken:
    """Call something so many times in this process, and say what one of them took."""
    before, started = _cpu(), time.perf_counter()
    for _ in range(times):
        call()
    return Taken((time.perf_counter() - started) / times, (_cpu() - before) / times)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)

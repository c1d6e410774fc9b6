"""Outcomes: what is run in an environment, and what came of it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from envbuild.digest import Digest


class Status(StrEnum):
    """How far a run has come; the words are Azure ML's."""

    NOT_STARTED = "NotStarted"
    PREPARING = "Preparing"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self in (Status.COMPLETED, Status.FAILED, Status.CANCELED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What a target is to run.

    Its standard input is that of this process, or empty: nobody keeps a program waiting for what never comes.

    :param id: the run's id.
    :param target: the target's name, such as ``local``.
    :param command: the program and its arguments; a first word ``python`` is the environment's own.
    :param directory: the working copy; it belongs to the run alone.
    :param folder: the run's folder, where ``logs/``, ``outputs/`` and ``metrics.jsonl`` come to lie.
    :param variables: what the run declares, secrets among them; it is the target that adds what its processes have
        anyway, and activates the environment.
    """

    id: str
    target: str
    command: tuple[str, ...]
    directory: Path
    folder: Path
    variables: Mapping[str, str] = field(repr=False)


class RunHandle(Protocol):
    """A run that has been started."""

    def stream(self, write: Callable[[int, bytes], None]) -> int:
        """Pass on what the run prints, as it comes, until it has ended.

        :param write: takes 1 for standard output or 2 for standard error, and the bytes.
        :returns: the exit code; ``128 + n`` for a run that signal ``n`` ended.
        """
        ...

    def poll(self) -> int | None:
        """The exit code, or ``None`` while the run goes on."""
        ...

    def signal(self, number: int) -> None:
        """Pass on a signal; to a run that has ended this does nothing."""
        ...

    def cancel(self, grace: float) -> None:
        """Ask the run and its children to end, and after ``grace`` seconds make them. Returns at once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What is known of a run.

    :param environment: ``name``, ``version``, ``id`` and ``definition_digest`` of the environment it ran in.
    :param variables: the names of the variables and secrets that it was given; never their values.
    :param seconds: how long each step took: ``resolving``, ``building``, ``running``.
    :param outputs: the files under ``outputs/``, by path, with digest and size in bytes.
    """

    id: str
    experiment: str
    status: Status
    target: str
    command: tuple[str, ...]
    environment: Mapping[str, Any]
    snapshot: Digest | None
    created_at: datetime.datetime
    ended_at: datetime.datetime | None = None
    exit_code: int | None = None
    reason: str = ""
    variables: tuple[str, ...] = ()
    git: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    folder: Path | None = field(default=None, compare=False)
    source: str = ""
    reproduces: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "id": self.id,
            "experiment": self.experiment,
            "status": str(self.status),
            "target": self.target,
            "command": list(self.command),
            "environment": dict(self.environment),
            "snapshot": str(self.snapshot) if self.snapshot else None,
            "source": self.source,
            "created_at": self.created_at.isoformat(),
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
            "exit_code": self.exit_code,
            "reason": self.reason,
            "variables": list(self.variables),
            "git": dict(self.git),
            "seconds": dict(self.seconds),
            "outputs": {path: dict(found) for path, found in self.outputs.items()},
            "folder": str(self.folder) if self.folder else None,
            "reproduces": self.reproduces,
            "tags": dict(self.tags),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one output when its run was repeated."""

    path: str
    verdict: str
    before: Digest | None
    after: Digest | None


def verdicts(before: Mapping[str, Digest], after: Mapping[str, Digest]) -> tuple[Verdict, ...]:
    """Compare outputs by digest: each is ``identical``, ``different``, ``missing`` or ``new``.

    >>> a, b = Digest.of(b"a"), Digest.of(b"b")
    >>> [each.verdict for each in verdicts({"m.pkl": a, "x": a, "y": b}, {"m.pkl": a, "x": b, "z": b})]
    ['identical', 'different', 'missing', 'new']
    """
    found = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        word = "new" if old is None else "missing" if new is None else "identical" if old == new else "different"
        found.append(Verdict(path, word, old, new))
    return tuple(found)

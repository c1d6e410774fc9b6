"""The engine: rattler in a process of its own, asked one thing after another.

It is 80 MB of native code with threads of its own, and now and then it dies while Python shuts down: a process of its
own keeps that from envbuild, and lets one that was killed take its work with it. What it answered counts, not how it
ended. It takes its time to load, so that the process which has solved is still there to link; left alone for some
seconds, it ends.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from envbuild import EnvbuildError, Progress
from envbuild_conda.channels import Channel, check_places, hidden

_PATIENCE = 10.0
"""For so long, in seconds, a worker waits for another question."""


class EngineFailed(EnvbuildError):
    """What was asked cannot be had.

    :param kind: the name of rattler's own error, or one of `worker`'s.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def ask(
    question: Mapping[str, Any],
    *,
    known: Iterable[Channel],
    variables: Mapping[str, str],
    scratch: Path,
    progress: Progress,
) -> Any:
    """Have `worker` answer ``question``.

    :param known: channels whose credentials may not be shown.
    :raises EngineFailed: it could not; its message has no credentials in it.
    :raises EnvbuildError: credentials would go elsewhere than where they belong.
    """
    known = tuple(known)
    check_places((each["url"] for each in question.get("records", ())), known)
    # Python's own settings are the caller's, and may be those of the environment that envbuild is run in.
    settings = {name: value for name, value in variables.items() if not name.startswith("PYTHON")}
    question = {**question, "scratch": str(scratch)}
    kept = _waiting(settings)
    worker = kept or _Worker(settings)
    try:
        answer = worker.answer(question, progress)
        if answer is None and kept and not kept.has_begun:
            # It has come to its end, or been brought to it, just before it was asked.
            kept.end()
            worker = _Worker(settings)
            answer = worker.answer(question, progress)
        if answer is None:
            raise EngineFailed("Died", hidden(f"rattler ended without an answer\n{worker.complaint()}", known))
        if "error" in answer:
            raise EngineFailed(answer["kind"], hidden(answer["error"], known))
    except BaseException:
        # Nobody waits for its answer any more, or it may still be busy with what has failed.
        worker.end()
        raise
    _kept.append(worker)
    return answer["result"]


class _Worker:
    """A process that answers questions, for as long as it is asked again soon.

    :ivar has_begun: whether it has said anything to the last question.
    """

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.settings = settings
        self.has_begun = False
        self._owner = os.getpid()
        self._answered = time.monotonic()
        self._complaint = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the worker
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "envbuild_conda.worker", str(_PATIENCE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaint,
            # It may outlive the folder of whoever asks.
            cwd=tempfile.gettempdir(),
            env=dict(settings),
        )

    @property
    def is_waiting(self) -> bool:
        """Whether it can be asked, and will not end before it has been."""
        waited = time.monotonic() - self._answered
        return self._owner == os.getpid() and waited < _PATIENCE / 2 and self._process.poll() is None

    def answer(self, question: Mapping[str, Any], progress: Progress) -> Any:
        """Put the question, pass on what is told, and give the answer; ``None`` if it ended without one."""
        ears, mouth = self._process.stdin, self._process.stdout
        if ears is None or mouth is None:
            raise ValueError("a worker is spoken to through pipes")
        self.has_begun = False
        try:
            # It stays open: the worker takes its end for ours.
            ears.write(json.dumps(question).encode() + b"\n")
            ears.flush()
        except BrokenPipeError:
            return None
        with ExitStack() as steps:
            for line in mouth:
                told = json.loads(line)
                self.has_begun = True
                if "doing" not in told:
                    self._answered = time.monotonic()
                    return told
                steps.close()
                steps.enter_context(progress.step(told["doing"]))
        return None

    def complaint(self) -> str:
        """The last that it wrote to its standard error."""
        self._complaint.seek(0)
        return self._complaint.read()[-2000:].decode(errors="replace").strip()

    def end(self) -> None:
        """End it, whatever it does; one that a fork has inherited is its parent's."""
        if self._owner == os.getpid():
            self._process.kill()
            # What it has not taken of a question is still to be written as its input is closed.
            with suppress(BrokenPipeError), self._process:
                self._complaint.close()


_kept: list[_Worker] = []
"""Workers that wait; one that is asked is not among them, so that no two threads speak to one."""


def _waiting(settings: Mapping[str, str]) -> _Worker | None:
    """Take a worker that waits, and would begin as a new one would; end the others."""
    while _kept:
        worker = _kept.pop()
        if worker.is_waiting and worker.settings == settings:
            return worker
        worker.end()
    return None


@atexit.register
def _end_all() -> None:
    while _kept:
        _kept.pop().end()

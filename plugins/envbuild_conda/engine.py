"""The engine: rattler in a process of its own, asked one thing at a time.

It is 80 MB of native code with threads of its own, and now and then it dies while Python shuts down: a process of its
own keeps that from envbuild, and lets one that was killed take its work with it. What it answered counts, not how it
ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from envbuild import EnvbuildError, Progress
from envbuild_conda.channels import Channel, hidden


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
    """
    known = tuple(known)
    # Python's own settings are the caller's, and may be those of the environment that envbuild is run in.
    settings = {name: value for name, value in variables.items() if not name.startswith("PYTHON")}
    with (
        tempfile.TemporaryFile(dir=scratch) as complaint,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "envbuild_conda.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaint,
            cwd=scratch,
            env=settings,
        ) as worker,
    ):
        try:
            answer = _converse(worker, question, progress)
        finally:
            # It has answered, or nobody waits for its answer any more.
            worker.kill()
        if answer is None:
            complaint.seek(0)
            said = complaint.read()[-2000:].decode(errors="replace").strip()
            raise EngineFailed("Died", hidden(f"rattler ended without an answer\n{said}", known))
    if "error" in answer:
        raise EngineFailed(answer["kind"], hidden(answer["error"], known))
    return answer["result"]


def _converse(worker: subprocess.Popen[bytes], question: Mapping[str, Any], progress: Progress) -> Any:
    """Put the question, pass on what is told, and give the answer; ``None`` if it ended without one."""
    if worker.stdin is None or worker.stdout is None:
        raise ValueError("a worker is spoken to through pipes")
    try:
        # It stays open: the worker takes its end for ours.
        worker.stdin.write(json.dumps(question).encode() + b"\n")
        worker.stdin.flush()
    except BrokenPipeError:
        return None
    with ExitStack() as steps:
        for line in worker.stdout:
            told = json.loads(line)
            if "doing" not in told:
                return told
            steps.close()
            steps.enter_context(progress.step(told["doing"]))
    return None

"""Commands: programs that a test starts in an environment, and what it is told where one fails."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from io import BytesIO, TextIOWrapper
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from envbuild import EnvbuildError, NotFound
from envbuild.pytest_plugin.masking import masked

_SHOWN = 4000
"""How much of what a command printed is told where it fails, in characters of each stream."""


class CommandFailed(EnvbuildError):
    """A command, script or function failed in an environment; the message has the end of what it printed.

    :ivar exit_code: that of the process, negative if a signal ended it; ``None`` if it did not end in time, or if a
        function was called and raised something.
    """

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def told(headline: str, **streams: str) -> str:
    """A headline, and below it the ends of what was printed, those of them that are not empty."""
    parts = [headline]
    for name, text in streams.items():
        shown = text.rstrip()
        if shown:
            parts.append(f"--- {name} ---\n{shown if len(shown) <= _SHOWN else '…' + shown[-_SHOWN:]}")
    return "\n".join(parts)


def run(
    words: Sequence[str],
    variables: Mapping[str, str],
    *,
    directory: str | os.PathLike[str] | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    masks: Iterable[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a program and wait for it; if it is late or we are interrupted, it is killed with all that it has started.

    What it leaves running behind it is not waited for.

    :param stdin: what it is given to read; by default nothing.
    :param masks: values that are not shown in what is raised.
    :raises NotFound: there is no such program, or no such folder to run it in.
    :raises CommandFailed: it did not end in time.
    """
    if directory is not None and not Path(directory).is_dir():
        raise NotFound(f"there is no folder {directory} to run {words[0]} in")
    with TemporaryFile() as out, TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                words, env=dict(variables), cwd=directory, stdin=subprocess.PIPE, stdout=out, stderr=err,
                start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise NotFound(f"no such program in the environment or on PATH: {words[0]}") from error
        try:
            process.communicate((stdin or "").encode(), timeout)
        except subprocess.TimeoutExpired:
            _end(process)
            said = told(f"{shlex.join(words)} did not end within {timeout:g} s", stdout=_text(out), stderr=_text(err))
            raise CommandFailed(masked(said, masks)) from None
        except BaseException:
            _end(process)
            raise
        return subprocess.CompletedProcess(list(words), process.returncode, _text(out), _text(err))


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _text(file: IO[bytes]) -> str:
    # Read without moving: whoever still writes shares the position.
    data = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
    return TextIOWrapper(BytesIO(data), encoding="utf-8", errors="backslashreplace").read()

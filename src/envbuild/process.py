"""Processes: running the programs that do the work, uv and git among them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import EnvbuildError, NotFound


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has run to its end."""

    code: int
    stdout: str
    stderr: str


def run_program(
    command: Sequence[str | Path],
    *,
    variables: Mapping[str, str] | None = None,
    directory: Path | None = None,
    timeout: float | None = None,
) -> Finished:
    """Run a program without a terminal and wait for it; if we are interrupted meanwhile, it is killed.

    :param variables: its environment, complete; by default our own.
    :param timeout: in seconds.
    :raises NotFound: there is no such program.
    :raises EnvbuildError: it did not end in time.
    """
    try:
        done = subprocess.run(
            [str(word) for word in command],
            env=None if variables is None else dict(variables),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise NotFound(f"no such program: {command[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise EnvbuildError(f"{Path(command[0]).name} did not end within {timeout:.0f} s") from error
    return Finished(done.returncode, done.stdout, done.stderr)

"""Processes: running the programs that do the work, uv and git among them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from envbuild.errors import EnvbuildError, NotFound


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has run to its end.

    :param out: its standard output, byte for byte.
    """

    code: int
    out: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        """Its standard output as text; what is no text in it is replaced."""
        return _text(self.out)


def run_program(
    command: Sequence[str | Path],
    *,
    variables: Mapping[str, str] | None = None,
    directory: Path | None = None,
    timeout: float | None = None,
) -> Finished:
    """Run a program without a terminal and wait for it; if we are interrupted meanwhile, it is killed.

    What it leaves running behind it is not waited for, whether or not that still holds its output.

    :param variables: its environment, complete; by default our own.
    :param timeout: in seconds.
    :raises NotFound: there is no such program.
    :raises EnvbuildError: it did not end in time.
    """
    with TemporaryFile() as out, TemporaryFile() as err:
        try:
            done = subprocess.run(
                [str(word) for word in command],
                env=None if variables is None else dict(variables),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=timeout,
                check=False,
            )
        except FileNotFoundError as error:
            raise NotFound(f"no such program: {command[0]}") from error
        except subprocess.TimeoutExpired as error:
            raise EnvbuildError(f"{Path(command[0]).name} did not end within {timeout:.0f} s") from error
        return Finished(done.returncode, _written(out), _text(_written(err)))


def _written(file: IO[bytes]) -> bytes:
    # Read without moving: whoever still writes shares the position.
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


def _text(data: bytes) -> str:
    return TextIOWrapper(BytesIO(data), errors="replace").read()

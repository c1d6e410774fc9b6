"""The target ``local``: a process on this machine, in a prefix."""

from __future__ import annotations

import os
from shlex import quote

from envbuild import Image, RunHandle, RunRequest, TargetError, hookimpl


@hookimpl
def run_target(run: RunRequest, image: Image) -> RunHandle | None:
    """Start the run as a process in a session of its own."""
    if run.target != "local":
        return None
    if image.path is None:
        raise TargetError(f"the target local runs prefixes, and was given an {image.kind} image")
    from envbuild_local.process import start

    try:
        return start(run.command, str(run.directory), run.variables, str(image.path))
    except FileNotFoundError as error:
        if error.filename != run.command[0]:
            raise TargetError(
                f"the environment needs {error.filename}, and that is not there any more",
                hint="mend the environment (envbuild verify --heal); if its Python has gone from this machine, install "
                "that again, or lock for one that is there (envbuild lock --upgrade python)",
            ) from error
        raise TargetError(
            f"no such program: {run.command[0]!r} is neither in the environment nor on PATH",
            hint=_of_file(run) or "is the package that brings it in the definition?",
        ) from error
    except OSError as error:
        raise TargetError(
            f"{run.command[0]} cannot be started: {error.strerror}",
            hint=_of_file(run) if isinstance(error, PermissionError) else "",
        ) from error


def _of_file(run: RunRequest) -> str:
    """How to run a file of the source folder, if the command names one that does not run by that alone."""
    word, said = run.command[0], quote(run.command[0])
    file = run.directory / word
    if not file.is_file():
        return ""
    python = f"python {said}" if file.suffix == ".py" else ""
    if "/" in word:
        return f"make it executable (chmod +x {said}), or name what is to run it" + (python and f": {python}")
    if python:
        return f"it is a file of the source folder: {python}, or 'envbuild run {said}'"
    executable = "" if os.access(file, os.X_OK) else f" once it is executable (chmod +x {said})"
    return f"it is a file of the source folder: ./{said}{executable}"

"""The target ``local``: a process on this machine, in a prefix."""

from __future__ import annotations

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
            hint="is the package that brings it in the definition?",
        ) from error
    except OSError as error:
        denied = isinstance(error, PermissionError) and (run.directory / run.command[0]).is_file()
        raise TargetError(
            f"{run.command[0]} cannot be started: {error.strerror}",
            hint=f"make it executable (chmod +x {quote(run.command[0])}), or name what is to run it" if denied else "",
        ) from error

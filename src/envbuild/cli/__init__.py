"""The command line: ``envbuild …`` and ``python -m envbuild …``.

Each command reads its arguments, makes one call into the story, and writes what came of it: results to standard
output, everything else to standard error. `main` has the one ``except``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import TextIO

from envbuild.cli.usage import UsageError
from envbuild.errors import EnvbuildError, Stopped


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :returns: 0, or 1 for a failure, 2 for a wrong command line, 130 after Ctrl-C; for ``run`` the command's own code.
    """
    as_json = False
    try:
        # Names and arguments may be bytes that are no text; in JSON this is how such are written.
        _say_everything(sys.stdout)
        from envbuild.cli.parser import make_parser

        parser = make_parser()
        _complete(parser)
        asked = parser.parse_args(arguments)
        as_json = asked.json
        from envbuild.cli.context import Context

        module, _, function = asked.command.partition(":")
        command = getattr(import_module(f"envbuild.cli.{module}"), function)
        code: int = command(asked, Context(asked)) or 0
        sys.stdout.flush()
    except SystemExit:
        # The parser has written help, or what is wrong with the command line.
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _stop_writing()
        raise
    except (Exception, KeyboardInterrupt) as error:
        return tell(error, as_json=as_json)
    return code


def _stop_writing() -> None:
    # Whoever read our output has enough; Python would complain once more while it shuts down.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _say_everything(stream: TextIO) -> None:
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def tell(error: BaseException, *, as_json: bool = False) -> int:
    """Say what went wrong; gives the exit code.

    What is no error of ours and none of the system's is a mistake in envbuild, and raised again.
    """
    if isinstance(error, KeyboardInterrupt):
        sys.stderr.write("\ninterrupted\n")
        return 128 + error.number if isinstance(error, Stopped) else 130
    if isinstance(error, BrokenPipeError):
        _stop_writing()
        return 141
    if isinstance(error, UsageError):
        sys.stderr.write(f"error: {error}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return 2
    if isinstance(error, OSError):
        place = f": {error.filename}" if error.filename is not None else ""
        error = EnvbuildError(f"{error.strerror or error}{place}")
    if not isinstance(error, EnvbuildError):
        raise error
    _write(error, as_json=as_json)
    return 1


def _write(error: EnvbuildError, *, as_json: bool) -> None:
    if as_json:
        import json

        told = {"error": type(error).__name__, "message": str(error), "hint": error.hint}
        told |= {"plugin": error.plugin} if error.plugin else {}
        sys.stdout.write(json.dumps(told) + "\n")
    from envbuild.cli.terminal import emphasis

    if os.environ.get("ENVBUILD_DEBUG"):
        import traceback

        traceback.print_exception(error)
    shown = _shown if error.plugin else str
    sys.stderr.write(f"{emphasis('error:', 'red')} {shown(error)}\n")
    if error.hint:
        sys.stderr.write(f"{emphasis('hint:', 'cyan')} {shown(error.hint)}\n")
    if error.plugin:
        sys.stderr.write(f"{emphasis('from:', 'cyan')} the plugin {error.plugin}\n")


def _shown(said: object) -> str:
    """What a stranger says, line by line as a terminal may be shown it."""
    from envbuild.supervise import visible

    return "\n".join(visible(each.expandtabs()) for each in str(said).splitlines())


def _complete(parser: object) -> None:
    """Answer the shell's question for completions, where argcomplete is installed and asks it."""
    if "_ARGCOMPLETE" in os.environ:
        try:
            import argcomplete  # type: ignore[import-not-found]
        except ImportError:
            return
        argcomplete.autocomplete(parser)

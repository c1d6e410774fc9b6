"""The command line: ``envbuild …`` and ``python -m envbuild …``.

Each command reads its arguments, makes one call into the story, and writes what came of it: results to standard
output, everything else to standard error. `main` has the one ``except``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from envbuild.cli.usage import UsageError
from envbuild.errors import EnvbuildError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :returns: 0, or 1 for a failure, 2 for a wrong command line, 130 after Ctrl-C; for ``run`` the command's own code.
    """
    from envbuild.cli.parser import make_parser

    parser = make_parser()
    _complete(parser)
    asked = parser.parse_args(arguments)
    try:
        from envbuild.cli.context import Context

        module, _, function = asked.command.partition(":")
        command = getattr(import_module(f"envbuild.cli.{module}"), function)
        code: int = command(asked, Context(asked)) or 0
        sys.stdout.flush()
    except UsageError as error:
        sys.stderr.write(f"error: {error}\nhint: {error.hint}\n")
        return 2
    except EnvbuildError as error:
        _tell(error, as_json=asked.json)
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough; Python would complain once more while it shuts down.
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    return code


def _tell(error: EnvbuildError, *, as_json: bool) -> None:
    if as_json:
        import json

        told = {"error": type(error).__name__, "message": str(error), "hint": error.hint}
        sys.stdout.write(json.dumps(told) + "\n")
    from envbuild.cli.terminal import emphasis

    sys.stderr.write(f"{emphasis('error:', 'red')} {error}\n")
    if error.hint:
        sys.stderr.write(f"{emphasis('hint:', 'cyan')} {error.hint}\n")


def _complete(parser: object) -> None:
    """Answer the shell's question for completions, where argcomplete is installed and asks it."""
    import os

    if "_ARGCOMPLETE" in os.environ:
        try:
            import argcomplete  # type: ignore[import-not-found]
        except ImportError:
            return
        argcomplete.autocomplete(parser)

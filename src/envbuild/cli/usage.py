"""Usage: command lines that the parser takes and that still cannot be meant."""

from __future__ import annotations

from envbuild.errors import EnvbuildError


class UsageError(EnvbuildError):
    """The command line is wrong; the program exits with 2."""


def variable(text: str) -> tuple[str, str]:
    """Read what stands behind ``--variable``.

    :raises UsageError: it is not NAME=VALUE.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"--variable takes NAME=VALUE, not {text!r}", hint="--variable LEARNING_RATE=0.1 is one")
    return name, value

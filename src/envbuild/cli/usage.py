"""Usage: command lines that the parser takes and that still cannot be meant."""

from __future__ import annotations

from collections.abc import Iterable

from envbuild.errors import EnvbuildError


class UsageError(EnvbuildError):
    """The command line is wrong; the program exits with 2."""


def variables(texts: Iterable[str]) -> dict[str, str]:
    """Read what stands behind each ``--variable``; of several that set the same one, the last counts.

    :raises UsageError: one is not NAME=VALUE.
    """
    return dict(map(_variable, texts))


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"--variable takes NAME=VALUE, not {text!r}", hint="--variable LEARNING_RATE=0.1 is one")
    return name, value

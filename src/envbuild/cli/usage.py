"""Usage: command lines that the parser takes and that still cannot be meant."""

from __future__ import annotations

from envbuild.errors import EnvbuildError


class UsageError(EnvbuildError):
    """The command line is wrong; the program exits with 2."""

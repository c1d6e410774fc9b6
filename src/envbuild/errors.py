"""Errors: everything that envbuild says when it cannot go on.

One tree, so that one ``except`` at a door catches it all::

    EnvbuildError
    ├── DefinitionError      a definition says something that cannot be meant
    ├── LockError            a lock cannot be read or made
    │   ├── LockOutdated     the lock was made from another definition
    │   ├── ResolutionFailed no set of packages satisfies the definition
    │   └── PackageClash     two plugins want to install the same package
    ├── PythonNotFound       no interpreter fits
    ├── BuildFailed          the artifacts are known, the environment could not be made of them
    ├── StoreError           the store cannot be written, or what it holds is not what it should be
    │   └── Damaged          bytes that do not have the digest they are kept under
    ├── NotFound             a name, version, run, id or file that is not there
    ├── Refused              asked for something that would lose or endanger something
    ├── PluginError          a plugin is missing or broken
    │   └── PluginMissing    a part of the definition, or a target, that no installed plugin takes on
    └── TargetError          a target cannot be reached or refuses the run

An error says what happened in one line (``str``) and what to do next (``hint``). It never prints, never
exits, and knows nothing of exit codes: those are the doors' business.
"""

from __future__ import annotations

from typing import NamedTuple


class EnvbuildError(Exception):
    """The root of the tree: something that a user can do something about.

    :param message: what happened, in one line where that is possible.
    :param hint: what to do next; empty where the message already says it.
    """

    plugin: str = ""
    """Who raised it, where that was a plugin that envbuild does not bring: ``name (distribution version)``."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        if hint:
            # So that it stands below the error in a traceback too, which is all that a notebook shows.
            self.add_note(f"hint: {hint}")

    @property
    def message(self) -> str:
        """What happened, and behind it what to do next, as Azure's exceptions have it."""
        return f"{self}\n{self.hint}" if self.hint else str(self)


class Problem(NamedTuple):
    """One thing that is wrong in a file.

    >>> str(Problem("requirements.txt", 3, "no such file: 'extra.txt'"))
    "requirements.txt:3: no such file: 'extra.txt'"
    """

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


class DefinitionError(EnvbuildError):
    """A definition says something that cannot be meant; all that is wrong with it is told at once."""

    def __init__(self, *problems: Problem, hint: str = "") -> None:
        super().__init__("\n".join(str(problem) for problem in problems), hint=hint)
        self.problems = problems


class LockError(EnvbuildError):
    """A lock cannot be read or made."""


class LockOutdated(LockError):
    """The lock was made from another definition than the one at hand."""


class ResolutionFailed(LockError):
    """No set of packages satisfies the definition."""


class PackageClash(LockError):
    """Two plugins want to install the same package, or the same file."""


class PythonNotFound(EnvbuildError):
    """No interpreter on this machine fits."""


class BuildFailed(EnvbuildError):
    """The artifacts are known, and the environment could not be made of them."""


class StoreError(EnvbuildError):
    """The store cannot be written, or what it holds is not what it should be."""


class Damaged(StoreError):
    """Bytes that do not have the digest that they are kept, or were locked, under."""


class NotFound(EnvbuildError):
    """A name, version, run, id or file that is not there."""


class Refused(EnvbuildError):
    """Asked for something that would lose or endanger something."""


class PluginError(EnvbuildError):
    """A plugin is missing or broken."""


class PluginMissing(PluginError):
    """A part of the definition, or a target, that no installed plugin takes on."""


class TargetError(EnvbuildError):
    """A target cannot be reached, or refuses the run."""


class Stopped(KeyboardInterrupt):
    """Somebody has asked this process to end, by whatever signal; whoever minds Ctrl-C minds all of them.

    :param number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

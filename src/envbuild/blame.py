"""Blame: what goes wrong in a plugin is told as that plugin's, whoever called it.

Hooks are called by `envbuild.plugins`; what they start goes on without it (`Handle`), in a repeated run even without
any plugin being loaded.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, NamedTuple

from envbuild.errors import EnvbuildError, PluginError
from envbuild.supervise import visible

if TYPE_CHECKING:
    from envbuild.outcome import RunHandle

_SHORT = 200
"""How much of an answer is shown."""


class Owner(NamedTuple):
    """Whose a function is.

    :param plugin: the plugin's name.
    :param distribution: what brings the plugin, as ``name version``; ``-`` if none does.
    :param is_ours: whether envbuild itself brings it.
    """

    plugin: str
    distribution: str
    is_ours: bool = False

    def __str__(self) -> str:
        return f"{self.plugin} ({self.distribution})" if self.distribution != "-" else self.plugin


def failure(owner: Owner, function: str, what: str) -> PluginError:
    """The error for a plugin that does not do what it should."""
    maker = owner.plugin if owner.distribution == "-" else owner.distribution
    return PluginError(
        f"the plugin {owner.plugin!r} failed in {function}: {what}",
        hint=f"report it to whoever makes {maker}; ENVBUILD_DEBUG=1 shows where",
    )


@contextmanager
def blamed(owner: Owner, function: str) -> Iterator[None]:
    """Say of what goes wrong in a plugin's function whose it is; what it prints goes to standard error.

    :raises EnvbuildError: the plugin raised it; where it is a stranger, with its name.
    :raises PluginError: the plugin raised anything else, which it should not.
    """
    try:
        with printing_aside():
            yield
    except KeyboardInterrupt:
        raise
    except EnvbuildError as error:
        if not owner.is_ours and not error.plugin:
            error.plugin = str(owner)
            error.add_note(f"from: the plugin {error.plugin}")
        raise
    # What a stranger's code raises is told with the stranger's name, and the whole of it is chained. Extensions in
    # Rust panic with what is no Exception.
    except BaseException as error:
        raise failure(owner, function, raised(error)) from error


@contextmanager
def printing_aside() -> Iterator[None]:
    """Have what a plugin prints go to standard error: standard output is for results.

    In the main thread alone: others may overlap, and of two that do, the second would put back what the first has put
    there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


class Handle:
    """A run that a plugin has started; what goes wrong in its methods is told as the plugin's.

    :param owner: whose it is.
    """

    def __init__(self, handle: RunHandle, owner: Owner) -> None:
        self._handle = handle
        self.owner = owner
        self.starter: str | None = getattr(type(handle), "starter", None)
        """What starts another one like it, as the hook ``run_target`` has it."""

    def stream(self, write: Callable[[int, bytes], None]) -> int:
        """As `envbuild.outcome.RunHandle.stream`."""
        with blamed(self.owner, "stream"):
            code = self._handle.stream(write)
        if not isinstance(code, int):
            # Further on it would look like a mistake of the core.
            with blamed(self.owner, "stream"):
                shown = shortened(repr(code))
            raise failure(self.owner, "stream", f"it answered {shown}, and that is no int")
        return code

    def poll(self) -> int | None:
        """As `envbuild.outcome.RunHandle.poll`."""
        with blamed(self.owner, "poll"):
            return self._handle.poll()

    def signal(self, number: int) -> None:
        """As `envbuild.outcome.RunHandle.signal`."""
        with blamed(self.owner, "signal"):
            self._handle.signal(number)

    def cancel(self, grace: float) -> None:
        """As `envbuild.outcome.RunHandle.cancel`."""
        with blamed(self.owner, "cancel"):
            self._handle.cancel(grace)


def raised(error: BaseException) -> str:
    """What a stranger's code has raised, in one line that steers no terminal."""
    try:
        said = str(error)
    # What cannot even be said is a mistake of whoever wrote that error.
    except Exception as another:
        said = f"<its text cannot be had: {type(another).__name__}>"
    return visible(" ".join(f"{type(error).__name__}: {said}".split()))


def shortened(text: str) -> str:
    """One line of a text, and not more than what is read at a glance."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= _SHORT else f"{line[: _SHORT - 1]}…"

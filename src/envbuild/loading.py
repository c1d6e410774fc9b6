"""Loading plugins: which there are, which of two with one name, how long each took, and for which hooks it was written.

What a plugin answers, and what becomes of it, is the business of `envbuild.plugins`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from packaging.utils import canonicalize_name

from envbuild import hookspecs
from envbuild.blame import Owner
from envbuild.errors import PluginError

SLOW = 0.5
"""From how many seconds on the time that a plugin took to load is told."""

PATIENCE = 5.0
"""After how many seconds a plugin that is still being loaded is named."""

_OURS = "envbuild"
"""The distribution that brings what envbuild does unaided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A plugin that was found.

    :param distribution: the distribution that brings it, as ``name version``.
    :param hooks: the hooks that it answers.
    :param error: why it could not be loaded; empty where it could.
    :param warnings: what does not keep it from working, and somebody should know.
    :param api: the version of the hooks that it was written for; ``None`` where it could not be loaded.
    :param seconds: how long that took.
    """

    name: str
    module: str
    distribution: str
    hooks: tuple[str, ...] = ()
    error: str = ""
    warnings: tuple[str, ...] = ()
    api: int | None = None
    seconds: float = 0.0

    @property
    def is_ours(self) -> bool:
        """Whether envbuild itself brings it."""
        return self.distribution.partition(" ")[0] == _OURS

    @property
    def owner(self) -> Owner:
        """Who is to be told of what goes wrong in it."""
        return Owner(self.name, self.distribution, self.is_ours)

    def __str__(self) -> str:
        return str(self.owner)


@dataclass(frozen=True, slots=True)
class Found:
    """The entry point that is used for a name, and those of other distributions that are not."""

    point: EntryPoint
    shadowed: tuple[EntryPoint, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to say of the others."""
        return tuple(
            f"{distribution_of(each)} brings a plugin {each.name!r} too ({each.value}): it is not loaded"
            for each in self.shadowed
        )


def installed(points: Iterable[EntryPoint] | None = None) -> list[Found]:
    """The plugins to load, in the order of their names.

    Of several distributions with a plugin of one name envbuild's own counts, else the first by the distribution's
    name: on every machine the same, in whatever order their folders are listed.

    :param points: what to choose from; by default all that is installed.
    """
    by_name: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=hookspecs.GROUP) if points is None else points:
        by_name.setdefault(point.name, []).append(point)
    found = []
    for name in sorted(by_name):
        first, *others = sorted(by_name[name], key=_rank)
        found.append(Found(first, tuple(others)))
    return found


def _rank(point: EntryPoint) -> tuple[bool, str, str]:
    name = canonicalize_name(point.dist.name) if point.dist else ""
    return name != _OURS, name, point.value


def distribution_of(point: EntryPoint) -> str:
    """The distribution that brings it, as ``name version``."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "-"


@contextmanager
def watched(point: EntryPoint) -> Iterator[None]:
    """Name a plugin whose loading takes long, while it does: whoever waits can tell for what.

    With ``ENVBUILD_DEBUG`` it is named before it is loaded: what holds up the whole of Python can be told in no other
    way.
    """
    named = f"the plugin {point.name!r} ({distribution_of(point)}, {point.value})"
    if os.environ.get("ENVBUILD_DEBUG"):
        _note(f"loading {named}")
    timer = threading.Timer(PATIENCE, _note, [f"still loading {named} …"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        # A thread that is about to end still counts for whoever forks now.
        timer.join()


def imported(point: EntryPoint) -> Any:
    """What an entry point leads to.

    :raises PluginError: it is none; whatever a stranger's module raises comes as it is.
    """
    if EntryPoint.pattern.match(point.value) is None:
        raise PluginError(f"{point.value!r} is no entry point: MODULE or MODULE:NAME is wanted")
    return point.load()


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Clock:
    """How long it has been since this was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """The time since then."""
        return time.perf_counter() - self._began


def written_for(plugin: object) -> int:
    """The version of the hooks that a plugin was written for: its ``ENVBUILD_API``, or 1 where it does not say.

    :raises PluginError: it does not say it as a whole number, or hooks of that version are not served here.
    """
    said = getattr(plugin, hookspecs.SAYS_API, 1)
    if type(said) is not int or said < 1:
        raise PluginError(f"its {hookspecs.SAYS_API} is {said!r}, and a whole number from 1 on is wanted")
    if said > hookspecs.API_VERSION:
        raise PluginError(
            f"it was written for version {said} of the hooks, and this envbuild has version {hookspecs.API_VERSION}",
            hint="upgrade envbuild",
        )
    if said < hookspecs.OLDEST_API:
        raise PluginError(
            f"it was written for version {said} of the hooks, and this envbuild serves "
            f"{hookspecs.OLDEST_API} to {hookspecs.API_VERSION}"
        )
    return said


@contextmanager
def deprecations() -> Iterator[list[str]]:
    """What the hooks' specifications warn of while plugins are registered; to be told in due place, and once."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield told
    told += dict.fromkeys(str(each.message) for each in caught)

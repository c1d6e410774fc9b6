"""Company: the other plugins out here, to which tests in environments are stand-ins without any code.

A plugin is known by the package that it comes from, as that is the same on both sides.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from envbuild.pytest_plugin.inside import Inside

_AT_EASE = frozenset(("_pytest", "xdist", "envbuild"))
"""Packages that do nothing amiss to stand-ins, nor put them in order, but for `_ORDERING`."""

_ORDERING = ("failedfirst", "newfirst")
"""pytest's own options that put tests in order, which are heeded outside alone."""

_REFUSED = {
    "testmon": "it does not see what tests inside environments do: --envbuild-skip-passed is for that",
}
"""Options of plugins that go wrong with stand-ins in silence, and what is to be known of them."""


def package(plugin: object) -> str:
    """The package that a plugin comes from.

    >>> import json.decoder
    >>> package(json.decoder), package(json.decoder.JSONDecoder())
    ('json', 'json')
    """
    name: str = getattr(plugin, "__name__", None) or type(plugin).__module__
    return name.partition(".")[0]


def packages(config: pytest.Config) -> frozenset[str]:
    """The packages that all plugins out here come from."""
    return frozenset(map(package, config.pluginmanager.get_plugins()))


def refuse(config: pytest.Config) -> None:
    """See to it that no plugin is asked for what it cannot do where tests run in environments.

    :raises UsageError: one is.
    """
    for option, reason in _REFUSED.items():
        if config.getoption(option, False):
            raise pytest.UsageError(f"--{option}: {reason}")


def has_order_of_its_own(config: pytest.Config, inside: Inside) -> bool:
    """Whether anything out here may put tests in an order that the environment's own pytest does not give them.

    A plugin that both have orders tests inside already, where it knows what they are.
    """
    if any(config.getoption(option, False) for option in _ORDERING):
        return True
    hooks = config.hook.pytest_collection_modifyitems.get_hookimpls()
    return any(
        not _is_conftest(each.plugin) and package(each.plugin) not in _AT_EASE | inside.plugins for each in hooks
    )


def _is_conftest(plugin: object) -> bool:
    return str(getattr(plugin, "__file__", "")).endswith("conftest.py")


def headings(config: pytest.Config, insides: Iterable[Inside]) -> list[str]:
    """What plugins that only environments have say at the top, each line once."""
    ours = packages(config)
    labels: dict[str, list[str]] = {}
    for inside in insides:
        for name, line in inside.headings:
            if name not in ours:
                labels.setdefault(line, []).append(inside.label)
    return [f"envbuild: {', '.join(dict.fromkeys(where))}: {line}" for line, where in labels.items()]


def blamed(config: pytest.Config, trace: TracebackType | None) -> str:
    """Which plugin out here an error comes from, in words; empty if it is pytest's or ours."""
    named = {
        package(plugin): name
        for name, plugin in reversed(config.pluginmanager.list_name_plugin())
        if plugin is not None and not _is_conftest(plugin)
    }
    found = ""
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if name in named:
            found = name
        trace = trace.tb_next
    if not found or found in _AT_EASE:
        return ""
    return (
        f"envbuild: this comes from the plugin {found}. Tests that run inside environments have no code outside, "
        f"which it may need; -p no:{named[found]} leaves it out, on both sides"
    )

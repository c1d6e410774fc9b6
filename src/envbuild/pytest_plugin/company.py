"""Company: the other plugins out here, to which tests in environments are stand-ins without any code.

A plugin is known by the package that it comes from, as that is the same on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest

from envbuild.pytest_plugin.nodes import InsideTest

if TYPE_CHECKING:
    from envbuild.pytest_plugin.inside import Inside

_AT_EASE = frozenset(("_pytest", "xdist", "envbuild"))
"""Packages of plugins that know what to do with stand-ins, such as putting those first that failed."""

_TESTMON = ("testmon", "testmon_noselect", "testmon_nocollect", "testmon_forceselect", "tmnet")
"""The options of pytest-testmon, which would take it that stand-ins depend on nothing, and leave them out."""


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
    """See to it that no plugin is asked for what goes wrong in silence where tests run in environments.

    :raises UsageError: one is.
    """
    asked = [option for option in _TESTMON if config.getoption(option, False)]
    if asked and not config.getoption("no-testmon", False):
        raise pytest.UsageError(
            f"--{asked[0].replace('_', '-')}: pytest-testmon does not see what tests inside environments depend on; "
            "--envbuild-skip-passed is for that"
        )


@contextmanager
def order_left_inside(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """While hooks are called with ``items``, leave the order of tests to plugins inside, which know what they are.

    What a plugin out here does to the order counts only for tests in environments that do not have the plugin.
    """
    hooks: list[Any] = [
        each
        for each in config.hook.pytest_collection_modifyitems.get_hookimpls()
        if package(each.plugin) not in _AT_EASE
    ]
    before = [each.function for each in hooks]
    for each in hooks:
        each.function = _Keeping(each, items)
    try:
        yield
    finally:
        for each, function in zip(hooks, before, strict=True):
            each.function = function


class _Keeping:
    """A hook that leaves tests in their order; of one that wraps others, the steps before and after them.

    :param hook: as pluggy has it.
    """

    def __init__(self, hook: Any, items: list[pytest.Item]) -> None:
        self._plugin = hook.plugin
        self._wraps = hook.wrapper or hook.hookwrapper
        self._call = hook.function
        self._steps: Any = None
        self._items = items

    def __call__(self, *args: Any) -> Any:
        if self._wraps:
            self._steps = self._call(*args)
            return self
        return self._kept(self._call, *args)

    def __next__(self) -> Any:
        return self._kept(next, self._steps)

    def send(self, value: Any) -> Any:
        return self._kept(self._steps.send, value)

    def throw(self, error: BaseException) -> Any:
        return self._steps.throw(error)

    def close(self) -> None:
        self._steps.close()

    def _kept(self, function: Callable[..., Any], *args: Any) -> Any:
        before = {item: position for position, item in enumerate(self._items)}
        try:
            return function(*args)
        finally:
            places: dict[Inside, list[int]] = {}
            for place, item in enumerate(self._items):
                if isinstance(item, InsideTest) and item in before and self._is_in(item.inside):
                    places.setdefault(item.inside, []).append(place)
            for found in places.values():
                ordered = sorted((self._items[place] for place in found), key=before.__getitem__)
                for place, item in zip(found, ordered, strict=True):
                    self._items[place] = item

    def _is_in(self, inside: Inside) -> bool:
        return _is_conftest(self._plugin) or package(self._plugin) in inside.plugins


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

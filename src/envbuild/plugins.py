"""Plugins: who answers the hooks.

Plugins are found by entry point, and loaded the first time that a hook is about to be called. One that cannot
be loaded is remembered with its error and left out: it takes nothing down with it, and is named where it is
missed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from envbuild import hookspecs
from envbuild.definition import Definition
from envbuild.errors import EnvbuildError, PluginError, PluginMissing
from envbuild.lock import Lock

HOOKS = ("resolve_dependencies", "compute_hash", "build_image", "run_target", "deploy_target")

_EXTRAS = {"conda": "conda", "docker": "docker", "gpu": "gpu", "spark": "docker"}
"""Which extra brings the plugin for a section of the definition, or for a target."""


_INSTEAD = {
    "docker": "leave it out (docker.enabled = False in Python)",
    "gpu": "leave it out; a local run sees the GPUs that there are",
    "spark": "leave it out",
}
"""What to do about a section as long as envbuild does not bring the plugin for it."""

_OURS = ("local", "pip", "unmanaged", "wheel")
"""The plugins that everybody has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A plugin that was found.

    :param distribution: the distribution that brings it, as ``name version``.
    :param hooks: the hooks that it answers.
    :param error: why it could not be loaded; empty where it could.
    """

    name: str
    module: str
    distribution: str
    hooks: tuple[str, ...] = ()
    error: str = ""


class Plugins:
    """The plugins of one process, ready to be asked.

    :param points: the entry points to load; by default all that are installed.
    """

    def __init__(self, points: Iterable[EntryPoint] | None = None) -> None:
        self.manager = pluggy.PluginManager(hookspecs.GROUP)
        self.manager.add_hookspecs(hookspecs)
        self.found: list[Plugin] = []
        for point in _unique(entry_points(group=hookspecs.GROUP) if points is None else points):
            self._load(point)

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin that has no entry point, as tests and embedding programs do."""
        self._accept(plugin, name)
        self.found.append(
            Plugin(name=name, module=type(plugin).__name__, distribution="-", hooks=self._answers(plugin))
        )

    def gather(self, hook: str, **arguments: Any) -> dict[str, Any]:
        """Ask every plugin, in order, and give the answers that are not ``None`` by the plugin's name.

        :raises PluginError: a plugin raised something that it should not.
        """
        return dict(self._answers_to(hook, arguments))

    def first(self, hook: str, **arguments: Any) -> Any:
        """Ask the plugins in turn, and give the first answer that is not ``None``; ``None`` if there is none.

        :raises PluginError: a plugin raised something that it should not.
        """
        return next((answer for _, answer in self._answers_to(hook, arguments)), None)

    def _answers_to(self, hook: str, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        caller = getattr(self.manager.hook, hook)
        for implementation in reversed(caller.get_hookimpls()):
            try:
                answer = implementation.function(**{name: arguments[name] for name in implementation.argnames})
            except (EnvbuildError, KeyboardInterrupt):
                raise
            # What a stranger's code raises is told with the stranger's name, and the whole of it is chained.
            except (Exception, SystemExit) as error:
                raise self._failure(implementation.plugin_name, hook, error) from error
            if answer is not None:
                yield implementation.plugin_name, answer

    def outdated(self, definition: Definition, lock: Lock) -> tuple[str, ...]:
        """Ask every plugin that has a function ``outdated`` what has changed since ``lock`` was made.

        :raises PluginError: a plugin raised something that it should not.
        """
        found: list[str] = []
        for each in self.found:
            ask = getattr(self.manager.get_plugin(each.name), "outdated", None)
            try:
                found += ask(definition, lock, dict(os.environ)) if ask else ()
            except (EnvbuildError, KeyboardInterrupt):
                raise
            except (Exception, SystemExit) as error:
                raise self._failure(each.name, "outdated", error) from error
        return tuple(found)

    def _failure(self, name: str, function: str, error: BaseException) -> PluginError:
        return PluginError(
            f"the plugin {name!r} failed in {function}: {type(error).__name__}: {error}",
            hint=f"report it to whoever makes {self._distribution(name)}; ENVBUILD_DEBUG=1 shows where",
        )

    def _distribution(self, name: str) -> str:
        return next((each.distribution for each in self.found if each.name == name), name)

    def missing(self, what: str, name: str) -> PluginMissing:
        """The error for a section or target that nobody took on, with what to do about it."""
        return self.lacking(what, (name,))

    def lacking(self, what: str, names: Sequence[str]) -> PluginMissing:
        """As `missing`, of several at once."""
        broken = [f"{each.name} ({each.distribution}): {each.error}" for each in self.found if each.error]
        hint = "; ".join(_advice(what, name) for name in names)
        if broken:
            hint += "; these plugins could not be loaded: " + "; ".join(broken)
        said = " and ".join(repr(name) for name in names)
        return PluginMissing(f"no installed plugin takes on the {what}{'s' * (len(names) > 1)} {said}", hint=hint)

    def check_target(self, name: str) -> None:
        """Refuse a target that we know the plugin for, before anything is built for it in vain.

        :raises PluginMissing: that plugin is not there.
        """
        if name in _EXTRAS and not any(each.name == name and "run_target" in each.hooks for each in self.found):
            raise self.missing("target", name)

    def _load(self, point: EntryPoint) -> None:
        distribution = f"{point.dist.name} {point.dist.version}" if point.dist else "-"
        try:
            plugin = point.load()
            self._accept(plugin, point.name)
        # Whatever a stranger's module raises on import must not take envbuild down.
        except (Exception, SystemExit) as error:
            self.manager.unregister(name=point.name)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self.found.append(Plugin(name=point.name, module=point.value, distribution=distribution, error=reason))
        else:
            self.found.append(
                Plugin(
                    name=point.name,
                    module=point.value,
                    distribution=distribution,
                    hooks=self._answers(plugin),
                )
            )

    def _accept(self, plugin: object, name: str) -> None:
        """Register a plugin whose hooks are all ones that there are, and no wrappers: answers belong to one plugin."""
        self.manager.register(plugin, name)
        self.manager.check_pending()
        for caller in self.manager.get_hookcallers(plugin) or []:
            for each in caller.get_hookimpls():
                if each.plugin is plugin and (each.wrapper or each.hookwrapper):
                    raise PluginError(f"{caller.name} is a hook wrapper, which envbuild's hooks do not take")

    def _answers(self, plugin: object) -> tuple[str, ...]:
        callers = self.manager.get_hookcallers(plugin) or []
        names = {caller.name for caller in callers}
        return tuple(hook for hook in HOOKS if hook in names)


def _advice(what: str, name: str) -> str:
    """What to do where nobody takes on a section, or a target."""
    if name not in _EXTRAS:
        return "see 'envbuild plugins'"
    if name not in _INSTEAD:
        return f"pip install 'envbuild[{_EXTRAS[name]}]'"
    instead = _INSTEAD[name] if what == "section" else "run it here (-t local)"
    return f"the plugin for it is still to come, as envbuild[{_EXTRAS[name]}]; until then {instead}"


def check_sections(sections: Iterable[str]) -> None:
    """Refuse a definition with a section for which the plugin that we know is not there, nor any that we do not.

    Nothing is loaded for that: a run is refused where it is asked for, rather than where it would be built.

    :raises PluginMissing: nobody will take it on.
    """
    missing = [each for each in sections if each in _EXTRAS]
    if missing:
        installed = {point.name for point in entry_points(group=hookspecs.GROUP)}
        unknown = installed - {*_EXTRAS.values(), *_OURS}
        nobodys = [each for each in missing if _EXTRAS[each] not in installed]
        if nobodys and not unknown:
            raise Plugins(()).lacking("section", nobodys)


def _unique(points: Iterable[EntryPoint]) -> list[EntryPoint]:
    """The entry points in the order of their names, each name once: a source tree on the path shadows an install."""
    seen: dict[str, EntryPoint] = {}
    for point in points:
        seen.setdefault(point.name, point)
    return [seen[name] for name in sorted(seen)]


@cache
def load_plugins() -> Plugins:
    """The installed plugins, loaded once per process."""
    return Plugins()

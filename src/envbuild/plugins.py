"""Plugins: who answers the hooks.

Plugins are found by entry point, and loaded the first time that a hook is about to be called. One that cannot
be loaded is remembered with its error and left out: it takes nothing down with it, and is named where it is
missed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from envbuild import blame, hookspecs, loading
from envbuild.blame import Handle, Owner, raised, shortened
from envbuild.definition import OWN_SECTIONS, Definition
from envbuild.errors import PluginError, PluginMissing
from envbuild.fingerprint import canonical
from envbuild.image import Image
from envbuild.loading import Plugin
from envbuild.lock import Lock
from envbuild.outcome import RunRequest
from envbuild.supervise import visible

HOOKS = tuple(name for name, each in vars(hookspecs).items() if hasattr(each, f"{hookspecs.GROUP}_spec"))
"""The names of the hooks, in the order of the story."""

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


_Kind = type | tuple[type, ...]

_NAMES = (tuple, list, set, frozenset)
"""What the names of sections may come in; a text would be taken for one of its letters."""

_STRANGER = ""
"""In place of the name of a plugin that envbuild does not bring."""


class Plugins:
    """The plugins of one process, ready to be asked.

    :param points: the entry points to load; by default all that are installed.
    """

    def __init__(self, points: Iterable[EntryPoint] | None = None) -> None:
        self.manager = pluggy.PluginManager(hookspecs.GROUP)
        self.manager.add_hookspecs(hookspecs)
        self.found: list[Plugin] = []
        for found in loading.installed(points):
            self._load(found)

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin that has no entry point, as tests and embedding programs do.

        :raises PluginError: it was written for hooks that are not served here, or has a hook wrapper.
        """
        api = loading.written_for(plugin)
        with loading.deprecations() as told:
            self._accept(plugin, name)
        hooks = self._answers(plugin)
        module = type(plugin).__name__
        self.found.append(
            Plugin(name=name, module=module, distribution="-", hooks=hooks, api=api, warnings=tuple(told))
        )

    def gather(self, hook: str, kind: _Kind = object, /, **arguments: Any) -> dict[str, Any]:
        """Ask every plugin, in order, and give the answers that are not ``None`` by the plugin's name.

        :param kind: what an answer has to be.
        :raises PluginError: a plugin raised something that it should not, or its answer is something else.
        """
        return dict(self._answers_to(hook, kind, arguments))

    def taken(self, **arguments: Any) -> set[str]:
        """Ask every plugin's ``resolve_dependencies``, and give the sections that somebody has taken on.

        :raises PluginError: as for `gather`, and where a section is no text.
        """
        found: set[str] = set()
        for name, answer in self._answers_to("resolve_dependencies", _NAMES, arguments):
            for each in answer:
                if not isinstance(each, str):
                    said = f"it answered {shortened(repr(answer))}, and {shortened(repr(each))} is no name of a section"
                    raise self._failure(name, "resolve_dependencies", said)
                found.add(each)
        return found

    def facts(self, definition: Definition, lock: Lock) -> dict[str, dict[str, Any]]:
        """Ask every plugin's ``compute_hash``, and give the answers in the one form that an id is taken of.

        :raises PluginError: as for `gather`, and where an answer has no such form.
        """
        found = {}
        for name, answer in self._answers_to("compute_hash", Mapping, {"definition": definition, "lock": lock}):
            with blame.blamed(self._owner(name), "compute_hash"):
                found[name] = canonical(answer, "answer")
        return found

    def first(self, hook: str, kind: _Kind = object, /, **arguments: Any) -> Any:
        """Ask the plugins in turn, and give the first answer that is not ``None``; ``None`` if there is none.

        :param kind: what an answer has to be.
        :raises PluginError: a plugin raised something that it should not, or its answer is something else.
        """
        return next((answer for _, answer in self._answers_to(hook, kind, arguments)), None)

    def start(self, run: RunRequest, image: Image) -> Handle | None:
        """Have a plugin start a run, as `first` has it; what goes wrong in the handle is told as the plugin's too."""
        for name, handle in self._answers_to("run_target", object, {"run": run, "image": image}):
            return Handle(handle, self._owner(name))
        return None

    def order(self, hook: str) -> tuple[str, ...]:
        """The names of those who answer a hook, in the order in which they are asked."""
        return tuple(each.plugin_name for each in self._asked(hook))

    def _asked(self, hook: str) -> list[pluggy.HookImpl]:
        caller: pluggy.HookCaller = getattr(self.manager.hook, hook)
        return caller.get_hookimpls()[::-1]

    def _answers_to(self, hook: str, kind: _Kind, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for implementation in self._asked(hook):
            name = implementation.plugin_name
            with blame.blamed(self._owner(name), hook):
                answer = implementation.function(**{each: arguments[each] for each in implementation.argnames})
            if answer is None:
                continue
            if not isinstance(answer, kind):
                # Further on it would look like a mistake of the core.
                wanted = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
                with blame.blamed(self._owner(name), hook):
                    shown = shortened(repr(answer))
                raise self._failure(name, hook, f"it answered {shown}, and that is no {wanted}")
            yield name, answer

    def outdated(self, definition: Definition, lock: Lock) -> tuple[str, ...]:
        """Ask every plugin that has a function ``outdated`` what has changed since ``lock`` was made.

        :raises PluginError: a plugin raised something that it should not.
        """
        found: list[str] = []
        for each in self.found:
            with blame.blamed(self._owner(each.name), "outdated"):
                ask = getattr(self.manager.get_plugin(each.name), "outdated", None)
                found += ask(definition, lock, dict(os.environ)) if ask else ()
        return tuple(found)

    def _failure(self, name: str, function: str, what: str) -> PluginError:
        return blame.failure(self._owner(name), function, what)

    def _owner(self, name: str) -> Owner:
        found = next((each for each in self.found if each.name == name), None)
        return found.owner if found else Owner(name, name, is_ours=True)

    def missing(self, what: str, name: str) -> PluginMissing:
        """The error for a section or target that nobody took on, with what to do about it."""
        return self.lacking(what, (name,))

    def lacking(self, what: str, names: Sequence[str]) -> PluginMissing:
        """As `missing`, of several at once."""
        broken = [f"{each}: {shortened(each.error)}" for each in self.found if each.error]
        hint = "; ".join(_advice(what, name) for name in names)
        if broken:
            hint += "; these plugins could not be loaded: " + "; ".join(broken)
        said = " and ".join(repr(name) for name in names)
        return PluginMissing(f"no installed plugin takes on the {what}{'s' * (len(names) > 1)} {said}", hint=hint)

    def check_locked(self, sections: Iterable[str], kinds: Iterable[str]) -> None:
        """Refuse a lock that fits, and that nobody would make or build any more.

        Nobody is asked for that, so where there is a stranger who answers the hook, it may be its business.

        :param kinds: the kinds of packages in the lock.
        :raises PluginMissing: nobody can take on a section, or packages of a kind.
        """
        resolving, building = self._answering("resolve_dependencies"), self._answering("build_image")
        nobodys = [each for each in sections if (each in _EXTRAS or each not in OWN_SECTIONS)]
        nobodys = [each for each in nobodys if not resolving & {_EXTRAS.get(each), _STRANGER}]
        if nobodys:
            raise self.lacking("section", nobodys)
        for kind in sorted({*kinds} - {"pip", "wheel"}):
            if not building & {kind, _STRANGER}:
                raise self.missing("packages of kind", kind)

    def _answering(self, hook: str) -> set[str | None]:
        """The names of envbuild's own plugins that answer a hook, and `_STRANGER` where there is another."""
        return {each.name if each.is_ours else _STRANGER for each in self.found if hook in each.hooks}

    def check_target(self, name: str) -> None:
        """Refuse a target that we know the plugin for, before anything is built for it in vain.

        :raises PluginMissing: that plugin is not there.
        """
        if name in _EXTRAS and not any(each.name == name and "run_target" in each.hooks for each in self.found):
            raise self.missing("target", name)

    def _load(self, found: loading.Found) -> None:
        point, clock = found.point, loading.Clock()
        known = partial(Plugin, name=point.name, module=point.value, distribution=loading.distribution_of(point))
        try:
            with loading.watched(point), blame.printing_aside():
                plugin = loading.imported(point)
            api = loading.written_for(plugin)
            with loading.deprecations() as told:
                self._accept(plugin, point.name)
        except KeyboardInterrupt:
            raise
        # Whatever a stranger's module raises on import must not take envbuild down.
        except BaseException as error:
            self.manager.unregister(name=point.name)
            self.found.append(known(error=_reason(error), warnings=found.warnings, seconds=clock.seconds))
        else:
            hooks = self._answers(plugin)
            warnings = (*found.warnings, *told, *_looked_at(plugin, hooks, clock.seconds))
            self.found.append(known(hooks=hooks, api=api, warnings=warnings, seconds=clock.seconds))

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


def _reason(error: BaseException) -> str:
    """Why a plugin is left out, in one line."""
    if not isinstance(error, PluginError):
        return raised(error)
    return visible(" ".join(f"{error} ({error.hint})".split() if error.hint else str(error).split()))


def _looked_at(plugin: object, hooks: tuple[str, ...], seconds: float) -> Iterator[str]:
    """What somebody should know of a plugin that was loaded."""
    if seconds > loading.SLOW:
        yield f"it took {seconds:.1f} s to load: what is heavy belongs inside its functions"
    if not hooks and not any(hasattr(plugin, each) for each in ("checkup", "outdated")):
        yield "it answers no hook: does its function lack @hookimpl?"


def _advice(what: str, name: str) -> str:
    """What to do where nobody takes on a section, or a target."""
    if name not in _EXTRAS:
        return "install the plugin that brings it; 'envbuild plugins' shows those that there are"
    if name not in _INSTEAD:
        return f"pip install 'envbuild[{_EXTRAS[name]}]'"
    instead = _INSTEAD[name] if what == "section" else "run it here (-t local)"
    return f"the plugin for it is still to come, as envbuild[{_EXTRAS[name]}]; until then {instead}"


def check_sections(sections: Iterable[str]) -> None:
    """Refuse a definition with a section for which the plugin that we know is not there, nor any that we do not.

    Nothing is loaded for that: a run is refused where it is asked for, rather than where it would be built.

    :raises PluginMissing: nobody will take it on.
    """
    missing = [each for each in sections if each in _EXTRAS or each not in OWN_SECTIONS]
    if missing:
        installed = {point.name for point in entry_points(group=hookspecs.GROUP)}
        unknown = installed - {*_EXTRAS.values(), *_OURS}
        nobodys = [each for each in missing if _EXTRAS.get(each) not in installed]
        if nobodys and not unknown:
            raise Plugins(()).lacking("section", nobodys)


@cache
def load_plugins() -> Plugins:
    """The installed plugins, loaded once per process."""
    return Plugins()

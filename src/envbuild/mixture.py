"""Mixtures: environments in between two locks, made of the artifacts of both and of nothing else.

What two environments do not share are their *parts*: each package, Python, all conda packages at once, each variable
and section of the definitions. `parts` finds them, `ties` which of them can only be exchanged together, by what
packages say that they require, and `mix` makes the lock in which some have been exchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from envbuild.conda import KIND as CONDA
from envbuild.culprits import Ties
from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.fingerprint import lock_document
from envbuild.form import plain
from envbuild.lock import Change, Lock, Package
from envbuild.requirement import PylockFile

_SECTIONS = ("secrets", "docker", "gpu", "spark", "azure")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']|["']([^"']+)["']\s*==\s*extra""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A Python distribution as it says of itself in an environment (its ``METADATA``).

    :param requires: its requirements as written, with markers.
    """

    name: str
    version: str
    requires: tuple[str, ...] = ()
    requires_python: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One of the two environments that are mixed.

    :param lock: its lock; paths in it are absolute (`rooted`).
    :param distributions: what is in it, by normalised name; conda's too.
    """

    definition: Definition
    lock: Lock
    distributions: Mapping[str, Distribution] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something that two environments do not share, and that is exchanged as a whole.

    :param kind: ``package``, ``python``, ``conda`` (all packages of conda's, and its Python) or ``setting``.
    :param changes: the packages that go and come.
    :param before: what it is in the one, as text, and ``after`` in the other; ``None`` where it is absent.
    """

    kind: str
    name: str
    before: str | None
    after: str | None
    changes: tuple[Change, ...] = ()

    def __str__(self) -> str:
        if self.kind == "conda":
            return f"conda: {'; '.join(self.packages)}" if len(self.changes) < 3 else f"{len(self.changes)} of conda's"
        if self.before is None:
            return f"{self.name} {self.after} (added)"
        if self.after is None:
            return f"{self.name} {self.before} (removed)"
        if self.before == self.after:
            return f"{self.name} {self.after} (other bytes)"
        return f"{self.name} {self.before} → {self.after}"

    @property
    def variable(self) -> str | None:
        """The environment variable that it sets, if it is one of the definitions'."""
        section, _, name = self.name.partition(".")
        return name if self.kind == "setting" and section == "variables" else None

    @property
    def packages(self) -> tuple[str, ...]:
        """What goes and comes, package by package."""
        return tuple(str(each).removeprefix("~ ").replace(f" ({CONDA})", "") for each in self.changes)


def rooted(lock: Lock) -> Lock:
    """``lock`` with its paths told from the root of this machine, so that it may stand anywhere."""
    root = (lock.root or Path.cwd()).absolute()
    packages = (
        replace(each, artifact=replace(each.artifact, path=str(root / each.artifact.path)))
        if each.artifact.path
        else each
        for each in lock.packages
    )
    return replace(lock, packages=tuple(packages), root=None)


# -- what they do not share ----------------------------------------------------------------------------------


def parts(before: End, after: End) -> tuple[Part, ...]:
    """What two environments do not share, in an order that depends on nothing else."""
    found = _changed(before.lock, after.lock)
    conda = tuple(each for each in found if _kind(each) == CONDA)
    pythons = before.lock.python, after.lock.python
    made = []
    # Among conda's packages is the Python that they are made for.
    if pythons[0] != pythons[1] and not conda:
        made.append(Part(kind="python", name="Python", before=pythons[0], after=pythons[1]))
    if conda:
        counts = [str(sum(bool(getattr(each, side)) for each in conda)) for side in ("before", "after")]
        made.append(Part(kind="conda", name="conda", before=counts[0], after=counts[1], changes=conda))
    made += [
        Part(kind="package", name=each.name, before=_version(each.before), after=_version(each.after), changes=(each,))
        for each in found
        if each not in conda
    ]
    return (*made, *_settings(before.definition, after.definition))


def _changed(before: Lock, after: Lock) -> list[Change]:
    old, new = ({each.label: each for each in lock.packages} for lock in (before, after))
    return [
        Change(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if _content(old.get(name)) != _content(new.get(name))
    ]


def _content(package: Package | None) -> Any:
    """What of a package makes a difference to the environment; not where it is fetched from, nor why it is there."""
    if package is None:
        return None
    artifact = package.artifact
    place = artifact.path if artifact.kind == "directory" else None
    return (
        package.kind, package.version, dict(package.details),
        artifact.digest, artifact.revision, artifact.subdirectory, artifact.editable, place,
    )  # fmt: skip


def _kind(change: Change) -> str:
    package = change.after or change.before
    return package.kind if package else ""


def _version(package: Package | None) -> str | None:
    return (package.version or package.artifact.place) if package else None


def _settings(before: Definition, after: Definition) -> Iterator[Part]:
    for name in sorted(before.variables.keys() | after.variables.keys()):
        old, new = before.variables.get(name), after.variables.get(name)
        if old != new:
            yield Part(kind="setting", name=f"variables.{name}", before=old, after=new)
    for name in _SECTIONS:
        old, new = (plain(getattr(each, name)) for each in (before, after))
        if old != new:
            yield Part(kind="setting", name=name, before=str(old) if old else None, after=str(new) if new else None)


# -- what can be exchanged -----------------------------------------------------------------------------------


def ties(exchanged: tuple[Part, ...], before: End, after: End) -> Ties:
    """Which parts can only be exchanged together with which others, so that no requirement is left unmet.

    What a distribution requires counts if it is met in the environments that it is in as they are: somebody may have
    overridden it. An extra counts as asked for where all that it requires is there. Where three parts meet, more is
    tied together than would have to be, never less.
    """
    return Ties.of(len(exchanged), _Requirements(exchanged, before, after).needs())


class _Met(NamedTuple):
    """Whether a requirement is met by what each of the two ends has."""

    before: bool
    after: bool


class _Requirements:
    """What the distributions of two ends require of each other, as pairs of parts of which one needs the other.

    A part that needs another is only exchanged together with it.
    """

    def __init__(self, exchanged: tuple[Part, ...], before: End, after: End) -> None:
        self.parts = exchanged
        self.ends = (before, after)
        self.owners = _owners(exchanged)
        self.locked = {each.provides for end in self.ends for each in end.lock.packages}
        kinds = {part.kind: number for number, part in enumerate(exchanged)}
        self.python = kinds.get("python")
        self.conda = kinds.get("conda")
        if self.python is None and before.lock.python != after.lock.python:
            self.python = self.conda

    def needs(self) -> Iterator[tuple[int, int]]:
        """Pairs of a part and one that it needs."""
        for side, end in enumerate(self.ends):
            for name, distribution in end.distributions.items():
                yield from self._of_distribution(name, distribution, side)
        yield from self._of_artifacts()
        yield from self._of_clashes()

    def _owner(self, name: str) -> int | None:
        """The part that a distribution is exchanged with."""
        if name in self.owners:
            return self.owners[name]
        # A conda package may bring distributions that its name does not tell.
        return None if name in self.locked else self.conda

    def _of_distribution(self, name: str, distribution: Distribution, side: int) -> Iterator[tuple[int, int]]:
        owner = self._owner(name)
        sides = (side,) if owner is not None else (0, 1)
        extras = self._extras(distribution, side)
        for written in distribution.requires:
            requirement = _requirement(written)
            if requirement is None:
                continue
            active = [_applies(requirement, extras, end.lock.python) for end in self.ends]
            met = self._met(requirement)
            # Overridden by whoever made the lock, so it binds nobody.
            if any(active[each] and not met[each] for each in sides):
                continue
            target = self._owner(canonicalize_name(requirement.name))
            for python in (0, 1):
                if active[python]:
                    yield from self._clause(owner, side, python, target, met)

    def _clause(
        self, owner: int | None, side: int, python: int, target: int | None, met: _Met
    ) -> Iterator[tuple[int, int]]:
        """What it takes that ``owner``, as it is on ``side``, has its requirement met under that side's ``python``.

        Each part can be in one of two states, so a requirement that only one state of ``target`` meets forbids some
        selections. What is given back forbids these, and may forbid more; it never forbids one of the two ends.
        """
        if met.before and met.after:
            return
        if owner is None:
            pair = (self.python, target) if python else (target, self.python)
        elif not any(met):
            pair = (owner, self.python) if side else (self.python, owner)
        elif side:
            pair = (owner, target) if met.after else (target, self.python)
        elif met.before:
            pair = (target, owner)
        else:
            pair = (self.python, target)
        if pair[0] is not None and pair[1] is not None:
            yield pair[0], pair[1]

    def _met(self, requirement: Requirement) -> _Met:
        found = (end.distributions.get(canonicalize_name(requirement.name)) for end in self.ends)
        return _Met(*(each is not None and _admits(requirement.specifier, each.version) for each in found))

    def _extras(self, distribution: Distribution, side: int) -> frozenset[str]:
        """The extras of a distribution of which all that they require is there."""
        python = self.ends[side].lock.python
        lacking: set[str] = set()
        named: set[str] = set()
        for written in distribution.requires:
            requirement = _requirement(written)
            if requirement is None:
                continue
            for name in _extras_in(written):
                named.add(name)
                if _applies(requirement, frozenset({name}), python) and not self._met(requirement)[side]:
                    lacking.add(name)
        return frozenset(named - lacking)

    def _of_artifacts(self) -> Iterator[tuple[int, int]]:
        """Packages whose file, or own word, is for one of the two Pythons only."""
        if self.python is None:
            return
        for number, part in enumerate(self.parts):
            if part.kind != "package":
                continue
            (change,) = part.changes
            if change.after and not self._fits(change.after, 1, self.ends[0].lock.python):
                yield number, self.python
            if change.before and not self._fits(change.before, 0, self.ends[1].lock.python):
                yield self.python, number

    def _fits(self, package: Package, side: int, python: str) -> bool:
        known = self.ends[side].distributions.get(canonicalize_name(package.name))
        ranges = (package.requires_python, known and known.requires_python)
        return all(_admits(_specifier(each), python) for each in ranges if each) and _is_for(package, python)

    def _of_clashes(self) -> Iterator[tuple[int, int]]:
        """Distributions that pip brings on the one side and conda on the other: there can only be one of each."""
        if self.conda is None:
            return
        for change in self.parts[self.conda].changes:
            for package in (change.before, change.after):
                owner = self.owners.get(package.provides) if package and package.provides else None
                if owner is not None and owner != self.conda:
                    yield from ((owner, self.conda), (self.conda, owner))


def _owners(exchanged: Iterable[Part]) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, part in enumerate(exchanged):
        for change in part.changes:
            for package in (change.before, change.after):
                if package and package.provides and (part.kind == "package" or package.provides not in found):
                    found[package.provides] = number
    return found


@cache
def _requirement(written: str) -> Requirement | None:
    try:
        return Requirement(written)
    except InvalidRequirement:
        # Old packages have such; installers take no notice of them either.
        return None


def _extras_in(written: str) -> frozenset[str]:
    """The extras that a requirement is told to be for.

    >>> sorted(_extras_in("rich; extra == 'cli' or 'all' == extra"))
    ['all', 'cli']
    """
    return frozenset(one or other for one, other in _EXTRA.findall(written))


def _specifier(written: str) -> SpecifierSet:
    try:
        return SpecifierSet(written)
    except InvalidSpecifier:
        return SpecifierSet()


def _admits(specifier: SpecifierSet, version: str) -> bool:
    try:
        return specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return not specifier


def _applies(requirement: Requirement, extras: frozenset[str], python: str) -> bool:
    marker = requirement.marker
    if marker is None:
        return True
    return any(_holds(marker, extra, python) for extra in ("", *(extras & _extras_in(str(marker)))))


def _holds(marker: Marker, extra: str, python: str) -> bool:
    there: dict[str, str] = {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "implementation_version": python,
        "extra": extra,
    }
    # Any key that is not given is this machine's.
    return marker.evaluate(there)


def _is_for(package: Package, python: str) -> bool:
    """Whether the package's file can be installed for a Python, wherever that runs."""
    filename = package.artifact.filename
    if not filename or not filename.endswith(".whl"):
        return True
    try:
        tags = parse_wheel_filename(filename)[3]
    except InvalidWheelFilename:
        return True
    return not tags.isdisjoint(_tags(python, frozenset(each.platform for each in tags)))


@cache
def _tags(python: str, platforms: frozenset[str]) -> frozenset[Tag]:
    numbers = tuple(int(each) for each in python.split(".")[:2])
    named = sorted(platforms)
    interpreter = "cp" + "".join(map(str, numbers))
    return frozenset((*cpython_tags(numbers, platforms=named), *compatible_tags(numbers, interpreter, named)))


# -- exchanging ----------------------------------------------------------------------------------------------


def mix(exchanged: Iterable[Part], before: End, after: End) -> tuple[Definition, Lock]:
    """The environment ``before`` in which ``exchanged`` are as in ``after``.

    :returns: its lock, and a definition that asks for this lock as it stands.
    """
    packages = {each.label: each for each in before.lock.packages}
    python = before.lock.python
    settings = {name: getattr(before.definition, name) for name in ("variables", *_SECTIONS)}
    for part in exchanged:
        for change in part.changes:
            packages.pop(change.name, None)
            if change.after:
                packages[change.name] = change.after
        if part.kind in ("python", "conda"):
            python = after.lock.python
        elif part.kind == "setting":
            settings |= _set(part.name, settings, after.definition)
    lock = Lock(
        python=python,
        platform=before.lock.platform,
        # Their markers told whether they are wanted with the one Python; where they are now, they are, with either.
        packages=tuple(replace(each, marker=None) for each in packages.values()),
        system=tuple(sorted({*before.lock.system, *after.lock.system})),
    )
    definition = replace(
        _sources(before.definition, after.definition), pylock=PylockFile(Digest.of(lock.to_toml().encode())), **settings
    )
    return definition, replace(lock, made_from=lock_document(definition).digest)


def _set(name: str, settings: Mapping[str, Any], after: Definition) -> dict[str, Any]:
    section, _, variable = name.partition(".")
    if not variable:
        return {section: getattr(after, section)}
    rest = {key: value for key, value in settings["variables"].items() if key != variable}
    changed = {variable: after.variables[variable]} if variable in after.variables else {}
    return {"variables": {**rest, **changed}}


def _sources(before: Definition, after: Definition) -> Definition:
    """A definition that asks for nothing, and finds artifacts wherever one of two does."""
    links = dict.fromkeys(link for each in (after, before) for link in _links(each))
    no_index = before.options.no_index and after.options.no_index
    return Definition(
        options=replace(after.options, no_index=no_index, find_links=tuple(links)),
        channels=tuple(dict.fromkeys((*before.channels, *after.channels))),
        credentials={**before.credentials, **after.credentials},
    )


def _links(definition: Definition) -> Iterator[str]:
    """Where a definition has artifacts looked for, wherever it is asked."""
    for link in definition.options.find_links:
        yield link if "://" in link else str((definition.root or Path.cwd()).absolute() / link)

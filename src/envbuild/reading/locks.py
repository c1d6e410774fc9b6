"""Locks that other tools made, and that PEP 751 has no words for: taken as they stand, with no solver asked.

``@EXPLICIT`` lists (`explicit`), ``conda-lock.yml`` (`conda_lock`) and ``pixi.lock`` (`pixi`). Each reader is a
function from the text to the packages for each platform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.digest import Digest
from envbuild.errors import LockError
from envbuild.lock import Lock, Package, read_pylock
from envbuild.platform import Platform
from envbuild.reading.sources import LARGEST, Place, Sources, shown, written_text
from envbuild.reading.unread import hint_for
from envbuild.requirement import PylockFile

if TYPE_CHECKING:
    from envbuild.definition import Definition

Packages = Mapping[Platform, tuple[Package, ...]]
"""What is to be installed on each platform."""

_LARGEST = 4 * LARGEST
"""How many bytes a file that programs write may have."""


def is_explicit(text: str) -> bool:
    """Whether ``text`` is a list of URLs for conda, rather than a requirements file."""
    return any(line.strip() == "@EXPLICIT" for line in text.splitlines())


def read(path: Path, sources: Sources, part: str | None = None) -> Definition:
    """Make a definition of a lock, which asks for nothing but this lock.

    :param part: of a lock for several environments, the one that is meant.
    """
    from envbuild.reading.asked import Asked, assemble

    given = {}
    try:
        data = sources.contents(path)
        packages_in(path, written_text(data), part)
        given["pylock"] = PylockFile(Digest.of(data), part=part or "", path=path.name)
    except ValueError as error:
        sources.wrong(Place(path), error)
    return assemble(Asked(sources), {}, lambda _: Place(path), source=path, **given)


def locks_in(path: Path, part: str = "") -> dict[Platform, Lock]:
    """The lock for each platform that the file ``path`` has one for.

    :raises LockError: it cannot be read, or has no Python for one of them.
    """
    hint = hint_for(path)
    if hint:
        raise LockError(f"{shown(path)}: this is another tool's, and not read", hint=hint)
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("too large to be a lock")
        found = packages_in(path, written_text(path.read_bytes()), part or None)
    except (OSError, ValueError) as error:
        raise LockError(f"{shown(path)}: {error}", hint="make it again with the tool that made it") from error
    return {platform: _lock(packages, platform, path) for platform, packages in found.items()}


def own_lock(path: Path) -> Lock | None:
    """The lock in a ``pylock.toml`` of envbuild's with conda packages; ``None`` for any other ``pylock.toml``.

    Of one that stands without its definition, whoever goes by PEP 751 alone would only see what pip installs.

    :raises LockError: it is damaged.
    """
    data = path.read_bytes()
    ours = (read_pylock(data, where=shown(path)).tool or {}).get("envbuild")
    if not isinstance(ours, Mapping) or not ours.get("packages"):
        return None
    return Lock.parse(data, where=shown(path), root=path.parent)


def _lock(packages: Iterable[Package], platform: Platform, path: Path) -> Lock:
    packages = tuple(packages)
    python = next((each.version for each in packages if each.name == "python" and each.kind == "conda"), None)
    if python is None:
        raise LockError(
            f"{shown(path)}: there is no Python among the packages for {platform}",
            hint="add it with the tool that made the file: environments are run with the Python that they have",
        )
    try:
        return Lock(python=python, platform=platform, packages=packages, root=path.parent)
    except ValueError as error:
        raise LockError(f"{shown(path)}: {error}") from error


def packages_in(path: Path, text: str, part: str | None = None) -> Packages:
    """The packages that the text of ``path`` names.

    :raises ValueError: it is none of the formats, or something is wrong in it.
    """
    from envbuild.reading import conda_lock, explicit, pixi

    if is_explicit(text):
        _check_whole(part, path)
        return explicit.parse(text)
    form = _form(path, text)
    if "environments" in form:
        return pixi.parse(form, part)
    if "package" in form:
        _check_whole(part, path)
        return conda_lock.parse(form)
    raise ValueError("neither a conda-lock.yml, nor a pixi.lock, nor a list with @EXPLICIT in it")


def _check_whole(part: str | None, path: Path) -> None:
    if part:
        raise ValueError(f"{path.name} is for one environment, so there is no {part!r} to choose")


def _form(path: Path, text: str) -> Mapping[str, Any]:
    from envbuild.reading import yaml

    sources = Sources(path.parent, {})
    form = yaml.mapping(yaml.load(text, path, sources), path, sources)
    if sources.problems:
        first = sources.problems[0]
        raise ValueError(f"line {first.line}: {first.message}" if first.line else first.message)
    return form


def version_of(form: Mapping[str, Any], read: range, tool: str) -> int:
    """The version of the format that ``form`` is written in.

    :param read: those that are understood.
    :raises ValueError: it is not one of them.
    """
    version = form.get("version")
    if type(version) is not int or version not in read:
        understood = str(read[0]) if len(read) == 1 else f"{read[0]} to {read[-1]}"
        raise ValueError(f"version {version!r} of {tool}'s format: {understood} can be read")
    return version


def each(form: Mapping[str, Any], key: str, make: Callable[[Mapping[str, Any]], Package | None]) -> list[Package]:
    """What ``make`` makes of each mapping in the list ``key``; the message of an error says which one it was.

    :raises ValueError: one of them is wrong, or two are of one name and not the same.
    """
    entries = form.get(key)
    if not isinstance(entries, list):
        raise ValueError(f"{key}: a list of packages is wanted")
    found: dict[str, tuple[int, Package]] = {}
    for position, entry in enumerate(entries):
        try:
            if not isinstance(entry, Mapping):
                raise ValueError(f"a package is wanted, not {entry!r}")
            made = make(entry)
            if made is None:
                continue
            first, other = found.setdefault(made.label, (position, made))
            if other != made:
                raise ValueError(f"{made}, and {key}[{first}] is {other}: one of each name is wanted")
        except ValueError as error:
            raise ValueError(f"{key}[{position}]: {error}") from error
    return [made for _, made in found.values()]


def text_of(form: Mapping[str, Any], key: str) -> str | None:
    """A value that has to be a text, if it is there.

    :raises ValueError: it is something else: a version that was read as a number has lost its zeros.
    """
    value = form.get(key)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{key}: a text is wanted, not {value!r}; put quotes around it")

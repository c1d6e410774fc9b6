"""``pixi.lock``: pixi's lock, for several environments and platforms at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envbuild.conda import package_at
from envbuild.form import did_you_mean
from envbuild.lock import Package
from envbuild.platform import Platform, platform_of_subdir
from envbuild.reading import pip_artifact
from envbuild.reading.locks import each, text_of, version_of

_TEXTS = ("noarch", "python_site_packages_path", "features")
_NUMBERS = ("build_number", "timestamp")
_LISTS = ("depends", "constrains", "track_features")


def parse(form: Mapping[str, Any], part: str | None = None) -> dict[Platform, tuple[Package, ...]]:
    """The packages of one environment for each platform.

    :param part: the environment; by default the only one, or the one that is called ``default``.
    :raises ValueError: something is wrong; the message says where.
    """
    version_of(form, range(4, 8), "pixi")
    name, environment = _environment(form, part)
    wanted = environment.get("packages")
    if not isinstance(wanted, Mapping):
        raise ValueError(f"environments.{name}.packages: packages for each platform are wanted")
    known: dict[str, Mapping[str, Any]] = {}
    for entry in form.get("packages") or ():
        if isinstance(entry, Mapping):
            known.setdefault(_place(entry), entry)

    def found(reference: Mapping[str, Any]) -> Package:
        place = _place(reference)
        if place not in known:
            raise ValueError(f"nothing is said of {place!r} under packages")
        return _package(place, known[place])

    subdirs = _subdirs(form)
    return {platform_of_subdir(subdirs.get(str(key), str(key))): tuple(each(wanted, key, found)) for key in wanted}


def _environment(form: Mapping[str, Any], part: str | None) -> tuple[str, Mapping[str, Any]]:
    there = form["environments"]
    if not isinstance(there, Mapping) or not there:
        raise ValueError("environments: at least one is wanted")
    name = part or (next(iter(there)) if len(there) == 1 else "default")
    if not isinstance(there.get(name), Mapping):
        raise ValueError(f"there is no environment {name!r}{did_you_mean(name, there)}, only {', '.join(there)}")
    return name, there[name]


def _subdirs(form: Mapping[str, Any]) -> dict[str, str]:
    """The platforms that have names of their own."""
    said = form.get("platforms")
    entries = [each for each in said if isinstance(each, Mapping)] if isinstance(said, list) else []
    return {str(each["name"]): str(each.get("subdir", each["name"])) for each in entries if "name" in each}


def _place(entry: Mapping[str, Any]) -> str:
    # Until version 5, `conda` and `pypi` were values of a key `kind`, and the place stood under another one.
    place = entry.get("conda") or entry.get("pypi") or entry.get("url") or entry.get("path")
    return str(place or "")


def _package(place: str, entry: Mapping[str, Any]) -> Package:
    sha256 = text_of(entry, "sha256")
    if "pypi" in entry or entry.get("kind") == "pypi":
        name = text_of(entry, "name")
        if not name:
            raise ValueError(f"{place}: it has no name")
        is_editable = entry.get("editable") is True
        return pip_artifact.package(name, text_of(entry, "version"), place, sha256=sha256, editable=is_editable)
    if not place.endswith((".conda", ".tar.bz2")):
        raise ValueError(f"{place!r} would have to be built by pixi first; only what is built can be installed")
    details = {key: str(entry[key]) for key in _NUMBERS if isinstance(entry.get(key), int)}
    details |= {key: text for key in _TEXTS if (text := text_of(entry, key))}
    details |= {key: "\n".join(map(str, entry[key])) for key in _LISTS if isinstance(entry.get(key), list)}
    size = entry.get("size")
    return package_at(
        place,
        sha256=sha256,
        md5=text_of(entry, "md5"),
        size=size if isinstance(size, int) else None,
        details={key: value for key, value in details.items() if value},
    )

"""``[tool.uv]`` of projects on this machine, as far as the locks that uv writes do not tell what it has made of it.

uv itself honours the sources of a project that is installed, or that another one brings along.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from envbuild import Definition, Package, ResolutionFailed
from envbuild_pip.asking import folders
from envbuild_pip.projects import folder_in, folders_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def workspace_files(folder: Path) -> Iterator[Path]:
    """The ``pyproject.toml`` of the workspace that a project may belong to: its sources count for the project too."""
    for above in folder.resolve().parents:
        if "workspace" in _uv(above):
            yield above / "pyproject.toml"
            return


def without_left_out(packages: Iterable[Package], definition: Definition) -> tuple[Package, ...]:
    """Leave out the projects that are not to be installed: they, or who asks for them, say ``package = false``.

    What they depend on stays. uv says nothing of it in the locks that it writes.
    """
    found, root = tuple(packages), definition.root or Path.cwd()
    there = folders_of(found, root)
    asked = {
        (base / path).resolve(): entry["package"] is not False
        for folder in sorted(there)
        for base, _, entry in _sources(folder)
        if "package" in entry and isinstance(path := entry.get("path"), str)
    }
    kept = {folder for folder in there if asked.get(folder, _uv(folder).get("package") is not False)}
    # Whoever asks for a project itself means it.
    kept |= {folder.resolve() for folder in folders(definition, root)}
    return tuple(each for each in found if folder_in(each, root) in {None, *kept})


def indexes_of(name: str, folders: Iterable[Path]) -> list[str]:
    """The index that projects take the package ``name`` from, where they bind it to one; the first that is said."""
    for folder in sorted(folders):
        bound = {entry["index"] for _, known, entry in _sources(folder) if known == name and "index" in entry}
        for base in _speaking(folder):
            listed = _uv(base).get("index")
            for index in listed if isinstance(listed, list) else ():
                if isinstance(index, dict) and index.get("name") in bound and isinstance(index.get("url"), str):
                    return [index["url"]]
    return []


def check_builds(packages: Iterable[Package], root: Path) -> None:
    """See to it that what projects are built with will be there: each is built from a copy that lies elsewhere.

    :raises ResolutionFailed: a project says that it is built with another project on this machine.
    """
    for folder in sorted(folders_of(packages, root)):
        needed = {
            canonicalize_name(found[0]) for each in _build_requires(folder) if (found := _NAME.match(each.strip()))
        }
        for base, name, entry in _sources(folder):
            if name in needed and ("workspace" in entry or _leads_out(entry.get("path"), base, folder)):
                raise ResolutionFailed(
                    f"{folder}: it is built with {name}, a project of this machine ([tool.uv.sources]), "
                    "and what a build uses is not locked",
                    hint=f"make a wheel of {name}, and let an index or a URL have it",
                )


def _leads_out(path: object, base: Path, folder: Path) -> bool:
    return isinstance(path, str) and not (base / path).resolve().is_relative_to(folder)


def _speaking(folder: Path) -> list[Path]:
    """The folders whose ``pyproject.toml`` counts for a project: its own, then that of its workspace."""
    return [folder, *(file.parent for file in workspace_files(folder))]


def _sources(folder: Path) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """What counts for a project: where paths are meant from, the name of a package, and an entry for it.

    Of a package that the project has entries for itself, its workspace's do not count.
    """
    said: set[str] = set()
    for base in _speaking(folder):
        table = _uv(base).get("sources")
        own = {canonicalize_name(name): given for name, given in table.items()} if isinstance(table, dict) else {}
        for name, given in own.items():
            entries = given if isinstance(given, list) else [given]
            if name not in said:
                yield from ((base, name, entry) for entry in entries if isinstance(entry, dict))
        said |= own.keys()


def _uv(folder: Path) -> dict[str, Any]:
    """What stands under ``[tool.uv]``; empty where there is nothing to be read."""
    found = _part(folder, "tool").get("uv")
    return found if isinstance(found, dict) else {}


def _build_requires(folder: Path) -> list[str]:
    requires = _part(folder, "build-system").get("requires")
    return [each for each in requires if isinstance(each, str)] if isinstance(requires, list) else []


def _part(folder: Path, name: str) -> dict[str, Any]:
    try:
        found = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get(name)
    except (OSError, ValueError):
        # uv and the project's build backend say what is wrong with it.
        return {}
    return found if isinstance(found, dict) else {}

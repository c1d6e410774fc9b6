"""Projects: folders on this machine that are installed as packages, known by the content of their files.

An environment holds a copy of the project as it was, whether it was asked for with ``-e`` or not: it is shared by all
whose projects have that content, wherever they lie, and an edit makes another environment, built when it is used next.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from envbuild import (
    BuildFailed,
    Definition,
    EnvbuildError,
    Lock,
    Package,
    ResolutionFailed,
    copy_source,
    run_program,
    source_files,
)
from envbuild_pip.asking import folders

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def folder_of(package: Package, lock: Lock) -> Path:
    """Where the project lies.

    :raises BuildFailed: it is not there any more.
    """
    folder = ((lock.root or Path.cwd()) / (package.artifact.path or ".")).resolve()
    if not folder.is_dir():
        raise BuildFailed(f"{package.name}: {folder} is not there any more", hint="put it back, or lock again")
    return folder


def content(package: Package, lock: Lock) -> dict[str, str]:
    """The digests of a project's files, by their paths; and what git says of it, if its version may come from there."""
    folder = folder_of(package, lock)
    return source_files(folder) | _described(folder)


def _described(folder: Path) -> dict[str, str]:
    metadata = _metadata(folder)
    if not (folder / ".git").exists() or (metadata is not None and "version" not in metadata.get("dynamic", ())):
        return {}
    command = ["git", "--no-optional-locks", "-C", str(folder), "describe", "--always", "--long", "--tags", "--dirty"]
    try:
        done = run_program(command, timeout=30)
    except EnvbuildError:
        return {}
    return {".git": done.stdout.strip()} if done.code == 0 else {}


def declaring(folder: Path) -> Iterator[Path]:
    """The files of a project that say, or may say, what it depends on."""
    metadata = _metadata(folder)
    is_static = metadata is not None and "dependencies" not in metadata.get("dynamic", ())
    patterns = ["pyproject.toml", "setup.py", "setup.cfg"]
    patterns += [] if is_static else ["requirements*.txt", "requirements*.in", "requirements/*.txt"]
    yield from (file for pattern in patterns for file in sorted(folder.glob(pattern)) if file.is_file())


def workspace_files(folder: Path) -> Iterator[Path]:
    """The ``pyproject.toml`` of the workspace that a project may belong to: its sources count for the project too."""
    for above in folder.resolve().parents:
        if "workspace" in _uv(above):
            yield above / "pyproject.toml"
            return


def is_dynamic(folder: Path) -> bool:
    """Whether only building a project tells what it depends on."""
    metadata = _metadata(folder)
    return metadata is None or "dependencies" in metadata.get("dynamic", ())


def folder_in(package: Package, root: Path) -> Path | None:
    """The folder of a local project; ``None`` for everything else."""
    artifact = package.artifact
    return (root / artifact.path).resolve() if artifact.kind == "directory" and artifact.path else None


def folders_of(packages: Iterable[Package], root: Path) -> set[Path]:
    """The folders of the local projects among ``packages``."""
    return {folder for each in packages if (folder := folder_in(each, root))}


def without_left_out(packages: Iterable[Package], definition: Definition) -> tuple[Package, ...]:
    """Leave out the projects that are not to be installed: they, or who asks for them, say ``package = false``.

    What they depend on stays. uv says nothing of it in the locks that it writes.
    """
    found, root = tuple(packages), definition.root or Path.cwd()
    there = folders_of(found, root)
    asked: dict[Path, bool] = {}
    for folder in sorted(there):
        for above in (folder, *(file.parent for file in workspace_files(folder))):
            for _, given in _table(_uv(above), "sources"):
                for entry in given if isinstance(given, list) else [given]:
                    if isinstance(entry, dict) and isinstance(entry.get("path"), str) and "package" in entry:
                        asked[(above / entry["path"]).resolve()] = entry["package"] is not False
    kept = {folder for folder in there if asked.get(folder, _uv(folder).get("package") is not False)}
    # Whoever asks for a project itself means it.
    kept |= {folder.resolve() for folder in folders(definition, root)}
    return tuple(each for each in found if folder_in(each, root) in {None, *kept})


def indexes_of(name: str, folders: Iterable[Path]) -> list[str]:
    """The index that projects take the package ``name`` from, where they bind it to one; the first that is said."""
    for folder in sorted(folders):
        tables = [_uv(each) for each in (folder, *(file.parent for file in workspace_files(folder)))]
        sources = {canonicalize_name(key): given for uv in reversed(tables) for key, given in _table(uv, "sources")}
        given = sources.get(canonicalize_name(name), [])
        names = {
            each.get("index") for each in (given if isinstance(given, list) else [given]) if isinstance(each, dict)
        }
        listed = [each for uv in tables for each in uv.get("index", []) if isinstance(each, dict)]
        urls = [str(each["url"]) for each in listed if "url" in each and each.get("name") in names - {None}]
        if urls:
            return urls[:1]
    return []


def _table(value: dict[str, Any], key: str) -> list[tuple[str, Any]]:
    found = value.get(key)
    return list(found.items()) if isinstance(found, dict) else []


def check_builds(packages: Iterable[Package], root: Path) -> None:
    """See to it that what projects are built with will be there: each is built from a copy that lies elsewhere.

    :raises ResolutionFailed: a project says that it is built with another project on this machine.
    """
    for folder in sorted(folders_of(packages, root)):
        needed = {
            canonicalize_name(found[0]) for each in _build_requires(folder) if (found := _NAME.match(each.strip()))
        }
        for above in (folder, *(file.parent for file in workspace_files(folder))):
            for name, given in _table(_uv(above), "sources"):
                entries = [each for each in (given if isinstance(given, list) else [given]) if isinstance(each, dict)]
                is_here = any("workspace" in each or _leads_out(each.get("path"), above, folder) for each in entries)
                if is_here and canonicalize_name(name) in needed:
                    raise ResolutionFailed(
                        f"{folder}: it is built with {name}, a project of this machine ([tool.uv.sources]), "
                        "and what a build uses is not locked",
                        hint=f"make a wheel of {name}, and let an index or a URL have it",
                    )


def _leads_out(path: object, base: Path, folder: Path) -> bool:
    return isinstance(path, str) and not (base / path).resolve().is_relative_to(folder)


def _build_requires(folder: Path) -> list[str]:
    try:
        found = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("build-system")
    except (OSError, ValueError):
        return []
    requires = found.get("requires", []) if isinstance(found, dict) else []
    return [each for each in requires if isinstance(each, str)]


def _uv(folder: Path) -> dict[str, Any]:
    """What stands under ``[tool.uv]``; empty where there is nothing to be read."""
    try:
        tool = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("tool")
    except (OSError, ValueError):
        return {}
    found = tool.get("uv") if isinstance(tool, dict) else None
    return found if isinstance(found, dict) else {}


def name_of(folder: Path) -> str | None:
    """What the project calls itself; ``None`` where only its build backend knows."""
    name = (_metadata(folder) or {}).get("name")
    return name if isinstance(name, str) else None


def _metadata(folder: Path) -> dict[str, Any] | None:
    try:
        found = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project")
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def copy_of(package: Package, lock: Lock, scratch: Path) -> Path:
    """Copy a project, so that it is built from what counts for its identity, and building leaves nothing in it.

    The copy's path is a new one, for uv keeps what it has built of a path as long as ``pyproject.toml`` stays.
    """
    folder, copy = folder_of(package, lock), scratch / "projects" / package.name
    copy.mkdir(parents=True)
    copy_source(folder, copy)
    repository = folder / ".git"
    if repository.is_dir():
        # Build backends that take the version from git look for it here.
        (copy / ".git").symlink_to(repository)
    return copy

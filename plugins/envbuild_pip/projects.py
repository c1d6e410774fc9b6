"""Projects: folders on this machine that are installed as packages, known by the content of their files.

An environment holds a copy of the project as it was, whether it was asked for with ``-e`` or not: it is shared by all
whose projects have that content, wherever they lie, and an edit makes another environment, built when it is used next.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from envbuild import (
    BuildFailed,
    EnvbuildError,
    Lock,
    Package,
    copy_source,
    run_program,
    source_files,
)


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

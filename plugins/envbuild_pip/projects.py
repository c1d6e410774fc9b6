"""Projects: folders on this machine that are installed as packages, known by their content."""

from __future__ import annotations

from pathlib import Path

from envbuild import BuildFailed, Digest, Lock, Package, source_digest


def folder_of(package: Package, lock: Lock) -> Path:
    """Where the project lies.

    :raises BuildFailed: it is not there any more.
    """
    folder = ((lock.root or Path.cwd()) / (package.artifact.path or ".")).resolve()
    if not folder.is_dir():
        raise BuildFailed(f"{package.name}: {folder} is not there any more", hint="put it back, or lock again")
    return folder


def content_digest(package: Package, lock: Lock) -> Digest:
    """The digest of a project's files, by the rules of a run's snapshot: caches and ignored files do not count."""
    return source_digest(folder_of(package, lock))

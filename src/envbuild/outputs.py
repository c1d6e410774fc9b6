"""Outputs: the files that a run leaves in ``outputs/``, taken into the store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from envbuild.errors import StoreError
from envbuild.layout import OUTPUTS
from envbuild.store import Store


def collect(folder: str, store: str, *, link: bool = True) -> dict[str, Any]:
    """Keep every file under a run's ``outputs/`` by digest; it stays readable in place, once on disk.

    Symbolic links are left where they are and not followed: they may lead anywhere.

    :param link: make the files themselves the store's, and read-only: nobody writes them any more.
    :returns: by path: ``{"digest", "size"}``, the size in bytes.
    :raises StoreError: the store cannot take them; they are still in the run's folder.
    """
    kept = Store(Path(store))
    root = Path(folder) / OUTPUTS
    found: dict[str, Any] = {}
    for here, folders, files in os.walk(root, onerror=_cannot_be_kept):
        folders.sort()
        for name in sorted(files):
            path = Path(here) / name
            if path.is_symlink() or not path.is_file():
                continue
            stat = path.stat()
            # What has another name already, somebody's data set say, is not ours to make unchangeable.
            digest = kept.put_file(path, link=link and stat.st_nlink == 1)
            found[path.relative_to(root).as_posix()] = {"digest": str(digest), "size": stat.st_size}
    return found


def _cannot_be_kept(error: OSError) -> None:
    name = str(error.filename)
    shown = name if len(name) < 200 else f"{name[:200]}…"
    raise StoreError(f"a folder of outputs/ cannot be read: {error.strerror}: {shown}") from error

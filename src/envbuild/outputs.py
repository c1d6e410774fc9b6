"""Outputs: the files that a run leaves in ``outputs/``, taken into the store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from envbuild.layout import OUTPUTS
from envbuild.store import Store


def collect(folder: str, store: str) -> dict[str, Any]:
    """Keep every file under a run's ``outputs/`` by digest; it stays readable in place, once on disk.

    Symbolic links are left where they are and not followed: they may lead anywhere.

    :returns: by path: ``{"digest", "size"}``, the size in bytes.
    :raises StoreError: the store cannot take them; they are still in the run's folder.
    """
    kept = Store(Path(store))
    root = Path(folder) / OUTPUTS
    found: dict[str, Any] = {}
    for here, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            path = Path(here) / name
            if path.is_symlink() or not path.is_file():
                continue
            size = path.stat().st_size
            digest = kept.put_file(path, link=True)
            found[path.relative_to(root).as_posix()] = {"digest": str(digest), "size": size}
    return found

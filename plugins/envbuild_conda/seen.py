"""Seen: which unpacked packages of rattler's cache have been read to the last byte, and have not been touched since.

Environments share their files with the cache, so that whoever edits one edits the other, and the next environment would
get the edited file. Reading everything each time would tell, and takes several times as long as linking. As git does
with its index, `Seen` remembers what every file was (size, time, inode) when all of them had been read: writing to a
file or replacing it changes one of these. Whoever edits a file and sets its size and time back is not found out here,
nor is a failing disk; ``envbuild store verify`` finds both, since it reads everything.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


class Seen:
    """What is known of the packages in one cache.

    :param folder: where it is kept, a small file for each package.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def knows(self, package: Path, found: str) -> bool:
        """Whether ``package``, of which `facts` now gives ``found``, is as it was when it was last all right."""
        try:
            return self._file(package).read_text(encoding="ascii") == found
        except OSError:
            return False

    def note(self, package: Path, found: str) -> None:
        """Remember that ``package`` is all right as long as `facts` gives ``found``."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._file(package)
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        beside.write_text(found, encoding="ascii")
        beside.replace(file)

    def _file(self, package: Path) -> Path:
        return self._folder / package.name


def facts(package: Path) -> str:
    """A digest of what can be told of the files of ``package`` without reading them.

    :raises OSError: it is not there, or changes meanwhile.
    """
    lines = sorted(_facts(str(package)))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _facts(package: str) -> Iterator[str]:
    waiting = [package]
    for folder in waiting:
        with os.scandir(folder) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    waiting.append(entry.path)
                else:
                    # The time of a change to the inode is left out: linking makes one.
                    known = (found.st_size, found.st_mtime_ns, found.st_ino, found.st_mode)
                    yield f"{entry.path[len(package) :]} {known}"

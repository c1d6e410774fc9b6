"""Written: the files that this process is writing to, such as the one that its standard output was sent to.

They change with everything that is said, so they are nobody's source.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterable
from contextlib import suppress

_of_others: set[tuple[int, int]] = set()


def being_written() -> set[tuple[int, int]]:
    """Device and inode of each file that this process has open for writing, or that `heed` was told of.

    Standard output and error would not do: pytest puts others in their place while it collects, and keeps a duplicate.
    """
    try:
        descriptors = [int(each) for each in os.listdir("/dev/fd")]
    except OSError:
        descriptors = [1, 2]  # where /proc is not mounted
    found = set(_of_others)
    for each in descriptors:
        with suppress(OSError):  # listing them took one that is closed now, and threads close theirs
            facts = os.fstat(each)
            if stat.S_ISREG(facts.st_mode) and fcntl.fcntl(each, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
                found.add((facts.st_dev, facts.st_ino))
    return found


def heed(written: Iterable[tuple[int, int]]) -> None:
    """Count from here on what the process writes to that this one works for, by device and inode."""
    _of_others.update(written)

"""The terminal: what debuggers inside are talked to by.

A worker is a process group of its own, so that Ctrl-C reaches it once, and from us. While somebody debugs in it, it is
the group that the terminal belongs to; see `envbuild/inside/envbuild/worker.py`.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

PATH = "/dev/tty"
"""The terminal of whatever process opens it."""


def is_ours(descriptor: int = 0) -> bool:
    """Whether a descriptor is the terminal that this process is in the foreground of."""
    try:
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False


def reclaim(group: int) -> None:
    """Take the terminal back from a process group that has ended without giving it back, if it had it."""
    with suppress(OSError):
        opened = os.open(PATH, os.O_RDWR)
        try:
            if os.tcgetpgrp(opened) == group:
                # Who is in the background is stopped for this otherwise.
                before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
                os.tcsetpgrp(opened, os.getpgrp())
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        finally:
            os.close(opened)

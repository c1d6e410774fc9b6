"""Watching: what a plugin leaves on disk, whom it asks, and what it starts, while it is asked something.

What this process does is told by Python itself (PEP 578); what programs do that it starts shows in the folders that
are compared before and after.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from envbuild.digest import Digest

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
"""The flags of a file that is opened to be changed."""

_MADE = {"os.mkdir": (0, 2), "os.symlink": (1, 2), "os.link": (1, 3), "os.rename": (1, 3)}
"""Which argument of the event names what is made, and which the folder that it is meant from."""

_REMOVED = {"os.remove": (0, 1), "os.rmdir": (0, 1), "os.rename": (0, 2)}
_STARTED = ("subprocess.Popen", "os.posix_spawn", "os.exec", "os.system", "os.fork")
_ASKED = ("socket.connect", "socket.getaddrinfo")


class Seen:
    """What was seen.

    :param started: the programs that were started.
    :param words: the words of their command lines.
    :param asked: the addresses that were connected to, or looked up.
    """

    def __init__(self) -> None:
        self.started: list[str] = []
        self.words: list[str] = []
        self.asked: list[str] = []
        self._made: set[str] = set()
        self._removed: set[str] = set()

    def left(self, *allowed: Path) -> list[str]:
        """What has been written or removed outside of the folders ``allowed``, and is still there, or gone."""
        inside = tuple(os.path.realpath(each) + os.sep for each in allowed)
        made = {path for path in self._made if os.path.lexists(path)}
        gone = {path for path in self._removed if not os.path.lexists(path)}
        return sorted(path for path in made | gone if not f"{path}{os.sep}".startswith(inside))

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take in an event, as `sys.addaudithook` tells it."""
        if event in _STARTED:
            self.started.append(str(arguments[0]) if arguments else event)
            self.words += _words(arguments[1] if arguments[1:] else arguments[0]) if arguments else []
        elif event in _ASKED:
            self.asked.append(str(arguments[1] if event == "socket.connect" else arguments[0]))
        elif event == "open":
            path, _, flags = arguments
            # Nameless files are opened by their folder.
            if (
                isinstance(flags, int)
                and flags & WRITES
                and not (isinstance(path, (str, bytes)) and os.path.isdir(path))
            ):
                self._write(path)
        else:
            # A rename is both; what is made is noted last, or it would count as having been there.
            if event in _REMOVED:
                self._remove(*(arguments[at] for at in _REMOVED[event]))
            if event in _MADE:
                self._write(*(arguments[at] for at in _MADE[event]))

    def _write(self, path: Any, folder: Any = -1) -> None:
        found = _place(path, folder)
        if found is not None:
            self._made.add(found)

    def _remove(self, path: Any, folder: Any = -1) -> None:
        found = _place(path, folder)
        if found is not None and found not in self._made and os.path.lexists(found):
            self._removed.add(found)


def _words(command: Any) -> list[str]:
    return [os.fsdecode(each) for each in ([command] if isinstance(command, (str, bytes)) else command)]


def _place(path: Any, folder: Any) -> str | None:
    """Where something is; ``None`` for what has no place, or only a compiled module, which Python keeps for itself."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        return None
    text = os.fsdecode(path)
    if isinstance(folder, int) and folder >= 0 and not os.path.isabs(text):
        try:
            text = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text)
        except OSError:
            return None
    text = os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(text))), os.path.basename(text))
    return None if "__pycache__" in text or text.startswith(("/dev/", "/proc/")) else text


_watching: list[Seen] = []
_hooked: list[bool] = []


@contextmanager
def watched() -> Iterator[Seen]:
    """Watch what this process does as long as the block lasts."""
    if not _hooked:
        # It cannot be taken out again, so there is one for all.
        sys.addaudithook(_tell)
        _hooked.append(True)
    seen = Seen()
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.remove(seen)


def _tell(event: str, arguments: tuple[Any, ...]) -> None:
    for seen in _watching:
        seen.note(event, arguments)


def tree(folder: Path, permissions: int = 0o7777) -> dict[str, str]:
    """What is in a folder: of each path the kind, the permissions and the content; times say nothing.

    :param permissions: those that count.
    """
    return {str(path.relative_to(folder)): _content(path, permissions) for path in sorted(folder.rglob("*"))}


def _content(path: Path, permissions: int) -> str:
    facts = path.lstat()
    mode = f"{stat.S_IMODE(facts.st_mode) & permissions:04o}"
    if stat.S_ISLNK(facts.st_mode):
        return f"a link to {path.readlink()}"
    if stat.S_ISDIR(facts.st_mode):
        return f"a folder, {mode}"
    if stat.S_ISREG(facts.st_mode):
        return f"a file, {mode}, {Digest.of(path.read_bytes())}"
    return "neither file, folder nor link"


def unlike(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What two trees do not share, a line each."""
    return [
        f"{path}: {before.get(path, 'nothing')} → {after.get(path, 'nothing')}"
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]


def naming(folder: Path, words: Iterable[str]) -> list[str]:
    """The files, links and names below ``folder`` in which one of ``words`` stands."""
    sought = [os.fsencode(each) for each in words]
    found = []
    for path in sorted(folder.rglob("*")):
        held = os.fsencode(path.relative_to(folder))
        if path.is_symlink():
            held += b"\0" + os.fsencode(path.readlink())
        elif path.is_file():
            held += b"\0" + path.read_bytes()
        found += [str(path.relative_to(folder)) for each in sought if each in held][:1]
    return found


class _Lines(logging.Handler):
    """A log that is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, with its traceback."""
        self.lines.append(self.format(record))


@contextmanager
def logged() -> Iterator[list[str]]:
    """What is logged as long as the block lasts, at whatever level."""
    root, handler = logging.getLogger(), _Lines()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler.lines
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


@contextmanager
def listening() -> Iterator[tuple[dict[str, str], list[str]]]:
    """Somebody on loopback who hangs up on whoever calls, and notes it.

    :returns: the variables that lead programs to him, as to a proxy for all there is, and who has called.
    """
    met: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        proxies = {
            name: url for each in ("http", "https", "all") for name in (f"{each}_proxy", f"{each}_PROXY".upper())
        }
        thread = threading.Thread(target=_hang_up, args=(server, met), daemon=True)
        thread.start()
        yield {**proxies, "no_proxy": "", "NO_PROXY": ""}, met
        # Whoever waits in accept() is not woken by close().
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _hang_up(server: socket.socket, met: list[str]) -> None:
    while True:
        try:
            caller = server.accept()[0]
        except OSError:
            return
        met.append("a program that it has started")
        caller.close()

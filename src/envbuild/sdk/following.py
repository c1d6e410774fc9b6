"""Following: waiting for a run, and what a user is shown meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from envbuild import layout
from envbuild.regular import open_regular
from envbuild.workspace import Workspace

ENDED = ("Completed", "Failed", "Canceled")

_FIRST, _LONGEST = 0.01, 0.25
"""In seconds: how soon a run is looked at again, at first and in the long run."""

_CHUNK = 1 << 16
_TAIL = 20


class Shown(Protocol):
    """Where text is shown, as `sys.stdout`; an ``encoding`` says which characters it knows."""

    def write(self, text: str, /) -> object:
        """Show ``text``."""
        ...

    def flush(self) -> object:
        """Let it be seen."""
        ...


def wait(workspace: Workspace, run: str, between: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Wait for the end of a run.

    :param between: called again and again meanwhile, and once more when it has ended.
    :returns: its record.
    """
    pause = _FIRST
    while True:
        record = workspace.run_record(run) or workspace.run(run)
        between()
        if record["ended_at"]:
            return record
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST)


def follow(workspace: Workspace, run: str, out: Shown) -> dict[str, Any]:
    """Wait for the end of a run, and show its logs as they grow, and at the end what came of it."""
    folder = workspace.run_folder(run)
    encoding = getattr(out, "encoding", None) or "utf-8"

    def write(text: str) -> None:
        # Scripts print, and name files, in more characters than every terminal has.
        out.write(text.encode(encoding, "backslashreplace").decode(encoding))

    write(f"RunId: {run}\n")
    logs = [_Log(folder, name) for name in (layout.PREPARING, layout.LOG)]

    def show() -> None:
        for log in logs:
            for text in log.new():
                write(text)
        out.flush()

    record = wait(workspace, run, show)
    show()
    write(summary(record))
    out.flush()
    return record


class _Log:
    """A log, as far as it has been shown."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._path = folder / name
        self._shown = 0

    def new(self) -> Iterator[str]:
        """What has been written since the last time, under a heading where that is the first."""
        try:
            stream = open_regular(self._path)
        except OSError:
            return
        with stream:
            stream.seek(self._shown)
            while data := stream.read(_CHUNK):
                if not self._shown:
                    yield f"\nStreaming {self.name}\n{'=' * (10 + len(self.name))}\n"
                # A character may have been written in part.
                whole = len(data) - _unfinished(data)
                if not whole:
                    return
                self._shown += whole
                stream.seek(self._shown)
                yield data[:whole].decode("utf-8", "replace")


def _unfinished(data: bytes) -> int:
    r"""How many bytes at the end are the beginning of a character in UTF-8.

    >>> _unfinished("é".encode()), _unfinished("é".encode()[:1]), _unfinished(b"a\xff")
    (0, 1, 0)
    """
    for count in range(1, min(3, len(data)) + 1):
        byte = data[-count]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4 if byte < 0xF8 else 1
            return count if length > count else 0
        if byte < 0x80:
            return 0
    return 0


def summary(record: Mapping[str, Any]) -> str:
    """What came of a run, under Azure's heading."""
    environment = record["environment"]
    named = ":".join(filter(None, (environment["name"], environment["version"])))
    lines = ["", "Execution Summary", "=================", f"RunId: {record['id']}", f"Status: {record['status']}"]
    if record.get("reason"):
        lines.append(f"Reason: {record['reason']}")
    if named or environment["id"]:
        lines.append(f"Environment: {' '.join(filter(None, (named, environment['id'])))}")
    outputs = os.path.join(record["folder"], layout.OUTPUTS)  # noqa: PTH118
    if record.get("outputs"):
        lines.append(f"Outputs: {outputs} ({', '.join(sorted(record['outputs']))})")
    if record.get("left"):
        lines.append(f"Also wrote: {', '.join(record['left'])} (outside outputs/)")
    return "\n".join(lines) + "\n"


def tail(workspace: Workspace, run: str) -> str:
    """The last lines that a run printed, where a script says what went wrong."""
    try:
        with open_regular(workspace.run_folder(run) / layout.LOG) as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - _CHUNK))
            data = stream.read()
    except OSError:
        return ""
    return "\n".join(data.decode("utf-8", "replace").splitlines()[-_TAIL:])

"""Records: what there is to be known of a run, in its folder or, of a run without one, in memory.

A run's folder lies in ``WORKSPACE/runs`` and bears its id. In it, ``run.json`` says what the run is, ``end.json`` what
came of it, and a lock on ``lease`` is held by a process that will record that end; `envbuild.layout` has the rest.
"""

from __future__ import annotations

import os
import time

from .events import NOTED, File, Logged, Memory, Noted, read
from .files import open_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RUNS = "runs"
INBOX = "inbox"
REQUEST = "run.json"
END = "end.json"
LEASE = "lease"
METRICS = "metrics.jsonl"
NOTES = "notes.jsonl"

ENDED = ("Completed", "Failed", "Canceled")
LONGEST = 255
"""How long the name of an experiment may be, and a run's id that was made from it; so long may a file be called."""
NO_ENVIRONMENT = {"name": None, "version": None, "id": "", "definition_digest": ""}
"""What is recorded of the environment of a run that is in none of envbuild's."""

_WAITING = "Queued"

_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "type", "experiment", "name", "parent", "status", "target", "snapshot", "reason"), (str,)),
    **dict.fromkeys(("environment", "git", "tags", "properties", "seconds"), (dict,)),
    **dict.fromkeys(("created_at", "started_at", "ended_at"), (int, float)),
    "command": (list,),
}
_LAST_MOMENT = 253402300799
"""The end of the year 9999; no calendar here goes any further."""


class InFolder:
    """What the folder of a run says, whichever process has written it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._metrics = File(os.path.join(folder, METRICS))
        self._notes = File(os.path.join(folder, NOTES))

    def tell(self, found: dict[str, Any]) -> None:
        """Write an event."""
        (self._notes if found["kind"] in NOTED else self._metrics).append(found)

    def logged(self) -> Logged:
        """What was logged so far."""
        return Logged(self._metrics.events())

    def noted(self) -> Noted:
        """What was noted so far."""
        known = self.request()
        return Noted(self._notes.events(), known.get("tags"), known.get("properties"))

    def request(self) -> dict[str, Any]:
        """What the run is; empty where that is not written yet. What cannot be so is as if it were not said."""
        return _sensible(read_json(os.path.join(self.folder, REQUEST)) or {})

    def end(self) -> dict[str, Any] | None:
        """What came of the run, or `None`."""
        found = read_json(os.path.join(self.folder, END))
        return None if found is None else _sensible(found)

    def status(self) -> str:
        """How far the run has come; a run whose process was killed has failed."""
        end = self.end()
        if end is None:
            status = str(self.request().get("status") or "Running")
            if status == _WAITING or is_held(self.folder):
                return status
            # It may have come to its end between the two looks.
            end = self.end() or {}
        return str(end.get("status") or "Failed")


class InMemory:
    """What is known of a run that has no folder, as long as the process lives.

    :param request: what ``run.json`` would say.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._end: dict[str, Any] | None = None
        self._metrics, self._notes = Memory(), Memory()

    def tell(self, found: dict[str, Any]) -> None:
        """Keep an event."""
        (self._notes if found["kind"] in NOTED else self._metrics).append(found)

    def logged(self) -> Logged:
        """What was logged so far."""
        return Logged(self._metrics.events())

    def noted(self) -> Noted:
        """What was noted so far."""
        return Noted(self._notes.events(), self._request.get("tags"), self._request.get("properties"))

    def request(self) -> dict[str, Any]:
        """What the run is."""
        return self._request

    def end(self) -> dict[str, Any] | None:
        """What came of the run, or `None`."""
        return self._end

    def status(self) -> str:
        """How far the run has come."""
        return str((self._end or self._request)["status"])

    def begin(self) -> None:
        """Let a run that has not started be running."""
        self._request["status"] = "Running"

    def finish(self, status: str, reason: str = "") -> None:
        """Note the end; the first one counts."""
        self._end = self._end or ended(self._request, status, reason)


def requested(
    identity: str,
    experiment: str,
    *,
    status: str = "Running",
    parent: str | None = None,
    name: str | None = None,
    environment: dict[str, Any] | None = None,
    tags: dict[str, Any] | None = None,
    properties: dict[str, Any] | None = None,
    directory: str | None = None,
    snapshot: str | None = None,
    git: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What ``run.json`` says of an interactive run: one whose end its own process says."""
    import sys

    return {
        "id": identity,
        "type": "interactive",
        "experiment": experiment,
        "name": name,
        "parent": parent,
        "status": status,
        "target": "local",
        "command": ["python", *getattr(sys, "argv", ())],
        "head": 1,
        "environment": {**NO_ENVIRONMENT, **(environment or {})},
        "snapshot": snapshot,
        "source": "",
        "directory": os.path.abspath(directory or os.getcwd()),
        "created_at": time.time(),
        "variables": [],
        "secrets": [],
        "git": git or {},
        "seconds": {},
        "reproduces": None,
        "tags": {str(key): str(value) for key, value in (tags or {}).items()},
        "properties": {str(key): str(value) for key, value in (properties or {}).items()},
    }


def ended(request: dict[str, Any], status: str, reason: str) -> dict[str, Any]:
    """What ``end.json`` says of a run that ends now; its outputs are taken into the store later on."""
    now, known = time.time(), _sensible(request)
    seconds = {**known.get("seconds", {}), "running": now - known.get("created_at", now)}
    return {
        "status": status,
        "exit_code": None,
        "reason": reason,
        "ended_at": now,
        "seconds": seconds,
        "outputs": None,
        "left": [],
    }


def children_of(folder: str) -> list[str]:
    """The folders of the children of the run in ``folder``, in the order in which they were made.

    Both have to say so: what one script has written makes no other run its child.
    """
    identity = os.path.basename(os.path.abspath(folder))
    every = dict.fromkeys(Noted(read(os.path.join(folder, NOTES))).children)
    found = [beside for each in every if each != identity for beside in [related(folder, each)] if beside is not None]
    return [beside for beside in found if InFolder(beside).request().get("parent") == identity]


def related(folder: str, identity: str) -> str | None:
    """The folder of another run of the workspace, or `None` if there is no such run."""
    # What scripts have written is no reason to go anywhere else.
    if not is_name(identity, LONGEST):
        return None
    beside = os.path.join(os.path.dirname(os.path.abspath(folder)), identity)
    return beside if not os.path.islink(beside) and os.path.isfile(os.path.join(beside, REQUEST)) else None


def workspace_of(folder: str) -> str | None:
    """The workspace in which the run's folder lies, or `None` if it lies in none."""
    runs = os.path.dirname(os.path.abspath(folder))
    return os.path.dirname(runs) if os.path.basename(runs) == RUNS else None


def is_name(text: object, length: int = 200) -> bool:
    """Whether ``text`` is letters, digits, ``-`` and ``_``, a letter or digit first: no path leads out of it.

    >>> is_name("iris_1-a"), is_name("../x"), is_name("_x"), is_name("x" * 201)
    (True, False, False, False)
    """
    if not isinstance(text, str) or not text.isascii() or not 0 < len(text) <= length or not text[0].isalnum():
        return False
    return text.replace("-", "").replace("_", "").isalnum()


def is_held(folder: str) -> bool:
    """Whether some process holds the run's lease, and so will record its end; so it is taken where there is none."""
    import fcntl

    lease = open_file(os.path.join(folder, LEASE))
    if lease is None:
        return True
    with lease:
        try:
            fcntl.flock(lease, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read_json(path: str) -> dict[str, Any] | None:
    """What a JSON file says, a mapping; `None` if it is not there, or damaged."""
    import json

    try:
        stream = open_file(path)
        if stream is None:
            return None
        with stream:
            found = json.loads(stream.read().decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _sensible(found: dict[str, Any]) -> dict[str, Any]:
    """What of it is of the kind that it should be; scripts can write what they like."""
    return {key: value for key, value in found.items() if key not in _KINDS or _is_sensible(value, _KINDS[key])}


def _is_sensible(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and (not isinstance(value, (int, float)) or 0 <= value <= _LAST_MOMENT)

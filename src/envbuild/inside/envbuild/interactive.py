"""Interactive runs: those whose end their own process says, as children of a run, and runs begun in a notebook.

    held = begin(workspace, "iris", name="first try")
    ...                         # anything may be written below `held.folder`, as by a run that was submitted
    held.end("Completed")

Its folder is that of any run, and the process holds the lease on it. A run that is not ended when the interpreter ends
is ended then: as failed if that was by an exception that nobody caught (``sys.last_value`` tells, which stays whatever
``sys.excepthook`` is), canceled if by Ctrl-C, else as completed. ``sys.exit`` ends an interpreter without an exception
to be seen, whatever its code. Of a worker of `multiprocessing` nobody can tell, so what it has not ended has failed.
Where nobody could say anything, since the process was killed, the lease is free.

Both the script's Python and envbuild's own use this module.
"""

from __future__ import annotations

import os
import time

from .events import File, event
from .record import (
    END,
    ENDED,
    INBOX,
    LEASE,
    LONGEST,
    METRICS,
    NOTES,
    REQUEST,
    RUNS,
    ended,
    is_name,
    read_json,
    requested,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_held: dict[str, Interactive] = {}
_arranged: list[bool] = []


class Interactive:
    """An interactive run, held by the process that began it: to be had from `begin`.

    Threads may use it at the same time. In a fork of the process it ends nothing and holds nothing.

    :ivar id: the run's id.
    :ivar folder: its folder.
    """

    def __init__(self, identity: str, folder: str) -> None:
        import sys

        self.id = identity
        self.folder = folder
        self._lease = -1
        self._process = os.getpid()
        # At a prompt, or in a test, an exception may stand there that has long been dealt with.
        self._before = id(getattr(sys, "last_value", None))

    @property
    def ended(self) -> bool:
        """Whether an end has been recorded, by whomever."""
        return os.path.exists(os.path.join(self.folder, END))

    def end(self, status: str, reason: str = "") -> bool:
        """Record the end, and let go of the run; if it has ended already that end stays.

        :param status: ``Completed``, ``Failed`` or ``Canceled``.
        :returns: whether this was the end.
        :raises OSError: the end cannot be written; then the run is still held.
        """
        if os.getpid() != self._process:
            return False
        first = record_end(self.folder, status, reason)
        self._release()
        return first

    def _hold(self) -> None:
        import fcntl

        self._lease = os.open(os.path.join(self.folder, LEASE), os.O_RDWR | os.O_CREAT, 0o644)
        _held[self.folder] = self
        fcntl.flock(self._lease, fcntl.LOCK_EX)
        os.write(self._lease, str(os.getpid()).encode())

    def _release(self) -> None:
        # Of two threads only one may close it: the other might close what was opened since.
        if _held.pop(self.folder, None) is not None:
            os.close(self._lease)

    def _end_with_the_interpreter(self) -> None:
        try:
            self.end(*self._how_it_ended())
        except OSError as error:
            import sys

            print(f"envbuild: the end of run {self.id} could not be recorded: {error}", file=sys.stderr)

    def _how_it_ended(self) -> tuple[str, str]:
        import sys

        error = getattr(sys, "last_value", None)
        prompt = hasattr(sys, "ps1") or sys.flags.interactive
        if error is not None and id(error) != self._before and not prompt:
            if isinstance(error, KeyboardInterrupt):
                return "Canceled", "stopped by Ctrl-C"
            return "Failed", f"{type(error).__name__}: {error}"
        workers = sys.modules.get("multiprocessing.process")
        if workers is not None and workers.parent_process() is not None:
            return "Failed", "the worker that began it did not end it"
        if status_of(self.folder) == "NotStarted" and not _has_told(self.folder):
            return "Canceled", "it was never started"
        return "Completed", ""


def begin(
    workspace: str,
    experiment: str,
    *,
    identity: str | None = None,
    parent: str | None = None,
    name: str | None = None,
    environment: dict[str, Any] | None = None,
    tags: dict[str, Any] | None = None,
    properties: dict[str, Any] | None = None,
    directory: str | None = None,
    snapshot: str | None = None,
    git: dict[str, Any] | None = None,
    status: str = "Running",
) -> Interactive:
    """Begin a run that this process will end.

    :param workspace: the folder of the workspace.
    :param identity: the run's id; by default one that no other run has.
    :param parent: the id of the run that it is a child of.
    :param name: what it is called.
    :param environment: ``name``, ``version``, ``id`` and ``definition_digest`` of the one that the process runs in.
    :param directory: the folder that the process works in; by default the current one.
    :param status: ``Running``, or ``NotStarted`` if `start` is still to come.
    :raises ValueError: a name is none, there is a run of that id already, or no such parent.
    :raises OSError: the workspace cannot be written to.
    """
    if not is_name(experiment, LONGEST):
        raise ValueError(f"{experiment!r} is no name for an experiment: letters, digits, '-' and '_' make one")
    if not identity:
        identity = new_id(experiment)
    elif not is_name(identity):
        raise ValueError(f"{identity!r} is no id for a run: letters, digits, '-' and '_' make one")
    request = requested(
        identity,
        experiment,
        status=status,
        parent=parent,
        name=name,
        environment=environment,
        tags=tags,
        properties=properties,
        directory=directory,
        snapshot=snapshot,
        git=git,
    )
    runs = os.path.join(os.path.abspath(workspace), RUNS)
    if parent is not None and not (is_name(parent, LONGEST) and os.path.isdir(os.path.join(runs, parent))):
        raise ValueError(f"there is no run {parent!r} to be the parent")
    os.makedirs(runs, exist_ok=True)
    held = Interactive(identity, os.path.join(runs, identity))
    try:
        os.mkdir(held.folder)
    except FileExistsError:
        raise ValueError(f"there is a run {identity!r} already") from None
    try:
        for part in ("outputs", "logs"):
            os.mkdir(os.path.join(held.folder, part))
        _arrange()
        held._hold()
        _write(os.path.join(held.folder, REQUEST), request)
        if parent is not None:
            note_child(os.path.join(runs, parent), identity)
        _announce(os.path.join(os.path.abspath(workspace), INBOX), identity)
    except BaseException:
        import shutil

        shutil.rmtree(held.folder, ignore_errors=True)
        held._release()
        raise
    return held


def start(folder: str) -> None:
    """Let the interactive run in ``folder`` be running if it has not started."""
    request = read_json(os.path.join(folder, REQUEST))
    if request is not None and request.get("status") == "NotStarted":
        _write(os.path.join(folder, REQUEST), {**request, "status": "Running", "started_at": time.time()})


def finish(folder: str, status: str, reason: str = "") -> bool:
    """Record the end of the interactive run in ``folder``, whichever process holds it; the first end stays.

    The process that holds it lets go of it with its own next word, at the latest when it ends.

    :returns: whether this was the end.
    """
    held = _held.get(os.path.abspath(folder))
    return held.end(status, reason) if held is not None else record_end(folder, status, reason)


def record_end(folder: str, status: str, reason: str = "") -> bool:
    """Write the end of a run unless there is one.

    :returns: whether there was none.
    """
    if status not in ENDED:
        raise ValueError(f"{status!r} is no end of a run: {', '.join(ENDED)} are")
    end = os.path.join(folder, END)
    if os.path.exists(end):
        return False
    request = read_json(os.path.join(folder, REQUEST)) or {}
    aside = f"{end}.{os.urandom(8).hex()}"
    _write(aside, ended(request, status, reason))
    try:
        # Unlike a renaming this does not take the place of what another has written in between.
        os.link(aside, end)
    except FileExistsError:
        return False
    finally:
        os.unlink(aside)
    return True


def note_child(folder: str, identity: str) -> None:
    """Tell the run in ``folder`` that it is the parent of another: one line among its notes."""
    File(os.path.join(folder, NOTES)).append(event("child", identity, None))


def status_of(folder: str) -> str:
    """The status that the folder's ``run.json`` has, whatever became of the run since."""
    return str((read_json(os.path.join(folder, REQUEST)) or {}).get("status", "Running"))


def new_id(experiment: str) -> str:
    """A run's id: experiment, seconds since 1970, and something that nobody else has drawn."""
    # No longer than a file may be called.
    return f"{experiment[:200]}_{int(time.time())}_{os.urandom(4).hex()}"


def _write(path: str, content: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    import json

    aside = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    with open(aside, "w", encoding="ascii") as stream:
        json.dump(content, stream)
    os.replace(aside, path)


def _announce(inbox: str, identity: str) -> None:
    os.makedirs(inbox, exist_ok=True)
    os.close(os.open(os.path.join(inbox, identity), os.O_WRONLY | os.O_CREAT, 0o644))


def _has_told(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for name in (METRICS, NOTES)) or bool(
        os.listdir(os.path.join(folder, "outputs"))
    )


def _end_all() -> None:
    for held in list(_held.values()):
        held._end_with_the_interpreter()


def _in_a_fork() -> None:
    # To close a copy of the lease is not to let go of it; to keep one would keep it for longer than its owner lives.
    for held in list(_held.values()):
        os.close(held._lease)
    _held.clear()
    # `multiprocessing` drops in its workers what was to be done at the end.
    _arranged.clear()


def _arrange() -> None:
    if not _arranged:
        _arranged.append(True)
        import atexit

        # Either may be done twice, by two threads at a time, and does nothing the second time.
        atexit.register(_end_all)
        os.register_at_fork(after_in_child=_in_a_fork)

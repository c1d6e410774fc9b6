"""Dispatch: runs that are submitted, and started a few at a time by a process that outlives whoever submitted them.

The first `submit` of a process starts a *dispatcher* for it, a process in a session of its own. It is told of runs
through a socket, since what goes with them (the values of variables, secrets among them) may lie on no disk, and
starts each in a process of the run's own: a fork, which has everything loaded already. It ends when whoever started it
has ended and nothing waits any more; runs go on, for each minds itself.

However many dispatchers there are, only so many runs are at once on one target: each needs one of its *slots*, a file
that its process holds. A run that submits runs has slots of its own for them, or it might wait for itself.

A run that waits has a file in ``queue/`` that says whose it is. Whoever removes that file has it: the process that is
about to start it, somebody who cancels it, or somebody who finds that its dispatcher has died.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild import layout, supervise
from envbuild.errors import EnvbuildError
from envbuild.store import writing
from envbuild.workspace import Workspace

if TYPE_CHECKING:
    from envbuild.catalogue import EnvironmentVersion
    from envbuild.execution import Order

PARALLEL_RUNS = "ENVBUILD_PARALLEL_RUNS"
"""The variable that says how many submitted runs a target takes at once; by default one for each processor."""

_LENGTH = struct.Struct("!I")
_PATIENCE = 0.1
"""In seconds: how often slots that other dispatchers' runs hold are looked at again."""
_ENDING = 5.0
"""In seconds: how long a dispatcher that is told of nothing any more may take to end."""


def parallel_runs() -> int:
    """How many submitted runs a target takes at once that does not say so itself.

    :raises EnvbuildError: ``ENVBUILD_PARALLEL_RUNS`` is no number.
    """
    asked = os.environ.get(PARALLEL_RUNS)
    if asked is None:
        return os.cpu_count() or 1
    if not asked.isascii() or not asked.isdigit() or int(asked) < 1:
        raise EnvbuildError(f"{PARALLEL_RUNS} is a number of runs, 1 or more, not {asked!r}")
    return int(asked)


def submit(
    order: Order,
    version: EnvironmentVersion,
    workspace: Workspace,
    credentials: Mapping[str, str] | None = None,
) -> str:
    """Have a run started as soon as there is room for it, and do not wait for that.

    It goes on when this process ends, and ``envbuild runs`` as well as any other process can look at it and stop it.

    :param credentials: for the indexes of the environment's packages (see ``Definition.credentials``).
    :returns: the run's id.
    :raises EnvbuildError: the order cannot be carried out; then there is no run.
    """
    from envbuild import execution

    usually = parallel_runs()
    with _DISPATCHERS.of(workspace.root) as dispatcher:
        run = execution.announce(order, version, workspace, dispatcher.name)
        try:
            directory = os.getcwd()  # noqa: PTH109  a text
        except FileNotFoundError:
            directory = "/"
        message = {
            "run": run,
            "compute": order.compute or order.target,
            "at_once": order.at_once or usually,
            "variables": dict(order.variables),
            "credentials": dict(credentials or {}),
            "environment": dict(os.environ),
            "directory": directory,
        }
        try:
            dispatcher.tell(message)
        except BaseException:
            workspace.lose(run, "it could not be handed over to the process that starts runs")
            raise
    return run


def leave(root: Path) -> None:
    """Let go of the process that starts runs in a workspace: it ends when nothing waits there any more.

    Another `submit` starts another.
    """
    _DISPATCHERS.leave(root)


# -- on the side of whoever submits --------------------------------------------------------------------------------


class _Dispatcher:
    """A dispatcher that this process has started.

    :param name: by which runs in the queue say whose they are.
    """

    def __init__(self, root: Path) -> None:
        self.name = f"{os.getpid()}-{os.urandom(4).hex()}"
        folder = root / layout.DISPATCHERS
        with writing(root):
            folder.mkdir(parents=True, exist_ok=True)
            lease = os.open(folder / self.name, os.O_RDWR | os.O_CREAT, 0o644)
        # Held from here on, and handed over: at no moment does it look as if nobody minded the queue.
        fcntl.flock(lease, fcntl.LOCK_EX)
        self._lease = folder / self.name
        self._broken = False
        ours, theirs = socket.socketpair()
        try:
            self._process = _start(root, self.name, theirs.fileno(), lease)
        finally:
            theirs.close()
            os.close(lease)
        self._socket = ours

    def is_alive(self) -> bool:
        """Whether it can be told anything, and others can see that it minds its queue."""
        return not self._broken and self._process.poll() is None and self._lease.exists()

    def tell(self, message: Mapping[str, Any]) -> None:
        """Tell it of a run.

        :raises EnvbuildError: it has died.
        """
        data = json.dumps(message).encode()
        # Whatever interrupts this may leave half a message behind, and no other may be put after that.
        self._broken = True
        try:
            self._socket.sendall(_LENGTH.pack(len(data)) + data)
            self._broken = False
        except OSError as error:
            raise EnvbuildError(
                f"run {message['run']} cannot be started: the process that starts runs has died",
                hint="submit it again; ENVBUILD_DEBUG=1 lets that process say why",
            ) from error

    def leave(self, patience: float = 0.0) -> None:
        """Let it go its own way; it knows when to end.

        :param patience: the seconds that its end is waited for, so that a process that goes on has nothing left of it.
        """
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if patience:
                self._process.wait(patience)
        # It is nobody's to be waited for; without this, Python would say so.
        self._process.returncode = 0


def _start(root: Path, name: str, channel: int, lease: int) -> subprocess.Popen[bytes]:
    said = None if os.environ.get("ENVBUILD_DEBUG") else subprocess.DEVNULL
    # Where `envbuild` was found through PYTHONPATH or `sys.path`, it is to be found again; nothing of the folder that
    # the user happens to be in is imported.
    package = str(Path(__file__).resolve().parent.parent)
    paths = json.dumps([package, *(each for each in sys.path if each and Path(each).is_absolute())])
    code = (
        f"import sys; sys.path.extend(path for path in {paths} if path not in sys.path); "
        "from envbuild.dispatch import main; main(sys.argv[1:])"
    )
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, str(root), name, str(channel), str(lease)],
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        pass_fds=(channel, lease),
        start_new_session=True,
    )


class _Dispatchers:
    """The dispatchers of this process, one for each workspace."""

    def __init__(self) -> None:
        self._started: dict[Path, _Dispatcher] = {}
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self._forget)

    @contextlib.contextmanager
    def of(self, root: Path) -> Iterator[_Dispatcher]:
        """The dispatcher of a workspace, for one thread at a time."""
        with self._lock:
            found = self._started.get(root)
            if found is not None and not found.is_alive():
                self._started.pop(root).leave()
                found = None
            if found is None:
                found = self._started[root] = _Dispatcher(root)
            yield found

    def leave(self, root: Path) -> None:
        """Have no dispatcher for a workspace any more."""
        with self._lock:
            found = self._started.pop(root, None)
        if found is not None:
            found.leave(patience=_ENDING)

    def _forget(self) -> None:
        # A fork is another process: it has its own, and must not keep its parent's from ending.
        for each in self._started.values():
            each.leave()
        self._started = {}
        self._lock = threading.Lock()


_DISPATCHERS = _Dispatchers()


# -- on the side of the dispatcher ---------------------------------------------------------------------------------


def main(words: list[str]) -> None:
    """Start what this process is told of, until whoever tells it has gone and nothing waits any more."""
    from envbuild import execution, retention  # noqa: F401
    from envbuild.plugins import load_plugins

    root, name, channel, lease = words
    os.chdir("/")
    # Whoever started this may have held signals back, and its runs are not to.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    told = socket.socket(fileno=int(channel))
    told.set_inheritable(False)
    os.set_inheritable(int(lease), False)
    workspace = Workspace(Path(root))
    queue = _Queue(workspace, (told.fileno(), int(lease)))
    # What every run needs is loaded once, for all of them.
    load_plugins()
    _mind(told, queue)
    (workspace.root / layout.DISPATCHERS / name).unlink(missing_ok=True)


def _mind(told: socket.socket, queue: _Queue) -> None:
    """Take in what is told, and start what there is room for."""
    children, child_ended = os.pipe()
    os.set_blocking(child_ended, False)
    signal.set_wakeup_fd(child_ended, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    queue.closed = (*queue.closed, children, child_ended)
    received = b""
    listening = True
    while listening or queue.waiting or queue.is_starting():
        heard = [children, told.fileno()] if listening else [children]
        ready, _, _ = select.select(heard, [], [], _PATIENCE if queue.waiting or not listening else None)
        if children in ready:
            os.read(children, 1 << 16)
            queue.reap()
        if told.fileno() in ready:
            data = told.recv(1 << 20)
            listening = bool(data)
            received = queue.take(received + data)
        queue.start()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A run that waits for a slot."""

    run: str
    compute: str
    at_once: int
    variables: Mapping[str, str]
    credentials: Mapping[str, str]
    environment: Mapping[str, str]
    directory: str


class _Queue:
    """The runs that a dispatcher is still to start.

    :param closed: descriptors that are the dispatcher's own, and no run's.
    """

    def __init__(self, workspace: Workspace, closed: tuple[int, ...]) -> None:
        self.workspace = workspace
        self.closed = closed
        self.waiting: deque[_Waiting] = deque()
        self._started: dict[int, str] = {}

    def is_starting(self) -> bool:
        """Whether a run that was started has not yet been taken out of the queue, which is still minded from here."""
        queue = self.workspace.root / layout.QUEUE
        return any((queue / run).exists() for run in self._started.values())

    def reap(self) -> None:
        """Take note of the processes that have ended, also of those that did not come to their runs."""
        with contextlib.suppress(ChildProcessError):
            while process := os.waitpid(-1, os.WNOHANG)[0]:
                run = self._started.pop(process, None)
                if run is not None:
                    self.workspace.lose(run, "the process that was to see it through has ended")

    def take(self, data: bytes) -> bytes:
        """Queue what whole messages say.

        :returns: the beginning of the next message.
        """
        while len(data) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
            if len(data) < end:
                break
            self.waiting.append(_Waiting(**json.loads(data[_LENGTH.size : end])))
            data = data[end:]
        return data

    def start(self) -> None:
        """Start as many as there are slots for, in the order in which they came."""
        full: set[str] = set()
        left: deque[_Waiting] = deque()
        while self.waiting:
            each = self.waiting.popleft()
            try:
                slot = None if each.compute in full else _slot(self.workspace, each)
            except OSError as error:
                self.workspace.lose(each.run, f"it could not be started: {error}")
                continue
            if slot is None:
                full.add(each.compute)
                left.append(each)
                continue
            try:
                process = os.fork()
                if process == 0:
                    _become(each, self.workspace, self.closed)
                self._started[process] = each.run
            except OSError:
                # Too many processes, or too little memory, for the moment.
                left.append(each)
                full.add(each.compute)
            finally:
                os.close(slot)
        self.waiting = left


def _slot(workspace: Workspace, waiting: _Waiting) -> int | None:
    """Take a slot of the machines that a run wants, or ``None`` if there is none free."""
    within = Path(waiting.environment.get("ENVBUILD_RUN_FOLDER") or "/")
    nested = within.parent == workspace.root / layout.RUNS and (within / layout.REQUEST).exists()
    folder = (within if nested else workspace.root) / layout.SLOTS / waiting.compute
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(waiting.at_once):
        slot = os.open(folder / str(number), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(slot)
        else:
            return slot
    return None


def _become(waiting: _Waiting, workspace: Workspace, closed: tuple[int, ...]) -> None:
    """Be the process that sees a run through, in the circumstances in which it was submitted; never returns."""
    code = 1
    try:
        os.setsid()
        # Until it is known what to do about it.
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM})
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in closed:
            os.close(each)
        os.environ.clear()
        os.environ.update(waiting.environment)
        with contextlib.suppress(OSError):
            os.chdir(waiting.directory)
        _attend(waiting, workspace)
        code = 0
    except BaseException:
        traceback.print_exc()  # which is seen with ENVBUILD_DEBUG=1
    finally:
        # Nothing of what the dispatcher would do at its end is this process's business.
        os._exit(code)


def _attend(waiting: _Waiting, workspace: Workspace) -> None:
    from envbuild import execution, retention
    from envbuild.plugins import load_plugins

    folder = supervise.Folder(str(workspace.root), waiting.run, made=True)
    if not workspace.claim(waiting.run):
        return  # somebody has canceled it
    if execution.attend(folder, waiting.variables, waiting.credentials, workspace, load_plugins()):
        with contextlib.suppress(EnvbuildError):
            # The run has ended as it has, whatever comes of this.
            retention.keep_bound(workspace)

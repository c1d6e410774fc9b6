"""Supervising: a run from the moment its folder is made to the moment its end is recorded.

Both the first run of a script and the thousandth come through here, so nothing is imported that Python has not
loaded anyway; what only some runs need is imported where they need it. While the supervisor lives it holds a lock
on the run's ``lease``: whoever finds that lock free, and no end recorded, knows that the run's supervisor died.
"""

import _signal  # type: ignore[import-not-found]  # signal itself brings enum, which takes longer than all of this
import errno
import fcntl
import os
import time

from envbuild import layout

try:
    from _json import encode_basestring_ascii as _quoted
except ImportError:
    from json.encoder import encode_basestring_ascii as _quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from envbuild.outcome import RunHandle

GRACE = 10.0
"""How long a cancelled run may take to end, in seconds."""

_PASSED_ON = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGUSR1, _signal.SIGUSR2)
_STOPS = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)

_MASK = b"***"


def to_json(value: "Any") -> str:
    r"""Write a JSON document, without the 9 ms that importing `json` takes.

    >>> to_json({"command": ["python", 'a "b"'], "exit_code": 0, "seconds": 0.5, "version": None})
    '{"command": ["python", "a \\"b\\""], "exit_code": 0, "seconds": 0.5, "version": null}'
    """
    if value is None:
        return "null"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join([to_json(item) for item in value]) + "]"
    return "{" + ", ".join([_quoted(key) + ": " + to_json(item) for key, item in value.items()]) + "}"


def new_id(experiment: str) -> str:
    """A run's id: experiment, seconds since 1970, and something that nobody else has drawn."""
    return f"{experiment}_{int(time.time())}_{os.urandom(4).hex()}"


class Folder:
    """A run's folder, held by this process until it ends or `close` is called."""

    def __init__(self, workspace: str, run: str) -> None:
        self.workspace = workspace
        self.run = run
        self.path = os.path.join(workspace, layout.RUNS, run)
        self.work = os.path.join(self.path, layout.WORK)
        os.makedirs(self.work)
        for name in (layout.LOGS, layout.OUTPUTS):
            os.mkdir(os.path.join(self.path, name))
            # What a script writes there is in the run's folder at once, and stays if everything is killed.
            os.symlink(os.path.join("..", name), os.path.join(self.work, name))
        self._lease = os.open(os.path.join(self.path, layout.LEASE), os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._lease, fcntl.LOCK_EX)
        os.write(self._lease, str(os.getpid()).encode())

    def record(self, name: str, content: "Mapping[str, Any]") -> None:
        """Write ``content`` as a JSON file of the folder, whole or not at all."""
        target = os.path.join(self.path, name)
        file = os.open(target + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            _write_all(file, to_json(content).encode("ascii"))
        finally:
            os.close(file)
        os.rename(target + ".new", target)

    def facts(self, experiment: str, environment: "Mapping[str, Any]") -> "dict[str, str]":
        """The variables by which a program in the environment finds out which run it is."""
        return {
            "ENVBUILD_RUN_ID": self.run,
            "ENVBUILD_RUN_FOLDER": self.path,
            "ENVBUILD_EXPERIMENT": experiment,
            "ENVBUILD_ENVIRONMENT_ID": environment["id"],
            "ENVBUILD_ENVIRONMENT_NAME": environment["name"] or "",
            "ENVBUILD_ENVIRONMENT_VERSION": environment["version"] or "",
        }

    def announce(self, request: "Mapping[str, Any]") -> None:
        """Record what is run, and leave word for the catalogue."""
        inbox = os.path.join(self.workspace, layout.INBOX)
        self.record(layout.REQUEST, request)
        try:
            os.close(os.open(os.path.join(inbox, self.run), os.O_WRONLY | os.O_CREAT, 0o644))
        except FileNotFoundError:
            os.makedirs(inbox, exist_ok=True)
            os.close(os.open(os.path.join(inbox, self.run), os.O_WRONLY | os.O_CREAT, 0o644))

    def discard(self) -> None:
        """Remove a folder of a run that never started."""
        import shutil

        shutil.rmtree(self.path, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._lease)


def request(
    folder: Folder,
    *,
    experiment: str,
    target: str,
    command: "list[str]",
    head: int,
    environment: "Mapping[str, Any]",
    snapshot: str,
    source: str,
    directory: str,
    variables: "list[str]",
    secrets: "list[str]",
    git: "Mapping[str, Any]",
    seconds: "Mapping[str, float]",
    reproduces: "str | None" = None,
) -> "dict[str, Any]":
    """What `layout.REQUEST` holds, in the words of `envbuild.outcome.RunRecord`.

    :param head: how many words of the command are not the user's own arguments.
    :param directory: the source folder; ``source`` is where the definition was found.
    :param variables: names, and so are ``secrets``; no value is written anywhere.
    """
    return {
        "id": folder.run,
        "experiment": experiment,
        "status": "Running",
        "target": target,
        "command": command,
        "head": head,
        "environment": environment,
        "snapshot": snapshot,
        "source": source,
        "directory": directory,
        "created_at": time.time(),
        "variables": variables,
        "secrets": secrets,
        "git": git,
        "seconds": seconds,
        "reproduces": reproduces,
        "tags": {},
    }


class Watch:
    """Passes signals on to a run, and its output to the terminal and the log, until it has ended."""

    def __init__(self, handle: "RunHandle", log: str, secrets: "Iterable[str]" = (), out: "tuple[int, int]" = (1, 2)):
        self.handle = handle
        self.stopped = 0
        """The signal that somebody asked to stop the run by, or 0."""
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._out = {1: out[0], 2: out[1]}
        masked = [each for secret in secrets if (each := secret.encode("utf-8", "surrogateescape"))]
        self._masks = {1: _Mask(masked), 2: _Mask(masked)} if masked else None

    def until_end(self) -> int:
        """Wait for the run, and say its exit code."""
        before = {number: _signal.signal(number, self._pass_on) for number in _PASSED_ON}
        try:
            code = self.handle.stream(self._write)
            if self._masks:
                for stream, mask in self._masks.items():
                    self._pass(stream, mask.rest())
            return code
        finally:
            for number, handler in before.items():
                _signal.signal(number, handler)
            os.close(self._log)

    def _write(self, stream: int, data: bytes) -> None:
        self._pass(stream, self._masks[stream].cover(data) if self._masks else data)

    def _pass(self, stream: int, data: bytes) -> None:
        _write_all(self._log, data)
        target = self._out.get(stream)
        if target is not None:
            try:
                _write_all(target, data)
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.EIO):
                    raise
                # Whoever was reading has gone (`envbuild run … | head`): the run goes on, its log is kept.
                del self._out[stream]

    def _pass_on(self, number: int, _frame: object) -> None:
        if number in _STOPS:
            if self.stopped:
                # Asked twice: it is meant.
                self.handle.cancel(0)
            else:
                self.handle.signal(number)
                self._give_grace()
            self.stopped = self.stopped or number
        else:
            self.handle.signal(number)

    def _give_grace(self) -> None:
        # The handler of SIGALRM interrupts whatever the stream is waiting for.
        _signal.signal(_signal.SIGALRM, lambda *_: self.handle.cancel(0))
        _signal.setitimer(_signal.ITIMER_REAL, GRACE)


class _Mask:
    """Covers secrets in a stream that comes in pieces."""

    def __init__(self, secrets: "list[bytes]") -> None:
        self.secrets = sorted(secrets, key=len, reverse=True)
        self.held = b""

    def cover(self, data: bytes) -> bytes:
        """What may be shown so far; what could be the beginning of a secret is held back."""
        data = self.held + data
        for secret in self.secrets:
            data = data.replace(secret, _MASK)
        keep = 0
        for secret in self.secrets:
            for length in range(min(len(secret) - 1, len(data)), keep, -1):
                if data.endswith(secret[:length]):
                    keep = length
                    break
        self.held = data[len(data) - keep :]
        return data[: len(data) - keep]

    def rest(self) -> bytes:
        """What was held back, at the end."""
        held, self.held = self.held, b""
        return held


def _write_all(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]


def finish(
    folder: Folder, code: int, stopped: int, seconds: "dict[str, float]", kept: "Callable[[], Iterable[str]]"
) -> "dict[str, Any]":
    """Collect what the run left, and record its end.

    :param kept: gives the paths of the snapshot's files, which need not be kept a second time.
    :returns: what `layout.END` holds.
    """
    outputs: dict[str, Any] = {}
    if any(os.scandir(os.path.join(folder.path, layout.OUTPUTS))):
        from envbuild.outputs import collect

        outputs = collect(folder.path, os.path.join(folder.workspace, layout.STORE))
    status = "Completed" if code == 0 else "Canceled" if stopped else "Failed"
    reason = ""
    if stopped:
        reason = "stopped by " + {2: "Ctrl-C", 15: "a request to end", 1: "its terminal closing"}[stopped]
    elif code > 128:
        reason = f"ended by signal {code - 128}"
    elif code:
        reason = f"exit code {code}"
    end = {
        "status": status,
        "exit_code": code,
        "reason": reason,
        "ended_at": time.time(),
        "seconds": seconds,
        "outputs": outputs,
        "left": clear(folder, set(kept())),
    }
    folder.record(layout.END, end)
    return end


def clear(folder: Folder, snapshot: "set[str]") -> "list[str]":
    """Remove the working copy but for files that the run itself made there; those are named."""
    left: list[str] = []
    _clear(folder.work, "", snapshot, left)
    return left


def _clear(top: str, below: str, snapshot: "set[str]", left: "list[str]") -> None:
    here = os.path.join(top, below) if below else top
    with os.scandir(here) as entries:
        for entry in list(entries):
            path = below + entry.name
            if entry.is_dir(follow_symlinks=False):
                if entry.name == "__pycache__":
                    import shutil

                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    _clear(top, path + "/", snapshot, left)
            elif path in snapshot or (not below and entry.name in (layout.LOGS, layout.OUTPUTS)):
                os.unlink(entry.path)
            else:
                left.append(path)
    try:
        os.rmdir(here)
    except OSError:
        # Something of the run's own is in it, and is named in `left`.
        return


def summary(folder: Folder, environment: "Mapping[str, Any]", end: "Mapping[str, Any]") -> str:
    """What a user is told at the end of a run."""
    name, version = environment.get("name"), environment.get("version")
    seconds = end["seconds"]
    times = ", ".join(f"{step} {seconds.get(step, 0.0):.2f} s" for step in ("resolving", "building", "running"))
    label = f"{name}:{version}" if version else name
    lines = [
        f"run          {folder.run}  {end['status']}" + (f" ({end['reason']})" if end["reason"] else ""),
        f"environment  {label}  {environment['id']}",
        f"time         {times}",
    ]
    if end["outputs"]:
        listed = sorted(end["outputs"])
        more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
        lines.append(f"outputs      {os.path.join(folder.path, layout.OUTPUTS)}  ({', '.join(listed[:5])}{more})")
    else:
        lines.append(f"outputs      none (files that a script writes to outputs/ are kept); logs {folder.path}/logs")
    if end["left"]:
        shown = ", ".join(end["left"][:5]) + (" …" if len(end["left"]) > 5 else "")
        lines.append(f"also wrote   {shown}  (outside outputs/; left in {folder.work})")
    return "\n".join(lines) + "\n"

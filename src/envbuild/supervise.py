"""Supervising: a run from the moment its folder is made to the moment its end is recorded.

Both the first run of a script and the thousandth come through here, so nothing is imported that Python has not
loaded anyway; what only some runs need is imported where they need it. While the supervisor lives it holds a lock
on the run's ``lease``: whoever finds that lock free, and no end recorded, knows that the run's supervisor died.
"""

import _signal  # type: ignore[import-not-found]  # signal itself brings enum, which takes longer than all of this
import fcntl
import os
import sys
import time

from envbuild import layout

try:
    from _json import encode_basestring_ascii as _quoted
except ImportError:
    from json.encoder import encode_basestring_ascii as _quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Self

    from envbuild.outcome import RunHandle

GRACE = 10.0
"""How long a cancelled run may take to end, in seconds."""

_BURIAL = 5.0
"""How long is waited for the end of a run that has been killed, in seconds."""

_STOPS = {
    _signal.SIGINT: "stopped by Ctrl-C",
    _signal.SIGTERM: "stopped by a request to end",
    _signal.SIGHUP: "stopped by its terminal closing",
}
_PASSED_ON = (*_STOPS, _signal.SIGQUIT, _signal.SIGUSR1, _signal.SIGUSR2)

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
    # No longer than a file may be called.
    return f"{experiment[:200]}_{int(time.time())}_{os.urandom(4).hex()}"


class Folder:
    """A run's folder, held by this process until it ends or `close` is called.

    :param made: there is one already, and this process takes it over.
    """

    def __init__(self, workspace: str, run: str, *, made: bool = False) -> None:
        self.workspace = workspace
        self.run = run
        self.path = os.path.join(workspace, layout.RUNS, run)
        self.work = os.path.join(self.path, layout.WORK)
        if not made:
            self._make()
        self._lease = os.open(os.path.join(self.path, layout.LEASE), os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._lease, fcntl.LOCK_EX)
        os.ftruncate(self._lease, 0)
        os.write(self._lease, str(os.getpid()).encode())

    def _make(self) -> None:
        os.makedirs(self.work)
        # A folder, and no link to one: scripts delete theirs and make it anew, and step into it and out with `..`.
        os.mkdir(os.path.join(self.work, layout.OUTPUTS))
        # What a script writes there is in the run's folder at once, and stays if everything is killed.
        os.symlink(os.path.join(layout.WORK, layout.OUTPUTS), os.path.join(self.path, layout.OUTPUTS))
        os.mkdir(os.path.join(self.path, layout.LOGS))
        os.symlink(os.path.join("..", layout.LOGS), os.path.join(self.work, layout.LOGS))

    def record(self, name: str, content: "Mapping[str, Any]") -> None:
        """Write ``content`` as a JSON file of the folder, whole or not at all."""
        target = os.path.join(self.path, name)
        file = os.open(target + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            _write_all(file, to_json(content).encode("ascii"))
        finally:
            os.close(file)
        os.rename(target + ".new", target)

    def read(self) -> "dict[str, Any]":
        """What `announce` recorded."""
        import json

        with open(os.path.join(self.path, layout.REQUEST), encoding="ascii") as stream:
            found: dict[str, Any] = json.load(stream)
        return found

    def facts(self, experiment: str, environment: "Mapping[str, Any]") -> "dict[str, str]":
        """The variables by which a program in the environment finds out which run it is."""
        return {
            "ENVBUILD_RUN_ID": self.run,
            "ENVBUILD_RUN_FOLDER": self.path,
            "ENVBUILD_EXPERIMENT": experiment,
            "ENVBUILD_ENVIRONMENT_ID": environment["id"],
            "ENVBUILD_ENVIRONMENT_NAME": environment["name"] or "",
            "ENVBUILD_ENVIRONMENT_VERSION": environment["version"] or "",
            "ENVBUILD_PYTHON": sys.executable,
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

    def take_outputs(self) -> None:
        """Move ``outputs/`` out of the working copy, now that the run has ended."""
        place, made = os.path.join(self.path, layout.OUTPUTS), os.path.join(self.work, layout.OUTPUTS)
        if os.path.islink(place):
            os.unlink(place)
        elif os.path.isdir(place):
            return  # it has been moved already
        if os.path.isdir(made) and not os.path.islink(made):
            os.rename(made, place)
        else:
            os.mkdir(place)

    def close(self) -> None:
        """Let go of the folder."""
        if self._lease >= 0:
            os.close(self._lease)
            self._lease = -1


def request(
    folder: Folder,
    *,
    experiment: str,
    target: str,
    command: "list[str]",
    head: int,
    environment: "Mapping[str, Any]",
    snapshot: "str | None",
    source: str,
    directory: str,
    variables: "list[str]",
    secrets: "list[str]",
    git: "Mapping[str, Any]",
    seconds: "Mapping[str, float]",
    reproduces: "str | None" = None,
    **more: "Any",
) -> "dict[str, Any]":
    """What `layout.REQUEST` holds, in the words of `envbuild.outcome.RunRecord`.

    :param head: how many words of the command are not the user's own arguments.
    :param directory: the source folder; ``source`` is where the definition was found.
    :param variables: names, and so are ``secrets``; no value is written anywhere.
    :param more: what only some runs have to say (see `envbuild.execution.Order`).
    """
    return {
        "id": folder.run,
        "type": "script",
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
        **more,
    }


class Watch:
    """Passes signals on to a run, and its output to the terminal and the log, until its end has been recorded.

    It is entered before the run is started, so that no signal comes too early, and ``handle`` is set then. A signal
    that this process was told to ignore (by ``nohup``, say) stays ignored. Should the block fail, the run is killed,
    and what this process keeps for it is let go of.
    """

    def __init__(self, log: str, secrets: "Iterable[str]" = (), out: "tuple[int, int]" = (1, 2)):
        self.handle: RunHandle | None = None
        self.stopped = 0
        """The signal that somebody asked to stop the run by, or 0."""
        self.collecting = False
        """Whether outputs are being collected: that takes as long as they are large, and may be stopped."""
        self.lost = ""
        """Why the log lacks some of the output; empty where it lacks nothing."""
        self.overdue = ""
        """That the run was stopped because it took too long; empty where it was not."""
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._out = {1: out[0], 2: out[1]}
        masked = [each for secret in secrets if (each := secret.encode("utf-8", "surrogateescape"))]
        self._masks = {1: _Mask(masked), 2: _Mask(masked)} if masked else None
        self._before: dict[int, Any] = {}
        self._early: list[int] = []
        self._followed = False
        self._grace = GRACE

    def __enter__(self) -> "Self":
        try:
            for number in _PASSED_ON:
                if _signal.getsignal(number) != _signal.SIG_IGN:
                    self._before[number] = _signal.signal(number, self._pass_on)
            if _signal.getsignal(_signal.SIGTSTP) == _signal.SIG_DFL:
                self._before[_signal.SIGTSTP] = _signal.signal(_signal.SIGTSTP, self._pause)
        except ValueError:
            pass  # only the main thread is told of signals
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        handle, self.handle = self.handle, None
        try:
            if handle is not None and kind is not None:
                handle.cancel(0)
                self._bury(handle)
        finally:
            if _signal.SIGALRM in self._before:
                _signal.setitimer(_signal.ITIMER_REAL, 0)
            for number, handler in self._before.items():
                _signal.signal(number, handler)
            os.close(self._log)

    def _bury(self, handle: "RunHandle") -> None:
        """See a run that has been killed to its end: until then it keeps a process, its guard and its pipes."""
        patience = time.monotonic() + _BURIAL
        try:
            while handle.poll() is None and time.monotonic() < patience:
                time.sleep(0.005)
            if not self._followed and handle.poll() is not None:
                handle.stream(lambda _stream, _data: None)
        except Exception:
            # A handle that fails here too has nothing to add to why the block has failed.
            return

    def until_end(self) -> int:
        """Wait for the run, and say its exit code; signals that come later are not passed on any more."""
        handle = self.handle
        assert handle is not None  # noqa: S101
        while self._early:
            self._pass_on(self._early.pop(0), None)
        self._followed = True
        code = handle.stream(self._write)
        if self._masks:
            for stream, mask in self._masks.items():
                self._pass(stream, mask.rest())
        if self.stopped:
            # Whoever stops a run means its children too, also those that did not listen.
            handle.cancel(0)
        self.handle = None
        return code

    def _write(self, stream: int, data: bytes) -> None:
        self._pass(stream, self._masks[stream].cover(data) if self._masks else data)

    def _pass(self, stream: int, data: bytes) -> None:
        if not self.lost:
            try:
                _write_all(self._log, data)
            except OSError as error:
                # A full disk is no reason to lose the run too.
                self.lost = f"its log is incomplete: {error.strerror}"
        target = self._out.get(stream)
        if target is not None:
            try:
                _write_all(target, data)
            except OSError:
                # Whoever was reading has gone (`envbuild run … | head`): the run goes on, its log is kept.
                del self._out[stream]

    def _pass_on(self, number: int, _frame: object) -> None:
        if self.collecting and number in _STOPS:
            from envbuild.errors import Stopped

            raise Stopped(number)
        if self.handle is None:
            self._early.append(number)
        elif number not in _STOPS:
            self.handle.signal(number)
        elif self.stopped:
            # Asked twice: it is meant.
            self.handle.cancel(0)
        else:
            self.stopped = number
            self.handle.signal(number)
            self._give_grace()

    def stop_after(self, seconds: float, grace: "float | None" = None) -> None:
        """Stop the run as a user would when it has gone on for so long.

        :param grace: how long it may then take to end, in seconds; by default as long as any that is stopped.
        """

        def stop(_number: int, _frame: object) -> None:
            if self.handle is not None and not self.stopped:
                self._grace = GRACE if grace is None else grace
                self.overdue = f"stopped after the {seconds:g} s that it may take"
                self._pass_on(_signal.SIGTERM, None)

        self._alarm(seconds, stop)

    def _give_grace(self) -> None:
        self._alarm(self._grace, self._out_of_patience)

    def _alarm(self, seconds: float, handler: "Callable[[int, object], None]") -> None:
        # The handler of SIGALRM interrupts whatever the stream is waiting for.
        self._before.setdefault(_signal.SIGALRM, _signal.signal(_signal.SIGALRM, handler))
        _signal.setitimer(_signal.ITIMER_REAL, seconds)

    def _out_of_patience(self, _number: int, _frame: object) -> None:
        if self.handle is not None:
            self.handle.cancel(0)

    def _pause(self, _number: int, _frame: object) -> None:
        """Stop together with the run at Ctrl-Z, and go on with it."""
        # The run has no terminal of its own to be stopped by, and where there is none SIGTSTP stops nobody.
        if self.handle is not None:
            self.handle.signal(_signal.SIGSTOP)
        os.kill(os.getpid(), _signal.SIGSTOP)
        if self.handle is not None:
            self.handle.signal(_signal.SIGCONT)


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
        try:
            data = data[os.write(target, data) :]
        except BlockingIOError:
            # A terminal or pipe that somebody else has told not to wait; select is loaded where a run is watched.
            import select

            select.select((), (target,), ())


def see_through(
    folder: Folder,
    start: "Callable[[], RunHandle]",
    tell: "Callable[[], dict[str, Any]]",
    laid_out: "Callable[[], Mapping[str, tuple[str, str]]]",
    secrets: "Iterable[str]" = (),
    out: "tuple[int, int]" = (1, 2),
    *,
    announced: bool = False,
    limit: "float | None" = None,
    grace: "float | None" = None,
    keep: bool = True,
    complete: "Callable[[], None] | None" = None,
) -> "dict[str, Any]":
    """Start a run, wait for its end, and record both.

    What ``start`` raises is passed on, and then there has been no run, unless it was ``announced`` before.

    :param tell: gives what `request` says of the run; it is asked while the program is starting already.
    :param laid_out: gives the snapshot's files with size and time as they were laid out; those that are still so need
        not be kept a second time. A symbolic link has neither.
    :param secrets: values that are shown nowhere.
    :param out: the descriptors that the run's output is passed on to.
    :param announced: others know of the run already.
    :param limit: after so many seconds the run is stopped, and may take ``grace`` more to end, by default `GRACE`.
    :param keep: take its outputs into the store; otherwise they just stay in its folder.
    :param complete: what is still to be done for a run that has done its work.
    :returns: what `layout.END` holds; ``overdue`` is among it where the run was stopped because of ``limit``, else
        ``stopped_by``, the signal, where somebody has stopped it.
    :raises EnvbuildError: the target lost the run, or its outputs could not be kept; that is recorded.
    """
    waited_for = announced
    try:
        with Watch(os.path.join(folder.path, layout.LOG), secrets, out) as watch:
            started = time.perf_counter()
            watch.handle = start()
            request = tell()
            folder.announce(request)
            announced = True
            if limit:
                watch.stop_after(limit, grace)
            try:
                code = watch.until_end()
            except Exception as error:
                folder.record(layout.END, end_of("Failed", None, str(error), request["seconds"]))
                raise
            seconds = {**request["seconds"], "running": time.perf_counter() - started}
            if waited_for:
                # Once more, whatever the run itself has written there.
                folder.announce({**request, "status": "Finalizing"})
            try:
                return _finish(folder, watch, code, seconds, laid_out, keep, complete)
            except KeyboardInterrupt:
                reason = "stopped while its outputs were collected; they are in its folder"
                folder.record(layout.END, end_of("Canceled", code, reason, seconds))
                raise
    except BaseException:
        if not announced:
            folder.discard()
        raise


def end_of(status: str, code: "int | None", reason: str, seconds: "Mapping[str, float]") -> "dict[str, Any]":
    """What `layout.END` holds; what the run has left behind is still to be added.

    :param seconds: how long each step took.
    """
    return {
        "status": status,
        "exit_code": code,
        "reason": reason,
        "ended_at": time.time(),
        "seconds": seconds,
        "outputs": {},
        "left": [],
    }


def _finish(
    folder: Folder,
    watch: Watch,
    code: int,
    seconds: "Mapping[str, float]",
    laid_out: "Callable[[], Mapping[str, tuple[str, str]]]",
    keep: bool,
    complete: "Callable[[], None] | None",
) -> "dict[str, Any]":
    """Collect what the run left, and record its end."""
    stopped = watch.stopped
    reasons = [watch.overdue or _STOPS[stopped]] if stopped else []
    if not stopped and code:
        reasons.append(f"ended by signal {code - 128}" if code > 128 else f"exit code {code}")
    end = end_of("Canceled" if stopped else "Failed" if code else "Completed", code, "", seconds)
    if watch.overdue:
        end["overdue"] = True
    elif stopped:
        end["stopped_by"] = stopped
    failure = None
    folder.take_outputs()
    if keep and os.listdir(os.path.join(folder.path, layout.OUTPUTS)):
        from envbuild.errors import EnvbuildError
        from envbuild.outputs import collect

        try:
            watch.collecting = True
            end["outputs"] = collect(folder.path, os.path.join(folder.workspace, layout.STORE))
        except EnvbuildError as error:
            failure = error
            end["status"] = "Failed"
            reasons.append(f"its outputs could not be kept: {error}")
        finally:
            watch.collecting = False
    if complete is not None and end["status"] == "Completed":
        from envbuild.errors import EnvbuildError

        try:
            watch.collecting = True
            complete()
        except (EnvbuildError, OSError) as error:
            end["status"] = "Failed"
            reasons.append(str(error))
        finally:
            watch.collecting = False
    if watch.lost:
        reasons.append(watch.lost)
    end["reason"] = "; ".join(reasons)
    end["left"] = clear(folder, laid_out())
    folder.record(layout.END, end)
    if failure:
        raise failure
    return end


def clear(folder: Folder, laid_out: "Mapping[str, tuple[str, str]]") -> "list[str]":
    """Remove the working copy but for files that the run itself made or changed there; those are named."""
    left: list[str] = []
    try:
        _clear(folder.work, "", laid_out, left)
    except RecursionError:
        left.append("(folders in folders, deeper than anybody can go)")
    return left


def _clear(top: str, below: str, laid_out: "Mapping[str, tuple[str, str]]", left: "list[str]") -> None:
    here = os.path.join(top, below) if below else top
    try:
        with os.scandir(here) as found:
            entries = list(found)
    except OSError:
        # The run has removed it, or closed it to us.
        if os.path.lexists(here):
            left.append(below)
        return
    for entry in entries:
        path = below + entry.name
        if entry.is_dir(follow_symlinks=False):
            if entry.name == "__pycache__":
                import shutil

                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                _clear(top, path + "/", laid_out, left)
        elif (path == layout.LOGS and entry.is_symlink()) or _is_as(laid_out.get(path), entry):
            try:
                os.unlink(entry.path)
            except OSError:
                left.append(path)
        else:
            left.append(path)
    try:
        os.rmdir(here)
    except OSError:
        # Something of the run's own is in it, and is named in `left`.
        return


def _is_as(facts: "tuple[str, str] | None", entry: "os.DirEntry[str]") -> bool:
    if facts is None:
        return False
    if entry.is_symlink():
        return facts == ("", "")
    found = entry.stat(follow_symlinks=False)
    return facts == (str(found.st_size), str(found.st_mtime_ns))


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
        listed = [visible(path) for path in sorted(end["outputs"])]
        more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
        lines.append(f"outputs      {os.path.join(folder.path, layout.OUTPUTS)}  ({', '.join(listed[:5])}{more})")
    else:
        lines.append(f"outputs      none; logs in {os.path.join(folder.path, layout.LOGS)}")
    if end["left"]:
        shown = ", ".join(map(visible, end["left"][:5])) + (" …" if len(end["left"]) > 5 else "")
        lines.append(f"also wrote   {shown}  (outside outputs/; left in {folder.work})")
    return "\n".join(lines) + "\n"


def visible(name: str) -> str:
    """A name as a terminal may be shown it: characters that would steer the terminal are spelled out."""
    if name.isprintable():
        return name
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in name)


def say(text: str) -> None:
    """Tell the user, unless nobody is listening any more."""
    try:
        _write_all(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return

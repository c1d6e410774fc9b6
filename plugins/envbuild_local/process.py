"""A process on this machine, in a prefix.

This module is loaded by every repeated run, so it imports nothing that Python has not loaded anyway.
"""

import _signal  # type: ignore[import-not-found]  # signal itself brings enum, which takes longer than all of this
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PYTHONS = ("python", "python3")
"""What always means the environment's own interpreter."""

_CHUNK = 1 << 16
_LATE = 1 << 20
"""How much of what is printed after the end of the process is still taken: more than a pipe holds."""


def program(word: str, directory: str, path: str, prefix: str) -> str:
    """Where the program ``word`` is, looked for as a shell would in ``directory``.

    :raises FileNotFoundError: nowhere; its ``filename`` is ``word``, or, where the environment has such a program and
        its interpreter has been removed, that interpreter.
    """
    if "/" in word:
        return word if word.startswith("/") else os.path.join(directory, word)
    for folder in path.split(os.pathsep):
        candidate = os.path.join(directory, folder, word)
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
        if folder.startswith(prefix) and (word in _PYTHONS or os.path.islink(candidate)):
            # Another program of that name, further down the path, is not the environment's.
            raise FileNotFoundError(2, "the environment has lost it", os.path.realpath(candidate))
    raise FileNotFoundError(2, "no such program in the environment or on PATH", word)


_SHELL = "/bin/sh"
_WHEN_ALONE = 'read -r _; kill -KILL "-$1"'
"""For `_SHELL`: wait until nobody holds the other end of standard input any more, and kill a process group then."""


class _Guard:
    """Kills a process and its children if this process is killed, and so cannot do it itself.

    It is a process of its own at the end of a pipe, since that end closes however this process goes. Linux can send
    a signal when a parent dies, but to one process only, and already when the thread ends that started it.
    """

    def __init__(self, process: int) -> None:
        self._process, self._held = 0, -1
        try:
            self._begin(process)
        except OSError:
            # A run is better unguarded than not started: no shell here, or no room for another process.
            self.dismiss()

    def _begin(self, process: int) -> None:
        end, self._held = os.pipe()
        try:
            self._process = os.posix_spawn(
                _SHELL,
                ["sh", "-c", _WHEN_ALONE, "envbuild-guard", str(process)],
                {},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, end, 0),
                    # Whoever reads what this process prints is not kept waiting for the guard.
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                # No signal that this process gets with its group or from its terminal reaches it.
                setsid=True,
                setsigmask=[],
            )
        finally:
            os.close(end)

    def dismiss(self) -> None:
        """Leave what was guarded alone from now on."""
        if self._process:
            # Before the pipe closes, which would be its word.
            os.kill(self._process, _signal.SIGKILL)
            os.waitpid(self._process, 0)
            self._process = 0
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


class LocalProcess:
    """A process that has been started, with its children in a session of its own (a `RunHandle`).

    If this process is killed, they are too.
    """

    starter = "envbuild_local.process:start"

    def __init__(self, process: int, out: int, err: int) -> None:
        self.process = process
        self._streams = {out: 1, err: 2}
        self._code: int | None = None
        self._guard = _Guard(process)

    def stream(self, write: "Callable[[int, bytes], None]") -> int:
        """Pass on what the process prints until it has ended.

        A child that outlives it and keeps its output open is not waited for.
        """
        try:
            self._pass_on(write)
        finally:
            for descriptor in self._streams:
                os.close(descriptor)
            self._streams.clear()
        return self._wait(0)

    def _pass_on(self, write: "Callable[[int, bytes], None]") -> None:
        late = 0
        poll = select.poll()
        for descriptor in self._streams:
            poll.register(descriptor, select.POLLIN | select.POLLHUP)
        while self._streams:
            ended = self.poll() is not None
            ready = poll.poll(0 if ended else 200)
            for descriptor, _ in ready:
                data = os.read(descriptor, _CHUNK)
                late += len(data) if ended else 0
                if data:
                    write(self._streams[descriptor], data)
                else:
                    poll.unregister(descriptor)
                    os.close(descriptor)
                    del self._streams[descriptor]
            if ended and (not ready or late > _LATE):
                break

    def poll(self) -> "int | None":
        """The exit code, or ``None`` while the process goes on."""
        if self._code is None:
            done, status = os.waitpid(self.process, os.WNOHANG)
            if done:
                self._ended(status)
        return self._code

    def _ended(self, status: int) -> int:
        self._code = _exit_code(status)
        self._guard.dismiss()
        return self._code

    def signal(self, number: int) -> None:
        """Pass on a signal to the process and its children."""
        if self._code is None:
            self._send(number)

    def _send(self, number: int) -> None:
        try:
            os.killpg(self.process, number)
        except (ProcessLookupError, PermissionError):
            return  # macOS says the second where only the dead are left

    def cancel(self, grace: float) -> None:
        """Ask the process and its children to end, and make them after ``grace`` seconds.

        Children that are left when the process has ended are ended too.
        """
        if grace > 0:
            self.signal(_signal.SIGTERM)
            import threading

            # Not by `signal`, which spares what a process that has ended has left behind.
            timer = threading.Timer(grace, self._send, [_signal.SIGKILL])
            timer.daemon = True
            timer.start()
        else:
            self._send(_signal.SIGKILL)

    def _wait(self, options: int) -> int:
        if self._code is None:
            return self._ended(os.waitpid(self.process, options)[1])
        return self._code


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


_NO_INPUT = ((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),)


def _in_background() -> bool:
    """Whether this is a job that a terminal does not listen to just now."""
    # In a session of its own the process would not be stopped when it reads, and take what is typed for others.
    try:
        return os.tcgetpgrp(0) != os.getpgrp()
    except OSError:
        return False  # no terminal, or not ours


def start(command: "Sequence[str]", directory: str, variables: "Mapping[str, str]", prefix: str) -> LocalProcess:
    """Start ``command`` in ``prefix``, with ``directory`` as its working directory.

    :param variables: what the run declares, on top of this process's own environment variables.
    :raises OSError: there is no such program, or it cannot be executed.
    """
    from envbuild import activated, inside_path

    complete = activated(os.environ, prefix, variables, inside_path())
    found = program(command[0], directory, complete["PATH"], prefix)
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    back = os.getcwd()
    # posix_spawn starts a process in a tenth of the time of a fork of this one, and knows no directory.
    os.chdir(directory)
    try:
        process = os.posix_spawn(
            found,
            list(command),
            complete,
            file_actions=[
                *(_NO_INPUT if _in_background() else ()),
                (os.POSIX_SPAWN_DUP2, out_end, 1),
                (os.POSIX_SPAWN_DUP2, err_end, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[_signal.SIGPIPE, _signal.SIGXFSZ],
        )
    except OSError:
        os.close(out)
        os.close(err)
        raise
    finally:
        os.chdir(back)
        os.close(out_end)
        os.close(err_end)
    return LocalProcess(process, out, err)

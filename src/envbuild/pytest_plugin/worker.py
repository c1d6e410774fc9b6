"""Workers: a pytest that goes on inside an environment, as it is seen from outside.

A worker is reached through a command and its standard streams; `envbuild/inside/envbuild/worker.py` is what runs at
their other end, and says how the two talk.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from envbuild import EnvbuildError, inside_path
from envbuild.pytest_plugin import terminal
from envbuild.pytest_plugin.masking import masked, masked_in

_LENGTH = struct.Struct(">I")

_BOOT = (
    "import os,sys\nn=int(sys.argv[1])\ns=b''\n"
    "while len(s)<n:\n d=os.read(0,n-len(s))\n if not d: sys.exit(1)\n s+=d\n"
    "exec(compile(s,'<envbuild worker>','exec'))"
)
"""Reads the program from standard input, and not a byte more: what follows is messages."""

_MOST = 1 << 30
"""No message is longer, in bytes."""

_LAST_WORDS = 2000
"""How much of what a worker printed before it died is told, in characters."""

_BRISK = 0.01
"""A worker that said something within so many seconds is likely to say more at once."""

_NAP = 0.002
"""How long such a worker is left alone, in seconds."""

_FATAL = "Fatal Python error"
"""How Python begins what it says about its own end; where it was comes next, the innermost call first."""

_OWN_END = ": something in it has ended its process (os._exit) or replaced it (os.execv)"
"""What it takes for a worker to end in the midst of a test as if all was well."""

_LINGERING = "a thread that is no daemon may still go on, or a function that atexit calls"
"""What keeps a worker that has said all from ending."""

_PHASE = re.compile(r"\bin pytest_runtest_(setup|call|teardown)$", re.MULTILINE)
"""Where it was, if that was a test."""

_PYTEST = re.compile(r"\n[^\n]*_pytest/(?:python|fixtures|runner)\.py\"")
"""Where pytest calls a test or a fixture."""


class WorkerLost(EnvbuildError):
    """A worker has come to an end before its time, or does not answer."""


class Worker:
    """A pytest inside an environment.

    :param command: starts the environment's Python; what comes behind it are Python's arguments.
    :param variables: all environment variables of the process.
    :param folder: where it is started.
    :param lent: folders that come last on its path.
    :param secrets: values that are not to appear in what it says.
    :param heard: whether what it prints itself goes where ours goes; else it is kept for `last_words`.
    :param passed: descriptors that it is to have too.
    :raises WorkerLost: it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        folder: Path,
        lent: Sequence[str],
        *,
        secrets: Collection[str] = (),
        heard: bool = False,
        passed: Sequence[int] = (),
    ) -> None:
        self._secrets = list(secrets)
        self._masks = [json.dumps(each)[1:-1].encode() for each in secrets]
        self._buffer = bytearray()
        self._heard = 0.0
        self._said = None if heard else tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the worker
        program = (Path(inside_path()) / "envbuild" / "worker.py").read_bytes()
        try:
            self._process = subprocess.Popen(
                [*command, "-c", _BOOT, str(len(program))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=dict(variables),
                cwd=folder,
                pass_fds=passed,
                bufsize=0,
                # Ctrl-C is for us; what it means for the worker, we say.
                process_group=0,
            )
        except OSError as error:
            raise WorkerLost(f"{command[0]} cannot be started: {error.strerror}") from error
        streams: tuple[Any, Any] = (self._process.stdin, self._process.stdout)
        self._streams = streams
        self._in, self._out = (int(each.fileno()) for each in streams)
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        self._write(program)
        self.send("prepare", list(lent))

    def send(self, *message: Any) -> None:
        """Say something to the worker; that it is no more will show when it is listened to."""
        data = json.dumps(message).encode()
        self._write(_LENGTH.pack(len(data)) + data)

    def _write(self, data: bytes) -> None:
        with suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._in, data) :]

    def receive(self, limit: float | None = None, *, more: bool = False) -> list[Any]:
        """Wait for the next thing that the worker says.

        :param limit: the seconds after which it counts as hanging; ``None`` to wait as long as it takes.
        :param more: whether it has more to say than this one thing, so that there is no hurry.
        :raises WorkerLost: it has ended, hangs, or says what is no message.
        """
        if more and not self._buffer and time.monotonic() - self._heard < _BRISK:
            # Who waits at a pipe is woken by each message, and that takes longer than a small test does.
            time.sleep(_NAP)
        until = None if limit is None else time.monotonic() + limit
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size, until))
        if length > _MOST:
            raise WorkerLost(f"the worker says what is no message{self._ended()}{self.last_words()}")
        data = bytes(self._take(length, until))
        message: list[Any] = json.loads(data)
        if any(mask in data for mask in self._masks):
            message[1:] = masked_in(message[1:], self._secrets)
        return message

    def _take(self, count: int, until: float | None) -> bytearray:
        while len(self._buffer) < count:
            if until is not None and not self._poll.poll(max(0.0, until - time.monotonic()) * 1000):
                raise WorkerLost(self._hang())
            data = os.read(self._out, 1 << 16)
            if not data:
                raise WorkerLost(f"the worker {self._ended()}{self.last_words()}")
            self._buffer += data
            self._heard = time.monotonic()
        taken = self._buffer[:count]
        del self._buffer[:count]
        return taken

    def _ended(self) -> str:
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
            return f"has closed its streams, and was killed{_OWN_END}"
        if code >= 0:
            return f"ended with exit code {code}{'' if code else _OWN_END}"
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"

    def _hang(self) -> str:
        """End a worker that does not answer, and have it say where it is."""
        # pytest has faulthandler on, which writes down where every thread is on this signal.
        self._process.send_signal(signal.SIGABRT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        text = self._printed()
        self.kill()
        phase = _PHASE.search(text.rpartition(_FATAL)[2])
        where = f" in the {phase[1]} of a test" if phase else ""
        return f"the worker did not answer in time{where}, and was ended{_last_words(text)}"

    def last_words(self) -> str:
        """The end of what the worker has printed itself, below a line of its own; nothing if it has not."""
        return _last_words(self._printed())

    def _printed(self) -> str:
        if self._said is None:
            return ""
        self._said.seek(0)
        return masked(self._said.read().decode(errors="replace").strip(), self._secrets)

    def interrupt(self) -> None:
        """Have it stop what it is doing, and tear down; what it has started hears of it too, as after Ctrl-C."""
        self._signal(signal.SIGINT)

    def _signal(self, number: int) -> None:
        # Not even of one that has just ended is the number another's, until it has been waited for.
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End it at once, with what it has started."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._close()

    def finish(self, grace: float) -> list[list[Any]]:
        """Wait for it to end in good order, as it was asked to, and end it if it has not after ``grace`` seconds.

        :returns: what it said on the way; ``["lost", REASON]`` comes last if it did not end in good order.
        :raises KeyboardInterrupt: somebody would not wait for that; it has ended all the same.
        """
        heard: list[list[Any]] = []
        try:
            while not heard or heard[-1][0] not in ("finished", "failed", "refused"):
                heard.append(self.receive(grace))
            self._process.wait(grace)
        except WorkerLost as error:
            heard.append(["lost", str(error)])
            self._signal(signal.SIGKILL)
        except subprocess.TimeoutExpired:
            lingers = f"the worker did not end within {grace:g} seconds, and was ended: {_LINGERING}"
            heard.append(["lost", lingers])
            self._signal(signal.SIGKILL)
        except KeyboardInterrupt:
            self.kill()
            raise
        self._process.wait()
        self._close()
        return heard

    def _close(self) -> None:
        terminal.reclaim(self._process.pid)
        for stream in (*self._streams, self._said):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._said = None


def _last_words(printed: str) -> str:
    """What is to be told of what a worker has printed itself: whole lines, and of its own end how it came to it."""
    _, fatal, behind = printed.rpartition(_FATAL)
    if fatal:
        text = fatal + _PYTEST.split(behind, maxsplit=1)[0]
        text = text if len(text) <= _LAST_WORDS else text[:_LAST_WORDS].rpartition("\n")[0]
    else:
        text = printed if len(printed) <= _LAST_WORDS else printed[-_LAST_WORDS:].partition("\n")[2]
    return f"\n{text}" if text else ""

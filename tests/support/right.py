"""Plugins that keep their contracts, for hooks that the kit has no fake for."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import Any

from envbuild import Definition, Digest, Image, Lock, RunHandle, RunRequest, TargetError, hookimpl

started: list[int] = []
"""The processes that were started, each the first of its group."""


def end_all() -> None:
    """End what is left of them, and of what they have started."""
    while started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pop(), signal.SIGKILL)


class CountsFiles:
    """What is in the project's own folder makes it another environment."""

    @hookimpl
    def compute_hash(self, definition: Definition, lock: Lock) -> Mapping[str, Any] | None:
        if definition.root is None:
            return None
        return {each.name: str(Digest.of(each.read_bytes())) for each in sorted(definition.root.glob("*.txt"))}


class RunsHere:
    """The target ``here``: a process."""

    @hookimpl
    def run_target(self, run: RunRequest, image: Image) -> RunHandle | None:
        if run.target != "here":
            return None
        if image.path is None:
            raise TargetError(f"the target here runs prefixes, and was given an {image.kind} image")
        try:
            return self.begin(run, image)
        except FileNotFoundError as error:
            raise TargetError(f"no such program: {run.command[0]}", hint="is it in the definition?") from error

    def begin(self, run: RunRequest, image: Image) -> RunHandle:
        return Process(self.start(run, image))

    def start(self, run: RunRequest, image: Image, **options: Any) -> subprocess.Popen[bytes]:
        path = f"{image.path}/bin{os.pathsep}{os.environ['PATH']}"
        told = {
            "cwd": run.directory,
            "env": {**os.environ, **run.variables, "PATH": path},
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "start_new_session": True,
            **options,
        }
        program = f"{image.path}/bin/python" if run.command[0] == "python" else run.command[0]
        process = subprocess.Popen([program, *run.command[1:]], **told)
        started.append(process.pid)
        return process


class Process:
    """A process that has been started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def stream(self, write: Callable[[int, bytes], None]) -> int:
        with selectors.DefaultSelector() as ready:
            for number, stream in ((1, self.process.stdout), (2, self.process.stderr)):
                if stream:
                    ready.register(stream, selectors.EVENT_READ, number)
            while ready.get_map():
                for key, _ in ready.select():
                    data = os.read(key.fd, 1 << 16)
                    if data:
                        write(key.data, data)
                    else:
                        ready.unregister(key.fileobj)
                        key.fileobj.close()  # type: ignore[union-attr]
        self.process.wait()
        return self.poll() or 0

    def poll(self) -> int | None:
        code = self.process.poll()
        return code if code is None or code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return

    def cancel(self, grace: float) -> None:
        self.signal(signal.SIGTERM if grace else signal.SIGKILL)
        if grace:
            later = threading.Timer(grace, self.signal, [signal.SIGKILL])
            later.daemon = True
            later.start()


class Serves:
    """The target ``here``, for services."""

    @hookimpl
    def deploy_target(self, deployment: Any, image: Image) -> Any:
        return Service(deployment) if deployment.target == "here" else None


class Service:
    """A service that says of itself what it is called."""

    def __init__(self, deployment: Any) -> None:
        self.deployment = deployment

    def __repr__(self) -> str:
        return f"Service({self.deployment.name})"

"""Elsewhere: a question to a plugin in an interpreter of its own, where no test has been before.

The other interpreter runs this file, so that it imports nothing of `envbuild.testing`, and nothing of pytest.
"""

from __future__ import annotations

import datetime
import importlib
import io
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_STEPS = ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.chmod", "subprocess.Popen")


class Machine(NamedTuple):
    """What tells one machine, and whoever sits at it, from another, and makes no difference to an environment.

    :param host: what it is called; by default as it is.
    :param days: by how many days its clock is ahead of ours.
    :param umask: which permissions new files lack; -1 for our own.
    """

    variables: Mapping[str, str] = MappingProxyType({})
    host: str = ""
    days: int = 0
    umask: int = -1

    def __str__(self) -> str:
        told = [f"{name}={value}" for name, value in self.variables.items()]
        told += [f"the host name {self.host}"] if self.host else []
        told += [f"a clock that is {self.days} days ahead"] if self.days else []
        return ", ".join(told + ([f"umask {self.umask:03o}"] if self.umask >= 0 else []))


_THIS = Machine()
MACHINES = (
    Machine(
        {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C", "LANG": "C", "USER": "me", "LOGNAME": "me"}, umask=0o22
    ),
    Machine(
        {
            "PYTHONHASHSEED": "2",
            "TZ": "Asia/Kathmandu",
            "LC_ALL": "C.UTF-8",
            "LANG": "de_DE.UTF-8",
            "USER": "somebody",
            "LOGNAME": "somebody",
        },
        host="another-host",
        days=100,
        umask=0o77,
    ),
)
"""Two on which answers and environments have to be the same."""


class Ended(NamedTuple):
    """What came of it.

    :param answer: what the function gave; ``None`` if it raised, or was killed.
    :param error: what it raised.
    :param steps: how many times it changed something on disk, or started a program.
    :param said: what was printed.
    """

    answer: Any
    error: BaseException | None
    steps: int
    code: int
    said: str


class Question:
    """A question that is being answered in another process.

    :param about: the name of one of the functions below: ``hook``, ``build`` or ``modules``.
    :param reference: the plugin, as ``module``, ``module:attribute`` or ``module:Class()``.
    :param variables: the environment variables of that process, on top of ours.
    :param killed_at: the step at which it is to be killed, counted from 1; 0 for never.
    :param machine: what the process is to take its machine for.
    """

    def __init__(
        self,
        about: str,
        reference: str,
        *,
        variables: Mapping[str, str] | None = None,
        directory: Path | None = None,
        killed_at: int = 0,
        machine: Machine = _THIS,
        **arguments: Any,
    ) -> None:
        path = [str(Path.cwd() / each) for each in sys.path]
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env={**os.environ, **(variables or {}), **machine.variables},
            umask=machine.umask,
            # So that what it has started can be killed with it.
            start_new_session=True,
        )
        question = _pickled(path) + _pickled((about, reference, killed_at, machine.host, machine.days, arguments))
        if self.process.stdin:
            with suppress(BrokenPipeError):
                self.process.stdin.write(question)
                self.process.stdin.flush()

    def kill(self) -> None:
        """Kill it, and all that it has started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self, seconds: float = 120) -> Ended:
        """Wait for the answer.

        :raises TimeoutError: there was none in that time.
        """
        try:
            data, told = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.communicate()
            raise TimeoutError(f"it did not answer within {seconds:.0f} s") from None
        code, said = self.process.returncode, told.decode(errors="replace")
        if code < 0:
            return Ended(None, None, 0, code, said)
        if not data:
            raise RuntimeError(f"the plugin could not be asked in another process:\n{said}")
        answer, error, steps = _Unpickler(io.BytesIO(data)).load()
        return Ended(answer, error, steps, code, said)


class _Pickler(pickle.Pickler):
    """Writes values, and the read-only mappings that definitions are full of."""

    def persistent_id(self, value: Any) -> Any:
        return dict(value) if isinstance(value, MappingProxyType) else None


class _Unpickler(pickle.Unpickler):
    """Reads what `_Pickler` writes."""

    def persistent_load(self, found: Any) -> Any:
        return MappingProxyType(found)


def _pickled(value: Any) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream).dump(value)
    return stream.getvalue()


def ask(about: str, reference: str, **options: Any) -> Ended:
    """Ask, and wait for the answer."""
    return Question(about, reference, **options).end()


def find(reference: str) -> Any:
    """The plugin that a reference stands for."""
    module, _, attribute = reference.partition(":")
    found = importlib.import_module(module)
    if attribute.endswith("()"):
        return getattr(found, attribute[:-2])()
    return getattr(found, attribute) if attribute else found


# -- there ---------------------------------------------------------------------------------------------------


def hook(plugin: Any, name: str, arguments: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Ask a hook; the arguments are given back too, since a resolution is filled."""
    return _plugins(plugin).first(name, **arguments), arguments


def build(plugin: Any, definition: Any, lock: Any, id: Any, root: Path) -> tuple[Any, bool]:  # noqa: A002
    """Find or build an image in the workspace at ``root``, as ``envbuild build`` does."""
    from envbuild.pipeline import Wishes
    from envbuild.pipeline import build as find_or_build
    from envbuild.project import Project
    from envbuild.workspace import Workspace

    project = Project(definition=definition, spec="tested")
    return find_or_build(project, lock, id, Workspace(root), _plugins(plugin), Wishes(platform=lock.platform))


def modules(reference: str, bare: bool, names: list[str]) -> tuple[list[str], list[str]]:
    """Import a plugin, or only the modules ``names``.

    :returns: the modules that are there then, and what was written, asked or started meanwhile.
    """
    touched: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.posix_spawn", "os.system"):
            touched.append(f"{event} {arguments[0]}")
        elif event in ("os.mkdir", "os.remove", "os.rename") or (event == "open" and _is_write(arguments)):
            touched.append(f"writes {arguments[0]}")

    for name in ("envbuild.plugins", *names):
        importlib.import_module(name)
    if not bare:
        sys.addaudithook(note)
        find(reference)
    return sorted(sys.modules), [each for each in touched if "__pycache__" not in each]


def _is_write(arguments: tuple[Any, ...]) -> bool:
    return isinstance(arguments[2], int) and bool(arguments[2] & _WRITES) and isinstance(arguments[0], (str, bytes))


def _plugins(plugin: Any) -> Any:
    from envbuild.plugins import Plugins

    plugins = Plugins(())
    plugins.register(plugin, "tested")
    return plugins


class _Steps:
    """Counts what is done to the disk, and ends the process when it is told to."""

    def __init__(self, last: int) -> None:
        self.count, self.last = 0, last

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _STEPS or (event == "open" and _is_write(arguments)):
            self.count += 1
            if self.count == self.last:
                os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def _called(host: str) -> Iterator[None]:
    """Have the machine go by another name, if there is one."""
    if not host:
        yield
        return
    name, uname = socket.gethostname, os.uname
    facts = uname()
    socket.gethostname = lambda: host
    os.uname = lambda: os.uname_result((facts[0], host, *facts[2:]))
    try:
        yield
    finally:
        socket.gethostname, os.uname = name, uname


@contextmanager
def _clock_ahead(days: int) -> Iterator[None]:
    """Have all that asks for the time be told another one, as long as nobody has taken hold of the clock before."""
    if not days:
        yield
        return
    kept = {module: dict(vars(module)) for module in (time, datetime)}
    now, now_ns, strftime = time.time, time.time_ns, time.strftime
    seconds = days * 86400
    told: dict[str, Any] = {
        "time": lambda: now() + seconds,
        "time_ns": lambda: now_ns() + seconds * 10**9,
        "strftime": lambda form, when=None: strftime(form, time.localtime() if when is None else when),
    }
    vars(time).update({name: _told_when(kept[time][name]) for name in ("gmtime", "localtime", "ctime")} | told)
    later = datetime.timedelta(days=days)
    vars(datetime).update({name: _ahead(kept[datetime][name], later) for name in ("date", "datetime")})
    try:
        yield
    finally:
        # What is pickled has to be found under its name again.
        for module, names in kept.items():
            vars(module).update(names)


def _told_when(tell: Callable[[float], Any]) -> Callable[..., Any]:
    return lambda when=None: tell(time.time() if when is None else when)


def _ahead(kind: Any, later: datetime.timedelta) -> Any:
    """A class that makes dates of the class ``kind``, and for which it is later."""

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, kind) if cls is Ahead else super().__instancecheck__(instance)

    class Ahead(kind, metaclass=Meta):  # type: ignore[misc]
        def __new__(cls, *words: Any, **named: Any) -> Any:
            return kind.__new__(kind if cls is Ahead else cls, *words, **named)

        @classmethod
        def today(cls) -> Any:
            return kind.today() + later

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return kind.now(tz) + later

        @classmethod
        def utcnow(cls) -> Any:
            return kind.utcnow() + later

    return Ahead


def _answer() -> None:
    stream = sys.stdin.buffer
    out = os.fdopen(os.dup(1), "wb")
    # What a plugin prints is no answer.
    os.dup2(2, 1)
    sys.path[:] = _Unpickler(stream).load()
    about, reference, killed_at, host, days, arguments = _Unpickler(stream).load()
    asked: dict[str, Callable[..., Any]] = {"hook": hook, "build": build}
    steps = _Steps(killed_at)
    answer, error = None, None
    try:
        if about == "modules":
            answer = modules(reference, **arguments)
        else:
            with _clock_ahead(days), _called(host):
                plugin = find(reference)
                sys.addaudithook(steps)
                answer = asked[about](plugin, **arguments)
    except BaseException as raised:
        error = raised
    out.write(_told(answer, error, steps.count))
    out.flush()
    sys.stderr.flush()
    os._exit(0)


def _told(answer: Any, error: BaseException | None, steps: int) -> bytes:
    try:
        return _pickled((answer, error, steps))
    except Exception as unfit:  # any class may refuse, with any error
        return _pickled((None, RuntimeError(f"{error or unfit!r}"), steps))


if __name__ == "__main__":
    _answer()

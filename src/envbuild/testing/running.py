"""The contract of ``run_target``."""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import pytest

from envbuild.digest import Digest
from envbuild.errors import EnvbuildError, TargetError
from envbuild.image import Image
from envbuild.outcome import RunHandle, RunRequest
from envbuild.platform import Platform
from envbuild.testing.contract import SECRET, PluginContract
from envbuild.testing.fakes import fill_prefix
from envbuild.testing.leaks import leaks, spellings
from envbuild.testing.watching import watched

_ID = Digest.of(b"envbuild.testing")
_PARTS = ("stream", "poll", "signal", "cancel")
_IN_VAIN = 3
"""How many seconds are enough to wait where a test has waited in vain already."""

_WAITS = """
import os, sys, time
print("waiting", flush=True)
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until and not os.path.exists("go"):
    time.sleep(0.01)
sys.exit(0 if os.path.exists("go") else 3)
"""
"""Waits for the file ``go``, and says by its exit code whether that came."""

_SAYS_WHEN = """
import time
with open("began", "w") as file: file.write(str(time.time()))
time.sleep(float(__import__("sys").argv[1]))
"""
"""Says when it began, and goes on."""

_PRINTS = """
import os, threading
def write(descriptor, byte):
    left = bytes([byte]) * 3_000_000
    while left:
        left = left[os.write(descriptor, left):]
threads = [threading.Thread(target=write, args=each) for each in ((1, 0xF1), (2, 0xF2))]
for each in threads: each.start()
for each in threads: each.join()
"""
"""Fills both outputs at once, with bytes that are no text."""

_ASKED_TO_END = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("waiting", flush=True)
time.sleep(30)
"""

_STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("waiting", flush=True)
time.sleep(30)
"""

_WITH_CHILD = """
import subprocess, sys
beats = '''
import time
for number in range(600):
    open("beat", "w").write(str(number))
    if number == 0: print("waiting", flush=True)
    time.sleep(0.05)
'''
sys.exit(subprocess.run([sys.executable, "-c", beats]).returncode)
"""
"""Has a child that is alive as long as the file ``beat`` changes."""


@dataclass
class Written:
    """What a run has printed so far."""

    out: bytes = b""
    err: bytes = b""
    pieces: list[tuple[int, Any]] = field(default_factory=list)

    def __call__(self, number: int, data: bytes) -> None:
        """Take a piece."""
        self.pieces.append((number, data))
        if isinstance(data, bytes):
            self.out += data if number == 1 else b""
            self.err += data if number == 2 else b""


@dataclass
class Started:
    """A run that a test has started, and how to get its end without waiting for ever."""

    handle: RunHandle
    directory: Path
    patience: float
    contract: RunTargetContract
    written: Written = field(default_factory=Written)
    code: int | None = None
    _thread: threading.Thread | None = None
    _errors: list[BaseException] = field(default_factory=list)

    def follow(self, write: Callable[[int, bytes], None] | None = None) -> threading.Thread:
        """Begin to take what it prints."""

        def stream() -> None:
            try:
                self.code = self.handle.stream(write or self.written)
            except BaseException as error:
                self._errors.append(error)

        self._thread = threading.Thread(target=stream, daemon=True)
        self._thread.start()
        return self._thread

    def end(self, otherwise: str = "stream() does not return, and the run has ended") -> int:
        """Its exit code, once it has ended; if that does not come, fail with what is wrong then."""
        thread = self._thread or self.follow()
        thread.join(self.patience)
        if self._errors:
            raise self._errors[0]
        if thread.is_alive():
            self._give_up(otherwise)
        if not isinstance(self.code, int) or isinstance(self.code, bool):
            self.contract.broken(f"stream() returns {self.code!r}, and not an exit code")
        return self.code

    def clear(self) -> None:
        """See to it that nothing of it goes on, and that its output is taken, for that is what closes it."""
        if not all(callable(getattr(self.handle, each, None)) for each in _PARTS):
            return
        if self._thread is None or self._thread.is_alive():
            if self.handle.poll() is None:
                self.handle.cancel(0)
            (self._thread or self.follow()).join(self.patience)

    def wait_for(self, is_so: Callable[[], bool], otherwise: str) -> None:
        """Wait until something is so; if that does not come, fail with what is wrong then."""
        until = time.monotonic() + self.patience
        while not is_so():
            if time.monotonic() > until:
                self._give_up(otherwise)
            time.sleep(0.01)

    def _give_up(self, otherwise: str) -> NoReturn:
        # The others need not wait as long to find the same.
        type(self.contract).waited_in_vain = True
        self.contract.broken(f"{otherwise} (for {self.patience:.0f} s)")

    def follow_until_it_waits(self) -> None:
        """Take what it prints until it says ``waiting``."""
        self.follow()
        self.wait_for(lambda: b"waiting" in self.written.out, "what the run prints is not passed on as it comes")

    def wait_until_it_ends(self, otherwise: str) -> None:
        """Wait until `poll` knows how it has ended."""
        self.wait_for(lambda: self.handle.poll() is not None, otherwise)


class RunTargetContract(PluginContract):
    """What ``run_target`` promises.

    A subclass gives the fixtures ``plugin`` and ``target``, and ``image`` if the target runs something else than
    prefixes of this machine. The programs that are run are Python, and use nothing but its standard library.
    """

    hook = "run_target"

    waited_in_vain: ClassVar[bool] = False
    """Whether a test of the class has failed because something did not come."""

    @pytest.fixture
    def target(self) -> str:
        """The name of the target, as ``envbuild run -t NAME`` has it."""
        self.lacks("target", "the name of the target that the plugin runs")

    @pytest.fixture
    def image(self, platform: Platform, tmp_path: Path) -> Image:
        """The environment to run in; by default a prefix with the Python of the tests."""
        fill_prefix(tmp_path / "prefix")
        return Image(kind="prefix", id=_ID, platform=platform, path=tmp_path / "prefix")

    @pytest.fixture
    def patience(self) -> float:
        """How many seconds the target may take for what takes no time: to start a program, or to end one."""
        return 15

    @pytest.fixture
    def request_of(self, target: str, tmp_path: Path) -> Callable[..., RunRequest]:
        """Ask for a program, as Python source or as a command, with folders of its own."""
        numbers = itertools.count()

        def make(
            program: str | tuple[str, ...], *words: str, variables: Mapping[str, str] | None = None, on: str = target
        ) -> RunRequest:
            number = next(numbers)
            folder = tmp_path / f"run-{number}"
            directory = folder / "work"
            directory.mkdir(parents=True)
            if isinstance(program, str):
                (directory / "program.py").write_text(program, encoding="utf-8")
                program = ("python", "program.py", *words)
            return RunRequest(
                id=f"testing-{number}",
                target=on,
                command=program,
                directory=directory,
                folder=folder,
                variables=variables or {},
            )

        return make

    @pytest.fixture
    def start(
        self, plugin: Any, image: Image, patience: float, request_of: Callable[..., RunRequest]
    ) -> Iterator[Callable[..., Started]]:
        """Start a program; what still goes on when the test is over is ended."""
        runs: list[Started] = []

        def begin(program: str | tuple[str, ...], *words: str, variables: Mapping[str, str] | None = None) -> Started:
            run = request_of(program, *words, variables=variables)
            handle = self.ask(plugin, run=run, image=image)
            if handle is None:
                self.broken(f"it declines the target {run.target!r}, which is said to be its own; it answers None")
            seconds = min(patience, _IN_VAIN) if self.waited_in_vain else patience
            runs.append(Started(handle, run.directory, seconds, self))
            return runs[-1]

        yield begin
        for each in runs:
            each.clear()

    def test_other_targets_are_declined(
        self, plugin: Any, image: Image, request_of: Callable[..., RunRequest], tmp_path: Path
    ) -> None:
        """To a run for another target it says ``None``, and starts nothing.

        As `run_target` says: ""this target is not mine"".
        """
        run = request_of("", on="somebody-elses")
        with self.nothing_left(tmp_path) as seen:
            handle = self.ask(plugin, run=run, image=image)
        if handle is not None:
            self.broken(f"it takes on a run for the target 'somebody-elses': it answers {handle!r}, not None")
        if seen.started or seen.asked:
            self.broken("it does something about a run for the target 'somebody-elses'", *seen.started, *seen.asked)

    def test_an_image_of_another_kind_is_refused(
        self, plugin: Any, image: Image, request_of: Callable[..., RunRequest], tmp_path: Path
    ) -> None:
        """What it cannot run it declines, or refuses with `TargetError`, rather than to run something else.

        As `run_target` says: "the target is mine, and it cannot be reached or refuses the run."
        """
        other = Image(kind="oci", id=_ID, platform=image.platform, digest=_ID)
        if image.kind == "oci":
            other = Image(kind="prefix", id=_ID, platform=image.platform, path=tmp_path)
        try:
            with self.may_refuse():
                handle = self.ask(plugin, run=request_of(""), image=other)
        except TargetError:
            return
        if handle is not None:
            self.broken(f"it runs an image of kind {other.kind} as if it were one of kind {image.kind}")

    def test_its_answer_is_a_handle(self, start: Callable[..., Started]) -> None:
        """The answer has all the parts of a `RunHandle`.

        As `RunHandle` says: "A run that has been started."
        """
        handle = start("").handle
        lacking = [each for each in _PARTS if not callable(getattr(handle, each, None))]
        if lacking:
            self.broken(f"its answer {handle!r} lacks the methods {', '.join(lacking)} of envbuild.RunHandle")

    def test_its_starter_starts_the_same(
        self, start: Callable[..., Started], image: Image, patience: float, tmp_path: Path
    ) -> None:
        """If the handle names a function that starts such a run without any plugin, that is there, and does.

        As `run_target` says: "the name (``package.module:function``) of a function that takes ``command``,
        ``directory``, ``variables`` and the path of the prefix, and returns such a handle."
        """
        starter = getattr(type(start("").handle), "starter", None)
        if starter is None:
            return
        module, _, name = str(starter).partition(":")
        try:
            function = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            self.broken(f"its handle has the starter {starter!r}, which is not there: {error!r}")
        program = "import os, sys; sys.exit(len(os.environ['TOLD']))"
        handle = function(("python", "-c", program), str(tmp_path), {"TOLD": "five!"}, str(image.path))
        again = Started(handle, tmp_path, patience, self)
        if again.end() != 5:
            self.broken(f"its starter {starter!r} does not start what it is told: {again.written}")

    def test_it_returns_when_the_run_has_started(self, start: Callable[..., Started], patience: float) -> None:
        """The call does not wait for the program, which may take days.

        As `run_target` says: "The call returns as soon as the program has started".
        """
        run = start(_WAITS, str(patience / 3))
        if run.handle.poll() is not None:
            self.broken("it returns when the program has ended, and not as soon as it has started")
        (run.directory / "go").touch()
        run.end()
        run = start(_SAYS_WHEN, str(patience / 3))
        returned = time.time()
        run.end()
        late = returned - float((run.directory / "began").read_text())
        if late > 1:
            self.broken(f"it returns {late:.1f} s after the program has started, and not as soon as it has")

    @pytest.mark.parametrize("code", [0, 3, 255])
    def test_the_exit_code_is_passed_on(self, start: Callable[..., Started], code: int) -> None:
        """The exit code is the program's own, from `stream` and from `poll`.

        As `RunHandle.stream` says: "the exit code".
        """
        run = start(f"import sys; sys.exit({code})")
        found = run.end()
        if (found, run.handle.poll()) != (code, code):
            self.broken(
                f"a program that ends with {code} is said to have ended with {found}, by poll {run.handle.poll()}"
            )

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
    def test_the_signal_that_ended_it_is_told(self, start: Callable[..., Started], number: signal.Signals) -> None:
        """Of a program that a signal ended the exit code is 128 and the signal's number, as shells have it.

        As `RunHandle.stream` says: "``128 + n`` for a run that signal ``n`` ended."
        """
        found = start(f"import os; os.kill(os.getpid(), {int(number)})").end()
        if found != 128 + number:
            self.broken(f"a program that {number.name} ended is said to have ended with {found}, not {128 + number}")

    def test_all_that_is_printed_is_passed_on(self, start: Callable[..., Started]) -> None:
        """Megabytes on both outputs at once arrive whole, as bytes, each on its own output.

        As `RunHandle.stream` says: "takes 1 for standard output or 2 for standard error, and the bytes."
        """
        run = start(_PRINTS)
        run.end()
        kinds = {(number, type(data).__name__) for number, data in run.written.pieces}
        if not kinds <= {(1, "bytes"), (2, "bytes")}:
            self.broken("it passes on something else than bytes of output 1 or 2", *sorted(map(str, kinds)))
        for name, found, byte in (("output", run.written.out, b"\xf1"), ("error", run.written.err, b"\xf2")):
            if found != byte * 3_000_000:
                others = len(found) - found.count(byte)
                self.broken(f"of 3000000 bytes of standard {name} {found.count(byte)} arrive, and {others} others")

    def test_what_is_printed_is_passed_on_as_it_comes(self, start: Callable[..., Started], patience: float) -> None:
        """A line is there while the program goes on, and not only in the end.

        As `RunHandle.stream` says: "Pass on what the run prints, as it comes, until it has ended."
        """
        run = start(_WAITS, str(patience / 3))

        def go(number: int, data: bytes) -> None:
            run.written(number, data)
            (run.directory / "go").touch()

        run.follow(go)
        if run.end() != 0:
            self.broken("what a program prints is passed on only when it has ended")

    def test_it_runs_in_its_working_directory(self, start: Callable[..., Started]) -> None:
        """The program finds itself in the folder of the request, and what it writes there stays.

        As `RunRequest` says: "the working copy; it belongs to the run alone."
        """
        run = start("open('here', 'w').write('x')")
        code = run.end()
        if code != 0 or not (run.directory / "here").is_file():
            self.broken("what the program writes to its working directory is not in that of the request", run.written)

    def test_variables_are_given_and_not_told(self, start: Callable[..., Started], secret: str) -> None:
        """The program has the variables of the request; whoever looks at the handle does not see them.

        As `RunRequest` says: "what the run declares, secrets among them".
        """
        variables = {SECRET: secret, "TOLD": "two words"}
        run = start(f"import os; print(os.environ['TOLD'], os.environ[{SECRET!r}])", variables=variables)
        if run.end() != 0 or run.written.out.decode().strip() != f"two words {secret}":
            self.broken("the program does not have the variables of the request", run.written.err.decode())
        self.keeps(secret, "what its handle says of itself", repr(run.handle), run.handle)

    def test_values_are_on_no_command_line(self, start: Callable[..., Started], secret: str) -> None:
        """The values of variables are in no words that a program is started with: all users of a machine see those.

        Nor are they there in base64 or another spelling.

        As docs/plugins.md says: "The value of a variable that opens something is in no lock, no environment, no message
        and no error, on no command line".
        """
        with watched() as seen:
            run = start(_SAYS_WHEN, "1", variables={SECRET: secret})
            run.wait_for((run.directory / "began").exists, "a program does not begin")
        found = [each.replace(secret, f"${{{SECRET}}}") for each in seen.words if spellings(each, secret)]
        found += [f"process {number}" for number in _processes_that_show(secret)]
        if found:
            self.broken("the value of a variable is on a command line, where everybody sees it", *found)

    def test_it_writes_only_where_it_was_told(self, start: Callable[..., Started], secret: str, tmp_path: Path) -> None:
        """Nothing is written but in the folders of the run, and no value of a variable there.

        As docs/plugins.md says: "a target in `run.folder` and `run.directory`."
        """
        told = tmp_path / "run-0"
        with self.nothing_left(told):
            start("", variables={SECRET: secret}).end()
        found = leaks(told, secret)
        if found:
            self.broken("it has written the value of a variable down", *found)

    def test_nothing_goes_on_when_the_run_has_ended(
        self, start: Callable[..., Started], helpers: frozenset[str]
    ) -> None:
        """No thread and no program of the target's goes on once `stream` has given the exit code.

        As docs/plugins.md says: "**Nothing goes on behind an answer.**"
        """
        with self.nothing_goes_on(helpers):
            start("").end()

    def test_who_reads_does_not_wait_for_ever(self, start: Callable[..., Started]) -> None:
        """A program that reads its standard input comes to the end of ours, or finds it empty.

        As `RunRequest` says: "Its standard input is that of this process, or empty".
        """
        ours = os.dup(0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        try:
            start("import sys; sys.stdin.read()").end("a program that reads its standard input waits for ever")
        finally:
            os.dup2(ours, 0)
            os.close(ours)
            os.close(nothing)

    def test_the_python_is_that_of_the_environment(self, start: Callable[..., Started], image: Image) -> None:
        """The word ``python`` stands for the environment's own.

        As `RunRequest` says: "a first word ``python`` is the environment's own."
        """
        if image.path is None:
            pytest.skip("what is in a container has no path here")
        run = start("import sys; print(sys.prefix)")
        run.end()
        found = Path(run.written.out.decode().strip() or "/nowhere")
        if found.resolve() != image.path.resolve():
            self.broken(f"the program runs with the Python of {found}, and not with that of {image.path}")

    def test_poll_can_be_asked_at_any_time(self, start: Callable[..., Started], patience: float) -> None:
        """While the run goes on it says ``None``, then the exit code, as often as it is asked.

        As `RunHandle.poll` says: "The exit code, or ``None`` while the run goes on."
        """
        run = start(_WAITS, str(patience / 3))
        before = [run.handle.poll(), run.handle.poll()]
        (run.directory / "go").touch()
        run.end()
        after = [run.handle.poll(), run.handle.poll()]
        if (before, after) != ([None, None], [0, 0]):
            self.broken(
                f"poll says {before} while the run goes on, and {after} afterwards, not [None, None] and [0, 0]"
            )

    def test_a_signal_is_passed_on(self, start: Callable[..., Started]) -> None:
        """The program gets the signal; one that comes too late does nothing.

        As `RunHandle.signal` says: "Pass on a signal; to a run that has ended this does nothing."
        """
        run = start(_ASKED_TO_END.replace("SIGTERM", "SIGINT"))
        run.follow_until_it_waits()
        run.handle.signal(signal.SIGINT)
        run.wait_until_it_ends("a program that ends when it gets SIGINT goes on after signal(SIGINT)")
        if run.end() != 7:
            self.broken(f"a program that ends with 7 when it gets SIGINT ended with {run.code}")
        try:
            run.handle.signal(signal.SIGINT)
        except Exception as error:
            self.broken(f"a signal to a run that has ended raises {error!r}")

    def test_cancel_asks_first(self, start: Callable[..., Started], patience: float) -> None:
        """With grace the program gets SIGTERM and time to end by itself; the call does not wait for that.

        As `RunHandle.cancel` says: "Ask the run and its children to end, and after ``grace`` seconds make them. Returns
        at once."
        """
        run = start(_ASKED_TO_END)
        run.follow_until_it_waits()
        began = time.monotonic()
        run.handle.cancel(2 * patience)
        if time.monotonic() - began > patience:
            self.broken("cancel waits for the run to end")
        if run.end() != 7:
            self.broken(f"a program that ends with 7 when it is asked to ended with {run.code}: it was not asked")

    @pytest.mark.parametrize("grace", [0, 0.3])
    def test_cancel_makes_it_end(self, start: Callable[..., Started], grace: float) -> None:
        """A program that ignores SIGTERM is killed when its grace is over, or at once where it has none.

        As `RunHandle.cancel` says: "Ask the run and its children to end, and after ``grace`` seconds make them."
        """
        run = start(_STUBBORN)
        run.follow_until_it_waits()
        run.handle.cancel(grace)
        run.wait_until_it_ends(f"a program that ignores SIGTERM goes on after cancel({grace})")
        if run.end() != 128 + signal.SIGKILL:
            self.broken(f"a program that ignores SIGTERM ended with {run.code}, not {128 + signal.SIGKILL}")

    @pytest.mark.parametrize("grace", [0, 0.3])
    def test_cancel_ends_what_it_has_started(self, start: Callable[..., Started], grace: float) -> None:
        """The children of the program end with it, and do not go on unseen.

        As `RunHandle.cancel` says: "Ask the run and its children to end, and after ``grace`` seconds make them."
        """
        run = start(_WITH_CHILD)
        run.follow_until_it_waits()
        run.handle.cancel(grace)
        run.wait_until_it_ends(f"the program goes on after cancel({grace})")
        said = f"a child of the program goes on after cancel({grace})"
        run.wait_for(lambda: _is_still(run.directory / "beat"), said)

    def test_cancel_ends_children_that_do_not_listen(self, start: Callable[..., Started]) -> None:
        """A child that ignores SIGTERM is killed when the grace is over, although the program has ended by then.

        As `RunHandle.cancel` says: "Ask the run and its children to end, and after ``grace`` seconds make them."
        """
        run = start(_WITH_CHILD.replace("import time", "import signal, time; signal.signal(15, signal.SIG_IGN)"))
        run.follow_until_it_waits()
        run.handle.cancel(0.3)
        run.wait_until_it_ends("the program goes on after cancel(0.3)")
        run.wait_for(
            lambda: _is_still(run.directory / "beat"), "a child that ignores SIGTERM goes on after cancel(0.3)"
        )

    def test_a_program_that_is_not_there_is_named(self, start: Callable[..., Started]) -> None:
        """It is refused with `TargetError` and a hint; or, where that shows only later, the run ends with 127.

        As `run_target` says: "the target is mine, and it cannot be reached or refuses the run."
        """
        name = "no-such-program-at-all"
        try:
            with self.may_refuse():
                run = start((name,))
        except TargetError as error:
            if name not in str(error) or not error.hint:
                self.broken(f"a program that is not there is refused without its name, or without a hint: {error}")
            return
        except EnvbuildError as error:
            self.broken(f"a program that is not there is refused with {type(error).__name__}, not TargetError: {error}")
        if run.end() != 127 or name.encode() not in run.written.err:
            said = run.written.err.decode(errors="replace")
            self.broken(f"a run of a program that is not there ends with {run.code}, and says {said!r}")

    def test_what_it_was_given_stays_as_it_was(self, start: Callable[..., Started]) -> None:
        """Neither its arguments nor the variables and the folder of this process are changed.

        As docs/plugins.md says: "Nothing that a plugin is given changes behind its back, and it keeps no state between
        calls."
        """
        given = {"TOLD": "five!"}
        with self.nothing_changed(given):
            start("", variables=given).end()

    def test_runs_know_nothing_of_each_other(self, start: Callable[..., Started], patience: float) -> None:
        """Of two runs at a time each has its own folder, variables, output and end.

        As docs/plugins.md says: "it keeps no state between calls."
        """
        program = _WAITS.replace('"waiting"', 'os.environ["NAME"]').replace("exit(0", "exit(len(os.environ['NAME'])")
        names = ("first", "second")
        runs = [start(program, str(patience), variables={"NAME": name}) for name in names]
        for each in reversed(runs):
            each.follow()
            (each.directory / "go").touch()
        found = [(each.end(), each.written.out.decode().strip()) for each in runs]
        if found != [(len(name), name) for name in names]:
            self.broken("of two runs that print their names, and end with their length, this is said", *found)


def _processes_that_show(secret: str) -> list[str]:
    """The processes in whose command line a secret stands; none where there is no ``/proc``."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        # Others may end meanwhile, or be hidden.
        with suppress(OSError):
            found += [each.parent.name] if spellings(each.read_bytes(), secret) else []
    return found


def _is_still(beat: Path) -> bool:
    """Whether nobody writes the file any more."""
    before = beat.read_bytes()
    time.sleep(0.5)
    return beat.read_bytes() == before

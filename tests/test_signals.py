"""Signals: who is told what when a run is to stop, pause or go on, and that nobody is left behind."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.place import Place, alive, until

IMPATIENT = [
    sys.executable,
    "-c",
    "import sys; from envbuild import supervise; supervise.GRACE = 0.3; from envbuild.__main__ import main; "
    "sys.exit(main())",
]
"""The command, with less patience for those that do not end when they are asked to."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path, tmp_path / "workspace")
    made.write("requirements.txt", "# nothing\n")
    return made


def begin(place: Place, source: str, **options: object) -> subprocess.Popen[bytes]:
    """Start a script, and wait until it says that it is up."""
    _write(place, source)
    process = place.start("run", "script.py", **options)  # type: ignore[arg-type]
    assert process.stdout is not None
    if process.stdout.readline() != b"up\n":
        pytest.fail(process.communicate()[1].decode())
    return process


def _write(place: Place, source: str) -> None:
    text = textwrap.dedent(source)
    file = place.folder / "script.py"
    # A file that is written again has changed, whatever is in it, and no run of it is a warm one.
    if not file.exists() or file.read_text() != text:
        place.write("script.py", text)


def warm_up(place: Place, source: str) -> None:
    """See to it that the next run of a script is a warm one; it ends at once where it is told ``end``."""
    _write(place, source)
    for _ in range(2):
        time.sleep(0.06)
        place.do("run", "script.py", "end")
    assert "envbuild.cli" not in place.do("run", "script.py", "end", program=IMPORTS).text.split()


IMPORTS = [
    sys.executable,
    "-c",
    "import os, sys\nfrom envbuild.__main__ import main\n"
    "def end(code):\n    print(*sys.modules, flush=True)\n    leave(code)\n"
    "leave, os._exit = os._exit, end\nsys.exit(main())",
]
"""The command, which says in the end what it has imported."""


WAITS = """
    import signal, sys, time
    if sys.argv[1:] == ["end"]:
        sys.exit()
    asked = []
    try:
        print("up", flush=True)
        while True:
            time.sleep(0.02)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        time.sleep(0.2)  # a second one would show here
        raise
"""


@pytest.mark.parametrize("whom", ["the group", "envbuild alone"])
@pytest.mark.parametrize("warm", [False, True])
def test_ctrl_c_reaches_the_script_once_and_cancels_the_run(place: Place, whom: str, warm: bool) -> None:
    if warm:
        warm_up(place, WAITS)
    process = begin(place, WAITS)
    if whom == "the group":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert out == b"interrupted\n"
    assert err.count(b"KeyboardInterrupt") == 1
    run = place.last()
    assert (run["status"], run["exit_code"]) == ("Canceled", 130)
    assert "Ctrl-C" in run["reason"]


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGTERM, "a request to end"), (signal.SIGHUP, "its terminal closing")]
)
def test_a_request_to_end_is_passed_on(place: Place, number: int, reason: str) -> None:
    process = begin(place, WAITS)
    process.send_signal(number)
    process.communicate(timeout=20)

    assert process.returncode == 128 + number
    assert place.last()["status"] == "Canceled"
    assert reason in place.last()["reason"]


def test_a_script_that_ends_well_when_asked_was_stopped_all_the_same(place: Place) -> None:
    process = begin(
        place,
        """
        import signal, sys, time
        def end(*_):
            open("outputs/checkpoint", "w").close()
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        print("up", flush=True)
        time.sleep(60)
        """,
    )
    process.terminate()
    process.communicate(timeout=20)

    assert process.returncode == 0
    assert place.last()["status"] == "Canceled"
    assert place.last()["outputs"].keys() == {"checkpoint"}


IGNORES = """
    import signal, time
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("up", flush=True)
    time.sleep(60)
"""


def test_a_script_that_does_not_listen_is_made_to_end_after_a_while(place: Place) -> None:
    process = begin(place, IGNORES, program=IMPATIENT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)

    assert process.returncode == 128 + 9
    assert place.last()["status"] == "Canceled"


def test_a_second_ctrl_c_does_not_wait(place: Place) -> None:
    process = begin(place, IGNORES)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)  # less than the ten seconds that it would have

    assert process.returncode == 128 + 9
    assert place.last()["status"] == "Canceled"


def test_other_signals_are_the_scripts_own(place: Place) -> None:
    process = begin(
        place,
        """
        import signal, sys
        def tell(number, _):
            print(signal.Signals(number).name, flush=True)
            if number == signal.SIGUSR2:
                sys.exit(5)
        signal.signal(signal.SIGUSR1, tell)
        signal.signal(signal.SIGUSR2, tell)
        print("up", flush=True)
        while True:
            signal.pause()
        """,
    )
    assert process.stdout is not None
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == b"SIGUSR1\n"
    process.send_signal(signal.SIGUSR2)
    process.communicate(timeout=20)

    assert process.returncode == 5
    assert (place.last()["status"], place.last()["reason"]) == ("Failed", "exit code 5")


def test_sigquit_ends_the_script_and_is_recorded(place: Place) -> None:
    process = begin(place, WAITS)
    process.send_signal(signal.SIGQUIT)
    process.communicate(timeout=20)

    assert process.returncode == 128 + 3
    assert place.last()["reason"] == "ended by signal 3"


FAMILY = """
    import os, signal, subprocess, sys, time
    if sys.argv[1:] == ["end"]:
        sys.exit()
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    child = deaf + "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('child', flush=True); time.sleep(60)"
    started = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
    started.stdout.readline()
    with open("outputs/pids", "w") as file:
        file.write(f"{os.getpid()} {started.pid}")
    print("up", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_children_end_too_even_those_that_do_not_listen(place: Place, number: int) -> None:
    process = begin(place, FAMILY)
    pids = [int(each) for each in (place.run_folder() / "outputs/pids").read_text().split()]
    process.send_signal(number)
    process.communicate(timeout=20)

    assert process.returncode == 128 + number
    until(lambda: not any(alive(each) for each in pids), "an end of the whole family")


def test_cancelling_from_elsewhere_ends_the_children_and_is_waited_for(place: Place) -> None:
    process = begin(place, FAMILY)
    pids = [int(each) for each in (place.run_folder() / "outputs/pids").read_text().split()]

    place.do("runs", "cancel", place.newest())

    assert place.last()["status"] == "Canceled"
    until(lambda: not any(alive(each) for each in pids), "an end of the whole family")
    process.communicate(timeout=20)


@pytest.mark.parametrize("warm", [False, True])
def test_whoever_kills_envbuild_ends_the_script_and_its_children(place: Place, warm: bool) -> None:
    if warm:
        warm_up(place, FAMILY)
    process = begin(place, FAMILY)
    pids = [int(each) for each in (place.run_folder() / "outputs/pids").read_text().split()]
    assert all(alive(each) for each in pids)
    process.kill()
    process.communicate(timeout=20)

    until(lambda: not any(alive(each) for each in pids), "an end of the whole family")
    assert (place.last()["status"], place.last()["exit_code"]) == ("Failed", None)


def test_what_a_run_has_left_running_goes_on_when_the_run_has_ended(place: Place) -> None:
    place.write(
        "script.py",
        "import pathlib, subprocess\nstarted = subprocess.Popen(['sleep', '60'], stdout=-3, stderr=-3)\n"
        "pathlib.Path('outputs/pid').write_text(str(started.pid))\n",
    )
    place.do("run", "script.py")
    left = int((place.run_folder() / "outputs/pid").read_text())

    time.sleep(0.3)

    assert alive(left)
    os.kill(left, signal.SIGKILL)


def test_a_run_leaves_no_process_and_no_open_file_in_the_program_that_had_it_run(place: Place) -> None:
    place.write(
        "host.py",
        "import os, pathlib, sys\nfrom envbuild_local.process import start\n"
        "def count(): return len(os.listdir('/dev/fd'))\n"
        "before = count()\n"
        "for code in (0, 3):\n"
        "    run = start(['sh', '-c', f'exit {code}'], '.', {}, sys.prefix)\n"
        "    assert run.stream(lambda stream, data: None) == code\n"
        "assert count() == before\n"
        "try: os.waitpid(-1, os.WNOHANG)\n"
        "except ChildProcessError: print('alone')\n",
    )

    assert place.do("host.py", program=[sys.executable]).text == "alone\n"


@pytest.mark.parametrize("moment", ["tell", "write"], ids=["before it is followed", "while it prints"])
def test_a_run_that_is_given_up_leaves_nothing_in_the_program_that_had_it_run_either(place: Place, moment: str) -> None:
    place.write(
        "host.py",
        "import os, sys\nfrom envbuild import supervise\nfrom envbuild_local.process import start\n"
        "def count(): return len(os.listdir('/dev/fd'))\n"
        "def fails(*_): raise MemoryError\n"
        f"if {moment == 'write'}: supervise.Watch._write = fails\n"
        "folder = supervise.Folder(sys.argv[1], 'given-up_1')\n"
        "before = count()\n"
        "try:\n"
        "    supervise.see_through(\n"
        "        folder, lambda: start(['sh', '-c', 'echo up; sleep 600'], '.', {}, sys.prefix),\n"
        f"        fails if {moment == 'tell'} else lambda: {{'seconds': {{}}}}, dict, out=(2, 2))\n"
        "except MemoryError: pass\n"
        "folder.close()\n"
        "assert count() == before - 1, os.listdir('/dev/fd')\n"
        "try: os.waitpid(-1, os.WNOHANG)\n"
        "except ChildProcessError: print('alone')\n",
    )

    assert place.do("host.py", place.workspace, program=[sys.executable]).text == "alone\n"


def test_a_signal_while_the_end_is_recorded_does_not_lose_it(place: Place) -> None:
    slow = [
        sys.executable,
        "-c",
        "import sys, time; from envbuild import supervise; clear = supervise.clear\n"
        "def slowly(*all):\n    print('recording', flush=True); time.sleep(0.5); return clear(*all)\n"
        "supervise.clear = slowly\nfrom envbuild.__main__ import main; sys.exit(main())",
    ]
    place.write("script.py", "print('up')")
    process = place.start("run", "script.py", program=slow)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert process.stdout.readline() == b"recording\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)

    assert place.last()["status"] == "Completed"
    assert process.returncode == 0


def test_ctrl_c_before_anything_runs_leaves_nothing(place: Place) -> None:
    place.write("script.py", "print('up')")
    slow = [
        sys.executable,
        "-c",
        "import sys, time; from envbuild import snapshot; look = snapshot.look\n"
        "def slowly(*all):\n    print('looking', flush=True); time.sleep(30); return look(*all)\n"
        "snapshot.look = slowly\nfrom envbuild.__main__ import main; sys.exit(main())",
    ]
    process = place.start("run", "script.py", program=slow)
    assert process.stdout is not None
    assert process.stdout.readline() == b"looking\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert b"Traceback" not in err
    assert place.runs() == []
    assert list((place.workspace / "runs").iterdir()) == []


def test_what_the_caller_ignores_stays_ignored(place: Place) -> None:
    place.write("script.py", textwrap.dedent(WAITS))
    nohup = f"trap '' HUP; exec {sys.executable} -m envbuild run script.py"
    process = place.start("-c", nohup, program=["sh"])
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    os.killpg(process.pid, signal.SIGHUP)
    time.sleep(0.1)
    assert process.poll() is None
    assert place.last()["status"] == "Running"
    process.terminate()
    process.communicate(timeout=20)
    assert "a request to end" in place.last()["reason"]


# -- at a terminal -------------------------------------------------------------------------------------------


class Terminal:
    """A shell at a terminal of its own, in which commands are typed."""

    def __init__(self, place: Place, *shell: str) -> None:
        self.process, self.keys = pty.fork()
        if not self.process:
            os.chdir(place.folder)
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP):
                signal.signal(number, signal.SIG_DFL)
            os.execve(shell[0], list(shell), {**place.environment, "PS1": "$ ", "TERM": "dumb"})
        self.seen = b""

    def type(self, text: str) -> None:
        os.write(self.keys, text.encode())

    def wait_for(self, text: str) -> None:
        """Read until ``text`` has been shown; what comes before it is forgotten."""
        wanted, deadline = text.encode(), time.monotonic() + 20
        while wanted not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.keys], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.keys, 4096)
                except OSError:
                    break
        assert wanted in self.seen, self.seen
        self.seen = self.seen.partition(wanted)[2]

    def close(self) -> int:
        os.close(self.keys)
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


@pytest.fixture
def shell(place: Place) -> Iterator[Terminal]:
    place.write("envbuild", f'#!/bin/sh\nexec {sys.executable} -m envbuild "$@"\n', mode=0o755)
    opened = Terminal(place, "/bin/bash", "--norc", "--noprofile", "-i")
    opened.wait_for("$ ")
    yield opened
    opened.type("\x03exit\n")
    opened.close()


def test_ctrl_c_that_is_typed_cancels(place: Place, shell: Terminal) -> None:
    place.write("script.py", textwrap.dedent(WAITS))
    shell.type("./envbuild run script.py; echo code=$?\n")
    shell.wait_for("up")
    shell.type("\x03")
    shell.wait_for("KeyboardInterrupt")
    shell.wait_for("code=130")
    assert place.last()["status"] == "Canceled"


def test_what_is_typed_reaches_input_and_getpass(place: Place, shell: Terminal) -> None:
    place.write(
        "script.py",
        "import getpass, sys\nprint('tty', sys.stdin.isatty())\nname = input('name? ')\n"
        "word = getpass.getpass('password? ')\nprint('got', name, word[::-1])\n",
    )
    shell.type("./envbuild run script.py; echo code=$?\n")
    shell.wait_for("tty True")
    shell.wait_for("name? ")
    shell.type("alice\n")
    shell.wait_for("password? ")
    time.sleep(0.1)  # until it has turned the echo off
    shell.type("abc123\n")
    shell.wait_for("got alice 321cba")
    shell.wait_for("code=0")


def test_ctrl_z_stops_the_script_too_and_fg_goes_on(place: Place, shell: Terminal) -> None:
    place.write(
        "script.py",
        "import os, time\nprint('pid', os.getpid(), 'up')\nwhile not os.path.exists('outputs/../go'):\n"
        "    open('ticks', 'a').write('x'); time.sleep(0.01)\nprint('went', 'on')\n",
    )
    shell.type("./envbuild run script.py; echo code=$?\n")
    shell.wait_for("up")
    ticks = place.run_folder() / "work/ticks"
    until(ticks.exists, "a first tick")
    shell.type("\x1a")
    shell.wait_for("Stopped")
    before = ticks.stat().st_size
    time.sleep(0.15)
    assert ticks.stat().st_size == before
    (place.run_folder() / "work/go").touch()
    shell.type("fg; echo then=$?\n")
    shell.wait_for("went on")
    shell.wait_for("then=0")
    assert place.last()["status"] == "Completed"


def test_a_background_job_runs_on_and_takes_nothing_that_is_typed(place: Place, shell: Terminal) -> None:
    place.write("script.py", "import sys\nprint('read', repr(sys.stdin.read()))\n")
    shell.type("./envbuild run script.py &\n")
    shell.wait_for("read ''")
    shell.wait_for("Completed")
    shell.type("echo 'sti''ll mine'\n")
    shell.wait_for("still mine")
    assert place.last()["status"] == "Completed"


def test_a_closed_terminal_ends_the_run(place: Place) -> None:
    place.write("script.py", textwrap.dedent(WAITS))
    terminal = Terminal(place, sys.executable, "-m", "envbuild", "run", "script.py")
    terminal.wait_for("up")
    terminal.close()
    assert place.last()["status"] == "Canceled"
    assert "its terminal closing" in place.last()["reason"]


def test_a_run_whose_outputs_take_long_to_collect_can_be_stopped(place: Place) -> None:
    place.write("script.py", "open('outputs/sparse', 'wb').truncate(1 << 40); print('done', flush=True)\n")
    process = place.start("run", "script.py")
    assert process.stdout
    assert process.stdout.readline() == b"done\n"
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)

    assert process.returncode == 130
    assert place.last()["status"] == "Canceled"

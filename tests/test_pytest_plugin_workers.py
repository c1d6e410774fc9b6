"""The pytest plugin: whatever a test does to its process, it alone has failed, and the next one runs."""

from __future__ import annotations

import pytest
from support.stage import Stage

CONFTEST = """
import pathlib
import pytest

@pytest.fixture(scope="session", autouse=True)
def made():
    with pathlib.Path(__file__).with_name("log.txt").open("a") as file:
        file.write("made\\n")

@pytest.fixture
def before(): pass
"""

ENDS = {
    "os._exit(0)": (
        "import os; os._exit(0)",
        "the worker ended with exit code 0: something in it has ended its process (os._exit) or replaced it (os.execv)",
    ),
    "replaced": (
        "import os, sys; os.execv(sys.executable, [sys.executable, '-c', ''])",
        "the worker ended with exit code 0: something in it has ended its process (os._exit) or replaced it (os.execv)",
    ),
    "os._exit": ("import os; os._exit(3)", "the worker ended with exit code 3"),
    "killed": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the worker was ended by SIGKILL"),
    "segfault": ("import ctypes; ctypes.string_at(0)", "the worker was ended by SIGSEGV"),
    "abort": ("import os; os.abort()", "the worker was ended by SIGABRT"),
}
"""What ends a process, and what is said of it."""


def test_a_test_that_ends_its_process_fails_with_the_reason_and_the_next_gets_another(stage: Stage) -> None:
    tests = "".join(
        f"def test_{number}(before):\n    {code}\ndef test_after_{number}(): pass\n"
        for number, (code, _) in enumerate(ENDS.values())
    )
    stage.lay({"conftest.py": CONFTEST, "test_a.py": tests})

    said = stage.inside("-v")

    assert said.outcomes == {"passed": 6, "failed": 6}
    said.has(*(f"*{reason}*" for _, reason in ENDS.values()))
    assert stage.log == ["made"] * 7
    assert said.code == 1


@pytest.mark.parametrize(
    ("phase", "where", "line"),
    [
        ("call", "def test_slow(): {}", 1),
        ("setup", "import pytest\n@pytest.fixture\ndef slow(): {}\ndef test_slow(slow): pass", 3),
        ("teardown", "import pytest\n@pytest.fixture\ndef slow():\n    yield\n    {}\ndef test_slow(slow): pass", 5),
    ],
)
def test_a_test_that_hangs_is_ended_and_says_where_it_was(stage: Stage, phase: str, where: str, line: int) -> None:
    stage.lay({"test_a.py": where.format("import time; time.sleep(100)") + "\ndef test_next(): pass\n"})

    said = stage.inside("--envbuild-timeout=3")

    assert said.outcomes == {"passed": 1, "failed": 1}, said.text
    said.has(
        f"the worker did not answer in time in the {phase} of a test, and was ended",
        "Fatal Python error: Aborted",
        f'  File "*test_a.py", line {line} in *slow',
        "---* envbuild environment *",
    )
    assert "_pytest/" not in said.text


def test_a_module_that_hangs_says_where_it_was(stage: Stage) -> None:
    stage.lay({"test_a.py": "import time\ntime.sleep(100)\n"})

    stage.inside("--envbuild-timeout=3").has(
        "the worker did not answer in time, and was ended", '  File "*test_a.py", line 2 in <module>'
    )


def test_of_what_a_worker_has_printed_only_whole_lines_are_told(stage: Stage) -> None:
    stage.lay(
        {
            "test_a.py": """
import os
def test_a(capfd):
    with capfd.disabled():
        os.write(2, b"".join(b"line %d ends\\n" % each for each in range(999)))
        os._exit(3)
"""
        }
    )

    told = [line for line in stage.inside().text.splitlines() if " ends" in line]

    assert len(told) > 10
    assert told == [f"line {each} ends" for each in range(999)][-len(told) :]


def test_a_busy_loop_in_c_is_ended_too(stage: Stage) -> None:
    stage.lay({"test_a.py": "def test_busy(): sum(range(10 ** 12))\ndef test_next(): pass\n"})

    assert stage.inside("--envbuild-timeout=3").outcomes == {"passed": 1, "failed": 1}


@pytest.mark.parametrize("end", ["import os; os._exit(3)", "import time; time.sleep(100)"], ids=["ends", "hangs"])
def test_a_module_that_is_the_end_of_its_process_is_an_error_and_the_others_are_run(stage: Stage, end: str) -> None:
    stage.lay({"test_a.py": "def test_a(): pass\n", "test_b.py": end, "test_c.py": "def test_c(): pass\n"})

    said = stage.inside("--envbuild-timeout=3", "--continue-on-collection-errors")

    assert said.outcomes == {"passed": 2, "errors": 1}, said.text
    said.has("*ERROR collecting test_b.py*")


@pytest.mark.parametrize("end", ["import os; os._exit(3)", "import time; time.sleep(1000)"], ids=["ends", "hangs"])
@pytest.mark.parametrize("by", ["name", "mark"])
def test_such_a_module_is_an_error_where_it_is_asked_for_by_name_or_has_a_mark(stage: Stage, by: str, end: str) -> None:
    mark = f"import pytest\npytestmark = pytest.mark.envbuild({str(stage.own)!r})\n" if by == "mark" else ""
    stage.lay({"test_0.py": f"{mark}def test_0(): pass\n", "test_coll.py": f"{mark}{end}\n"})
    words = ("--envbuild-timeout=3", "--continue-on-collection-errors", "test_0.py", "test_coll.py")

    said = stage.pytest(*words) if mark else stage.inside(*words)

    assert said.outcomes == {"passed": 1, "errors": 1}, said.text
    reason = "the worker ended with exit code 3" if "_exit" in end else "the worker did not answer in time"
    said.has("*ERROR collecting test_coll.py*", f"{reason}*")


def test_a_module_that_is_the_end_of_its_process_is_an_error_where_nothing_else_is_asked_for(stage: Stage) -> None:
    stage.lay({"test_other.py": "def test_other(): pass\n", "test_coll.py": "import os; os._exit(3)"})

    assert stage.inside("test_coll.py").outcomes == {"errors": 1}


def test_a_worker_that_is_always_lost_at_the_same_module_is_given_up_with_the_reason(stage: Stage) -> None:
    stage.lay({"pkg/__init__.py": "", "pkg/test_coll.py": "import os; os._exit(3)", "test_a.py": "def test_a(): pass"})

    said = stage.inside("--pyargs", "pkg.test_coll", "test_a.py", "--rootdir=.")

    assert said.code != 0
    said.has("*the worker ended with exit code 3*")


def test_what_a_worker_warns_of_is_told_once_however_often_it_is_replaced(stage: Stage) -> None:
    stage.lay(
        {
            "test_a.py": """
import os, warnings
for _ in range(2):
    warnings.warn("imported")
def test_dies(): os._exit(3)
def test_dies_too(): os._exit(3)
def test_warns(): warnings.warn("run")
""",
            "test_b.py": "import os; os._exit(3)",
        }
    )

    said = stage.inside("-W", "always", "--continue-on-collection-errors")

    assert said.outcomes == {"passed": 1, "failed": 2, "errors": 1, "warnings": 3}, said.text


LINGERS = {
    "thread": "import threading, time\ndef test_a(): threading.Thread(target=time.sleep, args=(100,)).start()\n",
    "exit": "import atexit, time\ndef test_a(): atexit.register(time.sleep, 100)\n",
}


@pytest.mark.parametrize("text", LINGERS.values(), ids=LINGERS)
def test_a_worker_that_does_not_end_by_itself_is_ended_with_a_warning(stage: Stage, text: str) -> None:
    stage.lay({"test_a.py": text})

    said = stage.inside("--envbuild-timeout=5")

    assert (said.code, said.outcomes) == (0, {"passed": 1, "warnings": 1}), said.text
    said.has("*the worker did not end within 5 seconds, and was ended: *")


def test_a_worker_that_is_lost_when_all_tests_have_been_run_is_warned_of(stage: Stage) -> None:
    stage.lay(
        {
            "conftest.py": "import os\ndef pytest_sessionfinish(): 'WHERE' in os.environ and os._exit(3)\n",
            "test_a.py": "import os\ndef test_a(): os.environ['WHERE'] = 'inside'\n",
        }
    )

    said = stage.inside()

    assert said.outcomes == {"passed": 1, "warnings": 1}, said.text
    said.has("*the worker ended with exit code 3*")


def test_what_a_test_does_to_its_process_does_no_harm(stage: Stage) -> None:
    stage.lay(
        {
            "test_a.py": """
import os, resource, shutil, subprocess, sys, threading, time
import pytest

def test_closes():
    os.write(1, b"straight to fd 1\\n"); os.write(2, b"straight to fd 2\\n")
    for descriptor in (0,): os.close(descriptor)
def test_child_stays(): subprocess.Popen(["sleep", "3"], stdin=subprocess.DEVNULL)
def test_forks():
    if os.fork() == 0:
        print("of the child")
        os._exit(0)
    os.wait()
def test_forks_and_returns():
    if os.fork() == 0:
        raise SystemExit(0)
    os.wait()
def test_thread(): threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
def test_exits(): sys.exit(5)
def test_path(): sys.path.clear(); sys.argv.clear()
def test_memory():
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, before[1]))
    try:
        with pytest.raises(MemoryError):
            bytearray(1 << 31)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
def test_reads():
    with pytest.raises((OSError, EOFError)): input()
def test_away(tmp_path):
    os.chdir(tmp_path)
    shutil.rmtree(tmp_path)
def test_after(): pass
"""
        }
    )

    said = stage.inside("-p", "no:unraisableexception", "-p", "no:threadexception")

    said.has("FAILED test_a.py::test_exits* - SystemExit: 5")
    assert said.outcomes == {"passed": 10, "failed": 1}, said.text


def test_the_secrets_of_an_environment_are_in_no_report(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2-äö")
    definition = stage.park.write("secret.yml", "pip: [pytest]\nsecrets: [TOKEN]\n")
    stage.lay(
        {
            "test_a.py": """
import os, sys, warnings
def test_told(record_property):
    token = os.environ["TOKEN"]
    record_property("token", token); print(token); warnings.warn(token)
    assert token == "other"
def test_dies():
    sys.stderr.write(os.environ["TOKEN"]); sys.stderr.flush()
    os.write(2, os.environ["TOKEN"].encode())
    os._exit(1)
"""
        }
    )

    said = stage.pytest(f"--envbuild={definition}", "--junitxml=junit.xml", "-o", "junit_family=xunit1", "-l")

    assert said.outcomes == {"failed": 2, "warnings": 1}, said.text
    everything = said.text + said.err + (stage.folder / "junit.xml").read_text(encoding="utf-8")
    assert "hunter2" not in everything
    assert "***" in everything


def test_a_wrapper_that_passes_on_the_streams_is_enough(stage: Stage) -> None:
    stage.lay(
        {
            "wrap.sh": '#!/bin/sh\nexport WRAPPED=1\nexec "$@"\n',
            "test_a.py": "import os\ndef test_a(tmp_path): assert os.environ['WRAPPED']\n",
        }
    )
    (stage.folder / "wrap.sh").chmod(0o755)

    said = stage.inside("--envbuild-wrapper", str(stage.folder / "wrap.sh"))

    assert said.outcomes == {"passed": 1}, said.text

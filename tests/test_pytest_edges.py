"""The pytest plugin where things are unusual: what only environments can import, names of tests, marks, interrupts."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside every project: the workspace, and the module `only_inside` that environments have."""
    folder = tmp_path_factory.mktemp("away")
    (folder / "inside").mkdir()
    (folder / "inside" / "only_inside.py").write_text("VALUE = 1\n")
    return folder


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, away: Path) -> pytest.Pytester:
    """A project with the environments ``one.yml`` and ``two.yml``."""
    monkeypatch.setenv("ENVBUILD_WORKSPACE", str(away / "workspace"))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    for name in ("one", "two"):
        environment(pytester.path, name, away)
    pytester.makeini("[pytest]\n")
    return pytester


def environment(folder: Path, name: str, away: Path, **variables: str) -> Path:
    """Write a definition of an environment that takes no time to build and has pytest."""
    declared = {"PYTHONPATH": str(away / "inside"), "WHERE": name, **variables}
    lines = "".join(f"  {key}: {value}\n" for key, value in declared.items())
    path = folder / f"{name}.yml"
    path.write_text(f"name: {name}\ninterpreter: {sys.prefix}\nvariables:\n{lines}")
    return path


def run(project: pytest.Pytester, *words: str | Path) -> pytest.RunResult:
    return project.runpytest_subprocess("-p", "no:hypothesispytest", "-p", "no:randomly", *words, timeout=180)


def lines(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


# -- conftest.py files that only an environment can import


def test_a_conftest_that_only_the_environment_can_import_does_not_stop_tests_that_all_run_there(
    project: pytest.Pytester,
) -> None:
    project.makeconftest("import only_inside, pytest\n@pytest.fixture\ndef value(): return only_inside.VALUE\n")
    project.makepyfile("def test_value(value): assert value == 1")

    result = run(project, "--envbuild", "one.yml")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*conftest.py cannot be imported here: ModuleNotFoundError: *only_inside*"])


def test_options_of_such_a_conftest_reach_the_environment(project: pytest.Pytester) -> None:
    project.makeconftest(
        "import only_inside\ndef pytest_addoption(parser):\n"
        "    parser.addoption('--runslow', action='store_true')\n    parser.addoption('--level', default='0')\n"
    )
    project.makepyfile(
        "def test_options(request):\n"
        "    assert (request.config.getoption('--runslow'), request.config.getoption('--level')) == (True, '3')\n"
    )

    run(project, "--envbuild", "one.yml", "--runslow", "--level=3").assert_outcomes(passed=1)


def test_an_option_that_nobody_knows_is_refused_and_the_conftest_named(project: pytest.Pytester) -> None:
    project.makeconftest("import only_inside\n")
    project.makepyfile("def test_it(): pass")

    result = run(project, "--envbuild", "one.yml", "--runfast")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*unrecognized arguments: --runfast*", "*conftest.py cannot be imported here: *only_inside*"]
    )


def test_an_option_that_is_left_to_the_environment_has_its_value_joined_to_it(project: pytest.Pytester) -> None:
    project.makeconftest("import only_inside\ndef pytest_addoption(parser): parser.addoption('--level')\n")
    project.makepyfile("def test_it(): pass")

    result = run(project, "--envbuild", "one.yml", "--level", "3")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*expected one argument", "*conftest.py cannot be imported here: *", "*: --level"])


def test_tests_with_marks_run_below_such_a_conftest_and_others_fail_with_its_error(project: pytest.Pytester) -> None:
    project.makepyfile(
        **{
            "sub/conftest": "import only_inside",
            "sub/test_marked": "import pytest, only_inside\n@pytest.mark.envbuild('one.yml')\ndef test_in(): pass",
            "sub/test_plain": "def test_out(): pass",
            "test_above": "def test_above(): pass",
        }
    )

    result = run(project)

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR collecting sub/test_plain.py*", "sub/conftest.py:1: in <module>", "*'only_inside'*"]
    )


@pytest.mark.parametrize(
    ("conftest", "words"), [("import only_inside", ()), ("1 / 0", ()), ("1 / 0", ("--envbuild", "one.yml"))]
)
def test_a_conftest_that_cannot_be_imported_is_otherwise_what_it_is_to_pytest(
    project: pytest.Pytester, conftest: str, words: tuple[str, ...]
) -> None:
    project.makeconftest(conftest)
    project.makepyfile("def test_it(): pass")

    result = run(project, *words)
    plain = run(project, "-p", "no:envbuild")

    assert result.ret == plain.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.str() == plain.stderr.str()


# -- names of tests


NAMES = """
import pytest
@pytest.mark.parametrize("x", [1, 2, "a b[c]", "ü", "x::y"])
def test_b(x): pass
class TestX:
    def test_b(self): pass
"""


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("test_n.py::test_b[2]", ["test_n.py::test_b[2-one.yml]", "test_n.py::test_b[2-two.yml]"]),
        ("test_n.py::test_b[2-one.yml]", ["test_n.py::test_b[2-one.yml]"]),
        ("test_n.py::test_b[a b[c]]", ["test_n.py::test_b[a b[c]-one.yml]", "test_n.py::test_b[a b[c]-two.yml]"]),
        ("test_n.py::test_b[\\xfc]", ["test_n.py::test_b[\\xfc-one.yml]", "test_n.py::test_b[\\xfc-two.yml]"]),
        ("test_n.py::test_b[x::y]", ["test_n.py::test_b[x::y-one.yml]", "test_n.py::test_b[x::y-two.yml]"]),
        ("test_n.py::TestX::test_b", ["test_n.py::TestX::test_b[one.yml]", "test_n.py::TestX::test_b[two.yml]"]),
        ("test_n.py::TestX::test_b[two.yml]", ["test_n.py::TestX::test_b[two.yml]"]),
        ("test_n.py::TestX", ["test_n.py::TestX::test_b[one.yml]", "test_n.py::TestX::test_b[two.yml]"]),
    ],
)
@pytest.mark.parametrize("by", ["option", "mark"])
def test_a_test_is_selected_by_the_name_it_has_here_and_by_that_which_it_has_inside(
    project: pytest.Pytester, by: str, asked: str, found: list[str]
) -> None:
    mark = "pytestmark = pytest.mark.envbuild('one.yml', 'two.yml')\n" if by == "mark" else ""
    project.makepyfile(test_n=NAMES + mark)

    result = run(project, *(() if mark else ("--envbuild", "one.yml", "--envbuild", "two.yml")), "--co", "-q", asked)

    assert sorted(line for line in result.outlines if "::" in line) == found


def test_definitions_of_one_name_in_different_folders_are_told_apart(project: pytest.Pytester, away: Path) -> None:
    root = project.mkdir("root")
    (root / "pytest.ini").write_text("[pytest]\n")
    (root / "test_it.py").write_text("import os\ndef test_b(): assert os.environ['WHERE'] == 'two'\n")
    beside = project.mkdir("beside[1]")
    environment(beside, "two", away, WHERE="one")
    os.chdir(root)
    asked = [f"--envbuild={beside / 'two.yml'}", "--envbuild=../two.yml"]
    failed = "test_it.py::test_b[../beside[1]/two.yml]"

    spread = run(project, *asked, "-n", "2")
    one = run(project, *asked, failed, "--junitxml=junit.xml")
    again = run(project, *asked, "--lf")
    other = run(project, *asked, "-k", "not beside")

    for result in (spread, again, one):
        assert [each.split(" ")[1] for each in result.outlines if each.startswith("FAILED ")] == [failed]
    spread.assert_outcomes(passed=1, failed=1)
    one.assert_outcomes(failed=1)
    again.assert_outcomes(failed=1)
    other.assert_outcomes(passed=1, deselected=1)
    assert 'name="test_b[../beside[1]/two.yml]"' in (root / "junit.xml").read_text()


def test_a_name_that_no_environment_has_is_refused_and_those_that_there_are_named(project: pytest.Pytester) -> None:
    project.makepyfile(test_n=NAMES)

    result = run(project, "--envbuild", "one.yml", "test_n.py::test_b[7]")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: not found: test_n.py::test_b[[]7]", "(there are test_b[[]1-one.yml], *"])


def test_deselecting_takes_both_names_and_lf_runs_what_failed(project: pytest.Pytester) -> None:
    project.makepyfile(test_n=NAMES.replace("def test_b(x): pass", "def test_b(x): assert x == 1"))
    environments = ("--envbuild", "one.yml", "--envbuild", "two.yml")
    out = ("--deselect", "test_n.py::test_b[x::y]", "--deselect", "test_n.py::test_b[2-one.yml]")

    first = run(project, *environments, *out, "test_n.py::test_b")
    again = run(project, *environments, "--lf")

    first.assert_outcomes(passed=2, failed=5, deselected=3)
    # Functions that passed are left out before they are counted.
    again.assert_outcomes(failed=5, deselected=2)


# -- marks that cannot be seen without importing the module


DYNAMIC = {
    "conftest": """
import pytest
def pytest_collection_modifyitems(items):
    for item in items:
        if "by_hook" in item.nodeid:
            item.add_marker(pytest.mark.envbuild("one.yml"))
def pytest_generate_tests(metafunc):
    if "generated" in metafunc.fixturenames:
        metafunc.parametrize("generated", [pytest.param(1, marks=pytest.mark.envbuild("one.yml"))])
""",
    "based": """
import os, pytest
@pytest.mark.envbuild("one.yml")
class Base:
    def test_inherited(self): assert os.environ["WHERE"] == "one"
""",
    "test_first": "import os\ndef test_by_hook(): assert os.environ['WHERE'] == 'one'\ndef test_here(): pass",
    "test_heir": "from based import Base\nclass TestHeir(Base): pass",
    "test_second": """
import os, pytest
SPECS = [name + ".yml" for name in ("one", "two")]
@pytest.mark.envbuild(*SPECS)
def test_computed(): assert os.environ["WHERE"] in ("one", "two")
@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.envbuild("two.yml")), 2])
def test_param(x): assert os.environ.get("WHERE") == {1: "two", 2: None}[x]
def test_generated(generated): assert os.environ["WHERE"] == "one"
""",
}


def test_marks_that_are_worked_out_are_heeded_as_those_that_are_written_down(project: pytest.Pytester) -> None:
    project.makepyfile(**DYNAMIC)

    result = run(project, "-v", "--import-mode=prepend")

    result.assert_outcomes(passed=8)
    names = [line.split(" ")[0] for line in result.outlines if " PASSED " in line]
    assert names == [
        "test_first.py::test_by_hook[one.yml]",
        "test_first.py::test_here",
        "test_heir.py::TestHeir::test_inherited[one.yml]",
        "test_second.py::test_computed[one.yml]",
        "test_second.py::test_computed[two.yml]",
        "test_second.py::test_param[1-two.yml]",
        "test_second.py::test_param[2]",
        "test_second.py::test_generated[1-one.yml]",
    ]


@pytest.mark.parametrize("hook", ["pytest_collection_modifyitems(items)", "pytest_itemcollected(item)"])
def test_a_mark_is_heeded_that_a_hook_adds_after_all_others(project: pytest.Pytester, hook: str) -> None:
    project.makeconftest(
        f"import pytest\n@pytest.hookimpl(trylast=True)\ndef {hook}:\n"
        "    for each in locals().get('items') or [item]:\n"
        "        if each.name.startswith('test_in'): each.add_marker(pytest.mark.envbuild('one.yml', 'two.yml'))\n"
    )
    project.makepyfile(
        "import os\ndef test_in(): assert os.environ['WHERE'] == 'one'\n"
        "def test_out(): assert 'WHERE' not in os.environ\n"
    )

    spread = run(project, "-n", "1")
    again = run(project, "--lf")
    kept = run(project, "-k", "test_in")

    spread.assert_outcomes(passed=2, failed=1)
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["FAILED *::test_in[[]two.yml]*"])
    kept.assert_outcomes(passed=1, failed=1, deselected=1)


def test_a_mark_wins_over_the_option_even_if_it_is_worked_out(project: pytest.Pytester) -> None:
    project.makepyfile(**DYNAMIC)

    result = run(project, "--envbuild", "two.yml", "--co", "-q")

    assert sorted(line.rpartition("::")[2] for line in result.outlines if "::" in line) == [
        "test_by_hook[one.yml]",
        "test_computed[one.yml]",
        "test_computed[two.yml]",
        "test_generated[1-one.yml]",
        "test_here[two.yml]",
        "test_inherited[one.yml]",
        "test_param[1-two.yml]",
        "test_param[2-two.yml]",
    ]


@pytest.mark.parametrize(
    ("mark", "line", "told"),
    [
        ("@pytest.mark.envbuild", 2, "names no environment"),
        ("@pytest.mark.envbuild()", 2, "names no environment"),
        ("@pytest.mark.envbuild(7)", 2, "7 is none"),
        ("@pytest.mark.envbuild(__import__('pathlib').Path('one.yml'))", 2, "Path('one.yml')* is none"),
        ("@pytest.mark.envbuild('one.yml', python='3.11')", 2, "no python="),
        ("@pytest.mark.envbuild('one.yml', **{'a': 1})", 2, "no a="),
        ("@pytest.mark.envbuild('none.yml')", 2, "none.yml"),
    ],
)
@pytest.mark.parametrize("words", [(), ("--envbuild", "two.yml")])
def test_a_mark_that_is_not_as_it_should_be_is_an_error_of_its_file_and_others_run(
    project: pytest.Pytester, mark: str, line: int, told: str, words: tuple[str, ...]
) -> None:
    project.makepyfile(test_bad=f"import pytest\n{mark}\ndef test_bad(): pass\ndef test_beside(): pass")
    project.makepyfile(test_good="def test_good(): pass")

    result = run(project, *words)

    result.assert_outcomes(passed=2, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*ERROR collecting test_bad.py*"])
    result.stdout.re_match_lines([rf".*test_bad.py:{line}: .*"])
    result.stdout.fnmatch_lines([f"*{told.replace('[', '[[]')}*"])


# -- being told to end


WAITING = """
import os, pathlib, pytest, subprocess, sys, time
HERE = pathlib.Path(__file__).parent
@pytest.fixture(scope="session")
def wide():
    yield
    (HERE / "torn").write_text(str(os.getpid()))
@pytest.fixture
def near(wide):
    yield
    (HERE / "near").write_text("")
def test_waits(near):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    (HERE / "running").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(float(os.environ.get("WAIT", 60)))
def test_never(near): (HERE / "never").write_text("")
"""


class Waiting:
    """A session of which a test is running, and does so for a minute.

    :param words: with which all tests run inside.
    """

    def __init__(
        self,
        project: pytest.Pytester,
        text: str = WAITING,
        words: Sequence[str] = ("--envbuild", "one.yml"),
        **variables: str,
    ) -> None:
        self.folder = project.path
        project.makepyfile(test_waiting=text)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *words, "-p", "no:cacheprovider"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, **variables},
        )
        until(lambda: (self.folder / "running").exists() and (self.folder / "running").read_text().count(" "))

    def ended(self) -> tuple[int, str]:
        """Its exit code and what it printed, when nothing of it is left."""
        out, _ = self.process.communicate(timeout=60)
        for each in (self.folder / "running").read_text().split():
            until(lambda each=each: not _runs(int(each)))
        return self.process.returncode, out


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def _runs(number: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{number}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("to_all", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_session_told_to_end_tears_down_inside_and_leaves_no_process(
    project: pytest.Pytester, number: signal.Signals, to_all: bool
) -> None:
    waiting = Waiting(project)

    (os.killpg if to_all else os.kill)(waiting.process.pid, number)
    code, told = waiting.ended()

    assert code == pytest.ExitCode.INTERRUPTED, told
    assert re.search(r"/test_waiting\.py:11: KeyboardInterrupt$", told, re.MULTILINE), told
    assert all((project.path / name).exists() for name in ("torn", "near"))
    assert not (project.path / "never").exists()


WAITING_TO_BE_COLLECTED = """
import os, pathlib, pytest, subprocess, sys, time
pytestmark = pytest.mark.envbuild("one.yml")
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
pathlib.Path(__file__).with_name("running").write_text(f"{os.getpid()} {child.pid}")
time.sleep(60)
def test_never(): pass
"""


@pytest.mark.parametrize("words", [("--envbuild", "one.yml"), ()], ids=["option", "mark"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_session_told_to_end_while_it_collects_leaves_no_process(
    project: pytest.Pytester, number: signal.Signals, words: tuple[str, ...]
) -> None:
    waiting = Waiting(project, WAITING_TO_BE_COLLECTED, words)
    begun = time.monotonic()

    os.kill(waiting.process.pid, number)
    code, told = waiting.ended()

    assert code == pytest.ExitCode.INTERRUPTED, told
    assert time.monotonic() - begun < 30


def test_a_second_interrupt_does_not_wait_for_what_is_torn_down(project: pytest.Pytester) -> None:
    project.makeconftest(
        "import pathlib, pytest, time\n@pytest.fixture(autouse=True)\ndef slow():\n    yield\n"
        "    pathlib.Path(__file__).with_name('tearing').touch()\n    time.sleep(60)\n"
    )
    waiting = Waiting(project)

    os.kill(waiting.process.pid, signal.SIGINT)
    until((project.path / "tearing").exists)
    begun = time.monotonic()
    os.kill(waiting.process.pid, signal.SIGINT)
    waiting.ended()

    assert time.monotonic() - begun < 30


def test_a_worker_whose_pytest_was_killed_ends_with_its_test_and_tears_down(project: pytest.Pytester) -> None:
    waiting = Waiting(project, WAIT="3")

    waiting.process.kill()
    waiting.process.communicate()
    worker, child = map(int, (project.path / "running").read_text().split())
    until(lambda: not _runs(worker))
    os.kill(child, signal.SIGKILL)

    assert all((project.path / name).exists() for name in ("torn", "near"))
    assert not (project.path / "never").exists()


@pytest.mark.parametrize(
    ("body", "conftest", "code", "told"),
    [
        ("pytest.exit('enough', 7)", "", 7, "enough"),
        ("raise KeyboardInterrupt", "", 2, "KeyboardInterrupt"),
        ("pass", "def pytest_runtest_teardown(item): item.session.shouldstop = 'halt'", 2, "halt"),
    ],
)
def test_what_ends_a_session_inside_ends_it_here_as_it_would_have_there(
    project: pytest.Pytester, body: str, conftest: str, code: int, told: str
) -> None:
    project.makeconftest(
        "import pathlib, pytest\n@pytest.fixture(autouse=True, scope='session')\ndef wide():\n    yield\n"
        f"    pathlib.Path(__file__).with_name('torn').touch()\n{conftest}\n"
    )
    project.makepyfile(
        f"import pytest\ndef test_first(): pass\ndef test_ends():\n    {body}\ndef test_never(): assert 0"
    )

    result = run(project, "--envbuild", "one.yml")
    torn = project.path / "torn"

    assert result.ret == code
    assert torn.exists()
    torn.unlink()
    plain = run(project, "-p", "no:envbuild")
    assert (plain.ret, plain.parseoutcomes()) == (code, result.parseoutcomes())
    result.stdout.fnmatch_lines([f"!!!*{told}*!!!"])
    plain.stdout.fnmatch_lines([f"!!!*{told}*!!!"])


# -- debugging


AT_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


class Debugged:
    """pytest at a terminal."""

    def __init__(self, *words: str) -> None:
        # Not a pipe that a worker which outlives pytest would hold.
        self.process = subprocess.Popen(
            [sys.executable, "-c", AT_A_TERMINAL, sys.executable, "-m", "pytest", "--color=no", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "TERM": "dumb"},
        )
        self.told = ""

    def expect(self, text: str) -> str:
        """Read up to a text; what was read."""
        assert self.process.stdout is not None
        end = time.monotonic() + 60
        while text not in self.told:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 1 << 16) if ready else b""
            assert data, f"no {text!r} in {self.told!r}"
            self.told += data.decode(errors="replace").replace("\r\n", "\n")
        before, _, self.told = self.told.partition(text)
        return before

    def say(self, text: str, end: str = "\n") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write((text + end).encode())

    def ended(self) -> tuple[int, str]:
        """Its exit code, and the rest of what it printed."""
        out, _ = self.process.communicate(timeout=60)
        return self.process.returncode, self.told + out.decode(errors="replace")


BROKEN = """
import os, pytest
@pytest.fixture(autouse=True)
def torn():
    yield
    open("torn", "a").close()
def test_fails():
    where = os.environ["WHERE"]
    assert where == "nowhere"
def test_after(): pass
"""


def test_pdb_debugs_inside_at_the_terminal(project: pytest.Pytester) -> None:
    project.makepyfile(BROKEN)
    debugged = Debugged("--pdb", "--envbuild", "one.yml")

    before = debugged.expect("(Pdb) ")
    debugged.say("p 'it is ' + where")
    answer = debugged.expect("(Pdb) ")
    debugged.say("c")
    code, rest = debugged.ended()

    assert "assert 'one' == 'nowhere'" in before
    assert "it is one" in answer
    assert (code, "1 failed, 1 passed" in rest) == (1, True), rest


def test_quitting_a_debugger_ends_the_session_and_ctrl_c_does_not(project: pytest.Pytester) -> None:
    project.makepyfile(BROKEN.replace("    assert", "    breakpoint()\n    assert"))
    debugged = Debugged("--envbuild", "one.yml")

    debugged.expect("(Pdb) ")
    debugged.say("import time; time.sleep(50)")
    time.sleep(0.5)
    # An empty line would have the debugger do again what was interrupted.
    debugged.say("\x03", end="")
    debugged.expect("KeyboardInterrupt")
    debugged.expect("(Pdb) ")
    debugged.say("p 'it is ' + where")
    debugged.expect("it is one")
    debugged.say("q")
    code, rest = debugged.ended()

    assert (code, "Quitting debugger" in rest) == (2, True), rest
    assert (project.path / "torn").exists()


def test_trace_stops_at_the_start_of_each_test(project: pytest.Pytester) -> None:
    project.makepyfile("def test_a():\n    assert 1\ndef test_b():\n    assert 2\n")
    debugged = Debugged("--trace", "--envbuild", "one.yml")

    for line in ("assert 1", "assert 2"):
        assert f"-> {line}" in debugged.expect("(Pdb) ")
        debugged.say("c")

    assert debugged.ended()[0] == 0


@pytest.mark.parametrize(
    ("words", "body"),
    [(["--pdb"], "assert 0"), (["--trace"], "pass"), (["--pdb", "--envbuild-wrapper=env"], "assert 0")],
)
def test_debugging_where_nobody_could_be_talked_to_is_refused(
    project: pytest.Pytester, words: list[str], body: str
) -> None:
    project.makepyfile(f"import pathlib\ndef test_it():\n    pathlib.Path('ran').touch()\n    {body}")

    if len(words) == 1:
        result = run(project, *words, "--envbuild", "one.yml")
        code, told = result.ret, lines(result)
    else:
        code, told = Debugged(*words, "--envbuild", "one.yml").ended()

    assert code == pytest.ExitCode.USAGE_ERROR
    assert f"{words[0]}: to debug inside an environment takes a terminal as standard input" in told
    assert not (project.path / "ran").exists()


def test_a_breakpoint_where_nobody_could_be_talked_to_fails_its_test_with_that_reason(project: pytest.Pytester) -> None:
    project.makepyfile("def test_stops():\n    print('before')\n    breakpoint()\ndef test_after(): pass")

    result = run(project, "--envbuild", "one.yml")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*nobody can be talked to: *", "before"])


# -- definitions that fail


@pytest.mark.parametrize("how", ["option", "setting"])
@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("none.yml", None, "none.yml"),
        ("bad.yml", "pyhton: '3.11'\n", "pyhton"),
        ("gone.yml", "interpreter: ./nowhere/python\n", "nowhere"),
        ("secret.yml", "interpreter: PYTHON\nsecrets: [MISSING_ONE]\n", "MISSING_ONE"),
        ("envs", None, "no definition in"),
    ],
)
def test_an_environment_for_all_tests_that_cannot_be_had_is_a_usage_error(
    project: pytest.Pytester, how: str, name: str, text: str | None, told: str
) -> None:
    project.makepyfile("import pathlib\ndef test_it(): pathlib.Path('ran').touch()")
    (project.path / "envs").mkdir()
    if text is not None:
        (project.path / name).write_text(text.replace("PYTHON", sys.prefix))
    if how == "setting":
        project.makeini(f"[pytest]\nenvbuild = {name}\n")

    result = run(project, *(["--envbuild", name] if how == "option" else []))

    assert result.ret == pytest.ExitCode.USAGE_ERROR, lines(result)
    assert told in result.stderr.str()
    assert "Traceback" not in lines(result)
    assert not (project.path / "ran").exists()


def test_an_empty_name_is_no_environment(project: pytest.Pytester) -> None:
    result = run(project, "--envbuild", "")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --envbuild: an empty SPEC names no environment"])


def test_a_stale_lock_is_refused_where_only_locked_environments_are_wanted(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(): pass")
    run(project, "--envbuild", "one.yml", "--envbuild-locked")
    assert run(project, "--envbuild", "one.yml").ret == pytest.ExitCode.OK
    with (project.path / "one.yml").open("a") as file:
        file.write("python: '>=3.11'\n")

    result = run(project, "--envbuild", "one.yml", "--envbuild-locked")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *lock*", "*envbuild lock*"])


def test_a_broken_environment_of_a_mark_does_not_stop_tests_in_others(project: pytest.Pytester) -> None:
    (project.path / "bad.yml").write_text("pyhton: '3.11'\n")
    project.makepyfile(
        test_bad="import pytest\n\n@pytest.mark.envbuild('bad.yml')\ndef test_a(): pass",
        test_both="import pytest\n@pytest.mark.envbuild('bad.yml', 'one.yml')\ndef test_b(): pass",
        test_good="import pytest, only_inside\npytestmark = pytest.mark.envbuild('one.yml')\ndef test_c(): pass",
    )

    result = run(project)

    result.assert_outcomes(passed=2, errors=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.re_match_lines([r".*test_bad\.py:3: .*"])
    result.stdout.fnmatch_lines(["*pyhton*"])


def test_a_module_that_cannot_be_imported_here_has_its_marked_tests_run(project: pytest.Pytester) -> None:
    project.makepyfile(
        "import pytest, only_inside\n@pytest.mark.envbuild('one.yml')\ndef test_in(): pass\ndef test_out(): pass"
    )

    result = run(project)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["E   ModuleNotFoundError: No module named 'only_inside'"])


def test_one_definition_by_two_names_is_one_and_two_of_one_environment_are_two(project: pytest.Pytester) -> None:
    project.makepyfile(
        "import os, pytest\n@pytest.mark.envbuild('one.yml', './one.yml', 'two.yml')\n"
        "def test_where(request): assert os.environ['WHERE'] in ('one', 'two')\n"
    )

    result = run(project, "-v")

    names = [line.split(" ")[0].partition("::")[2] for line in result.outlines if " PASSED " in line]
    assert names == ["test_where[one.yml]", "test_where[two.yml]"]


def test_a_registered_name_and_a_folder_of_that_name_are_two(project: pytest.Pytester, away: Path) -> None:
    tools, inner = project.mkdir("tools"), project.mkdir("inner")
    environment(tools, "environment", away, WHERE="folder")
    (tools / "environment.yml").rename(tools / "envbuild.yml")
    registered = environment(away, "tools", away, WHERE="name")
    subprocess.run([sys.executable, "-m", "envbuild", "env", "register", registered], check=True)
    inner.joinpath("test_it.py").write_text(
        "import os, pytest\n@pytest.mark.envbuild('tools')\ndef test_a(): assert os.environ['WHERE'] == 'folder'\n"
        "def test_b(): assert os.environ['WHERE'] == 'name'\n"
    )

    os.chdir(inner)
    result = run(project, "-v", "--rootdir=..", "--envbuild=tools")
    named = run(project, "-v", "--rootdir=..", "--envbuild=tools", "test_it.py::test_b[tools]")

    result.stdout.fnmatch_lines(["*::test_b[[]tools[]] PASSED*", "*::test_a[[]./tools[]] PASSED*"])
    named.assert_outcomes(passed=1)


def test_a_name_is_no_folder_of_the_current_one(project: pytest.Pytester, away: Path) -> None:
    project.makeini("[pytest]\nenvbuild = tools\n")
    registered = environment(away, "tools", away, WHERE="name")
    subprocess.run([sys.executable, "-m", "envbuild", "env", "register", registered], check=True)
    tools = project.mkdir("inner").joinpath("tools")
    tools.mkdir()
    environment(tools, "environment", away, WHERE="folder").rename(tools / "envbuild.yml")
    tools.parent.joinpath("test_it.py").write_text("import os\ndef test_b(): assert os.environ['WHERE'] == 'name'\n")

    os.chdir(tools.parent)
    run(project, "--rootdir=..", "-c", "../tox.ini").assert_outcomes(passed=1)


def test_the_option_wins_over_the_setting(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nenvbuild = two.yml\n")
    project.makepyfile("import os\ndef test_where(): assert os.environ['WHERE'] == 'one'")

    run(project, "--envbuild", "one.yml").assert_outcomes(passed=1)


TWICE = """
import gc, os, signal, weakref, pytest

def state():
    fds = {each: os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd") if int(each) != listing}
    return fds, os.getcwd(), signal.getsignal(signal.SIGTERM), gc.isenabled()

class Kept:
    def pytest_configure(self, config):
        self.config = weakref.ref(config)

listing = os.open("/proc/self/fd", os.O_RDONLY)
os.close(listing)
kept = []
for words in ([], ["--envbuild=one.yml"], ["--envbuild=two.yml"]) * 2:
    before = state()
    kept.append(Kept())
    print("code", int(pytest.main(["-q", "-p", "no:hypothesispytest", *words], plugins=[kept[-1]])))
    assert state() == before, (before, state())
    assert not open(f"/proc/self/task/{os.getpid()}/children").read()
gc.collect()
# pytest itself keeps the first.
print("left", sum(each.config() is not None for each in kept[1:-1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_session_leaves_nothing_to_the_next_in_the_same_process(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_here="import os\ndef test_where(): assert os.environ.get('WHERE') != 'two'\n",
        test_there="import pytest, only_inside\n@pytest.mark.envbuild('two.yml')\ndef test_b(): pass\n",
    )

    result = project.run(sys.executable, "-c", TWICE, timeout=120)

    assert [each for each in result.outlines if each.startswith(("code", "left"))] == [
        *("code 0", "code 0", "code 1", "code 0", "code 0", "code 1"),
        "left 0",
    ], lines(result)


# -- what it costs


@pytest.mark.parametrize("word", ["--help", "--markers", "--fixtures", "--version", "--cache-show"])
def test_telling_something_builds_nothing(project: pytest.Pytester, word: str) -> None:
    project.makepyfile("def test_it(): pass")

    result = run(project, word, "--envbuild", "none.yml")

    assert result.ret == pytest.ExitCode.OK, lines(result)


def test_a_session_that_asks_for_no_environment_imports_next_to_nothing_of_us(project: pytest.Pytester) -> None:
    project.makeconftest(
        "import sys\ndef pytest_unconfigure():\n"
        "    print('imported', sorted(each for each in sys.modules if each.startswith('envbuild')))\n"
    )
    project.makepyfile("def test_it(): pass")

    result = run(project)

    imported = {"envbuild", "envbuild.activation", "envbuild.layout", "envbuild.pytest_plugin"}
    imported |= {f"envbuild.pytest_plugin.{each}" for each in ("conftests", "fixtures", "terminal", "watching")}
    result.stdout.fnmatch_lines([f"imported {sorted(imported)}".replace("[", "[[]")])


# -- where things are


WHERE = "import os, only_inside\ndef test_where(): assert os.environ['WHERE'] == 'one'\n"


def test_tests_are_found_wherever_they_are_asked_for_from(project: pytest.Pytester, tmp_path: Path) -> None:
    marked = WHERE + "import pytest\npytestmark = pytest.mark.envbuild('../one.yml')\n"
    for place in ("sub dir/test_é.py", "pkg/__init__.py", "pkg/inner/__init__.py", "pkg/inner/test_same.py"):
        path = project.path / place
        path.parent.mkdir(exist_ok=True)
        path.write_text(marked.replace("../one", "one") if "test" in place else "")
    same = project.path / "pkg" / "test_same.py"
    same.write_text(marked)
    (project.path / "pkg" / "inner" / "conftest.py").write_text("import only_inside\n")
    (project.path / "link").symlink_to("sub dir")
    for each in ("sub dir", "pkg/inner", "pkg"):
        (project.path / each).chmod(0o555)

    everything = run(project, "-v")
    below = run(
        project, "--rootdir", str(project.path), "-c", str(project.path / "tox.ini"), "pkg", "sub dir/test_é.py"
    )
    os.chdir(project.path / "pkg")
    inside = run(project, "inner", "../sub dir")

    everything.assert_outcomes(passed=4)
    everything.stdout.fnmatch_lines(["link/test_é.py::test_where[[]one.yml] PASSED*"])
    below.assert_outcomes(passed=3)
    inside.assert_outcomes(passed=2)


def test_without_pytests_debugging_tests_run_all_the_same(project: pytest.Pytester) -> None:
    project.makepyfile(WHERE)

    run(project, "--envbuild", "one.yml", "-p", "no:debugging").assert_outcomes(passed=1)


@pytest.mark.parametrize("mode", ["prepend", "append", "importlib"])
def test_import_modes_and_what_is_ignored_are_those_of_pytest(project: pytest.Pytester, mode: str) -> None:
    mark = "import pytest, only_inside\npytestmark = pytest.mark.envbuild('one.yml')\ndef test_{}(): pass\n"
    project.makeini("[pytest]\nnorecursedirs = away\n")
    project.makepyfile(
        **{
            "conftest": "collect_ignore = ['test_ignored.py']\ncollect_ignore_glob = ['ignored_*']",
            "test_ignored": mark.format("ignored"),
            "ignored_folder/test_there": mark.format("there"),
            "away/test_away": mark.format("away"),
            "test_option": mark.format("option"),
            "test_kept": mark.format("kept"),
        }
    )

    result = run(project, f"--import-mode={mode}", "--ignore", "test_option.py", "-v")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["test_kept.py::test_kept[[]one.yml] PASSED*"])


def test_files_outside_the_root_folder_and_packages_by_name_are_run(project: pytest.Pytester, away: Path) -> None:
    outside = away / "outside"
    outside.mkdir()
    (outside / "test_outside.py").write_text(WHERE)
    package = project.path / "mypackage"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "test_in_package.py").write_text(WHERE)

    run(project, "--envbuild", "one.yml", "--rootdir", ".", str(outside)).assert_outcomes(passed=1)
    run(project, "--envbuild", "one.yml", "--pyargs", "mypackage.test_in_package").assert_outcomes(passed=1)
    run(project, "--envbuild", "one.yml", "--pyargs", "mypackage").assert_outcomes(passed=1)

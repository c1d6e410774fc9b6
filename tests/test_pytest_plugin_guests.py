"""The pytest plugin beside other plugins, and beside options that take away what others rely on."""

from __future__ import annotations

import pytest
from support.stage import Stage

ORDERED = "".join(f"def test_{name}(): pass\n" for name in "abcdefgh")

BACKWARDS = {
    "plain": """
import pytest
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items): items.reverse()
""",
    "before others": """
import pytest
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items):
    items.reverse()
    return (yield)
""",
    "after others": """
import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_collection_modifyitems(items):
    yield
    items.reverse()
""",
}

GIVES_WAY = """
def pytest_collection_modifyitems(items):
    print([item.obj.__code__ for item in items])
"""

NOTES = """
import pytest
from pathlib import Path

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    report.lines = {1: {2, 3}, ("a", 4): (5.5, None)}
    report.place = Path("here")
    report.words = ["as", {"they": "are"}]
    return report

def pytest_runtest_logreport(report):
    with Path(__file__).with_name("log.txt").open("a") as log:
        print(report.when, sorted(report.lines.items(), key=str), report.place, report.words, file=log)
"""

RERUNS = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    from _pytest.runner import runtestprotocol

    first = runtestprotocol(item, nextitem=item, log=False)
    for report in first:
        report.outcome = "rerun" if report.failed else report.outcome
    again = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in [*(each for each in first if each.outcome == "rerun"), *again]:
        item.ihook.pytest_runtest_logreport(report=report)
    return True
"""

GIVES_UP = """
import signal
import pytest

def give_up(*_):
    pytest.fail("took too long", pytrace=False)

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    if hasattr(item.config, "workerinput") or not item.name.startswith("test_b"):
        return (yield)
    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
"""


@pytest.mark.parametrize("kind", BACKWARDS)
def test_the_order_that_a_plugin_outside_gives_them_is_the_order_in_which_they_run(stage: Stage, kind: str) -> None:
    stage.install_outside("backwards", BACKWARDS[kind])
    stage.lay({"test_a.py": ORDERED})

    said = stage.inside("-v")

    names = [line.split("::")[1].split("[")[0] for line in said.text.splitlines() if "PASSED" in line]
    assert names == [f"test_{name}" for name in reversed("abcdefgh")], said.text


@pytest.mark.parametrize("kind", BACKWARDS)
@pytest.mark.parametrize("name", ["conftest.py", "backwards.py"])
def test_an_order_that_both_sides_give_is_given_once(stage: Stage, kind: str, name: str) -> None:
    stage.lay({name: BACKWARDS[kind], "test_a.py": ORDERED, "test_b.py": ORDERED})
    stage.monkeypatch.syspath_prepend(stage.folder)
    chosen = [] if name == "conftest.py" else ["-p", "backwards", "-o", "pythonpath=."]

    said = stage.same("-v", *chosen)

    said.has("*test_b.py::test_h*", "*test_a.py::test_a*")


def test_a_plugin_outside_that_stand_ins_are_not_enough_for_is_named(stage: Stage) -> None:
    stage.install_outside("gives_way", GIVES_WAY)
    stage.lay({"test_a.py": ORDERED})

    said = stage.inside()

    assert said.code == 3
    said.has("INTERNALERROR*", "envbuild: this comes from the plugin gives_way.*-p no:gives_way leaves it out*")
    assert stage.inside("-p", "no:gives_way").code == 0


def test_what_a_plugin_puts_on_reports_inside_is_there_outside(stage: Stage) -> None:
    stage.lay({"conftest.py": NOTES, "test_a.py": "def test_a(): pass\n"})

    stage.inside()

    told = [("('a', 4)", "(5.5, None)"), ("1", "{2, 3}")]
    expected = f"[{', '.join(f'({key}, {value})' for key, value in told)}]"
    inside, outside = stage.log[:3], stage.log[3:]
    assert [line.split()[0] for line in outside] == ["setup", "call", "teardown"]
    assert all(expected in line and "{'they': 'are'}" in line for line in (*inside, *outside)), stage.log


def test_a_test_that_a_plugin_inside_tries_again_is_shown_as_such(stage: Stage) -> None:
    flaky = "def test_flaky(tries=[]):\n    tries.append(1)\n    assert len(tries) > 1\n"
    stage.lay({"again.py": RERUNS, "conftest.py": "pytest_plugins = ['again']\n", "test_a.py": flaky})

    said = stage.inside()

    said.has("*1 passed, 1 rerun*")
    assert said.code == 0


def test_a_plugin_outside_that_gives_a_test_up_fails_that_test_alone(stage: Stage) -> None:
    tests = "import time\ndef test_a(): pass\ndef test_b(): time.sleep(60)\ndef test_c(): pass\n"
    stage.lay({"limit.py": GIVES_UP, "conftest.py": "pytest_plugins = ['limit']\n", "test_a.py": tests})

    said = stage.inside()

    assert said.outcomes == {"passed": 2, "failed": 1}, said.text
    said.has("*took too long*")


@pytest.mark.parametrize("blocked", [["terminal"], ["capture"], ["logging", "assertion"], ["cacheprovider"]])
def test_plugins_that_are_not_wanted_are_not_missed(stage: Stage, blocked: list[str]) -> None:
    stage.lay({"test_a.py": "def test_a(): pass\n"})

    assert stage.inside(*(word for name in blocked for word in ("-p", f"no:{name}"))).code == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--envbuild-wrapper", "no-such-program -x"], "no program 'no-such-program'"),
        (["--envbuild-wrapper", "'nice"], "is no command"),
        (["--envbuild-timeout", "-1"], "no number of seconds"),
        (["--envbuild-timeout", "nan"], "no number of seconds"),
        (["--envbuild-args='--x"], "is not quoted as for a shell"),
        (["--envbuild-args=--no-such-option"], "unrecognized arguments: --no-such-option"),
        (["--envbuild-args=-p no:randomly -ktest_a"], "-k is for pytest itself"),
        (["--envbuild-args=--junitxml=a.xml"], "--junitxml is for pytest itself"),
        (["--envbuild-args=--numprocesses=2"], "--numprocesses is for pytest itself"),
        (["--envbuild-args=-n2"], "-n is for pytest itself"),
        (["--envbuild-args=--cov=name"], "--cov is for pytest itself"),
        (["--envbuild-args=test_a.py::test_a"], "which tests are run is said outside"),
        (["--envbuild-args=-- test_a.py"], "'--' is no option"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_before_anything_runs(
    stage: Stage, words: list[str], reason: str
) -> None:
    stage.lay({"test_a.py": "def test_a(): pass\n"})

    said = stage.inside(*words)

    assert said.code == 4
    assert reason in said.err, said.err

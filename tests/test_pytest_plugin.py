"""The pytest plugin: what a suite does, and what is said of it, is the same inside an environment as it is without."""

from __future__ import annotations

import pytest
from support.stage import Stage

LOGGING = """
import pathlib
import pytest

LOG = pathlib.Path(__file__).with_name("log.txt")


def log(text):
    with LOG.open("a") as file:
        file.write(text + "\\n")
"""
"""What suites begin with whose doings are compared."""

FIXTURES = {
    "conftest.py": LOGGING
    + """
@pytest.fixture(scope="session", params=["s1", "s2"])
def session_wide(request):
    log(f"+session {request.param}")
    yield request.param
    log(f"-session {request.param}")


@pytest.fixture(scope="package", autouse=True)
def package_wide():
    log("+package")
    yield
    log("-package")


@pytest.fixture(scope="module", params=["m1", "m2"])
def module_wide(request):
    log(f"+module {request.param}")
    yield request.param
    log(f"-module {request.param}")


@pytest.fixture(scope="class")
def class_wide(request):
    log("+class")
    yield
    log("-class")


@pytest.fixture
def each(request):
    log(f"+each {request.node.originalname}")
    yield
    log(f"-each {request.node.originalname}")


@pytest.fixture(autouse=True)
def told(request):
    yield
    log(f"{request.function.__name__} {request.node.callspec.id if hasattr(request.node, 'callspec') else ''}")
""",
    "test_first.py": """
class TestOne:
    def test_a(self, class_wide, module_wide, each): pass
    def test_b(self, class_wide, session_wide): pass

class TestTwo:
    def test_c(self, class_wide, each, module_wide, session_wide): pass

def test_d(session_wide): pass
def test_e(): pass
def setup_module(): from conftest import log; log("setup_module")
def teardown_module(): from conftest import log; log("teardown_module")
def setup_function(function): from conftest import log; log("setup_function " + function.__name__)
""",
    "inner/conftest.py": """
import pytest
from outer import log

@pytest.fixture
def each(each):
    log("+inner each")
    yield
    log("-inner each")
""",
    "inner/__init__.py": "",
    "inner/test_second.py": """
def test_f(each, module_wide): pass
def test_g(session_wide): pass
""",
}
"""Fixtures of every scope."""


def test_fixtures_of_every_scope_are_set_up_and_torn_down_as_often_and_in_the_same_order(stage: Stage) -> None:
    stage.lay({**FIXTURES, "outer.py": LOGGING})

    stage.same("-v")

    assert len(stage.log) > 60


def test_in_two_environments_each_has_fixtures_of_its_own(stage: Stage) -> None:
    stage.lay({**FIXTURES, "outer.py": LOGGING})
    stage.alone()
    alone = stage.log
    stage.forget()

    said = stage.inside(f"--envbuild={stage.park.write('two.txt', 'pytest==8.0.2')}")

    assert said.outcomes == {"passed": 30}
    assert len(stage.log) == 2 * len(alone)
    assert sorted(stage.log) == sorted(alone * 2)


TROUBLE = {
    "test_teardown.py": """
import pytest

@pytest.fixture
def breaks_before():
    raise ValueError("before")

@pytest.fixture(scope="module")
def breaks_behind():
    yield 1
    raise ValueError("behind")

@pytest.fixture
def finalizers(request):
    request.addfinalizer(lambda: 1 / 0)
    request.addfinalizer(lambda: [][1])

def test_a(breaks_behind): pass
def test_b(breaks_before): pass
def test_c(finalizers): assert 0
def test_d(breaks_behind): print("the last with it")
""",
    "test_skips.py": """
import sys
import pytest

@pytest.mark.skip(reason="not now")
def test_a(): pass
@pytest.mark.skipif("sys.platform == 'linux'", reason="no linux")
def test_b(): pass
@pytest.mark.skipif(sys.version_info > (3,), reason="too new")
def test_c(): pass
def test_d(): pytest.skip("in the middle")
def test_e(): pytest.importorskip("not_there")
@pytest.mark.xfail(reason="known")
def test_f(): assert 0
@pytest.mark.xfail(reason="known no more")
def test_g(): pass
@pytest.mark.xfail(strict=True, reason="strict")
def test_h(): pass
@pytest.mark.xfail(raises=KeyError)
def test_i(): raise IndexError
def test_j(): pytest.xfail("gave up")
@pytest.mark.xfail(run=False, reason="crashes")
def test_k(): raise SystemExit
@pytest.fixture
def skips(): pytest.skip("from a fixture")
def test_l(skips): pass
""",
    "test_module_skipped.py": "import pytest\npytest.skip('all of it', allow_module_level=True)\ndef test_a(): pass\n",
    "test_module_lacking.py": "import pytest\nthere = pytest.importorskip('not_there')\ndef test_a(): pass\n",
    "test_no_module.py": "import not_there\ndef test_a(): pass\n",
    "test_no_syntax.py": "def test_a(: pass\n",
    "test_output.py": """
import logging, sys, os, warnings
import pytest

@pytest.fixture
def noisy():
    print("out of a fixture")
    logging.getLogger("suite").warning("from setup")
    yield
    print("out of teardown")
    sys.stderr.write("err of teardown\\n")

def test_a(noisy):
    print("out"); print("err", file=sys.stderr); os.system("echo of a child")
    logging.getLogger("suite").error("logged %s", 1)
    assert 0

def test_b():
    warnings.warn("a warning")
    warnings.warn("old", DeprecationWarning)
    class Own(UserWarning): pass
    warnings.warn(Own("of the suite"))

def test_c():
    with pytest.warns(UserWarning, match="x"):
        warnings.warn("x")
    with pytest.raises(ValueError, match="y"):
        raise ValueError("z")
""",
    "test_asserts.py": """
import dataclasses
import pytest

@dataclasses.dataclass
class Point:
    x: int
    y: int

def helper(value):
    __tracebackhide__ = True
    if value: pytest.fail(f"helper says {value}")

def recurses(n): return recurses(n + 1)

def test_text(): assert "one\\ntwo\\nthree" == "one\\n2\\nthree"
def test_set(): assert {1, 2, 3} == {2, 3, 4}
def test_long(): assert list(range(100)) == [*range(99), 5]
def test_point(): assert Point(1, 2) == Point(1, 3)
def test_in(): assert "x" in "abc" * 30
def test_not(): assert not [1]
def test_call(): assert max(1, 2) == min(3, 4), "with a message"
def test_approx(): assert 0.1 + 0.2 == pytest.approx(0.4)
def test_hidden(): helper(3)
def test_chained():
    try:
        {}["k"]
    except KeyError as error:
        raise RuntimeError("from it") from error
def test_group(): raise ExceptionGroup("several", [ValueError(1), TypeError("2")])
def test_recursion(): recurses(0)
def test_unicode(): assert "ä€😀" == "ä€"
def test_exit(): raise SystemExit(3)
def test_return():  return 1 == 1
""",
}
"""Suites in which much goes wrong."""


@pytest.mark.parametrize(
    "words",
    [
        ["-rA", "--continue-on-collection-errors"],
        ["-vv", "-l", "--tb=long", "-ra", "test_asserts.py", "test_skips.py", "test_teardown.py"],
        ["-q", "--tb=short", "--no-header", "--show-capture=log", "--runxfail", "--continue-on-collection-errors"],
        ["-W", "error", "--tb=line", "-rxXs", "--continue-on-collection-errors"],
        ["--capture=sys", "--color=yes", "--continue-on-collection-errors"],
        ["--tb=native", "-q", "-q", "--disable-warnings", "--assert=plain", "test_asserts.py", "test_teardown.py"],
        ["-s", "--tb=no", "test_output.py", "test_teardown.py"],
        ["--setup-show", "--tb=no", "test_output.py", "test_teardown.py"],
        ["-o", "log_cli=true", "-o", "xfail_strict=true", "-x", "test_skips.py", "test_output.py"],
        [],
    ],
    ids=" ".join,
)
def test_what_goes_wrong_is_told_in_the_same_words(stage: Stage, words: list[str]) -> None:
    stage.lay({**TROUBLE, "pytest.ini": "[pytest]\nasyncio_default_fixture_loop_scope = function\n"})

    stage.same(*words)

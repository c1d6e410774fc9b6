"""The pytest plugin: all kinds of suites, selections and settings do inside an environment what they do without one."""

from __future__ import annotations

import pytest
from support.stage import Stage

KINDS = {
    "pytest.ini": """
[pytest]
asyncio_default_fixture_loop_scope = function
asyncio_mode = auto
markers = slow: takes long
""",
    "conftest.py": """
import pathlib
import pytest

LOG = pathlib.Path(__file__).with_name("log.txt")

def pytest_addoption(parser):
    parser.addoption("--runslow", action="store_true", help="run slow tests")
    parser.addini("greeting", "what to say", default="hello")

def pytest_collection_modifyitems(config, items):
    for item in items:
        if "slow" in item.keywords and not config.getoption("--runslow"):
            item.add_marker(pytest.mark.skip(reason="need --runslow option to run"))

def pytest_generate_tests(metafunc):
    if "generated" in metafunc.fixturenames:
        metafunc.parametrize("generated", ["g1", "g2"])

def pytest_collect_file(parent, file_path):
    if file_path.suffix == ".yaml":
        return YamlFile.from_parent(parent, path=file_path)

class YamlFile(pytest.File):
    def collect(self):
        for line in self.path.read_text().splitlines():
            name, _, value = line.partition(": ")
            yield YamlItem.from_parent(self, name=name, value=value)

class YamlItem(pytest.Item):
    def __init__(self, *, value, **options):
        super().__init__(**options)
        self.value = value
    def runtest(self):
        if self.value == "bad":
            raise ValueError(self.name)
    def repr_failure(self, excinfo, style=None):
        return f"{self.name} is bad"
    def reportinfo(self):
        return self.path, 0, f"usecase: {self.name}"

@pytest.fixture
def doubled(request):
    return request.param * 2

def pytest_report_teststatus(report, config):
    if report.when == "call" and report.passed and "fancy" in report.nodeid:
        return "fancy", "*", "FANCY"
""",
    "test_kinds.py": """
import asyncio, logging, os, sys, unittest, warnings
import pytest
import toolz
from hypothesis import given, strategies

@pytest.mark.slow
def test_slow(): pass
def test_option(pytestconfig):
    assert pytestconfig.getoption("runslow") is False
    assert pytestconfig.getini("greeting") == "hello"
def test_generated(generated): assert generated == "g1"
@pytest.mark.parametrize("value", ["ä", "a/b", "a[b]", "a::b", " ", "", "x" * 30, 1.5, None, b"\\xff", print])
def test_ids(value): pass
@pytest.mark.parametrize("doubled", [1, 2], indirect=True)
@pytest.mark.parametrize("other", [pytest.param(1, id="one"), pytest.param(2, marks=pytest.mark.xfail)])
def test_indirect(doubled, other): assert other == 1 and doubled in (2, 4)
async def test_async():
    await asyncio.sleep(0)
    assert asyncio.get_running_loop()
@given(strategies.integers())
def test_property(n): assert n < 100
def test_fancy(): pass

def test_caplog(caplog):
    with caplog.at_level(logging.INFO):
        logging.getLogger().info("said")
    assert caplog.messages == ["said"]
def test_capfd(capfd):
    os.system("echo x")
    assert capfd.readouterr().out == "x\\n"
def test_capsys(capsys):
    print("y")
    assert capsys.readouterr().out == "z\\n"
def test_monkeypatch(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path); monkeypatch.setenv("A", "1"); monkeypatch.syspath_prepend(tmp_path)
def test_recwarn(recwarn):
    warnings.warn("w")
    assert len(recwarn) == 1
def test_factory(tmp_path_factory, tmp_path):
    assert tmp_path_factory.mktemp("a").parent == tmp_path.parent == tmp_path_factory.getbasetemp()
def test_where(): assert os.environ["PYTEST_CURRENT_TEST"].startswith("test_kinds.py::test_where")
def test_subtests(subtests):
    for n in range(3):
        with subtests.test("odd", n=n):
            assert n % 2 == 0

class TestState:
    @classmethod
    def setup_class(cls): cls.n = 0
    def setup_method(self, method): type(self).n += 1
    def test_a(self): assert self.n == 1
    def test_b(self): assert self.n == 1
    class TestNested:
        def test_c(self): pass

class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls): cls.made = 1
    @classmethod
    def tearDownClass(cls): raise OSError("down")
    def setUp(self): self.addCleanup(print, "cleaned")
    @unittest.skip("by unittest")
    def test_skipped(self): pass
    @unittest.expectedFailure
    def test_expected(self): self.fail()
    def test_equal(self): self.assertEqual([1], [2])

class AsyncCase(unittest.IsolatedAsyncioTestCase):
    async def test_it(self): self.assertTrue(True)

class Broken(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise OSError("up")
    def test_never(self): pass
""",
    "cases.yaml": "one: good\ntwo: bad\n",
    "documented.py": """
def double(n):
    '''Double.

    >>> double(2)
    4
    >>> double(3)
    7
    '''
    return n * 2
""",
    "README.txt": ">>> 1 + 1\n2\n\n>>> 1 + 1\n3\n",
    "deep/er/conftest.py": "import pytest\n@pytest.fixture\ndef value(): return 'deep'\n",
    "deep/er/test_deep.py": """
def test_value(value, cache):
    cache.set('a/b', value)
    assert cache.get('a/b', None) == 'deep'
""",
}
"""Tests of every kind."""


@pytest.mark.parametrize(
    "words",
    [
        ["-v", "--doctest-modules", "--doctest-glob=*.txt", "-rA"],
        ["--runslow", "-k", "slow or option or ids or State", "--import-mode=importlib", "-v"],
    ],
    ids=" ".join,
)
def test_tests_of_every_kind_are_found_run_and_told_of_in_the_same_way(stage: Stage, words: list[str]) -> None:
    stage.lay(KINDS)

    stage.same(*words)


SELECTED = {
    "test_one.py": """
import time
import pytest
def test_a(): pass
def test_b(): assert 0
@pytest.mark.slow
def test_c(): time.sleep(0.02)
def test_d(): assert 0
""",
    "below/test_two.py": "def test_e(): pass\ndef test_f(): assert 0\nclass TestG:\n    def test_h(self): pass\n",
    "other/test_three.py": "import pytest\n@pytest.mark.parametrize('n', [1, 2])\ndef test_i(n): assert n == 1\n",
    "tox.ini": """
[pytest]
markers = slow: takes long
testpaths = test_one.py below
""",
}


@pytest.mark.parametrize(
    "words",
    [
        ["-x"],
        ["--maxfail=2"],
        ["-k", "a or (TestG and not f)", "-v"],
        ["-m", "not slow", "--durations=1", "--durations-min=0.01"],
        ["--collect-only"],
        ["--collect-only", "-q", ".", "--ignore=below"],
        ["--deselect", "below/test_two.py", "-q"],
        ["--strict-markers", "--strict-config", "-m", "slow", "-vv"],
        ["-k", "nothing"],
        ["-k", "a and"],
        ["--not-an-option"],
        ["other", "--rootdir=other", "-c", "other/own.ini"],
        ["below", "other", "-p", "no:cacheprovider", "-o", "addopts=-q"],
        ["--confcutdir=below", "--junitxml=junit.xml", "below/test_two.py"],
    ],
    ids=" ".join,
)
def test_what_is_selected_runs_and_ends_the_same(stage: Stage, words: list[str]) -> None:
    stage.lay({**SELECTED, "other/own.ini": "[pytest]\naddopts = -v\n"})

    stage.same(*words)


def test_the_parts_of_a_unittest_are_told_of_each(stage: Stage) -> None:
    stage.lay(
        {
            "test_parts.py": "import unittest\nclass Case(unittest.TestCase):\n    def test_a(self):\n"
            "        for n in range(3):\n            with self.subTest(n=n):\n                self.assertEqual(n, 1)\n"
        }
    )

    said = stage.inside()

    said.has("SUBFAILED(n=0) test_parts.py::Case::test_a* - AssertionError: 0 != 1", "SUBFAILED(n=2) *")
    assert said.outcomes == stage.alone().outcomes


def test_what_failed_last_is_run_first_or_alone_and_stepwise_goes_on_where_it_stopped(stage: Stage) -> None:
    stage.lay({**SELECTED, "test_one.py": SELECTED["test_one.py"].replace("test_b(): assert 0", "test_b(): pass")})
    wordings = (["-q"], ["--lf", "-v"], ["--ff", "-v"], ["--nf", "-v"], ["--sw", "-v"], ["--sw", "--sw-skip", "-v"])

    def all_of_them(run: object) -> list[list[str]]:
        return [run(*words).plain for words in wordings]  # type: ignore[operator]

    alone = all_of_them(stage.alone)
    stage.forget()
    assert all_of_them(stage.inside) == alone

"""Tests that passed before in the same environment, with the same files, can be left out."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.pytest_plugin.records import Files, Findings, Pass, Record, fingerprint, read, write


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Where environments are built, once for all tests."""
    folder = tmp_path_factory.mktemp("shop")
    pyenv = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    return {
        "ENVBUILD_WORKSPACE": str(folder / "workspace"),
        "UV_CACHE_DIR": str(folder / "uv-cache"),
        "PYENV_ROOT": pyenv,
    }


class Suite:
    """A small suite of a test's own."""

    def __init__(self, pytester: pytest.Pytester, lacking: Callable[[str, str], None]) -> None:
        self.pytester = pytester
        self.folder = pytester.path
        self.said = ""
        self._lacking = lacking
        self.write({"pytest.ini": "[pytest]\n", "requirements.txt": ""})

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    def run(self, *words: str, spec: str = "requirements.txt", code: int | None = None) -> set[str]:
        """Run what has not passed before, and give the names of the tests that were run."""
        return self.plain("--envbuild-skip-passed", *words, spec=spec, code=code)

    def plain(self, *words: str, spec: str = "requirements.txt", code: int | None = None) -> set[str]:
        """Run all tests."""
        done = self.pytester.runpytest_subprocess("-rA", f"--envbuild={spec}", *words, timeout=180)
        self.said = f"{done.stdout}\n{done.stderr}"
        if "cannot be reached" in self.said or "cannot be fetched" in self.said:
            self._lacking("network", f"no index of packages can be reached: {self.said}")
        assert "INTERNALERROR" not in self.said, self.said
        assert code is None or done.ret == code, self.said
        ran = re.findall(r"^(?:PASSED|FAILED|ERROR|XFAIL|SKIPPED) .*?::(\S+?)\[", self.said, re.MULTILINE)
        return set(ran)

    @property
    def record(self) -> Path:
        """The file in which is kept what has passed."""
        (found,) = (self.folder / ".pytest_cache/d/envbuild-passed").glob("*.json")
        return found


@pytest.fixture
def suite(
    pytester: pytest.Pytester,
    shop: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    lacking: Callable[[str, str], None],
) -> Suite:
    for name in list(os.environ):
        if name.startswith(("PYTEST_", "COV_", "ENVBUILD_")):
            monkeypatch.delenv(name)
    for name, value in shop.items():
        monkeypatch.setenv(name, value)
    # What a test does must not depend on how old the bytecode of the one before is.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return Suite(pytester, lacking)


READING = {
    "tests/conftest.py": """
        import pytest, rates

        @pytest.fixture
        def small():
            with open("data/small.txt") as stream:
                return stream.read()

        @pytest.fixture(scope="session")
        def large():
            with open("data/large.txt") as stream:
                return stream.read()
    """,
    "tests/rates.py": "RATE = 2\n",
    "tests/test_first.py": """
        import pytest
        from pathlib import Path
        from shared.tax import tax

        DATA = Path(__file__).parents[1] / "data"

        def test_tax(): assert tax()
        def test_reads(): assert (DATA / "read.txt").read_text()
        def test_uses_a_fixture(small): assert small
        def test_lists(): assert list(DATA.glob("*.csv")) is not None
        def test_perhaps():
            try:
                (DATA / "local.txt").read_text()
            except FileNotFoundError:
                pass
    """,
    "tests/test_second.py": """
        from functools import lru_cache
        import shared

        @lru_cache
        def kept():
            return open("data/kept.txt").read()

        def test_cached(): assert kept()
        def test_cached_again(): assert kept()
        def test_imports_late():
            from shared import late
            assert late.NAME
    """,
    "tests/test_third.py": """
        def test_large(large): assert large
        def test_alone(): pass
    """,
    "shared/__init__.py": "",
    "shared/tax.py": "from shared import zones\ndef tax(): return zones.COUNT\n",
    "shared/zones.py": "COUNT = 3\n",
    "shared/late.py": "NAME = 'late'\n",
    **{f"data/{name}.txt": "1" for name in ("read", "small", "large", "kept")},
}

FIRST = {"test_tax", "test_reads", "test_uses_a_fixture", "test_lists", "test_perhaps"}
SECOND = {"test_cached", "test_cached_again", "test_imports_late"}
THIRD = {"test_large", "test_alone"}


def dedented(files: Mapping[str, str]) -> dict[str, str]:
    from textwrap import dedent

    return {name: dedent(text) for name, text in files.items()}


def test_only_what_depends_on_a_changed_file_is_run_again(suite: Suite) -> None:
    suite.write({**dedented(READING), "pytest.ini": "[pytest]\npythonpath = .\n"})
    assert suite.run(code=0) == FIRST | SECOND | THIRD
    assert suite.run(code=0) == set()
    assert re.search(r"envbuild: 10 tests passed before in requirements\.txt sha256:\w+ with the same", suite.said)
    later = READING["tests/test_third.py"] + "\n"
    changes: list[tuple[dict[str, str], set[str]]] = [
        ({"tests/test_third.py": later, "shared/late.py": "NAME = 'later'\n"}, {*THIRD, "test_imports_late"}),
        ({"shared/zones.py": "COUNT = 4\n"}, FIRST),
        ({"data/read.txt": "2", "data/small.txt": "2"}, {"test_reads", "test_uses_a_fixture"}),
        ({"data/kept.txt": "2"}, {"test_cached", "test_cached_again"}),
        ({"data/local.txt": "2"}, {"test_lists", "test_perhaps"}),
        # A session's fixture may be used by whoever comes later.
        ({"data/large.txt": "2"}, THIRD),
        ({"shared/conftest.py": "", "unrelated.txt": "1"}, set()),
        ({"tests/rates.py": "RATE = 3\n"}, FIRST | SECOND | THIRD),
    ]
    for files, affected in changes:
        suite.write(dedented(files))
        assert suite.run(code=0) == affected, f"{list(files)} have changed\n{suite.said}"
    assert suite.run(code=0) == set()
    (suite.folder / "data/read.txt").unlink()
    assert suite.run(code=1) == {"test_reads", "test_lists"}
    suite.write({"conftest.py": ""})
    assert suite.run(code=1) == FIRST | SECOND | THIRD


def test_what_does_not_pass_is_always_run_and_what_ran_in_a_lost_worker_too(suite: Suite) -> None:
    tests = """
        import os, pytest

        def test_passes(): pass
        def test_fails(): assert 0
        def test_skips(): pytest.skip("today")
        @pytest.mark.xfail(reason="not yet")
        def test_is_expected_to_fail(): assert 0

        @pytest.fixture
        def broken():
            yield
            raise ValueError
        def test_is_not_torn_down(broken): pass
    """
    suite.write(dedented({"test_it.py": tests}))
    others = {"test_fails", "test_skips", "test_is_expected_to_fail", "test_is_not_torn_down"}
    assert suite.run("-k", "passes", code=0) == {"test_passes"}
    # It is torn down after it has passed; the summary names it both times.
    assert {"test_fails", "test_is_not_torn_down"} < suite.run(code=1) <= others | {"1"}
    assert suite.run("--collect-only", "-q", code=0) == set()
    assert "test_passes[" not in suite.said
    assert "test_fails[" in suite.said

    suite.write({"test_later.py": "import os\ndef test_first(): pass\ndef test_crash(): os._exit(3)\n"})
    assert suite.run("test_later.py", code=1) == {"test_first", "test_crash"}
    assert suite.run("test_later.py", code=1) == {"test_first", "test_crash"}


def test_a_test_that_fails_without_the_option_has_not_passed_any_more(suite: Suite) -> None:
    suite.write({"test_it.py": "import os\ndef test_it(): assert 'BROKEN' not in os.environ\ndef test_b(): pass\n"})
    suite.plain(code=0)
    assert not (suite.folder / ".pytest_cache/d").exists()
    suite.run(code=0)
    before = suite.record.read_bytes()
    suite.plain(code=0)
    assert suite.record.read_bytes() == before
    suite.pytester._monkeypatch.setenv("BROKEN", "1")
    suite.plain(code=1)
    assert suite.run(code=1) == {"test_it"}


def test_another_environment_or_other_options_have_all_tests_run(suite: Suite) -> None:
    suite.write({"test_it.py": "def test_it(): pass\n", "packages.txt": "iniconfig\n", "again.txt": ""})
    suite.write({"data/x.bin": "1"})
    assert suite.run(code=0) == {"test_it"}
    assert suite.run(spec="again.txt", code=0) == set()
    assert suite.run(spec="packages.txt", code=0) == {"test_it"}
    assert suite.run(spec="packages.txt", code=0) == set()
    suite.write({"some.yml": "variables:\n  VALUE: '1'\n"})
    assert suite.run(spec="some.yml", code=0) == {"test_it"}
    suite.write({"some.yml": "variables:\n  VALUE: '2'\n"})
    assert suite.run(spec="some.yml", code=0) == {"test_it"}
    assert suite.run("-W", "error", code=0) == {"test_it"}
    assert suite.run("-W", "error", "-vv", "--tb=short", code=0) == set()
    suite.write({"pytest.ini": "[pytest]\nenvbuild_skip_passed = true\nenvbuild_depends = data/*.bin\n"})
    assert suite.plain(code=0) == {"test_it"}
    suite.write({"data/x.bin": "2"})
    assert suite.plain(code=0) == {"test_it"}
    assert suite.plain(code=0) == set()


def test_options_that_only_the_environment_knows_count(suite: Suite) -> None:
    option = "import only_inside\ndef pytest_addoption(parser): parser.addoption('--level')\n"
    package = "[project]\nname = 'only-inside'\nversion = '1'\n[build-system]\nrequires = ['hatchling']\n"
    package += "build-backend = 'hatchling.build'\n"
    suite.write({"conftest.py": option, "test_a.py": "def test_a(): pass\n", "requirements.txt": "./package\n"})
    suite.write({"package/pyproject.toml": package, "package/only_inside.py": ""})

    ran = [suite.run("test_a.py", *words, code=0) for words in (["--level=1"], ["--level=1"], ["--level=2"])]
    ran += [suite.run("test_a.py", "--level=2", "--envbuild-args=-W error", code=0) for _ in range(2)]

    assert ran == [{"test_a"}, set(), {"test_a"}, {"test_a"}, set()]


def test_tests_that_need_one_another_or_start_processes_are_always_run(suite: Suite) -> None:
    tests = """
        import json, multiprocessing, os, subprocess, sys
        from pathlib import Path
        OUT = Path("out.json")

        def test_own_file():
            own = Path("own.txt")
            own.write_text("1")
            assert own.read_text()
        def test_writes(): OUT.write_text("{}")
        def test_alone(tmp_path):
            (tmp_path / "a").write_text("a")
            assert (tmp_path / "a").read_text()
        def test_reads_it(): assert json.loads(OUT.read_text()) == {}
        def test_starts(): subprocess.run([sys.executable, "-c", "0"], check=True)
        def test_spawns():
            process = multiprocessing.get_context("spawn").Process(target=print)
            process.start()
            process.join()
        def test_forks():
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)
        def test_changes_what_it_reads():
            count = Path("count.txt")
            count.write_text(str(int(count.read_text()) + 1))
        def test_link(): assert Path("link.txt").read_text()
    """
    suite.write(dedented({"test_it.py": tests, "count.txt": "1", "real/a.txt": "1", "real/b.txt": "2"}))
    link = suite.folder / "link.txt"
    link.symlink_to("real/a.txt")
    suite.run(code=0)
    always = {"test_writes", "test_reads_it", "test_starts", "test_spawns", "test_forks", "test_changes_what_it_reads"}
    assert suite.run(code=0) == always
    link.unlink()
    link.symlink_to("real/b.txt")
    assert suite.run(code=0) == {*always, "test_link"}
    # Without the one that writes it, what is read is a file like others; with it, it is not.
    assert suite.run("-k", "reads_it", code=0) == {"test_reads_it"}
    assert "test_reads_it" in suite.run(code=0)


def test_a_module_that_comes_to_stand_before_another_counts(suite: Suite) -> None:
    suite.write({"pytest.ini": "[pytest]\npythonpath = first second\n", "second/price.py": "PRICE = 1\n"})
    suite.write({"first/empty.py": "", "test_it.py": "import price\ndef test_it(): assert price.PRICE == 1\n"})
    perhaps = """
        def test_perhaps():
            try:
                import local
            except ImportError:
                return
            assert local.FINE
        def test_other(): pass
    """
    suite.write(dedented({"test_other.py": perhaps}))
    assert suite.run(code=0) == {"test_it", "test_other", "test_perhaps"}
    suite.write({"first/price.py": "PRICE = 2\n"})
    assert suite.run(code=1) == {"test_it"}
    suite.write({"second/local.py": "FINE = False\n"})
    assert suite.run(code=1) == {"test_it", "test_perhaps"}


def test_a_warning_about_an_import_is_for_whoever_imports(suite: Suite) -> None:
    suite.write({"old.py": "import warnings\nwarnings.warn('old', DeprecationWarning, stacklevel=2)\n"})
    suite.write({"test_it.py": "def test_it():\n    import old\n"})
    suite.run(code=0)
    assert "test_it.py:2: DeprecationWarning: old" in suite.said


def test_processes_among_which_tests_are_distributed_record_together(
    suite: Suite, lacking: Callable[[str, str], None]
) -> None:
    suite.write({f"test_{name}.py": f"def test_{name}1(): pass\ndef test_{name}2(): pass\n" for name in "abcd"})
    everything = {f"test_{name}{number}" for name in "abcd" for number in (1, 2)}
    assert suite.run("-n4", code=0) == everything
    suite.write({"test_b.py": "def test_b1(): pass\ndef test_b2(): pass\ndef test_b3(): assert 0\n"})
    assert suite.run("-n2", code=1) == {"test_b1", "test_b2", "test_b3"}
    assert "envbuild: 6 tests passed before" in suite.said
    assert suite.run(code=1) == {"test_b3"}
    (suite.folder / "test_b.py").unlink()
    assert suite.run("-n2", code=0) == set()


def test_a_damaged_record_is_told_of_and_not_used(suite: Suite) -> None:
    suite.write({"test_it.py": "def test_it(): pass\n"})
    suite.run(code=0)
    suite.record.write_text(suite.record.read_text()[:-20])
    assert suite.run(code=0) == {"test_it"}
    assert "envbuild: what passed before in requirements.txt is not used, its record cannot be read" in suite.said
    assert suite.run(code=0) == set()
    suite.plain("--envbuild-skip-passed", "-p", "no:cacheprovider", code=4)
    assert "which -p no:cacheprovider turns off" in suite.said


@pytest.mark.parametrize("version", ["3.8", "3.13"])
def test_other_pythons_see_what_tests_depend_on(
    suite: Suite, version: str, interpreters: Mapping[str, Path], lacking: Callable[[str, str], None]
) -> None:
    if version not in interpreters:
        lacking("pythons", f"no Python {version} found")
    suite.write({"env.yml": f"python: '{version}'\n", "helper.py": "X = 1\n", "data.txt": "1"})
    suite.write({"test_it.py": "import helper\ndef test_it(): assert helper.X\n"})
    suite.write({"test_data.py": "def test_data(): open('data.txt').close()\n"})
    suite.write({"test_run.py": "import subprocess\ndef test_run(): subprocess.run('true')\n"})
    assert suite.run(spec="env.yml", code=0) == {"test_it", "test_data", "test_run"}
    suite.write({"helper.py": "X = 2\n"})
    assert suite.run(spec="env.yml", code=0) == {"test_it", "test_run"}
    suite.write({"data.txt": "2"})
    assert suite.run(spec="env.yml", code=0) == {"test_data", "test_run"}


names = st.text(min_size=1, max_size=8)
passes = st.dictionaries(
    names,
    st.builds(Pass, st.sets(names, max_size=4).map(lambda found: tuple(sorted(found))), st.just("0" * 64)),
    max_size=6,
)


@given(st.dictionaries(names, names), st.randoms())
def test_a_fingerprint_does_not_depend_on_the_order_of_files(contents: dict[str, str], random: object) -> None:
    shuffled = list(contents.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fingerprint("", dict(shuffled)) == fingerprint("", contents)


@given(st.dictionaries(names, names), st.dictionaries(names, names), names, names)
def test_fingerprints_of_different_things_differ(
    one: dict[str, str], other: dict[str, str], circumstances: str, others: str
) -> None:
    are_same = (circumstances, one) == (others, other)
    assert (fingerprint(circumstances, one) == fingerprint(others, other)) == are_same


@given(passes, st.dictionaries(names, st.lists(names), max_size=3))
def test_a_record_is_read_as_it_was_written(passed: dict[str, Pass], writes: dict[str, list[str]]) -> None:
    record = Record(passed, writes)
    assert Record.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    findings = Findings("x", ["a"], passed, ["b"], ["d"], writes, ["c"])
    assert Findings.from_dict(json.loads(json.dumps(findings.to_dict()))) == findings


@given(st.recursive(st.none() | st.integers() | st.text(), lambda each: st.lists(each) | st.dictionaries(names, each)))
def test_whatever_stands_in_the_place_of_a_record_is_refused_as_such(found: object) -> None:
    good = Record({"test_a.py::test": Pass(("a",), "0" * 64)}).to_dict()
    for key in good:
        damaged = {**good, key: found}
        try:
            assert isinstance(Record.from_dict(damaged), Record)
        except ValueError:
            continue
    with pytest.raises(ValueError):
        Record.from_dict(found)  # type: ignore[arg-type]


def test_a_record_keeps_what_was_not_run_and_forgets_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a.py").touch()
    (tmp_path / "b.py").touch()
    old, new = Pass(("a.py",), "0" * 64), Pass(("a.py",), "1" * 64)
    before = Record(dict.fromkeys(("a.py::kept", "a.py::gone", "a.py::ran", "b.py::other", "c.py::deleted"), old))
    findings = Findings("x", collected=["a.py::kept", "a.py::ran", "a.py::new"], run=["a.py::ran", "a.py::new"])
    findings.passed["a.py::new"] = new
    after = before.after(findings, tmp_path)
    assert after.passed == {"a.py::kept": old, "b.py::other": old, "a.py::new": new}


def test_records_are_few(tmp_path: Path) -> None:
    for number in range(30):
        write(tmp_path, f"sha256:{number:064x}", Record())
        os.utime(tmp_path / f"{number:064x}.json", (number + 1, number + 1))
    assert len(list(tmp_path.iterdir())) <= 21
    assert read(tmp_path, f"sha256:{29:064x}") == Record()
    assert not (tmp_path / f"{0:064x}.json").exists()


def test_what_is_in_a_file_is_told_whatever_it_is(tmp_path: Path) -> None:
    files = Files(tmp_path)
    assert files.content("a") == "absent"
    (tmp_path / "a").write_text("1")
    first = files.content("a")
    (tmp_path / "a").write_text("2")
    assert files.content("a") != first
    folder = files.content(".")
    (tmp_path / "__pycache__").mkdir()
    assert files.content(".") == folder
    (tmp_path / "b").touch()
    assert files.content(".") != folder
    os.mkfifo(tmp_path / "pipe")
    assert files.content("pipe") == "other"

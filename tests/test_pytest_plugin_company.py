"""The pytest plugin: plugins that are installed in the environment, or there and outside, work as without us."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from support.stage import Stage

PYTEST = f"pytest=={version('pytest')}"

FLAKY = """
import pytest
counts = {}
def count(name):
    counts[name] = counts.get(name, 0) + 1
    return counts[name]
@pytest.mark.flaky(reruns=2)
def test_passes_in_the_end():
    print("try", count("a"))
    assert counts["a"] > 2
@pytest.mark.flaky(reruns=1)
def test_fails_in_the_end(): assert 0
@pytest.fixture
def unsteady():
    if count("b") < 2: raise OSError("setup")
@pytest.mark.flaky(reruns=1)
def test_setup(unsteady): pass
def test_plain(): pass
"""

SNAPSHOTS = {
    "test_a.py": """
def test_a(snapshot): assert {"a": 1} == snapshot
def test_b(snapshot): assert "text" == snapshot
class TestC:
    def test_c(self, snapshot): assert 1 == snapshot
""",
    "__snapshots__/test_a.ambr": """# serializer version: 1
# name: TestC.test_c
  1
# ---
# name: test_a
  dict({
    'a': 2,
  })
# ---
# name: test_unused
  'old'
# ---
""",
}

HANGS = """
import time
import pytest
@pytest.mark.timeout(0.5)
def test_hangs():
    print("before")
    time.sleep(30)
def test_after(): pass
@pytest.fixture
def hangs(): time.sleep(30)
@pytest.mark.timeout(0.5)
def test_setup(hangs): pass
"""

PARTS = """
import pytest
def test_parts(subtests):
    for n in range(4):
        with subtests.test("odd", n=n):
            assert n % 2 == 0
def test_later(): assert 0
"""

UNCLEAN = """
import asyncio
def test_never_awaited():
    async def never(): pass
    never()
    import gc; gc.collect()
def test_left_open():
    open(__file__)
    import gc; gc.collect()
"""


@pytest.mark.parametrize("beside", [[], ["pytest-xdist"], ["pytest-xdist", "pytest-random-order"]])
@pytest.mark.parametrize("words", [["-v"], ["-x"]])
def test_what_is_tried_again_inside_is_told_of_as_often(stage: Stage, beside: list[str], words: list[str]) -> None:
    stage.move("-".join(["flaky", *beside]), PYTEST, "pytest-rerunfailures>=16", *beside)
    stage.lay({"test_a.py": FLAKY})
    # What pytest-random-order says of itself at the top is said in a line of ours.
    quiet = ["-q"] if "pytest-random-order" in beside else []

    said = stage.inside(*words) if quiet else stage.same(*words)

    said.has("*rerun*")
    assert said.code == 1


@pytest.mark.parametrize("words", [[], ["-v"], ["-k", "test_b"], ["test_a.py::test_b"]])
def test_what_a_plugin_inside_says_at_the_end_is_said(stage: Stage, words: list[str]) -> None:
    stage.move("snapshots", PYTEST, "syrupy>=5")
    stage.lay(SNAPSHOTS)

    said = stage.same(*words)

    said.has("*snapshot report summary*")


def test_a_plugin_inside_knows_which_tests_are_chosen_outside(stage: Stage) -> None:
    stage.move("snapshots", PYTEST, "syrupy>=5")
    stage.share("syrupy")
    stage.lay(SNAPSHOTS)
    kept = stage.folder / "__snapshots__" / "test_a.ambr"

    said = stage.inside("--snapshot-update", "test_a.py::test_b")

    # Those of the others are still there: what was not to be run is not unused.
    assert {"# name: TestC.test_c", "# name: test_a", "# name: test_b"} <= set(kept.read_text().splitlines()), said.text
    said.has("*1 snapshot generated.*", "*1 passed*")


@pytest.mark.parametrize("words", [["-n2"], ["--collect-only"], ["-k", "nothing"]])
def test_snapshots_of_tests_that_one_pytest_inside_has_not_run_are_left_alone(stage: Stage, words: list[str]) -> None:
    stage.move("snapshots", PYTEST, "syrupy>=5")
    stage.share("syrupy")
    stage.lay(SNAPSHOTS)
    kept = stage.folder / "__snapshots__" / "test_a.ambr"

    said = stage.inside("--snapshot-update", *words)

    names = {line.removeprefix("# name: ") for line in kept.read_text().splitlines() if line.startswith("# name")}
    assert {"TestC.test_c", "test_a", "test_unused"} <= names, said.text
    assert ("test_b" in names) == (words == ["-n2"]), said.text


@pytest.mark.parametrize("where", ["option", "setting"])
def test_a_plugin_that_only_the_environment_has_is_given_its_options(stage: Stage, where: str) -> None:
    stage.move("random", PYTEST, "pytest-randomly>=4")
    stage.lay({"test_a.py": "".join(f"def test_{n}(): pass\n" for n in range(8))})
    alone = stage.alone("-v", "--randomly-seed=7", "-p", "no:cacheprovider")
    if where == "setting":
        stage.lay({"pytest.ini": "[pytest]\nenvbuild_args = --randomly-seed=7\n"})

    said = stage.inside("-v", *(["--envbuild-args=--randomly-seed=7"] if where == "option" else []))

    shown = [line for line in alone.plain if "PASSED" in line]
    assert [line for line in said.plain if "PASSED" in line] == shown
    assert len(shown) == 8
    said.has(f"envbuild: {stage.label}: Using --randomly-seed=7", "*test_a.py::*")


@pytest.mark.parametrize("own", [PYTEST, "pytest==7.4.4"])
@pytest.mark.parametrize("words", [[], ["-n2"]])
def test_what_a_plugin_inside_says_at_the_top_is_said_once(stage: Stage, words: list[str], own: str) -> None:
    stage.move(f"random-{own}", own, "pytest-randomly>=3")
    stage.lay({"test_a.py": "".join(f"def test_{n}(): pass\n" for n in range(8))})

    said, quiet = stage.inside(*words), stage.inside("-q", *words)

    # Each process of pytest-xdist has to have the same order, which only the environment's plugin gives.
    assert (said.outcomes, quiet.code) == ({"passed": 8}, 0), said.text
    assert said.text.count("--randomly-seed=") == 1
    assert "randomly" not in quiet.text
    assert not [line for line in said.text.splitlines() if line.startswith("envbuild: ") and "rootdir" in line]


def test_a_plugin_that_goes_wrong_in_silence_outside_is_refused(stage: Stage) -> None:
    stage.move("chosen", PYTEST, "pytest-testmon>=2.1")
    stage.share("testmon", "pytest_testmon")
    stage.lay({"test_a.py": "def test_a(): pass\n"})

    said = stage.inside("--testmon-nocollect")

    assert said.code == 4
    assert "--testmon-nocollect: pytest-testmon does not see what tests inside environments depend on" in said.err
    assert stage.inside("--testmon", "--no-testmon").code == 0


def test_a_test_that_takes_too_long_is_interrupted_inside_even_if_the_plugin_is_outside_too(stage: Stage) -> None:
    stage.move("limits", PYTEST, "pytest-timeout>=2.3")
    stage.lay({"test_a.py": HANGS})
    alone = stage.alone("--timeout=20", "-v")
    stage.share("pytest_timeout")

    inside = stage.inside("--timeout=20", "-v")

    assert inside.plain == alone.plain, inside.text
    assert inside.code == alone.code
    inside.has("*time.sleep(30)", "*Failed: Timeout*", "*Captured stdout call*", "before")


@pytest.mark.parametrize("group", ["1", "2"])
def test_a_plugin_on_both_sides_selects_tests_once(stage: Stage, group: str) -> None:
    stage.move("split", PYTEST, "pytest-split>=0.10")
    stage.lay({"test_a.py": "".join(f"def test_{n}(): pass\n" for n in range(8))})
    stage.share("pytest_split")

    said = stage.inside("--splits=2", f"--group={group}")

    assert said.outcomes == {"passed": 4, "deselected": 4}, said.text


@pytest.mark.parametrize("words", [["-x"], ["--maxfail=2"], []])
def test_parts_of_a_test_end_it_where_that_is_as_many_failures_as_may_be(stage: Stage, words: list[str]) -> None:
    stage.lay({"test_a.py": PARTS})

    stage.same(*words)


@pytest.mark.parametrize("frames", ["0", "3"])
def test_a_warning_tells_where_its_object_was_made(stage: Stage, frames: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.lay({"test_a.py": UNCLEAN})
    monkeypatch.setenv("PYTHONTRACEMALLOC", frames)

    said = stage.same("-W", "default")

    said.has("*Object allocated at:*" if frames != "0" else "*Enable tracemalloc*")


def test_a_plugin_that_shows_tests_in_its_own_way_shows_none_inside(stage: Stage) -> None:
    stage.move("sugar", PYTEST, "pytest-sugar>=1")
    stage.lay({"test_a.py": "def test_a(): pass\ndef test_b(): assert 0\n"})

    shown = [stage.inside(*words).plain for words in ([], ["-p", "no:sugar"])]

    assert shown[0] == shown[1]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_files_that_cannot_be_collected_count_among_failures_as_ever(stage: Stage, most: int) -> None:
    stage.lay({"test_a.py": "import not_there\n", "test_b.py": "def test_b(): assert 0\n"})
    stage.lay({"test_c.py": "def test_c(): pass\ndef test_d(): assert 0\n", "test_d.py": "def test_e(): pass\n"})

    stage.same(f"--maxfail={most}", "--continue-on-collection-errors")

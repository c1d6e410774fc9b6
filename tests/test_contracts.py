"""The contracts as such: plugins that keep them pass, and what they promise is promised where they say."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.promises import CONTRACTS, promises
from support.right import CountsFiles, RunsHere, Serves
from support.tried import Building, Deploying, Hashing, Resolving, Running

import envbuild
from envbuild import hookspecs, testing
from envbuild.testing import (
    RecordingTarget,
    ShelfPlugin,
    asking_for,
    shelve,
    temporary_workspace,
)

ROOT = Path(__file__).resolve().parent.parent
_QUOTED = re.compile(r'As (?:`(?P<name>[\w.]+)`|(?P<page>[\w./]+)) says: "(?P<words>.+?)"(?=\.?(?:\n|$))', re.DOTALL)


class TestResolvingFromAShelf(Resolving):
    @pytest.fixture
    def plugin(self) -> object:
        return ShelfPlugin()


class TestHashingFiles(Hashing):
    @pytest.fixture
    def plugin(self) -> object:
        return CountsFiles()


class TestBuildingFromAShelf(Building):
    @pytest.fixture
    def plugin(self) -> object:
        return ShelfPlugin()


class TestRunning(Running):
    @pytest.fixture
    def plugin(self) -> object:
        return RunsHere()


class TestServing(Deploying):
    @pytest.fixture
    def plugin(self) -> object:
        return Serves()


@pytest.mark.parametrize(("test", "promise"), list(promises()))
def test_a_contract_says_where_what_it_promises_stands(test: str, promise: str) -> None:
    quotes = list(_QUOTED.finditer(promise))
    assert quotes, f"{test} does not say where its promise stands"
    for quote in quotes:
        if quote["page"]:
            text = (ROOT / quote["page"]).read_text(encoding="utf-8")
        else:
            name, _, method = quote["name"].partition(".")
            found = getattr(hookspecs, name, None) or getattr(envbuild, name)
            text = inspect.getdoc(getattr(found, method) if method else found) or ""
        assert plain(quote["words"]) in plain(text), f"{test}: {quote['name'] or quote['page']} does not say that"


def plain(text: str) -> str:
    return " ".join(text.split())


def test_every_hook_has_a_contract() -> None:
    assert {each.hook for each in CONTRACTS} == set(envbuild.plugins.HOOKS)


def test_all_that_the_kit_names_is_there_and_documented() -> None:
    for name in testing.__all__:
        assert inspect.getdoc(getattr(testing, name)), name


def test_without_pytest_the_kit_says_how_to_get_it() -> None:
    program = "import sys; sys.modules['pytest'] = None; import envbuild.testing"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert done.stderr.endswith("which is not installed: pip install 'envbuild[test]'\n")


def test_what_an_author_has_to_give_is_asked_for_in_words(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "from envbuild.testing import RunTargetContract\nclass TestMine(RunTargetContract):\n    pass\n"
    )

    done = pytester.runpytest_inprocess("-k", "handle")

    done.stdout.fnmatch_lines(["TestMine has to give the fixture `plugin`: the module with the hooks*"])


def test_plugins_are_driven_as_envbuild_drives_them(tmp_path: Path) -> None:
    target = RecordingTarget(code=3, out=b"out", err=b"err")
    shelf = shelve(tmp_path / "shelf", "demo-1.0", "demo-2.0")
    with temporary_workspace(ShelfPlugin(), target, folder=tmp_path) as place:
        lock = place.lock(asking_for(shelf, "demo"))
        image = place.build(asking_for(shelf, "demo"), lock)
        done = place.run(image, "python", "train.py", target="recording", variables={"COLOUR": "blue"})

        assert [str(each) for each in lock.packages] == ["demo 2.0"]
        assert place.build(asking_for(shelf, "demo"), lock) == image
        assert (done.code, done.out, done.err) == (3, b"out", b"err")
        ((run, used),) = target.runs
        assert (run.command, run.variables, used) == (("python", "train.py"), {"COLOUR": "blue"}, image)
        with pytest.raises(envbuild.EnvbuildError, match="nowhere"):
            place.run(image, "python", target="nowhere")

"""Bisecting: which change between two environments breaks a command, found in few steps."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from math import ceil, log2
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.channel import Channel
from support.conda_definition import asks
from support.desk import Desk, Done
from support.index import Index
from support.packages import Made, project, wheel

from envbuild.bisection import for_bash
from envbuild.culprits import Changes, Culprits, Ties, Verdict, search
from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.lock import Artifact, Lock, Package
from envbuild.mixture import Distribution, End, mix, parts, ties
from envbuild.platform import Platform

Git = Callable[..., str]

# The search


@st.composite
def tied(draw: st.DrawFn, most: int = 24) -> Ties:
    """Some changes, and which of them need others."""
    count = draw(st.integers(1, most))
    change = st.integers(0, count - 1)
    return Ties.of(count, draw(st.lists(st.tuples(change, change), max_size=count)))


def some(ties: Ties) -> st.SearchStrategy[Changes]:
    """A few of the changes, at least one."""
    return st.frozensets(st.sampled_from(sorted(ties.everything)), min_size=1, max_size=4)


class Trials:
    """Answers what a search asks, and sees to it that it asks for what can be had, and for nothing twice."""

    def __init__(self, ties: Ties, answer: Callable[[Changes], Verdict]) -> None:
        self.ties, self.answer, self.asked = ties, answer, list[Changes]()

    def __call__(self, selection: Changes, _left: int) -> Verdict:
        assert selection == self.ties.with_needed(selection), "something that cannot be had was asked for"
        assert selection not in (*self.asked, frozenset(), self.ties.everything), "it was known already"
        self.asked.append(selection)
        return self.answer(selection)


@given(st.data())
def test_whatever_the_culprits_and_whatever_changes_need_the_smallest_set_is_found_in_few_tries(
    data: st.DataObject,
) -> None:
    ties = data.draw(tied())
    hidden = data.draw(some(ties))
    trials = Trials(ties, lambda selection: "bad" if hidden <= selection else "good")

    found = search(ties, trials)

    assert found.bad == ties.with_needed(hidden)
    assert all(group & hidden for group in found.blamed)
    assert found.certain
    assert found.good < found.bad
    each = ceil(log2(len(ties.groups))) + 1
    assert len(trials.asked) <= len(found.blamed) * (each + 1)


@given(st.data())
def test_where_several_sets_break_it_one_of_them_is_found_and_nothing_in_it_is_too_much(data: st.DataObject) -> None:
    ties = data.draw(tied())
    sets = data.draw(st.lists(some(ties), min_size=1, max_size=3))
    trials = Trials(ties, lambda selection: "bad" if any(each <= selection for each in sets) else "good")

    found = search(ties, trials)

    assert any(found.bad == ties.with_needed(each) for each in sets)
    for group in found.blamed:
        assert not any(each <= ties.without(found.bad, group) for each in sets)


@given(st.data())
def test_what_cannot_be_told_is_worked_around_and_the_answer_is_bad_all_the_same(data: st.DataObject) -> None:
    ties = data.draw(tied())
    hidden = data.draw(some(ties))
    skipped = data.draw(st.sets(st.sampled_from(sorted(ties.everything))))
    # What has one of these and lacks another cannot be built, say.
    whole = lambda selection: not skipped & selection or skipped <= selection  # noqa: E731
    trials = Trials(ties, lambda each: ("bad" if hidden <= each else "good") if whole(each) else "skip")

    found = search(ties, trials)

    assert hidden <= found.bad
    assert whole(found.bad)
    assert whole(found.good)
    assert len(trials.asked) <= 8 * len(ties.groups) ** 2
    if found.certain:
        assert found.bad == ties.with_needed(hidden)


@given(st.data())
def test_even_what_comes_and_goes_gets_an_answer_of_which_no_part_can_be_left_out(data: st.DataObject) -> None:
    ties = data.draw(tied(most=8))
    moods: dict[Changes, Verdict] = {ties.everything: "bad", frozenset(): "good"}
    answers: st.SearchStrategy[Verdict] = st.sampled_from(["good", "bad", "skip"])

    found = search(ties, Trials(ties, lambda selection: moods.setdefault(selection, data.draw(answers))))

    assert moods[found.bad] == "bad"
    assert moods[found.good] == "good"
    for group in found.blamed:
        assert moods[ties.without(found.bad, group)] != "bad"


def test_one_of_a_thousand_takes_eleven_tries() -> None:
    ties = Ties.of(1000, [])
    trials = Trials(ties, lambda selection: "bad" if 617 in selection else "good")

    assert search(ties, trials) == Culprits((frozenset({617}),), frozenset({617}), frozenset(), certain=True)
    assert len(trials.asked) <= 11


# What can be exchanged


NAMES = ("ant", "bee", "cow", "dog", "elk")
PYTHONS = ("3.11.7", "3.12.1")


def package(name: str, version: str, **more: Any) -> Package:
    filename = f"{name}-{version}-py3-none-any.whl"
    artifact = Artifact(kind="wheel", url=f"https://host.test/{filename}", digest=Digest.of(filename.encode()))
    return Package(name=name, version=version, artifact=artifact, **more)


def end(versions: dict[str, str], requires: dict[str, tuple[str, ...]], python: str) -> End:
    lock = Lock(python=python, platform=Platform.here(), packages=tuple(map(package, versions, versions.values())))
    found = {
        name: Distribution(name=name, version=version, requires=requires.get(f"{name} {version}", ()))
        for name, version in versions.items()
    }
    return End(definition=Definition(), lock=lock, distributions=found)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[End, End, dict[str, tuple[str, ...]]]:
    """Two environments in which all requirements are met, and what every package requires."""
    version = st.none() | st.sampled_from(["1", "2"])
    bound = st.sampled_from(["", "", "<2", ">=2"])
    condition = st.sampled_from(["", "", "; python_version < '3.12'", "; python_version >= '3.12'"])
    wanted = st.builds(
        lambda name, bound, condition: name + bound + condition, st.sampled_from(NAMES), bound, condition
    )
    requires = {
        f"{name} {number}": tuple(draw(st.lists(wanted, max_size=2))) for name in NAMES for number in ("1", "2")
    }
    ends = []
    for _ in range(2):
        chosen = {name: number for name in NAMES if (number := draw(version))}
        python = draw(st.sampled_from(PYTHONS))
        while left := unmet(chosen, requires, python):
            del chosen[left[0]]
        ends.append(end(chosen, requires, python))
    return ends[0], ends[1], requires


def unmet(versions: dict[str, str], requires: dict[str, tuple[str, ...]], python: str) -> list[str]:
    """The packages of an environment that lack what they require, found in the plainest way."""
    bad = []
    for name, version in versions.items():
        for each in requires.get(f"{name} {version}", ()):
            wanted, _, condition = each.partition("; ")
            if condition and ("3.11" in python) != ("<" in condition):
                continue
            there = versions.get(wanted[:3])
            if there is None or there not in {"<2": "1", ">=2": "2"}.get(wanted[3:], "12"):
                bad.append(name)
    return bad


@given(worlds(), st.data())
def test_no_environment_in_between_lacks_what_its_packages_require(
    world: tuple[End, End, dict[str, tuple[str, ...]]], data: st.DataObject
) -> None:
    before, after, requires = world
    exchanged = parts(before, after)
    found = ties(exchanged, before, after)
    chosen = found.with_needed(data.draw(st.frozensets(st.sampled_from(range(len(exchanged))))) if exchanged else ())

    _, lock = mix([exchanged[each] for each in chosen], before, after)

    assert not unmet({each.name: str(each.version) for each in lock.packages}, requires, lock.python)


@given(worlds())
def test_nothing_exchanged_is_the_one_environment_and_everything_the_other(
    world: tuple[End, End, dict[str, tuple[str, ...]]],
) -> None:
    before, after, _ = world
    exchanged = parts(before, after)

    for chosen, whole in (((), before), (exchanged, after)):
        _, lock = mix(chosen, before, after)
        assert (lock.python, lock.packages) == (whole.lock.python, whole.lock.packages)


def test_a_requirement_that_a_lock_overrides_ties_nothing() -> None:
    requires = {"ant 1": ("bee<2",), "ant 2": ("bee<2",)}
    before, after = end({"ant": "1", "bee": "2"}, requires, "3.11.7"), end({"ant": "2", "bee": "3"}, requires, "3.11.7")

    assert ties(parts(before, after), before, after).groups == (frozenset({0}), frozenset({1}))


def test_an_extra_counts_where_all_that_it_requires_is_there() -> None:
    requires = {"ant 1": ("bee<2; extra == 'fast'",), "ant 2": ("bee>=2; extra == 'fast'", "cow; extra == 'slow'")}
    before, after = end({"ant": "1", "bee": "1"}, requires, "3.11.7"), end({"ant": "2", "bee": "2"}, requires, "3.11.7")

    assert ties(parts(before, after), before, after).groups == (frozenset({0, 1}),)


# The command


BOTH = ("old.txt", "new.txt")


def stock(index: Index, *made: Made) -> None:
    index.publish(*made)


def pair(desk: Desk, index: Index, before: dict[str, str], after: dict[str, str], *pythons: str) -> None:
    """Two definitions, ``old.txt`` and ``new.txt``, that pin packages which are on the index, and their locks."""
    for name, pins, python in zip(BOTH, (before, after), pythons or ("", ""), strict=True):
        lines = [f"--index-url {index.simple}", *(f"{name}=={version}" for name, version in pins.items())]
        desk.write(name, "\n".join(lines) + "\n")
        desk.envbuild("lock", name, *(("--python", python) if python else ()))


def simple(index: Index, *names: str) -> None:
    """Put two releases of each package on the index, which depend on nothing."""
    stock(index, *(wheel(name, version) for name in names for version in ("1.0", "2.0")))


def check(desk: Desk, test: str) -> tuple[str, ...]:
    """A command that passes where ``test`` holds; in it, ``version`` gives that of a package, or nothing."""
    desk.write(
        "check.py",
        "import importlib.metadata as m, os, sys, time, pathlib\n"
        "def version(name):\n"
        "    try: return m.version(name)\n"
        "    except m.PackageNotFoundError: return ''\n"
        f"print('checking')\nsys.exit(0 if ({test}) else 1)\n",
    )
    return ("--", "python", "check.py")


def bisect(desk: Desk, *words: str) -> Any:
    """What bisecting the two definitions finds."""
    return desk.envbuild("bisect", "--json", *words).json


def found(result: Any) -> list[list[str]]:
    return [[f"{each['name']} {each['before']} {each['after']}" for each in group] for group in result["culprits"]]


def advice(desk: Desk, *words: str) -> str:
    """What the definition is to ask for, by what bisecting says; empty where it says nothing."""
    (line,) = [each for each in desk.envbuild("bisect", "-q", *words).out.splitlines() if "ask for" in each] or [""]
    return line.partition("ask for ")[2]


def test_one_culprit_among_sixteen_changes_is_found_in_seven_steps(desk: Desk, index: Index) -> None:
    names = [f"pkg{number:02}" for number in range(16)]
    simple(index, *names)
    pair(desk, index, dict.fromkeys(names, "1.0"), dict.fromkeys(names, "2.0"))
    command = check(desk, "version('pkg11') == '1.0'")

    done = desk.envbuild("bisect", *BOTH, *command)

    assert done.out.startswith("this breaks it:\n  pkg11 1.0 → 2.0\n")
    assert "have the definition ask for this: pkg11==1.0\n" in done.out
    assert "step 7 of about 7: bad (exit code 1)" in done.err
    assert "step 8" not in done.err


def test_what_it_names_can_be_run_again_and_every_step_is_a_run_with_its_log(desk: Desk, index: Index) -> None:
    simple(index, "ant", "bee", "cow")
    pair(desk, index, dict.fromkeys(("ant", "bee", "cow"), "1.0"), dict.fromkeys(("ant", "bee", "cow"), "2.0"))
    command = check(desk, "version('bee') == '1.0'")

    result = bisect(desk, "--name", "hunt", *BOTH, *command)

    good, bad = result["last_good"]["id"], result["first_bad"]["id"]
    assert good == result["good"]["id"] == desk.identity("old.txt")
    assert result["bad"]["id"] == desk.identity("new.txt")
    assert desk.try_("run", "-e", good, *command).code == 0
    assert desk.try_("run", "-e", bad[7:19], *command).code == 1
    shown = desk.envbuild(
        "run", "-e", bad, "--", "python", "-c", "import ant, bee; print(ant.__version__, bee.__version__)"
    )
    assert shown.out == "1.0 2.0\n"
    runs = [run for step in result["steps"] for run in step["runs"]]
    listed = desk.envbuild("runs", "list", "--json", "--name", "hunt").json
    assert sorted(runs) == sorted(each["id"] for each in listed)
    assert desk.envbuild("runs", "logs", runs[0]).out == "checking\n"


def test_two_changes_that_only_break_it_together_are_both_named(desk: Desk, index: Index) -> None:
    names = [f"pkg{number}" for number in range(8)]
    simple(index, *names)
    pair(desk, index, dict.fromkeys(names, "1.0"), dict.fromkeys(names, "2.0"))
    command = check(desk, "not version('pkg1') == version('pkg6') == '2.0'")

    done = desk.envbuild("bisect", *BOTH, *command)

    assert done.out.startswith("only together do these break it:\n  pkg1 1.0 → 2.0\n  pkg6 1.0 → 2.0\n")
    assert "ask for one of these: pkg1==1.0, pkg6==1.0\n" in done.out


def test_packages_that_need_each_other_move_together_and_no_step_has_one_without_the_other(
    desk: Desk, index: Index
) -> None:
    simple(index, "cow", "dog")
    stock(index, wheel("lib", "1.0"), wheel("lib", "2.0"))
    stock(index, wheel("app", "1.0", requires=["lib<2"]), wheel("app", "2.0", requires=["lib>=2"]))
    names = ("app", "cow", "dog", "lib")
    pair(desk, index, dict.fromkeys(names, "1.0"), dict.fromkeys(names, "2.0"))
    command = check(desk, "version('app') == version('lib') == '1.0' or version('app') != version('lib') and exit(99)")

    result = bisect(desk, *BOTH, *command)

    assert found(result) == [["app 1.0 2.0", "lib 1.0 2.0"]]
    assert advice(desk, *BOTH, *command) == "all of these: app==1.0 and lib==1.0"
    assert 99 not in [each["exit_code"] for each in result["steps"]]


def test_a_change_that_needs_another_is_told_apart_from_it(desk: Desk, index: Index) -> None:
    simple(index, "cow", "lib")
    stock(index, wheel("app", "1.0", requires=["lib"]), wheel("app", "2.0", requires=["lib>=2"]))
    names = ("app", "cow", "lib")
    pair(desk, index, dict.fromkeys(names, "1.0"), dict.fromkeys(names, "2.0"))

    done = desk.envbuild("bisect", *BOTH, *check(desk, "version('app') == '1.0'"))
    result = bisect(desk, *BOTH, *check(desk, "version('app') == '1.0'"))

    assert "this breaks it:\n  app 1.0 → 2.0\ntogether with what cannot be had without:\n  lib" in done.out
    assert [each["name"] for each in result["needed"]] == ["lib"]
    assert result["last_good"]["changes"] == ["lib 1.0 → 2.0"]
    assert not any(each["built"] for each in result["steps"]), "what was built the first time is used again"


def test_what_the_command_cannot_tell_is_worked_around(desk: Desk, index: Index) -> None:
    names = [f"pkg{number}" for number in range(8)]
    simple(index, *names)
    pair(desk, index, dict.fromkeys(names, "1.0"), dict.fromkeys(names, "2.0"))
    # As if pkg3 and pkg4 could not be had apart, and nobody had said so.
    test = "(version('pkg5') == '1.0' if version('pkg3') == version('pkg4') else exit(125))"

    result = bisect(desk, *BOTH, *check(desk, test))

    assert found(result) == [["pkg5 1.0 2.0"]]
    assert "skip" in [each["verdict"] for each in result["steps"]]


def test_where_nothing_in_between_can_be_tried_all_that_is_left_is_named(desk: Desk, index: Index) -> None:
    simple(index, "ant", "bee", "cow")
    pair(desk, index, dict.fromkeys(("ant", "bee", "cow"), "1.0"), dict.fromkeys(("ant", "bee", "cow"), "2.0"))
    test = "version('ant') == '1.0' if version('ant') == version('bee') == version('cow') else exit(125)"

    done = desk.try_("bisect", *BOTH, *check(desk, test))

    assert done.code == 1
    assert done.out.startswith("what breaks it is among these; what lies between could not be tried:\n")
    assert done.out.count(" 1.0 → 2.0\n") == 3


def test_an_environment_that_cannot_be_built_is_skipped(desk: Desk, index: Index) -> None:
    simple(index, "ant", "bee", "cow")
    pair(desk, index, dict.fromkeys(("ant", "bee", "cow"), "1.0"), dict.fromkeys(("ant", "bee", "cow"), "2.0"))
    command = check(desk, "version('ant') == '1.0'")
    for each in BOTH:
        desk.envbuild("build", each)
    shutil.rmtree(desk.cache)
    index.files = {name: each for name, each in index.files.items() if not name.startswith("cow")}

    done = desk.try_("bisect", "--json", *BOTH, *command)

    steps = done.json["steps"]
    assert done.code == 1
    assert {each["verdict"] for each in steps[2:]} == {"skip"}
    assert all(each["reason"].startswith("cannot be built: ") for each in steps[2:])
    assert len(done.json["culprits"][0]) == 3


def test_a_package_that_was_added_and_one_that_was_removed_can_be_to_blame(desk: Desk, index: Index) -> None:
    simple(index, "ant", "bee", "cow")
    pair(desk, index, {"ant": "1.0", "cow": "1.0"}, {"bee": "1.0", "cow": "2.0"})

    removed = bisect(desk, *BOTH, *check(desk, "version('ant')"))
    added = desk.envbuild("bisect", *BOTH, *check(desk, "not version('bee')"))

    assert found(removed) == [["ant 1.0 None"]]
    assert "  bee 1.0 (added)\n" in added.out


def test_a_program_that_has_gone_with_its_package_is_a_failure(desk: Desk, index: Index) -> None:
    simple(index, "cow")
    stock(index, wheel("tool", "1.0", scripts={"tool": "tool:main"}, files={"tool/__init__.py": "def main(): pass\n"}))
    stock(index, wheel("tool", "2.0"))
    pair(desk, index, {"tool": "1.0", "cow": "1.0"}, {"tool": "2.0", "cow": "2.0"})

    result = bisect(desk, *BOTH, "--", "tool")

    assert found(result) == [["tool 1.0 2.0"]]
    assert "no such program: 'tool'" in result["first_bad"]["reason"]


def test_python_is_a_change_of_its_own_and_brings_what_is_made_for_it(
    desk: Desk, index: Index, interpreters: dict[str, Path], lacking: Callable[[str, str], None]
) -> None:
    if not {"3.11", "3.12"} <= interpreters.keys():
        lacking("pythons", "Python 3.11 and 3.12 are needed")
    simple(index, "ant", "bee")
    names = ("ant", "bee", "native")
    old = {**dict.fromkeys(names, "1.0")}
    pair(desk, index, old, {**old, "ant": "2.0", "bee": "2.0"}, "3.11", "3.12")

    result = bisect(desk, *BOTH, *check(desk, "sys.version_info < (3, 12)"))

    (group,) = result["culprits"]
    assert [each["name"] for each in group] == ["Python", "native"]
    assert advice(desk, *BOTH, "--", "python", "check.py") == 'this: python: "3.11" (envbuild lock --python 3.11)'
    assert {each["before"][:4] for each in group} == {"3.11", "1.0"}
    assert all(each["verdict"] != "skip" for each in result["steps"])


def test_what_one_python_wants_only_is_there_with_the_other_until_it_is_exchanged(
    desk: Desk, index: Index, interpreters: dict[str, Path], lacking: Callable[[str, str], None]
) -> None:
    if not {"3.11", "3.12"} <= interpreters.keys():
        lacking("pythons", "Python 3.11 and 3.12 are needed")
    simple(index, "lib")
    stock(index, wheel("app", "1.0", requires=["lib; python_version < '3.12'"]))
    pair(desk, index, {"app": "1.0"}, {"app": "1.0"}, "3.11", "3.12")
    assert "\nmarker = " in (desk.folder / "pylock.old.toml").read_text()

    result = bisect(desk, *BOTH, *check(desk, "version('lib')"))

    assert found(result) == [["lib 2.0 None"]]
    assert [each["name"] for each in result["needed"]] == ["Python"]


def test_a_package_that_is_wanted_for_another_reason_is_no_change(desk: Desk, index: Index) -> None:
    simple(index, "lib")
    stock(index, *(wheel("app", each, requires=[f"lib; python_version >= '{each}'"]) for each in ("1.0", "2.0")))
    pair(desk, index, {"app": "1.0"}, {"app": "2.0"})

    result = bisect(desk, *BOTH, *check(desk, "version('app') == '1.0'"))

    assert [each["name"] for each in result["changes"]] == ["app"]


def test_python_alone_can_be_to_blame(
    desk: Desk, index: Index, interpreters: dict[str, Path], lacking: Callable[[str, str], None]
) -> None:
    if not {"3.11", "3.12"} <= interpreters.keys():
        lacking("pythons", "Python 3.11 and 3.12 are needed")
    simple(index, "ant", "bee")
    pair(desk, index, {"ant": "1.0", "bee": "1.0"}, {"ant": "2.0", "bee": "2.0"}, "3.11", "3.12")

    done = desk.envbuild("bisect", *BOTH, *check(desk, "sys.version_info < (3, 12)"))

    assert "this breaks it:\n  Python 3.11." in done.out
    assert 'ask for this: python: "3.11" (envbuild lock --python 3.11)\n' in done.out
    desk.envbuild("lock", "new.txt", "--python", "3.11")
    assert desk.envbuild("run", "-e", "new.txt", *check(desk, "sys.version_info < (3, 12)")).code == 0


def test_a_private_wheel_that_was_built_again_under_the_same_version_is_found(desk: Desk, index: Index) -> None:
    simple(index, "ant", "bee")
    for folder, payload in (("old", "good"), ("new", "bad")):
        made = wheel("churn", "1.0", files={"churn/kind.py": f"KIND = {payload!r}\n"}, payload=payload)
        desk.write(f"{folder}/{made.filename}", made.data)
        version = "1.0" if folder == "old" else "2.0"
        desk.write(
            f"{folder}/envbuild.yml",
            f"options: {{index_url: '{index.simple}'}}\npip: [ant=={version}, bee=={version}]\n"
            f"wheels: [{made.filename}]\n",
        )
        desk.envbuild("lock", f"{folder}/envbuild.yml")
    desk.write("check.py", "from churn.kind import KIND; assert KIND == 'good'\n")

    done = desk.envbuild("bisect", "old/envbuild.yml", "new/envbuild.yml", "--", "python", "check.py")

    assert "  churn 1.0 (other bytes)\n" in done.out
    assert "ask for" not in done.out, "both have the version that could be asked for"


def test_variables_of_the_definitions_are_changes_too(desk: Desk, index: Index) -> None:
    simple(index, "ant")
    for name, version, threads in (("old", "1.0", "1"), ("new", "2.0", "8")):
        desk.write(
            f"{name}/envbuild.yml",
            f"options: {{index_url: '{index.simple}'}}\npip: [ant=={version}]\nvariables: {{THREADS: '{threads}'}}\n",
        )

    done = desk.envbuild("bisect", "old", "new", *check(desk, "os.environ['THREADS'] == '1'"))

    assert "  variables.THREADS 1 → 8\n" in done.out


def with_variables(desk: Desk, index: Index, **definitions: str) -> None:
    """Definitions that ask for the same package, and set different variables."""
    for name, variables in definitions.items():
        desk.write(
            f"{name}/envbuild.yml",
            f"options: {{index_url: '{index.simple}'}}\npip: [ant==1.0]\nvariables: {{{variables}}}\n",
        )


def pasted(desk: Desk, told: str, word: str) -> subprocess.CompletedProcess[bytes]:
    """Run what is told behind ``word`` as a user would who pastes it."""
    (line,) = (each for each in told.splitlines() if each.startswith(word))
    command = line[line.index("envbuild run") :].replace("envbuild", f"{sys.executable} -m envbuild", 1)
    return subprocess.run(
        ["bash", "-c", command], cwd=desk.folder, env=desk.environment, capture_output=True, check=False
    )


def test_steps_that_differ_in_variables_only_have_one_id_and_are_run_again_each_with_its_own(
    desk: Desk, index: Index
) -> None:
    simple(index, "ant")
    with_variables(desk, index, none="U: a", one="U: a, T: '1'", eight="U: a, T: '8'")

    changed = desk.envbuild("bisect", "one", "eight", *check(desk, "os.environ['T'] == '1'")).out
    added = desk.envbuild("bisect", "none", "eight", *check(desk, "'T' not in os.environ")).out
    removed = desk.envbuild("bisect", "one", "none", *check(desk, "'T' in os.environ")).out

    for told, test in (
        (changed, "os.environ['T'] == '1'"),
        (added, "'T' not in os.environ"),
        (removed, "'T' in os.environ"),
    ):
        check(desk, test)
        assert pasted(desk, told, "last good").returncode == 0
        assert pasted(desk, told, "first bad").returncode == 1
    assert changed.startswith("this breaks it:\n  variables.T 1 → 8\n")
    assert "\n1 change, 2 steps;" in changed


def test_every_step_gets_the_variables_and_secrets_that_are_given(desk: Desk, index: Index) -> None:
    simple(index, "ant", "bee")
    pair(desk, index, {"ant": "1.0", "bee": "1.0"}, {"ant": "2.0", "bee": "2.0"})
    given = ("--variable", "RATE=0.5", "--variable", "PIN=1234", "--secret", "TOKEN", "--secret", "PIN")
    test = "print(*(os.environ[each] for each in ('RATE', 'TOKEN', 'PIN'))) or version('bee') == '1.0'"
    command = check(desk, f"os.environ['RATE'] == '0.5' and {test}")
    mine = desk.set(TOKEN="geheim")

    result = bisect(mine, *given, *BOTH, *command)
    told = mine.envbuild("bisect", *given, *BOTH, *command)

    assert found(result) == [["bee 1.0 2.0"]]
    assert (result["variables"], result["secrets"]) == (["PIN", "RATE"], ["PIN", "TOKEN"])
    assert "--variable RATE=0.5 --secret PIN --secret TOKEN -- python" in told.out
    assert not {"geheim", "1234"} & set(told.told.split())
    for step in result["steps"]:
        (run,) = step["runs"]
        assert desk.envbuild("runs", "logs", run).out == "checking\n0.5 *** ***\n"
    assert pasted(mine.set(PIN="1234"), told.out, "last good").returncode == 0
    assert "secrets without a value: TOKEN" in desk.refused("bisect", *given, *BOTH, *command).err
    assert "NAME=VALUE" in desk.try_("bisect", "--variable", "RATE", *BOTH, *command).err


def test_a_variable_that_is_given_is_no_change_whatever_the_definitions_say(desk: Desk, index: Index) -> None:
    simple(index, "ant")
    with_variables(desk, index, one="T: '1'", eight="T: '8', U: a")

    done = desk.envbuild("bisect", "--variable", "T=5", "one", "eight", *check(desk, "'U' not in os.environ"))

    assert done.out.startswith("this breaks it:\n  variables.U a (added)\n")
    assert "\n1 change, 2 steps;" in done.out
    refused = desk.refused("bisect", "--variable", "T=5", "--variable", "U=1", "one", "eight", "--", "true").err
    assert "one and eight are the same environment" in refused


def test_every_step_is_recorded_with_the_commit_that_it_ran(desk: Desk, index: Index, git: Git) -> None:
    simple(index, "ant")
    pair(desk, index, {"ant": "1.0"}, {"ant": "2.0"})
    command = check(desk, "version('ant') == '1.0'")
    git(desk.folder, "init", "-q")
    git(desk.folder, "add", ".")
    git(desk.folder, "commit", "-qm", "first")
    commit = git(desk.folder, "rev-parse", "HEAD").strip()

    runs = [run for step in bisect(desk, *BOTH, *command)["steps"] for run in step["runs"]]
    desk.write("check.py", "raise SystemExit(7)")
    git(desk.folder, "commit", "-qam", "second")
    again = desk.envbuild("runs", "reproduce", "--json", runs[0]).json["run"]

    shown = [desk.envbuild("runs", "show", run, "--json").json for run in runs]
    assert [each["git"]["commit"] for each in (*shown, again)] == [commit] * 3
    assert not any(each["git"]["dirty"] for each in (*shown, again))


def test_local_projects_are_built_from_where_they_lie(desk: Desk, index: Index) -> None:
    simple(index, "ant")
    for name, version in (("old", "1.0"), ("new", "2.0")):
        desk.lay(project("mine", version), f"{name}/mine")
        desk.write(f"{name}/requirements.txt", f"--index-url {index.simple}\nant=={version}\n./mine\n")

    result = bisect(desk, "old", "new", *check(desk, "version('mine') == '1.0'"))

    ((culprit,),) = result["culprits"]
    assert culprit["name"] == "mine"
    assert not advice(desk, "old", "new", "--", "python", "check.py"), "no index has it"


def test_names_ids_and_bare_locks_will_do_and_stay_what_they_are(desk: Desk, index: Index) -> None:
    simple(index, "ant", "bee")
    pair(desk, index, {"ant": "1.0", "bee": "1.0"}, {"ant": "2.0", "bee": "2.0"})
    desk.envbuild("env", "register", "old.txt", "--name", "tools")
    desk.envbuild("env", "register", "new.txt", "--name", "tools")
    command = check(desk, "version('bee') == '1.0'")
    first, second = (desk.envbuild("env", "show", f"tools:{each}", "--json").json["id"] for each in "12")

    results = [
        bisect(desk, *ends, *command)
        for ends in (("tools:1", "tools@latest"), (first, second), ("pylock.old.toml", "pylock.new.toml"))
    ]

    assert [found(each) for each in results] == [[["bee 1.0 2.0"]]] * 3
    assert {(each["good"]["id"], each["bad"]["id"]) for each in results} == {(first, second)}
    assert [desk.envbuild("env", "show", f"tools:{each}", "--json").json["id"] for each in "12"] == [first, second]
    assert [each["name"] for each in desk.envbuild("env", "list", "--json").json] == ["tools"]
    assert desk.envbuild("lock", "old.txt", "--check").out.endswith(": up to date\n")


def test_a_lock_of_an_earlier_commit_will_do(desk: Desk, index: Index, git: Git) -> None:
    simple(index, "ant", "bee")
    desk.requirements("ant==1.0", "bee==1.0", index=index)
    desk.envbuild("lock")
    git(desk.folder, "init", "-q")
    git(desk.folder, "add", ".")
    git(desk.folder, "commit", "-qm", "first")
    desk.requirements("ant==2.0", "bee==2.0", index=index)
    desk.envbuild("lock")
    command = check(desk, "version('bee') == '1.0'")

    result = bisect(desk, "pylock.toml@HEAD", "pylock.toml", *command)

    assert found(result) == [["bee 1.0 2.0"]]
    assert "is no lock" in desk.refused("bisect", "requirements.txt@HEAD", "pylock.toml", *command).err
    assert "cannot be read as of 'HEAD~7'" in desk.refused("bisect", "pylock.toml@HEAD~7", ".", *command).err
    assert "cannot be read as of '--batch'" in desk.refused("bisect", "pylock.toml@--batch", ".", *command).err
    assert desk.left_behind() == sorted(f"images/{each['id'][7:]}" for each in result["steps"])


def test_a_lock_of_an_earlier_commit_that_is_not_utf8_is_refused(desk: Desk, index: Index, git: Git) -> None:
    simple(index, "ant")
    desk.requirements("ant==1.0", index=index)
    desk.envbuild("lock")
    lock = desk.folder / "pylock.toml"
    text = lock.read_bytes()
    lock.write_bytes(text.replace(b'created-by = "envbuild"', 'created-by = "herr müller"'.encode("latin-1")))
    git(desk.folder, "init", "-q")
    git(desk.folder, "add", ".")
    git(desk.folder, "commit", "-qm", "first")
    lock.write_bytes(text)

    said = desk.refused("bisect", "pylock.toml@HEAD", "pylock.toml", *check(desk, "True")).err

    assert "pylock.toml: not UTF-8: byte 0xfc in line 3" in said


# Answers that cannot be relied on


def test_a_failure_that_does_not_come_again_is_called_flaky_and_blames_nobody(desk: Desk, index: Index) -> None:
    names = [f"pkg{number}" for number in range(4)]
    simple(index, *names)
    pair(desk, index, dict.fromkeys(names, "1.0"), dict.fromkeys(names, "2.0"))
    mark = desk.root / "mark"
    # With pkg1 and without pkg2, it fails every other time.
    moody = f"not p.unlink() if (p := pathlib.Path('{mark}')).exists() else p.touch()"
    test = f"version('pkg2') == '1.0' if version('pkg1') == version('pkg2') else ({moody})"

    done = desk.try_("bisect", "--json", "--repeat", "2", *BOTH, *check(desk, test))

    result = done.json
    assert done.code == 1
    assert not result["certain"]
    assert found(result) == [["pkg1 1.0 2.0", "pkg2 1.0 2.0"]]
    flaky = [each for each in result["steps"] if each["flaky"]]
    assert [each["verdict"] for each in flaky] == ["skip"] * len(flaky)
    assert flaky
    assert all(len(each["runs"]) == 2 for each in flaky)


def test_a_bad_environment_that_fails_only_now_and_then_is_refused(desk: Desk, index: Index) -> None:
    simple(index, "ant")
    pair(desk, index, {"ant": "1.0"}, {"ant": "2.0"})
    mark = desk.root / "mark"
    command = check(
        desk, f"version('ant') == '1.0' or pathlib.Path('{mark}').exists() or pathlib.Path('{mark}').touch()"
    )

    told = desk.refused("bisect", "--repeat", "3", *BOTH, *command).err

    assert "the command has to fail in new.txt, and it does not (flaky: failed, and passed at try 2)" in told
    assert "or lower --repeat" in told
    mark.unlink()
    assert desk.envbuild("bisect", *BOTH, *command).out.startswith("this breaks it:\n"), "one failure is believed then"


def test_a_command_that_hangs_has_failed_when_its_time_is_up_even_if_it_does_not_listen(
    desk: Desk, index: Index
) -> None:
    simple(index, "ant", "bee")
    pair(desk, index, {"ant": "1.0", "bee": "1.0"}, {"ant": "2.0", "bee": "2.0"})
    desk.write(
        "check.py",
        "import ant, signal, subprocess, time\n"
        "if ant.__version__ == '2.0':\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    subprocess.Popen(['sleep', '600'])\n"
        "    while True: time.sleep(1)\n",
    )

    done = desk.envbuild("bisect", "--json", "--timeout", "1.5", *BOTH, "--", "python", "check.py")

    assert found(done.json) == [["ant 1.0 2.0"]]
    assert "bad (did not end within 1.5 s)" in done.err
    overdue = [each["seconds"] for each in done.json["steps"] if each["verdict"] == "bad"]
    assert all(seconds < 8 for seconds in overdue), "it waits less than for other runs that are stopped"


def test_steps_see_neither_what_others_leave_nor_edits_that_are_made_meanwhile(desk: Desk, index: Index) -> None:
    names = [f"pkg{number}" for number in range(4)]
    simple(index, *names)
    pair(desk, index, dict.fromkeys(names, "1.0"), dict.fromkeys(names, "2.0"))
    command = check(
        desk,
        "not pathlib.Path('left').exists() and not pathlib.Path('left').touch()"
        f" and pathlib.Path('{desk.folder}/check.py').write_text('nonsense') and version('pkg2') == '1.0'",
    )

    assert found(bisect(desk, *BOTH, *command)) == [["pkg2 1.0 2.0"]]
    assert not (desk.folder / "left").exists()


def test_no_step_reads_what_is_piped_into_the_command_or_waits_for_it(desk: Desk, index: Index) -> None:
    simple(index, "ant", "bee")
    pair(desk, index, {"ant": "1.0", "bee": "1.0"}, {"ant": "2.0", "bee": "2.0"})
    command = check(desk, "sys.stdin.read() == '' and version('bee') == '1.0'")

    # The pipe stays open until the last step has ended.
    reading, writing = os.pipe()
    os.write(writing, b"a line\n")
    done = subprocess.run(
        [sys.executable, "-m", "envbuild", "bisect", *BOTH, *command],
        cwd=desk.folder,
        env=desk.environment,
        stdin=reading,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.stdout.startswith("this breaks it:\n  bee 1.0 → 2.0\n"), done.stderr
    assert os.read(reading, 100) == b"a line\n"
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_and_it_says_what_is_known_by_then(desk: Desk, index: Index, number: signal.Signals) -> None:
    names = [f"pkg{number}" for number in range(8)]
    simple(index, *names)
    pair(desk, index, dict.fromkeys(names, "1.0"), dict.fromkeys(names, "2.0"))
    # The second of the steps after the two ends never comes to its end.
    command = check(desk, "version('pkg2') == '1.0' if version('pkg2') == version('pkg1') else time.sleep(600)")

    with desk.start("bisect", *BOTH, *command) as process:
        until_running(desk, 4)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)

    assert process.returncode == 128 + number, err
    assert out == ""
    assert "stopped; so far 4 of 8 changes are left: pkg0 1.0 → 2.0, pkg1 1.0 → 2.0, pkg2 1.0 → 2.0 and 1 more\n" in err
    assert err.endswith("interrupted\n")
    assert desk.envbuild("runs", "list", "--json").json[0]["status"] == "Canceled"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_between_two_steps_stops_it_as_well(desk: Desk, index: Index, number: signal.Signals) -> None:
    names = [f"pkg{number}" for number in range(8)]
    simple(index, *names)
    pair(desk, index, dict.fromkeys(names, "1.0"), dict.fromkeys(names, "2.0"))
    # The fifth mixture that is put together is that of the first step after the two ends, which have been asked for
    # twice each.
    program = (
        "import os, sys\nfrom envbuild import mixture\nmix, calls = mixture.mix, []\n"
        f"def counted(*all):\n    calls.append(all)\n    len(calls) == 5 and os.kill(os.getpid(), {int(number)})\n"
        "    return mix(*all)\n"
        "mixture.mix = counted\nfrom envbuild.__main__ import main\nsys.exit(main())"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, "bisect", *BOTH, *check(desk, "version('pkg2') == '1.0'")],
        cwd=desk.folder,
        env=desk.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 128 + number, done.stderr
    assert "stopped; so far 8 of 8 changes are left: " in done.stderr
    assert done.stderr.endswith("interrupted\n")


def test_whoever_kills_it_ends_the_step_that_is_being_tried(desk: Desk, index: Index) -> None:
    from support.place import alive, until

    simple(index, "ant")
    pair(desk, index, {"ant": "1.0"}, {"ant": "2.0"})
    command = check(desk, "version('ant') == '1.0' or print(os.getpid(), flush=True) or time.sleep(600)")

    with desk.start("bisect", *BOTH, *command) as process:
        until_running(desk, 2)
        newest = desk.envbuild("runs", "list", "--json").json[0]["id"]
        script = int(until(lambda: desk.envbuild("runs", "logs", newest).out.split()[1:], "the script has begun")[0])
        assert alive(script)
        process.kill()
        process.communicate(timeout=60)

    until(lambda: not alive(script), "the script has ended")
    assert desk.envbuild("runs", "list", "--json").json[0]["status"] == "Failed"


def until_running(desk: Desk, count: int) -> None:
    """Wait until the command has begun for the ``count``-th time."""
    from support.place import until

    logs = lambda: list((desk.workspace.root / "runs").glob("*/logs/output.log"))  # noqa: E731
    until(lambda: len(logs()) == count and all(log.stat().st_size for log in logs()), "the run has begun")


# What is refused


def refused(desk: Desk, *words: str) -> Done:
    done = desk.refused("bisect", *words)
    assert done.out == ""
    return done


def test_there_is_nothing_between_equal_locks(desk: Desk, index: Index) -> None:
    simple(index, "ant")
    pair(desk, index, {"ant": "1.0"}, {"ant": "1.0"})

    told = refused(desk, *BOTH, "--", "true").err

    assert "old.txt and new.txt are the same environment" in told
    assert "step" not in told


def test_a_good_environment_in_which_it_fails_is_refused_with_what_it_said(desk: Desk, index: Index) -> None:
    simple(index, "ant")
    pair(desk, index, {"ant": "1.0"}, {"ant": "2.0"})

    told = refused(desk, *BOTH, "--", "sh", "-c", "echo no luck; exit 3").err

    assert (
        "the command has to pass in old.txt, and it does not (exit code 3); the end of what it said:\nno luck\n" in told
    )
    assert "hint: envbuild runs logs bisect_" in told
    assert (
        "has to pass in old.txt"
        in desk.refused("bisect", "--json", *BOTH, "--", "nothing-of-that-name").json["message"]
    )


def test_a_bad_environment_in_which_it_passes_is_refused(desk: Desk, index: Index) -> None:
    simple(index, "ant")
    pair(desk, index, {"ant": "1.0"}, {"ant": "2.0"})

    assert "the command has to fail in new.txt, and it does not" in refused(desk, *BOTH, "--", "true").err


@pytest.mark.parametrize("code", ["1.0", "2.0"])
def test_an_end_that_cannot_be_told_is_refused_and_its_log_named(code: str, desk: Desk, index: Index) -> None:
    simple(index, "ant")
    pair(desk, index, {"ant": "1.0"}, {"ant": "2.0"})

    told = refused(
        desk, *BOTH, *check(desk, f"version('ant') == '1.0' if version('ant') != '{code}' else exit(125)")
    ).err

    hint = told.rstrip().splitlines()[-1]
    assert hint.startswith(
        "hint: have a command that can tell there, and exits with something else than 125: envbuild runs logs "
    )
    assert desk.envbuild(*hint.split()[-4:][1:]).out == "checking\n"


def test_a_script_that_is_not_executable_and_a_program_that_is_nowhere_get_a_hint_each(
    desk: Desk, index: Index
) -> None:
    simple(index, "ant")
    pair(desk, index, {"ant": "1.0"}, {"ant": "2.0"})
    desk.write("my check.py", "#!/usr/bin/env python\nimport ant; assert ant.__version__ == '1.0'\n")

    told = refused(desk, *BOTH, "--", "./my check.py").err
    assert "./my check.py cannot be started: Permission denied" in told
    assert "hint: make it executable (chmod +x './my check.py')" in told
    assert "hint: is the package that brings it in" in refused(desk, *BOTH, "--", "nothing-of-that-name").err
    subprocess.run(["chmod", "+x", "./my check.py"], cwd=desk.folder, check=True)
    assert desk.envbuild("bisect", *BOTH, "--", "./my check.py").code == 0


def test_a_lock_for_another_machine_is_refused(desk: Desk, index: Index) -> None:
    simple(index, "ant")
    pair(desk, index, {"ant": "1.0"}, {"ant": "2.0"})
    other = "linux-aarch64" if str(Platform.here()) == "linux-x86_64" else "linux-x86_64"
    desk.envbuild("lock", "new.txt", "--platform", other)

    told = refused(desk, "old.txt", f"pylock.new-{other}.toml", "--", "true").err

    assert f"pylock.new-{other}.toml is for {other}, and this machine is {Platform.here()}" in told


def test_an_interpreter_as_it_was_found_is_refused(desk: Desk, index: Index) -> None:
    simple(index, "ant")
    desk.requirements("ant==1.0", index=index)
    desk.write("found/envbuild.yml", f"interpreter: {sys.executable}\n")

    assert "nothing can be put together from that" in refused(desk, ".", "found", "--", "true").err


@pytest.mark.parametrize(
    "words",
    [("a", "b"), ("a", "b", "--"), ("a", "--", "true"), ("--repeat", "0", "a", "b", "--", "x"),
     ("--timeout", "nan", "a", "b", "--", "x"), ("a", "b", "--", "")],
)  # fmt: skip
def test_a_command_line_that_cannot_be_meant_is_refused(words: tuple[str, ...], desk: Desk) -> None:
    done = desk.try_("bisect", *words)

    assert done.code == 2
    assert done.err.startswith("error: ")


def test_words_behind_the_dashes_are_the_commands_own(desk: Desk, index: Index) -> None:
    simple(index, "ant")
    pair(desk, index, {"ant": "1.0"}, {"ant": "2.0"})
    script = "import sys, ant; sys.exit(ant.__version__ == '2.0' or sys.argv[1:] != ['--json', '--', '-q'])"

    result = bisect(desk, *BOTH, "--", "python", "-c", script, "--json", "--", "-q")

    assert result["command"][-3:] == ["--json", "--", "-q"]


@given(st.lists(st.binary().filter(lambda each: 0 not in each), min_size=1, max_size=4))
def test_bash_reads_any_command_as_it_was_given_and_a_terminal_may_be_shown_it(words: list[bytes]) -> None:
    told = for_bash(map(os.fsdecode, words))

    assert told.isprintable()
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {told}"], capture_output=True, check=True)
    assert done.stdout == b"".join(each + b"\0" for each in words)


def test_the_commands_that_are_named_can_be_pasted_whatever_is_in_their_words(desk: Desk, index: Index) -> None:
    simple(index, "ant")
    pair(desk, index, {"ant": "1.0"}, {"ant": "2.0"})
    script = "import ant\nraise SystemExit('it\\'s two\t' if ant.__version__ == '2.0' else 0)"

    told = desk.envbuild("bisect", *BOTH, "--", "python", "-c", script).out

    for word, code in (("last good", 0), ("first bad", 1)):
        done = pasted(desk, told, word)
        assert done.returncode == code
        assert (b"it's two\t" in done.stderr) == bool(code)


# conda


def test_conda_packages_are_exchanged_at_once_and_those_of_pip_beside_them_are_told_apart(
    desk: Desk, index: Index, channel: Channel
) -> None:
    simple(index, "ant", "bee")
    for name, almanac, version in (("old", "1.0", "1.0"), ("new", "2.0", "2.0")):
        pins = [f"ant=={version}", f"bee=={version}"]
        asks(desk.at(name), channel.url, "python=3.11", f"almanac={almanac}", pip=tuple(pins), index=index)
    ends = ("../old/environment.yml", "../new/environment.yml")

    pip = bisect(desk, *ends, *check(desk, "version('bee') == '1.0'"))
    conda = desk.envbuild("bisect", *ends, *check(desk, "__import__('almanac').__version__ == '1.0'"))

    assert found(pip) == [["bee 1.0 2.0"]]
    assert "ask for" not in conda.out
    assert "this breaks it:\n  conda: almanac 1.0 → 2.0\n" in conda.out

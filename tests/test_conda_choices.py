"""Which packages are chosen: what conda, mamba and rattler have agreed on, case by case.

Channels are made of an index alone, since nothing is ever fetched, and there are only the packages that a case
is about.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuild import Definition, Lock, LockRequest, Platform, Resolution, ResolutionFailed
from envbuild_conda import plugin

LINUX = Platform.parse("linux-x86_64")

Record = dict[str, Any]


def has(named: str, *depends: str, constrains: Iterable[str] = (), noarch: bool = False, **more: Any) -> Record:
    """A package, ``name version build``; the number at the end of a build is its build number.

    :param made: the day on which it was.
    """
    name, version, build = f"{named} 0".split()[:3]
    number = re.search(r"(?:^|_)(\d+)$", build)
    if "made" in more:
        day = datetime.datetime.combine(more.pop("made"), datetime.time(12), datetime.UTC)
        more["timestamp"] = int(day.timestamp() * 1000)
    return {
        "name": name,
        "version": version,
        "build": build,
        "build_number": int(number[1]) if number else 0,
        "depends": list(depends),
        "constrains": list(constrains),
        "subdir": "noarch" if noarch else "linux-64",
        **({"noarch": "python"} if noarch else {}),
        **more,
    }


PYTHONS = [has("python 3.11.5 0_cpython"), has("python 3.12.1 0_cpython")]


@dataclass(frozen=True)
class Case:
    """What there is, what is asked for, and what is to come of it.

    :param more: further channels, by name, which come after the one called ``first``.
    :param chosen: packages as ``name version build``, without Python; or as much of it as matters.
    :param refused: what stands in the complaint, if nothing can be chosen.
    """

    first: list[Record]
    asked: tuple[str, ...]
    chosen: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    more: dict[str, list[Record]] = field(default_factory=dict)
    python: str | None = "3.11"
    machine: dict[str, str] = field(default_factory=dict)
    as_of: datetime.date | None = None


CASES = {
    # Order
    "the newest version": Case([has("a 1.0"), has("a 1.2"), has("a 1.1")], ("a",), ("a 1.2",)),
    "versions are no texts": Case([has("a 1.9"), has("a 1.10")], ("a",), ("a 1.10",)),
    "letters count": Case([has("a 9b"), has("a 9e"), has("a 9d")], ("a",), ("a 9e",)),
    "letters at the end are of candidates": Case([has("a 1.1.1w"), has("a 1.1.1")], ("a",), ("a 1.1.1",)),
    "unless it ends in a dash": Case([has("a 1.1.1w"), has("a 1.1.1_")], ("a",), ("a 1.1.1w",)),
    "an epoch counts most": Case([has("a 2024.1"), has("a 1!0.5")], ("a",), ("a 1!0.5",)),
    "a post release is newer": Case([has("a 1.0"), has("a 1.0.post1")], ("a",), ("a 1.0.post1",)),
    "a local version with a number is newer": Case([has("a 1.0"), has("a 1.0+1")], ("a",), ("a 1.0+1",)),
    "a local version with letters is not": Case([has("a 1.0"), has("a 1.0+cu121")], ("a",), ("a 1.0",)),
    "a local version is that version": Case([has("a 1.0+cu121"), has("a 1.1")], ("a=1.0",), ("a 1.0+cu121",)),
    "a release is newer than its candidates": Case(
        [has("a 2.0rc1"), has("a 2.0"), has("a 2.0.dev3")], ("a",), ("a 2.0",)
    ),
    "conda knows no pre-releases": Case([has("a 1.0"), has("a 2.0rc1")], ("a",), ("a 2.0rc1",)),
    "a bound keeps candidates out": Case([has("a 1.0"), has("a 2.0rc1")], ("a<2.0a0",), ("a 1.0",)),
    "of one version the highest build number": Case([has("a 1.0 x_9"), has("a 1.0 x_10")], ("a",), ("a 1.0 x_10",)),
    "a version counts more than a build": Case([has("a 1.0 x_7"), has("a 1.1 x_0")], ("a",), ("a 1.1 x_0",)),
    "of equal builds the latest": Case(
        [
            has("a 1.0 late_0", made=datetime.date(2025, 1, 1)),
            has("a 1.0 early_0", made=datetime.date(2024, 1, 1)),
        ],
        ("a",),
        ("a 1.0 late_0",),
    ),
    "of equal builds the one that needs the newest": Case(
        [has("b 1"), has("b 2"), has("a 1.0 x_0", "b 1"), has("a 1.0 y_0", "b 2")], ("a",), ("a 1.0 y_0", "b 2")
    ),
    # Builds, features, architectures
    "a build that is asked for": Case([has("a 1.0 cpu_0"), has("a 1.0 cuda_1")], ("a=*=cpu*",), ("a 1.0 cpu_0",)),
    "an older version, where only that has the build": Case(
        [has("a 1.0 mkl_0"), has("a 2.0 open_0")], ("a=*=mkl*",), ("a 1.0 mkl_0",)
    ),
    "a build number that is asked for": Case(
        [has("a 1.0 x_0"), has("a 1.0 x_1")], ("a[build_number='<1']",), ("a 1.0 x_0",)
    ),
    "what tracks a feature comes last": Case(
        [has("a 1.0 x_0"), has("a 1.0 debug_5", track_features="debug")], ("a",), ("a 1.0 x_0",)
    ),
    "even if it is newer": Case([has("a 1.0"), has("a 2.0 x_0", track_features="debug")], ("a",), ("a 1.0",)),
    "unless it is asked for": Case(
        [has("a 1.0 x_0"), has("a 1.0 debug_5", track_features="debug")], ("a=*=debug*",), ("a 1.0 debug_5",)
    ),
    "a mutex leads to the variant": Case(
        [
            has("blas 1.0 mkl"),
            has("blas 1.0 openblas"),
            has("numpy 2.0 mkl_0", "blas * mkl"),
            has("numpy 2.0 open_1", "blas * openblas"),
        ],
        ("numpy", "blas=*=mkl"),
        ("blas 1.0 mkl", "numpy 2.0 mkl_0"),
    ),
    "a newer one for any machine": Case([has("a 1.0"), has("a 2.0", noarch=True)], ("a",), ("a 2.0",)),
    "a newer one for this machine": Case([has("a 2.0"), has("a 1.0", noarch=True)], ("a",), ("a 2.0",)),
    # What packages say of each other
    "a dependency that nobody has leads back": Case(
        [has("a 2.0", "b >=3"), has("a 1.0", "b"), has("b 2.0")], ("a",), ("a 1.0", "b 2.0")
    ),
    "two that need one thing get one that suits both": Case(
        [has("a 1.0", "c <3"), has("b 1.0", "c >=1"), *(has(f"c {each}") for each in (1, 2, 3))],
        ("a", "b"),
        ("a 1.0", "b 1.0", "c 2"),
    ),
    "a bound installs nothing": Case([has("a 1.0", constrains=["b <2"]), has("b 1.0")], ("a",), ("a 1.0",)),
    "a bound holds for what is asked for": Case(
        [has("a 1.0", constrains=["b <2"]), has("b 1.0"), has("b 2.0")], ("a", "b"), ("a 1.0", "b 1.0")
    ),
    "a bound holds for what others need": Case(
        [has("a 1.0", constrains=["c <2"]), has("b 1.0", "c"), has("c 1.5"), has("c 2.0")],
        ("a", "b"),
        ("a 1.0", "b 1.0", "c 1.5"),
    ),
    "a bound that cannot hold leads back": Case(
        [has("a 2.0", constrains=["b <1"]), has("a 1.0"), has("b 1.0")], ("a", "b>=1"), ("a 1.0", "b 1.0")
    ),
    "a circle": Case([has("a 1.0", "b"), has("b 1.0", "a")], ("a",), ("a 1.0", "b 1.0")),
    "what is for another Python does not count": Case(
        [has("a 1.0 py311_0", "python 3.11.*"), has("a 2.0 py312_0", "python 3.12.*")], ("a",), ("a 1.0 py311_0",)
    ),
    # The machine
    "a GPU": Case(
        [has("a 1.0 cpu_0"), has("a 1.0 cuda_1", "__cuda >=12")], ("a",), ("a 1.0 cuda_1",), machine={"CUDA": "12.4"}
    ),
    "a GPU that is too old": Case(
        [has("a 1.0 cpu_0"), has("a 1.0 cuda_1", "__cuda >=12")], ("a",), ("a 1.0 cpu_0",), machine={"CUDA": "11.8"}
    ),
    "no GPU": Case([has("a 1.0 cpu_0"), has("a 1.0 cuda_1", "__cuda")], ("a",), ("a 1.0 cpu_0",)),
    "an old system": Case(
        [has("a 1.0", "__glibc >=2.17"), has("a 2.0", "__glibc >=2.34")], ("a",), ("a 1.0",), machine={"GLIBC": "2.28"}
    ),
    "the one of two for any machine that is for this one": Case(
        [has("a 1.0 unix_0", "__unix", noarch=True), has("a 1.0 win_1", "__win", noarch=True)],
        ("a",),
        ("a 1.0 unix_0",),
    ),
    # Channels
    "the first channel, though it is older": Case(
        [has("a 1.0")], ("a",), ("a 1.0 0 first",), more={"second": [has("a 2.0")]}
    ),
    "the first channel for what others need, too": Case(
        [has("b 1.0")], ("a",), ("a 1.0 0 second", "b 1.0 0 first"), more={"second": [has("a 1.0", "b"), has("b 2.0")]}
    ),
    "another channel for what the first has not": Case(
        [has("a 1.0", "b")], ("a",), ("a 1.0 0 first", "b 2.0 0 second"), more={"second": [has("b 2.0")]}
    ),
    "a channel that is asked for": Case(
        [has("a 1.0")], ("second::a",), ("a 2.0 0 second",), more={"second": [has("a 2.0")]}
    ),
    "the first channel has not the version": Case(
        [has("a 1.0")], ("a>=2",), refused=("a >=2", "strict channel priority"), more={"second": [has("a 2.0")]}
    ),
    # Time
    "nothing that was made later": Case(
        [has("a 1.0", made=datetime.date(2024, 5, 1)), has("a 2.0", made=datetime.date(2024, 5, 3))],
        ("a",),
        ("a 1.0",),
        as_of=datetime.date(2024, 5, 2),
    ),
    "the day itself counts": Case(
        [has("a 1.0", made=datetime.date(2024, 5, 1)), has("a 2.0", made=datetime.date(2024, 5, 2))],
        ("a",),
        ("a 2.0",),
        as_of=datetime.date(2024, 5, 2),
    ),
    # No way
    "nobody has it": Case([has("a 1.0")], ("b",), refused=("No candidates were found for b",)),
    "nobody has that version": Case([has("a 1.0")], ("a>=2",), refused=("a >=2",)),
    "nobody has what it needs": Case([has("a 1.0", "b >=2"), has("b 1.0")], ("a",), refused=("a", "b >=2")),
    "two exclude each other": Case(
        [has("a 1.0", "c <2"), has("b 1.0", "c >=2"), has("c 1"), has("c 2")], ("a", "b"), refused=("c <2", "c >=2")
    ),
    "a bound excludes what is asked for": Case(
        [has("a 1.0", constrains=["b <1"]), has("b 1.0")], ("a", "b"), refused=("a", "b <1")
    ),
    "the machine lacks it": Case([has("a 1.0", "__cuda >=12")], ("a",), refused=("__cuda >=12",)),
    "the Python that is asked for is too new": Case(
        [has("a 1.0", "python <3.12")], ("a",), refused=("python <3.12",), python="3.12"
    ),
}


@pytest.fixture
def lay(tmp_path: Path) -> Callable[[str, list[Record]], str]:
    """Make a channel of what there is to know about packages, and say where it is."""

    def make(name: str, records: list[Record]) -> str:
        for subdir in ("linux-64", "noarch"):
            known = {
                f"{each['name']}-{each['version']}-{each['build']}.conda": {
                    **each,
                    "sha256": hashlib.sha256(json.dumps(each).encode()).hexdigest(),
                    "size": 1,
                }
                for each in records
                if each["subdir"] == subdir
            }
            file = tmp_path / "channels" / name / subdir / "repodata.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"info": {"subdir": subdir}, "packages": {}, "packages.conda": known}))
        return (tmp_path / "channels" / name).as_uri()

    return make


@pytest.fixture
def choose(tmp_path: Path) -> Callable[..., Lock]:
    """Have the plugin pin a definition."""
    pytest.importorskip("rattler")

    def choose(definition: Definition, machine: dict[str, str] | None = None, **request: Any) -> Lock:
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        said = {"GLIBC": "2.28", "CUDA": "", **(machine or {})}
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "RATTLER_CACHE_DIR": str(tmp_path / "cache"),
            "CONDA_CHANNEL_ALIAS": (tmp_path / "channels").as_uri(),
            **{f"CONDA_OVERRIDE_{name}": value for name, value in said.items()},
        }
        resolution = Resolution(request=LockRequest(scratch=scratch, store=tmp_path, variables=variables, **request))
        assert plugin.resolve_dependencies(definition, LINUX, resolution) == ("conda",)
        assert resolution.python is not None
        return Lock(python=resolution.python, platform=LINUX, packages=resolution.packages)

    return choose


def told(lock: Lock) -> list[str]:
    """The packages, without Python, as cases write them."""
    return sorted(
        f"{each.name} {each.version} {each.details['build']} {each.details['channel']}"
        for each in lock.packages
        if each.name != "python"
    )


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_chosen(case: Case, lay: Callable, choose: Callable) -> None:
    channels = [lay("first", case.first), *(lay(*each) for each in case.more.items()), lay("pythons", PYTHONS)]
    definition = Definition(conda=case.asked, channels=tuple(channels), python=case.python, as_of=case.as_of)

    if case.refused:
        with pytest.raises(ResolutionFailed) as raised:
            choose(definition, case.machine)
        assert all(each in str(raised.value) for each in case.refused), raised.value
        return
    found = told(choose(definition, case.machine))

    assert [f"{each} " for each in found if not f"{each} ".startswith(tuple(f"{one} " for one in case.chosen))] == []
    assert len(found) == len(case.chosen)


# Any channel

NAMES = "abcd"
BOUNDS = {"": {1, 2, 3}, " <2": {1}, " >=2": {2, 3}, " <3": {1, 2}, " 2": {2}, " >=4": set()}
bounds = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(list(BOUNDS))), max_size=2)
worlds = st.dictionaries(
    st.tuples(st.sampled_from(NAMES), st.integers(1, 3)), st.tuples(bounds, bounds), min_size=2, max_size=12
)
World = dict[tuple[str, int], tuple[list[tuple[str, str]], list[tuple[str, str]]]]


def is_sound(chosen: dict[str, int], world: World, asked: Iterable[tuple[str, str]]) -> bool:
    """Whether all that is asked for is there, all that it needs, and nothing that is excluded."""
    needs, excluded = [*asked], []
    for each in chosen.items():
        needs += world[each][0]
        excluded += world[each][1]
    return all(chosen.get(name) in BOUNDS[bound] for name, bound in needs) and all(
        name not in chosen or chosen[name] in BOUNDS[bound] for name, bound in excluded
    )


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worlds, bounds)
def test_there_is_a_sound_choice_or_none_at_all(
    lay: Callable, choose: Callable, world: World, asked: list[tuple[str, str]]
) -> None:
    asked = [*asked, ("a", "")]
    made = [
        has(f"{name} {version}", *("".join(each) for each in needs), constrains=["".join(each) for each in excluded])
        for (name, version), (needs, excluded) in world.items()
    ]
    definition = Definition(
        conda=tuple("".join(each) for each in asked), channels=(lay("any", made), lay("pythons", PYTHONS))
    )
    there = [[None, *(version for of, version in world if of == name)] for name in NAMES]
    possible = [dict(zip(NAMES, versions, strict=True)) for versions in itertools.product(*there)]
    sound = [
        each
        for each in ({name: version for name, version in one.items() if version} for one in possible)
        if is_sound(each, world, asked)
    ]

    try:
        found = choose(definition)
    except ResolutionFailed:
        assert sound == []
        return
    chosen = {each.name: int(each.version or 0) for each in found.packages if each.name != "python"}

    assert chosen in sound
    assert not any(each.items() < chosen.items() for each in sound), "something is there that nobody needs"


# What was locked before


def test_what_was_locked_stays(lay: Callable, choose: Callable) -> None:
    channels = (lay("first", [has("a 1.0", "b"), has("b 1.0")]), lay("pythons", PYTHONS))
    before = choose(Definition(conda=("a",), channels=channels))
    lay("first", [has("a 1.0", "b"), has("a 1.1", "b"), has("b 1.0"), has("b 1.1"), has("c 1.0", "b")])

    assert told(choose(Definition(conda=("a", "c"), channels=channels), previous=before)) == [
        "a 1.0 0 first",
        "b 1.0 0 first",
        "c 1.0 0 first",
    ]


def test_what_is_to_be_upgraded_is_and_nothing_else(lay: Callable, choose: Callable) -> None:
    channels = (lay("first", [has("a 1.0", "b"), has("b 1.0")]), lay("pythons", PYTHONS))
    wanted = Definition(conda=("a",), channels=channels)
    before = choose(wanted)
    lay("first", [has("a 1.0", "b"), has("a 1.1", "b"), has("b 1.0"), has("b 1.1")])

    assert told(choose(wanted, previous=before, upgrade=frozenset({"a"}))) == ["a 1.1 0 first", "b 1.0 0 first"]
    assert told(choose(wanted, previous=before, upgrade=True)) == ["a 1.1 0 first", "b 1.1 0 first"]


def test_an_upgrade_takes_along_what_it_needs(lay: Callable, choose: Callable) -> None:
    channels = (lay("first", [has("a 1.0", "b"), has("b 1.0")]), lay("pythons", PYTHONS))
    wanted = Definition(conda=("a",), channels=channels)
    before = choose(wanted)
    lay("first", [has("a 1.0", "b"), has("a 1.1", "b >=1.1"), has("b 1.0"), has("b 1.1")])

    assert told(choose(wanted, previous=before, upgrade=frozenset({"a"}))) == ["a 1.1 0 first", "b 1.1 0 first"]


def test_what_was_locked_goes_back_where_the_definition_says_so(lay: Callable, choose: Callable) -> None:
    channels = (lay("first", [has("a 1.0", "b <2"), has("a 2.0", "b"), has("b 1.0"), has("b 2.0")]),)
    channels = (*channels, lay("pythons", PYTHONS))
    before = choose(Definition(conda=("a",), channels=channels))
    assert told(before) == ["a 2.0 0 first", "b 2.0 0 first"]

    lower = Definition(conda=("a<2",), channels=channels)

    assert told(choose(lower, previous=before)) == ["a 1.0 0 first", "b 1.0 0 first"]


def test_what_nobody_needs_any_more_goes(lay: Callable, choose: Callable) -> None:
    channels = (lay("first", [has("a 1.0", "b"), has("b 1.0"), has("c 1.0")]), lay("pythons", PYTHONS))
    before = choose(Definition(conda=("a", "c"), channels=channels))

    assert told(choose(Definition(conda=("c",), channels=channels), previous=before)) == ["c 1.0 0 first"]


def test_python_stays_too(lay: Callable, choose: Callable) -> None:
    first = [has("a 1.0")]
    channels = (lay("first", first), lay("pythons", PYTHONS[:1]))
    before = choose(Definition(conda=("a",), channels=channels))
    lay("pythons", PYTHONS)

    assert choose(Definition(conda=("a",), channels=channels), previous=before).python == "3.11.5"
    assert choose(Definition(conda=("a",), channels=channels), previous=before, upgrade=True).python == "3.12.1"


def test_the_order_of_packages_in_a_file_changes_nothing(lay: Callable, choose: Callable) -> None:
    made = [has("a 1.0", "c <3"), has("a 2.0", "c <2"), has("b 1.0", "c"), has("b 2.0", "c >=2")]
    channels = (lay("first", [*made, *(has(f"c {each}") for each in (1, 2, 3))]), lay("pythons", PYTHONS))

    one, other = (choose(Definition(conda=asked, channels=channels)) for asked in (("a", "b"), ("b", "a")))

    assert told(one) == told(other)

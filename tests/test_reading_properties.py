"""What holds for every definition: how it is written down does not change what it is."""

from __future__ import annotations

import contextlib
import random
import tempfile
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import DefinitionError
from envbuild.fingerprint import definition_document
from envbuild.reading import read

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,5}([-_.][a-z0-9]{1,4}){0,2}", fullmatch=True)
EXTRAS = st.lists(NAMES, max_size=2, unique=True)
VERSIONS = st.lists(
    st.tuples(st.sampled_from(["==", ">=", "<", "!=", "~="]), st.from_regex(r"[1-9]\.[0-9]", fullmatch=True)),
    max_size=2,
    unique_by=lambda each: each[0],
)
MARKERS = st.sampled_from(["", 'python_version < "3.12"', 'sys_platform == "linux" and os_name == "posix"'])
WANTED = st.lists(st.tuples(NAMES, EXTRAS, VERSIONS, MARKERS), min_size=1, max_size=6, unique_by=lambda each: each[0])
Wanted = tuple[str, list[str], list[tuple[str, str]], str]


def read_as(name: str, text: str) -> Definition:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_text(text)
        return read(path, variables={})


def digest(definition: Definition) -> Digest:
    return definition_document(definition).digest


def plainly(wanted: Wanted) -> str:
    name, extras, versions, marker = wanted
    bracketed = f"[{','.join(extras)}]" if extras else ""
    return f"{name}{bracketed}{','.join(a + b for a, b in versions)}" + (f" ; {marker}" if marker else "")


def elaborately(wanted: Wanted, chance: random.Random) -> str:
    """The same with other case, order, white space, quotes, comments and continued lines."""
    name, extras, versions, marker = wanted
    gap = lambda: chance.choice(["", " ", "  ", " \\\n "])  # noqa: E731
    name = "".join(chance.choice([each.upper(), each]) for each in name)
    name = "".join(chance.choice("-_.") if each in "-_." else each for each in name)
    extras = [each.upper() if chance.random() < 0.5 else each for each in extras]
    chance.shuffle(extras)
    chance.shuffle(versions := list(versions))
    bracketed = f"[{gap()}{f'{gap()},{gap()}'.join(extras)}{gap()}]" if extras else ""
    text = f"{name}{gap()}{bracketed}{gap()}{f'{gap()},{gap()}'.join(f'{a}{gap()}{b}' for a, b in versions)}"
    if marker:
        text += f"{gap()};{gap()}{marker.replace(chr(34), chance.choice([chr(34), chr(39)]))}"
    return text + chance.choice(["", " # why", "\t#", "\n# a comment", "\n\n"])


@given(WANTED, st.randoms(use_true_random=False))
def test_spelling_order_and_white_space_of_requirements_do_not_change_the_digest(
    wanted: list[Wanted], chance: random.Random
) -> None:
    plain = read_as("requirements.txt", "\n".join(map(plainly, wanted)))

    shuffled = chance.sample(wanted, len(wanted))
    other = read_as("requirements.txt", "# head\n" + "\n".join(elaborately(each, chance) for each in shuffled))

    assert set(other.pip) == set(plain.pip)
    assert digest(other) == digest(plain)


@given(WANTED, st.randoms(use_true_random=False))
def test_every_kind_of_file_says_the_same_in_its_way(wanted: list[Wanted], chance: random.Random) -> None:
    lines = [plainly(each) for each in wanted]
    quoted = ", ".join("'" + line + "'" for line in lines)
    split = chance.randint(0, len(lines))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "more.txt").write_text("\n".join(lines[split:]))
        Path(folder, "requirements.txt").write_text("\n".join([*lines[:split], "-r more.txt"]))
        expected = read(Path(folder, "requirements.txt"))

    found = [
        read_as("envbuild.yml", yaml.safe_dump({"pip": lines})),
        read_as("environment.yml", yaml.safe_dump({"dependencies": ["pip", {"pip": lines}]})),
        read_as("pyproject.toml", f"[project]\ndependencies = [{quoted}]"),
        read_as("train.py", f"# /// script\n# dependencies = [{quoted}]\n# ///\n"),
        read_as("envbuild.yml", yaml.safe_dump(expected.to_dict())),
    ]

    assert {each.pip for each in found} == {expected.pip}
    assert {digest(each) for each in found} == {digest(expected)}


@given(WANTED, WANTED)
def test_other_requirements_have_another_digest(one: list[Wanted], other: list[Wanted]) -> None:
    first, second = (read_as("requirements.txt", "\n".join(map(plainly, each))) for each in (one, other))

    assert (digest(first) == digest(second)) == (set(first.pip) == set(second.pip))


@settings(max_examples=150)
@given(
    st.sampled_from(["requirements.txt", "environment.yml", "envbuild.yml", "pyproject.toml", "pylock.toml", "x.py"]),
    st.text(st.sampled_from("ab-:[]{}&*!|>#\"'=,.@/\\ \n\t$\x85\u2028\0"), max_size=60),
)
def test_whatever_stands_in_a_file_is_read_or_told_to_be_wrong(name: str, text: str) -> None:
    if name == "x.py":
        text = "# /// script\n" + "".join(f"# {line}\n" for line in text.split("\n")) + "# ///\n"
    with contextlib.suppress(DefinitionError):
        read_as(name, text)

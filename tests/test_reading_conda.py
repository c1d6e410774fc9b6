"""``environment.yml``, conda's form."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import DefinitionError
from envbuild.reading import read, read_with_inputs
from envbuild.reading.conda import python_version
from envbuild.requirement import WheelRef


def asked(folder: Path, text: str, **variables: str) -> Definition:
    path = folder / "environment.yml"
    path.write_text(text)
    return read(path, variables=variables)


def problems(folder: Path, text: str) -> list[tuple[int | None, str]]:
    with pytest.raises(DefinitionError) as caught:
        asked(folder, text)
    return [(each.line, each.message) for each in caught.value.problems]


def test_every_key_that_conda_knows_is_read(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("rich")
    definition = asked(
        tmp_path,
        """
name: web
channels: [conda-forge, https://conda.test/t/tk-123/private]
prefix: /opt/conda/envs/web
platforms: [linux-64]
category: main
variables:
  LEVEL: 3
  NAME: web
dependencies:
  - python=3.11
  - numpy >=2
  - conda-forge::libblas=*=*mkl
  - pip
  - pip:
    - Flask[async]>=3  # the web
    - -r more.txt
    - --extra-index-url https://me:pw@pypi.test/simple
""",
    )

    assert definition.name == "web"
    assert definition.python == "3.11"
    assert definition.conda == ("numpy >=2", "conda-forge::libblas=*=*mkl", "pip")
    assert definition.channels == ("conda-forge", "https://conda.test/private")
    assert definition.variables == {"LEVEL": "3", "NAME": "web"}
    assert [each.text for each in definition.pip] == ["flask[async]>=3", "rich"]
    assert definition.options.extra_index_urls == ("https://pypi.test/simple",)
    assert definition.credentials == {
        "https://pypi.test/simple": "https://me:pw@pypi.test/simple",
        "https://conda.test/private": "https://conda.test/t/tk-123/private",
    }
    assert (definition.root, definition.source) == (tmp_path, tmp_path / "environment.yml")


def test_python_and_pip_alone_need_no_conda(tmp_path: Path) -> None:
    definition = asked(tmp_path, "dependencies:\n- conda-forge::python=3.12.1=h1_0\n- pip=24\n- pip: [rich]")

    assert definition.conda == ()
    assert definition.python == "3.12.1"
    assert definition.sections == ("pip",)


def test_a_build_of_python_is_left_to_conda_where_there_is_conda(tmp_path: Path) -> None:
    definition = asked(tmp_path, "dependencies: [python=3.12.1=h1_0_cpython, numpy]")

    assert definition.conda == ("numpy", "python=3.12.1=h1_0_cpython")


@pytest.mark.parametrize(
    ("spec", "python"),
    [
        ("", None),
        ("*", None),
        ("=3", "3"),
        ("=3.11", "3.11"),
        ("=3.11.*", "3.11"),
        (" 3.11.*", "3.11"),
        ("=3.11.7", "3.11.7"),
        ("==3.11.7", "3.11.7"),
        ("==3.11.*", "3.11"),
        ("==3.11", "==3.11"),
        (" 3.11", "==3.11"),
        (">=3.10,<3.12", ">=3.10,<3.12"),
        (" >=3.10, <3.12", ">=3.10,<3.12"),
        (">=3.10,!=3.11.*", ">=3.10,!=3.11.*"),
        (">=3.10.*", ">=3.10"),
        ("~=3.11", "~=3.11"),
        ("=3.11.4=h955ad1f_0", "3.11.4"),
        (" 3.11.4 h955ad1f_0", "3.11.4"),
        ("=3.11=*_cpython", "==3.11"),
        ("=3.5.2=0", "3.5.2"),
        ("=3.11.*=*_cpython", "3.11"),
        ("=3.11[build=*_cpython]", "3.11"),
        ("[version='3.11.*', build=*_cpython]", "3.11"),
        ("[build=*_cpython]", None),
        ("[version='>=3.10,<3.12']", ">=3.10,<3.12"),
    ],
)
def test_versions_of_python_are_said_in_the_words_of_pep_440(spec: str, python: str | None) -> None:
    assert python_version(spec) == python


@pytest.mark.parametrize("spec", ["=3.10|=3.11", "=three", "[version=three]", ">=3.10;x"])
def test_what_is_no_version_of_python_is_told(tmp_path: Path, spec: str) -> None:
    ((line, message),) = problems(tmp_path, f'dependencies:\n  - "python{spec}"')

    assert line == 2
    assert "python" in message


@pytest.mark.parametrize(
    "written",
    [
        "file:///srv/joblib-1-0.conda",
        "https://me:s3cret@h.test/t/s3cret/joblib-1-0.tar.bz2#s3cret",
        "./joblib-1-0.conda",
    ],
)
def test_a_package_by_its_url_is_told_how_to_be_asked_for(tmp_path: Path, written: str) -> None:
    ((line, message),) = problems(tmp_path, f'dependencies:\n  - "{written}"')

    assert line == 2
    assert "a package by its URL or path (joblib-1-0." in message
    assert "name its channel" in message
    assert "s3cret" not in message


def test_wheels_in_the_pip_list_are_known_by_their_bytes(tmp_path: Path) -> None:
    wheel = tmp_path / "dist" / "demo-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"wheel")
    path = tmp_path / "environment.yml"
    path.write_text("dependencies: [python, {pip: [./dist/demo-1.0-py3-none-any.whl]}]")

    definition, inputs = read_with_inputs(path)

    assert definition.wheels == (WheelRef(wheel.name, Digest.of(b"wheel")),)
    assert definition.wheels[0].path == "./dist/demo-1.0-py3-none-any.whl"
    assert inputs == (path, wheel)


def test_everything_wrong_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """name: not a name
chanels: [x]
variables:
  RATE: 0.1
dependencies:
  - 3
  - python=3.11
  - python=3.12
  - pip:
      - numpy>>1
      - ok
      - ./gone.whl
  - npm: [left-pad]
  - pip: [late]
""",
    )

    assert sorted((line or 0) for line, _ in found) == [1, 2, 4, 6, 8, 10, 12, 13, 14]
    said = dict(found)
    assert said[2] == "unknown key 'chanels'; did you mean 'channels'?"
    assert "quotes" in said[4]
    assert said[12] == "no such file or folder: './gone.whl'"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("dependencies:\n- numpy  # [linux]", 2, "selectors ('# [linux]')"),
        ("dependencies:\n- numpy  # [not win and py>=38]", 2, "selectors"),
        ("dependencies:\n- numpy={{ version }}", 2, "Jinja"),
        ("{% set v = 1 %}\ndependencies: []", 1, "Jinja"),
        ("dependencies: numpy", 1, "a list is wanted, not str"),
        ("dependencies:\n- pip: numpy", 2, "a list is wanted, not str"),
        ("dependencies:\n- pip:\n  - --no-binary :all:", 3, "put quotes around it: it ends with ':'"),
        ("dependencies:\n- pip:\n  - 3", 3, "a line of a requirements file is wanted"),
        ("channels: conda-forge", 1, "channels: a list is wanted, not str"),
        ("- numpy", 1, "keys and values are wanted"),
        ("# nothing", 1, "nothing is in it"),
        ("name: a\nname: b", 2, "'name' is there twice"),
        ("name: [a\n", 2, "not YAML"),
        ("name: a\n\tb: c", 2, "not YAML"),
        ("name: !!python/object:os.system x", 1, "python/object:os.system"),
        ("a: 1\n---\nb: 2", 2, "not YAML"),
        ("3: x", 1, "a key is a text: put quotes around 3"),
        ("? [a]\n: x", 1, "a key is a text, not a list"),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path: Path, text: str, line: int, message: str) -> None:
    found = problems(tmp_path, text)

    assert found[0][0] == line
    assert message in found[0][1]


def test_a_comment_that_is_no_selector_is_a_comment(tmp_path: Path) -> None:
    assert asked(tmp_path, "dependencies:\n- numpy  # [see issue 5]\n- scipy # {{ x }}").conda == ("numpy", "scipy")


def test_aliases_that_unfold_without_measure_are_refused(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )

    ((_, message),) = problems(tmp_path, bomb)
    assert "aliases unfold into more than" in message

    ((_, message),) = problems(tmp_path, "a: &a [*a]")
    assert "an alias that stands for what it is part of" in message


@pytest.mark.parametrize("deep", ["[" * 100_000, "- " * 50_000, "{a: " * 50_000])
def test_bottomless_values_are_refused(tmp_path: Path, deep: str) -> None:
    ((_, message),) = problems(tmp_path, deep)

    assert "nothing that deep" in message


def test_an_alias_and_a_merge_stand_for_what_they_name(tmp_path: Path) -> None:
    definition = asked(tmp_path, "variables: &v {A: x, B: x}\nname: a\ndependencies: []\n")
    merged = tmp_path / "envbuild.yml"
    merged.write_text("docker: &d {image: a, user: b}\nspark:\n  <<: *d\n  user: c\n")

    assert definition.variables == {"A": "x", "B": "x"}
    assert read(merged).spark == {"image": "a", "user": "c"}

"""Which file is a definition, of which kind, and what is said of those that are none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import DefinitionError, LockError, NotFound
from envbuild.reading import DEFINITION_FILES, find, read, read_as_conda, read_with_inputs
from envbuild.reading.locks import locks_in
from envbuild.requirement import PylockFile

PYLOCK = 'lock-version = "1.0"\ncreated-by = "uv"\nrequires-python = ">=3.11"\npackages = []\n'


def put(folder: Path, name: str, text: str | bytes = "") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", "rich"),
        ("requirements-dev.in", "rich"),
        ("needs.txt", "rich"),
        ("pyproject.toml", '[project]\ndependencies = ["rich"]'),
        ("environment.yml", "dependencies: [pip: [rich]]"),
        ("environment.yaml", "dependencies: [pip: [rich]]"),
        ("ci-env.yml", "channels: [x]\ndependencies: [pip: [rich]]"),
        ("envbuild.yml", "pip: [rich]"),
        ("envbuild.yaml", "pip: [rich]"),
        ("gpu.yaml", "pip: [rich]"),
        ("train.py", "# /// script\n# dependencies = ['rich']\n# ///\n"),
        ("train", "# /// script\n# dependencies = ['rich']\n# ///\n"),
    ],
)
def test_the_kind_of_a_file_is_told_by_its_name_and_else_by_what_is_in_it(tmp_path: Path, name: str, text: str) -> None:
    path = put(tmp_path, name, text)

    definition, inputs = read_with_inputs(path)

    assert [each.text for each in definition.pip] == ["rich"]
    assert (definition.root, definition.source, inputs) == (tmp_path, path, (path,))


@pytest.mark.parametrize("name", ["pylock.toml", "pylock.web.toml"])
def test_a_lock_is_installed_as_it_stands(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, name, PYLOCK)

    definition = read(path)

    assert definition == Definition(python=">=3.11", pylock=PylockFile(Digest.of(PYLOCK.encode())))
    assert definition.pylock == PylockFile(Digest.of(PYLOCK.encode()), path=name)


@pytest.mark.parametrize(
    ("text", "line"), [("lock-version = \n", 1), ('lock-version = "2.0"\n', None), ("\n[a\n", 2), ("", None)]
)
def test_what_is_no_lock_is_told(tmp_path: Path, text: str, line: int | None) -> None:
    with pytest.raises(DefinitionError) as caught:
        read(put(tmp_path, "pylock.toml", text))

    assert caught.value.problems[0].line == line


def test_a_relative_path_is_read_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "sub/requirements.txt", "numpy>>1")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DefinitionError, match=r"^sub/requirements\.txt:1: "):
        read(Path("sub/requirements.txt"))


def test_a_folder_is_searched_in_the_documented_order(tmp_path: Path) -> None:
    assert find(tmp_path) is None
    for name in reversed(DEFINITION_FILES):
        put(tmp_path, name, "[project]\nname = 'a'" if name == "pyproject.toml" else "")
        assert find(tmp_path) == tmp_path / name


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("[tool.ruff]\n", False),
        ("[build-system]\nrequires = []\n", False),
        ("[project]\nname = 'a'\n", True),
        ("[dependency-groups]\ndev = []\n", True),
        ("[tool.envbuild]\npip = ['a']\n", True),
        ("[not toml", True),
    ],
)
def test_a_pyproject_counts_only_if_it_asks_for_something(tmp_path: Path, text: str, counts: bool) -> None:
    pyproject = put(tmp_path, "pyproject.toml", text)
    lock = put(tmp_path, "pylock.toml", PYLOCK)

    assert find(tmp_path) == (pyproject if counts else lock)


def test_what_is_not_there_is_told_with_what_is_near(tmp_path: Path) -> None:
    put(tmp_path, "requirements.txt", "rich")

    with pytest.raises(NotFound, match="no such file") as caught:
        read(tmp_path / "requirement.txt")
    assert caught.value.hint == "did you mean 'requirements.txt'?"

    with pytest.raises(NotFound) as caught:
        read(tmp_path / "definition")
    assert caught.value.hint == "did you mean 'requirements.txt'?"

    with pytest.raises(NotFound, match="there is no folder"):
        read(tmp_path / "gone" / "requirements.txt")


@pytest.mark.parametrize("name", DEFINITION_FILES)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\0\xff", "binary|not UTF-8"),
        (b"x" * 10_000_001, "larger than 10 MB"),
    ],
)
def test_files_that_nobody_wrote_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        read(put(tmp_path, name, content))


@pytest.mark.parametrize("name", [name for name in DEFINITION_FILES if name != "requirements.txt"])
@pytest.mark.parametrize("content", [b"", b" \n"])
def test_an_empty_file_that_has_to_say_something_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(DefinitionError, match="empty"):
        read(put(tmp_path, name, content))


def test_bytes_that_are_not_utf8_are_told_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="not UTF-8: byte 0xfc in line 2"):
        read(put(tmp_path, "envbuild.yml", "name: a\n# grüße".encode("latin-1")))


@pytest.mark.parametrize(
    "name", ["requirements.txt", "envbuild.yml", "pyproject.toml", "pylock.toml", "x.py", "folder"]
)
def test_a_folder_is_no_definition(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()

    with pytest.raises(DefinitionError, match="is a folder"):
        read(tmp_path / name)


def test_a_file_of_another_kind_is_told_the_kinds_there_are(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="of no kind that definitions are written in"):
        read(put(tmp_path, "Makefile", "all:"))


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("uv.lock", 'version = 1\n\n[[package]]\nname = "six"\n', "'uv export --format pylock.toml -o pylock.toml'"),
        ("poetry.lock", '[[package]]\nname = "six"\n', "'poetry export -o requirements.txt'"),
        ("pdm.lock", "[metadata]\n", "'pdm export -o requirements.txt'"),
        ("Pipfile", "[packages]\n", "'pipenv requirements > requirements.txt'"),
        ("Pipfile.lock", "{}", "'pipenv requirements --hash > requirements.txt'"),
        ("setup.py", "from setuptools import setup\nsetup()\n", "a requirements.txt with the line '-e .'"),
        ("setup.cfg", "[metadata]\n", "a requirements.txt with the line '-e .'"),
        ("pixi.toml", "[workspace]\n", "'pixi lock' writes a pixi.lock"),
        ("python_env.yaml", "python: 3.11\ndependencies:\n- -r requirements.txt\n", "the conda.yaml"),
        ("train.py.lock", "version = 1\n", "the script itself is read"),
        ("train.ipynb", "{}", "'jupyter nbconvert --to script'"),
        ("env.yml", "$schema: https://azuremlschemas.test/environment.schema.json\nimage: a\n", "its 'conda_file'"),
    ],
)
def test_a_file_of_another_tools_is_told_what_to_name_in_its_place(
    tmp_path: Path, name: str, content: str, hint: str
) -> None:
    with pytest.raises(DefinitionError, match=f"{name}: this is another tool's, and not read") as refused:
        read(put(tmp_path, name, content))

    assert hint in refused.value.hint


def test_the_name_in_a_file_for_conda_may_be_left_aside(tmp_path: Path) -> None:
    path = put(tmp_path, "environment.yml", "name: cv[pytorch]\ndependencies:\n- python=3.11\n")

    assert (read_as_conda(path).name, read_as_conda(path).python) == (None, "3.11")
    with pytest.raises(DefinitionError, match=r"'cv\[pytorch\]' is not a name"):
        read(path)


def test_a_setup_py_with_a_block_is_a_script(tmp_path: Path) -> None:
    assert read(put(tmp_path, "setup.py", "# /// script\n# dependencies = []\n# ///\n")).pip == ()


def test_what_another_tool_locked_is_no_lock_to_import(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="another tool's, and not read") as refused:
        locks_in(put(tmp_path, "uv.lock", "version = 1\n"))

    assert "uv export" in refused.value.hint


def test_only_a_pyproject_has_groups(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="only pyproject"):
        read(put(tmp_path, "requirements.txt", "rich"), group="dev")


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in the file system there")
def test_a_pipe_is_no_definition_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "requirements.txt")

    with pytest.raises(DefinitionError, match="not an ordinary file"):
        read(tmp_path / "requirements.txt")


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").symlink_to("gone.txt")

    with pytest.raises(DefinitionError, match="no such file"):
        read(tmp_path / "requirements.txt")


def test_looking_for_a_block_loads_no_parser(tmp_path: Path) -> None:
    path = put(tmp_path, "train.py", "# /// script\n# a = 1\n# ///\n")
    asked = (
        "import sys, pathlib; from envbuild.reading import has_script_block; "
        f"assert has_script_block(pathlib.Path({str(path)!r})); "
        "print(*sorted({'yaml', 'tomllib', 'packaging', 'envbuild.definition'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""

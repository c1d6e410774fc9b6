"""``pyproject.toml`` and scripts with a PEP 723 block."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import DefinitionError
from envbuild.reading import has_script_block, read
from envbuild.requirement import PipOptions, Requirement, WheelRef

PROJECT = """
[project]
name = "Web.App"
requires-python = ">=3.11"
dependencies = ["Flask>=3", "rich"]

[project.optional-dependencies]
"Data_Base" = ["sqlalchemy"]
all = ["web_app[data-base,docs]", "uvloop"]
docs = ["sphinx"]

[dependency-groups]
Dev = ["pytest", {include-group = "lint.tools"}]
lint-tools = ["ruff"]
docs = ["furo"]
"""
BUILT = '[build-system]\nrequires = ["hatchling"]\n'


def asked(folder: Path, text: str, group: str | None = None) -> Definition:
    path = folder / "pyproject.toml"
    path.write_text(text)
    return read(path, group=group)


def texts(definition: Definition) -> list[str]:
    return [each.text for each in definition.pip]


def problems(folder: Path, text: str, group: str | None = None) -> list[tuple[int | None, str]]:
    with pytest.raises(DefinitionError) as caught:
        asked(folder, text, group)
    return [(each.line, each.message) for each in caught.value.problems]


@pytest.mark.parametrize(
    ("group", "more"),
    [
        (None, []),
        ("dev", ["pytest", "ruff"]),
        ("DEV", ["pytest", "ruff"]),
        ("lint_tools", ["ruff"]),
        ("data.base", ["sqlalchemy"]),
        ("all", ["uvloop", "sqlalchemy", "sphinx"]),
        ("docs", ["furo"]),
        ("dev, data-base", ["sqlalchemy", "pytest", "ruff"]),
    ],
)
def test_a_project_without_build_system_is_what_it_depends_on(
    tmp_path: Path, group: str | None, more: list[str]
) -> None:
    definition = asked(tmp_path, PROJECT, group)

    assert definition.name == "Web.App"
    assert definition.python == ">=3.11"
    assert texts(definition) == ["flask>=3", "rich", *more]


@pytest.mark.parametrize(
    ("group", "found"),
    [
        (None, ["./."]),
        ("dev", ["./.", "pytest", "ruff"]),
        ("all,data-base", ["./.[all,data-base]"]),
    ],
)
def test_a_project_with_a_build_system_is_installed_editable(
    tmp_path: Path, group: str | None, found: list[str]
) -> None:
    definition = asked(tmp_path, BUILT + PROJECT, group)

    assert texts(definition) == found
    assert definition.pip[0].editable


def test_package_false_leaves_the_project_out(tmp_path: Path) -> None:
    definition = asked(tmp_path, BUILT + PROJECT + "[tool.envbuild]\npackage = false\n")

    assert texts(definition) == ["flask>=3", "rich"]


def test_dependency_groups_need_no_project(tmp_path: Path) -> None:
    assert texts(asked(tmp_path, '[dependency-groups]\ndev = ["a"]', "dev")) == ["a"]


def test_the_tool_table_has_the_keys_of_the_full_form(tmp_path: Path) -> None:
    (tmp_path / "demo-1.0-py3-none-any.whl").write_bytes(b"")
    definition = asked(
        tmp_path,
        PROJECT
        + """
[tool.envbuild]
name = "other"
python = "3.12"
pip = ["extra", "--pre"]
wheels = ["demo-1.0-py3-none-any.whl"]
secrets = ["TOKEN"]
as-of = 2026-01-31
gpu = true
[tool.envbuild.variables]
LANG = "C"
[tool.envbuild.options]
index-url = "https://me:pw@one.test"
[tool.uv.sources]
rich = {git = "https://host.test/rich", tag = "v1"}
""",
    )

    assert definition == Definition(
        name="other",
        python="3.12",
        pip=tuple(map(Requirement, ("extra", "flask>=3", "rich @ git+https://host.test/rich@v1"))),
        wheels=(WheelRef("demo-1.0-py3-none-any.whl", Digest.of(b"")),),
        secrets=("TOKEN",),
        as_of=datetime.date(2026, 1, 31),
        gpu={"count": "all"},
        variables={"LANG": "C"},
        options=PipOptions(index_url="https://one.test", pre=True),
    )


def test_everything_wrong_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """[project]
name = "a"
requires-python = "three"
dependencies = [
  "fine",
  "not>>fine",
  "./path",
  "x @ ./gone.whl",
]
[dependency-groups]
dev = [
  "also>>not",
  {include-group = "gone"},
  {include = "x"},
]
[tool.envbuild]
wheels = ["gone-1.0-py3-none-any.whl"]
chanels = []
[tool.envbuild.variables]
A = 0.5
""",
        "dev",
    )

    assert sorted(line or 0 for line, _ in found) == [3, 6, 7, 8, 11, 12, 13, 17, 18, 20]


@pytest.mark.parametrize(
    ("text", "group", "line", "message"),
    [
        ("[project\n", None, 1, "not TOML"),
        ('a = 1\na = "', None, 2, "not TOML"),
        ("[tool.ruff]\n", None, None, "nothing to install"),
        ("[tool.poetry]\n", None, None, "Poetry's own tables are not read"),
        (PROJECT, "tests", None, "'tests' (groups: dev, lint-tools, docs; extras: data-base, all, docs)"),
        (PROJECT, "", None, "is missing behind ':'"),
        (
            "[project]\nname = 'a'\n[tool.poetry.group.dev]\n",
            "dev",
            None,
            "[tool.poetry.group] is not read: put it under",
        ),
        (
            "[project]\nname = 'a'\n[tool.pdm.dev-dependencies]\nmy_tests = []\n",
            "my-tests",
            None,
            "[tool.pdm.dev-dependencies]",
        ),
        ("[project]\nname = 'a'\n[tool.hatch.envs.test]\n", "test", None, "[tool.hatch.envs] is not read"),
        (
            "[project]\nname = 'a'\n[tool.uv]\ndev-dependencies = []\n",
            "dev",
            None,
            "dev-dependencies of [tool.uv] are not read",
        ),
        ('[dependency-groups]\na = [{include-group = "b"}]\nb = [{include-group = "A"}]', "a", 3, "a → b → a"),
        ("[dependency-groups]\na-b = []\nA_B = []", None, 3, "'a-b' and 'A_B' are the same dependency group"),
        ('[project]\nname = "a"\ndynamic = ["dependencies"]', None, 3, "dependencies are dynamic"),
        ('[project]\nname = "a"\ndependencies = "x"', None, 3, "a list is wanted, not str"),
        ('[project]\nname = "a"\ndependencies = [1]', None, 3, "a requirement is a text, not 1"),
        ('[dependency-groups]\na = "x"', "a", 2, "a list is wanted"),
        ('[project]\nname = "a"\n[tool.envbuild]\npackage = 1', None, 4, "true or false"),
    ],
)
def test_what_cannot_be_meant_is_told(
    tmp_path: Path, text: str, group: str | None, line: int | None, message: str
) -> None:
    found = problems(tmp_path, text, group)

    assert found[0][0] == line
    assert message in found[0][1]


# -- scripts -------------------------------------------------------------------------------------------------

SCRIPT = """#!/usr/bin/env python
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "Flask>=3",
#
#   "rich",
# ]
# [tool.envbuild]
# name = "hello"
# secrets = ["TOKEN"]
# variables = {LANG = "C"}
# [tool.uv]
# exclude-newer = "2026-02-01T00:00:00Z"
# [[tool.uv.index]]
# url = "https://me:pw@one.test"
# [[tool.uv.index]]
# url = "https://two.test"
# default = true
# ///
import flask
"""


def script(folder: Path, text: str | bytes) -> Path:
    path = folder / "train.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_script_says_what_it_needs(tmp_path: Path, ending: str) -> None:
    path = script(tmp_path, SCRIPT.replace("\n", ending))

    assert has_script_block(path)
    assert read(path) == Definition(
        name="hello",
        python=">=3.11",
        pip=(Requirement("flask>=3"), Requirement("rich")),
        secrets=("TOKEN",),
        variables={"LANG": "C"},
        as_of=datetime.date(2026, 1, 31),
        options=PipOptions(index_url="https://two.test", extra_index_urls=("https://one.test",)),
    )


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{git = 'https://host.test/lib', rev = 'main'}", "lib @ git+https://host.test/lib@main"),
        ("{url = 'https://host.test/lib-1.tar.gz'}", "lib @ https://host.test/lib-1.tar.gz"),
        ("{path = 'here/lib', editable = true}", "./here/lib"),
    ],
)
def test_a_package_that_uv_would_take_from_elsewhere_is_taken_from_there(
    tmp_path: Path, source: str, text: str
) -> None:
    (tmp_path / "here/lib").mkdir(parents=True)
    (tmp_path / "here/lib/pyproject.toml").write_text("[project]\nname = 'lib'\n")
    block = f"# /// script\n# dependencies = ['Lib>=1']\n# [tool.uv.sources]\n# lib = {source}\n# ///\n"

    assert texts(read(script(tmp_path, block))) == [text]


def test_a_script_is_no_member_of_a_workspace(tmp_path: Path) -> None:
    text = "# /// script\n# dependencies = ['lib']\n# [tool.uv.sources]\n# lib = {workspace = true}\n# ///\n"

    with pytest.raises(DefinitionError, match="there is no workspace that this belongs to") as refused:
        read(script(tmp_path, text))

    assert refused.value.problems[0].line == 4


@pytest.mark.parametrize(
    ("dependency", "rest"),
    [
        ("lib @ git+https://host.test/lib@main", "# lib = {git = 'https://host.test/lib', rev = 'main'}\n"),
        ("lib", "# lib = {path = 'here/lib'}\n# [tool.envbuild]\n# pip = ['./here/lib']\n"),
        ("lib", "# other = {path = 'other'}\n"),
    ],
)
def test_a_source_of_uvs_asks_for_nothing_twice(tmp_path: Path, dependency: str, rest: str) -> None:
    (tmp_path / "here/lib").mkdir(parents=True)
    (tmp_path / "here/lib/pyproject.toml").write_text("[project]\nname = 'lib'\n")
    text = f"# /// script\n# dependencies = ['{dependency}']\n# [tool.uv.sources]\n{rest}# ///\n"

    assert len(read(script(tmp_path, text)).pip) == 1


def test_a_script_in_another_encoding_is_read_as_python_reads_it(tmp_path: Path) -> None:
    text = "# coding: latin-1\n# /// script\n# dependencies = ['rich']\n# ///\nprint('grüße')\n"

    assert texts(read(script(tmp_path, text.encode("latin-1")))) == ["rich"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("import this\n", None, "there is no '# /// script'"),
        ("# /// script\n# ///\nimport this\n", None, "its '# /// script' is empty; '# dependencies = []' in it"),
        ("# /// script\n# dependencies = []\nimport this\n", 1, "no '# ///' closes this"),
        ("# /// other\n# dependencies = []\n# ///\n", None, "there is no '# /// script'"),
        ("# /// script\n#dependencies = []\n# ///\n", 1, "no '# ///' closes this"),
        ("# /// script\n# a = 1\n# ///\n\n# /// script\n# a = 1\n# ///\n", 5, "a second '# /// script'"),
        ("\n# /// script\n# dependencies = [\n# ///\n", 4, "not TOML"),
        ("\n# /// script\n# a = = 1\n# ///\n", 3, "not TOML"),
        ("# /// script\n# dependency = []\n# ///\n", 2, "did you mean 'dependencies'?"),
        ("# /// script\n# dependencies = [\n#   'a>>1',\n# ]\n# ///\n", 3, "a>>1"),
        ("# /// script\n# requires-python = '>=x'\n# ///\n", 2, "neither a Python version nor a range"),
        ("# /// script\n# [tool.uv]\n# exclude-newer = '1 week'\n# ///\n", 3, "not a day or a time"),
    ],
)
def test_what_is_wrong_in_a_block_is_told(tmp_path: Path, text: str, line: int | None, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read(script(tmp_path, text))

    assert caught.value.problems[0].line == line
    assert message in caught.value.problems[0].message


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SCRIPT, True),
        ("import this", False),
        ("# /// script\n", False),
        ("x = '''\n# /// script\n'''\n", False),
        (b"\xff\n# /// script\n# a = 1\n# ///\n", True),
    ],
)
def test_a_block_is_found_without_reading_it(tmp_path: Path, text: str | bytes, found: bool) -> None:
    assert has_script_block(script(tmp_path, text)) is found


def test_what_is_not_there_has_no_block(tmp_path: Path) -> None:
    assert not has_script_block(tmp_path / "gone.py")
    assert not has_script_block(tmp_path)

"""``envbuild.yml``, the full form."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import yaml

from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import DefinitionError
from envbuild.fingerprint import definition_document, lock_document
from envbuild.reading import read, read_with_inputs
from envbuild.requirement import PipOptions, Requirement, WheelRef

HASH = "sha256:" + "ab" * 32
WHEEL = "demo-1.0-py3-none-any.whl"


def asked(folder: Path, text: str) -> Definition:
    path = folder / "envbuild.yml"
    path.write_text(text)
    return read(path, variables={})


def problems(folder: Path, text: str) -> list[tuple[str, int | None, str]]:
    with pytest.raises(DefinitionError) as caught:
        asked(folder, text)
    return [(Path(each.file).name, each.line, each.message) for each in caught.value.problems]


def test_every_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/pyproject.toml").touch()
    (tmp_path / "more.txt").write_text("rich")
    (tmp_path / WHEEL).write_bytes(b"wheel")
    definition = asked(
        tmp_path,
        f"""
name: full
python: ">=3.11,<3.13"
pip:
  - Scikit_Learn>=1
  - -e ./lib
  - -r more.txt
  - --pre
  - requirement: numpy==2.0
    hashes: [{HASH}]
  - requirement: ./lib
    editable: true
constraints: [scipy<2]
options:
  index_url: https://me:pw@one.test/simple
  find_links: [lib]
  source: [demo]
wheels:
  - {WHEEL}
  - envbuild://wheels/{"0" * 64}/other-1.0-py3-none-any.whl
conda: [cudatoolkit]
channels: [conda-forge]
variables: {{LANG: C.UTF-8}}
secrets: [TOKEN]
docker: {{base_image: debian}}
gpu: 2
spark: {{packages: [a]}}
plugins: {{tools: {{jq: 1}}, unused: []}}
as_of: 2026-01-31
""",
    )

    assert definition == Definition(
        name="full",
        python=">=3.11,<3.13",
        pip=(
            Requirement("scikit-learn>=1"),
            Requirement("./lib", editable=True),
            Requirement("rich"),
            Requirement("numpy==2.0", hashes=(HASH,)),
        ),
        constraints=(Requirement("scipy<2"),),
        options=PipOptions(index_url="https://one.test/simple", find_links=("./lib",), pre=True, source=("demo",)),
        wheels=(WheelRef(WHEEL, Digest.of(b"wheel")), WheelRef("other-1.0-py3-none-any.whl", Digest("0" * 64))),
        conda=("cudatoolkit",),
        channels=("conda-forge",),
        variables={"LANG": "C.UTF-8"},
        secrets=("TOKEN",),
        docker={"base_image": "debian"},
        gpu={"count": 2},
        spark={"packages": ["a"]},
        plugins={"tools": {"jq": 1}, "unused": []},
        as_of=datetime.date(2026, 1, 31),
    )
    assert definition.credentials == {"https://one.test/simple": "https://me:pw@one.test/simple"}
    path = tmp_path / "envbuild.yml"
    assert read_with_inputs(path)[1] == (path, tmp_path / "more.txt", tmp_path / WHEEL)


def test_what_to_dict_writes_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/setup.py").touch()
    definition = Definition(
        name="back",
        python="3.12",
        pip=(Requirement("numpy>=2", hashes=(HASH,)), Requirement("./lib", editable=True), Requirement("rich")),
        constraints=(Requirement("scipy<2"),),
        options=PipOptions(pre=True, no_binary=("demo",)),
        wheels=(WheelRef(WHEEL, Digest.of(b""), ("x",), 'os_name == "nt"'),),
        variables={"A": "1"},
        gpu={"count": "all"},
        as_of=datetime.date(2026, 1, 31),
    )

    assert asked(tmp_path, yaml.safe_dump(definition.to_dict())) == definition


def test_everything_wrong_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("fine\nnot>>fine")
    found = problems(
        tmp_path,
        """name: a b
python: 3.10
pips: [x]
pip:
  - numpy>>1
  - -r more.txt
  - {requirement: x, editible: true}
  - 3
wheels:
  - gone.whl
  - more.txt
options:
  pre: perhaps
  indexurl: x
  find_links: [gone]
variables:
  A: 0.5
docker:
  memory: 1.5
  days: [2026-01-31]
as_of: soon
secrets: TOKEN
""",
    )

    assert sorted((file, line or 0) for file, line, _ in found) == [
        *(("envbuild.yml", line) for line in (1, 2, 3, 5, 7, 8, 10, 11, 13, 14, 17, 19, 20, 21, 22)),
        ("more.txt", 2),
    ]
    said = {line: message for file, line, message in found if file == "envbuild.yml"}
    assert said[2] == "python: put quotes around it: YAML reads 3.1 as a number, and 3.10 as 3.1"
    assert said[3] == "unknown key 'pips'; did you mean 'pip'?"
    assert said[19] == "docker.memory: put quotes around it: 1.5 is neither a text nor a whole number"


def test_paths_in_options_have_to_exist(tmp_path: Path) -> None:
    ((_, line, message),) = problems(tmp_path, "name: a\noptions:\n  find_links: [gone]\n")

    assert (line, message) == (3, "options.find_links: neither a URL nor an existing file or folder: 'gone'")


def test_several_lines_may_stand_in_one_item(tmp_path: Path) -> None:
    ((_, line, _),) = problems(tmp_path, "pip:\n- |\n  numpy\n  rich>>1\n")

    assert line == 4
    assert [each.text for each in asked(tmp_path, "pip:\n- |\n  numpy\n  rich\n").pip] == ["numpy", "rich"]


@pytest.mark.parametrize("text", ["pip: numpy", "wheels: {a: b}", "constraints: 3"])
def test_a_list_has_to_be_one(tmp_path: Path, text: str) -> None:
    ((_, line, message),) = problems(tmp_path, text)

    assert line == 1
    assert "a list is wanted" in message


def test_a_python_that_is_taken_as_it_is_has_nothing_installed_into_it(tmp_path: Path) -> None:
    definition = asked(tmp_path, "interpreter: /opt/python/bin/python\nvariables: {LANG: C}\n")

    assert definition.interpreter == "/opt/python/bin/python"
    assert definition.sections == ("interpreter",)
    assert definition.is_local
    assert Definition.from_content(definition.content()).content() == definition.content()
    assert Definition.from_dict(definition.to_dict()) == definition
    (problem,) = problems(tmp_path, "interpreter: python\npip: [rich]\nconstraints: [numpy<2]\n")
    assert problem[:2] == ("envbuild.yml", 1)
    assert "pip and constraints would" in problem[2]


def test_a_container_counts_unless_it_is_said_not_to(tmp_path: Path) -> None:
    plain = asked(tmp_path, "docker: {base_image: debian}\n")
    enabled = asked(tmp_path, "docker: {base_image: debian, enabled: true}\n")
    disabled = asked(tmp_path, "docker: {base_image: debian, enabled: false}\n")

    assert [each.sections for each in (plain, enabled, disabled)] == [("docker",), ("docker",), ()]
    assert plain.content() == enabled.content() != disabled.content()
    assert asked(tmp_path, "docker: {enabled: true}\n").sections == ("docker",)
    assert asked(tmp_path, "docker: {enabled: false}\n").content() == Definition().content()


def test_what_only_azure_understands_is_compared_and_changes_no_lock(tmp_path: Path) -> None:
    one = asked(tmp_path, "pip: [rich]\nazure: {inferencing_stack_version: latest}\n")
    other = asked(tmp_path, "pip: [rich]\n")

    assert definition_document(one).digest != definition_document(other).digest
    assert lock_document(one).digest == lock_document(other).digest
    assert one.sections == ("pip",)


def test_sections_of_other_plugins_are_taken_as_they_are_written(tmp_path: Path) -> None:
    definition = asked(tmp_path, "plugins: {zoo: [1], tools: {jq: '1.7'}, unused: {}}\n")

    assert definition.sections == ("tools", "zoo")
    assert definition.content() == {"plugins": {"zoo": [1], "tools": {"jq": "1.7"}}}
    assert Definition.from_content(definition.content()).content() == definition.content()


def test_a_section_that_has_a_key_of_its_own_is_no_other_plugins(tmp_path: Path) -> None:
    found = problems(tmp_path, "plugins:\n  pip: [demo]\n")

    assert found == [("envbuild.yml", 2, "plugins.pip: pip has a key of its own, and is no other plugin's")]


def test_what_is_asked_of_other_plugins_has_one_written_form(tmp_path: Path) -> None:
    ((_, line, message),) = problems(tmp_path, "plugins:\n  tools: {version: 1.5}\n")

    assert line == 2
    assert message == "plugins.tools.version: put quotes around it: 1.5 is neither a text nor a whole number"

"""Locks that other tools made: installed as they stand, and registered under a name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.channel import Channel, serving
from support.desk import Desk
from support.index import Index
from support.shelf import DEMO

from envbuild.definition import Definition
from envbuild.errors import DefinitionError, LockError
from envbuild.lock import Lock, read_pylock
from envbuild.platform import Platform, platform_of_subdir, subdir_of
from envbuild.reading import read
from envbuild.reading.locks import own_lock, packages_in

FORGE = "https://conda.anaconda.org/conda-forge"
LINUX, MAC = Platform.parse("linux-x86_64"), Platform.parse("macos-arm64")
LISTED = f"""\
# This file may be used to create an environment using:
# $ conda create --name <env> --file <this file>
# platform: linux-64
@EXPLICIT
{FORGE}/linux-64/_libgcc_mutex-0.1-conda_forge.tar.bz2#d7c89558ba9fa0495403155b64376d81
{FORGE}/linux-64/python-3.11.7-hab00c5b_1_cpython.conda#sha256:{"a" * 64}
{FORGE}/noarch/tzdata-2024b-hc8b5060_0.conda#{"b" * 64}
# pip six @ https://files.host.test/six-1.17.0-py2.py3-none-any.whl#sha256={"c" * 64}
"""


def names(form: dict[Platform, Any], platform: Platform = LINUX) -> dict[str, str | None]:
    return {each.name: each.version for each in form[platform]}


def test_a_list_is_read_with_the_digests_of_old_and_new() -> None:
    found = {each.name: each for each in packages_in(Path("explicit.txt"), LISTED)[LINUX]}

    assert found["_libgcc_mutex"].details["md5"] == "d7c89558ba9fa0495403155b64376d81"
    assert found["_libgcc_mutex"].artifact.digest is None
    assert str(found["python"].artifact.digest) == f"sha256:{'a' * 64}"
    assert (found["python"].version, found["python"].details["build"]) == ("3.11.7", "hab00c5b_1_cpython")
    assert str(found["tzdata"].artifact.digest) == f"sha256:{'b' * 64}"
    assert found["tzdata"].details["subdir"] == "noarch"
    assert (found["six"].kind, found["six"].version) == ("pip", "1.17.0")


def test_a_requirements_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six  # @EXPLICIT is another thing\n")

    assert read(tmp_path / "requirements.txt").pylock is None


CONDA_LOCK: dict[str, Any] = {
    "version": 1,
    "metadata": {
        "content_hash": {"linux-64": "0" * 64, "osx-arm64": "1" * 64},
        "channels": [{"url": "conda-forge", "used_env_vars": []}],
        "platforms": ["linux-64", "osx-arm64"],
        "sources": ["environment.yml"],
    },
    "package": [
        {
            "name": "python",
            "version": version,
            "manager": "conda",
            "platform": platform,
            "dependencies": {"tzdata": "", "openssl": ">=3.2.0,<4.0a0"},
            "url": f"{FORGE}/{platform}/python-{version}-h1_0.conda",
            "hash": {"md5": "d" * 32, "sha256": "a" * 64},
            "category": "main",
            "optional": False,
        }
        for platform, version in (("linux-64", "3.11.7"), ("osx-arm64", "3.11.8"))
    ]
    + [
        {
            "name": name,
            "version": "1.0",
            "manager": "pip",
            "platform": "linux-64",
            "dependencies": {},
            "url": f"https://files.host.test/{name}-1.0-py3-none-any.whl",
            "hash": {"sha256": "c" * 64},
            "category": category,
            "optional": category != "main",
        }
        for name, category in (("six", "main"), ("tested", "dev"), ("documented", "docs"))
    ],
}
PYTHON = CONDA_LOCK["package"][0]


def test_conda_lock_is_for_several_platforms_and_its_extras_are_left_out() -> None:
    found = packages_in(Path("conda-lock.yml"), yaml.safe_dump(CONDA_LOCK, sort_keys=False))

    assert names(found) == {"python": "3.11.7", "six": "1.0", "tested": "1.0"}
    assert names(found, MAC) == {"python": "3.11.8"}
    assert found[LINUX][0].details["depends"] == "tzdata\nopenssl >=3.2.0,<4.0a0"


PIXI = """\
version: 6
environments:
  default:
    channels:
    - url: https://conda.anaconda.org/conda-forge/
    packages:
      linux-64:
      - conda: https://conda.anaconda.org/conda-forge/linux-64/python-3.11.7-h1_0.conda
      - pypi: ./
  test:
    channels:
    - url: https://conda.anaconda.org/conda-forge/
    indexes:
    - https://pypi.org/simple
    packages:
      linux-64:
      - conda: https://conda.anaconda.org/conda-forge/linux-64/python-3.11.7-h1_0.conda
      - pypi: https://files.host.test/six-1.17.0-py3-none-any.whl
      - pypi: git+https://git.host.test/tool.git?rev=v1#dddddddddddddddddddddddddddddddddddddddd
packages:
- conda: https://conda.anaconda.org/conda-forge/linux-64/python-3.11.7-h1_0.conda
  sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  md5: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
  depends:
  - tzdata
  constrains:
  - python_abi 3.11.* *_cp311
  license: Python-2.0
  size: 30720625
  timestamp: 1696323021224
- pypi: ./
  name: mine
  version: 0.1.0
  editable: true
- pypi: https://files.host.test/six-1.17.0-py3-none-any.whl
  name: six
  version: 1.17.0
  sha256: cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
- pypi: git+https://git.host.test/tool.git?rev=v1#dddddddddddddddddddddddddddddddddddddddd
  name: tool
  version: 1.0.0
"""


def test_pixi_locks_have_environments_of_which_one_is_chosen(tmp_path: Path) -> None:
    default = packages_in(Path("pixi.lock"), PIXI)[LINUX]
    test = {each.name: each for each in packages_in(Path("pixi.lock"), PIXI, "test")[LINUX]}

    assert [each.name for each in default] == ["python", "mine"]
    assert (default[1].artifact.path, default[1].artifact.editable) == ("./", True)
    assert default[0].artifact.size == 30720625
    assert default[0].details["constrains"] == "python_abi 3.11.* *_cp311"
    assert (test["tool"].artifact.revision, test["tool"].artifact.requested_revision) == ("d" * 40, "v1")
    (tmp_path / "pixi.lock").write_text(PIXI)
    chosen = read(tmp_path / "pixi.lock", group="test")
    assert chosen.content() != read(tmp_path / "pixi.lock").content()
    assert Definition.from_content(chosen.content()).pylock == chosen.pylock


def test_pixi_locks_of_before_are_read_too() -> None:
    text = f"""\
version: 5
environments:
  default:
    channels:
    - url: {FORGE}/
    packages:
      linux-64:
      - conda: {FORGE}/linux-64/python-3.11.7-h1_0.conda
      - pypi: https://files.host.test/six-1.17.0-py3-none-any.whl
packages:
- kind: conda
  name: python
  url: {FORGE}/linux-64/python-3.11.7-h1_0.conda
  sha256: {"a" * 64}
- kind: pypi
  name: six
  version: 1.17.0
  url: https://files.host.test/six-1.17.0-py3-none-any.whl
  sha256: {"c" * 64}
"""
    assert names(packages_in(Path("pixi.lock"), text)) == {"python": "3.11.7", "six": "1.17.0"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", f"@EXPLICIT\n{FORGE}/linux-64/python-3.11.7-h1_0.conda\n", "line 2: .* no digest behind the URL"),
        ("a.txt", f"@EXPLICIT\n{FORGE}/noarch/tzdata-1-0.conda#{'b' * 32}\n", "no platform"),
        ("a.txt", "@EXPLICIT\nnumpy==1\n", "line 2: "),
        (
            "a.txt",
            f"@EXPLICIT\n{FORGE}/noarch/tzdata-1-0.conda#{'b' * 32}\n\n{FORGE}/noarch/tzdata-2-0.conda#{'c' * 32}\n",
            r"line 4: tzdata \(conda\) stands in line 2 already",
        ),
        (
            "conda-lock.yml",
            yaml.safe_dump(
                CONDA_LOCK | {"package": [PYTHON, PYTHON | {"url": f"{FORGE}/linux-64/python-3.12.0-h1_0.conda"}]}
            ),
            r"package\[1\]: python 3.12.0, and package\[0\] is python 3.11.7",
        ),
        ("a.txt", "@EXPLICIT\n# pip six @ https://files.host.test/six-1.0.tar.gz\n", "line 2: six: there is no sha256"),
        ("pixi.lock", "version: 99\nenvironments: {default: {}}\n", "version 99 of pixi's format: 4 to 7"),
        ("pixi.lock", PIXI.replace("sha256: a", "sha: a").replace("md5: b", "md: b"), r"linux-64\[0\]: python-3.11.7"),
        ("pixi.lock", PIXI.replace("- pypi: ./\n  name", "- pypi: ./x\n  name"), r"linux-64\[1\]: nothing is said of"),
        ("pixi.lock", "- a\n", "keys and values are wanted"),
        ("conda-lock.yml", "version: 1\npackage: []\n", "metadata.platforms"),
        (
            "conda-lock.yml",
            yaml.safe_dump(CONDA_LOCK, sort_keys=False).replace("version: 3.11.7", "version: 3.5"),
            r"package\[0\]: version",
        ),
        ("conda-lock.yml", "a: [", "line 2: not YAML"),
        ("conda-lock.yml", "\0", "binary"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(DefinitionError, match=said):
        read(tmp_path / name)


def test_an_environment_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "pixi.lock").write_text(PIXI)

    with pytest.raises(DefinitionError, match=r"no environment 'tets'.*did you mean 'test'"):
        read(tmp_path / "pixi.lock", group="tets")


def test_credentials_and_tokens_are_not_kept(desk: Desk) -> None:
    text = LISTED.replace("https://conda.anaconda.org/", "https://me:pa55@conda.corp.test/t/t0ken/")
    desk.write("explicit.txt", text.replace("https://files", "https://me:pa55@files"))
    said = desk.envbuild("env", "show", "explicit.txt", "--json").out

    assert "conda.corp.test/conda-forge" in said or "python" in said
    assert "pa55" not in said
    assert "t0ken" not in said


def test_a_lock_without_python_or_for_another_machine_is_refused(desk: Desk) -> None:
    desk.write("explicit.txt", "".join(line for line in LISTED.splitlines(True) if "/python-" not in line))
    assert "there is no Python" in desk.refused("build", "explicit.txt").err
    desk.write("mac.txt", LISTED.replace("linux-64", "osx-arm64"))
    assert "macos-arm64, not for linux" in desk.refused("build", "mac.txt").err


# -- for real ------------------------------------------------------------------------------------------------

FILES = {"explicit": "explicit.txt", "conda-lock": "conda-lock.yml", "pixi": "pixi.lock"}


@pytest.fixture
def asked(desk: Desk, channel: Channel, index: Index) -> Desk:
    """An environment of conda's, with something that pip installs."""
    pip = f"pip: [--index-url {index.simple}, fancy]"
    desk.write("environment.yml", f"channels: [{channel.url}]\ndependencies: [python=3.11, almanac, {{{pip}}}]\n")
    return desk


def exported(desk: Desk, tool: str) -> str:
    return desk.envbuild("env", "export", "environment.yml", "--format", tool).out


CODE = "import almanac, fancy; print(almanac.__version__, fancy.__version__)"


@pytest.mark.parametrize("tool", FILES)
def test_a_foreign_lock_is_built_and_run(tool: str, asked: Desk) -> None:
    there = asked.at("there")
    there.write(FILES[tool], exported(asked, tool))
    built = there.build(FILES[tool])

    assert built.python(CODE) == "2.0 1.0"
    meta = json.loads(next((built.path / "conda-meta").glob("almanac-*.json")).read_text())
    assert (meta["build"], meta["noarch"], meta["depends"]) == ("pyhd_0", "python", ["python >=3.8", "helper"])
    assert there.build(FILES[tool]).built is False
    assert [each.name for each in there.folder.iterdir()] == [FILES[tool]]
    assert "up to date" in there.envbuild("lock", "--check", FILES[tool]).out


@pytest.mark.parametrize("is_served", [False, True])
def test_the_plain_md5_is_checked_where_there_is_nothing_better(is_served: bool, asked: Desk, channel: Channel) -> None:
    text = asked.envbuild("env", "export", "environment.yml", "--format", "explicit", "--md5").out
    almanac = next(each for each in channel.find("almanac") if each.md5 in text)
    there = asked.at("there")
    with serving(channel) as served:
        if is_served:
            text = text.replace(channel.url, served.url)
        there.write("explicit.txt", text.replace(almanac.md5, "0" * 32))
        assert "almanac" in there.refused("build", "explicit.txt").err
        there.write("explicit.txt", text)
        assert there.build("explicit.txt").python(CODE) == "2.0 1.0"
        # What is unpacked already is no reason to take the wrong bytes.
        there.write("explicit.txt", text.replace(almanac.md5, "1" * 32))
        said = there.refused("build", "explicit.txt").err
        assert "almanac" in said
        assert "have the tool that made explicit.txt make it again" in said


def test_our_own_lock_without_its_definition_has_its_conda_packages_too(asked: Desk) -> None:
    built = asked.build("environment.yml")
    there = asked.at("there")
    there.write("pylock.toml", (asked.folder / "pylock.toml").read_bytes())

    assert there.build("pylock.toml").id == built.id


def test_an_imported_lock_is_used_by_its_name(asked: Desk) -> None:
    there = asked.at("there")
    file = there.write("pixi.lock", exported(asked, "pixi"))
    version = there.envbuild("env", "import", "pixi.lock", "--name", "taken", "--json").json
    file.unlink()
    elsewhere = asked.at("elsewhere")

    assert (version["name"], version["version"]) == ("taken", "1")
    built = elsewhere.build("taken")
    assert built.id == version["id"]
    assert built.python(CODE) == "2.0 1.0"
    assert elsewhere.build(version["id"]).id == version["id"]
    assert (
        exported(asked, "explicit").splitlines()[1:]
        == (elsewhere.envbuild("env", "export", "taken", "--format", "explicit").out.splitlines()[1:])
    )


def test_all_platforms_of_a_lock_are_imported(desk: Desk) -> None:
    desk.write("conda-lock.yml", yaml.safe_dump(CONDA_LOCK, sort_keys=False))
    desk.envbuild("env", "import", "conda-lock.yml", "--name", "taken")

    for platform, version in (("linux-x86_64", "3.11.7"), ("macos-arm64", "3.11.8")):
        words = ["env", "export", "taken", "--format", "explicit", "--platform", platform]
        assert f"python-{version}-h1_0" in desk.envbuild(*words).out
    assert "was not for linux-aarch64" in desk.refused("lock", "taken", "--platform", "linux-aarch64").err


def test_an_imported_pylock_needs_its_file_no_more(desk: Desk, index: Index) -> None:
    desk.requirements("fancy", index=index)
    text = desk.envbuild("env", "export", ".", "--format", "pylock").out
    there = desk.at("there")
    there.write("pylock.toml", text)
    there.envbuild("env", "import", "pylock.toml", "--name", "taken")

    assert desk.at("elsewhere").build("taken").python("import fancy; print(fancy.__version__)") == "1.0"


def test_what_is_no_lock_is_not_imported(desk: Desk) -> None:
    desk.write("environment.yml", "dependencies: [python]\n")

    assert "env register environment.yml" in desk.refused("env", "import", "environment.yml").err
    assert "no such file" in desk.refused("env", "import", "absent.lock").err
    assert desk.try_("env", "import").code == 2


@pytest.mark.usefixtures("desk")
def test_a_part_of_a_lock_that_has_none_is_refused(tmp_path: Path, lacking: Callable[[str, str], None]) -> None:
    (tmp_path / "conda-lock.yml").write_text(yaml.safe_dump(CONDA_LOCK, sort_keys=False))

    with pytest.raises(DefinitionError, match=r"is for one environment"):
        read(tmp_path / "conda-lock.yml", group="test")


@pytest.mark.parametrize(
    "reader",
    [
        own_lock,
        lambda path: read_pylock(path.read_bytes(), where=path.name),
        lambda path: Lock.parse(path.read_bytes(), where=path.name),
    ],
)
def test_a_lock_that_is_not_utf8_is_refused_by_whoever_reads_it(tmp_path: Path, reader: Callable[[Path], Any]) -> None:
    lock = tmp_path / "pylock.toml"
    lock.write_bytes('lock-version = "1.0"\ncreated-by = "herr müller"\npackages = []\n'.encode("latin-1"))

    with pytest.raises(LockError, match=r"pylock.toml: not UTF-8: byte 0xfc in line 2") as caught:
        reader(lock)
    assert "lock again" in caught.value.hint


FOREIGN = """\
lock-version = "1.0"
created-by = "another-tool"
requires-python = ">=3.11"

[[packages]]
name = "demo"
version = "1.0"
{artifact}
"""


def test_another_tools_lock_with_a_wrong_digest_is_for_that_tool_to_mend(desk: Desk, index: Index) -> None:
    made = DEMO["1.0"]
    place = f'url = "{index.url}/files/{made.filename}", hashes = {{sha256 = "{"0" * 64}"}}'
    desk.write("pylock.toml", FOREIGN.format(artifact=f"wheels = [{{{place}}}]"))

    said = desk.refused("build", "pylock.toml").err

    assert "not the one that was locked" in said
    assert "have the tool that made pylock.toml make it again" in said
    assert "--upgrade" not in said


def test_another_tools_lock_goes_from_workspace_to_workspace_in_a_bundle(desk: Desk, index: Index) -> None:
    made = DEMO["1.0"]
    place = f'url = "{index.url}/files/{made.filename}", hashes = {{sha256 = "{made.sha256}"}}'
    desk.write("pylock.toml", FOREIGN.format(artifact=f"wheels = [{{{place}}}]"))
    built = desk.build("pylock.toml")
    desk.envbuild("env", "export", "pylock.toml", "--output", "foreign.tar")
    there = desk.elsewhere()
    there.write("foreign.tar", (desk.folder / "foreign.tar").read_bytes())

    there.envbuild("env", "import", "foreign.tar", "--name", "taken")

    assert there.build("taken").id == built.id
    assert (
        there.envbuild("run", "-e", "taken", "--", "python", "-c", "import demo; print(demo.__version__)").out
        == "1.0\n"
    )
    # And on from there, where the file has never been.
    there.envbuild("env", "export", "taken", "--output", "again.tar")
    assert (there.folder / "again.tar").stat().st_size == (desk.folder / "foreign.tar").stat().st_size


def test_a_bundle_of_another_tools_lock_is_refused_if_that_has_files_of_this_machine(desk: Desk) -> None:
    made = DEMO["1.0"]
    desk.write(made.filename, made.data)
    place = f'path = "{made.filename}", hashes = {{sha256 = "{made.sha256}"}}'
    desk.write("pylock.toml", FOREIGN.format(artifact=f"wheels = [{{{place}}}]"))

    said = desk.refused("env", "export", "pylock.toml", "--output", "foreign.tar").err

    assert "asks for what only this machine has: demo 1.0" in said
    assert not (desk.folder / "foreign.tar").exists()


@pytest.mark.parametrize(
    "subdir", ["linux-64", "linux-32", "linux-aarch64", "linux-ppc64le", "osx-64", "osx-arm64", "win-64", "win-arm64"]
)
def test_what_conda_calls_a_platform_means_one_everywhere(subdir: str) -> None:
    assert subdir_of(platform_of_subdir(subdir)) == subdir
    assert Platform.parse(subdir) == platform_of_subdir(subdir)
    assert Platform.parse(str(Platform.parse(subdir))) == Platform.parse(subdir)

"""Exports: a lock in the words of other tools, which then install the same artifacts."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.pylock import Pylock
from support.channel import Channel
from support.desk import Desk
from support.index import Index

from envbuild.conda import package_at
from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import LockError, Refused
from envbuild.exporting import FORMATS, export
from envbuild.lock import Artifact, Lock, Package
from envbuild.platform import Platform
from envbuild.reading.locks import packages_in

LINUX = Platform.parse("linux-x86_64")
FORGE = "https://conda.anaconda.org/conda-forge"
FILES = "https://files.host.test"

# -- locks ---------------------------------------------------------------------------------------------------

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,4}(-[a-z0-9]{1,3})?", fullmatch=True)
VERSIONS = st.from_regex(r"[1-9]\.(0|[1-9][0-9]?)(\.[1-9])?", fullmatch=True)
SHA256 = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
MD5 = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)


@st.composite
def conda_packages(draw: st.DrawFn, name: str, subdir: str) -> Package:
    channel = draw(st.sampled_from([FORGE, "https://conda.corp.test/a/main", "file:///srv/channels/main"]))
    build, ending = (
        draw(st.from_regex(r"[a-z]\w{0,3}_[0-9]", fullmatch=True)),
        draw(st.sampled_from(["conda", "tar.bz2"])),
    )
    depends = draw(st.lists(st.builds("{} >={}".format, NAMES, VERSIONS), max_size=3, unique_by=lambda x: x.split()[0]))
    return package_at(
        f"{channel}/{draw(st.sampled_from([subdir, 'noarch']))}/{name}-{draw(VERSIONS)}-{build}.{ending}",
        sha256=draw(SHA256),
        md5=draw(MD5),
        size=draw(st.integers(1, 10**9)),
        details={"depends": "\n".join(depends)} if depends else {},
    )


@st.composite
def pip_packages(draw: st.DrawFn, name: str) -> Package:
    version = draw(VERSIONS)
    if draw(st.integers(0, 4)) == 0:
        commit = draw(st.from_regex(r"[0-9a-f]{40}", fullmatch=True))
        below = draw(st.sampled_from([None, "python"]))
        url = f"https://git.host.test/{name}.git"
        artifact = Artifact(kind="vcs", vcs="git", url=url, revision=commit, subdirectory=below)
        return Package(name=name, version=None, artifact=artifact)
    filename = draw(
        st.sampled_from([f"{name.replace('-', '_')}-{version}-py3-none-any.whl", f"{name}-{version}.tar.gz"])
    )
    artifact = Artifact(
        kind="wheel" if filename.endswith("whl") else "sdist",
        url=f"{FILES}/{filename}",
        digest=Digest(draw(SHA256)),
        filename=filename,
    )
    return Package(name=name, version=version, artifact=artifact, index=f"{FILES}/simple")


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    platform, subdir = draw(st.sampled_from([(LINUX, "linux-64"), (Platform.parse("macos-arm64"), "osx-arm64")]))
    names = draw(st.lists(NAMES, max_size=6, unique=True))
    split = draw(st.integers(0, len(names)))
    packages = [draw(conda_packages(each, subdir)) for each in names[:split] if each != "python"]
    packages += [draw(pip_packages(each)) for each in names[split:] if each != "python"]
    python = package_at(f"{FORGE}/{subdir}/python-3.11.7-h1_0.conda", sha256=draw(SHA256), md5=draw(MD5))
    return Lock(python="3.11.7", platform=platform, packages=(*packages, python))


def installed(package: Package) -> Any:
    """What of a package decides what is installed."""
    artifact, details = package.artifact, package.details
    told = [details.get(key) for key in ("build", "build_number", "subdir", "channel")]
    where = (artifact.kind, artifact.url, artifact.revision, artifact.subdirectory, artifact.digest)
    return package.kind, package.name, package.version, *where, *told


@pytest.mark.parametrize("kind", ["explicit", "conda-lock", "pixi"])
@given(lock=locks())
@settings(max_examples=60, deadline=None)
def test_what_is_exported_can_be_read_back(kind: str, lock: Lock) -> None:
    found = packages_in(Path("a-lock"), export(kind, lock, Definition()).text)

    assert list(found) == [lock.platform]
    back = Lock(python=lock.python, platform=lock.platform, packages=found[lock.platform])
    assert list(map(installed, back.packages)) == list(map(installed, lock.packages))


@given(lock=locks())
@settings(max_examples=30, deadline=None)
def test_conda_lock_and_pixi_keep_who_needs_whom_and_the_md5(lock: Lock) -> None:
    for kind in ("conda-lock", "pixi"):
        found = packages_in(Path("a-lock"), export(kind, lock, Definition()).text)[lock.platform]
        for before, after in zip(lock.of_kind("conda"), sorted(found, key=lambda each: each.name), strict=False):
            if after.kind == "conda" and after.name == before.name:
                assert [after.details.get(key) for key in ("depends", "md5")] == [
                    before.details.get(key) for key in ("depends", "md5")
                ]


@given(lock=locks())
@settings(max_examples=40, deadline=None)
def test_a_list_has_each_package_behind_what_it_needs(lock: Lock) -> None:
    lines = [
        each for each in export("explicit", lock, Definition()).text.splitlines() if "://" in each and each[0] != "#"
    ]
    found = [package_at(each.partition("#")[0], md5="0" * 32).name for each in lines]

    assert sorted(found) == sorted(each.name for each in lock.of_kind("conda"))


@pytest.mark.parametrize("kind", FORMATS)
@given(lock=locks())
@settings(max_examples=15, deadline=None)
def test_every_format_is_written_of_every_lock(kind: str, lock: Lock) -> None:
    if lock.platform != LINUX and kind in ("dockerfile", "devcontainer"):
        with pytest.raises(LockError, match=r"containers run Linux"):
            export(kind, lock, Definition(name="web"))
        return
    made = export(kind, lock, Definition(name="web"))

    assert made == export(kind, lock, Definition(name="web"))
    assert made.text.endswith("\n")


# -- one lock, in all its words ------------------------------------------------------------------------------


def lock_of(*packages: Package) -> Lock:
    return Lock(python="3.11.7", platform=LINUX, packages=packages)


PYTHON = package_at(f"{FORGE}/linux-64/python-3.11.7-h1_0_cpython.conda", sha256="a" * 64, md5="b" * 32)
SIX = Package(
    name="six",
    version="1.17.0",
    index="https://pypi.org/simple",
    artifact=Artifact(
        kind="wheel",
        url=f"{FILES}/six-1.17.0-py3-none-any.whl",
        digest=Digest("c" * 64),
        filename="six-1.17.0-py3-none-any.whl",
    ),
)
TOOL = Package(
    name="tool",
    version=None,
    artifact=Artifact(kind="vcs", vcs="git", url="https://git.host.test/tool.git", revision="d" * 40),
)
BOTH = lock_of(PYTHON, SIX)


def test_environment_yml_says_versions_and_builds_and_what_pip_installs() -> None:
    asked = Definition(name="web", channels=("conda-forge",), variables={"MODE": "fast"}, secrets=("TOKEN",))
    made = export("conda", BOTH, asked)

    assert yaml.safe_load(made.text) == {
        "name": "web",
        "channels": ["conda-forge"],
        "dependencies": ["python=3.11.7=h1_0_cpython", "pip", {"pip": ["six==1.17.0"]}],
        "variables": {"MODE": "fast"},
    }
    assert made.left_out == ("the secret TOKEN",)
    assert "python=3.11.7\n" in export("conda", BOTH, asked, builds=False).text


def test_an_environment_without_conda_packages_gets_its_python_from_conda() -> None:
    made = yaml.safe_load(export("conda", lock_of(SIX), Definition()).text)

    assert made["channels"] == ["conda-forge"]
    assert made["dependencies"] == ["python=3.11.7", "pip", {"pip": ["six==1.17.0"]}]


@pytest.mark.parametrize("kind", ["explicit", "conda-lock", "pixi"])
def test_locks_of_condas_world_need_a_python_of_condas(kind: str) -> None:
    with pytest.raises(LockError, match=r"has to bring its Python"):
        export(kind, lock_of(SIX), Definition())


def test_a_list_is_pinned_by_md5_for_those_who_know_no_other() -> None:
    url = PYTHON.artifact.url

    assert f"{url}#sha256:{'a' * 64}\n" in export("explicit", BOTH, Definition()).text
    assert f"{url}#{'b' * 32}\n" in export("explicit", BOTH, Definition(), md5=True).text


def test_what_a_format_has_no_words_for_is_said() -> None:
    assert export("requirements", BOTH, Definition()).left_out == ("what conda installs: python 3.11.7",)
    assert export("pylock", BOTH, Definition()).left_out == ("what conda installs: python 3.11.7",)
    assert "six 1.17.0" in export("explicit", BOTH, Definition()).left_out[0]
    assert export("conda-lock", BOTH, Definition()).left_out == ()


def test_pip_gets_no_hash_on_any_line_where_one_has_none_and_checks_the_urls() -> None:
    made = export("requirements", lock_of(SIX, TOOL), Definition()).text

    assert "--hash" not in made
    assert f"six @ {FILES}/six-1.17.0-py3-none-any.whl#sha256={'c' * 64}\n" in made
    assert f"tool @ git+https://git.host.test/tool.git@{'d' * 40}\n" in made


@pytest.mark.parametrize("kind", FORMATS)
def test_what_only_this_machine_has_is_refused(kind: str) -> None:
    local = Package(name="lib", version=None, artifact=Artifact(kind="directory", path="./lib"))

    with pytest.raises(Refused, match=r"only this machine has lib"):
        export(kind, lock_of(PYTHON, local), Definition())


def test_conda_lock_wants_an_md5() -> None:
    bare = package_at(f"{FORGE}/linux-64/python-3.11.7-h1_0.conda", sha256="a" * 64)

    with pytest.raises(LockError, match=r"wants the MD5"):
        export("conda-lock", lock_of(bare), Definition())


# -- those that they are for ---------------------------------------------------------------------------------

RATTLED = """
import json, os, sys
from pathlib import Path
from rattler import LockFile, MatchSpec
from rattler.explicit_environment import ExplicitEnvironmentSpec
folder = Path(sys.argv[1])
spec = ExplicitEnvironmentSpec.from_path(folder / "explicit.txt")
lock = LockFile.from_path(folder / "pixi.lock")
environment = lock.environment("default")
[platform] = lock.platforms()
records = environment.conda_repodata_records_for_platform(platform)
print(json.dumps({
    "explicit": [each.url for each in spec.packages],
    "platform": str(spec.platform),
    "conda": [json.loads(each.to_json()) for each in records],
    "pypi": [str(each.location) for each in environment.packages(platform) if "Pypi" in type(each).__name__],
    "specs": [str(MatchSpec(each)) for each in json.loads(sys.argv[2])],
}), flush=True)
os._exit(0)
"""


def test_rattler_reads_lists_pixi_locks_and_the_specs_of_an_environment_yml(
    tmp_path: Path, lacking: Callable[[str, str], None]
) -> None:
    if importlib.util.find_spec("rattler") is None:
        lacking("conda", "py-rattler is not installed")
    whole = lock_of(PYTHON, SIX, TOOL)
    for kind, name in (("explicit", "explicit.txt"), ("pixi", "pixi.lock")):
        (tmp_path / name).write_text(export(kind, whole, Definition()).text)
    specs = [
        each for each in yaml.safe_load(export("conda", whole, Definition()).text)["dependencies"] if each != "pip"
    ]
    asked = json.dumps([each for each in specs if isinstance(each, str)])
    done = subprocess.run([sys.executable, "-c", RATTLED, tmp_path, asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    assert found["explicit"] == [f"{PYTHON.artifact.url}#sha256:{'a' * 64}"]
    assert found["platform"] == "linux-64"
    assert [(each["url"], each["sha256"], each["build"]) for each in found["conda"]] == [
        (PYTHON.artifact.url, "a" * 64, "h1_0_cpython")
    ]
    assert SIX.artifact.url in found["pypi"]
    assert len(found["pypi"]) == 2
    assert len(found["specs"]) == 1


def test_conda_lock_reads_its_own(tmp_path: Path, lacking: Callable[[str, str], None]) -> None:
    (tmp_path / "conda-lock.yml").write_text(export("conda-lock", BOTH, Definition()).text)
    uv = Path(sys.executable).parent / "uv"
    command = [uv, "tool", "run", "--quiet", "--from=conda-lock==4.0.2", "conda-lock", "render", "--kind=explicit"]
    try:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        lacking("network", "conda-lock could not be fetched in time")
    if done.returncode and "conda_lock" not in done.stderr:
        lacking("network", f"conda-lock cannot be had: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    rendered = (tmp_path / "conda-linux-64.lock").read_text()

    assert f"{PYTHON.artifact.url}#{'b' * 32}" in rendered
    # What it makes of the lock is what we make of it.
    assert packages_in(Path("conda-linux-64.lock"), rendered)[LINUX][1].artifact.digest == SIX.artifact.digest


def export_as(desk: Desk, kind: str, *words: str) -> str:
    return desk.envbuild("env", "export", ".", "--format", kind, *words).out


def test_uv_installs_requirements_and_pylock(desk: Desk, index: Index, tmp_path: Path) -> None:
    desk.requirements("fancy", index=index)
    for kind, name in (("requirements", "requirements.txt"), ("pylock", "pylock.toml")):
        there = tmp_path / kind
        there.mkdir()
        (there / name).write_text(export_as(desk, kind))
        install = ["pip", "install", "--no-deps", "--quiet", f"--target={there / 'files'}", "-r", name]
        uv = [Path(sys.executable).parent / "uv", *install, f"--python={sys.executable}"]
        hashed = ["--require-hashes"] if kind == "requirements" else ["--preview-features=pylock"]
        done = subprocess.run(
            [*uv, *hashed], cwd=there, env=desk.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

        assert (there / "files/fancy").exists() or (there / "files/fancy.py").exists()
    assert Pylock.from_dict(tomllib.loads(export_as(desk, "pylock"))).tool is None


def test_an_environment_yml_is_a_definition_of_the_same_environment(desk: Desk, index: Index) -> None:
    desk.requirements("fancy", index=index)
    text = export_as(desk, "conda")
    there = desk.at("other")
    there.write("environment.yml", text)

    assert there.identity() == desk.identity()


# -- containers ----------------------------------------------------------------------------------------------


def heredocs(dockerfile: str) -> Mapping[str, str]:
    """The files that a Dockerfile has in it, by their paths."""
    found = re.findall(r'^COPY <<"LOCK" (\S+)\n(.*?\n)LOCK$', dockerfile, re.S | re.M)
    return dict(found)


def test_a_dockerfile_has_its_lock_in_it() -> None:
    asked = Definition(name="web", variables={"SAID": 'a "b" $HOME \\'})
    made = export("dockerfile", lock_of(SIX), asked).text

    assert made.splitlines()[1] == "FROM --platform=linux/amd64 python:3.11.7-slim"
    assert heredocs(made) == {"/opt/requirements.txt": export("requirements", lock_of(SIX), asked).text}
    assert "--require-hashes" in made
    assert 'ENV SAID="a \\"b\\" \\$HOME \\\\"\n' in made


def test_a_dockerfile_of_conda_packages_leaves_pip_to_pip() -> None:
    made = export("dockerfile", BOTH, Definition()).text
    files = heredocs(made)

    assert "# pip" not in files["/opt/explicit.txt"]
    assert packages_in(Path("explicit.txt"), files["/opt/explicit.txt"]) == {
        LINUX: packages_in(Path("explicit.txt"), export("explicit", lock_of(PYTHON), Definition()).text)[LINUX]
    }
    assert f"six==1.17.0 --hash=sha256:{'c' * 64}\n" in files["/opt/requirements.txt"]


def test_pip_does_not_ask_a_repository_for_a_hash() -> None:
    made = export("dockerfile", lock_of(SIX, TOOL), Definition()).text

    assert "--require-hashes" not in made
    assert "python:3.11.7\n" in made


def test_a_devcontainer_comes_with_its_dockerfile(desk: Desk, index: Index) -> None:
    desk.requirements("fancy", index=index)
    (desk.folder / ".devcontainer").mkdir()
    desk.envbuild("env", "export", ".", "--format", "devcontainer", "-o", ".devcontainer/devcontainer.json")
    made = json.loads((desk.folder / ".devcontainer/devcontainer.json").read_text())

    assert made["build"] == {"dockerfile": "Dockerfile"}
    assert (desk.folder / ".devcontainer/Dockerfile").read_text() == export_as(desk, "dockerfile")


# -- the command ---------------------------------------------------------------------------------------------


def test_an_export_goes_to_stdout_or_to_a_file(desk: Desk, index: Index) -> None:
    desk.requirements("fancy", index=index)
    text = export_as(desk, "pylock")

    assert desk.envbuild("env", "export", ".", "--format", "pylock", "-o", "pylock.web.toml").out == "pylock.web.toml\n"
    assert (desk.folder / "pylock.web.toml").read_text() == text
    told = desk.envbuild("env", "export", ".", "--format", "pylock", "--json").json
    assert told["text"] == text
    assert told["left_out"] == []


def test_exports_of_conda_environments_are_told_by_their_channels(desk: Desk, channel: Channel) -> None:
    desk.write("environment.yml", f"channels: [{channel.url}]\ndependencies: [python=3.11, almanac=2.0]\n")
    made = yaml.safe_load(export_as(desk, "conda"))

    assert made["channels"] == [channel.url]
    assert "almanac=2.0=pyhd_0" in made["dependencies"]
    assert export_as(desk, "conda", "--no-builds").count("almanac=2.0\n") == 1
    assert export_as(desk, "explicit").count(channel.url) == len(desk.read_lock().of_kind("conda"))

"""Conda packages, channels and locks that mean harm: nothing outside the environment is touched, and all is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from support.channel import Channel, this_subdir
from support.conda_definition import asks
from support.conda_packages import Packed, package
from support.desk import Desk

from envbuild import Definition, Digest, Package
from envbuild_conda import linking, sound
from envbuild_conda.engine import EngineFailed

EVIL = "evil\n"


@pytest.fixture
def own(channel: Channel, channels: Callable[[str], Channel]) -> Channel:
    """A channel of the test's own, with a Python."""
    made = channels("own")
    made.put(*channel.find("python"))
    return made


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A folder with one file, which has to be as it was when the test is over."""
    folder = tmp_path / "canary"
    folder.mkdir()
    (folder / "keep").write_text("keep")
    yield folder
    assert {each.name: each.read_text() for each in folder.iterdir()} == {"keep": "keep"}


def refusal(desk: Desk, own: Channel, *packages: str) -> str:
    """What a build of these packages is refused with; nothing is left of it."""
    asks(desk, own.url, "python=3.11", *packages)
    complaint = desk.refused("build").err
    assert desk.left_behind() == []
    assert "check the network" not in complaint
    return complaint


def listed(path: str) -> Mapping[str, object]:
    return {"_path": path, "path_type": "hardlink"}


def up_to(canary: Path) -> str:
    return "../" * 40 + str(canary).lstrip("/")


@pytest.mark.parametrize(
    "path",
    [
        lambda canary: f"{up_to(canary)}/keep",
        lambda canary: f"{canary}/keep",
        lambda _: "share/./evil",
        lambda _: "share//evil",
        lambda _: "share\\evil",
        lambda _: "conda-meta/python-3.11.json",
        lambda _: "share/evil",
    ],
    ids=["up", "absolute", "dot", "empty", "backslash", "conda-meta", "twice"],
)
def test_a_package_that_lists_what_is_not_its_own_is_refused(
    desk: Desk, own: Channel, canary: Path, path: Callable[[Path], str]
) -> None:
    told = path(canary)
    more = [listed(told), listed(told)] if told == "share/evil" else [listed(told)]
    own.add("evil", files={"share/evil": EVIL, "conda-meta/python-3.11.json": "{}"}, listed=more)
    assert "evil 1.0 is not a sound package" in refusal(desk, own, "evil")


@pytest.mark.parametrize("file", ["pwned", "keep"])
def test_a_link_in_a_package_leads_nothing_out(desk: Desk, own: Channel, canary: Path, file: str) -> None:
    # In the package, where the link leads deep down, this is a file of its own; in the prefix it is not.
    deep, ups = "d/" * 40, 30
    inside = "d/" * (40 - ups) + str(canary).lstrip("/") + f"/{file}"
    own.add(
        "evil",
        files={f"{deep}keep": EVIL, inside: EVIL},
        links={"s": deep.rstrip("/")},
        listed=[listed("s/" + "../" * ups + str(canary).lstrip("/") + f"/{file}"), listed("s/keep")],
    )
    assert "evil 1.0 is not a sound package" in refusal(desk, own, "evil")


def test_a_file_beyond_a_link_is_refused(desk: Desk, own: Channel) -> None:
    own.add("evil", files={"share/real/file": EVIL}, links={"share/s": "real"}, listed=[listed("share/s/file")])
    assert "lies beyond 'share/s'" in refusal(desk, own, "evil")


@pytest.mark.parametrize("target", ["/etc/hostname", "../../outside", "here/../../../outside"])
def test_a_link_out_of_the_environment_is_refused(desk: Desk, own: Channel, target: str) -> None:
    own.add("evil", files={}, links={"share/s": target})
    assert f"'share/s' is a link to {target!r}" in refusal(desk, own, "evil")


def test_a_link_of_one_package_is_no_folder_of_another(desk: Desk, own: Channel) -> None:
    own.add("one", files={"share/real/file": "file"}, links={"share/s": "real"})
    own.add("two", files={"share/s/other": EVIL})
    assert "two 1.0 has share/s/other, and one 1.0 has a symbolic link share/s" in refusal(desk, own, "one", "two")


def test_what_is_in_the_cache_is_looked_at_too(desk: Desk, own: Channel, canary: Path) -> None:
    own.add("plain")
    asks(desk, own.url, "python=3.11", "plain")
    desk.build()
    (paths,) = desk.root.rglob("pkgs/plain-1.0-0/info/paths.json")
    paths.write_text(json.dumps({"paths": [listed(f"{up_to(canary)}/keep")], "paths_version": 1}))

    again = desk.set(ENVBUILD_WORKSPACE=str(desk.root / "another")).build()

    assert (again.path / "share/plain.txt").is_file()


@pytest.mark.parametrize("place", [up_to, str], ids=["up", "absolute"])
def test_a_channel_does_not_say_where_modules_go(
    desk: Desk, own: Channel, canary: Path, place: Callable[[Path], str]
) -> None:
    own.add("module", noarch="python", build="py_0")
    _retell(own, python_site_packages_path=place(canary))
    assert "its modules are to go to" in refusal(desk, own, "module")


@pytest.mark.parametrize("place", [up_to, str], ids=["up", "absolute"])
def test_a_lock_does_not_say_where_modules_go(
    desk: Desk, own: Channel, canary: Path, place: Callable[[Path], str]
) -> None:
    own.add("module", noarch="python", build="py_0")

    def forge(each: Package) -> Package:
        details = {**each.details, "python_site_packages_path": place(canary)}
        return replace(each, details=details) if each.name == "python" else each

    assert "its modules are to go to" in _refused_lock(desk, own, forge, "module")


@pytest.mark.parametrize("scheme", ["FILE:///", " file:///", "file:/", "file://localhost/"])
def test_a_local_package_is_hashed_however_its_address_is_written(desk: Desk, own: Channel, scheme: str) -> None:
    plain = own.add("plain")
    url = f"{own.url}/{plain.subdir}/{plain.filename}".replace("file:///", scheme)

    def forge(each: Package) -> Package:
        artifact = replace(each.artifact, path=None, url=url, digest=Digest("0" * 64))
        return replace(each, artifact=artifact) if each.name == "plain" else each

    complaint = _refused_lock(desk, own, forge, "plain")
    assert "not the one that was locked" in complaint or "is no address of a package" in complaint


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://conda.test/main/linux-64/..", "plain"),
        ("https://conda.test/main/linux-64/%2e%2e%2fplain-1.0-0.conda", "../plain"),
        ("https://conda.test/main/linux-64/other-1.0-0.conda", "plain"),
        ("https://conda.test/main/linux-64/plain-1.0-0.conda?other", "plain"),
        ("ftp://conda.test/main/linux-64/plain-1.0-0.conda", "plain"),
        ("file://elsewhere/main/linux-64/plain-1.0-0.conda", "plain"),
        ("https://conda.test/main/linux-64/.-1.0-0.conda", "."),
    ],
)
def test_a_record_does_not_say_what_is_removed_or_read(url: str, name: str) -> None:
    with pytest.raises(sound.Unsound):
        sound.check_record({"name": name, "version": "1.0", "build": "0", "url": url})


@pytest.mark.parametrize(
    ("key", "value"),
    [("name", "other"), ("version", "2.0"), ("build", "1"), ("noarch", "python"), ("subdir", "win-64")],
)
def test_a_package_that_is_another_than_its_channel_says_is_refused(
    desk: Desk, own: Channel, key: str, value: str
) -> None:
    subdir = this_subdir()
    about = {"name": "plain", "version": "1.0", "subdir": subdir, "files": {"share/plain": "plain"}, key: value}
    liar = package(**about)  # type: ignore[arg-type]  # each is what its name says
    own.put(Packed("plain-1.0-0.conda", subdir, liar.data, liar.about))
    _retell(own, "plain-1.0-0.conda", name="plain", version="1.0", build="0", noarch=None, subdir=subdir)
    assert "plain 1.0 is not a sound package" in refusal(desk, own, "plain")


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size_in_bytes": 7}])
def test_a_file_that_is_not_what_its_package_says_is_refused(
    desk: Desk, own: Channel, wrong: dict[str, object]
) -> None:
    own.add("evil", files={"share/evil": EVIL}, listed=[{**listed("share/evil"), **wrong}])
    assert "'share/evil' is not what it says" in refusal(desk, own, "evil")


def test_two_packages_do_not_bring_one_program(desk: Desk, own: Channel) -> None:
    own.add("one", files={"share/same": "same", "bin/tool": "one"})
    own.add("two", files={"share/same": "same", "bin/tool": "two"})
    assert "one 1.0 and two 1.0 both have bin/tool" in refusal(desk, own, "one", "two")


def test_two_packages_that_bring_one_file_are_named_and_one_of_them_wins_everywhere(desk: Desk, own: Channel) -> None:
    own.add("one", files={"share/same": "same", "share/file": "one"})
    own.add("two", files={"share/same": "same", "share/file": "two"})
    asks(desk, own.url, "python=3.11", "one", "two")

    done = desk.envbuild("build", "--json")

    assert "one 1.0 and two 1.0 both have share/file, and not the same one" in done.err
    there = Path(done.json["path"]) / "share/file"
    again = desk.elsewhere()
    asks(again, own.url, "python=3.11", "one", "two")
    assert (Path(again.envbuild("build", "--json").json["path"]) / "share/file").read_text() == there.read_text()


def test_two_packages_may_bring_the_same_file(desk: Desk, own: Channel) -> None:
    own.add("one", files={"share/same": "same"})
    own.add("two", files={"share/same": "same"})
    asks(desk, own.url, "python=3.11", "one", "two")
    assert (desk.build().path / "share/same").read_text() == "same"


@pytest.mark.parametrize("name", ["python", "python3", "python3.11", "python3.13t"])
def test_only_python_brings_python(desk: Desk, own: Channel, name: str) -> None:
    own.add("evil", files={f"bin/{name}": EVIL})
    assert f"it brings bin/{name}" in refusal(desk, own, "evil")


def test_what_rattler_says_as_it_breaks_down_is_told_in_a_line() -> None:
    said = "rattler ended without an answer\nthread '<unnamed>' panicked at lib.rs:132:9:\nAll paths must be relative\n"
    failure = linking.failure(EngineFailed("Died", said), Definition())
    assert str(failure) == "the lock or a package is damaged: All paths must be relative"
    failure = linking.failure(EngineFailed("PanicException", "rust future panicked"), Definition())
    assert str(failure).endswith("rust future panicked")


def _retell(own: Channel, filename: str | None = None, **told: object) -> None:
    """Have the index of ``own`` say something else of a package, of Python if none is named."""
    own.index()
    for file in own.folder.rglob("repodata.json"):
        said = json.loads(file.read_bytes())
        for kind in ("packages", "packages.conda"):
            for name, record in said.get(kind, {}).items():
                if name == filename or (filename is None and record["name"] == "python"):
                    record.update(told)
        file.write_text(json.dumps(said))
        for packed in file.parent.glob("repodata.json.*"):
            packed.unlink()


def _refused_lock(desk: Desk, own: Channel, forge: Callable[[Package], Package], *packages: str) -> str:
    """What a lock that is sound in itself is refused with, if ``forge`` has been at what it has of packages."""
    asks(desk, own.url, "python=3.11", *packages)
    lock = desk.lock()
    forged = replace(lock, packages=tuple(forge(each) for each in lock.packages))
    desk.write("pylock.toml", forged.to_toml())
    (desk.folder / "environment.yml").unlink()
    complaint = desk.refused("build", "pylock.toml").err
    assert "check the network" not in complaint
    return complaint

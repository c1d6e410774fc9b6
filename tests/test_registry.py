"""The registry: names, versions and labels of environments, and bundles of them."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.packages import wheel
from support.place import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path, tmp_path / "workspace")
    made.write("one/envbuild.yml", "name: web\n")
    made.write("two/envbuild.yml", "name: web\nvariables: {A: b}\n")
    made.write("three/envbuild.yml", "name: web\nvariables: {A: c}\n")
    made.write("script.py", "print('x')")
    return made


def register(place: Place, *folders: str) -> None:
    for folder in folders:
        place.do("env", "register", folder, "-q")


def listed(place: Place, *words: str) -> list[tuple[str, str]]:
    return [(each["name"], each["version"]) for each in place.do("env", "list", "--json", *words).json]


def test_versions_are_one_two_and_so_on_and_the_same_definition_keeps_its_own(place: Place) -> None:
    first = place.do("env", "register", "one", "--json").json
    again = place.do("env", "register", "one", "--json").json
    place.write("one/envbuild.yml", "# a comment\nname:   web\n")
    comment = place.do("env", "register", "one", "--json").json
    second = place.do("env", "register", "two", "--json").json

    assert first == again == comment
    assert (first["name"], first["version"], second["version"]) == ("web", "1", "2")
    assert first["id"].startswith("sha256:")
    assert first["definition_digest"] != second["definition_digest"]


def test_lists_show_the_newest_of_each_name_or_all_of_one(place: Place) -> None:
    assert listed(place) == []
    register(place, "one", "two")
    place.do("env", "register", "one", "--name", "other", "--description", "for others")

    assert listed(place) == [("other", "1"), ("web", "2")]
    assert listed(place, "web") == [("web", "2"), ("web", "1")]
    assert listed(place, "--all", "--limit", "2") == [("other", "1"), ("web", "2")]
    assert listed(place, "nobody") == []
    text = place.do("env", "list").text
    assert "for others" in text
    assert text.splitlines()[0].split() == ["NAME", "VERSION", "LABELS", "CREATED", "DESCRIPTION"]


def test_an_environment_is_shown_with_its_definition_lock_and_id(place: Place) -> None:
    register(place, "two")

    shown = place.do("env", "show", "web", "--json").json

    assert (shown["name"], shown["version"]) == ("web", "1")
    assert shown["definition"]["variables"] == {"A": "b"}
    assert shown["id"].startswith("sha256:")
    assert shown["packages"] == []
    assert "variables:" in place.do("env", "show", "web:1").text


def test_two_versions_are_compared(place: Place) -> None:
    register(place, "one", "two")

    told = place.do("env", "diff", "web:1", "web:2").text
    assert "A" in told
    assert place.do("env", "diff", "web:1", "web:2", "--json").json


def test_every_form_of_a_spec_finds_the_version(place: Place) -> None:
    register(place, "one", "two")
    place.do("env", "label", "web:1", "good", "tested")
    identity = place.do("env", "show", "web:2", "--json").json["id"]
    for spec, version in {"web": "2", "web:1": "1", "web:2": "2", "web@good": "1", "web@latest": "2"}.items():
        assert place.do("env", "show", spec, "--json").json["version"] == version, spec
    for spec in (identity, identity[7:], identity[7:15], identity[:15]):
        assert place.do("env", "show", spec, "--json").json["id"] == identity, spec
    for spec, said in {
        "web:9": "web has no version 9",
        "web@bad": "no label 'bad'",
        "nobody": "no environment is named",
        "web:": "is no",
        "web:1@good": "is no",
        "ffffffffff": "no environment",
        "web:01x": "is no",
        "web:99999999999": "no version",
        "sha256:zz": "is no",
    }.items():
        assert said in place.refused("env", "show", spec), spec


def test_labels_move_and_come_off(place: Place) -> None:
    register(place, "one", "two")
    assert place.do("env", "label", "web:1", "good", "--json").json["labels"] == ["good"]
    assert place.do("env", "label", "web", "good", "--json").json["version"] == "2"
    assert place.do("env", "show", "web@good", "--json").json["version"] == "2"
    place.do("env", "label", "web", "good", "--remove")
    assert "no label 'good'" in place.refused("env", "show", "web@good")
    assert "no label 'good'" in place.refused("env", "label", "web", "good", "--remove")
    assert "latest" in place.refused("env", "label", "web:1", "latest")
    place.refused("env", "label", "web:1", "bad label")
    place.refused("env", "label", ":1", "x", code=2)


def test_what_is_archived_is_hidden_and_still_usable_and_comes_back(place: Place) -> None:
    register(place, "one", "two")
    assert place.do("env", "archive", "web:2", "--json").json == {"archived": ["web:2"]}
    assert listed(place, "web") == [("web", "1")]
    assert listed(place, "web", "--archived") == [("web", "2"), ("web", "1")]
    assert place.do("env", "show", "web", "--json").json["version"] == "1"
    place.do("run", "-e", "web:2", "script.py")
    place.do("env", "archive", "web")
    assert "every version of web is archived" in place.refused("env", "show", "web")
    assert place.do("env", "restore", "web", "--json").json == {"restored": ["web:2", "web:1"]}
    assert listed(place, "web") == [("web", "2"), ("web", "1")]


def test_a_version_that_runs_use_is_only_deleted_when_told_to(place: Place) -> None:
    register(place, "one", "two")
    place.do("run", "-e", "web:1", "script.py")

    said = place.refused("env", "delete", "web:1")
    assert "used by 1 run" in said
    assert "--force" in said
    assert "used by" in place.refused("env", "delete", "web")
    assert place.do("env", "delete", "web:2", "--json").json == {"deleted": ["web:2"]}
    place.do("env", "delete", "web:1", "--force")
    assert "no environment is named 'web'" in place.refused("env", "show", "web:1")
    assert place.last()["environment"]["version"] == "1"
    place.do("runs", "reproduce", place.newest())


def test_a_running_run_counts_as_a_user(place: Place) -> None:
    register(place, "one")
    place.write("script.py", "print('up', flush=True); input()")
    with place.start("run", "-e", "web", "script.py", stdin=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert "used by 1 run" in place.refused("env", "delete", "web")
        process.communicate(b"\n")


def test_numbers_are_never_used_again(place: Place) -> None:
    register(place, "one", "two")
    place.do("env", "delete", "web")
    assert listed(place) == []
    register(place, "two")
    assert listed(place, "web") == [("web", "3")]
    register(place, "three")
    place.do("env", "delete", "web:4")
    register(place, "one")
    assert listed(place, "web") == [("web", "5"), ("web", "3")]


@pytest.mark.parametrize("name", ["a/b", "../x", "", " ", "a b", "-x", ".x", "a:1", "a@b", "\u00fc", "x" * 300, "a\nb"])
def test_a_name_that_cannot_be_one_is_refused(place: Place, name: str) -> None:
    done = place.try_("env", "register", "one", f"--name={name}")
    assert done.code == (1 if name else 2), done
    assert "error: " in done.said
    assert listed(place) == []


def test_a_definition_that_is_wrong_is_not_registered(place: Place) -> None:
    place.write("bad/envbuild.yml", "name: bad\nnonsense: 1\npip: 3\n")
    said = place.refused("env", "register", "bad")
    assert "nonsense" in said
    assert "pip" in said
    assert listed(place) == []


# -- bundles -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A machine with an environment that has a private wheel, and that it has exported."""
    root = tmp_path_factory.mktemp("origin")
    made = Place(root, root / "workspace")
    private = wheel("private", "1.0")
    made.write(private.filename, private.data)
    url = made.do("wheels", "add", private.filename).text.strip()
    made.write("folder/envbuild.yml", f"name: packed\nwheels:\n  - {url}\n")
    made.do("env", "register", "folder")
    made.do("env", "export", "packed", "-o", "packed.tar")
    return made


@pytest.fixture
def bundle(origin: Place, tmp_path: Path) -> Path:
    """A copy of what it has exported."""
    return Path(shutil.copy(origin.folder / "packed.tar", tmp_path / "packed.tar"))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Place:
    """Another machine."""
    made = Place(tmp_path / "elsewhere", tmp_path / "elsewhere/workspace")
    made.write("script.py", "import private; print(private.__version__)")
    return made


def test_a_bundle_brings_the_environment_with_its_wheels_elsewhere(
    origin: Place, elsewhere: Place, bundle: Path
) -> None:
    version = elsewhere.do("env", "import", bundle, "--json").json

    assert (version["name"], version["version"]) == ("packed", "1")
    assert version["id"] == origin.do("env", "show", "packed", "--json").json["id"]
    assert elsewhere.do("run", "-e", "packed", "script.py").text == "1.0\n"
    assert elsewhere.last()["environment"]["id"] == version["id"]
    elsewhere.do("env", "import", bundle, "--name", "renamed")
    assert listed(elsewhere) == [("packed", "1"), ("renamed", "1")]


def test_the_same_environment_gives_the_same_bundle(origin: Place, elsewhere: Place, bundle: Path) -> None:
    origin.do("env", "export", "packed", "-o", "again.tar")
    elsewhere.do("env", "import", bundle)
    elsewhere.do("env", "export", "packed", "-o", "third.tar")

    assert (origin.folder / "again.tar").read_bytes() == bundle.read_bytes()
    assert (elsewhere.folder / "third.tar").read_bytes() == bundle.read_bytes()
    origin.do("env", "export", "packed")
    assert (origin.folder / "packed-1.tar").exists()
    assert sorted(each.name for each in origin.folder.iterdir() if each.name.startswith(".")) == []


def test_what_only_this_machine_has_is_not_exported(place: Place) -> None:
    place.write("local/envbuild.yml", "name: local\npip:\n  - ./lib\n")
    place.write("local/lib/pyproject.toml", "[project]\nname = 'lib'\nversion = '1'\n")
    done = place.try_("env", "export", "local")
    assert done.code == 1
    assert not list(place.folder.glob("*.tar"))
    assert "cannot be written" in place.refused("env", "export", "one", "-o", "no/such/folder/x.tar")


Change = Callable[[dict[str, bytes]], None]


def spoil_wheel(members: dict[str, bytes]) -> None:
    (name,) = (name for name in members if name.startswith("wheels/"))
    members[name] = members[name] + b"\0"


def drop_wheel(members: dict[str, bytes]) -> None:
    (name,) = (name for name in members if name.startswith("wheels/"))
    del members[name]


@pytest.mark.parametrize(
    "change",
    [
        spoil_wheel,
        drop_wheel,
        lambda members: members.pop("definition.yml"),
        lambda members: members.update({"definition.yml": b"\xff\xfe"}),
        lambda members: members.update({"definition.yml": b"- a\n- list\n"}),
        lambda members: members.update({"definition.yml": b"name: [1]\n"}),
        lambda members: members.update({"definition.yml": b"!!python/object/apply:os.system ['touch /tmp/owned']\n"}),
        lambda members: members.update({"../outside": b"x"}),
        lambda members: members.update({"/absolute": b"x"}),
        lambda members: members.update({"wheels/../../x": b"x"}),
        lambda members: members.update({"wheels/deep/er": b"x"}),
        lambda members: members.update({"more": b"x"}),
        lambda members: members.update({"pylock.linux-x86_64.toml": b"nonsense ="}),
    ],
)
def test_a_bundle_that_was_tampered_with_is_refused(elsewhere: Place, bundle: Path, change: Change) -> None:
    with tarfile.open(bundle) as archive:
        members = {each.name: archive.extractfile(each).read() for each in archive}  # type: ignore[union-attr]
    change(members)
    with tarfile.open(elsewhere.folder / "bad.tar", "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

    elsewhere.refused("env", "import", "bad.tar")

    assert listed(elsewhere) == []
    assert not (elsewhere.root / "outside").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE])
def test_a_bundle_with_anything_but_files_is_refused(elsewhere: Place, bundle: Path, kind: bytes) -> None:
    with tarfile.open(bundle, "a") as archive:
        entry = tarfile.TarInfo("wheels/x.whl")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)
    assert "has no place in a bundle" in elsewhere.refused("env", "import", bundle)
    assert listed(elsewhere) == []


@pytest.mark.parametrize("keep", [0, 100, 600, 1500])
def test_a_file_that_is_no_bundle_is_refused(elsewhere: Place, bundle: Path, keep: int) -> None:
    content = bundle.read_bytes()
    (elsewhere.folder / "cut.tar").write_bytes(content[:keep])
    elsewhere.refused("env", "import", "cut.tar")
    (elsewhere.folder / "noise.tar").write_bytes(hashlib.sha512(str(keep).encode()).digest() * 40)
    elsewhere.refused("env", "import", "noise.tar")
    assert "no such file" in elsewhere.refused("env", "import", "nothing.tar")
    elsewhere.refused("env", "import", ".")
    assert listed(elsewhere) == []


def test_errors_are_told_to_machines_too(place: Place) -> None:
    told = json.loads(place.do("env", "show", "nobody", "--json", code=1).out)
    assert told["error"] == "NotFound"
    assert told["hint"]


def test_a_deleted_run_is_forgotten_with_its_folder(place: Place) -> None:
    place.do("run", "script.py")
    run = place.last()

    assert place.do("runs", "delete", run["id"], "--json").json == {"deleted": [run["id"]]}

    assert place.do("runs", "list", "--json").json == []
    assert not (place.workspace / "runs" / run["id"]).exists()
    place.do("run", "script.py")
    assert len(place.do("runs", "list", "--json").json) == 1


def test_a_run_that_goes_on_is_not_deleted(place: Place) -> None:
    place.write("script.py", "import time; print('here', flush=True); time.sleep(60)\n")
    process = place.start("run", "script.py")
    assert process.stdout
    assert process.stdout.readline() == b"here\n"
    run = place.last()

    assert "has not ended" in place.refused("runs", "delete", run["id"])

    place.do("runs", "cancel", run["id"])
    process.communicate()
    place.do("runs", "delete", run["id"])


def test_a_version_stays_the_environment_that_it_was_registered_as(place: Place, tmp_path: Path) -> None:
    place.write("requirements.txt", "")
    first = place.do("env", "register", "--name", "prod", "--json").json
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "requirements.txt").write_text("")
    place.do("lock", "--python", "3.9", cwd=other)

    again = place.do("env", "register", "--name", "prod", "--json", cwd=other)

    assert again.json["id"] == first["id"]
    assert "stays" in again.said
    assert place.do("env", "show", "prod:1", "--json").json["id"] == first["id"]


def test_a_version_moves_when_it_is_locked_by_its_name(place: Place) -> None:
    place.write("requirements.txt", "")
    first = place.do("env", "register", "--name", "prod", "--json").json

    place.do("lock", "prod:1", "--python", "3.9")

    moved = place.do("env", "show", "prod:1", "--json").json
    assert moved["python"].startswith("3.9")
    assert moved["id"] != first["id"]

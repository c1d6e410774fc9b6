"""Private wheels: known by their bytes, wherever they lie and whatever they are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.desk import Desk, guarded
from support.evil import HARMLESS, evil_wheels
from support.index import Index
from support.packages import Made, wheel

from envbuild.digest import Digest

PRIVATE = wheel("private", "1.0", requires=["helper"], scripts={"private": "private:main"})


def test_a_private_wheel_is_installed_from_its_path_with_what_it_depends_on(desk: Desk, index: Index) -> None:
    desk.write(f"wheels/{PRIVATE.filename}", PRIVATE.data)
    desk.requirements(f"./wheels/{PRIVATE.filename}", index=index)

    lock = desk.lock()
    prefix = desk.build()

    found = lock.find("private")
    assert (found.kind, found.version, found.artifact.size) == ("wheel", "1.0", len(PRIVATE.data))
    assert found.artifact.digest == Digest.of(PRIVATE.data)
    assert lock.find("helper").kind == "pip"
    assert prefix.run("private") == "private 1.0"
    assert prefix.python("import helper; print(helper.__version__)") == "1.1"


def test_the_url_that_the_workspace_gives_stands_for_the_wheel(desk: Desk, index: Index, tmp_path: Path) -> None:
    file = tmp_path / PRIVATE.filename
    file.write_bytes(PRIVATE.data)
    url = desk.envbuild("wheels", "add", file, "--json").json["url"]
    file.unlink()
    desk.requirements(url, index=index)

    by_url = desk.build()

    assert Digest.of(PRIVATE.data).hex in url
    assert by_url.run("private") == "private 1.0"
    by_path = desk.at("by-path")
    by_path.write(PRIVATE.filename, PRIVATE.data)
    by_path.requirements(f"./{PRIVATE.filename}", index=index)
    assert by_path.build().id == by_url.id


def test_the_full_form_takes_wheels_by_path_and_by_url(desk: Desk, index: Index, tmp_path: Path) -> None:
    other = wheel("other", "1.0")
    desk.write(f"dist/{other.filename}", other.data)
    desk.write(PRIVATE.filename, PRIVATE.data)
    url = desk.envbuild("wheels", "add", PRIVATE.filename, "--json").json["url"]
    desk.write(
        "envbuild.yml",
        f"wheels: ['{url}', dist/{other.filename}]\noptions: {{index_url: '{index.simple}'}}\n",
    )

    assert desk.build().python("import private, other; print(other.__version__)") == "1.0"


def test_the_same_file_name_with_other_bytes_is_another_wheel(desk: Desk, index: Index) -> None:
    desk.write(PRIVATE.filename, PRIVATE.data)
    desk.requirements(f"./{PRIVATE.filename}", index=index)
    first = desk.build()
    rebuilt = wheel("private", "1.0", requires=["helper"], scripts={"private": "private:main"}, payload=" again")

    desk.write(rebuilt.filename, rebuilt.data)

    assert PRIVATE.filename == rebuilt.filename
    assert "private" in desk.refused("lock", "--check").err
    second = desk.build()
    assert first.id != second.id
    assert second.run("private") == "private 1.0 again"
    assert first.run("private") == "private 1.0"


def test_extras_and_markers_of_a_private_wheel_count(desk: Desk, index: Index) -> None:
    made = wheel("private", "1.0", requires=["fancy; extra == 'more'"], extras=["more"])
    absent = wheel("absent", "1.0")
    desk.write(made.filename, made.data)
    desk.write(absent.filename, absent.data)
    desk.requirements(
        f"private[more] @ file:{made.filename}", f"./{absent.filename} ; sys_platform == 'win32'", index=index
    )

    prefix = desk.build()

    assert prefix.python("import private, fancy; print('there')") == "there"
    assert prefix.python("import importlib.util as u; print(u.find_spec('absent'))") == "None"


def test_a_private_wheel_that_no_index_package_may_replace_wins_over_the_index(desk: Desk, index: Index) -> None:
    own = wheel("helper", "9.9")
    desk.write(own.filename, own.data)
    desk.requirements("demo", f"./{own.filename}", index=index)

    assert desk.build().python("import demo, helper; print(helper.__version__)") == "9.9"


def test_a_private_wheel_for_another_python_is_refused_by_name(desk: Desk, index: Index) -> None:
    made = wheel("private", "1.0", tag="cp36-cp36m-linux_x86_64")
    desk.write(made.filename, made.data)
    desk.requirements(f"./{made.filename}", index=index)

    assert "private" in desk.refused("build").err
    assert desk.left_behind() == []


def test_a_wheel_that_is_gone_is_found_in_the_store_and_otherwise_missed_by_name(desk: Desk, index: Index) -> None:
    desk.write(PRIVATE.filename, PRIVATE.data)
    desk.requirements(f"./{PRIVATE.filename}", index=index)
    desk.lock()
    (desk.folder / PRIVATE.filename).unlink()
    assert PRIVATE.filename in desk.refused("lock").err

    url = f"envbuild://wheels/{Digest.of(PRIVATE.data).hex}/{PRIVATE.filename}"
    desk.requirements(url, index=index)
    assert desk.build().run("private") == "private 1.0"

    there = desk.elsewhere()
    there.requirements(url, index=index)
    done = there.refused("build")
    assert PRIVATE.filename in done.err
    assert "envbuild wheels add" in done.err


def test_a_lock_with_a_private_wheel_is_built_elsewhere_from_the_folder_beside_it(desk: Desk, index: Index) -> None:
    there = desk.elsewhere()
    for each in (desk, there):
        each.write(f"wheels/{PRIVATE.filename}", PRIVATE.data)
        each.requirements(f"./wheels/{PRIVATE.filename}", index=index)
    desk.lock()
    there.write("pylock.toml", (desk.folder / "pylock.toml").read_bytes())

    assert there.envbuild("lock", "--json").json["changed"] is False
    assert there.build("--locked").id == desk.build().id


def test_a_damaged_copy_in_the_store_is_not_installed(desk: Desk, index: Index) -> None:
    desk.write(PRIVATE.filename, PRIVATE.data)
    desk.requirements(f"./{PRIVATE.filename}", index=index)
    desk.lock()
    blob = desk.workspace.store.path(Digest.of(PRIVATE.data))
    blob.chmod(0o644)
    blob.write_bytes(b"x" * len(PRIVATE.data))

    done = desk.try_("build", "--json")

    assert done.json["error"] == "Damaged"
    assert desk.left_behind() == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a wheel"),
        (b"PK\x05\x06" + bytes(18), "not a wheel"),
        (PRIVATE.data[:-40], "not a wheel"),
        (PRIVATE.data.replace(b"private", b"pr1vate", 1), ""),
        (wheel("other", "1.0").data, "named as another package"),
    ],
    ids=["empty", "empty zip", "cut off", "edited", "another package"],
)
def test_a_file_that_is_not_the_wheel_it_says_is_refused(desk: Desk, index: Index, data: bytes, said: str) -> None:
    desk.write(PRIVATE.filename, data)
    desk.requirements(f"./{PRIVATE.filename}", index=index)

    for words in (["lock"], ["wheels", "add", PRIVATE.filename]):
        done = desk.refused(*words)
        assert PRIVATE.filename in done.err
        assert said in done.err
    assert not (desk.folder / "pylock.toml").exists()


@pytest.mark.parametrize("trick", sorted(evil_wheels(Path("/nowhere"))))
def test_a_private_wheel_that_would_leave_its_environment_is_refused_before_anything_is_installed(
    desk: Desk, index: Index, tmp_path: Path, trick: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    made: Made = evil_wheels(outside)[trick]
    desk.write(made.filename, made.data)
    desk.requirements(f"./{made.filename}", index=index)

    with guarded(outside):
        done = desk.try_("build")

    assert "Traceback" not in done.err
    if trick not in HARMLESS or trick == "backslash":
        assert done.code == 1
        assert "evil" in done.err
        assert desk.left_behind() == []
    assert not [path for path in tmp_path.rglob("*pwned*") if not {"uv-cache", "prefix"} & set(path.parts)]

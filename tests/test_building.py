"""Building: prefixes that are whole or not there, the same wherever they are built, and shared by all who ask."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.desk import Desk, guarded
from support.evil import HARMLESS, evil_sdists, evil_wheels, pwned
from support.index import Index
from support.packages import Made, project, sdist, wheel
from support.shelf import DEMO, FANCY

from envbuild.seal import tree_digest

# Shared, and the same


def test_two_projects_with_the_same_packages_share_one_prefix(desk: Desk, index: Index) -> None:
    one, other = desk.at("one"), desk.at("other")
    one.requirements("demo", "native", index=index)
    other.requirements("native", "demo", "helper", index=index)

    first, second = one.build(), other.build()

    assert (first.built, second.built) == (True, False)
    assert first.path == second.path
    assert first.id == second.id


def test_a_prefix_names_no_place_but_its_own(desk: Desk, index: Index) -> None:
    desk.lay(project("lib", "1.0", requires=["demo"]), "lib")
    private = wheel("private", "1.0", scripts={"private": "private:main"})
    desk.write(private.filename, private.data)
    desk.requirements("-e ./lib", "raw", f"./{private.filename}", index=index)

    prefix = desk.build()

    assert prefix.mentions("scratch", str(desk.folder), str(desk.cache)) == []
    assert not list(prefix.path.rglob("uv_cache.json"))
    assert {path.name for path in prefix.path.iterdir()} == {"bin", "lib", "lib64", "pyvenv.cfg"}


def test_scripts_work_where_the_prefix_was_published(desk: Desk, index: Index) -> None:
    private = wheel("private", "1.0", scripts={"private": "private:main"})
    desk.write(private.filename, private.data)
    desk.requirements("demo", f"./{private.filename}", index=index)

    prefix = desk.build()

    assert prefix.run("demo") == "demo 2.0"
    assert prefix.run("private") == "private 1.0"


def test_two_machines_build_the_same_tree(desk: Desk, index: Index) -> None:
    private = wheel("private", "1.0", requires=["fancy"], scripts={"private": "private:main"})
    there = desk.elsewhere()
    for each in (desk, there):
        each.lay(project("lib", "1.0"), "lib")
        each.write(f"wheels/{private.filename}", private.data)
        each.requirements("demo", "native", "raw", "./lib", f"./wheels/{private.filename}", index=index)

    one, other = desk.build(), there.build()

    assert one.id == other.id
    assert one.path != other.path
    assert tree_digest(one.path) == tree_digest(other.path)


def test_sixteen_processes_that_ask_for_one_new_environment_build_it_once(desk: Desk, index: Index) -> None:
    desk.requirements("demo", "native", "raw", index=index)
    desk.lock()
    index.asked.clear()

    processes = [desk.start("build", "--json") for _ in range(16)]
    ended = [(each.communicate(timeout=120), each.returncode) for each in processes]

    assert [code for _, code in ended] == [0] * 16, ended
    assert sum('"built": true' in out for (out, _), _ in ended) == 1
    assert sorted(index.downloads()) == sorted(set(index.downloads()))


def test_sixteen_processes_that_ask_at_once_for_what_is_not_even_locked_agree(desk: Desk, index: Index) -> None:
    desk.requirements("demo", index=index)

    processes = [desk.start("build", "--json") for _ in range(16)]
    ended = [(each.communicate(timeout=120), each.returncode) for each in processes]

    assert [code for _, code in ended] == [0] * 16, ended
    assert sum('"built": true' in out for (out, _), _ in ended) == 1


# Local projects


def test_an_edit_of_a_local_project_makes_another_environment_that_has_it(desk: Desk, index: Index) -> None:
    desk.lay(project("lib", "1.0", source="answer = 41\n"), "lib")
    desk.requirements("-e ./lib", "helper", index=index)
    first = desk.build()
    assert first.python("import lib; print(lib.answer)") == "41"

    # pyproject.toml stays as it is, and so would what uv has cached.
    desk.write("lib/src/lib/__init__.py", "answer = 42\n")
    second = desk.build()

    assert second.python("import lib; print(lib.answer)") == "42"
    assert first.python("import lib; print(lib.answer)") == "41"
    assert first.id != second.id


def test_an_environment_is_not_tied_to_the_folder_that_it_was_built_from(desk: Desk) -> None:
    one, other = desk.at("one"), desk.at("other")
    for each in (one, other):
        each.lay(project("lib", "1.0", source="answer = 41\n"), "lib")
        each.write("envbuild.yml", "pip: ['-e ./lib']\n")
    prefix = one.build()
    assert other.build().path == prefix.path

    one.write("lib/src/lib/__init__.py", "answer = 'of somebody else'\n")

    assert other.build().python("import lib; print(lib.answer)") == "41"


def test_building_leaves_nothing_in_a_local_project(desk: Desk) -> None:
    desk.lay(project("lib", "1.0"), "lib")
    desk.write("envbuild.yml", "pip: [./lib]\n")
    desk.lock()

    with guarded(desk.folder / "lib"):
        desk.build()


def test_what_envbuild_writes_to_in_a_local_project_is_no_part_of_it(desk: Desk) -> None:
    desk.lay(project("lib", "1.0"))
    desk.write("envbuild.yml", "pip: ['-e .']\n")
    desk.write("x.py", "import lib\n")

    def redirected(name: str, *words: str) -> str:
        file = desk.folder / name
        with file.open("w") as out:
            command = [sys.executable, "-m", "envbuild", *words]
            done = subprocess.run(command, cwd=desk.folder, env=desk.environment, stdout=out, stderr=out, check=False)
        said = file.read_text()
        file.unlink()
        assert done.returncode == 0, said
        return said

    first = redirected("log.txt", "run", "x.py")
    again, other = redirected("log.txt", "run", "x.py"), redirected("other.txt", "run", "x.py")

    ids = {line for said in (first, again, other) for line in said.splitlines() if line.startswith("environment")}
    assert len(ids) == 1
    assert "Building" in first
    assert "Building" not in again + other
    assert desk.identity() in ids.pop()


def test_what_another_process_writes_to_in_a_local_project_is_named(desk: Desk) -> None:
    grows = "import pathlib\n\npathlib.Path(ROOT, 'grown.txt').write_text('x')\n".replace(
        "ROOT", repr(str(desk.folder))
    )
    files = project("lib", "1.0")
    backend = next(path for path in files if "build_wheel" in files[path])
    desk.lay({**files, backend: grows + files[backend]})
    desk.write("envbuild.yml", "pip: ['-e .']\n")

    said = desk.refused("build").err

    assert "a local project was edited while it was built: grown.txt" in said
    assert ".envbuildignore" in said


def test_what_a_local_project_depends_on_may_be_told_by_its_backend(desk: Desk, index: Index) -> None:
    files = project("lib", "1.0")
    files["pyproject.toml"] = files["pyproject.toml"].replace("dependencies = []", 'dynamic = ["dependencies"]')
    files["PKG-INFO"] += "Dynamic: Requires-Dist\n"
    desk.lay(files, "lib")
    desk.write("lib/requirements.txt", "fancy\n")
    desk.write(
        "lib/backend.py",
        files["backend.py"].replace(
            '        files[info + "METADATA"] = stream.read()', '        files[info + "METADATA"] = stream.read()'
        )
        + (
            "\n\n_write_as_it_is = _write\n\n\ndef _write(wheel_directory, files):\n"
            "    told = open('PKG-INFO').read().replace('Dynamic: Requires-Dist\\n', '')\n"
            "    asked = ''.join('Requires-Dist: %s\\n' % each for each in open('requirements.txt').read().split())\n"
            "    open('PKG-INFO', 'w').write(told + asked)\n"
            "    try:\n        return _write_as_it_is(wheel_directory, files)\n"
            "    finally:\n        open('PKG-INFO', 'w').write(told + 'Dynamic: Requires-Dist\\n')\n"
        ),
    )
    desk.requirements("./lib", index=index)
    assert {each.name for each in desk.lock().packages} == {"lib", "fancy"}

    desk.write("lib/requirements.txt", "fancy\nhelper\n")

    assert "lib/requirements.txt" in desk.refused("lock", "--check").err
    assert {each.name for each in desk.lock().packages} == {"lib", "fancy", "helper"}


# What goes wrong


def test_bytes_replaced_on_the_index_are_damage_and_nothing_is_built(desk: Desk, index: Index) -> None:
    desk.requirements("demo", index=index)
    desk.lock()
    index.files[DEMO["2.0"].filename].served = wheel("demo", "2.0", payload="!").data

    done = desk.try_("build", "--json")

    assert done.code == 1
    assert done.json["error"] == "Damaged"
    assert "demo" in done.json["message"]
    assert desk.left_behind() == []
    index.files[DEMO["2.0"].filename].served = None
    assert desk.build().run("demo") == "demo 2.0"


def test_what_a_lock_has_for_another_python_is_not_left_out_in_silence(desk: Desk, index: Index) -> None:
    desk.requirements("demo", "fancy", index=index)
    desk.envbuild("lock")
    lock = desk.lock()
    elsewhere = [
        replace(each, marker='python_version < "3"') if each.name == "demo" else each for each in lock.packages
    ]
    desk.write("pylock.toml", replace(lock, packages=tuple(elsewhere)).to_toml())

    said = desk.refused("build").err

    assert 'not meant for this Python and machine: demo 2.0, for python_version < "3"' in said


def test_a_source_archive_replaced_on_the_index_is_damage(desk: Desk, index: Index) -> None:
    desk.requirements("raw", index=index)
    desk.lock()
    index.files["raw-1.0.tar.gz"].served = sdist("raw", "1.0", payload="!").data

    done = desk.try_("build", "--json")

    assert done.json["error"] == "Damaged"
    assert desk.left_behind() == []


def test_an_index_that_dies_half_way_through_a_wheel_is_an_error_and_then_all_is_well(desk: Desk, index: Index) -> None:
    desk.requirements("demo", index=index)
    desk.lock()
    index.dying = {DEMO["2.0"].filename}

    done = desk.refused("build")

    assert "demo" in done.err
    assert "network" in done.err
    assert desk.left_behind() == []
    index.dying = set()
    assert desk.build().run("demo") == "demo 2.0"


@pytest.mark.parametrize("cut", [0, 40, -30], ids=["empty", "head", "tail"])
def test_a_corrupt_wheel_is_named(desk: Desk, index: Index, cut: int) -> None:
    whole = FANCY.data
    index.publish(Made(FANCY.filename, whole[:cut] if cut else b"", FANCY.metadata))
    desk.requirements("fancy", index=index)
    desk.lock()

    done = desk.refused("build")

    assert "fancy" in done.err
    assert desk.left_behind() == []


def test_a_source_archive_that_cannot_be_built_says_what_its_backend_said(desk: Desk, index: Index) -> None:
    index.publish(sdist("broken", "1.0", files={"backend.py": "raise SystemExit('no compiler here')\n"}))
    desk.requirements("broken", index=index)
    desk.lock()

    done = desk.refused("build")

    assert "broken" in done.err
    assert "no compiler here" in done.err
    assert desk.left_behind() == []


# What means harm


@pytest.mark.parametrize("trick", sorted(evil_wheels(Path("/nowhere"))))
def test_a_wheel_writes_nothing_outside_of_its_environment(
    desk: Desk, index: Index, tmp_path: Path, trick: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    made = evil_wheels(outside)[trick]
    index.publish(made)
    desk.requirements("evil", index=index)

    done = desk.try_("build")

    assert list(outside.iterdir()) == []
    if done.code == 0:
        assert trick in HARMLESS, done.out
        assert not [path for path in pwned(desk.root) if "prefix" not in Path(path).parts]
    else:
        assert trick not in HARMLESS, done.err
        assert "Traceback" not in done.err
        assert "evil" in done.err
        assert pwned(desk.root) == []
        assert desk.left_behind() == []
        assert desk.try_("build").code == 1, "and it is refused again"


@pytest.mark.parametrize("trick", sorted(evil_sdists(Path("/nowhere"))))
def test_a_source_archive_unpacks_nothing_outside_of_its_folder(
    desk: Desk, index: Index, tmp_path: Path, trick: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    index.publish(evil_sdists(outside)[trick])
    desk.requirements("evil", index=index)

    done = desk.try_("build")

    assert list(outside.iterdir()) == []
    assert pwned(desk.root) == []
    assert "Traceback" not in done.err
    if done.code:
        assert "evil" in done.err
        assert desk.left_behind() == []


@pytest.mark.parametrize("name", ["bin/python", "bin/python3", "pyvenv.cfg", "bin/activate"])
def test_a_wheel_cannot_take_the_place_of_what_makes_an_environment_one(
    desk: Desk, index: Index, interpreters: dict[str, Path], name: str
) -> None:
    index.publish(wheel("evil", "1.0", files={f"evil-1.0.data/data/{name}": "#!/bin/sh\necho pwned\n"}))
    desk.requirements("evil", index=index)
    python = interpreters[f"{sys.version_info.major}.{sys.version_info.minor}"].resolve()
    before = python.read_bytes()

    done = desk.refused("build")

    assert name.removeprefix("bin/") in done.err
    assert "evil" in done.err
    assert python.read_bytes() == before
    assert desk.left_behind() == []


# What other plugins take on


@pytest.mark.parametrize(
    ("section", "extra"),
    [
        ("docker: {base_image: 'debian:12'}", "envbuild[docker]"),
        ("gpu: 1", "envbuild[gpu]"),
    ],
)
def test_a_section_whose_plugin_is_not_installed_names_what_to_install(desk: Desk, section: str, extra: str) -> None:
    desk.write("envbuild.yml", f"pip: [demo]\n{section}\n")

    done = desk.refused("build")

    assert extra in done.err
    assert section.split(":")[0] in done.err


def test_an_environment_whose_python_was_replaced_is_built_again(desk: Desk, interpreters: dict[str, Path]) -> None:
    # A copy of a Python that this machine has, so that another can be put in its place.
    desk.write("envbuild.yml", "pip: []\n")
    prefix = Path(desk.envbuild("build", "--json").json["path"])
    python = prefix / "bin" / "python"
    python.unlink()
    python.symlink_to(interpreters["3.9"])

    again = desk.envbuild("build", "--json").json

    assert again["built"]
    assert (prefix / "bin" / "python").resolve() != interpreters["3.9"].resolve()

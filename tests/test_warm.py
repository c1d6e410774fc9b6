"""Warm: a repeated command is run at once, and as soon as anything has changed it is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.packages import project as local_project
from support.place import Done, Place

NEVER_ON_THE_WAY = {
    "argparse",
    "json",
    "sqlite3",
    "pluggy",
    "yaml",
    "rich",
    "dataclasses",
    "typing",
    "re",
    "enum",
    "pathlib",
    "importlib",
    "subprocess",
    "signal",
    "hashlib",
    "threading",
    "shutil",
    "tempfile",
    "logging",
    "packaging",
    "collections",
    "envbuild.cli",
    "envbuild.catalogue",
    "envbuild.store",
    "envbuild.errors",
}


def tried(place: Place, *words: str | Path, code: int = 0, **options: Any) -> tuple[bool, Done]:
    """Give a command; whether it was run warm, and what came of it."""
    program = [sys.executable, "-X", "importtime", "-m", "envbuild"]
    done = place.do("run", *words, code=code, program=program, **options)
    return not [line for line in done.said.splitlines() if line.startswith("import time:") and "argparse" in line], done


def warm(place: Place, *words: str | Path, **options: Any) -> bool:
    return tried(place, *words, **options)[0]


def settle() -> None:
    """Let so much time go by that a further change has another time."""
    time.sleep(0.06)


def heat(place: Place, *words: str | Path, **options: Any) -> None:
    """Repeat a command until it is warm."""
    for _ in range(3):
        settle()
        if warm(place, *words, **options):
            return
    pytest.fail(f"{words} does not become warm")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path, tmp_path / "workspace")
    made.write("requirements.txt", "# nothing\n")
    made.write("script.py", "print('first')")
    made.write("data/in.csv", "1")
    return made


def test_nothing_that_takes_time_is_imported_on_the_way(place: Place) -> None:
    heat(place, "script.py")
    program = [sys.executable, "-X", "importtime", "-m", "envbuild"]
    said = place.do("run", "script.py", program=program).said

    imported = {line.rpartition("|")[2].strip() for line in said.splitlines() if line.startswith("import time:")}
    bare = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import runpy"], capture_output=True, text=True, check=True
    ).stderr
    without_us = {line.rpartition("|")[2].strip() for line in bare.splitlines()}
    ours = imported - without_us
    assert not {name for name in ours if name.partition(".")[0] in NEVER_ON_THE_WAY - without_us} - {"envbuild"}
    assert not ours & NEVER_ON_THE_WAY
    assert {name for name in ours if name.startswith("envbuild.")} <= {
        "envbuild.activation",
        "envbuild.layout",
        "envbuild.warm",
        "envbuild.supervise",
        "envbuild.__main__",
    }


def test_a_warm_run_records_what_a_cold_one_does(place: Place) -> None:
    place.write("envbuild.yml", "name: same\nvariables: {A: b}\nsecrets: [TOKEN]\n")
    place.write(
        "script.py", "from envbuild import Run; Run.get_context().log('m', 1); open('outputs/o', 'w').write('x')"
    )
    secret = {"TOKEN": "s3cr3t-value"}
    heat(place, "--name", "exp", "script.py", "arg", env=secret)
    was_warm, _ = tried(place, "--name", "exp", "script.py", "arg", env=secret)
    assert was_warm
    one = place.last()
    shutil.rmtree(place.workspace / "warm")
    was_warm, _ = tried(place, "--name", "exp", "script.py", "arg", env=secret)
    assert not was_warm
    other = place.last()

    passing = {"id", "number", "created_at", "started_at", "ended_at", "seconds", "folder"}
    assert one.keys() == other.keys()
    assert {key: one[key] for key in one.keys() - passing} == {key: other[key] for key in other.keys() - passing}
    assert one["seconds"].keys() == other["seconds"].keys()
    for name in ("run.json", "end.json"):
        documents = [json.loads((place.run_folder(each["id"]) / name).read_text()) for each in (one, other)]
        assert documents[0].keys() == documents[1].keys()
    assert sorted(os.listdir(place.run_folder(one["id"]))) == sorted(os.listdir(place.run_folder(other["id"])))


def test_arguments_may_change(place: Place) -> None:
    place.write("script.py", "import sys; print(sys.argv[1:])")
    heat(place, "script.py", "one")

    was_warm, done = tried(place, "script.py", "two", "three")

    assert was_warm
    assert done.text == "['two', 'three']\n"


def edit(place: Place) -> None:
    place.write("script.py", "print('second')")


def edit_same_size(place: Place) -> None:
    before = (place.folder / "script.py").stat()
    place.write("script.py", "print('fIrst')")
    os.utime(place.folder / "script.py", ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(place: Place) -> None:
    place.write("new", "print('third')").rename(place.folder / "script.py")


@pytest.mark.parametrize(("change", "says"), [(edit, "second\n"), (edit_same_size, "fIrst\n"), (replace, "third\n")])
def test_an_edited_script_is_run_as_it_is_now(place: Place, change: Callable[[Place], None], says: str) -> None:
    heat(place, "script.py")
    change(place)

    was_warm, done = tried(place, "script.py")

    assert not was_warm
    assert done.text == says
    heat(place, "script.py")
    assert tried(place, "script.py")[1].text == says


SEES = "import os; print(sorted(os.listdir('data')), oct(os.stat('data/in.csv').st_mode & 0o111))"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda place: place.write("data/new", ""), "['in.csv', 'new'] 0o0"),
        (lambda place: place.write("data/sub/new", ""), "['in.csv', 'sub'] 0o0"),
        (
            lambda place: (
                (place.folder / "data/in.csv").rename(place.folder / "data/x") and place.write("data/in.csv", "1")
            ),
            "['in.csv', 'x'] 0o0",
        ),
        (lambda place: (place.folder / "data/in.csv").chmod(0o755), "['in.csv'] 0o111"),
        (lambda place: place.write(".envbuildignore", "other\n"), "['in.csv'] 0o0"),
        (lambda place: (place.folder / "data/link").symlink_to("in.csv"), "['in.csv', 'link'] 0o0"),
    ],
)
def test_any_change_of_the_source_folder_is_seen(place: Place, change: Callable[[Place], object], says: str) -> None:
    place.write("script.py", SEES)
    heat(place, "script.py")
    change(place)

    was_warm, done = tried(place, "script.py")

    assert not was_warm
    assert done.text == says + "\n"
    assert place.last()["snapshot"] != place.runs()[-1]["snapshot"]


def test_a_deleted_file_is_missed(place: Place) -> None:
    place.write("script.py", "import os; print(os.path.exists('data/in.csv'))")
    heat(place, "script.py")
    (place.folder / "data/in.csv").unlink()

    assert tried(place, "script.py")[1].text == "False\n"


def environment_of(place: Place, *words: str) -> dict[str, Any]:
    place.do("run", *words)
    found: dict[str, Any] = place.last()["environment"]
    return found


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("requirements.txt", "# nothing\n--no-binary example\n"),
        ("included.txt", "--no-binary example\n"),
        ("envbuild.yml", "name: higher\n"),
    ],
)
def test_a_changed_or_new_definition_counts_at_once(place: Place, path: str, content: str) -> None:
    place.write("included.txt", "# nothing\n")
    place.write("requirements.txt", "-r included.txt\n")
    heat(place, "script.py")
    before = place.last()["environment"]
    place.write(path, content)

    assert not warm(place, "script.py")
    after = place.last()["environment"]
    assert after["definition_digest"] != before["definition_digest"] or after["name"] != before["name"]


def test_an_included_file_that_lies_elsewhere_counts_too(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "shared.txt"
    outside.write_text("# nothing\n")
    place.write("requirements.txt", f"-r {outside}\n")
    heat(place, "script.py")
    outside.write_text("--no-binary example\n")
    assert not warm(place, "script.py")


def test_an_edited_or_deleted_lock_is_looked_at(place: Place) -> None:
    heat(place, "script.py")
    lock = place.folder / "pylock.toml"
    lock.write_text(lock.read_text() + "\n# touched\n")
    assert not warm(place, "script.py")
    heat(place, "script.py")
    lock.unlink()
    assert not warm(place, "script.py")
    assert lock.exists()
    heat(place, "script.py")
    lock.write_text("not a lock")
    assert not warm(place, "script.py")
    assert lock.read_text() == "not a lock"  # another tool's, for all that can be told


def test_a_moved_label_an_archived_and_a_deleted_version_count(place: Place) -> None:
    place.write("one/envbuild.yml", "name: named\n")
    place.write("two/envbuild.yml", "name: named\npip: []\nvariables: {A: b}\n")
    place.do("env", "register", "one")
    place.do("env", "label", "named:1", "good")
    heat(place, "-e", "named@good", "script.py")
    heat(place, "-e", "named", "script.py")
    place.do("env", "register", "two")
    assert not warm(place, "-e", "named", "script.py")
    assert place.last()["environment"]["version"] == "2"
    assert not warm(place, "-e", "named@good", "script.py")
    assert place.last()["environment"]["version"] == "1"

    heat(place, "-e", "named@good", "script.py")
    place.do("env", "label", "named:2", "good")
    assert not warm(place, "-e", "named@good", "script.py")
    assert place.last()["environment"]["version"] == "2"

    heat(place, "-e", "named", "script.py")
    place.do("env", "archive", "named:2")
    assert not warm(place, "-e", "named", "script.py")
    assert place.last()["environment"]["version"] == "1"

    heat(place, "-e", "named:1", "script.py")
    place.do("env", "delete", "named:1", "--force")
    assert "named:1 has been deleted" in place.refused("run", "-e", "named:1", "script.py")


def test_a_label_that_moves_while_a_run_goes_on_is_not_missed_by_the_next(place: Place) -> None:
    place.write("one/envbuild.yml", "name: named\n")
    place.write("two/envbuild.yml", "name: named\nvariables: {A: b}\n")
    place.do("env", "register", "one")
    place.do("env", "register", "two")
    place.do("env", "label", "named:1", "good")
    place.write("script.py", "print('up', flush=True); input()")
    settle()
    with place.start("run", "-e", "named@good", "script.py", stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        place.do("env", "label", "named:2", "good")
        process.communicate(b"\n")
    place.do("run", "-e", "named@good", "script.py", input=b"\n")
    assert place.last()["environment"]["version"] == "2"


def test_other_projects_that_are_registered_do_not_cool_everything_for_ever(place: Place) -> None:
    heat(place, "script.py")
    place.write("other/envbuild.yml", "name: other\n")
    place.write("other/script.py", "print('x')")
    place.do("run", "script.py", cwd=place.folder / "other")  # which registers a new name
    heat(place, "script.py")
    place.write("other/script.py", "print('y')")
    place.do("run", "script.py", cwd=place.folder / "other")  # which registers nothing
    place.do("env", "list")
    (place.folder / "other/script.py").unlink()


def test_an_evicted_image_is_built_again(place: Place) -> None:
    heat(place, "script.py")
    place.do("env", "delete", "project", "--force")
    settle()
    place.do("run", "script.py")
    settle()
    heat(place, "script.py")
    shutil.rmtree(place.workspace / "store/images" / place.last()["environment"]["id"].removeprefix("sha256:"))

    was_warm, done = tried(place, "script.py")

    assert not was_warm
    assert done.text == "first\n"


def test_an_environment_whose_python_has_gone_is_built_again(place: Place) -> None:
    heat(place, "script.py")
    identity = place.last()["environment"]["id"].removeprefix("sha256:")
    link = place.workspace / "store/images" / identity / "prefix/bin/python"
    link.unlink()
    link.symlink_to("/gone/python3.11")

    done = place.do("run", "script.py")

    assert "has lost its Python" in done.said
    assert link.exists()
    assert place.do("store", "verify").code == 0


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@e", "-c", "commit.gpgsign=false"]
    told = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, env=told)


def test_a_commit_a_switch_and_another_remote_count(place: Place, lacking: Callable[[str, str], None]) -> None:
    if shutil.which("git") is None:
        lacking("git", "no git found")
    place.write(".gitignore", "pylock.toml\n")
    git(place.folder, "init", "-q", "-b", "main")
    git(place.folder, "add", ".")
    git(place.folder, "commit", "-q", "-m", "one")
    seen = []
    for change in (
        ["commit", "-q", "--allow-empty", "-m", "two"],
        ["-c", "core.logAllRefUpdates=false", "commit", "-q", "--allow-empty", "--amend", "-m", "three"],
        ["checkout", "-q", "-b", "side"],
        ["remote", "add", "origin", "https://example.com/x.git"],
    ):
        heat(place, "script.py")
        seen.append(place.last()["git"])
        git(place.folder, *change)
        assert not warm(place, "script.py"), change
        assert place.last()["git"] != seen[-1], change


def test_an_edited_editable_project_makes_another_environment(place: Place, tmp_path: Path) -> None:
    library = tmp_path / "library"
    for path, content in local_project("library", "1.0").items():
        (library / path).parent.mkdir(parents=True, exist_ok=True)
        (library / path).write_text(content)
    place.write("requirements.txt", f"-e {library}\n")
    place.write("script.py", "import library; print(library.__version__)")
    heat(place, "script.py")
    before = place.last()["environment"]["id"]
    module = next((library / "src").rglob("__init__.py"))
    module.write_text(module.read_text().replace("1.0", "1.1"))

    was_warm, done = tried(place, "script.py")

    assert not was_warm
    assert done.text == "1.1\n"
    assert place.last()["environment"]["id"] != before


def test_a_secret_that_is_not_set_any_more_is_missed(place: Place) -> None:
    place.write("envbuild.yml", "name: s\nsecrets: [TOKEN]\n")
    place.write("script.py", "import os; print(os.environ['TOKEN'][::-1])")
    heat(place, "script.py", env={"TOKEN": "abcdefgh"})
    was_warm, done = tried(place, "script.py", env={"TOKEN": "12345678"})
    assert was_warm
    assert done.text == "87654321\n"
    assert "TOKEN" in place.refused("run", "script.py")


def test_another_folder_and_another_workspace_are_other_commands(place: Place, tmp_path: Path) -> None:
    heat(place, "script.py")
    place.write("data/script.py", "print('below')")
    settle()
    was_warm, done = tried(place, "script.py", cwd=place.folder / "data")
    assert not was_warm
    assert done.text == "below\n"
    assert not warm(place, "script.py", env={"ENVBUILD_WORKSPACE": str(tmp_path / "other")})


@pytest.mark.parametrize("keep", [0, 1, 10, 200, -1, -4])
def test_a_stamp_that_was_cut_off_or_is_none_is_passed_over(place: Place, keep: int) -> None:
    heat(place, "script.py")
    (stamp,) = (place.workspace / "warm").iterdir()
    content = stamp.read_bytes()
    stamp.write_bytes(content[:keep] if keep else b"\xff\0\xfe" * 100)

    was_warm, done = tried(place, "script.py")

    assert not was_warm
    assert done.text == "first\n"
    heat(place, "script.py")


def test_a_lease_that_cannot_be_opened_makes_it_step_back(place: Place) -> None:
    heat(place, "script.py")
    for lease in (place.workspace / "store/leases").iterdir():
        lease.unlink()
    assert not warm(place, "script.py")


def test_a_change_while_the_files_are_copied_is_noticed(place: Place) -> None:
    heat(place, "script.py")
    racing = [
        sys.executable,
        "-c",
        "import sys; from envbuild import warm; hold = warm.hold\n"
        "def late(*lease):\n"
        f"    open({str(place.folder / 'script.py')!r}, 'w').write('print(3)'); return hold(*lease)\n"
        "warm.hold = late\nfrom envbuild.__main__ import main; sys.exit(main())",
    ]
    assert place.do("run", "script.py", program=racing).text == "3\n"
    assert len(place.runs()) == len(list((place.workspace / "runs").iterdir()))


def test_the_clock_may_jump(place: Place) -> None:
    future = time.time() + 10 * 365 * 86400
    for path in ("script.py", "requirements.txt", "data/in.csv"):
        os.utime(place.folder / path, (future, future))
    heat(place, "script.py")
    place.write("script.py", "print('x')")
    os.utime(place.folder / "script.py", (1, 1))
    assert tried(place, "script.py")[1].text == "x\n"
    request = place.run_folder() / "run.json"
    request.write_text(json.dumps({**json.loads(request.read_text()), "created_at": future}))
    (place.workspace / "inbox" / place.newest()).touch()
    assert len(place.runs()) == len(list((place.workspace / "runs").iterdir()))


# What a repeated run cannot see in the files that it looks at


def test_a_variable_that_the_definition_uses_is_looked_at_each_time(place: Place) -> None:
    place.write("script.py", "import os; print(os.environ['COLOUR'])\n")
    place.write("envbuild.yml", "variables: {COLOUR: red}\npip: ['-r more.txt']\n")
    place.write("more.txt", "# ${SOMETHING}\n")
    for _ in range(2):
        assert place.do("run", "script.py").text == "red\n"

    assert not list((place.workspace / "warm").glob("*"))


def test_what_a_linked_definition_leads_to_is_looked_at(place: Place, tmp_path: Path) -> None:
    shared = tmp_path / "shared.yml"
    shared.write_text("variables: {COLOUR: red}\n")
    place.write("script.py", "import os; print(os.environ['COLOUR'])\n")
    (place.folder / "requirements.txt").unlink(missing_ok=True)
    (place.folder / "envbuild.yml").symlink_to(shared)
    time.sleep(0.1)
    for _ in range(3):
        assert place.do("run", "script.py").text == "red\n"

    shared.write_text("variables: {COLOUR: blue}\n")

    assert place.do("run", "script.py").text == "blue\n"

"""Crashes: whoever is killed, whatever is full, closed or damaged, the next command works and nothing half-done shows.

Where to kill is counted in changes: files made, renamed, removed, locked, programs started.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.packages import wheel
from support.place import Place

KILLED_AT = [
    sys.executable,
    "-c",
    """
import os, sys
left = int(os.environ["KILL_AT"])
seen = 0
events = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.utime", "os.chmod",
          "fcntl.flock", "subprocess.Popen", "os.posix_spawn", "sqlite3.connect", "open"}
def hook(event, arguments):
    global seen
    if event in events and (event != "open" or (arguments[2] or 0) & 3):
        seen += 1
        if seen == left:
            os.killpg(0, 9)
from envbuild import __main__
sys.addaudithook(hook)
if not left:
    end = os._exit
    def told(code):
        print(f"seen={seen}", file=sys.stderr, flush=True)
        end(code)
    os._exit = told
code = __main__.main()
if not left:
    print(f"seen={seen}", file=sys.stderr, flush=True)
sys.exit(code)
""",
]
"""The command, killed with all that it has started when it is about to change something for the KILL_AT-th time."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path, tmp_path / "workspace")
    made.write("requirements.txt", "# nothing\n")
    made.write("script.py", "open('outputs/o', 'w').write('made')\nprint('done')")
    return made


def renew(place: Place, number: int) -> None:
    """Make a definition that was never seen before."""
    made = wheel("tiny", f"1.{number}")
    for old in place.folder.glob("*.whl"):
        old.unlink()
    place.write(made.filename, made.data)
    place.write("requirements.txt", f"./{made.filename}\n")


def touch(place: Place, number: int) -> None:
    place.write("script.py", f"open('outputs/o', 'w').write('{number}')\nprint('done')")


def settle(place: Place, number: int) -> None:
    for _ in range(2 if number < 2 else 0):
        time.sleep(0.06)
        place.do("run", "script.py")


def fill(place: Place, number: int) -> None:
    """Leave something for gc."""
    place.do("build", ".")
    scratch = place.workspace / "store/scratch/left-by-somebody"
    scratch.mkdir(exist_ok=True)
    (scratch / "file").touch()


def whole(place: Place) -> None:
    """See that nothing half-done shows, and that gc finds what was left."""
    assert {each["status"] for each in place.runs()} <= {"Completed", "Failed"}
    assert all(each["reason"] for each in place.runs() if each["status"] == "Failed")
    checked = place.do("store", "verify", "--no-heal", "--json").json
    assert {each["state"] for each in checked} == {"intact"}, checked
    for run in (place.workspace / "runs").iterdir():
        if not (run / "run.json").exists():
            os.utime(run, (1, 1))
    place.do("store", "gc")
    assert list((place.workspace / "store/scratch").iterdir()) == []
    assert all((run / "run.json").exists() for run in (place.workspace / "runs").iterdir())
    assert not list(place.workspace.rglob("*.new"))


@pytest.mark.parametrize(
    ("words", "before", "times"),
    [
        (("run", "script.py"), renew, 12),
        (("run", "script.py"), touch, 8),
        (("run", "script.py"), settle, 8),
        (("build", "."), renew, 5),
        (("lock", "--upgrade"), renew, 4),
        (("store", "gc", "--max-size", "0"), fill, 6),
    ],
    ids=["first run", "changed run", "repeated run", "build", "lock", "gc"],
)
def test_whoever_is_killed_at_whatever_moment_leaves_a_workspace_that_works(
    place: Place, words: tuple[str, ...], before: Callable[[Place, int], None], times: int
) -> None:
    place.do("run", "script.py")
    before(place, 0)
    done = place.do(*words, program=KILLED_AT, env={"KILL_AT": "0"})
    count = int(done.said.rpartition("seen=")[2])
    assert count >= times
    for number in range(1, times + 1):
        before(place, number)
        point = 1 + (number * (count - 1)) // times
        killed = place.try_(*words, program=KILLED_AT, env={"KILL_AT": str(point)})
        assert killed.code in (-signal.SIGKILL, 0), killed.said  # how much there is to do differs a little
        done = place.do("run", "script.py")
        assert done.text.endswith("done\n")
        assert {each["status"] for each in place.runs()} <= {"Completed", "Failed"}
    whole(place)


def test_killed_at_any_time_of_a_run_it_is_failed_and_says_why(place: Place) -> None:
    place.write(
        "script.py",
        "import sys, time\nopen('outputs/o', 'w').write('half')\nprint('up', flush=True)\n"
        "while not print('on', flush=True): time.sleep(0.02)\n",
    )
    process = place.start("run", "script.py")
    assert process.stdout is not None
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    (run,) = place.runs()

    assert (run["status"], run["exit_code"]) == ("Failed", None)
    assert "was killed" in run["reason"]
    assert run["outputs"].keys() == {"o"}
    assert "was killed" in place.do("runs", "show", run["id"]).text
    # Once whatever it had started must have ended, gc takes the copies of what is kept anyway.
    work = place.run_folder() / "work"
    assert (work / "script.py").exists()
    (work / "made").write_text("by the run")
    os.utime(place.run_folder() / "died", (1, 1))
    place.do("store", "gc")
    assert [path.name for path in work.iterdir() if path.name not in ("logs", "outputs")] == ["made"]
    assert place.show(run["id"])["outputs"] == run["outputs"]


def test_killed_at_random_moments_with_all_it_has_started(place: Place) -> None:
    for number in range(8):
        renew(place, number)
        process = place.start("run", "script.py")
        time.sleep(0.04 * number)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    place.do("run", "script.py")
    whole(place)


def test_sixteen_that_ask_at_once_build_it_once(place: Place) -> None:
    renew(place, 1)
    started = [place.start("run", "script.py") for _ in range(16)]
    ended = [process.communicate(timeout=120) for process in started]

    assert [process.returncode for process in started] == [0] * 16, ended
    assert sum(err.count(b"Building project") for _, err in ended) == 1
    assert len(list((place.workspace / "store/images").iterdir())) == 1
    assert len({each["number"] for each in place.runs()}) == 16
    assert {each["environment"]["version"] for each in place.runs()} == {"1"}
    whole(place)


def test_runs_and_gc_at_the_same_time_do_not_take_each_others_things(place: Place) -> None:
    place.do("run", "script.py")
    place.do("env", "delete", "project", "--force")
    for number in range(4):
        touch(place, number)
        started = [
            place.start("run", "script.py"),
            place.start("store", "gc", "--max-size", "0"),
            place.start("run", "script.py"),
        ]
        ended = [process.communicate(timeout=60) for process in started]
        assert [err for process, (_, err) in zip(started, ended, strict=True) if process.returncode] == []
    whole(place)


# -- full, closed --------------------------------------------------------------------------------------------


@pytest.fixture
def mount(tmp_path: Path, lacking: Callable[[str, str], None]) -> Iterator[Callable[..., Path]]:
    """Mount something, until the test has ended."""
    mounted: list[Path] = []

    def do(name: str, *options: str) -> Path:
        place = tmp_path / name
        place.mkdir(exist_ok=True)
        done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
        if done.returncode:
            lacking("root", f"cannot mount: {done.stderr.strip()}")
        mounted.append(place)
        return place

    if os.geteuid() or shutil.which("mount") is None:
        lacking("root", "only root can mount")
    yield do
    for place in reversed(mounted):
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("size", [4, 64, 96, 160, 256, 400])
def test_a_full_disk_is_told_and_nothing_half_done_shows(tmp_path: Path, mount: Callable[..., Path], size: int) -> None:
    disk = mount("disk", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs")
    place = Place(tmp_path, disk / "workspace")
    place.write("requirements.txt", "# nothing\n")
    place.write("script.py", "print('done')")

    done = place.try_("run", "script.py")

    assert done.code in (0, 1)
    if done.code:
        assert "error: " in done.said
        assert "no space left" in done.said.lower() or "no file entry" in done.said
    disk_larger = ["mount", "-o", "remount,size=50m", str(disk)]
    subprocess.run(disk_larger, check=True)
    place.do("run", "script.py")
    assert {each["status"] for each in place.runs()} <= {"Completed", "Failed"}
    whole(place)


def test_a_disk_that_fills_while_it_runs_costs_the_log_and_not_the_run(
    tmp_path: Path, mount: Callable[..., Path]
) -> None:
    disk = mount("disk", "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    place = Place(tmp_path, disk / "workspace")
    place.write("requirements.txt", "# nothing\n")
    place.write("script.py", "print('x' * 3_000_000)\nprint('the end')")

    done = place.try_("run", "script.py")

    assert done.out.endswith(b"the end\n")
    assert len(done.out) > 3_000_000
    assert done.code in (0, 1)
    if not done.code:
        assert "its log is incomplete" in done.said
    subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
    assert place.runs()[0]["status"] in ("Completed", "Failed")
    place.do("run", "script.py")


def test_a_workspace_that_cannot_be_written_is_named(place: Place, mount: Callable[..., Path]) -> None:
    for _ in range(3):
        place.do("run", "script.py")
        time.sleep(0.06)
    run = place.newest()
    place.do("runs", "list")
    mount("workspace", "--bind", str(place.workspace))
    subprocess.run(["mount", "-o", "remount,ro,bind", str(place.workspace)], check=True)

    assert str(place.workspace) in place.refused("run", "script.py")
    for words in (
        ("runs", "list"),
        ("runs", "show", run),
        ("env", "list"),
        ("store", "usage"),
        ("store", "gc"),
        ("env", "register", "."),
        ("build", "."),
        ("doctor",),
        ("store", "verify"),
        ("why", "."),
    ):
        done = place.try_(*words)
        assert done.code in (0, 1), words
        assert done.code == 0 or "error" in done.said + done.text, (words, done)


def test_a_source_folder_that_cannot_be_written_is_no_hindrance(place: Place, mount: Callable[..., Path]) -> None:
    mount("project", "--bind", str(place.folder))
    subprocess.run(["mount", "-o", "remount,ro,bind", str(place.folder)], check=True)
    for _ in range(3):
        done = place.do("run", "script.py")
        assert done.text == "done\n"
        assert place.last()["outputs"].keys() == {"o"}
        time.sleep(0.06)
    place.do("runs", "reproduce", place.newest())


@pytest.mark.parametrize("value", ["/dev/null/x", "/proc/nowhere", "/etc/passwd", "\n", "~nobody-there/x"])
def test_a_workspace_that_cannot_be_one_is_named(place: Place, value: str) -> None:
    done = place.try_("run", "script.py", env={"ENVBUILD_WORKSPACE": value})
    assert done.code in (0, 1)
    assert done.code == 0 or "error: " in done.said


# -- damaged -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run.json", "end.json"])
@pytest.mark.parametrize("heard_of", [False, True])
def test_a_damaged_record_of_a_run_spoils_no_other(place: Place, name: str, heard_of: bool) -> None:
    for content in (b"", b"{", b"{}", b"[]", b"null", b"\xff\xfe", b'{"id": 1, "status": []}'):
        place.do("run", "script.py")
        spoilt = place.newest()
        before = len(place.runs()) if heard_of else None
        (place.workspace / "inbox" / spoilt).touch()
        (place.run_folder() / name).write_bytes(content)
        place.do("run", "script.py")

        found = place.runs()

        assert found[0]["status"] == "Completed"
        assert (spoilt in [each["id"] for each in found]) == (heard_of or name == "end.json")
        assert before is None or len(found) == before + 1
        shown = place.try_("runs", "show", spoilt)
        assert shown.code == 0 or "error: " in shown.said
    place.do("store", "gc")


def test_a_damaged_run_that_was_known_to_be_running_has_failed(place: Place) -> None:
    place.write("script.py", "import time; print('up', flush=True); time.sleep(20)")
    process = place.start("run", "script.py")
    assert process.stdout is not None
    process.stdout.readline()
    assert place.runs()[0]["status"] == "Running"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (place.run_folder() / "run.json").write_text("")

    (run,) = place.runs()

    assert run["status"] == "Failed"
    assert "run.json" in run["reason"]


def test_a_damaged_snapshot_is_not_run_again(place: Place) -> None:
    place.do("run", "script.py")
    run = place.last()
    files = json.loads((place.workspace / "store/blobs/sha256" / run["snapshot"].removeprefix("sha256:")).read_text())
    blob = place.workspace / "store/blobs/sha256" / files["files"]["script.py"]["sha256"]
    blob.chmod(0o644)
    blob.write_text("print('evil')")

    assert "was edited" in place.refused("runs", "reproduce", run["id"])
    assert any(each["state"] == "removed" for each in place.do("store", "verify", "--json").json)
    assert "error" in place.refused("runs", "reproduce", run["id"])
    place.do("run", "script.py")  # which keeps it again
    place.do("runs", "reproduce", run["id"])


def test_outputs_that_look_like_our_own_files_do_not_confuse_gc(place: Place) -> None:
    texts = [
        b"envbuild definition 1\n{}",
        b'{"files":',
        b'{"files":[]}',
        b'{"files":{"a":3},"kind":"snapshot"}',
        b"lock-version = 1",
        b"lock-version = \xff",
    ]
    place.write("script.py", f"for n, text in enumerate({texts!r}): open(f'outputs/{{n}}', 'wb').write(text)\n")
    place.do("run", "script.py")
    place.do("store", "gc")
    assert len(place.last()["outputs"]) == 6


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100, None])
def test_a_damaged_catalogue_is_named(place: Place, content: bytes | None) -> None:
    place.do("run", "script.py")
    place.runs()
    file = place.workspace / "catalogue.db"
    for each in place.workspace.glob("catalogue.db*"):
        each.unlink()
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    for words in (("runs", "list"), ("run", "script.py"), ("env", "list"), ("store", "gc"), ("doctor",)):
        done = place.try_(*words)
        assert done.code in (0, 1)
        assert done.code == 0 or "catalogue.db" in done.said + done.text, done


def test_a_damaged_image_is_found_and_mended(place: Place) -> None:
    place.do("run", "script.py")
    image = next((place.workspace / "store/images").iterdir())
    (image / "image.json").write_text("{")
    assert place.do("run", "script.py").text == "done\n"
    assert not list((place.workspace / "store/scratch").iterdir())


def test_a_folder_that_is_gone_is_told(place: Place) -> None:
    gone = place.folder / "gone"
    gone.mkdir()
    command = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m envbuild run script.py"
    done = place.try_("-c", command, program=["sh"], cwd=gone)
    assert done.code == 1
    assert "not there any more" in done.said


def test_a_run_whose_folder_was_removed_is_forgotten_without_harm(place: Place) -> None:
    place.do("run", "script.py")
    known = place.newest()
    place.runs()
    shutil.rmtree(place.run_folder())
    place.do("run", "script.py")
    shutil.rmtree(place.run_folder())
    assert [each["id"] for each in place.runs()] == [known]
    assert "no log" in place.refused("runs", "logs", known)
    place.do("runs", "show", known)
    place.do("runs", "reproduce", known)

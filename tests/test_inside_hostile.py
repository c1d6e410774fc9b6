"""What a script may leave in the folder of its run, and nobody who looks at it is to be harmed by."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bench import GATE, Bench
from support.place import until
from support.script import Script

from envbuild.inside.envbuild import events, interactive
from envbuild.inside.envbuild.record import InFolder, children_of
from envbuild.inside.envbuild.run import Run
from envbuild.metrics import read_metrics, read_notes
from envbuild.sdk import Experiment, ScriptRunConfig
from envbuild.sdk.exceptions import UserErrorException

GOOD = '{"name":"good","value":1,"kind":"metric"}\n'


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """Fail what waits for ever."""

    def late(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace's folder."""
    return tmp_path / "workspace"


@pytest.fixture
def folder(root: Path) -> Path:
    """A run's folder."""
    made = root / "runs" / "iris_1_ab"
    for part in ("outputs", "logs"):
        (made / part).mkdir(parents=True)
    (made / "run.json").write_text('{"id": "iris_1_ab", "experiment": "iris", "status": "Running"}')
    return made


@pytest.fixture
def run(folder: Path) -> Run:
    """The run of `folder`, as anybody sees it."""
    return Run("iris_1_ab", "iris", str(folder), None)


@pytest.fixture
def script(tmp_path: Path, interpreter: Path) -> Script:
    """Run a script as a target does, in a working copy of its own."""
    work = tmp_path / "work"
    work.mkdir()
    return Script(interpreter, work)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    here = Path.cwd()
    # The whole path is too long to be the name of a socket.
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def nowhere(path: Path) -> None:
    path.symlink_to("gone")


def directory(path: Path) -> None:
    path.mkdir()


def elsewhere(path: Path) -> None:
    (path.parent.parent / "elsewhere").write_text(GOOD)
    path.symlink_to(path.parent.parent / "elsewhere")


odd = pytest.mark.parametrize("make", [pipe, listening, device, loop, nowhere, directory, elsewhere])


# -- what is no file -----------------------------------------------------------------------------------------


@odd
def test_what_is_no_file_says_nothing(run: Run, folder: Path, make: Callable[[Path], None]) -> None:
    (folder / "run.json").unlink()
    for name in ("metrics.jsonl", "notes.jsonl", "run.json", "end.json", "lease"):
        make(folder / name)

    assert run.get_metrics() == run.get_tags() == run.get_properties() == {}
    assert list(run.get_children(recursive=True)) == []
    assert run.get_status() == "Running"
    assert run.get_details()["status"] == "Running"
    assert read_metrics(folder).values == read_notes(folder).tags == {}


@odd
def test_nothing_is_written_to_what_is_no_file(run: Run, folder: Path, make: Callable[[Path], None]) -> None:
    for name in ("metrics.jsonl", "notes.jsonl"):
        make(folder / name)
    before = set(events._kept)

    for write in (lambda: run.log("a", 1), lambda: run.tag("a")):
        with pytest.raises(OSError, match=r"metrics\.jsonl|notes\.jsonl"):
            write()
    assert not (folder / "gone").exists()
    assert events._kept == before


@odd
@pytest.mark.parametrize("part", ["logs", "outputs"])
def test_what_is_no_file_is_not_given(
    run: Run, folder: Path, tmp_path: Path, part: str, make: Callable[[Path], None]
) -> None:
    make(folder / part / "odd")
    (folder / part / "text").write_text("text")

    assert run.get_file_names() == [f"{part}/text"]
    run.download_files(output_directory=tmp_path / "got")
    assert [path.name for path in (tmp_path / "got" / part).iterdir()] == ["text"]
    with pytest.raises(ValueError, match=r"has no file|is a folder"):
        run.download_file(f"{part}/odd", tmp_path / "odd")
    assert len(run.get_details()["logFiles"]) == (part == "logs")


@pytest.mark.parametrize("part", ["logs", "outputs"])
@pytest.mark.parametrize("target", ["away", "..", ".", "loop"])
def test_a_folder_that_leads_out_of_the_run_has_no_files(
    run: Run, folder: Path, tmp_path: Path, part: str, target: str
) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "secret").write_text("secret")
    (folder / part).rmdir()
    (folder / part).symlink_to({"away": str(tmp_path / "away"), "loop": part}.get(target, target))

    assert run.get_file_names() == []
    for name in ("secret", "run.json", "iris_1_ab/run.json"):
        with pytest.raises(ValueError, match="has no file"):
            run.download_file(f"{part}/{name}", tmp_path / "got")
    if part == "outputs":
        with pytest.raises((ValueError, FileExistsError), match=r"not a path inside|File exists"):
            run.upload_file("secret", folder / "run.json")
    assert (tmp_path / "away" / "secret").read_text() == "secret"


def test_the_outputs_of_a_run_that_goes_on_are_in_its_working_copy(run: Run, folder: Path, tmp_path: Path) -> None:
    (folder / "work" / "outputs").mkdir(parents=True)
    (folder / "outputs").rmdir()
    (folder / "outputs").symlink_to("work/outputs")
    (folder / "work" / "logs").symlink_to("../logs")
    (folder / "work" / "outputs" / "model").write_text("model")
    (folder / "work" / "outputs" / "latest").symlink_to("model")

    assert run.get_file_names() == ["outputs/latest", "outputs/model"]
    run.download_file("latest", tmp_path / "got")
    assert (tmp_path / "got").read_text() == "model"


def test_a_script_of_its_own_may_have_its_outputs_anywhere(script: Script, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (script.work / "outputs").symlink_to(tmp_path / "disk")
    done = script(
        """
        from envbuild import Run
        run = Run.get_context()
        run.upload_file("model", "train.py")
        run.download_files()
        print(run.get_file_names())
        """
    )
    assert done.stdout == "['outputs/model']\n"
    assert (tmp_path / "disk" / "model").read_text() == (script.work / "train.py").read_text()


def test_folders_are_listed_however_deep_they_are(script: Script, folder: Path) -> None:
    script(
        """
        import os
        from envbuild import Run
        run = Run.get_context()
        here = os.getcwd()
        os.chdir(os.path.join(os.environ["ENVBUILD_RUN_FOLDER"], "outputs"))
        open("top", "w").close()
        for _ in range(1500):
            os.mkdir("d"); os.chdir("d")
        open("bottom", "w").close()
        bottom = os.open(".", os.O_RDONLY)
        os.chdir(here)
        names = run.get_file_names()
        # Few tools can remove folders as deep as that, and not all that tidy up behind tests.
        os.chdir(bottom)
        os.remove("bottom")
        for _ in range(1500):
            os.chdir(".."); os.rmdir("d")
        assert names == ["outputs/" + "d/" * 1500 + "bottom", "outputs/top"]
        """,
        folder,
    )


def test_links_to_links_are_followed_no_further_than_the_system_does(run: Run, folder: Path) -> None:
    for number in range(1200):
        (folder / "outputs" / str(number)).symlink_to(str(number + 1))

    assert run.get_file_names() == []
    with pytest.raises(ValueError, match="has no file"):
        run.download_file("0")
    with pytest.raises(ValueError, match="not a path inside"):
        run.upload_file("0", folder / "run.json")


@pytest.mark.parametrize("wrong", [True, 0, 2.5, None, b"x", [1], object()])
def test_a_source_is_a_path_or_a_stream(run: Run, folder: Path, wrong: Any) -> None:
    os.fstat(1)
    for take in (
        lambda: run.upload_file("x", wrong),
        lambda: run.upload_files(["x"], [wrong]),
        lambda: run.upload_folder("x", wrong),
        lambda: run.log_image("x", wrong),
    ):
        with pytest.raises(ValueError, match=r"a path is a text or a pathlib\.Path|either a path or a plot"):
            take()
    os.fstat(1)
    assert list((folder / "outputs").iterdir()) == []


# -- what is no event ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        '{"name":"a","value":1,"kind":[]}',
        '{"name":"a","value":1,"kind":null}',
        '{"name":"a","value":1,"kind":"list"}',
        '{"name":"a","value":"ab","kind":"row"}',
        '{"name":"a","value":[1],"kind":"table"}',
        '{"name":"a","value":1,"kind":"image"}',
        '{"name":["a"],"value":1,"kind":"metric"}',
        '{"name":"a","kind":"metric"}',
        '{"name":"a","value":' + "[" * 500 + "]" * 500 + ',"kind":"metric"}',
        '{"name":"a","value":' + '{"a":' * 500 + "1" + "}" * 500 + ',"kind":"row"}',
        "[" * 200_000,
        '{"name":"a","value":%s}' % ("1" * 10_000),
    ],
)
def test_a_metric_that_is_none_is_passed_over(run: Run, folder: Path, line: str) -> None:
    (folder / "metrics.jsonl").write_text(f"{line}\n{GOOD}{line}\n")

    found = run.get_metrics()
    json.dumps(found)
    assert found["good"] == 1
    assert set(found) == {"good"}


@pytest.mark.parametrize("kind", ["tag", "property", "error", "display_name", "description"])
@pytest.mark.parametrize("value", [1, None, ["a"], {"a": "b"}])
def test_a_note_that_is_no_text_is_passed_over(run: Run, folder: Path, kind: str, value: Any) -> None:
    (folder / "notes.jsonl").write_text(json.dumps({"name": "a", "value": value, "kind": kind}) + "\n")

    assert (run.get_tags(), run.get_properties(), run.display_name, run.description) == ({}, {}, run.id, None)
    assert read_notes(folder).errors == ()


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
KINDS = [*sorted(events.NOTED), "metric", "list", "row", "table", "image", "predictions"]


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={"name": st.sampled_from("ab") | VALUES, "value": VALUES, "kind": st.sampled_from(KINDS) | VALUES},
        ),
        max_size=8,
    )
)
def test_whatever_is_written_something_is_read(tmp_path_factory: pytest.TempPathFactory, lines: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("run")
    text = "".join(json.dumps(each) + "\n" for each in lines)
    for name in ("metrics.jsonl", "notes.jsonl"):
        (folder / name).write_text(text)
    run = Run("x", "x", str(folder), None)

    json.dumps(run.get_metrics())
    assert all(isinstance(value, str) for value in {**run.get_tags(), **run.get_properties()}.values())
    assert isinstance(run.display_name, str)
    run.get_details()


@pytest.mark.parametrize(
    "content", ["[]", "1", '"x"', "{", "[" * 200_000, '{"a":' * 100_000, "\udc80", '{"x": %s}' % ("1" * 10_000)]
)
def test_a_record_that_is_no_mapping_is_as_if_it_were_not_there(run: Run, folder: Path, content: str) -> None:
    for name in ("run.json", "end.json"):
        (folder / name).write_text(content, errors="surrogateescape")

    assert InFolder(str(folder)).request() == {}
    assert InFolder(str(folder)).end() is None
    assert run.get_details()["status"] == "Running"


@pytest.mark.parametrize("wrong", [1e300, -1, "x", ["x"], {"x": 1}, None, True])
def test_what_a_record_cannot_say_is_as_if_it_were_not_said(run: Run, folder: Path, wrong: Any) -> None:
    names = ("type", "name", "parent", "status", "target", "environment", "tags", "properties", "command", "seconds")
    said = dict.fromkeys((*names, "created_at", "started_at", "ended_at", "snapshot", "reason", "git"), wrong)
    (folder / "run.json").write_text(json.dumps(said))

    run.get_details()
    run.get_tags()
    assert run.parent is None
    assert interactive.record_end(str(folder), "Failed")
    (folder / "end.json").write_text(json.dumps(said))
    run.get_details()
    assert isinstance(run.get_status(), str)


# -- children ------------------------------------------------------------------------------------------------


def adopt(parent: Path, child: str) -> None:
    interactive.note_child(str(parent), child)


def test_a_run_is_not_its_own_child(run: Run, folder: Path) -> None:
    (folder / "run.json").write_text('{"type": "interactive", "parent": "iris_1_ab"}')
    adopt(folder, "iris_1_ab")

    assert list(run.get_children()) == []
    run.cancel()
    assert run.get_status() == "Canceled"


def test_another_run_is_no_child_for_being_called_one(root: Path, run: Run, folder: Path) -> None:
    other = interactive.begin(str(root), "other")
    adopt(folder, other.id)

    assert children_of(str(folder)) == []
    other.end("Completed")


def test_runs_that_are_children_of_one_another_can_be_canceled(root: Path) -> None:
    first = interactive.begin(str(root), "x", identity="first")
    second = interactive.begin(str(root), "x", identity="second", parent="first")
    request = json.loads(Path(first.folder, "run.json").read_text())
    Path(first.folder, "run.json").write_text(json.dumps({**request, "parent": "second"}))
    adopt(Path(second.folder), "first")
    run = Run("first", "x", first.folder, None)

    assert [each.id for each in run.get_children(recursive=True)] == ["second"]
    assert list(run.get_metrics(recursive=True)) == ["first", "second"]
    run.cancel()
    assert [each.get_status() for each in (run, *run.get_children())] == ["Canceled", "Canceled"]


def test_descendants_are_found_however_many_generations_there_are(root: Path) -> None:
    runs = root / "runs"
    for number in range(1500):
        (runs / f"r{number}").mkdir(parents=True)
        (runs / f"r{number}" / "run.json").write_text(json.dumps({"type": "script", "parent": f"r{number - 1}"}))
        note = {"name": f"r{number + 1}", "value": None, "kind": "child"}
        (runs / f"r{number}" / "notes.jsonl").write_text(json.dumps(note))

    assert len(list(Run("r0", "x", str(runs / "r0"), None).get_children(recursive=True))) == 1499


@pytest.mark.parametrize("online", [True, False])
def test_whoever_cancels_a_child_cancels_its_children(script: Script, folder: Path, online: bool) -> None:
    script(
        """
        from envbuild import Run
        child = Run.get_context().child_run()
        done = child.child_run(); done.complete()
        grandchild = child.child_run().child_run()
        waiting, = child.create_children(1)
        child.cancel()
        assert [each.get_status() for each in (child, done, grandchild, waiting)] == [
            "Canceled", "Completed", "Canceled", "Canceled"
        ]
        """,
        folder if online else None,
    )


def test_an_interactive_run_that_is_canceled_cancels_what_it_has_submitted(bench: Bench, tmp_path: Path) -> None:
    sweep = bench.experiment.start_logging(snapshot_directory=None)
    child = sweep.submit_child(bench.config(GATE, tmp_path))
    until(lambda: (tmp_path / "started").exists(), "the child has begun")

    sweep.cancel()

    assert child.wait_for_completion()["status"] == "Canceled"
    assert sweep.get_status() == "Canceled"


def test_a_submitted_run_that_calls_itself_its_child_can_be_canceled(bench: Bench, tmp_path: Path) -> None:
    run = bench.submit(GATE, tmp_path)
    until(lambda: (tmp_path / "started").exists(), "it has begun")
    adopt(run.folder, run.id)

    assert list(run.get_children(recursive=True)) == []
    run.cancel()
    assert run.wait_for_completion()["status"] == "Canceled"


def test_a_run_whose_notes_are_no_file_can_be_canceled(bench: Bench, tmp_path: Path) -> None:
    source = """
    import os
    os.mkfifo(os.path.join(os.environ["ENVBUILD_RUN_FOLDER"], "notes.jsonl"))
    """
    run = bench.submit(source + GATE, tmp_path)
    until(lambda: (tmp_path / "started").exists(), "it has begun")

    run.cancel()

    assert run.wait_for_completion()["status"] == "Canceled"
    with pytest.raises(OSError, match=r"notes\.jsonl"):
        run.tag("a")


# -- many of them, and long names ----------------------------------------------------------------------------


def test_any_number_of_runs_can_be_logged_to(script: Script, folder: Path) -> None:
    script(
        """
        import os, resource, threading
        from envbuild import Run
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        run = Run.get_context()
        every = []
        for number in range(150):
            child = run.child_run(); child.log("n", number); child.tag("n", number); child.complete()
            every.append(child)
        def log():
            for number, child in enumerate(every): child.log("n", number)
        threads = [threading.Thread(target=log) for _ in range(3)]
        for each in threads: each.start()
        for _ in range(3):
            if os.fork() == 0:
                log(); os._exit(0)
        for each in threads: each.join()
        for _ in range(3): assert os.wait()[1] == 0
        assert [each.get_metrics() for each in every] == [{"n": [number] * 7} for number in range(150)]
        """,
        folder,
    )


def test_files_that_are_used_no_more_make_room_for_others(tmp_path: Path) -> None:
    gc.collect()
    before, kept = len(os.listdir("/dev/fd")), len(events._kept)
    for number in range(100):
        events.File(str(tmp_path / str(number))).append(events.event("metric", "a", 1))
    assert (len(os.listdir("/dev/fd")), len(events._kept)) == (before, kept)
    files = [events.File(str(tmp_path / f"kept{number}")) for number in range(100)]
    for file in files * 2:
        file.append(events.event("metric", "a", 1))
    assert len(events._kept) == events._MOST_KEPT
    assert len(os.listdir("/dev/fd")) == before + events._MOST_KEPT - kept
    assert all(len(list(file.events())) == 2 for file in files)
    del files, file
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("length", [100, 101, 255])
def test_the_name_of_an_experiment_may_be_long(bench: Bench, length: int) -> None:
    experiment = Experiment(bench.workspace, "x" * length)
    with experiment.start_logging(snapshot_directory=None) as run:
        child = run.child_run()
        child.complete()
    assert [each.id for each in run.get_children()] == [child.id]
    assert child.parent == run
    assert child.experiment.name == "x" * length
    bench.write("child.py", "from envbuild import Run; Run.get_context().child_run().complete()")
    submitted = experiment.submit(ScriptRunConfig(bench.folder, "child.py"))
    submitted.wait_for_completion()
    assert [each.get_status() for each in submitted.get_children()] == ["Completed"]


def test_a_name_of_an_experiment_may_not_be_longer(root: Path) -> None:
    with pytest.raises(ValueError, match="no name for an experiment"):
        interactive.begin(str(root), "x" * 256)


def test_what_is_no_path_is_a_mistake_of_the_users(bench: Bench) -> None:
    run = bench.experiment.start_logging(snapshot_directory=None)
    with pytest.raises(UserErrorException, match="a path is a text"):
        run.upload_file("x", True)  # type: ignore[arg-type]
    run.complete()


def test_logging_to_one_of_many_runs_is_no_burden(tmp_path: Path) -> None:
    files = [events.File(str(tmp_path / str(number))) for number in range(40)]
    for file in files:
        file.append(events.event("metric", "a", 1))
    started = time.perf_counter()
    for number in range(10_000):
        files[-1].append(events.event("metric", "a", number))
    assert time.perf_counter() - started < 5, sys.version

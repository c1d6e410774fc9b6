"""What a run's script can write into its run's folder, and what that may not do to anybody else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.bench import GATE, Bench
from support.place import until

from envbuild import layout
from envbuild.errors import Damaged, NotFound
from envbuild.sdk import Environment, Experiment, Run, Workspace
from envbuild.sdk.exceptions import ExperimentExecutionException, UserErrorException
from envbuild.workspace import Workspace as Core


def forge(run: Run, **facts: Any) -> None:
    """Write into ``run.json`` what the run's script could."""
    file = run.folder / layout.REQUEST
    file.write_text(json.dumps({**json.loads(file.read_text()), **facts}))
    Core(Path(os.environ["ENVBUILD_WORKSPACE"])).recall(run.id)


@pytest.fixture
def core(bench: Bench) -> Core:
    return bench.workspace._core


def test_a_forged_id_deletes_nothing_else(bench: Bench, core: Core, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    run, other = bench.run(""), bench.run("")
    assert list(bench.experiment.get_runs()) == [other, run]
    forge(run, id=f"{run.id}/../../../../victim")
    assert list(bench.experiment.get_runs()) == [other, run]

    core.delete_run(run.id)

    assert victim.exists()
    assert list(bench.experiment.get_runs()) == [other]
    assert other.get_status() == "Completed"


def test_a_forged_id_of_another_run_changes_nothing_of_that(bench: Bench, core: Core) -> None:
    run, other = bench.run(""), bench.run("")
    assert list(bench.experiment.get_runs()) == [other, run]
    before = core.run(other.id)

    forge(run, id=other.id, status="Failed")

    assert list(bench.experiment.get_runs()) == [other, run]
    assert core.run(other.id) == before


@pytest.mark.parametrize(
    "facts",
    [
        {"created_at": "x"},
        {"created_at": 1e300},
        {"created_at": float("nan")},
        {"tags": [1]},
        {"tags": {"a": 1}},
        {"properties": 7},
        {"environment": "x"},
        {"environment": {}},
        {"environment": {"name": [], "version": None, "id": None}},
        {"experiment": {}},
        {"parent": {}},
        {"command": "ls"},
        {"command": [1]},
        {"id": None},
    ],
    ids=str,
)
def test_one_damaged_run_hides_no_other(bench: Bench, core: Core, facts: dict[str, Any]) -> None:
    run, other = bench.run(""), bench.run("")
    forge(run, **facts)

    assert other in list(bench.experiment.get_runs())
    assert other in list(bench.experiment.get_runs())
    with pytest.raises(Damaged):
        core.run_record(run.id)


def test_what_is_nested_without_end_hides_no_other_run(bench: Bench, core: Core) -> None:
    run, other = bench.run(""), bench.run("")
    (run.folder / layout.REQUEST).write_text("[" * 100_000)
    core.recall(run.id)

    assert other in list(bench.experiment.get_runs())


@pytest.mark.parametrize("name", [layout.REQUEST, layout.END, layout.NOTES, layout.METRICS, layout.LOG])
def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(bench: Bench, core: Core, name: str) -> None:
    run, other = bench.run(""), bench.run("")
    (run.folder / name).unlink(missing_ok=True)
    os.mkfifo(run.folder / name)
    core.recall(run.id)
    code = f"""
from envbuild.sdk import Experiment, Run
print([run.id for run in Experiment(None, "trials").get_runs()])
try:
    run = Run.get(None, {run.id!r})
    run.get_metrics(), run.get_tags(), run.get_details_with_logs()
    run.wait_for_completion(show_output=True, raise_on_error=False)
except Exception as error:
    print(type(error).__name__)
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)

    assert other.id in done.stdout


@pytest.mark.parametrize("written", ["0", "1", pytest.param(str(os.getpid()), id="ours"), "-1", "x"])
def test_canceling_stops_nobody_but_who_minds_the_run(bench: Bench, core: Core, tmp_path: Path, written: str) -> None:
    run = bench.submit(GATE, tmp_path)
    until((tmp_path / "started").exists, "the script has begun")
    real = core.supervisor(run.id)
    assert real is not None
    (run.folder / layout.LEASE).write_text(written)

    assert core.cancel(run.id) is False

    (run.folder / layout.LEASE).write_text(str(real))
    assert core.cancel(run.id) is True
    assert run.wait_for_completion()["status"] == "Canceled"


def test_a_run_that_overwrites_its_record_is_recorded_all_the_same(bench: Bench) -> None:
    run = bench.submit(
        """
        import os, pathlib
        pathlib.Path(os.environ["ENVBUILD_RUN_FOLDER"], "run.json").write_text("[]")
        """
    )
    until(lambda: (run.folder / layout.END).exists(), "its end")

    assert run.wait_for_completion()["status"] == "Completed"
    assert list(bench.experiment.get_runs()) == [run]


def test_data_that_are_downloaded_are_not_written_through_a_link(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/iris.csv").write_text("mine")
    (bench.folder / "data").symlink_to(tmp_path / "real")
    store = bench.workspace.get_default_datastore()
    (tmp_path / "iris.csv").write_text("the store's")
    store.upload_files([str(tmp_path / "iris.csv")], target_path="iris", show_progress=False)

    run = bench.submit("", store.path("iris").as_download(path_on_compute="data"))

    assert run.wait_for_completion(raise_on_error=False)["status"] == "Failed"
    assert (tmp_path / "real/iris.csv").read_text() == "mine"


def test_links_in_what_is_uploaded_lead_nowhere(bench: Bench) -> None:
    store = bench.workspace.get_default_datastore()
    source = """
        import os, sys
        for name in "ab":
            os.symlink(".", os.path.join(sys.argv[1], name))
        open(os.path.join(sys.argv[1], "c.txt"), "w").write("c")
    """

    run = bench.run(source, store.path("made").as_upload())

    assert run.get_status() == "Completed"
    assert sorted(os.listdir(store.path("made").local_path)) == ["c.txt"]


# -- what may become of the processes ------------------------------------------------------------------------


def test_a_workspace_in_the_source_is_no_part_of_the_snapshot(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ENVBUILD_WORKSPACE", str(bench.folder / "ws"))
    experiment = Experiment(None, "trials")
    runs = [experiment.submit(bench.config("", environment=Environment("plain"))) for _ in range(10)]

    assert {run.wait_for_completion()["status"] for run in runs} == {"Completed"}
    assert "ws/" not in "".join(Path(run.restore_snapshot(path=tmp_path)).name for run in runs)
    files = {tuple(sorted(_files_of(run))) for run in runs}
    assert not any(name.startswith("ws/") for names in files for name in names)


def _files_of(run: Run) -> list[str]:
    import zipfile

    with zipfile.ZipFile(run.restore_snapshot()) as archive:
        return archive.namelist()


def test_a_workspace_that_was_deleted_and_made_again_takes_runs(bench: Bench) -> None:
    for _ in range(2):
        workspace = Workspace.create("again")
        run = Experiment(workspace, "trials").submit(bench.config("", environment=Environment("plain")))
        assert run.wait_for_completion()["status"] == "Completed"
        workspace.delete(delete_dependent_resources=True)


@pytest.mark.parametrize("folder", ["/proc/nope", "relative/x", "/"])
def test_a_wrong_word_on_the_run_that_submits_harms_no_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("ENVBUILD_RUN_FOLDER", folder)

    assert bench.submit("").wait_for_completion()["status"] == "Completed"
    assert not Path("/relative").exists()


def test_signals_that_are_held_back_by_who_submits_are_not_by_the_run(bench: Bench) -> None:
    blocked = {signal.SIGALRM, signal.SIGTERM, signal.SIGCHLD, signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        run = bench.submit("import time; time.sleep(60)", max_run_duration_seconds=1)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    assert run.wait_for_completion()["status"] == "Canceled"


def test_half_a_message_harms_no_other_run(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from envbuild import dispatch

    first = bench.submit(GATE, tmp_path)
    dispatcher = dispatch._DISPATCHERS._started[bench.workspace._core.root]
    before = dispatcher._socket

    class Cut:
        def sendall(self, data: bytes) -> None:
            before.send(data[: len(data) // 2])
            raise KeyboardInterrupt

        def close(self) -> None:
            before.close()

    monkeypatch.setattr(dispatcher, "_socket", Cut())
    with pytest.raises(KeyboardInterrupt):
        bench.submit("")
    (tmp_path / "go").touch()

    assert first.wait_for_completion()["status"] == "Completed"
    lost, _ = bench.experiment.get_runs()
    assert "could not be handed over" in str(lost.get_details()["error"])
    assert bench.submit("").wait_for_completion()["status"] == "Completed"


def test_submitting_from_a_folder_that_is_gone(bench: Bench, tmp_path: Path) -> None:
    config = bench.config("print('here')", environment=Environment("plain"))
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()

    assert bench.experiment.submit(config).wait_for_completion()["status"] == "Completed"


def test_folders_that_are_too_deep_are_refused_with_their_name(bench: Bench) -> None:
    place = bench.folder / "deep"
    place.mkdir()
    here = os.open(place, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)

    with pytest.raises(ExperimentExecutionException, match="deeper than anybody can go"):
        bench.submit("")
    subprocess.run(["rm", "-rf", place], check=True)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_output_is_shown_on_any_terminal(bench: Bench, encoding: str) -> None:
    run = bench.run("print('grüße \\u2713'); open('outputs/\\udcff', 'w')")
    code = f"from envbuild.sdk import Run; Run.get(None, {run.id!r}).wait_for_completion(show_output=True)"

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"},
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert b"Status: Completed" in done.stdout


@pytest.mark.parametrize(
    "wrong",
    [
        lambda bench: Run.get(None, "a\0b"),
        lambda bench: Run.get(None, "x" * 5000),
        lambda bench: Run.get(None, None),  # type: ignore[arg-type]
        lambda bench: bench.experiment.set_tags(["a"]),  # type: ignore[arg-type]
        lambda bench: bench.experiment.tag(None),  # type: ignore[arg-type]
        lambda bench: bench.submit("", tags=["a"]),  # type: ignore[arg-type]
        lambda bench: list(bench.experiment.get_runs(tags=7)),  # type: ignore[arg-type]
        lambda bench: bench.experiment.start_logging(display_name=b"x"),  # type: ignore[arg-type]
        lambda bench: list(bench.experiment.get_runs(type=object())),  # type: ignore[arg-type]
        lambda bench: list(Run.list(5)),  # type: ignore[arg-type]
        lambda bench: bench.run("").set_tags(["a"]),  # type: ignore[arg-type]
        lambda bench: bench.run("").add_properties("a"),  # type: ignore[arg-type]
        lambda bench: bench.run("").child_run(b"x"),  # type: ignore[arg-type]
        lambda bench: bench.run("").restore_snapshot(5),  # type: ignore[arg-type]
    ],
)
def test_what_is_of_the_wrong_kind_is_said_to_be(bench: Bench, wrong: Callable[[Bench], object]) -> None:
    with pytest.raises(UserErrorException):
        wrong(bench)


def test_waiting_for_a_run_that_is_deleted_says_so(bench: Bench) -> None:
    run = bench.run("")
    run.delete()

    with pytest.raises(UserErrorException, match=r"has been deleted|no run"):
        run.wait_for_completion()
    with pytest.raises((UserErrorException, NotFound)):
        Run.get(bench.workspace, run.id)
    shutil.rmtree(run.folder, ignore_errors=True)

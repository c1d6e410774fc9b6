"""`envbuild.sdk.run` and `envbuild.sdk.experiment`: runs as whoever submitted them sees them, or anybody else."""

from __future__ import annotations

import copy
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.bench import GATE, Bench
from support.place import until

import envbuild
from envbuild.sdk import DockerConfiguration, Environment, Experiment, Model, Run, ScriptRunConfig, Workspace
from envbuild.sdk.exceptions import (
    ActivityFailedException,
    ExperimentExecutionException,
    ModelPathNotFoundException,
    RunEnvironmentException,
    UserErrorException,
)


def elsewhere(bench: Bench, code: str) -> str:
    """What another process prints that does this."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=bench.folder, text=True, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# -- submitting ----------------------------------------------------------------------------------------------


def test_submit_returns_while_the_run_is_still_to_come(bench: Bench, tmp_path: Path) -> None:
    run = bench.submit(GATE, tmp_path)

    assert run.get_status() in ("Queued", "Preparing", "Running")
    until((tmp_path / "started").exists, "the script has begun")
    assert run.status == "Running"
    (tmp_path / "go").touch()
    details = run.wait_for_completion()
    assert (details["status"], run.get_status()) == ("Completed", "Completed")


def test_a_run_without_an_environment_is_in_the_default_one(bench: Bench) -> None:
    run = bench.experiment.submit(bench.config("import sys; print(sys.version_info[:2])"))
    run.wait_for_completion()

    assert (run.get_environment().name, run.get_environment().version) == ("default-environment", "1")
    assert list(bench.workspace.environments) == ["default-environment"]


def test_an_unchanged_environment_keeps_its_version_and_a_changed_one_gets_the_next(bench: Bench) -> None:
    environment = Environment("mine")
    runs = [bench.run("", environment=environment) for _ in range(2)]
    environment.environment_variables["LEVEL"] = "2"
    runs.append(bench.run("import os; assert os.environ['LEVEL'] == '2'", environment=environment))

    assert [run.get_environment().version for run in runs] == ["1", "1", "2"]
    assert runs[0].get_environment() == runs[1].get_environment()
    assert environment.version is None


def test_what_was_changed_after_submit_is_not_in_the_run(bench: Bench, tmp_path: Path) -> None:
    environment = Environment("mine")
    config = bench.config(GATE, tmp_path, environment=environment)
    run = bench.experiment.submit(config)
    environment.environment_variables["LATE"] = "1"
    config.arguments = ["nowhere"]
    (tmp_path / "go").touch()

    run.wait_for_completion()

    assert run.get_environment().environment_variables == {}
    assert run.get_details()["runDefinition"]["arguments"] == [str(tmp_path)]


@pytest.mark.parametrize("wrong", [None, "train.py", 3])
def test_what_cannot_be_run_is_refused(bench: Bench, wrong: object) -> None:
    with pytest.raises(UserErrorException, match="is nothing that can be run"):
        bench.experiment.submit(wrong)


def test_a_script_that_is_not_there_is_missed_at_submit(bench: Bench) -> None:
    bench.write("train.py", "")
    with pytest.raises(ExperimentExecutionException, match=r"trian\.py is not there") as error:
        bench.experiment.submit(ScriptRunConfig(bench.folder, "trian.py"))
    assert "train.py" in error.value.message
    assert not list(bench.experiment.get_runs())


def test_an_environment_that_nobody_can_build_is_refused_at_submit(bench: Bench) -> None:
    environment = Environment("boxed")
    environment.docker.enabled = True

    with pytest.raises(envbuild.EnvbuildError, match="no installed plugin takes on the section 'docker'") as error:
        bench.submit("", environment=environment)

    assert "envbuild[docker]" in error.value.message
    assert not list(bench.experiment.get_runs())


def test_the_source_is_as_it_was_and_the_working_copy_is_not_the_source(bench: Bench) -> None:
    bench.write("data.txt", "one")
    run = bench.submit("import time; time.sleep(0.3); print(open('data.txt').read()); open('data.txt', 'w').write('x')")
    bench.write("data.txt", "two")

    run.wait_for_completion()

    assert (run.folder / "logs/output.log").read_text() == "one\n"
    assert (bench.folder / "data.txt").read_text() == "two"


def test_history_can_be_switched_off(bench: Bench) -> None:
    config = bench.config("open('outputs/a', 'w')")
    config.run_config.history.snapshot_project = False
    config.run_config.history.output_collection = False

    run = bench.experiment.submit(config)
    run.wait_for_completion()

    assert run.get_snapshot_id() is None
    assert "outputs/a" in run.get_file_names()


def test_a_run_has_tags_from_the_start_and_gets_more_from_anybody(bench: Bench, tmp_path: Path) -> None:
    run = bench.submit("from envbuild import Run; Run.get_context().tag('by', 'script')", tags={"team": "a", "n": 1})
    run.wait_for_completion()
    run.tag("quality", "good")
    run.add_properties({"build": "7"})
    Run.get(bench.workspace, run.id).remove_tags("team")

    assert run.get_tags() == {"by": "script", "n": "1", "quality": "good"}
    with pytest.raises(UserErrorException, match="properties do not change"):
        run.add_properties({"build": "8"})
    found = bench.experiment.get_runs(tags={"quality": "good", "by": "script"}, properties={"build": "7"})
    assert [each.id for each in found] == [run.id]
    assert not list(bench.experiment.get_runs(tags="team"))


# -- waiting -------------------------------------------------------------------------------------------------


def test_waiting_shows_the_logs_as_they_grow_and_what_came_of_it(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    run = bench.submit("print('grüße'); open('outputs/model.pkl', 'w').write('m')")

    run.wait_for_completion(show_output=True)

    said = capsys.readouterr().out
    assert said.startswith(f"RunId: {run.id}\n")
    assert "Streaming logs/output.log\n=========================\ngrüße\n" in said
    assert f"Status: Completed\nEnvironment: plain:1 {run.get_environment().id}\n" in said
    assert f"Outputs: {run.folder / 'outputs'} (model.pkl)" in said


def test_a_run_that_fails_raises_with_the_reason_and_its_last_words(bench: Bench) -> None:
    run = bench.submit("raise ValueError('no such flower')")

    with pytest.raises(ActivityFailedException, match="has failed: exit code 1") as error:
        run.wait_for_completion()

    assert "ValueError: no such flower" in error.value.message
    assert run.get_details()["error"] == {"error": {"message": "exit code 1"}}
    assert run.wait_for_completion(raise_on_error=False)["status"] == "Failed"


def test_a_run_whose_environment_cannot_be_made_raises_with_the_reason(bench: Bench) -> None:
    environment = Environment("mine")
    environment.python.conda_dependencies.add_pip_package("./no-such-folder")

    with pytest.raises((ActivityFailedException, UserErrorException), match="no-such-folder"):
        bench.submit("", environment=environment).wait_for_completion()


def test_ctrl_c_interrupts_the_waiting_and_not_the_run(bench: Bench, tmp_path: Path) -> None:
    code = """
        import signal
        from envbuild.sdk import Run
        from envbuild.sdk.exceptions import ExperimentExecutionException
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            Run.get(None, {!r}).wait_for_completion(show_output=True)
        except ExperimentExecutionException as error:
            print(error.message.splitlines()[0])
    """
    run = bench.submit(GATE, tmp_path)

    assert elsewhere(bench, code.format(run.id)).endswith("was interrupted; the run goes on")

    (tmp_path / "go").touch()
    assert run.wait_for_completion()["status"] == "Completed"


def test_a_canceled_run_is_no_failure(bench: Bench, tmp_path: Path) -> None:
    run = bench.submit(GATE, tmp_path)
    until((tmp_path / "started").exists, "the script has begun")

    run.cancel()

    assert run.wait_for_completion()["status"] == "Canceled"
    run.cancel()
    assert run.get_status() == "Canceled"


# -- from elsewhere ------------------------------------------------------------------------------------------


def test_another_process_finds_waits_reads_and_cancels(bench: Bench, tmp_path: Path) -> None:
    run = bench.submit(GATE, tmp_path)
    found = elsewhere(
        bench,
        f"""
        from envbuild.sdk import Run, Workspace
        run = Run.get(Workspace(), {run.id!r})
        while run.get_status() != "Running":
            pass
        run.tag("seen", "elsewhere")
        run.cancel()
        print(run.wait_for_completion()["status"], run.get_all_logs("copies"))
        """,
    )

    assert found == "Canceled ['copies/logs/output.log', 'copies/logs/prepare.log']"
    assert (run.get_status(), run.get_tags()) == ("Canceled", {"seen": "elsewhere"})


def test_a_run_goes_on_when_the_process_that_submitted_it_ends(bench: Bench, tmp_path: Path) -> None:
    bench.write("gate.py", GATE)
    identity = elsewhere(
        bench,
        f"""
        from envbuild.sdk import Experiment, ScriptRunConfig, Workspace
        config = ScriptRunConfig(".", "gate.py", [{str(tmp_path)!r}])
        print(Experiment(Workspace(), "trials").submit(config).id)
        """,
    )
    (tmp_path / "go").touch()

    assert bench.workspace.get_run(identity).wait_for_completion()["status"] == "Completed"


def test_a_run_that_was_killed_is_found_as_failed(bench: Bench, tmp_path: Path) -> None:
    run = bench.submit(GATE, tmp_path)
    until((tmp_path / "started").exists, "the script has begun")
    process = bench.workspace._core.supervisor(run.id)
    assert process is not None
    os.kill(process, signal.SIGKILL)

    with pytest.raises(ActivityFailedException, match="was killed, or the machine stopped"):
        run.wait_for_completion()


def test_a_run_that_is_not_there_is_missed(bench: Bench) -> None:
    with pytest.raises(UserErrorException, match="no run"):
        Run.get(bench.workspace, "nothing_1_abcdef")
    with pytest.raises(UserErrorException, match="no run"):
        Run(bench.experiment, "nothing_1_abcdef")


def test_a_run_can_be_pickled_copied_and_compared(bench: Bench) -> None:
    run = bench.run("")

    assert pickle.loads(pickle.dumps(run)) == copy.deepcopy(run) == run == Run(bench.experiment, run.id)
    assert pickle.loads(pickle.dumps(bench.experiment)) == bench.experiment == run.experiment


# -- what a run knows ----------------------------------------------------------------------------------------


def test_the_details_have_azures_names(bench: Bench, git: Callable[..., str]) -> None:
    git(bench.folder, "init", "-q", "-b", "main")
    config = bench.config("", "--rate", 0.5)
    git(bench.folder, "add", ".")
    git(bench.folder, "commit", "-q", "-m", "first")
    config.environment = Environment("plain")

    run = bench.experiment.submit(config)
    details = run.wait_for_completion()

    assert details["runId"] == run.id
    assert details["runDefinition"]["script"] == config.script
    assert details["runDefinition"]["arguments"] == ["--rate", "0.5"]
    assert details["runDefinition"]["environment"]["name"] == "plain"
    assert details["runDefinition"]["environment"]["id"].startswith("sha256:")
    assert details["properties"]["azureml.git.commit"] == git(bench.folder, "rev-parse", "HEAD")
    assert details["properties"]["azureml.git.branch"] == "main"
    assert {"startTimeUtc", "endTimeUtc", "logFiles"} <= details.keys()
    assert "error" not in details
    assert json.loads(json.dumps(details)) == details


def test_metrics_and_files_are_there_for_everybody(bench: Bench) -> None:
    run = bench.run(
        """
        from envbuild.sdk import Run
        run = Run.get_context()
        for step in range(3):
            run.log("loss", 1 / (step + 1), step=step)
        run.log("done", True)
        open("outputs/model.pkl", "w").write("m")
        """
    )

    assert run.get_metrics() == {"loss": [1.0, 0.5, 1 / 3], "done": True}
    assert run.get_metrics("done") == {"done": True}
    assert run.get_file_names() == ["outputs/model.pkl", "logs/output.log", "logs/prepare.log"]
    run.download_file("outputs/model.pkl", "here.pkl")
    assert (bench.folder / "here.pkl").read_text() == "m"
    with pytest.raises(UserErrorException, match="no file"):
        run.download_file("outputs/other.pkl")


def test_the_source_of_a_run_comes_back_as_a_zip_file(bench: Bench) -> None:
    bench.write("package/module.py", "x = 1\n")
    run = bench.run("")

    path = run.restore_snapshot(path="restored")

    with zipfile.ZipFile(path) as archive:
        assert archive.read("package/module.py") == b"x = 1\n"
    with pytest.raises(UserErrorException, match="there is no snapshot"):
        run.restore_snapshot("sha256:" + "0" * 64)


def test_a_model_of_a_run_knows_where_it_comes_from(bench: Bench) -> None:
    run = bench.run("open('outputs/model.pkl', 'w').write('weights')")

    model = run.register_model("flowers", "outputs/model.pkl", tags={"kind": "ridge"})

    assert (model.name, model.version, model.run_id) == ("flowers", 1, run.id)
    found = Model(bench.workspace, "flowers")
    assert Path(found.download("models")).read_text() == "weights"
    with pytest.raises(ModelPathNotFoundException, match=r"no file 'outputs/other\.pkl'") as error:
        run.register_model("flowers", "outputs/other.pkl")
    assert "outputs/model.pkl" in error.value.message


def test_a_script_registers_its_model_itself(bench: Bench) -> None:
    run = bench.run(
        """
        from envbuild.sdk import Run
        open("outputs/model.pkl", "w").write("weights")
        model = Run.get_context().register_model("flowers", "outputs/model.pkl")
        print(model.name, model.version)
        """
    )

    assert (run.folder / "logs/output.log").read_text() == "flowers 1\n"
    assert Model(bench.workspace, "flowers").run_id == run.id


def test_the_environment_of_the_own_run_can_be_asked_of_the_class(bench: Bench) -> None:
    with pytest.raises(RunEnvironmentException):
        Run.get_environment()

    run = bench.run("from envbuild.sdk import Run; print(Run.get_environment().name)")

    assert (run.folder / "logs/output.log").read_text() == "plain\n"


def test_an_environment_that_was_deleted_is_missed(bench: Bench) -> None:
    run = bench.run("")
    Environment.delete(bench.workspace, "plain", force=True)

    with pytest.raises(RunEnvironmentException, match="plain"):
        run.get_environment()


# -- children ------------------------------------------------------------------------------------------------


def test_runs_have_children(bench: Bench) -> None:
    with bench.experiment.start_logging(snapshot_directory=None) as sweep:
        child = sweep.child_run("first")
        child.log("loss", 1)
        child.complete()
        submitted = sweep.submit_child(bench.config("from envbuild import Run; Run.get_context().log('loss', 2)"))
        submitted.wait_for_completion()

    assert sweep.get_status() == "Completed"
    assert [each.id for each in sweep.get_children()] == [child.id, submitted.id]
    assert submitted.parent == sweep
    assert sweep.get_metrics(recursive=True) == {sweep.id: {}, child.id: {"loss": 1}, submitted.id: {"loss": 2}}
    assert [each.id for each in bench.experiment.get_runs()] == [sweep.id]
    every = {each.id for each in bench.experiment.get_runs(include_children=True)}
    assert every == {sweep.id, child.id, submitted.id}
    assert isinstance(child, Run)


def test_canceling_a_run_cancels_its_children(bench: Bench, tmp_path: Path) -> None:
    parent = bench.submit(GATE, tmp_path)
    child = parent.submit_child(bench.config(GATE, tmp_path))
    until(lambda: parent.status == "Running", "the parent has begun")

    parent.cancel()

    assert parent.wait_for_completion()["status"] == "Canceled"
    assert child.wait_for_completion()["status"] == "Canceled"


# -- runs that a notebook logs -------------------------------------------------------------------------------


def test_an_interactive_run_is_ended_by_its_process(bench: Bench) -> None:
    bench.write("notebook.py", "x")
    run = bench.experiment.start_logging(display_name="by hand")
    assert (run.status, run.display_name, run.type) == ("Running", "by hand", "interactive")
    run.log("x", 1)
    run.upload_file("outputs/notebook.py", "notebook.py")

    run.complete()

    assert run.get_status() == "Completed"
    record = bench.workspace._core.run(run.id)
    assert record["outputs"].keys() == {"notebook.py"}
    assert run.get_snapshot_id() is not None
    assert [each.id for each in bench.experiment.get_runs(type="interactive")] == [run.id]


def test_a_block_that_raises_fails_its_run(bench: Bench) -> None:
    with pytest.raises(KeyError), bench.experiment.start_logging(snapshot_directory=None) as run:
        raise KeyError("x")

    assert run.get_status() == "Failed"
    assert "KeyError" in str(run.get_details()["error"])


def test_a_folder_can_become_the_outputs_of_an_interactive_run(bench: Bench) -> None:
    bench.write("results/a.txt", "1")
    run = bench.experiment.start_logging(outputs="results", snapshot_directory=None)
    run.complete()

    assert "outputs/a.txt" in run.get_file_names()


def test_a_snapshot_can_be_taken_once(bench: Bench) -> None:
    file = bench.write("notes.txt", "n")
    run = bench.experiment.start_logging(snapshot_directory=None)

    run.take_snapshot(file)

    with zipfile.ZipFile(run.restore_snapshot()) as archive:
        assert archive.namelist() == ["notes.txt"]
    with pytest.raises(UserErrorException, match="has a snapshot already"):
        run.take_snapshot(file)
    run.complete()


def test_a_folder_that_is_too_large_leaves_an_interactive_run_without_a_snapshot(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write("large", "x" * 1000)
    monkeypatch.setenv("ENVBUILD_SNAPSHOT_LIMIT", "100")

    with pytest.warns(UserWarning, match="no snapshot"):
        run = bench.experiment.start_logging()

    assert run.get_snapshot_id() is None
    run.complete()


# -- experiments ---------------------------------------------------------------------------------------------


def test_an_experiment_is_there_before_its_first_run(bench: Bench) -> None:
    made = Experiment(name="later", workspace=bench.workspace)

    assert list(bench.workspace.experiments) == ["later"]
    assert list(made.get_runs()) == []
    assert Experiment.list(bench.workspace) == [made]


@pytest.mark.parametrize("name", ["", "-x", "a b", "ä", "x" * 256, None, 3])
def test_a_name_that_is_none_is_refused(bench: Bench, name: object) -> None:
    with pytest.raises(UserErrorException):
        Experiment(bench.workspace, name)  # type: ignore[arg-type]


def test_a_long_name_is_a_name(bench: Bench) -> None:
    run = Experiment(bench.workspace, "x" * 255).submit(bench.config(""))

    assert run.wait_for_completion()["status"] == "Completed"
    assert len(run.id) <= 255


def test_experiments_are_tagged_archived_and_deleted(bench: Bench) -> None:
    used, unused = bench.run("").experiment, Experiment(bench.workspace, "unused")
    used.tag("team", "a")
    used.set_tags({"n": 1})
    used.remove_tags("team")
    assert used.tags == {"n": "1"}
    used.archive()
    assert Experiment.list(bench.workspace) == [unused]
    assert Experiment.list(bench.workspace, view_type="ArchivedOnly", tags="n") == [used]
    used.reactivate()
    assert Experiment.list(bench.workspace) == [used, unused]
    with pytest.raises(UserErrorException, match="has 1 run"):
        Experiment.delete(bench.workspace, used.id)
    Experiment.delete(bench.workspace, unused.id)
    assert Experiment.list(bench.workspace, view_type="All") == [used]


def test_runs_are_numbered_within_their_experiment(bench: Bench) -> None:
    runs = [bench.run("") for _ in range(2)]
    other = Experiment(bench.workspace, "other").submit(bench.config(""))

    assert [run.number for run in (*runs, other)] == [1, 2, 1]
    assert [run.id for run in bench.experiment.get_runs()] == [runs[1].id, runs[0].id]


def test_the_main_names_stand_on_the_package_too() -> None:
    assert (envbuild.Environment, envbuild.Workspace, envbuild.Experiment) == (Environment, Workspace, Experiment)
    assert (envbuild.Run, envbuild.ScriptRunConfig, envbuild.Model) == (Run, ScriptRunConfig, Model)


def test_a_run_finds_the_model_that_another_has_registered(bench: Bench) -> None:
    bench.run(
        """
        from envbuild.sdk import Run
        open("outputs/model.pkl", "w").write("weights")
        Run.get_context().register_model("flowers", "outputs/model.pkl")
        """
    )
    source = "from envbuild.sdk.model import Model; print(open(Model.get_model_path('flowers')).read())"
    run = bench.run(source)

    assert (run.folder / "logs/output.log").read_text() == "weights\n"
    with pytest.raises(ActivityFailedException, match="no model 'trees'"):
        bench.run(source.replace("flowers", "trees"))


@pytest.mark.parametrize("name", ["Dataset", "Webservice"])
def test_what_azure_has_besides_says_what_there_is_instead(name: str) -> None:
    with pytest.raises(ImportError, match=r"envbuild\.sdk"):
        exec(f"from envbuild.sdk import {name}")


def test_data_that_are_not_there_are_missed_at_submit(bench: Bench) -> None:
    data = bench.workspace.get_default_datastore().path("nowhere").as_mount()

    with pytest.raises(UserErrorException, match="there is no 'nowhere' in datastore"):
        bench.submit("", data)


@pytest.mark.parametrize(
    ("source", "environment", "advice"),
    [
        ("import azureml.core", Environment("plain"), "'from envbuild.sdk import Run' needs nothing installed"),
        ("import joblib", None, "the run was given no environment"),
        ("import joblib", Environment("plain"), "the package that brings 'joblib'"),
    ],
)
def test_a_module_that_is_not_there_comes_with_advice(
    bench: Bench, source: str, environment: Environment | None, advice: str
) -> None:
    run = bench.experiment.submit(bench.config(source, environment=environment))

    with pytest.raises(ActivityFailedException) as error:
        run.wait_for_completion()

    assert advice in error.value.hint
    # What a notebook shows of it.
    assert advice in "".join(traceback.format_exception_only(error.value))


def test_everything_that_nobody_can_build_is_named_at_once(bench: Bench) -> None:
    environment = Environment("boxed")
    environment.docker.enabled = True
    environment.docker.gpu_support = True

    with pytest.raises(envbuild.EnvbuildError, match="takes on the sections 'docker' and 'gpu'") as error:
        bench.submit("", environment=environment)
    assert "docker.enabled = False" in error.value.hint


def test_a_run_that_is_said_to_be_in_no_container_is_in_none(bench: Bench) -> None:
    environment = Environment("boxed")
    environment.docker.enabled = True

    run = bench.run("", environment=environment, docker_runtime_config=DockerConfiguration(use_docker=False))

    assert run.get_environment().docker.enabled is False
    assert environment.docker.enabled is True


def test_submit_takes_what_the_configuration_takes(bench: Bench) -> None:
    with pytest.raises(UserErrorException, match="submit takes no 'wait' for a ScriptRunConfig"):
        bench.experiment.submit(bench.config(""), wait=True)


def test_submit_may_be_asked_to_show_the_output_as_azures_guides_do(bench: Bench) -> None:
    run = bench.experiment.submit(bench.config(""), show_output=True)

    assert run.wait_for_completion()["status"] == "Completed"

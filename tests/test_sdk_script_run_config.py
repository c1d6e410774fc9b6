"""Script runs: what is to be run, told from what users say, in whatever order they say it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bench import Bench

from envbuild.sdk.environment import Environment, EnvironmentReference
from envbuild.sdk.exceptions import ExperimentExecutionException, RunConfigurationException, UserErrorException
from envbuild.sdk.runconfig import (
    DataReferenceConfiguration,
    DockerConfiguration,
    MpiConfiguration,
    PyTorchConfiguration,
    RunConfiguration,
)
from envbuild.sdk.script_run_config import ScriptRunConfig
from envbuild.sdk.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace of the test's own."""
    monkeypatch.setenv("ENVBUILD_WORKSPACE", str(tmp_path / "workspace"))
    return Workspace.of(tmp_path / "workspace")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two scripts, which the process is in."""
    folder = tmp_path / "project"
    (folder / "steps").mkdir(parents=True)
    (folder / "train.py").write_text("print('trained')\n")
    (folder / "steps" / "prepare.py").write_text("print('prepared')\n")
    monkeypatch.chdir(folder)
    return folder


# Environment and target


def test_environment_and_target_set_afterwards_are_honoured(source: Path) -> None:
    mine = Environment(name="myenv")
    runconfig = ScriptRunConfig(source_directory=".", script="train.py")

    runconfig.compute_target = "local"
    runconfig.environment = mine

    found = runconfig.resolved()
    assert found.environment is not None
    assert (found.environment.name, found.target) == ("myenv", "local")


def test_what_was_set_last_counts_wherever_it_was_set(source: Path) -> None:
    config = ScriptRunConfig(".", "train.py", environment=Environment("first"), compute_target="first")

    config.run_config.environment, config.run_config.target = Environment("second"), "second"
    assert (config.environment.name, config.compute_target) == ("second", "second")

    config.environment, config.compute_target = Environment("third"), "third"
    assert (config.run_config.environment.name, config.run_config.target) == ("third", "third")

    config.run_config = RunConfiguration()
    assert (config.environment, config.compute_target) == (None, "local")


def test_configs_that_share_a_run_configuration_do_not_change_one_another(source: Path) -> None:
    shared = RunConfiguration()
    shared.environment = Environment("shared")
    one, other = (ScriptRunConfig(".", "train.py", run_config=shared) for _ in range(2))

    one.environment, one.compute_target = Environment("own"), "cluster"

    assert (other.environment.name, other.compute_target) == ("shared", "local")
    assert (shared.environment.name, shared.target) == ("shared", "local")


def test_a_run_configuration_that_changes_later_is_seen(source: Path) -> None:
    shared = RunConfiguration()
    config = ScriptRunConfig(".", "train.py", run_config=shared)

    shared.environment = Environment("later")

    assert config.environment.name == "later"


def test_the_script_stays_when_another_run_configuration_is_set(source: Path) -> None:
    config = ScriptRunConfig(".", "train.py", ["--rate", 0.1])

    config.run_config = RunConfiguration(script="other.py", arguments=["--other"])

    assert config.resolved().command == ("python", "train.py", "--rate", "0.1")


def test_what_is_not_said_is_taken_from_the_run_configuration(source: Path) -> None:
    config = ScriptRunConfig(".", run_config=RunConfiguration(script="train.py", arguments=["--rate", 1]))

    assert config.resolved().command == ("python", "train.py", "--rate", "1")


def test_without_an_environment_there_is_none_though_it_was_looked_at(source: Path) -> None:
    config = ScriptRunConfig(".", "train.py")

    assert config.run_config.environment.name == "default-environment"
    assert config.resolved().environment is None


def test_the_default_environment_counts_once_it_is_changed(source: Path) -> None:
    config = ScriptRunConfig(".", "train.py")

    config.run_config.environment.python.conda_dependencies.add_pip_package("rich")

    found = config.resolved().environment
    assert found is not None
    assert found.name == "default-environment"


def test_an_environment_may_be_said_by_name(source: Path, workspace: Workspace) -> None:
    wanted = Environment("registered")
    wanted.python.conda_dependencies.add_pip_package("rich")
    wanted.register(workspace)

    for said in ("registered", "registered:1", EnvironmentReference("registered", "1")):
        found = ScriptRunConfig(".", "train.py", environment=said).resolved().placed(workspace)
        assert isinstance(found.environment, Environment)
        assert (found.environment.name, found.environment.version) == ("registered", "1")


@pytest.mark.parametrize("said", ["", ":", 3, ["myenv"]])
def test_what_is_no_environment_is_refused(source: Path, said: Any) -> None:
    with pytest.raises(RunConfigurationException, match="an environment is wanted"):
        ScriptRunConfig(".", "train.py").environment = said


def test_a_target_may_be_an_object_with_a_name(source: Path) -> None:
    class Cluster:
        name = "gpu-cluster"

    config = ScriptRunConfig(".", "train.py", compute_target=Cluster())  # type: ignore[arg-type]
    assert config.resolved().target == "gpu-cluster"

    config.run_config.target = Cluster()
    assert config.resolved().target == "gpu-cluster"
    with pytest.raises(RunConfigurationException, match="a compute target is wanted"):
        config.compute_target = 3  # type: ignore[assignment]


def test_a_cluster_for_one_run_is_this_machine(source: Path) -> None:
    config = ScriptRunConfig(".", "train.py", compute_target="amlcompute")
    config.run_config.amlcompute.vm_size = "STANDARD_D2_V2"

    assert config.resolved().target == "local"


def test_an_attribute_that_is_misspelt_is_refused() -> None:
    config = ScriptRunConfig(".", "train.py")

    with pytest.raises(AttributeError, match="did you mean 'environment'"):
        config.enviroment = Environment("myenv")  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="did you mean 'target'"):
        config.run_config.targets = "local"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="did you mean 'snapshot_project'"):
        config.run_config.history.snapshot_projects = False  # type: ignore[attr-defined]


# Arguments


def test_arguments_are_texts_numbers_booleans_and_paths(source: Path) -> None:
    config = ScriptRunConfig(
        ".", "train.py", ["--rate", 0.1, "--n", 3, "--fast", True, "--data", Path("a b") / "c", ""]
    )

    found = config.resolved()

    assert found.arguments == ("--rate", "0.1", "--n", "3", "--fast", "True", "--data", "a b/c", "")
    assert found.command[: found.head] == ("python", "train.py")


@given(st.lists(st.text(st.characters(exclude_characters="\0$", exclude_categories=["Cs"]))))
def test_every_text_reaches_the_script_as_it_is(words: list[str]) -> None:
    config = ScriptRunConfig(Path(__file__).parent, Path(__file__).name, words)

    assert config.resolved().arguments == tuple(words)


@pytest.mark.parametrize("value", [None, ["--a"], {"a": 1}, object(), "nul\0", b"bytes"])
def test_what_cannot_be_passed_to_a_program_is_refused_with_its_place(source: Path, value: Any) -> None:
    with pytest.raises(UserErrorException, match=r"^arguments\[1\]: .* cannot be passed to a program"):
        ScriptRunConfig(".", "train.py", ["--rate", value]).resolved()


def test_arguments_in_one_text_are_refused(source: Path) -> None:
    with pytest.raises(UserErrorException, match=r"a list is wanted, not '--rate 0\.1'"):
        ScriptRunConfig(".", "train.py", "--rate 0.1")


def test_arguments_may_be_changed_in_place_until_they_are_resolved(source: Path) -> None:
    config = ScriptRunConfig(".", "train.py")
    config.arguments += ["--rate", 1]
    config.arguments.append("--fast")
    found = config.resolved()

    config.arguments.append("--later")

    assert found.arguments == ("--rate", "1", "--fast")


# Data


def test_data_stands_in_the_arguments_by_the_name_of_its_variable(source: Path, workspace: Workspace) -> None:
    store = workspace.get_default_datastore()
    download = store.path("images", data_reference_name="images").as_download()

    found = ScriptRunConfig(".", "train.py", ["--data", store.as_mount(), "--images", download]).resolved()

    words = ("--data", "$AZUREML_DATAREFERENCE_workspaceblobstore", "--images", "$AZUREML_DATAREFERENCE_images")
    assert found.arguments == words
    assert found.data == (store.as_mount(), download)


def test_a_datastore_stands_for_all_of_it_mounted(source: Path, workspace: Workspace) -> None:
    store = workspace.get_default_datastore()

    assert ScriptRunConfig(".", "train.py", [store]).resolved().data == (store.as_mount(),)


def test_data_said_by_text_has_to_be_given_in_the_run_configuration(source: Path, workspace: Workspace) -> None:
    reference = workspace.get_default_datastore().as_mount()
    config = ScriptRunConfig(".", "train.py", ["--data", f"{reference}/train"])
    with pytest.raises(UserErrorException, match=r"arguments\[1\]: .*/train' names data that the run is not given"):
        config.resolved()

    config.run_config.data_references = {reference.data_reference_name: reference}
    assert config.resolved().data == (reference,)

    config.run_config.data_references = {reference.data_reference_name: reference.to_config()}
    assert config.resolved().placed(workspace).data == (reference,)


def test_data_of_a_datastore_said_by_name_is_found_in_the_workspace(source: Path, workspace: Workspace) -> None:
    config = ScriptRunConfig(".", "train.py", ["$AZUREML_DATAREFERENCE_iris"])
    config.run_config.data_references["iris"] = DataReferenceConfiguration(
        "workspaceblobstore", mode="download", path_on_datastore="iris", path_on_compute="/tmp/iris", overwrite=True
    )

    (found,) = config.resolved().placed(workspace).data

    assert found.data_reference_name == "iris"
    assert (found.path_on_datastore, found.mode) == ("iris", "download")
    assert found.path_on_compute is None, "'/tmp' of Azure's container would be this machine's"
    assert found.overwrite


def test_data_of_a_datastore_that_is_not_there_is_refused(source: Path, workspace: Workspace) -> None:
    config = ScriptRunConfig(".", "train.py")
    config.run_config.data_references["iris"] = DataReferenceConfiguration("nowhere")

    with pytest.raises(UserErrorException, match="nowhere"):
        config.resolved().placed(workspace)


def test_two_sets_of_data_of_one_name_are_refused(source: Path, workspace: Workspace) -> None:
    store = workspace.get_default_datastore()

    with pytest.raises(UserErrorException, match=r"^arguments\[1\]: there is other data called 'd'"):
        ScriptRunConfig(".", "train.py", [store.path("a", "d"), store.path("b", "d")]).resolved()


def test_data_to_go_on_from_is_given_behind_its_option(source: Path, workspace: Workspace) -> None:
    reference = workspace.get_default_datastore().path("checkpoint", "checkpoint")

    found = ScriptRunConfig(".", "train.py", ["--x"], resume_from=reference).resolved()

    assert found.arguments == ("--x", "--resume-from", "$AZUREML_DATAREFERENCE_checkpoint")
    assert found.data == (reference,)


@pytest.mark.parametrize("given", ["iris", ["iris"], {"iris": "data/iris"}])
def test_what_is_no_data_is_refused(source: Path, given: Any) -> None:
    config = ScriptRunConfig(".", "train.py")
    config.run_config.data_references = given

    with pytest.raises(UserErrorException, match=r"^data_references"):
        config.resolved()


# Script and command


def test_a_script_in_a_folder_is_named_from_the_source_folder(source: Path) -> None:
    for said in ("steps/prepare.py", "./steps/../steps/prepare.py", str(source / "steps" / "prepare.py")):
        found = ScriptRunConfig(source, said).resolved()
        assert (found.script, found.source) == ("steps/prepare.py", source)


def test_the_folder_is_the_current_one_if_none_is_said(source: Path) -> None:
    assert ScriptRunConfig(source_directory="", script="train.py").resolved().source == source


def test_a_script_that_is_not_there_is_told_with_those_that_are_near(source: Path) -> None:
    with pytest.raises(ExperimentExecutionException, match=r"trian\.py is not there") as caught:
        ScriptRunConfig(".", "trian.py").resolved()
    assert caught.value.hint == "did you mean train.py?"

    with pytest.raises(ExperimentExecutionException, match="steps is a folder"):
        ScriptRunConfig(".", "steps").resolved()
    with pytest.raises(ExperimentExecutionException, match="nothing to run"):
        ScriptRunConfig(".").resolved()
    with pytest.raises(UserErrorException, match="a path is wanted, not 3"):
        ScriptRunConfig(".", 3)  # type: ignore[arg-type]


def test_a_source_folder_that_is_not_there_is_told_with_those_that_are_near(source: Path) -> None:
    with pytest.raises(ExperimentExecutionException, match="is not there") as caught:
        ScriptRunConfig("step", "prepare.py").resolved()
    assert caught.value.hint == "did you mean steps?"

    with pytest.raises(ExperimentExecutionException, match="is a file"):
        ScriptRunConfig("train.py", "train.py").resolved()


def test_a_script_outside_the_source_folder_is_refused(source: Path) -> None:
    (source / "steps" / "linked.py").symlink_to(source / "train.py")
    (source / "project-two").mkdir()

    for said in ("../train.py", "linked.py", str(source / "train.py")):
        with pytest.raises(ExperimentExecutionException, match="lies outside the source folder"):
            ScriptRunConfig("steps", said).resolved()


def test_a_script_may_be_a_link_within_the_source_folder(source: Path) -> None:
    (source / "linked.py").symlink_to("train.py")

    assert ScriptRunConfig(".", "linked.py").resolved().script == "linked.py"


def test_a_command_in_a_list_is_run_word_by_word(source: Path, workspace: Workspace) -> None:
    reference = workspace.get_default_datastore().as_mount()

    found = ScriptRunConfig(".", command=["python", "train.py", "--name", "two words; $HOME", 3, reference]).resolved()

    expected = ("python", "train.py", "--name", "two words; $HOME", "3", "$AZUREML_DATAREFERENCE_workspaceblobstore")
    assert found.command == expected
    assert (found.script, found.data) == (None, (reference,))
    printed = subprocess.run(["printf", "%s\n", *found.arguments], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[2] == "two words; $HOME"


def test_a_command_in_a_text_is_run_by_a_shell(source: Path) -> None:
    found = ScriptRunConfig(".", command="echo one && echo $TWO | tr a-z A-Z").resolved()

    ran = subprocess.run(found.command, capture_output=True, text=True, check=True, env={**os.environ, "TWO": "two"})
    assert ran.stdout == "one\nTWO\n"
    assert found.arguments == ()


def test_a_word_for_a_shell_in_a_list_is_refused(source: Path) -> None:
    with pytest.raises(UserErrorException, match=r"^command\[2\]: '&&' means something to a shell only"):
        ScriptRunConfig(".", command=["echo", "one", "&&", "echo", "two"]).resolved()


def test_a_command_and_a_script_contradict_one_another(source: Path) -> None:
    with pytest.raises(UserErrorException, match="command says all that is run"):
        ScriptRunConfig(".", "train.py", command="python train.py")
    with pytest.raises(UserErrorException, match="command says all that is run"):
        ScriptRunConfig(".", arguments=["--rate"], command=["python", "train.py"])


def test_what_is_run_is_said_here_rather_than_in_the_run_configuration(source: Path) -> None:
    scripted = RunConfiguration("train.py", ["--rate", 1])
    commanded = RunConfiguration(command="echo one")

    assert ScriptRunConfig(".", command=["echo", "two"], run_config=scripted).resolved().command == ("echo", "two")
    assert ScriptRunConfig(".", "train.py", run_config=commanded).resolved().command == ("python", "train.py")
    assert ScriptRunConfig(".", run_config=commanded).resolved().command == ("sh", "-c", "echo one")
    with pytest.raises(UserErrorException, match="command says all that is run"):
        ScriptRunConfig(".", run_config=RunConfiguration("train.py", command="echo one"))


# What else is said of the run


def test_history_says_whether_source_and_outputs_are_kept(source: Path) -> None:
    config = ScriptRunConfig(".", "train.py")
    assert (config.resolved().take_snapshot, config.resolved().collect_outputs) == (True, True)

    config.run_config.history.snapshot_project = False
    config.run_config.history.output_collection = False

    assert (config.resolved().take_snapshot, config.resolved().collect_outputs) == (False, False)


def test_the_runs_own_variables_are_kept_out_of_its_environment(source: Path) -> None:
    config = ScriptRunConfig(".", "train.py", environment=Environment("myenv"))
    before = config.environment.definition

    config.run_config.environment_variables = {"SEED": 3, "MODE": "fast"}  # type: ignore[dict-item]

    found = config.resolved()
    assert found.variables == {"SEED": "3", "MODE": "fast"}
    assert isinstance(found.environment, Environment)
    assert found.environment.definition == before


@pytest.mark.parametrize("given", [{"": "x"}, {"A=B": "x"}, {"A": None}, {3: "x"}])
def test_what_is_no_variable_is_refused(source: Path, given: Any) -> None:
    config = ScriptRunConfig(".", "train.py")
    config.run_config.environment_variables = given

    with pytest.raises(UserErrorException, match=r"^environment_variables\["):
        config.resolved()


@pytest.mark.parametrize(("asked", "found"), [(None, None), (2592000, None), (90, 90.0), (0.5, 0.5)])
def test_azures_thirty_days_are_no_limit(source: Path, asked: float | None, found: float | None) -> None:
    assert ScriptRunConfig(".", "train.py", max_run_duration_seconds=asked).resolved().max_seconds == found


@pytest.mark.parametrize("asked", [0, -1, float("nan"), float("inf"), 1e18, 10**400, "60", True, []])
def test_a_time_that_is_none_is_refused(source: Path, asked: Any) -> None:
    with pytest.raises(RunConfigurationException, match="more than 0 is wanted"):
        ScriptRunConfig(".", "train.py", max_run_duration_seconds=asked).resolved()


def test_a_container_is_said_in_a_copy_of_the_environment(source: Path) -> None:
    mine = Environment("myenv")
    config = ScriptRunConfig(".", "train.py", environment=mine)
    config.run_config.docker = DockerConfiguration(use_docker=True, arguments=["--cpus=2"])

    found = config.resolved().environment

    assert isinstance(found, Environment)
    assert (found.name, found.docker.enabled, found.docker.arguments) == ("myenv", True, ["--cpus=2"])
    assert mine.docker.enabled is False


def test_a_container_is_said_of_an_environment_that_the_workspace_has(source: Path, workspace: Workspace) -> None:
    Environment("registered").register(workspace)
    docker = DockerConfiguration(use_docker=True, shm_size="4g")
    config = ScriptRunConfig(".", "train.py", environment="registered", docker_runtime_config=docker)

    found = config.resolved().placed(workspace).environment

    assert isinstance(found, Environment)
    assert (found.docker.enabled, found.docker.shm_size) == (True, "4g")


@pytest.mark.parametrize(
    "job", [MpiConfiguration(process_count_per_node=4), MpiConfiguration(node_count=2), PyTorchConfiguration("Nccl", 8)]
)
def test_a_distributed_run_needs_a_cluster(source: Path, job: Any) -> None:
    config = ScriptRunConfig(".", "train.py", distributed_job_config=job)

    with pytest.raises(RunConfigurationException, match="distributed runs need a cluster target"):
        config.resolved()


def test_a_distributed_run_of_one_process_is_a_run(source: Path) -> None:
    config = ScriptRunConfig(".", "train.py", distributed_job_config=MpiConfiguration())

    assert config.resolved().command == ("python", "train.py")


def test_nothing_that_changes_later_changes_what_was_resolved(source: Path) -> None:
    mine = Environment("myenv")
    config = ScriptRunConfig(".", "train.py", environment=mine)
    config.run_config.environment_variables["A"] = "1"
    found = config.resolved()
    assert isinstance(found.environment, Environment)
    before = found.environment.definition

    mine.python.conda_dependencies.add_pip_package("rich")
    config.run_config.environment_variables["A"] = "2"

    assert found.environment.definition == before
    assert found.variables == {"A": "1"}


def test_data_that_azure_puts_at_an_absolute_path_are_the_runs_own(bench: Bench) -> None:
    store = bench.workspace.get_default_datastore()
    bench.write("iris.csv", "5.1")
    store.upload_files(["iris.csv"], target_path="iris", show_progress=False)

    run = bench.run(
        "import sys, pathlib; print(pathlib.Path(sys.argv[1], 'iris.csv').read_text(), sys.argv[1])",
        store.path("iris").as_download(path_on_compute="/tmp/iris"),
    )

    said, place = (run.folder / "logs/output.log").read_text().split()
    assert said == "5.1"
    assert Path(place).is_relative_to(run.folder)

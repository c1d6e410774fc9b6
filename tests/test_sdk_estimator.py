"""Estimators: what their parameters come to, and which of them contradict one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.sdk.container_registry import ContainerRegistry
from envbuild.sdk.environment import Environment
from envbuild.sdk.exceptions import (
    ExperimentExecutionException,
    RunConfigurationException,
    TrainingException,
    UserErrorException,
)
from envbuild.sdk.train import dnn
from envbuild.sdk.train.estimator import Estimator, Mpi, flattened
from envbuild.sdk.train.sklearn import SKLearn
from envbuild.sdk.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace of the test's own."""
    return Workspace.of(tmp_path / "workspace")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a project."""
    folder = tmp_path / "my-sklearn-proj"
    folder.mkdir()
    (folder / "train.py").write_text("print('trained')\n")
    monkeypatch.chdir(tmp_path)
    return folder


def packages(estimator: Estimator) -> tuple[set[str], set[str]]:
    """What conda and pip are asked for, without Python."""
    wanted = estimator.conda_dependencies
    return {each for each in wanted.conda_packages if not each.startswith("python")}, set(wanted.pip_packages)


def test_an_estimator_as_the_documentation_has_it_comes_to_a_run(source: Path, workspace: Workspace) -> None:
    data = workspace.get_default_datastore().as_mount()
    estimator = Estimator(
        source_directory="./my-sklearn-proj",
        script_params={"--data-folder": data, "--regularization": 0.8},
        compute_target="cluster",
        entry_script="train.py",
        conda_packages=["scikit-learn"],
    )

    found = estimator.resolved()

    words = ("--data-folder", "$AZUREML_DATAREFERENCE_workspaceblobstore", "--regularization", "0.8")
    assert found.command == ("python", "train.py", *words)
    assert (found.source, found.data, found.target) == (source, (data,), "cluster")
    assert isinstance(found.environment, Environment)
    assert found.environment.name == "my-sklearn-proj"
    assert packages(estimator) == ({"scikit-learn"}, set())
    assert not found.environment.docker.enabled


@given(st.dictionaries(st.text(min_size=1), st.one_of(st.integers(), st.floats(), st.booleans(), st.text(min_size=1))))
def test_parameters_flatten_to_names_and_values_in_order(params: dict[str, Any]) -> None:
    assert flattened(params) == [word for pair in params.items() for word in pair]


@given(st.dictionaries(st.text(min_size=1), st.sampled_from(["", None])))
def test_parameters_without_a_value_are_flags(params: dict[str, Any]) -> None:
    assert flattened(params) == list(params)


def test_parameters_of_one_run_are_for_that_run_alone(source: Path) -> None:
    estimator = Estimator(source, entry_script="train.py", script_params={"--rate": 0.1, "--fast": ""})

    assert estimator.resolved(script_params={"--rate": 0.2, "--seed": 3}).arguments == (
        *("--rate", "0.2"),
        "--fast",
        *("--seed", "3"),
    )
    assert estimator.resolved().arguments == ("--rate", "0.1", "--fast")


def test_a_run_without_packages_has_no_environment_said(source: Path) -> None:
    assert Estimator(source, entry_script="train.py").resolved().environment is None


def test_packages_may_be_added_afterwards(source: Path) -> None:
    estimator = Estimator(source, entry_script="train.py")

    estimator.conda_dependencies.add_pip_package("rich")

    found = estimator.resolved().environment
    assert isinstance(found, Environment)
    assert tuple(found.python.conda_dependencies.pip_packages) == ("rich",)


def test_packages_may_be_in_files_of_the_source_folder(source: Path) -> None:
    (source / "conda.yml").write_text("dependencies: [python=3.11, {pip: [rich]}]\n")
    (source / "requirements.txt").write_text("numpy\n")

    by_conda = Estimator(source, entry_script="train.py", conda_dependencies_file="conda.yml")
    by_pip = Estimator(
        source, entry_script="train.py", pip_requirements_file_path="requirements.txt", pip_packages=["rich"]
    )

    assert packages(by_conda)[1] == {"rich"}
    assert packages(by_pip)[1] == {"numpy", "rich"}


def test_a_file_that_is_not_there_is_told(source: Path) -> None:
    with pytest.raises(UserErrorException, match=r"conda_dependencies_file: there is no file 'conda\.yml'"):
        Estimator(source, entry_script="train.py", conda_dependencies_file="conda.yml")


@pytest.mark.parametrize(
    "also",
    [
        {"conda_packages": ["numpy"]},
        {"pip_packages": ["numpy"]},
        {"pip_requirements_file": "requirements.txt"},
        {"conda_dependencies_file": "conda.yml"},
        {"custom_docker_image": "ubuntu"},
        {"user_managed": True},
        {"use_gpu": True},
    ],
)
def test_a_whole_environment_contradicts_what_would_say_a_part_of_it(source: Path, also: dict[str, Any]) -> None:
    with pytest.raises(TrainingException, match=f"whole environment, and {next(iter(also))} would say a part of it"):
        Estimator(source, entry_script="train.py", environment_definition=Environment("whole"), **also)


@pytest.mark.parametrize("also", ["conda_packages", "pip_packages"])
def test_a_file_of_conda_contradicts_lists_of_packages(source: Path, also: str) -> None:
    with pytest.raises(TrainingException, match=f"conda_dependencies_file lists all packages, and .*{also}"):
        Estimator(source, conda_dependencies_file="conda.yml", **{also: ["numpy"]})  # type: ignore[arg-type]


def test_a_python_that_is_taken_as_it_is_contradicts_packages(source: Path) -> None:
    with pytest.raises(UserErrorException, match="nothing is installed, and pip_packages would have to be"):
        Estimator(source, user_managed=True, pip_packages=["numpy"])


def test_former_and_present_names_contradict_one_another(source: Path) -> None:
    with pytest.raises(TrainingException, match="former name of pip_requirements_file, and both are given"):
        Estimator(source, pip_requirements_file="a.txt", pip_requirements_file_path="b.txt")


def test_a_whole_environment_is_the_one_of_the_run(source: Path) -> None:
    whole = Environment("whole")

    found = Estimator(source, entry_script="train.py", environment_definition=whole).resolved().environment

    assert isinstance(found, Environment)
    assert (found.name, found.definition) == ("whole", whole.definition)


def test_a_python_that_is_taken_as_it_is_is_said_in_the_environment(source: Path) -> None:
    found = Estimator(source, entry_script="train.py", user_managed=True).resolved().environment

    assert isinstance(found, Environment)
    assert found.python.user_managed_dependencies


def test_an_image_implies_a_container(source: Path) -> None:
    registry = ContainerRegistry()
    registry.address = "registry.test"
    estimator = Estimator(
        source,
        entry_script="train.py",
        custom_docker_image="team/base:1",
        image_registry_details=registry,
        shm_size="4g",
        use_gpu=True,
    )

    found = estimator.resolved().environment

    assert isinstance(found, Environment)
    assert (found.docker.enabled, found.docker.base_image, found.docker.shm_size) == (True, "team/base:1", "4g")
    assert found.docker.base_image_registry.address == "registry.test"
    assert found.docker.gpu_support


def test_an_image_that_is_not_to_be_used_is_refused(source: Path) -> None:
    with pytest.raises(TrainingException, match="use_docker=False"):
        Estimator(source, entry_script="train.py", custom_docker_image="team/base:1", use_docker=False)


def test_a_container_is_asked_for_only_where_it_is_said(source: Path) -> None:
    asked = Estimator(source, entry_script="train.py", pip_packages=["rich"], use_docker=True).resolved().environment
    unsaid = Estimator(source, entry_script="train.py", pip_packages=["rich"]).resolved().environment

    assert isinstance(asked, Environment)
    assert isinstance(unsaid, Environment)
    assert (asked.docker.enabled, unsaid.docker.enabled) == (True, False)


def test_data_may_be_given_without_a_parameter(source: Path, workspace: Workspace) -> None:
    store = workspace.get_default_datastore()
    reference = store.path("iris", "iris")

    estimator = Estimator(source, entry_script="train.py", inputs=[reference], resume_from=store.path("old", "old"))

    found = estimator.resolved()
    assert found.data == (reference, store.path("old", "old"))
    assert found.arguments == ("--resume-from", "$AZUREML_DATAREFERENCE_old")


def test_variables_limits_and_machines_are_the_runs(source: Path) -> None:
    estimator = Estimator(
        source,
        entry_script="train.py",
        environment_variables={"MODE": "fast"},
        max_run_duration_seconds=60,
        vm_size="STANDARD_D2_V2",
    )

    found = estimator.resolved()

    assert (found.variables, found.max_seconds, found.target) == ({"MODE": "fast"}, 60.0, "local")
    assert estimator.run_config.amlcompute.vm_size == "STANDARD_D2_V2"


@pytest.mark.parametrize(
    "asked",
    [
        {"node_count": 2},
        {"process_count_per_node": 2},
        {"distributed_backend": "mpi"},
        {"distributed_training": Mpi(process_count_per_node=2)},
        {"distributed_training": dnn.ParameterServer(worker_count=2)},
        {"distributed_training": dnn.Nccl(process_count=2)},
    ],
)
def test_a_distributed_estimator_needs_a_cluster(source: Path, asked: dict[str, Any]) -> None:
    estimator = Estimator(source, entry_script="train.py", **asked)

    with pytest.raises(RunConfigurationException, match="distributed runs need a cluster target"):
        estimator.resolved()


def test_an_estimator_without_a_script_says_what_is_missing(source: Path) -> None:
    with pytest.raises(ExperimentExecutionException, match="nothing to run") as caught:
        Estimator(source).resolved()
    assert "entry_script" in (caught.value.hint or "")


def test_a_misspelt_attribute_is_refused(source: Path) -> None:
    with pytest.raises(AttributeError, match="did you mean 'run_config'"):
        Estimator(source).runconfig = None  # type: ignore[attr-defined]


# Frameworks


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (SKLearn, {"scikit-learn==1.5"}),
        (dnn.PyTorch, {"torch==1.5", "torchvision"}),
        (dnn.TensorFlow, {"tensorflow==1.5"}),
        (dnn.Chainer, {"chainer==1.5"}),
    ],
)
def test_an_estimator_of_a_framework_adds_its_packages(source: Path, kind: type[Estimator], wanted: set[str]) -> None:
    estimator = kind(source, entry_script="train.py", framework_version="1.5")

    assert packages(estimator)[1] == wanted
    assert estimator.resolved().command == ("python", "train.py")


def test_what_the_user_says_of_a_framework_counts(source: Path) -> None:
    assert packages(SKLearn(source, pip_packages=["Scikit_Learn<1.6"]))[1] == {"Scikit_Learn<1.6"}
    assert packages(SKLearn(source, conda_packages=["conda-forge::scikit-learn"])) == (
        {"conda-forge::scikit-learn"},
        set(),
    )
    assert packages(SKLearn(source))[1] == {"scikit-learn"}

    with pytest.raises(TrainingException, match=r"framework_version is '1\.5', and the packages have scikit-learn"):
        SKLearn(source, framework_version="1.5", pip_packages=["scikit-learn"])


def test_an_estimator_of_a_framework_takes_a_whole_environment_as_it_is(source: Path) -> None:
    whole = Environment("whole")

    found = SKLearn(source, entry_script="train.py", environment_definition=whole).resolved().environment

    assert isinstance(found, Environment)
    assert found.definition == whole.definition


def test_an_estimator_without_a_framework_has_no_version_of_it(source: Path) -> None:
    with pytest.raises(TrainingException, match="an Estimator has no framework"):
        Estimator(source, framework_version="1.5")

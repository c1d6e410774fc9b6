"""Run configurations: what they hold, what they refuse, and the files that they are kept in."""

from __future__ import annotations

import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from envbuild.sdk import runconfig
from envbuild.sdk.conda_dependencies import CondaDependencies
from envbuild.sdk.environment import Environment, EnvironmentReference
from envbuild.sdk.exceptions import RunConfigurationException, UserErrorException
from envbuild.sdk.run_sections import form_of, section_of
from envbuild.sdk.runconfig import (
    SECTIONS,
    DataReferenceConfiguration,
    DockerConfiguration,
    HistoryConfiguration,
    MpiConfiguration,
    RunConfiguration,
)
from envbuild.sdk.workspace import Workspace

AZURE = """\
# The script to run.
script: train.py
# The arguments to the script file.
arguments:
- --data
- $AZUREML_DATAREFERENCE_iris
- 0.5
# The name of the compute target to use for this run.
target: cpu-cluster
framework: Python
communicator: None
autoPrepareEnvironment: true
maxRunDurationSeconds:
nodeCount: 1
environment:
  environmentVariables:
    EXAMPLE_ENV_VAR: EXAMPLE_VALUE
  python:
    userManagedDependencies: false
    interpreterPath: python
# Path to the conda dependencies file to use for this run.
    condaDependenciesFile: aml_config/conda_dependencies.yml
  docker:
    enabled: true
    baseImage: registry.test/azureml/base:0.2.1
    sharedVolumes: true
    gpuSupport: false
    arguments: []
    baseImageRegistry:
      address:
      username:
      password:
  spark:
    repositories: []
    packages:
    - group: com.microsoft.ml.spark
      artifact: mmlspark_2.11
      version: '0.12'
    precachePackages: true
  databricks:
    mavenLibraries: []
history:
  outputCollection: true
  snapshotProject: false
  directoriesToWatch:
  - logs
spark:
  configuration:
    spark.app.name: Azure ML Experiment
    spark.yarn.maxAppAttempts: 1
hdi:
  yarnDeployMode: cluster
tensorflow:
  workerCount: 1
  parameterServerCount: 1
mpi:
  processCountPerNode: 1
dataReferences:
  iris:
    dataStoreName: workspaceblobstore
    mode: download
    pathOnDataStore: data/iris
    pathOnCompute: /tmp/iris
    overwrite: true
data: {}
sourceDirectoryDataStore:
amlcompute:
  vmSize:
  vmPriority:
  retainCluster: false
  name:
  clusterMaxNodeCount: 1
"""

CONDA = "name: project_environment\ndependencies:\n- python=3.11\n- pip:\n  - rich\nchannels:\n- conda-forge\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder, which the process is in."""
    monkeypatch.setenv("ENVBUILD_WORKSPACE", str(tmp_path / "workspace"))
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def azure(project: Path) -> Path:
    """A project with a configuration that Azure's command line wrote."""
    (project / "aml_config").mkdir()
    (project / "aml_config" / "cpu.runconfig").write_text(AZURE)
    (project / "aml_config" / "conda_dependencies.yml").write_text(CONDA)
    return project


def saved(config: RunConfiguration, folder: Path, name: str = "train") -> RunConfiguration:
    """A configuration that went through a file."""
    config.save(folder, name)
    return RunConfiguration.load(folder, name)


# What it holds


def test_a_new_configuration_has_azures_defaults() -> None:
    config = RunConfiguration()

    assert (config.target, config.framework, config.communicator, config.node_count) == ("local", "Python", "None", 1)
    assert config.docker == DockerConfiguration(use_docker=False, shared_volumes=True, arguments=[], shm_size="2g")
    assert config.history == HistoryConfiguration(True, True, ["logs"])
    assert (config.environment_variables, config.data_references, config.arguments) == ({}, {}, [])
    assert config.environment.name == "default-environment"
    assert config.auto_prepare_environment


def test_code_for_early_releases_of_azures_sdk_runs() -> None:
    config = RunConfiguration(framework="python")
    config.target = "local"
    config.auto_prepare_environment = True
    config.prepare_environment = False
    config.environment.docker.enabled = True
    config.environment.docker.base_image = runconfig.DEFAULT_CPU_IMAGE
    config.environment.python.user_managed_dependencies = False
    config.environment.python.conda_dependencies = CondaDependencies.create(conda_packages=["scikit-learn"])
    config.amlcompute.vm_size = "STANDARD_D2_V2"
    config.data_references = {"data": DataReferenceConfiguration(datastore_name="workspaceblobstore")}

    config.check()

    assert "scikit-learn" in tuple(config.environment.python.conda_dependencies.conda_packages)


def test_packages_may_be_given_to_the_constructor() -> None:
    wanted = CondaDependencies.create(pip_packages=["rich"])

    assert RunConfiguration(conda_dependencies=wanted).environment.python.conda_dependencies is wanted


@pytest.mark.parametrize(
    "name", ["CondaDependencies", "ContainerRegistry", "DockerSection", "PythonSection", "SparkPackage", "Environment"]
)
def test_names_that_azures_module_has_are_found_in_ours(name: str) -> None:
    assert getattr(runconfig, name).__name__ == name


def test_the_former_name_of_an_environment_is_known() -> None:
    assert runconfig.EnvironmentDefinition is Environment


def test_a_name_that_the_module_does_not_have_is_told_with_one_that_is_near() -> None:
    with pytest.raises(AttributeError, match="did you mean 'RunConfiguration'"):
        runconfig.RunConfigurations  # noqa: B018


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("node_count", 2, "distributed runs need a cluster target, and node_count is 2"),
        ("communicator", "OpenMpi", "distributed runs need a cluster target, and communicator is 'OpenMpi'"),
        ("mpi", MpiConfiguration(process_count_per_node=4), "mpi.process_count_per_node is 4"),
        ("framework", "PySpark", "needs a target that has Spark"),
        ("framework", "PyTorches", "did you mean 'PyTorch'"),
        ("docker", {"use_docker": True}, "run_config.docker is"),
        ("history", None, "run_config.history is None"),
    ],
)
def test_what_cannot_be_run_is_refused(name: str, value: Any, said: str) -> None:
    config = RunConfiguration()
    setattr(config, name, value)

    with pytest.raises(RunConfigurationException, match=said):
        config.check()


@pytest.mark.parametrize("framework", ["Python", "python", "PyTorch", "TensorFlow"])
def test_frameworks_that_python_runs_are_taken_in_any_capitals(framework: str) -> None:
    RunConfiguration(framework=framework).check()


# Files


def test_a_file_that_azure_wrote_is_read_whole(azure: Path) -> None:
    config = RunConfiguration.load(azure, "cpu")

    assert (config.script, config.arguments) == ("train.py", ["--data", "$AZUREML_DATAREFERENCE_iris", 0.5])
    assert (config.target, config.framework, config.communicator) == ("cpu-cluster", "Python", "None")
    assert (config.history.output_collection, config.history.snapshot_project) == (True, False)
    assert config.spark.configuration["spark.yarn.maxAppAttempts"] == 1
    expected = DataReferenceConfiguration("workspaceblobstore", "download", "data/iris", "/tmp/iris", True)
    assert config.data_references == {"iris": expected}
    environment = config.environment
    assert (environment.name, environment.docker.enabled) == ("default-environment", True)
    assert environment.docker.base_image == "registry.test/azureml/base:0.2.1"
    assert tuple(environment.python.conda_dependencies.pip_packages) == ("rich",)
    assert [each.artifact for each in environment.spark.packages] == ["mmlspark_2.11"]
    config.check()


def test_what_azure_wrote_and_we_write_anew_says_the_same(azure: Path) -> None:
    before = RunConfiguration.load(azure, "cpu")
    after = saved(before, azure, "ours")

    assert after.environment.definition == before.environment.definition
    assert after.data_references == before.data_references
    assert after.arguments == before.arguments
    assert {name: getattr(after, name) for name in SECTIONS} == {name: getattr(before, name) for name in SECTIONS}


def test_a_configuration_is_found_by_folder_and_name_or_by_its_path(azure: Path) -> None:
    beside = azure / "cpu.yml"
    beside.write_text(AZURE.replace("aml_config/", ""))
    (azure / "conda_dependencies.yml").write_text(CONDA)

    for path, name in (
        (azure, "cpu"),
        (azure, "cpu.runconfig"),
        (azure / "aml_config/cpu.runconfig", None),
        (beside, None),
    ):
        config = RunConfiguration.load(path, name)
        assert config.script == "train.py"
        assert tuple(config.environment.python.conda_dependencies.pip_packages) == ("rich",)


def test_packages_may_stand_in_the_file_itself(project: Path) -> None:
    form = yaml.safe_load(AZURE)
    form["environment"]["name"] = "inline"
    form["environment"]["python"]["condaDependencies"] = yaml.safe_load(CONDA)
    (project / "train.yml").write_text(yaml.safe_dump(form))

    environment = RunConfiguration.load(project / "train.yml").environment

    assert environment.name == "inline"
    assert tuple(environment.python.conda_dependencies.pip_packages) == ("rich",)


def test_all_that_is_held_comes_back_from_a_file(project: Path) -> None:
    config = RunConfiguration("train.py", ["--rate", 0.5, "--n", 3, "--fast", True])
    config.target = "cluster"
    config.environment = Environment("mine")
    config.environment.python.conda_dependencies.add_pip_package("rich")
    config.environment.environment_variables = {"MODE": "fast"}
    config.environment_variables = {"SEED": "3"}
    config.history.snapshot_project = False
    config.docker = DockerConfiguration(use_docker=True, arguments=["--cpus=2"])
    config.max_run_duration_seconds = 60

    found = saved(config, project)

    assert (found.script, found.arguments, found.target) == ("train.py", config.arguments, "cluster")
    assert (found.environment.name, found.environment.definition) == ("mine", config.environment.definition)
    assert (found.environment_variables, found.max_run_duration_seconds) == ({"SEED": "3"}, 60)
    assert (found.docker, found.history) == (config.docker, config.history)


_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


@given(
    st.builds(DockerConfiguration, st.booleans(), st.booleans(), st.lists(_TEXTS, max_size=3), _TEXTS.filter(str.strip))
)
def test_every_section_comes_back_from_its_form(section: DockerConfiguration) -> None:
    written = yaml.safe_load(yaml.safe_dump(form_of(section)))

    assert section_of(DockerConfiguration, written, "docker") == section


def test_where_no_environment_was_said_the_file_says_none(project: Path) -> None:
    found = saved(RunConfiguration("train.py"), project)

    assert "environment:" not in (project / ".azureml" / "train.runconfig").read_text()
    assert found.chosen_environment() is None


def test_data_in_arguments_is_written_as_references(project: Path) -> None:
    store = Workspace.of(project.parent / "workspace").get_default_datastore()
    config = RunConfiguration("train.py", ["--data", store.path("iris", "iris").as_download("/tmp/iris")])

    found = saved(config, project)

    assert found.arguments == ["--data", "$AZUREML_DATAREFERENCE_iris"]
    assert found.data_references == {
        "iris": DataReferenceConfiguration("workspaceblobstore", "download", "iris", "/tmp/iris", False)
    }


def test_an_environment_said_by_name_is_written_so(project: Path) -> None:
    config = RunConfiguration("train.py")
    config.environment = "mine:3"

    found = saved(config, project).environment

    assert isinstance(found, EnvironmentReference)
    assert (found.name, found.version) == ("mine", "3")


def test_the_environment_may_have_a_file_of_its_own(project: Path) -> None:
    config = RunConfiguration("train.py")
    config.environment = Environment("mine")

    config.save(project, "train", separate_environment_yaml=True)

    assert yaml.safe_load((project / ".azureml" / "environment.yml").read_text())["name"] == "mine"
    assert RunConfiguration.load(project, "train").environment.name == "mine"


def test_a_file_that_is_there_is_not_replaced_by_the_environment(project: Path) -> None:
    (project / "environment.yml").write_text(CONDA)
    config = RunConfiguration("train.py")
    config.environment = Environment("mine")

    config.save(project / "run.yml", separate_environment_yaml=True)

    assert (project / "environment.yml").read_text() == CONDA
    assert RunConfiguration.load(project / "run.yml").environment.name == "mine"


def test_two_configurations_in_a_folder_keep_their_own_packages(project: Path) -> None:
    for name, package in (("one", "rich"), ("two", "numpy")):
        config = RunConfiguration("train.py")
        config.environment.python.conda_dependencies.add_pip_package(package)
        config.save(project, name)

    found = [RunConfiguration.load(project, name).environment.python.conda_dependencies for name in ("one", "two")]

    assert [tuple(each.pip_packages) for each in found] == [("rich",), ("numpy",)]


def test_a_login_for_a_registry_stays_out_of_the_files(project: Path) -> None:
    config = RunConfiguration("train.py")
    config.environment.docker.enabled = True
    config.environment.docker.base_image_registry.address = "registry.test"
    config.environment.docker.base_image_registry.password = "s3cret"
    config.environment.python.conda_dependencies.set_pip_option("--index-url https://me:s3cret@host.test/simple")

    config.save(project, "train")

    assert not [file for file in (project / ".azureml").iterdir() if "s3cret" in file.read_text()]


def test_packages_of_this_machine_are_found_again(project: Path) -> None:
    (project / "wheels").mkdir()
    (project / "wheels" / "mine-1-py3-none-any.whl").write_bytes(b"")
    (project / "environment.yml").write_text("dependencies: [python=3.11, {pip: [./wheels/mine-1-py3-none-any.whl]}]\n")
    config = RunConfiguration("train.py")
    config.environment = Environment.from_conda_specification("mine", str(project / "environment.yml"))

    found = saved(config, project).environment

    assert found.definition.root == config.environment.definition.root == project


def test_a_configuration_is_saved_where_it_was_loaded_from(azure: Path) -> None:
    config = RunConfiguration.load(azure, "cpu")
    config.script = "other.py"

    config.save()

    assert RunConfiguration.load(azure, "cpu").script == "other.py"
    assert not (azure / ".azureml").exists()


def test_a_file_without_suffix_as_azures_sdk_writes_it_is_written_again(azure: Path) -> None:
    folder = azure / "aml_config"
    (folder / "cpu.runconfig").rename(folder / "cpu")
    config = RunConfiguration.load(azure, "cpu")
    config.script = "other.py"

    config.save()

    assert RunConfiguration.load(azure, "cpu").script == "other.py"
    assert sorted(each.name for each in folder.iterdir()) == ["conda_dependencies.yml", "cpu"]


def test_a_configuration_may_be_saved_to_a_file(project: Path) -> None:
    RunConfiguration("train.py", conda_dependencies=CondaDependencies.create(pip_packages=["rich"])).save(
        project / "run.yml", name="ignored"
    )

    assert (project / "conda_dependencies.yml").is_file()
    assert RunConfiguration.load(project / "run.yml").script == "train.py"


def test_a_configuration_is_deleted_by_name(project: Path) -> None:
    RunConfiguration("train.py").save(project, "train")

    RunConfiguration.delete(project, "train")

    with pytest.raises(UserErrorException, match="there is no run configuration 'train'"):
        RunConfiguration.delete(project, "train")
    with pytest.raises(UserErrorException, match="there is no run configuration 'train'"):
        RunConfiguration.load(project, "train")


@pytest.mark.parametrize("name", [None, "", "../train", "a/b"])
def test_a_configuration_is_not_saved_without_a_name(project: Path, name: str | None) -> None:
    with pytest.raises(UserErrorException, match="saved under a name"):
        RunConfiguration("train.py").save(project, name)


def test_places_that_are_not_there_are_told(azure: Path) -> None:
    with pytest.raises(UserErrorException, match="there is no folder"):
        RunConfiguration("train.py").save(azure / "nowhere" / "run.yml")
    with pytest.raises(UserErrorException, match="there is no file or folder"):
        RunConfiguration.load(azure / "nowhere", "cpu")
    with pytest.raises(UserErrorException, match="did you mean 'cpu'"):
        RunConfiguration.load(azure, "cpus")
    with pytest.raises(UserErrorException, match="is meant") as caught:
        RunConfiguration.load(azure)
    assert caught.value.hint == "name one: cpu"


BOMB = "\n".join(["a: &a [x]", *(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in pairwise("abcdefgh"))])


@pytest.mark.parametrize(
    "text",
    [f"{BOMB}\nenvironmentVariables: {{A: *h}}\n", "script: " + "[" * 5_000, "environmentVariables: &a {A: *a}\n"],
)
def test_a_file_that_unfolds_without_end_is_refused(project: Path, text: str) -> None:
    (project / "run.yml").write_text(text)

    with pytest.raises(RunConfigurationException, match=r"run\.yml"):
        RunConfiguration.load(project / "run.yml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("script: [a", "not YAML"),
        ("- a", "keys and values are wanted"),
        ("scripts: a.py", "scripts: there is no such setting; did you mean 'script'"),
        ("docker: {useDoker: true}", "docker.useDoker: there is no such setting; did you mean 'usedocker'"),
        ("docker: {useDocker: 1}", "docker.useDocker: true or false is wanted, not 1"),
        ("history: on", "history: a mapping is wanted"),
        ("nodeCount: two", "nodeCount: a number is wanted, not 'two'"),
        ("arguments: --rate 1", "arguments: a list is wanted"),
        ("environment: {docker: {enabled: 1}}", "environment.docker.enabled: true or false is wanted"),
        ("environment: nowhere.yml", "environment: there is no file nowhere.yml"),
        ("data: {iris: {mechanism: mount}}", "data: a run here is given data by reference"),
    ],
)
def test_a_file_that_says_something_else_is_told_with_the_place(project: Path, text: str, said: str) -> None:
    (project / "run.yml").write_text(textwrap.dedent(text))

    with pytest.raises(RunConfigurationException) as caught:
        RunConfiguration.load(project / "run.yml")

    assert said in str(caught.value)
    assert "run.yml" in str(caught.value)

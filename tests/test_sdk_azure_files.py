"""Azure's files: what its SDK exported comes over, and what is saved here comes back."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.packages import project, wheel

from envbuild import reading
from envbuild.sdk.azure_files import from_form, to_form
from envbuild.sdk.container_registry import ContainerRegistry
from envbuild.sdk.environment import CondaDependencies, DockerBuildContext, Environment, SparkPackage
from envbuild.sdk.exceptions import UserErrorException

EXPORTED = {
    "name": "train",
    "version": "Autosave_2023-01-31T12:00:00Z_0a1b2c3d",
    "environmentVariables": {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"},
    "python": {
        "userManagedDependencies": False,
        "interpreterPath": "python",
        "condaDependenciesFile": None,
        "baseCondaEnvironment": None,
    },
    "docker": {
        "enabled": False,
        "baseImage": "mcr.test/azureml/openmpi4.1.0-ubuntu20.04:20230120.v1",
        "baseDockerfile": None,
        "buildContext": None,
        "sharedVolumes": True,
        "shmSize": None,
        "arguments": [],
        "baseImageRegistry": {"address": None, "username": None, "password": None, "registryIdentity": None},
        "platform": {"os": "Linux", "architecture": "amd64"},
    },
    "spark": {"repositories": [], "packages": [], "precachePackages": True},
    "databricks": {
        "mavenLibraries": [],
        "pypiLibraries": [{"package": "six", "repo": ""}],
        "rcranLibraries": [],
        "jarLibraries": [],
        "eggLibraries": [],
    },
    "r": {"rVersion": "4.0", "userManaged": False, "cranPackages": [{"name": "ggplot2"}]},
    "inferencingStackVersion": "latest",
    "assetId": "azureml://locations/westeurope/workspaces/1/environments/train/versions/1",
    "autoRebuild": True,
}
"""What ``save_to_directory`` of azureml-core 1.5x writes."""

PACKAGES = """\
# Conda environment specification.
name: project_environment
dependencies:
  # The python interpreter version.
- python=3.8.13

- pip:
  - azureml-defaults~=1.48.0
- numpy=1.21
channels:
- anaconda
- conda-forge
"""


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A folder that Azure's SDK has written."""
    folder = tmp_path / "exported"
    folder.mkdir()
    (folder / "azureml_environment.json").write_text(json.dumps(EXPORTED, indent=4))
    (folder / "conda_dependencies.yml").write_text(PACKAGES)
    return folder


def full() -> Environment:
    made = Environment("tools")
    made.python.conda_dependencies = CondaDependencies.create(
        pip_packages=["six"], conda_packages=["numpy=2"], python_version="3.11"
    )
    made.docker.enabled = True
    made.docker.build_context = DockerBuildContext("git", "https://host.test/r.git", "docker/Dockerfile")
    made.docker.base_image_registry = ContainerRegistry("registry.test")
    made.docker.arguments = ["--init"]
    made.docker.gpu_support = True
    made.spark.packages = [SparkPackage("g", "a", "1")]
    made.spark.repositories = ["https://maven.test"]
    made.databricks.jar_libraries = [{"library": "dbfs:/x.jar"}]
    made.r = {"rVersion": "4.0"}
    made.inferencing_stack_version = "latest"
    made.environment_variables = {"A": "é"}
    made.secrets = ["TOKEN"]
    made.constraints = ["numpy<3"]
    made.as_of = date(2026, 1, 31)
    made.description = "for tests"
    return made


def test_what_azure_exported_comes_over_whole(exported: Path) -> None:
    made = Environment.load_from_directory(exported)

    assert made.name == "train"
    assert (made.version, made.asset_id) == (None, None)
    assert made.environment_variables == {}
    assert made.python.conda_dependencies.pip_packages == ("azureml-defaults~=1.48.0",)
    assert made.docker.base_image == "mcr.test/azureml/openmpi4.1.0-ubuntu20.04:20230120.v1"
    assert made.databricks.pypi_libraries == [{"package": "six", "repo": ""}]
    assert made.r["cranPackages"] == [{"name": "ggplot2"}]
    content = made.definition.content()
    packages = reading.read(exported / "conda_dependencies.yml").content()
    assert {key: content[key] for key in packages} == packages


def test_what_came_over_is_registered_here_and_saved_in_azures_form(exported: Path, tmp_path: Path) -> None:
    made = Environment.load_from_directory(exported)

    assert made.register(tmp_path / "workspace").version == "1"
    found = Environment.get(tmp_path / "workspace", "train")
    assert found == made
    made.save_to_directory(tmp_path / "saved")

    saved = json.loads((tmp_path / "saved" / "azureml_environment.json").read_text())
    assert list(saved) == [key for key in EXPORTED if key != "autoRebuild"]
    assert saved["databricks"] == EXPORTED["databricks"]
    assert saved["r"] == EXPORTED["r"]
    assert (tmp_path / "saved" / "conda_dependencies.yml").read_text() == PACKAGES


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    made = full()

    made.save_to_directory(tmp_path / "saved")

    found = Environment.load_from_directory(tmp_path / "saved")
    assert found == made
    assert repr(found) == repr(made)
    assert found.description == "for tests"


@settings(max_examples=60)
@given(
    variables=st.dictionaries(st.sampled_from(["A", "B"]), st.text(max_size=5)),
    enabled=st.booleans(),
    managed=st.booleans(),
    image=st.sampled_from([None, "ubuntu"]),
    pip=st.lists(st.sampled_from(["six", "rich>=13", "--pre"]), unique=True),
    stack=st.sampled_from([None, "latest"]),
)
def test_the_form_says_all_that_an_environment_is(
    variables: dict[str, str], enabled: bool, managed: bool, image: str | None, pip: list[str], stack: str | None
) -> None:
    made = Environment("tools")
    made.environment_variables = variables
    made.docker.enabled = enabled
    made.docker.base_image = image
    made.python.user_managed_dependencies = managed
    made.python.conda_dependencies.set_pip_requirements(pip)
    made.inferencing_stack_version = stack

    found = Environment(None)
    from_form(json.loads(json.dumps(to_form(made))), found)

    assert found == made
    assert to_form(found) == to_form(made)


def test_a_folder_that_is_there_is_only_written_to_where_that_was_said(tmp_path: Path) -> None:
    made = Environment.from_dockerfile("tools", "FROM ubuntu\n")
    made.save_to_directory(tmp_path / "saved")
    (tmp_path / "saved" / "notes.txt").write_text("mine")
    assert (tmp_path / "saved" / "BaseDockerfile").read_text() == "FROM ubuntu\n"

    with pytest.raises(FileExistsError, match="overwrite"):
        full().save_to_directory(tmp_path / "saved")
    full().save_to_directory(tmp_path / "saved", overwrite=True)

    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "azureml_environment.json",
        "conda_dependencies.yml",
        "notes.txt",
    ]
    assert Environment.load_from_directory(tmp_path / "saved") == full()


def test_a_dockerfile_comes_back(tmp_path: Path) -> None:
    made = Environment.from_dockerfile("tools", "FROM ubuntu\nRUN true\n")
    made.save_to_directory(tmp_path / "saved")

    assert Environment.load_from_directory(tmp_path / "saved") == made
    assert "RUN true" not in (tmp_path / "saved" / "azureml_environment.json").read_text()


def test_a_dockerfile_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    Environment.from_dockerfile("tools", "FROM ubuntu\n").save_to_directory(tmp_path / "saved")
    (tmp_path / "saved" / "BaseDockerfile").write_bytes(b"FROM ubuntu\n# gr\xfc\xdfe\n")

    with pytest.raises(UserErrorException, match=r"BaseDockerfile: .*not UTF-8: byte 0xfc in line 2; save it as UTF-8"):
        Environment.load_from_directory(tmp_path / "saved")


def test_packages_that_stand_within_are_read_too(tmp_path: Path) -> None:
    form: dict[str, Any] = json.loads(json.dumps(EXPORTED))
    form["python"]["condaDependencies"] = {"dependencies": ["python=3.11", {"pip": ["six"]}]}
    form["environmentVariables"] = {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE", "MINE": "1"}
    form["docker"]["baseImageRegistry"] = "registry.test"
    (tmp_path / "azureml_environment.json").write_text(json.dumps(form))

    made = Environment.load_from_directory(tmp_path)

    assert made.python.conda_dependencies.pip_packages == ("six",)
    assert made.docker.base_image_registry.address == "registry.test"
    assert made.environment_variables == {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE", "MINE": "1"}


def test_no_login_is_written(tmp_path: Path) -> None:
    made = full()
    made.docker.base_image_registry = ContainerRegistry("registry.test", "me", "hunter2")
    made.python.conda_dependencies.set_pip_option("--index-url https://me:hunter2@packages.test/simple")
    made.python.conda_dependencies.add_channel("https://conda.test/t/hunter2/main")

    made.save_to_directory(tmp_path / "saved")

    assert not any(b"hunter2" in each.read_bytes() for each in (tmp_path / "saved").iterdir())
    assert Environment.load_from_directory(tmp_path / "saved") == made


@pytest.mark.parametrize("line", ["-e .", "./private-1.0-py3-none-any.whl", "-r more.txt"])
def test_files_that_an_environment_names_are_found_from_where_it_is_saved(tmp_path: Path, line: str) -> None:
    folder = tmp_path / "project"
    for path, text in project("lib", "1.0").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "private-1.0-py3-none-any.whl").write_bytes(wheel("private", "1.0").data)
    (folder / "more.txt").write_text("six\n")
    (folder / "requirements.txt").write_text(f"{line}\n")
    made = Environment.from_pip_requirements("tools", folder / "requirements.txt")

    made.save_to_directory(tmp_path / "saved")
    made.save_to_directory(tmp_path / "saved", overwrite=True)

    found = Environment.load_from_directory(tmp_path / "saved")
    assert found == made
    assert found.definition.root == folder


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{", "azureml_environment.json"),
        ("[]", "a mapping is wanted"),
        ('{"name": 3}', "name: a text is wanted, not 3"),
        ('{"docker": {"enabled": "yes"}}', "docker.enabled: true or false is wanted"),
        ('{"spark": {"packages": ["a:b:c"]}}', r"spark.packages\[0\]: a mapping is wanted"),
        ('{"python": {"condaDependencies": {"depends": []}}}', "unknown key 'depends'"),
        ('{"envbuild": {"asOf": "soon"}}', "not a day"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, written: str, said: str) -> None:
    (tmp_path / "azureml_environment.json").write_text(written)

    with pytest.raises(UserErrorException, match=said):
        Environment.load_from_directory(tmp_path)


def test_a_folder_without_the_file_has_no_environment(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"azureml_environment\.json"):
        Environment.load_from_directory(tmp_path)


@pytest.mark.parametrize("written", ["[" * 100_000, '{"r": ' + "[" * 300 + "]" * 300 + "}"])
def test_a_file_that_nests_deeper_than_anything_meant_is_refused(tmp_path: Path, written: str) -> None:
    (tmp_path / "azureml_environment.json").write_text(written)

    with pytest.raises(UserErrorException, match=r"azureml_environment\.json"):
        Environment.load_from_directory(tmp_path)


def test_a_folder_without_its_file_of_packages_is_warned_of(tmp_path: Path) -> None:
    Environment("tools").save_to_directory(tmp_path / "tools")
    (tmp_path / "tools/conda_dependencies.yml").unlink()

    with pytest.warns(UserWarning, match=r"conda_dependencies\.yml is not there, so .* asks for no packages") as told:
        Environment.load_from_directory(tmp_path / "tools")

    assert told[0].filename == __file__


def test_an_environment_that_takes_the_python_there_is_needs_no_file_of_packages(tmp_path: Path) -> None:
    taken = Environment("taken")
    taken.python.user_managed_dependencies = True
    taken.save_to_directory(tmp_path / "taken")
    (tmp_path / "taken/conda_dependencies.yml").unlink()

    assert Environment.load_from_directory(tmp_path / "taken").python.user_managed_dependencies

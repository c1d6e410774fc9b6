"""`envbuild.sdk.workspace`: which folder is meant, what a config.json says, and what deleting leaves alone."""

from __future__ import annotations

import copy
import fcntl
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.desk import guarded

from envbuild import layout
from envbuild.definition import Definition
from envbuild.sdk import places
from envbuild.sdk.authentication import (
    AzureCliAuthentication,
    InteractiveLoginAuthentication,
    MsiAuthentication,
    ServicePrincipalAuthentication,
)
from envbuild.sdk.exceptions import UserErrorException
from envbuild.sdk.workspace import Workspace

AZURE = {"subscription_id": "s-1", "resource_group": "g-1", "workspace_name": "team"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default workspace, and the folder that everything is done in."""
    monkeypatch.setenv("ENVBUILD_WORKSPACE", str(tmp_path / "home"))
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return tmp_path / "home"


def configure(folder: Path, content: object, where: str = ".azureml/config.json", **options: str) -> Path:
    file = folder / where
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), **{"encoding": "utf-8", **options})
    return file


# Which one is meant


def test_no_argument_is_the_default_workspace(home: Path) -> None:
    assert Workspace().root == home
    assert Workspace().name == "default"
    assert Workspace() == Workspace("default") == Workspace.get() == Workspace(home)


def test_azures_three_words_name_the_local_workspace_of_that_name(home: Path) -> None:
    workspace = Workspace("s-1", "g-1", "team", auth=InteractiveLoginAuthentication(), sku="enterprise")

    assert workspace == Workspace("team") == Workspace(workspace_name="team")
    assert workspace.root == home / "workspaces" / "team"
    assert (workspace.subscription_id, workspace.resource_group) == ("s-1", "g-1")
    assert (Workspace("team").subscription_id, Workspace("team").resource_group) == ("", ""), (
        "texts, to be added to texts"
    )


def test_a_path_is_told_from_a_name_by_its_slash(tmp_path: Path) -> None:
    assert Workspace("./here").root == Workspace(Path("here")).root == tmp_path / "project" / "here"
    assert Workspace("./here").name == "here"
    assert Workspace("here").root != Workspace("./here").root


@pytest.mark.parametrize("name", ["", "ab", "a" * 34, "-ab", "a b", "naïve"])
def test_a_name_that_azure_refuses_is_refused(name: str) -> None:
    with pytest.raises(UserErrorException, match="no name for a workspace") as refused:
        Workspace(name)

    assert "3 to 33" in refused.value.message


def test_a_resource_group_alone_names_no_workspace() -> None:
    with pytest.raises(UserErrorException, match="names no workspace"):
        Workspace("s-1", "g-1")


def test_naming_and_asking_make_nothing_on_disk(tmp_path: Path) -> None:
    with guarded(tmp_path):
        workspace = Workspace("team")
        assert workspace.datastores.keys() == {"workspaceblobstore"}
        assert workspace.compute_targets.keys() == {"local"}
        assert workspace.webservices == {}
        assert workspace.get_details()["creationTime"] is None
        assert workspace.environments == workspace.experiments == workspace.models == {}
        assert Workspace.list() == {}
        assert repr(workspace)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{2,32}", fullmatch=True))
def test_every_name_is_found_again_by_its_folder(name: str) -> None:
    assert places.name_of(places.root_of(name)) == name


def test_the_variable_may_name_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENVBUILD_WORKSPACE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    home = Workspace()
    monkeypatch.setenv("ENVBUILD_WORKSPACE", "team")

    assert Workspace().root == home.root / "workspaces" / "team"
    assert Workspace() == Workspace.get() == Workspace.of(None) == Workspace("team")
    assert Workspace().name == "team"
    # The named ones lie side by side, whichever of them is meant.
    assert Workspace("default") == home
    assert Workspace("other").root == home.root / "workspaces" / "other"

    monkeypatch.setenv("ENVBUILD_WORKSPACE", "a")
    with pytest.raises(UserErrorException, match="no name for a workspace"):
        Workspace()


@given(st.text(max_size=40))
def test_a_text_without_a_slash_is_a_name_or_nothing(text: str) -> None:
    assert layout.is_workspace_name(text) == (re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{2,32}", text) is not None)


# Making, finding, listing


def test_what_was_created_is_found_and_listed() -> None:
    made = Workspace.create("team", subscription_id="s-1", resource_group="g-1", location="westeurope", sku="basic")
    Workspace.create("other")

    assert Workspace.get("team", subscription_id="s-1") == made
    assert Workspace.list() == {"other": [Workspace("other")], "team": [made]}
    assert (made.location, made.name) == ("local", "team")
    assert made.get_details()["creationTime"] is not None


def test_creating_twice_needs_to_be_allowed() -> None:
    made = Workspace.create("team")

    with pytest.raises(UserErrorException, match="already") as refused:
        Workspace.create("team")
    assert "exist_ok=True" in refused.value.message
    assert Workspace.create("team", exist_ok=True) == made


def test_a_misspelt_argument_of_create_is_not_taken_for_one_of_azures() -> None:
    with pytest.raises(TypeError, match="did you mean 'storage_account'"):
        Workspace.create("team", storage_acount="x")  # type: ignore[call-arg]


def test_a_workspace_created_in_a_folder_keeps_its_name_there(tmp_path: Path) -> None:
    Workspace.create("team", path=tmp_path / "shared")

    assert Workspace(tmp_path / "shared").name == "team"
    assert Workspace.get(tmp_path / "shared").root == tmp_path / "shared"
    assert Workspace.list() == {}


def test_a_name_that_was_never_made_is_refused_with_those_there_are() -> None:
    Workspace.create("team")

    with pytest.raises(UserErrorException, match="did you mean 'team'") as refused:
        Workspace.get("tean")
    assert "default, team" in refused.value.message


def test_an_environment_recorded_by_name_is_in_that_workspace_alone() -> None:
    Workspace("team")._core.register("web", Definition(python="3.11"))

    assert Workspace.list().keys() == {"team"}
    assert [each.name for each in Workspace.get("team")._core.catalogue.list()] == ["web"]
    assert not places.is_made(Workspace().root)


def test_what_is_recorded_is_found_by_name(tmp_path: Path) -> None:
    from envbuild.sdk import Environment, Experiment, Model

    workspace = Workspace("team")
    Environment("web").register(workspace)
    (tmp_path / "model.pkl").write_bytes(b"1")
    for content in (b"1", b"2"):
        (tmp_path / "model.pkl").write_bytes(content)
        Model.register(workspace, str(tmp_path / "model.pkl"), "iris")
    with Experiment(workspace, "train").start_logging(snapshot_directory=None) as run:
        run.log("accuracy", 0.9)

    assert workspace.environments["web"].version == "1"
    assert workspace.models["iris"].version == 2
    assert list(workspace.experiments) == ["train"]
    assert workspace.get_run(run.id).get_metrics() == {"accuracy": 0.9}
    assert Workspace().environments.keys() == Workspace().models.keys() == Workspace().experiments.keys() == set()


# A project's config.json


@pytest.mark.parametrize("where", [".azureml", "aml_config", ".", ".envbuild"])
@pytest.mark.parametrize("start", ["", "src/deep"])
def test_azures_config_json_names_the_local_workspace_of_that_name(where: str, start: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "src/deep").mkdir(parents=True)
    configure(project, AZURE, f"{where}/config.json")

    found = Workspace.from_config(project / start)

    assert found == Workspace("team")
    assert (found.subscription_id, found.resource_group) == ("s-1", "g-1")
    assert not places.is_made(found.root)


def test_the_nearest_config_json_counts_and_in_it_azures_folder(tmp_path: Path) -> None:
    project = tmp_path / "project"
    configure(tmp_path, {**AZURE, "workspace_name": "above"})
    assert Workspace.from_config().name == "above"

    configure(project, {**AZURE, "workspace_name": "bare"}, "config.json")
    assert Workspace.from_config().name == "bare"

    configure(project, {**AZURE, "workspace_name": "own"})
    assert Workspace.from_config().name == "own"


def test_a_config_json_of_another_program_is_passed_over(tmp_path: Path) -> None:
    configure(tmp_path, AZURE)
    configure(tmp_path / "project", {"model_type": "bert"}, "config.json")

    assert Workspace.from_config(tmp_path / "project") == Workspace("team")


def test_the_file_itself_may_be_named_and_begin_as_the_portal_writes_it(tmp_path: Path) -> None:
    file = configure(tmp_path, AZURE, "downloads/ws.json", encoding="utf-8-sig")

    assert Workspace.from_config(file) == Workspace("team")
    assert Workspace.from_config(str(tmp_path / "downloads"), _file_name="ws.json") == Workspace("team")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"workspace_name": 3}', '{"workspace_name": "../../b"}'])
def test_a_config_json_that_names_none_is_refused_with_its_place(content: str, tmp_path: Path) -> None:
    file = configure(tmp_path, {})
    file.write_text(content)

    with pytest.raises(UserErrorException, match=r"config\.json"):
        Workspace.from_config(tmp_path)


def test_a_path_without_one_is_refused_and_no_path_is_the_default(tmp_path: Path) -> None:
    with pytest.raises(UserErrorException, match=r"no config\.json"):
        Workspace.from_config(tmp_path / "project")
    with pytest.raises(UserErrorException, match="is not there"):
        Workspace.from_config(tmp_path / "nowhere")

    assert Workspace.from_config() == Workspace()


@pytest.mark.parametrize("named", ["default", "team", "./data/ws", "../beside"])
def test_what_is_written_is_found_again(named: str, tmp_path: Path) -> None:
    workspace = Workspace(named)

    file = workspace.write_config()

    assert file == tmp_path / "project/.azureml/config.json"
    assert Workspace.from_config() == Workspace.from_config(tmp_path / "project") == workspace
    assert Workspace.from_config(file) == workspace


def test_azures_words_survive_being_written(tmp_path: Path) -> None:
    Workspace("s-1", "g-1", "team").write_config(tmp_path, "other.json")

    assert json.loads((tmp_path / ".azureml/other.json").read_text()) == AZURE


def test_a_project_that_is_moved_with_its_workspace_finds_it_again(tmp_path: Path) -> None:
    Workspace.create("team", path="ws").write_config()
    (tmp_path / "project").rename(tmp_path / "moved")

    assert Workspace.from_config(tmp_path / "moved").root == tmp_path / "moved/ws"


def test_config_is_not_written_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserErrorException, match="no folder"):
        Workspace().write_config(tmp_path / "nowhere")


# As a value


def test_workspaces_are_equal_by_folder_and_travel() -> None:
    workspace = Workspace("s-1", "g-1", "team")

    assert len({workspace, Workspace("team"), Workspace("other")}) == 2
    for copied in (pickle.loads(pickle.dumps(workspace)), copy.deepcopy(workspace)):
        assert copied == workspace
        assert copied.resource_group == "g-1"
        assert copied._core is workspace._core
    assert repr(workspace) == "Workspace.create(name='team', subscription_id='s-1', resource_group='g-1')"


def test_whatever_takes_a_workspace_takes_its_name_or_path(tmp_path: Path) -> None:
    made = Workspace.create("team")

    assert Workspace.of(None) == Workspace()
    assert Workspace.of("team") == made
    with pytest.raises(UserErrorException, match="no workspace is named 'taem'"):
        Workspace.of("taem")
    assert Workspace.of(tmp_path) == Workspace(tmp_path)
    with pytest.raises(UserErrorException, match="a workspace is wanted"):
        Workspace.of(3)  # type: ignore[arg-type]


def test_importing_it_pulls_in_nothing_heavy() -> None:
    heavy = {"rich", "yaml", "pathspec", "pluggy", "platformdirs", "envbuild.plugins", "envbuild.pipeline"}
    modules = "envbuild.sdk.workspace, envbuild.sdk.datastore, envbuild.sdk.compute, sys"
    code = f"import {modules}; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


def test_the_default_datastore_and_target_are_this_machines() -> None:
    workspace = Workspace()

    assert workspace.get_default_datastore().name == "workspaceblobstore"
    assert workspace.get_default_compute_target("GPU").name == "local"


def test_another_datastore_can_be_the_default(tmp_path: Path) -> None:
    from envbuild.sdk.datastore import Datastore

    workspace = Workspace()
    Datastore.register_local(workspace, "data", tmp_path)

    workspace.set_default_datastore("data")

    assert Workspace().get_default_datastore().root == tmp_path
    assert workspace.get_details()["defaultDatastore"] == "data"


# Deleting


def test_an_empty_workspace_is_deleted_and_can_be_made_anew() -> None:
    made = Workspace.create("team")
    made.delete(no_wait=True)

    assert Workspace.list() == {}
    assert not made.root.exists()

    made._core.register("web", Definition(python="3.11"))
    assert Workspace.get("team") == made
    assert len(made._core.catalogue.list()) == 1


def test_what_holds_something_is_deleted_only_when_told(home: Path) -> None:
    workspace = Workspace("team")
    workspace._core.register("web", Definition(python="3.11"))
    workspace.get_default_datastore().upload(".")

    with pytest.raises(UserErrorException, match="stored object") as refused:
        workspace.delete()
    assert "delete_dependent_resources=True" in refused.value.message
    assert Workspace.get("team")

    workspace.delete(delete_dependent_resources=True)
    assert os.listdir(home / "workspaces") == []


def test_the_default_workspace_goes_only_when_told_and_leaves_those_with_names(home: Path) -> None:
    Workspace.create("team")
    workspace = Workspace.create("default")

    with pytest.raises(UserErrorException, match="is the default one"):
        workspace.delete()
    workspace.delete(delete_dependent_resources=True)

    assert os.listdir(home) == ["workspaces"]
    assert Workspace.list().keys() == {"team"}


def test_of_a_folder_only_what_a_workspace_has_put_there_is_deleted(tmp_path: Path) -> None:
    from envbuild.sdk.experiment import Experiment

    workspace = Workspace(tmp_path / "project")
    (tmp_path / "project/train.py").write_text("print(1)")
    workspace._core.register("web", Definition(python="3.11"))
    with Experiment(workspace, "train").start_logging(snapshot_directory=None) as run:
        run.log("accuracy", 0.9)
    workspace.get_default_datastore().upload_files([tmp_path / "project/train.py"])

    workspace.delete(delete_dependent_resources=True)

    assert os.listdir(tmp_path / "project") == ["train.py"]


def test_a_registered_folder_of_data_outlives_the_workspace(tmp_path: Path) -> None:
    from envbuild.sdk.datastore import Datastore

    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text("1")
    workspace = Workspace.create("team")
    Datastore.register_local(workspace, "data", data).upload(data, "again")

    workspace.delete(delete_dependent_resources=True)

    assert (data / "again/a.csv").exists()


@pytest.mark.parametrize("folder", ["project", "nowhere"])
def test_a_folder_that_is_no_workspace_is_never_deleted(folder: str, tmp_path: Path) -> None:
    (tmp_path / "project/store").mkdir()

    with guarded(tmp_path), pytest.raises(UserErrorException, match="no workspace in"):
        Workspace(tmp_path / folder).delete(delete_dependent_resources=True)


def test_a_workspace_with_a_run_going_on_is_not_deleted() -> None:
    workspace = Workspace.create("team")
    lease = workspace._core.run_folder("r-1") / "lease"
    lease.parent.mkdir(parents=True)
    with lease.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        with pytest.raises(UserErrorException, match="1 run going on: r-1"):
            workspace.delete(delete_dependent_resources=True)


# Accounts, and what is not there


def test_no_account_is_needed_and_nothing_of_one_is_kept() -> None:
    for account in (
        InteractiveLoginAuthentication(force=True, tenant_id="t"),
        ServicePrincipalAuthentication("t", "p", service_principal_password="secret"),
        AzureCliAuthentication(),
        MsiAuthentication(identity_config={"client_id": "c"}),
    ):
        assert "secret" not in repr(vars(account)) + repr(account)
        assert Workspace.from_config(auth=account) == Workspace()


@pytest.mark.parametrize(
    ("module", "name", "instead"),
    [
        ("webservice", "AciWebservice", "no services yet"),
        ("webservice", "LocalWebservice", "no services yet"),
        ("dataset", "Dataset", "datastore"),
        ("compute", "AksCompute", "local"),
        ("keyvault", "Keyvault", "Environment.secrets"),
        ("widgets", "RunDetails", "wait_for_completion"),
        ("train.hyperdrive", "HyperDriveConfig", "in a loop"),
        ("train.automl", "AutoMLConfig", "submit a script"),
    ],
)
def test_importing_what_is_not_there_says_what_is(module: str, name: str, instead: str) -> None:
    with pytest.raises(ImportError, match=instead):
        exec(f"from envbuild.sdk.{module} import {name}")
    with pytest.raises(ImportError, match="cannot import name"):
        exec(f"from envbuild.sdk.{module} import Nonsense")


def test_the_package_itself_says_what_there_is_instead_too() -> None:
    with pytest.raises(ImportError, match=r"Environment\.secrets"):
        exec("from envbuild.sdk import Keyvault")


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("datasets", "files in a datastore"),
        ("tags", "runs and models have tags"),
        ("get_default_keyvault", r"Environment\.secrets"),
        ("enviroments", "did you mean 'environments'"),
    ],
)
def test_an_attribute_that_is_not_there_says_what_is(name: str, instead: str) -> None:
    with pytest.raises(AttributeError, match=instead):
        getattr(Workspace(), name)


def test_a_config_that_nests_too_deep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)

    with pytest.raises(UserErrorException, match="cannot be read"):
        Workspace.from_config(tmp_path)

"""`Model`: what Azure's does without a cloud, and what it says where Azure's leaves its users guessing."""

from __future__ import annotations

import copy
import importlib
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from envbuild import layout
from envbuild.sdk import model as module
from envbuild.sdk.exceptions import (
    AzureMLException,
    ModelNotFoundException,
    ModelPathNotFoundException,
    UserErrorException,
    WebserviceException,
)
from envbuild.sdk.model import Model
from envbuild.sdk.resource_configuration import ResourceConfiguration
from envbuild.workspace import Workspace


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default workspace of the test, and a folder of its own to be in."""
    monkeypatch.setenv("ENVBUILD_WORKSPACE", str(tmp_path / "workspace"))
    for name in ("AZUREML_MODEL_DIR", "ENVBUILD_RUN_FOLDER", "ENVBUILD_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("model.pkl").write_bytes(b"pickled")
    return tmp_path / "workspace"


def register(name: str = "iris", **said: Any) -> Model:
    return Model.register(None, "model.pkl", name, **said)


# Registering and finding


def test_every_registration_is_a_version_more(root: Path) -> None:
    assert [register().id for _ in range(2)] == ["iris:1", "iris:2"]

    found = Model(root, "iris")

    assert (found.name, found.version, found.id) == ("iris", 2, "iris:2")
    assert found == Model(None, id="iris:2") == Model(str(root), "iris", version=2)
    assert found != Model(None, "iris", version="1")


def test_a_model_says_what_was_said_of_it() -> None:
    made = register(
        tags={"area": "flowers", "n": 3},
        properties={"f1": 0.9},
        description="irises",
        datasets=[("training", "data/iris.csv"), ("training", "more.csv")],
        model_framework=Model.Framework.SCIKITLEARN,
        model_framework_version="1.5",
        sample_input_dataset="in.json",
        sample_output_dataset="out.json",
        resource_configuration=ResourceConfiguration(cpu=1, memory_in_gb=0.5),
    )

    for found in (made, Model(None, "iris"), Model.deserialize(None, made.serialize())):
        assert (found.tags, found.properties) == ({"area": "flowers", "n": "3"}, {"f1": "0.9"})
        assert (found.description, found.run_id, found.run, found.experiment_name) == ("irises", None, None, None)
        assert (found.model_framework, found.model_framework_version) == ("ScikitLearn", "1.5")
        assert found.datasets == {"training": ["data/iris.csv", "more.csv"]}
        assert (found.sample_input_dataset, found.sample_output_dataset) == ("in.json", "out.json")
        assert found.resource_configuration == ResourceConfiguration(cpu=1, memory_in_gb=0.5)
        assert found.created_time.tzinfo
        assert found.url == "envbuild://models/iris/1"
    assert made.serialize()["files"]["model.pkl"]["size"] == 7


def test_the_newest_that_fits_is_found() -> None:
    register(tags={"stage": "prod"})
    register(tags={"stage": "test"}, model_framework="Onnx")
    register("wine", tags={"stage": "prod"}, properties={"kind": "red"})

    assert Model(None, "iris", tags=[["stage", "prod"]]).id == "iris:1"
    assert Model(None, "iris", tags={"stage": "prod"}).id == "iris:1"
    assert Model(None, "iris", tags=["stage"]).id == "iris:2"
    assert Model(None, tags=["stage"]).id == "wine:1"
    assert Model(None, properties=[("kind", "red")]).id == "wine:1"
    assert Model(None, model_framework="Onnx").id == "iris:2"
    with pytest.raises(ModelNotFoundException, match="no model is as was asked for") as caught:
        Model(None, "iris", tags=[["stage", "dev"]])
    assert "iris:2, iris:1" in caught.value.message


def test_models_are_listed_by_what_they_have() -> None:
    for name in ("iris", "iris", "wine"):
        register(name, tags={"of": name}, datasets=[("test", f"{name}.csv")])

    def ids(**asked: Any) -> list[str]:
        return [each.id for each in Model.list(None, **asked)]

    assert ids() == ["iris:2", "iris:1", "wine:1"]
    assert ids(latest=True) == ["iris:2", "wine:1"]
    assert ids(name="iris") == ids(tags=[["of", "iris"]]) == ids(dataset_id="iris.csv") == ["iris:2", "iris:1"]
    assert ids(name="nobody") == ids(run_id="none") == []
    with pytest.raises(UserErrorException, match="a name and a value"):
        ids(tags=[["a", "b", "c"]])


def test_what_is_not_there_is_answered_with_what_is() -> None:
    register()
    with pytest.raises(ModelNotFoundException, match="no model is named 'irsi'; did you mean 'iris'") as caught:
        Model(None, "irsi")
    assert "there are: iris" in caught.value.message
    with pytest.raises(WebserviceException, match="has no version 7") as caught:
        Model(None, "iris", version=7)
    assert "its versions: 1" in caught.value.message
    with pytest.raises(WebserviceException, match="which model"):
        Model(None)
    with pytest.raises(WebserviceException, match="is not wine:1"):
        Model(None, "wine", id="iris:1")


def test_what_azure_refuses_at_registration_is_refused_in_its_words(tmp_path: Path) -> None:
    with pytest.raises(WebserviceException, match="no name for a model"):
        register("a/b")
    with pytest.raises(WebserviceException, match="of the framework nothing is said"):
        register(model_framework_version="1.5")
    with pytest.raises(UserErrorException, match="tags: a mapping is wanted"):
        register(tags=["a"])
    for kind in (ModelPathNotFoundException, FileNotFoundError, AzureMLException):
        with pytest.raises(kind, match="no such file or folder: nothing") as caught:
            Model.register(None, "nothing", "iris")
    assert "model.pkl" in caught.value.message
    Path("link").mkdir()
    Path("link/out").symlink_to(tmp_path)
    with pytest.raises(WebserviceException, match="not followed: link/out"):
        Model.register(None, "link", "iris")


def test_a_path_may_lie_anywhere_unlike_azures(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far/a.bin").write_bytes(b"far")
    (tmp_path / "far/b.bin").write_bytes(b"left out")

    made = Model.register(None, tmp_path / "far", "iris", child_paths=["a.bin"])

    assert os.listdir(made.download("out")) == ["a.bin"]


def test_the_example_of_the_page_works() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs/models.md").read_text(encoding="utf-8")
    example = page.partition("<!-- sdk: in a folder with a model.pkl -->\n```python\n")[2].partition("```")[0]
    found: dict[str, Any] = {}

    exec(example, found)

    assert found["path"] == "somewhere/model.pkl"
    assert [each.tags for each in found["every"]] == [{"stage": "production"}]


# What is done with one


def test_a_model_is_downloaded_and_its_path_given() -> None:
    made = register()

    path = made.download("out")

    assert path == "out/model.pkl"
    assert Path(path).read_bytes() == b"pickled"
    with pytest.raises(WebserviceException, match="is there already"):
        made.download("out")
    Path(path).write_bytes(b"edited")
    assert made.download("out", exist_ok=True) == made.download("out", exists_ok=True) == path
    assert Path(path).read_bytes() == b"pickled"


def test_tags_change_and_properties_stay() -> None:
    made = register(tags={"a": "1"}, properties={"p": "1"})

    made.add_tags({"a": "2", "b": "3"})
    made.add_properties({"p": "1", "q": 2})
    made.remove_tags(["a", "nothing"])
    assert (made.tags, made.properties) == ({"b": "3"}, {"p": "1", "q": "2"})
    with pytest.raises(WebserviceException, match="they stay: p"):
        made.update_tags_properties(add_tags={"x": "y"}, add_properties={"p": "other"})

    assert Model(None, "iris").tags == made.tags == {"b": "3"}
    assert Model(None, "iris").properties == {"p": "1", "q": "2"}


def test_an_update_replaces_what_it_names_and_nothing_else() -> None:
    made = register(tags={"a": "1"}, description="old", datasets=[("training", "x")])

    made.update(tags={"b": "2"}, sample_input_dataset="in.json")
    made.add_dataset_references([("test", "y")])
    made.update(description="new")

    for found in (made, Model(None, "iris")):
        assert (found.tags, found.description, found.sample_input_dataset) == ({"b": "2"}, "new", "in.json")
        assert found.datasets == {"training": ["x"], "test": ["y"]}
        assert found.resource_configuration is None
    assert Path(made.download("out")).read_bytes() == b"pickled"


def test_a_deleted_model_is_gone_and_its_number_with_it() -> None:
    made = register()
    made.delete()

    for after in (
        made.delete,
        made.download,
        lambda: made.add_tags({"a": "b"}),
        lambda: Model(None, "iris", version=1),
    ):
        with pytest.raises(ModelNotFoundException):
            after()
    assert register().version == 2


def test_an_archived_model_is_not_the_latest_and_still_usable() -> None:
    register()
    two = register()
    two.archive()
    assert Model(None, "iris").version == 1
    assert [each.id for each in Model.list(None)] == ["iris:1"]
    assert Path(Model(None, "iris", version=2).download("out")).exists()
    two.restore()
    assert Model(None, "iris").version == 2


def test_a_misspelt_attribute_is_refused() -> None:
    with pytest.raises(AttributeError, match="did you mean 'description'"):
        register().descripton = "x"  # type: ignore[attr-defined]


# From runs


def ran(root: Path, **changes: Any) -> dict[str, Any]:
    """A run that has ended, as far as a model looks at it."""
    folder = root / layout.RUNS / "iris_1_ab"
    (folder / "outputs").mkdir(parents=True, exist_ok=True)
    (folder / "outputs/model.pkl").write_bytes(b"of the run")
    environment = {"name": "iris", "version": "2", "id": "sha256:" + "0" * 64, "definition_digest": "x"}
    return {"id": "iris_1_ab", "experiment": "iris", "environment": environment, **changes}


def test_a_model_of_a_run_knows_the_run(root: Path) -> None:
    made = Model._from_run(
        Workspace(root), ran(root), "iris", "outputs/model.pkl", tags={"a": "b"}, model_framework="Onnx"
    )

    assert (made.run_id, made.experiment_name, made.environment_id) == ("iris_1_ab", "iris", "sha256:" + "0" * 64)
    assert (made.tags, made.model_framework) == ({"a": "b"}, "Onnx")
    assert Path(made.download("out")).read_bytes() == b"of the run"
    assert made.run is None, "this run is not in the catalogue"
    assert [each.id for each in Model.list(None, run_id="iris_1_ab")] == ["iris:1"]


def test_the_name_says_which_file_of_the_run_where_nothing_else_does(root: Path) -> None:
    assert Model._from_run(Workspace(root), ran(root, environment=None), "model.pkl").environment_id is None
    with pytest.raises(ModelPathNotFoundException, match="has no file 'iris'") as caught:
        Model._from_run(Workspace(root), ran(root), "iris")
    assert "outputs/model.pkl" in caught.value.message


# Where a model's files are


def lay(path: str, content: str = "laid out") -> Path:
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)
    return place


def test_what_is_laid_out_for_a_script_is_found_first(monkeypatch: pytest.MonkeyPatch) -> None:
    register()
    for version in (9, 10):
        lay(f"azureml-models/iris/{version}/model.pkl")

    assert Model.get_model_path("iris") == "azureml-models/iris/10/model.pkl"
    assert Model.get_model_path("iris", 9) == "azureml-models/iris/9/model.pkl"
    lay("azureml-models/iris/10/tokens.txt")
    assert Model.get_model_path("iris") == "azureml-models/iris/10"

    lay("served/azureml-models/iris/3/folder/weights")
    monkeypatch.setenv("AZUREML_MODEL_DIR", "served/azureml-models/iris/3")
    assert Model.get_model_path("iris") == "served/azureml-models/iris/3/folder"
    monkeypatch.setenv("AZUREML_MODEL_DIR", "served/azureml-models")
    assert Model.get_model_path("iris", version=3) == "served/azureml-models/iris/3/folder"


def test_a_file_of_that_name_will_do_where_no_version_is_asked_for() -> None:
    lay("iris")
    assert Model.get_model_path("iris") == "iris"
    with pytest.raises(ModelNotFoundException):
        Model.get_model_path("iris", 1)


def test_what_is_only_in_the_workspace_is_laid_out(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register()
    assert Model.get_model_path("iris") == "azureml-models/iris/1/model.pkl"
    assert Path("azureml-models/iris/1/model.pkl").read_bytes() == b"pickled"

    Model.register(tmp_path / "other", "model.pkl", "wine")
    assert Model.get_model_path("wine", _workspace=tmp_path / "other") == "azureml-models/wine/1/model.pkl"
    Model.register(tmp_path / "other", "model.pkl", "rice")
    monkeypatch.setenv("ENVBUILD_RUN_FOLDER", str(tmp_path / "other/runs/some_run"))
    assert Model.get_model_path("rice") == "azureml-models/rice/1/model.pkl"


def test_where_a_model_is_not_is_shown_what_there_is(root: Path) -> None:
    with pytest.raises(ModelNotFoundException, match="the model iris is neither in azureml-models/") as caught:
        Model.get_model_path("iris")
    assert "./\n  model.pkl" in caught.value.message
    assert not root.exists(), "to look is not to record"

    register("wine")
    lay("azureml-models/rice/1/model.pkl")
    with pytest.raises(ModelNotFoundException) as caught:
        Model.get_model_path("iris", 2)
    assert "azureml-models/\n  rice/\n    1/\n      model.pkl\n" in caught.value.message
    assert "wine:1" in caught.value.message


def test_a_large_folder_is_shown_in_part() -> None:
    for number in range(100):
        lay(f"azureml-models/rice/1/{number}")
    with pytest.raises(ModelNotFoundException) as caught:
        Model.get_model_path("iris")
    assert caught.value.message.count("\n") < 50


# What is not there yet


@pytest.mark.parametrize("name", ["InferenceConfig", "ModelPackage"])
def test_importing_what_services_need_says_that_there_are_none(name: str) -> None:
    with pytest.raises(ImportError, match="deploys no services yet"):
        getattr(importlib.import_module("envbuild.sdk.model"), name)
    with pytest.raises(AttributeError):
        module.Nothing  # noqa: B018


@pytest.mark.parametrize("name", ["deploy", "package", "profile"])
def test_calling_what_services_need_says_that_there_are_none(name: str) -> None:
    for of in (Model, register()):
        with pytest.raises(AttributeError, match="deploys no services yet"):
            getattr(of, name)
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            of.nothing  # noqa: B018


def test_importing_it_looks_at_nothing() -> None:
    import subprocess
    import sys

    script = (
        "import sys, envbuild.sdk.model; print(sorted({'yaml', 'rich', 'uv', 'envbuild.plugins'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Python's own


def test_a_model_can_be_copied_and_pickled() -> None:
    made = register(tags={"area": "flowers"})

    for again in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert again == made
        assert again.tags == made.tags


@pytest.mark.parametrize("said", ["SciKitLearn", "scikitlearn", "ScikitLearn"])
def test_a_framework_is_known_in_any_capitals(said: str) -> None:
    assert register(model_framework=said).model_framework == Model.Framework.SCIKITLEARN
    assert Model.list(None, model_framework=said)
    assert register(model_framework="XGBoost").model_framework == "XGBoost"


def test_what_is_said_of_a_model_of_a_run_is_checked_too(root: Path) -> None:
    with pytest.raises(UserErrorException, match="tags: a mapping is wanted"):
        Model._from_run(Workspace(root), {}, "iris", tags=5)  # type: ignore[arg-type]

"""What is of the wrong type is refused at the door of the SDK, in a sentence, and not somewhere behind it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envbuild.sdk import Datastore, Environment, Model, RunConfiguration, ScriptRunConfig, Workspace
from envbuild.sdk.compute import AmlCompute, ComputeTarget
from envbuild.sdk.data_reference import DataReference
from envbuild.sdk.environment import EnvironmentReference
from envbuild.sdk.exceptions import EnvbuildError
from envbuild.sdk.train.dnn import PyTorch
from envbuild.sdk.train.estimator import Estimator

WRONG = [None, 5, -1.5, True, "", "a\0b", "\ud800", b"x", [], [1], {}, {"a": [1]}, {1: 2}, object(), len, float("nan")]

Calls = dict[str, Callable[[Any], object]]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The default workspace, with a model and an environment, and a source folder to be in."""
    monkeypatch.setenv("ENVBUILD_WORKSPACE", str(tmp_path / "workspace"))
    (tmp_path / "source").mkdir()
    monkeypatch.chdir(tmp_path / "source")
    Path("train.py").write_text("print()")
    Environment("tools").register()
    Model.register(None, "train.py", "iris")
    return Workspace()


def of(kind: Callable[..., Any], *given: object, **named: object) -> Callable[[str], Callable[[Any], object]]:
    """For the name of a parameter, the call that has the wrong value there."""
    return lambda parameter: lambda value: kind(*given, **{**named, parameter: value})


def calls(kind: Callable[..., Any], parameters: str, *given: object, **named: object) -> Calls:
    """A call for each parameter; the others are as they are given."""
    make = of(kind, *given, **named)
    return {f"{kind.__qualname__}({each}=)": make(each) for each in parameters.split()}


def environments() -> Calls:
    env = Environment("tools")
    return {
        **calls(Environment, "name"),
        **calls(Environment.get, "workspace name version label", name="tools"),
        **calls(Environment.list, "workspace"),
        **calls(Environment.label, "workspace name version labels", workspace=None, name="tools", version=1, labels=[]),
        **calls(Environment.archive, "workspace name version", workspace=None, name="tools"),
        **calls(Environment.restore, "workspace name version", workspace=None, name="tools"),
        **calls(Environment.delete, "workspace name version", workspace=None, name="tools"),
        **calls(Environment.add_private_pip_wheel, "workspace file_path", workspace=None, file_path="x.whl"),
        **calls(Environment.from_conda_specification, "name file_path", name="a", file_path="a.yml"),
        **calls(Environment.from_pip_requirements, "name file_path pip_version", name="a", file_path="train.py"),
        **calls(Environment.from_existing_conda_environment, "conda_environment_name", name="a"),
        **calls(
            Environment.from_dockerfile,
            "name dockerfile conda_specification pip_requirements",
            name="a",
            dockerfile="FROM x\n",
        ),
        **calls(
            Environment.from_docker_image,
            "name image container_registry conda_specification pip_requirements",
            name="a",
            image="x",
        ),
        **calls(Environment.from_docker_build_context, "docker_build_context", name="a"),
        **calls(Environment.load_from_directory, "path"),
        **calls(EnvironmentReference, "name version", name="a"),
        **calls(env.register, "workspace"),
        **calls(env.clone, "new_name"),
        **calls(env.explain, "workspace"),
        **calls(env.get_image_details, "workspace"),
        **calls(env.save_to_directory, "path"),
        **calls(env.build_local, "useDocker"),
        **{
            f"Environment.{name}": lambda value, name=name: setattr(Environment("x"), name, value)  # type: ignore[misc]
            for name in ("name", "version", "python", "docker", "environment_variables", "secrets", "description")
        },
    }


def workspaces() -> Calls:
    ws = Workspace()
    return {
        **calls(Workspace, "subscription_id resource_group workspace_name"),
        **calls(Workspace.of, "workspace"),
        **calls(Workspace.create, "name path", name="team", exist_ok=True),
        **calls(Workspace.get, "name"),
        **calls(Workspace.from_config, "path _file_name"),
        **calls(ws.write_config, "path file_name"),
        **calls(ws.get_run, "run_id"),
        **calls(ws.set_default_datastore, "name"),
        **calls(ws.get_default_compute_target, "type"),
    }


def places() -> Calls:
    store = Datastore(None)
    data = store.path("x")
    cluster = ComputeTarget.create(None, "cpu", AmlCompute.provisioning_configuration())
    written = data.to_dict()
    return {
        **calls(Datastore, "workspace name", workspace=None),
        **calls(Datastore.get, "workspace datastore_name", workspace=None, datastore_name="x"),
        **calls(Datastore.register_local, "workspace name path", workspace=None, name="x", path="."),
        **calls(store.path, "path data_reference_name"),
        **calls(store.upload, "src_dir target_path", src_dir=".", show_progress=False),
        **calls(store.upload_files, "files relative_root target_path", files=["train.py"], show_progress=False),
        **calls(store.download, "target_path prefix", target_path="out", show_progress=False),
        **calls(
            DataReference,
            "datastore data_reference_name path_on_datastore mode path_on_compute overwrite",
            datastore=store,
        ),
        **calls(data.as_download, "path_on_compute overwrite"),
        **calls(data.path, "path data_reference_name"),
        **calls(DataReference.from_dict, "workspace content", workspace=None, content=written),
        **{
            f"DataReference.from_dict({key})": lambda value, key=key: DataReference.from_dict(  # type: ignore[misc]
                None, {**written, key: value}
            )
            for key in written
        },
        **calls(ComputeTarget, "workspace name", workspace=None, name="local"),
        **calls(ComputeTarget.list, "workspace"),
        **calls(
            ComputeTarget.create,
            "workspace name provisioning_configuration",
            workspace=None,
            name="gpu",
            provisioning_configuration=AmlCompute.provisioning_configuration(),
        ),
        **calls(AmlCompute.provisioning_configuration, "vm_size min_nodes max_nodes"),
        **calls(cluster.update, "min_nodes max_nodes"),  # type: ignore[attr-defined]
    }


def models() -> Calls:
    model = Model(None, "iris")
    said = "tags properties description datasets model_framework model_framework_version resource_configuration"
    looked_for = "name tags properties run_id model_framework"
    return {
        **calls(Model, f"{looked_for} workspace id version", workspace=None, name="iris"),
        **calls(Model.list, f"{looked_for} workspace dataset_id", workspace=None),
        **calls(
            Model.register,
            f"{said} workspace model_path model_name child_paths",
            workspace=None,
            model_path="train.py",
            model_name="iris",
        ),
        **calls(Model.deserialize, "workspace model_payload", workspace=None, model_payload=model.serialize()),
        **calls(Model.get_model_path, "model_name version _workspace", model_name="iris"),
        **calls(model.download, "target_dir"),
        **calls(model.update, "tags description sample_input_dataset resource_configuration"),
        **calls(model.add_tags, "tags"),
        **calls(model.remove_tags, "tags"),
        **calls(model.add_properties, "properties"),
        **calls(model.update_tags_properties, "add_tags remove_tags add_properties"),
        **calls(model.add_dataset_references, "datasets"),
    }


def configurations() -> Calls:
    def resolved(kind: Callable[..., Any], **named: object) -> Callable[..., object]:
        def submit(**given: object) -> object:
            return kind(**{**named, **given}).resolved()

        submit.__qualname__ = kind.__qualname__
        return submit

    return {
        **calls(
            resolved(ScriptRunConfig, source_directory=".", script="train.py"),
            "source_directory script arguments run_config compute_target environment distributed_job_config "
            "resume_from max_run_duration_seconds command docker_runtime_config",
        ),
        **calls(ScriptRunConfig(".", "train.py").resolved, "inputs"),
        **calls(
            resolved(PyTorch, source_directory=".", entry_script="train.py"),
            "source_directory compute_target vm_size entry_script script_params node_count process_count_per_node "
            "distributed_backend distributed_training use_gpu use_docker custom_docker_image image_registry_details "
            "user_managed conda_packages pip_packages conda_dependencies_file pip_requirements_file framework_version "
            "environment_variables environment_definition inputs source_directory_data_store shm_size resume_from "
            "max_run_duration_seconds",
        ),
        **calls(Estimator(".", entry_script="train.py").resolved, "script_params"),
        **calls(RunConfiguration.load, "path name", path="."),
        **calls(RunConfiguration.delete, "path name", path=".", name="x"),
        **calls(RunConfiguration().save, "path name", path=".", name="x"),
    }


@pytest.mark.parametrize("table", [environments, workspaces, places, models, configurations])
def test_what_is_of_the_wrong_type_is_refused_at_the_door(table: Callable[[], Calls]) -> None:
    escaped = []
    for name, call in table().items():
        for value in WRONG:
            try:
                call(value)
            except (EnvbuildError, FileNotFoundError, FileExistsError):
                pass
            except Exception as error:
                at = traceback.extract_tb(error.__traceback__)[-1]
                is_told = isinstance(error, TypeError) and Path(at.filename).parent.name in ("sdk", "tests")
                if not (is_told and str(value)[:5] in str(error)):
                    escaped.append(f"{name}: {value!r}: {error!r} at {Path(at.filename).name}:{at.lineno}")

    assert not escaped, "\n".join(escaped)


@pytest.mark.parametrize("table", [environments, models])
@pytest.mark.parametrize("value", [5, object(), b"x", [1]])
def test_what_names_something_is_a_text(table: Callable[[], Calls], value: object) -> None:
    for name, call in table().items():
        if "name=" in name:
            with pytest.raises((EnvbuildError, TypeError)):
                call(value)

"""The workspace that a script has inside a run, and its models there, in the words of Azure ML's scripts."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bench import Bench
from support.script import Script

from envbuild import layout, models
from envbuild.inside.envbuild import interactive
from envbuild.inside.envbuild.workspace import _home
from envbuild.sdk import Model, Run
from envbuild.sdk.run import _OfflineRun
from envbuild.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace of the test's own."""
    made = Workspace(tmp_path / "workspace")
    yield made
    made.catalogue.close()


@pytest.fixture
def folder(workspace: Workspace) -> Iterator[Path]:
    """The folder of the run that scripts are part of."""
    held = interactive.begin(str(workspace.root), "iris", identity="iris_1_ab")
    yield Path(held.folder)
    held.end("Completed")


@pytest.fixture
def script(tmp_path: Path, interpreter: Path) -> Script:
    """Run a script as a target does, in a working copy of its own."""
    (tmp_path / "work").mkdir()
    return Script(interpreter, tmp_path / "work")


@pytest.fixture
def latest(tmp_path: Path, interpreters: dict[str, Path]) -> Script:
    """As `script`, with one Python."""
    (tmp_path / "work").mkdir()
    return Script(interpreters[max(interpreters, key=lambda version: int(version.split(".")[1]))], tmp_path / "work")


# -- workspaces ----------------------------------------------------------------------------------------------


def test_a_script_has_the_workspace_of_its_run_however_it_asks(script: Script, folder: Path, tmp_path: Path) -> None:
    done = script(
        """
        from envbuild.sdk import Run, Workspace
        ws = Run.get_context().experiment.workspace
        for other in (Workspace(), Workspace.get(), Workspace.get("workspace"), Workspace(workspace_name="workspace"),
                      Workspace("sub", "group", "workspace"), Workspace.get(name="workspace", subscription_id="sub"),
                      Workspace.from_config(), Workspace.from_config("nowhere.json", auth=None)):
            assert other == ws and len({other, ws}) == 1, other
        assert Workspace("sub", "group", "workspace").subscription_id == "sub"
        assert Workspace.get(resource_group="group").resource_group == "group"
        print(ws.name, ws.root == ws.path, ws.path, ws.location, [ws.subscription_id, ws.resource_group])
        """,
        folder,
    )
    assert done.stdout == f"workspace True {tmp_path / 'workspace'} local ['', '']\n"


def test_a_script_that_asks_for_another_workspace_is_warned(latest: Script, folder: Path) -> None:
    for asked in ("Workspace('other')", "Workspace.get('other')", "Workspace('sub', 'group', 'other')"):
        said = latest(f"from envbuild.sdk import Workspace\n{asked}", folder, fails=True).stderr
        assert f"line 2, in <module>\n    {asked}" in said
        assert "UserWarning: a script has the workspace of its run, 'workspace', and no other: not 'other'" in said


def test_a_workspace_is_called_as_it_is_outside(latest: Script, folder: Path, workspace: Workspace) -> None:
    source = "from envbuild.sdk import Workspace\nprint(Workspace().name)"
    assert latest(source, folder, ENVBUILD_WORKSPACE=str(workspace.root)).stdout == "default\n"
    assert latest(source, folder, ENVBUILD_WORKSPACE="team").stdout == "workspace\n"
    (workspace.root / "workspace.json").write_text('{"name": "mine"}')
    assert latest(source, folder).stdout == "mine\n"


@pytest.mark.parametrize("said", [None, "./here", "team"])
def test_the_default_workspace_is_where_envbuild_has_it(said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if said is None:
        monkeypatch.delenv("ENVBUILD_WORKSPACE", raising=False)
    else:
        monkeypatch.setenv("ENVBUILD_WORKSPACE", said)
    assert _home() == layout.home()


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ("Workspace().experiments", "from_config, get, location, name, path, "),
        ("Workspace.create('x')", "from_config, get, location, name, path, "),
        ("Model.deploy", "Framework, created_time, description, download, get_model_path, id, "),
        ("Run.get_context().experiment.submit", "name, workspace"),
    ],
)
def test_what_a_class_lacks_inside_is_told(latest: Script, folder: Path, asked: str, there: str) -> None:
    said = latest(f"from envbuild.sdk import Model, Run, Workspace\n{asked}", folder, fails=True).stderr
    assert f"inside a run: there is {there}" in said
    assert said.rstrip().endswith("; everything else is there where the environment has envbuild installed")


def test_a_script_of_its_own_has_no_workspace(script: Script) -> None:
    script(
        """
        from envbuild.sdk import Model, Run, RunEnvironmentException, Workspace
        for asked in (Workspace, Workspace.from_config, Workspace.get, lambda: Run.get_context().experiment.workspace,
                      lambda: Model(None, "iris"), lambda: Model.register(None, "train.py", "iris")):
            try: asked()
            except RunEnvironmentException as error:
                assert "not part of a run" in error.message and "has envbuild installed" in error.message, error
            else: assert False
        """
    )


def test_a_workspace_that_is_out_of_reach_is_told(latest: Script, tmp_path: Path) -> None:
    for asked in ("Workspace()", "Run.get_context().experiment.workspace"):
        said = latest(f"from envbuild.sdk import Run, Workspace\n{asked}", tmp_path / "alone", fails=True).stderr
        assert "is out of reach" in said


# -- models --------------------------------------------------------------------------------------------------


def test_models_are_registered_and_downloaded_as_in_azure(script: Script, folder: Path, workspace: Workspace) -> None:
    (script.work / "net").mkdir()
    (script.work / "net" / "a").write_text("a")
    (script.work / "iris.pkl").write_text("1")
    done = script(
        """
        import io, os, pathlib
        from envbuild.sdk import Run, UserErrorException, Workspace
        from envbuild.sdk.model import Model
        from envbuild.sdk.exceptions import ModelPathNotFoundException, RunEnvironmentException, WebserviceException
        run, ws = Run.get_context(), Workspace.from_config()
        plain = Model.register(ws, "iris.pkl", "iris", tags={"kind": "small"}, properties={"p": 1}, description="-d",
                               datasets=[], model_framework=Model.Framework.SCIKITLEARN, model_framework_version="1")
        assert (plain.id, plain.tags, plain.properties, plain.run_id) == ("iris:1", {"kind": "small"}, {"p": "1"}, None)
        assert (plain.model_framework, plain.model_framework_version, plain.description) == ("ScikitLearn", "1", "-d")
        assert plain.workspace == ws
        run.upload_file("iris.pkl", io.StringIO("2"))
        outputs = pathlib.Path(os.environ["ENVBUILD_RUN_FOLDER"], "outputs")
        of_run = Model.register(workspace=ws, model_path=outputs / "iris.pkl", model_name="iris")
        assert (of_run.version, of_run.run_id) == (2, run.id)
        def read(*path): return pathlib.Path(*path).read_text()
        assert Model.register(ws, "net/", "net").download("got") == os.path.abspath("got/net")
        assert read("got/net/a") == "a"
        assert Model.register(ws, outputs, "all").download("got") == os.path.abspath("got/outputs")
        assert read(plain.download("new")) == "1" and read(of_run.download("new", exist_ok=True)) == "2"
        for wrong, kind, said in [
            (of_run.download, WebserviceException, "is there already"),
            (lambda: Model.register(ws, "away", "iris"), ModelPathNotFoundException, "no such file or folder: 'away'"),
            (lambda: Model.register(ws, "away", "iris"), FileNotFoundError, "away"),
            (lambda: Model.register(ws, "net", "no name"), WebserviceException, "no name"),
            (lambda: Model.register(ws, "net", "n", child_paths=["a"]), UserErrorException, "child_paths"),
            (lambda: Model.register("here", "net", "net"), UserErrorException, "a workspace is wanted"),
        ]:
            try: wrong()
            except kind as error: assert said in error.message, error
            else: assert False, said
        del os.environ["ENVBUILD_PYTHON"]
        try: Model.register(ws, "net", "net")
        except RunEnvironmentException as error: print(error)
        """,
        folder,
        ENVBUILD_PYTHON=sys.executable,
    )
    assert done.stdout == "envbuild cannot be called from here (ENVBUILD_PYTHON is not set)\n"
    registered = {str(each): each.run for each in workspace.catalogue.models()}
    assert registered == {"iris:1": None, "iris:2": "iris_1_ab", "net:1": None, "all:1": "iris_1_ab"}


def test_models_are_found_by_what_is_said_of_them(script: Script, folder: Path, workspace: Workspace) -> None:
    small = models.About(tags={"kind": "small"}, properties={"p": "1"}, framework="ScikitLearn")
    (folder / "outputs" / "a").write_text("a")
    models.register(workspace, "iris", folder / "outputs" / "a", about=small)
    models.register(workspace, "iris", folder / "outputs" / "a")
    models.register_from_run(workspace, "net", folder.name, "a")
    script(
        """
        from envbuild.sdk import Model, Workspace
        from envbuild.sdk.exceptions import ModelNotFoundException, WebserviceException
        ws = Workspace()
        for asked in (dict(), dict(version=2), dict(id="iris:2"), dict(tags=[]), dict(expand=False)):
            assert Model(ws, "iris", **asked).id == "iris:2", asked
        for asked in (dict(version="1"), dict(tags=["kind"]), dict(tags=[["kind", "small"]]), dict(properties={"p": 1}),
                      dict(id="iris:1"), dict(model_framework="ScikitLearn")):
            assert Model(ws, "iris", **asked).id == "iris:1", asked
        assert Model(ws, id="iris:1").id == "iris:1" and Model(None, "iris").workspace == ws
        assert Model(ws, tags=["kind"]).id == "iris:1" and Model(ws, run_id="iris_1_ab").name == "net"
        assert Model(ws, "iris").created_time > Model(ws, "iris", version=1).created_time
        for asked, kind, said in [
            (dict(name="none"), ModelNotFoundException, "none"),
            (dict(name="iris", version=9), ModelNotFoundException, "9"),
            (dict(name="iris", tags=["never"]), ModelNotFoundException, "there are: iris:2, iris:1"),
            (dict(), WebserviceException, "which model?"),
            (dict(name="net", id="iris:1"), WebserviceException, "the model iris:1 is not net:1"),
        ]:
            try: Model(ws, **asked)
            except kind as error: assert said in error.message, error
            else: assert False, said
        """,
        folder,
        ENVBUILD_PYTHON=sys.executable,
    )


def test_only_what_lies_in_the_outputs_comes_from_the_run(latest: Script, folder: Path, workspace: Workspace) -> None:
    outputs = folder / "outputs"
    (outputs / "real").write_text("1")
    (outputs / "link").symlink_to("real")
    (outputs / "out").symlink_to(latest.work / "train.py")
    (latest.work / "outputs").symlink_to(outputs)
    latest(
        """
        from envbuild.sdk import Model
        for name in ("real", "link", "out"): Model.register(None, "outputs/" + name, name)
        """,
        folder,
        ENVBUILD_PYTHON=sys.executable,
    )
    found = {each.name: (each.run, list(each.files)) for each in workspace.catalogue.models()}
    assert found == {"real": ("iris_1_ab", ["real"]), "link": ("iris_1_ab", ["link"]), "out": (None, ["out"])}


def test_a_model_of_a_script_of_its_own_can_be_downloaded(script: Script) -> None:
    script(
        """
        import io, os
        from envbuild.sdk import Run, RunEnvironmentException
        from envbuild.sdk.exceptions import WebserviceException
        run = Run.get_context()
        run.upload_file("net/a", io.StringIO("a")); run.upload_file("b", io.StringIO("b"))
        net, b = run.register_model("net", tags={"a": 1}), run.register_model("b")
        os.mkdir("elsewhere"); os.chdir("elsewhere")
        assert net.tags == {"a": "1"} and net.created_time.tzinfo and net.run_id is None and net.description == ""
        assert net.download() == os.path.abspath("net") and os.listdir("net") == ["a"]
        assert net.download(exist_ok=True) == os.path.abspath("net")
        with open(b.download("new/folder")) as stream: assert stream.read() == "b"
        for wrong, kind in ((net.download, WebserviceException), (lambda: net.workspace, RunEnvironmentException)):
            try: wrong()
            except kind: pass
            else: assert False
        """
    )


# -- in a run that was submitted -----------------------------------------------------------------------------


def test_an_evaluation_step_of_azure_runs_with_its_imports_changed(bench: Bench) -> None:
    source = """
        import os, sys
        from envbuild.sdk import Run, Workspace
        from envbuild.sdk.model import Model
        from envbuild.sdk.exceptions import WebserviceException
        from envbuild.sdk.run import _OfflineRun

        run = Run.get_context()
        ws = Workspace.from_config() if isinstance(run, _OfflineRun) else run.experiment.workspace
        accuracy = float(sys.argv[1])
        try:
            best = float(Model(ws, name="flowers").tags["accuracy"])
        except WebserviceException:
            best = 0.0
        run.log("best", best)
        if accuracy > best:
            os.makedirs("outputs", exist_ok=True)
            with open("outputs/model.txt", "w") as stream:
                stream.write(str(accuracy))
            Model.register(workspace=ws, model_path="outputs/model.txt", model_name="flowers",
                           tags={"accuracy": accuracy, "run_id": run.id})
        with open(Model(ws, "flowers").download(target_dir="got")) as stream:
            print(ws.name, stream.read())
    """
    first, second = (bench.run(source, accuracy) for accuracy in ("0.9", "0.8"))

    model = Model(bench.workspace, "flowers")
    assert (model.version, model.run_id, model.tags["run_id"]) == (1, first.id, first.id)
    assert (first.get_metrics("best"), second.get_metrics("best")) == ({"best": 0.0}, {"best": 0.9})
    assert (second.folder / "logs" / "output.log").read_text() == "default 0.9\n"


def test_an_offline_run_is_known_by_its_type_outside_too(bench: Bench) -> None:
    run = Run.get_context()
    assert type(run) is type(run.child_run()) is _OfflineRun
    assert isinstance(run, Run)
    assert type(pickle.loads(pickle.dumps(run))) is _OfflineRun
    with bench.experiment.start_logging(snapshot_directory=None) as online:
        assert not isinstance(online, _OfflineRun)

"""Child runs, models and files inside a run, and what the workspace finds of runs that their own process ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.script import Script

from envbuild import supervise
from envbuild.inside.envbuild import interactive, record
from envbuild.inside.envbuild.run import Run
from envbuild.layout import inside_path
from envbuild.metrics import read_metrics, read_notes
from envbuild.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace of the test's own."""
    made = Workspace(tmp_path / "workspace")
    yield made
    made.catalogue.close()


@pytest.fixture
def folder(workspace: Workspace) -> Path:
    """The folder of the run that scripts are part of."""
    made = workspace.run_folder("iris_1_ab")
    made.mkdir(parents=True)
    environment = {"name": "flowers", "version": "3", "id": "sha256:" + "0" * 64, "definition_digest": "sha256:1"}
    known = {
        "id": "iris_1_ab",
        "experiment": "iris",
        "status": "Running",
        "environment": environment,
        "tags": {"a": "b"},
    }
    (made / "run.json").write_text(json.dumps(known))
    return made


@pytest.fixture
def script(tmp_path: Path, interpreter: Path) -> Script:
    """Run a script as a target does, in a working copy of its own."""
    work = tmp_path / "work"
    work.mkdir()
    return Script(interpreter, work)


@pytest.fixture
def latest(tmp_path: Path, interpreters: dict[str, Path]) -> Script:
    """As `script`, with one Python."""
    work = tmp_path / "work"
    work.mkdir()
    return Script(interpreters.get("3.13") or Path(sys.executable), work)


FAMILY = """
    from envbuild import Run
    run = Run.get_context()
    assert run.parent is None
    with run.child_run("first") as first:
        assert first.get_status() == "Running" and first.parent.id == run.id and first.type == "interactive"
        first.log("loss", 1); first.log("loss", 2)
        first.tag("kind", "cnn"); first.add_properties({"p": 1}); first.description = "of depth 3"
        first.upload_file("model.pkl", "train.py")
        with first.child_run(run_id="grandchild") as grandchild:
            grandchild.log("depth", 2)
    try:
        with run.child_run("second"): raise KeyError("x")
    except KeyError: pass
    some = run.create_children(tag_key="lr", tag_values=[0.1, 0.2])
    assert [each.get_status() for each in some] == ["NotStarted"] * 2
    some[0].start(); some[0].cancel(); some[0].complete()
    some[1].display_name = "last"
    assert [each.id for each in run.get_children()][2:] == [each.id for each in some]
    for each in run.get_children(recursive=True):
        print(each.display_name, each.get_status(), sorted(each.tags.items()), each.properties, each.description,
              each.get_file_names(), each.get_detailed_status()["details"])
    print([sorted(each.get_tags()) for each in run.get_children(tags="lr")],
          [each.name for each in run.get_children(tags={"lr": 0.2}, type="interactive")],
          [each.name for each in run.get_children(properties={"p": 1}, status="Completed")],
          [each.name for each in run.get_children(type="script")])
    every = run.get_metrics(recursive=True)
    assert list(every)[0] == run.id and every["grandchild"] == {"depth": 2}, every
    print(sorted(every[first.id].items()), run.get_metrics("depth", recursive=True)["grandchild"])
    details = first.get_details()
    assert (details["runId"], details["status"]) == (first.id, "Completed") and details["endTimeUtc"].endswith("Z")
    assert "error" not in details and "endTimeUtc" not in run.get_details()
    for wrong in ({}, {"count": 0}, {"count": 101}, {"count": 1, "tag_key": "a", "tag_values": [1]}, {"tag_key": "a"}):
        try: run.create_children(**wrong)
        except ValueError as error: assert "children" in str(error)
        else: assert False, wrong
    for wrong in ("../x", "grandchild", "a b", "x" * 201):
        try: run.child_run(run_id=wrong)
        except ValueError: pass
        else: assert False, wrong
"""

FAMILY_SAYS = [
    "first Completed [('kind', 'cnn')] {'p': '1'} of depth 3 ['outputs/model.pkl'] []",
    "grandchild Completed [] {} None [] []",
    "second Failed [] {} None [] [\"KeyError: 'x'\"]",
    "<id> Canceled [('lr', '0.1')] {} None [] []",
    "last NotStarted [('lr', '0.2')] {} None [] []",
    "[['lr'], ['lr']] ['last'] ['first'] []",
    "[('loss', [1, 2])] {'depth': 2}",
]


@pytest.mark.parametrize("online", [True, False])
def test_children_are_runs_of_their_own(script: Script, folder: Path, workspace: Workspace, online: bool) -> None:
    said = script(FAMILY, folder if online else None).stdout.splitlines()[-len(FAMILY_SAYS) :]
    assert [said[at] for at in (0, 1, 2, 4, 5, 6)] == [FAMILY_SAYS[at] for at in (0, 1, 2, 4, 5, 6)]
    assert said[3].endswith(FAMILY_SAYS[3].replace("<id>", ""))
    if not online:
        assert [path.name for path in script.work.glob("envbuild-runs/*/outputs/*")] == ["model.pkl"]
        assert not (script.work / "outputs").exists()
        return
    first, second, third, last = read_notes(folder).children
    found = workspace.run(first)
    assert (found["status"], found["experiment"], found["environment"]["name"]) == ("Completed", "iris", "flowers")
    assert list(found["outputs"]) == ["model.pkl"]
    assert {each: workspace.run(each)["status"] for each in (second, third, last, "grandchild")} == {
        second: "Failed",
        third: "Canceled",
        last: "Completed",  # something was said of it
        "grandchild": "Completed",
    }
    assert workspace.run(second)["reason"] == "KeyError: 'x'"


def test_the_folder_of_a_child_is_that_of_any_run(latest: Script, folder: Path, workspace: Workspace) -> None:
    latest("from envbuild import Run\nRun.get_context().child_run('one', run_id='one')", folder)
    made = workspace.run_folder("one")
    assert {path.name for path in made.iterdir()} == {"run.json", "end.json", "lease", "logs", "outputs"}
    submitted = supervise.request(
        supervise.Folder(str(workspace.root), "other"),
        experiment="x",
        target="local",
        command=[],
        head=0,
        environment={},
        snapshot=None,
        source="",
        directory="",
        variables=[],
        secrets=[],
        git={},
        seconds={},
    )
    known = json.loads((made / "run.json").read_text())
    assert known.keys() >= submitted.keys()
    assert (known["parent"], known["name"], known["type"]) == ("iris_1_ab", "one", "interactive")
    ended = json.loads((made / "end.json").read_text())
    assert ended.keys() == supervise.end_of("Completed", None, "", {}).keys()
    assert ended["outputs"] is None


@pytest.mark.parametrize(
    ("last", "status", "reason"),
    [
        ("pass", "Completed", ""),
        ("sys.exit(0)", "Completed", ""),
        ("1 / 0", "Failed", "ZeroDivisionError: division by zero"),
        ("sys.excepthook = lambda *given: None; {}['x']", "Failed", "KeyError: 'x'"),
        ("raise KeyboardInterrupt", "Canceled", "stopped by Ctrl-C"),
        ("os.kill(os.getpid(), 9)", "Failed", "the process that watched it was killed, or the machine stopped"),
        ("run.fail('no data'); 1 / 0", "Failed", "no data"),
        ("threading.Thread(target=lambda: None).start()", "Completed", ""),
    ],
)
def test_a_child_that_nobody_ended_ends_with_the_interpreter(
    script: Script, folder: Path, workspace: Workspace, last: str, status: str, reason: str
) -> None:
    source = f"""
        import os, sys, threading
        from envbuild import Run
        run = Run.get_context().child_run(run_id="one")
        {last}
    """
    (script.work / "train.py").write_text(textwrap.dedent(source))
    known = {"PATH": os.environ["PATH"], "PYTHONPATH": inside_path(), "ENVBUILD_RUN_FOLDER": str(folder)}
    known["ENVBUILD_RUN_ID"], known["ENVBUILD_EXPERIMENT"] = folder.name, "iris"
    subprocess.run([script.interpreter, "train.py"], cwd=script.work, env=known, capture_output=True, check=False)
    found = workspace.run("one")
    assert (found["status"], found["reason"]) == (status, reason)
    assert Run("one", "iris", str(workspace.run_folder("one")), None).get_status() == status


def test_a_child_that_was_made_and_never_begun_is_canceled(latest: Script, folder: Path, workspace: Workspace) -> None:
    latest("from envbuild import Run\nRun.get_context().create_children(2)[0].start()", folder)
    assert [(workspace.run(each)["status"], workspace.run(each)["reason"]) for each in read_notes(folder).children] == [
        ("Completed", ""),
        ("Canceled", "it was never started"),
    ]


def test_a_fork_ends_no_run_of_its_parent(script: Script, folder: Path, workspace: Workspace) -> None:
    done = script(
        """
        import os, sys, time
        from envbuild import Run
        run = Run.get_context()
        before = os.getpid()
        try:
            with run.child_run(run_id="one") as child:
                fork = os.fork()
                if not fork:
                    child.log("from the fork", 1)
                    sys.exit()
                assert os.waitpid(fork, 0)[1] == 0
                assert child.get_status() == "Running"
                lingering = os.fork()
                if not lingering:
                    os.close(1); os.close(2)
                    time.sleep(30)
                    os._exit(0)
        except SystemExit:
            assert os.getpid() != before
            raise
        # What a fork was asked to end is ended.
        child = run.child_run(run_id="two")
        fork = os.fork()
        if not fork:
            child.complete()
            os._exit(0)
        assert os.waitpid(fork, 0)[1] == 0
        assert child.get_status() == "Completed"
        child.fail("too late")
        open("lingering", "w").write(str(lingering))
        """,
        folder,
    )
    assert done.stdout == ""
    try:
        assert workspace.run("one")["status"] == workspace.run("two")["status"] == "Completed"
        # Neither does a fork that goes on keep it.
        assert not workspace.is_supervised("one")
        assert not workspace.is_supervised("two")
    finally:
        os.kill(int((script.work / "lingering").read_text()), 9)
    assert read_metrics(workspace.run_folder("one")).values == {"from the fork": 1}


def test_a_worker_of_multiprocessing_has_children_of_its_own(
    script: Script, folder: Path, workspace: Workspace
) -> None:
    script(
        """
        import multiprocessing, sys
        from envbuild import Run

        def work(number):
            child = Run.get_context().child_run(run_id="worker-%d" % number)
            child.log("number", number)
            if number % 2: child.complete()

        if __name__ == "__main__":
            Run.get_context().child_run(run_id="own")
            workers = [multiprocessing.get_context("fork").Process(target=work, args=(each,)) for each in range(4)]
            [each.start() for each in workers]
            [each.join() for each in workers]
            assert len(list(Run.get_context().get_children())) == 5
        """,
        folder,
    )
    found = [workspace.run(each) for each in ("own", "worker-1", "worker-3")]
    assert [each["status"] for each in found] == ["Completed"] * 3
    # Nobody can tell whether the worker itself has failed.
    assert {workspace.run(each)["status"] for each in ("worker-0", "worker-2")} == {"Failed"}


def test_many_children_need_no_more_than_one(script: Script, folder: Path) -> None:
    script(
        """
        import resource, threading
        from envbuild import Run
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        run = Run.get_context()
        def work():
            for number in range(60):
                with run.child_run() as child:
                    child.log("number", number); child.tag("a", "b")
        threads = [threading.Thread(target=work) for _ in range(5)]
        [each.start() for each in threads]
        [each.join() for each in threads]
        every = list(run.get_children(tags="a", status="Completed"))
        assert len(every) == 300 and sum(each.get_metrics()["number"] for each in every) == 5 * sum(range(60))
        """,
        folder,
    )


def test_other_processes_find_the_family(script: Script, folder: Path) -> None:
    script(
        """
        import os, subprocess, sys
        from envbuild import Run
        if len(sys.argv) == 2:
            run = Run.get_context()
            child, = run.get_children(status="Running")
            assert child.parent.id == run.id and child.get_environment().name == "flowers"
            child.log("elsewhere", 1); child.complete()
            sys.exit()
        child = Run.get_context().child_run()
        assert subprocess.call([sys.executable, __file__, "other"]) == 0
        assert child.get_metrics() == {"elsewhere": 1} and child.get_status() == "Completed"
        """,
        folder,
    )


def test_what_notes_say_of_children_leads_nowhere_else(latest: Script, folder: Path) -> None:
    notes = [{"name": name, "value": None, "kind": "child"} for name in ("../../x", "/etc", "iris_1_ab", "gone", "")]
    (folder / "notes.jsonl").write_text("".join(json.dumps(each) + "\n" for each in notes))
    done = latest(
        """
        from envbuild import Run
        print([each.id for each in Run.get_context().get_children(recursive=True)])
        """,
        folder,
    )
    assert done.stdout == "[]\n"


def test_a_run_outside_of_any_workspace_has_no_children(latest: Script, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    said = latest("from envbuild import Run\nRun.get_context().child_run()", tmp_path / "alone", fails=True).stderr
    assert "RunEnvironmentException: the workspace of run iris_1_ab is out of reach" in said


def test_a_child_cannot_be_submitted_from_inside(latest: Script, folder: Path) -> None:
    said = latest("from envbuild import Run\nRun.get_context().submit_child(None)", folder, fails=True).stderr
    assert "RunEnvironmentException: a script in a run cannot submit another" in said


# -- files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("online", [True, False])
def test_files_are_copied_by_what_their_names_begin_with(script: Script, folder: Path, online: bool) -> None:
    root = folder if online else script.work
    (root / "logs").mkdir()
    (root / "logs" / "output.log").write_text("said")
    script(
        """
        import io, os
        from envbuild import Run
        run = Run.get_context()
        for name in ("a/1", "a/2", "b", "logs/mine"): run.upload_file(name, io.StringIO(name))
        run.download_files(output_directory="all")
        run.download_files("outputs/a", "cut", append_prefix=False)
        run.download_files("outputs/a/", output_paths=["x/one", "two"], output_directory="named")
        run.download_files("outputs/b", "one", append_prefix=False)
        run.download_files("never", "nothing")
        run.download_file("logs/output.log", "said.txt"); run.download_file("outputs/logs/mine", "mine.txt")
        def under(top):
            every = (os.path.join(at, name) for at, _, got in os.walk(top) for name in got)
            return sorted(os.path.relpath(each, top) for each in every)
        assert under("all") == ["logs/output.log", "outputs/a/1", "outputs/a/2", "outputs/b", "outputs/logs/mine"]
        assert under("cut") == ["1", "2"] and under("named") == ["two", "x/one"] and under("one") == ["b"]
        assert open("said.txt").read() == "said" and open("mine.txt").read() == "logs/mine"
        for wrong, said in [
            (lambda: run.download_files("outputs/a", output_paths=["x"]), "1 paths for 2 files"),
            (lambda: run.download_file("outputs/a"), "is a folder"),
            (lambda: run.download_file("../train.py"), "no file '../train.py'"),
            (lambda: run.download_file("x"), "it has: outputs/a/1, outputs/a/2, outputs/b"),
        ]:
            try: wrong()
            except ValueError as error: assert said in str(error), error
            else: assert False
        """,
        folder if online else None,
    )


def test_links_that_lead_out_of_the_outputs_are_none_of_its_files(latest: Script, folder: Path, tmp_path: Path) -> None:
    (folder / "outputs").mkdir()
    (tmp_path / "secret").write_text("secret")
    (folder / "outputs" / "away").symlink_to(tmp_path / "secret")
    (folder / "outputs" / "b").write_text("b")
    (folder / "outputs" / "a").symlink_to("b")
    source = """
        from envbuild import Run
        run = Run.get_context()
        print(run.get_file_names())
        run.download_files(output_directory="got")
        run.download_file("outputs/away")
    """
    done = latest(source, folder, fails=True)
    assert done.stdout == "['outputs/a', 'outputs/b']\n"
    assert "the run has no file 'outputs/away'" in done.stderr


# -- models --------------------------------------------------------------------------------------------------


def test_without_a_workspace_a_model_is_kept_where_it_is_looked_for(script: Script) -> None:
    script(
        """
        import io, os
        from envbuild.sdk import Run
        from envbuild.sdk.model import Model
        from envbuild.sdk.exceptions import ModelNotFoundException, ModelPathNotFoundException, UserErrorException
        run = Run.get_context()
        run.upload_file("model.pkl", io.StringIO("1")); run.upload_file("net/a", io.StringIO("a"))
        first = run.register_model("iris", "outputs/model.pkl", tags={"a": 1}, description="flowers")
        assert (first.name, first.version, first.id, first.description) == ("iris", 1, "iris:1", "flowers")
        run.upload_file("model.pkl", io.StringIO("2"))
        assert run.register_model("iris", "model.pkl").version == 2
        assert run.register_model("net").id == "net:1" and run.register_model("all", "outputs").version == 1
        def read(*asked): return open(Model.get_model_path(*asked)).read()
        assert (read("iris"), read("iris", 1), read("iris", "2")) == ("2", "1", "2")
        assert os.listdir(Model.get_model_path("net")) == ["a"]
        open("plain", "w").close()
        assert Model.get_model_path("plain") == os.path.abspath("plain")
        for wrong, kind, said in [
            (lambda: run.register_model("x", "outputs/x.pkl"), ModelPathNotFoundException, "it has: outputs/model.pkl"),
            (lambda: run.register_model("../x", "outputs/model.pkl"), UserErrorException, "no name for a model"),
            (lambda: Model.get_model_path("iris", 3), ModelNotFoundException, "azureml-models/iris/1/model.pkl"),
            (lambda: Model.get_model_path("none"), ModelNotFoundException, "no model 'none'"),
        ]:
            try: wrong()
            except kind as error: assert said in error.message, error
            else: assert False
        """
    )


def test_a_service_finds_its_models_as_azure_lays_them_out(latest: Script) -> None:
    for path in ("models/iris/3/model.pkl", "models/net/1/net/a"):
        (latest.work / path).parent.mkdir(parents=True)
        (latest.work / path).write_text(path)
    source = """
        from envbuild.sdk.model import Model
        for asked in (("iris",), ("iris", 3), ("net",)):
            try: print(Model.get_model_path(*asked))
            except Exception as error: print(type(error).__name__)
    """
    top = latest.work / "models"
    iris, net = f"{top / 'iris/3/model.pkl'}", f"{top / 'net/1/net'}"
    assert latest(source, AZUREML_MODEL_DIR="models").stdout.split() == [iris, iris, net]
    one = latest(source, AZUREML_MODEL_DIR=str(top / "iris" / "3"))
    assert one.stdout.split() == [iris, iris, "ModelNotFoundException"]


def test_a_model_is_registered_by_envbuild_outside_of_the_environment(script: Script, workspace: Workspace) -> None:
    held = interactive.begin(str(workspace.root), "iris", identity="iris_1_ab")
    source = """
        import io, os
        from envbuild import Run, UserErrorException
        run = Run.get_context()
        os.environ.update(PYTHONHOME="/nowhere", VIRTUAL_ENV="/nowhere", ENVBUILD_WORKSPACE="/nowhere")
        run.upload_file("model.pkl", io.StringIO("1"))
        model = run.register_model("iris", "model.pkl", tags={"a": "-b c"}, properties={"p": 1}, model_framework="X",
                                   model_framework_version="1", description="--d")
        print(model.name, model.version, model.id, model.tags, model.run_id)
        for name in ("no name", "--help"):
            try: run.register_model(name, "model.pkl")
            except UserErrorException as error: assert name in error.message and "no name for" in error.message, error
            else: assert False
    """
    done = script(source, Path(held.folder), ENVBUILD_PYTHON=sys.executable)
    assert done.stdout == "iris 1 iris:1 {'a': '-b c'} iris_1_ab\n"
    found = workspace.catalogue.model("iris", "1")
    assert (found.run, found.description, found.framework, found.framework_version) == ("iris_1_ab", "--d", "X", "1")
    assert (dict(found.tags), dict(found.properties)) == ({"a": "-b c"}, {"p": "1"})
    assert "ENVBUILD_PYTHON is not set" in script(source, Path(held.folder), fails=True).stderr
    held.end("Completed")


# -- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Datastore", "Experiment", "Dataset", "Environment"])
def test_what_there_is_not_inside_a_run_is_told(latest: Script, name: str) -> None:
    said = latest(f"from envbuild.sdk import {name}", fails=True).stderr
    assert f"ImportError: there is no {name} inside a run: Model, Run" in said


def test_the_names_that_scripts_import_are_one_another(script: Script) -> None:
    script(
        """
        import envbuild, envbuild.sdk, envbuild.sdk.run, envbuild.sdk.model, envbuild.sdk.exceptions
        import envbuild.sdk.workspace
        assert envbuild.Run is envbuild.sdk.Run is envbuild.sdk.run.Run
        assert envbuild.Model is envbuild.sdk.Model is envbuild.sdk.model.Model
        assert envbuild.sdk.Workspace is envbuild.sdk.workspace.Workspace
        assert envbuild.UserErrorException is envbuild.sdk.exceptions.UserErrorException
        assert not hasattr(envbuild.sdk, "never")
        """
    )


# -- in envbuild's own Python --------------------------------------------------------------------------------


def test_an_interactive_run_is_held_and_ends_once(workspace: Workspace) -> None:
    held = interactive.begin(str(workspace.root), "notebook", name="try", tags={"a": 1}, properties={"p": 2})
    assert workspace.is_supervised(held.id)
    assert workspace.supervisor(held.id) == os.getpid()
    found = workspace.run(held.id)
    assert (found["status"], found["name"], found["environment"]["name"]) == ("Running", "try", None)
    assert not held.ended
    firsts: list[bool] = []
    threads = [threading.Thread(target=lambda: firsts.append(held.end("Completed", "done"))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(firsts) == [False] * 7 + [True]
    assert held.ended
    assert held.end("Failed") is False
    assert not workspace.is_supervised(held.id)
    found = workspace.run(held.id)
    assert (found["status"], found["reason"], found["tags"]) == ("Completed", "done", {"a": "1"})
    assert not [path for path in Path(held.folder).iterdir() if path.name.startswith(("end.json.", "run.json."))]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"experiment": "a b"}, "no name for an experiment"),
        ({"identity": "../x"}, "no id for a run"),
        ({"parent": "never"}, "no run 'never' to be the parent"),
        ({"parent": "../runs"}, "to be the parent"),
    ],
)
def test_what_no_run_can_be_is_refused(workspace: Workspace, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        interactive.begin(str(workspace.root), **{"experiment": "x", **wrong})
    assert not workspace.root.exists()


def test_a_run_that_cannot_be_begun_leaves_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    held = interactive.begin(str(workspace.root), "x", identity="x")
    with pytest.raises(ValueError, match="there is a run 'x' already"):
        interactive.begin(str(workspace.root), "x", identity="x")
    held.end("Canceled")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(interactive, "_announce", full)
    with pytest.raises(OSError, match="No space"):
        interactive.begin(str(workspace.root), "x", identity="y")
    assert os.listdir(workspace.root / "runs") == ["x"]
    assert not interactive._held


def test_errors_are_of_the_kinds_that_the_class_says(workspace: Workspace) -> None:
    class Other(Run):
        _user_error = LookupError
        _no_run_error = ArithmeticError
        _no_model_path_error = EOFError

    held = interactive.begin(str(workspace.root), "x")
    run = Other(held.id, "x", held.folder, None)
    for wrong, kind in (
        (lambda: run.log("a", [1]), LookupError),
        (lambda: run.upload_file("../x", "x"), LookupError),
        (lambda: run.child_run(run_id="../x"), LookupError),
        (run.get_environment, ArithmeticError),
        (lambda: run.register_model("x"), EOFError),
        (lambda: Other.get_context(allow_offline=False), ArithmeticError),
    ):
        with pytest.raises(kind):
            wrong()
    assert isinstance(run.child_run(), Other)
    for each in [*run.get_children(), run]:
        each.complete()
    assert not interactive._held


@given(st.text(max_size=300))
def test_a_name_is_one_part_of_a_path(text: str) -> None:
    if record.is_name(text):
        assert Path(text).name == text
        assert text not in ("", ".", "..")
        assert len(os.fsencode(text)) <= 200


def test_tags_are_read_without_the_metrics(tmp_path: Path) -> None:
    run = Run("x", "x", str(tmp_path), None)
    run.tag("a", "b")
    run.log("m", 1)
    run.fail("why")
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").mkdir()  # whoever opens it fails
    notes = read_notes(tmp_path, {"c": "d"}, {"p": "q"})
    assert (notes.tags, notes.properties, notes.errors) == ({"c": "d", "a": "b"}, {"p": "q"}, ("why",))

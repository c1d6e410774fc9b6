"""What scripts find inside a run, tried with each Python that environments may have."""

from __future__ import annotations

import doctest
import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.script import Script

from envbuild.metrics import read_metrics, read_notes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The run's folder."""
    made = tmp_path / "run"
    made.mkdir()
    return made


@pytest.fixture
def script(tmp_path: Path, interpreter: Path) -> Script:
    """Run a script as a target does, in a working copy of its own."""
    work = tmp_path / "work"
    work.mkdir()

    return Script(interpreter, work)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]


def test_a_metric_is_a_line_in_the_folder_of_the_run(script: Script, folder: Path) -> None:
    script(
        """
        from envbuild import Run
        run = Run.get_context()
        run.log("accuracy", 0.9)
        run.log("löss", 1, description="of the net", step=7)
        """,
        folder,
    )
    first, second = lines(folder)
    assert isinstance(first.pop("at"), float)
    assert first == {"name": "accuracy", "value": 0.9, "step": None, "kind": "metric"}
    assert (second["name"], second["value"], second["step"], second["description"]) == ("löss", 1, 7, "of the net")


def test_metrics_come_back_as_they_were_logged(script: Script, folder: Path) -> None:
    source = """
        import json
        from envbuild.sdk import Run

        class Scalar(object):
            def __init__(self, value): self.value = value
            def item(self): return self.value

        class Array(object):
            shape = (3,)
            def tolist(self): return [1.5, [2, float("nan")], "x"]
            def item(self): raise ValueError("more than one")

        class Thing(object):
            def __repr__(self): return "<thing>"

        with Run.get_context(allow_offline=False) as run:
            run.log("once", 1)
            for value in (1, 2.5, True, "text", None, Scalar(3), Scalar(float("inf")), Thing(), 10 ** 30):
                run.log("often", value)
            run.log("nan", float("nan"))
            run.log("minus", float("-inf"))
            run.log_list("list", [1, 2])
            run.log_list("lists", [1]); run.log_list("lists", (2, 3)); run.log_list("lists", range(4, 6))
            run.log_list("array", Array())
            run.log_row("row", x=1, y=Scalar(2))
            run.log_row("rows", x=1, y=2); run.log_row("rows", x=3, y=float("inf"))
            run.log_table("table", {"x": [1, 2], "y": Array()})
            run.log_confusion_matrix("matrix", '{"data": {"matrix": [[1, 0], [0, 1]]}}')
        print(json.dumps(run.get_metrics()))
        print(json.dumps(run.get_metrics("once")), run.get_metrics("never"))
    """
    done = script(source, folder)
    all_of_it, once = done.stdout.splitlines()
    assert once == '{"once": 1} {}'
    told = read_metrics(folder).values
    assert json.dumps(told) == all_of_it
    assert told["often"] == [1, 2.5, True, "text", None, 3, float("inf"), "<thing>", 10**30]
    assert repr(told["nan"]) == "nan"
    assert told["minus"] == float("-inf")
    assert (told["list"], told["lists"]) == ([1, 2], [1, 2, 3, 4, 5])
    assert repr(told["array"]) == "[1.5, [2, nan], 'x']"
    assert (told["row"], told["rows"]) == ({"x": 1, "y": 2}, {"x": [1, 3], "y": [2, float("inf")]})
    assert repr(told["table"]) == "{'x': [1, 2], 'y': [1.5, [2, nan], 'x']}"
    assert told["matrix"] == {"data": {"matrix": [[1, 0], [0, 1]]}}
    # On its own, the script is answered the same.
    assert script(source.replace("allow_offline=False", "")).stdout.splitlines()[-2:] == [all_of_it, once]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('run.log("a", [1, 2])', "UserErrorException: metric 'a': list is several values; log them with log_list"),
        ('run.log("", 1)', "a name is a text that is not empty"),
        ('run.log_table("a", 3)', "a mapping of columns to values is wanted"),
        ('run.log_residuals("a", "{")', "not JSON"),
        ('run.log_image("a")', "either a path or a plot"),
        ('run.upload_files(["a"], [])', "1 names for 0 paths"),
        ('run.add_properties({"a": 1}); run.add_properties({"b": 1, "a": 2})', "'a' is '1' already"),
        ('run.download_file("x.pkl")', "the run has no file 'x.pkl'"),
        ('run.upload_file("x.pkl", "nowhere")', "FileNotFoundError"),
        ('run.upload_folder("x", "nowhere")', "NotADirectoryError"),
        ("from envbuild import Environment", "cannot import name 'Environment'"),
        ("import envbuild; envbuild.Workspace", "no attribute 'Workspace' inside a run"),
    ],
)
def test_a_mistake_is_told(script: Script, folder: Path, wrong: str, said: str) -> None:
    assert said in script(f"from envbuild import Run\nrun = Run.get_context()\n{wrong}", folder, fails=True).stderr


def test_what_azures_runs_have_and_these_do_not_is_told(script: Script, folder: Path) -> None:
    for wanted in (folder, None):
        source = "from envbuild import Run\nRun.get_context().input_datasets['mnist']"
        said = script(source, wanted, fails=True).stderr
        assert "Run has no input_datasets: data are files in a datastore; hand Datastore.path('folder')" in said

    said = script("from envbuild import Run\nRun.get_context().lgo('a', 1)", folder, fails=True).stderr
    assert "AttributeError: 'Run' object has no attribute 'lgo'" in said, "Python's own, which knows what was meant"


def test_a_data_frame_is_logged_as_a_table(script: Script, folder: Path) -> None:
    script(
        """
        from envbuild import Run, UserErrorException
        class Frame:  # as pandas has them
            def to_dict(self, orient):
                assert orient == "list"
                return {"x": [1, 2], 3: ["a", float("nan")]}
        class Series:
            def to_dict(self, into):
                raise TypeError("unsupported type: " + into)
        run = Run.get_context()
        run.log_table("table", Frame())
        try: run.log_table("series", Series())
        except UserErrorException as error: assert "a mapping of columns to values is wanted" in str(error)
        else: assert False
        """,
        folder,
    )
    assert [(each["kind"], each["value"]) for each in lines(folder)] == [("table", {"x": [1, 2], "3": ["a", "NaN"]})]


def test_processes_threads_and_forks_log_at_the_same_time(script: Script, folder: Path) -> None:
    script(
        """
        import os, subprocess, sys, threading
        from envbuild import Run

        def log(who):
            for number in range(300):
                Run.get_context().log(who, "x" * (number * 20), step=number)

        if len(sys.argv) == 2:
            log(sys.argv[1])
            sys.exit()
        others = [subprocess.Popen([sys.executable, __file__, "process %d" % number]) for number in range(3)]
        Run.get_context()
        children = []
        for number in range(3):
            child = os.fork()
            if not child:
                log("fork %d" % number)
                os._exit(0)
            children.append(child)
        threads = [threading.Thread(target=log, args=("thread %d" % number,)) for number in range(3)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert [os.waitpid(child, 0)[1] for child in children] + [other.wait() for other in others] == [0] * 6
        """,
        folder,
    )
    told = read_metrics(folder).values
    assert len(told) == 9
    assert all(values == ["x" * (number * 20) for number in range(300)] for values in told.values())


def test_a_hundred_thousand_points_are_no_burden(script: Script, folder: Path) -> None:
    done = script(
        """
        import time
        from envbuild import Run
        run, start = Run.get_context(), time.time()
        for step in range(100000):
            run.log("loss", step / 7, step=step)
        logged = time.time()
        assert len(run.get_metrics()["loss"]) == 100000
        print(logged - start, time.time() - logged)
        """,
        folder,
    )
    # About 0.6 and 0.2 s on a slow machine.
    logging, reading = map(float, done.stdout.split())
    assert logging < 10
    assert reading < 2


def test_tags_and_properties(script: Script, folder: Path) -> None:
    (folder / "run.json").write_text('{"tags": {"team": "a", "cost": "low"}}')
    source = """
        from envbuild import Run
        run = Run.get_context()
        run.tag("good"); run.tag("n", 3)
        run.set_tags({"x": 1, "y": 2, "team": "b"})
        run.remove_tags(["x", "never", "cost"]); run.remove_tags("y")
        run.add_properties({"a": 1}); run.add_properties({"a": 1, "b": "2"})
        print(sorted(run.get_tags().items()), sorted(run.get_properties().items()), run.get_metrics())
    """
    said = "[('good', ''), ('n', '3'), ('team', 'b')] [('a', '1'), ('b', '2')] {}\n"
    assert script(source, folder).stdout == said
    told = read_notes(folder, {"team": "a", "cost": "low"})
    assert told.tags == {"good": "", "n": "3", "team": "b"}
    assert told.properties == {"a": "1", "b": "2"}
    assert script(source).stdout == said


@pytest.mark.parametrize("online", [True, False])
def test_files_come_to_lie_in_the_outputs(script: Script, folder: Path, online: bool) -> None:
    work = script.work
    root = folder if online else work
    (work / "data" / "deep").mkdir(parents=True)
    (work / "data" / "a.txt").write_text("a")
    (work / "data" / "deep" / "b.txt").write_text("b")
    (root / "logs").mkdir()
    (root / "logs" / "output.log").write_text("")
    done = script(
        """
        import io, os
        from envbuild import Run
        run = Run.get_context()
        run.upload_file("model.pkl", "data/a.txt")
        run.upload_file("outputs/model.pkl", "data/deep/b.txt")
        run.upload_file("stream.txt", io.BytesIO(b"bytes")); run.upload_file("text.txt", io.StringIO(u"\u00fc"))
        run.upload_folder("kept", "data")
        run.upload_files(["x/1", "x/2"], ["data/a.txt", "data/a.txt"])
        run.download_file("outputs/model.pkl", "got/m.pkl"); run.download_file("model.pkl")
        assert open("got/m.pkl").read() == open("model.pkl").read() == "b"
        print("\\n".join(run.get_file_names()))
        """,
        folder if online else None,
    )
    assert done.stdout.split() == [
        "outputs/kept/a.txt",
        "outputs/kept/deep/b.txt",
        "outputs/model.pkl",
        "outputs/stream.txt",
        "outputs/text.txt",
        "outputs/x/1",
        "outputs/x/2",
        "logs/output.log",
    ]
    assert (root / "outputs" / "model.pkl").read_text() == "b"
    assert (root / "outputs" / "text.txt").read_text("utf-8") == "ü"


@pytest.mark.parametrize("name", ["../x", "/etc/x", "outputs/../../x", "outputs", "", "a/../../x", "away/x"])
def test_no_file_gets_out_of_the_outputs(script: Script, folder: Path, tmp_path: Path, name: str) -> None:
    (folder / "outputs").mkdir()
    (folder / "outputs" / "away").symlink_to(tmp_path)
    source = f"""
        import io
        from envbuild import Run
        Run.get_context().upload_file({name!r}, io.BytesIO(b""))
    """
    assert "is not a path inside the outputs" in script(source, folder, fails=True).stderr
    assert not (tmp_path / "x").exists()


def test_images_are_kept_one_by_one(script: Script, folder: Path) -> None:
    script(
        """
        from envbuild import Run
        class Plot(object):
            def savefig(self, path, format): open(path, "w").write(format)
        open("a.jpg", "w").write("jpg")
        run = Run.get_context()
        run.log_image("a/b: c", path="a.jpg")
        run.log_image("plot", plot=Plot()); run.log_image("plot", plot=Plot())
        """,
        folder,
    )
    told = read_metrics(folder)
    assert told.images == {
        "a/b: c": ("outputs/images/a_b_ c.jpg",),
        "plot": ("outputs/images/plot.png", "outputs/images/plot-2.png"),
    }
    assert [(folder / path).read_text() for paths in told.images.values() for path in paths] == ["jpg", "png", "png"]


def test_a_run_knows_what_it_is(script: Script, folder: Path) -> None:
    done = script(
        """
        from envbuild.sdk.run import Run
        run = Run.get_context()
        assert run is Run.get_context()
        print(run.id, run.experiment.name, run.get_status())
        print(run.get_environment())
        assert Run.get_environment().id == run.get_environment().id
        """,
        folder,
    )
    assert done.stdout.splitlines() == [
        "iris_1_ab iris Running",
        f"Environment(name='flowers', version='3', id='sha256:{'0' * 64}')",
    ]


def test_the_end_of_a_run_is_said_by_its_exit_code(script: Script, folder: Path) -> None:
    script(
        """
        import warnings
        from envbuild import Run
        run = Run.get_context()
        run.complete(); run.flush()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run.cancel()
        assert "envbuild runs cancel iris_1_ab" in str(caught[0].message)
        run.fail("no data", "E1")
        assert run.get_status() == "Running"
        try:
            with run: raise KeyError("x")
        except KeyError: pass
        """,
        folder,
    )
    assert read_notes(folder).errors == ("E1: no data", "KeyError: 'x'")


def test_a_script_on_its_own_has_an_offline_run(script: Script) -> None:
    done = script(
        """
        from envbuild import Run, RunEnvironmentException
        run = Run.get_context()
        assert run is Run.get_context() and run.id.startswith("OfflineRun_")
        run.log("loss", 0.5, step=3); run.log("name", "iris"); run.log_row("row", x=1); run.tag("quiet")
        assert run.get_metrics() == {"loss": 0.5, "name": "iris", "row": {"x": 1}}, run.get_metrics()
        for asked in (run.get_environment, Run.get_environment, lambda: Run.get_context(allow_offline=False)):
            try: asked()
            except RuntimeError as error: assert isinstance(error, RunEnvironmentException) and error.message
            else: assert False
        run.complete()
        assert run.get_status() == "Completed"
        """
    )
    assert done.stdout.splitlines() == ["loss: 0.5 (step 3)", "name: iris", "row: {'x': 1}"]
    assert [path.name for path in script.work.iterdir()] == ["train.py"]


def test_an_offline_run_is_known_by_its_type(script: Script, folder: Path) -> None:
    source = """
        from envbuild.sdk.run import Run, _OfflineRun
        run = Run.get_context()
        for each in (run, run.child_run()) if run.id.startswith("OfflineRun") else (run,):
            print(isinstance(each, Run), isinstance(each, _OfflineRun), type(each) == _OfflineRun)
    """
    assert script(source).stdout.splitlines() == ["True True True"] * 2
    assert script(source, folder).stdout.splitlines() == ["True False False"]


@pytest.mark.parametrize("kind", ["package", "module", "finder"])
def test_an_environment_that_has_envbuild_keeps_its_own(script: Script, tmp_path: Path, kind: str) -> None:
    site = tmp_path / "site"
    theirs = site / "envbuild.py" if kind == "module" else site / "envbuild" / "__init__.py"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("Run = 'theirs'\n")
    source = """
        import sys
        site, kind = %r, %r
        if kind == "finder":  # as of an editable install
            class Finder(object):
                @classmethod
                def find_spec(cls, name, path=None, target=None):
                    import importlib.util
                    if name == "envbuild":
                        return importlib.util.spec_from_file_location(name, site + "/envbuild/__init__.py")
            sys.meta_path.append(Finder)
        else:
            sys.path.append(site)
        import envbuild
        from envbuild import Run
        assert Run == envbuild.Run == sys.modules["envbuild"].Run == "theirs"
        assert envbuild.__file__.startswith(site) and envbuild.__name__ == "envbuild"
    """
    script(source % (str(site), kind))


def test_a_broken_envbuild_of_the_environment_is_not_hidden(script: Script, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "envbuild.py").write_text("raise ImportError('theirs is broken')\n")
    source = f"import sys; sys.path.append({str(tmp_path / 'site')!r}); import envbuild"
    assert "theirs is broken" in script(source, fails=True).stderr


def test_a_mere_folder_of_that_name_changes_nothing(script: Script) -> None:
    (script.work / "envbuild").mkdir()
    script("from envbuild import Run; Run.get_context().log('a', 1)")


def test_importing_it_loads_nothing_that_is_not_needed(script: Script, folder: Path) -> None:
    script(
        """
        import sys
        before = set(sys.modules)
        import envbuild
        assert {name for name in set(sys.modules) - before} == {"envbuild"}, set(sys.modules) - before
        from envbuild import Run
        Run.get_context().log("a", 1)
        loaded = set(sys.modules) - before
        heavy = {"typing", "threading", "logging", "shutil", "subprocess", "uuid", "inspect", "dataclasses", "tempfile"}
        assert not loaded & heavy, loaded & heavy
        """,
        folder,
    )


# In envbuild's own Python


@pytest.mark.parametrize("name", ["events", "files", "model", "partial", "record", "run", "values"])
def test_what_the_docstrings_show_is_so(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"envbuild.inside.envbuild.{name}")).failed == 0


def test_a_torn_line_costs_that_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(tmp_path).values == {}
    good = '{"name": "a", "value": %d, "step": null, "at": 1.0, "kind": "metric"}\n'
    path.write_text(
        good % 1 + '{"name": "a", "val\n' + "\0\0\0\n[]\n3\n\n" + good % 2 + '{"name": "a", "value": 3, "st'
    )
    assert read_metrics(tmp_path).values == {"a": [1, 2]}
    path.write_bytes(b"\xff\xfe\n" + (good % 1).encode())
    assert read_metrics(tmp_path).values == {"a": 1}


def test_a_full_disk_is_told_and_the_next_event_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from envbuild.inside.envbuild.events import File, event

    file, write = File(str(tmp_path / "metrics.jsonl")), os.write
    file.append(event("metric", "a", 1))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda at, data: write(at, data[:10]))
        with pytest.raises(OSError, match="could be written"):
            file.append(event("metric", "a", 2))
    file.append(event("metric", "a", 3))
    assert read_metrics(tmp_path).values == {"a": [1, 3]}

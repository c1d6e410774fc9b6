"""Running: what a script is given, what becomes of it, and what is recorded."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.place import Place, until


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace for the tests that do not mind what others have recorded."""
    return tmp_path_factory.mktemp("running") / "workspace"


@pytest.fixture
def place(tmp_path: Path, workspace: Path) -> Place:
    """A project without packages, in the workspace that these tests share."""
    made = Place(tmp_path, workspace)
    made.write("requirements.txt", "# nothing\n")
    return made


@pytest.fixture
def own(tmp_path: Path) -> Place:
    """A project without packages, with a workspace of its own."""
    made = Place(tmp_path, tmp_path / "workspace")
    made.write("requirements.txt", "# nothing\n")
    return made


def script(place: Place, source: str, name: str = "script.py") -> Path:
    return place.write(name, textwrap.dedent(source))


def arguments(done: Any) -> list[str]:
    return [os.fsdecode(each) for each in json.loads(done.out)] if done.out else []


# -- the end of it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "code", "status"),
    [
        ("pass", 0, "Completed"),
        ("raise SystemExit(3)", 3, "Failed"),
        ("import os; os.kill(os.getpid(), 9)", 128 + 9, "Failed"),
        ("import os; os.kill(os.getpid(), 15)", 128 + 15, "Failed"),
        ("raise ValueError('no')", 1, "Failed"),
    ],
)
def test_the_exit_code_is_the_scripts_own(place: Place, ends: str, code: int, status: str) -> None:
    script(place, ends)

    place.do("run", "script.py", code=code)

    run = place.last()
    assert (run["exit_code"], run["status"]) == (code, status)


def test_the_summary_says_run_environment_time_and_outputs(place: Place) -> None:
    script(place, "open('outputs/model.pkl', 'w').write('m')")

    said = place.do("run", "script.py").said

    run = place.last()
    assert f"{run['id']}  Completed" in said
    assert f"{run['environment']['name']}:{run['environment']['version']}  sha256:" in said
    assert "resolving" in said
    assert "building" in said
    assert "running" in said
    assert f"{place.run_folder()}/outputs  (model.pkl)" in said


# -- output --------------------------------------------------------------------------------------------------


def test_output_comes_live_and_on_two_streams(place: Place, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script(
        place,
        f"""
        import os, sys, time
        print("first")
        print("aside", file=sys.stderr)
        while not os.path.exists({str(gate)!r}):
            time.sleep(0.01)
        print("second")
        """,
    )
    with place.start("run", "script.py") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"  # while the script is still there
        gate.touch()
        rest = process.stdout.read()
        assert process.stderr is not None
        err = process.stderr.read()

    assert rest == b"second\n"
    assert b"aside\n" in err
    assert b"first" not in err


def test_output_is_passed_on_byte_by_byte_and_logged(place: Place) -> None:
    script(
        place, "import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000); sys.stderr.buffer.write(b'\\xff\\x00')"
    )

    done = place.do("run", "script.py")

    assert done.out == bytes(range(256)) * 1000
    assert done.err.startswith(b"\xff\x00") or b"\xff\x00" in done.err
    assert len(place.log()) == 256 * 1000 + 2


def test_a_reader_who_has_enough_does_not_end_the_run(place: Place) -> None:
    script(
        place,
        """
        for number in range(50000):
            print(number)
        open("outputs/finished", "w").close()
        """,
    )
    with place.start("run", "script.py", stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()

    assert process.returncode == 0
    assert (place.run_folder() / "outputs/finished").exists()
    assert place.log().endswith(b"49999\n")


def test_a_reader_of_both_streams_who_has_enough_does_not_change_the_exit_code(place: Place) -> None:
    script(place, "import sys\nfor n in range(20000): print(n)\nsys.exit(7)")
    for _ in range(3):  # the last one is warm
        with place.start("run", "script.py", stderr=subprocess.STDOUT) as process:
            assert process.stdout is not None
            process.stdout.read(10)
            process.stdout.close()
        assert process.returncode == 7
        time.sleep(0.06)


def test_closed_standard_streams_do_not_mix_files_up(place: Place) -> None:
    script(place, "print('hello')")
    for _ in range(3):
        closed = f"exec {sys.executable} -m envbuild run script.py <&- >&- 2>&-"
        done = place.do("-c", closed, program=["sh"])
        assert (done.out, done.err) == (b"", b"")
        assert place.log() == b"hello\n"
        assert (place.run_folder() / "lease").read_bytes().isdigit()
        time.sleep(0.06)


def test_standard_input_is_the_scripts(place: Place) -> None:
    script(place, "import sys; print(sys.stdin.buffer.read() == bytes(range(256)) * 500)")

    assert place.do("run", "script.py", input=bytes(range(256)) * 500).out == b"True\n"


def test_a_daemon_that_keeps_the_output_open_does_not_hold_the_run_up(place: Place) -> None:
    script(
        place,
        """
        import subprocess, sys
        quiet = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        chatty = subprocess.Popen([sys.executable, "-c", "while True: print('still here', flush=True)"])
        open("outputs/pids", "w").write(f"{quiet.pid} {chatty.pid}")
        """,
    )
    try:
        place.do("run", "script.py")
        assert place.last()["status"] == "Completed"
    finally:
        for each in (place.run_folder() / "outputs/pids").read_text().split():
            subprocess.run(["kill", "-9", each], check=False)


def test_json_keeps_standard_output_for_the_result(place: Place) -> None:
    script(place, "print('hello')")

    done = place.do("run", "--json", "script.py")

    assert done.json["status"] == "Completed"
    assert b"hello\n" in done.err


# -- metrics and outputs -------------------------------------------------------------------------------------


def test_metrics_are_logged_without_envbuild_being_installed(place: Place) -> None:
    script(
        place,
        """
        import site, os
        from envbuild import Run
        run = Run.get_context()
        run.log("accuracy", 0.93)
        run.log("loss", 1.0); run.log("loss", 0.5)
        run.tag("kind", "test")
        print([name for each in site.getsitepackages() for name in os.listdir(each) if "envbuild" in name])
        """,
    )
    assert place.do("run", "script.py").out == b"[]\n"

    run = place.last()
    assert run["metrics"] == {"accuracy": 0.93, "loss": [1.0, 0.5]}
    assert run["tags"] == {"kind": "test"}
    site = place.workspace / "store/images" / run["environment"]["id"].removeprefix("sha256:") / "prefix"
    assert site.is_dir()
    assert not list(site.rglob("*envbuild*"))


def test_outputs_are_kept_by_digest_and_once_on_disk(place: Place) -> None:
    script(
        place,
        "open('outputs/a.bin', 'wb').write(b'x' * 5000); import os; os.makedirs('outputs/deep/er');"
        "open('outputs/deep/er/b', 'w').write('b')",
    )

    place.do("run", "script.py")

    outputs = place.last()["outputs"]
    assert outputs.keys() == {"a.bin", "deep/er/b"}
    assert outputs["a.bin"]["size"] == 5000
    blob = place.workspace / "store/blobs/sha256" / outputs["a.bin"]["digest"].removeprefix("sha256:")
    assert blob.samefile(place.run_folder() / "outputs/a.bin")


def test_an_output_that_has_another_name_elsewhere_stays_writable_there(place: Place, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("mine")
    script(place, f"import os; os.link({str(data)!r}, 'outputs/data.csv')")

    place.do("run", "script.py")

    assert data.stat().st_mode & 0o200
    data.write_text("changed")
    assert "outputs/data.csv" not in place.do("store", "verify").text


def test_a_script_may_make_its_outputs_folder_anew_and_step_into_it(place: Place) -> None:
    script(
        place,
        """
        import os, shutil
        shutil.rmtree("outputs")
        os.makedirs("outputs")
        os.chdir("outputs")
        open("../beside.txt", "w").write("b")
        open("model.pkl", "w").write("m")
        """,
    )
    for _ in range(3):
        place.do("run", "script.py")
        assert place.last()["outputs"].keys() == {"model.pkl"}
        assert place.last()["left"] == ["beside.txt"]
        time.sleep(0.06)


def test_outputs_are_seen_in_the_runs_folder_while_it_runs(place: Place, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script(
        place,
        f"""
        import os, time
        open("outputs/partial", "w").write("p")
        print("there", flush=True)
        while not os.path.exists({str(gate)!r}):
            time.sleep(0.01)
        """,
    )
    with place.start("run", "script.py") as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert (place.run_folder() / "outputs/partial").read_text() == "p"
        gate.touch()
        process.communicate()
    assert not (place.run_folder() / "outputs").is_symlink()


@pytest.mark.parametrize(
    "how",
    [
        "os.rmdir('outputs')",
        "shutil.rmtree(os.getcwd(), ignore_errors=True)",
        "os.rmdir('outputs'); open('outputs', 'w').close()",
        "os.rmdir('outputs'); os.symlink('/etc', 'outputs')",
    ],
)
def test_a_script_that_spoils_its_own_folder_is_recorded_all_the_same(place: Place, how: str) -> None:
    script(place, f"import os, shutil\n{how}")

    place.do("run", "script.py")

    assert place.last()["status"] == "Completed"
    assert place.last()["outputs"] == {}


def test_what_the_run_wrote_elsewhere_is_kept_and_named_and_what_it_left_alone_removed(place: Place) -> None:
    place.write("data/in.csv", "1")
    place.write("data/same.csv", "1")
    script(place, "open('data/in.csv', 'a').write('2'); open('data/new.csv', 'w').write('3')")
    for _ in range(3):
        said = place.do("run", "script.py").said

        run = place.last()
        assert sorted(run["left"]) == ["data/in.csv", "data/new.csv"]
        work = place.run_folder() / "work"
        assert sorted(str(each.relative_to(work)) for each in work.rglob("*")) == [
            "data",
            "data/in.csv",
            "data/new.csv",
        ]
        assert "also wrote   data/" in said
        assert (place.folder / "data/in.csv").read_text() == "1"
        time.sleep(0.06)


def test_nothing_of_the_working_copy_is_left_where_nothing_was_written(place: Place) -> None:
    place.write("pack/__init__.py", "")
    place.write("pack/deep/module.py", "")
    (place.folder / "link").symlink_to("pack")
    script(place, "import pack.deep.module")
    for _ in range(3):
        place.do("run", "script.py")
        assert not (place.run_folder() / "work").exists()
        time.sleep(0.06)


# -- what is run ---------------------------------------------------------------------------------------------

SHOW = "import os, sys; sys.stdout.write(str([os.fsencode(each) for each in sys.argv[1:]]))"
ODD = ["two words", "new\nline", "ünï", "", "-e", "--json", "--", "-m", "--help", "a=b", "*", "$HOME", "-"]


@pytest.mark.parametrize("how", ["script", "module", "command"])
def test_arguments_arrive_as_they_were_given(place: Place, how: str) -> None:
    place.write("show.py", SHOW)
    head = {"script": ["show.py"], "module": ["-m", "show"], "command": ["--", "python", "show.py"]}[how]
    given = [os.fsencode(each) for each in ODD] + [b"\xff\xfe not text"]
    for _ in range(3):
        done = place.do("run", *head, *given)
        assert done.text == str(given)
        time.sleep(0.06)
    assert place.last()["command"][-2] == "-"
    place.do("runs", "list")
    place.do("runs", "show", place.newest())


def test_options_behind_a_module_are_the_modules(place: Place) -> None:
    place.write("show.py", SHOW)

    assert place.do("run", "-m", "show", "--name", "x", "-q").text == "[b'--name', b'x', b'-q']"
    assert place.do("run", "-q", "--name", "mine", "-m", "show", "--", "x").text == "[b'--', b'x']"
    assert place.last()["experiment"] == "mine"


def test_a_command_finds_the_environments_programs_first(place: Place) -> None:
    done = place.do("run", "--", "sh", "-c", "command -v python; echo $PATH; pwd")

    python, path, folder = done.text.splitlines()
    assert python == path.split(":")[0] + "/python"
    assert python.startswith(str(place.workspace))
    assert folder == str(place.run_folder() / "work")


def test_a_script_that_names_its_own_program_is_run_by_it(place: Place) -> None:
    place.write("task", '#!/bin/sh\necho shell "$@"\n', mode=0o755)
    place.write("tool", "#!/usr/bin/env python3\nimport sys; print(sys.prefix)\n", mode=0o755)

    assert place.do("run", "task", "a b").text == "shell a b\n"
    assert str(place.workspace) in place.do("run", "tool").text


def test_a_program_that_is_not_there_is_named(place: Place) -> None:
    assert "'no-such-program'" in place.refused("run", "--", "no-such-program")
    assert "no such script: missing.py" in place.refused("run", "missing.py")


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("a.py", "it is a file of the source folder: python a.py, or 'envbuild run a.py'"),
        ("./a.py", "make it executable (chmod +x ./a.py), or name what is to run it: python ./a.py"),
        ("a.sh", "it is a file of the source folder: ./a.sh once it is executable (chmod +x a.sh)"),
        ("b.sh", "it is a file of the source folder: ./b.sh"),
        ("./a.sh", "make it executable (chmod +x ./a.sh), or name what is to run it"),
    ],
)
def test_a_file_that_is_no_command_is_told_how_to_run(own: Place, command: str, hint: str) -> None:
    for name in ("a.py", "a.sh", "b.sh"):
        (own.folder / name).write_text("")
    (own.folder / "b.sh").chmod(0o755)

    assert own.refused("run", "--", command).endswith(f"\nhint: {hint}\n")


def test_a_notebook_is_no_script(place: Place) -> None:
    place.write("train.ipynb", '{"cells": [{"cell_type": "code", "execution_count": null}]}')

    assert "train.ipynb is a notebook, and no script" in place.refused("run", "train.ipynb")


def test_the_environment_is_that_of_the_block_in_the_script(place: Place) -> None:
    place.write("block.py", "# /// script\n# requires-python = '>=3.8'\n# ///\nprint('block')\n")
    place.write("envbuild.yml", "name: other\n")

    assert place.do("run", "block.py").text == "block\n"
    assert place.last()["environment"]["name"] == "block"


def test_the_nearest_definition_above_the_script_is_taken_up_to_the_current_folder(place: Place) -> None:
    place.write("envbuild.yml", "name: above\n")
    place.write("sub/deep/script.py", "print('x')")
    place.do("run", "sub/deep/script.py")
    assert place.last()["environment"]["name"] == "above"

    place.do("run", "script.py", cwd=place.folder / "sub/deep")
    assert place.last()["environment"]["name"] == "default"

    place.write("sub/envbuild.yml", "name: nearer\n")
    place.do("run", "sub/deep/script.py")
    assert place.last()["environment"]["name"] == "nearer"


def test_without_any_definition_there_is_a_default_environment(place: Place) -> None:
    (place.folder / "requirements.txt").unlink()
    script(place, "print('x')")

    place.do("run", "script.py")

    assert place.last()["environment"]["name"] == "default"


def test_every_kind_of_spec_names_an_environment(own: Place) -> None:
    script(own, "print('x')")
    (own.folder / "requirements.txt").unlink()
    own.write("envs/envbuild.yml", "name: full\n")
    own.write("envs/requirements.txt", "# nothing\n")
    own.write("envs/environment.yml", "name: conda-like\ndependencies:\n  - pip\n  - pip:\n    - -r requirements.txt\n")
    own.write("envs/pyproject.toml", "[project]\nname = 'project'\nversion = '1'\n[dependency-groups]\ntest = []\n")
    own.write("block.py", "# /// script\n# dependencies = []\n# ///\n")
    own.do("env", "register", "envs/envbuild.yml", "--name", "named")
    own.do("env", "label", "named:1", "good")
    identity = own.do("env", "show", "--json", "named").json["id"]
    specs = [
        "envs/envbuild.yml", "envs/requirements.txt", "envs/pyproject.toml", "envs/pyproject.toml:test", "envs",
        "block.py", "named", "named:1", "named@good", "named@latest", identity, identity[:20], identity[7:19],
        str(own.folder / "envs/envbuild.yml"),
    ]  # fmt: skip
    for spec in specs:
        own.do("run", "-q", "-e", spec, "script.py")
        assert own.last()["environment"]["id"] == identity, spec
    assert not (own.folder / "pylock.toml").exists()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("missing.yml", "no such file: missing.yml"),
        ("nobody", "no environment is named 'nobody'"),
        ("nobody:3", "no environment is named 'nobody'"),
        ("0123456789ab", "no environment"),
        ("bad/name", "no such file"),
        ("a b", "is no file, no name and no id"),
        ("x" * 5000, "error"),
    ],
)
def test_an_environment_that_there_is_not_is_refused(place: Place, spec: str, said: str) -> None:
    script(place, "print('x')")
    assert said in place.refused("run", "-e", spec, "script.py")


def test_an_empty_spec_is_a_mistake_and_not_the_default(place: Place) -> None:
    script(place, "print('x')")
    assert "SPEC is empty" in place.refused("run", "-e", "", "script.py", code=2)


def test_a_target_that_nobody_takes_on_is_named_with_what_to_install(place: Place) -> None:
    script(place, "print('x')")
    count = len(place.runs())

    assert "envbuild[docker]" in place.refused("run", "-t", "docker", "script.py")
    assert "'mars'" in place.refused("run", "-t", "mars", "script.py")
    assert len(place.runs()) == count


def test_an_experiment_gathers_runs_and_has_a_name_that_can_be_a_folders(place: Place) -> None:
    script(place, "print('x')")
    place.do("run", "--name", "mine_1", "script.py")
    assert place.do("runs", "list", "--name", "mine_1", "--json").json[0]["experiment"] == "mine_1"
    for bad in ("../up", "a/b", "", "a b", "ü", ".", "-x", "x" * 300):
        said = place.refused("run", f"--name={bad}", "script.py") if bad else ""
        assert "experiment" in said or not bad
    assert not (place.workspace / "up").exists()


# -- variables and secrets -----------------------------------------------------------------------------------


def test_variables_come_from_the_definition_and_the_command_line(place: Place) -> None:
    place.write("envbuild.yml", "name: v\nvariables: {A: from-definition, B: from-definition}\n")
    script(place, "import os; print(os.environ['A'], os.environ['B'], os.environ['C'])")

    done = place.do("run", "--variable", "B=of=command", "--variable", "C=", "script.py", env={"A": "host"})

    assert done.text == "from-definition of=command \n"
    assert {"A", "B", "C"} <= set(place.last()["variables"])
    assert "of=command" not in json.dumps(place.last())
    for bad in ("NOVALUE", "=x", "1A=x", "A B=x"):
        assert "NAME=VALUE" in place.refused("run", "--variable", bad, "script.py", code=2)


SECRET = "s3cr3t-v\u00e4lue-0123456789"


@pytest.mark.parametrize("how", ["definition", "option"])
def test_a_secret_reaches_the_script_and_is_seen_nowhere(own: Place, how: str) -> None:
    own.write("envbuild.yml", "name: s\nsecrets: [TOKEN]\n" if how == "definition" else "name: s\n")
    script(
        own,
        """
        import os, sys, time
        token = os.environ["TOKEN"]
        assert len(token) == 23
        print("all at once", token, token)
        raw = token.encode()
        for each in range(len(raw)):
            os.write(1, raw[each:each + 1])
            time.sleep(0.001)
        os.write(2, b"err " + raw)
        print(" half", token[:8])
        print(token[:5], end="")
        """,
    )
    option = [] if how == "definition" else ["--secret", "TOKEN"]
    for _ in range(3):
        done = own.do("run", *option, "script.py", env={"TOKEN": SECRET})
        assert done.out == b"all at once *** ***\n*** half s3cr3t-v\ns3cr3" or done.out == (
            f"all at once *** ***\n*** half {SECRET[:8]}\n{SECRET[:5]}".encode()
        )
        assert b"err ***" in done.err
        assert SECRET.encode() not in done.out + done.err + own.log()
        assert own.last()["secrets"] == ["TOKEN"]
        assert "TOKEN" in own.last()["variables"]
        time.sleep(0.06)
    assert [path for path in own.files() if SECRET.encode() in path.read_bytes()] == []


def test_a_secret_without_a_value_stops_everything_before_it_begins(own: Place) -> None:
    own.write("envbuild.yml", "name: s\nsecrets: [TOKEN, OTHER]\n")
    script(own, "print('x')")

    said = own.refused("run", "script.py")

    assert "OTHER, TOKEN" in said
    assert not (own.workspace / "store/images").exists() or not list((own.workspace / "store/images").iterdir())
    assert not (own.workspace / "runs").exists()
    assert not (own.folder / "pylock.toml").exists()


def test_the_hosts_python_and_conda_settings_do_not_leak_in(place: Place, tmp_path: Path) -> None:
    (tmp_path / "intruder.py").write_text("")
    leaks = {
        "PYTHONPATH": str(tmp_path), "PYTHONHOME": "", "VIRTUAL_ENV": "/host/venv", "CONDA_PREFIX": "/host/conda",
        "CONDA_DEFAULT_ENV": "base", "PYTHONSTARTUP": "/host/startup", "PYTHONUSERBASE": "/host/base",
    }  # fmt: skip
    script(
        place,
        """
        import importlib.util, os, sys
        assert importlib.util.find_spec("intruder") is None
        print(os.environ["VIRTUAL_ENV"] == sys.prefix, [n for n in os.environ if n.startswith("CONDA")],
              [n for n in ("PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE") if n in os.environ],
              os.environ["PATH"].split(":")[0] == sys.prefix + "/bin", sys.path[-1].endswith("inside") or
              any(each.endswith("inside") for each in sys.path), os.environ["KEPT"])
        """,
    )
    leaks.pop("PYTHONHOME")  # with it not even envbuild's own Python starts
    for _ in range(3):
        done = place.do("run", "script.py", env={**leaks, "KEPT": "kept"})
        assert done.text == "True [] [] True True kept\n"
        time.sleep(0.06)


# -- git -----------------------------------------------------------------------------------------------------


def git(folder: Path, *words: str) -> str:
    told = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    who = ["-c", "user.name=t", "-c", "user.email=t@e", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True, env={**os.environ, **told}
    )
    return done.stdout.strip()


@pytest.fixture
def repository(place: Place, lacking: Callable[[str, str], None]) -> Place:
    """A project in a repository of git's."""
    if shutil.which("git") is None:
        lacking("git", "no git found")
    script(place, "print('x')")
    place.write(".gitignore", "pylock.toml\n")
    git(place.folder, "init", "-q", "-b", "main")
    git(place.folder, "add", ".")
    git(place.folder, "commit", "-q", "-m", "one")
    return place


def test_commit_branch_remote_and_dirtiness_are_recorded(repository: Place) -> None:
    place = repository
    git(place.folder, "remote", "add", "origin", "https://user:hunter2@example.com/team/project.git")
    place.do("run", "script.py")

    found = place.last()["git"]
    assert found == {
        "commit": git(place.folder, "rev-parse", "HEAD"),
        "branch": "main",
        "repository": "https://example.com/team/project.git",
        "dirty": False,
    }
    script(place, "print('y')")
    place.do("run", "script.py")
    assert place.last()["git"]["dirty"] is True


def test_a_worktree_has_a_commit_of_its_own_and_a_hook_of_another_repository_does_not_matter(
    repository: Place, tmp_path: Path
) -> None:
    place = repository
    git(place.folder, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    side = tmp_path / "side"
    for number in range(4):
        if number == 3:
            git(side, "commit", "-q", "--allow-empty", "-m", "two")
        place.do("run", "script.py", cwd=side, env={"GIT_DIR": "/nowhere/.git"})
        found = place.last()["git"]
        assert (found["branch"], found["commit"]) == ("side", git(side, "rev-parse", "HEAD"))
        time.sleep(0.06)


def test_outside_of_a_repository_and_before_the_first_commit_nothing_is_recorded(place: Place) -> None:
    script(place, "print('x')")
    place.do("run", "script.py")
    assert place.last()["git"] == {}
    git(place.folder, "init", "-q")
    place.do("run", "script.py")
    assert place.last()["git"] == {}


# -- snapshots -----------------------------------------------------------------------------------------------

LIST = """
import os
found = []
for here, folders, files in os.walk(os.fsencode(".")):
    files += [name for name in folders if os.path.islink(os.path.join(here, name))]
    found += [os.path.join(here, name)[2:] for name in files]
print(sorted(each for each in found if each not in (b"logs", b"list.py", b"requirements.txt", b"pylock.toml")))
"""


def seen(place: Place, *words: str) -> list[bytes]:
    place.write("list.py", LIST)
    found: list[bytes] = eval(place.do("run", *words, "list.py").text)
    return found


def test_the_first_ignore_file_counts_alone(place: Place) -> None:
    for name in ("a", "b", "c", ".venv/x"):
        place.write(name, "")
    place.write(".gitignore", "a\n")
    assert seen(place) == [b".gitignore", b".venv/x", b"b", b"c"]
    place.write(".amlignore", "b\n")
    assert seen(place) == [b".amlignore", b".gitignore", b".venv/x", b"a", b"c"]
    place.write(".envbuildignore", "c\n.*\n")
    assert seen(place) == [b"a", b"b"]


def test_without_ignore_file_there_are_defaults_and_some_things_are_never_taken(place: Place) -> None:
    for name in (
        ".venv/x", "node_modules/x/y", "__pycache__/a.pyc", "m.pyc", ".git/config", "outputs/old", "logs/old",
        "sub/outputs/kept", "env-of-mine/pyvenv.cfg", "env-of-mine/lib/x", "kept", ".mypy_cache/x",
    ):  # fmt: skip
        place.write(name, "")
    assert seen(place) == [b"kept", b"sub/outputs/kept"]
    place.write(".envbuildignore", "!__pycache__\n!*.pyc\n!outputs\n!.git\n")
    assert seen(place) == [
        b".envbuildignore",
        b".mypy_cache/x",
        b".venv/x",
        b"kept",
        b"node_modules/x/y",
        b"sub/outputs/kept",
    ]


def test_gitignore_files_of_folders_below_count_and_undo(place: Place) -> None:
    place.write(".gitignore", "*.log\n/build/\n")
    place.write("sub/.gitignore", "!keep.log\nlocal\n!*.pyc\n")
    for name in ("x.log", "build/y", "sub/keep.log", "sub/x.log", "sub/local", "sub/build/y", "sub/m.pyc", "local"):
        place.write(name, "")
    assert seen(place) == [b".gitignore", b"local", b"sub/.gitignore", b"sub/build/y", b"sub/keep.log"]


def test_links_are_kept_as_links_and_what_is_no_file_is_passed_over(place: Place, tmp_path: Path) -> None:
    place.write("real/file", "x")
    (place.folder / "to-file").symlink_to("real/file")
    (place.folder / "to-folder").symlink_to("real")
    (place.folder / "to-nothing").symlink_to("nowhere")
    (place.folder / "loop").symlink_to("loop")
    secret = tmp_path / "outside"
    secret.write_text("outside")
    (place.folder / "out").symlink_to(secret)
    (place.folder / "outputs").symlink_to(tmp_path)
    os.mkfifo(place.folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(place.folder)
        try:
            listening.bind("socket")
        finally:
            os.chdir("/")
        for _ in range(3):
            assert seen(place) == [b"loop", b"out", b"real/file", b"to-file", b"to-folder", b"to-nothing"]
            time.sleep(0.06)
    assert (tmp_path / "outside").read_text() == "outside"


def test_names_that_are_no_text_are_taken_along(place: Place) -> None:
    (Path(os.fsdecode(os.fsencode(place.folder) + b"/\xff\xfe"))).write_text("x")
    place.write("ünï code", "x")
    place.write("new\nline", "x")
    for _ in range(3):
        assert seen(place) == [b"new\nline", "ünï code".encode(), b"\xff\xfe"]
        time.sleep(0.06)


def test_outputs_with_names_that_are_no_text_are_recorded(place: Place) -> None:
    script(place, "open(b'outputs/\\xfe', 'w').write('x'); open(b'\\xfd', 'w')")
    for _ in range(3):
        place.do("run", "script.py")
        assert len(place.last()["outputs"]) == 1
        place.do("runs", "show", place.newest())
        place.do("runs", "list")
        time.sleep(0.06)


def test_a_file_that_cannot_be_read_is_named(own: Place, lacking: Callable[[str, str], None]) -> None:
    script(own, "print('x')")
    own.write("closed", "x", mode=0o000)
    program = [sys.executable, "-m", "envbuild"]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            lacking("root", "no setpriv to give the right to read everything away with")
        lost = "-dac_override,-dac_read_search"
        program = ["setpriv", f"--bounding-set={lost}", f"--inh-caps={lost}", *program]
    said = own.refused("run", "script.py", program=program)
    assert str(own.folder / "closed") in said
    assert "permission denied" in said
    own.write("closed-folder/x", "x")
    (own.folder / "closed").unlink()
    (own.folder / "closed-folder").chmod(0o000)
    try:
        assert str(own.folder / "closed-folder") in own.refused("run", "script.py", program=program)
    finally:
        (own.folder / "closed-folder").chmod(0o755)
    assert not list((own.workspace / "runs").iterdir())


def test_a_large_source_is_told_with_its_largest_files_and_a_larger_one_refused(own: Place) -> None:
    script(own, "print('x')")
    with (own.folder / "big.bin").open("wb") as stream:
        stream.truncate(51 * 2**20)
    own.write("small.bin", b"x" * 3000)

    assert "big.bin (51.0 MiB)" in own.do("run", "script.py").said
    own.write(".envbuildignore", "big.bin\n")

    said = own.refused("run", "script.py", env={"ENVBUILD_SNAPSHOT_LIMIT": "2000"})
    assert "small.bin" in said
    assert ".envbuildignore" in said
    assert "ENVBUILD_SNAPSHOT_LIMIT" in own.refused("run", "script.py", env={"ENVBUILD_SNAPSHOT_LIMIT": "lots"})
    assert "MiB" not in own.do("run", "script.py").said


def test_an_ignore_file_that_means_nothing_is_named(place: Place) -> None:
    script(place, "print('x')")
    place.write(".envbuildignore", b"!\n\xff\n[\n")
    done = place.try_("run", "script.py")
    assert done.code == 0 or ".envbuildignore" in done.said


# -- looking at runs -----------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_and_shown(own: Place) -> None:
    assert own.do("runs", "list", "--json").json == []
    script(own, "import sys; sys.exit(int(sys.argv[1]))")
    for code in (0, 4):
        own.do("run", "script.py", str(code), code=code)

    listed = own.runs()
    assert [each["exit_code"] for each in listed] == [4, 0]
    assert {"id", "status", "environment", "exit_code"} <= listed[0].keys()
    assert listed[0]["environment"].keys() == {"name", "version", "id", "definition_digest"}
    for spelling in ("Failed", "failed", "FAILED"):
        assert own.do("runs", "list", "--status", spelling, "--json").json == [listed[0]]
    assert own.do("runs", "list", "--limit", "1", "--json").json == [listed[0]]
    text = own.do("runs", "list").text
    assert listed[0]["id"] in text
    assert "Failed" in text
    shown = own.do("runs", "show", listed[0]["id"][:-2]).text
    assert "Failed (exit code 4)" in shown
    assert "no run's id begins with" in own.refused("runs", "show", "nothing")
    assert "several" in own.refused("runs", "show", "p")


def test_a_run_with_children_is_listed_without_them_and_shown_with_them(own: Place) -> None:
    script(
        own,
        """
        from envbuild import Run

        run = Run.get_context()
        run.display_name, run.description = "sweep", "two rates,\\none seed"
        with run.child_run("rate 1"):
            pass
        run.child_run("rate 2").fail("no\\nluck")
        """,
    )
    own.do("run", "script.py")
    (parent,) = (each["id"] for each in own.runs() if not each.get("parent"))
    first, second = (each["id"] for each in reversed(own.runs()) if each.get("parent"))

    assert [each["id"] for each in own.do("runs", "list", "--json").json] == [parent]
    assert {each["id"] for each in own.do("runs", "list", "--children", "--json").json} == {parent, first, second}
    head, row = own.do("runs", "list").text.splitlines()
    assert head.split() == ["RUN", "NAME", "STATUS", "ENVIRONMENT", "STARTED", "RAN", "EXIT"]
    assert row.split()[:3] == [parent, "sweep", "Completed"]

    shown = own.do("runs", "show", parent).text
    assert own.do("runs", "show", parent, "--json").json["children"] == [first, second]
    assert f"children     {first}  Completed  rate 1\n             {second}  Failed  rate 2\n" in shown
    assert "description  two rates,\n             one seed\n" in shown
    failed = own.do("runs", "show", second).text
    assert f"parent       {parent}\n" in failed
    assert "status       Failed (no)\nreason       luck\n" in failed


def test_runs_that_nobody_has_named_are_listed_without_names(own: Place) -> None:
    script(own, "pass")
    own.do("run", "script.py")

    head, row = own.do("runs", "list").text.splitlines()

    assert head.split()[:3] == ["RUN", "STATUS", "ENVIRONMENT"]
    (run,) = own.runs()
    assert run["started_at"] == run["created_at"]
    assert "submitted" not in own.do("runs", "show", run["id"]).text
    assert row.split()[1] == "Completed"


def test_logs_are_shown_and_followed(own: Place, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script(
        own,
        f"""
        import os, sys, time
        print("one", flush=True)
        while not os.path.exists({str(gate)!r}):
            time.sleep(0.01)
        sys.stdout.buffer.write(b"\\xfftwo")
        """,
    )
    with own.start("run", "script.py") as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert own.do("runs", "logs", own.newest()).out == b"one\n"
        assert own.last()["status"] == "Running"
        with own.start("runs", "logs", "-f", own.newest()) as following:
            assert following.stdout is not None
            assert following.stdout.readline() == b"one\n"
            gate.touch()
            assert following.stdout.read() == b"\xfftwo"
        process.communicate()
    assert own.do("runs", "logs", "--json", own.newest()).json["text"] == "one\n\ufffdtwo"


def test_two_runs_are_compared_by_all_but_their_times(own: Place, tmp_path: Path) -> None:
    script(own, "from envbuild import Run; Run.get_context().log('m', 1); open('outputs/o', 'w').write('1')")
    own.do("run", "script.py")
    first = own.newest()
    own.do("run", "script.py")
    assert own.do("runs", "compare", first, own.newest(), "--json").json == []
    assert "nothing but their times" in own.do("runs", "compare", first, own.newest()).text

    wheel = make_wheel(tmp_path, "tiny", "1.0")
    own.write("requirements.txt", f"{wheel}\n")
    script(own, "from envbuild import Run; Run.get_context().log('m', 2); open('outputs/o', 'w').write('2')")
    own.do("run", "script.py", "arg")
    found = {each["subject"]: each for each in own.do("runs", "compare", first, own.newest(), "--json").json}
    assert any("tiny" in subject for subject in found), found.keys()
    assert {"source script.py", "metric m", "output o", "command", "environment id"} <= found.keys()
    assert (found["metric m"]["a"], found["metric m"]["b"]) == (1, 2)


def make_wheel(folder: Path, name: str, version: str) -> Path:
    from support.packages import wheel

    made = wheel(name, version)
    path = folder / made.filename
    path.write_bytes(made.data)
    return path


def test_a_run_is_reproduced_without_its_source_and_its_image(own: Place) -> None:
    script(
        own,
        """
        import os, sys
        open("outputs/same", "w").write(open("data").read() + sys.argv[1])
        open("outputs/differs", "wb").write(os.urandom(8))
        """,
    )
    own.write("data", "d")
    own.do("run", "script.py", "with space")
    first = own.newest()
    shutil.rmtree(own.folder)
    own.folder.mkdir()
    own.do("env", "delete", "project", "--force")
    assert own.do("store", "gc", "--max-size", "0", "--json").json["removed"]
    assert not list((own.workspace / "store/images").iterdir())

    done = own.do("runs", "reproduce", first, "--json", code=1)

    verdicts = {each["path"]: each["verdict"] for each in done.json["outputs"]}
    assert verdicts == {"same": "identical", "differs": "different"}
    assert done.json["reproduces"] == first
    assert done.json["run"]["reproduces"] == first
    assert done.json["run"]["environment"] == own.show(first)["environment"]
    assert done.json["identical"] is False
    assert "different" in own.do("runs", "reproduce", first, code=1).text


def test_verdicts_are_identical_different_missing_and_new(own: Place, tmp_path: Path) -> None:
    second = tmp_path / "second"
    script(
        own,
        f"""
        import os
        again = os.path.exists({str(second)!r})
        open("outputs/same", "w").write("1")
        open("outputs/differs", "w").write(str(again))
        open("outputs/" + ("fresh" if again else "gone"), "w").close()
        """,
    )
    own.do("run", "script.py")
    first = own.newest()
    assert own.do("runs", "reproduce", first, "--json").json["identical"] is True
    second.touch()
    done = own.do("runs", "reproduce", first, "--json", code=1)
    verdicts = {each["path"]: each["verdict"] for each in done.json["outputs"]}
    assert verdicts == {"same": "identical", "differs": "different", "gone": "missing", "fresh": "new"}


def test_a_value_that_is_kept_nowhere_has_to_be_given_again(own: Place) -> None:
    script(own, "import os; open('outputs/o', 'w').write(os.environ['RATE'])")
    own.do("run", "--variable", "RATE=0.5", "script.py")
    first = own.newest()

    assert "--variable RATE=VALUE" in own.refused("runs", "reproduce", first)
    own.do("runs", "reproduce", first, "--variable", "RATE=0.5")
    own.do("runs", "reproduce", first, "--variable", "RATE=0.6", code=1)


def test_a_run_is_repeated_with_its_own_definition_whatever_else_has_come_to_the_same_id(own: Place) -> None:
    script(own, "import os; open('outputs/o', 'w').write(os.environ['RATE'])")
    for rate in ("1", "2"):
        own.write("envbuild.yml", f"variables: {{RATE: '{rate}'}}\n")
        own.do("run", "script.py")
    runs = {each["number"]: each["id"] for each in own.runs()}
    first, second = (own.show(runs[number]) for number in sorted(runs)[-2:])
    assert first["environment"]["id"] == second["environment"]["id"]

    own.do("runs", "reproduce", first["id"])
    own.do("runs", "reproduce", second["id"])


def test_a_run_is_cancelled_from_another_process(own: Place) -> None:
    script(own, "import time; print('up', flush=True); time.sleep(60)")
    with own.start("run", "script.py") as process:
        assert process.stdout is not None
        process.stdout.readline()
        done = own.do("runs", "cancel", own.newest(), "--json")
        process.communicate()
    assert done.json["status"] == "Canceled"
    assert process.returncode == 128 + 15
    assert "is over already: Canceled" in own.refused("runs", "cancel", own.newest())


def test_sources_that_change_while_they_are_read_do_not_break_the_record(own: Place) -> None:
    script(own, "print(open('data').read()[:1])")
    own.write("data", "0" * 100_000)
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import itertools\nfor n in itertools.count(): open('data','w').write(str(n%10)*100000)",
        ],
        cwd=own.folder,
    )
    try:
        for _ in range(5):
            own.do("run", "script.py")
            run = own.last()
            assert run["status"] == "Completed"
            assert run["left"] == []
    finally:
        writer.kill()
        writer.wait()
    until(lambda: own.do("store", "verify").code == 0, "a clean store")


def test_an_environment_that_has_lost_its_python_runs_no_other(place: Place) -> None:
    place.write("script.py", "import sys; print(sys.executable)\n")
    first = place.do("run", "script.py").text
    (prefix,) = (place.workspace / "store/images").glob("*/prefix")

    for words in (["run", "script.py"], ["run", "--", "python", "script.py"]):
        for name in ("python", "python3"):
            (prefix / "bin" / name).unlink()
        done = place.do(*words)
        assert done.text == first
        assert "has lost its Python" in done.said


def test_an_output_name_cannot_steer_the_terminal(place: Place) -> None:
    place.write("script.py", "open('outputs/a\\x1b[31mb', 'w').close()\n")

    said = place.do("run", "script.py").said

    assert "\x1b" not in said
    assert "a\\x1b[31mb" in said


def test_an_output_that_lies_too_deep_is_told_of(place: Place) -> None:
    place.write(
        "script.py",
        "import os\nos.chdir('outputs')\n"
        "for _ in range(100):\n    os.mkdir('d' * 50); os.chdir('d' * 50)\nopen('f', 'w')\n",
    )

    assert "outputs/ cannot be read" in place.refused("run", "script.py")


def test_a_script_that_is_a_link_out_of_its_folder_runs(place: Place, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text("print('elsewhere')\n")
    (place.folder / "link.py").symlink_to(os.path.relpath(tmp_path / "elsewhere.py", place.folder))

    assert place.do("run", "link.py").text == "elsewhere\n"

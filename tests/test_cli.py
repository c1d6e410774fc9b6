"""The command line: what it says, where, and with which exit code."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support.desk import Desk, guarded
from support.place import Place

from envbuild.cli.parser import make_parser
from envbuild.sdk.compute import AmlCompute, ComputeTarget
from envbuild.sdk.workspace import Workspace


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("cli")
    made = Place(root, root / "workspace")
    made.write("requirements.txt", "# nothing\n")
    made.write("script.py", "print('hello')")
    return made


def commands() -> list[list[str]]:
    """Every command that the parser knows."""
    found: list[list[str]] = [[]]

    def walk(parser: object, words: list[str]) -> None:
        for action in parser._actions:  # type: ignore[attr-defined]
            if hasattr(action, "choices") and isinstance(action.choices, dict):
                for name, below in action.choices.items():
                    found.append([*words, name])
                    walk(below, [*words, name])

    walk(make_parser(), [])
    return found


def test_every_command_explains_itself(place: Place) -> None:
    assert len(commands()) > 25
    for words in commands():
        done = place.do(*words, "--help", program=[sys.executable, "-m", "envbuild"])
        assert done.text.startswith("usage: envbuild " + " ".join(words)), words
        assert done.err == b""
    assert place.do("--version").text.startswith("envbuild ")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("nothing",),
        ("run",),
        ("run", "--"),
        ("run", "-m"),
        ("run", "--nonsense", "x.py"),
        ("env",),
        ("env", "nothing"),
        ("runs", "show"),
        ("lock", "--as-of", "yesterday"),
        ("lock", "--platform", "toaster"),
        ("store", "gc", "--max-size", "big"),
        ("runs", "list", "--limit", "many"),
        ("runs", "list", "--status", "Nowhere"),
        ("env", "sh", "x"),
        ("--nonsense",),
        ("run", "--variable", "nothing", "script.py"),
        ("run", "--vari", "A=b", "script.py"),
    ],
)
def test_a_wrong_command_line_is_2_with_a_hint(place: Place, words: tuple[str, ...]) -> None:
    done = place.do(*words, code=2)
    assert done.said.startswith("error: ")
    assert "\nhint: " in done.said
    assert done.out == b""


def test_a_message_that_says_what_to_do_has_no_empty_hint_below_it(place: Place) -> None:
    done = place.do("env", "import", code=2)

    assert done.said == "error: what is to be imported? give a FILE, or --from-conda NAME\n"


@pytest.mark.parametrize(
    "words",
    [
        ("run", "missing.py"),
        ("build", "missing.txt"),
        ("env", "show", "nobody"),
        ("runs", "show", "nothing"),
        ("runs", "logs", "nothing"),
        ("runs", "cancel", "nothing"),
        ("why", "nobody"),
        ("verify", "nobody"),
        ("env", "import", "nothing.tar"),
        ("wheels", "add", "nothing.whl"),
        ("lock", "x.yml"),
        ("lock", "/dev/null"),
        ("build", "-t", "docker"),
        ("runs", "compare", "a", "b"),
        ("runs", "reproduce", "a"),
        ("env", "delete", "nobody"),
    ],
)
def test_a_failure_is_1_in_a_few_lines(place: Place, words: tuple[str, ...]) -> None:
    done = place.do(*words, code=1)
    assert done.said.startswith("error: ")
    assert len(done.said.splitlines()) <= 4
    assert done.out == b""
    told = place.do(*words[:1], *words[1:], "--json", code=1) if words[0] != "run" else None
    assert told is None or told.json.keys() == {"error", "message", "hint"}


def test_whatever_is_typed_there_is_never_a_traceback(place: Place) -> None:
    dice = random.Random(20)
    words = [
        *(word for command in commands() for word in command),
        "--json",
        "-q",
        "--",
        "-",
        "",
        " ",
        "\n",
        "\u00fc",
        b"\xff",
        "x" * 300,
        "script.py",
        "../..",
        "/",
        "a:b:c",
        "@",
        ":",
        "sha256:",
        "1",
        "-1",
        "--limit",
        "-e",
        "-m",
        "=",
        "--name",
        "%s",
        "{}",
        "requirements.txt",
        "/dev/null",
        "/proc/self/mem",
        "$(x)",
        "*",
        "0123456789abcdef",
    ]
    for _ in range(40):
        given = [dice.choice(words) for _ in range(dice.randint(1, 5))]
        done = place.try_(*given)
        assert "Traceback" not in done.said, (given, done.said)
        assert done.code in (0, 1, 2, 127) or given[0] == "run", (given, done)


def test_a_reader_who_has_enough_is_no_error(place: Place) -> None:
    for words in (["--help"], ["runs", "list"], ["doctor"], ["plugins", "--json"]):
        with place.start(*words) as process:
            assert process.stdout is not None
            process.stdout.close()
            assert process.stderr is not None
            assert b"Traceback" not in process.stderr.read()
        assert process.returncode in (0, 141)


def test_results_go_to_one_stream_and_the_rest_to_the_other(place: Place) -> None:
    built = place.do("build", ".", "--json")
    assert built.json["kind"] == "prefix"
    place.write("requirements.txt", "# nothing at all\n--no-binary example\n")
    locked = place.do("lock", "--json")
    assert locked.json["id"].startswith("sha256:")
    assert "Resolving" in locked.said
    assert place.do("lock", "--json", "-q", "--upgrade").said == ""
    assert "hello" not in place.do("run", "--json", "script.py").json


def test_colours_are_for_terminals_and_for_those_who_ask(place: Place) -> None:
    escape = "\x1b["
    assert escape not in place.refused("build", "nothing.txt")
    coloured = {"FORCE_COLOR": "1", "TERM": "xterm"}
    assert escape in place.do("build", "nothing.txt", code=1, env=coloured).said
    assert escape not in place.refused("build", "nothing.txt", env={**coloured, "NO_COLOR": "1"})
    assert escape in place.do("doctor", env=coloured).text
    assert escape not in place.do("doctor").text


def test_json_is_what_every_command_can_say_in_the_words_of_the_design(place: Place) -> None:
    place.do("env", "register", ".", "--name", "words")
    place.do("run", "-q", "script.py")
    run = place.newest()
    environment = place.do("env", "show", "words", "--json").json
    assert {"name", "version", "id", "definition_digest"} <= environment.keys()
    assert {"name", "version", "id", "definition_digest"} <= place.do("env", "list", "--json").json[0].keys()
    assert {"kind", "id", "path"} <= place.do("build", ".", "--json").json.keys()
    shown = place.do("runs", "show", run, "--json").json
    assert {"id", "status", "environment", "exit_code"} <= shown.keys()
    for digest in (environment["id"], environment["definition_digest"], shown["snapshot"]):
        kind, _, digits = digest.partition(":")
        assert (kind, len(digits), set(digits) <= set("0123456789abcdef")) == ("sha256", 64, True)
    for words in (
        ["lock", "--check"],
        ["why", "."],
        ["why", ".", "words"],
        ["env", "diff", ".", "words"],
        ["runs", "list"],
        ["runs", "logs", run],
        ["runs", "compare", run, run],
        ["runs", "reproduce", run],
        ["store", "usage"],
        ["store", "gc", "--dry-run"],
        ["store", "verify"],
        ["verify", "."],
        ["plugins"],
        ["doctor"],
        ["env", "archive", "words"],
        ["env", "restore", "words"],
        ["env", "label", "words", "good"],
        ["env", "export", "words"],
        ["env", "delete", "words", "--force"],
    ):
        done = place.try_(*words, "--json")
        assert done.code == 0, (words, done)
        json.loads(done.out)


def test_the_module_and_the_command_are_the_same_program(place: Place) -> None:
    command = Path(sysconfig.get_path("scripts")) / "envbuild"
    if not command.exists():
        pytest.skip("envbuild is not installed as a command here")
    for words in (["--version"], ["plugins"], ["run", "script.py"], ["run"]):
        one = place.try_(*words)
        other = place.try_(*words, program=[str(command)])
        assert (one.code, one.out) == (other.code, other.out), words


def test_a_workspace_that_is_a_file_is_told_as_such(desk: Desk) -> None:
    place = desk.folder / "place"
    place.write_text("")

    failed = desk.set(ENVBUILD_WORKSPACE=str(place)).try_("env", "list")

    assert failed.code == 1
    assert f"the workspace {place} is a file" in failed.err


def test_importing_envbuild_loads_nothing_that_takes_time() -> None:
    code = "import sys; before = set(sys.modules); import envbuild; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"__future__", "envbuild", "envbuild.activation", "envbuild.layout"}


def test_listing_loads_no_plugin_and_no_yaml(place: Place) -> None:
    code = (
        "import sys; from envbuild.cli import main; code = main(['env', 'list', '-q']);"
        "heavy = ('yaml', 'rich', 'pluggy', 'envbuild_pip.plugin', 'packaging.requirements');"
        "print(*[name for name in heavy if name in sys.modules],"
        " file=sys.stderr); sys.exit(code)"
    )
    assert place.do(program=[sys.executable, "-c", code]).said.split() == []


def test_plugins_are_listed_with_what_they_answer(place: Place) -> None:
    found = {each["name"]: each for each in place.do("plugins", "--json").json}
    assert found["local"]["hooks"] == ["run_target"]
    assert {"resolve_dependencies", "compute_hash", "build_image"} <= set(found["pip"]["hooks"])
    assert found["pip"]["distribution"].startswith("envbuild ")
    assert found["pip"]["error"] == ""


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise ImportError('no libfoo')", "no libfoo"),
        ("import sys; sys.exit(3)", "3"),
        ("def syntax(", "SyntaxError"),
        ("from envbuild import hookimpl\n@hookimpl\ndef no_such_hook(): pass\n", "no_such_hook"),
        ("from envbuild import hookimpl\n@hookimpl\ndef run_target(nonsense): pass\n", "nonsense"),
    ],
)
def test_a_broken_plugin_is_named_and_left_out(place: Place, tmp_path: Path, module: str, reason: str) -> None:
    (tmp_path / "broken_plugin.py").write_text(module)
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[envbuild]\nbroken = broken_plugin\n")
    env = {"PYTHONPATH": str(tmp_path)}

    found = {each["name"]: each for each in place.do("plugins", "--json", env=env).json}
    assert reason in found["broken"]["error"]
    assert found["broken"]["distribution"] == "broken 1.0"
    assert found["local"]["hooks"] == ["run_target"]
    assert "broken" in place.do("plugins", env=env).text
    assert place.do("run", "-q", "script.py", env=env).text == "hello\n"
    assert "broken 1.0" in place.do("doctor", code=1, env=env).text


def test_doctor_says_how_to_mend_what_is_wrong(place: Place, tmp_path: Path) -> None:
    assert {each["state"] for each in place.do("doctor", "--json").json} <= {"ok", "warning"}
    broken = tmp_path / "file"
    broken.write_text("")
    done = place.do("doctor", "--json", code=1, env={"ENVBUILD_WORKSPACE": str(broken / "below")})
    assert any(each["state"] == "error" and each["remedy"] for each in done.json)
    done = place.do("doctor", code=1, env={"ENVBUILD_STORE_MAX_SIZE": "lots"})
    assert "ENVBUILD_STORE_MAX_SIZE" in done.text


def test_a_bad_bound_of_the_store_does_not_change_how_a_run_ends(place: Place) -> None:
    place.write("fresh/envbuild.yml", "name: fresh\n")
    place.write("fresh/script.py", "raise SystemExit(9)")
    place.do("run", "fresh/script.py", code=9, env={"ENVBUILD_STORE_MAX_SIZE": "lots"})


def test_text_that_no_encoding_has_does_not_stop_a_list(place: Place) -> None:
    place.do("run", "script.py", b"\xff")
    run = place.newest()
    for env in ({"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {}):
        place.do("runs", "show", run, env=env)
        assert place.do("runs", "show", run, "--json", env=env).json["command"][-1] == os.fsdecode(b"\xff")


# Which workspace


@pytest.fixture
def at_home(tmp_path: Path) -> Place:
    """A project whose default workspace is where the platform has it."""
    made = Place(tmp_path, tmp_path / "unused", {"ENVBUILD_WORKSPACE": "", "XDG_DATA_HOME": str(tmp_path / "data")})
    made.write("requirements.txt", "# nothing\n")
    made.write("script.py", "print('hello')")
    return made


@pytest.mark.parametrize("command", [("runs", "list"), ("env", "list"), ("models", "list")])
def test_listing_makes_no_workspace_and_names_those_that_there_are(at_home: Place, command: tuple[str, ...]) -> None:
    data = at_home.root / "data"
    Workspace.create("mlws", path=data / "envbuild/workspaces/mlws")

    with guarded(at_home.root):
        done = at_home.do(*command)
        for option in ("--json", "--quiet"):
            assert at_home.do(*command, option).said == ""
        lost = at_home.do(*command, env={"ENVBUILD_WORKSPACE": "nowhere"})

    thing = {"env": "environments"}.get(command[0], command[0])
    other = "others: mlws (ENVBUILD_WORKSPACE=mlws)"
    assert done.said == f"note: no {thing} in the workspace default ({data}/envbuild); {other}\n"
    assert f"in the workspace nowhere ({data}/envbuild/workspaces/nowhere); {other}" in lost.said


def test_below_a_workspace_that_is_said_by_its_path_the_others_are_said_by_theirs(at_home: Place) -> None:
    here = at_home.root / "here"
    Workspace.create("team", path=here / "workspaces/team")

    said = at_home.do("runs", "list", env={"ENVBUILD_WORKSPACE": str(here)}).said

    assert f"others: team (ENVBUILD_WORKSPACE={here}/workspaces/team)" in said
    assert f"others: default (ENVBUILD_WORKSPACE={here})" not in said


def test_the_variable_names_a_workspace_as_the_sdk_does(at_home: Place) -> None:
    named = {"ENVBUILD_WORKSPACE": "mlws"}
    code = "from envbuild.sdk import Workspace; print(Workspace('mlws').root, Workspace().root)"
    root = at_home.root / "data/envbuild/workspaces/mlws"

    for _ in range(2):  # the second time nothing is looked at twice
        at_home.do("run", "script.py", env=named)

    assert at_home.do("-c", code, program=[sys.executable]).text == f"{root} {at_home.root}/data/envbuild\n"
    assert at_home.do("-c", code, program=[sys.executable], env=named).text == f"{root} {root}\n"
    assert len(at_home.do("runs", "list", "--json", env=named).json) == 2
    assert len(at_home.do("runs", "list", "--json", env={"ENVBUILD_WORKSPACE": f"{root}/"}).json) == 2
    assert not (at_home.folder / "mlws").exists()
    said = at_home.do("runs", "list").said
    assert "others: mlws (ENVBUILD_WORKSPACE=mlws)" in said
    assert "others: default (ENVBUILD_WORKSPACE=default)" not in said


def test_a_path_has_a_slash(at_home: Place) -> None:
    at_home.do("run", "script.py", env={"ENVBUILD_WORKSPACE": "./ws"})

    assert (at_home.folder / "ws/catalogue.db").exists()
    for words in (("run", "script.py"), ("runs", "list")):
        assert "a path has a '/'" in at_home.refused(*words, env={"ENVBUILD_WORKSPACE": "ws"})


def test_an_experiment_that_there_is_not_is_said_so(place: Place) -> None:
    place.do("run", "--name", "training", "script.py")

    done = place.do("runs", "list", "--name", "trianing")

    assert "no experiment is named 'trianing'; did you mean 'training'?" in done.said
    assert place.do("runs", "list", "--name", "trianing", "--json").json == []


def test_a_compute_target_of_the_sdks_is_told_from_one_of_the_command_lines(place: Place) -> None:
    configuration = AmlCompute.provisioning_configuration(max_nodes=2)
    ComputeTarget.create(Workspace(place.workspace), "cpu-cluster", configuration)

    said = place.refused("run", "-t", "cpu-cluster", "script.py")

    assert "whose runs are submitted with Experiment.submit" in said
    assert "-t local" in said


@pytest.mark.parametrize(
    "words",
    [("run", "-e", "", "script.py"), ("build", ""), ("lock", ""), ("why", ""), ("why", ".", ""),
     ("env", "diff", ".", ""), ("env", "register", ""), ("env", "show", ""), ("env", "export", ""), ("verify", ""),
     ("bisect", "", ".", "--", "true"), ("bisect", ".", "", "--", "true")],
)  # fmt: skip
def test_a_variable_that_is_not_set_does_not_mean_the_current_folder(words: tuple[str, ...], desk: Desk) -> None:
    desk.requirements("nothing-of-that-name")

    done = desk.try_(*words)

    assert done.code == 2
    assert done.err == "error: SPEC is empty\nhint: is the variable set that should name it?\n"

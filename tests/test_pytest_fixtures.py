"""The fixtures of the pytest plugin: environments to do something in, and a workspace of a test's own."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from envbuild import EnvbuildError, NotFound
from envbuild.inside.envbuild import call
from envbuild.pytest_plugin import calling
from envbuild.pytest_plugin.built import BuiltEnvironment
from envbuild.pytest_plugin.calling import CallRefused
from envbuild.pytest_plugin.commands import CommandFailed
from envbuild.pytest_plugin.environments import Environments

SECRET = "hunter2"
OUTSIDE = "what the module has"


@pytest.fixture(scope="session")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What says where environments are made, once for all tests."""
    folder = tmp_path_factory.mktemp("fixtures")
    pyenv = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    places = {"ENVBUILD_WORKSPACE": str(folder / "workspace"), "UV_CACHE_DIR": str(folder / "cache")}
    return {**places, "PYENV_ROOT": pyenv, "TOKEN": SECRET}


@dataclass
class Suite:
    """Tests of somebody who uses the plugin."""

    pytester: pytest.Pytester

    def write(self, **files: str) -> None:
        """Write test modules, by their names without ``.py``."""
        for name, text in files.items():
            self.lay(f"{name}.py", text)

    def lay(self, path: str, text: str) -> Path:
        """Write any file."""
        file = self.pytester.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return file

    def pytest(self, *words: str, **outcomes: int) -> str:
        """Run them, see to it that so many passed, failed and so on, and give what was said."""
        done = self.pytester.runpytest_subprocess("-p", "no:cacheprovider", *words, timeout=180)
        said = f"{done.stdout}\n{done.stderr}"
        assert done.parseoutcomes() == outcomes, said
        return said


@pytest.fixture
def suite(pytester: pytest.Pytester, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Suite:
    for name in list(os.environ):
        if name.startswith(("ENVBUILD_", "PYTEST_")):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Suite(pytester)


@pytest.fixture
def built(tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A built environment without packages, of which every test has the same."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    definition = tmp_path / "envbuild.yml"
    definition.write_text('python: ">=3.8"\nvariables: {LEVEL: "7"}\nsecrets: [TOKEN]\n')
    environments = Environments(tmp_path)
    yield BuiltEnvironment(environments.get(str(definition)), str(definition), environments)
    environments.close()


# Calling functions


def test_a_function_is_called_in_the_python_of_the_environment_whichever_that_is(
    suite: Suite, interpreters: dict[str, Path], lacking: Callable[[str, str], None]
) -> None:
    if not {"3.8", "3.13"} <= interpreters.keys():
        lacking("pythons", "Pythons 3.8 and 3.13 are wanted")
    for version in interpreters:
        suite.lay(f"python{version}.yml", f'python: "{version}"\n')
    suite.write(
        test_calls="""
        import pytest

        def described(text, *more, of=None):
            import sys
            return {"version": sys.version_info[:2], "text": text, 1: more, "of": [of, 0.5, True, None]}

        @pytest.mark.parametrize("version", VERSIONS)
        def test_call(version, envbuild_environment):
            environment = envbuild_environment(f"python{version}.yml")

            given = tuple(map(int, version.split(".")))
            assert environment.call(described, "ü\\n", (1, [2]), {3: ()}, of="x") == {
                "version": given, "text": "ü\\n", 1: ((1, [2]), {3: ()}), "of": ["x", 0.5, True, None]
            }
            assert environment.run("python", "-V").stdout.startswith(f"Python {version}.")
            assert environment.python.is_relative_to(environment.path)
    """.replace("VERSIONS", repr(list(interpreters)))
    )

    suite.pytest(passed=len(interpreters))


def test_what_is_raised_inside_shows_where_it_was_and_what_was_printed_but_no_secret(suite: Suite) -> None:
    suite.lay("envbuild.yml", "secrets: [TOKEN]\n")
    suite.write(
        test_raising="""
        def fails(value):
            import os
            print("printed", os.environ["TOKEN"])
            text = '''of
        two lines'''
            raise ValueError(f"{value} {text} {os.environ['TOKEN']}")

        def test_it(envbuild_environment):
            envbuild_environment("envbuild.yml").call(fails, "bad")
    """
    )

    said = suite.pytest(failed=1)

    assert "CommandFailed: fails raised ValueError inside envbuild.yml  sha256:" in said
    file = suite.pytester.path / "test_raising.py"
    assert f'File "{file}", line 7, in fails' in said
    assert "ValueError: bad of" in said
    assert "printed ***\n" in said
    assert SECRET not in said


def test_an_exit_or_a_crash_inside_is_an_error_too(built: BuiltEnvironment) -> None:
    def leaves() -> None:
        import sys

        sys.exit("for good")

    def dies() -> None:
        import os
        import sys

        sys.stderr.write("last words " + os.environ["TOKEN"])
        sys.stderr.flush()
        os.kill(os.getpid(), 9)

    with pytest.raises(CommandFailed, match=r"leaves raised SystemExit inside .*(?s:.*)SystemExit: for good"):
        built.call(leaves)
    with pytest.raises(CommandFailed) as died:
        built.call(dies)

    assert "dies did not come back: its process was ended by signal 9" in str(died.value)
    assert "last words ***" in str(died.value)
    assert died.value.exit_code == -9


def test_what_a_function_prints_the_test_prints(built: BuiltEnvironment, capsys: pytest.CaptureFixture[str]) -> None:
    def prints() -> None:
        import os
        import sys

        sys.stdout.write("out " + os.environ["LEVEL"])
        sys.stderr.write("err " + os.environ["TOKEN"])

    built.call(prints)

    assert capsys.readouterr() == ("out 7", "err ***")


def test_a_function_may_define_classes_and_call_itself_and_has_annotations_of_the_outside(
    built: BuiltEnvironment,
) -> None:
    def factorial(number: BuiltEnvironment | int) -> int:
        from dataclasses import dataclass

        @dataclass
        class One:
            value: int = 1

        return factorial(number - 1) * number if number else One().value

    assert built.call(factorial, 5) == 120


def refusals() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...], str]]:
    around = 1

    def closure() -> int:
        return around

    def of_the_module() -> str:
        return OUTSIDE + os.sep

    def by_default(text: str = OUTSIDE) -> str:
        return text

    @pytest.mark.usefixtures("tmp_path")
    def decorated() -> None: ...

    def takes(value: object) -> None: ...

    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    return {
        "lambda": (lambda: 1, (), "a lambda has no source of its own"),
        "method": (Path("x").exists, (), "is a method"),
        "function of a class": (Suite.pytest, (), "pytest is a method of Suite"),
        "class": (Suite, (), "is a type"),
        "built in": (len, (), "is a builtin_function_or_method"),
        "closure": (closure, (), "closure is a closure: it uses around of what is around it"),
        "globals": (of_the_module, (), "of_the_module uses what is defined outside of it: OUTSIDE, os"),
        "default": (by_default, (), "by_default uses what is defined outside of it: OUTSIDE"),
        "decorated": (decorated, (), "decorated is decorated"),
        "no source": (_made_of_text(), (), "the source of made cannot be read"),
        "set": (takes, ([1, {"a": {2}}],), "takes: args[0][1]['a'] is a builtins.set"),
        "key": (takes, ({b"": 1},), "takes: a key of args[0] is a builtins.bytes"),
        "subclass": (takes, (type("Text", (str,), {})("x"),), "takes: args[0] is a test_pytest_fixtures.Text"),
        "deep": (takes, (deep,), "is nested too deeply"),
    }


def _made_of_text() -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec("def made(): pass", namespace)
    made: Callable[..., Any] = namespace["made"]
    return made


@pytest.mark.parametrize("case", refusals())
def test_what_cannot_be_sent_is_refused_with_the_reason_and_what_to_do(case: str) -> None:
    function, args, reason = refusals()[case]

    with pytest.raises(CallRefused) as refused:
        calling.request(function, args, {})

    assert reason in str(refused.value).replace(f"{__name__}.Text", "test_pytest_fixtures.Text")
    assert refused.value.hint or case == "no source"


def test_a_result_that_is_no_plain_data_is_refused(built: BuiltEnvironment) -> None:
    def gives() -> object:
        import pathlib

        return [0, {"path": pathlib.PurePosixPath("x")}]

    with pytest.raises(CallRefused, match=r"gives: result\[1\]\['path'\] is a pathlib\S*\.PurePosixPath") as refused:
        built.call(gives)

    assert refused.value.hint.startswith("plain data are None")


PLAIN = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(),
    lambda inner: (
        some.lists(inner)
        | some.lists(inner).map(tuple)
        | some.dictionaries(some.text() | some.integers() | some.tuples(some.integers(), some.none()), inner)
    ),
)


@given(PLAIN)
def test_plain_data_arrive_as_they_were_sent(value: Any) -> None:
    arrived = call.read(json.loads(json.dumps(call.written(value, "value"))))

    assert repr(arrived) == repr(value)


# Running commands


def test_a_command_has_the_environment_the_definition_and_what_comes_on_top(
    built: BuiltEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_TEST", "yes")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    (tmp_path / "below").mkdir()
    code = """
        import os, sys, pathlib
        print(sys.prefix, *(os.environ.get(name) for name in ("LEVEL", "TOKEN", "OF_THE_TEST", "MORE", "VIRTUAL_ENV")))
        print("/nowhere" in sys.path, pathlib.Path.cwd().name, input())
    """

    done = built.run(
        ["python", "-c", textwrap.dedent(code)], input="read\n", cwd=tmp_path / "below", variables={"MORE": "on top"}
    )

    assert done.stdout == f"{built.path} 7 {SECRET} yes on top {built.path}\nFalse below read\n"
    assert built.run("sh", "-c", "command -v python").stdout == f"{built.path}/bin/python\n"


def test_a_command_that_fails_says_what_it_printed_but_no_secret(built: BuiltEnvironment) -> None:
    words = ("sh", "-c", 'echo "out $TOKEN"; echo "err $TOKEN" >&2; exit 3')

    with pytest.raises(CommandFailed) as failed:
        built.run(*words)
    done = built.run(*words, check=False)

    text = str(failed.value)
    assert "exit 3' ended with exit code 3\n(inside envbuild.yml  sha256:" in text
    assert text.endswith("--- stdout ---\nout ***\n--- stderr ---\nerr ***")
    assert failed.value.exit_code == 3
    assert (done.returncode, done.stdout, done.stderr) == (3, f"out {SECRET}\n", f"err {SECRET}\n")


def test_a_command_that_is_late_is_killed_with_all_that_it_has_started(built: BuiltEnvironment, tmp_path: Path) -> None:
    began = time.monotonic()

    with pytest.raises(CommandFailed, match=r"did not end within 1 s\n--- stdout ---\nstarted \*\*\*"):
        built.run("sh", "-c", 'sh -c "echo \\$\\$ > child; sleep 60" & echo "started $TOKEN"; sleep 60', timeout=1)

    assert time.monotonic() - began < 20
    child = int((tmp_path / "child").read_text())
    while time.monotonic() - began < 20 and is_alive(child):
        time.sleep(0.01)
    assert not is_alive(child)


def is_alive(process: int) -> bool:
    """Whether a process goes on; one that has ended and nobody has asked for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_program_or_a_folder_that_is_not_there_is_said_so(built: BuiltEnvironment) -> None:
    with pytest.raises(NotFound, match="no such program in the environment or on PATH: no-such-program"):
        built.run("no-such-program")
    with pytest.raises(NotFound, match="there is no folder nowhere"):
        built.run("python", "-V", cwd="nowhere")
    with pytest.raises(EnvbuildError, match="no command"):
        built.run()


# Running scripts


def test_a_script_is_a_recorded_run(built: BuiltEnvironment, tmp_path: Path) -> None:
    script = tmp_path / "train" / "train.py"
    script.parent.mkdir()
    script.write_text(
        "import os, sys\nfrom envbuild import Run\nRun.get_context().log('loss', 0.5)\n"
        "print(sys.argv[1:], os.environ['MORE'], os.environ['TOKEN'], sys.prefix)\n"
        "open('outputs/model', 'w').write('trained')\n"
    )

    run = built.run_script("train/train.py", 1, "two", variables={"MORE": "more"})

    assert (run.status, run.exit_code) == ("Completed", 0)
    assert run.log == f"['1', 'two'] more *** {built.path}\n"
    assert run.metrics == {"loss": 0.5}
    assert (run.outputs / "model").read_text() == "trained"
    recorded = built.environments.workspace.run(run.id)
    assert (recorded["experiment"], recorded["environment"]["id"]) == ("pytest", built.id)


def test_a_script_that_fails_or_is_late_says_so_with_its_log(built: BuiltEnvironment, tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text("import os\nprint(os.environ['TOKEN'])\nraise SystemExit(5)\n")
    (tmp_path / "sleeps.py").write_text("import time\nprint('asleep')\ntime.sleep(60)\n")

    with pytest.raises(CommandFailed, match=r"fails.py: Failed, exit code 5 (?s:.*)--- log ---\n\*\*\*") as failed:
        built.run_script("fails.py")
    allowed = built.run_script("fails.py", check=False)
    with pytest.raises(CommandFailed, match=r"sleeps.py: Canceled, stopped after the 1 s (?s:.*)asleep"):
        built.run_script("sleeps.py", timeout=1)

    assert failed.value.exit_code == allowed.exit_code == 5
    assert allowed.status == "Failed"


# What an environment is


def test_an_environment_says_what_is_in_it(suite: Suite, index: Any) -> None:
    suite.lay("requirements.txt", f"--index-url {index.simple}\ndemo==1.0\n")
    suite.write(
        test_it="""
        def version():
            import importlib.metadata as metadata
            return metadata.version("demo")

        def test_it(envbuild_environment):
            environment = envbuild_environment("requirements.txt")
            assert environment.name == str(environment).split()[0] == "requirements.txt"
            assert environment.id.startswith("sha256:") and environment.id in str(environment)
            assert environment.versions["demo"] == environment.call(version) == "1.0"
            assert [(each.name, each.version, each.artifact.kind) for each in environment.lock.packages
                    if each.name == "demo"] == [("demo", "1.0", "wheel")]
    """
    )

    suite.pytest(passed=1)


def test_an_environment_is_made_once_per_session_and_found_from_the_folder_of_the_file_that_asks(suite: Suite) -> None:
    suite.lay("envbuild.yml", 'python: ">=3.8"\nvariables: {WHICH: root}\n')
    suite.lay("deep/envbuild.yml", 'python: ">=3.8"\nvariables: {WHICH: deep}\n')
    suite.lay("other/other.yml", 'python: ">=3.8"\nvariables: {WHICH: other}\n')
    suite.write(
        conftest="""
        import pathlib, pytest

        @pytest.fixture(scope="session")
        def which(envbuild_environment):
            def which(environment):
                return environment.run("sh", "-c", "echo $WHICH").stdout.strip()
            assert which(envbuild_environment("envbuild.yml")) == "root"
            assert which(envbuild_environment(pathlib.Path(__file__).with_name("other") / "other.yml")) == "other"
            return which
        """
    )
    deep = """
        def test_it(envbuild_environment, which):
            assert which(envbuild_environment("envbuild.yml")) == "deep"
            assert which(envbuild_environment("other/other.yml")) == "other"
            assert envbuild_environment("envbuild.yml") == envbuild_environment("../deep/envbuild.yml")
    """
    suite.lay("deep/test_one.py", deep)
    suite.lay("deep/test_two.py", deep)

    said = suite.pytest("-s", passed=2)

    assert said.count("envbuild: Resolving") <= 3


def test_what_cannot_be_had_is_an_error_with_a_hint_in_the_test_that_asks(suite: Suite) -> None:
    suite.write(test_it="def test_it(envbuild_environment): envbuild_environment('nothing.yml')")

    said = suite.pytest(failed=1)

    assert "NotFound: no such file: nothing.yml" in said


def test_processes_of_xdist_share_what_one_of_them_builds(suite: Suite, lacking: Callable[[str, str], None]) -> None:
    pytest.importorskip("xdist")
    suite.lay("envbuild.yml", f'python: ">=3.8"\nname: shared\nvariables: {{LEVEL: "{time.time_ns()}"}}\n')
    suite.write(
        test_it="""
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(number, envbuild_environment, tmp_path_factory):
            environment = envbuild_environment("envbuild.yml")
            assert environment.call(abs_, -number) == number
            (tmp_path_factory.getbasetemp().parent / "ids").open("a").write(environment.id + "\\n")
            assert len({*(tmp_path_factory.getbasetemp().parent / "ids").read_text().split()}) == 1

        def abs_(number):
            return abs(number)
    """
    )

    suite.pytest("-n2", passed=4)


# Inside and outside


def test_tests_that_ask_for_the_fixtures_run_outside_also_where_all_others_run_inside(
    suite: Suite, lacking: Callable[[str, str], None]
) -> None:
    lend(suite, lacking)
    suite.lay("envbuild.yml", 'python: "3.12"\n')
    suite.write(
        conftest="""
        import pytest

        @pytest.fixture
        def environment(envbuild_environment):
            return envbuild_environment("envbuild.yml")
        """,
        test_it="""
        import sys

        OUTSIDE = THIS

        def test_inside():
            assert sys.executable != OUTSIDE

        def test_outside(environment):
            assert sys.executable == OUTSIDE
            assert environment.run("python", "-V").stdout.startswith("Python 3.12")

        def test_workspace(envbuild_workspace):
            assert sys.executable == OUTSIDE
        """.replace("THIS", repr(sys.executable)),
    )

    said = suite.pytest("-v", "--envbuild", "envbuild.yml", passed=3)

    assert "test_it.py::test_inside[envbuild.yml] PASSED" in said
    assert "test_it.py::test_outside PASSED" in said


def test_a_test_inside_that_asks_for_them_is_told_why_they_are_not_there(
    suite: Suite, lacking: Callable[[str, str], None]
) -> None:
    lend(suite, lacking)
    suite.lay("envbuild.yml", 'python: "3.12"\n')
    suite.write(
        test_it="""
        import pytest

        pytestmark = pytest.mark.envbuild("envbuild.yml")

        def test_environment(envbuild_environment): ...
        def test_workspace(request): request.getfixturevalue("envbuild_workspace")
        """
    )

    said = suite.pytest(errors=1, failed=1)

    for name in ("envbuild_environment", "envbuild_workspace"):
        assert f"the fixture {name} is for tests that run outside, and this one runs inside an environment" in said


def test_a_secret_of_one_letter_is_covered_in_what_is_said_and_does_not_get_in_the_way(
    suite: Suite, lacking: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lend(suite, lacking)
    monkeypatch.setenv("TOKEN", "e")
    suite.lay("secret.yml", 'python: "3.12"\nsecrets: [TOKEN]\n')
    suite.write(test_it="def test_passes(): ...\ndef test_fails(): raise ValueError('one e')\n")

    said = suite.pytest("--envbuild", "secret.yml", passed=1, failed=1)

    assert "Valu***Error: on*** ***" in said


def lend(suite: Suite, lacking: Callable[[str, str], None]) -> None:
    """See to it that environments can be lent pytest."""
    suite.lay("lent/envbuild.yml", 'python: "3.12"\n')
    try:
        Environments(suite.pytester.path, wanted=("pytest",)).get(str(suite.pytester.path / "lent/envbuild.yml"))
    except EnvbuildError as error:
        lacking("network", f"no index of packages can be reached: {error}")


# A workspace of a test's own


def test_each_test_has_a_workspace_of_its_own_and_no_run_outlives_it(suite: Suite) -> None:
    suite.write(
        test_it="""
        import os, subprocess, sys, time
        import pytest
        from envbuild import Environment, Experiment, ScriptRunConfig, Workspace

        @pytest.fixture
        def gone(request, tmp_path):
            yield
            process = int((tmp_path / "process").read_text())
            with pytest.raises(ProcessLookupError):
                os.kill(process, 0)

        def test_submitted(gone, envbuild_workspace, tmp_path):
            assert Workspace() == envbuild_workspace
            assert envbuild_workspace.environments == {}
            (tmp_path / "source").mkdir()
            (tmp_path / "source/train.py").write_text(
                "import os, signal, sys, time\\n"
                "signal.signal(signal.SIGTERM, lambda *_: print('I will not', flush=True))\\n"
                "open(sys.argv[1], 'w').write(str(os.getpid()))\\n"
                "while True: time.sleep(1)"
            )
            config = ScriptRunConfig(tmp_path / "source", "train.py", [tmp_path / "process"],
                                     environment=Environment("plain"))
            run = Experiment(envbuild_workspace, "trials").submit(config)
            Experiment(envbuild_workspace, "trials").submit(config)
            while not ((tmp_path / "process").exists() and (tmp_path / "process").read_text()):
                assert run.get_status() not in ("Failed", "Completed"), run.get_details()
                time.sleep(0.05)

        def test_of_programs(envbuild_workspace, envbuild_environment, tmp_path):
            (tmp_path / "hello.py").write_text("print('hello')")
            subprocess.run([sys.executable, "-m", "envbuild", "run", "hello.py"], cwd=tmp_path, check=True)
            (experiment,) = envbuild_workspace.experiments.values()
            (run,) = experiment.get_runs()
            assert run.get_status() == "Completed"
            # The session's own environments stay where they are.
            (tmp_path / "envbuild.yml").write_text('python: ">=3.8"\\n')
            assert not envbuild_environment(tmp_path / "envbuild.yml").path.is_relative_to(envbuild_workspace.root)

        def test_nothing_is_left(envbuild_workspace):
            assert envbuild_workspace.experiments == {}
        """
    )

    suite.pytest(passed=3)


def test_nobody_else_has_the_workspace_of_a_test_in_its_variable(suite: Suite, variables: dict[str, str]) -> None:
    suite.write(
        test_it="""
        import os

        def test_own(envbuild_workspace):
            assert os.environ["ENVBUILD_WORKSPACE"] == str(envbuild_workspace.root)

        def test_other():
            assert os.environ["ENVBUILD_WORKSPACE"] == SESSIONS
        """.replace("SESSIONS", repr(variables["ENVBUILD_WORKSPACE"]))
    )

    suite.pytest(passed=2)

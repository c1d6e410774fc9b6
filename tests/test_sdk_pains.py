"""What users of Azure ML suffer from, point by point, and that it is better here.

The points that are about services come with services.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.bench import Bench
from support.index import Index
from support.packages import wheel

from envbuild.sdk import Environment, Model
from envbuild.sdk.exceptions import (
    ActivityFailedException,
    EnvbuildError,
    ExperimentExecutionException,
    ModelNotFoundException,
    ModelPathNotFoundException,
    SnapshotException,
    UserErrorException,
)


@pytest.fixture
def tools(bench: Bench, index: Index) -> Environment:
    """An environment with a package."""
    made = Environment("tools")
    made.python.conda_dependencies.set_pip_option(f"--index-url {index.simple}")
    made.python.conda_dependencies.add_pip_package("demo")
    return made


def printed(bench: Bench, source: str, environment: Environment) -> str:
    """What a script prints, without the end of the line."""
    run = bench.run(source, environment=environment)
    return (run.folder / "logs/output.log").read_text().rstrip()


# 1. There is no way to get rid of an environment.


def test_an_environment_can_be_archived_and_deleted_but_not_from_under_its_runs(bench: Bench) -> None:
    run = bench.run("")
    Environment.archive(bench.workspace, "plain")
    assert Environment.list(bench.workspace) == {}
    assert Environment.get(bench.workspace, "plain", version=1) == run.get_environment()

    with pytest.raises(UserErrorException, match="plain:1"):
        Environment.delete(bench.workspace, "plain")
    run.delete()
    Environment.delete(bench.workspace, "plain")

    with pytest.raises(UserErrorException, match="plain"):
        Environment.get(bench.workspace, "plain")
    assert Environment("plain").register(bench.workspace).version == "2"


# 2. Versions called Autosave turn up, and come before the one that was registered.


def test_a_run_takes_the_version_that_was_registered_and_says_which_and_why(bench: Bench) -> None:
    made = Environment("mine")
    registered = made.register(bench.workspace)

    run = bench.run("", environment=made)

    said = run.get_details()["runDefinition"]["environment"]
    assert (said["name"], said["version"]) == ("mine", registered.version)
    assert f"mine:1 is {said['id']} (built)" in (run.folder / "logs/prepare.log").read_text()
    assert (
        f"mine:1 is {said['id']} (found)" in (bench.run("", environment=made).folder / "logs/prepare.log").read_text()
    )
    assert Environment.get(bench.workspace, "mine").version == "1"


# 3. Environments drift, since what was not pinned is resolved anew.


def test_a_version_that_is_built_again_has_the_packages_that_it_had(
    bench: Bench, tools: Environment, index: Index
) -> None:
    source = "import demo, helper; print(demo.__version__, helper.__version__)"
    before = printed(bench, source, tools)
    index.publish(wheel("demo", "9.0", requires=["helper"]), wheel("helper", "9.0"))
    identity = tools.id
    assert identity is not None

    bench.workspace._core.images.remove(bench.workspace._core.locate_id(identity), force=True)

    assert not tools.get_image_details(bench.workspace).image_exist
    assert printed(bench, source, tools) == before == "2.0 1.1"
    assert tools.id == identity


# 4. Nobody knows what the cache goes by, and nothing forces a build.


def test_an_environment_explains_why_it_is_built_or_reused(bench: Bench, tools: Environment) -> None:
    assert "built because:\n  there is no lock yet" in tools.explain(bench.workspace)
    tools.build(bench.workspace).wait_for_completion(show_output=False)

    assert "reused because:\n  definition, lock and local projects are as they were" in tools.explain(bench.workspace)
    tools.python.conda_dependencies.add_pip_package("fancy")
    assert "not registered like this yet" in tools.explain(bench.workspace)


def test_another_file_under_the_same_name_is_another_environment(bench: Bench) -> None:
    identities = set()
    for payload in ("", "!"):
        file = bench.folder / "custom-1.0-py3-none-any.whl"
        file.write_bytes(wheel("custom", "1.0", payload=payload).data)
        made = Environment("mine")
        made.python.conda_dependencies.add_pip_package(f"./{file.name}")
        bench.run("", environment=made)
        identities.add(made.id)

    assert len(identities - {None}) == 2


# 5. Whoever waits for a build is sent away before it ends, or is not told that it has failed.


def test_waiting_for_a_build_shows_its_log_and_raises_what_has_gone_wrong(
    bench: Bench, index: Index, tools: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tools.build(bench.workspace).wait_for_completion(show_output=True)
    assert (good.status, capsys.readouterr().out) == ("Succeeded", good.get_log())
    tools.python.conda_dependencies.add_pip_package("nowhere-to-be-found")

    bad = tools.build(bench.workspace)
    with pytest.raises(ActivityFailedException, match="nowhere-to-be-found"):
        bad.wait_for_completion(show_output=False)

    assert bad.status == "Failed"
    assert "nowhere-to-be-found" in bad.get_log()


# 9. Local runs stay in "Starting", want conda, and nobody finds their outputs.


def test_what_cannot_start_is_refused_at_submit(bench: Bench) -> None:
    config = bench.config("")
    config.script = "nowhere.py"
    with pytest.raises(ExperimentExecutionException, match=r"nowhere\.py"):
        bench.experiment.submit(config)
    boxed = Environment("mine")
    boxed.docker.enabled = True
    with pytest.raises(EnvbuildError, match="docker"):
        bench.submit("", environment=boxed)
    assert list(bench.experiment.get_runs()) == []


def test_a_local_run_needs_no_conda_and_says_where_its_outputs_are(
    bench: Bench, tools: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    run = bench.submit("import demo; open('outputs/model.pkl', 'w'); open('stray.txt', 'w')", environment=tools)

    run.wait_for_completion(show_output=True)

    said = capsys.readouterr().out
    assert f"Outputs: {run.folder / 'outputs'} (model.pkl)" in said
    assert "Also wrote: stray.txt (outside outputs/)" in said
    run.download_files(prefix="outputs/", output_directory="mine")
    assert Path("mine/outputs/model.pkl").exists()


# 10. Snapshots have limits that nobody can move, and take in what nobody wants to run.


def test_a_snapshot_leaves_out_what_is_no_source_and_names_what_makes_it_large(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (".git/objects/pack", ".venv/lib/big.so", "__pycache__/module.pyc"):
        bench.write(path, "x" * 5000)
    bench.write(".venv/pyvenv.cfg", "home = /usr")
    monkeypatch.setenv("ENVBUILD_SNAPSHOT_LIMIT", "1000")
    run = bench.run("import os; print(sorted(each for each in os.listdir() if not each.endswith('.py')))")
    assert "venv" not in (run.folder / "logs/output.log").read_text()

    bench.write("weights.bin", "x" * 5000)
    with pytest.raises(SnapshotException, match=r"weights\.bin") as error:
        bench.submit("")
    assert "ENVBUILD_SNAPSHOT_LIMIT" in error.value.message

    bench.write(".amlignore", "*.bin\n")
    assert bench.run("import os; assert not os.path.exists('weights.bin')").get_status() == "Completed"


# 11. A private wheel has to be held by everybody, and its name decides which bytes count.


def test_private_wheels_go_by_their_content_and_need_not_be_kept(bench: Bench) -> None:
    urls = []
    file = bench.folder / "custom-1.0-py3-none-any.whl"
    for payload in ("one", "two"):
        file.write_bytes(wheel("custom", "1.0", payload=payload).data)
        urls.append(Environment.add_private_pip_wheel(bench.workspace, file))
        assert Environment.add_private_pip_wheel(bench.workspace, file, exist_ok=True) == urls[-1]
    file.unlink()
    made = [Environment("first"), Environment("second")]
    for each, url in zip(made, urls, strict=True):
        each.python.conda_dependencies.add_pip_package(url)

    source = "import custom; custom.main()"
    assert [printed(bench, source, each) for each in made] == ["custom 1.0one", "custom 1.0two"]


def test_a_wheel_in_a_folder_of_the_project_is_taken_from_there_and_stays_with_the_version(bench: Bench) -> None:
    file = bench.folder / "wheels/custom-1.0-py3-none-any.whl"
    file.parent.mkdir()
    file.write_bytes(wheel("custom", "1.0").data)
    made = Environment("mine")
    made.python.conda_dependencies.add_pip_package("./wheels/custom-1.0-py3-none-any.whl")
    made.register(bench.workspace)

    file.unlink()
    file.parent.rmdir()

    restored = Environment.get(bench.workspace, "mine", version="1")
    assert printed(bench, "import custom; custom.main()", restored) == "custom 1.0"


# 12. Taking over a conda environment wants a conda that is found, and brings pins of another platform.


@pytest.mark.parametrize("history_only", [True, False])
def test_a_conda_environment_is_taken_over_without_conda_and_if_wanted_without_its_pins(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, history_only: bool
) -> None:
    noted = tmp_path / "envs/mine/conda-meta"
    noted.mkdir(parents=True)
    for name in ("python", "numpy", "libgcc"):
        record = {"name": name, "version": "3.11", "build": "h0_linux", "channel": "conda-forge", "files": []}
        (noted / f"{name}-3.11-h0_linux.json").write_text(json.dumps(record))
    (noted / "history").write_text("==> 2026-01-01 10:00:00 <==\n# update specs: ['python=3.11', 'numpy']\n")
    monkeypatch.setenv("CONDA_ENVS_PATH", str(tmp_path / "envs"))
    monkeypatch.setenv("PATH", str(tmp_path))

    made = Environment.from_existing_conda_environment("mine", "mine", history_only=history_only)

    asked = {"python=3.11", "numpy"} if history_only else {"python=3.11", "numpy=3.11", "libgcc=3.11"}
    assert set(made.python.conda_dependencies.conda_packages) == asked
    with pytest.raises(UserErrorException, match="no conda environment 'theirs'") as error:
        Environment.from_existing_conda_environment("theirs", "theirs")
    assert str(tmp_path / "envs/mine") in error.value.message


# 13. Nobody knows where environment variables apply.


def test_the_variables_of_an_environment_apply_to_each_run_and_those_of_a_run_win(bench: Bench) -> None:
    made = Environment("mine")
    made.environment_variables = {"LEVEL": "environment", "ONLY": "environment"}
    config = bench.config("import os; print(os.environ['LEVEL'], os.environ['ONLY'])", environment=made)
    config.run_config.environment_variables = {"LEVEL": "run"}

    run = bench.experiment.submit(config)
    run.wait_for_completion()

    assert (run.folder / "logs/output.log").read_text() == "run environment\n"
    assert "sets LEVEL, ONLY in every run and service" in made.explain(bench.workspace)
    assert run.get_environment().version == "1"
    assert bench.run("", environment=made).get_environment().version == "1"


# 14. One guesses at the path of a model.


def test_the_path_of_a_model_is_found_in_one_way_everywhere_and_a_missing_one_shows_what_there_is(bench: Bench) -> None:
    run = bench.run("import os; os.makedirs('outputs/net'); open('outputs/net/weights', 'w').write('w')")
    with pytest.raises(ModelPathNotFoundException) as error:
        run.register_model("flowers", "outputs/weights")
    assert "outputs/net/weights" in error.value.message
    run.register_model("flowers", "outputs/net/weights")
    source = "from envbuild.sdk import Model; print(open(Model.get_model_path('flowers')).read())"

    assert Path(Model.get_model_path("flowers", _workspace=bench.workspace)).read_text() == "w"
    assert printed(bench, source, Environment("plain")) == "w"
    with pytest.raises(ModelNotFoundException) as missing:
        Model.get_model_path("flower", _workspace=bench.workspace)
    assert "flowers" in missing.value.message


# 15. What an environment will do has to be guessed, and a run without Azure can do next to nothing.


def test_an_environment_says_what_would_be_built_and_run_and_what_is_lacking(bench: Bench) -> None:
    made = Environment("mine")
    made.python.conda_dependencies.add_pip_package("demo")
    assert "asks for 1 package of pip" in made.explain(bench.workspace)
    made.docker.enabled = True
    made.docker.base_image = "ubuntu:24.04"

    made.python.user_managed_dependencies = True

    said = made.explain(bench.workspace)
    assert "by the Python 'python' as it is, in a container of ubuntu:24.04" in said
    assert "packages are asked for, and not installed: python.user_managed_dependencies is True" in said
    assert "envbuild[docker]" in said


def test_a_script_that_nobody_has_submitted_has_the_whole_of_a_run(bench: Bench) -> None:
    script = bench.write(
        "train.py",
        """
        from envbuild.sdk import Run
        run = Run.get_context()
        for step in range(2):
            run.log("loss", 1 / (step + 1), step=step)
        run.log_list("rates", [1, 2])
        run.tag("kind", "ridge")
        child = run.child_run("part")
        child.log("loss", 3)
        child.complete()
        open("model.pkl", "w").write("weights")
        run.upload_file("outputs/model.pkl", "model.pkl")
        run.download_file("outputs/model.pkl", "copy.pkl")
        (found,) = run.get_children()
        print(run.get_metrics(), run.get_tags(), run.get_file_names(), found.get_metrics())
        """,
    )
    alone = {name: value for name, value in os.environ.items() if not name.startswith("ENVBUILD_RUN")}

    done = subprocess.run([sys.executable, script.name], cwd=bench.folder, env=alone, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    last = "{'loss': [1.0, 0.5], 'rates': [1, 2]} {'kind': 'ridge'} ['outputs/model.pkl'] {'loss': 3}"
    assert done.stdout.splitlines()[-1] == last

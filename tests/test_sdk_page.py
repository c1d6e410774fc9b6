"""The page: the sixteen blocks of code with which Azure ML explains its environments, one after the other.

Each runs as it is written there, without its comments and with other packages imported (`support.migration`); what the
page takes for granted (a workspace, files, data, a channel of conda's) is there. What needs a container is held
faithfully, and refused where it would have to be made.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from support.bench import Bench
from support.channel import Channel
from support.index import Index
from support.migration import Reader, moved
from support.packages import wheel

from envbuild.sdk import Environment, Experiment, Model, Workspace
from envbuild.sdk.compute import AmlCompute, ComputeTarget
from envbuild.sdk.environment import ImageBuildDetails, SparkPackage
from envbuild.sdk.exceptions import EnvbuildError, RunEnvironmentException, UserErrorException

PAGE = Path(__file__).parent.parent.parent / "shared" / "reference" / "seed.md"

NEW = """
from azureml.core import Environment
Environment(name="myenv")
"""

FILES = """
myenv = Environment.from_conda_specification(name = "myenv",
                                             file_path = "path-to-conda-specification-file")

myenv = Environment.from_pip_requirements(name = "myenv"
                                          file_path = "path-to-pip-requirements-file")
"""

EXISTING = """
myenv = Environment.from_existing_conda_environment(name = "myenv",
                                                    conda_environment_name = "mycondaenv")
"""

AUTOMATIC = """
from azureml.core import ScriptRunConfig, Experiment, Environment
myexp = Experiment(workspace=ws, name = "environment-example")

runconfig = ScriptRunConfig(source_directory=".", script="example.py")
runconfig.run_config.target = "local"

run = myexp.submit(config=runconfig)

run.wait_for_completion(show_output=True)
"""

PACKAGES = """
from azureml.core import Environment
from azureml.core.environment import CondaDependencies

myenv = Environment(name="myenv")
conda_dep = CondaDependencies()

conda_dep.add_conda_package("scikit-learn==0.21.3")

myenv.python.conda_dependencies=conda_dep
"""

WHEEL = """
whl_url = Environment.add_private_pip_wheel(workspace=ws,file_path = "my-custom.whl")
myenv = Environment(name="myenv")
conda_dep = CondaDependencies()
conda_dep.add_pip_package(whl_url)
myenv.python.conda_dependencies=conda_dep
"""

REGISTER = """
myenv.register(workspace=ws)
"""

LIST = """
from azureml.core import Environment
list("workspace_name")
"""

GET = """
restored_environment = Environment.get(workspace=ws,name="myenv",version="1")
"""

OF_A_RUN = """
from azureml.core import Run
Run.get_environment()
"""

BUILD = """
from azureml.core import Image
build = env.build()
build.wait_for_completion(show_output=True)
"""

CONTAINER = """
myenv.docker.enabled = True
"""

IMAGE = """
myenv.docker.base_image="your_base-image"
myenv.docker.base_image_registry="your_registry_location"

myenv.docker.gpu_support=True
"""

TRAIN = """
from azureml.core import Environment, ScriptRunConfig, Experiment

exp = Experiment(name="myexp", workspace = ws)
myenv = Environment(name="myenv")

runconfig = ScriptRunConfig(source_directory=".", script="train.py")

runconfig.compute_target = "local"

runconfig.environment = myenv

run = exp.submit(runconfig)
"""

ESTIMATE = """
from azureml.train.estimator import Estimator

script_params = {
    '--data-folder': ds.as_mount(),
    '--regularization': 0.8
}

sk_est = Estimator(source_directory='./my-sklearn-proj',
                   script_params=script_params,
                   compute_target=compute_target,
                   entry_script='train.py',
                   conda_packages=['scikit-learn'])

run = experiment.submit(sk_est)
"""

DEPLOY = """
from azureml.core.model import InferenceConfig, Model
from azureml.core.webservice import AciWebservice, Webservice

model = run.register_model(model_name = "mymodel", model_path = "outputs/model.pkl")

inference_config = InferenceConfig(entry_script="score.py", environment=myenv)

deployment_config = AciWebservice.deploy_configuration(cpu_cores = 1, memory_gb = 1)

service = Model.deploy(
    workspace = ws,
    name = "my_web_service",
    models = [model],
    inference_config = inference_config,
    deployment_config = deployment_config)
"""

BLOCKS = (NEW, FILES, EXISTING, AUTOMATIC, PACKAGES, WHEEL, REGISTER, LIST, GET, OF_A_RUN, BUILD, CONTAINER, IMAGE,
          TRAIN, ESTIMATE, DEPLOY)  # fmt: skip
"""All of them, in the order of the page."""


def with_comma(block: str) -> str:
    """The block with the comma that the page has forgotten."""
    return block.replace('name = "myenv"\n', 'name = "myenv",\n')


def missed(section: str, act: Callable[[], object]) -> None:
    """See to it that something is refused for want of a plugin, and that what is said names what to install."""
    with pytest.raises(EnvbuildError, match=f"no installed plugin takes on the section '{section}'") as error:
        act()
    assert f"envbuild[{section}]" in error.value.message


@pytest.fixture
def reader(bench: Bench, index: Index, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Somebody with a workspace, who has imported what the page has imported further up."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.simple)
    reader = Reader(bench, {"ws": bench.workspace})
    reader.does("from azureml.core import Environment\nfrom azureml.core.environment import CondaDependencies")
    return reader


# -- creating ------------------------------------------------------------------------------------------------


def test_an_environment_is_made_without_any_effect(reader: Reader) -> None:
    found = reader.does(NEW)

    assert found.Environment(name="myenv") == Environment("myenv")
    assert not (reader.bench.workspace.root / "store").exists()


def test_conda_and_pip_files_become_environments(reader: Reader) -> None:
    reader.bench.write("path-to-conda-specification-file", "dependencies: [python=3.11, numpy, {pip: [demo]}]\n")
    reader.bench.write("path-to-pip-requirements-file", "demo>=1  # the newest\n")
    with pytest.raises(SyntaxError):
        reader.does(FILES)
    of_conda, of_pip = with_comma(FILES).split("\n\n")

    conda, pip = reader.does(of_conda).myenv, reader.does(of_pip).myenv

    asked = conda.python.conda_dependencies
    assert (asked.conda_packages, asked.pip_packages) == (("python=3.11", "numpy"), ("demo",))
    assert conda.register(reader.bench.workspace).version == "1"
    assert Environment.get(reader.bench.workspace, "myenv") == conda
    run = reader.bench.run("import demo; print(demo.__version__)", environment=pip)
    assert (run.folder / "logs/output.log").read_text() == "2.0\n"
    assert run.get_environment() == pip


def test_an_existing_conda_environment_is_taken_over_and_a_missing_one_is_missed(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDA_ENVS_PATH", str(tmp_path / "envs"))
    with pytest.raises(UserErrorException, match="mycondaenv"):
        reader.does(EXISTING)
    noted = tmp_path / "envs/mycondaenv/conda-meta"
    noted.mkdir(parents=True)
    for name, version in (("python", "3.11.7"), ("numpy", "2.1.0")):
        record = {"name": name, "version": version, "build": "0", "channel": "conda-forge", "files": []}
        (noted / f"{name}-{version}-0.json").write_text(json.dumps(record))
    (noted / "history").touch()

    made = reader.does(EXISTING).myenv

    assert made.name == "myenv"
    assert set(made.python.conda_dependencies.conda_packages) == {"python=3.11.7", "numpy=2.1.0"}


def test_a_run_without_an_environment_gets_one_automatically(
    reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    reader.bench.write("example.py", "print('an example')\n")

    run = reader.does(AUTOMATIC).run

    assert run.get_status() == "Completed"
    shown = capsys.readouterr().out
    assert "an example\n" in shown
    assert "Status: Completed" in shown
    assert list(reader.bench.workspace.environments) == ["default-environment"]
    assert run.experiment.name == "environment-example"


# -- adding packages -----------------------------------------------------------------------------------------


@pytest.fixture
def forge(
    channel: Channel, channels: Callable[[str], Channel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Channel:
    """What is called conda-forge here: Pythons, and the scikit-learn that the page asks for."""
    made = channels("conda-forge")
    made.put(*channel.packages.values())
    made.add("scikit-learn", "0.21.3", noarch="python", depends=["python"])
    made.index()
    monkeypatch.setenv("CONDA_CHANNEL_ALIAS", made.url.removesuffix("/conda-forge"))
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler"))
    return made


def test_a_conda_package_is_installed_in_the_version_that_is_asked_for(reader: Reader, forge: Channel) -> None:
    made = reader.does(PACKAGES).myenv
    assert "scikit-learn==0.21.3" in made.python.conda_dependencies.conda_packages
    assert made.register(reader.bench.workspace).version == "1"
    assert Environment.get(reader.bench.workspace, "myenv", version="1") == made

    run = reader.bench.run(
        "import importlib.metadata, sys; print(importlib.metadata.version('scikit-learn'), sys.prefix)",
        environment=made,
    )

    version, prefix = (run.folder / "logs/output.log").read_text().split()
    assert version == "0.21.3"
    assert list(Path(prefix).glob("conda-meta/scikit-learn-0.21.3-*.json"))
    assert run.get_environment().version == "1"


def test_the_pip_package_that_the_text_speaks_of_is_installed(reader: Reader, index: Index) -> None:
    index.publish(wheel("pillow", "5.0"))
    made = reader.does(PACKAGES.replace('add_conda_package("scikit-learn==0.21.3")', 'add_pip_package("pillow")')).myenv

    run = reader.bench.run("import pillow; print(pillow.__version__)", environment=made)

    assert (run.folder / "logs/output.log").read_text() == "5.0\n"


def test_a_private_wheel_is_kept_and_installed_by_its_url(reader: Reader) -> None:
    custom = wheel("my_custom", "1.0")
    # A wheel's name says what it is; the page's would be refused by pip as well.
    named = WHEEL.replace("my-custom.whl", custom.filename)
    file = reader.bench.folder / custom.filename
    file.write_bytes(custom.data)

    found = reader.does(named)
    file.unlink()
    run = reader.bench.run("import my_custom; print(my_custom.__version__)", environment=found.myenv)

    assert (run.folder / "logs/output.log").read_text() == "1.0\n"
    assert custom.sha256 in found.whl_url
    assert run.get_environment() == found.myenv


def test_a_file_that_is_no_wheel_by_its_name_is_refused_with_what_to_do(reader: Reader) -> None:
    reader.bench.write("my-custom.whl", "")

    with pytest.raises(UserErrorException, match=r"my-custom\.whl"):
        reader.does(WHEEL)


# -- managing ------------------------------------------------------------------------------------------------


def test_registering_gives_a_version_and_registering_again_the_same(reader: Reader) -> None:
    made = reader.does(REGISTER, myenv=Environment("myenv")).myenv

    reader.does(REGISTER)

    assert made.version is None
    assert [made.register(reader.bench.workspace).version for _ in range(2)] == ["1", "1"]


def test_environments_are_listed_by_workspace_or_by_its_name(reader: Reader) -> None:
    # As it is written it asks Python for the letters of a word; what is meant is the method of that name.
    reader.does(LIST)
    meant = LIST.replace("list(", "found = Environment.list(")
    Environment("mine").register(reader.bench.workspace)
    Environment("theirs").register(Workspace.create("workspace_name"))

    assert list(Environment.list(workspace=reader.bench.workspace)) == ["mine"]
    assert {name: each.version for name, each in reader.does(meant).found.items()} == {"theirs": "1"}


def test_a_version_comes_back_as_it_was_registered(reader: Reader) -> None:
    made = Environment("myenv")
    made.python.conda_dependencies.add_pip_package("demo==1.0")
    made.environment_variables = {"LEVEL": "1"}
    made.register(reader.bench.workspace)
    as_it_was = made.clone("myenv")
    made.environment_variables["LEVEL"] = "2"
    made.register(reader.bench.workspace)

    restored = reader.does(GET).restored_environment

    assert restored == as_it_was
    assert restored.version == "1"
    assert Environment.get(reader.bench.workspace, "myenv").environment_variables == {"LEVEL": "2"}


def test_a_script_asks_the_class_for_the_environment_that_it_is_in(reader: Reader) -> None:
    with pytest.raises(RunEnvironmentException):
        reader.does(OF_A_RUN)

    run = reader.bench.run(moved(OF_A_RUN).replace("Run.get", "print(Run.get").replace("()\n", "().name)\n"))

    assert (run.folder / "logs/output.log").read_text() == "plain\n"
    assert run.get_environment() == Environment("plain")


def test_a_changed_package_makes_a_new_version_and_an_unchanged_environment_does_not(reader: Reader) -> None:
    made = Environment("myenv")
    asked = made.python.conda_dependencies
    asked.add_pip_package("demo==1.0")
    script = "import demo; print(demo.__version__)"

    runs = [reader.bench.run(script, environment=made) for _ in range(2)]
    asked.remove_pip_package("demo")
    asked.add_pip_package("demo==2.0")
    runs.append(reader.bench.run(script, environment=made))
    made.environment_variables["LEVEL"] = "2"

    assert [run.get_environment().version for run in runs] == ["1", "1", "2"]
    assert [(run.folder / "logs/output.log").read_text() for run in runs] == ["1.0\n", "1.0\n", "2.0\n"]
    assert [made.register(reader.bench.workspace).version for _ in range(2)] == ["3", "3"]


EDITS: Mapping[str, Callable[[Environment], object]] = {
    "a conda package": lambda env: env.python.conda_dependencies.add_conda_package("numpy"),
    "a pip package": lambda env: env.python.conda_dependencies.add_pip_package("demo"),
    "a pip option": lambda env: env.python.conda_dependencies.set_pip_option("--pre"),
    "a channel": lambda env: env.python.conda_dependencies.add_channel("bioconda"),
    "another Python": lambda env: env.python.conda_dependencies.set_python_version("3.9"),
    "a Python of one's own": lambda env: setattr(env.python, "user_managed_dependencies", True),
    "a variable": lambda env: env.environment_variables.update(LEVEL="1"),
    "a container": lambda env: setattr(env.docker, "enabled", True),
    "a container's image": lambda env: setattr(env.docker, "base_image", "ubuntu:24.04"),
    "a container's memory": lambda env: setattr(env.docker, "shm_size", "4g"),
    "GPUs": lambda env: setattr(env.docker, "gpu_support", True),
    "a package for Spark": lambda env: env.spark.packages.append(SparkPackage("group", "artifact", "1")),
    "a serving stack": lambda env: setattr(env, "inferencing_stack_version", "latest"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_any_edit_makes_the_next_version_and_taking_it_back_gives_the_first_again(bench: Bench, edit: str) -> None:
    made = Environment("myenv")
    before = made.register(bench.workspace)

    EDITS[edit](made)
    after = made.register(bench.workspace)

    assert (before.version, after.version, made.register(bench.workspace).version) == ("1", "2", "2")
    assert Environment.get(bench.workspace, "myenv", version="2") == made != before
    assert Environment("myenv").register(bench.workspace).version == "1"


def test_an_environment_is_built_by_hand_and_its_log_is_shown(
    reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    env = Environment("myenv")
    env.python.conda_dependencies.add_pip_package("demo")

    build = reader.does(BUILD, env=env).build

    assert isinstance(build, ImageBuildDetails)
    assert build.status == "Succeeded"
    assert capsys.readouterr().out == build.get_log() != ""
    assert env.get_image_details().image_exist
    assert list(Environment.list(reader.bench.workspace)) == ["myenv"]


# -- containers ----------------------------------------------------------------------------------------------


def test_a_container_is_held_and_a_run_in_one_says_what_is_missing_for_it(reader: Reader) -> None:
    made = reader.does(CONTAINER, myenv=Environment("myenv")).myenv

    assert made.docker.enabled is True
    made.register(reader.bench.workspace)
    assert Environment.get(reader.bench.workspace, "myenv") == made
    missed("docker", lambda: reader.bench.submit("", environment=made))


def test_an_image_its_registry_and_gpus_are_held_and_come_back(reader: Reader) -> None:
    reader.does(CONTAINER, myenv=Environment("myenv"))

    made = reader.does(IMAGE).myenv
    restored = made.register(reader.bench.workspace)

    for docker in (made.docker, restored.docker, Environment.get(reader.bench.workspace, "myenv").docker):
        assert docker.base_image == "your_base-image"
        assert docker.base_image_registry.address == "your_registry_location"
        assert docker.gpu_support is True


def test_the_packages_of_a_custom_image_are_only_used_where_the_user_says_so(reader: Reader) -> None:
    made = reader.does(CONTAINER + IMAGE, myenv=Environment("myenv")).myenv
    ours = made.definition

    made.python.user_managed_dependencies = True

    assert (ours.interpreter, ours.python is not None) == (None, True)
    assert (made.definition.interpreter, made.definition.python) == ("python", None)


# -- training ------------------------------------------------------------------------------------------------


def test_what_is_set_on_the_configuration_takes_effect(reader: Reader) -> None:
    reader.bench.write("train.py", "import os; print(os.environ['ENVBUILD_ENVIRONMENT_NAME'])\n")

    run = reader.does(TRAIN).run

    assert run.wait_for_completion()["target"] == "local"
    assert (run.get_environment().name, run.get_environment().version) == ("myenv", "1")
    assert (run.folder / "logs/output.log").read_text() == "myenv\n"
    assert list(reader.bench.workspace.environments) == ["myenv"]


def test_an_environment_may_be_called_like_a_folder(reader: Reader) -> None:
    (reader.bench.folder / "myenv").mkdir()
    reader.bench.write("train.py", "")

    assert reader.does(TRAIN).run.wait_for_completion()["status"] == "Completed"


@pytest.mark.parametrize("user_managed", [True, False])
def test_an_environment_of_the_users_own_is_the_python_that_they_look_after(reader: Reader, user_managed: bool) -> None:
    made = Environment("myenv")
    made.python.conda_dependencies.add_pip_package("demo")

    made.python.user_managed_dependencies = user_managed

    definition = made.definition
    assert bool(definition.interpreter) is user_managed
    assert bool(definition.pip) is not user_managed
    assert made.register(reader.bench.workspace).python.user_managed_dependencies is user_managed
    assert Environment.get(reader.bench.workspace, "myenv") == made


def test_the_history_of_a_run_can_be_switched_off(reader: Reader) -> None:
    config = reader.bench.config("open('outputs/model.pkl', 'w').write('m')")
    config.run_config.history.snapshot_project = False
    config.run_config.history.output_collection = False

    run = reader.bench.experiment.submit(config)
    run.wait_for_completion()

    assert run.get_snapshot_id() is None
    assert not reader.bench.workspace._core.run(run.id)["outputs"]


def test_an_estimator_brings_parameters_data_and_packages(reader: Reader, forge: Channel) -> None:
    reader.bench.write(
        "my-sklearn-proj/train.py",
        """
        import importlib.metadata, pathlib, sys
        print(*sys.argv[1:])
        print(pathlib.Path(sys.argv[2], 'iris.csv').read_text())
        importlib.metadata.version('scikit-learn')
        """,
    )
    ds = reader.bench.workspace.get_default_datastore()
    ds.upload_files([str(reader.bench.write("iris.csv", "5.1,3.5"))])
    cluster = ComputeTarget.create(
        reader.bench.workspace, "cluster", AmlCompute.provisioning_configuration(max_nodes=1)
    )
    given = {"ds": ds, "compute_target": cluster, "experiment": Experiment(reader.bench.workspace, "estimates")}

    run = reader.does(ESTIMATE, **given).run

    assert run.wait_for_completion()["target"] == "cluster"

    first, second = (run.folder / "logs/output.log").read_text().splitlines()
    assert re.fullmatch(r"--data-folder /\S+ --regularization 0\.8", first)
    assert second == "5.1,3.5"


# -- deploying -----------------------------------------------------------------------------------------------


def test_a_model_of_a_run_is_registered_and_services_say_that_they_are_not_there_yet(reader: Reader) -> None:
    run = reader.bench.run("open('outputs/model.pkl', 'w').write('weights')")
    imports, registering, *deploying = DEPLOY.strip().split("\n\n")
    for line in imports.splitlines():
        with pytest.raises(ImportError, match="deploys no services yet"):
            reader.does(line)

    model = reader.does(registering, run=run).model

    assert (model.name, model.version, model.run_id) == ("mymodel", 1, run.id)
    assert Path(Model(reader.bench.workspace, "mymodel").download()).read_text() == "weights"
    with pytest.raises(AttributeError, match="deploys no services yet"):
        reader.does(deploying[-1], Model=Model, inference_config=None, deployment_config=None)


# -- the page itself -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page() -> list[str]:
    """The blocks as they stand on the page."""
    if not PAGE.exists():
        pytest.skip("the page itself is not beside this checkout")
    return re.findall(r"^``` ?python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_blocks_are_those_of_the_page(page: list[str]) -> None:
    ours = [ast.dump(ast.parse(with_comma(block))) for block in BLOCKS]

    assert ours == [ast.dump(ast.parse(with_comma(block))) for block in page]
    assert [block for block in page if not _parses(block)] == [page[1]]


def test_every_name_that_the_page_imports_is_there_or_said_to_be_missing(page: list[str]) -> None:
    asked = {each for block in page for each in _imports(moved(with_comma(block)))}
    missing = {(module, name) for module, name in asked if not _is_there(module, name)}

    assert all(module.partition(".sdk")[0] == "envbuild" for module, _ in asked)
    assert sorted(name for _, name in missing) == ["AciWebservice", "InferenceConfig", "Webservice"]
    for module, name in missing:
        with pytest.raises(ImportError, match=rf"^{module} has no {name}: envbuild deploys no services yet"):
            exec(f"from {module} import {name}")


def _parses(block: str) -> bool:
    try:
        ast.parse(block)
    except SyntaxError:
        return False
    return True


def _imports(code: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", each.name) for each in node.names)


def _is_there(module: str, name: str) -> bool:
    try:
        return getattr(importlib.import_module(module), name).__module__.startswith("envbuild.sdk")
    except ImportError:
        return False

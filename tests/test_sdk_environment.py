"""Environments: what users make, edit, register and find again, and the definition that stands behind each."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support.index import Index
from support.packages import project, wheel

from envbuild import reading, retention
from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.fingerprint import definition_document
from envbuild.requirement import PipOptions, Requirement, WheelRef
from envbuild.sdk import environment as environments
from envbuild.sdk import runconfig
from envbuild.sdk.container_registry import ContainerRegistry
from envbuild.sdk.environment import (
    CondaDependencies,
    DockerBuildContext,
    Environment,
    EnvironmentReference,
    SparkPackage,
)
from envbuild.sdk.exceptions import UserErrorException
from envbuild.sdk.places import opened

FIXTURES = Path(__file__).parent.parent / "fixtures"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default workspace of each test, its own."""
    monkeypatch.setenv("ENVBUILD_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    return tmp_path / "workspace"


def digest(definition: Definition) -> Digest:
    return definition_document(definition).digest


def told(name: str = "tools", **lists: list[str]) -> Environment:
    made = Environment(name)
    for package in lists.get("pip", []):
        made.python.conda_dependencies.add_pip_package(package)
    for package in lists.get("conda", []):
        made.python.conda_dependencies.add_conda_package(package)
    return made


# What a new one asks for


def test_a_new_environment_asks_for_the_python_of_this_interpreter_and_for_nothing_else() -> None:
    asked = Environment("tools").definition

    assert asked.content() == {"python": f"=={HERE}.*", "channels": ["conda-forge"]}
    assert asked.sections == ()
    assert asked.name == "tools"


def test_making_one_does_nothing_to_the_workspace(workspace: Path) -> None:
    told(pip=["six"]).explain()

    assert not (workspace / "store").exists()


def test_its_name_is_a_text_or_nothing() -> None:
    with pytest.raises(TypeError, match="text"):
        Environment(3)  # type: ignore[arg-type]
    assert Environment(name=None).name is None


@pytest.mark.parametrize(
    ("part", "attribute", "meant"),
    [
        ("", "enviroment_variables", "environment_variables"),
        ("docker", "base_imge", "base_image"),
        ("python", "user_managed", "user_managed_dependencies"),
    ],
)
def test_an_attribute_that_there_is_not_is_refused_with_the_one_that_may_be_meant(
    part: str, attribute: str, meant: str
) -> None:
    environment = Environment("tools")
    changed = getattr(environment, part) if part else environment

    with pytest.raises(AttributeError, match=meant):
        setattr(changed, attribute, "x")


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("python", None), ("docker", "image"), ("environment_variables", ["A=1"]), ("secrets", "TOKEN"), ("as_of", 3)],
)
def test_an_attribute_refuses_what_it_cannot_be(attribute: str, value: Any) -> None:
    with pytest.raises(UserErrorException, match=attribute):
        setattr(Environment("tools"), attribute, value)


def test_everything_that_is_wrong_is_told_at_once_with_its_place() -> None:
    environment = Environment("tools")
    environment.python.conda_dependencies = CondaDependencies(
        _underlying_structure={"dependencies": ["python=3.11|3.12", {"pip": ["nmpy==", "./nowhere"]}]}
    )
    environment.environment_variables = {"NOT A NAME": "1"}
    environment.constraints = ["demo[extra]<2"]

    with pytest.raises(UserErrorException) as refused:
        _ = environment.definition

    said = str(refused.value)
    for place in (
        "dependencies[0]",
        "dependencies[1].pip[0]",
        "dependencies[1].pip[1]",
        "environment_variables.NOT A NAME",
    ):
        assert f"{place}: " in said
    assert "constraints[0]: a constraint has no extras" in said


# From files: the very definition of the file


@pytest.mark.parametrize(
    "file", ["environment-yml/environment.yml", "requirements-full/requirements.txt"], ids=["conda", "requirements"]
)
def test_one_that_is_made_of_a_file_has_the_definition_of_the_file(file: str) -> None:
    path = FIXTURES / file
    make = Environment.from_conda_specification if path.suffix == ".yml" else Environment.from_pip_requirements

    made = make("tools", path)

    assert digest(made.definition) == digest(reading.read(path))
    assert made.definition.root == path.parent


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)
VERSIONS = st.sampled_from(["", ">=1.0", "==2.1", "<3,>=1", "!=1.5"])
MARKERS = st.sampled_from(["", " ; python_version < '3.12'", " ; sys_platform == 'linux'"])
PIP = st.lists(
    st.one_of(
        st.builds(lambda *parts: "".join(parts), NAMES, st.sampled_from(["", "[a,b]"]), VERSIONS, MARKERS),
        st.sampled_from(
            [
                "--index-url https://me:pw@packages.test/simple",
                "--extra-index-url https://other.test/simple",
                "--pre",
                "--no-binary numpy,scipy",
                "demo @ https://packages.test/demo-1.0.zip",
                "tool @ git+https://host.test/tool.git@v1#subdirectory=src",
                f"private==1 --hash=sha256:{'1' * 64}",
                f"envbuild://wheels/{'2' * 64}/private_wheel-1.0-py3-none-any.whl",
                "# a comment",
            ]
        ),
    ),
    max_size=6,
    unique_by=lambda line: line.split("=")[0].split("<")[0].split("[")[0],
)
CONDA = st.lists(
    st.one_of(
        st.builds(lambda name, version: name + version, NAMES, st.sampled_from(["", "=1.2", ">=2,<3", "=1.0=py_0"])),
        st.sampled_from(["pip", "pip=24", "conda-forge::blas"]),
    ),
    max_size=4,
    unique_by=lambda spec: spec.split("=")[0].split(">")[0].split("::")[-1],
)
PYTHON = st.sampled_from([None, "python", "python=3.11", "python>=3.10,<3.13", "python==3.11.7", "python 3.12.*"])
FORMS = st.fixed_dictionaries(
    {
        "channels": st.lists(st.sampled_from(["conda-forge", "defaults", "https://c.test/t/tk/main"]), unique=True),
        "variables": st.dictionaries(st.sampled_from(["A", "B_1"]), st.text("xyz é$", max_size=5)),
    }
)


@settings(max_examples=80)
@given(FORMS, PYTHON, CONDA, PIP)
def test_the_sdk_and_the_file_give_one_digest(
    form: dict[str, Any], python: str | None, conda: list[str], pip: list[str]
) -> None:
    dependencies = [*([python] if python else []), *conda, *([{"pip": pip}] if pip else [])]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "environment.yml")
        path.write_text(yaml.safe_dump({**form, "dependencies": dependencies}, allow_unicode=True), encoding="utf-8")
        expected = reading.read(path)
        made = Environment.from_conda_specification("tools", path)
        requirements = Path(folder, "requirements.txt")
        requirements.write_text("\n".join(pip))
        plain = Environment.from_pip_requirements("tools", requirements)

        assert digest(made.definition) == digest(expected)
        assert digest(plain.definition) == digest(reading.read(requirements))
    assert "me:pw" not in repr(made) + repr(plain)
    assert "/t/tk" not in repr(made)


@settings(max_examples=80)
@given(
    form=FORMS,
    conda=CONDA,
    python=st.sampled_from([None, "3.11", "3.11.7", ">=3.10,<3.13", "==3.12.*", "~=3.10"]),
    options=st.sampled_from(
        [
            PipOptions(),
            PipOptions(index_url="https://a.test/s", extra_index_urls=("https://b.test/s",), pre=True, source=("x",)),
            PipOptions(no_index=True, find_links=("https://c.test/links",), no_binary=("a", "b"), require_hashes=True),
        ]
    ),
    docker=st.sampled_from(
        [
            {},
            {"enabled": True},
            {"base_image": "ubuntu:24.04", "shm_size": "8g", "arguments": ["--ipc=host"]},
            {"enabled": False, "base_image": "ubuntu:24.04", "base_image_registry": "registry.test"},
            {"base_image": "ubuntu", "shm_size": "2g", "platform": "linux/arm64", "build_context": "./image"},
            {"base_dockerfile": "Dockerfile", "arguments": []},
            {"base_dockerfile": "FROM ubuntu\n", "platform": {"os": "Linux", "architecture": "arm64"}, "user": "me"},
        ]
    ),
    gpu=st.sampled_from([{}, {"count": "all"}, {"count": 2}]),
    spark=st.sampled_from(
        [
            {},
            {"packages": [{"group": "g", "artifact": "a", "version": "1"}], "other": "x"},
            {"packages": ["g:a:1", "odd"], "precache_packages": True},
            {"packages": ["g:a:1"]},
        ]
    ),
    azure=st.sampled_from([{}, {"inferencing_stack_version": "latest", "r": {"rVersion": "4"}, "later": "x"}]),
    plugins=st.sampled_from([{}, {"tools": {"jq": {"version": "1.7"}}, "more": ["a", 1]}]),
    as_of=st.sampled_from([None, date(2026, 1, 31)]),
)
def test_an_environment_of_a_definition_has_that_definition(
    form: dict[str, Any], conda: list[str], as_of: date | None, **fields: Any
) -> None:
    hashed = Requirement.parse("demo[x]>=1 ; python_version < '3.12'", hashes=[f"sha256:{'3' * 64}"])
    private = WheelRef("private-1.0-py3-none-any.whl", Digest.of(b""), ("fast",), 'sys_platform == "linux"')
    asked = Definition(
        name="tools",
        pip=(hashed, Requirement.parse("tool @ git+https://host.test/t.git")),
        constraints=(Requirement.parse("numpy<3"),),
        wheels=(private,),
        conda=() if set(conda) <= {"pip", "pip=24"} else tuple(conda),
        channels=tuple(each for each in form["channels"] if "/t/" not in each),
        variables=form["variables"],
        secrets=("TOKEN",),
        as_of=as_of,
        **fields,
    )

    made = Environment._from_definition(asked, "3")

    assert made.definition.content() == asked.content()
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made
    assert made.version == "3"


def test_requirements_that_name_other_files_work_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    for path, text in project("lib", "1.0").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "more.txt").write_text("six>=1\n")
    (folder / "bounds.txt").write_text("six<2\n")
    (folder / "requirements.txt").write_text("# all of it\n-r more.txt\n-c bounds.txt\n-e .\n")
    expected = digest(reading.read(folder / "requirements.txt"))

    made = Environment.from_pip_requirements("tools", folder / "requirements.txt")
    monkeypatch.chdir(tmp_path)
    made.register()

    assert digest(made.definition) == expected
    found = Environment.get(name="tools")
    assert digest(found.definition) == expected
    assert found == made
    assert found.definition.root == folder
    assert found.constraints == ["six<2"]


def test_a_pip_may_be_asked_for_beside_the_requirements(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six\n")

    made = Environment.from_pip_requirements("tools", tmp_path / "requirements.txt", pip_version="24.0")

    assert made.python.conda_dependencies.pip_packages == ("six", "pip==24.0")


def test_files_that_are_not_there_and_files_that_are_wrong(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("six\nnmpy==\n")
    (tmp_path / "bad.yml").write_text("dependencies:\n  - {pip: [nmpy==]}\nfoo: 1\n")

    for make in (Environment.from_conda_specification, Environment.from_pip_requirements):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            make("tools", tmp_path / "nowhere")
    with pytest.raises(UserErrorException, match=r"bad\.txt:2: not a requirement"):
        Environment.from_pip_requirements("tools", tmp_path / "bad.txt")
    with pytest.raises(UserErrorException, match=r"bad\.yml:3: unknown key 'foo'"):
        Environment.from_conda_specification("tools", tmp_path / "bad.yml")


def test_variables_of_the_file_are_those_of_every_run(tmp_path: Path) -> None:
    (tmp_path / "environment.yml").write_text("dependencies: [python=3.11]\nvariables: {A: one, B: two}\n")
    made = Environment.from_conda_specification("tools", tmp_path / "environment.yml")

    made.environment_variables["B"] = "three"

    assert dict(made.definition.variables) == {"A": "one", "B": "three"}


# Containers, and the Python of somebody else


def test_a_python_of_somebody_elses_is_taken_as_it_is() -> None:
    made = told(pip=["six"])
    made.python.user_managed_dependencies = True
    made.python.interpreter_path = "/opt/python/bin/python"

    assert made.definition.content() == {"interpreter": "/opt/python/bin/python"}
    assert made.definition.sections == ("interpreter",)
    assert "packages are asked for, and not installed" in made.explain()
    assert made.register() == Environment.get(name="tools")


def test_docker_counts_once_it_is_enabled_and_is_kept_before() -> None:
    made = Environment("tools")
    made.docker.base_image = "ubuntu:24.04"
    made.docker.base_image_registry = "registry.test"
    assert "docker" not in made.definition.sections

    made.docker.enabled = True

    assert made.definition.sections == ("docker",)
    assert made.definition.content()["docker"] == {"base_image": "ubuntu:24.04", "base_image_registry": "registry.test"}


def test_gpu_support_means_something() -> None:
    made = Environment("tools")
    made.docker.gpu_support = True

    assert dict(made.definition.gpu) == {"count": "all"}
    assert made.register().docker.gpu_support is True


def test_no_login_gets_into_definition_workspace_or_text(workspace: Path) -> None:
    made = told(pip=["six"])
    made.python.conda_dependencies.set_pip_option("--index-url https://me:hunter2@packages.test/simple")
    made.python.conda_dependencies.add_channel("https://conda.test/t/tk-hunter2/main")
    made.docker.base_image_registry = ContainerRegistry("registry.test", "me", "hunter2")

    made.register()

    assert "hunter2" not in str(made.definition.content()) + repr(made) + made.explain() + repr(made.register())
    assert not any(b"hunter2" in each.read_bytes() for each in workspace.rglob("*") if each.is_file())
    assert made.definition.credentials["https://packages.test/simple"] == "https://me:hunter2@packages.test/simple"


def test_from_a_dockerfile_or_an_image_alone_its_python_is_taken(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM ubuntu\n")
    made = [
        Environment.from_dockerfile("tools", tmp_path / "Dockerfile"),
        Environment.from_dockerfile("tools", "FROM ubuntu\n"),
    ]

    assert made[0] == made[1]
    assert made[0].definition.content() == {"interpreter": "python", "docker": {"base_dockerfile": "FROM ubuntu\n"}}
    image = Environment.from_docker_image("tools", "ubuntu:24.04", container_registry="registry.test")
    assert image.definition.content()["docker"]["base_image_registry"] == "registry.test"
    context = Environment.from_docker_build_context("tools", DockerBuildContext("git", "https://host.test/r.git"))
    assert context.definition.interpreter == "python"
    assert Environment._from_definition(context.definition) == context


def test_on_an_image_packages_are_installed_where_some_are_named(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six\n")
    (tmp_path / "environment.yml").write_text("dependencies: [python=3.11]\n")

    made = Environment.from_docker_image("tools", "ubuntu", pip_requirements=tmp_path / "requirements.txt")

    assert made.definition.sections == ("pip", "docker")
    with pytest.raises(UserErrorException, match="both"):
        Environment.from_docker_image(
            "tools",
            "ubuntu",
            pip_requirements=tmp_path / "requirements.txt",
            conda_specification=tmp_path / "environment.yml",
        )


def test_what_only_azure_understands_is_registered_and_given_back() -> None:
    made = Environment("tools")
    made.inferencing_stack_version = "latest"
    made.databricks.pypi_libraries = [{"package": "six"}]
    made.r = {"rVersion": "4.0"}
    made.spark.packages = [SparkPackage("org.test", "spark", "3.5")]
    made.spark.precache_packages = False

    made.register()

    found = Environment.get(name="tools")
    assert found == made
    assert found.inferencing_stack_version == "latest"
    assert found.spark.packages == made.spark.packages
    assert found.definition.sections == ("spark",)


def test_a_spark_section_that_asks_for_no_packages_needs_no_plugin() -> None:
    made = Environment("tools")
    made.spark.precache_packages = False  # as nearly every one of Azure's guides has it

    assert made.definition.sections == ()
    made.register()
    assert Environment.get(name="tools") == made


def test_azures_classes_for_r_say_why_they_are_not_here() -> None:
    with pytest.raises(ImportError, match=r"Environment\.r takes the section as plain data"):
        from envbuild.sdk.environment import RSection  # noqa: F401
    with pytest.raises(AttributeError, match="RSection"):
        _ = environments.RSections


# Names and versions


def test_the_seeds_way_through_names_and_versions() -> None:
    myenv = told("myenv", pip=["six"])

    registered = myenv.register(workspace=None)
    again = myenv.register()

    assert (registered.version, again.version, myenv.version) == ("1", "1", None)
    assert registered.asset_id == "envbuild://environments/myenv/versions/1"
    assert Environment.get(workspace=None, name="myenv", version="1") == myenv
    assert Environment.get(name="myenv", version=1).version == "1"
    assert {name: each.version for name, each in Environment.list(workspace=None).items()} == {"myenv": "1"}
    assert str(registered) == "Environment(Name: myenv,\nVersion: 1)"


def test_an_edit_makes_the_next_version_and_undoing_it_the_one_before() -> None:
    told(pip=["six"]).register()
    edited = Environment.get(name="tools")
    edited.environment_variables["A"] = "1"

    assert edited.register().version == "2"
    del edited.environment_variables["A"]
    assert edited.register().version == "1"


def test_a_version_that_is_set_by_hand_is_that_version_or_refused() -> None:
    first, other = told(pip=["six"]), told(pip=["rich"])
    first.version = "1"
    assert first.register().version == "1"
    assert first.register().version == "1"

    other.version = "1"
    with pytest.raises(UserErrorException, match="cannot be registered as version 1: 2 comes next"):
        other.register()
    other.version = 2
    assert other.register().version == "2"


def test_a_name_that_is_none_is_refused_where_it_is_registered() -> None:
    for name in (None, "", "a b", "-x", "a/b"):
        with pytest.raises(UserErrorException, match="no name"):
            Environment(name).register()


def test_a_registered_one_goes_to_another_workspace(tmp_path: Path) -> None:
    made = told(pip=["six"]).register()
    other = made.register(tmp_path / "other")

    assert Environment.get(tmp_path / "other", "tools") == made == other
    other.environment_variables["A"] = "1"
    assert other.register().version == "2", "nothing is said: it goes where it came from"
    assert Environment.get(name="tools").version == "1"


def test_threads_that_register_the_same_get_the_same_version() -> None:
    with ThreadPoolExecutor(8) as pool:
        versions = {each.version for each in pool.map(lambda _: told(pip=["six"]).register(), range(16))}

    assert versions == {"1"}


def test_processes_that_register_the_same_get_the_same_version(workspace: Path) -> None:
    code = "from envbuild.sdk import Environment; print(Environment('tools').register().version)"
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]

    assert [each.communicate(timeout=60)[0].strip() for each in started] == ["1"] * 4


def test_labels_are_replaced_and_found() -> None:
    told(pip=["six"]).register()
    told(pip=["rich"]).register()

    Environment.label(None, "tools", "1", ["prod", "old"])
    Environment.label(None, "tools", "2", ["prod"])
    Environment.label(None, "tools", 1, ["kept"])

    assert Environment.get(name="tools", label="prod").version == "2"
    assert Environment.get(name="tools", label="kept").version == "1"
    with pytest.raises(UserErrorException, match="old"):
        Environment.get(name="tools", label="old")
    with pytest.raises(UserErrorException, match="a list of texts is wanted"):
        Environment.label(None, "tools", "1", "prod")
    with pytest.raises(UserErrorException, match="give one of them"):
        Environment.get(name="tools", version="1", label="prod")


def test_archived_ones_are_not_listed_and_deleted_ones_not_found() -> None:
    told(pip=["six"]).register()
    told(pip=["rich"]).register()

    Environment.archive(None, "tools", "2")
    assert Environment.list()["tools"].version == "1"
    assert Environment.get(name="tools", version="2").version == "2"
    Environment.restore(None, "tools", "2")
    Environment.delete(None, "tools", "2")

    with pytest.raises(UserErrorException, match="2"):
        Environment.get(name="tools", version="2")
    assert told(pip=["rich"]).register().version == "3"


def test_deleting_one_that_a_run_has_used_wants_force() -> None:
    made = told().register()
    core = opened(None)
    record = {
        "id": "r1", "experiment": "e", "number": 1, "status": "Completed", "command": ["python"], "target": "local",
        "created_at": "2026-01-01T00:00:00+00:00", "ended_at": "2026-01-01T00:00:01+00:00", "exit_code": 0,
        "snapshot": None, "environment": {"name": "tools", "version": made.version, "id": None}, "folder": "",
        "variables": [], "secrets": [], "git": None, "seconds": {}, "outputs": {},
    }  # fmt: skip
    core.catalogue.upsert_run(record)

    with pytest.raises(UserErrorException):
        Environment.delete(None, "tools", "1")
    Environment.delete(None, "tools", "1", force=True)

    assert Environment.list() == {}


def test_one_that_is_not_there_says_what_is() -> None:
    told("tools").register()

    with pytest.raises(UserErrorException, match="tools"):
        Environment.get(name="tool")
    with pytest.raises(UserErrorException, match="AzureML-Minimal") as refused:
        Environment.get(None, "AzureML-Minimal")
    assert "load_from_directory" in refused.value.message


def test_a_reference_finds_the_version_that_it_names_when_it_is_asked() -> None:
    latest, first = EnvironmentReference("tools"), EnvironmentReference("tools", 1)
    told(pip=["six"]).register()
    told(pip=["rich"]).register()

    assert (latest.get_environment().version, first.get_environment().version) == ("2", "1")
    assert first == EnvironmentReference(name="tools", version="1")
    with pytest.raises(AttributeError):
        first.label = "x"  # type: ignore[attr-defined]


def test_a_clone_shares_nothing_and_has_no_version() -> None:
    made = told(pip=["six"]).register()

    copied = made.clone("other")
    copied.python.conda_dependencies.add_pip_package("rich")
    copied.docker.arguments = ["--init"]

    assert (copied.name, copied.version, copied.asset_id) == ("other", None, None)
    assert made.python.conda_dependencies.pip_packages == ("six",)
    for name in ("", None):
        with pytest.raises(UserErrorException):
            made.clone(name)  # type: ignore[arg-type]


def test_equal_ones_ask_for_the_same_under_the_same_name() -> None:
    one, other = told(pip=["Six>=1", "rich"]), told(pip=["rich", "six >= 1"])

    assert one == other
    assert one != other.clone("other")
    other.secrets = ["TOKEN"]
    assert one != other
    with pytest.raises(TypeError):
        hash(one)


# Private wheels


def test_a_private_wheel_is_known_by_its_bytes(tmp_path: Path) -> None:
    one, other = wheel("private", "1.0"), wheel("private", "1.0", payload="!")
    file = tmp_path / one.filename
    file.write_bytes(one.data)

    first = Environment.add_private_pip_wheel(None, file)
    again = Environment.add_private_pip_wheel(workspace=None, file_path=str(file), exist_ok=False)
    file.write_bytes(other.data)
    changed = Environment.add_private_pip_wheel(None, file, exist_ok=True)

    assert first == again == f"envbuild://wheels/{one.sha256}/{one.filename}"
    assert changed == f"envbuild://wheels/{other.sha256}/{one.filename}"
    made = told(pip=[first])
    assert [each.digest.hex for each in made.definition.wheels] == [one.sha256]


def test_a_private_wheel_goes_with_its_environment_to_another_workspace(tmp_path: Path) -> None:
    private = wheel("private", "1.0")
    (tmp_path / private.filename).write_bytes(private.data)
    made = told(pip=[Environment.add_private_pip_wheel(None, tmp_path / private.filename)]).register()

    made.register(tmp_path / "other")

    assert opened(tmp_path / "other").store.read(Digest(private.sha256)) == private.data


def test_gc_leaves_the_wheels_of_what_is_registered(tmp_path: Path) -> None:
    private = wheel("private", "1.0")
    (tmp_path / "requirements.txt").write_text(f"./{private.filename}\n")
    (tmp_path / private.filename).write_bytes(private.data)
    Environment.from_pip_requirements("tools", tmp_path / "requirements.txt").register()
    core = opened(None)
    for blob in (core.root / "store/blobs/sha256").iterdir():
        os.utime(blob, (0, 0))

    retention.enforce(core)

    assert Digest(private.sha256) in core.store


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo-1.0-py3-none-any.whl").write_bytes(b"not a zip file")

    for file in ("nowhere.whl", "demo-1.0-py3-none-any.whl"):
        with pytest.raises(UserErrorException):
            Environment.add_private_pip_wheel(None, tmp_path / file)


def test_registering_keeps_the_wheels_of_this_machine(tmp_path: Path, index: Index) -> None:
    private = wheel("private", "1.0")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / private.filename).write_bytes(private.data)
    (tmp_path / "project" / "requirements.txt").write_text(f"--index-url {index.simple}\n./{private.filename}\n")
    Environment.from_pip_requirements("tools", tmp_path / "project" / "requirements.txt").register()
    (tmp_path / "project" / private.filename).unlink()

    details = Environment.get(name="tools").build().wait_for_completion(show_output=False)

    assert details.path is not None
    assert list(details.path.rglob("private/__init__.py"))


# What it will be


def test_explaining_says_what_would_be_built_and_what_is_missing() -> None:
    made = told(pip=["six"], conda=["numpy"])
    made.docker.enabled = True
    made.environment_variables = {"A": "1"}

    said = made.explain()

    assert "asks for 1 package of conda, 1 package of pip" in said
    assert "in a container of the default image" in said
    assert "cannot be built: no installed plugin takes on the section 'docker'" in said
    assert "sets A in every run and service" in said
    assert "not registered like this yet" in said
    made.register()
    assert "registered as tools:1" in made.explain()


def test_editing_a_section_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Environment.from_dockerfile("tools", "FROM ubuntu\n").register()
        Environment.get(name="tools")


def test_the_default_images_are_found_where_azure_has_them() -> None:
    assert environments.DEFAULT_CPU_IMAGE == runconfig.DEFAULT_CPU_IMAGE
    assert environments.DEFAULT_GPU_IMAGE == runconfig.DEFAULT_GPU_IMAGE

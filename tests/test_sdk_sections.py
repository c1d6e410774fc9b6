"""The sections of an environment in the SDK, and container registries."""

from __future__ import annotations

import copy
import io
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.definition import Definition
from envbuild.sdk.build_context import DockerBuildContext
from envbuild.sdk.conda_dependencies import CondaDependencies
from envbuild.sdk.container_registry import ContainerRegistry, RegistryIdentity
from envbuild.sdk.exceptions import UserErrorException
from envbuild.sdk.sections import (
    DatabricksSection,
    DockerPlatform,
    DockerSection,
    PythonSection,
    SparkPackage,
    SparkSection,
)

DOCKERFILE = "ARG TAG=12\nFROM debian:${TAG}\n"


def refused(section: object, name: str, value: object) -> str:
    with pytest.raises(UserErrorException) as caught:
        setattr(section, name, value)
    return str(caught.value)


def test_sections_begin_as_azure_s_do() -> None:
    python, docker, spark = PythonSection(), DockerSection(), SparkSection()

    assert (python.user_managed_dependencies, python.interpreter_path) == (False, "python")
    assert python.conda_dependencies == CondaDependencies()
    assert (docker.enabled, docker.shared_volumes, docker.shm_size, docker.arguments) == (False, True, "2g", [])
    assert (docker.platform.os, docker.platform.architecture) == ("Linux", "amd64")
    assert docker.base_image_registry == ContainerRegistry()
    assert (docker.base_image, docker.base_dockerfile, docker.build_context) == (None, None, None)
    assert (spark.repositories, spark.packages, spark.precache_packages) == ([], [], True)
    assert list(vars(DatabricksSection()).values()) == [[]] * 5


@pytest.mark.parametrize(
    ("section", "wrong", "meant"),
    [
        (DockerSection, "enable", "enabled"),
        (DockerSection, "baseimage", "base_image"),
        (PythonSection, "conda_dependancies", "conda_dependencies"),
        (SparkSection, "package", "packages"),
        (DatabricksSection, "pypi_library", "pypi_libraries"),
        (ContainerRegistry, "user_name", "username"),
        (DockerPlatform, "arch", "architecture"),
    ],
)
def test_what_a_section_has_not_cannot_be_set(section: Callable[[], object], wrong: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"did you mean '{meant}'" if meant != "architecture" else "arch"):
        setattr(section(), wrong, True)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        (DockerSection, "enabled", "False"),
        (DockerSection, "gpu_support", 1),
        (DockerSection, "shm_size", 2),
        (DockerSection, "shm_size", "two gigabytes"),
        (DockerSection, "arguments", "-v /a:/b"),
        (DockerSection, "arguments", ["-v", 3]),
        (DockerSection, "base_image", ["debian"]),
        (DockerSection, "base_image", ""),
        (DockerSection, "base_image_registry", 3),
        (DockerSection, "platform", "linux"),
        (DockerSection, "build_context", "folder"),
        (DockerSection, "base_dockerfile", 3),
        (PythonSection, "user_managed_dependencies", None),
        (PythonSection, "interpreter_path", ""),
        (PythonSection, "conda_dependencies", {"dependencies": []}),
        (PythonSection, "conda_dependencies", None),
        (SparkSection, "packages", ["a:b:c"]),
        (SparkSection, "repositories", "https://maven.test"),
        (DatabricksSection, "pypi_libraries", "rich"),
        (ContainerRegistry, "password", 3),
        (ContainerRegistry, "registry_identity", "me"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_where_it_is_set(
    section: Callable[[], object], name: str, value: object
) -> None:
    unchanged = section()
    assert refused(unchanged, name, value).startswith(f"{type(unchanged).__name__}.{name}: ")
    assert unchanged == section()


def test_a_text_for_a_registry_is_its_address() -> None:
    docker = DockerSection()
    docker.base_image_registry = "registry.example.com:5000"

    assert docker.base_image_registry == ContainerRegistry("registry.example.com:5000")
    docker.base_image_registry.username = "me"
    assert copy.deepcopy(docker).base_image_registry.username == "me"
    assert "login" in refused(docker, "base_image_registry", "https://me:hunter2@registry.example.com")


def test_gpu_support_says_what_was_set() -> None:
    docker = DockerSection()
    docker.gpu_support = True
    assert docker.gpu_support is True
    docker.gpu_support = False
    assert docker.gpu_support is False


@pytest.mark.parametrize("written", ["linux/arm64", {"architecture": "arm64"}, DockerPlatform(architecture="arm64")])
def test_a_platform_is_written_in_several_ways(written: Any) -> None:
    docker = DockerSection(platform=written)
    assert str(docker.platform) == "linux/arm64"
    assert docker.platform == DockerPlatform("Linux", "arm64")


def test_setting_one_base_takes_the_others_back_and_says_so(tmp_path: Path) -> None:
    docker = DockerSection(base_image="debian:12")
    with pytest.warns(UserWarning, match=r"docker\.base_dockerfile takes the place of docker\.base_image") as told:
        docker.base_dockerfile = DOCKERFILE
    assert told[0].filename == __file__
    assert (docker.base_image, docker.base_dockerfile) == (None, DOCKERFILE)
    with pytest.warns(UserWarning, match=r"takes the place of docker\.base_dockerfile"):
        docker.build_context = DockerBuildContext("git", "https://host.test/repo.git")
    assert (docker.base_image, docker.base_dockerfile) == (None, None)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        docker.base_image = None
        assert docker.build_context is not None
        docker.build_context = None
        docker.base_image = "debian:12"
        docker.base_image = "debian:13"


def test_a_dockerfile_is_a_text_a_path_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    for value in (DOCKERFILE, "Dockerfile", tmp_path / "Dockerfile", io.StringIO(DOCKERFILE)):
        assert DockerSection(base_dockerfile=value).base_dockerfile == DOCKERFILE
    with (tmp_path / "Dockerfile").open("rb") as stream:
        assert DockerSection(base_dockerfile=stream).base_dockerfile == DOCKERFILE  # type: ignore[arg-type]
    assert DockerSection(base_dockerfile="FROM debian").base_dockerfile == "FROM debian"
    (tmp_path / "Dockerfile").write_text("FROM other\n")
    assert DockerSection(base_dockerfile=DOCKERFILE).base_dockerfile == DOCKERFILE


def test_a_dockerfile_that_is_not_there_is_not_taken_for_its_text(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "other").write_text("RUN true\n")
    for value, said in {
        "docker/Dockerfile": "neither a file nor the text of a Dockerfile",
        "x" * 5000: "neither a file nor the text of a Dockerfile",
        "RUN true\n": "has no FROM",
        tmp_path / "Dockerfile": "no such file",
        tmp_path: "folder",
        tmp_path / "empty": "empty",
        str(tmp_path / "other"): "not a Dockerfile: it has no FROM",
    }.items():
        assert said in refused(DockerSection(), "base_dockerfile", value)


def test_a_file_of_packages_is_loaded_where_it_is_set(tmp_path: Path) -> None:
    (tmp_path / "environment.yml").write_text("dependencies: [numpy]\n")
    python = PythonSection()
    assert python.conda_dependencies_file is None
    python.conda_dependencies_file = tmp_path / "environment.yml"

    assert python.conda_dependencies.conda_packages == ("numpy",)
    assert python.conda_dependencies_file == str(tmp_path / "environment.yml")
    with pytest.raises(FileNotFoundError):
        python.conda_dependencies_file = tmp_path / "nowhere.yml"


def full() -> tuple[object, ...]:
    return (
        PythonSection(True, "/usr/bin/python3"),
        PythonSection(conda_dependencies=CondaDependencies.create(pip_packages=["rich"])),
        DockerSection(enabled=True, base_image="debian", base_image_registry="r.test", arguments=["-it"]),
        DockerSection(build_context=DockerBuildContext("git", "https://host.test/repo.git")),
        SparkSection(["https://maven.test"], [SparkPackage("a", "b", "1")], precache_packages=False),
        DatabricksSection(pypi_libraries=["rich"]),
        ContainerRegistry("r.test", "me", "hunter2", RegistryIdentity("resource", "client")),
        DockerBuildContext("local", "/srv/web", "docker/Dockerfile", "sha256:00"),
    )


@pytest.mark.parametrize("position", range(len(full())))
def test_sections_are_compared_copied_and_pickled_by_what_they_hold(position: int) -> None:
    section = full()[position]

    for other in (full()[position], copy.deepcopy(section), pickle.loads(pickle.dumps(section))):
        assert other == section
        assert repr(other) == repr(section)
    assert section != full()[position - 1]
    assert "hunter2" not in repr(section)


def test_a_copy_shares_nothing() -> None:
    docker = DockerSection(arguments=["-it"])
    other = copy.deepcopy(docker)
    other.arguments.append("--rm")
    other.base_image = "debian"
    other.platform.architecture = "arm64"

    assert docker == DockerSection(arguments=["-it"])


def test_what_is_shown_has_no_password() -> None:
    docker = DockerSection(
        base_image_registry=ContainerRegistry("r.test", "me", "hunter2"),
        arguments=["-e", "API_TOKEN=hunter2", "--env=HTTP_PROXY=http://me:hunter2@proxy.test"],
        build_context=DockerBuildContext("git", "https://me:hunter2@host.test/repo.git"),
    )
    spark = SparkSection(["https://me:hunter2@maven.test"])

    assert "hunter2" not in repr(docker) + repr(spark)
    assert "hunter2" not in str(docker.to_docker()["build_context"]) + str(spark.to_spark())


def test_the_docker_section_says_only_what_is_not_as_by_default() -> None:
    assert DockerSection().to_docker() == {}
    assert DockerSection(gpu_support=True).to_docker() == {}
    assert DockerSection(enabled=True).to_docker() == {"enabled": True}
    docker = DockerSection(
        base_image="debian:12",
        base_image_registry=ContainerRegistry("r.test", "me", "hunter2"),
        platform="linux/arm64",
        shared_volumes=False,
        shm_size="4g",
        arguments=["-it"],
    )

    assert docker.to_docker() == {
        "enabled": False,
        "base_image": "debian:12",
        "base_image_registry": "r.test",
        "platform": {"os": "Linux", "architecture": "arm64"},
        "shared_volumes": False,
        "shm_size": "4g",
        "arguments": ["-it"],
    }
    assert "docker" not in Definition(docker=docker.to_docker()).sections


@given(
    st.builds(
        DockerSection,
        enabled=st.booleans(),
        base_image=st.none() | st.just("debian"),
        base_image_registry=st.none() | st.just("r.test"),
        platform=st.sampled_from(["linux/amd64", "linux/arm64"]),
        shared_volumes=st.booleans(),
        shm_size=st.sampled_from(["2g", "512m"]),
        arguments=st.lists(st.sampled_from(["-it", "--rm"])),
        gpu_support=st.booleans(),
    )
)
def test_a_docker_section_comes_back_from_what_it_says(docker: DockerSection) -> None:
    assert DockerSection.from_docker(docker.to_docker(), gpu_support=docker.gpu_support) == docker
    Definition(docker=docker.to_docker()).content()


def test_other_bases_come_back_too() -> None:
    for docker in (
        DockerSection(base_dockerfile=DOCKERFILE),
        DockerSection(build_context=DockerBuildContext("local", "/srv/web", "docker/Dockerfile", "sha256:00")),
    ):
        assert DockerSection.from_docker(docker.to_docker()) == docker
    written = DockerSection.from_docker({"build_context": "./docker"})
    assert written.enabled
    assert written.build_context == DockerBuildContext("local", "./docker")


def test_a_docker_form_that_says_something_else_is_refused() -> None:
    for form, said in {
        "base_imag": "did you mean 'base_image'?",
        "shm_size": "a size is wanted",
        "build_context": "unlike",
    }.items():
        with pytest.raises(UserErrorException, match=said.replace("?", r"\?")):
            DockerSection.from_docker({form: {"x": 1}})


def test_a_spark_section_says_what_is_not_as_by_default_and_comes_back() -> None:
    spark = SparkSection(["https://maven.test"], [SparkPackage("org.test", "demo", "1.0")], precache_packages=False)

    assert SparkSection().to_spark() == {}
    assert spark.to_spark() == {
        "repositories": ["https://maven.test"],
        "packages": [{"group": "org.test", "artifact": "demo", "version": "1.0"}],
        "precache_packages": False,
    }
    assert SparkSection.from_spark(spark.to_spark()) == spark
    assert SparkSection.from_spark({"packages": ["org.test:demo:1.0"]}).packages == spark.packages
    with pytest.raises(UserErrorException, match="lacks its artifact and version"):
        SparkSection(packages=[SparkPackage("org.test")]).to_spark()
    for wrong in ({"package": []}, {"packages": ["demo"]}):
        with pytest.raises(UserErrorException, match="spark"):
            SparkSection.from_spark(wrong)


def folder(root: Path, **files: str) -> Path:
    for name, content in {"Dockerfile": DOCKERFILE, **files}.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def digest(root: Path, dockerfile: str = "Dockerfile") -> str | None:
    return DockerBuildContext.from_local_directory(None, root, dockerfile).digest


def test_a_build_context_goes_by_paths_and_contents(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", a__run="1", b__run="2")
    same = folder(tmp_path / "same", b__run="2", a__run="1")
    swapped = folder(tmp_path / "swapped", a__run="2", b__run="1")
    moved = folder(tmp_path / "moved", a__run="1", c__run="2")
    executable = folder(tmp_path / "executable", a__run="1", b__run="2")
    (executable / "a" / "run").chmod(0o755)
    linked = folder(tmp_path / "linked", a__run="1")
    (linked / "b").symlink_to("a")

    assert digest(one) == digest(same)
    assert len({digest(each) for each in (one, swapped, moved, executable, linked)}) == 5


def test_what_docker_ignores_does_not_count(tmp_path: Path) -> None:
    ignored = "# ours\n*.md\nnode_modules/\n**/*.log\n./tmp\nDockerfile\n"
    bare = folder(tmp_path / "bare", **{".dockerignore": ignored, "docs__a.md": "deep"})
    more = folder(
        tmp_path / "more",
        **{".dockerignore": ignored, "docs__a.md": "deep", "README.md": "top", "x__y__z.log": "1", "tmp__a": "1"},
        node_modules__a__b="1",
    )
    assert digest(bare) == digest(more)
    (more / "docs" / "a.md").write_text("changed")
    assert digest(bare) != digest(more)
    (bare / "docs" / "a.md").write_text("changed")
    (more / "Dockerfile").write_text("FROM other\n")
    assert digest(bare) != digest(more)


def test_an_ignored_name_may_be_no_unicode(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", **{".dockerignore": "", "a": "1"})
    (one / ".dockerignore").write_bytes(b"caf\xe9\n")
    before = digest(one)

    (one / os.fsdecode(b"caf\xe9")).write_text("1")

    assert digest(one) == before


def test_an_exception_counts_even_in_an_ignored_folder(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", **{".dockerignore": "data\n!data/small\n", "data__small": "1", "data__large": "1"})
    before = digest(one)
    (one / "data" / "large").write_text("2")
    assert digest(one) == before
    (one / "data" / "small").write_text("2")
    assert digest(one) != before


def test_the_ignore_file_of_a_dockerfile_goes_before_that_of_the_folder(tmp_path: Path) -> None:
    one = folder(
        tmp_path,
        **{"docker__Dockerfile": DOCKERFILE, "docker__Dockerfile.dockerignore": "a\n", ".dockerignore": "b\n"},
        a="1",
        b="1",
    )
    before = digest(one, "docker/Dockerfile")
    (one / "a").write_text("2")
    assert digest(one, "docker/Dockerfile") == before
    (one / "b").write_text("2")
    assert digest(one, "docker/Dockerfile") != before


def test_a_pipe_in_a_build_context_is_passed_over(tmp_path: Path) -> None:
    before = digest(folder(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    assert digest(tmp_path) == before


def test_a_build_context_is_a_folder_with_a_dockerfile(tmp_path: Path) -> None:
    context = DockerBuildContext.from_local_directory(workspace=None, path=folder(tmp_path))
    assert (context.location_type, context.location, context.dockerfile_path) == ("local", str(tmp_path), "Dockerfile")

    for path, dockerfile in ((tmp_path / "no", "Dockerfile"), (tmp_path, "other"), (tmp_path, "../Dockerfile")):
        with pytest.raises(UserErrorException):
            DockerBuildContext.from_local_directory(None, path, dockerfile)
    with pytest.raises(UserErrorException, match="'local' or 'git'"):
        DockerBuildContext("svn", "https://host.test")

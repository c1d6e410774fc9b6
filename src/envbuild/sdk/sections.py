"""Sections: the parts of an `Environment`, as ``azureml.core.environment`` has them.

Each refuses attributes that it does not have and values of the wrong kind where they are set, compares by what it
holds, can be copied and pickled, and shows no password.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from envbuild.form import did_you_mean, plain
from envbuild.reading.sources import Sources
from envbuild.requirement import without_credentials
from envbuild.sdk.build_context import DockerBuildContext as DockerBuildContext
from envbuild.sdk.conda_dependencies import CondaDependencies
from envbuild.sdk.conda_entries import shown
from envbuild.sdk.container_registry import ContainerRegistry
from envbuild.sdk.exceptions import UserErrorException
from envbuild.sdk.guard import Checked, Guarded, flag, optional_text, text, texts

_FROM = re.compile(r"^\s*FROM\s", re.I | re.M)
_SIZE = re.compile(r"[0-9]+[bkmg]?", re.I)
_SECRET = re.compile(r"((?:token|secret|passw|credential|key)[\w-]*=)\S+", re.I)


class Section(Guarded):
    """A part of an environment."""

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __repr__(self) -> str:
        usual = vars(type(self)())
        said = {name: value for name, value in vars(self).items() if value != usual[name]}
        return f"{type(self).__name__}({', '.join(f'{name}={_bare(value)!r}' for name, value in said.items())})"


def _bare(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET.sub(r"\1…", shown(value))
    return [_bare(each) for each in value] if isinstance(value, list) else value


def _conda_dependencies(value: CondaDependencies) -> CondaDependencies:
    if not isinstance(value, CondaDependencies):
        raise ValueError(f"CondaDependencies are wanted, not {value!r}")
    return value


class PythonSection(Section):
    """Which Python an environment has, and what is installed into it.

    :raises UserErrorException: a value is not of its kind.
    """

    user_managed_dependencies = Checked(flag)
    """Take the Python at `interpreter_path` as it is, and install nothing into it."""
    interpreter_path = Checked(text)
    """The Python that is taken if `user_managed_dependencies` is set: a path, or a name on the path."""
    conda_dependencies = Checked(_conda_dependencies)
    """What is installed otherwise; Azure's ``None`` is said by `user_managed_dependencies`."""

    def __init__(
        self,
        user_managed_dependencies: bool = False,
        interpreter_path: str = "python",
        conda_dependencies: CondaDependencies | None = None,
    ) -> None:
        self.user_managed_dependencies = user_managed_dependencies
        self.interpreter_path = interpreter_path
        self.conda_dependencies = CondaDependencies() if conda_dependencies is None else conda_dependencies

    @property
    def conda_dependencies_file(self) -> str | None:
        """The file that `conda_dependencies` was loaded from; setting it loads that file at once.

        :raises FileNotFoundError: there is no such file.
        :raises UserErrorException: it is not an ``environment.yml``.
        """
        path = self.conda_dependencies.path
        return str(path) if path else None

    @conda_dependencies_file.setter
    def conda_dependencies_file(self, path: str | os.PathLike[str] | None) -> None:
        self.conda_dependencies = CondaDependencies(path)


class DockerPlatform(Section):
    """The platform that an image is for: Azure's ``os`` and ``architecture``, written ``linux/amd64`` by Docker.

    :raises UserErrorException: a value is not a text.
    """

    os = Checked(text)
    """``Linux`` or ``Windows``."""
    architecture = Checked(text)
    """``amd64``, ``arm64`` …"""

    def __init__(self, os: str = "Linux", architecture: str = "amd64") -> None:
        self.os = os
        self.architecture = architecture

    def __str__(self) -> str:
        return f"{self.os.lower()}/{self.architecture.lower()}"


def _platform(value: DockerPlatform | str | Mapping[str, str]) -> DockerPlatform:
    if isinstance(value, Mapping) and set(value) <= {"os", "architecture"}:
        return DockerPlatform(**value)
    if isinstance(value, str) and value.count("/") == 1:
        system, _, architecture = value.partition("/")
        return DockerPlatform(system.capitalize(), architecture)
    if not isinstance(value, DockerPlatform):
        raise ValueError(f"a platform is wanted, such as 'linux/amd64', not {value!r}")
    return value


def _registry(value: ContainerRegistry | str | None) -> ContainerRegistry:
    if value is None or isinstance(value, str):
        return ContainerRegistry(value)
    if not isinstance(value, ContainerRegistry):
        raise ValueError(f"a ContainerRegistry, or its address, is wanted, not {value!r}")
    return value


def _shm_size(value: str) -> str:
    if not isinstance(value, str) or not _SIZE.fullmatch(value.strip()):
        raise ValueError(f"a size is wanted, such as '512m' or '2g', not {value!r}")
    return value.strip()


class DockerSection(Section):
    """Whether an environment is an image, and what that is made of.

    :raises UserErrorException: a value is not of its kind.

    >>> docker = DockerSection(enabled=True, base_image_registry="registry.example.com")
    >>> docker.base_image_registry.address
    'registry.example.com'
    """

    enabled = Checked(flag)
    """Run in a container."""
    base_image_registry = Checked(_registry)
    """Where `base_image` is pulled from; a text is its address, which Azure keeps as a text and then loses."""
    platform = Checked(_platform)
    """What the image is for; ``linux/arm64`` does too."""
    shared_volumes = Checked(flag)
    """Share folders with the container rather than copying them."""
    shm_size = Checked(_shm_size)
    """The size of the container's shared memory."""
    arguments = Checked(texts)
    """More arguments for ``docker run``."""
    gpu_support = Checked(flag)
    """Ask for the machine's GPUs. Azure ignores what is set."""

    def __init__(
        self,
        enabled: bool = False,
        base_image: str | None = None,
        base_dockerfile: str | os.PathLike[str] | IO[str] | None = None,
        build_context: DockerBuildContext | None = None,
        base_image_registry: ContainerRegistry | str | None = None,
        platform: DockerPlatform | str | Mapping[str, str] | None = None,
        shared_volumes: bool = True,
        shm_size: str = "2g",
        arguments: list[str] | None = None,
        gpu_support: bool = False,
    ) -> None:
        self.enabled = enabled
        self._base: dict[str, Any] = {}
        self.base_image = base_image
        self.base_dockerfile = base_dockerfile
        self.build_context = build_context
        self.base_image_registry = base_image_registry
        self.platform = DockerPlatform() if platform is None else platform
        self.shared_volumes = shared_volumes
        self.shm_size = shm_size
        self.arguments = [] if arguments is None else arguments
        self.gpu_support = gpu_support

    @property
    def base_image(self) -> str | None:
        """The image that the environment is put on; ``None`` for envbuild's own choice. Azure has one of its own.

        Of this, `base_dockerfile` and `build_context`, setting one takes the others back, with a warning.
        """
        return self._base.get("base_image")

    @base_image.setter
    def base_image(self, value: str | None) -> None:
        self._set_base("base_image", self._told("base_image", optional_text, value))

    @property
    def base_dockerfile(self) -> str | None:
        """The Dockerfile whose image the environment is put on, as text. It takes a text, a path, or an open file.

        A path is read at once; one where nothing is, is an error, and not kept for the text of a Dockerfile.
        """
        return self._base.get("base_dockerfile")

    @base_dockerfile.setter
    def base_dockerfile(self, value: str | os.PathLike[str] | IO[str] | None) -> None:
        self._set_base("base_dockerfile", self._told("base_dockerfile", _dockerfile, value))

    @property
    def build_context(self) -> DockerBuildContext | None:
        """The folder with a Dockerfile that the environment is built from."""
        return self._base.get("build_context")

    @build_context.setter
    def build_context(self, value: DockerBuildContext | None) -> None:
        self._set_base("build_context", self._told("build_context", _build_context, value))

    def to_docker(self) -> dict[str, Any]:
        """What stands in `envbuild.definition.Definition.docker`: what is not as by default, and no login.

        A section that is not enabled says so if it says anything. `from_docker` undoes it, but for logins.
        """
        usual = DockerSection()
        found: dict[str, Any] = {}
        for name in ("base_image", "base_dockerfile", "shared_volumes", "shm_size", "arguments"):
            if getattr(self, name) != getattr(usual, name):
                found[name] = plain(getattr(self, name))
        if self.base_image_registry.address:
            found["base_image_registry"] = self.base_image_registry.address
        if self.platform != usual.platform:
            found["platform"] = {"os": self.platform.os, "architecture": self.platform.architecture}
        if self.build_context:
            found["build_context"] = self.build_context.to_dict()
        return {"enabled": self.enabled, **found} if found or self.enabled else {}

    @classmethod
    def from_docker(cls, docker: Mapping[str, Any], *, gpu_support: bool = False) -> DockerSection:
        """Make the section of what stands in `envbuild.definition.Definition.docker`.

        :param gpu_support: whether `envbuild.definition.Definition.gpu` says anything.
        :raises UserErrorException: it says something that the section has no attribute for, or of another kind.
        """
        known = (*(name for name in vars(cls()) if not name.startswith("_")), *_BASES)
        for name in docker:
            if name not in known:
                raise UserErrorException(f"docker.{name}: unknown key {name!r}{did_you_mean(name, known)}")
        given = dict(docker)
        if "build_context" in given:
            given["build_context"] = DockerBuildContext.from_dict(given["build_context"])
        return cls(**{"enabled": bool(docker), "gpu_support": gpu_support, **given})

    def _told(self, name: str, read: Any, value: Any) -> Any:
        try:
            return read(value)
        except ValueError as error:
            raise UserErrorException(f"DockerSection.{name}: {error}") from error

    def _set_base(self, name: str, value: Any) -> None:
        if value is None:
            self._base.pop(name, None)
            return
        for other in self._base:
            if other != name:
                warnings.warn(f"docker.{name} takes the place of docker.{other}", stacklevel=4)
        self._base = {name: value}

    def __repr__(self) -> str:
        said = {**{name: value for name, value in vars(self).items() if name != "_base"}, **self._base}
        usual = vars(DockerSection())
        parts = (f"{name}={_bare(value)!r}" for name, value in said.items() if value != usual.get(name))
        return f"DockerSection({', '.join(parts)})"


_BASES = ("base_image", "base_dockerfile", "build_context")


def _build_context(value: DockerBuildContext | None) -> DockerBuildContext | None:
    if value is not None and not isinstance(value, DockerBuildContext):
        raise ValueError(f"a DockerBuildContext is wanted, not {value!r}")
    return value


def _dockerfile(value: str | os.PathLike[str] | IO[str] | None) -> str | None:
    if value is None:
        return None
    written: Any = value
    if isinstance(value, os.PathLike) or (isinstance(value, str) and _is_file(value)):
        path = Path(value)
        written = Sources(path.parent, {}).text(path)
    elif not isinstance(value, str):
        written = _contents(value)
    if not _FROM.search(written):
        what = f"neither a file nor the text of a Dockerfile: {value!r} " if written is value else ""
        raise ValueError(f"{what or 'not a Dockerfile: it '}has no FROM")
    return str(written)


def _is_file(value: str) -> bool:
    return "\n" not in value and os.path.isfile(value)  # noqa: PTH113 - pathlib stumbles over long texts


def _contents(stream: Any) -> str:
    found = stream.read() if hasattr(stream, "read") else None
    if not isinstance(found, (str, bytes)):
        raise ValueError(f"a text, a path or an open file is wanted, not {stream!r}")
    return found.decode("utf-8") if isinstance(found, bytes) else found


class SparkPackage(Section):
    """A package for Spark, by its Maven coordinates.

    :raises UserErrorException: a value is not a text.
    """

    group = Checked(optional_text)
    """Who publishes it."""
    artifact = Checked(optional_text)
    """What it is called."""
    version = Checked(optional_text)
    """Which version of it."""

    def __init__(self, group: str | None = None, artifact: str | None = None, version: str | None = None) -> None:
        self.group = group
        self.artifact = artifact
        self.version = version


def _spark_packages(value: list[SparkPackage]) -> list[SparkPackage]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, SparkPackage) for each in value):
        raise ValueError(f"a list of SparkPackage is wanted, not {value!r}")
    return list(value)


class SparkSection(Section):
    """Which packages Spark is to bring; on no other framework does it say anything.

    :raises UserErrorException: a value is not of its kind.
    """

    repositories = Checked(texts)
    """URLs of Maven repositories to look into."""
    packages = Checked(_spark_packages)
    """What to bring."""
    precache_packages = Checked(flag)
    """Bring it when the image is built rather than when a run starts."""

    def __init__(
        self,
        repositories: list[str] | None = None,
        packages: list[SparkPackage] | None = None,
        precache_packages: bool = True,
    ) -> None:
        self.repositories = [] if repositories is None else repositories
        self.packages = [] if packages is None else packages
        self.precache_packages = precache_packages

    def to_spark(self) -> dict[str, Any]:
        """What stands in `envbuild.definition.Definition.spark`: what is not as by default; no password is in it.

        `from_spark` undoes it, but for passwords.

        :raises UserErrorException: a package lacks its group, artifact or version.
        """
        for each in self.packages:
            missing = [name for name, value in vars(each).items() if value is None]
            if missing:
                raise UserErrorException(f"{each!r} lacks its {' and '.join(missing)}")
        found = {
            "repositories": [without_credentials(each) for each in self.repositories],
            "packages": [dict(vars(each)) for each in self.packages],
        }
        return {name: value for name, value in found.items() if value} | (
            {} if self.precache_packages else {"precache_packages": False}
        )

    @classmethod
    def from_spark(cls, spark: Mapping[str, Any]) -> SparkSection:
        """Make the section of what stands in `envbuild.definition.Definition.spark`.

        A package may also be written ``group:artifact:version``.

        :raises UserErrorException: it says something that the section has no attribute for, or of another kind.
        """
        known = tuple(vars(cls()))
        for name in spark:
            if name not in known:
                raise UserErrorException(f"spark.{name}: unknown key {name!r}{did_you_mean(name, known)}")
        packages = [_spark_package(each) for each in spark.get("packages", ())]
        return cls(spark.get("repositories", []), packages, spark.get("precache_packages", True))


def _spark_package(form: Any) -> SparkPackage:
    parts = form.split(":") if isinstance(form, str) else None
    if parts and len(parts) == 3:
        return SparkPackage(*parts)
    if isinstance(form, Mapping) and set(form) <= {"group", "artifact", "version"}:
        return SparkPackage(**form)
    raise UserErrorException(f"spark.packages: 'group:artifact:version' is wanted, not {form!r}")


def _libraries(value: list[Any]) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"a list is wanted, not {value!r}")
    return list(value)


class DatabricksSection(Section):
    """Libraries for a cluster of Databricks: kept for Azure, and of no use elsewhere.

    :raises UserErrorException: a value is not a list.
    """

    maven_libraries = Checked(_libraries)
    """Of Maven."""
    pypi_libraries = Checked(_libraries)
    """Of PyPI."""
    rcran_libraries = Checked(_libraries)
    """Of CRAN."""
    jar_libraries = Checked(_libraries)
    """Of jar files."""
    egg_libraries = Checked(_libraries)
    """Of eggs."""

    def __init__(
        self,
        maven_libraries: list[Any] | None = None,
        pypi_libraries: list[Any] | None = None,
        rcran_libraries: list[Any] | None = None,
        jar_libraries: list[Any] | None = None,
        egg_libraries: list[Any] | None = None,
    ) -> None:
        self.maven_libraries = maven_libraries or []
        self.pypi_libraries = pypi_libraries or []
        self.rcran_libraries = rcran_libraries or []
        self.jar_libraries = jar_libraries or []
        self.egg_libraries = egg_libraries or []

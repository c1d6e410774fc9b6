"""What an estimator's parameters come to as an environment, and which of them contradict one another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.sdk.exceptions import TrainingException, UserErrorException

if TYPE_CHECKING:
    from envbuild.sdk.conda_dependencies import CondaDependencies
    from envbuild.sdk.container_registry import ContainerRegistry
    from envbuild.sdk.environment import Environment

_PACKAGES = ("conda_packages", "pip_packages", "conda_dependencies_file", "pip_requirements_file", "framework_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is said of the environment; see `envbuild.sdk.train.estimator.Estimator` for what each means.

    :param framework: the packages that the framework's own estimator adds; the first is what has the version.
    :raises TrainingException: two of these contradict one another.
    :raises UserErrorException: packages are asked for, and nothing is to be installed.
    """

    environment_definition: Environment | None = None
    user_managed: bool = False
    use_gpu: bool = False
    custom_docker_image: str | None = None
    image_registry_details: ContainerRegistry | str | None = None
    conda_packages: tuple[str, ...] = ()
    pip_packages: tuple[str, ...] = ()
    conda_dependencies_file: str | os.PathLike[str] | None = None
    pip_requirements_file: str | os.PathLike[str] | None = None
    framework_version: str | None = None
    framework: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        said = self._said()
        if self.environment_definition is not None and len(said) > 1:
            raise TrainingException(
                f"environment_definition is the whole environment, and {_listed(said[1:])} would say a part of it",
                hint="change the environment itself, or leave environment_definition out",
            )
        packages = [name for name in said if name in _PACKAGES]
        if self.user_managed and packages:
            raise UserErrorException(
                f"user_managed says that nothing is installed, and {_listed(packages)} would have to be",
                hint="leave one of them out",
            )
        if self.conda_dependencies_file and set(packages) & {"conda_packages", "pip_packages", "pip_requirements_file"}:
            raise TrainingException(
                f"conda_dependencies_file lists all packages, and {_listed(packages)} do too",
                hint="add them to the file, under 'dependencies' or its list for pip",
            )
        if self.framework_version and not self.framework:
            raise TrainingException(
                "framework_version is given, and an Estimator has no framework",
                hint="SKLearn, PyTorch, TensorFlow and Chainer have; or pin the package in pip_packages",
            )

    def _said(self) -> list[str]:
        known = (
            "environment_definition",
            "user_managed",
            "use_gpu",
            "custom_docker_image",
            "image_registry_details",
            *_PACKAGES,
        )
        return [name for name in known if getattr(self, name)]

    def environment(self, name: str, source: Path) -> Environment | None:
        """The environment that this comes to; ``None`` where nothing was said.

        :param name: what it is called where it is a new one.
        :param source: where files of packages are looked for first.
        :raises UserErrorException: a file is not there, or what it or a list asks for cannot be.
        """
        if self.environment_definition is not None:
            return self.environment_definition
        if not self._said() and not self.framework:
            return None
        made = self._with_files(name, source)
        made.python.user_managed_dependencies = self.user_managed
        if not self.user_managed:
            self._add_packages(made.python.conda_dependencies)
        if self.custom_docker_image:
            made.docker.base_image = self.custom_docker_image
        if self.image_registry_details:
            made.docker.base_image_registry = self.image_registry_details
        if self.use_gpu:
            made.docker.gpu_support = True
        return made

    def _with_files(self, name: str, source: Path) -> Environment:
        from envbuild.sdk.environment import Environment

        if self.conda_dependencies_file:
            file = _found(self.conda_dependencies_file, source, "conda_dependencies_file")
            return Environment.from_conda_specification(name, str(file))
        if self.pip_requirements_file:
            file = _found(self.pip_requirements_file, source, "pip_requirements_file")
            return Environment.from_pip_requirements(name, str(file))
        return Environment(name)

    def _add_packages(self, wanted: CondaDependencies) -> None:
        for package in self.conda_packages:
            wanted.add_conda_package(package)
        for package in self.pip_packages:
            wanted.add_pip_package(package)
        for position, package in enumerate(self.framework):
            # What the user says of it counts, if only by its name.
            pinned = f"{package}=={self.framework_version}" if self.framework_version and not position else package
            if package not in set(_names(wanted)):
                wanted.add_pip_package(pinned)
            elif pinned != package:
                raise TrainingException(
                    f"framework_version is {self.framework_version!r}, and the packages have {package} already",
                    hint="say the version in one of them",
                )


def _names(wanted: CondaDependencies) -> Iterator[str]:
    """The packages that are asked for, by name."""
    import re

    for package in (*wanted.conda_packages, *wanted.pip_packages):
        if found := re.match(r"(?:[^\s:]+::)?\s*([A-Za-z0-9][\w.-]*)", package):
            yield re.sub(r"[-_.]+", "-", found[1]).lower()


def _found(file: str | os.PathLike[str], source: Path, parameter: str) -> Path:
    for path in (source / file, Path(file)):
        if path.is_file():
            return path.absolute()
    raise UserErrorException(
        f"{parameter}: there is no file {os.fspath(file)!r}, neither in {source} nor here",
        hint="its path is relative to the source folder",
    )


def _listed(names: list[str]) -> str:
    return " and ".join(names)


def either(named: Any, formerly: Any, parameter: str, former: str) -> Any:
    """What was given of a parameter, by the name that it has or the one that it had.

    :raises TrainingException: both were.
    """
    if named is not None and formerly is not None:
        raise TrainingException(f"{former} is the former name of {parameter}, and both are given", hint="leave one out")
    return formerly if named is None else named

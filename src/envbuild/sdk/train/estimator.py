"""The estimator: a script with its parameters, its packages and its data (``azureml.train.estimator``)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from envbuild.sdk.exceptions import TrainingException
from envbuild.sdk.guard import Guarded, items, mapping, optional, pathlike_or_empty, takes, texts, words
from envbuild.sdk.runconfig import (
    MpiConfiguration,
    PyTorchConfiguration,
    RunConfiguration,
    TensorflowConfiguration,
)
from envbuild.sdk.script_run_config import ScriptRunConfig, Submission, is_datastore
from envbuild.sdk.train.environments import Asked, either

if TYPE_CHECKING:
    from envbuild.sdk.compute import ComputeTarget
    from envbuild.sdk.conda_dependencies import CondaDependencies
    from envbuild.sdk.container_registry import ContainerRegistry
    from envbuild.sdk.data_reference import DataReference
    from envbuild.sdk.datastore import Datastore
    from envbuild.sdk.environment import Environment

Mpi = MpiConfiguration
"""What Azure's ``distributed_training`` takes for MPI."""

ParameterServer = TensorflowConfiguration
"""What it takes for TensorFlow's own way."""


class Estimator(Guarded):
    """A script to be trained with: Azure's ``Estimator``, submitted as it is. Unknown attributes are refused.

    Differences to Azure: a run without ``compute_target`` is a local one; ``use_docker``, which Azure has on unless
    told otherwise, asks for a container only where it is said; ``environment_variables`` are the run's, so that
    changing them makes no new version of the environment; without packages, images or an ``environment_definition``
    the run counts as having been given no environment (see `Experiment.submit`).

    :param source_directory: the folder that holds the script, and is snapshotted.
    :param compute_target: a name or a `ComputeTarget`.
    :param vm_size: held for Azure, as are ``vm_priority``, ``source_directory_data_store`` and what begins with ``_``.
    :param entry_script: relative to ``source_directory``.
    :param script_params: what the script is given, ``{"--rate": 0.8, "--data": datastore.as_mount(), "--fast": ""}``:
        each name, and its value behind it unless that is ``""`` or ``None``, which is how flags are said.
    :param node_count: more than one is refused when the run is to be started, as is all else that is distributed:
        ``process_count_per_node``, ``distributed_backend`` and ``distributed_training``.
    :param use_gpu: ask for all GPUs of the machine.
    :param use_docker: run in a container.
    :param custom_docker_image: the image that the environment is put on; it implies a container.
        ``custom_docker_base_image`` is its former name.
    :param image_registry_details: where that image comes from.
    :param user_managed: take the Python that is there, and install nothing.
    :param conda_packages: as conda writes them; ``pip_packages`` as pip does.
    :param conda_dependencies_file: an ``environment.yml``, in ``source_directory`` or else from where the process is;
        ``conda_dependencies_file_path`` is its former name.
    :param pip_requirements_file: a ``requirements.txt``, likewise; ``pip_packages`` are added to it.
        ``pip_requirements_file_path`` is its former name.
    :param environment_definition: the whole environment, in place of all that would say a part of it.
    :param inputs: data that the run is given, though it stands in no parameter.
    :param shm_size: the size of a container's shared memory.
    :param resume_from: data that an earlier run has left; the script gets its path behind ``--resume-from``.
    :param max_run_duration_seconds: when the run is stopped.
    :param framework_version: for the estimators of a framework: which version of it, or the newest that fits.
    :raises TrainingException: two of these contradict one another.
    :raises UserErrorException: packages are asked for, and nothing is to be installed; or a file of them is not there.
    """

    source_directory: str | os.PathLike[str]
    run_config: RunConfiguration

    FRAMEWORK: ClassVar[str] = "Python"
    PACKAGES: ClassVar[tuple[str, ...]] = ()
    """What a framework's estimator adds to the packages; the first of them is what has the version."""

    @takes(
        source_directory=optional(pathlike_or_empty),
        vm_size=optional(words),
        vm_priority=optional(words),
        entry_script=optional(pathlike_or_empty),
        script_params=optional(mapping),
        distributed_backend=optional(words),
        custom_docker_base_image=optional(words),
        custom_docker_image=optional(words),
        conda_packages=optional(texts),
        pip_packages=optional(texts),
        conda_dependencies_file_path=optional(pathlike_or_empty),
        pip_requirements_file_path=optional(pathlike_or_empty),
        conda_dependencies_file=optional(pathlike_or_empty),
        pip_requirements_file=optional(pathlike_or_empty),
        environment_variables=optional(mapping),
        inputs=optional(items),
        shm_size=optional(words),
        framework_version=optional(words),
    )
    def __init__(
        self,
        source_directory: str | os.PathLike[str] = ".",
        *,
        compute_target: str | ComputeTarget | None = None,
        vm_size: str | None = None,
        vm_priority: str | None = None,
        entry_script: str | os.PathLike[str] | None = None,
        script_params: Mapping[str, Any] | None = None,
        node_count: int = 1,
        process_count_per_node: int = 1,
        distributed_backend: str | None = None,
        distributed_training: MpiConfiguration | TensorflowConfiguration | PyTorchConfiguration | None = None,
        use_gpu: bool = False,
        use_docker: bool | None = None,
        custom_docker_base_image: str | None = None,
        custom_docker_image: str | None = None,
        image_registry_details: ContainerRegistry | str | None = None,
        user_managed: bool = False,
        conda_packages: Sequence[str] | None = None,
        pip_packages: Sequence[str] | None = None,
        conda_dependencies_file_path: str | os.PathLike[str] | None = None,
        pip_requirements_file_path: str | os.PathLike[str] | None = None,
        conda_dependencies_file: str | os.PathLike[str] | None = None,
        pip_requirements_file: str | os.PathLike[str] | None = None,
        environment_variables: Mapping[str, str] | None = None,
        environment_definition: Environment | None = None,
        inputs: Sequence[DataReference | Datastore] | None = None,
        source_directory_data_store: str | Datastore | None = None,
        shm_size: str | None = None,
        resume_from: DataReference | None = None,
        max_run_duration_seconds: float | None = None,
        framework_version: str | None = None,
        _disable_validation: bool = True,
        _show_lint_warnings: bool = False,
        _show_package_warnings: bool = False,
        _enable_optimized_mode: bool = False,
    ) -> None:
        asked = Asked(
            environment_definition=environment_definition,
            user_managed=user_managed,
            use_gpu=use_gpu,
            custom_docker_image=either(
                custom_docker_image, custom_docker_base_image, "custom_docker_image", "custom_docker_base_image"
            ),
            image_registry_details=image_registry_details,
            conda_packages=tuple(() if conda_packages is None else conda_packages),
            pip_packages=tuple(() if pip_packages is None else pip_packages),
            conda_dependencies_file=either(
                conda_dependencies_file,
                conda_dependencies_file_path,
                "conda_dependencies_file",
                "conda_dependencies_file_path",
            ),
            pip_requirements_file=either(
                pip_requirements_file, pip_requirements_file_path, "pip_requirements_file", "pip_requirements_file_path"
            ),
            framework_version=framework_version,
            framework=self.PACKAGES,
        )
        self.source_directory = source_directory
        self._script_params = dict(script_params or {})
        self._resume_from = resume_from
        self._inputs = tuple(inputs or ())
        self.run_config = config = RunConfiguration(
            script=None if entry_script is None else os.fspath(entry_script),
            arguments=flattened(self._script_params),
            framework=self.FRAMEWORK,
            communicator=distributed_backend,
        )
        config.target = compute_target
        config.environment = asked.environment(self._name(), Path(source_directory or "."))
        config.environment_variables = dict(environment_variables or {})
        config.node_count = node_count
        config.max_run_duration_seconds = max_run_duration_seconds
        config.amlcompute.vm_size, config.amlcompute.vm_priority = vm_size, vm_priority
        config.source_directory_data_store = _name_of(source_directory_data_store)
        _distribute(config, distributed_training, process_count_per_node)
        _contain(config, use_docker, asked.custom_docker_image, shm_size)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.run_config.script!r} in {os.fspath(self.source_directory)!r}>"

    @property
    def conda_dependencies(self) -> CondaDependencies | Any:
        """The packages of the environment; they may be changed in place, or others be set."""
        return self.run_config.environment.python.conda_dependencies

    @conda_dependencies.setter
    def conda_dependencies(self, conda_dependencies: CondaDependencies) -> None:
        self.run_config.environment.python.conda_dependencies = conda_dependencies

    @takes(script_params=optional(mapping))
    def resolved(self, script_params: Mapping[str, Any] | None = None) -> Submission:
        """What there is to run, checked; nothing that changes later changes it.

        :param script_params: for this run alone, in addition to the estimator's own, or in their place.
        :raises ExperimentExecutionException: the script is not there, or lies outside the source folder.
        :raises UserErrorException: a parameter, or the configuration, cannot be meant so.
        """
        arguments = flattened({**self._script_params, **script_params}) if script_params else None
        config = ScriptRunConfig(
            self.source_directory, arguments=arguments, run_config=self.run_config, resume_from=self._resume_from
        )
        return config.resolved(self._inputs)

    def _name(self) -> str:
        """What an environment made for this is called: after its folder, as a project's is."""
        return (
            re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(self.source_directory or ".").absolute().name).strip("-.")
            or "estimator"
        )


def flattened(script_params: Mapping[str, Any]) -> list[Any]:
    """The arguments that parameters come to: each name, and its value behind it unless that is ``""`` or ``None``.

    :raises TrainingException: they are not given by name.

    >>> flattened({"--rate": 0.8, "--fast": "", "--seed": 0})
    ['--rate', 0.8, '--fast', '--seed', 0]
    """
    if not isinstance(script_params, Mapping):
        raise TrainingException(f"script_params is {script_params!r}", hint="{'--rate': 0.8, '--fast': ''}")
    found: list[Any] = []
    for name, value in script_params.items():
        flag = value is None or (isinstance(value, str) and not value)
        found.extend((name,) if flag else (name, value))
    return found


def _name_of(store: str | Datastore | None) -> str | None:
    if store is None or isinstance(store, str):
        return store
    if not is_datastore(store):
        raise TrainingException(f"source_directory_data_store is {store!r}", hint="a Datastore, or the name of one")
    return store.name


def _distribute(config: RunConfiguration, training: object, processes: int) -> None:
    config.mpi.process_count_per_node = processes
    if isinstance(training, MpiConfiguration):
        config.mpi = training
    elif isinstance(training, TensorflowConfiguration):
        config.tensorflow = training
    elif isinstance(training, PyTorchConfiguration):
        config.pytorch = training
    elif training is not None:
        raise TrainingException(
            f"distributed_training is {training!r}", hint="Mpi(), ParameterServer(), Gloo() or Nccl()"
        )


def _contain(config: RunConfiguration, use_docker: bool | None, image: str | None, shm_size: str | None) -> None:
    if use_docker is False and image:
        raise TrainingException(
            f"custom_docker_image is {image!r}, and use_docker=False says not to use it", hint="leave one of them out"
        )
    config.docker.use_docker = bool(use_docker or image)
    if shm_size:
        config.docker.shm_size = shm_size

"""Run configurations: in what environment, where, and how a script runs (``azureml.core.runconfig``).

`envbuild.sdk.script_run_config` says what is run. A configuration can be kept in a file, in the form that Azure gives
it, and files that Azure wrote are read.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from envbuild.form import did_you_mean
from envbuild.sdk.exceptions import RunConfigurationException
from envbuild.sdk.guard import Guarded, optional, pathlike_or_empty, takes
from envbuild.sdk.run_sections import AmlComputeConfiguration as AmlComputeConfiguration
from envbuild.sdk.run_sections import DataReferenceConfiguration as DataReferenceConfiguration
from envbuild.sdk.run_sections import DockerConfiguration as DockerConfiguration
from envbuild.sdk.run_sections import HdiConfiguration as HdiConfiguration
from envbuild.sdk.run_sections import HistoryConfiguration as HistoryConfiguration
from envbuild.sdk.run_sections import MpiConfiguration as MpiConfiguration
from envbuild.sdk.run_sections import PyTorchConfiguration as PyTorchConfiguration
from envbuild.sdk.run_sections import SparkConfiguration as SparkConfiguration
from envbuild.sdk.run_sections import TensorflowConfiguration as TensorflowConfiguration

if TYPE_CHECKING:
    from envbuild.sdk.conda_dependencies import CondaDependencies
    from envbuild.sdk.data_reference import DataReference
    from envbuild.sdk.environment import Environment, EnvironmentReference

LOCAL = "local"
"""The target that every workspace has."""

DEFAULT_ENVIRONMENT = "default-environment"
"""What a run configuration calls the environment that it makes when it is asked for one."""

FOLDERS = (".azureml", "aml_config")
"""Where, in a project, configurations are kept; the second one is what early releases of Azure's SDK used."""

SUFFIX = ".runconfig"

DEFAULT_CPU_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04"
"""The image that Azure's own runs start from; an image that this environment is put on can be any."""

DEFAULT_GPU_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-cuda11.1-cudnn8-ubuntu20.04"
"""The same with the libraries for NVIDIA's GPUs."""

_FRAMEWORKS = ("Python", "TensorFlow", "PyTorch", "CNTK", "Chainer")
"""What is run by starting Python; Azure takes them in whatever capitals."""

_NONE = "None"
"""How Azure writes that there is no communicator."""

_ELSEWHERE = {
    # Names that `azureml.core.runconfig` has too; they are looked up when asked for, since each brings its module.
    "CondaDependencies": "envbuild.sdk.conda_dependencies",
    "ContainerRegistry": "envbuild.sdk.container_registry",
    "DatabricksSection": "envbuild.sdk.sections",
    "DockerSection": "envbuild.sdk.sections",
    "Environment": "envbuild.sdk.environment",
    "EnvironmentReference": "envbuild.sdk.environment",
    "PythonSection": "envbuild.sdk.sections",
    "SparkPackage": "envbuild.sdk.sections",
    "SparkSection": "envbuild.sdk.sections",
}
_FORMER = {"EnvironmentDefinition": "Environment"}
"""What early releases called it."""


def __getattr__(name: str) -> Any:
    wanted = _FORMER.get(name, name)
    if wanted not in _ELSEWHERE:
        known = [*_ELSEWHERE, *_FORMER, *(each for each in globals() if each[:1].isupper())]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{did_you_mean(name, known)}")
    from importlib import import_module

    return getattr(import_module(_ELSEWHERE[wanted]), wanted)


SECTIONS: dict[str, type[Any]] = {
    "history": HistoryConfiguration,
    "docker": DockerConfiguration,
    "spark": SparkConfiguration,
    "hdi": HdiConfiguration,
    "tensorflow": TensorflowConfiguration,
    "mpi": MpiConfiguration,
    "pytorch": PyTorchConfiguration,
    "amlcompute": AmlComputeConfiguration,
}


class RunConfiguration(Guarded):
    """How something is run: Azure's ``RunConfiguration``. An attribute that it does not have is refused.

    :ivar script: what is run, relative to the folder that `ScriptRunConfig` names.
    :ivar arguments: its arguments.
    :ivar command: what is run instead of a script (see `ScriptRunConfig`).
    :ivar framework: what the script is written for; all but ``"PySpark"`` is run by starting Python.
    :ivar communicator: how the processes of a distributed run talk; ``"None"`` for a run of one process.
    :ivar docker: whether the run is to be in a container.
    :ivar history: what is kept of the run.
    :ivar environment_variables: what the run is given on top of its environment's variables. They are no part of the
        environment, so that changing them makes no new version of it.
    :ivar data_references: the data that the run is given, by the names that ``$AZUREML_DATAREFERENCE_<name>`` has.
    :ivar node_count: on how many machines; more than one needs a target that has them.
    :ivar max_run_duration_seconds: when the run is stopped, or ``None``.
    :ivar amlcompute: a cluster for this run alone, which ``target = "amlcompute"`` asks Azure for; a local run here.
    :ivar priority: held for Azure, as are ``hdi``, ``source_directory_data_store`` and ``credential_passthrough``.
    """

    script: str | None
    arguments: list[Any]
    command: str | list[Any] | None
    framework: str
    communicator: str
    docker: DockerConfiguration
    history: HistoryConfiguration
    environment_variables: dict[str, str]
    data_references: dict[str, DataReference | DataReferenceConfiguration]
    node_count: int
    max_run_duration_seconds: float | None
    spark: SparkConfiguration
    hdi: HdiConfiguration
    tensorflow: TensorflowConfiguration
    mpi: MpiConfiguration
    pytorch: PyTorchConfiguration
    amlcompute: AmlComputeConfiguration
    priority: int | None
    source_directory_data_store: str | None
    credential_passthrough: bool

    def __init__(
        self,
        script: str | None = None,
        arguments: list[Any] | None = None,
        framework: str | None = None,
        communicator: str | None = None,
        conda_dependencies: CondaDependencies | None = None,
        _history_enabled: bool | None = None,
        _path: str | None = None,
        _name: str | None = None,
        command: str | list[Any] | None = None,
    ) -> None:
        self._name, self._path = _name, _path
        self.script, self.arguments, self.command = script, list(arguments or ()), command
        self.framework = framework or "Python"
        self.communicator = communicator or _NONE
        self.docker, self.history = DockerConfiguration(), HistoryConfiguration()
        self.environment_variables, self.data_references = {}, {}
        self.node_count, self.max_run_duration_seconds, self.priority = 1, None, None
        self.spark, self.hdi, self.amlcompute = SparkConfiguration(), HdiConfiguration(), AmlComputeConfiguration()
        self.tensorflow, self.mpi, self.pytorch = TensorflowConfiguration(), MpiConfiguration(), PyTorchConfiguration()
        self.source_directory_data_store, self.credential_passthrough = None, False
        self._target = LOCAL
        self._environment: Environment | Any | None = None
        self._made_here = False
        if _history_enabled is not None:
            self.history.output_collection = _history_enabled
        if conda_dependencies is not None:
            self.environment.python.conda_dependencies = conda_dependencies

    def __repr__(self) -> str:
        named = f"in {self._environment.name!r}" if self._environment is not None else "without an environment"
        return f"<RunConfiguration of {self.command or self.script!r} on {self.target!r}, {named}>"

    # Where and in what

    @property
    def target(self) -> str:
        """The name of the compute target; a `ComputeTarget` may be set.

        :raises RunConfigurationException: what is set is neither a name nor a target.
        """
        return self._target

    @target.setter
    def target(self, target: object) -> None:
        name = LOCAL if target is None else getattr(target, "name", target)
        if not isinstance(name, str) or not name:
            raise RunConfigurationException(
                f"a compute target is wanted, not {target!r}", hint="its name ('local'), or a ComputeTarget"
            )
        self._target = name

    @property
    def environment(self) -> Environment | Any:
        """The environment: an `Environment`, or the `EnvironmentReference` that was set.

        Where none was set, one called ``default-environment`` is made when it is first asked for, to be changed in
        place. If it is not changed, the run still counts as having been given none (see `Experiment.submit`).

        A name, ``"name"`` or ``"name:version"``, may be set for one that is registered.

        :raises RunConfigurationException: what is set is none of these.
        """
        if self._environment is None:
            self._environment, self._made_here = _default_environment(), True
        return self._environment

    @environment.setter
    def environment(self, environment: object) -> None:
        self._environment, self._made_here = environment_said(environment), False

    def chosen_environment(self) -> Environment | EnvironmentReference | None:
        """The environment, or ``None`` where none was set and the default one has not been changed."""
        chosen = self._environment
        return None if self._made_here and chosen == _default_environment() else chosen

    @property
    def auto_prepare_environment(self) -> bool:
        """``True``: what is not there is made. Azure's early releases could be told not to; setting it does nothing."""
        return True

    @auto_prepare_environment.setter
    def auto_prepare_environment(self, _: bool) -> None:
        pass

    prepare_environment = auto_prepare_environment

    def with_(self, **changes: Any) -> Self:
        """A configuration that shares everything with this one but ``changes``."""
        twin = copy.copy(self)
        for name, value in changes.items():
            setattr(twin, name, value)
        return twin

    def check(self) -> None:
        """See to it that a run can be started with this; Azure leaves that to its service.

        :raises RunConfigurationException: it needs a cluster, or a section is none.
        """
        for name, kind in SECTIONS.items():
            if not isinstance(getattr(self, name), kind):
                raise RunConfigurationException(
                    f"run_config.{name} is {getattr(self, name)!r}", hint=f"set a {kind.__name__}"
                )
        self._check_framework()
        self._check_distribution()

    def _check_framework(self) -> None:
        framework = str(self.framework)
        if framework.lower() == "pyspark":
            raise RunConfigurationException(
                "the framework PySpark needs a target that has Spark, and a local run has none",
                hint="put pyspark into the environment, and leave the framework at 'Python'",
            )
        if framework.lower() not in [each.lower() for each in _FRAMEWORKS]:
            raise RunConfigurationException(
                f"no such framework: {framework!r}{did_you_mean(framework, _FRAMEWORKS)}",
                hint=f"there are {', '.join(_FRAMEWORKS)}",
            )

    def _check_distribution(self) -> None:
        asked = {
            "node_count": self.node_count,
            "mpi.node_count": self.mpi.node_count,
            "mpi.process_count_per_node": self.mpi.process_count_per_node,
            "pytorch.node_count": self.pytorch.node_count,
            "pytorch.process_count": self.pytorch.process_count,
            "tensorflow.worker_count": self.tensorflow.worker_count,
        }
        found = [f"{name} is {value}" for name, value in asked.items() if value not in (None, 1)]
        if self.communicator not in (None, "", _NONE):
            found.insert(0, f"communicator is {self.communicator!r}")
        if found:
            raise RunConfigurationException(
                f"distributed runs need a cluster target, and {' and '.join(found)}",
                hint="a local run has one node, one process and no communicator",
            )

    # Files

    @takes(path=optional(pathlike_or_empty), name=optional(pathlike_or_empty))
    def save(
        self,
        path: str | os.PathLike[str] | None = None,
        name: str | None = None,
        separate_environment_yaml: bool = False,
    ) -> None:
        """Write this to ``PATH/.azureml/NAME.runconfig``, with its packages in ``conda_dependencies.yml`` beside it.

        Where ``path`` is a file, or is to be one, that file is written. Where ``conda_dependencies.yml`` has other
        packages already, these go to ``conda_dependencies_NAME.yml``: in Azure, configurations change one another's.

        :param path: the project's folder, or a file; nothing for where this was loaded from, or else the current one.
        :param separate_environment_yaml: put the environment into ``environment.yml``, in Azure's form; or, where that
            is there and says something else, into ``environment_NAME.yml``.
        :raises UserErrorException: no name is known, the folder is not there, or the files cannot be written.
        """
        from envbuild.sdk import runconfig_files

        runconfig_files.save(self, Path(path or self._path or "."), name or self._name, separate_environment_yaml)

    @staticmethod
    @takes(path=optional(pathlike_or_empty), name=optional(pathlike_or_empty))
    def load(path: str | os.PathLike[str], name: str | None = None) -> RunConfiguration:
        """Read a configuration that `save`, or Azure's SDK or command line, wrote.

        :param path: the file; or the project's folder, where ``.azureml`` and ``aml_config`` are looked through for
            ``name`` and ``name.runconfig``, and then the folder itself.
        :raises UserErrorException: it is not there, or does not say what it should; the message says where.
        """
        from envbuild.sdk import runconfig_files

        return runconfig_files.load(Path(path or "."), name)

    @staticmethod
    @takes(path=optional(pathlike_or_empty), name=pathlike_or_empty)
    def delete(path: str | os.PathLike[str], name: str) -> None:
        """Remove ``name`` from a project's folder; files of packages stay, since others may name them.

        :raises UserErrorException: it is not there.
        """
        from envbuild.sdk import runconfig_files

        runconfig_files.delete(Path(path or "."), name)


def environment_said(environment: object) -> Environment | EnvironmentReference | None:
    """The environment that a user means: an object as it is, ``"name:version"`` as a reference.

    :raises RunConfigurationException: neither, nor ``None``.
    """
    from envbuild.sdk.environment import Environment, EnvironmentReference

    if environment is None or isinstance(environment, (Environment, EnvironmentReference)):
        return environment
    if isinstance(environment, str) and environment.strip(": "):
        name, _, version = environment.partition(":")
        return EnvironmentReference(name=name.strip(), version=version.strip() or None)
    raise RunConfigurationException(
        f"an environment is wanted, not {environment!r}",
        hint="an Environment, an EnvironmentReference, or the name of one that is registered: 'name' or 'name:version'",
    )


def _default_environment() -> Environment:
    from envbuild.sdk.environment import Environment

    return Environment(DEFAULT_ENVIRONMENT)

"""Script runs: what is run, with what arguments, in which configuration (``azureml.core.script_run_config``)."""

from __future__ import annotations

import copy
import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path, PurePosixPath
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING, Any

from envbuild.sdk.exceptions import ExperimentExecutionException, RunConfigurationException, UserErrorException
from envbuild.sdk.guard import Guarded, optional, pathlike_or_empty, takes
from envbuild.sdk.runconfig import (
    DEFAULT_ENVIRONMENT,
    LOCAL,
    DataReferenceConfiguration,
    DockerConfiguration,
    MpiConfiguration,
    PyTorchConfiguration,
    RunConfiguration,
    TensorflowConfiguration,
)

if TYPE_CHECKING:
    from envbuild.sdk.compute import ComputeTarget
    from envbuild.sdk.data_reference import DataReference
    from envbuild.sdk.datastore import Datastore
    from envbuild.sdk.environment import Environment, EnvironmentReference
    from envbuild.sdk.workspace import Workspace

NEVER = 2592000
"""The 30 days that Azure gives a run unless told otherwise; here they stand for no limit at all."""

ONE_RUN_CLUSTER = "amlcompute"
"""The target that has Azure make a cluster for one run."""

_PLACEHOLDER = re.compile(r"\$\{?AZUREML_DATAREFERENCE_(\w+)\}?")
_SHELL = frozenset(("&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What there is to run, checked, and apart from whatever its maker goes on to change.

    :param source: the folder that the snapshot is taken of.
    :param command: the program and its arguments, as seen from that folder; data stands in it as
        ``$AZUREML_DATAREFERENCE_<name>``.
    :param head: how many of those words are not the user's arguments.
    :param environment: ``None`` where none was said.
    :param target: ``"local"``, or a compute target's name.
    :param variables: what the run is given on top of its environment's variables.
    :param data: what the placeholders stand for.
    :param collect_outputs: whether ``outputs/`` is collected in the end.
    :param take_snapshot: whether the source is kept.
    :param max_seconds: when the run is to be stopped; ``None`` for never.
    :param script: relative to ``source``; ``None`` for a command.
    :param named_data: data whose datastore is said by name, which only a workspace can tell (see `placed`).
    :param docker: what is to be said of the container once the environment is known (see `placed`).
    """

    source: Path
    command: tuple[str, ...]
    head: int
    environment: Environment | EnvironmentReference | None = None
    target: str = LOCAL
    variables: Mapping[str, str] = field(default_factory=dict)
    data: tuple[DataReference, ...] = ()
    collect_outputs: bool = True
    take_snapshot: bool = True
    max_seconds: float | None = None
    script: str | None = None
    named_data: Mapping[str, DataReferenceConfiguration] = field(default_factory=dict)
    docker: DockerConfiguration | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The user's arguments."""
        return self.command[self.head :]

    def placed(self, workspace: Workspace) -> Submission:
        """This, with what is said by name looked up in a workspace.

        :returns: one whose ``environment`` is an `Environment` or ``None``, and whose ``data`` is all there is.
        :raises UserErrorException: the workspace does not have it.
        """
        environment: Any = self.environment
        if hasattr(environment, "get_environment"):
            environment = environment.get_environment(workspace)
        if self.docker:
            environment = in_container(environment, self.docker)
        found = [_in_run(each.in_workspace(name, workspace)) for name, each in self.named_data.items()]
        return replace(self, environment=environment, data=(*self.data, *found), named_data={}, docker=None)


class ScriptRunConfig(Guarded):
    """What is to be run and how: Azure's ``ScriptRunConfig``. An attribute that it does not have is refused.

    `environment` and `compute_target` may be set at any time, which Azure's class takes in silence and ignores. There
    is one place for each: they are `run_config`'s ``environment`` and ``target``, so that **what was set last
    counts**, be it here, in `run_config`, or by setting another `run_config`. Setting one here gives this object a
    `run_config` of its own, so that other objects made with the same one stay as they are. ``script``,
    ``arguments`` and ``command`` are this object's own, and stay when another `run_config` is set; where neither a
    script nor a command is said here, `run_config`'s count.

    :param source_directory: the folder that holds the script, and is snapshotted.
    :param script: relative to it, and inside it; it is run with the environment's Python.
    :param arguments: texts, numbers, booleans, paths, and data: a `DataReference` (``datastore.path("x").as_mount()``),
        or a `Datastore` for all of it. The script gets the path that the data has in the run. ``None`` is refused,
        since it could mean no argument as well as the word.
    :param run_config: in what environment and where; what else is said here wins over it, where Azure ignores it with
        a warning.
    :param compute_target: a name or a `ComputeTarget`.
    :param environment: an `Environment`, or the name, ``"name"`` or ``"name:version"``, of one that is registered.
    :param distributed_job_config: held, and refused when the run is to be started, unless it asks for one process.
    :param resume_from: data that an earlier run has left; the script gets its path behind ``--resume-from``.
    :param max_run_duration_seconds: when the run is stopped; Azure's 30 days stand for never.
    :param command: what is run instead of a script. A list is run as it is, each item one word, without a shell: Azure
        joins it with spaces for its shell, which breaks arguments that have spaces in them. A text is run by ``sh -c``,
        with ``&&``, ``|`` and ``$NAME`` as they are there.
    :param docker_runtime_config: whether the run is in a container, instead of ``run_config.docker`` and whatever the
        environment says.
    :raises UserErrorException: two of these contradict one another.
    """

    source_directory: str | os.PathLike[str]
    run_config: RunConfiguration

    @takes(source_directory=optional(pathlike_or_empty), script=optional(pathlike_or_empty))
    def __init__(
        self,
        source_directory: str | os.PathLike[str] = ".",
        script: str | os.PathLike[str] | None = None,
        arguments: Sequence[Any] | None = None,
        run_config: RunConfiguration | None = None,
        _telemetry_values: Mapping[str, Any] | None = None,
        compute_target: str | ComputeTarget | None = None,
        environment: Environment | EnvironmentReference | str | None = None,
        distributed_job_config: MpiConfiguration | PyTorchConfiguration | TensorflowConfiguration | None = None,
        resume_from: DataReference | None = None,
        max_run_duration_seconds: float | None = NEVER,
        command: str | Sequence[Any] | None = None,
        docker_runtime_config: DockerConfiguration | None = None,
    ) -> None:
        self.source_directory = source_directory
        if run_config is not None and not isinstance(run_config, RunConfiguration):
            raise RunConfigurationException(f"run_config: a RunConfiguration is wanted, not {run_config!r}")
        if docker_runtime_config is not None and not isinstance(docker_runtime_config, DockerConfiguration):
            raise RunConfigurationException(
                f"docker_runtime_config: a DockerConfiguration is wanted, not {docker_runtime_config!r}"
            )
        self.run_config = RunConfiguration() if run_config is None else run_config
        self._resume_from = resume_from
        self.script, self.arguments, self.command = script, arguments, command
        if compute_target is not None:
            self.compute_target = compute_target
        if environment is not None:
            self.environment = environment
        if _seconds(max_run_duration_seconds) is not None:
            self.run_config = self.run_config.with_(max_run_duration_seconds=max_run_duration_seconds)
        self._no_container = docker_runtime_config is not None and not docker_runtime_config.use_docker
        if docker_runtime_config is not None:
            self.run_config = self.run_config.with_(docker=docker_runtime_config)
        if distributed_job_config is not None:
            self.run_config = _distributed(self.run_config, distributed_job_config)
        self._check_what_is_run()

    def __repr__(self) -> str:
        return f"<ScriptRunConfig of {self.command or self.script!r} in {os.fspath(self.source_directory)!r}>"

    # What

    @property
    def script(self) -> str | None:
        """What is run, relative to `source_directory`."""
        return self.run_config.script if self._script is None else self._script

    @script.setter
    def script(self, script: str | os.PathLike[str] | None) -> None:
        if script is not None and not isinstance(script, (str, os.PathLike)):
            raise UserErrorException(f"script: a path is wanted, not {script!r}", hint="script='train.py'")
        self._script: str | None = None if script is None else os.fspath(script)

    @property
    def arguments(self) -> list[Any]:
        """The arguments, as they were given; the list may be changed in place."""
        return self.run_config.arguments if self._arguments is None else self._arguments

    @arguments.setter
    def arguments(self, arguments: Sequence[Any] | None) -> None:
        self._arguments: list[Any] | None = None if arguments is None else listed(arguments, "arguments")

    @property
    def command(self) -> str | list[Any] | None:
        """What is run instead of a script."""
        if self._command is None and self._script is None:
            return self.run_config.command
        return self._command

    @command.setter
    def command(self, command: str | Sequence[Any] | None) -> None:
        if command is not None and not isinstance(command, str):
            command = listed(command, "command")
        self._command: str | list[Any] | None = command

    # How

    @property
    def environment(self) -> Environment | Any | None:
        """The environment of `run_config`; ``None`` where none was set."""
        return self.run_config.chosen_environment()

    @environment.setter
    def environment(self, environment: Environment | EnvironmentReference | str | None) -> None:
        self.run_config = self.run_config.with_(environment=environment)

    @property
    def compute_target(self) -> str:
        """The target of `run_config`, by name."""
        return self.run_config.target

    @compute_target.setter
    def compute_target(self, target: str | ComputeTarget | None) -> None:
        self.run_config = self.run_config.with_(target=target)

    # Submitting

    def resolved(self, inputs: Iterable[DataReference | Datastore] = ()) -> Submission:
        """What there is to run, checked; nothing that changes later changes it.

        :param inputs: data that the run is given besides that in the arguments and in `run_config`.
        :raises ExperimentExecutionException: the script is not there, or lies outside the source folder.
        :raises UserErrorException: an argument, or the configuration, cannot be meant so.
        """
        config = self.run_config
        config.check()
        self._check_what_is_run()
        source = _folder(self.source_directory)
        data = Data(config.data_references)
        for position, each in enumerate(listed(inputs, "inputs")):
            data.add(each, f"inputs[{position}]")
        script: str | None = None
        if self.command:
            command, head = _command_line(self.command, data)
        else:
            script = _script_in(source, self.script)
            command, head = ("python", script, *data.words(self._all_arguments())), 2
        from envbuild.sdk.environment import Environment

        environment = copy.deepcopy(config.chosen_environment())
        docker = copy.deepcopy(config.docker) if config.docker.use_docker else None
        if self._no_container and docker is None and isinstance(environment, Environment):
            environment.docker.enabled = False
        if docker and not hasattr(environment, "get_environment"):
            environment, docker = in_container(environment, docker), None
        return Submission(
            source=source,
            command=command,
            head=head,
            environment=environment,
            target=LOCAL if config.target == ONE_RUN_CLUSTER else config.target,
            variables=_variables(config.environment_variables),
            data=tuple(map(_in_run, data.references.values())),
            named_data=dict(data.named),
            collect_outputs=bool(config.history.output_collection),
            take_snapshot=bool(config.history.snapshot_project),
            max_seconds=_seconds(config.max_run_duration_seconds),
            script=script,
            docker=docker,
        )

    def _all_arguments(self) -> list[Any]:
        resumed = () if self._resume_from is None else ("--resume-from", self._resume_from)
        return [*listed(self.arguments, "arguments"), *resumed]

    def _check_what_is_run(self) -> None:
        # A command that is said here stands instead of a script that the run configuration has.
        others = (self._script, self._arguments) if self._command else (self.script, self.arguments)
        if self.command and (any(others) or self._resume_from is not None):
            raise UserErrorException(
                "command says all that is run, and script or arguments are given too",
                hint="put them into the command, or leave the command out",
            )


class Data:
    """The data that a run is given, gathered while its words are written out.

    :ivar references: by name; ``named`` are those whose datastore is said by name only.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.references: dict[str, DataReference] = {}
        self.named: dict[str, DataReferenceConfiguration] = {}
        for name, each in _mapping(given, "data_references").items():
            if isinstance(each, DataReferenceConfiguration):
                self.named[name] = copy.copy(each)
            else:
                self.add(each, f"data_references[{name!r}]")

    def add(self, value: Any, where: str) -> str:
        """Take in a reference.

        :returns: what stands for it in an argument.
        :raises UserErrorException: it is none, or there is another of that name.
        """
        reference = value.as_mount() if is_datastore(value) else value
        if not is_reference(reference):
            raise UserErrorException(
                f"{where}: data is wanted, not {value!r}", hint="datastore.path('…').as_mount() or .as_download()"
            )
        name = reference.data_reference_name
        if self.references.setdefault(name, reference) != reference:
            raise UserErrorException(
                f"{where}: there is other data called {name!r}, or the same in another mode",
                hint="name it: datastore.path('…', data_reference_name='…')",
            )
        # The reference itself knows more than what was said of it by name.
        self.named.pop(name, None)
        return str(reference)

    def words(self, values: Iterable[Any], where: str = "arguments") -> tuple[str, ...]:
        """The words of a command that values come to.

        :raises UserErrorException: a value can be no word, or names data that was not given.
        """
        found = []
        for position, value in enumerate(values):
            place = f"{where}[{position}]"
            data = not isinstance(value, (str, Real)) and (is_reference(value) or is_datastore(value))
            found.append(self.add(value, place) if data else text_of(value, place))
        for position, word in enumerate(found):
            self.check(word, f"{where}[{position}]")
        return tuple(found)

    def check(self, word: str, where: str) -> None:
        """See to it that data named in ``word`` is among what the run is given.

        :raises UserErrorException: it is not; Azure would pass the name on as it is.
        """
        for name in _PLACEHOLDER.findall(word):
            if name not in self.references and name not in self.named:
                raise UserErrorException(
                    f"{where}: {word!r} names data that the run is not given",
                    hint="pass the reference itself rather than str() of it, or put it into run_config.data_references",
                )


def is_reference(value: object) -> bool:
    """Whether ``value`` is a `DataReference`."""
    from envbuild.sdk.data_reference import DataReference

    return isinstance(value, DataReference)


def is_datastore(value: object) -> bool:
    """Whether ``value`` is a `Datastore`."""
    from envbuild.sdk.datastore import Datastore

    return isinstance(value, Datastore)


def text_of(value: Any, where: str) -> str:
    """The word that a program gets for ``value``.

    :raises UserErrorException: it is nothing that a word could stand for.

    >>> [text_of(each, "arguments[0]") for each in ("--rate", 0.8, 3, True, Path("data") / "x")]
    ['--rate', '0.8', '3', 'True', 'data/x']
    """
    if isinstance(value, (str, os.PathLike)):
        text = os.fspath(value)
        if isinstance(text, str) and "\0" not in text:
            return text
    elif isinstance(value, Real):
        return str(value)
    hint = "a text, a number, a path, or data such as datastore.path('…').as_mount()"
    if value is None:
        hint = "leave it out, or write 'None' for the word"
    raise UserErrorException(f"{where}: {value!r} cannot be passed to a program", hint=hint)


def listed(values: Any, where: str) -> list[Any]:
    """``values`` as a list.

    :raises UserErrorException: they are a single text, or no sequence.
    """
    if isinstance(values, (list, tuple)):
        return list(values)
    raise UserErrorException(f"{where}: a list is wanted, not {values!r}", hint="['--rate', 0.8]")


def in_container(environment: Environment | None, docker: DockerConfiguration) -> Environment:
    """A copy of an environment that says to be run in a container, as a run configuration has it.

    What is said for the run wins over what the environment says; settings that were left alone change nothing.
    """
    from envbuild.sdk.environment import Environment

    if environment is None:
        made = Environment(DEFAULT_ENVIRONMENT)
    else:
        made = environment.clone(environment.name or DEFAULT_ENVIRONMENT)
    made.docker.enabled = True
    usual = DockerConfiguration()
    for name in ("shared_volumes", "arguments", "shm_size"):
        if getattr(docker, name) != getattr(usual, name):
            setattr(made.docker, name, copy.copy(getattr(docker, name)))
    return made


def _distributed(config: RunConfiguration, job: Any) -> RunConfiguration:
    if isinstance(job, MpiConfiguration):
        return config.with_(mpi=job)
    if isinstance(job, PyTorchConfiguration):
        return config.with_(pytorch=job)
    if isinstance(job, TensorflowConfiguration):
        return config.with_(tensorflow=job)
    raise RunConfigurationException(
        f"distributed_job_config is {job!r}",
        hint="an MpiConfiguration, a PyTorchConfiguration or a TensorflowConfiguration",
    )


def _command_line(command: str | list[Any], data: Data) -> tuple[tuple[str, ...], int]:
    if isinstance(command, str):
        data.check(command, "command")
        return ("sh", "-c", text_of(command, "command")), 3
    words = data.words(listed(command, "command"), "command")
    if not words[0].strip():
        raise UserErrorException("command[0]: the name of a program is wanted, not an empty text")
    for position, word in enumerate(words):
        if word in _SHELL:
            raise UserErrorException(
                f"command[{position}]: {word!r} means something to a shell only, and a list is run without one",
                hint="give the command as one text, which is run by 'sh -c'",
            )
    return words, 1


def _folder(source_directory: str | os.PathLike[str] | None) -> Path:
    said = os.fspath(source_directory or ".")
    folder = Path(os.path.abspath(os.path.expanduser(said)))  # noqa: PTH100, PTH111
    if not folder.is_dir():
        found = "a file" if folder.exists() else "not there"
        raise ExperimentExecutionException(
            f"the source folder {folder} is {found}", hint=_near(folder.name, folder.parent, Path.is_dir)
        )
    return folder


def _script_in(source: Path, script: str | None) -> str:
    """The script relative to its folder.

    :raises ExperimentExecutionException: it is not there, or elsewhere.
    """
    if not script:
        raise ExperimentExecutionException("there is nothing to run", hint="name a script (entry_script) or a command")
    path = source / script
    # Both ways, since a snapshot holds neither what '..' leads to nor what a link does.
    within = os.path.normpath(path).startswith(os.path.join(source, ""))  # noqa: PTH118
    if not within or not path.resolve().is_relative_to(source.resolve()):
        raise ExperimentExecutionException(
            f"the script {script} lies outside the source folder {source}",
            hint="the source folder is all that a run is given; name one that holds the script",
        )
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "is not there"
        raise ExperimentExecutionException(
            f"the script {script} {found}, in {source}", hint=_near(path.name, path.parent, Path.is_file)
        )
    return os.path.relpath(os.path.normpath(path), source)


def _near(name: str, folder: Path, wanted: Any) -> str:
    """What to say instead of a name that is not there."""
    if not folder.is_dir():
        return f"there is no folder {folder}"
    names = sorted(each.name for each in folder.iterdir() if wanted(each))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    if scripts := [each for each in names if each.endswith(".py")]:
        return f"there are {', '.join(scripts[:5])}{', …' if scripts[5:] else ''}"
    return f"nothing in {folder} has a name like it"


def _variables(given: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name, value in _mapping(given, "environment_variables").items():
        where = f"environment_variables[{name!r}]"
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise RunConfigurationException(f"{where}: that is no name for a variable")
        found[name] = text_of(value, where)
    return found


def _mapping(given: object, where: str) -> Mapping[Any, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise RunConfigurationException(f"{where}: a mapping is wanted, not {given!r}", hint="{'name': …}")
    return given or {}


def _in_run(reference: DataReference) -> DataReference:
    """The reference, without a place that is no run's to write to: an absolute one is that of Azure's container."""
    absolute = reference.path_on_compute is not None and PurePosixPath(reference.path_on_compute).is_absolute()
    return replace(reference, path_on_compute=None) if absolute else reference


def _seconds(asked: Any) -> float | None:
    is_number = isinstance(asked, Real) and not isinstance(asked, bool)
    if asked is None or (is_number and asked == NEVER):
        return None
    if not is_number or not 0 < asked <= TIMEOUT_MAX:
        raise RunConfigurationException(
            f"max_run_duration_seconds: more than 0 is wanted, and at most {TIMEOUT_MAX:.0f}, not {asked!r}",
            hint="leave it out, or say None, for a run that may take any time",
        )
    return float(asked)

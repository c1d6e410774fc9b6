"""The run, as the script in it sees it: Azure ML's `Run`, on the folder that envbuild made for the run.

Under envbuild everything goes to that folder, as it happens. On its own a script has an offline run, with all
the same methods: metrics are printed and kept in memory, files go to ``./outputs``, those of its children to
``./envbuild-runs/ID/outputs``, and models to ``./azureml-models``.
"""

from __future__ import annotations

import os
import time

from .errors import ModelPathNotFoundException, RunEnvironmentException, UserErrorException
from .files import Folder
from .measured import Measured
from .partial import Partial
from .record import InFolder, InMemory, children_of, related, requested, workspace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Type

    from .model import Model
    from .workspace import Workspace

__all__ = ["Environment", "Experiment", "Run", "RunEnvironmentException", "UserErrorException"]

MOST_CHILDREN = 100
"""How many children are made at a time, as Azure ML has it."""

_BESIDE = "envbuild-runs"
_ABSENT = dict.fromkeys(
    ("input_datasets", "output_datasets"),
    "data are files in a datastore; hand Datastore.path('folder').as_mount() to the script as an argument",
)
"""Of Azure ML's attributes those that are missing, and what stands in their place."""


class Environment:
    """The environment that a run is in.

    :ivar name: the registered name, ``version`` its version as a text; both `None` if it was not registered.
    :ivar id: the digest that stands for it.
    """

    def __init__(self, name: str | None, version: str | None, id: str) -> None:  # noqa: A002
        self.name = name
        self.version = version
        self.id = id

    def __repr__(self) -> str:
        return f"Environment(name={self.name!r}, version={self.version!r}, id={self.id!r})"


class Experiment(Partial):
    """The name that runs are gathered under.

    :ivar name: the name.
    """

    name: str

    def __init__(self, name: str, run: Run) -> None:
        self.name = name
        self._run = run

    def __repr__(self) -> str:
        return f"Experiment(name={self.name!r})"

    def __str__(self) -> str:
        return self.name

    @property
    def workspace(self) -> Workspace:
        """The workspace that the run is recorded in.

        :raises RunEnvironmentException: the script is not part of a run, or the workspace is out of reach.
        """
        from .workspace import NO_RUN, Workspace

        if not self._run._online:
            raise self._run._no_run_error(NO_RUN)
        return Workspace._at(self._run._workspace())


class _OnClassToo:
    """A method that, asked of the class, means the run that the script is part of."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, run: Run | None, owner: Type[Run]) -> Any:
        if run is not None:
            return self._method.__get__(run, owner)
        return lambda: self._method(owner.get_context())


_runs: dict[Any, Run] = {}


class Run(Measured):
    """A run; to be had from `get_context`.

    Threads, processes and forks may use it at the same time: each metric, tag or property is one line of its
    own. Nothing is held back, so there is nothing to flush.

    A run that was submitted ends with its script, and its exit code says how. A child (`child_run`), and a run begun
    in a notebook, is ended by `complete`, `fail` or `cancel`, at the latest when the process that made it ends; the
    first end counts.

    :ivar id: the run's id.
    """

    _no_run_error: Type[Exception] = RunEnvironmentException
    """What a want of a run, or of something that a run may lack, is raised as."""
    _no_model_path_error: Type[Exception] = ModelPathNotFoundException
    _offline: Type[Run]
    """What a script of its own is given; `_OfflineRun`."""

    def __init__(self, identity: str, experiment: str, folder: str | None, environment: Environment | None) -> None:
        self.id = identity
        self._experiment = experiment
        self._online = folder is not None
        self._prints = folder is None
        self._environment = environment
        self._folder = Folder(folder) if folder is not None else Folder(os.getcwd(), own=True)
        self._record: Any = InFolder(self._folder.root) if self._online else InMemory(requested(identity, experiment))
        # Of a run without a folder; all others find theirs by what is written.
        self._parent: Run | None = None
        self._children: list[Run] = []
        self._entered = 0

    if not TYPE_CHECKING:  # or a type checker would take any attribute for one that there is

        def __getattr__(self, name):
            if name in _ABSENT:
                raise AttributeError(f"{type(self).__name__} has no {name}: {_ABSENT[name]}")
            # Python's own error, which knows what may have been meant.
            return object.__getattribute__(self, name)

    @classmethod
    def get_context(cls, allow_offline: bool = True) -> Run:
        """The run that this script is part of; the same object each time.

        :param allow_offline: give a script that envbuild does not run an offline run, rather than an error.
        :raises RunEnvironmentException: envbuild does not run this script, and ``allow_offline`` is false.
        """
        variables = os.environ
        identity, folder = variables.get("ENVBUILD_RUN_ID"), variables.get("ENVBUILD_RUN_FOLDER")
        if not (identity and folder):
            if not allow_offline:
                raise cls._no_run_error(
                    "this script is not part of a run (ENVBUILD_RUN_ID and ENVBUILD_RUN_FOLDER are not set): "
                    "start it with 'envbuild run', or allow an offline run"
                )
            identity, folder = None, None
        key = (cls, identity, folder)
        if key not in _runs:
            made = cls._online_run(identity, folder) if identity and folder else cls._offline_run()
            # Not a lock, since a fork at the wrong moment would hold it for ever.
            _runs.setdefault(key, made)
        return _runs[key]

    get_submitted_run = get_context
    """As `get_context`; Azure ML's older name for it."""

    @classmethod
    def _online_run(cls, identity: str, folder: str) -> Run:
        known = os.environ.get("ENVBUILD_ENVIRONMENT_ID")
        name, version = os.environ.get("ENVBUILD_ENVIRONMENT_NAME"), os.environ.get("ENVBUILD_ENVIRONMENT_VERSION")
        environment = Environment(name or None, version or None, known) if known else None
        return cls._make(identity, os.environ.get("ENVBUILD_EXPERIMENT", ""), folder, environment)

    @classmethod
    def _offline_run(cls) -> Run:
        return cls._offline._make(f"OfflineRun_{os.urandom(16).hex()}", "offline", None, None)

    @classmethod
    def _make(cls, identity: str, experiment: str, folder: str | None, environment: Environment | None) -> Run:
        """A run of this class, however that takes what it is made of."""
        return cls(identity, experiment, folder, environment)

    def __repr__(self) -> str:
        return f"Run(Experiment: {self._experiment}, Id: {self.id}, Status: {self.get_status()})"

    def __enter__(self) -> Run:
        self._entered = os.getpid()
        self.start()
        return self

    def __exit__(self, kind: Type[BaseException] | None, error: BaseException | None, at: object) -> None:
        if os.getpid() != self._entered:
            # A fork leaves the block too; the run is its parent's.
            return
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self.complete()
        elif isinstance(error, KeyboardInterrupt):
            self._end("Canceled", "stopped by Ctrl-C")
        else:
            self.fail(f"{type(error).__name__}: {error}")

    # What the run is

    @property
    def experiment(self) -> Experiment:
        """The experiment that it belongs to."""
        return Experiment(self._experiment, self)

    @property
    def type(self) -> str:
        """``script`` if it was submitted, ``interactive`` if its own process says when it ends."""
        return str(self._record.request().get("type") or "script")

    @property
    def status(self) -> str:
        """As `get_status`."""
        return self.get_status()

    def get_status(self) -> str:
        """How far the run has come: ``NotStarted``, ``Running``, ``Completed``, ``Failed``, ``Canceled``."""
        return str(self._record.status())

    def get_detailed_status(self) -> dict[str, Any]:
        """``status``, and ``details`` with the reason of an end that has one."""
        reason = (self._record.end() or {}).get("reason")
        return {"status": self.get_status(), "details": [reason] if reason else []}

    def get_details(self) -> dict[str, Any]:
        """What is known of the run, under Azure ML's names; ``endTimeUtc`` and ``error`` only where there is one."""
        known, end, noted = self._record.request(), self._record.end() or {}, self._noted()
        found = {
            "runId": self.id,
            "target": known.get("target", "local"),
            "status": self.get_status(),
            "startTimeUtc": _moment(known.get("started_at") or known.get("created_at")),
            "properties": noted.properties,
            "inputDatasets": [],
            "outputDatasets": [],
            "runDefinition": {
                "command": list(known.get("command", ())),
                "environment": dict(known.get("environment") or {}),
                "target": known.get("target", "local"),
            },
            "logFiles": {name: self._folder.find(name) for name in self.get_file_names() if name.startswith("logs/")},
        }
        if end.get("ended_at"):
            found["endTimeUtc"] = _moment(end["ended_at"])
        said = [*noted.errors, *([end["reason"]] if end.get("reason") not in ("", None, *noted.errors) else [])]
        if said and found["status"] == "Failed":
            found["error"] = {"error": {"message": "; ".join(said)}}
        return found

    def get_snapshot_id(self) -> str | None:
        """The digest of the source that the run was submitted with; `None` if it has no snapshot."""
        found = self._record.request().get("snapshot")
        return str(found) if found else None

    def get_environment(self) -> Environment:
        """The environment that this script runs in; asked of the class, that of the run it is part of.

        :raises RunEnvironmentException: the run is in no environment of envbuild's.
        """
        if not self._online:
            raise self._no_run_error("this script is not part of a run, and so in no environment of envbuild's")
        if self._environment is None:
            raise self._no_run_error(f"run {self.id} is in no environment of envbuild's")
        return self._environment

    get_environment = _OnClassToo(get_environment)  # type: ignore[assignment]

    def get_secret(self, name: str) -> str | None:
        """The value of a secret that the run was given: of the variable of that name. In Azure ML from a key vault.

        :returns: `None` if the run was not given it.
        """
        if not isinstance(name, str):
            raise self._user_error(f"a secret is named by a text, not {name!r}")
        return os.environ.get(name)

    def get_secrets(self, secrets: Iterable[str]) -> dict[str, str | None]:
        """As `get_secret`, for several."""
        return {name: self.get_secret(name) for name in secrets}

    # Metrics

    def get_metrics(
        self,
        name: str | None = None,
        recursive: bool = False,
        run_type: str | None = None,
        populate: bool = False,  # noqa: ARG002 (Azure ML's; nothing is kept elsewhere)
    ) -> dict[str, Any]:
        """What was logged so far: a value if it was logged once, else the list of the values.

        :param name: only that metric; empty if it was not logged.
        :param recursive: that of all descendants too; the metrics are then by the id of the run.
        :param run_type: only of descendants of that type.
        """
        if recursive:
            every = [self, *self.get_children(recursive=True, type=run_type)]
            return {run.id: run.get_metrics(name) for run in every}
        found = self._logged().metrics
        return found if name is None else {each: value for each, value in found.items() if each == name}

    # Children and parents

    @property
    def parent(self) -> Run | None:
        """The run that this one is a child of, or `None`."""
        if not self._online:
            return self._parent
        folder = related(self._folder.root, str(self._record.request().get("parent") or ""))
        return self._at(folder) if folder else None

    def child_run(
        self,
        name: str | None = None,
        run_id: str | None = None,
        outputs: str | None = None,  # noqa: ARG002 (as in Azure ML, where it is for its own use)
    ) -> Run:
        """Begin a run that is a child of this one.

        :param name: what it is called.
        :param run_id: its id; by default one that no other run has.
        :raises UserErrorException: the id is none, or a run has it.
        :raises RunEnvironmentException: the workspace is out of reach, as it is in some containers.
        """
        return self._child(name, run_id, {}, "Running")

    def create_children(
        self, count: int | None = None, tag_key: str | None = None, tag_values: Iterable[Any] | None = None
    ) -> list[Run]:
        """Make several children, which are ``NotStarted`` until `start`, or ``with``.

        :param count: how many; or else
        :param tag_key: a tag that each child gets, with one of ``tag_values``.
        :raises UserErrorException: both or neither were given, or more than 100 are asked for.
        """
        tagged = tag_key is not None and tag_values is not None
        if (count is None) != tagged or (tag_key is None) != (tag_values is None):
            raise self._user_error("create_children: give either count, or both tag_key and tag_values")
        every = [{str(tag_key): value} for value in tag_values or ()] if count is None else [{}] * count
        if not 0 < len(every) <= MOST_CHILDREN:
            raise self._user_error(f"create_children makes 1 to {MOST_CHILDREN} children at a time, not {len(every)}")
        return [self._child(None, None, tags, "NotStarted") for tags in every]

    def get_children(
        self,
        recursive: bool = False,
        tags: str | dict[str, Any] | None = None,
        properties: str | dict[str, Any] | None = None,
        type: str | None = None,  # noqa: A002 (Azure ML's name)
        status: str | None = None,
    ) -> Iterator[Run]:
        """The children of this run, in the order in which they were made.

        :param recursive: their children as well, each after its parent.
        :param tags: only those with that tag, or with these values of tags; ``properties`` likewise.
        :param type: only those of that type, ``status`` likewise.
        """
        for run in self._descendants({self.id}) if recursive else self._own_children():
            if (
                _has(run.get_tags, tags)
                and _has(run.get_properties, properties)
                and (type is None or type in (run.type, f"azureml.{run.type}run"))
                and (status is None or status == run.get_status())
            ):
                yield run

    def submit_child(self, config: Any, tags: dict[str, Any] | None = None, **kwargs: Any) -> Run:  # noqa: ARG002
        """Not to be had inside a run.

        :raises RunEnvironmentException: always; it says what to do.
        """
        raise self._no_run_error(
            "a script in a run cannot submit another: submit it where envbuild is installed, with "
            "Run.submit_child or Experiment.submit; run.child_run() begins a child in this process"
        )

    # Models

    def register_model(
        self,
        model_name: str,
        model_path: str | None = None,
        tags: dict[str, Any] | None = None,
        properties: dict[str, Any] | None = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        description: str | None = None,
        datasets: object = None,  # noqa: ARG002 (Azure ML's; there are none)
        **kwargs: Any,  # noqa: ARG002 (sample inputs and resources, which Azure ML uses to deploy without code)
    ) -> Model:
        """Register files of the run as a model; each time it gets the next version.

        :param model_path: the name of a file or folder among the outputs, as ``outputs/model.pkl``; by default
            ``model_name``.
        :returns: the model, with its ``name``, ``version`` and ``id``.
        :raises ModelPathNotFoundException: there is no such file; the message lists what there is.
        :raises UserErrorException: the name is none, or something else was refused.
        :raises RunEnvironmentException: the workspace is out of reach.
        """
        from . import model

        path = model_name if model_path is None else str(model_path)
        try:
            place = self._folder.find(path)
        except ValueError as error:
            raise self._no_model_path_error(str(error)) from error
        known = {
            "tags": tags,
            "properties": properties,
            "framework": model_framework,
            "framework_version": model_framework_version,
            "description": description,
        }
        try:
            if not self._online:
                return model.keep(model_name, place, known)
            name = os.path.relpath(place, self._folder.root).replace(os.sep, "/")
            return model.register_of_run(self.id, self._workspace(), model_name, name, known)
        except RunEnvironmentException as error:
            raise self._no_run_error(str(error)) from error
        except UserErrorException as error:
            raise self._user_error(str(error)) from error

    # The end

    def start(self) -> None:
        """Let a child that is ``NotStarted`` be running; of any other run nothing is changed."""
        if not self._online:
            self._record.begin()
        elif self._is_interactive:
            from .interactive import start

            start(self._folder.root)

    def flush(self, timeout_seconds: float = 300) -> None:
        """Do nothing: everything is written as it is logged."""

    def complete(self) -> None:
        """End a child. Of a submitted run nothing is changed: that it completes is said by its script's exit code."""
        self._end("Completed")

    def fail(self, error_details: Any = None, error_code: str | None = None) -> None:
        """Note why the script gives up, and end a child; that a submitted run fails is said by its exit code."""
        said = ": ".join(str(each) for each in (error_code, error_details) if each)
        if said:
            self._tell("error", "error", said)
            if self._prints:
                print(f"error: {said}", flush=True)
        self._end("Failed", said)

    def cancel(self) -> None:
        """End a child, and the children of that which end in the same way.

        Of a submitted run this warns: a script cannot cancel the run that it is part of, only end.
        """
        if self._online and not self._is_interactive:
            import warnings

            warnings.warn(
                f"run {self.id} cannot be canceled from inside: end the script, "
                f"or use 'envbuild runs cancel {self.id}'",
                stacklevel=2,
            )
            return
        for run in [*self._descendants({self.id}), self]:
            if not run._online or run._is_interactive:
                run._end("Canceled")

    # How it is done

    @property
    def _is_interactive(self) -> bool:
        return self.type == "interactive"

    def _end(self, status: str, reason: str = "") -> None:
        if not self._online:
            self._record.finish(status, reason)
        elif self._is_interactive:
            from .interactive import finish

            finish(self._folder.root, status, reason)

    def _workspace(self) -> str:
        """The folder of the workspace that the run is in."""
        found = workspace_of(self._folder.root)
        if found is None:
            raise self._no_run_error(f"the workspace of run {self.id} is out of reach: {self._folder.root} is in none")
        return found

    def _at(self, folder: str) -> Run:
        """The run whose folder that is; it lies beside this one's."""
        known = InFolder(folder).request()
        found = known.get("environment") or {}
        environment = Environment(found.get("name"), found.get("version"), found["id"]) if found.get("id") else None
        return self._make(os.path.basename(folder), known.get("experiment", ""), folder, environment)

    def _child(self, name: str | None, identity: str | None, tags: dict[str, Any], status: str) -> Run:
        if name is not None and not isinstance(name, str):
            raise self._user_error(f"a run is called by a text, not {name!r}")
        from .interactive import begin

        if not self._online:
            return self._offline_child(name, identity, tags, status)
        known = self._record.request()
        environment = known.get("environment") or (vars(self._environment) if self._environment else None)
        try:
            held = begin(
                self._workspace(),
                self._experiment,
                identity=identity,
                parent=self.id,
                name=name,
                environment=environment,
                tags=tags,
                snapshot=known.get("snapshot"),
                git=known.get("git"),
                status=status,
            )
        except ValueError as error:
            raise self._user_error(str(error)) from error
        return self._at(held.folder)

    def _offline_child(self, name: str | None, identity: str | None, tags: dict[str, Any], status: str) -> Run:
        from .interactive import new_id
        from .record import is_name

        identity = identity or new_id(self._experiment)
        if not is_name(identity):
            raise self._user_error(f"{identity!r} is no id for a run: letters, digits, '-' and '_' make one")
        if identity in {run.id for run in self._top()._descendants(set())}:
            raise self._user_error(f"there is a run {identity!r} already")
        made = self._make(identity, self._experiment, None, self._environment)
        known = requested(identity, self._experiment, status=status, parent=self.id, name=name, tags=tags)
        made._record, made._parent = InMemory(known), self
        made._folder = Folder(os.path.join(self._top()._folder.root, _BESIDE, identity))
        self._children.append(made)
        return made

    def _top(self) -> Run:
        return self if self._parent is None else self._parent._top()

    def _own_children(self) -> Iterable[Run]:
        return [self._at(folder) for folder in children_of(self._folder.root)] if self._online else list(self._children)

    def _descendants(self, seen: set[str]) -> Iterator[Run]:
        waiting = [iter(self._own_children())]
        while waiting:
            run = next(waiting[-1], None)
            if run is None:
                waiting.pop()
            # What is written by scripts may say that a run is its own grandchild.
            elif run.id not in seen:
                seen.add(run.id)
                yield run
                waiting.append(iter(run._own_children()))


class _OfflineRun(Run):
    """The run of a script of its own, and each child of that; Azure ML's name, which scripts compare types with."""


Run._offline = _OfflineRun


def _has(known: Callable[[], dict[str, str]], wanted: str | dict[str, Any] | None) -> bool:
    if wanted is None:
        return True
    found = known()
    if isinstance(wanted, str):
        return wanted in found
    return all(found.get(key) == str(value) for key, value in wanted.items())


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e6):06d}Z"

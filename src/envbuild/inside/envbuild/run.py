"""The run, as the script in it sees it: Azure ML's `Run`, on the folder that envbuild made for the run.

Under envbuild everything goes to that folder, as it happens. On its own a script has an offline run, with all
the same methods: metrics are printed and kept in memory, files go to ``./outputs``.
"""

from __future__ import annotations

import os

from .events import File, Memory, Told, event
from .files import Folder
from .values import is_many, plain, plain_any, plain_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import IO, Any

METRICS = "metrics.jsonl"
REQUEST = "run.json"


class RunEnvironmentException(RuntimeError):  # noqa: N818 (Azure ML's name)
    """The script is not part of a run, or the run has not what was asked for."""

    @property
    def message(self) -> str:
        """What happened."""
        return str(self)


class UserErrorException(ValueError):  # noqa: N818 (Azure ML's name)
    """The script asked for something that cannot be."""

    @property
    def message(self) -> str:
        """What happened."""
        return str(self)


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


class Experiment:
    """The name that runs are gathered under."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Experiment(name={self.name!r})"

    def __str__(self) -> str:
        return self.name


class _OnClassToo:
    """A method that, asked of the class, means the run that the script is part of."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, run: Run | None, owner: type[Run]) -> Any:
        if run is not None:
            return self._method.__get__(run, owner)
        return lambda: self._method(owner.get_context())


_runs: dict[Any, Run] = {}


class Run:
    """A run; to be had from `get_context`.

    Threads, processes and forks may use it at the same time: each metric, tag or property is one line of its
    own. Nothing is held back, so there is nothing to flush.

    :ivar id: the run's id.
    """

    def __init__(self, identity: str, experiment: str, folder: str | None, environment: Environment | None) -> None:
        self.id = identity
        self.experiment = Experiment(experiment)
        self._online = folder is not None
        self._environment = environment
        self._folder = Folder(folder if folder is not None else os.getcwd())
        self._events: Any = File(os.path.join(folder, METRICS)) if folder is not None else Memory()
        self._status = "Running"

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
                raise RunEnvironmentException(
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

    @classmethod
    def _online_run(cls, identity: str, folder: str) -> Run:
        known = os.environ.get("ENVBUILD_ENVIRONMENT_ID")
        name, version = os.environ.get("ENVBUILD_ENVIRONMENT_NAME"), os.environ.get("ENVBUILD_ENVIRONMENT_VERSION")
        environment = Environment(name or None, version or None, known) if known else None
        return cls(identity, os.environ.get("ENVBUILD_EXPERIMENT", ""), folder, environment)

    @classmethod
    def _offline_run(cls) -> Run:
        return cls(f"OfflineRun_{os.urandom(16).hex()}", "offline", None, None)

    def __repr__(self) -> str:
        return f"Run(Experiment: {self.experiment.name}, Id: {self.id}, Status: {self.get_status()})"

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self.complete()
        elif isinstance(error, KeyboardInterrupt):
            self._end("Canceled")
        else:
            self.fail(f"{type(error).__name__}: {error}")

    # What the run is

    @property
    def name(self) -> str:
        """The run's id."""
        return self.id

    @property
    def parent(self) -> None:
        """No run has a parent yet."""
        return

    @property
    def status(self) -> str:
        """As `get_status`."""
        return self.get_status()

    def get_status(self) -> str:
        """``Running``; of an offline run also how it was ended."""
        return self._status

    def get_environment(self) -> Environment:
        """The environment that this script runs in; asked of the class, that of the run it is part of.

        :raises RunEnvironmentException: envbuild does not run this script.
        """
        if self._environment is None:
            raise RunEnvironmentException(f"run {self.id} is in no environment of envbuild's")
        return self._environment

    get_environment = _OnClassToo(get_environment)  # type: ignore[assignment]

    # Metrics

    def log(self, name: str, value: Any, description: str = "", step: int | None = None) -> None:
        """Log one value: a number, a truth value or a text; of anything else its ``repr`` is kept.

        :raises UserErrorException: ``value`` is a list, or an array of several values.
        """
        if is_many(value):
            raise UserErrorException(
                f"metric {name!r}: {type(value).__name__} is several values; log them with "
                f"log_list({name!r}, …), or one at a time"
            )
        self._tell("metric", name, plain(value), step, description)

    def log_list(self, name: str, value: Iterable[Any], description: str = "") -> None:
        """Log several values at once."""
        self._tell("list", name, plain_list(value), None, description)

    def log_row(self, name: str, description: str | None = None, **columns: Any) -> None:
        """Log one row of a table, a value for each column."""
        self._tell("row", name, plain_any(columns), None, description)

    def log_table(self, name: str, value: dict[str, Any], description: str = "") -> None:
        """Log a table, a list of values for each column.

        :raises UserErrorException: ``value`` is not a mapping.
        """
        self._tell("table", name, self._mapping(name, value), None, description)

    def log_image(
        self, name: str, path: str | os.PathLike[str] | None = None, plot: Any = None, description: str = ""
    ) -> None:
        """Log an image: a file, or a plot of Matplotlib's (``pyplot`` itself or a figure), kept as PNG.

        It comes to lie under ``outputs/images``; each image that is logged under one name has its own file.

        :raises UserErrorException: both or neither were given.
        """
        if (path is None) == (plot is None):
            raise UserErrorException(f"image {name!r}: give either a path or a plot")
        suffix = os.path.splitext(os.fspath(path))[1] if path is not None else ".png"
        kept = self._folder.free(f"images/{_as_file_name(name)}{suffix}")
        if path is not None:
            kept = self._folder.take(kept, path)
        else:
            plot.savefig(self._folder.place(kept), format="png")
            kept = f"outputs/{kept}"
        self._tell("image", name, kept, None, description)

    def log_confusion_matrix(self, name: str, value: Any, description: str = "") -> None:
        """Log a confusion matrix in Azure ML's form: a mapping, or JSON text of one."""
        self._tell("confusion_matrix", name, self._mapping(name, value), None, description)

    def log_accuracy_table(self, name: str, value: Any, description: str = "") -> None:
        """Log an accuracy table in Azure ML's form: a mapping, or JSON text of one."""
        self._tell("accuracy_table", name, self._mapping(name, value), None, description)

    def log_residuals(self, name: str, value: Any, description: str = "") -> None:
        """Log residuals in Azure ML's form: a mapping, or JSON text of one."""
        self._tell("residuals", name, self._mapping(name, value), None, description)

    def log_predictions(self, name: str, value: Any, description: str = "") -> None:
        """Log predictions in Azure ML's form: a mapping, or JSON text of one."""
        self._tell("predictions", name, self._mapping(name, value), None, description)

    def get_metrics(self, name: str | None = None) -> dict[str, Any]:
        """What was logged so far: a value if it was logged once, else the list of the values.

        :param name: only that metric; empty if it was not logged.
        """
        found = self._told().metrics
        return found if name is None else {each: value for each, value in found.items() if each == name}

    # Tags and properties

    def tag(self, key: str, value: Any = None) -> None:
        """Set a tag; without a value it is the empty text."""
        self._tell("tag", key, "" if value is None else str(value))

    def set_tags(self, tags: dict[str, Any]) -> None:
        """Set several tags; others stay."""
        for key, value in tags.items():
            self.tag(key, value)

    def remove_tags(self, tags: str | Iterable[str]) -> None:
        """Remove a tag, or several; those that are not there do not matter."""
        for key in [tags] if isinstance(tags, str) else tags:
            self._tell("untag", key, None)

    def get_tags(self) -> dict[str, str]:
        """The tags as they are now: those that the run was started with, and what the script has changed."""
        return self._told().tags

    def add_properties(self, properties: dict[str, Any]) -> None:
        """Set properties, which stay as they are from then on.

        :raises UserErrorException: one of them has another value already; then none is set.
        """
        known = self._told().properties
        for key, value in properties.items():
            if known.get(key, str(value)) != str(value):
                raise UserErrorException(f"property {key!r} is {known[key]!r} already, and properties do not change")
        for key, value in properties.items():
            if key not in known:
                self._tell("property", key, str(value))

    def get_properties(self) -> dict[str, str]:
        """The properties that were set so far."""
        return self._told().properties

    # Files

    def upload_file(self, name: str, path_or_stream: str | os.PathLike[str] | IO[bytes]) -> None:
        """Keep a copy of a file, or of what a stream has to give, among the outputs of the run.

        :param name: ``outputs/model.pkl``, or ``model.pkl`` for the same; a file that was there is replaced.
        :raises UserErrorException: the name leads out of the outputs.
        :raises FileNotFoundError: there is no such file.
        """
        self._checked(self._folder.take, name, path_or_stream)

    def upload_files(self, names: Iterable[str], paths: Iterable[str]) -> None:
        """As `upload_file`, for each name the path at the same place.

        :raises UserErrorException: there are more of one than of the other.
        """
        every, sources = list(names), list(paths)
        if len(every) != len(sources):
            raise UserErrorException(f"{len(every)} names for {len(sources)} paths")
        for name, path in zip(every, sources):  # noqa: B905 (Python 3.8 has no `strict`)
            self.upload_file(name, path)

    def upload_folder(self, name: str, path: str | os.PathLike[str]) -> None:
        """Keep copies of all files of a folder, under ``name``."""
        self._checked(self._folder.take_folder, name, path)

    def get_file_names(self) -> list[str]:
        """The files under ``outputs`` and ``logs``, as ``outputs/model.pkl``."""
        return self._folder.names()

    def download_file(self, name: str, output_file_path: str | os.PathLike[str] | None = None) -> None:
        """Copy a file of the run's to ``output_file_path``, else to the current folder.

        :raises UserErrorException: the run has no such file.
        """
        import shutil

        place = self._checked(self._folder.place, name)
        if not os.path.isfile(place):
            raise UserErrorException(f"the run has no file {name!r}; it has: {', '.join(self.get_file_names())}")
        target = os.fspath(output_file_path) if output_file_path is not None else os.path.basename(place)
        if os.path.isdir(target):
            target = os.path.join(target, os.path.basename(place))
        os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
        shutil.copyfile(place, target)

    # The end

    def flush(self, timeout_seconds: float = 300) -> None:
        """Do nothing: everything is written as it is logged."""

    def complete(self) -> None:
        """Within `envbuild run` nothing: whether the run completes is said by the script's exit code."""
        self._end("Completed")

    def fail(self, error_details: Any = None, error_code: str | None = None) -> None:
        """Note why the script gives itself up; that the run fails is said by its exit code."""
        said = ": ".join(str(each) for each in (error_code, error_details) if each)
        if said:
            self._tell("error", "error", said)
        self._end("Failed")

    def cancel(self) -> None:
        """Warn: a script cannot cancel the run that it is part of, only end."""
        if self._online:
            import warnings

            warnings.warn(
                f"run {self.id} cannot be canceled from inside: end the script, "
                f"or use 'envbuild runs cancel {self.id}'",
                stacklevel=2,
            )
        self._end("Canceled")

    # How it is done

    def _end(self, status: str) -> None:
        if not self._online:
            self._status = status

    def _told(self) -> Told:
        return Told(self._events.events(), _tags_at_start(self._folder.root) if self._online else None)

    def _tell(self, kind: str, name: str, value: Any, step: Any = None, description: str | None = None) -> None:
        if not isinstance(name, str) or not name:
            raise UserErrorException(f"a name is a text that is not empty, not {name!r}")
        self._events.append(event(kind, name, value, None if step is None else plain(step), description or ""))
        if not self._online and kind not in ("tag", "untag", "property"):
            at = "" if step is None else f" (step {step})"
            print(f"{name}: {value}{at}", flush=True)

    def _mapping(self, name: str, value: Any) -> dict[str, Any]:
        if isinstance(value, str):
            import json

            try:
                value = json.loads(value)
            except ValueError as error:
                raise UserErrorException(f"metric {name!r}: not JSON: {error}") from error
        if not isinstance(value, dict):
            raise UserErrorException(f"metric {name!r}: a mapping of columns to values is wanted, not {value!r:.80}")
        return plain_any(value)

    def _checked(self, step: Callable[..., Any], name: str, *arguments: Any) -> Any:
        try:
            return step(name, *arguments)
        except ValueError as error:
            raise UserErrorException(str(error)) from error


def _tags_at_start(folder: str) -> dict[str, str]:
    import json

    try:
        with open(os.path.join(folder, REQUEST), encoding="utf-8") as stream:
            found = json.load(stream).get("tags")
    except (OSError, ValueError, AttributeError):
        return {}
    return dict(found) if isinstance(found, dict) else {}


def _as_file_name(name: str) -> str:
    kept = "".join(each if each.isalnum() or each in "._- " else "_" for each in name).strip(". ")
    return kept[:100] or "image"

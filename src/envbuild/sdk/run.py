"""Runs (``azureml.core.run``): looked at, waited for and steered by whoever submitted them, or anybody else.

What a run logs, notes and keeps as files is the same for its script and for everybody else, and so is the code
(`envbuild.inside`); added here is what takes a workspace: how far it has come, waiting, canceling, models.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild import layout
from envbuild.digest import Digest
from envbuild.errors import Damaged, NotFound
from envbuild.inside.envbuild import run as inside
from envbuild.inside.envbuild.events import NOTED
from envbuild.regular import open_regular
from envbuild.sdk import following
from envbuild.sdk.exceptions import (
    ActivityFailedException,
    ExperimentExecutionException,
    ModelPathNotFoundException,
    RunEnvironmentException,
    UserErrorException,
    user_errors,
)
from envbuild.sdk.places import core_at, opened

if TYPE_CHECKING:
    from envbuild.sdk.environment import Environment
    from envbuild.sdk.experiment import Experiment
    from envbuild.sdk.model import Model
    from envbuild.sdk.workspace import Workspace
    from envbuild.workspace import Workspace as Core

_TYPES = {"azureml.scriptrun": "script", "azureml.interactiverun": "interactive"}
"""Azure's names for the types of runs."""


class Run(inside.Run):
    """A run: one execution of a script in an environment, or of whatever a notebook does; Azure's ``Run``.

    ``Experiment.submit`` and ``Experiment.start_logging`` give one, `get` finds one again, from any process, and in
    the script itself `get_context` gives its own. Objects are cheap and hold nothing: everything is read from the
    run's folder, as it is now.

    :param experiment: the experiment that the run belongs to.
    :param run_id: its id.
    :param outputs: as in Azure, for its own use.
    :raises UserErrorException: the experiment's workspace has no such run.
    """

    _user_error = UserErrorException
    _no_run_error = RunEnvironmentException
    _no_model_path_error = ModelPathNotFoundException

    def __init__(self, experiment: Experiment, run_id: str, outputs: str | None = None) -> None:  # noqa: ARG002
        core = opened(experiment.workspace)
        found = _record(core, run_id)
        super().__init__(found["id"], found["experiment"], str(core.run_folder(found["id"])), None)

    @classmethod
    def _make(
        cls, identity: str, experiment: str, folder: str | None, environment: inside.Environment | None
    ) -> inside.Run:
        run = cls.__new__(cls)
        inside.Run.__init__(run, identity, experiment, folder, environment)
        return run

    @classmethod
    def _of(cls, core: Core, record: Mapping[str, Any]) -> Run:
        """The run of a record."""
        run = cls._make(record["id"], record["experiment"], str(core.run_folder(record["id"])), None)
        assert isinstance(run, cls)  # noqa: S101
        return run

    @staticmethod
    def get(workspace: Workspace | str | os.PathLike[str] | None, run_id: str) -> Run:
        """Find a run, whichever process has submitted it; Azure's ``Run.get``.

        :param run_id: its id, or enough of its beginning.
        :raises UserErrorException: there is none, or more than one.
        """
        core = opened(workspace)
        return Run._of(core, _record(core, run_id))

    @staticmethod
    def list(
        experiment: Experiment,
        type: str | None = None,  # noqa: A002  Azure's name
        tags: str | Mapping[str, str | None] | None = None,
        properties: str | Mapping[str, str | None] | None = None,
        status: str | None = None,
        include_children: bool = False,
    ) -> Iterator[Run]:
        """List an experiment's runs, newest first; Azure's ``Run.list``.

        :param type: ``script`` or ``interactive``; Azure's names for them will do too.
        :param tags: a tag that a run must have, or tags with their values; ``properties`` likewise.
        :param include_children: runs that are a part of another as well.
        """
        if not isinstance(getattr(experiment, "name", None), str):
            raise UserErrorException(f"an Experiment is wanted, not {experiment!r}")
        core = opened(experiment.workspace)
        yield from _runs(core, experiment.name, type, tags, properties, status, top=not include_children)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and (self.id, self._folder.root) == (other.id, other._folder.root)

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.id, self._experiment, self._folder.root if self._online else None)

    # What the run is

    @property
    def experiment(self) -> Experiment:  # type: ignore[override]
        """The experiment that it belongs to."""
        from envbuild.sdk.experiment import Experiment

        if not self._online:
            # It has a name, and nothing else.
            return super().experiment  # type: ignore[return-value]
        return Experiment._known(self._core, self._experiment)

    @property
    def number(self) -> int:
        """How manieth run of its experiment it is; 1 is the first."""
        return int(self._core.run(self.id)["number"])

    @property
    def folder(self) -> Path:
        """Where its files are: ``logs/``, ``outputs/``, ``metrics.jsonl``. envbuild's own."""
        return Path(self._folder.root)

    def get_portal_url(self) -> str:
        """Where to look at the run: the ``file:`` URL of its folder. Azure's leads to a web page."""
        return self.folder.as_uri()

    def get_status(self) -> str:
        """How far the run has come, as it is now; Azure's words.

        ``NotStarted``, ``Queued``, ``Preparing``, ``Running``, ``CancelRequested``, ``Finalizing``, ``Completed``,
        ``Failed`` or ``Canceled``. A run whose process was killed, or whose machine has stopped, has failed.
        """
        if not self._online:
            return super().get_status()
        return str(self._now()["status"])

    def get_environment(self) -> Environment:  # type: ignore[override]
        """The environment that the run is in, as it was registered; asked of the class, that of the script's own run.

        :raises RunEnvironmentException: the run is in none, or it has been deleted since.
        """
        from envbuild.sdk.environment import Environment

        if not self._online:
            raise RunEnvironmentException("this script is not part of a run, and so in no environment of envbuild's")
        known = self._now()["environment"]
        if known["name"] is None or known["version"] is None:
            raise RunEnvironmentException(f"run {self.id} is in no environment that is registered")
        try:
            return Environment.get(self._workspace_object, known["name"], version=known["version"])
        except UserErrorException as error:
            raise RunEnvironmentException(f"run {self.id}: {error}", hint=error.hint) from error

    get_environment = inside._OnClassToo(get_environment)  # type: ignore[assignment]

    def get_properties(self) -> dict[str, str]:
        """The properties that were set so far, and the commit that its source was at, as ``azureml.git.…``."""
        git = self._record.request().get("git") or {}
        names = {"repository": "repository_uri", "branch": "branch", "commit": "commit", "dirty": "dirty"}
        told = {f"azureml.git.{name}": str(git[key]) for key, name in names.items() if key in git}
        return {**told, **super().get_properties()}

    def get_details(self) -> dict[str, Any]:
        """What is known of the run, under Azure's names; ``endTimeUtc`` and ``error`` only where there is one.

        ``runDefinition`` has the command, and the environment with its name, version and id.
        """
        found = super().get_details()
        if not self._online:
            return found
        record = self._now()
        words, head = record["command"], record.get("head", 0)
        found["target"] = record.get("compute") or record["target"]
        found["properties"] = self.get_properties()
        found["runDefinition"] |= {
            "script": words[head - 1] if head > 1 else None,
            "arguments": words[head:],
            "target": found["target"],
            "environmentVariables": record["variables"],
            "dataReferences": record.get("data", []),
            "snapshot": record["snapshot"],
        }
        if found["status"] == "Failed":
            found["error"] = {"error": {"message": _why(record)}}
        return found

    def get_details_with_logs(self) -> dict[str, Any]:
        """As `get_details`, with the text of each log in the place of its path."""
        found = self.get_details()
        texts = {}
        for name, path in found["logFiles"].items():
            with open_regular(Path(path)) as stream:
                texts[name] = stream.read().decode("utf-8", "replace")
        return {**found, "logFiles": texts}

    def get_all_logs(self, destination: str | os.PathLike[str] | None = None) -> builtins.list[str]:
        """Copy the logs of the run.

        :param destination: the folder to copy them to; by default the current one.
        :returns: the paths of the copies.
        """
        names = [name for name in self.get_file_names() if name.startswith(f"{layout.LOGS}/")]
        paths = [os.path.join(os.fspath(destination or ""), name) for name in names]  # noqa: PTH118
        for name, path in zip(names, paths, strict=True):
            self.download_file(name, path)
        return paths

    # Waiting for it, and stopping it

    def wait_for_completion(
        self,
        show_output: bool = False,
        wait_post_processing: bool = False,  # noqa: ARG002  there is none to wait for
        raise_on_error: bool = True,
    ) -> dict[str, Any]:
        """Wait until the run has ended; Azure's ``wait_for_completion``.

        :param show_output: print its logs as they grow, and in the end what came of it.
        :param raise_on_error: raise if it has failed. That it was canceled is no failure.
        :returns: as `get_details`.
        :raises ActivityFailedException: it has failed; the message says why, with the last lines that it printed.
        :raises ExperimentExecutionException: waiting was interrupted by Ctrl-C; the run goes on.
        """
        if not self._online:
            return self.get_details()
        try:
            if show_output and sys.stdout is not None:
                record = following.follow(self._core, self.id, sys.stdout)
            else:
                record = following.wait(self._core, self.id)
        except NotFound as error:
            raise UserErrorException(f"run {self.id} has been deleted") from error
        except KeyboardInterrupt as error:
            raise ExperimentExecutionException(
                f"waiting for run {self.id} was interrupted; the run goes on",
                hint=f"run.cancel(), or 'envbuild runs cancel {self.id}', stops it",
            ) from error
        if raise_on_error and record["status"] == "Failed":
            printed = following.tail(self._core, self.id)
            said = f"run {self.id} has failed: {_why(record)}" + (f"\n{printed}" if printed else "")
            raise ActivityFailedException(said, hint=record.get("hint") or _advice(record, printed))
        return self.get_details()

    def cancel(self) -> None:
        """Stop the run, wherever it was submitted; one that has ended stays as it is.

        One that waits to be started is over at once; others are given a moment to end, together with their children.
        In the script of the run itself this warns, as `envbuild.inside` says.

        :raises UserErrorException: it was started by another user, or one of its children was.
        """
        if not self._online or os.environ.get("ENVBUILD_RUN_ID") == self.id:
            super().cancel()
            return
        refused = []
        for run in [*self.get_children(recursive=True), self]:
            try:
                run._stop()  # type: ignore[attr-defined]
            except UserErrorException as error:
                refused.append(error)
        if refused:
            raise refused[0]

    # What it was run with

    def restore_snapshot(self, snapshot_id: str | None = None, path: str | os.PathLike[str] | None = None) -> str:
        """Write the source that was run to a zip file; Azure's ``restore_snapshot``.

        :param snapshot_id: another snapshot than the run's own, by its digest.
        :param path: the folder that the file comes to lie in; by default the current one.
        :returns: its path.
        :raises UserErrorException: there is no such snapshot, or it is not kept any more.
        """
        from envbuild.snapshot import Snapshot

        wanted = snapshot_id or self.get_snapshot_id()
        if wanted is None:
            raise UserErrorException(f"run {self.id} has no snapshot")
        if not isinstance(wanted, str):
            raise UserErrorException(f"a snapshot is said by its digest, not by {wanted!r}")
        try:
            digest = Digest.parse(wanted)
            files = Snapshot.parse(self._core.store.read(digest)).files
        except (NotFound, Damaged, ValueError) as error:
            raise UserErrorException(f"there is no snapshot {wanted}: {error}") from error
        place = Path(path or "") / f"{digest.short}.zip"
        place.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, each in files.items():
                # What is no text cannot be said in a zip file.
                info = zipfile.ZipInfo(os.fsencode(name).decode("utf-8", "replace"))
                is_link = "link" in each
                info.external_attr = (0o120777 if is_link else 0o100755 if each.get("executable") else 0o100644) << 16
                data = os.fsencode(each["link"]) if is_link else self._core.store.read(Digest(each["sha256"]))
                archive.writestr(info, data)
        return str(place)

    def take_snapshot(self, file_or_folder_path: str | os.PathLike[str]) -> str:
        """Keep a folder, or one file, as the source of an interactive run; only once. Azure's ``take_snapshot``.

        :returns: its digest.
        :raises UserErrorException: the run has a snapshot already, or there is no such folder or file.
        """
        from envbuild.sdk.experiment import kept_source

        if self.get_snapshot_id() is not None:
            raise UserErrorException(f"run {self.id} has a snapshot already")
        digest = kept_source(self._core, Path(file_or_folder_path))
        self._core.amend_run(self.id, snapshot=str(digest))
        return str(digest)

    # What comes of it

    def submit_child(self, config: Any, tags: dict[str, Any] | None = None, **kwargs: Any) -> Run:
        """Submit a run that is a part of this one; as ``Experiment.submit`` otherwise."""
        return self.experiment._submit(config, tags, self.id, **kwargs)

    def register_model(  # type: ignore[override]
        self,
        model_name: str,
        model_path: str | None = None,
        tags: dict[str, Any] | None = None,
        properties: dict[str, Any] | None = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        description: str | None = None,
        datasets: Any = None,
        **kwargs: Any,
    ) -> Model:
        """Register files of the run as a model; each time it gets the next version. Azure's ``register_model``.

        The model remembers the run, and with it the environment that it was trained in.

        :param model_path: the name of a file or folder among the run's, as ``outputs/model.pkl``; by default
            ``model_name``.
        :param datasets: and ``kwargs``: sample inputs and resources, which Azure uses to deploy without code.
        :raises ModelPathNotFoundException: there is no such file; the message lists what there is.
        :raises WebserviceException: the name is none, or a version of a framework was given without the framework.
        """
        if not self._online:
            return super().register_model(  # type: ignore[return-value]
                model_name, model_path, tags, properties, model_framework, model_framework_version, description
            )
        from envbuild.sdk.model import Model

        return Model._from_run(
            self._core,
            self._now(),
            model_name,
            model_path,
            tags=tags,
            properties=properties,
            model_framework=model_framework,
            model_framework_version=model_framework_version,
            description=description,
            datasets=datasets,
            **kwargs,
        )

    def delete(self) -> None:
        """Forget the run and remove its folder; envbuild's own, Azure has none.

        :raises UserErrorException: it has not ended.
        """
        with user_errors():
            self._core.delete_run(self.id)

    def clean(self) -> None:
        """Do nothing: what a run leaves behind besides its outputs is removed as it ends. Azure's ``clean``."""

    # How it is done

    _tracked: str | None = None
    """A folder whose files become outputs when the run is completed."""

    def _stop(self) -> None:
        """Stop this run alone."""
        if self._is_interactive:
            self._end("Canceled")
        elif os.environ.get("ENVBUILD_RUN_ID") == self.id:
            super().cancel()
        else:
            with user_errors():
                stopped = self._core.cancel(self.id)
            if stopped:
                # Its script may have seen to it that nothing can be noted; it is stopped all the same.
                with contextlib.suppress(OSError):
                    self._tell("cancel", "cancel", True)

    def _end(self, status: str, reason: str = "") -> None:
        if self._tracked is not None and status == "Completed":
            self.upload_folder("outputs", self._tracked)
        super()._end(status, reason)

    @property
    def _core(self) -> Core:
        return core_at(Path(self._workspace()))

    @property
    def _workspace_object(self) -> Workspace:
        from envbuild.sdk.workspace import Workspace

        return Workspace(self._core.root)

    def _now(self) -> dict[str, Any]:
        """The record of the run, as its folder has it."""
        return _record(self._core, self.id)

    def _tell(self, kind: str, name: str, value: Any, step: Any = None, description: str | None = None) -> None:
        super()._tell(kind, name, value, step, description)
        if self._online and kind in NOTED:
            # Lists of runs are searched by tags and properties: the catalogue is to have a look.
            self._core.recall(self.id)


class _OfflineRun(Run):
    """The run of a script that is part of none, and each child of that; Azure's name."""


Run._offline = _OfflineRun


def _restored(identity: str, experiment: str, folder: str | None) -> inside.Run:
    return (Run if folder else _OfflineRun)._make(identity, experiment, folder, None)


def texts_of(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as they are recorded.

    :raises UserErrorException: they are no mapping, or a name in it is no text.
    """
    if not isinstance(tags, Mapping) or not all(isinstance(key, str) and key for key in tags):
        raise UserErrorException(f"tags are a mapping of names to values, not {tags!r}")
    return {key: "" if value is None else str(value) for key, value in tags.items()}


def _record(core: Core, identity: str) -> dict[str, Any]:
    if not isinstance(identity, str) or not re.fullmatch(r"[\w-]{1,255}", identity, re.ASCII):
        raise UserErrorException(f"{identity!r} is no id of a run", hint="run.id is one")
    with user_errors():
        return core.run_record(identity) or core.run(identity)


def _runs(
    core: Core,
    experiment: str | None,
    kind: str | None,
    tags: str | Mapping[str, str | None] | None,
    properties: str | Mapping[str, str | None] | None,
    status: str | None,
    *,
    top: bool,
) -> Iterator[Run]:
    if not isinstance(kind, str | None) or not isinstance(status, str | None):
        raise UserErrorException(f"type and status are texts, not {kind!r} and {status!r}")
    with core.recorded() as catalogue:
        found = catalogue.runs(
            experiment,
            status,
            tags=_wanted(tags),
            properties=_wanted(properties),
            type=_TYPES.get(kind, kind) if kind else None,
            top=top,
        )
    for record in found:
        yield Run._of(core, record)


def _wanted(asked: str | Mapping[str, str | None] | None) -> Mapping[str, str | None] | None:
    if not isinstance(asked, str | Mapping | None):
        raise UserErrorException(f"a name, or a mapping of names to values, is wanted, not {asked!r}")
    return {asked: None} if isinstance(asked, str) else asked


def _advice(record: Mapping[str, Any], printed: str) -> str:
    """What to do about a module that a script did not find."""
    from envbuild.sdk.runconfig import DEFAULT_ENVIRONMENT

    missing = re.findall(r"ModuleNotFoundError: No module named '([\w.]+)'", printed)
    if not missing:
        return ""
    if missing[-1].split(".")[0] == "azureml":
        return "import from envbuild.sdk in the script too: 'from envbuild.sdk import Run' needs nothing installed"
    if record["environment"]["name"] == DEFAULT_ENVIRONMENT:
        return "the run was given no environment, and the default one has no packages: ScriptRunConfig(environment=…)"
    return f"does the environment ask for the package that brings {missing[-1]!r}?"


def _why(record: Mapping[str, Any]) -> str:
    return str(record.get("reason") or f"exit code {record.get('exit_code')}")

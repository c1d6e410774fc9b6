"""Experiments (``azureml.core.experiment``): the names that runs are gathered under, and where runs are submitted."""

from __future__ import annotations

import builtins
import inspect
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild import dispatch, git, layout
from envbuild.data import Data
from envbuild.digest import Digest
from envbuild.errors import EnvbuildError, Refused
from envbuild.execution import Order, checked_experiment
from envbuild.form import did_you_mean
from envbuild.plugins import check_sections
from envbuild.sdk.exceptions import ExperimentExecutionException, SnapshotException, UserErrorException, user_errors
from envbuild.sdk.places import opened
from envbuild.sdk.run import Run, _runs, _wanted, texts_of

if TYPE_CHECKING:
    from envbuild.sdk.data_reference import DataReference
    from envbuild.sdk.script_run_config import Submission
    from envbuild.sdk.workspace import Workspace
    from envbuild.workspace import Workspace as Core


class Experiment:
    """A name that runs are gathered under; found, or made: Azure's ``Experiment``.

    :param workspace: a `Workspace`, its name or path; by default the default one.
    :param name: 1 to 255 ASCII letters, digits, ``-`` and ``_``, a letter or digit first.
    :raises UserErrorException: the name is none.
    """

    def __init__(
        self, workspace: Workspace | str | os.PathLike[str] | None = None, name: str | None = None, **_: object
    ) -> None:
        self._core = opened(workspace)
        if not isinstance(name, str):
            raise UserErrorException(f"an experiment has a name, not {name!r}", hint="Experiment(workspace, 'name')")
        try:
            self._name = checked_experiment(name)
        except EnvbuildError as error:
            raise UserErrorException(str(error), hint=error.hint) from error
        self._core.catalogue.create_experiment(name)

    @classmethod
    def _known(cls, core: Core, name: str) -> Experiment:
        """An experiment that is there."""
        found = cls.__new__(cls)
        found._core, found._name = core, name
        return found

    @staticmethod
    def list(
        workspace: Workspace | str | os.PathLike[str] | None = None,
        experiment_name: str | None = None,
        view_type: str = "ActiveOnly",
        tags: Mapping[str, str | None] | str | None = None,
    ) -> builtins.list[Experiment]:
        """List the experiments of a workspace, by name; Azure's ``Experiment.list``.

        :param experiment_name: only that one.
        :param view_type: ``ActiveOnly``, ``ArchivedOnly`` or ``All``.
        :param tags: a tag that an experiment must have, or tags with their values.
        :raises UserErrorException: ``view_type`` is none of these.
        """
        if view_type not in _VIEWS:
            raise UserErrorException(f"{view_type!r} is no view of experiments: {', '.join(_VIEWS)} are")
        core = opened(workspace)
        with core.recorded() as catalogue:
            found = catalogue.experiments(archived=True, tags=_wanted(tags))
        return [
            Experiment._known(core, each.name)
            for each in found
            if each.archived in _VIEWS[view_type] and experiment_name in (None, each.name)
        ]

    @staticmethod
    def delete(workspace: Workspace | str | os.PathLike[str] | None, experiment_id: str) -> None:
        """Forget an experiment that has no runs; Azure's ``Experiment.delete``.

        :param experiment_id: its id, which is its name.
        :raises UserErrorException: there is none, or it has runs.
        """
        with user_errors(), opened(workspace).recorded() as catalogue:
            catalogue.delete_experiment(experiment_id)

    def __repr__(self) -> str:
        return f"Experiment(Name: {self.name}, Workspace: {self.workspace.name})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Experiment) and (self.name, self._core.root) == (other.name, other._core.root)

    def __hash__(self) -> int:
        return hash(self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return Experiment, (self._core.root, self._name)

    # What it is

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def id(self) -> str:
        """Its name; in Azure a number of its own."""
        return self._name

    @property
    def workspace(self) -> Workspace:
        """The workspace that it is in."""
        from envbuild.sdk.workspace import Workspace

        return Workspace(self._core.root)

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        return dict(self._core.catalogue.experiment(self._name).tags)

    @property
    def archived_time(self) -> None:
        """When it was archived; not recorded."""
        return

    def tag(self, key: str, value: str | None = None) -> None:
        """Set a tag; without a value it is the empty text."""
        self.set_tags({key: "" if value is None else value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set several tags; others stay."""
        self._core.catalogue.tag_experiment(self._name, texts_of(tags))

    def remove_tags(self, tags: str | builtins.list[str]) -> None:
        """Remove a tag, or several; those that are not there do not matter."""
        names = [tags] if isinstance(tags, str) else tags
        self._core.catalogue.tag_experiment(self._name, dict.fromkeys(names))

    def archive(self) -> None:
        """Take it out of lists; its runs stay, and more may come."""
        self._core.catalogue.archive_experiment(self._name)

    def reactivate(self, new_name: str | None = None) -> None:
        """Undo `archive`.

        :raises UserErrorException: ``new_name`` is given: runs are found by the name that they were submitted under.
        """
        if new_name not in (None, self._name):
            raise UserErrorException("an experiment cannot be given another name", hint="make one of that name")
        self._core.catalogue.restore_experiment(self._name)

    def get_portal_url(self) -> str:
        """Where its runs are: the ``file:`` URL of the workspace's folder of runs. Azure's leads to a web page."""
        return (self._core.root / layout.RUNS).as_uri()

    def refresh(self) -> None:
        """Do nothing: everything is read as it is now."""

    # Its runs

    def get_runs(
        self,
        type: str | None = None,  # noqa: A002  Azure's name
        tags: str | Mapping[str, str | None] | None = None,
        properties: str | Mapping[str, str | None] | None = None,
        include_children: bool = False,
    ) -> Iterator[Run]:
        """List its runs, newest first; Azure's ``get_runs``.

        :param type: ``script`` or ``interactive``; Azure's names for them will do too.
        :param tags: a tag that a run must have, or tags with their values; ``properties`` likewise.
        :param include_children: runs that are a part of another as well.
        """
        return _runs(self._core, self._name, type, tags, properties, None, top=not include_children)

    def submit(self, config: Any, tags: Mapping[str, Any] | None = None, **kwargs: Any) -> Run:
        """Have something run, and do not wait for it; Azure's ``submit``.

        What runs is the source, the configuration and this process's variables as they are now. The environment is
        registered, under its name: an unchanged definition keeps its version, a changed one gets the next. Where none
        was given, the run is in ``default-environment``, a Python and nothing else. It is locked and built before the
        script starts, by the process that sees the run through; that process, and the run, go on when this one ends.

        :param config: a `ScriptRunConfig`, an ``Estimator``, or anything else with a method ``resolved``.
        :param kwargs: what that method takes, as ``script_params`` of an estimator; ``show_output`` has no effect here,
            `Run.wait_for_completion` shows the output.
        :raises UserErrorException: it cannot be run as it is.
        :raises ExperimentExecutionException: the script is not there, or the run cannot be started.
        :raises SnapshotException: the source cannot be kept.
        """
        return self._submit(config, tags, None, **kwargs)

    def _submit(self, config: Any, tags: Mapping[str, Any] | None, parent: str | None, **kwargs: Any) -> Run:
        from envbuild.sdk.environment import Environment
        from envbuild.sdk.runconfig import DEFAULT_ENVIRONMENT

        if not callable(getattr(config, "resolved", None)):
            raise UserErrorException(
                f"{config!r} is nothing that can be run", hint="give a ScriptRunConfig or an Estimator"
            )
        # Azure's guides say it here; the output is shown to whoever waits for it.
        kwargs.pop("show_output", None)
        taken = inspect.signature(config.resolved).parameters
        for name in kwargs:
            if name not in taken:
                near = did_you_mean(name, taken)
                raise UserErrorException(f"submit takes no {name!r} for a {type(config).__name__}{near}")
        submission: Submission = config.resolved(**kwargs).placed(self.workspace)
        environment: Any = submission.environment or Environment(DEFAULT_ENVIRONMENT)
        definition = environment.definition
        check_sections(definition.sections)
        environment._check_name()
        # Only what somebody registers by hand is pinned against gc.
        version = environment._entered(self._core, definition, pinned=False)
        order = self._order(submission, tags, parent)
        with _submitting():
            run = dispatch.submit(order, version, self._core, definition.credentials)
        if parent is not None:
            from envbuild.inside.envbuild.interactive import note_child

            note_child(str(self._core.run_folder(parent)), run)
        return Run._of(self._core, {"id": run, "experiment": self._name})

    def _order(self, submission: Submission, tags: Mapping[str, Any] | None, parent: str | None) -> Order:
        from envbuild.sdk.compute import find_compute

        compute = find_compute(self._core, submission.target)
        return Order(
            command=submission.command,
            head=submission.head,
            source=submission.source,
            target=compute.target,
            compute=None if compute.name == compute.target else compute.name,
            at_once=compute.max_nodes,
            experiment=self._name,
            variables=dict(submission.variables),
            data=tuple(_data(each) for each in submission.data),
            limit=submission.max_seconds,
            keep_source=submission.take_snapshot,
            keep_outputs=submission.collect_outputs,
            parent=parent,
            tags=texts_of(tags or {}),
        )

    def start_logging(
        self,
        outputs: str | None = None,
        snapshot_directory: str | os.PathLike[str] | None = ".",
        display_name: str | None = None,
        **_: object,
    ) -> Run:
        """Begin a run whose end this process says, as a notebook's; Azure's ``start_logging``.

        It is ended by ``complete``, ``fail`` or ``cancel``, by the end of a ``with`` block, or at the latest by the
        end of this process.

        :param outputs: a folder whose files become the run's outputs with ``complete``.
        :param snapshot_directory: the source to keep with it; ``None`` for none. One that is too large is left out,
            with a warning, since the current folder is what it is by default.
        :raises UserErrorException: there is no such folder.
        """
        from envbuild.inside.envbuild.interactive import begin

        if not isinstance(display_name, str | None):
            raise UserErrorException(f"a run is called by a text, not {display_name!r}")
        taken = None
        if snapshot_directory is not None:
            try:
                taken = kept_source(self._core, Path(snapshot_directory))
            except SnapshotException as error:
                warnings.warn(f"the run has no snapshot: {error.message}", stacklevel=2)
        directory = Path(snapshot_directory or ".").absolute()
        held = begin(
            str(self._core.root),
            self._name,
            name=display_name,
            directory=str(directory),
            snapshot=str(taken) if taken else None,
            git=dict(git.facts(directory)),
        )
        run = Run._of(self._core, {"id": held.id, "experiment": self._name})
        run._tracked = outputs
        return run


def _data(reference: DataReference) -> Data:
    place = reference.local_path
    if reference.path_on_datastore is None:
        # Azure's containers are there before anything is in them.
        place.mkdir(parents=True, exist_ok=True)
    if reference.mode != "upload" and not place.exists():
        raise UserErrorException(
            f"there is no {reference.path_on_datastore!r} in datastore {reference.datastore.name!r}",
            hint=f"looked for as {place}; Datastore.upload puts files there",
        )
    return Data(
        name=reference.data_reference_name,
        path=str(place),
        mode=reference.mode,
        at=reference.path_on_compute,
        overwrite=reference.overwrite,
    )


def kept_source(core: Core, path: Path) -> Digest:
    """Keep a folder, or one file, as a run's source.

    :raises UserErrorException: there is nothing of that kind.
    :raises SnapshotException: it is too large, or cannot be read.
    """
    from envbuild import snapshot

    if not path.exists():
        raise UserErrorException(f"no such folder: {path}")
    try:
        source = snapshot.look(path if path.is_dir() else path.parent, core.root)
        if not path.is_dir():
            source = snapshot.Source(
                source.root,
                tuple(each for each in source.files if each.path == path.name),
                source.folders,
                source.looked_at,
            )
        return snapshot.take(source, core.store).digest
    except EnvbuildError as error:
        raise SnapshotException(str(error), hint=error.hint) from error


@contextmanager
def _submitting() -> Iterator[None]:
    """Raise what a run cannot be submitted for under Azure's names."""
    try:
        yield
    except (UserErrorException, ExperimentExecutionException):
        raise
    except Refused as error:
        raise SnapshotException(str(error), hint=error.hint) from error
    except EnvbuildError as error:
        raise ExperimentExecutionException(str(error), hint=error.hint) from error


_VIEWS: Mapping[str, tuple[bool, ...]] = {
    "ActiveOnly": (False,),
    "ArchivedOnly": (True,),
    "All": (True, False),
}

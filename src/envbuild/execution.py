"""Execution: a command in an environment, from its snapshot to its recorded end.

`run` does all of it while its caller waits; `announce` and `attend` are the two halves of the same for a run that is
asked for by one process and seen through by another (`envbuild.dispatch`).
"""

from __future__ import annotations

import os
import re
import signal
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from envbuild import git, layout, pipeline, snapshot, stamping, supervise
from envbuild.blame import Handle
from envbuild.catalogue import EnvironmentVersion
from envbuild.data import Data, as_laid_out, place, with_places
from envbuild.digest import Digest
from envbuild.errors import EnvbuildError, NotFound
from envbuild.outcome import RunRequest
from envbuild.pipeline import Prepared, Wishes
from envbuild.plugins import Plugins
from envbuild.progress import Written
from envbuild.project import Project, open_of_run, open_registered
from envbuild.store import writing
from envbuild.workspace import Workspace

_EXPERIMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")
"""How Azure's experiments are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a user wants to be run.

    :param command: the program and its arguments, as they are to be seen from the working copy.
    :param head: how many of those words are not the user's own arguments.
    :param source: the folder that is snapshotted.
    :param variables: environment variables on top of the definition's.
    :param snapshot: run these files rather than those in ``source`` now; ``git`` is what `envbuild.git.facts` said of
        them when they were taken.
    :param reproduces: the run that this one repeats.
    :param known_as: the name and version that the environment is recorded under, where it was asked for by its id.
    :param limit: the seconds after which it is stopped, and ``grace`` how many it may then take to end; ``None`` for as
        many as any that is stopped.
    :param keep_source: keep what is run, so that it can be repeated; ``keep_outputs`` likewise what it leaves.
    :param compute: the name of the machines that it waits for, and ``at_once`` how many runs these take; ``None`` for
        as many as this machine has processors.
    :param parent: the run that it is a part of.
    :param display_name: what people call it.
    """

    command: tuple[str, ...]
    head: int
    source: Path
    target: str = "local"
    experiment: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    snapshot: Digest | None = None
    git: Mapping[str, Any] = field(default_factory=dict)
    reproduces: str | None = None
    known_as: tuple[str, str | None] | None = None
    data: tuple[Data, ...] = ()
    limit: float | None = None
    grace: float | None = None
    keep_source: bool = True
    keep_outputs: bool = True
    compute: str | None = None
    at_once: int | None = None
    parent: str | None = None
    display_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Mapping[str, Any], variables: Mapping[str, str], **changed: Any) -> Order:
        """What was ordered when the run of ``record`` was asked for.

        :param variables: their values, which are kept nowhere.
        """
        taken = record.get("snapshot")
        return cls(
            **{
                "command": tuple(record["command"]),
                "head": record.get("head", 0),
                "source": Path(record.get("directory") or "."),
                "target": record["target"],
                "experiment": record["experiment"],
                "variables": dict(variables),
                "secrets": tuple(record.get("secrets", ())),
                "snapshot": Digest.parse(taken) if taken else None,
                "git": record.get("git", {}),
                "data": tuple(Data(**each) for each in record.get("data", ())),
                "limit": record.get("limit"),
                "grace": record.get("grace"),
                "keep_source": taken is not None,
                "keep_outputs": record.get("keep_outputs", True),
                "compute": record.get("compute"),
                "at_once": record.get("at_once"),
                "parent": record.get("parent"),
                "display_name": record.get("name"),
                **changed,
            }
        )

    def more(self) -> dict[str, Any]:
        """What a record says of it besides what every run has; what is not asked for is left out."""
        asked = {
            "data": [each.to_dict() for each in self.data],
            "limit": self.limit,
            "grace": self.grace,
            "compute": self.compute,
            "at_once": self.at_once,
            "parent": self.parent,
            "name": self.display_name,
            "tags": dict(self.tags),
            "properties": dict(self.properties),
        }
        found = {key: value for key, value in asked.items() if value}
        return found if self.keep_outputs else {**found, "keep_outputs": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run.

    :param end: what the run's folder says of its end (see `envbuild.supervise.see_through`).
    :param built: whether its environment was built for it, rather than found.
    """

    run: str
    exit_code: int
    folder: Path
    environment: Mapping[str, Any]
    end: Mapping[str, Any]
    summary: str
    built: bool


def experiment_name(project: Project) -> str:
    """What runs are gathered under where nothing else was said: Azure's experiment names have no dots."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", project.name).strip("-") or "default"


def declared(project: Project, order: Order) -> tuple[dict[str, str], list[str]]:
    """The variables that a run is given, and the values among them that nobody may see.

    :raises EnvbuildError: a secret was named that the caller's environment does not have.
    """
    definition = project.definition
    names = sorted({*definition.secrets, *order.secrets} - set(order.variables))
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise EnvbuildError(
            f"secrets without a value: {', '.join(missing)}",
            hint="set them in the environment of this command; they are passed on and recorded by name only",
        )
    secrets = {name: os.environ[name] for name in names}
    asked = {*definition.secrets, *order.secrets}
    masked = [value for name, value in {**secrets, **order.variables}.items() if name in asked]
    return {**definition.variables, **secrets, **order.variables}, masked


def run(
    project: Project,
    order: Order,
    workspace: Workspace,
    plugins: Plugins,
    wishes: Wishes,
    out: tuple[int, int] = (1, 2),
    stamp: str | None = None,
) -> Outcome:
    """Run a command, and record it; the environment is made ready first where it is not.

    :param out: the descriptors that the command's output is passed on to.
    :param stamp: where to note what a repetition may rely on (`envbuild.warm`).
    :raises EnvbuildError: it could not be started. What the command itself does wrong is in the outcome.
    """
    began = time.time_ns()
    variables, masked = declared(project, order)
    experiment = checked_experiment(order.experiment) if order.experiment else experiment_name(project)
    with ExitStack() as stack:
        prepared = stack.enter_context(held(project, workspace, plugins, wishes))
        environment = _recorded_as(prepared, order, workspace)
        noted = stamping.written(prepared, workspace)
        folder = stack.enter_context(_folder(workspace, experiment))
        source, taken = _lay_out(order, workspace, Path(folder.work), wishes)
        placed = place(order.data, Path(folder.path), Path(folder.work))
        started: list[Handle] = []

        def start() -> Handle:
            given = variables | folder.facts(experiment, environment) | placed.variables
            started.append(_start(order, folder, given, prepared, plugins))
            return started[0]

        record = _request(folder, order, project, experiment, environment, variables, taken.digest)
        record["seconds"] = dict(prepared.seconds)
        laid_out = lambda: snapshot.laid_out(taken, source) | placed.laid_out  # noqa: E731
        end = supervise.see_through(
            folder,
            start,
            lambda: record,
            laid_out,
            masked,
            out,
            limit=order.limit,
            grace=order.grace,
            complete=placed.bring_back,
        )
    if stamp and source is not None:
        _leave_stamp(stamp, began, record, order, prepared, started[0], workspace, source, taken, noted)
    return Outcome(
        run=folder.run,
        exit_code=end["exit_code"],
        folder=Path(folder.path),
        environment=environment,
        end=end,
        summary=supervise.summary(folder, environment, end),
        built=prepared.built,
    )


def _request(
    folder: supervise.Folder,
    order: Order,
    project: Project,
    experiment: str,
    environment: Mapping[str, Any],
    variables: Mapping[str, str],
    taken: Digest | None,
) -> dict[str, Any]:
    return supervise.request(
        folder,
        experiment=experiment,
        target=order.target,
        command=list(order.command),
        head=order.head,
        environment=environment,
        snapshot=str(taken) if taken else None,
        source=project.source,
        directory=str(order.source),
        variables=sorted(variables),
        secrets=sorted({*project.definition.secrets, *order.secrets}),
        git=dict(order.git if order.snapshot else git.facts(order.source)),
        seconds={},
        reproduces=order.reproduces,
        **order.more(),
    )


def checked_experiment(experiment: str) -> str:
    """``experiment``, if that is a name for one.

    :raises EnvbuildError: it is none.
    """
    if not _EXPERIMENT.fullmatch(experiment):
        raise EnvbuildError(
            f"{experiment!r} is no name for an experiment",
            hint="letters, digits, '-' and '_' make one, and it begins with a letter or digit",
        )
    return experiment


@contextmanager
def held(project: Project, workspace: Workspace, plugins: Plugins, wishes: Wishes) -> Iterator[Prepared]:
    """The environment, made ready and kept from being collected."""
    with ExitStack() as stack:
        while True:
            prepared = pipeline.prepare(project, workspace, plugins, wishes)
            try:
                stack.enter_context(workspace.images.hold(prepared.id))
            except NotFound:
                continue  # it was collected the moment that it was ready
            break
        yield prepared


@contextmanager
def _folder(workspace: Workspace, experiment: str) -> Iterator[supervise.Folder]:
    """A new run's folder; it goes again if the block fails before the run has been announced."""
    with writing(workspace.root):
        folder = supervise.Folder(str(workspace.root), supervise.new_id(experiment))
    try:
        with writing(workspace.root):
            yield folder
    except BaseException:
        if not os.path.exists(os.path.join(folder.path, layout.REQUEST)):  # noqa: PTH110, PTH118
            folder.discard()
        raise
    finally:
        folder.close()


def _recorded_as(prepared: Prepared, order: Order, workspace: Workspace) -> dict[str, Any]:
    """What is recorded of the environment; one that has no name and version yet is registered."""
    name, version = order.known_as or _registered(prepared, workspace)
    return {
        "name": name,
        "version": version,
        "id": str(prepared.id),
        "definition_digest": str(prepared.definition_digest),
    }


def _registered(prepared: Prepared, workspace: Workspace) -> tuple[str, str | None]:
    project = prepared.project
    if project.id:
        return project.name, None
    version = pipeline.register(project, workspace)
    pipeline.settle(version, project, prepared.locked.lock, prepared.id, workspace)
    return version.name, str(version.version)


def _lay_out(
    order: Order, workspace: Workspace, work: Path, wishes: Wishes
) -> tuple[snapshot.Source | None, snapshot.Snapshot]:
    if order.snapshot:
        return None, snapshot.restore(order.snapshot, workspace.store, work)
    source = snapshot.look(order.source, workspace.root)
    if source.size > snapshot.LARGE:
        wishes.progress.note(
            f"the source folder holds {source.size / 2**20:.0f} MiB (.envbuildignore says what to leave out); "
            f"the largest files: {snapshot.name_largest(source)}"
        )
    return source, snapshot.take(source, workspace.store, work)


def _start(
    order: Order, folder: supervise.Folder, variables: Mapping[str, str], prepared: Prepared, plugins: Plugins
) -> Handle:
    request = RunRequest(
        id=folder.run,
        target=order.target,
        command=with_places(order.command, order.data, variables),
        directory=Path(folder.work),
        folder=Path(folder.path),
        variables={**prepared.image.activated, **variables},
    )
    handle = plugins.start(request, prepared.image)
    if handle is None:
        raise plugins.missing("target", order.target)
    return handle


def _leave_stamp(
    stamp: str,
    began: int,
    record: Mapping[str, Any],
    order: Order,
    prepared: Prepared,
    handle: Handle,
    workspace: Workspace,
    source: snapshot.Source,
    taken: snapshot.Snapshot,
    noted: Mapping[str, tuple[str, str, str]],
) -> None:
    # Without one the next run takes longer, and nothing else.
    with suppress(OSError, EnvbuildError):
        stamping.leave(
            Path(stamp),
            began=began,
            record=record,
            variables=order.variables,
            prepared=prepared,
            handle=handle,
            lease=workspace.store.root / layout.LEASES / prepared.id.hex,
            source=source,
            taken=taken,
            noted=noted,
        )


# -- runs that another process sees through ------------------------------------------------------------------


def announce(order: Order, version: EnvironmentVersion, workspace: Workspace, queue: str) -> str:
    """Record that a run is wanted in a registered environment; `attend` does what is wanted.

    What is run is the source as it is now.

    :param queue: whose business it is to see that it is attended (`envbuild.dispatch`).
    :returns: the run's id.
    :raises EnvbuildError: the order cannot be carried out.
    """
    definition = workspace.definition_of(version)
    project = Project(definition=definition, spec=str(version), version=version)
    variables, _ = declared(project, order)
    experiment = checked_experiment(order.experiment or experiment_name(project))
    environment = {
        "name": version.name,
        "version": str(version.version),
        "id": None,
        "definition_digest": version.definition_digest,
    }
    with _folder(workspace, experiment) as folder:
        source = snapshot.look(order.source, workspace.root)
        taken = snapshot.take(source, workspace.store, None if order.keep_source else Path(folder.work))
        digest = taken.digest if order.keep_source else None
        record = _request(folder, order, project, experiment, environment, variables, digest)
        workspace.enqueue(folder.run, queue)
        folder.announce({**record, "status": "Queued"})
    return folder.run


def attend(
    folder: supervise.Folder,
    variables: Mapping[str, str],
    credentials: Mapping[str, str],
    workspace: Workspace,
    plugins: Plugins,
) -> bool:
    """See a run through that was announced: make its environment ready, run it, record its end.

    Whatever goes wrong is how the run ended, and is recorded as that. SIGTERM cancels it at any moment.

    :param variables: the values of those that were ordered for it; its secrets are in this process's environment.
    :param credentials: for the indexes of its environment's packages.
    :returns: whether its environment was built for it.
    """
    seconds: dict[str, float] = {}
    with (Path(folder.path) / layout.PREPARING).open("a", encoding="utf-8", buffering=1) as log:
        try:
            signal.signal(signal.SIGTERM, _interrupt)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            return _attend(folder, variables, credentials, workspace, plugins, Written(log.write), seconds)
        # Nobody is there to be told; whatever it was is in the record.
        except BaseException as error:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.path.exists(os.path.join(folder.path, layout.END)):  # noqa: PTH110, PTH118
                return False
            if isinstance(error, KeyboardInterrupt):
                end = supervise.end_of("Canceled", None, "canceled before it was started", seconds)
            else:
                hint = getattr(error, "hint", "")
                log.write(f"{error}\n{hint}\n" if isinstance(error, EnvbuildError) else traceback.format_exc())
                said = str(error) if isinstance(error, EnvbuildError) else f"{type(error).__name__}: {error}"
                end = {**supervise.end_of("Failed", None, said, seconds), "hint": hint}
            folder.take_outputs()
            folder.record(layout.END, end)
            return False


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _attend(
    folder: supervise.Folder,
    variables: Mapping[str, str],
    credentials: Mapping[str, str],
    workspace: Workspace,
    plugins: Plugins,
    progress: Written,
    seconds: dict[str, float],
) -> bool:
    record = folder.read()
    record["status"] = "Preparing"
    folder.record(layout.REQUEST, record)
    order = Order.of(record, variables)
    known = record["environment"]
    project = open_registered(f"{known['name']}:{known['version']}", workspace)
    project = replace(project, definition=replace(project.definition, credentials=credentials))
    given, masked = declared(project, order)
    with held(project, workspace, plugins, Wishes(progress=progress)) as prepared:
        seconds |= prepared.seconds
        environment = _recorded_as(prepared, order, workspace)
        progress.note(f"{known['name']}:{known['version']} is {prepared.id} ({'built' if prepared.built else 'found'})")
        work = Path(folder.work)
        if order.snapshot:
            laid_out = snapshot.laid_out(snapshot.restore(order.snapshot, workspace.store, work))
        else:
            laid_out = as_laid_out(work, work)
        placed = place(order.data, Path(folder.path), Path(folder.work))
        given |= folder.facts(record["experiment"], environment) | placed.variables
        record |= {"status": "Running", "environment": environment, "seconds": seconds, "started_at": time.time()}
        supervise.see_through(
            folder,
            lambda: _start(order, folder, given, prepared, plugins),
            lambda: record,
            lambda: laid_out | placed.laid_out,
            masked,
            announced=True,
            limit=order.limit,
            grace=order.grace,
            keep=order.keep_outputs,
            complete=placed.bring_back,
        )
    return prepared.built


# -- repeating -----------------------------------------------------------------------------------------------


def reproduce(
    identity: str,
    workspace: Workspace,
    plugins: Plugins,
    wishes: Wishes,
    out: tuple[int, int] = (1, 2),
    variables: Mapping[str, str] | None = None,
) -> tuple[dict[str, Any], Outcome]:
    """Run the same id, snapshot and arguments again.

    :param variables: those that the run was given besides its definition's, whose values are kept nowhere.
    :returns: the run that was repeated, and what came of it this time.
    :raises NotFound: there is no such run, or what it needs is not kept any more.
    :raises EnvbuildError: a variable is lacking.
    """
    before = workspace.run(identity)
    environment = before["environment"]
    if before.get("snapshot") is None:
        raise NotFound(f"run {before['id']} has no snapshot to be repeated from")
    if environment["id"] is None:
        raise NotFound(f"run {before['id']} ended before it had an environment: {before['reason']}")
    project = open_of_run(environment, workspace)
    given = {*project.definition.variables, *before["secrets"], *(variables or {})}
    lacking = sorted(set(before["variables"]) - given)
    if lacking:
        raise EnvbuildError(
            f"the run was given values that are kept nowhere: {', '.join(lacking)}",
            hint=" ".join(f"--variable {name}=VALUE" for name in lacking),
        )
    order = Order.of(
        before,
        variables or {},
        reproduces=before["id"],
        known_as=(environment["name"], environment["version"]),
        parent=None,
    )
    outcome = run(project, order, workspace, plugins, wishes, out)
    if outcome.environment["id"] != environment["id"]:
        raise EnvbuildError(
            f"the environment came out as {outcome.environment['id']}, not {environment['id']}",
            hint="it has a local project, and that has changed since",
        )
    return before, outcome

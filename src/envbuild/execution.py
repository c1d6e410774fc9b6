"""Execution: a command in an environment, from its snapshot to its recorded end."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envbuild import git, layout, pipeline, snapshot, supervise, warm
from envbuild.digest import Digest
from envbuild.errors import EnvbuildError, NotFound
from envbuild.outcome import RunHandle, RunRequest
from envbuild.pipeline import Prepared, Wishes
from envbuild.plugins import Plugins
from envbuild.project import Project
from envbuild.store import writing
from envbuild.workspace import Workspace

_EXPERIMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a user wants to be run.

    :param command: the program and its arguments, as they are to be seen from the working copy.
    :param head: how many of those words are not the user's own arguments.
    :param source: the folder that is snapshotted.
    :param variables: environment variables on top of the definition's.
    :param snapshot: run these files rather than those in ``source`` now.
    :param reproduces: the run that this one repeats.
    :param known_as: the name and version that the environment is recorded under, where it was asked for by its id.
    """

    command: tuple[str, ...]
    head: int
    source: Path
    target: str = "local"
    experiment: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    snapshot: Digest | None = None
    reproduces: str | None = None
    known_as: tuple[str, str | None] | None = None


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
    experiment = _checked(order.experiment) if order.experiment else experiment_name(project)
    with ExitStack() as stack:
        prepared = stack.enter_context(_held(project, workspace, plugins, wishes))
        environment = _recorded_as(prepared, order, workspace)
        noted = _noted(prepared, workspace)
        folder = stack.enter_context(_folder(workspace, experiment))
        source, taken = _lay_out(order, workspace, Path(folder.work), wishes)
        facts = {} if order.snapshot else git.facts(order.source)
        given = variables | folder.facts(experiment, environment)
        started: list[RunHandle] = []

        def start() -> RunHandle:
            started.append(_start(order, folder, given, prepared, plugins))
            return started[0]

        record = supervise.request(
            folder,
            experiment=experiment,
            target=order.target,
            command=list(order.command),
            head=order.head,
            environment=environment,
            snapshot=str(taken.digest),
            source=project.source,
            directory=str(order.source),
            variables=sorted(variables),
            secrets=sorted({*project.definition.secrets, *order.secrets}),
            git=dict(facts),
            seconds=dict(prepared.seconds),
            reproduces=order.reproduces,
        )
        end = supervise.see_through(
            folder, start, lambda: record, lambda: snapshot.laid_out(taken, source), masked, out
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


def _noted(prepared: Prepared, workspace: Workspace) -> dict[str, tuple[str, str, str]]:
    """What this run has put in its place itself, as it is now: a change of it from here on is somebody else's."""
    names = str(workspace.root / layout.NAMES)
    noted = {names: warm.facts_of(names)}
    if prepared.locked.file and prepared.locked.written:
        noted[str(prepared.locked.file)] = prepared.locked.written
    return noted


def _checked(experiment: str) -> str:
    if not _EXPERIMENT.fullmatch(experiment):
        raise EnvbuildError(
            f"{experiment!r} is no name for an experiment",
            hint="letters, digits, '-' and '_' make one, and it begins with a letter or digit",
        )
    return experiment


@contextmanager
def _held(project: Project, workspace: Workspace, plugins: Plugins, wishes: Wishes) -> Iterator[Prepared]:
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
    source = snapshot.look(order.source)
    if source.size > snapshot.LARGE:
        wishes.progress.note(
            f"the source folder holds {source.size / 2**20:.0f} MiB (.envbuildignore says what to leave out); "
            f"the largest files: {snapshot.name_largest(source)}"
        )
    return source, snapshot.take(source, workspace.store, work)


def _start(
    order: Order, folder: supervise.Folder, variables: Mapping[str, str], prepared: Prepared, plugins: Plugins
) -> RunHandle:
    request = RunRequest(
        id=folder.run,
        target=order.target,
        command=order.command,
        directory=Path(folder.work),
        folder=Path(folder.path),
        variables=variables,
    )
    handle: RunHandle | None = plugins.first("run_target", run=request, image=prepared.image)
    if handle is None:
        raise plugins.missing("target", order.target)
    return handle


def _leave_stamp(
    stamp: str,
    began: int,
    record: Mapping[str, Any],
    order: Order,
    prepared: Prepared,
    handle: RunHandle,
    workspace: Workspace,
    source: snapshot.Source,
    taken: snapshot.Snapshot,
    noted: Mapping[str, tuple[str, str, str]],
) -> None:
    from envbuild import stamping

    # Without one the next run takes longer, and nothing else.
    with suppress(OSError, EnvbuildError):
        stamping.leave(
            Path(stamp),
            began=began,
            record=record,
            variables=order.variables,
            prepared=prepared,
            starter=getattr(type(handle), "starter", None),
            lease=workspace.store.root / layout.LEASES / prepared.id.hex,
            source=source,
            taken=taken,
            noted=noted,
        )


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
    from envbuild.project import open_spec

    before = workspace.run(identity)
    environment = before["environment"]
    if before.get("snapshot") is None:
        raise NotFound(f"run {before['id']} has no snapshot to be repeated from")
    project = open_spec(environment["id"], workspace)
    given = {*project.definition.variables, *before["secrets"], *(variables or {})}
    lacking = sorted(set(before["variables"]) - given)
    if lacking:
        raise EnvbuildError(
            f"the run was given values that are kept nowhere: {', '.join(lacking)}",
            hint=" ".join(f"--variable {name}=VALUE" for name in lacking),
        )
    order = Order(
        variables=dict(variables or {}),
        command=tuple(before["command"]),
        head=before.get("head", 0),
        source=Path(before.get("directory") or "."),
        target=before["target"],
        experiment=before["experiment"],
        secrets=tuple(before.get("secrets", ())),
        snapshot=Digest.parse(before["snapshot"]),
        reproduces=before["id"],
        known_as=(environment["name"], environment["version"]),
    )
    outcome = run(project, order, workspace, plugins, wishes, out)
    if outcome.environment["id"] != environment["id"]:
        raise EnvbuildError(
            f"the environment came out as {outcome.environment['id']}, not {environment['id']}",
            hint="it has a local project, and that has changed since",
        )
    return before, outcome

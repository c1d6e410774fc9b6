"""Scripts: recorded runs that a test makes, and waits for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild import execution, layout
from envbuild.metrics import read_metrics
from envbuild.project import open_spec
from envbuild.pytest_plugin.environments import Environments

_EXPERIMENT = "pytest"
"""What the runs of tests are gathered under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """A run that has ended and is recorded in the workspace, as those of ``envbuild run`` are.

    :ivar id: the run's id, for ``envbuild runs show`` and the like.
    :ivar status: ``Completed``, ``Failed`` or ``Canceled``; ``reason`` says why, where there is something to say.
    :ivar log: what it printed, secrets covered.
    :ivar outputs: the folder with what it wrote to ``outputs/``.
    :ivar metrics: what it logged, by name; a list where that was more than one value.
    :ivar folder: the run's folder.
    """

    id: str
    status: str
    reason: str
    exit_code: int
    log: str
    outputs: Path
    metrics: Mapping[str, Any]
    folder: Path

    @classmethod
    def of(cls, outcome: execution.Outcome) -> RecordedRun:
        """What there is to say of a run that has ended."""
        return cls(
            id=outcome.run,
            status=outcome.end["status"],
            reason=outcome.end["reason"],
            exit_code=outcome.exit_code,
            log=(outcome.folder / layout.LOG).read_text(encoding="utf-8", errors="backslashreplace"),
            outputs=outcome.folder / layout.OUTPUTS,
            metrics=read_metrics(outcome.folder).values,
            folder=outcome.folder,
        )


def run(
    script: Path,
    arguments: Sequence[str],
    spec: str,
    environments: Environments,
    *,
    source: Path,
    limit: float | None,
    variables: Mapping[str, str],
) -> RecordedRun:
    """Run a script, record it, and wait for its end.

    :param spec: the environment, as `envbuild.pytest_plugin.environments.located` gives it.
    :param source: the folder of which a snapshot is taken.
    :param limit: the seconds after which it is stopped.
    :raises EnvbuildError: it could not be started.
    :raises KeyboardInterrupt: somebody has stopped it, and means the tests too.
    """
    # Links stay as they are: what is seen from one another are the paths that the test has said.
    path = os.path.relpath(os.path.abspath(script), os.path.abspath(source))  # noqa: PTH100
    order = execution.Order(
        command=("python", path, *arguments),
        head=2,
        source=source,
        experiment=_EXPERIMENT,
        variables=variables,
        limit=limit,
    )
    workspace = environments.workspace
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  it is no path of anybody's
        out = (nowhere.fileno(), nowhere.fileno())
        outcome = execution.run(
            open_spec(spec, workspace), order, workspace, environments.plugins, environments.wishes, out
        )
    if outcome.end["status"] == "Canceled" and limit is None:
        raise KeyboardInterrupt
    return RecordedRun.of(outcome)

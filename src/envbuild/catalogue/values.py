"""Values: what the catalogue answers in."""

# Annotations are not put off here: `NamedTuple` would compile the text of each, which takes as long as all the rest of
# the catalogue takes to be imported.

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

LATEST = "latest"
"""The label that always stands for the highest version that is neither archived nor deleted."""


class EnvironmentVersion(NamedTuple):
    """A definition under a name and a number.

    :param version: 1, 2, … without gaps; the same number never comes to mean another definition.
    :param root: the folder that the definition's relative paths are meant from.
    :param labels: the labels that were put on it; `LATEST` is not among them.
    """

    name: str
    version: int
    definition_digest: str
    root: str | None
    description: str
    created_at: datetime
    archived: bool
    tags: Mapping[str, str]
    labels: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


class Resolution(NamedTuple):
    """That a definition was resolved to a lock, on some day and for some platform.

    :param source: the path of the file that the definition was read from, or a registered name.
    """

    definition_digest: str
    platform: str
    python: str
    lock_digest: str
    environment_id: str
    source: str
    resolved_at: datetime


class Experiment(NamedTuple):
    """A name that runs are gathered under.

    :param runs: how many of its runs are still there.
    :param last_number: the number that its newest run was given.
    :param created_at: ``None`` for one whose runs had all been deleted before this was recorded.
    """

    name: str
    runs: int
    last_number: int
    created_at: datetime | None
    archived: bool
    tags: Mapping[str, str]


class ModelVersion(NamedTuple):
    """Files under a name and a number.

    :param version: 1, 2, … without gaps; the same number never comes to mean other files.
    :param run: the id of the run that the files came from, and ``experiment`` that run's.
    :param environment: ``name``, ``version`` and ``id`` of the environment of that run.
    :param record: ``root``, the name of the file or folder that was registered; ``files``, by path with ``digest`` and
        ``size``, each path with the root in front; and what else is said of the model.
    """

    name: str
    version: int
    created_at: datetime
    description: str
    framework: str | None
    framework_version: str | None
    run: str | None
    experiment: str | None
    environment: Mapping[str, Any] | None
    archived: bool
    tags: Mapping[str, str]
    properties: Mapping[str, str]
    record: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def root(self) -> str:
        """The name of the file or folder that was registered."""
        return str(self.record["root"])

    @property
    def files(self) -> Mapping[str, Mapping[str, Any]]:
        """Its files by path, with digest and size in bytes."""
        found: Mapping[str, Mapping[str, Any]] = self.record["files"]
        return found

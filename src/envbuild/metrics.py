"""Metrics and notes: what a run has said of itself, read from its folder.

The form of the files is the business of `envbuild.inside.envbuild.events`, with which the script wrote them; no
process of the run is needed to read them, and they may still be growing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from envbuild.inside.envbuild.events import Logged, Noted, read
from envbuild.layout import METRICS, NOTES


class Metrics(NamedTuple):
    """What the script of a run has logged.

    :param values: by name; a value if it was logged once, else the list of the values (see `Logged.metrics`).
    :param images: the paths of logged images in the run's folder, by name.
    """

    values: Mapping[str, Any]
    images: Mapping[str, tuple[str, ...]]


class Notes(NamedTuple):
    """What has been noted of a run.

    :param tags: the tags as they are now, ``properties`` likewise.
    :param errors: why the script gave itself up, if it said so.
    :param display_name: what the run has been called since it was made, ``description`` what was said of it.
    :param children: the ids of the runs that it is the parent of.
    :param cancel: whether somebody has asked it to end.
    """

    tags: Mapping[str, str]
    properties: Mapping[str, str]
    errors: tuple[str, ...]
    display_name: str | None
    description: str | None
    children: tuple[str, ...]
    cancel: bool


def read_metrics(folder: Path) -> Metrics:
    """Read the metrics of the run in ``folder``; what is not there has nothing in it, a torn line is passed over."""
    logged = Logged(read(folder / METRICS))
    return Metrics(logged.metrics, {name: tuple(paths) for name, paths in logged.images.items()})


def read_notes(
    folder: Path, tags: Mapping[str, str] | None = None, properties: Mapping[str, str] | None = None
) -> Notes:
    """Read the notes of the run in ``folder``, however many metrics it has.

    :param tags: the tags that the run was started with, ``properties`` likewise.
    """
    found = Noted(read(folder / NOTES), tags, properties)
    return Notes(
        found.tags,
        found.properties,
        tuple(found.errors),
        found.display_name,
        found.description,
        tuple(found.children),
        found.cancel,
    )

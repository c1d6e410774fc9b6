"""Metrics: what a run has said of itself, read from its folder.

The form of the file is the business of `envbuild.inside.envbuild.events`, with which the script wrote it; no
process of the run is needed to read it, and it may still be growing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from envbuild.inside.envbuild.events import Told, read


class Metrics(NamedTuple):
    """What the script of a run has logged and noted.

    :param values: by name; a value if it was logged once, else the list of the values (see `Told.metrics`).
    :param tags: the tags as the script left them.
    :param images: the paths of logged images in the run's folder, by name.
    :param errors: why the script gave itself up, if it said so.
    """

    values: Mapping[str, Any]
    tags: Mapping[str, str]
    properties: Mapping[str, str]
    images: Mapping[str, tuple[str, ...]]
    errors: tuple[str, ...]


def read_metrics(path: Path, tags: Mapping[str, str] | None = None) -> Metrics:
    """Read ``metrics.jsonl``; a file that is not there has nothing in it, and a torn line is passed over.

    :param tags: the tags that the run was started with.
    """
    told = Told(read(path), tags)
    images = {name: tuple(paths) for name, paths in told.images.items()}
    return Metrics(told.metrics, told.tags, told.properties, images, tuple(told.errors))

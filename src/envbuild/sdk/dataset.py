"""Data sets (``azureml.core.dataset``): there are none, and importing them says what takes their place."""

from __future__ import annotations

from typing import Any

from envbuild.sdk.absent import missing

_ABSENT = dict.fromkeys(
    ("Dataset", "FileDataset", "TabularDataset"),
    "data are files in a datastore; hand Datastore.path('folder').as_mount() to the script",
)


def __getattr__(name: str) -> Any:
    raise missing(__name__, name, _ABSENT)

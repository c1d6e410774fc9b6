"""AutoML (``azureml.train.automl``): there is none, and importing a part of it says so."""

from __future__ import annotations

from typing import Any

from envbuild.sdk.absent import missing

_ABSENT = dict.fromkeys(
    ("AutoMLConfig", "AutoMLStep"), "nothing here searches for models; submit a script that does, with its packages"
)


def __getattr__(name: str) -> Any:
    raise missing(__name__, name, _ABSENT)

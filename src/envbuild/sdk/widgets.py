"""Widgets (``azureml.widgets``): there are none, and importing one says what shows a run instead."""

from __future__ import annotations

from typing import Any

from envbuild.sdk.absent import missing

_ABSENT = {"RunDetails": "run.wait_for_completion(show_output=True) shows the run as it goes on"}


def __getattr__(name: str) -> Any:
    raise missing(__name__, name, _ABSENT)

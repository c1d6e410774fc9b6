"""Web services (``azureml.core.webservice``): not there yet, and importing one says so."""

from __future__ import annotations

from typing import Any

from envbuild.sdk.absent import missing

_ABSENT = dict.fromkeys(
    ("AciWebservice", "AksEndpoint", "AksWebservice", "LocalWebservice", "Webservice"),
    "envbuild deploys no services yet; Model.get_model_path gives the files of a registered model",
)


def __getattr__(name: str) -> Any:
    raise missing(__name__, name, _ABSENT)

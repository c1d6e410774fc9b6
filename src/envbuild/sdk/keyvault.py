"""Key vaults (``azureml.core.keyvault``): there are none, and importing one says what takes their place."""

from __future__ import annotations

from typing import Any

from envbuild.sdk.absent import missing

_ABSENT = {
    "Keyvault": "there is no key vault; name variables in Environment.secrets, and set them where the run is started"
}


def __getattr__(name: str) -> Any:
    raise missing(__name__, name, _ABSENT)

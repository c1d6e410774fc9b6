"""``devcontainer.json``, for editors that work inside a container, with the ``Dockerfile`` that it names."""

from __future__ import annotations

import json
from typing import Any

from envbuild.definition import Definition
from envbuild.exporting import dockerfile
from envbuild.exporting.exported import Exported
from envbuild.lock import Lock

_DOCKERFILE = "Dockerfile"


def write(lock: Lock, definition: Definition) -> Exported:
    """Write a container that editors find the environment's Python in."""
    made = dockerfile.write(lock, definition)
    python = f"{dockerfile.PREFIX}/bin/python"
    form: dict[str, Any] = {
        "name": definition.name or "environment",
        "build": {"dockerfile": _DOCKERFILE},
        "customizations": {"vscode": {"settings": {"python.defaultInterpreterPath": python}}},
    }
    if definition.secrets:
        form["remoteEnv"] = {name: f"${{localEnv:{name}}}" for name in definition.secrets}
    return Exported(json.dumps(form, indent=2, ensure_ascii=False) + "\n", beside={_DOCKERFILE: made.text})

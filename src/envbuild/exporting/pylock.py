"""``pylock.toml`` (PEP 751), for pip, uv, pdm and whatever else reads that standard."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import tomli_w

from envbuild.definition import Definition
from envbuild.exporting.exported import Exported, named, pip_packages
from envbuild.lock import Lock


def write(lock: Lock, definition: Definition) -> Exported:  # noqa: ARG001
    """Write what pip installs, without what only envbuild makes something of."""
    packages = pip_packages(lock)
    form = tomllib.loads(replace(lock, packages=packages).to_toml())
    for table in (form, *form["packages"]):
        table.pop("tool", None)
    others = [each for each in lock.packages if each not in packages]
    left_out = (f"what conda installs: {named(others)}",) if others else ()
    return Exported(tomli_w.dumps(form, multiline_strings=False), left_out)

"""``environment.yml`` of what is locked, for conda, mamba and everything else that reads that form."""

from __future__ import annotations

from typing import Any

from envbuild.conda import KIND, channels, short_channel
from envbuild.definition import Definition
from envbuild.exporting.exported import Exported, pip_packages, yaml_text
from envbuild.exporting.requirements import index_lines, requirement
from envbuild.lock import Lock, Package

_USUAL = "conda-forge"


def write(lock: Lock, definition: Definition, *, builds: bool = True) -> Exported:
    """Write every package with its version and, if wanted, its build."""
    theirs = lock.of_kind(KIND)
    packages: list[Any] = [_spec(each, builds) for each in theirs]
    by_pip = pip_packages(lock)
    if "python" not in {each.name for each in theirs}:
        packages.append(f"python={lock.python}")
    if by_pip:
        if not any(each.name == "pip" for each in (*theirs, *by_pip)):
            packages.append("pip")
        lines = index_lines(by_pip, definition) + [requirement(each) for each in by_pip]
        packages.append({"pip": lines})
    named = [short_channel(each) for each in channels(lock, definition.channels)]
    named = list(dict.fromkeys([each.rstrip("/") for each in definition.channels] + named)) or [_USUAL]
    form: dict[str, Any] = {"name": definition.name or "environment", "channels": named, "dependencies": packages}
    if definition.variables:
        form["variables"] = dict(definition.variables)
    left_out = [f"the secret {each}" for each in definition.secrets]
    return Exported(yaml_text(form), tuple(left_out))


def _spec(package: Package, builds: bool) -> str:
    build = package.details.get("build")
    return f"{package.name}={package.version}" + (f"={build}" if builds and build else "")

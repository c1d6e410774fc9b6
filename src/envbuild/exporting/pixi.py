"""``pixi.lock``, version 6: the newest that every pixi in use reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envbuild.conda import KIND, channels, lines, url_of
from envbuild.definition import Definition
from envbuild.exporting.exported import Exported, direct_url, pip_packages, require_python, yaml_text
from envbuild.exporting.requirements import PYPI
from envbuild.lock import Lock, Package
from envbuild.platform import subdir_of

VERSION = 6


def write(lock: Lock, definition: Definition) -> Exported:
    """Write the lock as the environment ``default``."""
    require_python(lock, "a pixi.lock")
    by_pip = pip_packages(lock)
    packages = [_conda(each, lock) for each in lock.of_kind(KIND)] + [_pypi(each) for each in by_pip]
    environment: dict[str, Any] = {
        "channels": [{"url": f"{each}/"} for each in channels(lock, definition.channels)],
        "packages": {subdir_of(lock.platform): [_reference(each) for each in packages]},
    }
    if by_pip:
        environment = {"channels": environment["channels"], "indexes": _indexes(by_pip), **environment}
    form = {"version": VERSION, "environments": {"default": environment}, "packages": packages}
    return Exported(yaml_text(form))


def _reference(entry: dict[str, Any]) -> dict[str, str]:
    kind = "conda" if "conda" in entry else "pypi"
    return {kind: entry[kind]}


def _indexes(packages: Iterable[Package]) -> list[str]:
    return list(dict.fromkeys(each.index for each in packages if each.index)) or [PYPI]


def _conda(package: Package, lock: Lock) -> dict[str, Any]:
    details = package.details
    entry = {
        "conda": url_of(package, lock.root),
        "sha256": package.artifact.digest.hex if package.artifact.digest else None,
        "md5": details.get("md5"),
        "depends": lines(package, "depends") or None,
        "constrains": lines(package, "constrains") or None,
        "track_features": lines(package, "track_features") or None,
        "size": package.artifact.size,
        "timestamp": int(details["timestamp"]) if "timestamp" in details else None,
        "python_site_packages_path": details.get("python_site_packages_path"),
    }
    return {key: value for key, value in entry.items() if value is not None}


def _pypi(package: Package) -> dict[str, Any]:
    artifact = package.artifact
    url = direct_url(package)
    if artifact.kind == "vcs":
        url = f"{artifact.vcs or 'git'}+{artifact.url}?rev={artifact.requested_revision or artifact.revision}"
        url += (f"&subdirectory={artifact.subdirectory}" if artifact.subdirectory else "") + f"#{artifact.revision}"
    entry = {
        "pypi": url,
        "name": package.name,
        "version": package.version or "0",
        "sha256": artifact.digest.hex if artifact.digest else None,
        "requires_python": package.requires_python,
    }
    return {key: value for key, value in entry.items() if value is not None}

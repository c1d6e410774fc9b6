"""``conda-lock.yml``: the unified lock of conda-lock, version 1."""

from __future__ import annotations

from typing import Any

from envbuild.conda import KIND, channels, lines, short_channel, url_of
from envbuild.definition import Definition
from envbuild.errors import LockError
from envbuild.exporting.exported import Exported, direct_url, pip_packages, require_python, yaml_text
from envbuild.lock import Lock, Package
from envbuild.platform import subdir_of

VERSION = 1


def write(lock: Lock, definition: Definition) -> Exported:
    """Write the lock for its one platform."""
    require_python(lock, "a conda-lock.yml")
    platform = subdir_of(lock.platform)
    packages = [_conda(each, lock, platform) for each in lock.of_kind(KIND)]
    packages += [_pip(each, platform) for each in pip_packages(lock)]
    form = {
        "version": VERSION,
        "metadata": {
            "content_hash": {platform: (lock.made_from or lock.packages_digest).hex},
            "channels": [
                {"url": short_channel(each), "used_env_vars": []} for each in channels(lock, definition.channels)
            ],
            "platforms": [platform],
            "sources": [lock.definition or "environment.yml"],
        },
        "package": packages,
    }
    return Exported(yaml_text(form))


def _conda(package: Package, lock: Lock, platform: str) -> dict[str, Any]:
    md5, digest = package.details.get("md5"), package.artifact.digest
    if md5 is None:
        raise LockError(
            f"conda-lock wants the MD5 of every conda package, and the channel of {package} has none",
            hint="--format explicit and pixi do without",
        )
    return {
        "name": package.name,
        "version": package.version,
        "manager": "conda",
        "platform": platform,
        "dependencies": dict(_named(spec) for spec in lines(package, "depends")),
        "url": url_of(package, lock.root),
        "hash": {"md5": md5, **({"sha256": digest.hex} if digest else {})},
        "category": "main",
        "optional": False,
    }


def _named(spec: str) -> tuple[str, str]:
    name, _, rest = spec.partition(" ")
    return name, rest


def _pip(package: Package, platform: str) -> dict[str, Any]:
    artifact = package.artifact
    found: dict[str, Any] = {
        "name": package.name,
        "version": package.version or artifact.revision or "0",
        "manager": "pip",
        "platform": platform,
        "dependencies": {},
        "url": direct_url(package),
        "hash": {"sha256": artifact.digest.hex if artifact.digest else artifact.revision},
        "category": "main",
        "optional": False,
    }
    if artifact.kind in ("archive", "vcs"):
        found["source"] = {"type": "url", "url": found["url"]}
    return found

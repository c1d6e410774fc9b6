"""``conda-lock.yml``: the unified lock of conda-lock, for several platforms at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envbuild.conda import package_at
from envbuild.lock import Package
from envbuild.platform import Platform, platform_of_subdir
from envbuild.reading import pip_artifact
from envbuild.reading.locks import each, text_of, version_of

_TAKEN = ("main", "dev")
"""The categories that ``conda-lock install`` takes unless it is told otherwise."""


def parse(form: Mapping[str, Any]) -> dict[Platform, tuple[Package, ...]]:
    """The packages for each platform.

    :raises ValueError: something is wrong; the message says where.
    """
    version_of(form, range(1, 2), "conda-lock")
    metadata = form.get("metadata")
    subdirs = metadata.get("platforms") if isinstance(metadata, Mapping) else None
    if not isinstance(subdirs, list) or not subdirs:
        raise ValueError("metadata.platforms: a list of platforms is wanted")

    def for_subdir(subdir: str) -> list[Package]:
        return each(form, "package", lambda entry: _package(entry) if _is_meant(entry, subdir) else None)

    return {platform_of_subdir(str(subdir)): tuple(for_subdir(str(subdir))) for subdir in subdirs}


def _is_meant(entry: Mapping[str, Any], subdir: str) -> bool:
    return entry.get("platform") == subdir and entry.get("category", "main") in _TAKEN


def _package(entry: Mapping[str, Any]) -> Package:
    name, version, url = (text_of(entry, key) for key in ("name", "version", "url"))
    digests = entry.get("hash")
    if not name or not url or not isinstance(digests, Mapping):
        raise ValueError("a package has a name, a url and a hash")
    sha256 = text_of(digests, "sha256")
    if entry.get("manager") == "pip":
        return pip_artifact.package(name, version, url, sha256=sha256)
    needs = entry.get("dependencies")
    depends = [f"{other} {spec or ''}".strip() for other, spec in needs.items()] if isinstance(needs, Mapping) else []
    details = {"depends": "\n".join(depends)} if depends else {}
    return package_at(url, sha256=sha256, md5=text_of(digests, "md5"), details=details)

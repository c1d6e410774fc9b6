"""What pip installs, in the locks of conda's world: a URL and a digest."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, canonicalize_name
from packaging.utils import parse_sdist_filename as sdist_parts
from packaging.utils import parse_wheel_filename as wheel_parts

from envbuild.digest import Digest
from envbuild.lock import Artifact, Package
from envbuild.requirement import without_credentials

_REPOSITORY = re.compile(r"(?P<vcs>git|hg|svn|bzr)\+(?P<url>[^@?#]+://(?:[^@/]+@)?[^@?#]+)(?:@(?P<revision>[^?#]+))?")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def package(name: str, version: str | None, url: str, *, sha256: str | None = None, editable: bool = False) -> Package:
    """The package that pip would install from ``url``; what stands behind its ``#`` counts too.

    :raises ValueError: nothing says which bytes are meant.
    """
    url = url.removeprefix("direct+")
    fragment = dict(parse_qsl(urlsplit(url).fragment))
    if _REPOSITORY.match(url):
        artifact = _repository(name, url)
    elif "://" not in url:
        artifact = Artifact(kind="directory", path=url, editable=editable)
    else:
        digest = sha256 or fragment.get("sha256")
        if not digest:
            raise ValueError(f"{name}: there is no sha256 of it, so any bytes would do")
        bare = without_credentials(url.partition("#")[0])
        filename = unquote(PurePosixPath(urlsplit(bare).path).name)
        artifact = Artifact(
            kind=_kind(filename),
            url=bare,
            digest=Digest(digest.lower()),
            filename=filename,
            subdirectory=fragment.get("subdirectory"),
        )
    return Package(
        name=canonicalize_name(name),
        version=None if artifact.kind in ("vcs", "directory") else version or _version(artifact),
        artifact=artifact,
    )


def _repository(name: str, url: str) -> Artifact:
    found = _REPOSITORY.match(url)
    query = dict(parse_qsl(urlsplit(url).query))
    fragment = urlsplit(url).fragment
    asked = (found and found["revision"]) or query.get("rev") or query.get("tag") or query.get("branch")
    commit = fragment if _COMMIT.fullmatch(fragment) else asked
    if not found or not commit or not _COMMIT.fullmatch(commit):
        raise ValueError(f"{name}: {url!r} names no commit, so any would do")
    subdirectory = query.get("subdirectory") or dict(parse_qsl(fragment)).get("subdirectory")
    return Artifact(
        kind="vcs",
        vcs=found["vcs"],
        url=without_credentials(found["url"]),
        revision=commit,
        requested_revision=asked if asked != commit else None,
        subdirectory=subdirectory,
    )


def _kind(filename: str) -> Literal["wheel", "sdist", "archive"]:
    if filename.endswith(".whl"):
        return "wheel"
    try:
        sdist_parts(filename)
    except InvalidSdistFilename:
        return "archive"
    return "sdist"


def _version(artifact: Artifact) -> str | None:
    filename = artifact.filename or ""
    try:
        return str(wheel_parts(filename)[1] if filename.endswith(".whl") else sdist_parts(filename)[1])
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None

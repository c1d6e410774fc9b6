"""Conda's words: what its files call channels and packages, to be read and written without conda.

A package of kind ``conda`` is an archive whose URL says nearly all of it: channel, platform, name, version and build.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from envbuild.digest import Digest
from envbuild.errors import LockError
from envbuild.lock import Artifact, Lock, Package
from envbuild.requirement import bare_url

KIND = "conda"

_FILE = re.compile(r"(?P<name>[^/]+)-(?P<version>[^-/]+)-(?P<build>[^-/]+?)(?:\.conda|\.tar\.bz2)")
_MD5 = re.compile(r"[0-9a-f]{32}")


def package_at(
    url: str,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    details: Mapping[str, str] | None = None,
) -> Package:
    """The package whose archive is at ``url``.

    :param details: what else is known of it, as `envbuild.lock.Package.details` has it.
    :raises ValueError: that is not the URL of a conda package, or nothing says which bytes are meant.
    """
    bare = bare_url(url)
    folder, _, filename = bare.rpartition("/")
    found = _FILE.fullmatch(unquote(filename))
    channel, _, where = folder.rpartition("/")
    if not found or "://" not in channel:
        raise ValueError(f"not the URL of a conda package: {bare!r}")
    if not sha256 and not md5:
        raise ValueError(f"{filename}: there is neither a sha256 nor an md5 of it, so any bytes would do")
    if md5 and not _MD5.fullmatch(md5):
        raise ValueError(f"{filename}: not an md5: {md5!r}")
    number = re.search(r"(?:^|_)(\d+)$", found["build"])
    told = {
        "build": found["build"],
        "build_number": number[1] if number else "0",
        "subdir": where,
        "channel": channel_name(channel),
        **({"md5": md5} if md5 else {}),
        **(details or {}),
    }
    return Package(
        name=found["name"],
        version=found["version"],
        kind=KIND,
        artifact=Artifact(
            kind="archive",
            url=bare,
            digest=Digest(sha256.lower()) if sha256 else None,
            size=size,
            filename=unquote(filename),
        ),
        details=told,
    )


def url_of(package: Package, root: Path | None) -> str:
    """Where the archive of a conda package is, as a URL.

    :param root: the folder of the lock.
    :raises LockError: the lock does not say.
    """
    if package.artifact.path:
        return Path(os.path.normpath((root or Path.cwd()).absolute() / package.artifact.path)).as_uri()
    if not package.artifact.url:
        raise LockError(f"the lock does not say where {package} is", hint="lock again")
    return package.artifact.url


def channel_of(url: str) -> str:
    """The URL of the channel that a package at ``url`` is in."""
    return url.rsplit("/", 2)[0]


def channel_name(url: str) -> str:
    """What people call the channel at ``url``.

    >>> channel_name("https://conda.anaconda.org/conda-forge"), channel_name("file:///srv/channels/main")
    ('conda-forge', 'main')
    """
    path = unquote(urlsplit(url).path).strip("/")
    return path.rpartition("/")[2] if url.startswith("file:") else path


def short_channel(url: str) -> str:
    """The channel at ``url`` as a definition asks for it: by its name where every conda knows which one that is.

    >>> short_channel("https://repo.anaconda.com/pkgs/main"), short_channel("https://conda.corp.test/main")
    ('defaults', 'https://conda.corp.test/main')
    """
    host = urlsplit(url).hostname
    if host in ("repo.anaconda.com", "repo.continuum.io"):
        return "defaults"
    return channel_name(url) if host == "conda.anaconda.org" else url


def channels(lock: Lock, order: Iterable[str] = ()) -> tuple[str, ...]:
    """The URLs of the channels that the packages of ``lock`` come from.

    :param order: channels in order of priority, by name or URL, as the definition has them.
    """
    wanted = [each.rstrip("/") for each in order]
    found = dict.fromkeys(channel_of(url_of(each, lock.root)) for each in lock.of_kind(KIND))

    def rank(url: str) -> int:
        spellings = (url, short_channel(url), channel_name(url))
        return min((wanted.index(each) for each in spellings if each in wanted), default=len(wanted))

    return tuple(sorted(found, key=rank))


def lines(package: Package, detail: str) -> list[str]:
    """A detail that is a list, such as ``depends``."""
    return [each for each in package.details.get(detail, "").split("\n") if each]

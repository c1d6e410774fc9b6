"""Conda's words: what its files call platforms, channels and packages, to be read and written without conda.

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
from envbuild.platform import Platform
from envbuild.requirement import bare_url

KIND = "conda"

_SYSTEMS = {"linux": "linux", "osx": "macos", "win": "windows"}
_MACHINES = {"64": "x86_64", "32": "i686", "arm64": "aarch64"}
_FILE = re.compile(r"(?P<name>[^/]+)-(?P<version>[^-/]+)-(?P<build>[^-/]+?)(?:\.conda|\.tar\.bz2)")
_MD5 = re.compile(r"[0-9a-f]{32}")


def subdir(platform: Platform) -> str:
    """What conda calls ``platform``.

    :raises LockError: conda has no packages for it.

    >>> subdir(Platform.parse("linux-x86_64")), subdir(Platform.parse("macos-arm64"))
    ('linux-64', 'osx-arm64')
    """
    if platform.libc == "musl":
        raise LockError(f"there are no conda packages for {platform}", hint="lock for a Linux with glibc")
    system = next(theirs for theirs, ours in _SYSTEMS.items() if ours == platform.system)
    if platform.machine == "aarch64" and system == "linux":
        return "linux-aarch64"
    machine = next((theirs for theirs, ours in _MACHINES.items() if ours == platform.machine), platform.machine)
    return f"{system}-{machine}"


def platform_of(subdir: str) -> Platform:
    """The platform that conda calls ``subdir``.

    :raises ValueError: it is none that environments are built for.

    >>> str(platform_of("linux-64")), str(platform_of("osx-arm64"))
    ('linux-x86_64', 'macos-arm64')
    """
    system, _, machine = subdir.partition("-")
    if system not in _SYSTEMS or not machine:
        raise ValueError(f"{subdir!r} is no platform of conda's that environments are built for")
    return Platform(_SYSTEMS[system], _MACHINES.get(machine, machine))


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

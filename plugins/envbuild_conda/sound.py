"""Sound: whether a package, unpacked but not linked yet, would only bring files of its own to a prefix.

rattler takes a package's word for where its files go, and for what it is: it creates, overwrites and deletes whatever
that comes to. So all of it is looked at before rattler gets to link anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

_SITE = re.compile(r"lib/python3\.\d+t?/site-packages|Lib/site-packages", re.A)
_INTERPRETER = re.compile(r"bin/python[\d.]*t?d?", re.A)
_PYTHON = re.compile(r"python|(pypy|graalpy)[\d.]*", re.A)
_STEM = re.compile(r"(?!\.)[\w.!+~=-]+", re.A)
_PROGRAMS = ("bin/", "Scripts/", "sbin/")
_SCHEMES = ("file", "http", "https", "oci", "s3", "gcs")
_TOLD = ("info", "info/index.json", "info/paths.json", "info/link.json", "info/files", "info/has_prefix")


class Unsound(Exception):
    """A package that nobody should install."""


class Clash(Exception):
    """Packages that cannot be in one environment."""


@dataclass(frozen=True)
class Entry:
    """Something that a package brings.

    :param path: where it lies in the package.
    :param target: where it goes in the prefix.
    :param link: what it says, if it is a symbolic link.
    :param sha256: the digest that the package has of it.
    """

    path: str
    target: str
    link: str | None = None
    sha256: str | None = None
    size: int | None = None


def check_record(record: Mapping[str, Any]) -> None:
    """Look at what a channel or a lock says of a package.

    :raises Unsound: it names places that are none of its business.
    """
    site = record.get("python_site_packages_path")
    if site is not None and not _SITE.fullmatch(site):
        raise Unsound(f"its modules are to go to {site!r}")
    if not _STEM.fullmatch(stem(record)):
        raise Unsound(f"nothing can be called {stem(record)!r}")
    name = unquote(parts(record).path).rpartition("/")[2]
    if name.lower() not in (f"{stem(record)}.conda".lower(), f"{stem(record)}.tar.bz2".lower()):
        raise Unsound(f"{name!r} is not the file of {stem(record)}")


def parts(record: Mapping[str, Any]) -> SplitResult:
    """Where the file of a package is.

    :raises Unsound: nowhere that packages are had from.
    """
    url: str = record["url"]
    found = urlsplit(url)
    is_odd = re.search(r"[\s\x00-\x1f\\?#]", url) or found.scheme not in _SCHEMES
    if is_odd or (found.scheme == "file" and found.netloc.lower() not in ("", "localhost")):
        raise Unsound(f"{url!r} is no address of a package")
    return found


def is_local(record: Mapping[str, Any]) -> bool:
    """Whether the file of a package is on this machine."""
    return parts(record).scheme == "file"


def stem(record: Mapping[str, Any]) -> str:
    """What rattler calls the folder that a package is unpacked to."""
    return f"{record['name'].lower()}-{record['version']}-{record['build']}"


def check(folder: Path, record: Mapping[str, Any], site: str | None) -> list[Entry]:
    """Look at an unpacked package, without reading its files.

    :param site: where modules go in the prefix, ``None`` if it has no Python.
    :returns: what it brings.
    :raises Unsound: it is not what it is said to be, or brings what it may not.
    """
    for name in _TOLD:
        if (folder / name).is_symlink():
            raise Unsound(f"its {name} is a symbolic link")
    try:
        own = json.loads((folder / "info/index.json").read_bytes())
        _check_told(own, record)
        entries = _entries(folder, _kind(own) == "python", site)
    except FileNotFoundError as error:
        raise Unsound(f"it lacks {os.path.relpath(error.filename, folder)}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unsound(f"what it says of itself cannot be read: {error}") from error
    links = {each.target for each in entries if each.link is not None}
    seen = set()
    for each in entries:
        if each.target in seen:
            raise Unsound(f"it has {each.target!r} twice")
        seen.add(each.target)
        above = _above(each.target, links)
        if above:
            raise Unsound(f"{each.target!r} lies beyond {above!r}, which is a symbolic link")
        if _INTERPRETER.fullmatch(each.target) and not _PYTHON.fullmatch(record["name"]):
            raise Unsound(f"it brings {each.target}, which only Python may")
    return entries


def _check_told(own: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    for key in ("name", "version", "build", "subdir"):
        # The oldest packages do not say for what machine they are.
        if key in own and str(own[key]).lower() != str(record[key]).lower():
            raise Unsound(f"it is of {key} {own[key]!r}, and {record[key]!r} was locked")
    # Other tools' locks do not say it.
    if _kind(record) not in (None, _kind(own)):
        raise Unsound(f"it is of noarch {_kind(own)!r}, and {_kind(record)!r} was locked")


def _kind(told: Mapping[str, Any]) -> Any:
    """What of a package is the same on every machine, as old packages have it too."""
    kind = told.get("noarch") or None
    return "generic" if kind is True else kind


def _entries(folder: Path, is_python: bool, site: str | None) -> list[Entry]:
    real: dict[str, bool] = {}
    found = []
    for told in _told(folder):
        path = told["_path"]
        _check_path(path)
        target = _target(path, site) if is_python else path
        if target.split("/")[0].lower() == "conda-meta":
            raise Unsound(f"{path!r} is not for a package to bring")
        _check_folders(folder, path, real)
        mode = os.lstat(folder / path).st_mode
        if stat.S_ISLNK(mode):
            link = str((folder / path).readlink())
            _check_link(target, link)
            found.append(Entry(path, target, link=link))
        elif stat.S_ISREG(mode):
            found.append(Entry(path, target, sha256=told.get("sha256"), size=told.get("size_in_bytes")))
        elif not stat.S_ISDIR(mode) or told.get("path_type") != "directory":
            raise Unsound(f"{path!r} is not a file")
    return found + (_scripts(folder) if is_python else [])


def _told(folder: Path) -> Iterable[Mapping[str, Any]]:
    file = folder / "info/paths.json"
    if file.exists():
        listed: Sequence[Mapping[str, Any]] = json.loads(file.read_bytes())["paths"]
        return listed
    lines = (folder / "info/files").read_text(encoding="utf-8").split("\n")
    return [{"_path": each.strip()} for each in lines if each.strip()]


def _check_path(path: str) -> None:
    if not path or "\\" in path or "\0" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise Unsound(f"{path!r} is not a path inside an environment")


def _target(path: str, site: str | None) -> str:
    if site is not None and path.startswith("site-packages/"):
        return site + path.removeprefix("site-packages")
    if path.startswith("python-scripts/"):
        return "bin" + path.removeprefix("python-scripts")
    return path


def _check_folders(folder: Path, path: str, real: dict[str, bool]) -> None:
    """See to it that what is above ``path`` are folders of the package itself."""
    above = posixpath.dirname(path)
    while above and above not in real:
        if not stat.S_ISDIR(os.lstat(folder / above).st_mode):
            raise Unsound(f"{path!r} lies beyond {above!r}, which is not a folder")
        real[above] = True
        above = posixpath.dirname(above)


def _check_link(path: str, link: str) -> None:
    meant = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    # After another link, `..` would lead elsewhere than it seems to.
    is_crooked = re.search(r"(?:^|/)(?!\.{0,2}/)[^/]+/+(?:.*/)?\.\.(?:/|$)", link)
    if link.startswith("/") or "\\" in link or meant == ".." or meant.startswith("../") or is_crooked:
        raise Unsound(f"{path!r} is a link to {link!r}, and that may be outside the environment")


def _scripts(folder: Path) -> list[Entry]:
    """What is written for the entry points of a Python package; rattler looks at their names itself."""
    file = folder / "info/link.json"
    if not file.exists():
        return []
    points = json.loads(file.read_bytes())["noarch"].get("entry_points") or ()
    return [Entry(each, f"bin/{each.partition('=')[0].strip()}", sha256=f"entry point {each}") for each in points]


def check_together(brought: Mapping[str, Sequence[Entry]]) -> list[str]:
    """Look at the packages of an environment side by side.

    :param brought: what each brings, by its name and version.
    :returns: which of them bring one file, and not the same. Packages do, with files that nobody misses (a licence, a
        module ``tests``), and conda only warns of it too.
    :raises Clash: that file is a program, or is a symbolic link for one of them.
    """
    first: dict[str, tuple[str, Entry]] = {}
    clashes = []
    for package, entries in brought.items():
        for each in entries:
            other, same = first.setdefault(each.target, (package, each))
            if (each.link, each.sha256) != (same.link, same.sha256):
                said = f"{other} and {package} both have {each.target}, and not the same one"
                if each.target.startswith(_PROGRAMS) or each.link != same.link:
                    raise Clash(said)
                clashes.append(said)
    links = {target for target, (_, each) in first.items() if each.link is not None}
    for target, (package, _) in first.items():
        above = _above(target, links)
        if above:
            raise Clash(f"{package} has {target}, and {first[above][0]} has a symbolic link {above}")
    return clashes


def _above(path: str, among: set[str]) -> str | None:
    if not among:
        return None
    above = posixpath.dirname(path)
    while above and above not in among:
        above = posixpath.dirname(above)
    return above or None


def damaged(folder: Path, entries: Iterable[Entry]) -> str | None:
    """The first file that is not what its package says of it, ``None`` if all are; it reads them all."""
    files = [each for each in entries if each.size is not None or _is_digest(each)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        wrong = pool.map(lambda each: _is_damaged(folder / each.path, each), files)
        return next((each.path for each, is_wrong in zip(files, wrong, strict=True) if is_wrong), None)


def _is_digest(entry: Entry) -> bool:
    return entry.sha256 is not None and not entry.sha256.startswith("entry point")


def _is_damaged(file: Path, entry: Entry) -> bool:
    with file.open("rb") as stream:
        if entry.size is not None and os.fstat(stream.fileno()).st_size != entry.size:
            return True
        return _is_digest(entry) and hashlib.file_digest(stream, "sha256").hexdigest() != str(entry.sha256).lower()

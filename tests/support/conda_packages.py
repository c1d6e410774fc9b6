"""Conda packages made by hand, in seconds and without conda: the same bytes at every call.

A package is told as the files that it brings to a prefix. Where a file says `PLACEHOLDER`, whoever installs it puts
the prefix, as conda-build arranges it: in a text as long as it comes, in a binary padded to the same length.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import posixpath
import re
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import zstandard

from support.packages import installed_files

PLACEHOLDER = ("/opt/placehold" + "_placehold" * 25)[:255]
"""The prefix that packages are made with; as long as conda-build's, so that most prefixes fit into a binary."""

_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Packed:
    """A file of a channel.

    :param about: its record, as the index of a channel repeats it.
    """

    filename: str
    subdir: str
    data: bytes
    about: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """The digest, in hex."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def md5(self) -> str:
        """The other digest, in hex."""
        return hashlib.md5(self.data).hexdigest()


def package(
    name: str,
    version: str,
    *,
    subdir: str,
    build: str = "0",
    depends: Iterable[str] = (),
    constrains: Iterable[str] = (),
    files: Mapping[str, str | bytes] | None = None,
    programs: Iterable[str] = (),
    links: Mapping[str, str] | None = None,
    noarch: str | None = None,
    entry_points: Mapping[str, str] | None = None,
    timestamp: str | None = None,
    archive: str = ".conda",
    listed: Iterable[Mapping[str, object]] = (),
    **more: object,
) -> Packed:
    """Make a package; by default it brings ``share/NAME.txt``, and a Python one the module and metadata of NAME.

    :param build: the build string; the number after its last ``_`` is the build number.
    :param programs: those of ``files`` that can be run, besides all below ``bin``.
    :param links: symbolic links, from the path to what it says.
    :param noarch: ``python`` or ``generic``; a Python one has its modules below ``site-packages``, and needs Python
        whether ``depends`` says so or not.
    :param entry_points: scripts of a Python package, ``name`` to ``module:function``.
    :param timestamp: when it was made, as ISO 8601 has it.
    :param archive: ``.conda``, or ``.tar.bz2`` as they were before.
    :param listed: what its list of files says besides, or instead, whether that is so or not.
    :param more: anything else that its record says.
    """
    if files is None:
        files = _default_files(name, version, build, noarch)
    inside = {path: content.encode() if isinstance(content, str) else content for path, content in files.items()}
    runnable = {*programs, *(path for path in inside if path.startswith("bin/"))}
    number = re.search(r"(?:^|_)(\d+)$", build)
    needs = list(depends)
    if noarch == "python" and not any(re.match(r"python\b(?!_)", each) for each in needs):
        needs.insert(0, "python")
    about: dict[str, object] = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": int(number[1]) if number else 0,
        "depends": needs,
        "constrains": list(constrains),
        "subdir": "noarch" if noarch else subdir,
        **({"noarch": noarch} if noarch else _platform(subdir)),
        **({"timestamp": int(_instant(timestamp).timestamp() * 1000)} if timestamp else {}),
        **more,
    }
    told = {
        "info/index.json": about,
        "info/paths.json": {"paths": _listed(inside, links or {}, listed), "paths_version": 1},
        "info/about.json": {"summary": f"{name}, made for a test"},
    }
    if noarch == "python":
        points = [f"{script} = {target}" for script, target in (entry_points or {}).items()]
        kind = {"type": "python", "entry_points": points}
        told["info/link.json"] = {"noarch": kind, "package_metadata_version": 1}
    info = {path: json.dumps(content, indent=1, sort_keys=True).encode() for path, content in told.items()}
    info["info/files"] = "".join(f"{path}\n" for path in sorted({*inside, *(links or {})})).encode()
    stem = f"{name}-{version}-{build}"
    pack = {".conda": _conda, ".tar.bz2": _tar_bz2}[archive]
    return Packed(f"{stem}{archive}", str(about["subdir"]), pack(stem, info, inside, links or {}, runnable), about)


def _default_files(name: str, version: str, build: str, noarch: str | None) -> dict[str, bytes]:
    if noarch == "python":
        return {f"site-packages/{path}": content for path, content in installed_files(name, version).items()}
    return {f"share/{name}.txt": f"{name} {version} {build}\n".encode()}


def _platform(subdir: str) -> dict[str, str]:
    system, _, machine = subdir.partition("-")
    return {"platform": system, "arch": {"64": "x86_64"}.get(machine, machine)}


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _paths(files: Mapping[str, bytes], links: Mapping[str, str]) -> list[dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for path, content in files.items():
        found[path] = {"_path": path, "path_type": "hardlink", **_measured(content)}
        if PLACEHOLDER.encode() in content:
            mode = "binary" if b"\0" in content else "text"
            found[path] |= {"prefix_placeholder": PLACEHOLDER, "file_mode": mode}
    for path, target in links.items():
        meant = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        while meant in links:
            meant = posixpath.normpath(posixpath.join(posixpath.dirname(meant), links[meant]))
        found[path] = {"_path": path, "path_type": "softlink", **_measured(files.get(meant, b""))}
    return [found[path] for path in sorted(found)]


def _listed(
    files: Mapping[str, bytes], links: Mapping[str, str], listed: Iterable[Mapping[str, object]]
) -> list[Mapping[str, object]]:
    told = list(listed)
    instead = {each["_path"] for each in told}
    return [*(each for each in _paths(files, links) if each["_path"] not in instead), *told]


def _measured(content: bytes) -> dict[str, object]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "size_in_bytes": len(content)}


def _conda(
    stem: str, info: Mapping[str, bytes], files: Mapping[str, bytes], links: Mapping[str, str], runnable: set[str]
) -> bytes:
    parts = {
        "metadata.json": b'{"conda_pkg_format_version": 2}',
        f"pkg-{stem}.tar.zst": zstandard.compress(_tar(files, links, runnable), 1),
        f"info-{stem}.tar.zst": zstandard.compress(_tar(info, {}, set()), 1),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as outer:
        for name, data in parts.items():
            outer.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    return buffer.getvalue()


def _tar_bz2(
    stem: str, info: Mapping[str, bytes], files: Mapping[str, bytes], links: Mapping[str, str], runnable: set[str]
) -> bytes:
    return bz2.compress(_tar({**info, **files}, links, runnable))


def _tar(files: Mapping[str, bytes], links: Mapping[str, str], runnable: set[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted({*files, *links}):
            entry = tarfile.TarInfo(path)
            if path in links:
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, links[path], 0o777
                archive.addfile(entry)
            else:
                entry.size, entry.mode = len(files[path]), 0o755 if path in runnable else 0o644
                archive.addfile(entry, io.BytesIO(files[path]))
    return buffer.getvalue()

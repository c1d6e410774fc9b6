"""Wheels and sdists as files: what in them is the builder's doing, made the same for all builders.

Where and when an archive was made shows in its times, permissions, owners, links and order. `settle_wheel` and
`settle_sdist` write it again without, and add files on the way. What the files hold is their caller's business.
"""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import os
import stat
import tarfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

EPOCH = 1580601600
"""The time of every file, unless ``SOURCE_DATE_EPOCH`` says another: hatchling's own."""

_ZIP_TIMES = (315532800, 4354819198)
"""The first and the last second that a zip can say."""

_CHUNK = 1 << 20


def epoch(variables: Mapping[str, str]) -> int:
    """The time that files are to have (https://reproducible-builds.org/specs/source-date-epoch/).

    >>> epoch({"SOURCE_DATE_EPOCH": "1700000000"}), epoch({}) == EPOCH
    (1700000000, True)
    """
    return int(variables.get("SOURCE_DATE_EPOCH") or EPOCH)


def settle_wheel(path: Path, added: Mapping[str, bytes], when: int | None) -> None:
    """Write a wheel again: the same on every machine, with ``added`` in it and a RECORD of all that is there.

    :param added: files by their path below the ``.dist-info`` folder; one that is there already is replaced.
    :param when: the time that files get; ``None`` leaves times, permissions and the order as they are.
    :raises ValueError: it is no wheel.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as new:
            info = dist_info(old)
            extra = {f"{info}/{name}": data for name, data in added.items()}
            record = f"{info}/RECORD"
            entries = [each for each in old.infolist() if each.filename not in {record, *extra} and not each.is_dir()]
            if when is not None:
                # What says of the wheel comes last, as the specification recommends.
                entries.sort(key=lambda each: (each.filename.startswith(f"{info}/"), each.filename))
            rows = [_copied(entry, old, new, when) for entry in entries]
            for name, data in sorted(extra.items()):
                rows.append(_written(new, name, data, when))
            _written(new, record, _record([*rows, (record, "", "")]), when)
        beside.chmod(0o644)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def dist_info(wheel: zipfile.ZipFile) -> str:
    """The name of a wheel's ``.dist-info`` folder.

    :raises ValueError: there is none, or more than one.
    """
    heads = {name.partition("/")[0] for name in wheel.namelist()}
    found = sorted(each for each in heads if each.endswith(".dist-info"))
    if len(found) != 1:
        raise ValueError(f"{len(found)} .dist-info folders where a wheel has one")
    return found[0]


def settle_sdist(path: Path, added: Mapping[str, bytes], when: int | None) -> None:
    """Write an sdist again: the same on every machine, with ``added`` in it.

    :param added: files by their path below the sdist's folder; one that is there already stays as it is.
    :param when: as in `settle_wheel`.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    folder = path.name.removesuffix(".tar.gz")
    try:
        with (
            tarfile.open(path, "r:gz") as old,
            beside.open("wb") as file,
            # A gzip header has room for a name and a time.
            gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed,
            tarfile.TarFile(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
        ):
            members = old.getmembers()
            there = {each.name for each in members}
            fresh = {name: data for each, data in added.items() if (name := f"{folder}/{each}") not in there}
            entries = [*members, *(_file(name, len(data), 0o644, when) for name, data in fresh.items())]
            if when is not None:
                entries.sort(key=lambda each: each.name)
            for entry in entries:
                if entry.name in fresh:
                    new.addfile(entry, io.BytesIO(fresh[entry.name]))
                else:
                    _pass_on(entry, old, new, when)
        beside.chmod(0o644)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _copied(
    entry: zipfile.ZipInfo, old: zipfile.ZipFile, new: zipfile.ZipFile, when: int | None
) -> tuple[str, str, str]:
    mode = entry.external_attr >> 16
    target = _entry(entry.filename, 0o755 if mode & 0o100 else 0o644, when)
    if when is None:
        target.date_time, target.external_attr = entry.date_time, entry.external_attr
    # By this the zip knows whether it needs the form for files beyond 4 GiB.
    target.file_size = entry.file_size
    hasher = hashlib.sha256()
    with old.open(entry) as source, new.open(target, "w") as destination:
        while chunk := source.read(_CHUNK):
            hasher.update(chunk)
            destination.write(chunk)
    return entry.filename, _in_record(hasher.digest()), str(entry.file_size)


def _written(new: zipfile.ZipFile, name: str, data: bytes, when: int | None) -> tuple[str, str, str]:
    new.writestr(_entry(name, 0o644, when), data)
    return name, _in_record(hashlib.sha256(data).digest()), str(len(data))


def _entry(name: str, mode: int, when: int | None) -> zipfile.ZipInfo:
    first, last = _ZIP_TIMES
    year, month, day, hour, minute, second, *_ = time.gmtime(min(max(EPOCH if when is None else when, first), last))
    made = zipfile.ZipInfo(name, (year, month, day, hour, minute, second))
    made.compress_type = zipfile.ZIP_DEFLATED
    made.create_system = 3
    made.external_attr = (stat.S_IFREG | mode) << 16
    return made


def _in_record(digest: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _record(rows: list[tuple[str, str, str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _file(name: str, size: int, mode: int, when: int | None) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size, made.mode, made.mtime = size, mode, EPOCH if when is None else when
    return made


def _pass_on(member: tarfile.TarInfo, old: tarfile.TarFile, new: tarfile.TarFile, when: int | None) -> None:
    if when is None:
        new.addfile(member, old.extractfile(member) if member.isreg() else None)
        return
    if member.issym():
        made = _file(member.name, 0, 0o777, when)
        made.type, made.linkname = tarfile.SYMTYPE, member.linkname
        new.addfile(made)
        return
    # Of two hard links the second has no content of its own; which files are such is a matter of this machine.
    content: IO[bytes] | None = old.extractfile(member)
    if content is not None:
        size = content.seek(0, os.SEEK_END)
        content.seek(0)
        new.addfile(_file(member.name, size, 0o755 if member.mode & 0o100 else 0o644, when), content)

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
import posixpath
import re
import stat
import tarfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from envbuild.errors import EnvbuildError

EPOCH = 1580601600
"""The time of every file, unless ``SOURCE_DATE_EPOCH`` says another: hatchling's own."""

_ZIP_TIMES = (315532800, 4354819198)
"""The first and the last second that a zip can say."""

_LATEST = (1 << 32) - 1
"""The last second that the header of a gzip can say."""

_SECONDS = re.compile(r"[0-9]{1,10}")

_CHUNK = 1 << 20


def epoch(variables: Mapping[str, str]) -> int:
    """The time that files are to have (https://reproducible-builds.org/specs/source-date-epoch/).

    >>> epoch({"SOURCE_DATE_EPOCH": "1700000000"}), epoch({}) == EPOCH
    (1700000000, True)

    :raises EnvbuildError: it is no time that both a wheel and an sdist can say.
    """
    asked = variables.get("SOURCE_DATE_EPOCH")
    if asked is None:
        return EPOCH
    if not _SECONDS.fullmatch(asked) or int(asked) > _LATEST:
        raise EnvbuildError(
            f"SOURCE_DATE_EPOCH is {asked!r}, and not a number of seconds since 1970, up to {_LATEST} (in 2106)",
            hint="'git log -1 --format=%ct' says one, and without the variable it is 2020-02-02",
        )
    return int(asked)


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


def metadata(path: Path) -> bytes:
    """The ``METADATA`` of a wheel.

    :raises ValueError: it is no wheel.
    """
    with zipfile.ZipFile(path) as wheel:
        return wheel.read(f"{dist_info(wheel)}/METADATA")


def settle_sdist(path: Path, added: Mapping[str, bytes], when: int | None, source: Path) -> None:
    """Write an sdist again: the same on every machine, with ``added`` in it.

    :param added: files by their path below the sdist's folder; one that is there already is replaced, as it may be a
        link that leads to nothing wherever the sdist is unpacked.
    :param when: as in `settle_wheel`.
    :param source: the folder that it was made of. A link to a file that the sdist does not have, such as one outside
        of that folder, becomes that file: installers refuse the one, and no wheel can be built with the other.
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
            fresh = {file.name: (file, data) for file, data in _behind_links(members, source, when)}
            for name, data in added.items():
                made = _file(f"{folder}/{name}", len(data), 0o644, when)
                fresh[made.name] = made, data
            entries = [each for each in members if each.name not in fresh] + [file for file, _ in fresh.values()]
            if when is not None:
                entries.sort(key=lambda each: each.name)
            for entry in entries:
                if entry.name in fresh:
                    new.addfile(entry, io.BytesIO(fresh[entry.name][1]))
                else:
                    _pass_on(entry, old, new, when)
        beside.chmod(0o644)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _behind_links(
    members: Iterable[tarfile.TarInfo], source: Path, when: int | None
) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """The files that links lead to, each under the name of its link, where the sdist does not have them."""
    there = {each.name for each in members}
    for each in members:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(each.name), each.linkname))
        link = source / each.name.partition("/")[2]
        # What was put into the sdist under another name than its own has another place, which nothing here tells.
        is_it = each.issym() and link.is_symlink() and os.readlink(link) == each.linkname  # noqa: PTH115
        if is_it and target not in there and link.is_file():
            data = link.read_bytes()
            yield _file(each.name, len(data), 0o755 if link.stat().st_mode & 0o100 else 0o644, when), data


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

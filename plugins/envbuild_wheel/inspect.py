"""Inspecting: whether a file is the wheel that it claims to be, before anything is installed from it (PEP 427)."""

from __future__ import annotations

import zipfile
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from envbuild import Damaged, Digest, NotFound, Store, WheelRef

_LARGEST_METADATA = 16 * 2**20


def keep(wheel: WheelRef, root: Path | None, store: Store) -> None:
    """See to it that the store holds the wheel.

    :raises NotFound: neither the store nor the definition's folder has it.
    :raises Damaged: the file there has other bytes than it had, or is no wheel.
    """
    if wheel.digest in store:
        return
    if wheel.path is None:
        raise NotFound(
            f"this workspace does not have the private wheel {wheel.filename} ({wheel.digest})",
            hint=f"add it: envbuild wheels add path/to/{wheel.filename}",
        )
    path = (root or Path.cwd()) / wheel.path
    if not path.is_file():
        raise NotFound(f"no such file: {path}", hint="the definition names it as a private wheel")
    check(path)
    store.put_file(path, expected=wheel.digest)


def check(path: Path) -> WheelRef:
    """Look into a wheel.

    :returns: its name.
    :raises Damaged: it is no zip file, not complete, its metadata is another package's, or a file of it would be
        written outside of the environment.
    """
    try:
        name, version, _, _ = parse_wheel_filename(path.name)
        with zipfile.ZipFile(path) as archive:
            _check_names(path, archive)
            broken = archive.testzip()
            if broken:
                raise Damaged(f"{path.name} is damaged: {broken} in it does not have its checksum")
            _check_metadata(path, archive, name, version)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise Damaged(f"{path.name} is not a wheel that can be read: {error}", hint="build or copy it again") from error
    with path.open("rb") as stream:
        return WheelRef(path.name, Digest.of_stream(stream), path=str(path))


def _check_names(path: Path, archive: zipfile.ZipFile) -> None:
    for entry in archive.namelist():
        parts = PurePosixPath(entry.replace("\\", "/")).parts
        if entry.startswith(("/", "\\")) or ".." in parts or (parts and ":" in parts[0]):
            raise Damaged(
                f"{path.name} would write outside of the environment: {entry!r}",
                hint="do not install it; ask whoever made it",
            )


def _check_metadata(path: Path, archive: zipfile.ZipFile, name: str, version: Version) -> None:
    folders = {entry.split("/")[0] for entry in archive.namelist() if entry.split("/")[0].endswith(".dist-info")}
    if len(folders) != 1:
        raise Damaged(f"{path.name} is not a wheel: it has {len(folders)} .dist-info folders, and not one")
    folder = folders.pop()
    for needed in ("METADATA", "WHEEL", "RECORD"):
        if f"{folder}/{needed}" not in archive.namelist():
            raise Damaged(f"{path.name} is not a wheel: {folder}/{needed} is missing")
    info = archive.getinfo(f"{folder}/METADATA")
    if info.file_size > _LARGEST_METADATA:
        raise Damaged(f"{path.name}: its METADATA claims {info.file_size} bytes")
    told = HeaderParser().parsestr(archive.read(info).decode("utf-8", "replace"))
    try:
        same = canonicalize_name(told["Name"] or "") == name and Version(told["Version"] or "") == version
    except InvalidVersion:
        same = False
    if not same:
        raise Damaged(f"{path.name} is named as another package than it is: {told['Name']} {told['Version']}")

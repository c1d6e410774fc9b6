"""Seals: what a prefix was when it was published, so that it can be told later whether it still is.

Installers leave a ``RECORD`` of each package: the path, the hash and the size of each file they put there. A seal
takes their word for those and reads only the rest (the records themselves, ``pyvenv.cfg``, activation scripts), so
that sealing thousands of files takes milliseconds. `compare` then reads everything. What is left behind while an
environment is used (``__pycache__``, ``*.pyc``, an installer's ``.lock``) belongs to no seal.

Nothing is opened but what a walk through the prefix has come upon, and no walk follows a symbolic link: a record
cannot make envbuild read, or mend, a file elsewhere.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from envbuild.digest import Digest
from envbuild.errors import BuildFailed
from envbuild.store import Damage, in_threads

_RECORD = re.compile(r"[^/]+/[^/]+/site-packages/[^/]+\.dist-info/RECORD")
_SCHEME = 1
_BATCH = 64
_ENCODED_LENGTH = 43


class Sealed(NamedTuple):
    """What one path was.

    :param kind: how ``value`` says it: ``sha256`` (as records write it: URL-safe base 64 without padding) of a
        file, the target of a symbolic ``link``, or nothing of what is ``special`` (a socket, a device).
    :param size: of a file, where it is known.
    """

    kind: str
    value: str
    size: int | None = None


Seal = Mapping[str, Sealed]
"""What there was, by path relative to the prefix, with ``/`` between its parts."""


def seal(prefix: Path) -> Seal:
    """Seal ``prefix`` as it is now.

    :raises BuildFailed: the record of a package names files outside the prefix.
    """
    found = {path: _kind(entry) for path, entry in _walk(prefix)}
    recorded = _recorded(prefix, (path for path in found if _RECORD.fullmatch(path)))
    return {path: _seal_one(prefix, path, kind, recorded.get(path, ())) for path, kind in sorted(found.items())}


def compare(prefix: Path, sealed: Seal) -> tuple[Damage, ...]:
    """Read ``prefix``, and name all in which it is not what was sealed, in the order of the paths."""
    found = dict(_walk(prefix))
    missing = [Damage("missing", path) for path in sealed.keys() - found.keys()]
    unexpected = [Damage("unexpected", path) for path in found.keys() - sealed.keys()]
    common = sorted(found.keys() & sealed.keys())
    batches = [common[start : start + _BATCH] for start in range(0, len(common), _BATCH)]

    def edited(paths: list[str]) -> list[Damage]:
        return [damage for path in paths if (damage := check(prefix, path, sealed[path])) is not None]

    changed = [damage for batch in in_threads(edited, batches) for damage in batch]
    return tuple(sorted((*missing, *unexpected, *changed), key=lambda damage: (damage.path, damage.what)))


def check(prefix: Path, path: str, sealed: Sealed) -> Damage | None:
    """Say what is wrong with one path, without looking at the folders on the way to it."""
    place = os.path.join(prefix, path)  # noqa: PTH118  thousands of times
    try:
        same = _same_file(place, sealed) if sealed.kind == "sha256" else _seal_special(place) == sealed
    except FileNotFoundError:
        return Damage("missing", path)
    except OSError:
        return Damage("unreadable", path)
    return None if same else Damage("edited", path)


def tree_digest(prefix: Path) -> Digest:
    """Digest what is really on disk: each path, what it is, whether it can be executed, and its content.

    A folder counts only through what is in it, a symbolic link as the target that it names; owners, times and
    other permissions do not count, nor does what no seal covers.
    """
    walked = sorted((os.fsencode(path), path) for path, _ in _walk(prefix))
    hasher = hashlib.sha256(b"envbuild tree 1\n")
    for (encoded, _), (kind, content) in zip(walked, _contents(prefix, [path for _, path in walked]), strict=True):
        for part in (kind, encoded, content):
            # Each part says how long it is, so that no two trees are written alike.
            hasher.update(b"%d:" % len(part) + part)
    return Digest(hasher.hexdigest())


def to_json(sealed: Seal) -> bytes:
    """Write a seal.

    >>> sealed = {"bin/python": Sealed("link", "/usr/bin/python3")}
    >>> from_json(to_json(sealed)) == sealed
    True
    """
    return json.dumps({"scheme": _SCHEME, "paths": sealed}, separators=(",", ":")).encode("ascii")


def from_json(data: bytes) -> Seal:
    """Read what `to_json` has written.

    :raises ValueError: it has not.
    """
    document = json.loads(data)
    if not isinstance(document, dict) or document.get("scheme") != _SCHEME:
        raise ValueError("not a seal of this version of envbuild")
    return {path: Sealed(*sealed) for path, sealed in document["paths"].items()}


# Walking


def _walk(prefix: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Go through all that is not a folder, as deep as folders themselves (not links to them) lead."""
    waiting = [("", str(prefix))]
    while waiting:
        before, folder = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    if name != "__pycache__":
                        waiting.append((f"{before}{name}/", entry.path))
                elif not name.endswith(".pyc") and (before or name != ".lock"):
                    yield before + name, entry


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "link"
    return "sha256" if entry.is_file(follow_symlinks=False) else "special"


def _seal_one(prefix: Path, path: str, kind: str, recorded: Sequence[Sealed]) -> Sealed:
    if kind != "sha256":
        return _seal_special(f"{prefix}/{path}")
    # Where two packages claim one file, only the file can tell whose it is.
    return recorded[0] if len(recorded) == 1 else _seal_file(f"{prefix}/{path}")


def _seal_file(place: str) -> Sealed:
    with open(place, "rb", opener=_open_no_link) as stream:
        digest = hashlib.file_digest(stream, "sha256").digest()
        return Sealed("sha256", _encoded(digest), stream.tell())


def _seal_special(place: str) -> Sealed:
    if stat.S_ISLNK(os.lstat(place).st_mode):
        return Sealed("link", os.readlink(place))  # noqa: PTH115  see check
    return Sealed("special", "")


def _same_file(place: str, sealed: Sealed) -> bool:
    found = os.lstat(place)
    if not stat.S_ISREG(found.st_mode) or sealed.size not in (None, found.st_size):
        return False
    return _seal_file(place).value == sealed.value


def _open_no_link(place: str, flags: int) -> int:
    return os.open(place, flags | os.O_NOFOLLOW)


def _contents(prefix: Path, paths: list[str]) -> Iterator[tuple[bytes, bytes]]:
    def several(batch: list[str]) -> list[tuple[bytes, bytes]]:
        return [_content(f"{prefix}/{path}") for path in batch]

    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    for batch in in_threads(several, batches):
        yield from batch


def _content(place: str) -> tuple[bytes, bytes]:
    mode = os.lstat(place).st_mode
    if not stat.S_ISREG(mode):
        special = _seal_special(place)
        return special.kind.encode(), os.fsencode(special.value)
    return b"program" if mode & stat.S_IXUSR else b"file", _seal_file(place).value.encode()


# Records


def _recorded(prefix: Path, records: Iterable[str]) -> dict[str, list[Sealed]]:
    """Read what the records say, by path; rows that give no SHA-256 say nothing."""
    found: dict[str, list[Sealed]] = {}
    for record in records:
        base = record.rsplit("/", 2)[0]
        for name, claim, size in _rows((prefix / record).read_bytes()):
            path = f"{base}/{name}"
            if "./" in name or "//" in name or name.startswith("/"):
                path = _inside(prefix, base, name, record)
            algorithm, _, value = claim.rstrip("=").partition("=")
            if algorithm == "sha256" and len(value) == _ENCODED_LENGTH:
                one = Sealed("sha256", value, int(size) if size.isdecimal() else None)
                found.setdefault(path, []).append(one)
    return found


def _rows(record: bytes) -> Iterator[list[str]]:
    import csv

    # File names need not be UTF-8; this is how Python spells those that are not.
    text = io.StringIO(record.decode("utf-8", "surrogateescape"), newline="")
    with suppress(csv.Error):  # from there on it says nothing
        yield from (row for row in csv.reader(text) if len(row) == 3)


def _inside(prefix: Path, base: str, name: str, record: str) -> str:
    # An absolute path may name a file of the prefix, and is then as good as the relative one.
    path = os.path.relpath(os.path.normpath(prefix / base / name), prefix)
    if path == ".." or path.startswith("../"):
        raise BuildFailed(
            f"{record} says that {name!r} belongs to its package, and that is outside the environment",
            hint="do not install this package: nothing outside an environment is its own",
        )
    return path


def _encoded(digest: bytes) -> str:
    import base64

    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")

"""Seals: what a prefix was when it was published, so that it can be told later whether it still is.

Installers leave a record of each package: the path, the hash and the size of each file they put there. pip and its
like write it as ``RECORD``, conda and its like into ``conda-meta``; where a package of conda's brings a ``RECORD`` too,
that was written before its files were changed for their place, and counts for nothing. A seal takes their word for
those, and holds no more than what the records themselves are and what no record vouches for
(``pyvenv.cfg``, activation scripts), so that sealing thousands of files takes milliseconds. `expect` spells it out,
from records that are still what was sealed, and `compare` then reads everything. What is left behind while an
environment is used (``__pycache__``, ``*.pyc``, an installer's ``.lock``) belongs to no seal.

Nothing is opened but what lies in the prefix itself, and no symbolic link is followed to it: a record cannot make
envbuild read, or mend, a file elsewhere.
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
from itertools import compress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from envbuild.digest import Digest
from envbuild.errors import BuildFailed
from envbuild.store import Damage, in_threads

_RECORD = re.compile(r"[^/]+/[^/]+/site-packages/[^/]+\.dist-info/RECORD")
_META = re.compile(r"conda-meta/[^/]+\.json")
_VALUE = "[A-Za-z0-9_-]{43}"
_SIZE = "[0-9]{0,18}"
_END_OF_ROW = re.compile(rf",sha256=({_VALUE})=*,({_SIZE})\r?\n")
_CLAIM = re.compile(f"sha256=({_VALUE})=*")
_SCHEME = 2
_BATCH = 64


class Sealed(NamedTuple):
    """What one path was.

    :param kind: how ``value`` says it: ``sha256`` (as records write it: URL-safe base 64 without padding) of a
        file, the target of a symbolic ``link``, or nothing of what is ``special`` (a socket, a device).
    :param size: of a file, where it is known.
    """

    kind: str
    value: str
    size: int | None = None


class Seal(NamedTuple):
    """What a prefix was, in as few words as possible. Paths are relative to it, with ``/`` between their parts.

    :param records: the records of its packages.
    :param others: what is not a file for which exactly one record vouches.
    :param absent: what records vouch for, and was not there.
    """

    records: Mapping[str, Sealed]
    others: Mapping[str, Sealed]
    absent: Sequence[str]


class Expected(NamedTuple):
    """What there should be in a prefix.

    :param paths: all that can be told, by path.
    :param whole: that is all; not so where a record is lost, and with it what belongs to its package.
    """

    paths: Mapping[str, Sealed]
    whole: bool


def seal(prefix: Path) -> Seal:
    """Seal ``prefix`` as it is now.

    :raises BuildFailed: the record of a package names files outside the prefix.
    """
    files, others = _walk(prefix)
    records: dict[str, Sealed] = {}
    claimed: list[str] = []
    metas = sorted(path for path in files if path.startswith("conda-meta/") and _META.fullmatch(path))
    own = sorted(path for path in files if path.endswith("/RECORD") and _RECORD.fullmatch(path))
    for kind in (metas, own):
        # What conda has to say of a RECORD is said by the time that those are read.
        conda_has = set(claimed)
        for path in kind:
            if path not in conda_has:
                content = _read(f"{prefix}/{path}")
                records[path] = _seal_bytes(content)
                rows = _rows(path, content)
                _refuse_outside(prefix, path, rows.others)
                claimed += rows.paths
    vouched = set(claimed)
    # Where two packages claim one file, only the file can tell whose it is.
    disputed = _repeated(claimed) if len(vouched) < len(claimed) else set()
    unvouched = (files - vouched) | (files & disputed) | others
    return Seal(
        records=records,
        others={path: _seal_one(f"{prefix}/{path}") for path in sorted(unvouched - records.keys())},
        absent=sorted(vouched - files - others),
    )


def expect(sealed: Seal, *prefixes: Path) -> Expected:
    """Say what there should be; each record is taken from the first of ``prefixes`` in which it is what was sealed."""
    paths: dict[str, Sealed] = {}
    whole = True
    for path, record in sealed.records.items():
        contents = (_intact(prefix, path, record) for prefix in prefixes)
        content = next((content for content in contents if content is not None), None)
        if content is None:
            whole = False
            continue
        rows = _rows(path, content)
        for vouched, value, size in zip(rows.paths, rows.values, rows.sizes, strict=True):
            paths[vouched] = Sealed("sha256", value, int(size) if size else None)
    for path in sealed.absent:
        paths.pop(path, None)
    return Expected({**paths, **sealed.others, **sealed.records}, whole)


def compare(prefix: Path, expected: Expected) -> tuple[Damage, ...]:
    """Read ``prefix``, and name all in which it is not what is expected, in the order of the paths."""
    paths = expected.paths
    found = set().union(*_walk(prefix))
    unexpected = found - paths.keys()
    if not expected.whole:
        # Any of these may belong to the package whose record is lost, except what stands where a folder was.
        unexpected &= {str(folder) for path in paths for folder in PurePosixPath(path).parents}
    damages = [Damage("unexpected", path) for path in unexpected]
    damages += [Damage("missing", path) for path in paths.keys() - found]
    common = sorted(found & paths.keys())
    batches = [common[start : start + _BATCH] for start in range(0, len(common), _BATCH)]

    def edited(batch: list[str]) -> list[Damage]:
        return [damage for path in batch if (damage := check(prefix, path, paths[path])) is not None]

    damages += [damage for batch in in_threads(edited, batches) for damage in batch]
    return tuple(sorted(damages, key=lambda damage: (damage.path, damage.what)))


def check(prefix: Path, path: str, sealed: Sealed) -> Damage | None:
    """Say what is wrong with one path, without looking at the folders on the way to it."""
    place = os.path.join(prefix, path)  # noqa: PTH118  thousands of times
    try:
        same = _is(place, sealed)
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
    walked = sorted((os.fsencode(path), path) for paths in _walk(prefix) for path in paths)
    hasher = hashlib.sha256(b"envbuild tree 1\n")
    for (encoded, _), (kind, content) in zip(walked, _contents(prefix, [path for _, path in walked]), strict=True):
        for part in (kind, encoded, content):
            # Each part says how long it is, so that no two trees are written alike.
            hasher.update(b"%d:" % len(part) + part)
    return Digest(hasher.hexdigest())


def to_json(sealed: Seal) -> bytes:
    """Write a seal.

    >>> sealed = Seal({}, {"bin/python": Sealed("link", "/usr/bin/python3")}, [])
    >>> from_json(to_json(sealed)) == sealed
    True
    """
    return json.dumps({"scheme": _SCHEME, **sealed._asdict()}, separators=(",", ":")).encode("ascii")


def from_json(data: bytes) -> Seal:
    """Read what `to_json` has written.

    :raises ValueError: it has not.
    """
    document = json.loads(data)
    if not isinstance(document, dict) or document.get("scheme") != _SCHEME:
        raise ValueError("not a seal of this version of envbuild")
    records, others = (
        {path: Sealed(*sealed) for path, sealed in document[part].items()} for part in ("records", "others")
    )
    return Seal(records, others, document["absent"])


# Walking


def _walk(prefix: Path) -> tuple[set[str], set[str]]:
    """Give the files, and what is neither a file nor a folder, as deep as folders themselves (no links) lead."""
    files: list[str] = []
    others: list[str] = []
    waiting = [("", str(prefix))]
    for before, folder in waiting:
        with os.scandir(folder) as entries:
            for entry in entries:
                # Files first, since most are: this loop is a good half of what sealing takes.
                if entry.is_file(follow_symlinks=False):
                    files.append(before + entry.name)
                elif not entry.is_dir(follow_symlinks=False):
                    others.append(before + entry.name)
                elif entry.name != "__pycache__":
                    waiting.append((f"{before}{entry.name}/", entry.path))
    return _lasting(files), _lasting(others)


def _lasting(paths: list[str]) -> set[str]:
    return {path for path in paths if not path.endswith(".pyc")} - {".lock"}


def _seal_one(place: str) -> Sealed:
    mode = os.lstat(place).st_mode
    if stat.S_ISREG(mode):
        return _seal_file(place)
    return Sealed("link", os.readlink(place)) if stat.S_ISLNK(mode) else Sealed("special", "")  # noqa: PTH115  see check


def _seal_file(place: str) -> Sealed:
    with open(place, "rb", opener=_open_no_link) as stream:
        digest = hashlib.file_digest(stream, "sha256").digest()
        return Sealed("sha256", _encoded(digest), stream.tell())


def _seal_bytes(content: bytes) -> Sealed:
    return Sealed("sha256", _encoded(hashlib.sha256(content).digest()), len(content))


def _is(place: str, sealed: Sealed) -> bool:
    found = os.lstat(place)
    if stat.S_ISREG(found.st_mode) and sealed.size not in (None, found.st_size):
        return False  # and need not be read
    one = _seal_one(place)
    return (one.kind, one.value) == (sealed.kind, sealed.value)


def _read(place: str) -> bytes:
    with open(place, "rb", opener=_open_no_link) as stream:
        return stream.read()


def _open_no_link(place: str, flags: int) -> int:
    return os.open(place, flags | os.O_NOFOLLOW)


def _contents(prefix: Path, paths: list[str]) -> Iterator[tuple[bytes, bytes]]:
    def several(batch: list[str]) -> list[tuple[bytes, bytes]]:
        return [_content(f"{prefix}/{path}") for path in batch]

    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    for batch in in_threads(several, batches):
        yield from batch


def _content(place: str) -> tuple[bytes, bytes]:
    mode, sealed = os.lstat(place).st_mode, _seal_one(place)
    if sealed.kind != "sha256":
        return sealed.kind.encode(), os.fsencode(sealed.value)
    return b"program" if mode & stat.S_IXUSR else b"file", sealed.value.encode()


# Records


class _Rows(NamedTuple):
    """What a record says: of the files that it vouches for in columns, as that takes no object for each.

    :param paths: from the prefix on.
    :param others: the names for which it does not vouch, as they are written.
    """

    paths: list[str]
    values: list[str]
    sizes: list[str]
    others: list[str]


def _rows(path: str, record: bytes) -> _Rows:
    if path.startswith("conda-meta/"):
        return _meta_rows(path, record)
    base = path.rsplit("/", 2)[0]
    # File names need not be UTF-8; this is how Python spells those that are not.
    parts = _END_OF_ROW.split(record.decode("utf-8", "surrogateescape"))
    names, values, sizes = parts[:-1:3], parts[1::3], parts[2::3]
    # To read each row as CSV would take longer than all else, and most are what they seem.
    plain = [
        not ("\n" in name or '"' in name or "," in name or "./" in name or "//" in name) and name[:1] != "/"
        for name in names
    ]
    odd = [row for row, simple in enumerate(plain) if not simple]
    rest = "".join(f"{names[row]},sha256={values[row]},{sizes[row]}\n" for row in odd) + parts[-1]
    names, values, sizes = (list(compress(column, plain)) for column in (names, values, sizes))
    found = _Rows([f"{base}/{name}" for name in names], values, sizes, [])
    for name, claim, size in _csv(rest):
        given = _CLAIM.fullmatch(claim)
        # What an absolute path names is elsewhere as soon as the prefix is moved to its place.
        if given is None or name.startswith("/"):
            found.others.append(name)
        else:
            found.paths.append(_inside(path, name))
            found.values.append(given[1])
            found.sizes.append(size if re.fullmatch(_SIZE, size) else "")
    return found


def _meta_rows(path: str, record: bytes) -> _Rows:
    found = _Rows([], [], [], [])
    # What is not as conda writes it vouches for nothing.
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        for entry in json.loads(record)["paths_data"]["paths"]:
            digest = entry.get("sha256_in_prefix") or entry.get("sha256")
            if digest and entry.get("path_type") != "softlink":
                value, name = _encoded(bytes.fromhex(digest)), _inside(path, f"../{entry['_path']}")
                # The size is that of before the prefix was put in.
                size = "" if "prefix_placeholder" in entry else str(entry.get("size_in_bytes", ""))
                found.paths.append(name)
                found.values.append(value)
                found.sizes.append(size)
    return found


def _csv(text: str) -> Iterator[list[str]]:
    import csv

    with suppress(csv.Error):  # from there on it says nothing
        yield from (row for row in csv.reader(io.StringIO(text, newline="")) if len(row) == 3)


def _inside(record: str, name: str) -> str:
    """Say from the prefix on what ``record`` says from the folder on that its package is in."""
    path = f"{record.rsplit('/', 2)[0]}/{name}"
    if "./" in path or "//" in path:
        path = os.path.normpath(path)
    if path == ".." or path.startswith("../"):
        raise _leads_outside(record, name)
    return path


def _refuse_outside(prefix: Path, record: str, names: Iterable[str]) -> None:
    # An absolute path may name a file of the prefix, and that is no offence.
    inside = f"{os.path.abspath(prefix)}/"  # noqa: PTH100  as normpath is, and Path.absolute is not
    for name in names:
        if not name.startswith("/"):
            _inside(record, name)
        elif not os.path.normpath(name).startswith(inside):
            raise _leads_outside(record, name)


def _leads_outside(record: str, name: str) -> BuildFailed:
    return BuildFailed(
        f"{record} says that {name!r} belongs to its package, and that is outside the environment",
        hint="do not install this package: nothing outside an environment is its own",
    )


def _intact(prefix: Path, path: str, sealed: Sealed) -> bytes | None:
    """Give the content of a record, if it is in ``prefix`` and still what was sealed."""
    place = f"{os.path.realpath(prefix)}/{path}"
    # A link on the way to it leads somewhere else.
    if os.path.realpath(place) != place or not os.path.isfile(place):  # noqa: PTH113
        return None
    with suppress(OSError):
        content = _read(place)
        return content if _seal_bytes(content) == sealed else None
    return None


def _repeated(paths: list[str]) -> set[str]:
    from collections import Counter

    return {path for path, times in Counter(paths).items() if times > 1}


def _encoded(digest: bytes) -> str:
    import base64

    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")

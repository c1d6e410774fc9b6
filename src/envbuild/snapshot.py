"""Snapshots: the source of a run, as it was when the run was asked for.

Which files belong to it is said by the first of `IGNORE_FILES` that the source folder has, in gitignore's
language (with ``.gitignore`` those of folders below count too, as git has it), and by `NEVER`. Files are kept in
the store one by one, under their digests; the snapshot itself is a list of them, and its digest names it.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pathspec

from envbuild.digest import Digest
from envbuild.errors import Damaged, EnvbuildError, NotFound, Refused, StoreError
from envbuild.layout import LOGS, OUTPUTS
from envbuild.store import Store

IGNORE_FILES = (".envbuildignore", ".amlignore", ".gitignore")
"""The first of these that the source folder has is used, and no other."""

NEVER = (".git/", ".hg/", ".svn/", "__pycache__/", "*.py[co]", ".DS_Store", f"/{OUTPUTS}", f"/{LOGS}")
"""What no snapshot holds; ``outputs`` and ``logs`` are what a run makes."""

_NEVER = pathspec.GitIgnoreSpec.from_lines(NEVER)

DEFAULTS = (
    ".venv/", "venv/", ".tox/", ".nox/", "node_modules/", ".mypy_cache/", ".pytest_cache/", ".ruff_cache/",
    ".hypothesis/", ".ipynb_checkpoints/", "*.egg-info/", ".eggs/", ".idea/", ".vscode/",
)  # fmt: skip
"""What is left out besides where the source folder says nothing."""

_LEAVE_OUT = "mend that, or name what a run does not need in .envbuildignore"
_LONG_AGO = 315532800 * 10**9  # 1980, before which zip knows no time

LARGE = 50 * 2**20
"""From this size in bytes on, people are told which files make a snapshot large."""

LIMIT = 2**30
"""A larger snapshot, in bytes, is refused, unless ``ENVBUILD_SNAPSHOT_LIMIT`` says otherwise."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a source folder, with what `os.lstat` said when it was found.

    A link that leads out of the folder by a relative path is taken for the file that it leads to.
    """

    path: str
    stat: os.stat_result

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link; links are kept as links, and never followed."""
        return stat.S_ISLNK(self.stat.st_mode)

    @property
    def is_executable(self) -> bool:
        """Whether its owner may execute it."""
        return bool(self.stat.st_mode & stat.S_IXUSR)


@dataclass(frozen=True, slots=True)
class Source:
    """What a source folder holds: its files, and the folders that were looked into to find them."""

    root: Path
    files: tuple[SourceFile, ...]
    folders: tuple[SourceFile, ...]
    looked_at: int
    """In nanoseconds since 1970; before the first look at anything."""

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(each.stat.st_size for each in self.files)

    def largest(self, count: int = 5) -> tuple[SourceFile, ...]:
        """The files that make it large."""
        return tuple(sorted(self.files, key=lambda each: each.stat.st_size, reverse=True)[:count])


def look(root: Path, without: Path | None = None) -> Source:
    """Find the files of a source folder.

    :param without: a folder that is no part of it, wherever it lies: the workspace, which grows while it is looked at.
    :raises NotFound: there is no such folder.
    :raises EnvbuildError: a folder in it cannot be read, or its ignore file is not one.
    """
    if not root.is_dir():
        raise NotFound(f"no such folder: {root}")
    ignore = next((name for name in IGNORE_FILES if (root / name).is_file()), None)
    rules = [("", _rules(root / ignore) if ignore else pathspec.GitIgnoreSpec.from_lines(DEFAULTS))]
    files: list[SourceFile] = []
    folders: list[SourceFile] = []
    looked_at = time.time_ns()
    try:
        skipped = os.path.relpath(os.path.realpath(without), os.path.realpath(root)) + "/" if without else None
        _look_into(root, "", rules, files, folders, nested=ignore == ".gitignore", skipped=skipped)
    except RecursionError as error:
        raise EnvbuildError(f"{root} has folders in folders, deeper than anybody can go", hint=_LEAVE_OUT) from error
    except OSError as error:
        raise EnvbuildError(f"cannot read {error.filename or root}: {error.strerror}", hint=_LEAVE_OUT) from error
    return Source(root, tuple(sorted(files, key=lambda each: each.path)), tuple(folders), looked_at)


def _look_into(
    root: Path,
    below: str,
    rules: list[tuple[str, pathspec.GitIgnoreSpec]],
    files: list[SourceFile],
    folders: list[SourceFile],
    *,
    nested: bool,
    skipped: str | None,
) -> None:
    if below == skipped:
        return
    here = root / below
    folders.append(SourceFile(below, here.stat()))
    own = here / ".gitignore"
    if nested and below and own.is_file():
        rules = [*rules, (below, _rules(own))]
    try:
        with os.scandir(here) as entries:
            found = sorted(entries, key=lambda each: each.name)
    except PermissionError as error:
        raise EnvbuildError(f"cannot read {here}: permission denied", hint=_LEAVE_OUT) from error
    for entry in found:
        path = below + entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if _ignored(path + "/" if is_folder else path, rules):
            continue
        if is_folder:
            # A virtual environment is never source, whatever it is called.
            if not os.path.lexists(os.path.join(entry.path, "pyvenv.cfg")):  # noqa: PTH118
                _look_into(root, path + "/", rules, files, folders, nested=nested, skipped=skipped)
        elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
            with suppress(FileNotFoundError):  # gone since the folder was read
                files.append(SourceFile(path, entry.stat(follow_symlinks=_leads_astray(entry, root))))


def _leads_astray(entry: os.DirEntry[str], root: Path) -> bool:
    """Whether a link is a way to a file that a copy of it would not lead to: that file is taken in its place."""
    if not entry.is_symlink() or os.readlink(entry.path).startswith("/"):  # noqa: PTH115
        return False
    target = os.path.realpath(entry.path)
    return os.path.isfile(target) and not target.startswith(os.path.realpath(root) + os.sep)  # noqa: PTH113


def _ignored(path: str, rules: list[tuple[str, pathspec.GitIgnoreSpec]]) -> bool:
    """The deepest file that says anything about ``path`` decides, as git has it, but for what is never taken."""
    if _NEVER.match_file(path):
        return True
    for below, spec in reversed(rules):
        verdict = spec.check_file(path.removeprefix(below)).include
        if verdict is not None:
            return bool(verdict)
    return False


def _rules(file: Path) -> pathspec.GitIgnoreSpec:
    try:
        lines = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        return pathspec.GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise EnvbuildError(
            f"{file} cannot be understood: {error}", hint="gitignore(5) says what may stand there"
        ) from error


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of a source folder by digest.

    :param files: by path, with ``/``: ``{"sha256", "size", "executable"}``, or ``{"link"}`` for a symbolic link.
    """

    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def encoded(self) -> bytes:
        """The list as it is kept; its digest is the snapshot's. ASCII, so that any file name has one form."""
        document = {"kind": "snapshot", "version": 1, "files": self.files}
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @property
    def digest(self) -> Digest:
        """What names it."""
        return Digest.of(self.encoded)

    @property
    def blobs(self) -> tuple[Digest, ...]:
        """The digests of the files' contents."""
        return tuple(Digest(each["sha256"]) for each in self.files.values() if "sha256" in each)

    @classmethod
    def parse(cls, data: bytes) -> Snapshot:
        """Read `encoded`.

        :raises Damaged: it is not a snapshot, or one whose files would leave their folder.
        """
        try:
            document = json.loads(data)
            files = document["files"]
            if document["kind"] != "snapshot":
                raise ValueError(f"a {document['kind']}")
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(f"not a snapshot: {error}") from error
        links = {path for path, each in files.items() if "link" in each}
        for path in files:
            parts = path.split("/")
            parents = {"/".join(parts[:end]) for end in range(1, len(parts))}
            if path.startswith("/") or ".." in parts or "" in parts or parents & links:
                raise Damaged(f"a snapshot with a file outside its folder: {path!r}")
        return cls(files)


def take(source: Source, store: Store, working_copy: Path | None = None) -> Snapshot:
    """Keep the files of ``source``, and lay them out in ``working_copy`` if one is given.

    :raises Refused: they are larger than the limit; the message names the largest.
    :raises EnvbuildError: one of them cannot be read.
    """
    limit = _limit()
    if source.size > limit:
        raise Refused(
            f"the source folder {source.root} holds {source.size / 2**20:.0f} MiB, and {limit / 2**20:.0f} MiB is the "
            f"limit of a snapshot; the largest files: {name_largest(source)}",
            hint="name what a run does not need in .envbuildignore, or raise ENVBUILD_SNAPSHOT_LIMIT (bytes)",
        )
    files: dict[str, dict[str, Any]] = {}
    for each in source.files:
        origin = source.root / each.path
        copy = working_copy / each.path if working_copy else None
        if copy:
            copy.parent.mkdir(parents=True, exist_ok=True)
        files[each.path] = kept = _keep(each, origin, store)
        if copy and "link" in kept:
            copy.symlink_to(kept["link"])
        elif copy:
            # The store's, since somebody may be writing to the original.
            shutil.copyfile(store.path(Digest(kept["sha256"])), copy)
            copy.chmod(0o755 if each.is_executable else 0o644)
            os.utime(copy, ns=(each.stat.st_ctime_ns, each.stat.st_ctime_ns))
    snapshot = Snapshot(files)
    store.put(snapshot.encoded)
    return snapshot


def _keep(each: SourceFile, origin: Path, store: Store) -> dict[str, Any]:
    try:
        if each.is_link:
            return {"link": os.readlink(origin)}  # noqa: PTH115
        # A power cut that spoils it leaves the source folder too, from which it is kept again.
        digest = store.put_file(origin, durable=False)
    except (FileNotFoundError, NotFound) as error:
        raise NotFound(f"{origin} went away while it was read", hint=_LEAVE_OUT) from error
    except StoreError as error:
        raise StoreError(str(error), hint=error.hint or _LEAVE_OUT) from error
    except OSError as error:
        raise EnvbuildError(f"cannot read {origin}: {error.strerror}", hint=_LEAVE_OUT) from error
    size = store.path(digest).stat().st_size
    return {"sha256": digest.hex, "size": size} | ({"executable": True} if each.is_executable else {})


def _limit() -> int:
    asked = os.environ.get("ENVBUILD_SNAPSHOT_LIMIT", str(LIMIT))
    if not asked.isdecimal():
        raise EnvbuildError(f"ENVBUILD_SNAPSHOT_LIMIT is a number of bytes, not {asked!r}")
    return int(asked)


def laid_out(snapshot: Snapshot, source: Source | None = None) -> dict[str, tuple[str, str]]:
    """Size and time (in nanoseconds) of each file that `take`, or without a source `restore`, has laid out.

    A link has neither. What a run has changed is told from the rest by them.
    """
    if source is None:
        return {
            path: ("", "") if "link" in each else (str(each["size"]), str(_LONG_AGO))
            for path, each in snapshot.files.items()
        }
    return {
        each.path: ("", "") if each.is_link else (str(snapshot.files[each.path]["size"]), str(each.stat.st_ctime_ns))
        for each in source.files
    }


def name_largest(source: Source) -> str:
    """The largest files with their sizes, for messages."""
    return ", ".join(f"{each.path} ({each.stat.st_size / 2**20:.1f} MiB)" for each in source.largest())


def restore(digest: Digest, store: Store, destination: Path) -> Snapshot:
    """Lay a snapshot's files out in ``destination``, each checked against its digest.

    :raises NotFound: the snapshot, or a file of it, is not kept any more.
    :raises Damaged: a file is not what it was.
    """
    snapshot = Snapshot.parse(store.read(digest))
    for path, each in snapshot.files.items():
        target = destination / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if "link" in each:
            target.symlink_to(each["link"])
        else:
            store.copy_to(Digest(each["sha256"]), target, mode=0o755 if each.get("executable") else 0o644)
            os.utime(target, ns=(_LONG_AGO, _LONG_AGO))
    return snapshot


def remove_copies(digest: Digest, store: Store, place: Path) -> None:
    """Remove what is in ``place`` just as the snapshot has it, and folders that are empty then.

    :raises NotFound: the snapshot is not kept any more.
    :raises Damaged: it is no snapshot.
    """
    for path, each in Snapshot.parse(store.read(digest)).files.items():
        copy = place / path
        if copy.is_symlink() if "link" in each else _is_copy(copy, each):
            copy.unlink()
    for here, _, _ in os.walk(place, topdown=False):
        with suppress(OSError):
            os.rmdir(here)  # noqa: PTH106


def _is_copy(file: Path, kept: Mapping[str, Any]) -> bool:
    if file.is_symlink() or not file.is_file() or file.stat().st_size != kept["size"]:
        return False
    with file.open("rb") as stream:
        return Digest.of_stream(stream) == Digest(kept["sha256"])

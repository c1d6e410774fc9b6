"""Collecting: how much room the store takes, and what of it may go.

Room is what deleting would really give back: files that an environment shares with an installer's cache, or with
another environment, are free for as long as the others have them. What goes first is what nobody can miss: what
killed processes left, then blobs that nothing refers to, and only then, if the store is larger than asked or an
environment unused for longer than asked, environments in the order of their last use.

Every step is one that can be the last: who kills it leaves a store that works, and the next one goes on from there.
"""

from __future__ import annotations

import json
import math
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from envbuild.digest import Digest
from envbuild.errors import EnvbuildError, NotFound, Refused
from envbuild.images import Held, Images
from envbuild.store import Store, delete_tree

GRACE = 3600.0
"""For how many seconds a blob stays to which nothing refers yet."""

_SIZE = "size.json"
_TRUST = 24 * 3600.0
_BLOCK = 512  # what st_blocks counts in, whatever the file system's own blocks are


@dataclass(frozen=True, slots=True)
class Size:
    """How large something is.

    :param apparent: the bytes in its files, each counted once.
    :param frees: the bytes that the disk gets back if it is deleted and nothing else.
    """

    apparent: int
    frees: int


@dataclass(frozen=True, slots=True)
class ImageUsage:
    """The room that one environment takes."""

    held: Held
    size: Size


@dataclass(frozen=True, slots=True)
class Usage:
    """The room that the store takes.

    :param leftovers: what killed processes left behind.
    """

    images: tuple[ImageUsage, ...]
    blobs: Size
    blob_count: int
    leftovers: Size

    @property
    def total(self) -> int:
        """What would come back if everything went; without what only several environments together hold."""
        return sum(image.size.frees for image in self.images) + self.blobs.frees + self.leftovers.frees


@dataclass(frozen=True, slots=True)
class Removed:
    """Something that has gone."""

    kind: Literal["image", "blob", "leftover"]
    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Kept:
    """An environment that would have gone, and why it has not."""

    id: Digest
    why: Literal["in use", "pinned"]


@dataclass(frozen=True, slots=True)
class Collected:
    """What came of it.

    :param dry_run: nothing of this has happened.
    """

    removed: tuple[Removed, ...]
    kept: tuple[Kept, ...]
    dry_run: bool = False

    @property
    def freed(self) -> int:
        """The bytes that the disk got back."""
        return sum(removed.bytes for removed in self.removed)


def usage(store: Store, images: Images, *, fresh: bool = False) -> Usage:
    """Say how much room everything takes.

    An environment is measured once a day at most and its size kept beside it, so that this is quick.

    :param fresh: measure all anew.
    """
    measured = [ImageUsage(held, _size_of(store, held, fresh)) for held in images.all()]
    blobs = [found for _, found in _blobs(store)]
    leftovers = [_measure(path) for path in store.abandoned()]
    return Usage(
        images=tuple(measured),
        blobs=Size(sum(blob.st_size for blob in blobs), sum(_frees(blob) for blob in blobs)),
        blob_count=len(blobs),
        leftovers=Size(sum(one.apparent for one in leftovers), sum(one.frees for one in leftovers)),
    )


def collect(
    store: Store,
    images: Images,
    *,
    keep: frozenset[Digest],
    pinned: frozenset[Digest] = frozenset(),
    limit: int | None = None,
    older_than: float | None = None,
    dry_run: bool = False,
) -> Collected:
    """Throw away what may go, as the head of this module says.

    :param keep: the blobs that names and runs refer to.
    :param pinned: ids of environments that must stay, whatever the limit.
    :param limit: the bytes that the store may take; environments go, the one longest unused first, until it does.
    :param older_than: environments go that were not used for so many seconds, whatever the limit.
    :param dry_run: only say what would be done.
    :raises StoreError: the store cannot be written.
    """
    removed = [*_leftovers(store, dry_run), *_broken(images, dry_run), *_loose_blobs(store, keep, dry_run)]
    if limit is None and older_than is None:
        return Collected(tuple(removed), (), dry_run=dry_run)
    before = -math.inf if older_than is None else time.time() - older_than
    room = math.inf if limit is None else limit - _room_for_blobs(store, removed, dry_run)
    evicted, kept = _evict(images, room, before, pinned, dry_run)
    return Collected((*removed, *evicted), tuple(kept), dry_run)


def _evict(
    images: Images, room: float, before: float, pinned: frozenset[Digest], dry_run: bool
) -> tuple[list[Removed], list[Kept]]:
    """Throw environments away until those that are left fit in ``room``, and all that were last used ``before``."""
    candidates = sorted((held for held in images.all() if held.image is not None), key=lambda held: held.last_used)
    census = _Census()
    for held in candidates:
        census.add(held.id, held.path)
    taken, removed, kept = census.size.frees, list[Removed](), list[Kept]()
    for held in candidates:
        if taken <= room and held.last_used >= before:
            continue
        if held.id in pinned:
            kept.append(Kept(held.id, "pinned"))
        elif _gone(images, held, dry_run):
            removed.append(Removed("image", str(held.id), census.without(held.id)))
            taken -= removed[-1].bytes
        else:
            kept.append(Kept(held.id, "in use"))
    return removed, kept


def _room_for_blobs(store: Store, removed: list[Removed], dry_run: bool) -> int:
    there = sum(_frees(found) for _, found in _blobs(store))
    return there - sum(one.bytes for one in removed if dry_run and one.kind == "blob")


def _leftovers(store: Store, dry_run: bool) -> Iterator[Removed]:
    for path in store.abandoned():
        frees = _measure(path).frees
        if not dry_run:
            delete_tree(path)
        yield Removed("leftover", path.name, frees)


def _broken(images: Images, dry_run: bool) -> Iterator[Removed]:
    """Throw away environments of which nobody can tell any more what they are."""
    for held in images.all():
        if held.image is None:
            frees = _measure(held.path).frees
            if _gone(images, held, dry_run):
                yield Removed("image", str(held.id), frees)


def _loose_blobs(store: Store, keep: frozenset[Digest], dry_run: bool) -> Iterator[Removed]:
    before = time.time() - GRACE

    def old(found: os.stat_result) -> bool:
        return found.st_mtime < before

    for digest, found in _blobs(store):
        if digest in keep or not old(found):
            continue
        gone = found if dry_run else store.remove_if(digest, old)
        if gone is not None:
            yield Removed("blob", str(digest), _frees(gone))


def _gone(images: Images, held: Held, dry_run: bool) -> bool:
    if dry_run:
        return not held.in_use
    try:
        images.remove(held.id)
    except Refused:
        return False
    except NotFound:
        pass  # somebody else was quicker
    return True


class _Census:
    """Who has which file: what goes with an environment is what nobody else, in the store or outside, has too."""

    def __init__(self) -> None:
        self._files: dict[Digest | None, list[tuple[int, int]]] = {}
        self._names_left: dict[tuple[int, int], int] = {}
        self._names_here: dict[tuple[int, int], int] = {}
        self._sizes: dict[tuple[int, int], tuple[int, int]] = {}

    def add(self, id: Digest | None, path: Path) -> None:  # noqa: A002  as in images
        files = self._files.setdefault(id, [])
        for found in _walk(path):
            key = (found.st_dev, found.st_ino)
            files.append(key)
            self._names_left[key] = 1 if stat.S_ISDIR(found.st_mode) else found.st_nlink
            self._names_here[key] = self._names_here.get(key, 0) + 1
            self._sizes[key] = (found.st_size, found.st_blocks * _BLOCK)

    @property
    def size(self) -> Size:
        """All that was added: each file once, and whether the disk gets it back."""
        ours = (key for key, here in self._names_here.items() if here >= self._names_left[key])
        return Size(sum(apparent for apparent, _ in self._sizes.values()), sum(self._sizes[key][1] for key in ours))

    def without(self, id: Digest) -> int:  # noqa: A002
        """Count what comes back if this one goes too."""
        freed = 0
        for key in self._files.pop(id, ()):
            self._names_left[key] -= 1
            self._names_here[key] -= 1
            freed += 0 if self._names_left[key] else self._sizes[key][1]
        return freed


def _measure(path: Path) -> Size:
    census = _Census()
    census.add(None, path)
    return census.size


def _size_of(store: Store, held: Held, fresh: bool) -> Size:
    """Give the size that is written beside the environment, if it was measured not too long ago."""
    path = held.path / _SIZE
    if not fresh:
        with suppress(OSError, ValueError, KeyError, TypeError):
            known = json.loads(path.read_bytes())
            # It changes, if slowly: Python compiles modules, and others give up files that were shared.
            if 0 <= time.time() - path.stat().st_mtime < _TRUST:
                return Size(known["apparent"], known["frees"])
    size = _measure(held.path)
    # It is only a note; where none can be left, or the environment has just gone, nothing is lost.
    with suppress(OSError, EnvbuildError):
        store.write(path, json.dumps({"apparent": size.apparent, "frees": size.frees}).encode())
    return size


def _blobs(store: Store) -> Iterator[tuple[Digest, os.stat_result]]:
    for digest in store.digests():
        with suppress(FileNotFoundError):
            yield digest, store.path(digest).lstat()


def _frees(found: os.stat_result) -> int:
    return found.st_blocks * _BLOCK if found.st_nlink == 1 else 0


def _walk(path: Path) -> Iterator[os.stat_result]:
    """Look at a file or folder and at all that is in it, as far as it is still there."""
    waiting = [str(path)]
    while waiting:
        place = waiting.pop()
        with suppress(FileNotFoundError, PermissionError):
            found = os.lstat(place)
            yield found
            if stat.S_ISDIR(found.st_mode):
                waiting.extend(os.path.join(place, name) for name in os.listdir(place))  # noqa: PTH118  many

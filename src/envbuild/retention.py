"""Retention: what of a store's content names and runs still need, and how large the rest may grow."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress

from envbuild.catalogue import Catalogue
from envbuild.collect import Collected, collect, usage
from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import EnvbuildError
from envbuild.fingerprint import Document
from envbuild.lock import Lock
from envbuild.snapshot import Snapshot
from envbuild.store import Store
from envbuild.workspace import Workspace

DEFAULT_LIMIT = 50 * 2**30
"""The bytes that a store may take before environments go, where ``ENVBUILD_STORE_MAX_SIZE`` says nothing."""

_DEFINITION, _SNAPSHOT, _LOCK = b"envbuild definition ", b'{"files":', b"lock-version"

_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[KMGT]?)(?P<binary>i?)B?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Read a number of bytes: ``500MB``, ``20GiB``, ``1.5T``; without an ``i``, units are powers of ten.

    :raises ValueError: it is not one.

    >>> parse_size("20GiB"), parse_size("500 MB"), parse_size("1024")
    (21474836480, 500000000, 1024)
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"not a size: {text!r} (500MB, 20GiB, … are)")
    power = " KMGT".index(found["unit"].upper() or " ")
    return int(float(found["number"]) * (1024 if found["binary"] else 1000) ** power)


def limit() -> int:
    """How many bytes the store may take.

    :raises EnvbuildError: ``ENVBUILD_STORE_MAX_SIZE`` is no size.
    """
    asked = os.environ.get("ENVBUILD_STORE_MAX_SIZE")
    try:
        return parse_size(asked) if asked else DEFAULT_LIMIT
    except ValueError as error:
        raise EnvbuildError(f"ENVBUILD_STORE_MAX_SIZE: {error}") from error


def keep_bound(workspace: Workspace) -> None:
    """After something was built: if the store has outgrown its bound, make it fit again."""
    if usage(workspace.store, workspace.images).total > limit():
        enforce(workspace)


def enforce(workspace: Workspace, bound: int | None = None, *, dry_run: bool = False) -> Collected:
    """Remove what nobody needs, and environments beyond the bound, the least recently used first."""
    with workspace.recorded() as catalogue:
        needed = frozenset(_needed(workspace, catalogue))
        pinned = frozenset(Digest.parse(each) for each in catalogue.pinned_images())
    found = collect(
        workspace.store,
        workspace.images,
        keep=needed,
        pinned=pinned,
        limit=limit() if bound is None else bound,
        dry_run=dry_run,
    )
    if not dry_run:
        if any(each.kind == "blob" for each in found.removed):
            # A repeated run relies on its snapshot being kept.
            workspace.forget_warm()
        workspace.sweep_runs()
    return found


def _needed(workspace: Workspace, catalogue: Catalogue) -> Iterator[Digest]:
    """Every blob that something refers to, and what those blobs themselves refer to."""
    yield from workspace.added_wheels()
    for text in catalogue.referenced_digests():
        digest = Digest.parse(text)
        yield digest
        # Gone or spoiled, or only looking like one: whoever wants it will be told so; it keeps nothing.
        with suppress(EnvbuildError, ValueError, KeyError, TypeError, AttributeError):
            if _refers(workspace.store, digest):
                yield from _inside(workspace.store.read(digest))


def _refers(store: Store, digest: Digest) -> bool:
    """Whether a blob is of a kind that refers to others; most are outputs, and may be large."""
    with store.open(digest) as stream:
        return stream.read(32).startswith((_DEFINITION, _SNAPSHOT, _LOCK))


def _inside(data: bytes) -> Iterator[Digest]:
    """What a blob refers to, if it is one of those that do."""
    if data.startswith(_DEFINITION):
        definition = Definition.from_content(Document.parse(data).content)
        yield from (each.digest for each in definition.wheels)
    elif data.startswith(_SNAPSHOT):
        yield from Snapshot.parse(data).blobs
    else:
        lock = Lock.parse(data, where="a kept lock")
        yield from (each.artifact.digest for each in lock.of_kind("wheel") if each.artifact.digest)
        if lock.made_from:
            yield lock.made_from

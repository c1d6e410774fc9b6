"""Statements: how values are written into them, and how what they found is told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from envbuild.errors import NotFound


def written(at: datetime | str | None) -> str:
    """The one spelling of a moment, which sorts as time goes; now, if none is given.

    >>> written("2024-05-01T12:00:00+02:00")
    '2024-05-01T10:00:00.000000+00:00'
    """
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    moment = datetime.now(UTC) if at is None else at.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")


def tags_text(tags: Mapping[str, Any]) -> str:
    """Tags as they stand in one column; empty for none."""
    return json.dumps({key: str(value) for key, value in tags.items()}, ensure_ascii=False) if tags else ""


def number_of(version: Any) -> int | None:
    """The version of an environment as a number, where a record has one.

    >>> number_of("2"), number_of(3), number_of(None), number_of("beta")
    (2, 3, None, None)
    """
    return int(version) if version is not None and str(version).isdigit() else None


def digests_in(value: Any) -> Iterator[str]:
    """Every digest that occurs anywhere in ``value``."""
    if isinstance(value, str):
        if value.startswith("sha256:") and len(value) == 71:
            yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from digests_in(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from digests_in(each)


def page_of(limit: int | None, offset: int = 0) -> tuple[str, tuple[int, ...]]:
    """The end of a statement that gives some of the rows, and the values in it."""
    if limit is None:
        # SQLite has no OFFSET without a LIMIT.
        return ("", ()) if not offset else (" LIMIT ? OFFSET ?", (2**31 - 1, offset))
    return " LIMIT ? OFFSET ?", (limit, offset)


def places(values: Iterable[Any]) -> str:
    """A placeholder for each value."""
    return ", ".join("?" for _ in values)


def some(words: Iterable[str], newest: bool = False) -> str:
    """The first ten words, or the last, and how many more there are."""
    every = [*words]
    kept, more = every[-10:] if newest else every[:10], len(every) - 10
    if more <= 0:
        return ", ".join(kept)
    return f"… {more} more, {', '.join(kept)}" if newest else f"{', '.join(kept)} and {more} more"


def ambiguous(what: str, prefix: str, ids: Iterable[str]) -> NotFound:
    """The error for the beginning of an id that several have."""
    return NotFound(f"several {what}s' ids begin with {prefix!r}", hint=f"say more of one of: {some(ids)}")

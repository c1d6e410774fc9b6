"""Resolutions: what definitions were resolved to, over time."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.catalogue.part import Part
from envbuild.catalogue.statements import ambiguous, page_of, written
from envbuild.catalogue.values import Resolution

if TYPE_CHECKING:
    from envbuild.digest import Digest

_RESOLUTION = (
    "SELECT definition_digest, platform, python, lock_digest, environment_id, source, resolved_at FROM resolutions"
)

_MOST_TELLING = " ORDER BY source LIKE 'sha256:%', number DESC LIMIT 1"
"""One by an id itself says less than one by a file or a name, from which paths are meant."""


class Resolutions(Part):
    """The part of the catalogue that knows resolutions."""

    def record_resolution(
        self,
        definition_digest: Digest | str,
        platform: str,
        python: str,
        lock_digest: Digest | str,
        environment_id: Digest | str,
        source: Path | str,
        resolved_at: datetime | None = None,
    ) -> Resolution:
        """Note what a definition was resolved to.

        What says the same as the newest note of that source only makes that one as new as this, so that
        `history` has one entry for each change and not one for each run.
        """
        said = (*map(str, (definition_digest, platform, python, lock_digest, environment_id, source)),)
        with self._db.write():
            newest = self._db.one(
                f"{_RESOLUTION} WHERE source = ? AND platform = ? ORDER BY number DESC LIMIT 1", said[5], said[1]
            )
            if newest and newest[:6] == said:
                self._db.change(
                    "DELETE FROM resolutions WHERE number = (SELECT MAX(number) FROM resolutions"
                    " WHERE source = ? AND platform = ?)",
                    *(said[5], said[1]),
                )
            (number,) = self._db.row("SELECT COALESCE(MAX(number), 0) + 1 FROM resolutions")
            row = (*said, written(resolved_at))
            self._db.change(
                "INSERT INTO resolutions (definition_digest, platform, python, lock_digest, environment_id, source,"
                " resolved_at, number) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                *(*row, number),
            )
        return _resolution(row)

    def latest_resolution(
        self, definition_digest: Digest | str, platform: str, python: str | None = None
    ) -> Resolution | None:
        """What the definition was last resolved to on ``platform``; ``None`` if it never was.

        :param python: only resolutions for that Python.
        """
        narrower, values = ("", ()) if python is None else (" AND python = ?", (python,))
        row = self._db.one(
            f"{_RESOLUTION} WHERE definition_digest = ? AND platform = ?{narrower} ORDER BY number DESC LIMIT 1",
            *(str(definition_digest), platform, *values),
        )
        return _resolution(row) if row else None

    def resolution_by(self, definition_digest: Digest | str, environment_id: Digest | str) -> Resolution | None:
        """The last resolution of a definition that led to an environment, as `resolution_of`; ``None`` if none did."""
        row = self._db.one(
            f"{_RESOLUTION} WHERE definition_digest = ? AND environment_id = ?{_MOST_TELLING}",
            *(str(definition_digest), str(environment_id)),
        )
        return _resolution(row) if row else None

    def resolution_of(self, environment_id: Digest | str) -> Resolution | None:
        """The last resolution that led to an environment; ``None`` if none did.

        One by the id itself says less than one by a file or a name, and comes after all of those.

        :param environment_id: the id, or enough of its first digits, with or without ``sha256:``.
        :raises NotFound: several environments' ids begin so; the error names them.
        """
        wanted = str(environment_id)
        wanted = wanted if wanted.startswith("sha256:") else f"sha256:{wanted}"
        by = f" WHERE environment_id = ?{_MOST_TELLING}"
        row = self._db.one(_RESOLUTION + by, wanted)
        if row is None and len(wanted) > len("sha256:"):
            ids = self._db.read(
                "SELECT DISTINCT environment_id FROM resolutions WHERE substr(environment_id, 1, ?) = ?"
                " ORDER BY environment_id LIMIT 6",
                *(len(wanted), wanted),
            )
            if len(ids) > 1:
                raise ambiguous("environment", str(environment_id), [found for (found,) in ids])
            row = self._db.one(_RESOLUTION + by, ids[0][0]) if ids else None
        return _resolution(row) if row else None

    def history(
        self, source: Path | str, platform: str | None = None, limit: int | None = None
    ) -> tuple[Resolution, ...]:
        """What a file, or a name, was resolved to over time, newest first."""
        narrower, values = ("", ()) if platform is None else (" AND platform = ?", (platform,))
        page, bounds = page_of(limit)
        rows = self._db.read(
            f"{_RESOLUTION} WHERE source = ?{narrower} ORDER BY number DESC{page}",
            *(str(source), *values, *bounds),
        )
        return tuple(map(_resolution, rows))


def _resolution(row: tuple[Any, ...]) -> Resolution:
    *said, resolved_at = row
    return Resolution._make([*said, datetime.fromisoformat(resolved_at)])

"""Environments: definitions under a name and a number, with labels, tags and a state."""

# Statements are put together from what stands in this file; what comes from outside is always a value.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.catalogue.part import Part
from envbuild.catalogue.statements import page_of, some, tags_text, written
from envbuild.catalogue.values import LATEST, EnvironmentVersion
from envbuild.errors import EnvbuildError, NotFound, Refused

if TYPE_CHECKING:
    from envbuild.digest import Digest

_VERSION = "SELECT name, version, definition_digest, root, description, created_at, state, tags FROM environments"


class Environments(Part):
    """The part of the catalogue that knows environments."""

    def register(
        self,
        name: str,
        definition_digest: Digest | str,
        root: Path | str | None = None,
        created_at: datetime | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        pinned: bool = False,
    ) -> EnvironmentVersion:
        """Give a definition a name and the next number.

        A definition that the name has already keeps its number, and its ``created_at``, archived or not; a
        ``root``, ``description`` or tags that are given then replace, or for tags join, those that it had. Only
        when that version was deleted does the definition get a new number.

        :param pinned: what it was resolved to is to stay in the store, however long unused; once pinned, a version
            stays so.
        :raises DefinitionError: ``name`` is not a name.
        """
        _check_name(name)
        digest = str(definition_digest)
        with self._db.write():
            known = self._db.one(
                "SELECT version FROM environments WHERE name = ? AND definition_digest = ? AND state <> 'deleted'",
                name,
                digest,
            )
            if known:
                self._redescribe(name, known[0], root, description, tags)
                if pinned:
                    self._db.change("UPDATE environments SET pinned = 1 WHERE name = ? AND version = ?", name, known[0])
                return self._version(name, known[0])
            (version,) = self._db.row("SELECT COALESCE(MAX(version), 0) + 1 FROM environments WHERE name = ?", name)
            self._db.change(
                "INSERT INTO environments"
                " (name, version, definition_digest, root, description, created_at, tags, pinned, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'active')",
                *(name, version, digest, None if root is None else str(root), description),
                *(written(created_at), tags_text(tags or {}), int(pinned)),
            )
            return self._version(name, version)

    def registered(self, name: str, definition_digest: Digest | str) -> int | None:
        """The number that a definition has under ``name``, or ``None``."""
        row = self._db.one(
            "SELECT version FROM environments WHERE name = ? AND definition_digest = ? AND state <> 'deleted'",
            *(name, str(definition_digest)),
        )
        return int(row[0]) if row else None

    def get(self, name: str, version: int | str | None = None, label: str | None = None) -> EnvironmentVersion:
        """Find a version: by its number, by a label, or else the latest.

        An archived version is found by its number and its labels, and is never the latest.

        :raises NotFound: there is no such name, version or label; the error names those that there are.
        :raises EnvbuildError: both a version and a label were given.
        """
        if version is not None and label is not None:
            raise EnvbuildError(f"{name}: asked for version {version} and for label {label!r}; give one of them")
        if label in (None, LATEST) and version in (None, LATEST):
            return self._latest(name)
        if label is not None:
            found = self._db.one("SELECT version FROM labels WHERE name = ? AND label = ?", name, label)
            if not found:
                raise self._missing(name, f"{name} has no label {label!r}")
            return self._version(name, found[0])
        return self._version(name, self._number(name, version))

    def list(
        self,
        name: str | None = None,
        *,
        archived: bool = False,
        latest: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> tuple[EnvironmentVersion, ...]:
        """List versions, by name and then newest first; an unknown name has none.

        :param archived: archived versions as well.
        :param latest: only the highest version of each name, of those that are listed at all.
        """
        states = "state <> 'deleted'" if archived else "state = 'active'"
        where, values = [states], []
        if name is not None:
            where.append("name = ?")
            values.append(name)
        if latest:
            where.append(
                f"version = (SELECT MAX(e.version) FROM environments e WHERE e.name = environments.name AND e.{states})"
            )
        page, bounds = page_of(limit, offset)
        rows = self._db.read(
            f"{_VERSION} WHERE {' AND '.join(where)} ORDER BY name, version DESC{page}",
            *values,
            *bounds,
        )
        labels = self._labels(name)
        return tuple(_version(row, labels.get(row[:2], ())) for row in rows)

    def label(self, name: str, version: int | str, *labels: str) -> EnvironmentVersion:
        """Put labels on a version; a label that another version of the name had moves.

        :raises NotFound: there is no such version.
        :raises Refused: `LATEST` cannot be put anywhere.
        :raises DefinitionError: a label is spelled in another way than names are.
        """
        for label in labels:
            if label == LATEST:
                raise Refused(
                    f"{LATEST!r} is the highest version that is not archived and cannot be set",
                    hint=f"archive the versions after it, or choose another label than {LATEST!r}",
                )
            _check_name(label)
        with self._db.write():
            number = self._number(name, version)
            self._version(name, number)
            for label in labels:
                self._db.change(
                    "INSERT INTO labels (name, label, version) VALUES (?, ?, ?)"
                    " ON CONFLICT (name, label) DO UPDATE SET version = excluded.version",
                    *(name, label, number),
                )
            return self._version(name, number)

    def unlabel(self, name: str, *labels: str) -> None:
        """Take labels off whichever version of the name has them.

        :raises NotFound: the name has no such label; then all of them stay.
        """
        with self._db.write():
            for label in labels:
                if not self._db.change("DELETE FROM labels WHERE name = ? AND label = ?", name, label):
                    raise self._missing(name, f"{name} has no label {label!r}")

    def tag(self, name: str, version: int | str, tags: Mapping[str, str | None]) -> EnvironmentVersion:
        """Set tags of a version; one whose value is ``None`` is removed.

        :raises NotFound: there is no such version.
        """
        with self._db.write():
            found = self._version(name, self._number(name, version))
            merged = {key: value for key, value in {**found.tags, **tags}.items() if value is not None}
            self._db.change(
                "UPDATE environments SET tags = ? WHERE name = ? AND version = ?",
                *(tags_text(merged), name, found.version),
            )
            return found._replace(tags=merged)

    def archive(self, name: str, version: int | str | None = None) -> tuple[EnvironmentVersion, ...]:
        """Take a version, or all of the name, out of lists and out of the running for the latest.

        :raises NotFound: there is no such name or version.
        """
        return self._set_state(name, version, "archived")

    def restore(self, name: str, version: int | str | None = None) -> tuple[EnvironmentVersion, ...]:
        """Undo `archive`.

        :raises NotFound: there is no such name or version.
        """
        return self._set_state(name, version, "active")

    def delete(
        self, name: str, version: int | str | None = None, *, force: bool = False
    ) -> tuple[EnvironmentVersion, ...]:
        """Delete a version, or all of the name; their numbers are never given to anything else.

        :param force: also where runs have used them; the runs keep their records.
        :returns: what was deleted.
        :raises NotFound: there is no such name or version.
        :raises Refused: runs that have not been deleted use one of them; then all stay.
        """
        with self._db.write():
            found = self._versions(name, version)
            if not force:
                self._refuse_if_used(name, found, version is None)
            for each in found:
                self._db.change("DELETE FROM labels WHERE name = ? AND version = ?", name, each.version)
                self._db.change(
                    "UPDATE environments SET state = 'deleted' WHERE name = ? AND version = ?", name, each.version
                )
            return found

    # How they are found and changed

    def _latest(self, name: str) -> EnvironmentVersion:
        row = self._db.one(f"{_VERSION} WHERE name = ? AND state = 'active' ORDER BY version DESC LIMIT 1", name)
        if row is None:
            raise self._missing(name, f"every version of {name} is archived")
        return _version(row, self._labels(name).get(row[:2], ()))

    def _version(self, name: str, version: int) -> EnvironmentVersion:
        row = self._db.one(f"{_VERSION} WHERE name = ? AND version = ? AND state <> 'deleted'", name, version)
        if row is None:
            gone = self._db.one("SELECT 1 FROM environments WHERE name = ? AND version = ?", name, version)
            said = f"{name}:{version} has been deleted" if gone else f"{name} has no version {version}"
            raise self._missing(name, said)
        return _version(row, self._labels(name).get(row[:2], ()))

    def _versions(self, name: str, version: int | str | None) -> tuple[EnvironmentVersion, ...]:
        """One version, or all of the name; never none."""
        if version is not None:
            return (self._version(name, self._number(name, version)),)
        found = self.list(name, archived=True)
        if not found:
            raise self._missing(name, f"no environment is named {name!r}")
        return found

    def _number(self, name: str, version: int | str | None) -> int:
        """The number that is meant by ``version``."""
        text = str(version)
        if text == LATEST:
            return self._latest(name).version
        if not (text.isascii() and text.isdigit()) or len(text) > 9:
            raise self._missing(name, f"{name} has no version {text!r}: versions are 1, 2, …")
        return int(text)

    def _labels(self, name: str | None) -> dict[tuple[str, int], tuple[str, ...]]:
        where, values = ("", ()) if name is None else (" WHERE name = ?", (name,))
        found: dict[tuple[str, int], tuple[str, ...]] = {}
        for of, version, label in self._db.read(
            f"SELECT name, version, label FROM labels{where} ORDER BY label",
            *values,
        ):
            found[of, version] = (*found.get((of, version), ()), label)
        return found

    def _missing(self, name: str, said: str) -> NotFound:
        """The error for something that ``name`` lacks, or for ``name`` if there is none; it says what there is."""
        versions = self.list(name, archived=True)
        if versions:
            known = [f"{each.version}{' (archived)' if each.archived else ''}" for each in reversed(versions)]
            labels = [label for each in versions for label in each.labels]
            hint = f"its versions: {some(known, newest=True)}" + (f"; its labels: {some(labels)}" if labels else "")
            if all(each.archived for each in versions):
                hint += f"; 'envbuild env restore {name}' brings them back"
            return NotFound(said, hint=hint)
        from envbuild.form import did_you_mean

        names = [found for (found,) in self._db.read("SELECT DISTINCT name FROM environments WHERE state <> 'deleted'")]
        hint = (
            f"registered are: {some(sorted(names))}" if names else "'envbuild env register' gives an environment a name"
        )
        return NotFound(f"no environment is named {name!r}{did_you_mean(name, names)}", hint=hint)

    def _redescribe(
        self, name: str, version: int, root: Path | str | None, description: str, tags: Mapping[str, str] | None
    ) -> None:
        key = (name, version)
        if root is not None:
            self._db.change("UPDATE environments SET root = ? WHERE name = ? AND version = ?", str(root), *key)
        if description:
            self._db.change("UPDATE environments SET description = ? WHERE name = ? AND version = ?", description, *key)
        if tags:
            self.tag(name, version, tags)

    def _set_state(self, name: str, version: int | str | None, state: str) -> tuple[EnvironmentVersion, ...]:
        with self._db.write():
            found = self._versions(name, version)
            for each in found:
                self._db.change(
                    "UPDATE environments SET state = ? WHERE name = ? AND version = ?", state, name, each.version
                )
            return tuple(each._replace(archived=state == "archived") for each in found)

    def _refuse_if_used(self, name: str, versions: tuple[EnvironmentVersion, ...], whole: bool) -> None:
        numbers = {each.version for each in versions}
        used = [
            (version, count)
            for version, count in self._db.read(
                "SELECT environment_version, COUNT(*) FROM runs WHERE environment_name = ?"
                " GROUP BY environment_version ORDER BY environment_version",
                name,
            )
            if version in numbers
        ]
        if not used:
            return
        total = sum(count for _, count in used)
        places = some([f"{name}:{version}" for version, _ in used])
        wanted = name if whole else f"{name}:{versions[0].version}"
        raise Refused(
            f"{places} {'is' if len(used) == 1 else 'are'} used by {total} {'run' if total == 1 else 'runs'}",
            hint=f"'envbuild env archive {wanted}' hides it and keeps it usable;"
            f" 'envbuild env delete {wanted} --force' deletes it all the same, and the runs keep their records",
        )


def _version(row: tuple[Any, ...], labels: tuple[str, ...]) -> EnvironmentVersion:
    name, version, digest, root, description, created_at, state, tags = row
    return EnvironmentVersion(
        *(name, version, digest, root, description),
        datetime.fromisoformat(created_at),
        state == "archived",
        json.loads(tags) if tags else {},
        labels,
    )


def _check_name(name: str) -> None:
    # Whoever registers a definition has loaded this module already; whoever looks one up has not.
    from envbuild.definition import Definition

    Definition(name=name)

"""Models: what files are kept under a name and a number, and which run and environment they came from."""

# Statements are put together from what stands in this file; what comes from outside is always a value.
# ruff: noqa: S608

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from envbuild.catalogue.marks import Marks
from envbuild.catalogue.part import Part
from envbuild.catalogue.statements import digests_in, number_of, page_of, places, some, written
from envbuild.catalogue.values import LATEST, ModelVersion
from envbuild.errors import EnvbuildError, NotFound, Refused

_TAGS = Marks("model_tags", "tag", "name", "version")
_PROPERTIES = Marks("model_properties", "property", "name", "version")

_MODEL = (
    "SELECT name, version, created_at, description, framework, framework_version, run, experiment, environment_name,"
    " environment_version, environment_id, state, record FROM models"
)


class Models(Part):
    """The part of the catalogue that knows models."""

    def register_model(
        self,
        name: str,
        record: Mapping[str, Any],
        *,
        description: str = "",
        framework: str | None = None,
        framework_version: str | None = None,
        run: str | None = None,
        experiment: str | None = None,
        environment: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        created_at: datetime | None = None,
    ) -> ModelVersion:
        """Give files a name and the next number, also where the name has the same files already.

        :param record: as in `ModelVersion`.
        :raises EnvbuildError: ``name`` is not a name.
        """
        check_name(name)
        known = environment or {}
        with self._db.write():
            (version,) = self._db.row("SELECT COALESCE(MAX(version), 0) + 1 FROM models WHERE name = ?", name)
            columns = {
                "name": name,
                "version": version,
                "created_at": written(created_at),
                "description": description,
                "framework": framework,
                "framework_version": framework_version,
                "run": run,
                "experiment": experiment,
                "environment_name": known.get("name"),
                "environment_version": number_of(known.get("version")),
                "environment_id": known.get("id"),
                "state": "active",
                "record": _text(record),
            }
            self._db.change(f"INSERT INTO models ({', '.join(columns)}) VALUES ({places(columns)})", *columns.values())
            for digest in set(digests_in(record)):
                self._db.change(
                    "INSERT INTO model_digests (name, version, digest) VALUES (?, ?, ?)", name, version, digest
                )
            _TAGS.set(self._db, (name, version), tags or {})
            _PROPERTIES.set(self._db, (name, version), properties or {})
            return self.model(name, version)

    def model(self, name: str, version: int | str | None = None) -> ModelVersion:
        """Find a version by its number, or else the latest, which is the highest that is not archived.

        :raises NotFound: there is no such name or version; the error names those that there are.
        """
        if version in (None, LATEST):
            row = self._db.one(f"{_MODEL} WHERE name = ? AND state = 'active' ORDER BY version DESC LIMIT 1", name)
            if row is None:
                raise self._no_model(name, f"every version of the model {name} is archived")
            return self._marked([row])[0]
        number = str(version)
        if not (number.isascii() and number.isdigit()) or len(number) > 9:
            raise self._no_model(name, f"the model {name} has no version {number!r}: versions are 1, 2, …")
        row = self._db.one(f"{_MODEL} WHERE name = ? AND version = ? AND state <> 'deleted'", name, int(number))
        if row is None:
            gone = self._db.one("SELECT 1 FROM models WHERE name = ? AND version = ?", name, int(number))
            said = (
                f"the model {name}:{number} has been deleted" if gone else f"the model {name} has no version {number}"
            )
            raise self._no_model(name, said)
        return self._marked([row])[0]

    def models(
        self,
        name: str | None = None,
        *,
        tags: Mapping[str, str | None] | None = None,
        properties: Mapping[str, str | None] | None = None,
        run: str | None = None,
        framework: str | None = None,
        latest: bool = False,
        archived: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> tuple[ModelVersion, ...]:
        """List versions, by name and then newest first; an unknown name has none.

        :param tags: tags that a version must have; ``None`` for any value. So with ``properties``.
        :param latest: only versions that are the highest of their name.
        :param archived: archived versions as well.
        """
        states = "state <> 'deleted'" if archived else "state = 'active'"
        where, values = [states], list[Any]()
        for column, wanted in (("name", name), ("run", run), ("framework", framework)):
            if wanted is not None:
                where.append(f"{column} = ?")
                values.append(wanted)
        for marks, asked in ((_TAGS, tags), (_PROPERTIES, properties)):
            having, among = marks.having("(name, version)", asked)
            where.extend(having)
            values.extend(among)
        if latest:
            where.append(f"version = (SELECT MAX(m.version) FROM models m WHERE m.name = models.name AND m.{states})")
        page, bounds = page_of(limit, offset)
        rows = self._db.read(
            f"{_MODEL} WHERE {' AND '.join(where)} ORDER BY name, version DESC{page}", *values, *bounds
        )
        return self._marked(rows)

    def change_model(
        self,
        name: str,
        version: int | str,
        *,
        description: str | None = None,
        tags: Mapping[str, str | None] | None = None,
        properties: Mapping[str, str] | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> ModelVersion:
        """Change what is said of a version; its files stay what they are.

        :param tags: to be set; one whose value is ``None`` is removed.
        :param properties: to be added.
        :param record: entries of its record other than ``root`` and ``files``.
        :raises NotFound: there is no such version.
        :raises Refused: a property is there already, with another value; then nothing is changed.
        """
        with self._db.write():
            found = self.model(name, version)
            key = (found.name, found.version)
            taken = [each for each, value in (properties or {}).items() if found.properties.get(each, value) != value]
            if taken:
                raise Refused(
                    f"{found} has the properties already, and they stay: {some(taken)}", hint="tags can change"
                )
            if description is not None:
                self._db.change("UPDATE models SET description = ? WHERE name = ? AND version = ?", description, *key)
            if record:
                text = _text({**found.record, **record, "root": found.root, "files": found.files})
                self._db.change("UPDATE models SET record = ? WHERE name = ? AND version = ?", text, *key)
            _TAGS.set(self._db, key, tags or {})
            _PROPERTIES.set(self._db, key, properties or {})
            return self.model(*key)

    def archive_model(self, name: str, version: int | str | None = None) -> tuple[ModelVersion, ...]:
        """Take a version, or all of the name, out of lists and out of the running for the latest.

        :raises NotFound: there is no such name or version.
        """
        return self._set_model_state(name, version, "archived")

    def restore_model(self, name: str, version: int | str | None = None) -> tuple[ModelVersion, ...]:
        """Undo `archive_model`.

        :raises NotFound: there is no such name or version.
        """
        return self._set_model_state(name, version, "active")

    def delete_model(self, name: str, version: int | str | None = None) -> tuple[ModelVersion, ...]:
        """Delete a version, or all of the name; their numbers are never given to other files.

        :returns: what was deleted.
        :raises NotFound: there is no such name or version.
        """
        with self._db.write():
            found = self._set_model_state(name, version, "deleted")
            for each in found:
                key = (each.name, each.version)
                _TAGS.clear(self._db, *key)
                _PROPERTIES.clear(self._db, *key)
                self._db.change("DELETE FROM model_digests WHERE name = ? AND version = ?", *key)
                self._db.change("UPDATE models SET record = '{}' WHERE name = ? AND version = ?", *key)
            return found

    # How they are found and changed

    def _set_model_state(self, name: str, version: int | str | None, state: str) -> tuple[ModelVersion, ...]:
        with self._db.write():
            found = self.models(name, archived=True) if version is None else (self.model(name, version),)
            if not found:
                raise self._no_model(name, "")
            for each in found:
                self._db.change(
                    "UPDATE models SET state = ? WHERE name = ? AND version = ?", state, each.name, each.version
                )
            return tuple(each._replace(archived=state == "archived") for each in found)

    def _marked(self, rows: list[tuple[Any, ...]]) -> tuple[ModelVersion, ...]:
        owners = [row[:2] for row in rows]
        tags, properties = _TAGS.read(self._db, owners), _PROPERTIES.read(self._db, owners)
        return tuple(_model(row, tags.get(row[:2], {}), properties.get(row[:2], {})) for row in rows)

    def _no_model(self, name: str, said: str) -> NotFound:
        """The error for something that the model ``name`` lacks, or for ``name`` if there is none."""
        versions = self._db.read(
            "SELECT version, state FROM models WHERE name = ? AND state <> 'deleted' ORDER BY version", name
        )
        if versions:
            known = [f"{version}{' (archived)' if state == 'archived' else ''}" for version, state in versions]
            return NotFound(said, hint=f"its versions: {some(known, newest=True)}")
        from envbuild.form import did_you_mean

        rows = self._db.read("SELECT DISTINCT name FROM models WHERE state <> 'deleted' ORDER BY name")
        names = [each for (each,) in rows]
        hint = f"there are: {some(names)}" if names else "'envbuild models register' gives files a name"
        return NotFound(f"no model is named {name!r}{did_you_mean(name, names)}", hint=hint)


def check_name(name: str) -> None:
    """See to it that a model may have this name; the rule is Azure's.

    :raises EnvbuildError: it may not.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", name):
        raise EnvbuildError(
            f"{name!r} is no name for a model",
            hint="up to 255 letters, digits, '.', '_' and '-' make one, and it begins with a letter or digit",
        )


def _model(row: tuple[Any, ...], tags: Mapping[str, str], properties: Mapping[str, str]) -> ModelVersion:
    name, version, created_at, *said, environment, number, identity, state, record = row
    description, framework, framework_version, run, experiment = said
    known = {"name": environment, "version": None if number is None else str(number), "id": identity}
    return ModelVersion(
        *(name, version, datetime.fromisoformat(created_at), description, framework, framework_version),
        *(run, experiment, known if identity else None, state == "archived"),
        *(tags, properties, json.loads(record)),
    )


def _text(record: Mapping[str, Any]) -> str:
    # In ASCII, since file names may be bytes that are no text.
    return json.dumps(dict(record), separators=(",", ":"))

"""Runs: one record each, numbered within its experiment, with tags and properties to find it by."""

# Statements are put together from what stands in this file; what comes from outside is always a value.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from envbuild.catalogue.experiments import enter
from envbuild.catalogue.marks import Marks
from envbuild.catalogue.part import Part
from envbuild.catalogue.statements import ambiguous, digests_in, number_of, page_of, places, written
from envbuild.errors import NotFound, Refused

_ENDED = ("Completed", "Failed", "Canceled")
"""What `envbuild.outcome.Status.ended` says; written out, since importing it takes longer than a query."""

_TAGS = Marks("run_tags", "tag", "run")
_PROPERTIES = Marks("run_properties", "property", "run")


class Runs(Part):
    """The part of the catalogue that knows runs."""

    def upsert_run(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Enter what is known of a run, or bring it up to date.

        A run that is new gets the next ``number`` of its experiment. One that has ended stays so: what is said of
        it by somebody who saw it before that is ignored. Tags that have changed from the last record to this one
        are taken over; what `tag_run` has set meanwhile stays otherwise.

        :param record: what `envbuild.outcome.RunRecord.to_dict` gives; ``parent``, ``type`` and ``properties`` too, if
            it has them.
        :returns: as `run`.
        :raises Refused: the run belongs to another experiment.
        :raises NotFound: somebody has deleted the run meanwhile.
        """
        self.upsert_runs((record,))
        return self._run(record["id"])

    def upsert_runs(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Do as `upsert_run` does for any number of runs, all of it or nothing.

        What is known already is not written again, and takes no lock.
        """
        if news := self._news(records):
            with self._db.write():
                for record, text in news:
                    self._enter(record, text)

    def run(self, identity: str) -> dict[str, Any]:
        """What is known of a run: its record, its ``number`` and its ``tags`` as they are now.

        :param identity: its id, or as much of the beginning as no other run has.
        :raises NotFound: no run's id begins so, or several runs' do; the error names those that come near.
        """
        if self._db.one("SELECT 1 FROM runs WHERE id = ?", identity):
            return self._run(identity)
        found = self._db.read(
            "SELECT id FROM runs WHERE substr(id, 1, ?) = ? ORDER BY created_at DESC LIMIT 6",
            *(len(identity), identity),
        )
        if len(found) > 1:
            raise ambiguous("run", identity, [each for (each,) in found])
        if not found:
            raise self._no_run(identity)
        return self._run(found[0][0])

    def runs(
        self,
        experiment: str | None = None,
        status: str | Iterable[str] | None = None,
        *,
        tags: Mapping[str, str | None] | None = None,
        properties: Mapping[str, str | None] | None = None,
        type: str | None = None,  # noqa: A002  Azure's name
        parent: str | None = None,
        top: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> tuple[dict[str, Any], ...]:
        """List runs, newest first, each as `run` gives it.

        :param status: one status, or several of which any will do.
        :param tags: tags that a run must have; ``None`` for any value. So with ``properties``.
        :param type: ``script`` or ``interactive``.
        :param parent: only the children of this run.
        :param top: only runs that are nobody's child.
        """
        where, values = ["parent IS NULL" if top else "1 = 1"], list[Any]()
        for column, wanted in (("experiment", experiment), ("type", type), ("parent", parent)):
            if wanted is not None:
                where.append(f"{column} = ?")
                values.append(wanted)
        if status is not None:
            statuses = [str(status)] if isinstance(status, str) else [str(each) for each in status]
            where.append(f"status IN ({places(statuses)})" if statuses else "1 = 0")
            values.extend(statuses)
        for marks, asked in ((_TAGS, tags), (_PROPERTIES, properties)):
            having, among = marks.having("id", asked)
            where.extend(having)
            values.extend(among)
        return self._runs(where, values, limit, offset)

    def runs_of_environment(self, name: str, version: int | str | None = None) -> tuple[dict[str, Any], ...]:
        """List the runs that used a registered version, or any version of the name, newest first."""
        where, values = ["environment_name = ?"], list[Any]([name])
        if version is not None:
            where.append("environment_version = ?")
            values.append(int(version))
        return self._runs(where, values)

    def tag_run(self, identity: str, tags: Mapping[str, str | None]) -> dict[str, Any]:
        """Set tags of a run; one whose value is ``None`` is removed.

        :returns: as `run`.
        :raises NotFound: as `run`.
        """
        with self._db.write():
            found = self.run(identity)
            _TAGS.set(self._db, (found["id"],), tags)
            return self._run(found["id"])

    def delete_run(self, identity: str) -> dict[str, Any]:
        """Forget a run; its number is not given to another one.

        :param identity: the whole id.
        :returns: what was known of it.
        :raises NotFound: there is no such run.
        """
        with self._db.write():
            found = self._run(identity)
            self._db.change("DELETE FROM runs WHERE id = ?", identity)
            return found

    # How they are found and changed

    def _news(self, records: Iterable[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], str]]:
        """The records that are not known just so, each with its text."""
        texts = [(each, _text(each)) for each in records]
        known = dict[str, str]()
        for start in range(0, len(texts), 500):
            some = [each["id"] for each, _ in texts[start : start + 500]]
            known.update(self._db.read(f"SELECT id, record FROM runs WHERE id IN ({places(some)})", *some))
        return [(each, text) for each, text in texts if known.get(each["id"]) != text]

    def _enter(self, record: Mapping[str, Any], text: str) -> None:
        identity = record["id"]
        known = self._db.one("SELECT experiment, number, status, record FROM runs WHERE id = ?", identity)
        if known is None:
            self._insert_run(record, text, enter(self._db, record["experiment"], runs=1))
            _TAGS.set(self._db, (identity,), record.get("tags") or {})
            return
        experiment, number, status, before = known
        if experiment != record["experiment"]:
            raise Refused(f"run {identity} belongs to experiment {experiment!r}, not {record['experiment']!r}")
        if status not in _ENDED or record["status"] in _ENDED:
            self._db.change("DELETE FROM run_digests WHERE run = ?", identity)
            self._insert_run(record, text, number)
            _TAGS.set(self._db, (identity,), _changes(json.loads(before).get("tags"), record.get("tags")))

    def _insert_run(self, record: Mapping[str, Any], text: str, number: int) -> None:
        environment = record.get("environment") or {}
        columns = {
            "id": record["id"],
            "experiment": record["experiment"],
            "number": number,
            "status": str(record["status"]),
            "environment_name": environment.get("name"),
            "environment_version": number_of(environment.get("version")),
            "environment_id": environment.get("id"),
            "snapshot": record.get("snapshot"),
            "created_at": written(record["created_at"]),
            "ended_at": written(record["ended_at"]) if record.get("ended_at") else None,
            "exit_code": record.get("exit_code"),
            "target": record.get("target") or "",
            "source": record.get("source") or "",
            "parent": record.get("parent"),
            "type": record.get("type") or "script",
            "record": text,
        }
        renewed = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in ("id", "number"))
        self._db.change(
            f"INSERT INTO runs ({', '.join(columns)}) VALUES ({places(columns)})"
            f" ON CONFLICT (id) DO UPDATE SET {renewed}",
            *columns.values(),
        )
        for digest in set(digests_in(record)):
            self._db.change("INSERT INTO run_digests (run, digest) VALUES (?, ?)", record["id"], digest)
        _PROPERTIES.set(self._db, (record["id"],), record.get("properties") or {})

    def _run(self, identity: str) -> dict[str, Any]:
        found = self._runs(["id = ?"], [identity])
        if not found:
            raise self._no_run(identity)
        return found[0]

    def _runs(
        self, where: Iterable[str], values: Iterable[Any], limit: int | None = None, offset: int = 0
    ) -> tuple[dict[str, Any], ...]:
        page, bounds = page_of(limit, offset)
        rows = self._db.read(
            f"SELECT id, number, record FROM runs WHERE {' AND '.join(where)}"
            f" ORDER BY created_at DESC, number DESC, id DESC{page}",
            *(*values, *bounds),
        )
        tags = _TAGS.read(self._db, [(identity,) for identity, _, _ in rows])
        return tuple(
            {**json.loads(record), "number": number, "tags": tags.get((identity,), {})}
            for identity, number, record in rows
        )

    def _no_run(self, identity: str) -> NotFound:
        newest = self._db.read("SELECT id FROM runs ORDER BY created_at DESC LIMIT 3")
        if not newest:
            return NotFound(f"no run {identity!r}: nothing has been run in this workspace yet")
        hint = f"the newest are: {', '.join(each for (each,) in newest)} ('envbuild runs list' shows all)"
        return NotFound(f"no run's id begins with {identity!r}", hint=hint)


def _text(record: Mapping[str, Any]) -> str:
    # In ASCII, since arguments and file names may be bytes that are no text, and databases take only text.
    return json.dumps(dict(record), separators=(",", ":"), default=str)


def _changes(before: Mapping[str, str] | None, after: Mapping[str, str] | None) -> dict[str, str | None]:
    """What has to be set, or with ``None`` removed, to come from one to the other.

    >>> _changes({"a": "1", "b": "2", "c": "3"}, {"b": "2", "c": "4"})
    {'a': None, 'c': '4'}
    """
    old, new = dict(before or {}), dict(after or {})
    return {tag: new.get(tag) for tag in sorted(old.keys() | new.keys()) if old.get(tag) != new.get(tag)}

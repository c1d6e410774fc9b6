"""The catalogue: which names, versions, labels, resolutions and runs there are in a workspace.

All SQL of envbuild stands here. `Catalogue` asks and answers in values; that SQLite answers is known to
`envbuild.database` alone. The statements keep to what PostgreSQL understands too: no implicit row numbers, no SQLite
types, ``?`` for every value, one writer at a time wherever a number is given out.

Digests stand as they are written (``sha256:…``) and times are aware `datetime` values. The content behind a
digest is the store's business (`envbuild.store`), and so is whether it is still there.
"""

# Statements are put together from what stands in this file; what comes from outside is always a value.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from envbuild.database import Database
from envbuild.errors import EnvbuildError, NotFound, Refused

if TYPE_CHECKING:
    from types import TracebackType

    from envbuild.digest import Digest

LATEST = "latest"
"""The label that always stands for the highest version that is neither archived nor deleted."""

_ENDED = ("Completed", "Failed", "Canceled")
"""What `envbuild.outcome.Status.ended` says; written out, since importing it takes longer than a query."""

_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE environments (
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            definition_digest TEXT NOT NULL,
            root TEXT,
            description TEXT NOT NULL,
            created_at TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('active', 'archived', 'deleted')),
            tags TEXT NOT NULL,
            pinned INTEGER NOT NULL,
            PRIMARY KEY (name, version)
        )""",
        """CREATE UNIQUE INDEX environments_content ON environments (name, definition_digest)
            WHERE state <> 'deleted'""",
        "CREATE INDEX environments_active ON environments (name, version) WHERE state = 'active'",
        "CREATE INDEX environments_definition ON environments (definition_digest)",
        """CREATE TABLE labels (
            name TEXT NOT NULL,
            label TEXT NOT NULL,
            version INTEGER NOT NULL,
            PRIMARY KEY (name, label),
            FOREIGN KEY (name, version) REFERENCES environments (name, version)
        )""",
        """CREATE TABLE resolutions (
            number INTEGER NOT NULL PRIMARY KEY,
            definition_digest TEXT NOT NULL,
            platform TEXT NOT NULL,
            python TEXT NOT NULL,
            lock_digest TEXT NOT NULL,
            environment_id TEXT NOT NULL,
            resolved_at TEXT NOT NULL,
            source TEXT NOT NULL
        )""",
        "CREATE INDEX resolutions_definition ON resolutions (definition_digest, platform, number)",
        "CREATE INDEX resolutions_environment ON resolutions (environment_id, number)",
        "CREATE INDEX resolutions_source ON resolutions (source, number)",
        "CREATE TABLE experiments (name TEXT NOT NULL PRIMARY KEY, last_number INTEGER NOT NULL)",
        """CREATE TABLE runs (
            id TEXT NOT NULL PRIMARY KEY,
            experiment TEXT NOT NULL REFERENCES experiments (name),
            number INTEGER NOT NULL,
            status TEXT NOT NULL,
            environment_name TEXT,
            environment_version INTEGER,
            environment_id TEXT,
            snapshot TEXT,
            created_at TEXT NOT NULL,
            ended_at TEXT,
            exit_code INTEGER,
            target TEXT NOT NULL,
            source TEXT NOT NULL,
            record TEXT NOT NULL,
            UNIQUE (experiment, number)
        )""",
        "CREATE INDEX runs_created ON runs (created_at)",
        "CREATE INDEX runs_experiment ON runs (experiment, created_at)",
        "CREATE INDEX runs_status ON runs (status, created_at)",
        "CREATE INDEX runs_environment ON runs (environment_name, environment_version)",
        """CREATE TABLE run_tags (
            run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            tag TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (run, tag)
        )""",
        "CREATE INDEX run_tags_value ON run_tags (tag, value)",
        """CREATE TABLE run_digests (
            run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            digest TEXT NOT NULL,
            PRIMARY KEY (run, digest)
        )""",
    ),
)
"""What brings a catalogue from one schema to the next; what stands here once never changes, more is put behind it."""


class EnvironmentVersion(NamedTuple):
    """A definition under a name and a number.

    :param version: 1, 2, … without gaps; the same number never comes to mean another definition.
    :param root: the folder that the definition's relative paths are meant from.
    :param labels: the labels that were put on it; `LATEST` is not among them.
    """

    name: str
    version: int
    definition_digest: str
    root: str | None
    description: str
    created_at: datetime
    archived: bool
    tags: Mapping[str, str]
    labels: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


class Resolution(NamedTuple):
    """That a definition was resolved to a lock, on some day and for some platform.

    :param source: the path of the file that the definition was read from, or a registered name.
    """

    definition_digest: str
    platform: str
    python: str
    lock_digest: str
    environment_id: str
    source: str
    resolved_at: datetime


class Experiment(NamedTuple):
    """A name that runs are gathered under.

    :param runs: how many of its runs are still there.
    :param last_number: the number that its newest run was given.
    """

    name: str
    runs: int
    last_number: int


class Catalogue:
    """The names and runs of one workspace, in the file ``path``; made, with its folder, where it is missing.

    Any number of threads and processes may use one file at the same time. Each change is whole or not there at
    all, also when its process is killed; several are made one by `transaction`.

    :raises StoreError: the file cannot be read or written, or is damaged.
    :raises EnvbuildError: a newer envbuild has changed it into a form that this one does not know.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._db = Database(self.path, _MIGRATIONS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; should the catalogue be used again, it is opened again."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes within one: other processes see all of them or none, and wait meanwhile."""
        with self._db.write():
            yield

    # Environments

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
                *(_written(created_at), _tags_text(tags or {}), int(pinned)),
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
        page, bounds = _page(limit, offset)
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
                *(_tags_text(merged), name, found.version),
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

    # Resolutions

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
            row = (*said, _written(resolved_at))
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

    def resolution_of(self, environment_id: Digest | str) -> Resolution | None:
        """The last resolution that led to an environment; ``None`` if none did.

        :param environment_id: the id, or enough of its first digits, with or without ``sha256:``.
        :raises NotFound: several environments' ids begin so; the error names them.
        """
        wanted = str(environment_id)
        wanted = wanted if wanted.startswith("sha256:") else f"sha256:{wanted}"
        by = " WHERE environment_id = ? ORDER BY number DESC LIMIT 1"
        row = self._db.one(_RESOLUTION + by, wanted)
        if row is None and len(wanted) > len("sha256:"):
            ids = self._db.read(
                "SELECT DISTINCT environment_id FROM resolutions WHERE substr(environment_id, 1, ?) = ?"
                " ORDER BY environment_id LIMIT 6",
                *(len(wanted), wanted),
            )
            if len(ids) > 1:
                raise _ambiguous("environment", str(environment_id), [found for (found,) in ids])
            row = self._db.one(_RESOLUTION + by, ids[0][0]) if ids else None
        return _resolution(row) if row else None

    def history(
        self, source: Path | str, platform: str | None = None, limit: int | None = None
    ) -> tuple[Resolution, ...]:
        """What a file, or a name, was resolved to over time, newest first."""
        narrower, values = ("", ()) if platform is None else (" AND platform = ?", (platform,))
        page, bounds = _page(limit)
        rows = self._db.read(
            f"{_RESOLUTION} WHERE source = ?{narrower} ORDER BY number DESC{page}",
            *(str(source), *values, *bounds),
        )
        return tuple(map(_resolution, rows))

    # Runs

    def upsert_run(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Enter what is known of a run, or bring it up to date.

        A run that is new gets the next ``number`` of its experiment. One that has ended stays so: what is said of
        it by somebody who saw it before that is ignored. Tags that have changed from the last record to this one
        are taken over; what `tag_run` has set meanwhile stays otherwise.

        :param record: what `envbuild.outcome.RunRecord.to_dict` gives.
        :returns: as `run`.
        :raises Refused: the run belongs to another experiment.
        """
        identity = record["id"]
        with self._db.write():
            known = self._db.one("SELECT experiment, number, status, record FROM runs WHERE id = ?", identity)
            if known is None:
                self._insert_run(record, self._next_number(record["experiment"]))
                self._change_run_tags(identity, record.get("tags") or {})
            else:
                experiment, number, status, before = known
                if experiment != record["experiment"]:
                    raise Refused(f"run {identity} belongs to experiment {experiment!r}, not {record['experiment']!r}")
                if status not in _ENDED or record["status"] in _ENDED:
                    self._db.change("DELETE FROM run_digests WHERE run = ?", identity)
                    self._insert_run(record, number)
                    self._change_run_tags(identity, _changes(json.loads(before).get("tags"), record.get("tags")))
            return self._run(identity)

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
            raise _ambiguous("run", identity, [each for (each,) in found])
        if not found:
            raise self._no_run(identity)
        return self._run(found[0][0])

    def runs(
        self,
        experiment: str | None = None,
        status: str | Iterable[str] | None = None,
        *,
        tags: Mapping[str, str | None] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> tuple[dict[str, Any], ...]:
        """List runs, newest first, each as `run` gives it.

        :param status: one status, or several of which any will do.
        :param tags: tags that a run must have; ``None`` for any value.
        """
        where, values = ["1 = 1"], list[Any]()
        if experiment is not None:
            where.append("experiment = ?")
            values.append(experiment)
        if status is not None:
            statuses = [str(status)] if isinstance(status, str) else [str(each) for each in status]
            where.append(f"status IN ({_places(statuses)})" if statuses else "1 = 0")
            values.extend(statuses)
        for tag, value in (tags or {}).items():
            narrower = "" if value is None else " AND value = ?"
            where.append(f"id IN (SELECT run FROM run_tags WHERE tag = ?{narrower})")
            values.extend([tag] if value is None else [tag, value])
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
            self._change_run_tags(found["id"], tags)
            return self._run(found["id"])

    def delete_run(self, identity: str) -> dict[str, Any]:
        """Forget a run; its number is not given to another one.

        :param identity: the whole id.
        :returns: what was known of it.
        :raises NotFound: there is no such run.
        """
        with self._db.write():
            if not self._db.one("SELECT 1 FROM runs WHERE id = ?", identity):
                raise self._no_run(identity)
            found = self._run(identity)
            self._db.change("DELETE FROM runs WHERE id = ?", identity)
            return found

    def experiments(self) -> tuple[Experiment, ...]:
        """List the experiments that runs were entered under, by name."""
        rows = self._db.read(
            "SELECT name, (SELECT COUNT(*) FROM runs WHERE experiment = name), last_number"
            " FROM experiments ORDER BY name"
        )
        return tuple(Experiment(*row) for row in rows)

    # What the store must keep

    def referenced_digests(self) -> frozenset[str]:
        """Every digest that a version, a resolution or a run refers to: the store may not drop their blobs.

        Definitions, locks and environments stand here by the digest of their documents; of a run it is every
        digest that occurs in its record (snapshot, outputs, …). What such a document refers to in turn, a
        private wheel for one, only a reader of the document can tell.
        """
        rows = self._db.read(
            "SELECT definition_digest FROM environments WHERE state <> 'deleted'"
            " UNION SELECT definition_digest FROM resolutions"
            " UNION SELECT lock_digest FROM resolutions"
            " UNION SELECT environment_id FROM resolutions"
            " UNION SELECT digest FROM run_digests"
        )
        return frozenset(digest for (digest,) in rows)

    def pinned_images(self) -> frozenset[str]:
        """The ids of what versions that are pinned, or have a label, were last resolved to; archived ones too."""
        rows = self._db.read(
            "SELECT DISTINCT environment_id FROM resolutions WHERE number = (SELECT MAX(r.number) FROM resolutions r"
            " WHERE r.definition_digest = resolutions.definition_digest AND r.platform = resolutions.platform)"
            " AND definition_digest IN (SELECT definition_digest FROM environments WHERE state <> 'deleted'"
            " AND (pinned = 1 OR EXISTS (SELECT 1 FROM labels WHERE labels.name = environments.name"
            " AND labels.version = environments.version)))"
        )
        settled = self._db.read(
            "SELECT DISTINCT r.environment_id FROM resolutions r"
            " JOIN environments e ON r.source = e.name || ':' || e.version"
            " WHERE e.state <> 'deleted' AND (e.pinned = 1 OR EXISTS (SELECT 1 FROM labels WHERE labels.name = e.name"
            " AND labels.version = e.version))"
        )
        return frozenset(identity for (identity,) in (*rows, *settled))

    # How environments are found and changed

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
            hint = f"its versions: {_some(known, newest=True)}" + (f"; its labels: {_some(labels)}" if labels else "")
            if all(each.archived for each in versions):
                hint += f"; 'envbuild env restore {name}' brings them back"
            return NotFound(said, hint=hint)
        from envbuild.form import did_you_mean

        names = [found for (found,) in self._db.read("SELECT DISTINCT name FROM environments WHERE state <> 'deleted'")]
        hint = (
            f"registered are: {_some(sorted(names))}"
            if names
            else "'envbuild env register' gives an environment a name"
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
        places = _some([f"{name}:{version}" for version, _ in used])
        wanted = name if whole else f"{name}:{versions[0].version}"
        raise Refused(
            f"{places} {'is' if len(used) == 1 else 'are'} used by {total} {'run' if total == 1 else 'runs'}",
            hint=f"'envbuild env archive {wanted}' hides it and keeps it usable;"
            f" 'envbuild env delete {wanted} --force' deletes it all the same, and the runs keep their records",
        )

    # How runs are found and changed

    def _next_number(self, experiment: str) -> int:
        self._db.change(
            "INSERT INTO experiments (name, last_number) VALUES (?, 1)"
            " ON CONFLICT (name) DO UPDATE SET last_number = experiments.last_number + 1",
            experiment,
        )
        (number,) = self._db.row("SELECT last_number FROM experiments WHERE name = ?", experiment)
        return int(number)

    def _insert_run(self, record: Mapping[str, Any], number: int) -> None:
        environment = record.get("environment") or {}
        version = environment.get("version")
        columns = {
            "id": record["id"],
            "experiment": record["experiment"],
            "number": number,
            "status": str(record["status"]),
            "environment_name": environment.get("name"),
            "environment_version": int(version) if version is not None and str(version).isdigit() else None,
            "environment_id": environment.get("id"),
            "snapshot": record.get("snapshot"),
            "created_at": _written(record["created_at"]),
            "ended_at": _written(record["ended_at"]) if record.get("ended_at") else None,
            "exit_code": record.get("exit_code"),
            "target": record.get("target") or "",
            "source": record.get("source") or "",
            # In ASCII, since arguments and file names may be bytes that are no text, and databases take only text.
            "record": json.dumps(dict(record), separators=(",", ":"), default=str),
        }
        renewed = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in ("id", "number"))
        self._db.change(
            f"INSERT INTO runs ({', '.join(columns)}) VALUES ({_places(columns)})"
            f" ON CONFLICT (id) DO UPDATE SET {renewed}",
            *columns.values(),
        )
        for digest in set(_digests(record)):
            self._db.change("INSERT INTO run_digests (run, digest) VALUES (?, ?)", record["id"], digest)

    def _change_run_tags(self, identity: str, tags: Mapping[str, str | None]) -> None:
        for tag, value in tags.items():
            if value is None:
                self._db.change("DELETE FROM run_tags WHERE run = ? AND tag = ?", identity, tag)
            else:
                self._db.change(
                    "INSERT INTO run_tags (run, tag, value) VALUES (?, ?, ?)"
                    " ON CONFLICT (run, tag) DO UPDATE SET value = excluded.value",
                    *(identity, tag, str(value)),
                )

    def _run(self, identity: str) -> dict[str, Any]:
        (found,) = self._runs(["id = ?"], [identity])
        return found

    def _runs(
        self, where: Iterable[str], values: Iterable[Any], limit: int | None = None, offset: int = 0
    ) -> tuple[dict[str, Any], ...]:
        page, bounds = _page(limit, offset)
        rows = self._db.read(
            f"SELECT id, number, record FROM runs WHERE {' AND '.join(where)}"
            f" ORDER BY created_at DESC, number DESC, id DESC{page}",
            *(*values, *bounds),
        )
        tags: dict[str, dict[str, str]] = {}
        for run, tag, value in self._tags_of([identity for identity, _, _ in rows]):
            tags.setdefault(run, {})[tag] = value
        return tuple(
            {**json.loads(record), "number": number, "tags": tags.get(identity, {})}
            for identity, number, record in rows
        )

    def _tags_of(self, runs: Sequence[str]) -> Iterator[tuple[str, str, str]]:
        # A statement takes only so many values.
        for start in range(0, len(runs), 500):
            some = runs[start : start + 500]
            yield from self._db.read(
                f"SELECT run, tag, value FROM run_tags WHERE run IN ({_places(some)}) ORDER BY tag",
                *some,
            )

    def _no_run(self, identity: str) -> NotFound:
        newest = self._db.read("SELECT id FROM runs ORDER BY created_at DESC LIMIT 3")
        if not newest:
            return NotFound(f"no run {identity!r}: nothing has been run in this workspace yet")
        hint = f"the newest are: {', '.join(each for (each,) in newest)} ('envbuild runs list' shows all)"
        return NotFound(f"no run's id begins with {identity!r}", hint=hint)


_VERSION = "SELECT name, version, definition_digest, root, description, created_at, state, tags FROM environments"
_RESOLUTION = (
    "SELECT definition_digest, platform, python, lock_digest, environment_id, source, resolved_at FROM resolutions"
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


def _resolution(row: tuple[Any, ...]) -> Resolution:
    *said, resolved_at = row
    return Resolution._make([*said, datetime.fromisoformat(resolved_at)])


def _check_name(name: str) -> None:
    # Whoever registers a definition has loaded this module already; whoever looks one up has not.
    from envbuild.definition import Definition

    Definition(name=name)


def _written(at: datetime | str | None) -> str:
    """The one spelling of a moment, which sorts as time goes; now, if none is given.

    >>> _written("2024-05-01T12:00:00+02:00")
    '2024-05-01T10:00:00.000000+00:00'
    """
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    moment = datetime.now(UTC) if at is None else at.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")


def _tags_text(tags: Mapping[str, Any]) -> str:
    return json.dumps({key: str(value) for key, value in tags.items()}, ensure_ascii=False) if tags else ""


def _changes(before: Mapping[str, str] | None, after: Mapping[str, str] | None) -> dict[str, str | None]:
    """What has to be set, or with ``None`` removed, to come from one to the other.

    >>> _changes({"a": "1", "b": "2", "c": "3"}, {"b": "2", "c": "4"})
    {'a': None, 'c': '4'}
    """
    old, new = dict(before or {}), dict(after or {})
    return {tag: new.get(tag) for tag in sorted(old.keys() | new.keys()) if old.get(tag) != new.get(tag)}


def _digests(value: Any) -> Iterator[str]:
    """Every digest that occurs anywhere in ``value``."""
    if isinstance(value, str):
        if value.startswith("sha256:") and len(value) == 71:
            yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _digests(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _digests(each)


def _page(limit: int | None, offset: int = 0) -> tuple[str, tuple[int, ...]]:
    if limit is None:
        # SQLite has no OFFSET without a LIMIT.
        return ("", ()) if not offset else (" LIMIT ? OFFSET ?", (2**31 - 1, offset))
    return " LIMIT ? OFFSET ?", (limit, offset)


def _places(values: Iterable[Any]) -> str:
    """A placeholder for each value."""
    return ", ".join("?" for _ in values)


def _some(words: Iterable[str], newest: bool = False) -> str:
    """The first ten words, or the last, and how many more there are."""
    every = [*words]
    kept, more = every[-10:] if newest else every[:10], len(every) - 10
    if more <= 0:
        return ", ".join(kept)
    return f"… {more} more, {', '.join(kept)}" if newest else f"{', '.join(kept)} and {more} more"


def _ambiguous(what: str, prefix: str, ids: Iterable[str]) -> NotFound:
    return NotFound(f"several {what}s' ids begin with {prefix!r}", hint=f"say more of one of: {_some(ids)}")

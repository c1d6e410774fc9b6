"""Experiments: the names that runs are gathered under, with tags and a state."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from envbuild.catalogue.marks import Marks
from envbuild.catalogue.part import Part
from envbuild.catalogue.statements import some, written
from envbuild.catalogue.values import Experiment
from envbuild.errors import NotFound, Refused

if TYPE_CHECKING:
    from envbuild.database import Database

_TAGS = Marks("experiment_tags", "tag", "experiment")

_EXPERIMENT = (
    "SELECT name, (SELECT COUNT(*) FROM runs WHERE runs.experiment = experiments.name), last_number, created_at, state"
    " FROM experiments"
)


class Experiments(Part):
    """The part of the catalogue that knows experiments."""

    def create_experiment(self, name: str, tags: Mapping[str, str] | None = None) -> Experiment:
        """Make an experiment, or find the one that has the name, archived or not; the tags are set in both cases.

        A deleted one comes back empty, and goes on numbering where it was.
        """
        if not tags and self._db.one("SELECT 1 FROM experiments WHERE name = ? AND state <> 'deleted'", name):
            return self.experiment(name)
        with self._db.write():
            enter(self._db, name, runs=0)
            return self.tag_experiment(name, tags or {})

    def experiment(self, name: str) -> Experiment:
        """Find an experiment, archived or not.

        :raises NotFound: there is none of that name; the error names those that there are.
        """
        row = self._db.one(f"{_EXPERIMENT} WHERE name = ? AND state <> 'deleted'", name)
        if row is None:
            raise self._no_experiment(name)
        return _experiment(row, _TAGS.read(self._db, [(name,)]).get((name,), {}))

    def experiments(
        self, *, archived: bool = False, tags: Mapping[str, str | None] | None = None
    ) -> tuple[Experiment, ...]:
        """List the experiments that were made, or that runs were entered under, by name.

        :param archived: archived ones as well.
        :param tags: tags that an experiment must have; ``None`` for any value.
        """
        tagged, values = _TAGS.having("name", tags)
        where = ["state <> 'deleted'" if archived else "state = 'active'", *tagged]
        rows = self._db.read(f"{_EXPERIMENT} WHERE {' AND '.join(where)} ORDER BY name", *values)
        known = _TAGS.read(self._db)
        return tuple(_experiment(row, known.get(row[:1], {})) for row in rows)

    def tag_experiment(self, name: str, tags: Mapping[str, str | None]) -> Experiment:
        """Set tags of an experiment; one whose value is ``None`` is removed.

        :raises NotFound: there is no such experiment.
        """
        with self._db.write():
            self.experiment(name)
            _TAGS.set(self._db, (name,), tags)
            return self.experiment(name)

    def archive_experiment(self, name: str) -> Experiment:
        """Take an experiment out of lists; its runs stay, and more may come.

        :raises NotFound: there is no such experiment.
        """
        return self._set_experiment_state(name, "archived")

    def restore_experiment(self, name: str) -> Experiment:
        """Undo `archive_experiment`.

        :raises NotFound: there is no such experiment.
        """
        return self._set_experiment_state(name, "active")

    def delete_experiment(self, name: str) -> Experiment:
        """Forget an experiment that has no runs; its numbers are not given again.

        :returns: what was known of it.
        :raises NotFound: there is no such experiment.
        :raises Refused: it has runs.
        """
        with self._db.write():
            found = self.experiment(name)
            if found.runs:
                raise Refused(
                    f"experiment {name} has {found.runs} {'run' if found.runs == 1 else 'runs'}",
                    hint=f"archiving hides it; 'envbuild runs list --name {name}' shows what would have to be deleted",
                )
            _TAGS.clear(self._db, name)
            self._set_experiment_state(name, "deleted")
            return found

    # How they are found and changed

    def _set_experiment_state(self, name: str, state: str) -> Experiment:
        with self._db.write():
            found = self.experiment(name)
            self._db.change("UPDATE experiments SET state = ? WHERE name = ?", state, name)
            return found._replace(archived=state == "archived")

    def _no_experiment(self, name: str) -> NotFound:
        from envbuild.form import did_you_mean

        names = [each.name for each in self.experiments(archived=True)]
        hint = f"there are: {some(names)}" if names else "the first run makes one"
        return NotFound(f"no experiment is named {name!r}{did_you_mean(name, names)}", hint=hint)


def _experiment(row: tuple[Any, ...], tags: Mapping[str, str]) -> Experiment:
    name, runs, last_number, created_at, state = row
    at = datetime.fromisoformat(created_at) if created_at else None
    return Experiment(name, runs, last_number, at, state == "archived", tags)


def enter(db: Database, name: str, *, runs: int) -> int:
    """Make an experiment, or find it, and give out numbers for that many more runs; gives the last of them."""
    db.change(
        "INSERT INTO experiments (name, last_number, created_at, state) VALUES (?, ?, ?, 'active')"
        " ON CONFLICT (name) DO UPDATE SET last_number = experiments.last_number + excluded.last_number,"
        " state = CASE experiments.state WHEN 'deleted' THEN 'active' ELSE experiments.state END",
        *(name, runs, written(None)),
    )
    (number,) = db.row("SELECT last_number FROM experiments WHERE name = ?", name)
    return int(number)

"""Marks: the tags and properties of runs, experiments and models, each kind in a table of its own."""

# Statements are put together from what stands in this package; what comes from outside is always a value.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from envbuild.catalogue.statements import places

if TYPE_CHECKING:
    from envbuild.database import Database

_MANY = 400
"""A statement takes only so many values."""


class Marks:
    """One of the tables.

    :param word: the column of the names: ``tag``, or ``property``.
    :param owner: the columns that say whose they are.
    """

    def __init__(self, table: str, word: str, *owner: str) -> None:
        self.table = table
        self.word = word
        self.owner = owner

    def set(self, db: Database, owner: Iterable[Any], marks: Mapping[str, Any]) -> None:
        """Set some; one whose value is ``None`` is removed."""
        whose = (*owner,)
        for mark, value in marks.items():
            if value is None:
                self._delete(db, (*self.owner, self.word), (*whose, mark))
            else:
                db.change(
                    f"INSERT INTO {self.table} ({self._columns}) VALUES ({places((*whose, mark, value))})"
                    f" ON CONFLICT ({', '.join((*self.owner, self.word))}) DO UPDATE SET value = excluded.value",
                    *(*whose, mark, str(value)),
                )

    def clear(self, db: Database, *owner: Any) -> None:
        """Remove all that an owner has."""
        self._delete(db, self.owner, owner)

    def read(
        self, db: Database, owners: Iterable[tuple[Any, ...]] | None = None
    ) -> dict[tuple[Any, ...], dict[str, str]]:
        """What each owner has, by name.

        :param owners: of these; by default of all that have any.
        """
        found: dict[tuple[Any, ...], dict[str, str]] = {}
        wanted = None if owners is None else [*owners]
        for start in range(0, 1 if wanted is None else len(wanted), _MANY):
            some = [] if wanted is None else wanted[start : start + _MANY]
            among = ", ".join(f"({places(each)})" for each in some)
            where = "" if wanted is None else f" WHERE ({', '.join(self.owner)}) IN (VALUES {among})"
            for *owner, mark, value in db.read(
                f"SELECT {self._columns} FROM {self.table}{where} ORDER BY {self.word}",
                *(value for each in some for value in each),
            ):
                found.setdefault((*owner,), {})[mark] = value
        return found

    def having(self, columns: str, wanted: Mapping[str, str | None] | None) -> tuple[list[str], list[str]]:
        """Conditions, and the values in them, for owners that have all that is wanted; ``None`` stands for any value.

        >>> Marks("run_tags", "tag", "run").having("id", {"kind": "baseline"})
        (['id IN (SELECT run FROM run_tags WHERE tag = ? AND value = ?)'], ['kind', 'baseline'])
        """
        where, values = list[str](), list[str]()
        for mark, value in (wanted or {}).items():
            narrower = "" if value is None else " AND value = ?"
            owner = ", ".join(self.owner)
            where.append(f"{columns} IN (SELECT {owner} FROM {self.table} WHERE {self.word} = ?{narrower})")
            values.extend([mark] if value is None else [mark, str(value)])
        return where, values

    @property
    def _columns(self) -> str:
        return ", ".join((*self.owner, self.word, "value"))

    def _delete(self, db: Database, columns: tuple[str, ...], values: tuple[Any, ...]) -> None:
        where = " AND ".join(f"{column} = ?" for column in columns)
        db.change(f"DELETE FROM {self.table} WHERE {where}", *values)

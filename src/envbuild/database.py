"""The database: SQLite, as the catalogue uses it.

What is said to it, all SQL of envbuild, stands in `envbuild.catalogue`; this module opens, locks, migrates and retries.
Another database would have a module like this one, and the catalogue would not notice.
"""

from __future__ import annotations

import os
import sqlite3
import time
import weakref

# What `threading` gives too, which takes longer to import than all of the catalogue.
from _thread import RLock
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from envbuild.errors import EnvbuildError, StoreError

T = TypeVar("T")


class Database:
    """One SQLite file: opening, locking, migrating, and its errors in our words.

    Statements have a ``?`` for each value. Another database would have the same methods, put its own
    placeholders in (`_execute`), and let `write` take a lock that only one transaction can hold.

    :param migrations: what brings the file from one schema to the next, a list of statements each.
    """

    _PATIENCE = 60.0
    """Seconds to wait for other writers. A transaction takes a millisecond; one that was stopped may take long."""

    def __init__(self, path: Path, migrations: Sequence[Sequence[str]]) -> None:
        self._path = path
        self._migrations = migrations
        self._lock = RLock()
        self._open: sqlite3.Connection | None = None
        _spare_at_fork(self)
        with self._ready():
            self._connection()

    def read(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows."""
        with self._ready():
            return self._patiently(lambda: self._execute(statement, values).fetchall())

    def one(self, statement: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row, if there is one."""
        rows = self.read(statement, *values)
        return rows[0] if rows else None

    def row(self, statement: str, *values: Any) -> tuple[Any, ...]:
        """The only row."""
        (found,) = self.read(statement, *values)
        return found

    def change(self, statement: str, *values: Any) -> int:
        """How many rows were changed; only within `write`."""
        with self._ready():
            return self._execute(statement, values).rowcount

    @contextmanager
    def write(self) -> Iterator[None]:
        """A transaction in which nobody else writes: kept when the block ends, undone when it raises.

        Within another one it is a part of that. It does not outlive a fork.
        """
        with self._lock:
            outer = self._open is not None and self._open.in_transaction
            # IMMEDIATE: what is read here is still so when it is written.
            begin, keep, undo = (
                (("SAVEPOINT part",), ("RELEASE part",), ("ROLLBACK TO part", "RELEASE part"))
                if outer
                else (("BEGIN IMMEDIATE",), ("COMMIT",), ("ROLLBACK",))
            )
            try:
                self._outside(*begin)
                yield
                self._outside(*keep)
            except BaseException:
                # SQLite has undone it by itself after some errors, such as a full disk.
                if self._open is not None and self._open.in_transaction:
                    self._outside(*undo)
                raise

    def close(self) -> None:
        """Let go of the file until it is needed again, unless this thread is within a transaction."""
        with self._lock:
            if self._open and not self._open.in_transaction:
                self._open.close()
                self._open = None

    def close_before_fork(self) -> None:
        """Close, unless another thread is busy for long."""
        if self._lock.acquire(timeout=1):
            try:
                self.close()
            finally:
                self._lock.release()

    def start_after_fork(self) -> None:
        """Forget the threads that the parent has and this process has not."""
        self._lock = RLock()

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    f"cannot make {self._path.parent}: {error.strerror or error}",
                    hint="choose another workspace with ENVBUILD_WORKSPACE",
                ) from error
            self._open = sqlite3.connect(self._path, timeout=0.05, isolation_level=None, check_same_thread=False)
            try:
                self._set_up()
            except BaseException:
                self._open.close()
                self._open = None
                raise
        return self._open

    def _set_up(self) -> None:
        # In this mode readers never wait. Turning it on needs a lock that SQLite does not wait for by itself.
        self._outside("PRAGMA journal_mode = WAL")
        # A version number that was told to somebody must survive a power cut.
        self._outside("PRAGMA synchronous = FULL")
        self._outside("PRAGMA foreign_keys = ON")
        self._migrate()

    def _migrate(self) -> None:
        if self._schema() == len(self._migrations):
            return
        with self.write():
            for number in range(self._schema(), len(self._migrations)):
                for statement in self._migrations[number]:
                    self._execute(statement)
                self._execute(f"PRAGMA user_version = {number + 1}")

    def _schema(self) -> int:
        """How many migrations the file has gone through."""
        (found,) = self.row("PRAGMA user_version")
        if found > len(self._migrations):
            raise EnvbuildError(
                f"{self._path} was written by a newer envbuild (its schema is {found}, this one knows"
                f" {len(self._migrations)})",
                hint="upgrade envbuild, or choose another workspace with ENVBUILD_WORKSPACE",
            )
        return int(found)

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        return self._connection().execute(statement, tuple(map(_bindable, values)))

    def _outside(self, *statements: str) -> None:
        """Execute what begins, ends or precedes transactions."""
        for statement in statements:
            self.read(statement)

    @contextmanager
    def _ready(self) -> Iterator[None]:
        """The connection for this thread alone, and its errors in our words."""
        with self._lock:
            try:
                yield
            except sqlite3.IntegrityError:
                raise
            except sqlite3.DatabaseError as error:
                raise _store_error(self._path, error) from error

    def _patiently(self, step: Callable[[], T]) -> T:
        """Try again while others hold the lock.

        SQLite's own waiting sleeps longer and longer, so that whoever has waited longest is served last.
        """
        deadline = time.monotonic() + self._PATIENCE
        while True:
            try:
                return step()
            except sqlite3.OperationalError as error:
                # The second is what many processes that open one file at the same moment are told.
                passing = _reason(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL)
                if not passing or time.monotonic() > deadline:
                    raise
            import random

            time.sleep(random.uniform(0.0005, 0.01))  # noqa: S311


_DATABASES: weakref.WeakSet[Database] = weakref.WeakSet()


def _spare_at_fork(database: Database) -> None:
    """Keep forks away from ``database``.

    A child that inherits an open file of SQLite's inherits the belief that it holds its locks, and two processes
    that both believe so can destroy the file, even where the child opens it anew.
    """
    _watch_forks()
    _DATABASES.add(database)


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


def _before_fork() -> None:
    for database in tuple(_DATABASES):
        database.close_before_fork()


def _after_fork() -> None:
    for database in tuple(_DATABASES):
        database.start_after_fork()


def _reason(error: sqlite3.Error) -> int:
    """SQLite's primary result code."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _store_error(path: Path, error: sqlite3.DatabaseError) -> StoreError:
    reason = _reason(error)
    if reason in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StoreError(
            f"{path} is damaged: {error}",
            hint=f"put back a copy of it, or move it and {path.name}-wal away: the next command starts a new one,"
            " without the registered names; what is in the folders of the runs stays",
        )
    if reason in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreError(
            f"{path} cannot be written: {error}",
            hint="make its folder writable, or choose another workspace with ENVBUILD_WORKSPACE",
        )
    if reason == sqlite3.SQLITE_FULL:
        return StoreError(f"{path} cannot be written: no space left", hint="'envbuild store gc' makes room")
    if reason == sqlite3.SQLITE_IOERR:
        return StoreError(f"{path} cannot be used: {error}", hint="the disk fails, or has no space left")
    if reason == sqlite3.SQLITE_BUSY:
        return StoreError(f"{path} is in use by another process, for too long", hint="end that process, or try again")
    return StoreError(f"{path} cannot be used: {error}")


def _bindable(value: Any) -> Any:
    """A value as a database takes it: paths may hold bytes that are no text, and those stand escaped."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value

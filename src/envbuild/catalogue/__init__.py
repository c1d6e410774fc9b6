"""The catalogue: which names, versions, labels, resolutions, runs and models there are in a workspace.

All SQL of envbuild stands in this package, a part for each thing that is recorded. `Catalogue` asks and answers in
values; that SQLite answers is known to `envbuild.database` alone. The statements keep to what PostgreSQL understands
too: no implicit row numbers, no SQLite types, ``?`` for every value, one writer at a time wherever a number is given
out.

Digests stand as they are written (``sha256:…``) and times are aware `datetime` values. The content behind a
digest is the store's business (`envbuild.store`), and so is whether it is still there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from envbuild.catalogue.environments import Environments
from envbuild.catalogue.experiments import Experiments
from envbuild.catalogue.keeping import Keeping
from envbuild.catalogue.models import Models
from envbuild.catalogue.resolutions import Resolutions
from envbuild.catalogue.runs import Runs
from envbuild.catalogue.schema import MIGRATIONS
from envbuild.catalogue.values import LATEST as LATEST
from envbuild.catalogue.values import EnvironmentVersion as EnvironmentVersion
from envbuild.catalogue.values import Experiment as Experiment
from envbuild.catalogue.values import ModelVersion as ModelVersion
from envbuild.catalogue.values import Resolution as Resolution
from envbuild.database import Database

if TYPE_CHECKING:
    from types import TracebackType


class Catalogue(Environments, Resolutions, Runs, Experiments, Models, Keeping):
    """The names, runs and models of one workspace, in the file ``path``; made, with its folder, where it is missing.

    Any number of threads and processes may use one file at the same time. Each change is whole or not there at
    all, also when its process is killed; several are made one by `transaction`.

    :raises StoreError: the file cannot be read or written, or is damaged.
    :raises EnvbuildError: a newer envbuild has changed it into a form that this one does not know.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._db = Database(self.path, MIGRATIONS)

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

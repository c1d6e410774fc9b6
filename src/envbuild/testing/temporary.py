"""A workspace in a temporary folder, in which plugins are driven as envbuild drives them."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envbuild import pipeline
from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import PluginMissing
from envbuild.image import Image
from envbuild.lock import Lock
from envbuild.outcome import RunRequest
from envbuild.pipeline import Wishes
from envbuild.plugins import Plugins
from envbuild.project import Project
from envbuild.workspace import Workspace


@dataclass(frozen=True)
class RunEnded:
    """What came of a run.

    :param directory: its working directory.
    """

    code: int
    out: bytes
    err: bytes
    directory: Path


@dataclass(frozen=True)
class TemporaryWorkspace:
    """A workspace with the plugins that it is used with, and no others.

    :param folder: a folder of its own, in which the workspace lies too.
    """

    folder: Path
    workspace: Workspace
    plugins: Plugins
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def lock(self, definition: Definition, *, before: Lock | None = None, **wishes: Any) -> Lock:
        """Have the plugins pin a definition.

        :param before: the lock that there was.
        :param wishes: how it is to go, as `envbuild.pipeline.Wishes` has it: ``offline``, ``upgrade``, ``platform`` …
        :raises PluginMissing: a section of the definition is nobody's.
        """
        return pipeline.resolve(_project(definition), self.workspace, self.plugins, Wishes(**wishes), before)

    def identify(self, definition: Definition, lock: Lock) -> Digest:
        """The environment's id."""
        return pipeline.identify(_project(definition), lock, self.workspace, self.plugins)

    def build(self, definition: Definition, lock: Lock | None = None, **wishes: Any) -> Image:
        """Have the plugins build an environment, unless it is there; without a lock they pin it before."""
        lock = lock or self.lock(definition, **wishes)
        environment = self.identify(definition, lock)
        project, asked = _project(definition), Wishes(**wishes)
        return pipeline.build(project, lock, environment, self.workspace, self.plugins, asked)[0]

    def run(
        self, image: Image, *command: str, target: str = "local", variables: Mapping[str, str] | None = None
    ) -> RunEnded:
        """Run a program in a folder of its own, and wait for it.

        :raises PluginMissing: no plugin takes on the target.
        """
        identity = f"run-{next(self._numbers)}"
        folder = self.folder / "runs" / identity
        directory = folder / "work"
        directory.mkdir(parents=True)
        run = RunRequest(
            id=identity, target=target, command=command, directory=directory, folder=folder, variables=variables or {}
        )
        handle = self.plugins.first("run_target", run=run, image=image)
        if handle is None:
            raise PluginMissing(f"none of the plugins here takes on the target {target!r}")
        printed: dict[int, list[bytes]] = {1: [], 2: []}
        code = handle.stream(lambda number, data: printed[number].append(data))
        return RunEnded(code, b"".join(printed[1]), b"".join(printed[2]), directory)


@contextmanager
def temporary_workspace(*plugins: object, folder: Path | None = None) -> Iterator[TemporaryWorkspace]:
    """Lend a workspace in which only ``plugins`` answer; installed ones take no part.

    :param plugins: the modules or objects with the hooks, in the order in which they would be loaded: who comes last
        is asked first.
    :param folder: where it is to be; by default a temporary folder, which is deleted in the end.

    >>> from envbuild.testing import RecordingTarget, ShelfPlugin, asking_for, shelve
    >>> with temporary_workspace(ShelfPlugin(), RecordingTarget(out=b"done")) as place:
    ...     shelf = shelve(place.folder / "shelf", "demo-1.0", "demo-2.0")
    ...     image = place.build(asking_for(shelf, "demo<2"))
    ...     sorted(each.name for each in (image.path / "lib/shelf").iterdir())
    ...     place.run(image, "python", "train.py", target="recording").out
    ['demo-1.0.txt']
    b'done'
    """
    if folder is None:
        with (
            tempfile.TemporaryDirectory(prefix="envbuild-testing-") as made,
            temporary_workspace(*plugins, folder=Path(made).resolve()) as lent,
        ):
            yield lent
        return
    answering = Plugins(())
    for number, each in enumerate(plugins):
        answering.register(each, getattr(each, "__name__", f"{type(each).__name__}-{number}"))
    workspace = Workspace(folder / "workspace")
    try:
        yield TemporaryWorkspace(folder, workspace, answering)
    finally:
        workspace.catalogue.close()


def _project(definition: Definition) -> Project:
    return Project(definition=definition, spec=definition.name or "tested")

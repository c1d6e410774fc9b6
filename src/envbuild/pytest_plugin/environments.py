"""Environments: those that tests run in, found or built when they are first asked for.

They go the way that those of runs go (`envbuild.pipeline`), and are kept from being collected until the session ends.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild import activated, inside_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envbuild.digest import Digest
    from envbuild.image import Image
    from envbuild.lock import Lock
    from envbuild.pipeline import Wishes
    from envbuild.plugins import Plugins
    from envbuild.project import Project
    from envbuild.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An environment that is ready for tests.

    :param label: what tests in it are called by: the definition's path as seen from the root folder, or a name.
    :param variables: those of the definition, with the values of its secrets.
    :param masked: the values among them that nobody may see.
    """

    label: str
    id: Digest
    lock: Lock
    image: Image
    variables: Mapping[str, str] = field(repr=False)
    masked: Sequence[str] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"{self.label}  {self.id}"

    @property
    def described(self) -> str:
        """The environment in one line."""
        count = len(self.lock.packages)
        return f"{self}  Python {self.lock.python}, {count} package{'s' * (count != 1)}"

    @property
    def process_variables(self) -> dict[str, str]:
        """The environment variables of a process in it."""
        declared = {**self.image.activated, **self.variables}
        return activated(os.environ, str(self.image.path), declared, inside_path())

    def has(self, package: str) -> bool:
        """Whether a package of that normalized name is in it."""
        from packaging.utils import canonicalize_name

        return any(canonicalize_name(each.name) == package for each in self.lock.packages)


class Environments:
    """The environments of one session.

    :param root: the folder that labels are relative to.
    :param wishes: makes what locking and building are to heed, when that is first needed.
    """

    def __init__(self, root: Path, *, offline: bool = False, locked: bool = False, progress: object = None) -> None:
        self.root = root
        self._offline = offline
        self._locked = locked
        self._progress = progress
        self._ready: dict[str, Environment] = {}
        self._held = ExitStack()

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace that ``ENVBUILD_WORKSPACE`` names."""
        from envbuild.workspace import Workspace

        return Workspace()

    @cached_property
    def plugins(self) -> Plugins:
        """The installed plugins."""
        from envbuild.plugins import load_plugins

        return load_plugins()

    @cached_property
    def wishes(self) -> Wishes:
        """How locking and building are to go."""
        from envbuild.pipeline import Wishes
        from envbuild.progress import QUIET

        progress = self._progress or QUIET
        return Wishes(offline=self._offline, locked=self._locked, progress=progress)  # type: ignore[arg-type]

    def close(self) -> None:
        """Let go of the environments."""
        self._held.close()

    def get(self, spec: str) -> Environment:
        """The environment that ``spec`` means, ready to be used.

        :param spec: as `located` gives it.
        :raises EnvbuildError: it cannot be had.
        """
        if spec not in self._ready:
            self._ready[spec] = self._made(spec)
        return self._ready[spec]

    def _made(self, spec: str) -> Environment:
        from envbuild.project import open_spec

        return self.ready(open_spec(spec, self.workspace), self.label(spec))

    def ready(self, project: Project, label: str) -> Environment:
        """Make a project's environment ready, and keep it until `close`.

        :raises EnvbuildError: it cannot be had.
        """
        from envbuild.execution import Order, declared, held

        variables, masked = declared(project, Order(command=(), head=0, source=self.root))
        prepared = self._held.enter_context(held(project, self.workspace, self.plugins, self.wishes))
        return Environment(
            label=label,
            id=prepared.id,
            lock=prepared.locked.lock,
            image=prepared.image,
            variables=variables,
            masked=tuple(each for each in masked if each),
        )

    def label(self, spec: str) -> str:
        """What an environment is called in the names of tests.

        >>> environments = Environments(Path("/project"))
        >>> environments.label("/project/envs/old.txt"), environments.label("tools@stable")
        ('envs/old.txt', 'tools@stable')
        >>> environments.label("/project"), environments.label("/elsewhere/environment.yml")
        ('project', 'environment.yml')
        """
        if not spec.startswith(os.sep):
            return spec
        path = Path(spec)
        inside = self.root in path.parents
        # Brackets are where a test's name ends.
        said = path.relative_to(self.root).as_posix() if inside else path.name
        return said.replace("[", "(").replace("]", ")")


def located(spec: str, *folders: Path) -> str:
    """``spec`` as it is meant from the first of the folders in which there is such a file: names stay as they are.

    >>> located("tools:2", Path("/nowhere"))
    'tools:2'
    """
    for folder in folders:
        path = folder / spec
        group = ""
        if not path.exists() and ":" in spec:
            before, _, after = spec.rpartition(":")
            path, group = folder / before, f":{after}"
        if path.exists():
            return os.path.abspath(path) + group  # noqa: PTH100  links stay as they are
    return spec

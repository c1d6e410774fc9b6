"""Environments: those that tests run in, found or built when they are first asked for.

They go the way that those of runs go (`envbuild.pipeline`), and are kept from being collected until the session ends.
One that has not changed since the last session is found without any of that (`envbuild.pytest_plugin.remembered`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild import activated, inside_path, layout
from envbuild.errors import EnvbuildError
from envbuild.pytest_plugin import remembered
from envbuild.spec import NAME, may_be_registered

if TYPE_CHECKING:
    from envbuild.pipeline import Prepared, Wishes
    from envbuild.plugins import Plugins
    from envbuild.progress import Progress
    from envbuild.project import Project
    from envbuild.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An environment that is ready for tests.

    :param label: what tests in it are called by: the definition's path as seen from the root folder, or a name
        (`Environments.label`).
    :param id: the environment's id.
    :param prefix: where it is.
    :param python: the interpreter in it, relative to the prefix.
    :param version: the version of its Python.
    :param packages: the versions of its packages by their normalized names.
    :param declared: the variables of the definition, and those that activate the environment.
    :param secrets: the names of variables that it takes from ours; nobody may see their values.
    :param lent: folders that come last on the path of tests, with what they need and the environment lacks.
    """

    label: str
    id: str
    prefix: str
    python: str
    version: str
    packages: Mapping[str, str]
    declared: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = ()
    lent: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.label}  {self.id}"

    @property
    def described(self) -> str:
        """The environment in one line."""
        count = len(self.packages)
        return f"{self}  Python {self.version}, {count} package{'s' * (count != 1)}"

    @property
    def interpreter(self) -> str:
        """The path of its Python."""
        return os.path.join(self.prefix, self.python)  # noqa: PTH118  links stay as they are

    @property
    def masked(self) -> list[str]:
        """The values that nobody may see."""
        return [value for name in self.secrets if (value := os.environ.get(name))]

    @property
    def process_variables(self) -> dict[str, str]:
        """The environment variables of a process in it.

        :raises EnvbuildError: a secret has no value.
        """
        missing = [name for name in self.secrets if name not in os.environ]
        if missing:
            raise EnvbuildError(
                f"{self.label}: secrets without a value: {', '.join(missing)}",
                hint="set them in the environment of this command; they are passed on, and shown nowhere",
            )
        secrets = {name: os.environ[name] for name in self.secrets}
        return activated(os.environ, self.prefix, {**self.declared, **secrets}, inside_path())


class Environments:
    """The environments of one session.

    :param root: the folder that labels are relative to.
    :param wanted: the distributions that tests need besides, which environments without them are lent.
    """

    def __init__(
        self,
        root: Path,
        *,
        wanted: tuple[str, ...] = (),
        offline: bool = False,
        locked: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.root = root
        self.wanted = wanted
        self._offline = offline
        self._locked = locked
        self._progress = progress
        self._ready: dict[str, Environment] = {}
        self._held = ExitStack()

    @cached_property
    def home(self) -> str:
        """The folder of the workspace that ``ENVBUILD_WORKSPACE`` names when this is first asked for."""
        return layout.workspace_root()

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace in that folder."""
        from envbuild.workspace import Workspace

        return Workspace(Path(self.home))

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

        return Wishes(offline=self._offline, locked=self._locked, progress=self._progress or QUIET)

    def close(self) -> None:
        """Let go of the environments, and of the workspace if it was needed."""
        self._held.close()
        if "workspace" in vars(self):
            self.workspace.catalogue.close()

    def get(self, spec: str) -> Environment:
        """The environment that ``spec`` means, ready to be used.

        :param spec: as `located` gives it.
        :raises EnvbuildError: it cannot be had.
        """
        if self.at_hand(spec) is None:
            self._ready[spec] = self._made(spec)
        return self._ready[spec]

    def at_hand(self, spec: str) -> Environment | None:
        """The same if it has not changed since it was last used; ``None`` if that would have to be found out."""
        if spec not in self._ready:
            known = remembered.recall(self.home, spec, self.label(spec), self.wanted, self._held)
            if known is None:
                return None
            self._ready[spec] = known
        return self._ready[spec]

    def _made(self, spec: str) -> Environment:
        from envbuild.project import open_registered, open_spec
        from envbuild.pytest_plugin.lending import lend

        began = time.time_ns()
        # `located` has looked for a file that is called so, where one may be meant: not in the current folder always.
        opened = open_registered if may_be_registered(spec) else open_spec
        prepared = self.prepare(opened(spec, self.workspace))
        lent = lend(self.wanted, prepared, self)
        definition = prepared.project.definition
        environment = Environment(
            label=self.label(spec),
            id=str(prepared.id),
            prefix=str(prepared.image.path),
            python=prepared.image.python,
            version=prepared.locked.lock.python,
            packages={each.name: each.version or "" for each in prepared.locked.lock.packages},
            declared={**prepared.image.activated, **definition.variables},
            secrets=tuple(definition.secrets),
            lent=tuple(str(each) for each in lent),
        )
        remembered.remember(spec, environment, self.wanted, prepared, self.workspace, began)
        return environment

    def prepare(self, project: Project) -> Prepared:
        """Make a project's environment ready, and keep it until `close`.

        :raises EnvbuildError: it cannot be had.
        """
        from envbuild.execution import held

        return self._held.enter_context(held(project, self.workspace, self.plugins, self.wishes))

    def label(self, spec: str) -> str:
        """What an environment is called in the names of tests; no two definitions are called the same.

        That of a file or folder begins with a dot where without one it might be a registered name.

        >>> environments = Environments(Path("/home/me/project"))
        >>> environments.label("/home/me/project/envs/old.txt"), environments.label("tools@stable")
        ('envs/old.txt', 'tools@stable')
        >>> environments.label("/home/me/project/tools"), environments.label("tools")
        ('./tools', 'tools')
        >>> environments.label("/home/me/project"), environments.label("/home/me/project/project")
        ('../project', './project')
        >>> environments.label("/home/me/shared/old.txt"), environments.label("/opt/old.txt")
        ('../shared/old.txt', '/opt/old.txt')
        """
        if not spec.startswith(os.sep):
            return spec
        root = str(self.root)
        if spec == root:
            # No other path that is seen from there is the same, and no registered name.
            return f"../{self.root.name}"
        if os.path.commonpath((spec, root)) == os.sep:
            # Nothing leads from one to the other that would be the same wherever the project is.
            return spec
        said = os.path.relpath(spec, root)
        might_be_name = may_be_registered(said) and NAME.fullmatch(said.removeprefix("sha256:"))
        return os.path.join(os.curdir, said) if might_be_name else said  # noqa: PTH118  pathlib drops the dot


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

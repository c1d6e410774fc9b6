"""Workspaces: the one that the script's run is recorded in; no other can be had inside a run."""

from __future__ import annotations

import os

from .errors import RunEnvironmentException
from .partial import ELSEWHERE, Partial
from .record import read_json, workspace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

NO_RUN = f"this script is not part of a run, and so it has no workspace at hand: {ELSEWHERE}"
"""What is said to a script of its own."""

_DEFAULT = "default"


class Workspace(Partial):
    """The workspace of the run that the script is part of, however it is asked for; two of one folder are equal.

    ``run.experiment.workspace`` is the same. A script that asks for one of another name is warned. All other arguments
    are Azure ML's, and nothing is made of them.

    :param subscription_id: where it stands alone, the name of the workspace.
    :raises RunEnvironmentException: the script is not part of a run, or the workspace is out of reach, as it is in
        some containers.
    """

    def __init__(
        self,
        subscription_id: Any = None,
        resource_group: str | None = None,
        workspace_name: Any = None,
        *azure: object,  # noqa: ARG002
        **more: object,  # noqa: ARG002
    ) -> None:
        alone = workspace_name is None and resource_group is None
        self._root = _root()
        self._subscription = None if alone else subscription_id
        self._group = resource_group
        self._expect(subscription_id if alone else workspace_name)

    @classmethod
    def get(
        cls,
        name: Any = None,
        auth: object = None,  # noqa: ARG003
        subscription_id: str | None = None,
        resource_group: str | None = None,
        **more: object,  # noqa: ARG003
    ) -> Workspace:
        """The workspace of the run, as `Workspace` itself gives it."""
        found = cls._at(_root(), subscription_id, resource_group)
        found._expect(name)
        return found

    @classmethod
    def from_config(cls, *azure: object, **more: object) -> Workspace:  # noqa: ARG003
        """The workspace of the run; no file is read."""
        return cls._at(_root())

    @classmethod
    def _at(cls, root: str, subscription_id: str | None = None, resource_group: str | None = None) -> Workspace:
        """The workspace in a folder."""
        made = cls.__new__(cls)
        made._root, made._subscription, made._group = root, subscription_id, resource_group
        return made

    def __repr__(self) -> str:
        return f"Workspace(name={self.name!r}, root={self._root!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workspace) and self._root == other._root

    def __hash__(self) -> int:
        return hash(self._root)

    @property
    def name(self) -> str:
        """Its name; that of its folder, where it is known by its path alone."""
        if self._root == _home():
            return _DEFAULT
        named = (read_json(os.path.join(self._root, "workspace.json")) or {}).get("name")
        return named if isinstance(named, str) else os.path.basename(self._root)

    @property
    def root(self) -> Path:
        """Its folder."""
        from pathlib import Path

        return Path(self._root)

    @property
    def path(self) -> Path:
        """Its folder, by another word."""
        return self.root

    @property
    def location(self) -> str:
        """``local``, in the place of a region."""
        return "local"

    @property
    def subscription_id(self) -> str:
        """What was said when the object was made; else empty, a text as in Azure, for notebooks put it into one."""
        return self._subscription or ""

    @property
    def resource_group(self) -> str:
        """What was said when the object was made; else empty, as `subscription_id` is."""
        return self._group or ""

    def _expect(self, named: Any) -> None:
        if named is None or os.fspath(named) == self.name or os.path.abspath(os.fspath(named)) == self._root:
            return
        import warnings

        said = f"a script has the workspace of its run, {self.name!r}, and no other: not {os.fspath(named)!r}"
        warnings.warn(said, stacklevel=3)


def _root() -> str:
    folder = os.environ.get("ENVBUILD_RUN_FOLDER")
    if not folder:
        raise RunEnvironmentException(NO_RUN)
    root = workspace_of(folder)
    if root is None:
        raise RunEnvironmentException(f"the workspace of this run is out of reach: {folder} is in none")
    return root


def _home() -> str:
    """Where the default workspace is, as `envbuild.layout.home` has it."""
    import sys

    asked = os.environ.get("ENVBUILD_WORKSPACE", "")
    if os.sep in asked:
        return os.path.abspath(os.path.expanduser(asked))
    mac = sys.platform == "darwin"
    data = "" if mac else os.environ.get("XDG_DATA_HOME", "").strip()
    user = os.path.expanduser("~/Library/Application Support" if mac else "~/.local/share")
    return os.path.join(data or user, "envbuild")

"""Places: which workspace of the core is meant by what users hand over as a workspace.

Everything that takes a workspace takes a `Workspace`, its name, a path, or nothing for the default one.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild import layout
from envbuild.errors import EnvbuildError
from envbuild.sdk.exceptions import UserErrorException
from envbuild.workspace import Workspace as Core

if TYPE_CHECKING:
    from envbuild.sdk.workspace import Workspace

DEFAULT = layout.DEFAULT_WORKSPACE
"""The name of the workspace that is meant where none is said, unless ``ENVBUILD_WORKSPACE`` names another."""

_STORE = f"{layout.STORE}/oci-layout"

_opened: dict[Path, Core] = {}


def opened(workspace: Workspace | str | os.PathLike[str] | None = None) -> Core:
    """The workspace that is meant; nothing is made on disk before something is recorded in it.

    :param workspace: a `Workspace`, a path (a `pathlib.Path`, or a text with a ``/``), the name of one that there is,
        or ``None`` for the default one.
    :raises UserErrorException: it is none of these.
    """
    if workspace is None:
        return core_at(root_of())
    core = getattr(workspace, "_core", None)
    if isinstance(core, Core):
        return core
    if isinstance(workspace, (str, os.PathLike)):
        root = root_of(workspace)
        if isinstance(workspace, str) and name_of(root) == workspace != DEFAULT and not is_made(root):
            there = ", ".join((DEFAULT, *named()))
            raise UserErrorException(
                f"no workspace is named {workspace!r}",
                hint=f"there are: {there}; Workspace.create({workspace!r}) makes it",
            )
        return core_at(root)
    raise UserErrorException(f"a workspace is wanted, not {workspace!r}", hint="Workspace.get(), a name or a path")


def root_of(named: str | os.PathLike[str] | None = None) -> Path:
    """The folder of a workspace that is said by name or by path; by default of the one that the variable says.

    :raises UserErrorException: neither.
    """
    if isinstance(named, os.PathLike):
        return Path(os.path.abspath(os.path.expanduser(named)))  # noqa: PTH100, PTH111
    try:
        return Path(layout.workspace_root() if named is None else layout.workspace_at(named))
    except EnvbuildError as error:
        raise UserErrorException(str(error), hint=error.hint) from error


def name_of(root: Path) -> str | None:
    """The name that `root_of` would find the folder by; ``None`` if it has none and is said by its path."""
    return layout.workspace_name(str(root))


def named() -> list[str]:
    """The names, without `DEFAULT`, under which there is a workspace."""
    return layout.made_workspaces()


def is_made(root: Path) -> bool:
    """Whether anything was ever recorded in a workspace in this folder."""
    return layout.is_made(str(root))


def made_at(root: Path) -> str | None:
    """When the store of a workspace in this folder was made, if it was."""
    try:
        made = (root / _STORE).stat().st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None
    return datetime.datetime.fromtimestamp(made, datetime.UTC).isoformat()


def core_at(root: Path) -> Core:
    """The workspace in a folder; one object for each, since it holds an open database."""
    # What is made in vain, here or by another thread, has opened nothing yet.
    return _opened.get(root) or _opened.setdefault(root, Core(root))


def forget(root: Path) -> None:
    """Let go of the workspace in a folder that is about to go; who asks for it again gets another one."""
    core = _opened.pop(root, None)
    if core is not None and "catalogue" in vars(core):
        core.catalogue.close()

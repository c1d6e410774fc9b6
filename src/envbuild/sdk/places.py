"""Places: which workspace of the core is meant by what users hand over as a workspace.

Everything that takes a workspace takes a `Workspace`, its name, a path, or nothing for the default one.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild import layout
from envbuild.sdk.exceptions import UserErrorException
from envbuild.workspace import Workspace as Core

if TYPE_CHECKING:
    from envbuild.sdk.workspace import Workspace

NAME = re.compile(r"[A-Za-z0-9][\w-]{2,32}", re.ASCII)
"""How Azure's workspaces are named."""

WORKSPACES = "workspaces"
"""Below the default workspace: those that have a name."""


def opened(workspace: Workspace | str | os.PathLike[str] | None = None) -> Core:
    """The workspace that is meant; nothing is made on disk before something is recorded in it.

    :param workspace: a `Workspace`, a path (a `pathlib.Path`, or a text with a ``/``), a name, or ``None``
        for the default one.
    :raises UserErrorException: it is none of these.
    """
    if workspace is None:
        return core_at(Path(layout.workspace_root()))
    core = getattr(workspace, "_core", None)
    if isinstance(core, Core):
        return core
    if isinstance(workspace, (str, os.PathLike)):
        return core_at(root_of(workspace))
    raise UserErrorException(f"a workspace is wanted, not {workspace!r}", hint="Workspace.get(), a name or a path")


def root_of(named: str | os.PathLike[str]) -> Path:
    """The folder of a workspace that is said by name or by path.

    :raises UserErrorException: neither.
    """
    if isinstance(named, os.PathLike) or "/" in named or os.sep in named:
        return Path(os.path.abspath(os.path.expanduser(named)))  # noqa: PTH100, PTH111
    if not NAME.fullmatch(named):
        raise UserErrorException(
            f"{named!r} is no name for a workspace",
            hint="3 to 33 letters, digits, '-' and '_' make one, a letter or digit first; a path has a '/'",
        )
    return Path(layout.workspace_root()) / WORKSPACES / named


@cache
def core_at(root: Path) -> Core:
    """The workspace in a folder; one object for each, since it holds an open database."""
    return Core(root)

"""What every command has at hand: the workspace, the plugins, and where to write."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from envbuild import layout
from envbuild.cli.terminal import TerminalProgress
from envbuild.errors import NotFound

if TYPE_CHECKING:
    from envbuild.pipeline import Wishes
    from envbuild.plugins import Plugins
    from envbuild.workspace import Workspace

T = TypeVar("T")


class Context:
    """Made once per command; what it holds is loaded when it is first asked for."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.json = bool(arguments.json)
        self.arguments = arguments
        self.progress = TerminalProgress(quiet=arguments.quiet)

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

    @property
    def directory(self) -> Path:
        """The folder that the command was given in."""
        try:
            return Path.cwd()
        except FileNotFoundError as error:
            raise NotFound("the folder that this command was given in is not there any more") from error

    @cached_property
    def wishes(self) -> Wishes:
        """How locking and building are to go, as far as the command's options say."""
        from envbuild.pipeline import Wishes
        from envbuild.platform import Platform

        given = vars(self.arguments)
        upgrade = given.get("upgrade")
        platform = given.get("platform")
        return Wishes(
            platform=platform or Platform.here(),
            upgrade=True if upgrade == [] or (upgrade and None in upgrade) else frozenset(upgrade or ()),
            offline=given.get("offline", False),
            locked=given.get("locked", False),
            source=frozenset(given.get("allow_source") or ()),
            as_of=given.get("as_of"),
            python=given.get("python"),
            progress=self.progress,
        )

    def found(self, things: str, look: Callable[[], Sequence[T]]) -> Sequence[T]:
        """What ``look`` finds in the workspace, which is not made by that; where there is nothing, say where it looked.

        :param things: what it looks for, such as ``runs``.
        """
        root = str(self.workspace.root)
        found = look() if layout.is_made(root) else ()
        if not found and not self.json:
            others = _others(root)
            said = f"; others: {', '.join(others)}" if others else ""
            self.progress.note(f"no {things} in the workspace {layout.workspace_name(root)} ({root}){said}")
        return found

    def show(self, result: Any, text: str) -> None:
        """Write a command's result: ``text`` to people, ``result`` to machines."""
        written = json.dumps(result, indent=2, ensure_ascii=False, default=str) if self.json else text
        if written:
            sys.stdout.write(written.rstrip("\n") + "\n")


def _others(root: str) -> list[str]:
    """The other workspaces that have a name, with how to be in them."""
    default = [layout.DEFAULT_WORKSPACE] if layout.is_made(layout.home()) else []
    others = {name: layout.workspace_at(name) for name in (*default, *layout.made_workspaces())}
    return [f"{name} ({layout.WORKSPACE_VARIABLE}={_said(name, at)})" for name, at in others.items() if at != root]


def _said(name: str, root: str) -> str:
    # Below a workspace that is said by its path, names mean something else than without that path.
    named = {**os.environ, layout.WORKSPACE_VARIABLE: name}
    return name if layout.workspace_root(named) == root else root

"""Stopping: what a test has left running in a workspace of its own, ended with the test."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from envbuild import dispatch, layout
from envbuild.sdk import places
from envbuild.workspace import Workspace

_GRACE = 2.0
"""How long a run may take to end before it is asked a second time, which kills it; in seconds."""

_PATIENCE = 20.0
"""How long is waited in all, in seconds: the outputs of a run are collected before it is over."""


def leave(root: Path) -> None:
    """Stop all runs in a workspace, and in those that lie below it, and let go of them.

    What has not ended after `_PATIENCE` seconds is left behind.
    """
    for each in (root, *_folders(root / layout.WORKSPACES)):
        workspace = Workspace(each)
        _stop(workspace)
        dispatch.leave(each)
        places.forget(each)


def _stop(workspace: Workspace) -> None:
    asked = time.monotonic()
    going = _going(workspace)
    for run in going:
        workspace.cancel(run)
    again = False
    while (going := _going(workspace)) and time.monotonic() < asked + _PATIENCE:
        if not again and time.monotonic() > asked + _GRACE:
            again = True
            for run in going:
                workspace.cancel(run)
        time.sleep(0.02)


def _going(workspace: Workspace) -> list[str]:
    """The runs that somebody sees through, other than this process itself, which is only that of the test."""
    runs = [each.name for each in _folders(workspace.root / layout.RUNS)]
    return [run for run in runs if workspace.is_supervised(run) and workspace.supervisor(run) != os.getpid()]


def _folders(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.iterdir()) if folder.is_dir() else ()

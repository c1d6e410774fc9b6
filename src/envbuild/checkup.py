"""Checking up: whether this machine has what envbuild needs, and how to mend what it lacks."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from typing import Literal, NamedTuple

from envbuild import __version__, layout, retention
from envbuild.blame import printing_aside, raised
from envbuild.collect import usage
from envbuild.errors import EnvbuildError
from envbuild.loading import Plugin
from envbuild.plugins import Plugins
from envbuild.render import size
from envbuild.workspace import Workspace

_LITTLE = 2 * 2**30


class Finding(NamedTuple):
    """What was found of one thing.

    :param remedy: what to do about it; empty if nothing has to be.
    """

    subject: str
    state: Literal["ok", "warning", "error"]
    found: str
    remedy: str = ""


def checkup(workspace: Workspace, plugins: Plugins) -> Iterator[Finding]:
    """Look at everything; a plugin may have a function ``checkup(variables)`` that says how its engine fares."""
    yield Finding("envbuild", "ok", f"{__version__} on Python {sys.version.split()[0]} ({sys.executable})")
    yield from _plugins(plugins)
    yield from _workspace(workspace)
    yield from _disk(workspace)


def _plugins(plugins: Plugins) -> Iterator[Finding]:
    for each in plugins.found:
        if each.error:
            remedy = f"upgrade or uninstall {each.distribution}"
            yield Finding(f"plugin {each.name}", "error", each.error, remedy)
        else:
            yield Finding(f"plugin {each.name}", "ok", f"{each.distribution}: {', '.join(each.hooks)}")
        for warning in each.warnings:
            remedy = f"upgrade {each.distribution}, or tell whoever makes it"
            yield Finding(f"plugin {each.name}", "warning", warning, remedy)
        if not each.error:
            yield from _asked(each, plugins)


def _asked(plugin: Plugin, plugins: Plugins) -> Iterator[Finding]:
    """What a plugin finds of its own engine; what goes wrong in asking is a finding too."""
    try:
        check = getattr(plugins.manager.get_plugin(plugin.name), "checkup", None)
        with printing_aside():
            found = [Finding(*each) for each in check(dict(os.environ))] if check else []
    except KeyboardInterrupt:
        raise
    # A stranger's code; who looks for what is wrong wants to be told the rest of it too.
    except BaseException as error:
        said = f"its checkup failed: {raised(error)}"
        yield Finding(f"plugin {plugin.name}", "error", said, f"upgrade or uninstall {plugin.distribution}")
    else:
        yield from found


def _workspace(workspace: Workspace) -> Iterator[Finding]:
    source = layout.WORKSPACE_VARIABLE if os.environ.get(layout.WORKSPACE_VARIABLE) else "the default"
    yield Finding("workspace", "ok", f"{workspace.root} ({source})")
    remedy = f"mend the permissions of {workspace.root}, or set {layout.WORKSPACE_VARIABLE} to another folder"
    try:
        workspace.store.put(b"")
        with workspace.recorded() as catalogue:
            names = len(catalogue.list())
        yield Finding("catalogue", "ok", f"{names} environments (SQLite {sqlite3.sqlite_version})")
        room = usage(workspace.store, workspace.images)
        yield Finding(
            "store",
            "ok",
            f"{len(room.images)} environments, {room.blob_count} blobs, "
            f"{size(room.total)} of {size(retention.limit())}",
        )
        if room.leftovers.apparent:
            yield Finding(
                "leftovers", "warning", f"{size(room.leftovers.apparent)} of killed processes", "envbuild store gc"
            )
    except EnvbuildError as error:
        yield Finding("store", "error", str(error), error.hint or remedy)
    except OSError as error:
        yield Finding("store", "error", f"{error.strerror}: {error.filename}", remedy)


def _disk(workspace: Workspace) -> Iterator[Finding]:
    place = workspace.root
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < _LITTLE:
        yield Finding("disk", "warning", f"{size(free)} free at {place}", "envbuild store gc --max-size 10GiB")
    else:
        yield Finding("disk", "ok", f"{size(free)} free at {place}")

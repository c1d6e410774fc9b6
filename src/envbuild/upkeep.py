"""Upkeep: comparing what the store holds with what it should hold, and mending it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from envbuild import pipeline
from envbuild.digest import Digest
from envbuild.errors import EnvbuildError, Refused
from envbuild.layout import PREFIX
from envbuild.pipeline import Wishes
from envbuild.plugins import Plugins
from envbuild.project import open_spec
from envbuild.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What became of something that was looked at.

    :param state: ``intact``, ``healed``, ``removed`` or ``damaged``.
    :param tree: what is on disk: the tree digest, where it is an environment.
    """

    name: str
    state: str
    damages: tuple[str, ...] = ()
    tree: Digest | None = None
    reason: str = ""

    def to_dict(self) -> Mapping[str, Any]:
        """As JSON has it."""
        return {
            "name": self.name,
            "state": self.state,
            "damages": list(self.damages),
            "tree": str(self.tree) if self.tree else None,
            "reason": self.reason,
        }


def verify_all(workspace: Workspace, plugins: Plugins, wishes: Wishes, *, heal: bool) -> list[Checked]:
    """Look at every blob and every environment.

    A damaged blob is removed, since it is not what it is kept as: whoever needs it is told that it is not there.
    """
    spoiled = tuple(workspace.store.verify())
    for each in spoiled if heal else ():
        if each.digest:
            workspace.store.remove(each.digest)
    if spoiled and heal:
        # A repeated run relies on its snapshot being kept.
        workspace.forget_warm()
    state = "intact" if not spoiled else "removed" if heal else "damaged"
    blobs = Checked(name="blobs", state=state, damages=tuple(str(each) for each in spoiled))
    return [blobs] + [
        verify_image(each.id, workspace, plugins, wishes, heal=heal) for each in workspace.images.all() if each.image
    ]


def verify_image(environment: Digest, workspace: Workspace, plugins: Plugins, wishes: Wishes, *, heal: bool) -> Checked:
    """Compare an environment's files with those that were installed, and replace those that differ."""
    from envbuild.seal import tree_digest

    damages = workspace.images.verify(environment)
    moved = _moved(environment, workspace, plugins, wishes)
    if moved:
        return _given_up(environment, moved, workspace, heal=heal)
    found = Checked(
        name=str(environment),
        state="damaged" if damages else "intact",
        damages=tuple(str(each) for each in damages),
        tree=tree_digest(workspace.images.home(environment)),
    )
    if not damages or not heal:
        return found
    try:
        _heal(environment, workspace, plugins, wishes)
    except EnvbuildError as error:
        return replace(found, reason=f"it could not be mended: {error}")
    return replace(found, state="healed", tree=tree_digest(workspace.images.home(environment)))


def _moved(environment: Digest, workspace: Workspace, plugins: Plugins, wishes: Wishes) -> tuple[str, ...]:
    """What has changed of an environment that is an interpreter which somebody else looks after."""
    try:
        project = open_spec(str(environment), workspace)
        lock = pipeline.kept_lock(project, workspace, wishes.platform)
    except EnvbuildError:
        return ()  # nobody remembers what it is, and its own files are all that there is to look at
    return plugins.outdated(project.definition, lock) if lock and lock.is_observed else ()


def _given_up(environment: Digest, moved: tuple[str, ...], workspace: Workspace, *, heal: bool) -> Checked:
    """What is not ours cannot be mended: its folder holds nothing but ways into it, and is made again by its next use.

    Then it has another id.
    """
    found = Checked(name=str(environment), state="damaged", damages=moved, reason="its interpreter is not ours to mend")
    if heal:
        with suppress(Refused):
            workspace.images.remove(environment)
            return replace(found, state="removed")
    return found


def _heal(environment: Digest, workspace: Workspace, plugins: Plugins, wishes: Wishes) -> None:
    """Build the environment again, from artifacts fetched anew, and take the damaged files from there."""
    project = open_spec(str(environment), workspace)
    lock = pipeline.kept_lock(project, workspace, wishes.platform)
    if lock is None:
        raise EnvbuildError(
            f"the lock of {environment.short} is not kept any more", hint="remove it: envbuild store gc"
        )
    with workspace.images.stage(environment) as stage:
        fresh = stage / PREFIX
        pipeline.make_image(project, lock, environment, fresh, workspace, plugins, wishes, anew=True)
        workspace.images.heal(environment, fresh)

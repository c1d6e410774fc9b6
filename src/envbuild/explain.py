"""Explaining: why an environment was built or reused, and which input makes two of them differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from envbuild import pipeline
from envbuild.digest import Digest
from envbuild.errors import NotFound
from envbuild.fingerprint import Difference, definition_document, differences
from envbuild.lock import Lock
from envbuild.pipeline import Wishes
from envbuild.plugins import Plugins
from envbuild.project import Project
from envbuild.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """In what two environments differ.

    :param definition: what was asked for differently; ``environment``: what is installed differently.
    """

    a: str
    b: str
    a_id: Digest
    b_id: Digest
    definition: tuple[Difference, ...]
    environment: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "a": {"spec": self.a, "id": str(self.a_id)},
            "b": {"spec": self.b, "id": str(self.b_id)},
            "same_environment": self.a_id == self.b_id,
            "definition": [_as_dict(each) for each in self.definition],
            "environment": [_as_dict(each) for each in self.environment],
        }

    def __str__(self) -> str:
        same = self.a_id == self.b_id
        lines = [f"A  {self.a}  {self.a_id}", f"B  {self.b}  {self.b_id}"]
        lines.append("the same environment" if same else "two environments; what is installed differs in:")
        lines += [f"  {each}" for each in _told(self.environment)]
        if self.definition:
            lines += ["the definitions differ in:", *(f"  {each}" for each in self.definition)]
        else:
            lines.append("the definitions ask for the same")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why the environment of a definition is built, or reused, the next time that it is used.

    :param present: whether it is built already.
    :param reasons: what has changed since the time before, or that nothing has.
    """

    spec: str
    id: Digest | None
    present: bool
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "spec": self.spec,
            "id": str(self.id) if self.id else None,
            "present": self.present,
            "reasons": list(self.reasons),
        }

    def __str__(self) -> str:
        verdict = "reused because:" if self.present else "built because:"
        head = f"{self.spec}  {self.id or 'not locked yet'}"
        return "\n".join([head, verdict, *(f"  {each}" for each in self.reasons)])


def compare(a: Project, b: Project, workspace: Workspace, plugins: Plugins, wishes: Wishes) -> Comparison:
    """Find what two environments do not share, in what was asked for and in what is installed.

    :raises LockError: one of them cannot be locked.
    """
    one, other = (_identified(each, workspace, plugins, wishes) for each in (a, b))
    return Comparison(
        a=a.spec,
        b=b.spec,
        a_id=one,
        b_id=other,
        definition=tuple(
            differences(definition_document(a.definition).content, definition_document(b.definition).content)
        ),
        environment=_between(one, other, workspace),
    )


def _between(one: Digest, other: Digest, workspace: Workspace) -> tuple[Difference, ...]:
    return tuple(differences(workspace.document(one).content, workspace.document(other).content))


def _identified(project: Project, workspace: Workspace, plugins: Plugins, wishes: Wishes) -> Digest:
    if project.id is not None:
        return project.id
    return pipeline.identify(project, fitting_lock(project, workspace, plugins, wishes), workspace, plugins)


def fitting_lock(project: Project, workspace: Workspace, plugins: Plugins, wishes: Wishes) -> Lock:
    """The project's lock, or the one that it would get now; asking a question is no reason to write a file.

    :raises LockError: it cannot be locked.
    """
    lock = pipeline.kept_lock(project, workspace, wishes.platform)
    if lock is None or pipeline.stale(lock, project, workspace, plugins):
        return pipeline.resolve(project, workspace, plugins, wishes, lock)
    return lock


def explain(project: Project, workspace: Workspace, plugins: Plugins, wishes: Wishes) -> Explanation:
    """Say what using the project's environment now would mean, changing nothing."""
    present = pipeline.kept_lock(project, workspace, wishes.platform)
    if present is None and not project.definition.pylock:
        return Explanation(spec=project.spec, id=None, present=False, reasons=("there is no lock yet",))
    if present is None:
        present = pipeline.lock(project, workspace, plugins, wishes).lock
    outdated = pipeline.stale(present, project, workspace, plugins)
    if outdated:
        reasons = ("the lock is not that of the definition any more:", *(f"  {each}" for each in outdated))
        return Explanation(spec=project.spec, id=None, present=False, reasons=reasons)
    identity = project.id or pipeline.identify(project, present, workspace, plugins)
    there = workspace.images.find(identity) is not None
    return Explanation(
        spec=project.spec, id=identity, present=there, reasons=tuple(_reasons(project, identity, there, workspace))
    )


def _reasons(project: Project, identity: Digest, there: bool, workspace: Workspace) -> list[str]:
    history = workspace.catalogue.history(project.source, limit=2)
    ids = [Digest.parse(each.environment_id) for each in history]
    earlier = next((each for each in ids if each != identity), None)
    if identity in ids[:1] and there:
        found = [f"definition, lock and local projects are as they were on {history[0].resolved_at:%Y-%m-%d %H:%M}"]
        if earlier is not None:
            found.append(f"the time before it was {earlier.short}; since then:")
            found += _moved(earlier, identity, workspace)
        return found
    if earlier is not None and ids and ids[0] != identity:
        return [f"it was {earlier.short} the last time; since then:", *_moved(earlier, identity, workspace)]
    if there:
        return ["another project has built the very same environment"]
    if ids:
        return ["it was built before, and is not in the store any more (gc, or another machine)"]
    return ["nobody has built it here yet"]


def _moved(earlier: Digest, identity: Digest, workspace: Workspace) -> list[str]:
    try:
        return [f"  {each}" for each in _told(_between(earlier, identity, workspace))]
    except NotFound:
        return ["  (what it was made of is not kept any more)"]


def _told(found: Sequence[Difference]) -> list[str]:
    """Differences of two environments in the words of packages; a version says more than the digest beside it."""
    paths = {each.path for each in found}
    told = []
    for each in found:
        path = each.path
        if path[0] == "packages" and len(path) == 3:
            if path[2] == "sha256" and (*path[:2], "version") in paths:
                continue
            what = "" if path[2] == "version" else f" ({path[2]})"
            told.append(str(Difference((f"{path[1]}{what}",), each.before, each.after)))
        else:
            told.append(str(Difference(path[1:] if path[0] == "plugins" else path, each.before, each.after)))
    return told


def _as_dict(difference: Difference) -> dict[str, Any]:
    return {"path": list(difference.path), "before": difference.before, "after": difference.after}

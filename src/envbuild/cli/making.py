"""``envbuild lock``, ``build`` and ``why``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from envbuild import pipeline, render, retention
from envbuild.cli.context import Context
from envbuild.cli.usage import UsageError
from envbuild.errors import LockOutdated
from envbuild.explain import compare, explain
from envbuild.lock import Lock, changes
from envbuild.pipeline import Locked
from envbuild.progress import counted
from envbuild.project import Project, open_spec


def lock(arguments: argparse.Namespace, context: Context) -> int:
    """Pin a definition, or say whether its lock still fits."""
    _check_upgraded(arguments.upgrade or ())
    project = open_spec(arguments.spec, context.workspace)
    if arguments.check:
        asked = [name for name in ("upgrade", "as_of", "python", "allow_source") if getattr(arguments, name)]
        if asked:
            raise UsageError(f"--check changes nothing, and --{asked[0].replace('_', '-')} does: give one of them")
        return _check(project, context)
    locked = pipeline.lock(project, context.workspace, context.plugins, context.wishes)
    if not locked.reasons:
        _check_takers(project, locked.lock, context)
    identity = pipeline.identify(project, locked.lock, context.workspace, context.plugins)
    if locked.file is None:
        pipeline.record_resolution(project, locked.lock, identity, context.workspace)
    result = {
        "file": str(locked.file) if locked.file else None,
        "id": str(identity),
        "python": locked.lock.python,
        "platform": str(locked.lock.platform),
        "changed": bool(locked.reasons),
        "reasons": list(locked.reasons),
        "packages": [render.package(each) for each in locked.lock.packages],
        "built_from_source": [each.name for each in locked.lock.built_from_source],
    }
    context.show(result, _told(locked, project, str(identity)))
    return 0


def _check_upgraded(names: Iterable[str | None]) -> None:
    """Refuse a file in the place of a package's name, which is what stands behind ``--upgrade``."""
    for name in filter(None, names):
        if ("." in name or "/" in name) and Path(name).exists():
            raise UsageError(
                f"--upgrade takes the name of a package, and {name} is a file",
                hint=f"SPEC stands before it: envbuild lock {name} --upgrade",
            )


def _check(project: Project, context: Context) -> int:
    present = pipeline.kept_lock(project, context.workspace, context.wishes.platform)
    reasons = ["there is no lock"]
    if present is not None:
        reasons = list(pipeline.stale(present, project, context.workspace, context.plugins))
    if project.definition.pylock:
        reasons = []
    if present is not None and not reasons:
        _check_takers(project, present, context)
    if context.json:
        context.show({"stale": bool(reasons), "reasons": reasons}, "")
        return 1 if reasons else 0
    if reasons:
        raise LockOutdated(
            f"{project.spec}: the lock is not that of the definition: {'; '.join(reasons)}",
            hint=f"run 'envbuild lock {_repeated(project, context)}' and commit the lock with the definition",
        )
    context.show({}, f"{project.lock_file or project.spec}: up to date")
    return 0


def _check_takers(project: Project, lock: Lock, context: Context) -> None:
    kinds = {each.kind for each in lock.packages if each.artifact.kind != "installed"}
    context.plugins.check_locked(project.definition.sections, kinds)


def _repeated(project: Project, context: Context) -> str:
    platform = context.arguments.platform
    return project.spec + (f" --platform {platform}" if platform else "")


def _told(locked: Locked, project: Project, identity: str) -> str:
    made: Lock = locked.lock
    word = "locked" if locked.reasons else "unchanged"
    lines = [
        f"{word}: {locked.file or project.spec}  "
        f"({counted(len(made.packages), 'package')}, Python {made.python}, {made.platform}"
        + (f", as of {made.as_of})" if made.as_of else ")")
    ]
    if locked.reasons:
        found = changes(locked.before.packages if locked.before else (), made.packages)
        lines += [render.changes(found)] if found else []
    sources = made.built_from_source
    if sources:
        lines.append(f"built from source: {', '.join(str(each) for each in sources)}")
    local = [each for each in made.packages if each.artifact.kind == "directory"]
    if local:
        lines.append(
            f"known by the content of its files: {', '.join(map(str, local))}; an edit makes another environment"
        )
    if made.is_observed:
        lines.append("found in an interpreter that somebody else looks after; a change of it makes another id")
    lines.append(f"id {identity}")
    return "\n".join(lines)


def build(arguments: argparse.Namespace, context: Context) -> int:
    """Lock and build an environment."""
    project = open_spec(arguments.spec, context.workspace)
    context.plugins.check_target(arguments.target)
    prepared = pipeline.prepare(project, context.workspace, context.plugins, context.wishes)
    how = "built" if prepared.built else "reused"
    result = {
        "name": project.name,
        "id": str(prepared.id),
        "definition_digest": str(prepared.definition_digest),
        "kind": prepared.image.kind,
        "path": str(prepared.image.path),
        "built": prepared.built,
        "seconds": dict(prepared.seconds),
    }
    if prepared.built:
        retention.keep_bound(context.workspace)
    seconds = ", ".join(f"{step} {took:.2f} s" for step, took in prepared.seconds.items())
    context.show(result, f"{how} {project.name}  {prepared.id}\n{prepared.image.path}\n{seconds}")
    return 0


def why(arguments: argparse.Namespace, context: Context) -> int:
    """Explain one environment, or the difference between two."""
    if arguments.b is None:
        found = explain(open_spec(arguments.a, context.workspace), context.workspace, context.plugins, context.wishes)
        context.show(found.to_dict(), str(found))
        return 0
    one, other = (open_spec(spec, context.workspace) for spec in (arguments.a, arguments.b))
    comparison = compare(one, other, context.workspace, context.plugins, context.wishes)
    context.show(comparison.to_dict(), str(comparison))
    return 0

"""``envbuild store …`` and ``envbuild verify``."""

from __future__ import annotations

import argparse
import time

from envbuild import pipeline, render, retention, upkeep
from envbuild.cli.context import Context
from envbuild.collect import usage as measure
from envbuild.errors import NotFound
from envbuild.project import open_spec


def usage(arguments: argparse.Namespace, context: Context) -> int:  # noqa: ARG001
    """Show what takes how much room."""
    found = measure(context.workspace.store, context.workspace.images)
    bound = retention.limit()
    images = [
        {
            "id": str(each.held.id),
            "size": each.size.apparent,
            "frees": each.size.frees,
            "last_used": each.held.last_used,
            "in_use": each.held.in_use,
        }
        for each in found.images
    ]
    result = {
        "root": str(context.workspace.store.root),
        "total": found.total,
        "limit": bound,
        "images": images,
        "blobs": {"count": found.blob_count, "size": found.blobs.apparent, "frees": found.blobs.frees},
        "leftovers": found.leftovers.apparent,
    }
    rows = [
        [
            each.held.id.short,
            render.size(each.size.apparent),
            render.size(each.size.frees),
            render.ages(time.time() - each.held.last_used) + " ago",
            "in use" if each.held.in_use else "",
        ]
        for each in sorted(found.images, key=lambda each: each.held.last_used, reverse=True)
    ]
    text = [
        f"{context.workspace.store.root}: {render.size(found.total)} of {render.size(bound)}",
        f"{found.blob_count} blobs, {render.size(found.blobs.apparent)}; "
        f"leftovers of killed processes {render.size(found.leftovers.apparent)}",
    ]
    if rows:
        text.append(render.table(["ENVIRONMENT", "SIZE", "FREES", "LAST USED", ""], rows))
        text.append("FREES is what deleting gives back: files that uv's cache has too are free while it has them.")
    context.show(result, "\n".join(text))
    return 0


def gc(arguments: argparse.Namespace, context: Context) -> int:
    """Remove what nobody needs."""
    with context.progress.step("Collecting"):
        found = retention.enforce(context.workspace, arguments.max_size, dry_run=arguments.dry_run)
    result = {
        "dry_run": found.dry_run,
        "freed": found.freed,
        "removed": [{"kind": each.kind, "name": each.name, "bytes": each.bytes} for each in found.removed],
        "kept": [{"id": str(each.id), "why": each.why} for each in found.kept],
    }
    word = "would free" if found.dry_run else "freed"
    lines = [f"{word} {render.size(found.freed)} ({len(found.removed)} things)"]
    lines += [f"  {each.kind} {each.name}  {render.size(each.bytes)}" for each in found.removed if each.kind == "image"]
    lines += [f"  kept {each.id.short}: {each.why}" for each in found.kept]
    context.show(result, "\n".join(lines))
    return 0


def verify(arguments: argparse.Namespace, context: Context) -> int:
    """Compare everything with its digests; 1 if something stays damaged."""
    with context.progress.step("Verifying the store"):
        found = upkeep.verify_all(context.workspace, context.plugins, context.wishes, heal=not arguments.no_heal)
    return _report(found, context)


def verify_environment(arguments: argparse.Namespace, context: Context) -> int:
    """Compare one environment with what was installed; 1 if something is, and stays, damaged."""
    project = open_spec(arguments.spec, context.workspace)
    lock = pipeline.kept_lock(project, context.workspace, context.wishes.platform)
    if lock is None:
        raise NotFound(f"{project.spec} is not locked yet", hint="envbuild build")
    identity = project.id or pipeline.identify(project, lock, context.workspace, context.plugins)
    if context.workspace.images.find(identity) is None:
        raise NotFound(f"{project.spec} is not built yet ({identity})", hint="envbuild build")
    with context.progress.step(f"Verifying {project.name}"):
        found = upkeep.verify_image(identity, context.workspace, context.plugins, context.wishes, heal=arguments.heal)
    return _report([found], context)


def _report(found: list[upkeep.Checked], context: Context) -> int:
    lines = []
    for each in found:
        lines.append(f"{each.name}  {each.state}")
        lines += [f"  {damage}" for damage in each.damages]
        if each.reason:
            lines.append(f"  {each.reason}")
    context.show([each.to_dict() for each in found], "\n".join(lines) or "nothing to verify")
    return 1 if any(each.state == "damaged" for each in found) else 0

"""``envbuild env …`` and ``envbuild wheels add``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from envbuild import render
from envbuild.catalogue import EnvironmentVersion
from envbuild.cli.context import Context
from envbuild.cli.usage import UsageError

if TYPE_CHECKING:
    from envbuild.lock import Lock
    from envbuild.project import Project


def _as_dict(version: EnvironmentVersion, context: Context) -> dict[str, Any]:
    found = context.workspace.resolution_of(version, _here())
    return {
        "name": version.name,
        "version": str(version.version),
        "id": found.environment_id if found else None,
        "definition_digest": version.definition_digest,
        "labels": list(version.labels),
        "archived": version.archived,
        "description": version.description,
        "created_at": version.created_at.isoformat(),
        "tags": dict(version.tags),
    }


@cache
def _here() -> str:
    from envbuild.platform import Platform

    return str(Platform.here())


def register(arguments: argparse.Namespace, context: Context) -> int:
    """Give a definition a name and a version."""
    from envbuild import pipeline
    from envbuild.project import open_spec

    project = open_spec(arguments.spec, context.workspace)
    lock = pipeline.lock(project, context.workspace, context.plugins, context.wishes).lock
    identity = pipeline.identify(project, lock, context.workspace, context.plugins)
    pipeline.record_resolution(project, lock, identity, context.workspace)
    version = pipeline.register(project, context.workspace, arguments.name, arguments.description, pinned=True)
    settled = pipeline.settle(version, project, lock, identity, context.workspace)
    if settled != identity:
        context.progress.note(
            f"{version} was registered before and stays {settled.short}; the lock at hand gives {identity.short} "
            f"('envbuild lock {version} --upgrade' moves it)"
        )
    _show_version(version, context)
    return 0


def _show_version(version: EnvironmentVersion, context: Context) -> None:
    found = _as_dict(version, context)
    shown = {"registered": str(version), "id": found["id"], "definition_digest": found["definition_digest"]}
    context.show(found, render.facts(shown))


def list_(arguments: argparse.Namespace, context: Context) -> int:
    """List what is registered."""
    found = context.found(
        "such environments" if arguments.name else "environments",
        lambda: context.workspace.catalogue.list(
            arguments.name,
            archived=arguments.archived,
            latest=not (arguments.all or arguments.name),
            limit=arguments.limit,
        ),
    )
    rows = [
        [each.name, each.version, ", ".join(each.labels) or None, each.created_at, each.description or None]
        for each in found
    ]
    if context.json:
        context.show([_as_dict(each, context) for each in found], "")
    else:
        context.show(None, render.table(["NAME", "VERSION", "LABELS", "CREATED", "DESCRIPTION"], rows))
    return 0


def show(arguments: argparse.Namespace, context: Context) -> int:
    """Show one environment."""
    import yaml

    from envbuild import pipeline
    from envbuild.fingerprint import definition_document
    from envbuild.project import open_spec

    project = open_spec(arguments.spec, context.workspace)
    lock = pipeline.kept_lock(project, context.workspace, context.wishes.platform)
    if project.definition.pylock:
        lock = pipeline.lock(project, context.workspace, context.plugins, context.wishes).lock
    outdated = list(pipeline.stale(lock, project, context.workspace, context.plugins)) if lock else []
    identity = None
    if lock and not outdated:
        identity = project.id or pipeline.identify(project, lock, context.workspace, context.plugins)
    there = context.workspace.images.find(identity) if identity else None
    result = {
        "name": project.name,
        "version": str(project.version.version) if project.version else None,
        "id": str(identity) if identity else None,
        "definition_digest": str(definition_document(project.definition).digest),
        "definition": project.definition.to_dict(),
        "lock": str(project.lock_file) if project.lock_file else None,
        "stale": outdated,
        "python": lock.python if lock else None,
        "platform": str(lock.platform) if lock else None,
        "image": str(there.path) if there else None,
        "packages": [render.package(each) for each in lock.packages] if lock else [],
    }
    shown = {key: result[key] for key in ("name", "version", "id", "definition_digest", "python", "platform", "image")}
    text = [render.facts(shown), "", yaml.safe_dump(result["definition"], sort_keys=False).rstrip()]
    if lock:
        rows = [[each.name, each.version, each.kind, each.artifact.kind] for each in lock.packages]
        text += ["", render.table(["PACKAGE", "VERSION", "KIND", "ARTIFACT"], rows)]
    context.show(result, "\n".join(text))
    return 0


def _named(spec: str) -> tuple[str, str | None]:
    name, _, version = spec.partition(":")
    if not name:
        raise UsageError(f"not NAME[:VERSION]: {spec!r}")
    return name, version or None


def label(arguments: argparse.Namespace, context: Context) -> int:
    """Put labels on a version, or take them off."""
    name, version = _named(arguments.spec)
    catalogue = context.workspace.catalogue
    if arguments.remove:
        catalogue.unlabel(name, *arguments.labels)
        found = catalogue.get(name, version)
    else:
        found = catalogue.label(name, version or catalogue.get(name).version, *arguments.labels)
    context.workspace.forget_warm()
    context.show(_as_dict(found, context), f"{found}  {', '.join(found.labels)}")
    return 0


def archive(arguments: argparse.Namespace, context: Context) -> int:
    """Hide versions from lists."""
    return _changed(context, context.workspace.catalogue.archive(*_named(arguments.spec)), "archived")


def restore(arguments: argparse.Namespace, context: Context) -> int:
    """Undo archive."""
    return _changed(context, context.workspace.catalogue.restore(*_named(arguments.spec)), "restored")


def delete(arguments: argparse.Namespace, context: Context) -> int:
    """Delete versions that nothing uses."""
    name, version = _named(arguments.spec)
    with context.workspace.recorded() as catalogue:
        return _changed(context, catalogue.delete(name, version, force=arguments.force), "deleted")


def _changed(context: Context, versions: tuple[EnvironmentVersion, ...], word: str) -> int:
    context.workspace.forget_warm()
    named = [str(each) for each in versions]
    context.show({word: named}, f"{word} {', '.join(named)}")
    return 0


def export(arguments: argparse.Namespace, context: Context) -> int:
    """Write an environment to one file."""
    from envbuild import bundle, pipeline
    from envbuild.project import open_spec

    project = open_spec(arguments.spec, context.workspace)
    lock = pipeline.lock(project, context.workspace, context.plugins, context.wishes).lock
    if arguments.format:
        return _export_as(arguments, project, lock, context)
    version = f"-{project.version.version}" if project.version else ""
    target = Path(arguments.output or f"{project.name}{version}.tar")
    with _written(target) as stream:
        bundle.export(project, lock, context.workspace, stream)
    context.show({"file": str(target)}, str(target))
    return 0


def _export_as(arguments: argparse.Namespace, project: Project, lock: Lock, context: Context) -> int:
    from envbuild.exporting import export

    definition = project.definition.named(project.name)
    made = export(arguments.format, lock, definition, builds=not arguments.no_builds, md5=arguments.md5)
    if made.left_out:
        context.progress.note(f"not in it: {'; '.join(made.left_out)}")
    result = {"format": arguments.format, "file": arguments.output, "left_out": list(made.left_out)}
    if arguments.output is None:
        if made.beside:
            context.progress.note(f"give -o FILE to have {', '.join(made.beside)} written beside it")
        context.show({**result, "text": made.text, "beside": dict(made.beside)}, made.text)
        return 0
    target = Path(arguments.output)
    for path, text in ((target, made.text), *((target.with_name(name), text) for name, text in made.beside.items())):
        with _written(path) as stream:
            stream.write(text.encode())
    context.show({**result, "beside": list(made.beside)}, str(target))
    return 0


@contextmanager
def _written(target: Path) -> Iterator[IO[bytes]]:
    """A stream to ``target``, which is there as a whole or not at all.

    :raises StoreError: it cannot be written.
    """
    from envbuild.errors import StoreError

    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with beside.open("wb") as stream:
            yield stream
        beside.replace(target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def import_(arguments: argparse.Namespace, context: Context) -> int:
    """Register what export or another tool wrote, or describe a conda environment."""
    from envbuild import adoption

    if arguments.from_conda:
        return _import_conda(arguments, context)
    if not arguments.file:
        raise UsageError("what is to be imported? give a FILE, or --from-conda NAME")
    version = adoption.take_in(arguments.file, context.workspace, context.plugins, context.wishes, arguments.name)
    _show_version(version, context)
    return 0


def _import_conda(arguments: argparse.Namespace, context: Context) -> int:
    from envbuild import adoption
    from envbuild.errors import Refused

    if arguments.file:
        raise UsageError(f"either {arguments.file} or --from-conda: one at a time")
    target = Path(arguments.output)
    if target.exists():
        raise Refused(f"{target} is there already", hint="give another one: -o FILE")
    found = adoption.describe(
        arguments.from_conda,
        dict(os.environ),
        folder=context.directory,
        name=arguments.name,
        history_only=arguments.history_only,
        full=target.stem == "envbuild",
    )
    if found.only_here:
        context.progress.note(f"for this platform or machine only: {', '.join(found.only_here)}")
    with _written(target) as stream:
        stream.write(found.text.encode())
    context.show({"file": str(target), "prefix": str(found.prefix), "only_here": list(found.only_here)}, str(target))
    return 0


def add_wheel(arguments: argparse.Namespace, context: Context) -> int:
    """Keep a private wheel."""
    from envbuild import pipeline

    wheel = pipeline.add_wheel(Path(arguments.file), context.workspace, context.plugins)
    result = {"name": wheel.name, "digest": str(wheel.digest), "url": wheel.url}
    context.show(result, wheel.url)
    return 0

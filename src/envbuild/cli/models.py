"""``envbuild models …``."""

from __future__ import annotations

import argparse
from typing import Any

from envbuild import render
from envbuild.catalogue import ModelVersion
from envbuild.cli.context import Context
from envbuild.cli.usage import UsageError


def register(arguments: argparse.Namespace, context: Context) -> int:
    """Keep a file or folder under a name, as its next version."""
    from envbuild import models

    about = models.About(
        description=arguments.description,
        framework=arguments.framework,
        framework_version=arguments.framework_version,
        tags=dict(_mark("--tag", each) for each in arguments.tag),
        properties=dict(_mark("--property", each) for each in arguments.property),
    )
    if arguments.run:
        found = models.register_from_run(context.workspace, arguments.name, arguments.run, arguments.path, about=about)
    elif arguments.path:
        found = models.register(context.workspace, arguments.name, context.directory / arguments.path, about=about)
    else:
        raise UsageError("which file or folder?", hint="envbuild models register NAME PATH, or NAME --run RUN")
    _show(found, context)
    return 0


def _mark(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"{option} takes NAME=VALUE, not {text!r}", hint=f"{option} stage=production is one")
    return name, value


def _as_dict(model: ModelVersion) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "id": str(model),
        "created_at": model.created_at.isoformat(),
        "description": model.description,
        "framework": model.framework,
        "framework_version": model.framework_version,
        "run": model.run,
        "experiment": model.experiment,
        "environment": model.environment,
        "archived": model.archived,
        "tags": dict(model.tags),
        "properties": dict(model.properties),
        "root": model.root,
        "files": {path: dict(known) for path, known in model.files.items()},
    }


def _show(model: ModelVersion, context: Context) -> None:
    known = model.environment
    version = f":{known['version']}" if known and known["version"] else ""
    environment = f"{known['name']}{version}  {known['id']}" if known else None
    framework = " ".join(each for each in (model.framework, model.framework_version) if each)
    facts = {
        "model": f"{model}{' (archived)' if model.archived else ''}",
        "description": model.description or None,
        "registered": render.moment(model.created_at),
        "framework": framework or None,
        "run": model.run,
        "environment": environment,
        **{f"tag {name}": value for name, value in model.tags.items()},
        **{f"property {name}": value for name, value in model.properties.items()},
        **{f"file {path}": f"{render.size(known['size'])}  {known['digest']}" for path, known in model.files.items()},
    }
    text = render.facts({name: value for name, value in facts.items() if value is not None})
    context.show(_as_dict(model), text)


def list_(arguments: argparse.Namespace, context: Context) -> int:
    """List models."""
    tags = {name: value if equals else None for name, equals, value in (each.partition("=") for each in arguments.tag)}
    found = context.found(
        "such models" if arguments.name or arguments.run or tags else "models",
        lambda: context.workspace.catalogue.models(
            arguments.name,
            tags=tags,
            run=context.workspace.run(arguments.run)["id"] if arguments.run else None,
            latest=not (arguments.all or arguments.name or arguments.run),
            archived=arguments.archived,
            limit=arguments.limit,
        ),
    )
    rows = [
        [
            each.name,
            each.version,
            each.created_at,
            each.framework,
            render.size(sum(known["size"] for known in each.files.values())),
            each.run,
        ]
        for each in found
    ]
    text = render.table(["NAME", "VERSION", "REGISTERED", "FRAMEWORK", "SIZE", "RUN"], rows)
    context.show([_as_dict(each) for each in found], text)
    return 0


def show(arguments: argparse.Namespace, context: Context) -> int:
    """Show a model."""
    _show(context.workspace.catalogue.model(*_named(arguments.model)), context)
    return 0


def download(arguments: argparse.Namespace, context: Context) -> int:
    """Write a model's files into a folder."""
    from envbuild import models

    model = models.find(context.workspace, arguments.model)
    folder = context.directory / arguments.folder
    place = models.download(context.workspace, model, folder, exist_ok=arguments.exist_ok)
    context.show({**_as_dict(model), "path": str(place)}, str(place))
    return 0


def archive(arguments: argparse.Namespace, context: Context) -> int:
    """Hide versions from lists."""
    return _told("archived", context.workspace.catalogue.archive_model(*_named(arguments.model)), context)


def restore(arguments: argparse.Namespace, context: Context) -> int:
    """Undo archive."""
    return _told("restored", context.workspace.catalogue.restore_model(*_named(arguments.model)), context)


def delete(arguments: argparse.Namespace, context: Context) -> int:
    """Delete versions."""
    wanted = [_named(each) for each in arguments.models]
    if vague := [name for name, version in wanted if version is None]:
        raise UsageError(f"which version of {vague[0]}?", hint=f"'envbuild models list {vague[0]}' shows them")
    catalogue = context.workspace.catalogue
    with catalogue.transaction():
        gone = [each for key in wanted for each in catalogue.delete_model(*key)]
    return _told("deleted", gone, context)


def _told(done: str, models: Any, context: Context) -> int:
    names = [str(each) for each in models]
    context.show({done: names}, f"{done} {', '.join(names)}")
    return 0


def _named(text: str) -> tuple[str, str | None]:
    from envbuild.models import parse_id

    return parse_id(text)

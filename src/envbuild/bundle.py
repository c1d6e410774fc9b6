"""Bundles: an environment in one file, to be taken to another workspace: definition, locks and private wheels.

A bundle is a plain tar with members ``definition.yml`` (the full form), ``pylock.PLATFORM.toml`` for each platform that
the definition was locked for, and ``wheels/FILE``. The same environment gives the same bytes.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO

import yaml

from envbuild.catalogue import EnvironmentVersion
from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import Damaged, DefinitionError, NotFound, Refused
from envbuild.lock import Lock, Package
from envbuild.pipeline import identify, record_resolution
from envbuild.plugins import Plugins
from envbuild.project import Project
from envbuild.requirement import WheelRef
from envbuild.workspace import Workspace

_DEFINITION = "definition.yml"
_LARGEST_TEXT = 64 * 2**20


def export(project: Project, lock: Lock | None, workspace: Workspace, stream: IO[bytes]) -> None:
    """Write an environment as a bundle.

    :param lock: its lock for this platform, if it has one.
    :raises Refused: it has local projects or files, which only this machine has.
    :raises NotFound: the workspace lacks one of its private wheels.
    """
    definition = project.definition
    local = [each.text for each in definition.pip if each.is_path]
    local += [definition.interpreter] if definition.interpreter and "/" in definition.interpreter else []
    if definition.pylock and lock:
        # Of another tool's lock nothing is kept but what it comes to here: that has to be all there.
        local += [str(each) for each in lock.packages if _is_here(each)]
    if local:
        raise Refused(
            f"{project.name} asks for what only this machine has: {', '.join(local)}",
            hint="build a wheel of it, and ask for that instead",
        )
    form = yaml.safe_dump(definition.named(project.name).to_dict(), sort_keys=True, allow_unicode=True)
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, _DEFINITION, form.encode())
        if lock and not lock.is_observed:
            _add(archive, f"pylock.{lock.platform}.toml", lock.to_toml().encode())
        for wheel in sorted(definition.wheels):
            _add(archive, f"wheels/{wheel.filename}", workspace.store.read(wheel.digest))


def _is_here(package: Package) -> bool:
    """Whether it is installed from a file or folder of this machine, or from this workspace."""
    artifact = package.artifact
    if package.kind == "wheel":
        return True
    return artifact.kind != "installed" and (not artifact.url or artifact.url.startswith("file:"))


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), 0o644, 0
    archive.addfile(entry, io.BytesIO(content))


def take_in(path: Path, workspace: Workspace, plugins: Plugins, name: str | None = None) -> EnvironmentVersion:
    """Register what a bundle holds.

    :raises NotFound: there is no such file.
    :raises Damaged: it is no bundle, or one whose wheels are not those that its definition names.
    """
    if not path.is_file():
        raise NotFound(f"no such file: {path}")
    try:
        with tarfile.open(path, mode="r:") as archive:
            definition, locks = _read(archive, path, workspace)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise Damaged(f"{path} is not a bundle: {error}", hint="'envbuild env export' makes them") from error
    version = workspace.register(name or definition.name or path.stem, definition)
    project = Project(definition=definition, spec=str(version), version=version)
    for lock in locks:
        record_resolution(project, lock, identify(project, lock, workspace, plugins), workspace)
    return version


def _read(archive: tarfile.TarFile, path: Path, workspace: Workspace) -> tuple[Definition, list[Lock]]:
    definition, locks, wheels = None, [], set[Digest]()
    for entry in archive:
        parts = PurePosixPath(entry.name).parts
        stream = archive.extractfile(entry) if entry.isreg() else None
        if stream is None or ".." in parts or entry.name.startswith("/"):
            raise Damaged(f"{path}: {entry.name!r} has no place in a bundle")
        if entry.name == _DEFINITION:
            definition = _definition(stream.read(_LARGEST_TEXT), path)
        elif len(parts) == 1 and entry.name.startswith("pylock."):
            locks.append(Lock.parse(stream.read(_LARGEST_TEXT), where=entry.name))
        elif len(parts) == 2 and parts[0] == "wheels":
            wheels.add(workspace.store.put_stream(stream))
        else:
            raise Damaged(f"{path}: {entry.name!r} has no place in a bundle")
    if definition is None:
        raise Damaged(f"{path} is not a bundle: it has no {_DEFINITION}")
    _check_wheels(definition, wheels, workspace, path)
    return definition, locks


def _check_wheels(definition: Definition, wheels: set[Digest], workspace: Workspace, path: Path) -> None:
    lacking: list[WheelRef] = [
        each for each in definition.wheels if each.digest not in wheels and each.digest not in workspace.store
    ]
    if lacking:
        raise Damaged(f"{path} lacks {', '.join(each.filename for each in lacking)}, or holds other bytes of that name")


def _definition(data: bytes, path: Path) -> Definition:
    try:
        return Definition.from_dict(yaml.safe_load(data))
    except (yaml.YAMLError, DefinitionError, AttributeError, TypeError, ValueError, KeyError) as error:
        raise Damaged(f"{path}: {_DEFINITION} cannot be read: {error}") from error

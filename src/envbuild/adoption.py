"""Adoption: what other tools have made, taken in: their locks as they stand, conda environments by what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from envbuild import bundle
from envbuild.catalogue import EnvironmentVersion
from envbuild.errors import NotFound, Refused
from envbuild.lock import Lock
from envbuild.pipeline import Wishes, identify, record_resolution, resolve
from envbuild.platform import Platform
from envbuild.plugins import Plugins
from envbuild.project import Project, open_spec
from envbuild.reading import conda, conda_prefix
from envbuild.reading.locks import locks_in
from envbuild.reading.sources import Sources
from envbuild.workspace import Workspace


def take_in(
    file: str, workspace: Workspace, plugins: Plugins, wishes: Wishes, name: str | None = None
) -> EnvironmentVersion:
    """Register what a file holds: a bundle, or another tool's lock for all the platforms that it is for.

    :param file: its path; behind that of a ``pixi.lock``, ``:ENVIRONMENT`` chooses one.
    :raises NotFound: there is no such file.
    :raises Refused: it is a definition, which needs no import.
    """
    path = Path(file)
    if path.suffix == ".tar" or (path.is_file() and _looks_packed(path)):
        return bundle.take_in(path, workspace, plugins, name)
    if not Path(file.rpartition(":")[0] if ":" in file and not path.exists() else file).is_file():
        raise NotFound(f"no such file: {file}")
    project = open_spec(file, workspace)
    if not project.definition.pylock:
        raise Refused(f"{file} is no lock", hint=f"'envbuild env register {file}' registers a definition")
    locks = _locks(project, workspace, plugins, wishes)
    version = workspace.register(name or project.name, replace(project.definition, source=None), pinned=True)
    registered = Project(definition=workspace.definition_of(version), spec=str(version), version=version)
    for lock in locks.values():
        record_resolution(registered, lock, identify(registered, lock, workspace, plugins), workspace)
    return version


def _looks_packed(path: Path) -> bool:
    with path.open("rb") as stream:
        return b"\0" in stream.read(1024)


def _locks(project: Project, workspace: Workspace, plugins: Plugins, wishes: Wishes) -> Mapping[Platform, Lock]:
    definition = project.definition
    here = Platform.here()
    if definition.pylock is None or definition.source is None or definition.source.suffix == ".toml":
        return {here: resolve(project, workspace, plugins, wishes)}
    there = locks_in(definition.source, definition.pylock.part)
    # A lock says what it was made from, and only resolving knows that.
    return {each: resolve(project, workspace, plugins, replace(wishes, platform=each)) for each in there}


@dataclass(frozen=True, slots=True)
class Described:
    """A conda environment in the words of a definition's file.

    :param only_here: what another platform or machine has no equal of.
    """

    prefix: Path
    text: str
    only_here: tuple[str, ...]


def describe(
    named: str,
    variables: Mapping[str, str],
    *,
    folder: Path,
    name: str | None = None,
    history_only: bool = False,
    full: bool = False,
) -> Described:
    """Say what is in a conda environment, as a definition would ask for it.

    :param named: its name or path.
    :param folder: from where pixi's environments are looked for, here and in the folders above.
    :param history_only: only what somebody asked for, as they asked for it.
    :param full: in the form of an ``envbuild.yml``, not in that of an ``environment.yml``.
    :raises NotFound: there is none, or several.
    """
    import yaml

    prefix = conda_prefix.find(named, variables, Path(variables.get("HOME") or Path.home()), folder)
    form: dict[str, Any] = conda_prefix.read_prefix(prefix, history_only=history_only)
    form["name"] = name or form["name"]
    text = yaml.safe_dump(form, sort_keys=False, allow_unicode=True)
    if full:
        definition = conda.read(folder / "environment.yml", Sources(folder, variables), text)
        text = yaml.safe_dump(definition.to_dict(), sort_keys=False, allow_unicode=True)
    return Described(prefix, text, conda_prefix.only_here(prefix, form))

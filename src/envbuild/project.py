"""Projects: from what a user names (a file, a folder, a registered name, an id) to a definition and its lock."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from envbuild import reading
from envbuild.catalogue import EnvironmentVersion, Resolution
from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import LockError, NotFound
from envbuild.form import did_you_mean
from envbuild.lock import Lock
from envbuild.platform import Platform
from envbuild.spec import NAME, may_be_registered
from envbuild.workspace import Workspace

_MAIN_LOCK = "pylock.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A definition, and where it and its lock live.

    :param spec: how to ask for it again.
    :param lock_file: where its lock is, or will be, for this machine's platform; ``None`` where the workspace keeps
        it, as for registered names and ids.
    :param inputs: the files that the definition was read from.
    :param version: the registered version that was asked for.
    :param id: the id that was asked for.
    :param group: the dependency group or extra that was asked for.
    :param searched: the folders that were looked into for a definition.
    """

    definition: Definition
    spec: str
    lock_file: Path | None = None
    inputs: tuple[Path, ...] = ()
    version: EnvironmentVersion | None = None
    id: Digest | None = None
    group: str | None = None
    searched: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """What the environment is called: by its definition, else by its folder; a script by itself.

        Another definition in the same folder, and a group, is another environment and gets another name.
        """
        source = self.definition.source
        if source is None:
            return self.definition.name or "environment"
        named_after = self.definition.name or normal(source).parent.name
        if source.suffix == ".py" and not self.definition.name:
            named_after = source.stem
        elif self.group:
            named_after += f"-{self.group}"
        elif source.name not in reading.DEFINITION_FILES and not self.definition.name:
            named_after += f"-{source.stem}"
        return re.sub(r"[^A-Za-z0-9._-]+", "-", named_after).strip("-._") or "environment"

    @property
    def source(self) -> str:
        """What the catalogue remembers its resolutions by."""
        source = self.definition.source
        if source is None or self.version:
            return self.spec
        return f"{normal(source)}:{self.group}" if self.group else str(normal(source))

    def read_lock(self, platform: Platform) -> Lock | None:
        """The lock for ``platform``, or ``None`` if there is none yet.

        :raises LockError: the file is not a lock, or another tool's.
        """
        if self.lock_file is None:
            return None
        for file in (for_platform(self.lock_file, platform), self.lock_file):
            if file.is_file():
                lock = _lock_in(file)
                if lock.platform == platform:
                    return lock
        return None

    def lock_target(self, platform: Platform) -> Path | None:
        """The file that a lock for ``platform`` is to be written to.

        The plain name is that of this machine's lock, unless it is taken; those for other platforms stand beside it.
        """
        if self.lock_file is None:
            return None
        if not self.lock_file.is_file():
            return self.lock_file if platform == Platform.here() else for_platform(self.lock_file, platform)
        try:
            present = _lock_in(self.lock_file)
        except LockError:
            return self.lock_file
        return self.lock_file if present.platform == platform else for_platform(self.lock_file, platform)


def _lock_in(file: Path) -> Lock:
    """The lock that ``file`` holds.

    :raises LockError: it holds none of ours.
    """
    return _parsed(file.read_bytes(), file)


@lru_cache(maxsize=8)
def _parsed(data: bytes, file: Path) -> Lock:
    # Whose lock it is, whether it fits and where it is written are asked one after the other, of the same bytes.
    return Lock.parse(data, where=str(file), root=file.parent)


def for_platform(lock_file: Path, platform: Platform) -> Path:
    """The name of a lock for another platform than the plain one's.

    >>> for_platform(Path("pylock.toml"), Platform.parse("linux-aarch64")).name
    'pylock.linux-aarch64.toml'
    >>> for_platform(Path("pylock.dev.toml"), Platform.parse("macos-arm64")).name
    'pylock.dev-macos-arm64.toml'
    """
    stem = lock_file.name.removeprefix("pylock").removesuffix(".toml").strip(".")
    return lock_file.with_name(f"pylock.{stem}-{platform}.toml" if stem else f"pylock.{platform}.toml")


def lock_file_for(file: Path, group: str | None = None) -> Path:
    """The name of a definition's lock (PEP 751): ``pylock.toml`` for the one that its folder stands for.

    Any other file's lock is named after it, and a group's after the group. A ``pylock.toml`` stays with the definition
    that it was made for, whatever else appears in the folder, and one that another tool made is left alone.
    """
    folder = file.absolute().parent
    label = group
    if label is None and (file.suffix == ".py" or not _is_main(file, folder)):
        label = file.stem
    plain = re.sub(r"[^a-z0-9_-]+", "-", label.lower()).strip("-") if label else ""
    return folder / (f"pylock.{plain}.toml" if plain else _MAIN_LOCK)


def _is_main(file: Path, folder: Path) -> bool:
    """Whether ``pylock.toml`` is, or would be, that of ``file``."""
    lock = folder / _MAIN_LOCK
    if lock.is_file():
        try:
            owner = _lock_in(lock).definition
        except LockError:
            # Another tool's, or damaged; one of ours that is damaged is told of when it is read.
            return "[tool.envbuild]" in lock.read_text(encoding="utf-8", errors="replace")
        if owner is not None and (folder / owner).exists():
            return owner == file.name
    found = reading.find(folder)
    return found is not None and found.name == file.name


def open_spec(spec: str, workspace: Workspace) -> Project:
    """Find what ``spec`` means: a path, then a registered ``name[:version|@label]``, then an id.

    :raises NotFound: nothing of that kind.
    :raises DefinitionError: the file is not a definition.
    """
    path, group = Path(spec), None
    if not path.exists() and ":" in spec:
        before, _, after = spec.rpartition(":")
        if Path(before).exists():
            path, group = Path(before), after
    if path.exists():
        return _open_path(path, group)
    if not may_be_registered(spec):
        raise NotFound(f"no such file: {spec}{_near(path)}")
    return open_registered(spec, workspace)


def _near(path: Path) -> str:
    try:
        return did_you_mean(path.name, [each.name for each in path.absolute().parent.iterdir()])
    except OSError:
        return ""


def _open_path(path: Path, group: str | None) -> Project:
    if path.is_dir():
        found = reading.find(path)
        if found is None:
            raise NotFound(
                f"no definition in {path}", hint="one of these is looked for: " + ", ".join(reading.DEFINITION_FILES)
            )
        path = found
    definition, inputs = reading.read_with_inputs(path, group=group)
    spec = f"{path}:{group}" if group else str(path)
    if definition.pylock:
        return Project(definition=definition, spec=spec, inputs=inputs, group=group)
    return Project(definition=definition, spec=spec, inputs=inputs, lock_file=lock_file_for(path, group), group=group)


def open_registered(spec: str, workspace: Workspace) -> Project:
    """Find what the workspace knows as ``spec``, a name or an id, whatever files may be called the same.

    :raises NotFound: it knows nothing of that kind.
    """
    asked = NAME.fullmatch(spec.removeprefix("sha256:"))
    if asked is None:
        raise NotFound(f"{spec!r} is no file, no name and no id")
    if not spec.startswith("sha256:"):
        try:
            version = workspace.catalogue.get(asked["name"], asked["version"], asked["label"])
        except NotFound:
            if workspace.locate_id(spec) is None:
                raise
        else:
            definition = workspace.definition_of(version)
            return Project(definition=definition, spec=str(version), version=version)
    found = workspace.locate_id(spec)
    if found is None:
        raise NotFound(f"{spec!r} is no file, no name and no id")
    return _open_id(found, workspace)


def open_of_run(environment: Mapping[str, Any], workspace: Workspace) -> Project:
    """Find the environment that a run was in, as the run had it: another definition may have come to the same id.

    :param environment: what the run's record says of it.
    :raises NotFound: it is not known any more.
    """
    identity = environment["id"]
    by = workspace.catalogue.resolution_by(environment.get("definition_digest") or "", identity)
    return _open_resolution(Digest.parse(identity), by, workspace) if by else open_registered(identity, workspace)


def _open_id(found: Digest, workspace: Workspace) -> Project:
    resolution = workspace.catalogue.resolution_of(found)
    if resolution is None:
        raise NotFound(f"no environment with the id {found} is known here")
    return _open_resolution(found, resolution, workspace)


def _open_resolution(found: Digest, resolution: Resolution, workspace: Workspace) -> Project:
    document = workspace.document(Digest.parse(resolution.definition_digest))
    source = Path(resolution.source)
    root = source.parent if source.is_absolute() else _root_of(resolution.source, workspace)
    definition = Definition.from_content(document.content, root=root)
    return Project(definition=definition, spec=str(found), id=found)


def _root_of(name: str, workspace: Workspace) -> Path | None:
    """The folder from which the paths of a registered definition are meant, if it has any."""
    if name.startswith("sha256:"):
        return None
    try:
        return open_registered(name, workspace).definition.root
    except NotFound:
        return None


def open_for(script: Path | None, directory: Path) -> Project:
    """Find the definition of a script, or of a command run in ``directory``, where none was named.

    A PEP 723 block in the script comes first, then the definition in its folder or the nearest folder above it, else an
    empty definition. Above means up to the repository's top; outside of one up to ``directory``, if the script lies
    below that.
    """
    if script is not None and script.suffix == ".py" and reading.has_script_block(script):
        definition, inputs = reading.read_with_inputs(script)
        return Project(definition=definition, spec=str(script), inputs=inputs, lock_file=lock_file_for(script))
    folders = _folders(script, directory)
    for folder in folders:
        found = reading.find(folder)
        if found is not None:
            return replace(_open_path(found, None), searched=tuple(folders))
    return Project(definition=Definition(name="default", root=directory), spec="default", searched=tuple(folders))


def _folders(script: Path | None, directory: Path) -> list[Path]:
    start = normal(script).parent if script else normal(directory)
    above = [start, *start.parents]
    top = next((each for each in above if (each / ".git").exists()), None) or normal(directory)
    return above[: above.index(top) + 1] if top in above else [start]


def normal(path: Path) -> Path:
    """``path`` from the root, without ``..``; links stay as they are, since that is what users see."""
    return Path(os.path.abspath(path))  # noqa: PTH100

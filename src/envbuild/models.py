"""Models: files under a name and a version, kept by digest, with the run and the environment that they came from.

A model is a file or a folder. The files are the store's (`envbuild.store`), so the same file is there once however many
versions have it; what is said of them is the catalogue's (`envbuild.catalogue`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, cast

from envbuild.catalogue import ModelVersion
from envbuild.catalogue.models import check_name
from envbuild.catalogue.statements import some
from envbuild.digest import Digest
from envbuild.errors import Damaged, EnvbuildError, NotFound, Refused
from envbuild.layout import LOGS, OUTPUTS
from envbuild.store import delete_tree, in_threads, writing
from envbuild.workspace import Workspace

Found: TypeAlias = Path | Digest | None
"""A file; one that the store has already; or ``None`` for a link that leads out of its folder, to one, or nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is said of a model when it is registered.

    :param properties: as tags, but they stay.
    :param more: what else is to be recorded, as JSON has it.
    :raises EnvbuildError: a version of no framework.
    """

    description: str = ""
    framework: str | None = None
    framework_version: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.framework_version and not self.framework:
            raise EnvbuildError(
                f"the framework's version is said to be {self.framework_version}, and of the framework nothing is said",
                hint="say both, or neither",
            )


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What is to be registered: files by path, each with ``root`` in front."""

    root: str
    files: Mapping[str, Found]


_NOTHING = About()


def register(
    workspace: Workspace,
    name: str,
    path: Path,
    *,
    children: Sequence[str] | None = None,
    about: About = _NOTHING,
) -> ModelVersion:
    """Give a file, or a folder with all that is in it, a name and the next version; the files are kept by digest.

    A file keeps its name, a folder its own. Links are followed to files of the folder, and no further.

    :param children: only these files and folders of the folder.
    :raises NotFound: there is no such file or folder, or it has no files.
    :raises Refused: a link in the folder leads out of it, or to a folder.
    :raises EnvbuildError: ``name`` is not a name.
    :raises StoreError: something cannot be read, or not be kept.
    """
    check_name(name)
    # Not resolved: a link that the user names is meant, and its name is the one that they know.
    place = Path(os.path.abspath(path))  # noqa: PTH100
    if not place.exists():
        raise NotFound(f"no such file or folder: {path}", hint=_neighbours(place.parent))
    if place.is_file():
        files: Mapping[str, Found] = {place.name: place}
    else:
        root = place.name or "root"
        files = {f"{root}/{inner}": found for inner, found in _files_in(place).items()}
        files = files if children is None else _only(children, root, files)
        if not files:
            raise NotFound(f"no files in {path}")
    return _keep(workspace, name, _Chosen(place.name or "root", files), about, None)


def register_from_run(
    workspace: Workspace,
    name: str,
    run: str | Mapping[str, Any],
    path: str | None = None,
    *,
    children: Sequence[str] | None = None,
    about: About = _NOTHING,
) -> ModelVersion:
    """Give a file or folder of a run a name and the next version; the run may have ended or go on.

    :param run: its id, or its record.
    :param path: such as ``outputs/model.pkl``, or a folder; ``outputs/`` may be left out. By default the name.
    :raises NotFound: there is no such run, or it has no such file; the error names those that it has.
    :raises Refused: a link among them leads out of the run's folder, or to a folder.
    :raises EnvbuildError: ``name`` is not a name.
    :raises StoreError: something cannot be read, or not be kept.
    """
    check_name(name)
    record = workspace.run(run) if isinstance(run, str) else run
    chosen = _chosen(path or name, files_of_run(workspace, record), record["id"])
    if children is not None:
        chosen = _Chosen(chosen.root, _only(children, chosen.root, chosen.files))
    return _keep(workspace, name, chosen, about, record)


def files_of_run(workspace: Workspace, run: Mapping[str, Any]) -> dict[str, Found]:
    """The files of a run under ``outputs/`` and ``logs/``, by name.

    Outputs of a run that has ended are given as they were recorded, whatever has become of its folder.
    """
    folder = workspace.run_folder(run["id"])
    found: dict[str, Found] = {}
    for part in (OUTPUTS, LOGS):
        # While the run goes on, this is a link to its working copy.
        place = (folder / part).resolve()
        if place.is_relative_to(folder.resolve()):
            found |= {f"{part}/{name}": path for name, path in _files_in(place).items()}
    for name, known in (run.get("outputs") or {}).items():
        found[f"{OUTPUTS}/{name}"] = Digest.parse(known["digest"])
    return found


def find(workspace: Workspace, text: str) -> ModelVersion:
    """The version that is meant by ``NAME`` or ``NAME:VERSION``.

    :raises NotFound: there is none.
    """
    return workspace.catalogue.model(*parse_id(text))


def parse_id(text: str) -> tuple[str, str | None]:
    """Take an id, or a name, apart.

    >>> parse_id("iris:3"), parse_id("iris")
    (('iris', '3'), ('iris', None))
    """
    name, _, version = text.partition(":")
    return name, version or None


def download(workspace: Workspace, model: ModelVersion, folder: Path, *, exist_ok: bool = False) -> Path:
    """Write a model's files into a folder, which is made if need be; nothing is written outside it.

    They are made aside and checked, and put in their places once all are there.

    :param exist_ok: replace files that are there already.
    :returns: the file, or the folder, that was registered.
    :raises Refused: it is there already, or a link in ``folder`` leads out of it.
    :raises NotFound: the store lacks a file.
    :raises Damaged: what the store has is not what was registered.
    :raises StoreError: ``folder`` cannot be written.
    """
    place = folder / model.root
    if os.path.lexists(place) and not exist_ok:
        raise _there_already(place)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{model.root}.{os.urandom(8).hex()}"
        aside.mkdir()
        try:
            for path, known in model.files.items():
                made = aside / _checked(path)
                made.parent.mkdir(parents=True, exist_ok=True)
                workspace.store.copy_to(Digest.parse(known["digest"]), made)
            if os.path.lexists(place) or not _renamed(aside / model.root, place):
                if not exist_ok:
                    raise _there_already(place)
                _merge(aside, folder, model.files)
        finally:
            delete_tree(aside)
    return place


# -- finding the files ---------------------------------------------------------------------------------------


def _files_in(folder: Path) -> dict[str, Found]:
    """The files below a folder, by path."""
    found: dict[str, Found] = {}
    real = folder.resolve()
    for here, folders, files in os.walk(folder, onerror=_cannot_be_read):
        folders.sort()
        links = (name for name in folders if os.path.islink(os.path.join(here, name)))  # noqa: PTH114, PTH118  many
        for name in sorted((*files, *links)):
            path = Path(here, name)
            inner = path.relative_to(folder).as_posix()
            if not path.is_symlink():
                found[inner] = path
                continue
            target = path.resolve()
            found[inner] = target if target.is_file() and target.is_relative_to(real) else None
    return found


def _chosen(wanted: str, files: Mapping[str, Found], run: str) -> _Chosen:
    parts = [part for part in wanted.replace("\\", "/").split("/") if part not in ("", ".")]
    asked = "/".join(parts)
    for path in (asked, f"{OUTPUTS}/{asked}") if parts and not wanted.startswith("/") else ():
        root = path.rpartition("/")[2]
        if path in files:
            return _Chosen(root, {root: files[path]})
        below = {root + name.removeprefix(path): found for name, found in files.items() if name.startswith(f"{path}/")}
        if below:
            return _Chosen(root, below)
    raise NotFound(
        f"run {run} has no file {wanted!r}", hint=f"it has: {some(sorted(files))}" if files else "it has none yet"
    )


def _only(children: Sequence[str], root: str, files: Mapping[str, Found]) -> dict[str, Found]:
    found: dict[str, Found] = {}
    for child in children:
        path = f"{root}/{PurePosixPath(child)}"
        below = {name: each for name, each in files.items() if name == path or name.startswith(f"{path}/")}
        if not below:
            inner = (name.removeprefix(f"{root}/") for name in files)
            raise NotFound(f"{root} has no file {str(child)!r}", hint=f"it has: {some(inner)}")
        found |= below
    return found


def _neighbours(folder: Path) -> str:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return f"there is no folder {folder} either"
    return f"{folder} has: {some(names)}" if names else f"{folder} is empty"


def _cannot_be_read(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


# -- keeping and giving back ---------------------------------------------------------------------------------


def _keep(
    workspace: Workspace, name: str, chosen: _Chosen, about: About, run: Mapping[str, Any] | None
) -> ModelVersion:
    astray = [path for path, found in chosen.files.items() if found is None]
    if astray:
        raise Refused(
            f"links that lead out of the folder, or to a folder, are not followed: {some(astray)}",
            hint="put the files themselves there, or register the folder that holds both",
        )
    store = workspace.store

    def keep(found: Found) -> Digest:
        if isinstance(found, Digest):
            # To be there is not enough: gc is to see that it is wanted, and a damaged one is to be found now.
            return store.put_file(store.path(found), expected=found)
        return store.put_file(cast("Path", found))

    # To start threads takes longer than to keep one small file.
    kept = list((in_threads if len(chosen.files) > 1 else map)(keep, chosen.files.values()))
    files = {
        path: {"digest": str(digest), "size": store.path(digest).stat().st_size}
        for path, digest in zip(chosen.files, kept, strict=True)
    }
    known = run or {}
    return workspace.catalogue.register_model(
        name,
        {**about.more, "root": chosen.root, "files": files},
        description=about.description,
        framework=about.framework,
        framework_version=about.framework_version,
        run=known.get("id"),
        experiment=known.get("experiment"),
        environment=known.get("environment"),
        tags=about.tags,
        properties=about.properties,
    )


def _checked(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise Damaged(f"a model's file cannot lie at {path!r}: that is outside its folder")
    return path


def _there_already(place: Path) -> Refused:
    return Refused(f"{place} is there already", hint="choose another folder, or allow it to be replaced")


def _renamed(made: Path, place: Path) -> bool:
    try:
        made.rename(place)
    except OSError as error:
        # Somebody else has been quicker.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR):
            raise
        return False
    return True


def _merge(aside: Path, folder: Path, files: Iterable[str]) -> None:
    """Move files to where others may be already."""
    real = folder.resolve()
    for path in files:
        place = folder / path
        if not place.parent.resolve().is_relative_to(real):
            raise Refused(f"{place.parent} is outside {folder}: a link leads there", hint="remove the link")
    for path in files:
        place = folder / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            (aside / path).replace(place)
        except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
            raise Refused(f"{place} cannot be replaced: {error.strerror}", hint=f"remove {error.filename}") from error

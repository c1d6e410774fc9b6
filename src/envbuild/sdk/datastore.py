"""Datastores (``azureml.core.datastore``): folders of data that go by a name in a workspace.

Every workspace has one of its own, ``workspaceblobstore``; any folder of the machine can be another. Whatever path is
asked for, nothing outside the folder is read or written.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from envbuild.form import did_you_mean
from envbuild.progress import counted
from envbuild.sdk import tables
from envbuild.sdk.absent import lacking
from envbuild.sdk.data_reference import DataReference, plain_path
from envbuild.sdk.exceptions import UserErrorException
from envbuild.sdk.guard import optional, pathlike, takes, words
from envbuild.sdk.workspace import Workspace
from envbuild.store import writing

__all__ = ["DataReference", "Datastore"]

OWN = "workspaceblobstore"
"""The datastore that every workspace has, under the name that Azure gives it."""

FOLDER = "datastores"
"""Below a workspace: what its own datastore holds."""

_DEFAULT = "default"
_FOLDERS = "folders"
_NAME = re.compile(r"\w{1,255}", re.ASCII)
_BEING_COPIED = ".envbuild-copy-"
_ABSENT = dict.fromkeys(
    ("account_name", "account_key", "container_name", "endpoint", "protocol", "sas_token", "blob_service"),
    "a datastore here is a folder of this machine, not storage in an account; its root says which",
)


def names_in(workspace: Workspace) -> list[str]:
    """The datastores of a workspace."""
    return [OWN, *sorted(_folders(workspace))]


class _Names(type):
    """Says what there is for what Azure has in the way of storage accounts."""

    def __getattr__(cls, name: str) -> NoReturn:
        said = f"type object {cls.__name__!r} has no attribute {name!r}"
        if name.startswith("register_"):
            said += (
                ": a datastore here is a folder; copy the data to this machine or mount them there, and name the "
                "folder with Datastore.register_local(workspace, name, path)"
            )
        raise AttributeError(said + did_you_mean(name, [each for each in dir(cls) if each[0] != "_"]))


class Datastore(metaclass=_Names):
    """A folder of data under a name (``azureml.core.Datastore``).

    :param workspace: a `Workspace`, its name or path, or ``None`` for the default one.
    :param name: by default that of the workspace's default datastore.
    :raises UserErrorException: there is none of that name; the message lists those there are.
    """

    name: str
    workspace: Workspace
    root: Path
    """The folder; that of ``workspaceblobstore`` is made when something is put there (envbuild's own)."""

    @takes(name=optional(words))
    def __init__(self, workspace: Workspace | str | os.PathLike[str] | None, name: str | None = None) -> None:
        self.workspace = Workspace.of(workspace)
        table = tables.read(self.workspace._core, tables.DATASTORES)
        self.name = name or table.get(_DEFAULT, OWN)
        if self.name == OWN:
            self.root = self.workspace.root / FOLDER / OWN
            return
        folders = table.get(_FOLDERS, {})
        if self.name not in folders:
            there = names_in(self.workspace)
            raise UserErrorException(
                f"there is no datastore {self.name!r}{did_you_mean(str(self.name), there)}",
                hint=f"there are: {', '.join(there)}; Datastore.register_local(workspace, name, path) adds a folder",
            )
        self.root = Path(folders[self.name])

    @staticmethod
    def get(workspace: Workspace | str | os.PathLike[str] | None, datastore_name: str) -> Datastore:
        """The datastore of that name.

        :raises UserErrorException: there is none.
        """
        return Datastore(workspace, datastore_name)

    @staticmethod
    def get_default(workspace: Workspace | str | os.PathLike[str] | None) -> Datastore:
        """The one that is meant where none is named: ``workspaceblobstore``, until another is chosen."""
        return Datastore(workspace)

    @staticmethod
    @takes(path=pathlike)
    def register_local(
        workspace: Workspace | str | os.PathLike[str] | None,
        name: str,
        path: str | os.PathLike[str],
        overwrite: bool = False,
    ) -> Datastore:
        """Give a folder of this machine a name (in the place of Azure's ``register_azure_blob_container`` & co.).

        :param name: letters, digits and ``_``.
        :param overwrite: let the name stand for this folder, if it stands for another one.
        :raises UserErrorException: there is no such folder, the name cannot be one, or it stands for another folder.
        """
        folder = Path(path).expanduser().resolve()
        if not folder.is_dir():
            raise UserErrorException(f"there is no folder {folder}", hint="make it first")
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == OWN:
            raise UserErrorException(
                f"{name!r} cannot be the name of a new datastore",
                hint=f"up to 255 letters, digits and '_' make one; {OWN!r} is the workspace's own",
            )
        meant = Workspace.of(workspace)
        with tables.changing(meant._core, tables.DATASTORES) as table:
            folders = table.setdefault(_FOLDERS, {})
            if not overwrite and folders.get(name, str(folder)) != str(folder):
                raise UserErrorException(
                    f"datastore {name!r} is {folders[name]} already", hint="overwrite=True makes it stand for another"
                )
            folders[name] = str(folder)
        return Datastore(meant, name)

    @property
    def datastore_type(self) -> str:
        """``Local``, which Azure does not have."""
        return "Local"

    def set_as_default(self) -> None:
        """Let it be the one that is meant where none is named.

        :raises UserErrorException: it has been unregistered.
        """
        with tables.changing(self.workspace._core, tables.DATASTORES) as table:
            table[_DEFAULT] = Datastore(self.workspace, self.name).name

    def unregister(self) -> None:
        """Forget the name; the folder and what it holds stay as they are.

        :raises UserErrorException: it is the workspace's own, or not registered any more.
        """
        if self.name == OWN:
            raise UserErrorException(f"{OWN!r} is the workspace's own and goes when that is deleted")
        with tables.changing(self.workspace._core, tables.DATASTORES) as table:
            del table[_FOLDERS][Datastore(self.workspace, self.name).name]
            if table.get(_DEFAULT) == self.name:
                del table[_DEFAULT]

    # What a script is given

    @takes(data_reference_name=optional(words))
    def path(self, path: str | os.PathLike[str] | None = None, data_reference_name: str | None = None) -> DataReference:
        """Refer to a file or folder of it, or to all of it, mounted.

        :raises UserErrorException: the path leads out of it.
        """
        return DataReference(self, data_reference_name or "", plain_path(path) or None)

    def as_mount(self) -> DataReference:
        """Refer to all of it, used where it is."""
        return self.path().as_mount()

    def as_download(self, path_on_compute: str | None = None, overwrite: bool = False) -> DataReference:
        """Refer to all of it, copied for a run before that starts."""
        return self.path().as_download(path_on_compute, overwrite)

    def as_upload(self, path_on_compute: str | None = None, overwrite: bool = False) -> DataReference:
        """Refer to all of it, as the place for what a run has made."""
        return self.path().as_upload(path_on_compute, overwrite)

    def place(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Where something of it is on this machine, whether or not it is there yet (envbuild's own).

        :raises UserErrorException: the path leads out of it, by ``..`` or by a symbolic link.
        """
        return _placed(self.root, plain_path(path))

    # In and out

    @takes(src_dir=pathlike)
    def upload(
        self,
        src_dir: str | os.PathLike[str],
        target_path: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> DataReference:
        """Copy a folder's files in; symbolic links among them are followed.

        :param target_path: the folder of the datastore that they come to lie in.
        :param overwrite: replace files that are there already, rather than leave them, as they are by default.
        :param show_progress: on standard error, where that is a terminal.
        :returns: a reference to where they are now.
        :raises UserErrorException: there is no such folder, or the path leads out of the datastore.
        """
        source = Path(src_dir)
        if not source.is_dir():
            raise UserErrorException(f"there is no folder {source}", hint="upload_files takes files")
        found = [(file, file.relative_to(source).as_posix()) for file in _files(source)]
        return self._take_in(found, target_path, overwrite, show_progress)

    @takes(relative_root=optional(pathlike))
    def upload_files(
        self,
        files: Sequence[str | os.PathLike[str]],
        relative_root: str | os.PathLike[str] | None = None,
        target_path: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> DataReference:
        """Copy files in.

        :param relative_root: they keep their paths below this folder; by default only their names.
        :param target_path: the folder of the datastore that they come to lie in.
        :param overwrite: replace files that are there already, rather than leave them, as they are by default.
        :param show_progress: on standard error, where that is a terminal.
        :returns: a reference to where they are now.
        :raises UserErrorException: a file is missing or not below ``relative_root``, or two would lie at one path.
        """
        if isinstance(files, (str, os.PathLike)):
            raise UserErrorException(f"a list of files is wanted, not {files!r}", hint=f"give [{str(files)!r}]")
        if not isinstance(files, Iterable) or isinstance(files, (bytes, Mapping)):
            raise UserErrorException(f"a list of files is wanted, not {files!r}")
        files = [_file(each) for each in files]
        found = [(Path(file), _name_below(Path(file), relative_root)) for file in files]
        missing = [str(file) for file, _ in found if not file.is_file()]
        if missing:
            raise UserErrorException(f"not there, or no file: {', '.join(missing)}")
        twice = [name for name, count in Counter(name for _, name in found).items() if count > 1]
        if twice:
            raise UserErrorException(
                f"several files would come to lie at {', '.join(twice)}", hint="relative_root keeps their paths apart"
            )
        return self._take_in(found, target_path, overwrite, show_progress)

    @takes(target_path=pathlike)
    def download(
        self,
        target_path: str | os.PathLike[str],
        prefix: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> int:
        """Copy files out; they keep their paths below ``target_path``.

        :param prefix: only those whose path in the datastore begins like this, in the middle of a name too.
        :param overwrite: replace files that are there already, rather than leave them, as they are by default.
        :param show_progress: on standard error, where that is a terminal.
        :returns: how many were copied.
        :raises UserErrorException: ``prefix``, or a symbolic link where it leads, leads out of the datastore.
        """
        plain_path(prefix)
        folder, _, beginning = os.fspath(prefix or "").removeprefix("./").rpartition("/")
        start = self.place(folder)
        target = Path(target_path)
        found = [
            (file, _placed(target, file.relative_to(self.root).as_posix()))
            for file in (_files(start, self.root.resolve(), beginning) if start.is_dir() else ())
        ]
        return _copy_all(found, f"Downloading from {self.name}", overwrite, show_progress)

    def _take_in(
        self,
        found: Iterable[tuple[Path, str]],
        target_path: str | os.PathLike[str] | None,
        overwrite: bool,
        show_progress: bool,
    ) -> DataReference:
        target = plain_path(target_path)
        pairs = [(file, self.place(f"{target}/{name}" if target else name)) for file, name in found]
        with writing(self.root):
            # A reference to what an upload of nothing has made is one to a folder too.
            _make_folder(self.place(target))
            _copy_all(pairs, f"Uploading to {self.name}", overwrite, show_progress)
        return self.path(target or None)

    def __getattr__(self, name: str) -> NoReturn:
        raise lacking(type(self), name, _ABSENT)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Datastore) and (self.workspace, self.name) == (other.workspace, other.name)

    def __hash__(self) -> int:
        return hash((self.workspace, self.name))

    def __repr__(self) -> str:
        return f"Datastore(workspace={self.workspace!r}, name={self.name!r})"


def _file(given: str | os.PathLike[str]) -> str | os.PathLike[str]:
    try:
        return pathlike(given)
    except ValueError as error:
        raise UserErrorException(f"files: {error}") from error


def _folders(workspace: Workspace) -> dict[str, Any]:
    folders: dict[str, Any] = tables.read(workspace._core, tables.DATASTORES).get(_FOLDERS, {})
    return folders


def _name_below(file: Path, root: str | os.PathLike[str] | None) -> str:
    if root is None:
        return file.name
    absolute, above = Path(os.path.abspath(file)), Path(os.path.abspath(root))  # noqa: PTH100  links stay as they are
    if not absolute.is_relative_to(above):
        raise UserErrorException(f"{file} is not below {above}", hint="relative_root has to be above every file")
    return absolute.relative_to(above).as_posix()


def _placed(root: Path, path: str) -> Path:
    place = root / path
    if not place.resolve().is_relative_to(root.resolve()):
        raise UserErrorException(
            f"{place} leads to {place.resolve()}, outside {root}", hint="remove that symbolic link"
        )
    return place


def _files(
    folder: Path, within: Path | None = None, beginning: str = "", above: tuple[Path, ...] = ()
) -> Iterator[Path]:
    """The files below a folder, in order; links are followed, but not out of ``within``, and not round in circles.

    :param beginning: of the names in the folder itself.
    """
    here = folder.resolve()
    if here in above:
        return
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if name.startswith(_BEING_COPIED) or not name.startswith(beginning):
            continue
        if within is not None and path.is_symlink() and not path.resolve().is_relative_to(within):
            raise UserErrorException(f"{path} leads to {path.resolve()}, outside {within}", hint="remove that link")
        if path.is_dir():
            yield from _files(path, within, "", (*above, here))
        elif path.is_file():
            yield path
        else:
            raise UserErrorException(
                f"{path} is neither a file nor a folder", hint="remove it, or name files one by one"
            )


def _copy_all(pairs: Sequence[tuple[Path, Path]], doing: str, overwrite: bool, show_progress: bool) -> int:
    copied = sum(_copy(source, place, overwrite) for source, place in _watched(pairs, doing, show_progress))
    if show_progress and copied < len(pairs):
        left = counted(len(pairs) - copied, "file")
        sys.stderr.write(f"{doing}: {left} there already, left alone (overwrite=True replaces them)\n")
    return copied


def _copy(source: Path, place: Path, overwrite: bool) -> bool:
    """Copy a file, all of it or nothing; ``False`` if there is one already that is not to be replaced."""
    if place.is_dir():
        raise UserErrorException(f"{place} is a folder, and {source} a file", hint="rename one of them")
    if not overwrite and os.path.lexists(place):
        return False
    _make_folder(place.parent)
    beside = place.with_name(f"{_BEING_COPIED}{os.urandom(8).hex()}")
    try:
        shutil.copy(source, beside)
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
    return True


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserErrorException(f"{folder} cannot be a folder: there is a file", hint="rename it") from error


def _watched(pairs: Sequence[tuple[Path, Path]], doing: str, show_progress: bool) -> Iterable[tuple[Path, Path]]:
    if not show_progress or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return pairs
    from rich.console import Console
    from rich.progress import track

    return track(pairs, doing, console=Console(stderr=True), transient=True)

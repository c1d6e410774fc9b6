"""References to data (``azureml.data.data_reference``): which files of a datastore a script is given, and how."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from envbuild.sdk.exceptions import UserErrorException
from envbuild.sdk.guard import mapping, pathlike_or_empty, takes

if TYPE_CHECKING:
    from envbuild.sdk.datastore import Datastore
    from envbuild.sdk.runconfig import DataReferenceConfiguration
    from envbuild.sdk.workspace import Workspace

MODES = ("mount", "download", "upload")
_WRITTEN = ("datastore", "name", "path", "mode", "path_on_compute", "overwrite")
VARIABLE = "AZUREML_DATAREFERENCE_"

_NAME = re.compile(r"\w+", re.ASCII)


def plain_path(given: str | os.PathLike[str] | None) -> str:
    """A path within a datastore as it is kept: parts joined by ``/``, empty for the whole of it.

    :raises UserErrorException: it is absolute, or leads out by ``..``.

    >>> plain_path("./images//train/"), plain_path(None)
    ('images/train', '')
    """
    path = _parts(given)
    if path is None or path.is_absolute() or ".." in path.parts:
        raise UserErrorException(
            f"{given!r} is no path within a datastore",
            hint="give a relative one without '..', such as 'images/train'; Datastore.register_local adds folders",
        )
    return "/".join(path.parts)


@dataclass(frozen=True)
class DataReference:
    """Files of a datastore, as an argument of a script (``azureml.data.data_reference.DataReference``).

    A script is given their path on this machine in the place of the reference. By ``mount`` that is the files
    themselves, by ``download`` a copy of the run's own, and by ``upload`` a folder whose files go to the datastore when
    the run has ended.

    :param data_reference_name: letters, digits and ``_``. By default the name of the datastore; with a path that and
        a few digits that stand for the path, where Azure takes random ones, so that a repeated run is told the same.
    :param path_on_datastore: a file or a folder of it; by default all of it.
    :param path_on_compute: where in the run's working copy a download goes, or an upload comes from. An absolute path,
        which Azure has in its container, would be this machine's own: such data goes to a place of the run's own, as
        it does by default, and the argument tells the script where that is.
    :param overwrite: replace what is there already.
    :raises UserErrorException: the name cannot be one, there is no such mode, or the path leads out of the datastore.
    """

    datastore: Datastore
    data_reference_name: str = ""
    path_on_datastore: str | None = None
    mode: str = "mount"
    path_on_compute: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        from envbuild.sdk.datastore import Datastore

        if not isinstance(self.datastore, Datastore):
            raise UserErrorException(f"datastore: a Datastore is wanted, not {self.datastore!r}")
        path = plain_path(self.path_on_datastore)
        name = self.data_reference_name or _name_for(self.datastore.name, path)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserErrorException(f"{name!r} cannot name a data reference", hint="letters, digits and '_' can")
        if self.mode not in MODES:
            raise UserErrorException(f"there is no mode {self.mode!r}", hint=f"there are: {', '.join(MODES)}")
        object.__setattr__(self, "path_on_datastore", path or None)
        object.__setattr__(self, "data_reference_name", name)
        object.__setattr__(self, "path_on_compute", _path_in_run(self.path_on_compute))

    @property
    def variable(self) -> str:
        """The variable that tells a run where the files are (envbuild's own; Azure has it in ``str``)."""
        return VARIABLE + self.data_reference_name

    @property
    def local_path(self) -> Path:
        """Where the files are on this machine, whether or not they are there yet (envbuild's own).

        :raises UserErrorException: a symbolic link leads out of the datastore.
        """
        return self.datastore.place(self.path_on_datastore)

    def as_mount(self) -> DataReference:
        """The same files, used where they are: what the script changes is changed in the datastore."""
        return replace(self, mode="mount")

    def as_download(self, path_on_compute: str | None = None, overwrite: bool = False) -> DataReference:
        """The same files, copied for the run before it starts."""
        return replace(self, mode="download", path_on_compute=path_on_compute, overwrite=overwrite)

    def as_upload(self, path_on_compute: str | None = None, overwrite: bool = False) -> DataReference:
        """The same place, for what the run has made: it is copied there when the run has ended."""
        return replace(self, mode="upload", path_on_compute=path_on_compute, overwrite=overwrite)

    def path(self, path: str | os.PathLike[str] | None = None, data_reference_name: str | None = None) -> DataReference:
        """Another path of the same datastore, mounted; `local_path` has where it is on this machine.

        :raises UserErrorException: it leads out of the datastore.
        """
        return self.datastore.path(path, data_reference_name)

    def to_config(self) -> DataReferenceConfiguration:
        """The same, said by the datastore's name, as ``run_config.data_references`` may have it."""
        from envbuild.sdk.runconfig import DataReferenceConfiguration

        return DataReferenceConfiguration(
            datastore_name=self.datastore.name,
            mode=self.mode,
            path_on_datastore=self.path_on_datastore,
            path_on_compute=self.path_on_compute,
            overwrite=self.overwrite,
        )

    def to_dict(self) -> dict[str, Any]:
        """The reference in plain values, as a run records it; names the datastore, and no folder of this machine."""
        return {
            "datastore": self.datastore.name,
            "name": self.data_reference_name,
            "path": self.path_on_datastore,
            "mode": self.mode,
            "path_on_compute": self.path_on_compute,
            "overwrite": self.overwrite,
        }

    @classmethod
    @takes(content=mapping)
    def from_dict(
        cls, workspace: Workspace | str | os.PathLike[str] | None, content: Mapping[str, Any]
    ) -> DataReference:
        """What `to_dict` has written, in a workspace.

        :raises UserErrorException: the workspace has no such datastore, or nothing of the kind was written.
        """
        from envbuild.sdk.datastore import Datastore

        try:
            store, *said = (content[each] for each in _WRITTEN)
        except KeyError as error:
            raise UserErrorException(f"a data reference is wanted, and {content!r} has no {error}") from error
        return cls(Datastore(workspace, store), *said)

    def __str__(self) -> str:
        """What stands for the path in a command line."""
        return f"${self.variable}"


def _name_for(datastore: str, path: str) -> str:
    return (
        f"{datastore}_{hashlib.sha256(path.encode(errors='surrogateescape')).hexdigest()[:12]}" if path else datastore
    )


def _path_in_run(given: str | os.PathLike[str] | None) -> str | None:
    path = _parts(given)
    if path is None or ".." in path.parts:
        raise UserErrorException(
            f"path_on_compute: {given!r} is no path within a run's working copy",
            hint="give one such as 'data', or none for a place of the run's own",
        )
    return str(path) if path.parts else None


def _parts(given: object) -> PurePosixPath | None:
    try:
        return PurePosixPath(pathlike_or_empty(given or ""))  # type: ignore[arg-type]
    except ValueError:
        return None

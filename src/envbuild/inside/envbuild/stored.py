"""Stored: the files of a run."""

from __future__ import annotations

import os

from .errors import UserErrorException

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import IO, Any, Type

    from .files import Folder


class Stored:
    """The part of a `Run` that takes its files and gives them back."""

    _folder: Folder
    _user_error: Type[Exception] = UserErrorException

    def upload_file(self, name: str, path_or_stream: str | os.PathLike[str] | IO[bytes]) -> None:
        """Keep a copy of a file, or of what a stream has to give, among the outputs of the run.

        :param name: ``outputs/model.pkl``, or ``model.pkl`` for the same; a file that was there is replaced.
        :raises UserErrorException: the name leads out of the outputs, or what is given is neither a path nor a stream.
        :raises FileNotFoundError: there is no such file.
        """
        self._checked(self._folder.take, name, path_or_stream)

    def upload_files(self, names: Iterable[str], paths: Iterable[str]) -> None:
        """As `upload_file`, for each name the path at the same place.

        :raises UserErrorException: there are more of one than of the other.
        """
        every, sources = list(names), list(paths)
        if len(every) != len(sources):
            raise self._user_error(f"{len(every)} names for {len(sources)} paths")
        for name, path in zip(every, sources):  # noqa: B905 (Python 3.8 has no `strict`)
            self.upload_file(name, path)

    def upload_folder(self, name: str, path: str | os.PathLike[str]) -> None:
        """Keep copies of all files of a folder, under ``name``."""
        self._checked(self._folder.take_folder, name, path)

    def get_file_names(self) -> list[str]:
        """The files under ``outputs`` and ``logs``, as ``outputs/model.pkl``: all those that can be downloaded."""
        return self._folder.names()

    def download_file(self, name: str, output_file_path: str | os.PathLike[str] | None = None) -> None:
        """Copy a file of the run's to ``output_file_path``, else to the current folder.

        :param output_file_path: the copy; or the folder that it comes to lie in, if there is one of that name.
        :raises UserErrorException: the run has no such file.
        """
        place = self._checked(self._folder.find, name)
        if not os.path.isfile(place):
            raise self._user_error(f"{name!r} is a folder: download_files(prefix={name!r}) copies what is in it")
        target = os.fspath(output_file_path) if output_file_path is not None else os.path.basename(place)
        if os.path.isdir(target):
            target = os.path.join(target, os.path.basename(place))
        self._folder.give(place, target)

    def download_files(
        self,
        prefix: str | None = None,
        output_directory: str | os.PathLike[str] | None = None,
        output_paths: Iterable[str] | None = None,
        batch_size: int = 100,  # noqa: ARG002 (Azure ML's; files are copied one by one)
        append_prefix: bool = True,
    ) -> None:
        """Copy all files whose names begin with ``prefix``.

        :param output_directory: where to; by default the current folder.
        :param output_paths: the path of each copy, in the order of `get_file_names`.
        :param append_prefix: keep ``prefix`` in the paths of the copies.
        :raises UserErrorException: there are more files than paths, or fewer.
        """
        names = [name for name in self.get_file_names() if name.startswith(prefix or "")]
        if output_paths is None:
            cut = 0 if append_prefix else len(prefix or "")
            # Where the prefix is a whole name there is still the name.
            paths = [name[cut:].lstrip("/") or os.path.basename(name) for name in names]
        else:
            paths = [os.fspath(path) for path in output_paths]
        if len(paths) != len(names):
            raise self._user_error(f"{len(paths)} paths for {len(names)} files: {', '.join(names)}")
        for name, path in zip(names, paths):  # noqa: B905 (Python 3.8 has no `strict`)
            place = self._checked(self._folder.find, name)
            self._folder.give(place, os.path.join(os.fspath(output_directory or ""), path))

    def _checked(self, step: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return step(*arguments)
        except ValueError as error:
            raise self._user_error(str(error)) from error

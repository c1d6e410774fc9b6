"""Build contexts: the folder that an image is built in, and the digest of what Docker would take of it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from envbuild.digest import Digest
from envbuild.requirement import without_credentials
from envbuild.sdk.exceptions import UserErrorException
from envbuild.sdk.guard import Checked, Guarded, optional_text, text

if TYPE_CHECKING:
    from envbuild.sdk.workspace import Workspace

LOCAL = "local"
"""The ``location_type`` of a folder on this machine; Azure uploads it, and has ``storageaccount``."""

_TYPES = (LOCAL, "git", "storageaccount")


def _location_type(value: str) -> str:
    found = text(value).lower()
    if found not in _TYPES:
        raise ValueError(f"{' or '.join(map(repr, _TYPES))} is wanted, not {value!r}")
    return found


def _dockerfile_path(value: str) -> str:
    found = PurePosixPath(text(value).replace("\\", "/"))
    if found.is_absolute() or ".." in found.parts:
        raise ValueError(f"a path within the folder is wanted, not {value!r}")
    return found.as_posix()


class DockerBuildContext(Guarded):
    """Where an image is built: a folder, or a repository, with a Dockerfile in it.

    :param location_type: ``local``, ``git``, or Azure's ``storageaccount``.
    :param location: the folder's path, or a URL.
    :param dockerfile_path: of the Dockerfile, within it.
    :param digest: of what is in it, as `from_local_directory` finds it.
    :raises UserErrorException: a value is not of its kind.
    """

    location_type = Checked(_location_type)
    """``local``, ``git``, or Azure's ``storageaccount``."""
    location = Checked(text)
    """The folder's path, or a URL."""
    dockerfile_path = Checked(_dockerfile_path)
    """Of the Dockerfile, within it."""
    digest = Checked(optional_text)
    """The ``sha256:…`` of what is in it; ``None`` where nobody has looked."""

    def __init__(
        self, location_type: str, location: str, dockerfile_path: str = "Dockerfile", digest: str | None = None
    ) -> None:
        self.location_type = location_type
        self.location = location
        self.dockerfile_path = dockerfile_path
        self.digest = digest

    @staticmethod
    def from_local_directory(
        workspace: Workspace | str | os.PathLike[str] | None,  # noqa: ARG004 - nothing is uploaded anywhere
        path: str | os.PathLike[str],
        dockerfile_path: str = "Dockerfile",
    ) -> DockerBuildContext:
        """Build in a folder of this machine.

        Its digest covers the path, the contents and the executable bit of every file that Docker would take: all but
        what ``Dockerfile.dockerignore``, or else ``.dockerignore``, leaves out. Azure goes by contents alone, and by
        base names, so that files of one name in two folders are taken for one.

        :param workspace: as Azure wants it; nothing is uploaded, so that ``None`` does.
        :raises UserErrorException: there is no such folder, no Dockerfile in it, or it cannot be read.
        """
        folder = Path(path).absolute()
        context = DockerBuildContext(LOCAL, str(folder), dockerfile_path)
        if not folder.is_dir():
            raise UserErrorException(f"no such folder: {str(folder)!r}")
        if not (folder / context.dockerfile_path).is_file():
            raise UserErrorException(
                f"no such file: {str(folder / context.dockerfile_path)!r}",
                hint="dockerfile_path says where in the folder the Dockerfile is",
            )
        try:
            context.digest = str(_digest(folder, context.dockerfile_path))
        except (OSError, ValueError) as error:
            raise UserErrorException(f"{str(folder)!r} cannot be read: {error}") from error
        return context

    def to_dict(self) -> dict[str, str]:
        """What stands in `envbuild.definition.Definition.docker` for it, without passwords; `from_dict` undoes it."""
        found = {name: value for name, value in vars(self).items() if value is not None}
        return found | {"location": without_credentials(self.location)}

    @classmethod
    def from_dict(cls, form: Any) -> DockerBuildContext:
        """Read what `to_dict` gives, or the path of a folder, as people write it.

        :raises UserErrorException: it is neither.
        """
        if isinstance(form, str):
            return cls("git" if re.match(r"(git@|\w[\w+.-]*://)", form) else LOCAL, form)
        try:
            return cls(**form)
        except TypeError as error:
            raise UserErrorException(
                f"a build context has location_type, location and dockerfile_path, unlike {form!r}"
            ) from error

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, DockerBuildContext) else NotImplemented

    def __repr__(self) -> str:
        return f"DockerBuildContext({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"


def _digest(folder: Path, dockerfile: str) -> Digest:
    from envbuild.snapshot import Snapshot

    return Snapshot({path: _kept(folder / path) for path in sorted(_files(folder, dockerfile))}).digest


def _kept(path: Path) -> dict[str, Any]:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return {"link": os.readlink(path)}  # noqa: PTH115
    with path.open("rb") as stream:
        kept = {"sha256": Digest.of_stream(stream).hex, "size": found.st_size}
    return kept | ({"executable": True} if found.st_mode & stat.S_IXUSR else {})


def _files(folder: Path, dockerfile: str) -> Iterator[str]:
    """The files that Docker takes, with ``/`` in their paths; the Dockerfile is one whatever is ignored."""
    import pathspec

    own, common = folder / f"{dockerfile}.dockerignore", folder / ".dockerignore"
    file = own if own.is_file() else common
    lines = _rules(file.read_text(encoding="utf-8", errors="surrogateescape") if file.is_file() else "")
    rules = pathspec.PathSpec.from_lines("gitignore", lines)
    excepts = any(line.startswith("!") for line in lines)
    for here, folders, names in os.walk(folder, onerror=_raise):
        below = Path(here).relative_to(folder)
        links = [name for name in folders if (folder / below / name).is_symlink()]
        if not excepts:
            folders[:] = [name for name in folders if not rules.match_file((below / name).as_posix() + "/")]
        for path in ((below / name).as_posix() for name in (*names, *links)):
            is_file = (folder / path).is_symlink() or (folder / path).is_file()
            if path == dockerfile or (is_file and not rules.match_file(path)):
                yield path


def _raise(error: OSError) -> None:
    raise error


def _rules(written: str) -> list[str]:
    r"""A ``.dockerignore`` in gitignore's language, where only a path with a ``/`` before it begins in the folder.

    >>> _rules("# ours\n*.md\n!docs/README.md\n./build/")
    ['/*.md', '!/docs/README.md', '/build']
    """
    lines = []
    for line in map(str.strip, written.splitlines()):
        if line and not line.startswith("#"):
            but, pattern = ("!", line[1:]) if line.startswith("!") else ("", line)
            cleaned = os.path.normpath(pattern.strip().lstrip("/"))
            lines.append(f"{but}/{'**' if cleaned == '.' else cleaned}")
    return lines

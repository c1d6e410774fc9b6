"""hatchling's builders, which look at what they are about to read: not all that lies in a folder can be packed.

Who reads a pipe waits until somebody writes to it, and a link that leads nowhere ends in an sdist of which no wheel can
be built.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.plugin.interface import BuilderInterface, IncludedFile
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder, WheelBuilderConfig

from envbuild.errors import EnvbuildError

_HINT = "remove it, or leave it out: exclude, under [tool.hatch.build]"


class Wheel(WheelBuilder):
    """Builds wheels as hatchling does, of files alone."""

    def build_standard(self, directory: str, **build_data: Any) -> str:
        """Build one, when all hooks have laid out what they add.

        :raises EnvbuildError: as `see_to_files`.
        """
        see_to_files(self)
        return super().build_standard(directory, **build_data)


class Sdist(SdistBuilder):
    """Builds sdists as hatchling does, of files alone."""

    def build_standard(self, directory: str, **build_data: Any) -> str:
        """Build one, when all hooks have laid out what they add.

        :raises EnvbuildError: as `see_to_files`.
        """
        see_to_files(self)
        return super().build_standard(directory, **build_data)


def see_to_files(builder: BuilderInterface[Any, Any]) -> None:
    """See to it that all that is going to be packed can be read, without reading any of it.

    :raises EnvbuildError: something is a pipe, a socket or a device, or a link that leads to no file; all are named.
    """
    found = sorted({said for each in _packed(builder) if (said := _wrong(Path(each.path)))})
    if found:
        raise EnvbuildError("\n".join(found), hint=_HINT)


def _packed(builder: BuilderInterface[Any, Any]) -> Iterator[IncludedFile]:
    config: BuilderConfig = builder.config
    yield from builder.recurse_selected_project_files()
    # What is not there may still be made by a hook; hatchling says so if it is not.
    yield from builder.recurse_forced_files(_there(config.get_force_include().items()))
    if isinstance(config, WheelBuilderConfig):
        for each in (config.shared_data, config.shared_scripts, config.extra_metadata):
            yield from builder.recurse_explicit_files(each)


def _there(wanted: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {source: target for source, target in wanted if Path(source).is_file() or Path(source).is_dir()}


def _wrong(path: Path) -> str | None:
    """Why a file cannot be packed, if so."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.is_symlink():
            return f"{path}: a link to {path.readlink()}, which cannot be packed: {error.strerror}"
        return f"{path}: cannot be packed: {error.strerror}"
    kinds = {
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    kind = kinds.get(stat.S_IFMT(mode))
    return f"{path}: {kind}, and only files can be packed" if kind else None

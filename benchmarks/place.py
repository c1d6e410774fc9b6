"""The place: where a benchmark's programs, caches, projects and workspaces are, all of them under one folder."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Self

from benchmarks.measuring import Taken, run_command

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "build" / "benchmarks"

_DROPPED = ("PYTHON", "VIRTUAL_ENV", "CONDA", "ENVBUILD_", "TOX_", "NOX", "HATCH_", "VIRTUALENV_", "__PYVENV")
"""Whatever begins so would make another benchmark of it."""

_SETTLED = 360.0
"""For so long after a removal, in seconds, ext4 avoids the inodes that became free."""


class Place:
    """A folder of the benchmarks' own, removed when they are through; caches stay from one run to the next.

    Nothing is removed before that: for minutes after a removal ext4 goes round the inodes that became free, and makes
    folders several times slower.

    :param home: the folder with a virtual environment for each peer.
    :param quick: whether to show only that everything works.
    """

    def __init__(self, home: Path = HOME, *, quick: bool = False) -> None:
        self.home = home
        self.quick = quick
        self.python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        home.mkdir(parents=True, exist_ok=True)
        self.work = Path(tempfile.mkdtemp(prefix="work-", dir=home))
        self._numbers = count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.work)
        self._removed.touch()

    @property
    def _removed(self) -> Path:
        return self.home / "removed"

    def is_settled(self) -> bool:
        """Whether the last removal is so long ago that it does not slow down what makes folders."""
        return not self._removed.exists() or time.time() - self._removed.stat().st_mtime > _SETTLED

    def program(self, name: str) -> Path | None:
        """A peer's program, or ``None`` where `benchmarks/run` could not install it."""
        path = self.home / name / "bin" / name
        return path if path.exists() else None

    @property
    def envbuild(self) -> Path:
        """Envbuild's own program, beside the Python that runs this."""
        return Path(sys.executable).with_name("envbuild")

    @property
    def uv(self) -> Path:
        """uv, which envbuild is measured against; without it there is no benchmark of commands.

        :raises FileNotFoundError: it is not installed.
        """
        path = self.program("uv")
        if path is None:
            raise FileNotFoundError(f"uv is not in {self.home}: start the benchmarks with benchmarks/run")
        return path

    def folder(self, name: str) -> Path:
        """Make an empty folder, another one each time."""
        path = self.work / f"{next(self._numbers)}-{name}"
        path.mkdir(parents=True)
        return path

    def setting_up(self) -> dict[str, str]:
        """The environment variables of commands that may use the network."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
        return kept | {
            "UV_CACHE_DIR": str(self.home / "cache" / "uv"),
            "PIP_CACHE_DIR": str(self.home / "cache" / "pip"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "HATCH_DATA_DIR": str(self.work / "hatch-data"),
            "HATCH_CACHE_DIR": str(self.work / "hatch-cache"),
            "VIRTUALENV_OVERRIDE_APP_DATA": str(self.work / "virtualenv"),
            "UV_PYTHON_DOWNLOADS": "never",
            "ENVBUILD_WORKSPACE": str(self.work / "workspace"),
        }

    def measured(self) -> dict[str, str]:
        """The environment variables of commands that are measured: whatever asks the network fails at once."""
        nobody = "http://127.0.0.1:9"
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), nobody)
        kept = {name: value for name, value in self.setting_up().items() if name.lower() != "no_proxy"}
        return kept | proxies

    def set_up(self, *command: str | Path, directory: Path, variables: Mapping[str, str] | None = None) -> str:
        """Run a command that may use the network, and give what it printed."""
        return run_command(command, directory, self.setting_up() | dict(variables or {}))[1]

    def take(self, *command: str | Path, directory: Path, variables: Mapping[str, str] | None = None) -> Taken:
        """Run a command without a network, and say what it took."""
        return self.told(*command, directory=directory, variables=variables)[0]

    def told(
        self, *command: str | Path, directory: Path, variables: Mapping[str, str] | None = None
    ) -> tuple[Taken, str]:
        """The same, with what it printed."""
        return run_command(command, directory, self.measured() | dict(variables or {}))


def write(folder: Path, **files: str) -> Path:
    """Write files into a folder; ``_`` in a keyword stands for the dot of the file's name."""
    for name, text in files.items():
        (folder / ".".join(name.rsplit("_", 1))).write_text(text, encoding="utf-8")
    return folder


def own_repository(place: Place, folder: Path) -> None:
    """Make the folder a git repository, as projects are; else it would count to the one around it."""
    git = shutil.which("git")
    if git is None:
        return
    me = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
    for words in (["init", "--quiet"], ["add", "--all"], [*me, "commit", "--quiet", "--message=all"]):
        place.set_up(git, *words, directory=folder)

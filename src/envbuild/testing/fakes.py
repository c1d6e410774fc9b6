"""Fakes: plugins that need no network, for whoever tests what is around plugins.

`ShelfPlugin` pins and builds packages that are files in a folder, and `RecordingTarget` remembers what it was to run.
Both keep their contracts: what is proved with them holds with others.
"""

from __future__ import annotations

import os
import platform as machine
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement as Specifier
from packaging.version import Version

from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import BuildFailed, Damaged, ResolutionFailed
from envbuild.hookspecs import hookimpl
from envbuild.image import BuildRequest, Image
from envbuild.lock import Artifact, Lock, LockRequest, Package, Resolution
from envbuild.outcome import RunHandle, RunRequest
from envbuild.platform import Platform
from envbuild.requirement import PipOptions, Requirement

KIND = "shelf"
"""The kind of the packages that `ShelfPlugin` pins."""


def fill_prefix(folder: Path) -> None:
    """Make a folder a prefix: with a Python that is the one that runs this, and nothing else.

    It may be moved anywhere afterwards.
    """
    base = Path(os.path.realpath(sys.executable))
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(base)
    settings = f"home = {base.parent}\ninclude-system-site-packages = false\nversion = {machine.python_version()}\n"
    _write(folder / "pyvenv.cfg", settings.encode())


def shelve(folder: Path, *packages: str) -> Path:
    """Put packages, such as ``demo-1.0``, on the shelf ``folder``: each is a file with its name in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in packages:
        (folder / f"{each}.txt").write_text(f"{each}\n", encoding="utf-8")
    return folder


def asking_for(folder: Path, *requirements: str) -> Definition:
    """A definition that asks for packages on the shelf ``folder``."""
    return Definition(
        pip=tuple(map(Requirement.parse, requirements)),
        options=PipOptions(find_links=(folder.name,)),
        root=folder.parent,
    )


class ShelfPlugin:
    """A package manager: what a definition asks pip for is looked for on the shelf that its ``find_links`` names.

    A package is a file ``NAME-VERSION.txt``. In a prefix it lies under ``lib/shelf``, beside a Python that is the one
    that runs this.
    """

    @hookimpl
    def resolve_dependencies(
        self, definition: Definition, platform: Platform, resolution: Resolution
    ) -> tuple[str, ...] | None:
        """Pin the newest version that fits, or the one that is locked already."""
        if not definition.pip:
            return None
        if resolution.python is None:
            here = Path(sys.executable) if platform == Platform.here() else None
            resolution.pin_python(machine.python_version(), here)
        for asked in sorted({each.text for each in definition.pip}):
            resolution.add(self.choose(asked, definition, resolution.request))
        return ("pip",)

    def choose(self, asked: str, definition: Definition, request: LockRequest) -> Package:
        """The package for a requirement.

        :raises ResolutionFailed: there is none on the shelf.
        """
        wanted = Specifier(asked)
        found = [each for each in self.shelf(definition) if each.name == wanted.name]
        fitting = [each for each in found if wanted.specifier.contains(each.version or "")]
        if not fitting:
            versions = ", ".join(sorted(str(each.version) for each in found)) or "nothing"
            raise ResolutionFailed(
                f"no {wanted.name} on the shelf fits {asked!r}: there is {versions}", hint="ask for another version"
            )
        locked = request.previous.find(wanted.name) if request.previous else None
        if locked in fitting and request.upgrade is not True and wanted.name not in request.upgrade:
            return locked
        return max(fitting, key=lambda each: Version(each.version or "0"))

    def shelf(self, definition: Definition) -> Iterator[Package]:
        """All packages that there are."""
        root = definition.root or Path()
        for place in definition.options.find_links:
            for file in sorted((root / place).glob("*-*.txt")):
                name, _, version = file.stem.rpartition("-")
                data = file.read_bytes()
                artifact = Artifact(
                    kind="archive",
                    path=f"{place}/{file.name}",
                    digest=Digest.of(data),
                    size=len(data),
                    filename=file.name,
                )
                yield Package(name=name, version=version, kind=KIND, artifact=artifact)

    @hookimpl
    def build_image(
        self,
        definition: Definition,
        lock: Lock,
        id: Digest,  # noqa: A002
        request: BuildRequest,
    ) -> Image | None:
        """Copy the packages into a prefix."""
        is_ours = all(each.kind == KIND for each in lock.packages) and lock.platform == Platform.here()
        if request.kind != "prefix" or request.base or not is_ours:
            return None
        if lock.python != machine.python_version():
            raise BuildFailed(f"the lock is for Python {lock.python}, and this is {machine.python_version()}")
        self.fill(definition, lock, request)
        return Image(kind="prefix", id=id, platform=lock.platform, path=request.destination)

    def fill(self, definition: Definition, lock: Lock, request: BuildRequest) -> None:
        """Make the prefix.

        :raises Damaged: a file is not the one that was locked.
        """
        fill_prefix(request.destination)
        place = request.destination / "lib" / "shelf"
        place.mkdir(parents=True)
        for each in lock.packages:
            _write(place / Path(each.artifact.path or each.name).name, self.read(each, definition, lock))

    def read(self, package: Package, definition: Definition, lock: Lock) -> bytes:
        """What is in a package.

        :raises BuildFailed: the file is not there any more.
        :raises Damaged: it is not the one that was locked.
        """
        file = (lock.root or definition.root or Path()) / (package.artifact.path or "")
        if not file.is_file():
            raise BuildFailed(f"{package}: {file} is not there any more", hint="put it back on the shelf")
        data = file.read_bytes()
        if Digest.of(data) != package.artifact.digest:
            raise Damaged(f"{package}: {file} is not the file that was locked", hint="put that back, or lock again")
        return data


@dataclass
class RecordingTarget:
    """A target that runs nothing: it remembers what it was asked for, and its runs end as it is told.

    :param name: the name of the target.
    :param runs: what it was asked to run, and in which image.
    """

    name: str = "recording"
    code: int = 0
    out: bytes = b""
    err: bytes = b""
    runs: list[tuple[RunRequest, Image]] = field(default_factory=list)

    @hookimpl
    def run_target(self, run: RunRequest, image: Image) -> RunHandle | None:
        """Remember the run."""
        if run.target != self.name:
            return None
        self.runs.append((run, image))
        return RecordedRun(self.code, self.out, self.err)


class RecordedRun:
    """A run that never was; it has ended from the beginning, and keeps what it was told meanwhile.

    :param told: the signals that it was to get, ``cancel`` as SIGTERM.
    """

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self._code, self._out, self._err = code, out, err
        self.told: list[int] = []

    def stream(self, write: Callable[[int, bytes], None]) -> int:
        """Give the output that it was made with."""
        for number, data in ((1, self._out), (2, self._err)):
            if data:
                write(number, data)
        return self._code

    def poll(self) -> int | None:
        """The exit code that it was made with."""
        return self._code

    def signal(self, number: int) -> None:
        """Remember the signal."""
        self.told.append(number)

    def cancel(self, grace: float) -> None:  # noqa: ARG002
        """Remember that it was to end."""
        self.told.append(15)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    # Whoever builds may have another umask.
    path.chmod(0o644)

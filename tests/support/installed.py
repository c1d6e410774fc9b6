"""envbuild and plugins as people have them: wheels, installed into a virtual environment of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import uv

from support.desk import Desk, Done

ROOT = Path(__file__).resolve().parents[2]


def wheel_of(project: Path, folder: Path) -> Path:
    """Build a project's wheel into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.iterdir())
    _uv("build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", folder, project)
    (made,) = (each for each in set(folder.iterdir()) - before if each.suffix == ".whl")
    return made


@dataclass(frozen=True)
class Installed:
    """A virtual environment in which envbuild is installed, and the folder that its commands are given in."""

    prefix: Path
    desk: Desk

    @classmethod
    def of(cls, desk: Desk, *wheels: Path) -> Installed:
        """Make one, with what the wheels depend on and with pytest, and with no other distribution."""
        prefix = desk.root / "venv"
        _uv("venv", "--quiet", "--no-project", "--python", sys.executable, prefix)
        _uv("pip", "install", "--quiet", "--python", prefix, *wheels, "pytest")
        return cls(prefix, desk)

    def add(self, *wheels: Path) -> None:
        """Install more, which depends on nothing that is not there."""
        _uv("pip", "install", "--quiet", "--no-deps", "--reinstall", "--python", self.prefix, *wheels)

    def remove(self, distribution: str) -> None:
        """Uninstall one."""
        _uv("pip", "uninstall", "--quiet", "--python", self.prefix, distribution)

    def try_(
        self, *command: str | Path, folder: Path | None = None, variables: Mapping[str, str] | None = None
    ) -> Done:
        """Run one of its programs, however that ends."""
        program, *words = map(str, command)
        done = subprocess.run(
            [self.prefix / "bin" / program, *words],
            cwd=folder or self.desk.folder,
            env={**self.desk.environment, **(variables or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def do(self, *command: str | Path, folder: Path | None = None, variables: Mapping[str, str] | None = None) -> Done:
        """Run one of its programs, which has to work."""
        done = self.try_(*command, folder=folder, variables=variables)
        assert done.code == 0, f"{' '.join(map(str, command))}\n{done.told}"
        return done


def _uv(*words: str | Path) -> None:
    done = subprocess.run([uv.find_uv_bin(), *words], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"uv {' '.join(map(str, words))}\n{done.stderr}"

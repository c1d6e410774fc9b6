"""A desk: a project folder, a workspace and a cache of one test's own, and the command line in a clean environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from envbuild.lock import Lock
from envbuild.workspace import Workspace
from support import quick
from support.index import Index

_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its result, where ``--json`` was asked for."""
        return json.loads(self.out)

    @property
    def told(self) -> str:
        """All that it said."""
        return self.out + self.err


@dataclass(frozen=True)
class Desk:
    """Where a test works.

    :param folder: the project; commands are given in it.
    :param variables: the environment of commands, in addition to what every program needs.
    """

    root: Path
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def workspace(self) -> Workspace:
        """What commands record in."""
        return Workspace(Path(self.variables["ENVBUILD_WORKSPACE"]))

    @property
    def cache(self) -> Path:
        """uv's cache."""
        return Path(self.variables["UV_CACHE_DIR"])

    def set(self, **variables: str) -> Desk:
        """The same desk with other variables."""
        return replace(self, variables={**self.variables, **variables})

    def at(self, folder: str) -> Desk:
        """Another project with the same workspace and cache."""
        made = self.root / folder
        made.mkdir(parents=True, exist_ok=True)
        return replace(self, folder=made)

    def elsewhere(self, name: str = "elsewhere") -> Desk:
        """Another machine: nothing is shared with this one, except what is on the network."""
        return desk(self.root / name, dict(self.variables))

    def write(self, path: str, content: str | bytes) -> Path:
        """Write a file of the project."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def lay(self, files: Mapping[str, str], below: str = "") -> Path:
        """Write several files of the project."""
        for path, content in files.items():
            self.write(f"{below}/{path}" if below else path, content)
        return self.folder / below

    def requirements(self, *lines: str, index: Index | None = None) -> Path:
        """Write ``requirements.txt``; with an index, that is where its packages come from."""
        head = [f"--index-url {index.simple}"] if index else []
        return self.write("requirements.txt", "\n".join((*head, *lines)) + "\n")

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of commands."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        pyenv = os.environ.get("PYENV_ROOT", str(Path(os.environ.get("HOME", "/")) / ".pyenv"))
        return {**kept, "PYENV_ROOT": pyenv, "HOME": str(self.root / "home"), **self.variables}

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Begin a command."""
        return subprocess.Popen(
            [sys.executable, "-m", "envbuild", *map(str, words)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def try_(self, *words: str | Path) -> Done:
        """Give a command, however it ends."""
        return Done(*quick.run([str(word) for word in words], self.folder, self.environment))

    def envbuild(self, *words: str | Path) -> Done:
        """Give a command that has to work."""
        done = self.try_(*words)
        assert done.code == 0, f"envbuild {' '.join(map(str, words))}\n{done.told}"
        return done

    def refused(self, *words: str | Path) -> Done:
        """Give a command that has to fail, and to say why in words rather than with a traceback."""
        done = self.try_(*words)
        assert done.code == 1, done.told
        assert "Traceback" not in done.err, done.err
        assert done.err.startswith("error: ") or "\nerror: " in done.err, done.err
        return done

    def lock(self, *words: str | Path) -> Lock:
        """``envbuild lock``, and the lock that it wrote."""
        result = self.envbuild("lock", "--json", *words).json
        return self.read_lock(result["file"])

    def read_lock(self, name: str | Path = "pylock.toml") -> Lock:
        """The lock in the project's folder."""
        file = self.folder / name
        return Lock.parse(file.read_text(encoding="utf-8"), where=str(file), root=self.folder)

    def toml(self, name: str = "pylock.toml") -> dict[str, Any]:
        """A file of the project, as TOML."""
        return tomllib.loads((self.folder / name).read_text(encoding="utf-8"))

    def build(self, *words: str | Path) -> Prefix:
        """``envbuild build``, and the prefix that it gave."""
        result = self.envbuild("build", "--json", *words).json
        return Prefix(Path(result["path"]), result["id"], result["built"])

    def identity(self, *words: str | Path) -> str:
        """The id of an environment, as ``envbuild lock`` says it."""
        return str(self.envbuild("lock", "--json", *words).json["id"])

    def left_behind(self) -> list[str]:
        """What is in the workspace and should not be after a failure: environments, and work half-done."""
        store = Path(self.variables["ENVBUILD_WORKSPACE"]) / "store"
        folders = [store / "images", store / "scratch"]
        found = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.suffix != ".lock"]
        return sorted(str(path.relative_to(store)) for path in found)


@dataclass(frozen=True)
class Prefix:
    """An environment that was built, or found."""

    path: Path
    id: str
    built: bool

    def python(self, code: str, *words: str) -> str:
        """Run a line of Python in it, and give what it printed."""
        return _output([self.path / "bin/python", "-I", "-c", code, *words])

    def run(self, script: str, *words: str) -> str:
        """Run one of its scripts, and give what it printed."""
        return _output([self.path / "bin" / script, *words])

    def files(self) -> Iterator[Path]:
        """Its files, without following links."""
        return (path for path in sorted(self.path.rglob("*")) if path.is_file() and not path.is_symlink())

    def mentions(self, *words: str | Path) -> list[str]:
        """The files in which one of ``words`` occurs."""
        wanted = [str(word).encode() for word in words]
        return [
            str(path.relative_to(self.path)) for path in self.files() if any(w in path.read_bytes() for w in wanted)
        ]


def desk(root: Path, variables: Mapping[str, str] | None = None) -> Desk:
    """Make a desk below ``root``."""
    folder = root / "project"
    folder.mkdir(parents=True, exist_ok=True)
    (root / "home").mkdir(exist_ok=True)
    own = {
        "ENVBUILD_WORKSPACE": str(root / "workspace"),
        "UV_CACHE_DIR": str(root / "uv-cache"),
        # What fails here fails the next time too.
        "UV_HTTP_RETRIES": "0",
    }
    return Desk(root, folder, {**(variables or {}), **own})


def mentions(folder: Path, *words: str) -> list[str]:
    """The files below ``folder`` in which one of ``words`` occurs."""
    wanted = [word.encode() for word in words]
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and any(word in path.read_bytes() for word in wanted)
    ]


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """See to it that nothing in or below ``folder`` changes."""

    def look() -> dict[str, bytes | None]:
        found = sorted(folder.rglob("*"))
        return {str(path): path.read_bytes() if path.is_file() else None for path in found}

    before = look()
    yield
    assert look() == before


def _output(command: list[str | Path]) -> str:
    clean = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=clean, cwd="/", timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()

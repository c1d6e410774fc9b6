"""A place to run things in: a project folder, a workspace, and `envbuild` as a process, in bytes and with signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import envbuild
from envbuild.metrics import read_metrics, read_notes
from envbuild.workspace import Workspace

_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYENV_ROOT")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: bytes
    err: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def said(self) -> str:
        return self.err.decode(errors="replace")


@dataclass
class Place:
    """A project folder, with the workspace that it is recorded in."""

    root: Path
    workspace: Path
    variables: dict[str, str] = field(default_factory=dict)
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = self.root / "project"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.root / "home").mkdir(exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        pyenv = str(Path(os.environ.get("HOME", "/")) / ".pyenv")
        return {
            "PYENV_ROOT": pyenv,
            **kept,
            "HOME": str(self.root / "home"),
            "ENVBUILD_WORKSPACE": str(self.workspace),
            **self.variables,
        }

    def write(self, path: str, content: str | bytes, mode: int | None = None) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        if mode is not None:
            file.chmod(mode)
        return file

    def start(
        self,
        *words: str | bytes | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        program: list[str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[bytes]:
        """Begin a command, in a process group of its own, with the signals that a shell would give it."""
        made = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(
            [*(program or [sys.executable, "-m", "envbuild"]), *words],
            cwd=cwd or self.folder,
            env={**self.environment, **(env or {})},
            preexec_fn=_as_from_a_shell,
            **made,
        )

    def try_(self, *words: str | bytes | Path, input: bytes | None = None, **options: Any) -> Done:  # noqa: A002
        """Give a command, however it ends; it never ends in a traceback of its own."""
        if input is not None:
            options["stdin"] = subprocess.PIPE
        with self.start(*words, **options) as process:
            out, err = process.communicate(input, timeout=60)
        own = str(Path(envbuild.__file__).parent).encode()
        assert b"Traceback" not in (err or b"") or own not in err, err.decode(errors="replace")
        return Done(process.returncode, out or b"", err or b"")

    def do(self, *words: str | bytes | Path, code: int = 0, **options: Any) -> Done:
        """Give a command that has to end with ``code``."""
        done = self.try_(*words, **options)
        assert done.code == code, (words, done)
        return done

    def refused(self, *words: str | bytes | Path, code: int = 1, **options: Any) -> str:
        """Give a command that has to fail in words; what it said."""
        said = self.do(*words, code=code, **options).said
        assert "error: " in said, said
        return said

    # What was recorded

    def runs(self) -> list[dict[str, Any]]:
        """All runs, newest first."""
        workspace = Workspace(self.workspace)
        with workspace.recorded() as catalogue:
            found = list(catalogue.runs())
            catalogue.close()
        return found

    def last(self) -> dict[str, Any]:
        """What is recorded of the newest run."""
        return self.show(self.newest())

    def newest(self) -> str:
        """The id of the run that was started last."""
        return max((self.workspace / "runs").iterdir(), key=lambda each: (each / "lease").stat().st_mtime_ns).name

    def show(self, run: str) -> dict[str, Any]:
        workspace = Workspace(self.workspace)
        found = workspace.run(run)
        folder = workspace.run_folder(found["id"])
        metrics, notes = read_metrics(folder), read_notes(folder, found["tags"])
        workspace.catalogue.close()
        return {**found, "metrics": dict(metrics.values), "tags": dict(notes.tags)}

    def run_folder(self, run: str | None = None) -> Path:
        return self.workspace / "runs" / (run or self.newest())

    def log(self) -> bytes:
        """What the newest run's log holds."""
        return (self.run_folder() / "logs/output.log").read_bytes()

    def files(self) -> Iterator[Path]:
        return (path for path in self.workspace.rglob("*") if path.is_file() and not path.is_symlink())


def until(condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    """Wait for something to become so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"it never came to be: {what}")


def alive(process: int) -> bool:
    """Whether the process is there, and more than a name that nobody has read yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _as_from_a_shell() -> None:
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)

"""A bench for the SDK: a source folder to be in, a workspace of one's own, and short ways to runs."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from envbuild.sdk import Environment, Experiment, Run, ScriptRunConfig, Workspace

GATE = """
    import pathlib, sys, time
    here = pathlib.Path(sys.argv[1])
    (here / "started").touch()
    while not (here / "go").exists():
        time.sleep(0.01)
    print("went on")
"""
"""A script that goes on until a file ``go`` is in the folder that it is given."""


@dataclass
class Bench:
    """Where a test of the SDK works.

    :param folder: the current folder, and the source of runs.
    """

    folder: Path
    workspace: Workspace

    def write(self, path: str, content: str) -> Path:
        """Write a file of the source."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(content))
        return file

    def config(self, source: str, *arguments: Any, **more: Any) -> ScriptRunConfig:
        """What it takes to run a script."""
        script = self.write(f"script_{len(list(self.folder.iterdir()))}.py", source)
        return ScriptRunConfig(self.folder, script.name, list(arguments), **more)

    @property
    def experiment(self) -> Experiment:
        """The experiment of this bench."""
        return Experiment(self.workspace, "trials")

    def submit(self, source: str, *arguments: Any, tags: dict[str, Any] | None = None, **more: Any) -> Run:
        """Have a script run in an environment without packages."""
        more.setdefault("environment", Environment("plain"))
        return self.experiment.submit(self.config(source, *arguments, **more), tags=tags)

    def run(self, source: str, *arguments: Any, **more: Any) -> Run:
        """Have a script run, to its end, and well."""
        run = self.submit(source, *arguments, **more)
        run.wait_for_completion()
        return run


def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Make a bench, and be in its folder."""
    monkeypatch.setenv("ENVBUILD_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.delenv("ENVBUILD_RUN_ID", raising=False)
    monkeypatch.delenv("ENVBUILD_RUN_FOLDER", raising=False)
    folder = tmp_path / "source"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Bench(folder, Workspace())

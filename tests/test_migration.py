"""Migration: a project for Azure ML, before and after the one change that it needs.

`fixtures/azure-training/` is written as such projects are: a driver that submits a script with its data to a local run,
another that has an estimator run on a cluster, and the script itself. `outcome.toml` says what is expected of it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uv
from support.migration import MOVED, moved

from envbuild.sdk import Workspace

PROJECT = Path(__file__).parent.parent / "fixtures" / "azure-training"


def files(folder: Path) -> Mapping[str, str]:
    """The files of a project, without what running it leaves behind."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in found}


@pytest.fixture(scope="module")
def outcome() -> Mapping[str, Any]:
    """What is expected."""
    return tomllib.loads((PROJECT / "outcome.toml").read_text(encoding="utf-8"))


@pytest.fixture
def online(tmp_path: Path, lacking: Callable[[str, str], None]) -> Mapping[str, str]:
    """The variables of a process with a workspace of its own, where an index of packages can be reached."""
    # Packages of this size are fetched once for this machine, rather than by each test.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ENVBUILD_", "PYTHON"))}
    variables = {**kept, "ENVBUILD_WORKSPACE": str(tmp_path / "workspace")}
    asked = [uv.find_uv_bin(), "pip", "compile", "--quiet", "--no-deps", "-"]
    done = subprocess.run(asked, input="scikit-learn", env=variables, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        lacking("network", f"no index of packages can be reached: {done.stderr.strip()}")
    return variables


def test_only_the_names_of_packages_differ_between_before_and_after() -> None:
    before, after = files(PROJECT / "before"), files(PROJECT / "after")

    assert {path: moved(text) for path, text in before.items()} == after
    changed = [
        (old, new)
        for path in before
        for old, new in zip(before[path].splitlines(), after[path].splitlines(), strict=True)
        if old != new
    ]
    assert all(re.match(r"from azureml\.\S+ import |import azureml\.", old) for old, _ in changed)
    assert {each for each in MOVED if any(each in old for old, _ in changed)} == set(MOVED)
    assert not any("azureml" in text for path, text in after.items() if path.endswith(".py"))


def test_the_project_runs_after_it(tmp_path: Path, online: Mapping[str, str], outcome: Mapping[str, Any]) -> None:
    folder = tmp_path / "bikes"
    shutil.copytree(PROJECT / "after", folder)

    for driver in ("submit", "estimate"):
        printed = run(folder, driver, online)
        wanted = list(outcome[driver]["prints"])
        for line in printed.splitlines():
            if wanted and re.fullmatch(wanted[0], line):
                del wanted[0]
        assert not wanted, f"{driver}.py did not print {wanted[0]!r}:\n{printed}"

    expected = outcome["workspace"]
    found = Workspace.get(tmp_path / "workspace" / "workspaces" / expected["name"])
    for things in ("environments", "experiments", "models", "compute_targets"):
        assert sorted(getattr(found, things)) == expected[things]
    (trained,) = found.experiments["train-on-local"].get_runs()
    assert trained.get_tags() == expected["tags"]
    assert sorted(trained.get_metrics()) == expected["metrics"]
    assert found.models["bikes"].run_id == trained.id
    assert (folder / "model.pkl").stat().st_size > 0


def run(folder: Path, driver: str, variables: Mapping[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, f"{driver}.py"], cwd=folder, env=dict(variables), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout

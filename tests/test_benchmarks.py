"""The benchmarks work; how long anything takes is for people to judge, and no test."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> object:
    """Import a module of the benchmarks, which are no part of what is installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported_and_its_examples_hold(name: str, load) -> None:
    module: ModuleType = load(name)

    assert module.__doc__
    assert doctest.testmod(module).failed == 0


def test_every_benchmark_says_how_many_rounds_it_needs(load) -> None:
    for name in load("__main__").NAMES:
        assert load(name).ROUNDS > 1


def test_a_peer_that_could_not_be_installed_is_named_as_such(load) -> None:
    measuring, telling = load("measuring"), load("telling")
    rows = [measuring.Row.of_seconds("envbuild", [0.1]), measuring.Row("tox", missing="could not be installed")]

    assert "tox       could not be installed" in telling.table(
        measuring.Section(title="Running", subject="envbuild", rows=rows)
    )


def test_a_command_that_fails_is_not_measured(load, tmp_path: Path) -> None:
    measuring = load("measuring")

    with pytest.raises(measuring.CommandFailed, match="ended with 3"):
        measuring.run_command([sys.executable, "-c", "raise SystemExit(3)"], tmp_path, {})


@pytest.mark.parametrize(
    ("name", "shown"),
    [("hashing", "definition digest"), ("submitting", "Experiment.submit"), ("wheels", "hatchling.build")],
)
def test_a_benchmark_runs_from_the_command_line(tmp_path: Path, name: str, shown: str) -> None:
    file = tmp_path / "times.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", name, "--json", str(file)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
    assert all(section["rows"][section["subject"]]["min"] > 0 for section in json.loads(file.read_text())["sections"])

"""The contracts with all that they may be given but the plugin, for those that keep them and those that do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from envbuild import Definition, Lock, Platform, Requirement
from envbuild.testing import (
    BuildImageContract,
    ComputeHashContract,
    DeployTargetContract,
    ResolveDependenciesContract,
    RunTargetContract,
    ShelfPlugin,
    asking_for,
    shelve,
    temporary_workspace,
)


class Resolving(ResolveDependenciesContract):
    @pytest.fixture
    def shelf(self, tmp_path: Path) -> Path:
        return shelve(tmp_path / "project" / "shelf", "demo-1.0", "demo-1.1", "helper-1.0")

    @pytest.fixture
    def definition(self, shelf: Path) -> Definition:
        return asking_for(shelf, "demo", "helper")

    @pytest.fixture
    def unsatisfiable(self, shelf: Path) -> Definition:
        return asking_for(shelf, "demo>9")

    @pytest.fixture
    def release(self, shelf: Path) -> Callable[[], object]:
        return lambda: shelve(shelf, "demo-3.0")


class Hashing(ComputeHashContract):
    @pytest.fixture
    def definition(self, tmp_path: Path) -> Definition:
        folder = tmp_path / "project"
        folder.mkdir()
        (folder / "data.txt").write_text("before\n")
        asked = tuple(map(Requirement.parse, ("demo", "helper")))
        return Definition(name="mine", pip=asked, variables={"COLOUR": "blue"}, root=folder)

    @pytest.fixture
    def lock(self, definition: Definition) -> Lock:
        return Lock(python="3.12.0", platform=Platform.here(), root=definition.root)

    @pytest.fixture
    def changed(self, definition: Definition, lock: Lock) -> Callable[[], tuple[Definition, Lock]]:
        def edit() -> tuple[Definition, Lock]:
            assert definition.root
            (definition.root / "data.txt").write_text("after\n")
            return definition, lock

        return edit


class Building(BuildImageContract):
    @pytest.fixture
    def definition(self, tmp_path: Path) -> Definition:
        return asking_for(shelve(tmp_path / "project" / "shelf", "demo-1.0", "helper-1.0"), "demo", "helper")

    @pytest.fixture
    def lock(self, definition: Definition) -> Lock:
        with temporary_workspace(ShelfPlugin()) as place:
            return place.lock(definition)


class Running(RunTargetContract):
    @pytest.fixture
    def target(self) -> str:
        return "here"

    @pytest.fixture
    def patience(self) -> float:
        return 5


class Deploying(DeployTargetContract):
    @pytest.fixture
    def deployment(self, secret: str) -> Any:
        return SimpleNamespace(target="here", name="mine", key=secret)

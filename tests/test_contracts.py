"""The contracts, and plugins that keep them: the fakes of the kit itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild import Definition, Lock
from envbuild.testing import (
    BuildImageContract,
    ResolveDependenciesContract,
    ShelfPlugin,
    asking_for,
    shelve,
    temporary_workspace,
)

shelf_plugin = ShelfPlugin()


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return shelve(tmp_path / "project" / "shelf", "demo-1.0", "demo-1.1", "helper-1.0")


@pytest.fixture
def definition(shelf: Path) -> Definition:
    return asking_for(shelf, "demo", "helper")


class TestResolvingFromAShelf(ResolveDependenciesContract):
    @pytest.fixture
    def plugin(self) -> object:
        return shelf_plugin

    @pytest.fixture
    def definition(self, shelf: Path) -> Definition:
        return asking_for(shelf, "demo", "helper")

    @pytest.fixture
    def unsatisfiable(self, shelf: Path) -> Definition:
        return asking_for(shelf, "demo>9")

    @pytest.fixture
    def release(self, shelf: Path):
        return lambda: shelve(shelf, "demo-3.0")


class TestBuildingFromAShelf(BuildImageContract):
    @pytest.fixture
    def plugin(self) -> object:
        return shelf_plugin

    @pytest.fixture
    def definition(self, shelf: Path) -> Definition:
        return asking_for(shelf, "demo", "helper")

    @pytest.fixture
    def lock(self, definition) -> Lock:
        with temporary_workspace(shelf_plugin) as place:
            return place.lock(definition)

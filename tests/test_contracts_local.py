"""The target ``local`` keeps its contract."""

from __future__ import annotations

import pytest

from envbuild.testing import RunTargetContract


class TestRunningHere(RunTargetContract):
    @pytest.fixture
    def plugin(self) -> object:
        import envbuild_local.plugin

        return envbuild_local.plugin

    @pytest.fixture
    def target(self) -> str:
        return "local"

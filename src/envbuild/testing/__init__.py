"""Proving a plugin: for each hook the tests that its contract comes to, and what plugins are tested with.

A plugin's own tests subclass the contract of each hook that it answers, and say what they are to be tried with::

    from envbuild.testing import RunTargetContract

    class TestRunning(RunTargetContract):
        @pytest.fixture
        def plugin(self):
            import envbuild_nice
            return envbuild_nice

        @pytest.fixture
        def target(self):
            return "nice"

Each test says in its docstring what is promised and where that stands; one that fails says what was found instead.
`temporary_workspace` drives plugins as envbuild does; `ShelfPlugin` and `RecordingTarget` are plugins that need no
network, for tests of what is around them.
"""

from __future__ import annotations

try:
    import pytest  # noqa: F401 - to say what is missing, rather than which of our modules misses it
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "envbuild.testing needs pytest, which is not installed: pip install 'envbuild[test]'", name="pytest"
    ) from _error

from envbuild.testing.building import BuildImageContract
from envbuild.testing.contract import PluginContract
from envbuild.testing.deploying import DeployTargetContract
from envbuild.testing.fakes import RecordingTarget, ShelfPlugin, asking_for, fill_prefix, shelve
from envbuild.testing.hashing import ComputeHashContract
from envbuild.testing.resolving import ResolveDependenciesContract
from envbuild.testing.running import RunTargetContract
from envbuild.testing.temporary import RunEnded, TemporaryWorkspace, temporary_workspace

__all__ = [
    "BuildImageContract",
    "ComputeHashContract",
    "DeployTargetContract",
    "PluginContract",
    "RecordingTarget",
    "ResolveDependenciesContract",
    "RunEnded",
    "RunTargetContract",
    "ShelfPlugin",
    "TemporaryWorkspace",
    "asking_for",
    "fill_prefix",
    "shelve",
    "temporary_workspace",
]

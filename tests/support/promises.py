"""What the contracts promise."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from envbuild.testing import (
    BuildImageContract,
    ComputeHashContract,
    DeployTargetContract,
    PluginContract,
    ResolveDependenciesContract,
    RunTargetContract,
)

CONTRACTS: tuple[type[PluginContract], ...] = (
    ResolveDependenciesContract,
    ComputeHashContract,
    BuildImageContract,
    RunTargetContract,
    DeployTargetContract,
)


def promises() -> Iterator[tuple[str, str]]:
    """All tests of the contracts, with their docstrings."""
    for contract in CONTRACTS:
        for name, test in inspect.getmembers(contract, inspect.isfunction):
            if name.startswith("test_"):
                yield f"{contract.__name__}.{name}", inspect.cleandoc(test.__doc__ or "")

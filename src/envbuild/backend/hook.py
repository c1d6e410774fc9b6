"""The build hook: ``[tool.hatch.build.hooks.envbuild]``, for projects whose backend is hatchling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.plugin import hookimpl

_TARGETS = ("wheel", "sdist")


class EnvbuildBuildHook(BuildHookInterface[Any]):
    """Does for wheels and sdists of hatchling's what `envbuild.backend` does for its own."""

    PLUGIN_NAME = "envbuild"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """See to it that the project can be built; an editable wheel only leads to the source, and needs no lock.

        :raises EnvbuildError: it cannot (`envbuild.backend.making.check`).
        """
        if version == "standard" and self.target_name in _TARGETS:
            from envbuild.backend import making

            if "lock" in self.config:
                making.refuse(self.root, f"lock belongs under [{making.SETTING}], with or without the hook")
            making.check(self.root)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Add what it was tested with, and make it the same as everybody's.

        :raises LockError: the lock cannot be read, or has credentials in it.
        """
        if version == "standard" and self.target_name in _TARGETS:
            from envbuild.backend import making

            settle = making.settle_wheel if self.target_name == "wheel" else making.settle_sdist
            settle(self.root, Path(artifact_path), reproducible=self.build_config.reproducible)


@hookimpl
def hatch_register_build_hook() -> type[BuildHookInterface[Any]]:
    """Tell hatchling of the hook."""
    return EnvbuildBuildHook

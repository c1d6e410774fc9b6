"""The build hook: ``[tool.hatch.build.hooks.envbuild]``, for projects whose backend is hatchling."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.plugin import hookimpl

_TARGETS = ("wheel", "sdist")


class EnvbuildBuildHook(BuildHookInterface[Any]):
    """Does for wheels and sdists of hatchling's what `envbuild.backend` does for its own."""

    PLUGIN_NAME = "envbuild"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See to it that the project can be built; an editable wheel only leads to the source, and needs no lock.

        :raises EnvbuildError: it cannot (`envbuild.backend.making.check`, `envbuild.backend.building.see_to_files`).
        """
        if version != "standard" or self.target_name not in _TARGETS:
            return
        from envbuild.backend import making

        if "lock" in self.config:
            making.refuse(self.root, f"lock belongs under [{making.SETTING}], with or without the hook")
        if not self._with_backend:
            making.check(self.root)
            self._see_to_files(build_data)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Add what it was tested with, and make it the same as everybody's.

        :raises LockError: the lock cannot be read, or has credentials in it.
        """
        if version == "standard" and self.target_name in _TARGETS and not self._with_backend:
            from envbuild.backend import making

            settle = making.settle_wheel if self.target_name == "wheel" else making.settle_sdist
            settle(self.root, Path(artifact_path), reproducible=self.build_config.reproducible)

    @property
    def _with_backend(self) -> bool:
        """Whether `envbuild.backend` is at work, which does all this itself, and once is enough."""
        from envbuild.backend.building import Sdist, Wheel

        return isinstance(self.build_config.builder, (Wheel, Sdist))

    def _see_to_files(self, build_data: dict[str, Any]) -> None:
        from envbuild.backend.building import see_to_files

        # Not hatchling's own builder: what that has found it keeps, and hooks that come later may add to it.
        builder = type(self.build_config.builder)(self.root, metadata=self.metadata)
        # With what it cannot make sense of it fails by itself, unless one of those hooks mends it.
        with suppress(ValueError), builder.config.set_build_data(build_data):
            see_to_files(builder)


@hookimpl
def hatch_register_build_hook() -> type[BuildHookInterface[Any]]:
    """Tell hatchling of the hook."""
    return EnvbuildBuildHook

"""The build hook: ``[tool.hatch.build.hooks.envbuild]``, for projects whose backend is hatchling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.plugin import hookimpl


class EnvbuildBuildHook(BuildHookInterface[Any]):
    """Adds the lock and the SBOM to wheels, and the lock to sdists."""

    PLUGIN_NAME = "envbuild"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """See to it that an sdist has the lock, since wheels are built from it too."""
        if self.target_name == "sdist":
            from envbuild.backend.making import lock_file

            lock = lock_file(self.root)
            if lock:
                build_data["force_include"][str(lock)] = lock.name

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Add to a wheel what it was tested with; one that only leads to the source needs none of it.

        :raises LockError: the lock cannot be read, or has credentials in it.
        """
        if self.target_name == "wheel" and version == "standard":
            from envbuild.backend.making import settle_wheel

            settle_wheel(self.root, str(Path(artifact_path)))


@hookimpl
def hatch_register_build_hook() -> type[BuildHookInterface[Any]]:
    """Tell hatchling of the hook."""
    return EnvbuildBuildHook

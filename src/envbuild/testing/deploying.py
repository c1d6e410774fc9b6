"""The contract of ``deploy_target``, as far as that hook is settled."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from envbuild.digest import Digest
from envbuild.image import Image
from envbuild.platform import Platform
from envbuild.testing.contract import PluginContract
from envbuild.testing.fakes import fill_prefix


class DeployTargetContract(PluginContract):
    """What ``deploy_target`` promises: little, as long as the types of a deployment and of its handle are not fixed.

    A subclass gives the fixture ``plugin``, and should give ``deployment``.
    """

    hook = "deploy_target"

    @pytest.fixture
    def deployment(self) -> Any:
        """A deployment that is the plugin's, with ``secret`` wherever it takes a key."""
        return None

    @pytest.fixture
    def foreign(self) -> Any:
        """A deployment for a target that is somebody else's."""
        return SimpleNamespace(target="somebody-elses", name="theirs")

    @pytest.fixture
    def image(self, platform: Platform, tmp_path: Path) -> Image:
        """The environment to serve from; by default a prefix with the Python of the tests."""
        fill_prefix(tmp_path / "prefix")
        return Image(kind="prefix", id=Digest.of(b"envbuild.testing"), platform=platform, path=tmp_path / "prefix")

    def test_other_targets_are_declined(self, plugin: Any, foreign: Any, image: Image, tmp_path: Path) -> None:
        """To a deployment on another target it says ``None``, and starts nothing.

        As `deploy_target` says: ""this target is not mine"".
        """
        with self.nothing_left(tmp_path) as seen:
            handle = self.ask(plugin, deployment=foreign, image=image)
        if handle is not None:
            self.broken(f"it takes on a deployment for somebody else's target: it answers {handle!r}, not None")
        if seen.started or seen.asked:
            self.broken("it does something about a deployment for somebody else's target", *seen.started, *seen.asked)

    def test_no_secret_is_told(self, plugin: Any, deployment: Any, image: Image, secret: str) -> None:
        """What opens the service is not in what its handle says of itself.

        As docs/plugins.md says: "no secret is in what an answer says of itself".
        """
        own = self.if_any("deployment", deployment, "there is no fixture `deployment`")
        if own is None:
            return
        handle = self.ask(plugin, deployment=own, image=image)
        if handle is None:
            self.broken("it declines the deployment that is said to be its own; it answers None")
        self.keeps(secret, "what its handle says of itself", repr(handle), handle)

"""Builds that several plugins have a part in, each with packages of its kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from envbuild import Artifact, BuildRequest, Digest, Image, Lock, Package, Platform, hookimpl
from envbuild.errors import PackageClash, PluginMissing
from envbuild.lock import LockRequest, Resolution
from envbuild.pipeline import Wishes, make_image
from envbuild.plugins import Plugins
from envbuild.project import open_spec
from envbuild.workspace import Workspace

ID = Digest.of(b"shared")


def packages(*kinds: str, provides: str = "") -> tuple[Package, ...]:
    details = {"provides": provides} if provides else {}
    artifact = Artifact(kind="archive", url="https://host.test/a-1", filename="a-1", digest=Digest.of(b"a"))
    return tuple(Package(name=f"a{kind}", version="1", kind=kind, artifact=artifact, details=details) for kind in kinds)


class Builder:
    """Builds the packages of one kind, on whatever there is."""

    def __init__(self, kind: str, *, begins: bool) -> None:
        self.kind, self.begins = kind, begins

    @hookimpl
    def build_image(self, lock: Lock, id: Digest, request: BuildRequest) -> Image | None:  # noqa: A002
        if self.begins != (request.base is None):
            return None
        (request.destination / self.kind).write_text("built\n")
        done = request.base.kinds or frozenset() if request.base else frozenset[str]()
        return Image(kind="prefix", id=id, platform=lock.platform, path=request.destination, kinds=done | {self.kind})


def build(
    tmp_path: Path, kinds: tuple[str, ...], *builders: Builder | Begins | Bare, lock: Lock | None = None
) -> tuple[Image, list[str]]:
    (tmp_path / "envbuild.yml").write_text("pip: []\n")
    workspace = Workspace(tmp_path / "workspace")
    lock = lock or Lock(python="3.11.7", platform=Platform.here(), packages=packages(*kinds))
    plugins = Plugins([])
    for number, each in enumerate(builders):
        plugins.register(each, f"{each.kind}-{number}")
    destination = tmp_path / "prefix"
    destination.mkdir()
    project = open_spec(str(tmp_path / "envbuild.yml"), workspace)
    image = make_image(project, lock, ID, destination, workspace, plugins, Wishes())
    return image, sorted(each.name for each in destination.iterdir())


def test_what_one_builder_leaves_is_built_by_the_next(tmp_path: Path) -> None:
    image, made = build(tmp_path, ("fish", "fowl"), Builder("fish", begins=True), Builder("fowl", begins=False))
    assert made == ["fish", "fowl"]
    assert image.kinds is None


def test_a_kind_that_nobody_builds_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginMissing, match="fowl"):
        build(tmp_path, ("fish", "fowl"), Builder("fish", begins=True))


def test_builders_that_get_nowhere_are_not_asked_for_ever(tmp_path: Path) -> None:
    with pytest.raises(PluginMissing, match="fowl"):
        build(tmp_path, ("fish", "fowl"), Builder("fish", begins=True), Builder("fish", begins=False))


class Begins:
    """Makes the prefix, and nothing of what the lock holds."""

    kind = "nothing"

    @hookimpl
    def build_image(self, lock: Lock, id: Digest, request: BuildRequest) -> Image | None:  # noqa: A002
        if request.base is not None:
            return None
        return Image(kind="prefix", id=id, platform=lock.platform, path=request.destination, kinds=frozenset({"pip"}))


def test_who_begins_need_not_build_any_of_it(tmp_path: Path) -> None:
    image, made = build(tmp_path, ("fowl",), Builder("fowl", begins=False), Begins())
    assert made == ["fowl"]
    assert image.kinds is None


@pytest.mark.parametrize(("provides", "clashes"), [("apip", True), ("", False), ("other", False)])
def test_one_distribution_is_one_package_whatever_its_kind(tmp_path: Path, provides: str, clashes: bool) -> None:
    resolution = Resolution(request=LockRequest(scratch=tmp_path, store=tmp_path))
    (theirs,) = packages("conda", provides=provides)
    (ours,) = packages("pip")
    resolution.add(theirs)
    if clashes:
        with pytest.raises(PackageClash, match="conda"):
            resolution.add(ours)
    else:
        resolution.add(replace(ours, name=theirs.name))
        assert sorted(each.label for each in resolution.packages) == ["aconda", "aconda (conda)"]


def test_a_lock_says_what_it_takes_the_machine_to_have() -> None:
    lock = Lock(python="3.11.7", platform=Platform.here(), packages=packages("conda"), system=("__glibc=2.28=0",))
    assert Lock.parse(lock.to_toml()) == lock
    assert lock.built_from_source == ()


class Bare:
    """Makes prefixes without packages, and declines all others."""

    kind = "bare"

    @hookimpl
    def build_image(self, lock: Lock, id: Digest, request: BuildRequest) -> Image | None:  # noqa: A002
        if lock.packages:
            return None
        (request.destination / "bare").write_text("built\n")
        return Image(kind="prefix", id=id, platform=lock.platform, path=request.destination)


def test_where_nobody_begins_a_prefix_without_packages_is_asked_for(tmp_path: Path) -> None:
    image, made = build(tmp_path, ("fowl",), Builder("fowl", begins=False), Bare())
    assert made == ["bare", "fowl"]
    assert image.kinds is None


def test_a_prefix_without_packages_is_no_answer_to_a_lock_that_has_some(tmp_path: Path) -> None:
    with pytest.raises(PluginMissing, match="fowl"):
        build(tmp_path, ("fowl",), Bare())


def test_no_python_is_put_in_the_place_of_one_that_the_lock_brings(tmp_path: Path) -> None:
    (python,) = packages("fish")
    lock = Lock(python="3.11.7", platform=Platform.here(), packages=(replace(python, name="python", version="3.11.7"),))
    assert lock.brings_python
    with pytest.raises(PluginMissing, match="fish"):
        build(tmp_path, ("fish",), Builder("fish", begins=False), Bare(), lock=lock)
    assert list((tmp_path / "prefix").iterdir()) == []

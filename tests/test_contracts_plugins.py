"""What envbuild does unaided keeps the contracts too, with a real index, a real channel and real wheels."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uv
from support.channel import Channel
from support.index import Index
from support.packages import Made, project, wheel
from support.shelf import DEMO, HELPER

from envbuild import (
    Artifact,
    Definition,
    Digest,
    Lock,
    Package,
    PipOptions,
    Platform,
    Requirement,
    WheelRef,
)
from envbuild.testing import (
    BuildImageContract,
    ComputeHashContract,
    ResolveDependenciesContract,
    RunTargetContract,
    temporary_workspace,
)

HERE = platform.python_version()
PASSWORD = "${ENVBUILD_TESTING_SECRET}"


def fetched(index: Index, *made: Made) -> tuple[Package, ...]:
    """Packages of the index, as a lock has them."""
    return tuple(
        Package(
            name=each.project,
            version=each.filename.split("-")[1],
            artifact=Artifact(
                kind="wheel",
                url=f"{index.url}/files/{each.filename}",
                digest=Digest(each.sha256),
                size=len(each.data),
                filename=each.filename,
            ),
            index=index.simple,
        )
        for each in made
    )


class Pip:
    @pytest.fixture
    def plugin(self) -> object:
        import envbuild_pip.plugin

        return envbuild_pip.plugin

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, str]:
        return {"UV_CACHE_DIR": str(tmp_path / "uv-cache"), "UV_PYTHON_DOWNLOADS": "never"}


class TestResolvingWithPip(Pip, ResolveDependenciesContract):
    @pytest.fixture
    def asked(self, index: Index, secret: str, tmp_path: Path) -> Callable[..., Definition]:
        index.password = secret
        folder = tmp_path / "project"
        folder.mkdir()
        options = PipOptions(index_url=index.with_password(PASSWORD))
        return lambda *pip: Definition(pip=tuple(map(Requirement.parse, pip)), options=options, root=folder)

    @pytest.fixture
    def definition(self, asked: Callable[..., Definition]) -> Definition:
        return asked("demo", "fancy", "native")

    @pytest.fixture
    def sections(self) -> tuple[str, ...]:
        return ("pip", "wheels")

    @pytest.fixture
    def unsatisfiable(self, asked: Callable[..., Definition]) -> Definition:
        return asked("up", "down")

    @pytest.fixture
    def release(self, index: Index) -> Callable[[], object]:
        return lambda: index.publish(wheel("demo", "3.0"))


class TestBuildingWithPip(Pip, BuildImageContract):
    @pytest.fixture
    def definition(self, index: Index, secret: str) -> Definition:
        index.password = secret
        return Definition(options=PipOptions(index_url=index.with_password(PASSWORD)))

    @pytest.fixture
    def lock(self, index: Index) -> Lock:
        return Lock(python=HERE, platform=Platform.here(), packages=fetched(index, DEMO["1.0"], HELPER["1.0"]))


class TestHashingOfPip(Pip, ComputeHashContract):
    @pytest.fixture
    def definition(self, tmp_path: Path) -> Definition:
        for path, content in project("local", "1.0").items():
            file = tmp_path / "project" / "local" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        return Definition(
            pip=(Requirement.parse("./local"), Requirement.parse("demo")),
            variables={"COLOUR": "blue"},
            root=tmp_path / "project",
        )

    @pytest.fixture
    def lock(self, definition: Definition) -> Lock:
        local = Package(name="local", version="1.0", artifact=Artifact(kind="directory", path="local"))
        return Lock(python=HERE, platform=Platform.here(), packages=(local,), root=definition.root)

    @pytest.fixture
    def changed(self, definition: Definition, lock: Lock) -> Callable[[], tuple[Definition, Lock]]:
        def edit() -> tuple[Definition, Lock]:
            assert definition.root
            (definition.root / "local/src/local/__init__.py").write_text("edited = True\n")
            return definition, lock

        return edit


class TestResolvingPrivateWheels(ResolveDependenciesContract):
    @pytest.fixture
    def plugin(self) -> object:
        import envbuild_wheel.plugin

        return envbuild_wheel.plugin

    @pytest.fixture
    def definition(self, tmp_path: Path) -> Definition:
        folder = tmp_path / "project"
        folder.mkdir()
        wheels = []
        for each in (DEMO["1.0"], HELPER["1.0"]):
            (folder / each.filename).write_bytes(each.data)
            wheels.append(WheelRef(each.filename, Digest(each.sha256), path=each.filename))
        return Definition(wheels=tuple(wheels), root=folder)

    @pytest.fixture
    def unsatisfiable(self, definition: Definition) -> Definition:
        return replace(definition, wheels=(WheelRef("gone-1.0-py3-none-any.whl", Digest.of(b"gone"), path="gone.whl"),))


class TestBuildingPrivateWheels(Pip, BuildImageContract):
    @pytest.fixture
    def workspace(self, tmp_path: Path) -> Any:
        from envbuild.workspace import Workspace as Kept

        made = Kept(tmp_path / "workspace")
        made.store.put(DEMO["1.0"].data)
        return made

    @pytest.fixture
    def lock(self) -> Lock:
        made = DEMO["1.0"]
        artifact = Artifact(
            kind="wheel",
            url=WheelRef(made.filename, Digest(made.sha256)).url,
            digest=Digest(made.sha256),
            size=len(made.data),
            filename=made.filename,
        )
        demo = Package(name="demo", version="1.0", kind="wheel", artifact=artifact)
        return Lock(python=HERE, platform=Platform.here(), packages=(demo,))

    @pytest.fixture
    def tampered(self, lock: Lock, tmp_path: Path) -> Lock:
        (tmp_path / DEMO["1.0"].filename).write_bytes(DEMO["1.0"].data)
        (demo,) = lock.packages
        other = replace(demo.artifact, digest=Digest.of(b"another"), path=DEMO["1.0"].filename)
        return replace(lock, packages=(replace(demo, artifact=other),), root=tmp_path)


class Conda:
    @pytest.fixture
    def plugin(self) -> object:
        import envbuild_conda.plugin

        return envbuild_conda.plugin

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, str]:
        return {"RATTLER_CACHE_DIR": str(tmp_path / "rattler-cache")}

    @pytest.fixture
    def helpers(self) -> frozenset[str]:
        return frozenset({"envbuild_conda.worker"})

    @pytest.fixture
    def asked(self, channel: Channel, tmp_path: Path) -> Callable[..., Definition]:
        (tmp_path / "project").mkdir()
        return lambda *packages: Definition(conda=packages, channels=(channel.url,), root=tmp_path / "project")

    @pytest.fixture
    def definition(self, asked: Callable[..., Definition]) -> Definition:
        return asked("python=3.11", "almanac", "rooted")


class TestResolvingWithConda(Conda, ResolveDependenciesContract):
    @pytest.fixture
    def unsatisfiable(self, asked: Callable[..., Definition]) -> Definition:
        return asked("up", "down")


class TestBuildingWithConda(Conda, BuildImageContract):
    @pytest.fixture
    def lock(
        self, plugin: object, definition: Definition, settings: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> Lock:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        with temporary_workspace(plugin) as place:
            return place.lock(definition)


class Unmanaged:
    @pytest.fixture
    def plugin(self) -> object:
        import envbuild_unmanaged.plugin

        return envbuild_unmanaged.plugin

    @pytest.fixture
    def definition(self, tmp_path: Path) -> Definition:
        folder = tmp_path / "theirs"
        given = {**os.environ, "UV_CACHE_DIR": str(tmp_path / "uv-cache"), "UV_OFFLINE": "1"}
        (tmp_path / DEMO["1.0"].filename).write_bytes(DEMO["1.0"].data)
        for words in (
            ("venv", "--python", sys.executable, folder),
            ("pip", "install", "--no-deps", "--python", folder / "bin/python", tmp_path / DEMO["1.0"].filename),
        ):
            subprocess.run([uv.find_uv_bin(), *words], env=given, capture_output=True, check=True, timeout=60)
        return Definition(interpreter=str(folder / "bin/python"), root=folder)


class TestRecordingAnInterpreter(Unmanaged, ResolveDependenciesContract):
    """What is there is taken as it is: nothing can be released."""

    @pytest.fixture
    def has_no(self) -> Mapping[str, str]:
        return {"reordered": "a definition names one interpreter"}

    @pytest.fixture
    def unsatisfiable(self, tmp_path: Path) -> Definition:
        return Definition(interpreter="./nowhere/bin/python", root=tmp_path)


class TestMakingWaysIntoAnInterpreter(Unmanaged, BuildImageContract):
    @pytest.fixture
    def has_no(self) -> Mapping[str, str]:
        return {"tampered": "what is installed already is recorded, and no file of it has a digest"}

    @pytest.fixture
    def lock(self, plugin: object, definition: Definition) -> Lock:
        with temporary_workspace(plugin) as place:
            return place.lock(definition)


class TestRunningHere(RunTargetContract):
    @pytest.fixture
    def plugin(self) -> object:
        import envbuild_local.plugin

        return envbuild_local.plugin

    @pytest.fixture
    def target(self) -> str:
        return "local"

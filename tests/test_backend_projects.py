"""The build backend beside hatchling's: real projects of others, and the front ends that need an index of packages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import uv

ROOT = Path(__file__).resolve().parent.parent

PROJECTS = {
    # A version from version control or the sdist's metadata, and a read-me that is put together.
    "attrs==25.4.0": "16d5969b87f0859ef33a48b35d55ac1be6e42ae49d5e853b597db70c35c57e11",
    # Other paths in the wheel than in the source, a file that a hook writes, and a hook that stays off.
    "black==25.9.0": "0474bca9a0dd1b51791fcc507a4e02078a1c63f6d4e4ae5544b9848c7adfb619",
    # A hook of its own that needs another package, shared data, and a file that is forced in.
    "ipykernel==6.30.1": "6abb270161896402e76b91394fcdce5d1be5d45f456671e5080572f8505be39b",
    # A hook of its own with dependencies, which makes files that version control ignores.
    "mkdocs==1.6.1": "7b432f01d928c084353ab39c57282f29f92136665bdd6abf7c1ec8d822ef86f2",
    # Shared data.
    "notebook-shim==0.2.4": "b4b2cfa1b65d98307ca24361f5b30fe785b53c3fd07b7a47e89acb5e6ac638cb",
    # A package of a namespace that others share.
    "opentelemetry-api==1.38.0": "f4c193b5e8acb0912b06ac5b16321908dd0843d75049c091487322284a3eea12",
    # A version that is calculated, and metadata by a hook of its own.
    "soupsieve==2.8": "e2dd4a40a628cb5f28f6d4b0db8800b8f581b65bb380b97de22ba5ca8d72572f",
    # A version file that a hook writes, and sdists of chosen folders.
    "urllib3==2.5.0": "3fc47733c7e419d4bc3f6b3dc2b4f890bb743906a30d56ba4a5bfa4bbff92760",
}
"""Public projects that hatchling builds, with the digests of their sdists."""

BUILDERS = (
    *("pip", "hatch", "hatchling", "hatch-vcs", "hatch-fancy-pypi-readme", "editables", "setuptools"),
    *("jupyter-client", "babel", "installer", "twine", "cyclonedx-python-lib[json-validation]"),
)
"""What builds them and looks at what was built."""

SMALL = """
[build-system]
requires = [{requires}]
build-backend = "{backend}"

[project]
name = "small"
version = "1.0"
readme = "README.md"
requires-python = ">=3.11"
scripts = {{small = "small:main"}}

[tool.hatch.build.targets.wheel]
packages = ["src/small"]
"""

LOCK = """
lock-version = "1.0"
created-by = "another-tool"

[[packages]]
name = "iris"
version = "1.2"
index = "https://pypi.corp.test/simple"
marker = "sys_platform == 'linux'"
wheels = [{url = "https://pypi.corp.test/iris-1.2-py3-none-any.whl", hashes = {sha256 = "WWWW"}}]

[[packages]]
name = "here"
directory = {path = "here"}

[[packages]]
name = "elsewhere"
vcs = {type = "git", url = "https://git.corp.test/elsewhere", commit-id = "0123456789012345678901234567890123456789"}

[[packages]]
name = "packed"
archive = {url = "https://files.corp.test/packed.zip", hashes = {sha256 = "WWWW"}}
""".replace("WWWW", "a" * 64)


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.fixture(scope="session")
def builders(tmp_path_factory: pytest.TempPathFactory, lacking: Callable[[str, str], None]) -> Path:
    """A virtual environment with this envbuild and all that builds the projects."""
    folder = tmp_path_factory.mktemp("builders") / "venv"
    run(uv.find_uv_bin(), "venv", "--quiet", "--python", sys.executable, folder)
    asked = [uv.find_uv_bin(), "pip", "install", "--quiet", "--python", folder / "bin/python"]
    done = subprocess.run(
        [*asked, *BUILDERS, "--editable", f"{ROOT}[backend]"], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode != 0:
        lacking("network", f"no index of packages can be reached: {done.stderr.strip()}")
    return folder / "bin"


@pytest.fixture(scope="session")
def sdists(builders: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The projects' sdists, by the projects' names."""
    folder = tmp_path_factory.mktemp("sdists")
    wanted = folder / "wanted.txt"
    wanted.write_text("".join(f"{name} --hash=sha256:{digest}\n" for name, digest in PROJECTS.items()))
    how = ("--no-deps", "--no-binary=:all:", "--no-build-isolation", "--require-hashes")
    run(builders / "python", "-m", "pip", "download", "--quiet", *how, "--dest", folder, "--requirement", wanted)
    return {name: folder / f"{name.replace('-', '_').replace('==', '-')}.tar.gz" for name in PROJECTS}


def unpacked(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (found,) = folder.iterdir()
    return found


def with_our_backend(project: Path) -> Path:
    """Change what builds the project, and nothing else."""
    file = project / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    text, changed = re.subn(
        r'^build-backend = "hatchling\.build"$', 'build-backend = "envbuild.backend"', text, flags=re.M
    )
    assert changed == 1
    file.write_text(re.sub(r'"hatchling\b[^"]*"', '"envbuild[backend]"', text, count=1), encoding="utf-8")
    return project


def build(builders: Path, project: Path, backend: str, *kinds: str, umask: int = 0o022, **variables: str) -> list[Path]:
    """Call the hooks that a front end calls, in a process of its own: every kind in turn."""
    out = project.parent / f"dist-{backend}"
    out.mkdir()
    program = (
        f"import sys, {backend} as backend\n"
        "for kind in sys.argv[2:]: print('built', getattr(backend, f'build_{kind}')(sys.argv[1]))\n"
    )
    told = run(
        builders / "python", "-c", program, out, *kinds,
        cwd=project, umask=umask, env={**os.environ, **variables},
    )  # fmt: skip
    return [out / line.removeprefix("built ") for line in told.splitlines() if line.startswith("built ")]


@pytest.mark.parametrize("name", PROJECTS)
def test_a_real_project_is_built_as_hatchling_builds_it_and_twice_alike(
    builders: Path, sdists: dict[str, Path], tmp_path: Path, name: str
) -> None:
    (theirs,) = build(builders, unpacked(sdists[name], tmp_path / "theirs"), "hatchling.build", "wheel")
    one = with_our_backend(unpacked(sdists[name], tmp_path / "one"))
    other = with_our_backend(unpacked(sdists[name], tmp_path / "other" / "place"))
    for path in other.rglob("*"):
        path.chmod(0o700 if path.is_dir() or path.stat().st_mode & 0o100 else 0o600)

    wheel, sdist = build(builders, one, "envbuild.backend", "wheel", "sdist")
    again = build(builders, other, "envbuild.backend", "wheel", "sdist", umask=0o077, TZ="Asia/Tokyo")

    assert wheel.name == theirs.name
    with zipfile.ZipFile(theirs) as hatchling, zipfile.ZipFile(wheel) as ours:
        assert sorted(ours.namelist()) == sorted(hatchling.namelist())
        for entry in hatchling.namelist():
            assert entry.endswith(".dist-info/RECORD") or ours.read(entry) == hatchling.read(entry)
    assert [each.read_bytes() for each in again] == [wheel.read_bytes(), sdist.read_bytes()]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    folder = tmp_path / "small project"
    (folder / "src/small").mkdir(parents=True)
    (folder / "README.md").write_text("# Small\n\nAs projects are.\n")
    (folder / "src/small/__init__.py").write_text("def main():\n    print('small')\n")
    (folder / "pylock.toml").write_text(LOCK)
    (folder / "pyproject.toml").write_text(SMALL.format(requires="", backend="envbuild.backend"))
    return folder


@pytest.fixture(scope="session")
def own_wheel(builders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Envbuild itself, for front ends that install what a project requires."""
    out = tmp_path_factory.mktemp("own")
    program = "import sys; from envbuild.backend import build_wheel; build_wheel(sys.argv[1])"
    run(builders / "python", "-c", program, out, cwd=ROOT)
    (found,) = out.glob("*.whl")
    return found


@pytest.mark.parametrize("backend", ["envbuild.backend", "hatchling.build"])
def test_hatch_builds_what_pip_builds(builders: Path, own_wheel: Path, small: Path, backend: str) -> None:
    requires = f'"hatchling", "envbuild[backend] @ {own_wheel.as_uri()}"'
    hook = "\n[tool.hatch.build.hooks.envbuild]\n" if backend == "hatchling.build" else ""
    (small / "pyproject.toml").write_text(SMALL.format(requires=requires, backend=backend) + hook)
    own = {"HATCH_DATA_DIR": str(small.parent / "data"), "HATCH_CACHE_DIR": str(small.parent / "cache")}
    mine = {**os.environ, **own, "HATCH_ENV_TYPE_VIRTUAL_UV_PATH": uv.find_uv_bin()}

    run(builders / "hatch", "build", "dist", cwd=small, env=mine)
    run(
        builders / "python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "other", ".",
        cwd=small,
    )  # fmt: skip

    wheel, sdist = small / "dist/small-1.0-py3-none-any.whl", small / "dist/small-1.0.tar.gz"
    assert wheel.read_bytes() == (small / "other" / wheel.name).read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        assert "small-1.0.dist-info/sboms/envbuild.cdx.json" in archive.namelist()
    with tarfile.open(sdist) as archive:
        assert {each.mtime for each in archive.getmembers()} == {1580601600}
        assert "small-1.0/pylock.toml" in archive.getnames()


def test_what_is_built_is_accepted_by_those_who_check_and_install(builders: Path, small: Path, tmp_path: Path) -> None:
    wheel, sdist = build(builders, small, "envbuild.backend", "wheel", "sdist")
    python = builders / "python"

    assert run(builders / "twine", "check", "--strict", wheel, sdist).count("PASSED") == 2
    run(python, "-m", "installer", "--destdir", tmp_path / "installer", "--validate-record", "all", wheel)
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path / "pip", wheel)
    run(uv.find_uv_bin(), "pip", "install", "--quiet", "--target", tmp_path / "uv", "--python", python, wheel)

    for folder in ("installer", "pip", "uv"):
        (found,) = (tmp_path / folder).rglob("small-1.0.dist-info/sboms/pylock.toml")
        assert found.read_text() == LOCK


def test_the_document_is_what_cyclonedx_asks_for(builders: Path, small: Path) -> None:
    (wheel,) = build(builders, small, "envbuild.backend", "wheel")
    program = (
        "import sys, zipfile\n"
        "from cyclonedx.schema import SchemaVersion\n"
        "from cyclonedx.validation.json import JsonStrictValidator\n"
        "text = zipfile.ZipFile(sys.argv[1]).read('small-1.0.dist-info/sboms/envbuild.cdx.json').decode()\n"
        "print(JsonStrictValidator(SchemaVersion.V1_6).validate_str(text))\n"
    )

    assert run(builders / "python", "-c", program, wheel) == "None\n"


@pytest.mark.parametrize("setting", ["", "dev-mode-exact = true"])
def test_an_editable_install_leads_to_the_source_by_paths_or_by_names(
    builders: Path, small: Path, setting: str
) -> None:
    file = small / "pyproject.toml"
    file.write_text(f"{file.read_text()}\n[tool.hatch.build]\n{setting}\n")
    python = builders / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", small)

    (small / "src/small/__init__.py").write_text("def main():\n    print('edited')\n")

    assert run(builders / "small") == "edited\n"
    run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "small")

"""The build backend: wheels and sdists that are the same everywhere, and say in which environment they were tested."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uv
from support.desk import Desk
from support.index import Index

from envbuild import distributions, sbom
from envbuild.errors import LockError
from envbuild.lock import Artifact, Lock, Package

PROJECT = """
[build-system]
requires = ["envbuild[backend]"]
build-backend = "envbuild.backend"

[project]
name = "Demo.Project"
version = "1.0"
requires-python = ">=3.11"
scripts = {demo = "demo_project:main"}

[tool.hatch.build]
exclude = ["secret.txt"]
dev-mode-dirs = ["src"]

[tool.hatch.build.targets.wheel]
packages = ["src/demo_project"]

[tool.hatch.build.targets.wheel.force-include]
"notes/extra.txt" = "demo_project/data/extra.txt"

[tool.hatch.build.targets.wheel.shared-scripts]
"tool.sh" = "demo-tool"

[tool.hatch.build.targets.sdist]
include = ["src", "notes", "tool.sh"]
"""
PLAIN = PROJECT.replace('"envbuild.backend"', '"hatchling.build"')
HOOK = """
[build-system]
requires = ["hatchling", "envbuild[backend]"]
build-backend = "hatchling.build"

[tool.hatch.build.hooks.envbuild]
"""
HOOKED = HOOK + PROJECT.partition('envbuild.backend"')[2]

FILES = {
    "src/demo_project/__init__.py": "def main():\n    print('demo')\n",
    "src/demo_project/secret.txt": "not for others\n",
    "src/demo_project/other.py": "x = 1\n",
    "notes/extra.txt": "more\n",
    "tool.sh": "#!/bin/sh\necho tool\n",
}
WHEEL = "demo_project-1.0-py3-none-any.whl"
SDIST = "demo_project-1.0.tar.gz"
INFO = "demo_project-1.0.dist-info"

FOREIGN = """
lock-version = "1.0"
created-by = "another-tool"
requires-python = ">=3.11"

[[packages]]
name = "iris"
version = "1.2"
index = "https://pypi.corp.test/simple"
sdist = {name = "iris-1.2.tar.gz", url = "https://pypi.corp.test/iris-1.2.tar.gz", hashes = {sha256 = "SSSS"}}
wheels = [
    {url = "https://pypi.corp.test/iris-1.2-py3-none-any.whl", hashes = {sha256 = "WWWW"}},
]

[[packages]]
name = "demo-project"
directory = {path = ".", editable = true}

[[packages]]
name = "weak"
version = "2"
sdist = {name = "weak-2.tar.gz", url = "https://pypi.corp.test/weak-2.tar.gz", hashes = {sha512 = "00"}}
""".replace("SSSS", "5" * 64).replace("WWWW", "a" * 64)


def lay(folder: Path, pyproject: str = PROJECT, files: Mapping[str, str] = FILES) -> Path:
    for name, text in {"pyproject.toml": pyproject, **files}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (folder / "tool.sh").chmod(0o755)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return lay(tmp_path / "project")


def build(folder: Path, kind: str = "wheel", out: Path | None = None, umask: int = 0o022, **variables: str) -> Path:
    """Build by `build`'s own caller, in a process of its own."""
    out = out or folder / "dist"
    program = (
        "import sys; from build import ProjectBuilder; "
        "print(ProjectBuilder(sys.argv[1]).build(sys.argv[2], sys.argv[3]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, folder, kind, out],
        env={**os.environ, **variables},
        cwd=folder.parent,
        umask=umask,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.splitlines()[-1])


@pytest.fixture
def locked(project: Path, desk: Desk, index: Index) -> Lock:
    """A lock in the project, of an environment without local projects."""
    made = desk.at("locking")
    made.requirements("helper", index=index)
    lock = made.lock()
    (project / "pylock.toml").write_bytes((made.folder / "pylock.toml").read_bytes())
    return lock


def record(wheel: Path) -> None:
    """Hold a wheel's RECORD to what is in it."""
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(archive.read(f"{INFO}/RECORD").decode()))}
        assert sorted(rows) == sorted(archive.namelist())
        assert archive.namelist()[-1] == f"{INFO}/RECORD"
        assert rows.pop(f"{INFO}/RECORD") == ["", ""]
        for name, (digest, size) in rows.items():
            data = archive.read(name)
            made = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            assert (digest, size) == (f"sha256={made}", str(len(data)))


def document(wheel: Path) -> dict[str, Any]:
    with zipfile.ZipFile(wheel) as archive:
        found: dict[str, Any] = json.loads(archive.read(f"{INFO}/{sbom.SBOM}"))
    return found


def properties(form: Mapping[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in form["metadata"]["properties"]}


# The same bytes


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("with_lock", [False, True])
def test_neither_folder_nor_umask_nor_day_nor_hash_seed_nor_zone_shows(
    tmp_path: Path, kind: str, with_lock: bool
) -> None:
    found = []
    for name, umask, mode, seed, day, zone in (
        ("one", 0o022, 0o644, "1", 1_000_000_000, "UTC"),
        ("two/deeper", 0o077, 0o600, "2", 1_700_000_000, "Asia/Tokyo"),
    ):
        files = dict(FILES) if name == "one" else dict(reversed(FILES.items()))
        folder = lay(tmp_path / name, files=files)
        if with_lock:
            (folder / "pylock.toml").write_text(FOREIGN)
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(mode | (0o111 & ~umask if path.name == "tool.sh" else 0))
                os.utime(path, (day, day))
        if name != "one":
            # On some machines two files are one: a checkout by links, a cache.
            other = folder / "src/demo_project/other.py"
            other.unlink()
            (folder / "notes/same.py").write_text("x = 1\n")
            os.link(folder / "notes/same.py", other)
        else:
            (folder / "notes/same.py").write_text("x = 1\n")
        found.append(build(folder, kind, umask=umask, PYTHONHASHSEED=seed, TZ=zone))

    one, two = found
    assert one.read_bytes() == two.read_bytes()
    assert stat.S_IMODE(two.stat().st_mode) == 0o644


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_source_date_epoch_is_the_time_of_every_file(project: Path, kind: str) -> None:
    made = build(project, kind, SOURCE_DATE_EPOCH="1700000000")

    if kind == "wheel":
        with zipfile.ZipFile(made) as archive:
            assert {each.date_time for each in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}
            assert {stat.S_IMODE(each.external_attr >> 16) for each in archive.infolist()} == {0o644, 0o755}
    else:
        assert made.read_bytes()[3:8] == bytes(5)  # no name, no time
        with tarfile.open(made) as archive:
            members = archive.getmembers()
        assert {each.mtime for each in members} == {1700000000}
        assert {(each.uid, each.gid, each.uname, each.gname) for each in members} == {(0, 0, "", "")}
        assert [each.name for each in members] == sorted(each.name for each in members)


def test_who_wants_the_real_times_keeps_them(project: Path) -> None:
    lay(project, PROJECT.replace("[tool.hatch.build]", "[tool.hatch.build]\nreproducible = false"))
    (project / "pylock.toml").write_text(FOREIGN)
    os.utime(project / "src/demo_project/other.py", (1_000_000_000, 1_000_000_000))

    made = build(project)

    record(made)
    with zipfile.ZipFile(made) as archive:
        assert archive.getinfo("demo_project/other.py").date_time[0] == 2001
        assert f"{INFO}/{sbom.SBOM}" in archive.namelist()


def test_settling_twice_changes_nothing(project: Path) -> None:
    wheel, sdist = build(project), build(project, "sdist")
    before = wheel.read_bytes(), sdist.read_bytes()

    distributions.settle_wheel(wheel, {}, distributions.EPOCH)
    distributions.settle_sdist(sdist, {}, distributions.EPOCH, project)

    assert (wheel.read_bytes(), sdist.read_bytes()) == before


def test_links_of_an_sdist_stay_links(project: Path) -> None:
    (project / "notes/link.txt").symlink_to("extra.txt")

    with tarfile.open(build(project, "sdist")) as archive:
        found = archive.getmember("demo_project-1.0/notes/link.txt")

    assert (found.issym(), found.linkname) == (True, "extra.txt")


def test_envbuild_is_built_by_itself_from_its_folder_and_from_its_sdist_alike(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parent.parent
    with tarfile.open(build(root, "sdist", tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("envbuild-*/")

    one, other = build(root, out=tmp_path / "one"), build(unpacked, out=tmp_path / "other")

    assert one.read_bytes() == other.read_bytes()


# What hatchling's settings say


def test_settings_of_hatchling_keep_working(project: Path) -> None:
    with zipfile.ZipFile(build(project)) as archive:
        names = set(archive.namelist())
        script = archive.getinfo("demo_project-1.0.data/scripts/demo-tool")

    assert names == {
        "demo_project/__init__.py",
        "demo_project/other.py",
        "demo_project/data/extra.txt",
        "demo_project-1.0.data/scripts/demo-tool",
        *(f"{INFO}/{each}" for each in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")),
    }
    assert stat.S_IMODE(script.external_attr >> 16) == 0o755


def test_every_file_has_the_bytes_that_hatchling_gives_it(project: Path, tmp_path: Path) -> None:
    plain = build(lay(tmp_path / "plain", PLAIN))

    with zipfile.ZipFile(build(project)) as ours, zipfile.ZipFile(plain) as theirs:
        assert sorted(ours.namelist()) == sorted(theirs.namelist())
        for name in theirs.namelist():
            if not name.endswith("/RECORD"):
                assert ours.read(name) == theirs.read(name)


def test_metadata_is_told_without_building(project: Path) -> None:
    from build import ProjectBuilder

    told = Path(ProjectBuilder(project).metadata_path(project / "told"))

    assert "Name: Demo.Project\n" in (told / "METADATA").read_text()
    assert ProjectBuilder(project).get_requires_for_build("wheel") == set()


# Front ends


def pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    import ensurepip

    bundled = sorted(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))
    return [sys.executable, str(bundled[-1] / "pip")] if bundled else []


def test_pip_build_and_uv_make_the_same_wheel(
    project: Path, tmp_path: Path, lacking: Callable[[str, str], None]
) -> None:
    (project / "pylock.toml").write_text(FOREIGN)
    wanted = build(project).read_bytes()
    alone = ["--no-build-isolation"]
    python = ["--python", sys.executable]
    front_ends = {
        "uv": [uv.find_uv_bin(), "build", *python, "--wheel", *alone, "--out-dir", tmp_path / "uv", project],
        "build": [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "build", project],
        "pip": [
            *(pip() or lacking("pip", "no pip") or ()),
            "wheel",
            "--no-deps",
            *alone,
            "-w",
            tmp_path / "pip",
            project,
        ],
    }
    for name, command in front_ends.items():
        subprocess.run(command, check=True, capture_output=True, timeout=120)

        # `build` builds the wheel from the sdist.
        assert (tmp_path / name / WHEEL).read_bytes() == wanted, name


def test_an_editable_install_leads_to_the_source(project: Path, tmp_path: Path) -> None:
    (project / "pylock.toml").write_text(FOREIGN)
    prefix = tmp_path / "prefix"
    subprocess.run([uv.find_uv_bin(), "venv", "--quiet", "--python", sys.executable, prefix], check=True)
    # What builds is this Python's; it is seen from the new one by its path.
    seen = {**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    asked = ["pip", "install", "--quiet", "--python", prefix / "bin/python", "--no-build-isolation", "--no-deps"]
    subprocess.run([uv.find_uv_bin(), *asked, "-e", project], check=True, env=seen, timeout=120)

    (project / "src/demo_project/__init__.py").write_text("def main():\n    print('edited')\n")

    done = subprocess.run([prefix / "bin/demo"], capture_output=True, text=True, check=True)
    assert done.stdout == "edited\n"


# What a wheel says


def test_a_wheel_says_in_which_environment_it_was_tested(
    project: Path, desk: Desk, locked: Lock, tmp_path: Path
) -> None:
    identity = desk.at("locking").identity()

    made = build(project)

    record(made)
    form = document(made)
    assert (form["bomFormat"], form["specVersion"]) == ("CycloneDX", "1.6")
    assert "serialNumber" not in form
    assert "timestamp" not in form["metadata"]
    assert form["metadata"]["component"]["purl"] == "pkg:pypi/demo-project@1.0"
    assert properties(form)["envbuild:environment"] == identity
    (helper,) = form["components"]
    (package,) = locked.packages
    assert (helper["name"], helper["version"]) == ("helper", package.version)
    assert helper["purl"].startswith(f"pkg:pypi/helper@{package.version}")
    assert helper["hashes"] == [{"alg": "SHA-256", "content": package.artifact.digest.hex}]
    with zipfile.ZipFile(made) as archive:
        assert archive.read(f"{INFO}/{sbom.LOCK}") == (project / "pylock.toml").read_bytes()

    shown = desk.envbuild("wheel", "show", made, "--json").json
    assert (shown["name"], shown["version"], shown["environment"]) == ("Demo.Project", "1.0", identity)
    assert (shown["python"], shown["platform"]) == (locked.python, str(locked.platform))
    assert shown["packages"] == [{"name": "helper", "version": package.version}]
    told = desk.envbuild("wheel", "show", made).out
    assert identity in told
    assert "helper" in told


def test_a_wheel_of_a_project_that_is_in_its_own_lock_says_why_it_has_no_id(
    project: Path, locked: Lock, desk: Desk
) -> None:
    whole = build(project)
    around = properties(document(whole))["envbuild:environment"]
    own = Package(name="demo-project", version=None, artifact=Artifact(kind="directory", path="src/..", editable=True))
    (project / "pylock.toml").write_text(replace(locked, packages=(*locked.packages, own)).to_toml())

    made = build(project)

    said = properties(document(made))
    assert "envbuild:environment" not in said
    assert "demo-project" in said["envbuild:environment-unknown"]
    assert said["envbuild:environment-without-projects"] == around
    assert [each["name"] for each in document(made)["components"]] == ["helper"]
    assert around in desk.envbuild("wheel", "show", made).out


def test_a_lock_of_another_tool_will_do(project: Path, desk: Desk) -> None:
    (project / "pylock.toml").write_text(FOREIGN)

    made = build(project)

    record(made)
    iris, weak = document(made)["components"]
    assert iris["purl"] == "pkg:pypi/iris@1.2?repository_url=https://pypi.corp.test/simple"
    assert "hashes" not in iris  # there are two artifacts, each with its own
    assert [each["hashes"][0]["content"] for each in iris["externalReferences"]] == ["a" * 64, "5" * 64]
    assert weak["purl"] == "pkg:pypi/weak@2"
    shown = desk.envbuild("wheel", "show", made, "--json").json
    assert shown["environment"] is None
    assert shown["python"] == ">=3.11"


def test_an_sdist_has_the_lock_whatever_was_chosen_and_its_wheel_says_the_same(project: Path, tmp_path: Path) -> None:
    (project / "pylock.toml").write_text(FOREIGN)
    with tarfile.open(build(project, "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")

    made = build(tmp_path / "unpacked/demo_project-1.0", out=tmp_path / "dist")

    assert made.read_bytes() == build(project).read_bytes()


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_the_hook_does_for_hatchling_what_the_backend_does(project: Path, tmp_path: Path, kind: str) -> None:
    hooked = lay(tmp_path / "hooked", HOOKED)
    for folder in (project, hooked):
        (folder / "pylock.toml").write_text(FOREIGN)

    theirs, ours = build(hooked, kind), build(project, kind)

    if kind == "wheel":
        assert theirs.read_bytes() == ours.read_bytes()
    else:
        with tarfile.open(theirs) as one, tarfile.open(ours) as other:
            assert sorted(one.getnames()) == sorted(other.getnames())


def test_backend_and_hook_together_add_everything_once(project: Path) -> None:
    lay(project, PROJECT + "\n[tool.hatch.build.hooks.envbuild]\n")
    (project / "pylock.toml").write_text(FOREIGN)

    record(build(project))
    build(project, "sdist")


def test_the_page_shows_what_is_tested_here() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs/backend.md").read_text(encoding="utf-8")

    for tested in (PROJECT.partition("\n[project]")[0], HOOK):
        assert f"```toml\n{tested.strip()}\n```" in page


# What is refused


def test_a_lock_with_a_password_in_it_is_refused() -> None:
    text = FOREIGN.replace("https://pypi.corp.test/simple", "https://me:hunter2@pypi.corp.test/simple")

    with pytest.raises(LockError, match="password") as caught:
        sbom.sboms(text.encode(), "demo", "1.0")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["not toml", "lock-version = '1.0'", "created-by = 1"])
def test_what_is_no_lock_is_refused(text: str) -> None:
    with pytest.raises(LockError, match=r"pylock\.toml: not a valid lock file"):
        sbom.sboms(text.encode(), "demo", "1.0")


def test_a_wheel_that_says_nothing_is_told_from_what_is_no_wheel(project: Path, desk: Desk) -> None:
    silent = build(project)
    broken = desk.write("broken-1.0-py3-none-any.whl", b"PK nothing")

    assert "does not say" in desk.refused("wheel", "show", silent).err
    assert "not a wheel" in desk.refused("wheel", "show", broken).err
    assert "no such file" in desk.refused("wheel", "show", "absent.whl").err


def test_importing_the_backend_imports_nothing_heavy() -> None:
    program = "import sys, envbuild.backend; print(*sorted(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    plain = program.replace("envbuild.backend", "hatchling.build")
    before = subprocess.run([sys.executable, "-c", plain], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()) - set(before.stdout.split()) <= {"envbuild"}

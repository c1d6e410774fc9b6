"""The build backend: wheels and sdists that are the same everywhere, and say in which environment they were tested."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import io
import json
import os
import re
import socket
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import chdir, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uv
from hypothesis import given
from hypothesis import strategies as st
from support.desk import Desk
from support.index import Index

from envbuild import distributions, reading, sbom, staleness
from envbuild.backend import making
from envbuild.digest import Digest
from envbuild.errors import Damaged, DefinitionError, EnvbuildError, LockError, NotFound
from envbuild.fingerprint import lock_document
from envbuild.lock import Artifact, Lock, Package
from envbuild.platform import Platform

PROJECT = """
[build-system]
requires = ["envbuild[backend]"]
build-backend = "envbuild.backend"

[project]
name = "Demo.Project"
version = "1.0"
description = "Häuser and 家"
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
    "notes/extra häuser 家.txt": "still more\n",
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


def try_build(
    folder: Path, kind: str = "wheel", out: Path | None = None, umask: int = 0o022, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Build by `build`'s own caller, in a process of its own."""
    program = (
        "import sys; from build import ProjectBuilder; "
        "print(ProjectBuilder(sys.argv[1]).build(sys.argv[2], sys.argv[3], {'unknown': 'setting'}))"
    )
    return subprocess.run(
        [sys.executable, "-X", "utf8", "-c", program, folder, kind, out or folder / "dist"],
        env={**os.environ, **variables},
        cwd=folder.parent,
        umask=umask,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def build(folder: Path, kind: str = "wheel", out: Path | None = None, umask: int = 0o022, **variables: str) -> Path:
    done = try_build(folder, kind, out, umask, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.splitlines()[-1])


def refused(folder: Path, kind: str = "wheel", **variables: str) -> str:
    """What is said of a build that fails, and leaves nothing that could be uploaded."""
    done = try_build(folder, kind, **variables)
    assert done.returncode != 0
    assert not list((folder / "dist").glob("*"))
    return done.stderr


@pytest.fixture
def locked(project: Path, desk: Desk, index: Index) -> Lock:
    """A lock in the project, of an environment without local projects."""
    made = desk.at("locking")
    made.requirements("helper", index=index)
    lock = made.lock()
    for name in ("pylock.toml", "requirements.txt"):
        (project / name).write_bytes((made.folder / name).read_bytes())
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
@pytest.mark.parametrize(
    ("form", "with_lock"), [(PROJECT, False), (PROJECT, True), (HOOKED, True)], ids=["plain", "locked", "hook"]
)
def test_neither_folder_nor_umask_nor_day_nor_hash_seed_nor_zone_nor_locale_shows(
    tmp_path: Path, kind: str, form: str, with_lock: bool
) -> None:
    found = []
    for name, umask, mode, seed, day, zone, locale in (
        ("one", 0o022, 0o644, "1", 1_000_000_000, "UTC", "C.UTF-8"),
        ("two/tief er 深い", 0o077, 0o600, "2", 1_700_000_000, "Asia/Tokyo", "C"),
    ):
        files = dict(FILES) if name == "one" else dict(reversed(FILES.items()))
        folder = lay(tmp_path / name, form, files)
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
        found.append(build(folder, kind, umask=umask, PYTHONHASHSEED=seed, TZ=zone, LC_ALL=locale))

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


def test_a_time_that_a_zip_cannot_say_is_the_first_that_it_can(project: Path) -> None:
    with zipfile.ZipFile(build(project, SOURCE_DATE_EPOCH="0")) as archive:
        assert {each.date_time for each in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with tarfile.open(build(project, "sdist", SOURCE_DATE_EPOCH="0")) as sdist:
        assert {each.mtime for each in sdist.getmembers()} == {0}


@pytest.mark.parametrize("time", ["", "-1", "yesterday", "1.5", "1_000", " 1", "٣", "4294967296", "9" * 5000])
def test_what_is_no_time_is_refused(time: str) -> None:
    with pytest.raises(EnvbuildError, match=r"SOURCE_DATE_EPOCH is .*seconds since 1970"):
        distributions.epoch({"SOURCE_DATE_EPOCH": time})


@pytest.mark.parametrize("form", [PROJECT, HOOKED], ids=["backend", "hook"])
def test_what_is_no_time_is_refused_before_anything_is_built(project: Path, form: str) -> None:
    lay(project, form)

    assert "SOURCE_DATE_EPOCH is '-1'" in refused(project, "sdist", SOURCE_DATE_EPOCH="-1")


def test_who_wants_the_real_times_keeps_them(project: Path) -> None:
    lay(project, PROJECT.replace("[tool.hatch.build]", "[tool.hatch.build]\nreproducible = false"))
    (project / "pylock.toml").write_text(FOREIGN)
    os.utime(project / "src/demo_project/other.py", (1_000_000_000, 1_000_000_000))

    made = build(project)

    record(made)
    with zipfile.ZipFile(made) as archive:
        assert archive.getinfo("demo_project/other.py").date_time[0] == 2001
        assert f"{INFO}/{sbom.SBOM}" in archive.namelist()


def test_every_python_writes_the_same_bytes(
    project: Path, interpreters: dict[str, Path], lacking: Callable[[str, str], None], tmp_path: Path
) -> None:
    """As long as they compress with the same zlib, which those of one machine do."""
    found = [interpreters[version] for version in ("3.11", "3.12", "3.13") if version in interpreters]
    if len(found) < 2:
        lacking("pythons", "fewer than two Pythons that envbuild runs on were found")
    (project / "pylock.toml").write_text(FOREIGN)
    wheel, sdist = build(project), build(project, "sdist")
    program = (
        "import sys; from pathlib import Path; from envbuild import distributions as d\n"
        "w, s = map(Path, sys.argv[1:])\n"
        "d.settle_wheel(w, {'a': b'a' * 999}, d.EPOCH); d.settle_sdist(s, {'a': b'a' * 999}, d.EPOCH, s.parent)"
    )
    made = set()
    for number, python in enumerate(found):
        copies = [tmp_path / f"{number}" / each.name for each in (wheel, sdist)]
        copies[0].parent.mkdir()
        for each, copy in zip((wheel, sdist), copies, strict=True):
            copy.write_bytes(each.read_bytes())
        source = str(Path(distributions.__file__).parent.parent)
        subprocess.run([python, "-c", program, *copies], check=True, env={"PYTHONPATH": source})
        made.add(tuple(copy.read_bytes() for copy in copies))

    assert len(made) == 1


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


def test_a_link_to_what_the_sdist_does_not_have_becomes_the_file(project: Path) -> None:
    (project.parent / "LICENSE").write_text("do what you like\n")
    (project / "src/demo_project/LICENSE").symlink_to("../../../LICENSE")
    (project / "src/demo_project/tool").symlink_to(project / "tool.sh")

    with tarfile.open(build(project, "sdist")) as archive:
        inside = {each.name.rpartition("/")[2]: each for each in archive.getmembers()}
        found = archive.extractfile(inside["LICENSE"])
        assert found is not None
        assert (found.read(), inside["LICENSE"].mode) == (b"do what you like\n", 0o644)

    assert (inside["tool"].isreg(), inside["tool"].mode) == (True, 0o755)


def test_a_lock_that_is_a_link_out_of_the_tree_is_in_the_sdist_as_a_file(project: Path) -> None:
    (project.parent / "pylock.toml").write_text(FOREIGN)
    (project / "pylock.toml").symlink_to("../pylock.toml")
    lay(project, PROJECT.replace('"tool.sh"]\n', '"tool.sh", "pylock.toml"]\n'))

    with tarfile.open(build(project, "sdist")) as archive:
        (found,) = (each for each in archive.getmembers() if each.name.endswith("/pylock.toml"))
        assert found.isreg()


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_building_writes_nothing_beside_the_source(project: Path, tmp_path: Path, kind: str) -> None:
    (project / "pylock.toml").write_text(FOREIGN)
    before = {path: path.is_file() and path.read_bytes() for path in project.rglob("*")}

    made = build(project, kind, tmp_path / "out")

    assert {path: path.is_file() and path.read_bytes() for path in project.rglob("*")} == before
    assert list((tmp_path / "out").iterdir()) == [made]


def test_a_record_is_of_what_is_in_the_wheel(project: Path) -> None:
    """hatchling notes a file's size before it reads it, so that one that grows meanwhile gets a wrong one."""
    wheel = build(project)
    rewritten = wheel.with_name("grown.whl")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(rewritten, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(entry, data + b"y = 2\n" if entry.filename.endswith("other.py") else data)

    distributions.settle_wheel(rewritten, {}, distributions.EPOCH)

    record(rewritten)


def test_envbuild_is_built_by_itself_from_its_folder_and_from_its_sdist_alike(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parent.parent
    with tarfile.open(build(root, "sdist", tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("envbuild-*/")

    one, other = build(root, out=tmp_path / "one"), build(unpacked, out=tmp_path / "other")

    assert one.read_bytes() == other.read_bytes()


# What cannot be packed


def lay_pipe(path: Path) -> None:
    os.mkfifo(path)


def lay_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, chdir(path.parent):
        # A socket's address has room for a short name only.
        made.bind(path.name)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("form", [PROJECT, HOOKED], ids=["backend", "hook"])
@pytest.mark.parametrize(
    ("lay_it", "said"),
    [
        (lay_pipe, "a named pipe, and only files can be packed"),
        (lay_socket, "a socket, and only files can be packed"),
        (lambda path: path.symlink_to("/dev/null"), "a device, and only files can be packed"),
        (lambda path: path.symlink_to("absent"), "a link to absent, which cannot be packed: No such file or directory"),
        (lambda path: path.symlink_to(path.name), "a link to odd, which cannot be packed: Too many levels"),
    ],
    ids=["pipe", "socket", "device", "nowhere", "circle"],
)
def test_what_is_no_file_is_refused_by_name_before_anything_is_read(
    project: Path, form: str, kind: str, lay_it: Callable[[Path], None], said: str
) -> None:
    lay(project, form)
    odd = project / "src/demo_project/odd"
    lay_it(odd)

    assert f"EnvbuildError: {odd}: {said}" in refused(project, kind)


def test_all_that_cannot_be_packed_is_told_at_once_wherever_the_settings_take_it_from(project: Path) -> None:
    lay(project, PROJECT.replace('"notes/extra.txt" = "demo_project/data/extra.txt"', '"notes" = "demo_project/data"'))
    lay_pipe(project / "notes/pipe")
    (project / "src/demo_project/nowhere").symlink_to("absent")

    told = refused(project)

    assert f"{project / 'notes/pipe'}: a named pipe" in told
    assert f"{project / 'src/demo_project/nowhere'}: a link to absent" in told


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_what_is_left_out_may_be_anything(project: Path, kind: str) -> None:
    lay(project, PROJECT.replace('exclude = ["', 'exclude = ["odd", "nowhere", "'))
    lay_pipe(project / "src/demo_project/odd")
    (project / "src/demo_project/nowhere").symlink_to("absent")

    assert build(project, kind).is_file()


@pytest.mark.parametrize("form", [PROJECT, HOOKED], ids=["backend", "hook"])
def test_what_another_hook_makes_is_looked_at_when_it_is_made(project: Path, form: str) -> None:
    (project / "hatch_build.py").write_text(
        "from pathlib import Path\n"
        "from hatchling.builders.hooks.plugin.interface import BuildHookInterface\n"
        "class Makes(BuildHookInterface):\n"
        "    def initialize(self, version, build_data):\n"
        "        Path(self.root, 'made.py').write_text('made = 1')\n"
        "        build_data['force_include']['more'] = 'demo_project/more'\n"
        "        Path(self.root, 'more').mkdir()\n"
    )
    (project / "src/demo_project/made.py").symlink_to("../../made.py")
    ours = "[tool.hatch.build.hooks.envbuild]\n"
    text = form.replace(ours, "") + "\n[tool.hatch.build.hooks.custom]\n" + (ours if ours in form else "")
    lay(project, text)

    with zipfile.ZipFile(build(project)) as wheel:
        assert wheel.read("demo_project/made.py") == b"made = 1"


def test_the_hook_leaves_to_later_hooks_what_is_not_there_yet(project: Path) -> None:
    """hatchling would not know what to ship, were it not for what the second hook makes."""
    (project / "hatch_build.py").write_text(
        "from pathlib import Path\n"
        "from hatchling.builders.hooks.plugin.interface import BuildHookInterface\n"
        "class Makes(BuildHookInterface):\n"
        "    def initialize(self, version, build_data):\n"
        "        Path(self.root, 'made.txt').write_text('made')\n"
        "        build_data['force_include']['made.txt'] = 'made.txt'\n"
    )
    hooks = "\n[tool.hatch.build.hooks.custom]\n"
    lay(project, HOOK + '\n[project]\nname = "demo-project"\nversion = "1.0"\n' + hooks)
    (project / "src").rename(project / "elsewhere")
    (project / "elsewhere/demo_project").rename(project / "elsewhere/another")

    with zipfile.ZipFile(build(project)) as wheel:
        assert wheel.read("made.txt") == b"made"


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

    assert "Name: Demo.Project\n" in (told / "METADATA").read_text(encoding="utf-8")
    assert ProjectBuilder(project).get_requires_for_build("wheel") == set()


def test_metadata_that_is_told_without_building_is_that_of_the_wheel(project: Path) -> None:
    from build import ProjectBuilder

    (project / "pylock.toml").write_text(FOREIGN)

    told = Path(ProjectBuilder(project).metadata_path(project / "told"))

    with zipfile.ZipFile(build(project)) as wheel:
        names = {str(path.relative_to(told)) for path in told.rglob("*") if path.is_file()}
        assert names == {"METADATA", sbom.LOCK, sbom.SBOM}
        for name in names:
            assert (told / name).read_bytes() == wheel.read(f"{INFO}/{name}")


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
    (project / "pylock.toml").write_text(FOREIGN)
    alone = build(project).read_bytes()
    lay(project, PROJECT + "\n[tool.hatch.build.hooks.envbuild]\n")

    made = build(project)

    record(made)
    assert made.read_bytes() == alone
    build(project, "sdist")


def test_backend_and_hook_together_tell_of_a_stale_lock_once(project: Path, locked: Lock) -> None:
    lay(project, PROJECT + "\n[tool.hatch.build.hooks.envbuild]\n")
    (project / "requirements.txt").write_text("iris\n")

    for kind in ("wheel", "sdist"):
        assert try_build(project, kind).stderr.count("warning:") == 1


def test_the_page_shows_what_is_tested_here() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs/backend.md").read_text(encoding="utf-8")

    for tested in (PROJECT.partition("\n[project]")[0], WISH + '"check"', HOOK):
        assert f"```toml\n{tested.strip()}\n```" in page


# Whose lock it is


WISH = "\n[tool.envbuild.build]\nlock = "


def test_a_lock_that_fits_is_built_with_in_silence(project: Path, locked: Lock) -> None:
    lay(project, PROJECT + WISH + '"require"\n')

    assert try_build(project).stderr == ""


@pytest.mark.parametrize("form", [PROJECT, HOOKED], ids=["backend", "hook"])
def test_a_stale_lock_is_told_of_with_what_it_lacks(project: Path, locked: Lock, form: str) -> None:
    lay(project, form)
    file = project / "requirements.txt"
    file.write_text(file.read_text().replace("helper", "helper>=99\niris\nonly-there; sys_platform == 'win32'"))

    done = try_build(project)

    (version,) = (each.version for each in locked.packages)
    assert done.returncode == 0
    assert "warning:" in done.stderr
    assert "requirements.txt has changed" in done.stderr
    assert f"helper>=99 is asked for, {version} is locked" in done.stderr
    assert "iris is not locked" in done.stderr
    assert "only-there" not in done.stderr
    assert "hint: run 'envbuild lock'" in done.stderr


def test_whether_the_lock_is_stale_does_not_show_in_the_wheel(project: Path, locked: Lock) -> None:
    fresh = build(project).read_bytes()
    (project / "requirements.txt").write_text("iris\n")
    quiet, told = build(project).read_bytes(), try_build(project).stderr

    assert "warning:" in told
    assert quiet == fresh


def test_files_besides_the_definition_count_too(project: Path, desk: Desk, index: Index) -> None:
    made = desk.at("bounded")
    (made.folder / "bounds.txt").write_text("helper<99\n")
    made.requirements("-c bounds.txt", "helper", index=index)
    made.lock()
    for name in ("pylock.toml", "requirements.txt", "bounds.txt"):
        (project / name).write_bytes((made.folder / name).read_bytes())
    assert try_build(project).stderr == ""

    (project / "bounds.txt").write_text("helper<98\n")

    assert "warning:" in try_build(project).stderr


def test_a_project_in_its_own_lock_is_told_which_requirement_is_new(project: Path) -> None:
    file = project / "pyproject.toml"
    lock = Lock(
        python="3.11.7",
        platform=Platform.here(),
        packages=(Package(name="demo-project", version=None, artifact=Artifact(kind="directory", path=".")),),
        made_from=lock_document(reading.read(file)).digest,
        definition="pyproject.toml",
        inputs={"pyproject.toml": str(Digest.of(file.read_bytes()))},
    )
    (project / "pylock.toml").write_text(lock.to_toml())
    assert try_build(project).stderr == ""

    lay(project, PROJECT.replace('version = "1.0"', 'version = "1.0"\ndependencies = ["helper"]'))

    said = try_build(project).stderr
    assert "pyproject.toml has changed; helper is not locked" in said


@pytest.mark.parametrize("text", [None, "not [ a definition"])
def test_a_definition_that_is_gone_or_wrong_is_told_of(project: Path, locked: Lock, text: str | None) -> None:
    file = project / "requirements.txt"
    file.unlink()
    if text is not None:
        file.write_text(text)

    said = try_build(project).stderr

    assert ("requirements.txt is not there any more" if text is None else "requirements.txt cannot be read") in said


def test_what_is_asked_for_and_not_locked_is_named(tmp_path: Path) -> None:
    here = {"platform": Platform.here(), "definition": "envbuild.yml", "made_from": Digest.of(b"another")}
    package = Package(
        name="demo", version="1.0", artifact=Artifact(kind="wheel", digest=Digest.of(b""), url="https://x/")
    )
    (tmp_path / "envbuild.yml").write_text(
        "python: '3.12'\npip: [demo<1, Helper, 'near>1; python_version > \"3\"', 'far @ https://far.test/far-1.zip']\n"
    )

    said = staleness.outdated(Lock(python="3.11.7", packages=(package,), **here), tmp_path)

    assert said == (
        "envbuild.yml has changed",
        "Python 3.12 is asked for, 3.11.7 is locked",
        "demo<1 is asked for, 1.0 is locked",
        "helper is not locked",
    )


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("form", [PROJECT, HOOKED], ids=["backend", "hook"])
def test_a_stale_lock_is_refused_on_request(project: Path, locked: Lock, form: str, kind: str) -> None:
    lay(project, form + WISH + '"check"\n')
    (project / "requirements.txt").write_text("iris\n")

    assert "LockOutdated" in refused(project, kind)


def test_who_requires_a_lock_gets_nothing_built_without(project: Path) -> None:
    lay(project, PROJECT + WISH + '"require"\n')

    for kind in ("wheel", "sdist"):
        assert "there is no pylock.toml" in refused(project, kind)

    lay(project, PROJECT + WISH + '"check"\n')
    build(project)


def test_an_editable_install_asks_nothing_of_the_lock(project: Path) -> None:
    """Else nobody could lock a project that is itself in its environment."""
    lay(project, PROJECT + WISH + '"require"\n')

    assert build(project, "editable").is_file()


def test_what_is_unpacked_from_an_sdist_is_not_compared(project: Path, locked: Lock, tmp_path: Path) -> None:
    lay(project, PROJECT + WISH + '"check"\n')
    with tarfile.open(build(project, "sdist")) as archive:
        assert "demo_project-1.0/requirements.txt" not in archive.getnames()
        archive.extractall(tmp_path / "unpacked", filter="data")

    done = try_build(tmp_path / "unpacked/demo_project-1.0")

    assert (done.returncode, done.stderr) == (0, "")


def test_a_setting_that_stands_with_the_hook_is_refused_rather_than_overlooked(project: Path) -> None:
    lay(
        project,
        HOOKED.replace("[tool.hatch.build.hooks.envbuild]\n", '[tool.hatch.build.hooks.envbuild]\nlock = "check"\n'),
    )

    assert "lock belongs under [tool.envbuild.build]" in refused(project)


def test_a_document_of_the_projects_own_stays(project: Path) -> None:
    (project / "pylock.toml").write_text(FOREIGN)
    (project / "own.spdx.json").write_text("{}")
    lay(project, PROJECT.replace("packages = [", 'sbom-files = ["own.spdx.json"]\npackages = ['))

    with zipfile.ZipFile(build(project)) as wheel:
        assert {f"{INFO}/sboms/own.spdx.json", f"{INFO}/{sbom.SBOM}", f"{INFO}/{sbom.LOCK}"} <= set(wheel.namelist())


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (WISH + '"chek"', ["one of warn, check, require, and not 'chek'; did you mean 'check'?"]),
        (WISH + "1", ["lock in [tool.envbuild.build] is one of warn, check, require, and not 1"]),
        (WISH + "[]", ["one of warn, check, require, and not []"]),
        (
            WISH + '"check"\nlok = 1',
            ["pyproject.toml: unknown key 'lok' in [tool.envbuild.build]; did you mean 'lock'?"],
        ),
        (WISH + "true\nother = 1", ["unknown key 'other' in [tool.envbuild.build]", "and not True"]),
        ("\n[tool.envbuild]\nbuild = 3", ["[tool.envbuild.build] is a table, and not 3"]),
        ("\n[tool]\nenvbuild = 'x'", ["[tool.envbuild] is a table, and not 'x'"]),
    ],
)
def test_a_setting_that_there_is_not_is_refused_with_what_was_found(
    project: Path, setting: str, said: list[str]
) -> None:
    (project / "pyproject.toml").write_text(PROJECT + setting + "\n", encoding="utf-8")

    with pytest.raises(DefinitionError) as caught:
        making.check(str(project))

    assert len(caught.value.problems) == len(said)
    for each in said:
        assert each in str(caught.value)


def test_a_setting_that_there_is_not_stops_the_build(project: Path) -> None:
    lay(project, PROJECT + WISH + '"chek"\n')

    assert "did you mean 'check'?" in refused(project)


def test_settings_of_the_backend_are_no_part_of_the_definition(project: Path) -> None:
    file = project / "pyproject.toml"
    before = lock_document(reading.read(file)).digest

    lay(project, PROJECT + WISH + '"check"\n')

    assert lock_document(reading.read(file)).digest == before


# What is refused


INDEX = "https://pypi.corp.test/simple"


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2@pypi.corp.test/simple",
        "https://hunter2@pypi.corp.test/simple",
        "https://conda.corp.test/t/tk-hunter2-0123456789/main",
        "https://files.corp.test/iris-1.2.zip?sv=1&sig=hunter2",
        "https://files.corp.test/iris-1.2.zip?X-Amz-Signature=hunter2",
        "--extra-index-url https://me:hunter2@pypi.corp.test/simple",
    ],
)
def test_a_lock_that_opens_something_is_refused(url: str) -> None:
    with pytest.raises(LockError, match="a user, a password or a token") as caught:
        sbom.sboms(FOREIGN.replace(INDEX, url).encode(), "demo", "1.0")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://me:${TOKEN}@pypi.corp.test/simple",
        "https://files.corp.test/packages/source/t/types-python-dateutil/simple",
        "https://files.corp.test/t/tqdm/simple",
        "https://files.corp.test/simple?sig=${TOKEN}",
        "https://files.corp.test/simple?design=2",
    ],
)
def test_a_lock_that_opens_nothing_is_taken_as_it_is(url: str) -> None:
    assert sbom.sboms(FOREIGN.replace(INDEX, url).encode(), "demo", "1.0")


def test_a_file_of_a_package_keeps_its_url() -> None:
    url = "https://pypi.corp.test/packages/source/t/tqdm/iris-1.2.tar.gz"
    made = sbom.sboms(FOREIGN.replace("https://pypi.corp.test/iris-1.2.tar.gz", url).encode(), "demo", "1.0")

    assert url in made[sbom.SBOM].decode()


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("form", [PROJECT, HOOKED], ids=["backend", "hook"])
def test_a_password_reaches_no_archive(project: Path, form: str, kind: str) -> None:
    lay(project, form)
    (project / "pylock.toml").write_text(FOREIGN.replace(INDEX, "https://me:hunter2@pypi.corp.test/simple"))

    said = refused(project, kind)

    assert "a user, a password or a token" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_lock_that_cannot_be_read_is_refused_before_anything_is_built(project: Path, kind: str) -> None:
    lock = project / "pylock.toml"
    lock.symlink_to("absent")
    assert "not a file, nor a link to one" in refused(project, kind)
    lock.unlink()

    lock.write_bytes(FOREIGN.replace("another-tool", "herr müller").encode("latin-1"))
    assert "not UTF-8" in refused(project, kind)

    lock.write_text(FOREIGN + "\n<<<<<<< ours\n")
    assert "not a valid lock file" in refused(project, kind)


def test_a_lock_with_a_byte_order_mark_is_refused_with_that(project: Path) -> None:
    """Most readers of TOML know none, and the lock would reach them in the wheel."""
    (project / "pylock.toml").write_text(FOREIGN.lstrip(), encoding="utf-8-sig")

    said = refused(project)

    assert "pylock.toml: begins with a byte order mark" in said
    assert "hint: save it as UTF-8 without one" in said


def test_a_lock_of_a_newer_version_is_told_of_once_and_by_name(project: Path) -> None:
    lock = project / "pylock.toml"
    lock.write_text(FOREIGN.replace('lock-version = "1.0"', 'lock-version = "1.9"'))

    done = try_build(project)

    assert done.returncode == 0
    assert done.stderr == f"warning: {lock}: lock-version is 1.9: what it has beyond 1.0 is not looked at\n"


def test_a_lock_that_breaks_while_hatchling_builds_leaves_no_wheel(project: Path) -> None:
    (project / "pylock.toml").write_text(FOREIGN)
    (project / "hatch_build.py").write_text(
        "from pathlib import Path\n"
        "from hatchling.builders.hooks.plugin.interface import BuildHookInterface\n"
        "class Breaks(BuildHookInterface):\n"
        "    def initialize(self, version, build_data):\n"
        "        Path(self.root, 'pylock.toml').write_text('no lock')\n"
    )
    lay(project, PROJECT + "\n[tool.hatch.build.hooks.custom]\n")

    assert "not a valid lock file" in refused(project)


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


GOOD: dict[str, Any] = {
    "metadata": {
        "component": {"name": "demo", "version": "1.0"},
        "properties": [{"name": "envbuild:environment", "value": "\x1b]0;owned\x07sha256:00"}],
    },
    "components": [{"name": "he\x1b[2Jlper\nx", "version": "1.0"}],
}


def claiming(file: Path, document: object, **others: bytes) -> Path:
    """A wheel that says of itself whatever it likes."""
    text = document if isinstance(document, str) else json.dumps(document)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"{INFO}/{sbom.SBOM}", text)
        for name, data in others.items():
            wheel.writestr(f"{INFO}/sboms/{name}.toml", data)
    return file


def test_a_wheel_does_not_command_the_terminal(desk: Desk, tmp_path: Path) -> None:
    shown = desk.envbuild("wheel", "show", claiming(tmp_path / "demo.whl", GOOD)).out

    assert "sha256:00" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_a_wheel_whose_lock_is_another_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="is not the lock that"):
        sbom.tested(claiming(tmp_path / "demo.whl", GOOD, pylock=FOREIGN.encode()))


def with_component(**members: object) -> dict[str, object]:
    return {**GOOD, "components": [GOOD["components"][0], members]}


def with_metadata(**members: object) -> dict[str, object]:
    return {**GOOD, "metadata": {**GOOD["metadata"], **members}}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("[]", ": the document is a list, and not an object"),
        ("null", ": the document is null, and not an object"),
        ("1", ": the document is a number, and not an object"),
        ("{", " is not JSON: Expecting property name enclosed in double quotes: line 1 column 2"),
        ("[" * 100_000, " has values within values within values"),
        ("1" * 5000, " has a number in it with more digits"),
        ("{}", ": metadata is not there"),
        ({"metadata": 1}, ": metadata is a number, and not an object"),
        (with_metadata(component=[]), ": metadata.component is a list, and not an object"),
        (with_metadata(component={"name": "x"}), ": metadata.component.version is not there"),
        (with_metadata(component={"name": True}), ": metadata.component.name is true or false, and not a text"),
        (with_metadata(properties={}), ": metadata.properties is an object, and not a list"),
        (with_metadata(properties=["x"]), r": metadata.properties[0] is a text, and not an object"),
        (with_metadata(properties=[{"name": "x", "value": 1.5}]), ": metadata.properties[0].value is a number, and"),
        ({**GOOD, "components": [1]}, ": components[0] is a number, and not an object"),
        (with_component(version="1"), ": components[1].name is not there"),
        (with_component(name="x", version=[]), ": components[1].version is a list, and not a text"),
    ],
)
def test_a_wheel_that_says_nonsense_is_damaged_and_the_place_is_named(
    tmp_path: Path, document: object, said: str
) -> None:
    with pytest.raises(Damaged, match=r"demo\.whl: not a wheel of envbuild's making: ") as caught:
        sbom.tested(claiming(tmp_path / "demo.whl", document))

    assert f": {INFO}/{sbom.SBOM}{said}" in str(caught.value)


@given(
    document=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["metadata", "component", "properties", "components", "name", "version", "value"]),
                inner,
            )
        ),
    )
)
def test_whatever_a_document_says_is_shown_or_refused_in_words_of_its_own(document: object) -> None:
    form = {**GOOD, **document} if isinstance(document, dict) else document

    said = ""
    try:
        sbom._tested(form)
    except ValueError as error:
        said = str(error)

    assert re.fullmatch(r"|(the document|[\w.\[\]]+) is (not there|[a-z ]+, and not [a-z ]+)", said)


def test_a_wheel_without_the_lock_that_it_speaks_of_is_damaged(project: Path, tmp_path: Path) -> None:
    (project / "pylock.toml").write_text(FOREIGN)
    whole, without = build(project), tmp_path / "without.whl"
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(without, "w") as new:
        for name in old.namelist():
            if name != f"{INFO}/{sbom.LOCK}":
                new.writestr(name, old.read(name))

    with pytest.raises(Damaged, match=r"is about a lock, .*/sboms/pylock\.toml, which is not in the wheel"):
        sbom.tested(without)


def test_what_is_no_file_is_told_as_what_it_is(desk: Desk, tmp_path: Path) -> None:
    assert f"{tmp_path} is a folder, and a wheel is a file" in desk.refused("wheel", "show", tmp_path).err
    assert "/dev/null is a device, a pipe or a socket" in desk.refused("wheel", "show", "/dev/null").err


def test_names_in_a_zip_do_not_command_the_terminal_either(tmp_path: Path) -> None:
    file = tmp_path / "demo.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(f"de\x1bmo.dist-info/{sbom.SBOM}", "[]")

    with pytest.raises(Damaged, match="is a list, and not an object") as caught:
        sbom.tested(file)

    assert "\x1b" not in str(caught.value)


@given(position=st.integers(min_value=0), value=st.integers(0, 255), cut=st.booleans())
def test_a_broken_wheel_is_damaged_or_says_nothing_and_no_more(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, cut: bool
) -> None:
    file = claiming(tmp_path_factory.getbasetemp() / "broken.whl", GOOD)
    data = bytearray(file.read_bytes())
    position %= len(data)
    data[position] = value
    file.write_bytes(data[:position] if cut else data)

    with suppress(Damaged, NotFound):
        sbom.tested(file)


def test_importing_the_backend_imports_nothing_heavy() -> None:
    program = "import sys, envbuild.backend; print(*sorted(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    plain = program.replace("envbuild.backend", "hatchling.build")
    before = subprocess.run([sys.executable, "-c", plain], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()) - set(before.stdout.split()) <= {"envbuild"}

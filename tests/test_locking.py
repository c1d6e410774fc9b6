"""Locking: what a lock holds, when it is stale, what moves and what stays."""

from __future__ import annotations

import datetime
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.pylock import Pylock
from support.desk import Desk, mentions
from support.index import Index, lay_out, serving
from support.packages import project, sdist, wheel
from support.shelf import DEMO, FANCY, HELPER, RAW

from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.lock import Artifact, Lock, LockRequest, Package, Resolution
from envbuild.platform import Platform
from envbuild.requirement import PipOptions
from envbuild_pip.answering import sized
from envbuild_pip.credentials import user_and_password

Git = Callable[..., str]
SECRET = "s3cr3t-t0ken"


def versions(lock: Lock) -> dict[str, str | None]:
    return {each.name: each.version for each in lock.packages}


# What is in a lock


def test_a_lock_is_valid_pep_751_with_a_hash_and_a_size_for_every_artifact(desk: Desk, index: Index) -> None:
    desk.requirements("demo[fancy]", "native", "raw", index=index)

    lock = desk.lock()

    Pylock.from_dict(desk.toml()).validate()
    assert versions(lock) == {"demo": "2.0", "fancy": "1.0", "helper": "1.1", "native": "1.0", "raw": "1.0"}
    for each in lock.packages:
        published = index.files[each.artifact.filename].made
        assert (each.artifact.digest.hex, each.artifact.size) == (published.sha256, len(published.data))
    assert Lock.parse(lock.to_toml()) == lock


def test_an_index_that_tells_no_sizes_is_asked_for_them_file_by_file(desk: Desk, index: Index) -> None:
    index.bare = True
    desk.requirements("demo", index=index)

    lock = desk.lock()

    assert {each.artifact.size for each in lock.packages} == {len(DEMO["2.0"].data), len(HELPER["1.1"].data)}


def test_another_installer_can_use_the_lock(desk: Desk, index: Index, tmp_path: Path) -> None:
    desk.requirements("demo", "native", index=index)
    desk.lock()

    target = tmp_path / "target"
    uv = [Path(sys.executable).parent / "uv", "pip", "install", "--quiet", "--preview-features=pylock"]
    subprocess.run(
        [*uv, f"--python={sys.executable}", f"--target={target}", "-r", "pylock.toml"],
        cwd=desk.folder,
        env={**desk.environment, "UV_NO_CONFIG": "1"},
        check=True,
    )

    assert {path.name for path in target.iterdir()} >= {"demo", "helper", "native"}


def test_locking_twice_gives_the_same_bytes(desk: Desk, index: Index) -> None:
    desk.requirements("demo", "native", "raw", index=index)
    desk.lock()
    first = (desk.folder / "pylock.toml").read_bytes()

    assert desk.envbuild("lock", "--json").json["changed"] is False
    (desk.folder / "pylock.toml").unlink()
    desk.elsewhere()
    desk.envbuild("lock")

    assert (desk.folder / "pylock.toml").read_bytes() == first


def test_an_empty_definition_has_a_lock_without_packages(desk: Desk) -> None:
    desk.write("envbuild.yml", "python: '>=3.11'\n")

    assert desk.lock().packages == ()


# When a lock is stale


def test_check_says_that_there_is_no_lock_then_that_it_fits_then_what_has_changed(desk: Desk, index: Index) -> None:
    desk.requirements("demo<2", index=index)
    assert "there is no lock" in desk.refused("lock", "--check").err

    desk.lock()
    before = (desk.folder / "pylock.toml").read_bytes()
    assert "up to date" in desk.envbuild("lock", "--check").out

    desk.requirements("demo<2", "fancy", index=index)
    assert "pip: added fancy" in desk.refused("lock", "--check").err
    assert desk.try_("lock", "--check", "--json").json == {"stale": True, "reasons": ["pip: added fancy"]}
    assert (desk.folder / "pylock.toml").read_bytes() == before


def test_variables_and_names_do_not_make_a_lock_stale(desk: Desk, index: Index) -> None:
    form = f"name: one\npip: [demo]\noptions: {{index_url: '{index.simple}'}}\n"
    desk.write("envbuild.yml", form)
    desk.lock()

    desk.write("envbuild.yml", form.replace("one", "two") + "variables: {MODE: fast}\nsecrets: [TOKEN]\n")

    desk.envbuild("lock", "--check")


def test_the_requirements_of_a_local_project_make_the_lock_stale(desk: Desk, index: Index) -> None:
    desk.lay(project("lib", "1.0"), "lib")
    desk.requirements("./lib", index=index)
    desk.lock()

    desk.lay(project("lib", "1.0", requires=["helper"]), "lib")

    assert "lib/pyproject.toml has changed" in desk.refused("lock", "--check").err
    assert set(versions(desk.lock())) == {"lib", "helper"}


def test_a_stale_lock_is_not_used_where_it_has_to_hold(desk: Desk, index: Index) -> None:
    desk.requirements("demo<2", index=index)
    desk.lock()
    desk.requirements("demo", index=index)

    assert "demo" in desk.refused("build", "--locked").err
    assert desk.left_behind() == []


def test_a_lock_that_was_damaged_is_named(desk: Desk, index: Index) -> None:
    desk.requirements("demo", index=index)
    desk.write("pylock.toml", '[tool.envbuild]\nlock-version = "one"\n')

    assert "pylock.toml" in desk.refused("lock").err


# What moves, and what stays


def test_a_day_cannot_be_kept_with_an_index_that_tells_no_times(desk: Desk, index: Index) -> None:
    index.bare = True
    desk.requirements("demo", index=index)

    said = desk.refused("lock", "--as-of", "2026-06-30").err
    assert "nothing satisfies the definition as of 2026-06-30" in said
    assert "the newest demo that is asked for is 2.0, and its index does not tell of which day it is" in said


def test_what_is_locked_stays_when_a_requirement_is_added(desk: Desk, index: Index) -> None:
    index.files.pop(DEMO["2.0"].filename)
    desk.requirements("demo", index=index)
    assert versions(desk.lock())["demo"] == "1.1"
    index.publish(DEMO["2.0"])

    desk.requirements("demo", "fancy", index=index)
    done = desk.envbuild("lock")

    assert versions(desk.read_lock()) == {"demo": "1.1", "fancy": "1.0", "helper": "1.1"}
    assert "+ fancy 1.0" in done.out
    assert "demo" not in done.out


def test_upgrade_moves_one_package_or_all(desk: Desk, index: Index) -> None:
    for newest in (DEMO["2.0"], HELPER["1.1"]):
        index.files.pop(newest.filename)
    desk.requirements("demo", index=index)
    desk.lock()
    index.publish(DEMO["2.0"], HELPER["1.1"])

    assert versions(desk.lock("--upgrade", "helper")) == {"demo": "1.1", "helper": "1.1"}
    assert versions(desk.lock("--upgrade")) == {"demo": "2.0", "helper": "1.1"}


def test_upgrading_a_package_that_is_not_locked_is_a_mistake(desk: Desk, index: Index) -> None:
    desk.requirements("demo", index=index)
    desk.lock()

    done = desk.refused("lock", "--upgrade", "demmo")

    assert "demmo" in done.err
    assert "did you mean 'demo'?" in done.err


def test_a_bound_in_the_definition_moves_what_it_forbids(desk: Desk, index: Index) -> None:
    desk.requirements("demo", index=index)
    desk.lock()

    desk.requirements("demo<2", index=index)

    assert versions(desk.lock()) == {"demo": "1.1", "helper": "1.1"}


def test_as_of_a_day_later_releases_do_not_count(desk: Desk, index: Index) -> None:
    desk.requirements("demo", index=index)

    assert versions(desk.lock("--as-of", "2025-06-30")) == {"demo": "1.1", "helper": "1.0"}
    assert versions(desk.lock("--as-of", "2024-06-30"))["demo"] == "1.0"
    # The day itself still counts, to its last second.
    assert versions(desk.lock("--upgrade", "--as-of", "2026-01-15"))["demo"] == "2.0"


def test_what_came_after_the_day_is_told_with_its_own_day(desk: Desk, index: Index) -> None:
    desk.requirements("demo>=1.1", index=index)

    said = desk.refused("lock", "--as-of", "2024-06-30").err

    assert "nothing satisfies the definition as of 2024-06-30" in said
    assert "the newest demo that is asked for is 2.0, of 2026-01-15" in said
    assert "hint: say a later day with --as-of" in said
    assert "exclude" not in said


def test_a_file_behind_upgrade_is_no_package(desk: Desk, index: Index) -> None:
    desk.requirements("demo", index=index)

    done = desk.try_("lock", "--upgrade", "requirements.txt")
    assert done.code == 2
    assert "hint: SPEC stands before it: envbuild lock requirements.txt --upgrade" in done.err


def test_the_day_stays_with_the_lock_until_everything_is_upgraded(desk: Desk, index: Index) -> None:
    desk.requirements("demo", index=index)
    desk.lock("--as-of", "2025-06-30")

    desk.requirements("demo", "up", index=index)
    said = desk.refused("lock").err
    assert "the newest helper that is asked for is 1.1, of 2026-01-15" in said
    assert "'envbuild lock --upgrade' forgets that of a lock" in said

    assert versions(desk.lock("--upgrade")) == {"demo": "2.0", "helper": "1.1", "up": "1.0"}


def test_a_definition_can_have_its_own_day(desk: Desk, index: Index) -> None:
    desk.write("envbuild.yml", f"pip: [demo]\nas_of: 2025-06-30\noptions: {{index_url: '{index.simple}'}}\n")

    assert versions(desk.lock())["demo"] == "1.1"


# Other machines


@pytest.mark.parametrize(
    ("platform", "python", "expected"),
    [
        ("linux-aarch64", "3.12", "native-1.0-cp312-cp312-manylinux_2_17_aarch64.whl"),
        ("macos-arm64", "3.13", "native-1.0-cp313-cp313-macosx_11_0_arm64.whl"),
        ("windows-x86_64", "3.11", "native-1.0-cp311-cp311-win_amd64.whl"),
    ],
)
def test_a_lock_for_another_machine_has_its_wheels_and_a_file_of_its_own(
    desk: Desk, index: Index, platform: str, python: str, expected: str
) -> None:
    desk.requirements("native", "fancy; sys_platform == 'win32'", index=index)
    desk.lock()
    main = (desk.folder / "pylock.toml").read_bytes()

    lock = desk.lock("--platform", platform, "--python", python)

    assert lock == desk.read_lock(f"pylock.{platform}.toml")
    assert str(lock.platform) == platform
    assert lock.python.startswith(python)
    assert lock.find("native").artifact.filename == expected
    assert (lock.find("fancy") is not None) == platform.startswith("windows")
    assert (desk.folder / "pylock.toml").read_bytes() == main


def test_a_lock_for_another_machine_never_takes_the_plain_name(desk: Desk, index: Index) -> None:
    desk.requirements("native", index=index)

    desk.lock("--platform", "linux-aarch64")

    assert [path.name for path in desk.folder.glob("pylock*")] == ["pylock.linux-aarch64.toml"]


def test_an_environment_for_another_machine_is_not_built_here(desk: Desk, index: Index) -> None:
    desk.requirements("native", index=index)
    desk.lock("--platform", "macos-arm64")
    foreign = desk.folder / "pylock.macos-arm64.toml"

    assert "macos-arm64" in desk.refused("build", foreign).err or "platform" in desk.refused("build", foreign).err
    assert desk.left_behind() == []


def test_the_same_definition_can_be_locked_for_another_python(
    desk: Desk, index: Index, interpreters: dict[str, Path], lacking: Callable[[str, str], None]
) -> None:
    if "3.12" not in interpreters:
        lacking("pythons", "no Python 3.12 found")
    desk.requirements("native", index=index)

    assert desk.lock("--python", "3.12").find("native").artifact.filename.startswith("native-1.0-cp312-")
    # It stays with that Python until it is asked to move.
    desk.requirements("native", "helper", index=index)
    assert desk.lock().python.startswith("3.12")


@pytest.mark.parametrize(
    ("python", "hint"),
    [
        ("3.4", "Python 3.8 is the oldest that environments may have"),
        (">=2.7,<3", "Python 3.8 is the oldest"),
        ("3.99", "'uv python install 3.99' does"),
        (f"{sys.version_info.major}.{sys.version_info.minor}.99", "ask for any"),
    ],
)
def test_no_python_that_fits_is_told_with_those_that_were_found(desk: Desk, python: str, hint: str) -> None:
    desk.write("envbuild.yml", f"python: '{python}'\npip: [demo]\n")

    done = desk.refused("lock")

    assert python in done.err
    assert f"{sys.version_info.major}.{sys.version_info.minor}." in done.err
    assert hint in done.err


# Source


def test_what_has_to_be_built_from_source_is_named(desk: Desk, index: Index) -> None:
    desk.requirements("raw", index=index)

    done = desk.envbuild("lock")

    assert "built from source: raw 1.0" in done.out
    assert desk.envbuild("lock", "--json").json["built_from_source"] == ["raw"]


def test_an_old_source_release_is_not_taken_because_no_wheel_fits(desk: Desk, index: Index) -> None:
    desk.requirements("trap", index=index)

    # Once it is bounded to releases without wheels, or none fits, uv alone would build it.
    done = desk.refused("lock")

    assert "trap" in done.err
    assert "--allow-source trap" in done.err
    assert not (desk.folder / "pylock.toml").exists()


def test_a_source_release_is_taken_where_it_is_said_to_be_right(desk: Desk, index: Index) -> None:
    desk.requirements("trap", index=index)

    lock = desk.lock("--allow-source", "trap")

    assert versions(lock) == {"trap": "0.9"}
    assert [each.name for each in lock.built_from_source] == ["trap"]
    # The lock says so from now on, and nobody has to repeat it.
    desk.requirements("trap", "fancy", index=index)
    assert versions(desk.lock()) == {"trap": "0.9", "fancy": "1.0"}


def test_a_bound_below_all_wheels_is_refused_with_the_way_out(desk: Desk, index: Index) -> None:
    index.publish(wheel("late", "2.0"), sdist("late", "0.9"))
    desk.requirements("late<1", index=index)

    done = desk.refused("lock")

    assert "late" in done.err
    assert "--allow-source late" in done.err
    assert versions(desk.lock("--allow-source", "late")) == {"late": "0.9"}


def test_no_binary_in_the_definition_is_permission_enough(desk: Desk, index: Index) -> None:
    index.publish(sdist("fancy", "1.0"))
    desk.requirements("--no-binary fancy", "fancy", "helper", index=index)

    assert [each.name for each in desk.lock().built_from_source] == ["fancy"]


# Direct references


def repository(desk: Desk, git: Git) -> Path:
    """A repository with a package in it."""
    folder = desk.root / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, git, "one = 1\n")
    return folder


def commit(folder: Path, git: Git, source: str) -> str:
    for path, content in project("vcs-demo", "1.0", source=source).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "a commit")
    return git(folder, "rev-parse", "HEAD")


def test_a_repository_is_locked_to_its_commit_and_stays_there_until_upgraded(
    desk: Desk, index: Index, git: Git
) -> None:
    folder = repository(desk, git)
    first = git(folder, "rev-parse", "HEAD")
    wanted = f"vcs-demo @ git+file://{folder}@main"
    desk.requirements(wanted, index=index)
    assert desk.lock().find("vcs-demo").artifact.revision == first
    assert desk.build().python("import vcs_demo; print(vcs_demo.one)") == "1"

    second = commit(folder, git, "one = 2\n")
    desk.requirements(wanted, "fancy", index=index)

    assert desk.lock().find("vcs-demo").artifact.revision == first
    assert desk.lock("--upgrade", "vcs-demo").find("vcs-demo").artifact.revision == second
    assert desk.build().python("import vcs_demo; print(vcs_demo.one)") == "2"


def test_a_repository_that_is_not_there_is_told_by_its_address(desk: Desk, git: Git) -> None:
    desk.requirements("demo @ git+file:///nowhere/repository")

    done = desk.refused("lock")

    assert "a repository could not be fetched" in done.err
    assert "/nowhere/repository" in done.err


def test_files_named_by_their_url_are_locked_by_their_bytes(desk: Desk, index: Index) -> None:
    desk.requirements(
        f"fancy @ {index.url}/files/{FANCY.filename}", f"raw @ {index.url}/files/{RAW.filename}", index=index
    )

    lock = desk.lock()

    assert lock.find("fancy").artifact.digest.hex == FANCY.sha256
    assert lock.find("raw").artifact.digest.hex == RAW.sha256
    assert {each.artifact.size for each in lock.packages} == {len(each.data) for each in (FANCY, RAW, HELPER["1.1"])}
    assert desk.build().python("import fancy, raw, helper; print(raw.__version__)") == "1.0"


def test_an_archive_on_this_machine_is_locked_by_its_bytes(desk: Desk, index: Index) -> None:
    desk.write(f"dist/{RAW.filename}", RAW.data)
    desk.requirements(f"./dist/{RAW.filename}", index=index)

    lock = desk.lock()

    assert lock.find("raw").artifact.path == f"dist/{RAW.filename}"
    assert (lock.find("raw").artifact.digest.hex, lock.find("raw").artifact.size) == (RAW.sha256, len(RAW.data))
    assert desk.build().python("import raw; print(raw.__version__)") == "1.0"


# Where packages come from


def test_a_link_folder_adds_to_the_index(desk: Desk, index: Index) -> None:
    linked = wheel("linked", "1.0")
    lay_out(desk.folder / "links", linked)
    desk.requirements("--find-links links", "linked", "fancy", index=index)

    lock = desk.lock()

    assert versions(lock) == {"linked": "1.0", "fancy": "1.0"}
    found = lock.find("linked").artifact
    assert (found.path, found.size, found.url) == (f"links/{linked.filename}", len(linked.data), None)


def test_an_extra_index_adds_to_the_first(desk: Desk, index: Index) -> None:
    with serving(Index()) as second:
        second.publish(wheel("inhouse", "3.0", requires=["helper"]))
        desk.requirements(f"--extra-index-url {second.simple}", "inhouse", index=index)

        lock = desk.lock()

    assert versions(lock) == {"inhouse": "3.0", "helper": "1.1"}
    assert lock.find("inhouse").artifact.url.startswith(second.url)
    assert lock.find("helper").artifact.url.startswith(index.url)


@pytest.mark.parametrize("variable", ["PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"])
def test_the_index_of_the_definition_replaces_that_of_the_machine(desk: Desk, index: Index, variable: str) -> None:
    desk.requirements("demo", "raw", index=index)

    with serving(Index()) as machines:
        desk.set(**{variable: machines.simple}).build()

    assert machines.asked == []


def test_without_index_only_the_link_folder_counts(desk: Desk, index: Index) -> None:
    lay_out(desk.folder / "links", DEMO["1.0"], HELPER["1.0"], RAW)
    desk.requirements("--no-index", "--find-links ./links", "demo", "raw")

    assert versions(desk.lock()) == {"demo": "1.0", "helper": "1.0", "raw": "1.0"}
    assert desk.build().python("import demo, raw; print(demo.__version__)") == "1.0"
    assert index.asked == []

    desk.requirements("--no-index", "--find-links ./links", "demo", "fancy")
    assert "fancy" in desk.refused("lock").err


def test_offline_works_with_what_is_cached_and_says_so_where_it_is_not(desk: Desk, index: Index) -> None:
    desk.requirements("demo", index=index)
    done = desk.refused("lock", "--offline")
    assert "--offline" in done.err

    desk.lock()
    desk.build()
    (desk.folder / "pylock.toml").unlink()
    index.asked.clear()

    desk.envbuild("lock", "--offline")
    assert desk.build("--offline").built is False
    assert index.asked == []
    desk.requirements("demo", "fancy", index=index)
    assert "fancy" in desk.refused("lock", "--offline").err


def test_offline_an_artifact_that_is_not_cached_is_named(desk: Desk, index: Index) -> None:
    desk.requirements("demo", index=index)
    desk.lock()

    done = desk.refused("build", "--offline")

    assert "demo" in done.err or "helper" in done.err
    assert "--offline" in done.err
    assert desk.left_behind() == []


# Credentials


def _inline(desk: Desk, index: Index) -> Desk:
    desk.write("requirements.txt", f"--index-url {index.with_password()}\ndemo\nraw\n")
    return desk


def _variable(desk: Desk, index: Index) -> Desk:
    desk.write("requirements.txt", f"--index-url {index.with_password('${INDEX_TOKEN}')}\ndemo\nraw\n")
    return desk.set(INDEX_TOKEN=SECRET)


def _extra(desk: Desk, index: Index) -> Desk:
    desk.write("requirements.txt", f"--extra-index-url {index.with_password('${INDEX_TOKEN}')}\ndemo\nraw\n")
    return desk.set(INDEX_TOKEN=SECRET)


def _full_form(desk: Desk, index: Index) -> Desk:
    desk.write("envbuild.yml", f"pip: [demo, raw]\noptions: {{index_url: '{index.with_password()}'}}\n")
    return desk


def _direct_inline(desk: Desk, index: Index) -> Desk:
    return _direct(desk, index, index.with_password())


def _direct_variable(desk: Desk, index: Index) -> Desk:
    return _direct(desk, index, index.with_password("${INDEX_TOKEN}")).set(INDEX_TOKEN=SECRET)


def _direct(desk: Desk, index: Index, simple: str) -> Desk:
    files = simple.replace("/simple", "/files")
    names = {"demo": DEMO["2.0"], "helper": HELPER["1.1"], "raw": RAW}
    lines = [f"{name} @ {files}/{made.filename}" for name, made in names.items()]
    desk.write("requirements.txt", "\n".join(["--no-index", *lines]) + "\n")
    return desk


def _netrc(desk: Desk, index: Index) -> Desk:
    desk.requirements("demo", "raw", index=index)
    netrc = desk.root / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    netrc.chmod(0o600)
    return desk.set(NETRC=str(netrc))


def _uv_index(desk: Desk, index: Index) -> Desk:
    desk.requirements("demo", "raw")
    return desk.set(UV_INDEX=f"corp={index.simple}", UV_INDEX_CORP_USERNAME="me", UV_INDEX_CORP_PASSWORD=SECRET)


def _uv_default_index(desk: Desk, index: Index) -> Desk:
    desk.requirements("demo", "raw")
    return desk.set(UV_DEFAULT_INDEX=index.with_password())


def _pip_index_url(desk: Desk, index: Index) -> Desk:
    desk.requirements("demo", "raw")
    return desk.set(PIP_INDEX_URL=index.with_password())


def _pip_extra_index_url(desk: Desk, index: Index) -> Desk:
    desk.requirements("demo", "raw")
    return desk.set(PIP_EXTRA_INDEX_URL=index.with_password())


@pytest.mark.parametrize(
    ("way", "bare"),
    [
        (_inline, False),
        (_variable, True),
        (_extra, False),
        (_full_form, True),
        (_direct_inline, False),
        (_direct_variable, False),
        (_netrc, True),
        (_uv_index, True),
        (_uv_default_index, True),
        (_pip_index_url, False),
        (_pip_extra_index_url, False),
    ],
    ids=lambda each: each.__name__.strip("_") if callable(each) else "bare" if each else "modern",
)
def test_credentials_open_the_index_and_are_written_nowhere(
    desk: Desk, index: Index, way: Callable[[Desk, Index], Desk], bare: bool
) -> None:
    index.password, index.bare = SECRET, bare
    desk = way(desk, index)

    said = desk.envbuild("lock").told
    lock = desk.read_lock("pylock.toml")
    done = desk.envbuild("build")
    said += done.told + desk.envbuild("why").told + desk.envbuild("env", "register", "--name", "private").told
    said += desk.envbuild("env", "show", "private").told

    assert versions(lock) == {"demo": "2.0", "helper": "1.1", "raw": "1.0"}
    assert all(each.artifact.size for each in lock.packages)
    assert SECRET not in said
    assert mentions(Path(desk.variables["ENVBUILD_WORKSPACE"]), SECRET) == []
    assert mentions(desk.folder, SECRET) in ([], ["requirements.txt"], ["envbuild.yml"])


def _entries(desk: Desk, *hosts: str) -> Desk:
    """A desk with credentials for hosts, of which nobody can say by what way they are to be sent."""
    netrc = desk.root / "netrc"
    netrc.write_text("".join(f"machine {host} login me password {SECRET}\n" for host in hosts))
    netrc.chmod(0o600)
    return desk.set(NETRC=str(netrc))


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://host.test/a.whl", True),
        ("https://host.test:8443/a.whl", True),
        ("http://host.test/a.whl", False),
        ("http://127.0.0.1:8080/a.whl", True),
        ("http://127.evil.test/a.whl", False),
        ("https://other.test/a.whl", False),
    ],
)
def test_what_netrc_has_goes_to_its_host_alone_and_never_in_plain_text_over_a_network(
    desk: Desk, url: str, sent: bool
) -> None:
    variables = _entries(desk, "host.test", "127.0.0.1", "127.evil.test").variables

    assert user_and_password(url, Definition(), variables) == (f"me:{SECRET}" if sent else None)


def test_a_netrc_that_cannot_be_read_opens_nothing(desk: Desk) -> None:
    variables = _entries(desk, "host.test").variables
    for content in (b"machine host.test login \xff password x\n", b"machine", b"\0"):
        (desk.root / "netrc").write_bytes(content)
        assert user_and_password("https://host.test/a.whl", Definition(), variables) is None


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://host.test/simple/a.whl", True),
        ("https://HOST.test:443/a.whl", True),
        ("http://host.test/a.whl", False),
        ("https://host.test:8443/a.whl", False),
        ("https://host.test.evil.test/a.whl", False),
    ],
)
def test_what_a_definition_has_for_a_server_goes_to_no_other(url: str, sent: bool) -> None:
    definition = Definition(options=PipOptions(index_url=f"https://me:{SECRET}@host.test/simple"))

    assert (user_and_password(url, definition, {}) is not None) == sent


def test_a_server_that_leads_to_another_does_not_get_it_the_password(desk: Desk) -> None:
    heard: list[tuple[str, str | None]] = []

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            heard.append((self.path, self.headers.get("Authorization")))
            host, _, port = self.headers["Host"].partition(":")
            led = {"/first": f"http://{host}:{port}/second", "/second": f"http://localhost:{port}/third"}.get(self.path)
            self.send_response(302 if led else 200)
            self.send_header("Location", led or "")
            self.send_header("Content-Length", "7")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        artifact = Artifact(kind="wheel", url=f"http://127.0.0.1:{server.server_port}/first", digest=Digest.of(b""))
        package = Package(name="demo", version="1", artifact=artifact)
        request = LockRequest(scratch=Path(), store=Path(), variables=_entries(desk, "127.0.0.1").variables)
        (found,) = sized([package], Definition(), request)
        server.shutdown()

    assert found.artifact.size == 7
    assert [(path, said is not None) for path, said in heard] == [
        ("/first", True),
        ("/second", True),
        ("/third", False),
    ]


@pytest.mark.parametrize("way", [_inline, _variable, _uv_default_index], ids=lambda way: way.__name__.strip("_"))
def test_wrong_credentials_are_an_error_that_does_not_repeat_them(
    desk: Desk, index: Index, way: Callable[[Desk, Index], Desk]
) -> None:
    index.password = SECRET
    desk = way(desk, index)
    index.password = "another"

    done = desk.refused("lock")

    assert "401" in done.err or "nauthorized" in done.err
    assert SECRET not in done.told
    assert mentions(Path(desk.variables["ENVBUILD_WORKSPACE"]), SECRET) == []


# Hashes, constraints, markers


def test_a_hash_that_the_definition_gives_has_to_be_that_of_the_artifact(desk: Desk, index: Index) -> None:
    right, wrong = f"--hash=sha256:{HELPER['1.1'].sha256}", f"--hash=sha256:{'0' * 64}"
    desk.requirements(f"helper==1.1 {right} {wrong}", index=index)
    desk.lock()

    desk.requirements(f"helper==1.1 {wrong}", index=index)
    done = desk.refused("lock")

    assert "helper 1.1" in done.err
    assert HELPER["1.1"].sha256 in done.err


def test_a_hash_of_another_file_than_the_one_that_fits_best_is_not_enough(desk: Desk, index: Index) -> None:
    source = sdist("helper", "1.1")
    index.publish(source)
    desk.requirements(f"helper==1.1 --hash=sha256:{source.sha256}", index=index)

    assert "--hash" in desk.refused("lock").err


def test_required_hashes_are_required_of_every_package(desk: Desk, index: Index) -> None:
    demo = f"demo==2.0 --hash=sha256:{DEMO['2.0'].sha256}"
    desk.requirements("--require-hashes", demo, index=index)
    assert "helper 1.1" in desk.refused("lock").err

    desk.requirements("--require-hashes", demo, f"helper==1.1 --hash=sha256:{HELPER['1.1'].sha256}", index=index)
    desk.lock()


def test_constraints_bound_without_asking(desk: Desk, index: Index) -> None:
    desk.write("constraints.txt", "helper<1.1\nfancy==9\n")
    desk.requirements("-c constraints.txt", "demo", index=index)

    assert versions(desk.lock()) == {"demo": "2.0", "helper": "1.0"}


def test_markers_and_extras_are_those_of_the_environment(desk: Desk, index: Index) -> None:
    desk.requirements("demo[fancy]==2.0; python_version >= '3'", "up; sys_platform == 'win32'", index=index)

    assert set(versions(desk.lock())) == {"demo", "helper", "fancy"}


# What cannot be had


def test_what_cannot_be_had_together_is_told_by_name(desk: Desk, index: Index) -> None:
    desk.requirements("up", "down", index=index)

    done = desk.refused("lock")

    assert all(name in done.err for name in ("up", "down", "helper"))
    assert not (desk.folder / "pylock.toml").exists()


def test_a_package_that_no_index_has_is_told_by_name(desk: Desk, index: Index) -> None:
    desk.requirements("nosuchpackage", index=index)

    assert "nosuchpackage" in desk.refused("lock").err


def test_an_index_that_is_not_there_is_told_by_its_address(desk: Desk) -> None:
    desk.requirements("--index-url http://127.0.0.1:9/simple", "demo")

    done = desk.refused("lock")

    assert "127.0.0.1:9" in done.err
    assert "network" in done.err


def test_an_index_that_dies_while_it_answers_is_an_error_and_no_lock(desk: Desk, index: Index) -> None:
    index.dying = {"demo", ""}
    desk.requirements("demo", index=index)

    desk.refused("lock")
    assert not (desk.folder / "pylock.toml").exists()

    index.dying = set()
    desk.lock()


# Every Python


def test_each_python_gets_an_environment_that_works(desk: Desk, index: Index, interpreter: Path) -> None:
    version = interpreter.name.removeprefix("python")
    desk.write("envbuild.yml", f"python: '{version}'\npip: [demo, raw]\noptions: {{index_url: '{index.simple}'}}\n")

    prefix = desk.build()

    told = prefix.python("import sys, demo, raw; print(*sys.version_info[:2], demo.__version__, raw.__version__)")
    assert told == f"{version.replace('.', ' ')} 2.0 1.0"
    assert prefix.run("demo") == "demo 2.0"


def test_a_package_of_pypi_is_locked_and_built(desk: Desk, lacking: Callable[[str, str], None]) -> None:
    desk.requirements("six==1.17.0")
    done = desk.try_("lock")
    if done.code and "could not be reached" in done.err:
        lacking("network", "PyPI cannot be reached")

    assert desk.build().python("import six; print(six.__version__)") == "1.17.0"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('version = "1.0"', 'version = "1.1"'),
        ("lock-version = 1\n", "lock-version = 0\n"),
        ("lock-version = 1\n", "lock-version = true\n"),
        ("packages-digest", "x-packages-digest"),
    ],
)
def test_a_lock_that_was_edited_by_hand_is_refused(desk: Desk, index: Index, before: str, after: str) -> None:
    desk.requirements("demo==1.0", index=index)
    desk.envbuild("lock")
    lock = desk.folder / "pylock.toml"
    text = lock.read_text()
    assert before in text
    lock.write_text(text.replace(before, after))

    for words in (["lock", "--check"], ["build"]):
        done = desk.try_(*words)
        assert done.code == 1
        assert "restore it from version control" in done.err


def test_a_lock_that_does_not_say_what_it_was_made_from_is_stale(desk: Desk, index: Index) -> None:
    desk.requirements("demo==1.0", index=index)
    desk.envbuild("lock")
    lock = desk.folder / "pylock.toml"
    lock.write_text("".join(line for line in lock.read_text().splitlines(True) if not line.startswith("made-from")))

    assert desk.try_("lock", "--check").code == 1


def test_a_token_in_a_url_is_refused_before_it_is_locked(desk: Desk) -> None:
    desk.write("requirements.txt", "demo @ http://127.0.0.1:9/demo-1.0-py3-none-any.whl?token=hunter2\n")

    done = desk.try_("lock")

    assert done.code == 1
    assert "${NAME}" in done.err
    assert "hunter2" not in done.err


def test_a_line_of_blanks_and_deep_nesting_are_read_in_no_time(desk: Desk) -> None:
    desk.write("requirements.txt", "demo" + " " * 200_000 + "x\n")
    assert desk.try_("lock").code == 1

    (desk.folder / "pylock.toml").unlink(missing_ok=True)
    desk.write("deep.toml", "a = " + "[" * 5000 + "]" * 5000 + "\n")
    desk.write("pylock.deep.toml", "a = " + "[" * 5000 + "]" * 5000 + "\n")
    done = desk.try_("lock", "pylock.deep.toml")
    assert done.code == 1
    assert "Traceback" not in done.err


TEXTS = st.text(st.sampled_from("aé/%?#=&. \"'\n"), min_size=1, max_size=8)
PLACES = st.builds("https://host.test/{}".format, TEXTS)
DIGESTS = st.builds(Digest.of, st.binary(max_size=2))
ARTIFACTS = st.builds(
    Artifact,
    kind=st.sampled_from(["wheel", "sdist", "archive", "directory", "vcs", "installed"]),
    url=st.none() | PLACES,
    path=st.none() | TEXTS,
    digest=DIGESTS,
    size=st.none() | st.integers(0, 10**12),
    filename=st.none() | TEXTS,
    editable=st.booleans(),
    revision=TEXTS,
    vcs=st.none() | TEXTS,
    requested_revision=st.none() | TEXTS,
    subdirectory=st.none() | TEXTS,
    upload_time=st.none() | st.datetimes(timezones=st.just(datetime.UTC)),
)


@given(ARTIFACTS, st.dictionaries(TEXTS, TEXTS | st.just(""), max_size=2), st.none() | TEXTS, st.none() | TEXTS)
def test_whatever_can_be_pinned_is_read_as_it_was_written(
    artifact: Artifact, details: dict[str, str], version: str | None, more: str | None
) -> None:
    found = Package(name="x", version=version, kind="fowl", artifact=artifact, details=details, marker=more, index=more)
    resolution = Resolution(request=LockRequest(scratch=Path(), store=Path()))
    resolution.add(found)
    lock = Lock(python="3.11.7", platform=Platform.here(), packages=resolution.packages)

    assert Lock.parse(lock.to_toml()) == lock

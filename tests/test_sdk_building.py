"""Building environments through the SDK: in the background or not, with a log, and with an error where it fails."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.index import Index

from envbuild import layout
from envbuild.errors import EnvbuildError
from envbuild.sdk import building
from envbuild.sdk.environment import Environment, ImageBuildDetails
from envbuild.sdk.exceptions import ActivityFailedException, UserErrorException
from envbuild.sdk.image import Image


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default workspace of each test, its own."""
    monkeypatch.setenv("ENVBUILD_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    return tmp_path / "workspace"


def asking(index: Index, *packages: str, name: str = "tools") -> Environment:
    made = Environment(name)
    made.python.conda_dependencies.set_pip_option(f"--index-url {index.simple}")
    for package in packages:
        made.python.conda_dependencies.add_pip_package(package)
    return made


def log_of(details: ImageBuildDetails) -> Path:
    return Path(urlsplit(details.log_url).path)


def test_a_build_goes_on_in_the_background_and_streams_its_log(
    index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    details = asking(index, "demo").build()

    assert details.status in ("Queued", "Running", "Succeeded")
    assert details.wait_for_completion(show_output=True) is details
    assert details.status == "Succeeded"
    shown = capsys.readouterr().out
    assert "Resolving 1 requirement of tools" in shown
    assert shown == details.get_log() == log_of(details).read_text()
    assert details.id in shown
    assert details.path is not None
    done = subprocess.run([details.path / "bin/python", "-c", "import demo"], check=True)
    assert done.returncode == 0


def test_what_is_built_is_registered_and_named_on_the_details(index: Index) -> None:
    details = asking(index, "demo").build().wait_for_completion(show_output=False)

    assert details.environment == Environment.get(name="tools")
    assert details.environment.version == "1"
    assert details.environment.id == details.id
    found = details.environment.get_image_details()
    assert found.image_exist is True
    assert found["id"] == found.id == details.id
    assert found.environment_path == str(details.path)
    assert found.interpreter_path == str(details.path / "bin/python")
    assert found.lock_digest is not None
    assert found.lock_digest.startswith("sha256:")
    assert found.repository is found.registry is found.image is found.dockerfile is None
    assert "reused because" in details.environment.explain()


def test_a_build_that_fails_raises_with_the_reason_and_the_hint(
    index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    details = asking(index, "nowhere-to-be-found").build()

    with pytest.raises(ActivityFailedException, match="nowhere-to-be-found") as failed:
        details.wait_for_completion(show_output=True)

    assert details.status == "Failed"
    assert isinstance(failed.value.__cause__, EnvbuildError)
    assert failed.value.hint
    assert "error: " in capsys.readouterr().out
    assert "nowhere-to-be-found" in details.get_log()
    assert (details.id, details.path) == (None, None)
    with pytest.raises(ActivityFailedException):
        details.wait_for_completion(show_output=False)


def test_a_section_without_a_plugin_is_said_with_the_extra_to_install(index: Index) -> None:
    made = asking(index, "demo")
    made.docker.enabled = True

    with pytest.raises(ActivityFailedException, match="docker") as failed:
        made.build().wait_for_completion(show_output=False)
    assert "envbuild[docker]" in failed.value.hint


def test_an_error_that_nobody_expected_is_told_to_whoever_waits(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("the disk has melted")

    monkeypatch.setattr(building, "_prepared", breaks)

    details = asking(index, "demo").build()

    with pytest.raises(ActivityFailedException, match="RuntimeError: the disk has melted"):
        details.wait_for_completion(show_output=False)
    assert "Traceback" in details.get_log()


def test_several_builds_at_once_build_one_environment_once(index: Index) -> None:
    started = [asking(index, "demo").build() for _ in range(4)]
    started.append(asking(index, "helper", name="others").build())

    ended = [each.wait_for_completion(show_output=False) for each in started]

    assert [each.built for each in ended[:4]].count(True) == 1
    assert len({each.id for each in ended[:4]}) == 1
    assert ended[4].id != ended[0].id
    assert len({each.log_url for each in ended}) == 5


def test_waiting_in_several_threads_ends_in_all_of_them(index: Index) -> None:
    details = asking(index, "demo").build()
    ended: list[str] = []

    def wait() -> None:
        ended.append(details.wait_for_completion(show_output=False).status)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)

    assert ended == ["Succeeded"] * 3


def test_the_program_does_not_end_before_its_builds(index: Index, workspace: Path) -> None:
    code = (
        "from envbuild.sdk import Environment\n"
        "made = Environment('tools')\n"
        f"made.python.conda_dependencies.set_pip_option('--index-url {index.simple}')\n"
        "made.python.conda_dependencies.add_pip_package('demo')\n"
        "made.build()\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

    assert Environment.get(name="tools").get_image_details().image_exist


def test_building_while_the_caller_waits_shows_the_log(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    details = asking(index, "demo").build_local()

    assert details.status == "Succeeded"
    assert capsys.readouterr().out == details.get_log()
    with pytest.raises(ActivityFailedException):
        asking(index, "nowhere-to-be-found").build_local()


def test_building_locally_takes_what_azure_takes_as_far_as_it_means_something(index: Index) -> None:
    made = asking(index, "demo")

    made.build_local(useDocker=False, pushImageToWorkspaceAcr=False)
    for wrong in ({"useDocker": True}, {"use_docker": True}, {"platform": "Linux"}):
        with pytest.raises(UserErrorException):
            made.build_local(**wrong)  # type: ignore[arg-type]


def test_a_version_stays_what_it_was_first_built_to(index: Index) -> None:
    made = asking(index, "demo")
    first = made.build().wait_for_completion(show_output=False)
    index.files = {name: each for name, each in index.files.items() if not name.startswith("demo-2")}

    again = made.build().wait_for_completion(show_output=False)

    assert (again.id, again.built) == (first.id, False)


def test_a_password_is_used_and_written_nowhere(index: Index, workspace: Path) -> None:
    index.password = "hunter2"
    made = Environment("tools")
    made.python.conda_dependencies.set_pip_option(f"--index-url {index.with_password()}")
    made.python.conda_dependencies.add_pip_package("demo")

    details = made.build().wait_for_completion(show_output=False)
    made.python.conda_dependencies.add_pip_package("nowhere-to-be-found")
    with pytest.raises(ActivityFailedException) as failed:
        made.build().wait_for_completion(show_output=False)

    assert details.built
    assert "hunter2" not in str(failed.value)
    assert not [each for each in workspace.rglob("*") if each.is_file() and b"hunter2" in each.read_bytes()]


def test_only_so_many_logs_are_kept(index: Index, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_KEPT", 2)

    logs = [log_of(asking(index, "demo").build_local()) for _ in range(3)]
    assert all(each.exists() for each in logs), "what is young stays in any case"
    monkeypatch.setattr(building, "_YOUNG", -1.0)
    logs.append(log_of(asking(index, "demo").build_local()))

    assert sorted((workspace / layout.BUILDS).iterdir()) == logs[2:]


def test_an_image_of_a_model_says_what_took_its_place() -> None:
    with pytest.raises(UserErrorException) as refused:
        Image("workspace", name="x")
    assert "Environment.build" in refused.value.message


def test_a_forced_build_mends_what_is_not_as_it_was_installed(index: Index) -> None:
    environment = asking(index, "demo")
    first = environment.build().wait_for_completion(show_output=False)
    assert first.path is not None
    (module,) = first.path.glob("lib/python3*/site-packages/demo*/__init__.py")
    installed = module.read_bytes()
    # Its files are shared with uv's cache: this one is another from here on.
    module.unlink()
    module.write_bytes(b"raise SystemExit('edited')\n")

    again = environment.build(force=True).wait_for_completion(show_output=False)

    assert (again.id, module.read_bytes()) == (first.id, installed)
    assert "its files are healed" in again.get_log()
    assert "all as they were installed" in environment.build(force=True).wait_for_completion().get_log()

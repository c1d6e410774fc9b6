"""Conda environments where things go wrong: damaged packages, clashes, no network, processes that are killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from support.channel import Channel, serving
from support.conda_definition import asks
from support.conda_packages import package
from support.desk import Desk
from support.index import Index

from envbuild import Definition, LockRequest, Platform, Resolution
from envbuild_conda import engine, plugin
from envbuild_conda.seen import Seen, facts


@pytest.fixture
def own(channel: Channel, channels: Callable[[str], Channel]) -> Channel:
    """A channel that a test may do harm to, with a Python and one package."""
    made = channels("own")
    made.put(*channel.find("python"))
    made.add("plain", files={"share/plain.txt": "plain\n"})
    made.index()
    return made


def test_a_damaged_package_is_refused_wherever_it_comes_from(desk: Desk, own: Channel) -> None:
    (plain,) = own.find("plain")
    asks(desk, own.url, "python=3.11", "plain")
    desk.lock()
    own.damage(plain)
    assert "plain-1.0-0.conda" in desk.refused("build").err

    with serving(own) as server:
        asks(desk, server.url, "python=3.11", "plain")
        desk.lock()
        assert "plain" in desk.refused("build").err
    assert desk.left_behind() == []


def test_another_package_in_the_place_of_the_locked_one_is_refused(desk: Desk, own: Channel) -> None:
    (plain,) = own.find("plain")
    asks(desk, own.url, "python=3.11", "plain")
    desk.lock()
    own.smuggle(package("plain", "1.0", subdir=plain.subdir, files={"share/plain.txt": "smuggled\n"}))

    complaint = desk.refused("build").err

    assert "not the one that was locked" in complaint
    assert plain.sha256 in complaint


def test_a_package_that_has_gone_is_named(desk: Desk, own: Channel) -> None:
    (plain,) = own.find("plain")
    asks(desk, own.url, "python=3.11", "plain")
    desk.lock()
    own.file(plain).unlink()
    assert "plain-1.0-0.conda is not there any more" in desk.refused("build").err


def test_a_lock_edited_by_hand_is_refused(desk: Desk, own: Channel) -> None:
    asks(desk, own.url, "python=3.11", "plain")
    desk.lock()
    lock = desk.folder / "pylock.toml"
    lock.write_text(lock.read_text().replace('build = "0"', 'build = "1"'))
    assert "edited by hand" in desk.refused("build", "--locked").err


def test_what_is_cached_is_installed_without_the_network(desk: Desk, channel: Channel) -> None:
    with serving(channel) as server:
        asks(desk, server.url, "python=3.11", "almanac")
        desk.lock()
        assert "not everything is cached" in desk.refused("build", "--offline").err
        first = desk.build()
        fetched = server.downloads()
    another = replace(desk, variables={**desk.variables, "ENVBUILD_WORKSPACE": str(desk.root / "another")})

    again = another.build("--offline")

    assert again.id == first.id
    assert again.built
    assert len(fetched) == len(set(fetched)) == 3


def test_an_edited_cache_is_not_trusted(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac")
    first = desk.build()
    (first.path / "lib/python3.11/site-packages/almanac/__init__.py").write_text("edited = True\n")
    another = replace(desk, variables={**desk.variables, "ENVBUILD_WORKSPACE": str(desk.root / "another")})

    again = another.build()

    assert again.python("import almanac; print(almanac.__version__)") == "2.0"


def test_an_edit_that_hides_itself_is_found_by_those_who_read_everything(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac")
    module = desk.build().path / "lib/python3.11/site-packages/almanac/__init__.py"
    before = module.stat()
    module.write_bytes(module.read_bytes().replace(b"2.0", b"9.9"))
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
    another = replace(desk, variables={**desk.variables, "ENVBUILD_WORKSPACE": str(desk.root / "another")})
    again = another.build()
    assert again.python("import almanac; print(almanac.__version__)") == "9.9"

    healed = another.envbuild("store", "verify").told

    assert "edited" in healed
    assert again.python("import almanac; print(almanac.__version__)") == "2.0"


@pytest.mark.parametrize(
    ("done", "is_noticed"),
    [
        (lambda file: file.write_text("Two"), True),
        (lambda file: file.replace(file.with_name("moved")), True),
        (lambda file: file.unlink(), True),
        (lambda file: file.chmod(0o755), True),
        (lambda file: file.with_name("more").write_text("more"), True),
        (lambda file: file.read_text(), False),
        (lambda file: os.link(file, file.parents[2] / "linked"), False),
    ],
)
def test_a_package_that_was_touched_is_not_known_any_more(tmp_path: Path, done: Callable, is_noticed: bool) -> None:
    file = tmp_path / "cache/demo-1.0-0/one"
    file.parent.mkdir(parents=True)
    file.write_text("one")
    os.utime(file, (0, 0))
    seen = Seen(tmp_path / "seen")
    assert not seen.knows(file.parent, facts(file.parent))
    seen.note(file.parent, facts(file.parent))
    assert seen.knows(file.parent, facts(file.parent))

    done(file)

    assert seen.knows(file.parent, facts(file.parent)) is not is_noticed


def test_a_file_that_conda_and_pip_both_bring_is_refused(desk: Desk, channel: Channel, index: Index) -> None:
    asks(desk, channel.url, "python=3.11", "squatter", pip=("fancy",), index=index)
    complaint = desk.refused("build").err
    assert "fancy 1.0 (pip) and squatter 1.0 (conda) both have" in complaint
    assert desk.left_behind() == []


def test_a_distribution_that_conda_has_under_another_name_is_refused(
    desk: Desk, channel: Channel, index: Index
) -> None:
    asks(desk, channel.url, "python=3.11", "py-fancy", pip=("fancy",), index=index)
    complaint = desk.refused("build").err
    assert "py-fancy 1.0 (conda)" in complaint
    assert "fancy 1.0" in complaint


def test_a_package_runs_nothing_while_it_is_installed(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "trigger")
    assert not (desk.build().path / "triggered").exists()


def test_two_processes_build_one_environment_once(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac")
    desk.lock()
    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(desk.try_, "build", "--json") for _ in range(2)]
    assert sorted(each.result().json["built"] for each in started) == [False, True]


def test_two_processes_fill_one_cache(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac")
    desk.lock()
    others = [desk, replace(desk, variables={**desk.variables, "ENVBUILD_WORKSPACE": str(desk.root / "another")})]
    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(each.try_, "build", "--json") for each in others]
    assert [each.result().code for each in started] == [0, 0], started[1].result().told


@pytest.mark.parametrize("moment", [0.1, 0.4, 0.7, 1.0, 1.3])
def test_a_build_that_is_killed_leaves_nothing_behind(desk: Desk, channel: Channel, moment: float) -> None:
    asks(desk, channel.url, "python=3.11", "almanac")
    desk.lock()
    building = desk.start("build")
    time.sleep(moment)
    building.kill()
    building.communicate()

    assert _ends_within(5, desk)
    assert desk.build().python("import almanac; print(almanac.__version__)") == "2.0"


def test_workers_end_with_whoever_started_them(desk: Desk, channel: Channel) -> None:
    with serving(channel) as server:
        asks(desk, server.url, "python=3.11", "almanac")
        server.dying = set()
        locking = desk.start("lock")
        deadline = time.monotonic() + 20
        while not _workers(desk) and time.monotonic() < deadline and locking.poll() is None:
            time.sleep(0.01)
        locking.send_signal(signal.SIGKILL)
        locking.communicate()
        assert _ends_within(5, desk)


@pytest.mark.parametrize("end", ["killed", "left alone"])
def test_a_worker_that_ended_while_it_waited_is_replaced(
    channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "RATTLER_CACHE_DIR": str(tmp_path / "cache")}
    monkeypatch.setattr(engine, "_PATIENCE", 60 if end == "killed" else 0.5)

    def resolve() -> str | None:
        request = LockRequest(scratch=tmp_path, store=tmp_path, variables=variables)
        resolution = Resolution(request=request)
        wanted = Definition(conda=("almanac",), channels=(channel.url,), python="3.11")
        plugin.resolve_dependencies(wanted, Platform.here(), resolution)
        return resolution.python

    first = resolve()
    if end == "killed":
        before = _children()
        assert resolve() == first
        assert _children() == before
        os.kill(before.pop(), signal.SIGKILL)
    else:
        time.sleep(1)
        assert _children() == set()
    assert resolve() == first


def _children() -> set[int]:
    """The workers of this process."""
    found = set()
    for each in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = f"PPid:\t{os.getpid()}\n" in (each / "status").read_text()
            if is_ours and b"envbuild_conda.worker" in (each / "cmdline").read_bytes():
                found.add(int(each.name))
        except OSError:
            continue
    return found


def _ends_within(seconds: float, desk: Desk) -> bool:
    deadline = time.monotonic() + seconds
    while _workers(desk) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _workers(desk)


def _workers(desk: Desk) -> list[int]:
    """The workers that run for this desk."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            is_worker = b"envbuild_conda.worker" in (each / "cmdline").read_bytes()
            is_ours = os.fsencode(desk.root) in (each / "environ").read_bytes()
        except OSError:
            continue
        if is_worker and is_ours:
            found.append(int(each.name))
    return found

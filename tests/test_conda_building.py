"""Conda environments: from an ``environment.yml`` to a prefix that runs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.channel import Channel
from support.conda_definition import asks
from support.conda_packages import PLACEHOLDER
from support.desk import Desk
from support.index import Index

from envbuild import Definition, EnvbuildError, LockRequest, Platform, Resolution
from envbuild_conda import plugin


def test_conda_packages_are_solved_built_and_run(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac", "rooted")
    desk.write("show.py", "import almanac, sys; print(almanac.__version__, sys.prefix)")

    done = desk.envbuild("run", "-e", "environment.yml", "show.py")
    prefix = desk.build("environment.yml")

    assert done.out.splitlines()[0] == f"2.0 {prefix.path}"
    assert prefix.run("rooted") == f"rooted in {prefix.path}"
    assert not prefix.built


def test_an_environment_names_nothing_of_where_it_was_made(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac", "rooted")
    prefix = desk.build("environment.yml")

    assert prefix.mentions(channel.folder, desk.root / "home", "/scratch/") == []


def test_one_lock_makes_the_same_files_on_another_machine(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac")
    here = desk.build("environment.yml")
    there = desk.elsewhere()
    for name in ("environment.yml", "pylock.toml"):
        there.write(name, (desk.folder / name).read_bytes())

    built = there.build("environment.yml")

    assert built.id == here.id
    assert files_of(built.path) == files_of(here.path)


def files_of(prefix: Path) -> dict[str, bytes]:
    """The files of a prefix, without what they have to say of its place."""
    found = {}
    for path in sorted(prefix.rglob("*")):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes().replace(os.fsencode(prefix), b"PREFIX")
            if path.parent.name == "conda-meta":
                content = re.sub(rb'"(sha256(_in_prefix)?|size_in_bytes)": "?\w+"?', b"", content)
            found[str(path.relative_to(prefix))] = content
    return found


def test_pip_installs_into_what_conda_made(desk: Desk, channel: Channel, index: Index) -> None:
    asks(desk, channel.url, "python=3.11", "helper=1.0", pip=("fancy",), index=index)
    prefix = desk.build("environment.yml")
    lock = desk.read_lock()

    assert [(each.kind, each.name) for each in lock.packages if each.name in ("helper", "fancy")] == [
        ("conda", "helper"),
        ("pip", "fancy"),
    ]
    assert prefix.python("import fancy, helper; print(fancy.__version__, helper.__version__)") == "1.0 1.0"
    assert desk.envbuild("env", "list").code == 0


def test_conda_meta_says_all_that_conda_wants_to_know(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac=1.1")
    prefix = desk.build("environment.yml")

    record = json.loads((prefix.path / "conda-meta/almanac-1.1-pyhd_0.json").read_text())

    assert record["name"] == "almanac"
    assert record["noarch"] == "python"
    assert "bin/almanac" in record["files"]
    assert {"url", "fn", "channel", "sha256", "md5", "size", "depends", "timestamp", "paths_data", "link"} <= set(
        record
    )
    assert (prefix.path / "conda-meta/history").is_file()


def test_verify_finds_what_was_edited_and_heals_it(desk: Desk, channel: Channel) -> None:
    asks(desk, channel.url, "python=3.11", "almanac", "rooted")
    prefix = desk.build("environment.yml")
    assert desk.envbuild("store", "verify", "--json").code == 0
    edited = prefix.path / "lib/python3.11/site-packages/almanac/__init__.py"
    edited.write_text("edited = True\n")  # in place, and so in rattler's cache too
    (prefix.path / "etc/rooted.conf").unlink()

    found = desk.try_("store", "verify", "--no-heal")
    healed = desk.envbuild("store", "verify")

    assert "edited" in found.told
    assert "healed" in healed.told, healed.told
    assert prefix.python("import almanac; print(almanac.__version__)") == "2.0"
    assert (prefix.path / "etc/rooted.conf").read_text().startswith(f"home = {prefix.path}")


def test_a_record_that_came_in_a_conda_package_vouches_for_nothing(
    desk: Desk, channel: Channel, channels: Callable[[str], Channel]
) -> None:
    own = channels("own")
    own.put(*channel.find("python"))
    site, info = "lib/python3.11/site-packages", "lib/python3.11/site-packages/stamped-1.0.dist-info"
    own.add(
        "stamped",
        depends=["python 3.11.*"],
        files={
            f"{site}/stamped.py": f"home = {PLACEHOLDER!r}\n",
            f"{info}/METADATA": "Metadata-Version: 2.1\nName: stamped\nVersion: 1.0\n",
            # As pip wrote it in the place where the package was made.
            f"{info}/RECORD": f"stamped.py,sha256={'A' * 43},1\nstamped-1.0.dist-info/RECORD,,\n",
        },
    )
    asks(desk, own.url, "python=3.11", "stamped")
    prefix = desk.build()

    assert prefix.python("import stamped; print(stamped.home)") == str(prefix.path)
    (checked,) = [each for each in desk.envbuild("store", "verify", "--no-heal", "--json").json if each["tree"]]
    assert checked["state"] == "intact", checked


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plugin, "_has_engine", lambda: False)
    request = LockRequest(scratch=tmp_path, store=tmp_path)

    with pytest.raises(EnvbuildError) as raised:
        plugin.resolve_dependencies(Definition(conda=("numpy",)), Platform.here(), Resolution(request=request))

    assert "envbuild[conda]" in raised.value.hint
    assert plugin.resolve_dependencies(Definition(), Platform.here(), Resolution(request=request)) is None

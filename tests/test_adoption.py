"""Conda environments of this machine, whoever made them, described in a definition's file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from support.channel import Channel
from support.desk import Desk

FORGE = "https://conda.anaconda.org/conda-forge"


def lay(prefix: Path, *records: Mapping[str, Any], history: str = "") -> Path:
    """An environment as conda, mamba and pixi leave it."""
    meta = prefix / "conda-meta"
    meta.mkdir(parents=True)
    for each in records:
        whole = {"version": "1.0", "build": "0", "subdir": "linux-64", "channel": FORGE, "files": [], **each}
        (meta / f"{whole['name']}-{whole['version']}-{whole['build']}.json").write_text(json.dumps(whole))
    (meta / "history").write_text(history)
    return prefix


PYTHON = {"name": "python", "version": "3.11.7", "requested_spec": "python 3.11.*", "depends": ["__glibc >=2.17"]}
LIBGCC = {"name": "libgcc-ng", "version": "13.2.0", "requested_spec": "None"}


def described(desk: Desk, *words: str) -> dict[str, Any]:
    desk.envbuild("env", "import", "--from-conda", *words, "-o", "found.yml")
    form: dict[str, Any] = yaml.safe_load((desk.folder / "found.yml").read_text())
    (desk.folder / "found.yml").unlink()
    return form


def test_an_environment_of_pixis_is_found_from_within_its_project(desk: Desk) -> None:
    prefix = lay(desk.folder / ".pixi/envs/default", PYTHON, LIBGCC)
    lay(desk.root / "another/.pixi/envs/default", LIBGCC)
    home = desk.root / "home/.conda"
    home.mkdir()
    (home / "environments.txt").write_text(f"{desk.root / 'another/.pixi/envs/default'}\n")
    below = desk.at("project/src")

    for where, named in ((desk, "default"), (below, "default"), (desk, "."), (desk, str(prefix))):
        found = described(where, named)
        assert found["channels"] == ["conda-forge"]
        assert found["dependencies"] == ["libgcc-ng=13.2.0", "python=3.11.7"]
    assert described(desk, "default", "--history-only")["dependencies"] == ["python 3.11.*"]


def test_environments_are_found_where_mamba_and_the_settings_have_them(desk: Desk) -> None:
    lay(desk.root / "home/.local/share/mamba/envs/mine", PYTHON, history='# update specs: ["python=3.11"]\n')
    lay(desk.root / "aside/yours", PYTHON)
    (desk.root / "home/.condarc").write_text(f"envs_dirs:\n  - {desk.root / 'aside'}\n")

    assert described(desk, "mine", "--history-only", "--name", "taken") == {
        "name": "taken",
        "channels": ["conda-forge"],
        "dependencies": ["python=3.11"],
    }
    assert described(desk, "yours")["name"] == "yours"
    assert "did you mean 'yours'" in desk.refused("env", "import", "--from-conda", "your").err


def test_a_history_with_the_name_of_a_folder_that_is_no_unicode_is_read(desk: Desk) -> None:
    prefix = lay(desk.folder / "env", PYTHON)
    (prefix / "conda-meta/history").write_bytes(b'# cmd: conda create -p /h\xe9/env\n# update specs: ["python=3.11"]\n')

    assert described(desk, str(prefix), "--history-only")["dependencies"] == ["python=3.11"]


def test_what_no_other_platform_has_is_said(desk: Desk) -> None:
    local = {"name": "ours", "channel": (desk.root / "channel/linux-64").as_uri()}
    graphics = {"name": "torch", "depends": ["__cuda"]}
    prefix = lay(desk.root / "there", PYTHON, LIBGCC, local, graphics, {"name": "libcurl"})
    told = desk.envbuild("env", "import", "--from-conda", str(prefix), "--json")

    assert told.json["only_here"] == [
        "libgcc-ng=13.2.0 (made for linux-64)",
        "ours=1.0 (from a channel on this machine)",
        "torch=1.0 (needs __cuda)",
    ]
    assert "libgcc-ng=13.2.0" in told.err
    assert "python=3.11.7" in (desk.folder / "environment.yml").read_text()


def test_the_full_form_goes_to_an_envbuild_yml_and_nothing_is_overwritten(desk: Desk) -> None:
    prefix = lay(desk.root / "there", PYTHON, {"name": "numpy"})
    desk.envbuild("env", "import", "--from-conda", str(prefix), "-o", "envbuild.yml")

    form = yaml.safe_load((desk.folder / "envbuild.yml").read_text())
    assert (form["python"], form["conda"]) == ("3.11.7", ["numpy=1.0"])
    assert "is there already" in desk.refused("env", "import", "--from-conda", str(prefix), "-o", "envbuild.yml").err
    assert desk.try_("env", "import", "a.lock", "--from-conda", str(prefix)).code == 2


def test_what_we_built_is_described_too(desk: Desk, channel: Channel) -> None:
    desk.write("environment.yml", f"channels: [{channel.url}]\ndependencies: [python=3.11, almanac=2.0]\n")
    built = desk.build("environment.yml")

    assert "almanac=2.0" in described(desk, str(built.path))["dependencies"]

"""Conda environments that are there already: found and read without conda."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from envbuild.reading import conda_prefix
from envbuild.sdk.environment import Environment
from envbuild.sdk.exceptions import UserErrorException

HISTORY = """\
==> 2026-01-01 10:00:00 <==
# cmd: conda create -n mycondaenv python=3.11 numpy scipy
# conda version: 24.1.0
+conda-forge/linux-64::python-3.11.7-h1_0_cpython
# update specs: ['python=3.11', 'numpy', 'scipy']
==> 2026-01-02 10:00:00 <==
# cmd: conda install numpy>=2,<3
# update specs: ["numpy[version='>=2,<3']"]
==> 2026-01-03 10:00:00 <==
# cmd: conda remove scipy
# remove specs: ['scipy']
==> 2026-01-04 10:00:00 <==
# update specs: conda-forge::blas=1.0,openssl
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, on a machine that has no conda."""
    for name in ("CONDA_ENVS_PATH", "CONDA_ENVS_DIRS", "CONDA_PREFIX", "CONDA_EXE", "MAMBA_ROOT_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "home" / ".conda").mkdir(parents=True)
    return tmp_path / "home"


def lay(prefix: Path, *, noted: bool = True, home: Path | None = None) -> Path:
    """An environment as conda leaves it, with a few packages that pip has added."""
    meta = prefix / "conda-meta"
    site = prefix / "lib/python3.11/site-packages"
    meta.mkdir(parents=True)
    for name, version, channel in [
        ("python", "3.11.7", "https://conda.anaconda.org/conda-forge/linux-64"),
        ("numpy", "2.1.0", "conda-forge"),
        ("openssl", "3.0", "https://repo.anaconda.com/pkgs/main/linux-64"),
    ]:
        dist = f"lib/python3.11/site-packages/{name}-{version}.dist-info/METADATA"
        record = {"name": name, "version": version, "build": "h1_0", "channel": channel, "files": [dist]}
        (meta / f"{name}-{version}-h1_0.json").write_text(json.dumps(record))
    (meta / "history").write_text(HISTORY)
    (meta / "state").write_text(json.dumps({"version": 1, "env_vars": {"A": "1", "B": "***unset***"}}))
    dist_info(site, "numpy", "2.1.0")
    dist_info(site, "Of_Conda", "1.0", installer="conda")
    dist_info(site, "Six", "1.17.0")
    dist_info(
        site, "tool", "1.0", direct={"url": "https://host.test/t.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    )
    dist_info(site, "archive", "1.0", direct={"url": "https://host.test/a-1.0.zip", "archive_info": {}})
    if noted and home:
        (home / ".conda" / "environments.txt").write_text(f"{prefix}\n/not/there/any/more\n")
    return prefix


def dist_info(
    site: Path, name: str, version: str, installer: str = "pip", direct: Mapping[str, Any] | None = None
) -> None:
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nA package.\n")
    (folder / "INSTALLER").write_text(installer)
    if direct:
        (folder / "direct_url.json").write_text(json.dumps(direct))


def test_an_environment_is_found_and_read_without_conda(tmp_path: Path, home: Path) -> None:
    lay(tmp_path / "somewhere" / "mycondaenv", home=home)

    made = Environment.from_existing_conda_environment("myenv", "mycondaenv")

    asked = made.python.conda_dependencies
    assert asked.conda_packages == ("numpy=2.1.0", "openssl=3.0", "python=3.11.7")
    assert asked.pip_packages == (
        "archive @ https://host.test/a-1.0.zip",
        "six==1.17.0",
        "tool @ git+https://host.test/t.git@abc",
    )
    assert asked.conda_channels == ("conda-forge", "defaults")
    assert made.environment_variables == {"A": "1"}
    assert made.definition.python == "3.11.7"


def test_the_history_says_what_somebody_asked_for(tmp_path: Path, home: Path) -> None:
    lay(tmp_path / "mycondaenv", home=home)

    made = Environment.from_existing_conda_environment("myenv", "mycondaenv", history_only=True)

    assert made.python.conda_dependencies.conda_packages == (
        "python=3.11",
        "numpy[version='>=2,<3']",
        "conda-forge::blas=1.0",
        "openssl",
    )
    assert made.definition.python == "3.11"
    assert "six==1.17.0" in made.python.conda_dependencies.pip_packages


@pytest.mark.parametrize("where", ["CONDA_ENVS_PATH", "CONDA_ENVS_DIRS", "CONDA_PREFIX", "MAMBA_ROOT_PREFIX", "HOME"])
def test_environments_are_looked_for_where_conda_keeps_them(
    where: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / "miniforge3" if where == "HOME" else tmp_path / "place"
    prefix = folder if where in ("CONDA_ENVS_PATH", "CONDA_ENVS_DIRS", "CONDA_PREFIX") else folder / "envs"
    lay(prefix if where == "CONDA_PREFIX" else prefix / "mycondaenv")
    if where != "HOME":
        monkeypatch.setenv(where, str(folder))

    name = "place" if where == "CONDA_PREFIX" else "mycondaenv"

    assert Environment.from_existing_conda_environment("myenv", name).definition.conda


def test_the_neighbours_of_the_active_environment_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path / "place/envs/active"), lay(tmp_path / "place/envs/mycondaenv")
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "place/envs/active"))

    assert Environment.from_existing_conda_environment("myenv", "mycondaenv").definition.conda


def test_an_environment_may_be_said_by_its_path(tmp_path: Path) -> None:
    prefix = lay(tmp_path / "mycondaenv")

    assert Environment.from_existing_conda_environment("myenv", str(prefix)).name == "myenv"
    with pytest.raises(UserErrorException, match="no conda environment"):
        Environment.from_existing_conda_environment("myenv", str(tmp_path))


def test_one_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, home: Path) -> None:
    lay(tmp_path / "mycondaenv", home=home)

    with pytest.raises(UserErrorException, match="did you mean 'mycondaenv'") as refused:
        Environment.from_existing_conda_environment("myenv", "mycondaenvs")
    assert str(tmp_path / "mycondaenv") in refused.value.hint


def test_two_of_one_name_are_told_apart_by_their_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path / "a" / "mine"), lay(tmp_path / "b" / "mine")
    monkeypatch.setenv("CONDA_ENVS_DIRS", f"{tmp_path / 'a'}:{tmp_path / 'b'}")

    with pytest.raises(UserErrorException, match="several conda environments"):
        Environment.from_existing_conda_environment("myenv", "mine")


def test_what_conda_noted_and_cannot_be_read_is_said(tmp_path: Path) -> None:
    prefix = lay(tmp_path / "mycondaenv")
    (prefix / "conda-meta" / "broken.json").write_text("{")

    with pytest.raises(UserErrorException, match=r"broken\.json"):
        Environment.from_existing_conda_environment("myenv", str(prefix))


def test_the_base_environment_is_called_base(tmp_path: Path, home: Path) -> None:
    lay(home / "miniconda3")

    assert conda_prefix.environments({}, home) == {(home / "miniconda3").resolve(): "base"}

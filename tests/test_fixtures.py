"""Whole small projects: each folder of ``fixtures/`` with an ``expected.toml``, from its definition to a prefix.

A new case is a new folder. Its packages are those of PyPI, and of conda-forge, by name, so that it can be tried by
hand; here an index and a channel of stand-ins have the releases that ``expected.toml`` says, and no others.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.desk import Desk
from support.index import Index
from support.packages import wheel

FIXTURES = Path(__file__).parent.parent / "fixtures"
CASES = sorted(path.parent.name for path in FIXTURES.glob("*/expected.toml"))


@pytest.fixture
def expected(
    request: pytest.FixtureRequest, desk: Desk, index: Index, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A copy of the project on the desk, and what is expected of it."""
    case = FIXTURES / request.param
    shutil.copytree(case, desk.folder, dirs_exist_ok=True)
    found = tomllib.loads((case / "expected.toml").read_text(encoding="utf-8"))
    index.files.clear()
    for name, versions in found["index"].items():
        index.publish(*(wheel(name, version) for version in versions))
    if "channel" in found:
        forge = request.getfixturevalue("channels")("conda-forge")
        forge.put(*request.getfixturevalue("channel").packages.values())
        forge.add("pip", "24.0", noarch="python", depends=["python"])
        for name, versions in found["channel"].items():
            for version in versions:
                forge.add(name, version, noarch="python", depends=["python"])
        forge.index()
        monkeypatch.setenv("CONDA_CHANNEL_ALIAS", forge.url.removesuffix("/conda-forge"))
        monkeypatch.setenv("RATTLER_CACHE_DIR", str(desk.root / "rattler"))
    return found


@pytest.mark.parametrize("expected", CASES, indirect=True)
def test_a_project_becomes_what_is_expected_of_it(desk: Desk, index: Index, expected: dict[str, Any]) -> None:
    kept = ("CONDA_CHANNEL_ALIAS", "RATTLER_CACHE_DIR")
    desk = desk.set(UV_DEFAULT_INDEX=index.simple, **{name: os.environ[name] for name in kept if name in os.environ})
    spec = expected.get("spec", ".")
    if "refused" in expected:
        done = desk.refused("build", spec)
        assert all(part in done.err for part in expected["refused"]), done.err
        assert desk.left_behind() == []
        return

    lock = desk.lock(spec)
    again = desk.envbuild("lock", spec, "--json").json
    prefix = desk.build(spec)

    # Which Pythons a channel has is up to this machine.
    locked = {each.name: each.version or "" for each in lock.packages if not each.name.startswith("python")}
    assert locked == expected["lock"]["packages"]
    assert [each.name for each in lock.built_from_source] == expected["lock"].get("source", [])
    assert Path(again["file"]).name == expected["lock"]["file"]
    assert (again["changed"], again["id"]) == (False, prefix.id)
    if "name" in expected:
        assert desk.envbuild("build", spec, "--json").json["name"] == expected["name"]
    run = expected["run"]
    assert (prefix.run(run["script"]) if "script" in run else prefix.python(run["code"])) == run["prints"]

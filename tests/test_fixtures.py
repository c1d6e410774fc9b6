"""Whole small projects: each folder of ``fixtures/`` with an ``expected.toml``, from its definition to a prefix.

A new case is a new folder. Its packages are those of PyPI by name, so that it can be tried by hand; here an index of
stand-ins has the releases that ``expected.toml`` says, and no others.
"""

from __future__ import annotations

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
def expected(request: pytest.FixtureRequest, desk: Desk, index: Index) -> dict[str, Any]:
    """A copy of the project on the desk, and what is expected of it."""
    case = FIXTURES / request.param
    shutil.copytree(case, desk.folder, dirs_exist_ok=True)
    found = tomllib.loads((case / "expected.toml").read_text(encoding="utf-8"))
    index.files.clear()
    for name, versions in found["index"].items():
        index.publish(*(wheel(name, version) for version in versions))
    return found


@pytest.mark.parametrize("expected", CASES, indirect=True)
def test_a_project_becomes_what_is_expected_of_it(desk: Desk, index: Index, expected: dict[str, Any]) -> None:
    desk = desk.set(UV_DEFAULT_INDEX=index.simple)
    spec = expected.get("spec", ".")
    if "refused" in expected:
        done = desk.refused("build", spec)
        assert all(part in done.err for part in expected["refused"]), done.err
        assert desk.left_behind() == []
        return

    lock = desk.lock(spec)
    again = desk.envbuild("lock", spec, "--json").json
    prefix = desk.build(spec)

    assert {each.name: each.version or "" for each in lock.packages} == expected["lock"]["packages"]
    assert [each.name for each in lock.built_from_source] == expected["lock"].get("source", [])
    assert Path(again["file"]).name == expected["lock"]["file"]
    assert (again["changed"], again["id"]) == (False, prefix.id)
    if "name" in expected:
        assert desk.envbuild("build", spec, "--json").json["name"] == expected["name"]
    run = expected["run"]
    assert (prefix.run(run["script"]) if "script" in run else prefix.python(run["code"])) == run["prints"]

"""A stranger's plugin, as strangers have it: its wheel beside envbuild's in an environment of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.desk import Desk
from support.index import Index
from support.installed import ROOT, Installed, wheel_of
from support.packages import Made

from envbuild import Digest

PLUGIN = ROOT / "fixtures" / "third-party-plugin"
SHOUT = '#!/bin/sh\necho "$*{}" | tr a-z A-Z\n'


@pytest.fixture(scope="session")
def plugin_wheel(tmp_path_factory: pytest.TempPathFactory, own_wheel: Path) -> Path:
    """Built from a copy, as whoever cloned it would; after `own_wheel`, which says if nothing can be built here."""
    copy = tmp_path_factory.mktemp("plugin") / "envbuild-tools"
    shutil.copytree(PLUGIN, copy)
    return wheel_of(copy, tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def installed(desk: Desk, own_wheel: Path, plugin_wheel: Path) -> Installed:
    return Installed.of(desk, own_wheel, plugin_wheel)


@pytest.fixture
def shop(index: Index) -> Index:
    """Where the tools are: two versions of one."""
    for version, mark in (("1.0", ""), ("2.0", "!")):
        index.publish(Made(f"shout-{version}.tar.gz", SHOUT.format(mark).encode(), b""))
    return index


def tool(shop: Index, version: str) -> dict[str, Any]:
    """What a definition says of one."""
    name = f"shout-{version}.tar.gz"
    digest = Digest.of(shop.files[name].made.data).hex
    return {"version": version, "url": f"{shop.url}/files/{name}", "sha256": digest}


def project(desk: Desk, shop: Index, version: str = "1.0") -> Path:
    """A project that asks for a package and for a tool."""
    asked: Mapping[str, Any] = {
        "name": "loud",
        "pip": ["demo"],
        "options": {"index_url": shop.simple},
        "plugins": {"tools": {"shout": tool(shop, version)}},
    }
    desk.write("envbuild.yml", json.dumps(asked))
    desk.write("say.py", "import demo, subprocess\nsubprocess.run(['shout', 'hey'], check=True)\n")
    return desk.folder


def test_its_own_tests_pass_where_it_is_installed(installed: Installed, tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    shutil.copytree(PLUGIN / "tests", copy / "tests")
    shutil.copy(PLUGIN / "pyproject.toml", copy)

    tested = installed.do("pytest", "-q", folder=copy).out

    passed = int(tested.split(" passed")[0].split()[-1])
    assert passed >= 50, tested


def test_it_is_found_by_its_entry_point(installed: Installed) -> None:
    (found,) = (each for each in installed.do("envbuild", "plugins", "--json").json if each["name"] == "tools")

    assert found["distribution"] == "envbuild-tools 1.2"
    assert found["hooks"] == ["resolve_dependencies", "build_image"]
    assert (found["api"], found["error"], found["warnings"]) == (1, "", [])
    assert "certificates: " in installed.do("envbuild", "doctor").out


def test_its_packages_are_locked_built_run_and_explained_beside_those_of_pip(installed: Installed, shop: Index) -> None:
    folder = project(installed.desk, shop)

    first = installed.do("envbuild", "run", "say.py", folder=folder)
    again = installed.do("envbuild", "run", "say.py", folder=folder)
    locked = installed.do("envbuild", "lock", "--json", folder=folder).json
    reused = installed.do("envbuild", "why", folder=folder).out
    project(installed.desk, shop, "2.0")
    why = installed.do("envbuild", "why", folder=folder).out
    newer = installed.do("envbuild", "run", "say.py", folder=folder)
    since = installed.do("envbuild", "why", folder=folder).out

    assert (first.out, again.out, newer.out) == ("HEY\n", "HEY\n", "HEY!\n")
    assert "Adding shout 1.0" in first.err
    assert "Adding" not in again.err
    assert installed.desk.read_lock().find("shout")
    assert locked["changed"] is False
    assert "reused because:" in reused
    assert "plugins: tools: shout: version: 1.0 → 2.0" in why
    assert "shout (tool): 1.0 → 2.0" in since
    assert installed.do("envbuild", "verify", folder=folder)
    # Each file is fetched once.
    assert shop.downloads().count("shout-1.0.tar.gz") == 1


def test_an_environment_comes_back_from_the_store_without_network_and_without_the_shop(
    installed: Installed, shop: Index
) -> None:
    folder = project(installed.desk, shop)
    built = Path(installed.do("envbuild", "build", "--json", folder=folder).json["path"])
    shutil.rmtree(built.parent)
    del shop.files["shout-1.0.tar.gz"]

    again = installed.do("envbuild", "build", "--offline", "--json", folder=folder).json

    assert (again["built"], again["path"]) == (True, str(built))
    assert (built / "bin" / "shout").read_text() == SHOUT.format("")


def test_what_was_changed_since_it_was_locked_is_not_installed(
    installed: Installed, shop: Index, plugin_wheel: Path
) -> None:
    folder = project(installed.desk, shop)
    installed.do("envbuild", "lock", folder=folder)
    shop.publish(Made("shout-1.0.tar.gz", b"#!/bin/sh\necho evil\n", b""))
    elsewhere = {"ENVBUILD_WORKSPACE": str(installed.desk.root / "another")}

    done = installed.try_("envbuild", "build", folder=folder, variables=elsewhere)

    assert done.code == 1
    assert "error: shout 1.0: what is at " in done.err
    assert "was changed since it was locked" in done.err
    assert done.err.endswith("from: the plugin tools (envbuild-tools 1.2)\n")


def test_what_it_refuses_is_told_in_its_words_and_with_its_name(installed: Installed, shop: Index) -> None:
    desk = installed.desk
    desk.write("envbuild.yml", "plugins: {tools: {shout: {url: 'ftp://host.test/x', sha256: abc}}}\n")

    done = installed.try_("envbuild", "lock")

    assert done.code == 1
    assert "error: plugins.tools.shout: its url is none of http or https\n" in done.err
    assert "\nplugins.tools.shout: its sha256 is not 64 lower-case hex digits\n" in done.err
    assert "from: the plugin tools (envbuild-tools 1.2)" in done.err


def test_an_environment_that_is_there_is_run_without_the_plugin_and_a_new_one_misses_it(
    installed: Installed, shop: Index
) -> None:
    folder = project(installed.desk, shop)
    installed.do("envbuild", "build", folder=folder)
    installed.remove("envbuild-tools")

    kept = installed.do("envbuild", "run", "say.py", folder=folder)
    project(installed.desk, shop, "2.0")
    missed = installed.try_("envbuild", "run", "say.py", folder=folder)

    assert kept.out == "HEY\n"
    assert missed.code == 1
    assert "no installed plugin takes on the section 'tools'" in missed.err


SCRIPT = """
from envbuild import Environment, Experiment, ScriptRunConfig, Workspace

ws = Workspace()
loud = Environment.get(ws, "loud")
assert Environment.get(ws, loud.register(ws).name).definition.sections == ("pip", "tools")
run = Experiment(ws, "shouting").submit(ScriptRunConfig(".", "say.py", environment=loud))
run.wait_for_completion(show_output=True)
print(run.get_status())
"""


def test_the_sdk_submits_runs_in_its_environments(installed: Installed, shop: Index) -> None:
    folder = project(installed.desk, shop)
    installed.do("envbuild", "env", "register", ".", folder=folder)
    installed.desk.write("submit.py", SCRIPT)

    done = installed.do("python", "submit.py", folder=folder)

    assert "\nHEY\n" in done.out
    assert done.out.endswith("Completed\n")


READ = """
import yaml
from envbuild import Platform
from envbuild_tools import asked
section = yaml.safe_load(sys.stdin.read())["plugins"]["tools"]
for platform in ("linux-x86_64", "macos-arm64"):
    print(*(each.filename for each in asked.read(section, Platform.parse(platform))))
"""


def test_what_its_readme_shows_can_be_read(installed: Installed) -> None:
    example = (PLUGIN / "README.md").read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    program = READ.replace("sys.stdin.read()", repr(example))

    shown = installed.do("python", "-c", program).out

    assert shown == "jq-linux-amd64 shout-2.0.tar.gz\njq-macos-arm64 shout-2.0.tar.gz\n"

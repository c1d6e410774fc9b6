"""``envbuild plugins new``: what it writes is a distribution that works, and whose tests pass."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.desk import Desk
from support.installed import Installed, wheel_of

from envbuild import scaffold
from envbuild.cli.parser import HOOK_NAMES
from envbuild.errors import EnvbuildError
from envbuild.plugins import HOOKS

ROOT = Path(__file__).resolve().parents[1]

ALL = [word for hook in HOOKS for word in ("--hook", hook)]


@pytest.fixture
def installed(desk: Desk, own_wheel: Path) -> Installed:
    return Installed.of(desk, own_wheel)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize("hook", HOOKS)
def test_a_new_plugin_passes_its_tests_and_is_found(installed: Installed, hook: str, tmp_path: Path) -> None:
    made = Path(installed.do("envbuild", "plugins", "new", "forest", "--hook", hook, "--json").json["folder"])

    installed.add(wheel_of(made, tmp_path / "dist"))
    tested = installed.do("pytest", "-q", folder=made)
    likewise = installed.do("pytest", "-q", "--import-mode=importlib", "--collect-only", folder=made)
    found = {each["name"]: each for each in installed.do("envbuild", "plugins", "--json").json}

    # None is skipped: what the tests are to be given is given.
    assert re.search(r"^\d+ passed in", tested.out, re.MULTILINE), tested.out
    assert re.search(r"^\d+ tests collected", likewise.out, re.MULTILINE), likewise.out
    assert found["forest"]["distribution"] == "envbuild-forest 0.1.0"
    assert (found["forest"]["hooks"], found["forest"]["warnings"], found["forest"]["error"]) == ([hook], [], "")


def test_a_new_plugin_with_every_hook_is_used_from_lock_to_run(installed: Installed, tmp_path: Path) -> None:
    made = Path(installed.do("envbuild", "plugins", "new", "forest", *ALL, "--json").json["folder"])
    installed.add(wheel_of(made, tmp_path / "dist"))
    desk = installed.desk.at("user")
    desk.write("envbuild.yml", "name: woods\nplugins: {forest: [trees/oak.txt]}\n")
    desk.write("trees/oak.txt", "oak\n")
    desk.write("look.py", "import sys\nprint(open(sys.prefix + '/share/forest/trees/oak.txt').read(), end='')\n")

    run = installed.do("envbuild", "run", "-t", "forest", "look.py", folder=desk.folder)
    before = installed.do("envbuild", "lock", "--json", folder=desk.folder).json["id"]
    desk.write("trees/oak.txt", "an old oak\n")
    why = installed.do("envbuild", "why", folder=desk.folder).out
    again = installed.do("envbuild", "run", "-t", "forest", "look.py", folder=desk.folder)

    assert (run.out, again.out) == ("oak\n", "an old oak\n")
    assert "Resolving plugins.forest of woods\n" in run.err
    assert "trees/oak.txt has changed" in why
    assert installed.do("envbuild", "lock", "--json", folder=desk.folder).json["id"] != before
    assert installed.do("envbuild", "verify", folder=desk.folder)


def test_what_is_written_keeps_to_the_rules_of_checkers(desk: Desk) -> None:
    made = Path(desk.envbuild("plugins", "new", "rain-forest", *ALL, "--json").json["folder"])
    tools = Path(sys.executable).parent
    # What is asked of every parameter, whether a hook needs it or not, is no lint of the plugin.
    rules = "A,ARG,B,E,F,I,N,PIE,RET,SIM,UP,W,RUF"
    ruff = ["--isolated", "--line-length", "120", "--target-version", "py311"]
    checks = [
        ["ruff", "check", *ruff, "--select", rules, "--ignore", "A002,ARG001"],
        ["ruff", "format", "--check", *ruff],
        ["mypy", "--strict", "--python-version", "3.11", "--config-file", "", "src"],
    ]

    for name, *words in checks:
        path = {"MYPYPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT / "plugins", made / "src")))}
        command = [tools / str(name), *words]
        done = subprocess.run(command, cwd=made, env={**desk.environment, **path}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_default_is_a_target_in_a_folder_called_like_the_distribution(desk: Desk) -> None:
    told = desk.envbuild("plugins", "new", "rain-forest").out

    made = desk.folder / "envbuild-rain-forest"
    assert names(made / "src" / "envbuild_rain_forest") == ["__init__.py", "plugin.py", "py.typed", "running.py"]
    project = tomllib.loads((made / "pyproject.toml").read_text())["project"]
    assert project["name"] == "envbuild-rain-forest"
    assert project["entry-points"] == {"envbuild": {"rain-forest": "envbuild_rain_forest.plugin"}}
    assert str(made) in told
    assert (made.stat().st_mode & 0o777) == 0o777 & ~scaffold._umask()


@given(st.from_regex(scaffold._NAME, fullmatch=True), st.sets(st.sampled_from(HOOKS), min_size=1))
def test_whatever_the_name_and_the_hooks_what_is_written_is_python_and_toml(name: str, hooks: set[str]) -> None:
    plan = scaffold.Plan(name, tuple(each for each in HOOKS if each in hooks))

    files = dict(plan.files())

    assert plan.package.isidentifier()
    for path, text in files.items():
        assert "$" not in text
        if path.endswith(".py"):
            ast.parse(text)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["entry-points"]["envbuild"] == {name: f"{plan.package}.plugin"}


@pytest.mark.parametrize(
    "name",
    ["", "Forest", "forest_", "-forest", "rain--forest", "9lives", "rain.forest", "../forest", "wald\n", "a" * 101],
)
def test_a_name_that_is_none_is_refused_and_nothing_is_written(name: str, desk: Desk) -> None:
    told = desk.refused("plugins", "new", "--", name).err

    assert "is no name for a plugin\nhint: lower-case letters, digits and single hyphens" in told
    assert names(desk.folder) == []


@pytest.mark.parametrize(
    ("name", "why"), [("local", "there is a plugin 'local' already"), ("docker", "envbuild's own")]
)
def test_a_name_that_is_taken_is_refused(name: str, why: str, desk: Desk) -> None:
    assert why in desk.refused("plugins", "new", name).err
    assert names(desk.folder) == []


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_there_already_stays(kind: str, desk: Desk) -> None:
    there = desk.folder / "envbuild-forest"
    if kind == "folder":
        there.mkdir()
    elif kind == "file":
        there.write_text("mine\n")
    else:
        there.symlink_to(desk.folder / "nowhere")
    before = there.lstat()

    told = desk.refused("plugins", "new", "forest").err

    assert f"there is {there} already\nhint: say with -o where to write it" in told
    assert names(desk.folder) == ["envbuild-forest"]
    assert (there.lstat().st_ino, there.lstat().st_mode) == (before.st_ino, before.st_mode)


@pytest.mark.parametrize("last", [1, 4])
def test_what_cannot_be_written_whole_is_not_written_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    left = iter(range(last))
    write = Path.write_text

    def full(path: Path, text: str, **options: str) -> int:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        return write(path, text, **options)

    monkeypatch.setattr(Path, "write_text", full)

    with pytest.raises(EnvbuildError, match="cannot be written: No space left on device"):
        scaffold.write(scaffold.Plan("forest", HOOKS), tmp_path / "forest")
    assert names(tmp_path) == []


def test_the_folder_may_be_said_and_lie_where_no_folder_is_yet(desk: Desk) -> None:
    made = desk.envbuild("plugins", "--json", "new", "forest", "-o", "deep/down").json

    assert made["folder"] == str(desk.folder / "deep" / "down")
    assert sorted(made["files"]) == sorted(
        str(each.relative_to(made["folder"])) for each in Path(made["folder"]).rglob("*") if each.is_file()
    )


def test_what_shares_a_module_passes_however_pytest_imports_it(installed: Installed, tmp_path: Path) -> None:
    made = Path(installed.do("envbuild", "plugins", "new", "forest", "--hook", "build_image", "--json").json["folder"])
    installed.add(wheel_of(made, tmp_path / "dist"))

    tested = installed.do("pytest", "-q", "--import-mode=importlib", folder=made)

    # None is skipped: what the tests are to be given is given.
    assert re.search(r"^\d+ passed in", tested.out, re.MULTILINE), tested.out


def test_what_to_do_next_can_be_pasted_into_a_shell(desk: Desk) -> None:
    told = desk.envbuild("plugins", "new", "forest", "-o", "it's a b/é").out

    (steps,) = re.findall(r"^next +(.*)$", told, re.MULTILINE)
    made = str(desk.folder / "it's a b" / "é")
    assert shlex.split(steps) == ["pip", "install", "--editable", f"{made}[test]", "&&", "pytest", made]


def test_a_folder_without_a_name_is_a_wrong_command_line(desk: Desk) -> None:
    done = desk.try_("plugins", "new", "forest", "-o", "")

    assert done.code == 2
    assert "is the variable set that should name it?" in done.err
    assert names(desk.folder) == []


@pytest.mark.parametrize("below", ["afile/x", "afile/x/y"])
def test_what_is_no_folder_holds_none(desk: Desk, below: str) -> None:
    desk.write("afile", "mine\n")

    told = desk.refused("plugins", "new", "forest", "-o", below).err

    assert f"error: {desk.folder / 'afile'} is no folder\nhint: say with -o where to write it\n" in told
    assert names(desk.folder) == ["afile"]


@given(st.sets(st.sampled_from(HOOKS), min_size=1))
def test_the_readme_mentions_files_of_the_project_only_where_they_are_pinned(hooks: set[str]) -> None:
    plan = scaffold.Plan("forest", tuple(each for each in HOOKS if each in hooks))

    readme = dict(plan.files())["README.md"]

    assert "those files" not in readme
    assert ("files of the project" in readme) == ("resolve_dependencies" in hooks)
    assert "--hook resolve_dependencies --hook build_image" in readme


def test_without_a_subcommand_plugins_are_listed(desk: Desk) -> None:
    assert desk.envbuild("plugins").out.startswith("PLUGIN ")
    assert {each["name"] for each in desk.envbuild("plugins", "--json").json} >= {"pip", "local"}
    assert "invalid choice: 'nwe' (choose from" in desk.try_("plugins", "nwe").err


def test_the_command_line_knows_every_hook() -> None:
    assert HOOK_NAMES == HOOKS

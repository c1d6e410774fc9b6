"""Interpreters that somebody else looks after: recorded as they are found, looked at at each use, never touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import uv
from support.bench import Bench
from support.channel import Channel, this_subdir
from support.desk import Desk, guarded
from support.packages import Made, project, wheel

from envbuild.sdk import Environment

DEMO = {version: wheel("demo", version, scripts={"demo": "demo:main"}) for version in ("1.0", "2.0")}
HERE = "import os, sys; print(sys.prefix, os.environ.get('VIRTUAL_ENV'), os.environ.get('CONDA_PREFIX'))"

_RATTLER = """
import asyncio, os, sys
from rattler import Gateway, VirtualPackage, install, solve

async def main(channel, subdir, prefix, cache):
    virtual = [each.into_generic() for each in VirtualPackage.detect()]
    records = await solve([channel], ["python=3.11", "almanac"], Gateway(cache_dir=cache + "/repodata"),
                          virtual_packages=virtual, platforms=[subdir, "noarch"])
    await install(records, prefix, cache_dir=cache + "/pkgs", show_progress=False)

asyncio.run(main(*sys.argv[1:]))
os._exit(0)
"""


@dataclass(frozen=True)
class Venv:
    """A virtual environment that is not envbuild's."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def uv(self, *words: str | Path) -> None:
        cache = self.folder.parent / "own-cache"
        given = {**os.environ, "UV_CACHE_DIR": str(cache), "UV_PYTHON_DOWNLOADS": "never", "UV_OFFLINE": "1"}
        subprocess.run([uv.find_uv_bin(), *words], env=given, capture_output=True, check=True)

    def install(self, made: Made) -> None:
        file = self.folder.parent / made.filename
        file.write_bytes(made.data)
        self.uv("pip", "install", "--no-deps", "--python", self.python, file)

    def uninstall(self, name: str) -> None:
        self.uv("pip", "uninstall", "--python", self.python, name)


def make_venv(folder: Path, python: Path, *packages: Made) -> Venv:
    made = Venv(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made.uv("venv", "--python", python, folder)
    for each in packages:
        made.install(each)
    return made


@pytest.fixture
def venv(tmp_path: Path, interpreters: dict[str, Path]) -> Venv:
    """Another Python than ours, where there is one, with demo 1.0 and without pip."""
    other = interpreters.get("3.12") or Path(sys.executable)
    return make_venv(tmp_path / "theirs" / "venv", other, DEMO["1.0"])


def asking(desk: Desk, interpreter: str | Path, *more: str) -> None:
    desk.write("envbuild.yml", "\n".join((f"interpreter: {interpreter}", *more)) + "\n")


# Used as it is


def test_a_run_has_the_python_the_packages_and_the_programs_of_the_interpreter(desk: Desk, venv: Venv) -> None:
    asking(desk, venv.folder)

    told = desk.envbuild("run", "--", "python", "-c", f"import demo; print(demo.__version__); {HERE}").out
    program = desk.envbuild("run", "--", "demo").out

    assert told == f"1.0\n{venv.folder} {venv.folder} None\n"
    assert program == "demo 1.0\n"


@pytest.mark.parametrize("name", ["python", "python3"])
def test_each_of_its_names_is_that_interpreter(desk: Desk, venv: Venv, name: str) -> None:
    asking(desk, venv.folder)

    assert desk.envbuild("run", "--", name, "-c", HERE).out.startswith(f"{venv.folder} ")
    assert desk.envbuild("run", "--", "sh", "-c", f'{name} -c "{HERE}"').out.startswith(f"{venv.folder} ")


def test_a_process_that_it_starts_is_in_it_too(desk: Desk, venv: Venv) -> None:
    asking(desk, venv.folder)
    desk.write(
        "train.py",
        "import subprocess, sys\n"
        f"print(subprocess.check_output([sys.executable, '-c', {HERE!r}], text=True), end='')\n"
        f"print(subprocess.check_output(['python', '-c', {HERE!r}], text=True), end='')\n",
    )

    assert desk.envbuild("run", "train.py").out == f"{venv.folder} {venv.folder} None\n" * 2


def test_nothing_in_it_is_changed_by_whatever_is_done_with_it(desk: Desk, venv: Venv) -> None:
    asking(desk, venv.folder)

    with guarded(venv.folder):
        desk.envbuild("build")
        desk.envbuild("run", "--", "python", "-c", "import demo")
        desk.envbuild("verify", "--heal")
        desk.envbuild("store", "verify")
        desk.envbuild("store", "gc", "--max-size", "0")
        desk.envbuild("run", "--", "demo")


def test_a_path_with_spaces_and_quotes_is_one_path(desk: Desk, tmp_path: Path) -> None:
    odd = make_venv(tmp_path / "it's a place" / "my venv", Path(sys.executable), DEMO["1.0"])
    asking(desk, f'"{odd.python}"')

    assert desk.envbuild("run", "--", "python", "-c", "import demo, sys; print(sys.prefix)").out == f"{odd.folder}\n"


def test_an_interpreter_of_no_environment_is_run_in_none(desk: Desk, interpreters: dict[str, Path]) -> None:
    base = list(interpreters.values())[-1].resolve()
    asking(desk, base)
    asked = "import os, sys; print(sys.prefix == sys.base_prefix, 'VIRTUAL_ENV' in os.environ)"

    there = desk.set(VIRTUAL_ENV="/somewhere", CONDA_PREFIX="/elsewhere")

    assert there.envbuild("run", "--", "python", "-c", asked).out == "True False\n"
    assert len(list((there.build().path / "bin").iterdir())) < 50, "all of a system's programs are none of its own"


def test_a_conda_environment_is_one(desk: Desk, channel: Channel, tmp_path: Path) -> None:
    prefix = tmp_path / "conda"
    command = [sys.executable, "-c", _RATTLER, channel.url, this_subdir(), prefix, tmp_path / "rattler"]
    subprocess.run(command, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, check=True)
    asking(desk, prefix)

    told = desk.envbuild("run", "--", "python", "-c", HERE).out
    locked = desk.lock()

    assert told == f"{prefix} None {prefix}\n"
    assert locked.find("almanac")
    assert "almanac" in {each.name for each in (desk.build().path / "bin").iterdir()}


# How it is named


def test_a_name_is_looked_for_on_the_path(desk: Desk, venv: Venv) -> None:
    asking(desk, "python")
    there = desk.set(PATH=os.pathsep.join((str(venv.folder / "bin"), os.environ["PATH"])))

    assert there.envbuild("run", "--", "python", "-c", HERE).out.startswith(f"{venv.folder} ")


def test_folder_program_and_link_lead_to_one_environment(desk: Desk, venv: Venv) -> None:
    asking(desk, "../theirs/venv")
    ids = [desk.identity()]
    for each in ("../theirs/venv/bin/python", venv.folder / "bin" / "python3"):
        asking(desk, each)
        ids.append(desk.identity())

    assert len(set(ids)) == 1


def test_a_virtual_environment_of_copies_is_one_whatever_it_is_called_by(desk: Desk, tmp_path: Path) -> None:
    copies = Venv(tmp_path / "copies")
    command = [Path(sys.executable).resolve(), "-m", "venv", "--copies", "--without-pip", copies.folder]
    subprocess.run(command, capture_output=True, check=True)
    asking(desk, copies.python)
    one = desk.identity()
    asking(desk, copies.folder / "bin" / "python3")

    assert desk.identity() == one
    assert desk.envbuild("run", "--", "python", "-c", HERE).out.startswith(f"{copies.folder} ")


def test_two_interpreters_with_the_same_packages_are_two_environments(desk: Desk, venv: Venv, tmp_path: Path) -> None:
    other = make_venv(tmp_path / "theirs" / "other", venv.python.resolve(), DEMO["1.0"])
    asking(desk, venv.folder)
    one = desk.build()
    asking(desk, other.folder)

    assert desk.build().id != one.id
    assert desk.envbuild("run", "--", "python", "-c", HERE).out.startswith(f"{other.folder} ")


def test_a_registered_definition_finds_it_from_anywhere(desk: Desk, venv: Venv) -> None:
    asking(desk, "../theirs/venv")
    desk.envbuild("env", "register", ".", "--name", "ours")

    there = desk.at("some/where/else")

    assert there.envbuild("run", "-e", "ours", "--", "demo").out == "demo 1.0\n"
    run = there.envbuild("runs", "list", "--json").json[0]["id"]
    assert "identical" in there.envbuild("runs", "reproduce", run).told
    assert "identical" in there.envbuild("runs", "reproduce", run).told


# What is recorded


def test_the_lock_says_what_was_found_and_that_nothing_is_pinned(desk: Desk, venv: Venv) -> None:
    asking(desk, venv.folder)

    locked = desk.lock()

    assert {(each.name, each.kind, each.artifact.kind) for each in locked.packages} == {
        ("demo", "unmanaged", "installed"),
        ("python", "unmanaged", "installed"),
    }
    demo, python = locked.find("demo"), locked.find("python")
    assert demo
    assert demo.version == "1.0"
    assert demo.artifact.digest
    assert python
    assert python.version == locked.python
    assert python.details["prefix"] == str(venv.folder)
    assert "nothing is pinned" in desk.toml()["tool"]["envbuild"]["note"]
    assert not locked.built_from_source


def test_where_a_package_came_from_is_noted_without_passwords(desk: Desk, venv: Venv) -> None:
    lib = desk.lay(project("lib", "1.0"), "lib")
    venv.uv("pip", "install", "--no-build-isolation", "--python", venv.python, "-e", lib)
    (about,) = venv.folder.glob("lib/python*/site-packages/demo-1.0.dist-info")
    told = {"url": "https://me:pass@host.test/demo.git?token=secret", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    (about / "direct_url.json").write_text(json.dumps(told))
    asking(desk, venv.folder)

    locked = desk.lock()

    demo, found = locked.find("demo"), locked.find("lib")
    assert demo
    assert demo.details == {"origin": "git+https://host.test/demo.git@abc"}
    assert found
    assert found.details == {"origin": lib.as_uri(), "editable": "yes"}
    assert not any(word in (desk.folder / "pylock.toml").read_text() for word in ("pass", "secret"))


@pytest.mark.parametrize("file", ["sitecustomize.py", "chatty.pth"])
def test_what_prints_as_it_starts_is_not_taken_for_its_answer(desk: Desk, venv: Venv, file: str) -> None:
    (packages,) = venv.folder.glob("lib/python*/site-packages")
    (packages / file).write_text("import sys; print('{\"version\": 1}'); sys.stdout.write('hello')\n")
    asking(desk, venv.folder)

    assert desk.lock().find("demo")


def test_what_a_wrapper_leaves_running_is_not_waited_for(desk: Desk, venv: Venv) -> None:
    desk.write("wrapper", f'#!/bin/sh\nsleep 20 &\nexec "{venv.python}" "$@"\n').chmod(0o755)
    asking(desk, "./wrapper")
    start = time.monotonic()

    assert desk.lock().find("demo")
    assert time.monotonic() - start < 15


def test_metadata_that_is_none_is_passed_over(desk: Desk, venv: Venv) -> None:
    (packages,) = venv.folder.glob("lib/python*/site-packages")
    broken: dict[str, dict[str, object]] = {
        "vcs": {"vcs_info": "text"},
        "folder": {"dir_info": [1]},
        "commit": {"vcs_info": {"commit_id": 1}},
    }
    for name, origin in broken.items():
        about = packages / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
        (about / "direct_url.json").write_text(json.dumps({"url": "https://host.test/", **origin}))
    (packages / "odd-1.0.dist-info").mkdir()
    (packages / "odd-1.0.dist-info" / "METADATA").write_bytes(b"Name: odd\nVersion: 1.0+\xff\n")
    (packages / "pipe-1.0.dist-info").mkdir()
    os.mkfifo(packages / "pipe-1.0.dist-info" / "METADATA")
    asking(desk, venv.folder)

    locked = desk.lock()

    assert [dict(each.details) for each in locked.packages if each.name in broken] == [{}, {}, {}]
    assert locked.find("odd")
    assert not locked.find("pipe")


# A change is seen


def test_a_change_makes_the_lock_stale_and_the_next_use_another_environment(desk: Desk, venv: Venv) -> None:
    asking(desk, venv.folder)
    before = desk.build()
    desk.envbuild("lock", "--check")
    venv.install(DEMO["2.0"])
    venv.install(wheel("extra", "1.0"))

    told = desk.refused("lock", "--check").err
    shown = desk.envbuild("env", "show", ".", "--json").json["stale"]
    why = desk.envbuild("why").out
    locked = desk.refused("build", "--locked").err

    said = "demo is 2.0 now, and was 1.0; extra 1.0 is new"
    assert said in told
    assert said in locked
    assert shown == said.split("; ")
    assert "demo is 2.0 now, and was 1.0\n" in why
    assert desk.envbuild("run", "--", "demo").out == "demo 2.0\n"
    after = desk.build()
    assert (after.id != before.id, after.built) == (True, False)
    assert "demo (unmanaged): 1.0 → 2.0" in desk.envbuild("why").out


def test_a_repeated_run_sees_a_change(desk: Desk, venv: Venv) -> None:
    asking(desk, venv.folder)
    ids = []
    for made in (DEMO["1.0"], DEMO["1.0"], DEMO["2.0"]):
        venv.install(made)
        assert desk.envbuild("run", "--", "demo").out == f"demo {made.filename.split('-')[1]}\n"
        ids.append(desk.envbuild("runs", "list", "--json").json[0]["id"])

    kept = [desk.envbuild("runs", "show", run, "--json").json["environment"]["id"] for run in ids]
    assert kept[0] == kept[1]
    assert kept[1] != kept[2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda venv: venv.uninstall("demo"), "demo 1.0 is gone"),
        (lambda venv: venv.install(wheel("demo", "1.0", payload="!")), "demo 1.0 has other files"),
        (lambda venv: venv.folder.rename(venv.folder.with_name("away")), "its interpreter cannot be used any more"),
    ],
)
def test_a_change_is_told_by_name(desk: Desk, venv: Venv, change: Callable[[Venv], object], said: str) -> None:
    asking(desk, venv.folder)
    desk.lock()
    change(venv)

    assert said in desk.refused("lock", "--check").err


def test_verify_says_that_it_is_not_what_was_recorded(desk: Desk, venv: Venv) -> None:
    asking(desk, venv.folder)
    first = desk.build()
    assert "  intact" in desk.envbuild("verify").out
    venv.install(DEMO["2.0"])

    done = desk.try_("verify")
    desk.envbuild("build")
    swept = desk.envbuild("store", "verify").out

    assert (done.code, "demo is 2.0 now, and was 1.0" in done.out) == (1, True)
    assert f"{first.id}  removed" in swept
    assert "is not ours to mend" in swept
    assert "  intact" in desk.envbuild("verify").out


def test_a_lost_way_into_it_is_mended(desk: Desk, venv: Venv) -> None:
    asking(desk, venv.folder)
    prefix = desk.build()
    (prefix.path / "bin" / "demo").unlink()

    assert "healed" in desk.envbuild("verify", "--heal").out
    assert prefix.run("demo") == "demo 1.0"


def test_a_run_is_repeated_while_it_is_as_it_was_and_refused_when_it_is_not(desk: Desk, venv: Venv) -> None:
    asking(desk, venv.folder)
    desk.envbuild("run", "--", "demo")
    (run,) = desk.envbuild("runs", "list", "--json").json

    again = desk.envbuild("runs", "reproduce", run["id"]).told
    venv.install(DEMO["2.0"])
    refused = desk.refused("runs", "reproduce", run["id"]).err

    assert "identical" in again
    assert "cannot be had any more: demo is 2.0 now, and was 1.0" in refused


def test_a_change_while_a_run_is_prepared_is_told(desk: Desk, venv: Venv, tmp_path: Path) -> None:
    turns = tmp_path / "turns"
    fickle = desk.write("fickle", f'#!/bin/sh\necho >> "{turns}"\nexec "{venv.python}" "$@"\n')
    fickle.chmod(0o755)
    asking(desk, "./fickle")
    desk.lock()
    turns.unlink()
    # The lock still holds when it is looked at; what has changed when the environment is built is another matter.
    fickle.write_text(
        f'#!/bin/sh\necho >> "{turns}"\n[ $(wc -l < "{turns}") -lt 2 ] || exec "{sys.executable}" "$@"\n'
        f'exec "{venv.python}" "$@"\n'
    )

    told = desk.refused("build").err

    assert "was changed since it was recorded" in told
    assert desk.left_behind() == []


# What cannot be


@pytest.mark.parametrize(
    ("interpreter", "said"),
    [
        ("./nowhere", "there is no Python at"),
        ("python9.9", "no program 'python9.9' is on PATH"),
        (".venv", "write ./.venv"),
        ("./.git", "is no environment: it has no bin/python"),
        ("./talks", "is no Python: it answers [1]"),
        ("./silent", "is no Python: it answers nothing"),
        ("./claims", 'is no Python: it answers {"version": "3.11.1"}'),
        ("./muddled", 'is no Python: it answers {"version": 3}'),
        ("./fails", "is no Python that can be used (out of order)"),
        ("./ancient", "is older than Python 3.8"),
        ("./old", "is Python 3.6.9, and 3.8 is the oldest"),
        ("./data", "is no Python"),
    ],
)
def test_what_is_no_interpreter_is_refused(desk: Desk, interpreter: str, said: str) -> None:
    desk.write(".venv/bin/python", "")
    desk.write(".git/HEAD", "")
    desk.write("data", "no program at all").chmod(0o644)
    desk.write("talks", "#!/bin/sh\necho '[1]'\n").chmod(0o755)
    desk.write("fails", "#!/bin/sh\necho out of order >&2; exit 3\n").chmod(0o755)
    desk.write("ancient", "#!/bin/sh\nprintf 'Unknown option: -I\\nusage: python\\n' >&2; exit 2\n").chmod(0o755)
    desk.write("silent", "#!/bin/sh\n").chmod(0o755)
    desk.write("claims", """#!/bin/sh\necho "$4"'{"version": "3.11.1"}'\n""").chmod(0o755)
    desk.write("muddled", """#!/bin/sh\necho "$4"'{"version": 3}'\n""").chmod(0o755)
    desk.write("old", """#!/bin/sh\necho "$4"'{"version": "3.6.9", "executable": "/old"}'\n""").chmod(0o755)
    asking(desk, interpreter)

    done = desk.refused("run", "--", "python", "-c", "1")

    assert said in done.err
    assert "hint: " in done.err
    assert desk.left_behind() == []


def test_another_python_than_the_definition_asks_for_is_refused(desk: Desk, venv: Venv) -> None:
    asking(desk, venv.folder, 'python: "3.8"')

    assert "and the definition asks for 3.8" in desk.refused("lock").err


def test_it_is_of_this_machine_and_nothing_in_it_is_upgraded(desk: Desk, venv: Venv) -> None:
    asking(desk, venv.folder)

    assert "is one of this machine" in desk.refused("lock", "--platform", "macos-arm64").err
    assert "demo cannot be upgraded" in desk.refused("lock", ".", "--upgrade", "demo").err
    desk.envbuild("lock", ".", "--upgrade")


def test_its_packages_are_not_asked_for_beside_it(desk: Desk, venv: Venv) -> None:
    asking(desk, venv.folder, "pip: [demo]")

    assert "has nothing installed into it, and pip would" in desk.refused("lock").err


def test_one_that_is_gone_is_said_to_be(desk: Desk, venv: Venv) -> None:
    asking(desk, venv.folder)
    desk.envbuild("run", "--", "demo")
    venv.folder.rename(venv.folder.with_name("away"))

    assert f"there is no Python at {venv.folder}" in desk.refused("run", "--", "demo").err


def test_what_only_this_machine_has_is_not_exported(desk: Desk, venv: Venv) -> None:
    asking(desk, venv.folder)

    assert "what only this machine has" in desk.refused("env", "export", ".").err


def test_doctor_and_plugins_know_of_it(desk: Desk) -> None:
    (found,) = [each for each in desk.envbuild("plugins", "--json").json if each["name"] == "unmanaged"]

    assert found["hooks"] == ["resolve_dependencies", "build_image"]
    assert "plugin unmanaged" in desk.try_("doctor").out


# From Python


def test_user_managed_dependencies_are_run_with_as_azure_has_it(bench: Bench, venv: Venv) -> None:
    theirs = Environment("theirs")
    theirs.python.user_managed_dependencies = True
    theirs.python.interpreter_path = str(venv.python)

    run = bench.run("import demo, sys; print(demo.__version__, sys.prefix)", environment=theirs)

    assert run.get_status() == "Completed"
    log = (bench.workspace._core.run_folder(run.id) / "logs" / "output.log").read_text()
    assert log == f"1.0 {venv.folder}\n"
    details = theirs.build(bench.workspace)
    details.wait_for_completion(show_output=False)
    assert details.status == "Succeeded"


def test_an_interpreter_that_is_not_there_is_how_a_submitted_run_ends(bench: Bench) -> None:
    theirs = Environment("theirs")
    theirs.python.user_managed_dependencies = True
    theirs.python.interpreter_path = "/nowhere/python"

    run = bench.submit("print('never')", environment=theirs)

    run.wait_for_completion(raise_on_error=False)
    assert run.get_status() == "Failed"
    assert "there is no Python at /nowhere/python" in str(run.get_details()["error"])

"""Dispatch: runs that are submitted, and go on whatever becomes of whoever submitted them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.place import Place, alive, until

from envbuild import dispatch, execution, layout
from envbuild.data import Data
from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.errors import EnvbuildError, NotFound, Refused
from envbuild.execution import Order
from envbuild.pipeline import Wishes
from envbuild.plugins import load_plugins
from envbuild.snapshot import Snapshot
from envbuild.workspace import Workspace


@dataclass
class Bench:
    """A folder with scripts, a workspace, and an environment without packages in it."""

    folder: Path
    workspace: Workspace

    def order(self, script_text: str, *words: str, **more: Any) -> Order:
        script = self.folder / f"script_{len(list(self.folder.iterdir()))}.py"
        script.write_text(textwrap.dedent(script_text))
        given = {"source": self.folder, "experiment": "trials", **more}
        return Order(command=("python", script.name, *words), head=2, **given)

    def submit(self, script_text: str, *words: str, definition: Definition | None = None, **more: Any) -> str:
        version = self.workspace.register("plain", definition or Definition(python="3"))
        return dispatch.submit(self.order(script_text, *words, **more), version, self.workspace)

    def record(self, run: str) -> dict[str, Any]:
        found = self.workspace.run_record(run)
        assert found is not None
        return found

    def status(self, run: str) -> str:
        return str(self.record(run)["status"])

    def until(self, run: str, status: str) -> dict[str, Any]:
        return dict(until(lambda: self.status(run) == status and self.record(run), f"{run} is {status}"))

    def ended(self, run: str) -> dict[str, Any]:
        return dict(until(lambda: self.record(run)["ended_at"] and self.record(run), f"the end of {run}"))

    def log(self, run: str, name: str = layout.LOG) -> str:
        return (self.workspace.run_folder(run) / name).read_text()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    (tmp_path / "source").mkdir()
    made = Bench(tmp_path / "source", Workspace(tmp_path / "workspace"))
    yield made
    for each in (tmp_path / "workspace" / "runs").glob("*"):
        made.workspace.cancel(each.name)


GATE = """
    import pathlib, sys, time
    here = pathlib.Path(sys.argv[1])
    (here / "started").touch()
    while not (here / "go").exists():
        time.sleep(0.01)
    print("went on")
"""


# -- what is run ---------------------------------------------------------------------------------------------


def test_a_run_goes_through_azures_words(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    first = bench.submit(GATE, str(tmp_path), at_once=1)
    bench.until(first, "Running")
    run = bench.submit("open('outputs/large', 'wb').truncate(200_000_000)", at_once=1)
    assert bench.status(run) == "Queued"
    (tmp_path / "go").touch()

    def look() -> bool:
        seen.append(bench.status(run))
        return seen[-1] == "Completed"

    until(look, "its end")

    order = [word for word in ("Queued", "Preparing", "Running", "Finalizing", "Completed") if word in seen]
    assert list(dict.fromkeys(seen)) == order
    assert "Finalizing" in seen


def test_a_submitted_run_comes_to_its_end_by_itself(bench: Bench) -> None:
    run = bench.submit("print('here'); open('outputs/model.pkl', 'w').write('m')", tags={"team": "a"})

    end = bench.ended(run)

    assert (end["status"], end["exit_code"], end["reason"]) == ("Completed", 0, "")
    assert bench.log(run) == "here\n"
    assert end["outputs"] == {"model.pkl": {"digest": str(Digest.of(b"m")), "size": 1}}
    assert end["environment"]["id"].startswith("sha256:")
    assert end["tags"] == {"team": "a"}
    assert "plain:1 is sha256:" in bench.log(run, layout.PREPARING)


def test_what_runs_is_the_source_as_it_was_when_it_was_submitted(bench: Bench, tmp_path: Path) -> None:
    first = bench.submit(GATE, str(tmp_path), at_once=1)
    (bench.folder / "data.txt").write_text("then")
    second = bench.submit("print(open('data.txt').read())", at_once=1)

    (bench.folder / "data.txt").write_text("now")
    (tmp_path / "go").touch()

    assert bench.ended(first)["status"] == "Completed"
    assert bench.ended(second)["status"] == "Completed"
    assert bench.log(second) == "then\n"


def test_a_run_has_the_variables_of_whoever_submits_it_as_they_are_then(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = "import os; print(os.environ.get('OF_THE_HOST'), os.environ.get('OF_THE_RUN'))"
    monkeypatch.setenv("OF_THE_HOST", "one")
    first = bench.submit(show, variables={"OF_THE_RUN": "1"})
    monkeypatch.setenv("OF_THE_HOST", "two")
    second = bench.submit(show)

    assert bench.ended(first)["status"] == bench.ended(second)["status"] == "Completed"
    assert (bench.log(first), bench.log(second)) == ("one 1\n", "two None\n")


def test_values_of_variables_and_secrets_are_on_no_disk(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2-of-the-secret")
    definition = Definition(python="3", secrets=("TOKEN",))
    show = "import os; print(os.environ['TOKEN'], len(os.environ['TOKEN']), len(os.environ['PLAIN']))"

    run = bench.submit(show, variables={"PLAIN": "hunter2-of-the-run"}, definition=definition)

    assert bench.ended(run)["status"] == "Completed"
    assert bench.log(run) == "*** 21 18\n"
    files = [each for each in bench.workspace.root.rglob("*") if each.is_file() and not each.is_symlink()]
    assert not [each for each in files if b"hunter2" in each.read_bytes()]
    assert (bench.record(run)["variables"], bench.record(run)["secrets"]) == (["PLAIN", "TOKEN"], ["TOKEN"])


def test_a_secret_without_a_value_is_missed_at_once(bench: Bench) -> None:
    with pytest.raises(EnvbuildError, match="secrets without a value: TOKEN"):
        bench.submit("", definition=Definition(python="3", secrets=("TOKEN",)))

    assert not list((bench.workspace.root / "runs").glob("*"))


@pytest.mark.parametrize("mode", ["mount", "download"])
def test_data_is_found_where_its_word_in_the_command_stands(bench: Bench, tmp_path: Path, mode: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("1,2")
    show = "import os, sys; print(open(sys.argv[2] + '/a.csv').read(), sys.argv[2] == os.environ[sys.argv[1]])"
    data = Data(name="iris", path=str(tmp_path / "data"), mode=mode)

    run = bench.submit(show, data.variable, f"${data.variable}", data=(data,))

    assert bench.ended(run)["status"] == "Completed", bench.record(run)
    assert bench.log(run) == "1,2 True\n"
    if mode == "download":
        assert (bench.workspace.run_folder(run) / "data/iris/a.csv").read_text() == "1,2"


def test_data_that_is_to_be_uploaded_lies_in_its_place_in_the_end(bench: Bench, tmp_path: Path) -> None:
    data = Data(name="made", path=str(tmp_path / "made"), mode="upload")

    run = bench.submit("import sys; open(sys.argv[1] + '/b.csv', 'w').write('3')", f"${data.variable}", data=(data,))

    assert bench.ended(run)["status"] == "Completed"
    assert (tmp_path / "made/b.csv").read_text() == "3"


def test_data_that_is_there_already_is_not_overwritten_unless_asked(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made/b.csv").write_text("old")
    data = Data(name="made", path=str(tmp_path / "made"), mode="upload")
    source = "import sys; open(sys.argv[1] + '/b.csv', 'w').write('new')"

    end = bench.ended(bench.submit(source, f"${data.variable}", data=(data,)))

    assert (end["status"], (tmp_path / "made/b.csv").read_text()) == ("Failed", "old")
    assert "is in" in end["reason"]
    assert "already, and was not to be overwritten" in end["reason"]
    again = bench.submit(source, f"${data.variable}", data=(replace(data, overwrite=True),))
    assert (bench.ended(again)["status"], (tmp_path / "made/b.csv").read_text()) == ("Completed", "new")


def test_data_is_copied_into_the_working_copy_and_never_out_of_it(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("1")
    (tmp_path / "data/secret").symlink_to(bench.folder)
    data = Data(name="iris", path=str(tmp_path / "data"), mode="download", at="input")

    run = bench.submit("import os; print(sorted(os.listdir('input')))", data=(data,))
    away = bench.submit("", data=(replace(data, at="../../elsewhere"),))

    assert (bench.ended(run)["left"], bench.log(run)) == ([], "['a.csv']\n")
    assert "is not in the run's working copy" in bench.ended(away)["reason"]


def test_data_that_is_not_there_fails_the_run_and_says_so(bench: Bench, tmp_path: Path) -> None:
    run = bench.submit("", data=(Data(name="iris", path=str(tmp_path / "nowhere")),))

    end = bench.ended(run)

    assert (end["status"], end["exit_code"]) == ("Failed", None)
    assert "there is no data 'iris'" in end["reason"]


def test_without_history_nothing_is_kept_by_digest(bench: Bench) -> None:
    run = bench.submit("open('outputs/a', 'w').write('a')", keep_source=False, keep_outputs=False)

    end = bench.ended(run)

    assert (end["status"], end["snapshot"], end["outputs"]) == ("Completed", None, {})
    assert (bench.workspace.run_folder(run) / "outputs/a").read_text() == "a"
    assert not (bench.workspace.run_folder(run) / "work").exists()


def test_a_run_that_takes_too_long_is_stopped(bench: Bench) -> None:
    run = bench.submit("import time; time.sleep(60)", limit=0.5)

    end = bench.ended(run)

    assert (end["status"], end["reason"]) == ("Canceled", "stopped after the 0.5 s that it may take")


def test_a_run_can_be_repeated_from_its_record(bench: Bench) -> None:
    place = Place(bench.folder.parent, bench.workspace.root)
    run = bench.submit("import sys; open('outputs/a', 'w').write(sys.argv[1])", "same")
    assert bench.ended(run)["status"] == "Completed"

    said = place.do("runs", "reproduce", run, "--json").json

    assert said["identical"] is True


def test_a_repeated_run_is_stopped_when_it_takes_too_long_too(bench: Bench) -> None:
    place = Place(bench.folder.parent, bench.workspace.root)
    run = bench.submit("import time; time.sleep(60)", limit=0.5)
    bench.ended(run)

    said = place.do("runs", "reproduce", run, "--json").json

    assert (said["run"]["status"], said["run"]["reason"]) == ("Canceled", "stopped after the 0.5 s that it may take")


# -- what goes wrong -----------------------------------------------------------------------------------------


def test_an_environment_that_cannot_be_made_fails_the_run_with_the_reason(bench: Bench) -> None:
    run = bench.submit("", definition=Definition(python="3", docker={"base_image": "debian:12"}))

    end = bench.ended(run)

    assert (end["status"], end["exit_code"]) == ("Failed", None)
    assert "no installed plugin takes on the section 'docker'" in end["reason"]
    assert "envbuild[docker]" in end["hint"]
    assert "no installed plugin takes on" in bench.log(run, layout.PREPARING)


def test_a_run_that_never_had_an_environment_cannot_be_repeated(bench: Bench) -> None:
    run = bench.submit("", definition=Definition(python="3", docker={"base_image": "debian:12"}))
    bench.ended(run)

    with pytest.raises(NotFound, match="ended before it had an environment: "):
        execution.reproduce(run, bench.workspace, load_plugins(), Wishes())


def test_a_program_that_is_not_there_fails_the_run(bench: Bench) -> None:
    version = bench.workspace.register("plain", Definition(python="3"))
    run = dispatch.submit(
        Order(command=("no-such-program",), head=0, source=bench.folder, experiment="trials"), version, bench.workspace
    )

    assert "no such program: 'no-such-program'" in bench.ended(run)["reason"]


def test_an_order_that_cannot_be_meant_leaves_no_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvbuildError, match="is no name for an experiment"):
        bench.submit("", experiment="no name")
    with pytest.raises(EnvbuildError, match="no such folder"):
        bench.submit("", source=bench.folder / "nowhere")
    monkeypatch.setenv(dispatch.PARALLEL_RUNS, "many")
    with pytest.raises(EnvbuildError, match="is a number of runs"):
        bench.submit("")

    assert not list((bench.workspace.root / "runs").glob("*"))
    assert not list((bench.workspace.root / "queue").glob("*"))


# -- stopping it ---------------------------------------------------------------------------------------------


def test_a_run_that_waits_is_canceled_at_once(bench: Bench, tmp_path: Path) -> None:
    first = bench.submit(GATE, str(tmp_path), at_once=1)
    second = bench.submit("open('outputs/ran', 'w')", at_once=1)
    bench.until(first, "Running")
    assert bench.status(second) == "Queued"

    assert bench.workspace.cancel(second)

    assert (bench.status(second), bench.record(second)["reason"]) == ("Canceled", "canceled before it was started")
    (tmp_path / "go").touch()
    assert bench.ended(first)["status"] == "Completed"
    assert bench.status(second) == "Canceled"
    assert not bench.workspace.cancel(second)


def test_a_run_that_goes_on_is_stopped(bench: Bench, tmp_path: Path) -> None:
    run = bench.submit(GATE, str(tmp_path))
    until((tmp_path / "started").exists, "the script has begun")

    assert bench.workspace.cancel(run)

    assert (bench.ended(run)["status"], bench.record(run)["exit_code"]) == ("Canceled", 128 + signal.SIGTERM)


def test_a_run_is_canceled_while_its_environment_is_made(bench: Bench) -> None:
    workspace = bench.workspace
    version = workspace.register("plain", Definition(python="3"))
    name = Digest.parse(version.definition_digest)
    with workspace.store.locked(f"lock-{Digest.of(os.fsencode(name.hex)).short}"):
        run = bench.submit("")
        bench.until(run, "Preparing")

        assert workspace.cancel(run)
        end = bench.ended(run)

    assert (end["status"], end["reason"]) == ("Canceled", "canceled before it was started")


def test_the_command_line_cancels_looks_and_follows(bench: Bench, tmp_path: Path) -> None:
    place = Place(bench.folder.parent, bench.workspace.root)
    first = bench.submit(GATE, str(tmp_path), at_once=1)
    second = bench.submit("", at_once=1)
    bench.until(first, "Running")

    listed = {each["id"]: each["status"] for each in place.do("runs", "list", "--json").json}
    assert listed == {first: "Running", second: "Queued"}
    assert [each["id"] for each in place.do("runs", "list", "--status", "Queued", "--json").json] == [second]
    _, waiting, _ = place.do("runs", "list").text.splitlines()
    assert waiting.split()[:2] == [second, "Queued"]
    assert waiting.split()[-3:] == ["-", "-", "-"]
    shown = place.do("runs", "show", second).text
    assert "Queued" in shown
    assert "submitted" in shown
    assert "started" not in shown
    assert "Canceled" in place.do("runs", "cancel", second).text
    assert "is over already" in place.refused("runs", "cancel", second)
    assert "has no log" in place.refused("runs", "logs", second)
    with place.start("runs", "logs", first, "-f") as following:
        (tmp_path / "go").touch()
        assert following.communicate(timeout=30)[0] == b"went on\n"


def test_the_command_line_says_when_a_run_began_rather_than_when_it_was_submitted(bench: Bench, tmp_path: Path) -> None:
    first = bench.submit(GATE, str(tmp_path), at_once=1)
    second = bench.submit("", at_once=1)
    bench.until(first, "Running")
    (tmp_path / "go").touch()
    bench.ended(first)

    record = bench.ended(second)

    assert record["created_at"] < record["started_at"] < record["ended_at"]
    assert record["started_at"] >= bench.record(first)["ended_at"]
    place = Place(bench.folder.parent, bench.workspace.root)
    shown = place.do("runs", "show", second).text
    assert shown.index("submitted") < shown.index("started") < shown.index("ended")


def test_the_command_line_cancels_several_runs(bench: Bench, tmp_path: Path) -> None:
    place = Place(bench.folder.parent, bench.workspace.root)
    first, second, third = bench.submit(GATE, str(tmp_path), at_once=1), *(bench.submit("", at_once=1) for _ in "ab")
    bench.until(first, "Running")

    assert "no run's id begins with" in place.refused("runs", "cancel", second, "nothing")
    assert bench.status(second) == "Queued"
    told = place.do("runs", "cancel", first, second, second, "--json").json
    assert [(each["id"], each["status"]) for each in told] == [(first, "Canceled"), (second, "Canceled")]
    bench.ended(third)
    said = place.refused("runs", "cancel", second, third)
    assert f"run {second} is over already: Canceled; run {third} is over already: Completed" in said


def test_a_run_that_has_been_asked_to_stop_is_listed_so(bench: Bench, tmp_path: Path) -> None:
    run = bench.submit(GATE, str(tmp_path))
    bench.until(run, "Running")
    note = {"kind": "cancel", "name": "cancel", "value": True, "step": None, "time": 0}
    (bench.workspace.run_folder(run) / layout.NOTES).write_text(json.dumps(note) + "\n")
    place = Place(bench.folder.parent, bench.workspace.root)

    listed = place.do("runs", "list", "--status", "CancelRequested", "--json").json

    assert [each["id"] for each in listed] == [run]
    (tmp_path / "go").touch()
    assert bench.ended(run)["status"] == "Completed"


# -- who lives and who dies ----------------------------------------------------------------------------------


SUBMIT = """
    import json, sys
    from pathlib import Path
    from envbuild import dispatch
    from envbuild.definition import Definition
    from envbuild.execution import Order
    from envbuild.workspace import Workspace

    root, folder, script, count, *words = sys.argv[1:]
    workspace = Workspace(Path(root))
    version = workspace.register("plain", Definition(python="3"))
    order = Order(command=("python", script, *words), head=2, source=Path(folder), experiment="trials", at_once=1)
    print(json.dumps([dispatch.submit(order, version, workspace) for _ in range(int(count))]), flush=True)
"""


def submitter(bench: Bench, source: str, count: int, *words: str, after: str = "") -> subprocess.Popen[str]:
    """Another process that submits runs, and does what ``after`` says when it has."""
    script = bench.order(source).command[1]
    code = textwrap.dedent(SUBMIT) + textwrap.dedent(after)
    return subprocess.Popen(
        [sys.executable, "-c", code, bench.workspace.root, bench.folder, script, str(count), *words],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def told(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return list(json.loads(process.stdout.readline()))


def dispatchers(bench: Bench) -> list[Path]:
    return list((bench.workspace.root / layout.DISPATCHERS).iterdir())


@pytest.mark.parametrize("how", ["ends", "is killed", "is interrupted with its whole session"])
def test_runs_go_on_when_the_process_that_submitted_them_has_gone(bench: Bench, tmp_path: Path, how: str) -> None:
    after = "" if how == "ends" else "import time; time.sleep(60)"
    with submitter(bench, GATE, 3, str(tmp_path), after=after) as process:
        runs = told(process)
        if how == "is killed":
            process.kill()
        elif how != "ends":
            os.killpg(process.pid, signal.SIGINT)
        process.wait(30)

    (tmp_path / "go").touch()

    assert [bench.ended(run)["status"] for run in runs] == ["Completed"] * 3
    until(lambda: not dispatchers(bench), "the dispatcher has ended")


def test_waiting_runs_fail_when_their_dispatcher_is_killed_and_started_ones_go_on(bench: Bench, tmp_path: Path) -> None:
    with submitter(bench, GATE, 3, str(tmp_path)) as process:
        first, *others = told(process)
        process.wait(30)
        until((tmp_path / "started").exists, "the first has begun")
        (lease,) = dispatchers(bench)
        dispatcher = children_of_nobody(lease)
        os.kill(dispatcher, signal.SIGKILL)
        until(lambda: not alive(dispatcher), "it is dead")

    for run in others:
        end = bench.record(run)
        assert end["status"] == "Failed"
        assert end["reason"] == "the process that was to start it was killed, or the machine stopped"
    assert bench.status(first) == "Running"
    (tmp_path / "go").touch()
    assert bench.ended(first)["status"] == "Completed"


def children_of_nobody(lease: Path) -> int:
    """The process that was started with the name of this lease."""
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if lease.name.encode() in each.read_bytes() and b"dispatch" in each.read_bytes():
                return int(each.parent.name)
        except OSError:
            continue
    raise AssertionError(f"no dispatcher minds {lease.name}")


def test_a_run_whose_process_is_killed_has_failed_and_its_script_ends(bench: Bench) -> None:
    run = bench.submit("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
    bench.until(run, "Running")
    script = int(until(lambda: bench.log(run).strip(), "the script has begun"))
    process = bench.workspace.supervisor(run)
    assert process is not None

    os.kill(process, signal.SIGKILL)
    until(lambda: not bench.workspace.is_supervised(run), "nobody minds it any more")

    assert bench.status(run) == "Failed"
    assert "was killed, or the machine stopped" in bench.record(run)["reason"]
    until(lambda: not alive(script), "the script has ended too")


def test_a_process_whose_dispatcher_has_died_starts_another(bench: Bench) -> None:
    first = bench.submit("")
    assert bench.ended(first)["status"] == "Completed"
    (lease,) = dispatchers(bench)
    dispatcher = children_of_nobody(lease)
    os.kill(dispatcher, signal.SIGKILL)
    until(lambda: not alive(dispatcher), "it is dead")

    second = bench.submit("")

    assert bench.ended(second)["status"] == "Completed"


def test_a_fork_submits_through_a_dispatcher_of_its_own(bench: Bench) -> None:
    assert bench.ended(bench.submit(""))["status"] == "Completed"
    order, version = bench.order(""), bench.workspace.register("plain", Definition(python="3"))
    out, told_by = os.pipe()
    if (child := os.fork()) == 0:
        os.write(told_by, dispatch.submit(order, version, bench.workspace).encode())
        os._exit(0)
    os.waitpid(child, 0)
    run = os.read(out, 1000).decode()
    os.close(out)
    os.close(told_by)

    assert bench.ended(run)["status"] == "Completed"


# -- many of them --------------------------------------------------------------------------------------------


def most_at_once(spans: list[tuple[float, float]]) -> int:
    moments = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    count = most = 0
    for _, change in moments:
        count += change
        most = max(most, count)
    return most


SPAN = "import time; a = time.time(); time.sleep(0.3); print(a, time.time())"


def test_only_so_many_runs_are_at_once_however_many_submit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dispatch.PARALLEL_RUNS, "2")
    ours = [bench.submit(SPAN) for _ in range(4)]
    after = "import os"
    script = bench.order(SPAN).command[1]
    code = textwrap.dedent(SUBMIT).replace(", at_once=1", "") + after
    done = subprocess.run(
        [sys.executable, "-c", code, bench.workspace.root, bench.folder, script, "4"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    runs = [*ours, *json.loads(done.stdout)]

    assert {bench.ended(run)["status"] for run in runs} == {"Completed"}
    spans = [(float(a), float(b)) for a, b in (bench.log(run).split() for run in runs)]
    assert most_at_once(spans) == 2


def test_machines_with_a_name_have_their_own_room(bench: Bench, tmp_path: Path) -> None:
    first = bench.submit(GATE, str(tmp_path), compute="small", at_once=1)
    bench.until(first, "Running")
    waits, goes = bench.submit("", compute="small", at_once=1), bench.submit("", compute="large", at_once=1)

    assert bench.ended(goes)["status"] == "Completed"
    assert bench.status(waits) == "Queued"
    (tmp_path / "go").touch()
    assert bench.ended(waits)["status"] == "Completed"


def test_a_run_that_waits_for_runs_that_it_submits_does_not_wait_for_itself(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(dispatch.PARALLEL_RUNS, "1")
    outer = bench.submit("")
    bench.ended(outer)
    monkeypatch.setenv("ENVBUILD_RUN_FOLDER", str(bench.workspace.run_folder(outer)))
    outer_slot = bench.workspace.root / layout.SLOTS / "local" / "0"
    outer_slot.parent.mkdir(parents=True, exist_ok=True)
    import fcntl

    with outer_slot.open("w") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        inner = bench.submit("")

        assert bench.ended(inner)["status"] == "Completed"


def test_hundreds_of_runs_from_several_threads_and_nothing_is_lost(bench: Bench) -> None:
    version = bench.workspace.register("plain", Definition(python="3"))
    order = bench.order("import sys; print(sys.argv)")
    runs: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: runs.extend(dispatch.submit(order, version, bench.workspace) for _ in range(50))
        )
        for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert len(set(runs)) == 200
    until(lambda: not list((bench.workspace.root / layout.QUEUE).iterdir()), "all have been started", 120)
    ends = [bench.ended(run) for run in runs]
    assert Counter(each["status"] for each in ends) == {"Completed": 200}
    with bench.workspace.recorded() as catalogue:
        numbers = [each["number"] for each in catalogue.runs("trials")]
    assert sorted(numbers) == list(range(1, 201))


def test_nothing_of_a_dispatcher_stays_behind(bench: Bench) -> None:
    with submitter(bench, "", 2) as process:
        runs = told(process)
        process.wait(30)

    assert [bench.ended(run)["status"] for run in runs] == ["Completed"] * 2
    until(lambda: not dispatchers(bench), "the dispatcher has ended")
    assert not list((bench.workspace.root / layout.QUEUE).iterdir())


def test_a_run_without_a_snapshot_cannot_be_deleted_while_it_goes_on(bench: Bench, tmp_path: Path) -> None:
    run = bench.submit(GATE, str(tmp_path), keep_source=False)
    bench.until(run, "Running")

    with pytest.raises(Refused, match="has not ended"):
        bench.workspace.delete_run(run)

    (tmp_path / "go").touch()
    bench.ended(run)
    until(lambda: not bench.workspace.is_supervised(run), "nobody minds it any more")
    assert bench.workspace.delete_run(run)["id"] == run


def test_what_is_queued_is_kept_by_gc(bench: Bench, tmp_path: Path) -> None:
    from envbuild.retention import enforce

    first = bench.submit(GATE, str(tmp_path), at_once=1)
    second = bench.submit("print('kept')", at_once=1)
    bench.until(first, "Running")

    enforce(bench.workspace)

    taken = bench.record(second)["snapshot"]
    assert Snapshot.parse(bench.workspace.store.read(Digest.parse(taken))).files
    (tmp_path / "go").touch()
    assert bench.ended(second)["status"] == "Completed"
    assert bench.log(second) == "kept\n"

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from envbuild import catalogue as module
from envbuild.catalogue import Catalogue, runs
from envbuild.digest import Digest
from envbuild.errors import DefinitionError, EnvbuildError, NotFound, Refused, StoreError
from envbuild.outcome import RunRecord, Status

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def digest(text: object) -> str:
    return str(Digest.of(str(text).encode()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "workspace" / "catalogue.db"


@pytest.fixture
def catalogue(path: Path):
    with Catalogue(path) as opened:
        yield opened


def record(identity: str, **changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "id": identity,
        "experiment": "iris",
        "status": "Running",
        "target": "local",
        "source": "train.py",
        "environment": {"name": None, "version": None, "id": digest("id"), "definition_digest": digest("definition")},
        "snapshot": digest("snapshot"),
        "created_at": NOON.isoformat(),
        "ended_at": None,
        "exit_code": None,
        "outputs": {},
        "tags": {},
    }
    return {**known, **changes}


def run_script(script: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def ends_well(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


# Environments


def test_the_same_definition_keeps_its_version_and_another_gets_the_next(catalogue: Catalogue) -> None:
    first = catalogue.register("iris", digest(1), "/home/me", NOON, "flowers", {"team": "a"})
    assert (first.version, first.root, first.created_at) == (1, "/home/me", NOON)
    assert (first.description, first.tags, first.labels, first.archived) == ("flowers", {"team": "a"}, (), False)
    assert catalogue.register("iris", digest(1)) == first
    assert catalogue.register("iris", digest(2)).version == 2
    assert catalogue.register("wine", digest(1)).version == 1
    assert catalogue.get("iris").version == 2
    assert catalogue.get("iris", "1") == catalogue.get("iris", 1) == first
    assert catalogue.get("iris", "latest") == catalogue.get("iris", label="latest") == catalogue.get("iris")
    assert str(first) == "iris:1"


def test_registering_again_takes_over_where_it_is_and_what_is_said_of_it(catalogue: Catalogue) -> None:
    catalogue.register("iris", digest(1), "/old", NOON, "flowers", {"team": "a", "cost": "low"})
    again = catalogue.register("iris", Digest.parse(digest(1)), "/new", description="irises", tags={"team": "b"})
    assert (again.version, again.root, again.description, again.created_at) == (1, "/new", "irises", NOON)
    assert again.tags == {"team": "b", "cost": "low"}


def test_times_come_back_as_the_same_moment(catalogue: Catalogue) -> None:
    at = datetime(2024, 5, 1, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=5)))
    assert catalogue.register("iris", digest(1), created_at=at).created_at == at


@pytest.mark.parametrize("name", ["", ".hidden", "a b", "a/b", "a:b", "x" * 256])
def test_a_name_is_checked_as_everywhere_else(catalogue: Catalogue, name: str) -> None:
    with pytest.raises(DefinitionError):
        catalogue.register(name, digest(1))


def test_what_is_not_there_is_answered_with_what_is(catalogue: Catalogue) -> None:
    with pytest.raises(NotFound, match="no environment is named 'iris'") as caught:
        catalogue.get("iris")
    assert "env register" in caught.value.hint
    catalogue.register("iris", digest(1))
    catalogue.register("iris", digest(2))
    catalogue.label("iris", 1, "prod")
    with pytest.raises(NotFound, match="'irsi'; did you mean 'iris'"):
        catalogue.get("irsi")
    with pytest.raises(NotFound, match="iris has no version 3") as caught:
        catalogue.get("iris", 3)
    assert caught.value.hint == "its versions: 1, 2; its labels: prod"
    with pytest.raises(NotFound, match="no label 'test'"):
        catalogue.get("iris", label="test")
    for version in ("x", "-1", "²", "1.0", "9" * 30):
        with pytest.raises(NotFound, match="has no version"):
            catalogue.get("iris", version)
    with pytest.raises(EnvbuildError, match="give one of them"):
        catalogue.get("iris", 1, "prod")


def test_a_label_belongs_to_one_version_at_a_time(catalogue: Catalogue) -> None:
    for number in (1, 2):
        catalogue.register("iris", digest(number))
    catalogue.register("wine", digest(3))
    assert catalogue.label("iris", 1, "prod", "blessed").labels == ("blessed", "prod")
    catalogue.label("wine", 1, "prod")
    assert catalogue.label("iris", "latest", "prod").version == 2
    assert catalogue.get("iris", label="prod").version == 2
    assert catalogue.get("iris", 1).labels == ("blessed",)
    assert catalogue.get("wine").labels == ("prod",)
    with pytest.raises(NotFound):
        catalogue.unlabel("iris", "prod", "nothing")
    catalogue.unlabel("iris", "prod")
    with pytest.raises(NotFound, match="no label 'prod'"):
        catalogue.get("iris", label="prod")
    with pytest.raises(Refused, match="'latest'"):
        catalogue.label("iris", 1, "latest")
    with pytest.raises(DefinitionError):
        catalogue.label("iris", 1, "a b")


def test_an_archived_version_is_hidden_and_still_usable(catalogue: Catalogue) -> None:
    for number in (1, 2, 3):
        catalogue.register("iris", digest(number))
    catalogue.label("iris", 3, "prod")
    assert [each.archived for each in catalogue.archive("iris", 3)] == [True]
    assert catalogue.get("iris").version == 2
    assert catalogue.get("iris", 3).archived
    assert catalogue.get("iris", label="prod").version == 3
    assert catalogue.register("iris", digest(3)).archived
    assert [each.version for each in catalogue.list("iris")] == [2, 1]
    assert [each.version for each in catalogue.list("iris", archived=True)] == [3, 2, 1]
    catalogue.archive("iris")
    with pytest.raises(NotFound, match="every version of iris is archived") as caught:
        catalogue.get("iris")
    assert "env restore iris" in caught.value.hint
    assert catalogue.list() == ()
    assert len(catalogue.restore("iris")) == 3
    assert catalogue.get("iris").version == 3
    with pytest.raises(NotFound):
        catalogue.archive("wine")


def test_a_deleted_number_never_means_anything_else(catalogue: Catalogue) -> None:
    for number in (1, 2):
        catalogue.register("iris", digest(number))
    catalogue.label("iris", 2, "prod")
    assert [each.version for each in catalogue.delete("iris", 2)] == [2]
    with pytest.raises(NotFound, match="iris:2 has been deleted"):
        catalogue.get("iris", 2)
    with pytest.raises(NotFound, match="no label"):
        catalogue.get("iris", label="prod")
    assert catalogue.register("iris", digest(2)).version == 3
    catalogue.delete("iris")
    with pytest.raises(NotFound, match="no environment is named"):
        catalogue.get("iris", 1)
    assert catalogue.register("iris", digest(1)).version == 4


def test_what_runs_have_used_is_deleted_only_by_force(catalogue: Catalogue) -> None:
    for number in (1, 2):
        catalogue.register("iris", digest(number))
    for number, version in enumerate(["1", 1, "2"]):
        catalogue.upsert_run(record(f"run-{number}", environment={"name": "iris", "version": version}))
    with pytest.raises(Refused, match="iris:1 is used by 2 runs") as caught:
        catalogue.delete("iris", 1)
    assert "--force" in caught.value.hint
    assert "archive" in caught.value.hint
    with pytest.raises(Refused, match="iris:1, iris:2 are used by 3 runs"):
        catalogue.delete("iris")
    catalogue.delete_run("run-2")
    catalogue.delete("iris", 2)
    catalogue.delete("iris", force=True)
    assert len(catalogue.runs_of_environment("iris", 1)) == 2
    assert len(catalogue.runs_of_environment("iris")) == 2


def test_tags_of_a_version_are_set_and_removed(catalogue: Catalogue) -> None:
    catalogue.register("iris", digest(1), tags={"a": "1", "b": "2"})
    assert catalogue.tag("iris", 1, {"a": None, "c": "ü"}).tags == {"b": "2", "c": "ü"}
    assert catalogue.get("iris").tags == {"b": "2", "c": "ü"}


def test_listing_goes_by_pages_and_by_name(catalogue: Catalogue) -> None:
    for name in ("wine", "iris"):
        for number in (1, 2, 3):
            catalogue.register(name, digest(number))
    catalogue.archive("iris", 3)
    every = ["iris:2", "iris:1", "wine:3", "wine:2", "wine:1"]
    assert [str(each) for each in catalogue.list()] == every
    assert [str(each) for each in catalogue.list(limit=2, offset=1)] == every[1:3]
    assert [str(each) for each in catalogue.list(offset=3)] == every[3:]
    assert [str(each) for each in catalogue.list(latest=True)] == ["iris:2", "wine:3"]
    assert [str(each) for each in catalogue.list(latest=True, archived=True)] == ["iris:3", "wine:3"]
    assert catalogue.list("nobody") == ()


def test_ten_thousand_versions_are_no_burden(catalogue: Catalogue) -> None:
    with catalogue.transaction():
        for number in range(10_000):
            catalogue.register("iris", f"sha256:{number:064x}")

    def seconds(asked: Any) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            asked()
            times.append(time.perf_counter() - start)
        return min(times)

    # Ten times what it takes on a slow machine: to find out that an index is not used, not to measure.
    assert seconds(lambda: catalogue.get("iris")) < 0.02
    assert seconds(lambda: catalogue.list("iris", limit=50)) < 0.05
    assert seconds(lambda: catalogue.list("iris", latest=True)) < 0.05
    assert seconds(lambda: catalogue.list()) < 0.5
    assert len(catalogue.list()) == 10_000


# Many at once


def test_sixteen_processes_get_versions_without_gaps(path: Path) -> None:
    script = """
        import sys
        from envbuild.catalogue import Catalogue
        sys.stdin.readline()
        with Catalogue(sys.argv[1]) as catalogue:
            for number in range(25):
                print(catalogue.register("iris", f"sha256:{int(sys.argv[2]) * 100 + number:064x}").version)
    """
    processes = [run_script(script, path, number, stdin=subprocess.PIPE) for number in range(16)]
    for process in processes:  # all of them find the file missing, and make it, at the same moment
        process.stdin.write("\n")
        process.stdin.flush()
    given = [int(line) for process in processes for line in ends_well(process).split()]
    assert sorted(given) == list(range(1, 16 * 25 + 1))


def test_sixteen_processes_that_register_one_definition_get_one_version(path: Path) -> None:
    script = """
        import sys
        from envbuild.catalogue import Catalogue
        with Catalogue(sys.argv[1]) as catalogue:
            print(catalogue.register("iris", "sha256:" + "0" * 64).version)
    """
    assert {ends_well(each) for each in [run_script(script, path) for _ in range(16)]} == {"1\n"}


def test_threads_share_a_catalogue(catalogue: Catalogue) -> None:
    given: list[int] = []

    def register(of: int) -> None:
        for number in range(20):
            given.append(catalogue.register("iris", digest((of, number))).version)
            catalogue.upsert_run(record(f"run-{of}-{number}"))

    threads = [threading.Thread(target=register, args=(of,)) for of in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == list(range(1, 161))
    assert sorted(each["number"] for each in catalogue.runs()) == list(range(1, 161))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_process_uses_the_catalogue_that_it_inherits(path: Path) -> None:
    script = """
        import os, sys
        from envbuild.catalogue import Catalogue
        catalogue = Catalogue(sys.argv[1])
        catalogue.register("iris", f"sha256:{0:064x}")
        children = []
        for child in range(1, 5):
            process = os.fork()
            if process == 0:
                assert catalogue._db._open is None, "SQLite's locks must not be inherited"
                for number in range(20):
                    catalogue.register("iris", f"sha256:{child * 100 + number:064x}")
                os._exit(0)
            children.append(process)
        for number in range(20):
            catalogue.register("iris", f"sha256:{500 + number:064x}")
        assert [os.waitpid(each, 0)[1] for each in children] == [0] * 4
        print([each.version for each in catalogue.list()] == list(range(101, 0, -1)))
    """
    assert ends_well(run_script(script, path)) == "True\n"


def test_a_reader_does_not_wait_for_a_writer(path: Path, catalogue: Catalogue) -> None:
    catalogue.register("iris", digest(1))
    with catalogue.transaction(), Catalogue(path) as other:
        catalogue.register("iris", digest(2))
        assert other.get("iris").version == 1
    assert catalogue.get("iris").version == 2


def test_a_writer_that_waits_in_vain_says_so(path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Database, "_PATIENCE", 0.2)
    held = (catalogue.transaction(), Catalogue(path), pytest.raises(StoreError, match="in use by another process"))
    with held[0], held[1] as other, held[2]:
        other.register("iris", digest(1))


def test_a_transaction_that_fails_leaves_nothing_behind(catalogue: Catalogue) -> None:
    def fails() -> None:
        with catalogue.transaction():
            catalogue.register("iris", digest(1))
            raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        fails()
    assert catalogue.list() == ()
    assert catalogue.register("iris", digest(2)).version == 1


def test_a_part_that_fails_does_not_spoil_the_transaction(catalogue: Catalogue) -> None:
    with catalogue.transaction():
        catalogue.register("iris", digest(1))
        catalogue.label("iris", 1, "a")
        with pytest.raises(NotFound):
            catalogue.unlabel("iris", "a", "nothing")
    assert catalogue.get("iris").labels == ("a",)


# Accidents


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_process_killed_at_any_statement_leaves_a_whole_catalogue(path: Path) -> None:
    script = """
        import os, signal, sys
        from envbuild import catalogue as module
        from envbuild.catalogue import Catalogue

        def work(path, serial):
            with Catalogue(path) as catalogue:
                catalogue.register("iris", f"sha256:{serial:064x}", tags={"a": "b"})
                catalogue.label("iris", "latest", "prod")
                catalogue.record_resolution("d", "linux", "3.11", "l", f"i{serial}", "environment.yml")
                catalogue.upsert_run(dict(id=f"run-{serial}", experiment="e", status="Running", tags={"x": "y"},
                    created_at="2024-05-01T12:00:00+00:00", snapshot="sha256:" + "0" * 64))
                catalogue.register_model("m", dict(root="m", files=dict(m=dict(digest="sha256:" + "1" * 64, size=1))),
                    tags={"a": "b"}, properties={"p": "q"})

        def dies(path, serial, after):
            execute, count = module.Database._execute, 0
            def counted(self, *arguments):
                nonlocal count
                count += 1
                if count == after:
                    os.kill(os.getpid(), signal.SIGKILL)
                return execute(self, *arguments)
            module.Database._execute = counted
            work(path, serial)
            os._exit(0)

        serial, killed = 0, 0
        for fresh in (True, False):
            after, status = 0, 1
            while status:
                after, serial = after + 1, serial + 1
                path = f"{sys.argv[1]}-{after}" if fresh else sys.argv[1]
                child = os.fork()
                if child == 0:
                    dies(path, serial, after)
                status = os.waitpid(child, 0)[1]
                assert status in (0, signal.SIGKILL), status
                killed += bool(status)
                work(path, 10_000 + serial)
                with Catalogue(path) as catalogue:
                    versions = [each.version for each in catalogue.list()]
                    assert versions == list(range(len(versions), 0, -1)), versions
                    numbers = [each["number"] for each in catalogue.runs()]
                    assert sorted(numbers) == list(range(1, len(numbers) + 1)), numbers
                    assert all(each["tags"] == {"x": "y"} for each in catalogue.runs())
                    assert catalogue.get("iris", label="prod") == catalogue.get("iris")
                    models = catalogue.models()
                    assert [each.version for each in models] == list(range(len(models), 0, -1)), models
                    assert all(each[-3:-1] == ({"a": "b"}, {"p": "q"}) for each in models)
                    assert catalogue._db.row("PRAGMA integrity_check") == ("ok",)
        print(killed)
    """
    killed = int(ends_well(run_script(script, path)))
    assert killed > 60


def test_processes_killed_at_any_moment_leave_a_whole_catalogue(path: Path) -> None:
    script = """
        import sys
        from envbuild.catalogue import Catalogue
        with Catalogue(sys.argv[1]) as catalogue:
            for number in range(100_000):
                digest = f"sha256:{int(sys.argv[2]) * 100_000 + number:064x}"
                print(catalogue.register("iris", digest).version, flush=True)
                catalogue.delete("iris", "latest")
    """
    told = []
    for batch in range(4):
        processes = [run_script(script, path, batch * 4 + number) for number in range(4)]
        for number, process in enumerate(processes):
            told.append(int(process.stdout.readline()))
            time.sleep(0.007 * number)
            process.kill()
        for process in processes:
            told.extend(int(line) for line in process.communicate()[0].split("\n")[:-1])
    assert len(told) == len(set(told))
    with Catalogue(path) as catalogue:
        assert catalogue.register("iris", digest(1)).version > max(told)
        rows = catalogue._db.read("SELECT version FROM environments ORDER BY version")
        assert [version for (version,) in rows] == list(range(1, len(rows) + 1))


def test_what_is_not_a_database_is_called_damaged(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all, " * 1000)
    with pytest.raises(StoreError, match=r"catalogue\.db is damaged") as caught:
        Catalogue(path)
    assert "move it" in caught.value.hint


def test_a_database_with_holes_is_called_damaged(path: Path) -> None:
    with Catalogue(path) as catalogue, catalogue.transaction():
        for number in range(2000):
            catalogue.register("iris", digest(number))
    data = bytearray(path.read_bytes())
    data[8192:-4096] = b"\xff" * len(data[8192:-4096])
    path.write_bytes(data)
    with pytest.raises(StoreError, match="is damaged"), Catalogue(path) as catalogue:
        catalogue.list()


def test_where_no_file_can_be_the_error_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="cannot make"):
        Catalogue(tmp_path / "file" / "catalogue.db")
    with pytest.raises(StoreError, match="cannot be written"):
        Catalogue(tmp_path / "folder")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no users like that")
@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_that_may_only_be_read_is_named(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "workspace"
    folder.mkdir()
    if exists:
        Catalogue(folder / "catalogue.db").close()
    script = """
        import os, sys
        from envbuild import definition
        from envbuild.catalogue import Catalogue
        from envbuild.errors import StoreError
        os.chdir(sys.argv[1])
        os.chmod(".", 0o555)
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            Catalogue("catalogue.db").register("iris", "sha256:" + "0" * 64)
        except StoreError as error:
            print(error, error.hint)
    """
    said = ends_well(run_script(script, folder))
    folder.chmod(0o755)
    assert "cannot be written" in said
    assert "ENVBUILD_WORKSPACE" in said


# Migrations


def test_a_catalogue_of_an_older_envbuild_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Catalogue(path) as catalogue:
        catalogue.register("iris", digest(1))
    later = (("ALTER TABLE environments ADD COLUMN colour TEXT",), ("UPDATE environments SET colour = 'blue'",))
    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", module.MIGRATIONS + later)
        for _ in range(2):
            with Catalogue(path) as catalogue:
                assert catalogue._db.read("SELECT name, colour FROM environments") == [("iris", "blue")]
    with pytest.raises(EnvbuildError, match="written by a newer envbuild") as caught:
        Catalogue(path)
    assert "upgrade envbuild" in caught.value.hint


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Catalogue(path).close()
    with monkeypatch.context() as patch:
        broken = ("ALTER TABLE environments ADD COLUMN colour TEXT", "nonsense")
        patch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, broken))
        with pytest.raises(StoreError, match="nonsense"):
            Catalogue(path)
    with Catalogue(path) as catalogue:
        assert catalogue.register("iris", digest(1)).version == 1


def test_an_empty_file_becomes_a_catalogue(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with Catalogue(path) as catalogue:
        assert catalogue.list() == ()
    with sqlite3.connect(path) as plain:
        assert plain.execute("PRAGMA user_version").fetchone() == (len(module.MIGRATIONS),)
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()


def test_what_the_first_envbuild_wrote_is_all_there_after_it_is_brought_up_to_date(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record("iris_1_ab", tags={"a": "1"}, outputs={"model.pkl": {"digest": digest("model"), "size": 3}})
    path.parent.mkdir()
    with sqlite3.connect(path) as plain:
        for statement in module.MIGRATIONS[0]:
            plain.execute(statement)
        plain.execute("PRAGMA user_version = 1")
        plain.execute(
            "INSERT INTO environments VALUES ('iris', 1, ?, NULL, 'flowers', ?, 'active', '{\"a\": \"b\"}', 1)",
            (digest("definition"), NOON.isoformat()),
        )
        plain.executemany("INSERT INTO experiments VALUES (?, ?)", [("iris", 7), ("empty", 2)])
        plain.execute(
            "INSERT INTO runs VALUES (?, 'iris', 7, 'Running', NULL, NULL, NULL, NULL, ?, NULL, NULL, 'local', 's', ?)",
            (run["id"], NOON.isoformat(), json.dumps(run)),
        )
        plain.execute("INSERT INTO run_tags VALUES (?, 'a', '1')", (run["id"],))
        plain.execute("INSERT INTO run_digests VALUES (?, ?)", (run["id"], digest("model")))
    plain.close()

    with Catalogue(path) as catalogue:
        assert catalogue.get("iris").tags == {"a": "b"}
        assert catalogue.run("iris_1_ab") == {**run, "number": 7}
        assert catalogue.runs(tags={"a": "1"}, type="script", top=True) == (catalogue.run("iris_1_ab"),)
        assert catalogue.experiments() == (
            ("empty", 0, 2, None, False, {}),
            ("iris", 1, 7, NOON, False, {}),
        )
        assert digest("model") in catalogue.referenced_digests()
        assert catalogue.upsert_run({**run, "status": "Completed", "properties": {"p": "1"}})["number"] == 7
        assert catalogue.runs(properties={"p": "1"})[0]["status"] == "Completed"
        assert catalogue.upsert_run(record("iris_2_cd"))["number"] == 8
        assert catalogue.register_model("iris", {"root": "m", "files": {}}).version == 1


# Resolutions


def test_the_last_resolution_of_a_definition_counts(catalogue: Catalogue) -> None:
    assert catalogue.latest_resolution(digest("d"), "linux-x86_64") is None
    assert catalogue.resolution_of(digest("one")) is None
    one = catalogue.record_resolution(digest("d"), "linux", "3.11", digest("l1"), digest("one"), "env.yml", NOON)
    two = catalogue.record_resolution(digest("d"), "linux", "3.12", digest("l2"), digest("two"), "env.yml", NOON)
    mac = catalogue.record_resolution(digest("d"), "macos", "3.12", digest("l3"), digest("three"), "env.yml", NOON)
    assert catalogue.latest_resolution(digest("d"), "linux") == two
    assert catalogue.latest_resolution(digest("d"), "linux", "3.11") == one
    assert catalogue.latest_resolution(digest("d"), "macos") == mac
    assert catalogue.resolution_of(digest("one")) == one
    assert catalogue.resolution_of(digest("one")[7:15]) == catalogue.resolution_of(digest("one")[:15]) == one
    assert one.resolved_at == NOON
    catalogue.record_resolution(digest("d"), "linux", "3.12", "l", digest("one")[:20] + "0" * 51, "other.yml")
    with pytest.raises(NotFound, match="several environments' ids begin"):
        catalogue.resolution_of(digest("one")[:15])


def test_the_history_of_a_file_has_an_entry_for_each_change(catalogue: Catalogue) -> None:
    def resolve(identity: str, hour: int, platform: str = "linux") -> None:
        at = NOON + timedelta(hours=hour)
        catalogue.record_resolution(digest("d"), platform, "3.11", digest("l"), identity, "/a/env.yml", at)

    for hour, identity in enumerate(["a", "a", "b", "b", "a"]):
        resolve(identity, hour)
    resolve("m", 9, "macos")
    resolve("a", 10)
    assert [(each.environment_id, each.resolved_at.hour) for each in catalogue.history("/a/env.yml")] == [
        ("a", 22),
        ("m", 21),
        ("b", 15),
        ("a", 13),
    ]
    assert [each.environment_id for each in catalogue.history("/a/env.yml", "linux", limit=2)] == ["a", "b"]
    assert catalogue.history("/b/env.yml") == ()


# Runs


def test_what_counts_as_ended_is_what_the_outcome_says() -> None:
    assert set(runs._ENDED) == {str(status) for status in Status if status.ended}


def test_a_run_is_entered_and_brought_up_to_date(catalogue: Catalogue) -> None:
    started = RunRecord(
        id="iris_1_ab",
        experiment="iris",
        status=Status.RUNNING,
        target="local",
        command=("python", "train.py"),
        environment={"name": "iris", "version": "1", "id": digest("id"), "definition_digest": digest("definition")},
        snapshot=Digest.of(b"snapshot"),
        created_at=NOON,
        tags={"a": "1"},
    ).to_dict()
    assert catalogue.upsert_run(started) == {**started, "number": 1}
    ended = {**started, "status": "Completed", "ended_at": NOON.isoformat(), "exit_code": 0}
    assert catalogue.upsert_run(ended) == {**ended, "number": 1}
    assert catalogue.run("iris_1_ab") == catalogue.run("iris_1") == {**ended, "number": 1}
    assert catalogue.upsert_run(started)["status"] == "Completed"
    with pytest.raises(Refused, match="belongs to experiment 'iris'"):
        catalogue.upsert_run({**ended, "experiment": "wine"})


def test_runs_are_numbered_within_their_experiment(catalogue: Catalogue) -> None:
    numbers = [catalogue.upsert_run(record(f"run-{n}", experiment="ab"[n % 2]))["number"] for n in range(6)]
    assert numbers == [1, 1, 2, 2, 3, 3]
    catalogue.delete_run("run-5")
    assert catalogue.upsert_run(record("run-6", experiment="b"))["number"] == 4
    assert [each[:3] for each in catalogue.experiments()] == [("a", 3, 3), ("b", 3, 4)]


def test_runs_are_listed_newest_first(catalogue: Catalogue) -> None:
    zone = timezone(timedelta(hours=9))
    for hour, identity in enumerate(["a", "b", "c", "d"]):
        at = (NOON + timedelta(hours=hour)).astimezone(zone if hour % 2 else UTC)
        changes = {"status": "Failed" if identity in "bd" else "Running", "tags": {"who": identity}}
        catalogue.upsert_run(record(identity, created_at=at.isoformat(), experiment="xy"[hour // 2], **changes))
    assert [each["id"] for each in catalogue.runs()] == ["d", "c", "b", "a"]
    assert [each["id"] for each in catalogue.runs("x")] == ["b", "a"]
    assert [each["id"] for each in catalogue.runs(status="Failed")] == ["d", "b"]
    assert [each["id"] for each in catalogue.runs(status=Status.FAILED, limit=1)] == ["d"]
    assert [each["id"] for each in catalogue.runs(status=("Failed", "Running"), limit=2, offset=1)] == ["c", "b"]
    assert catalogue.runs(status=()) == ()
    assert [each["id"] for each in catalogue.runs(tags={"who": "c"})] == ["c"]
    assert len(catalogue.runs(tags={"who": None})) == 4


def test_a_run_is_found_by_as_much_of_its_id_as_is_unique(catalogue: Catalogue) -> None:
    with pytest.raises(NotFound, match="nothing has been run"):
        catalogue.run("iris")
    for identity in ("iris_1_ab", "iris_1_cd", "100%_2"):
        catalogue.upsert_run(record(identity))
    assert catalogue.run("iris_1_a")["id"] == "iris_1_ab"
    assert catalogue.run("100%")["id"] == "100%_2"
    with pytest.raises(NotFound, match="several runs' ids begin") as caught:
        catalogue.run("iris_1")
    assert "iris_1_ab" in caught.value.hint
    assert "iris_1_cd" in caught.value.hint
    with pytest.raises(NotFound, match="no run's id begins with 'x'") as caught:
        catalogue.run("x")
    assert "100%_2" in caught.value.hint
    for prefix in ("iris_1", "iris_1_a"):
        with pytest.raises(NotFound):
            catalogue.delete_run(prefix)


def test_tags_set_from_outside_outlive_what_the_run_says_of_itself(catalogue: Catalogue) -> None:
    catalogue.upsert_run(record("run", tags={"kept": "1", "changed": "1", "gone": "1"}))
    catalogue.tag_run("run", {"kept": "outside", "new": "outside"})
    after = catalogue.upsert_run(record("run", status="Completed", tags={"kept": "1", "changed": "2"}))
    assert after["tags"] == {"kept": "outside", "new": "outside", "changed": "2"}
    assert catalogue.tag_run("ru", {"new": None})["tags"] == {"kept": "outside", "changed": "2"}


def test_two_thousand_runs_come_with_their_tags(catalogue: Catalogue) -> None:
    with catalogue.transaction():
        for number in range(2000):
            catalogue.upsert_run(record(f"run-{number}", tags={"n": number}))
    assert all(each["tags"] == {"n": each["id"][4:]} for each in catalogue.runs())


def test_children_are_found_by_their_parent_and_top_runs_have_none(catalogue: Catalogue) -> None:
    catalogue.upsert_run(record("sweep"))
    for number in range(3):
        status = "Completed" if number else "Running"
        catalogue.upsert_run(record(f"child-{number}", parent="sweep", status=status, tags={"n": number}))
    catalogue.upsert_run(record("grandchild", parent="child-1"))

    assert {each["id"] for each in catalogue.runs(parent="sweep")} == {"child-0", "child-1", "child-2"}
    assert {each["id"] for each in catalogue.runs(parent="sweep", status="Completed")} == {"child-1", "child-2"}
    assert [each["id"] for each in catalogue.runs(parent="sweep", tags={"n": "1"})] == ["child-1"]
    assert [each["id"] for each in catalogue.runs("iris", top=True)] == ["sweep"]
    assert len(catalogue.runs("iris")) == 5


def test_runs_are_found_by_their_properties_and_their_type(catalogue: Catalogue) -> None:
    catalogue.upsert_run(record("a", type="interactive"))
    catalogue.upsert_run(record("a", type="interactive", status="Completed", properties={"git": "abc", "n": 1}))
    catalogue.upsert_run(record("b", properties={"git": "def"}))

    assert [each["id"] for each in catalogue.runs(properties={"git": "abc", "n": "1"})] == ["a"]
    assert {each["id"] for each in catalogue.runs(properties={"git": None})} == {"a", "b"}
    assert [each["id"] for each in catalogue.runs(type="interactive")] == ["a"]
    assert [each["id"] for each in catalogue.runs(type="script")] == ["b"]


def test_many_runs_are_entered_at_once_or_none_of_them(catalogue: Catalogue) -> None:
    catalogue.upsert_runs(record(f"run-{number}", tags={"n": number}) for number in range(1200))
    assert sorted(each["number"] for each in catalogue.runs()) == list(range(1, 1201))
    assert all(each["tags"] == {"n": each["id"][4:]} for each in catalogue.runs())

    news = [record("new"), record("run-1", experiment="wine")]
    with pytest.raises(Refused):
        catalogue.upsert_runs(news)
    assert len(catalogue.runs()) == 1200


def test_what_is_known_already_is_not_written_again(path: Path, catalogue: Catalogue) -> None:
    known = [record(f"run-{number}") for number in range(3)]
    catalogue.upsert_runs(known)
    catalogue.tag_run("run-1", {"kept": "outside"})

    with Catalogue(path) as other, other.transaction():  # whoever writes has to wait for it
        catalogue.upsert_runs(known)
        assert catalogue.upsert_run(known[1])["tags"] == {"kept": "outside"}


# Experiments


def test_an_experiment_is_there_before_its_first_run(catalogue: Catalogue) -> None:
    made = catalogue.create_experiment("iris", {"team": "a"})
    assert (made.name, made.runs, made.last_number, made.archived, made.tags) == ("iris", 0, 0, False, {"team": "a"})
    assert made.created_at
    assert catalogue.create_experiment("iris") == catalogue.experiment("iris") == made
    assert catalogue.create_experiment("iris", {"cost": 3}).tags == {"cost": "3", "team": "a"}
    assert catalogue.upsert_run(record("run-1"))["number"] == 1
    assert catalogue.experiments()[0][:3] == ("iris", 1, 1)


def test_experiments_have_tags_and_are_found_by_them(catalogue: Catalogue) -> None:
    for name in ("iris", "wine"):
        catalogue.create_experiment(name, {"of": name})
    assert catalogue.tag_experiment("iris", {"of": None, "new": "x"}).tags == {"new": "x"}
    assert [each.name for each in catalogue.experiments(tags={"of": None})] == ["wine"]
    assert [each.name for each in catalogue.experiments(tags={"new": "x"})] == ["iris"]
    assert catalogue.experiments(tags={"new": "y"}) == ()
    with pytest.raises(NotFound, match="no experiment is named 'irsi'; did you mean 'iris'"):
        catalogue.tag_experiment("irsi", {})


def test_an_archived_experiment_is_hidden_and_takes_runs(catalogue: Catalogue) -> None:
    catalogue.create_experiment("iris")
    assert catalogue.archive_experiment("iris").archived
    catalogue.upsert_run(record("run-1"))
    assert catalogue.experiments() == ()
    assert [each.archived for each in catalogue.experiments(archived=True)] == [True]
    assert not catalogue.restore_experiment("iris").archived
    assert len(catalogue.experiments()) == 1


def test_only_an_experiment_without_runs_can_be_deleted_and_its_numbers_stay_given(catalogue: Catalogue) -> None:
    catalogue.create_experiment("iris", {"a": "b"})
    catalogue.upsert_run(record("run-1"))
    with pytest.raises(Refused, match="experiment iris has 1 run"):
        catalogue.delete_experiment("iris")
    catalogue.delete_run("run-1")
    assert catalogue.delete_experiment("iris").tags == {"a": "b"}
    assert catalogue.experiments(archived=True) == ()
    with pytest.raises(NotFound, match="no experiment is named 'iris'"):
        catalogue.experiment("iris")
    assert catalogue.upsert_run(record("run-2"))["number"] == 2
    assert catalogue.experiment("iris").tags == {}


# Models


def files(*paths: str) -> dict[str, Any]:
    return {"root": "m", "files": {path: {"digest": digest(path), "size": 1} for path in paths}}


def test_a_model_is_registered_found_and_described(catalogue: Catalogue) -> None:
    one = catalogue.register_model(
        "iris",
        {**files("a"), "datasets": [["training", "x"]]},
        description="flowers",
        framework="Onnx",
        framework_version="1",
        run="run-1",
        experiment="iris",
        environment={"name": "tools", "version": "3", "id": digest("id")},
        tags={"b": "2", "a": "1"},
        properties={"p": "1"},
        created_at=NOON,
    )
    assert (str(one), one.created_at, one.description, one.archived) == ("iris:1", NOON, "flowers", False)
    assert (one.framework, one.framework_version, one.run, one.experiment) == ("Onnx", "1", "run-1", "iris")
    assert one.environment == {"name": "tools", "version": "3", "id": digest("id")}
    assert (one.tags, one.properties) == ({"a": "1", "b": "2"}, {"p": "1"})
    assert (one.root, one.files) == ("m", files("a")["files"])
    two = catalogue.register_model("iris", files("a"))
    assert (two.version, two.environment, two.run) == (2, None, None)
    assert catalogue.model("iris") == catalogue.model("iris", "latest") == two
    assert catalogue.model("iris", "1") == catalogue.model("iris", 1) == one
    assert catalogue.models("iris") == (two, one)
    for asked in ({"tags": {"a": "1", "b": None}}, {"properties": {"p": "1"}}, {"run": "run-1"}, {"framework": "Onnx"}):
        assert catalogue.models(**asked) == (one,)
    assert catalogue.models(tags={"a": "2"}) == catalogue.models("wine") == ()


def test_of_a_model_everything_can_change_but_its_files_and_properties(catalogue: Catalogue) -> None:
    catalogue.register_model("iris", files("a"), tags={"a": "1"}, properties={"p": "1"})
    changed = catalogue.change_model(
        "iris",
        1,
        description="new",
        tags={"a": None, "b": "2"},
        properties={"p": "1", "q": "2"},
        record={"files": {}, "root": "x", "datasets": []},
    )
    assert (changed.description, changed.tags, changed.properties) == ("new", {"b": "2"}, {"p": "1", "q": "2"})
    assert changed.record == {**files("a"), "datasets": []}
    with pytest.raises(Refused, match="they stay: p"):
        catalogue.change_model("iris", 1, description="newer", properties={"p": "2"})
    assert catalogue.model("iris", 1) == changed


def test_a_deleted_number_of_a_model_is_not_given_again(catalogue: Catalogue) -> None:
    for _ in range(3):
        catalogue.register_model("iris", files("a", "b"))
    catalogue.archive_model("iris", 3)
    assert catalogue.model("iris").version == 2
    assert catalogue.model("iris", 3).archived
    assert [each.version for each in catalogue.models(archived=True, latest=True)] == [3]
    assert {digest("a"), digest("b")} <= catalogue.referenced_digests()
    assert [each.version for each in catalogue.delete_model("iris")] == [3, 2, 1]
    assert catalogue.referenced_digests() == frozenset()
    with pytest.raises(NotFound, match="no model is named 'iris'"):
        catalogue.model("iris", 2)
    with pytest.raises(NotFound, match="no model is named 'iris'"):
        catalogue.restore_model("iris")
    assert catalogue.register_model("iris", files("a")).version == 4
    with pytest.raises(NotFound, match="the model iris:2 has been deleted"):
        catalogue.model("iris", 2)
    catalogue.archive_model("iris")
    with pytest.raises(NotFound, match="every version of the model iris is archived") as caught:
        catalogue.model("iris")
    assert caught.value.hint == "its versions: 4 (archived)"


def test_a_thousand_models_are_no_burden(catalogue: Catalogue) -> None:
    with catalogue.transaction():
        for number in range(1000):
            catalogue.register_model("iris", files("a"), tags={"n": str(number)}, properties={"p": "1"})

    start = time.perf_counter()
    assert catalogue.model("iris").tags == {"n": "999"}
    # Ten times what it takes on a slow machine: to find out that an index is not used, not to measure.
    assert time.perf_counter() - start < 0.02
    assert [each.version for each in catalogue.models(tags={"n": "500"})] == [501]
    assert all(each.tags == {"n": str(each.version - 1)} for each in catalogue.models())


# What must be kept


def test_everything_that_is_referred_to_is_kept_until_it_is_deleted(catalogue: Catalogue) -> None:
    catalogue.register("iris", digest("registered"))
    catalogue.record_resolution(digest("resolved"), "linux", "3.11", digest("lock"), digest("environment"), "env.yml")
    outputs = {"model.pkl": {"digest": digest("model"), "size": 3}, "note": {"digest": "sha256:short"}}
    catalogue.upsert_run(record("run", outputs=outputs))
    of_run = {digest(each) for each in ("id", "definition", "snapshot", "model")}
    of_resolution = {digest(each) for each in ("resolved", "lock", "environment")}
    assert catalogue.referenced_digests() == {digest("registered"), *of_resolution, *of_run}
    catalogue.upsert_run(record("run", outputs={}, status="Failed"))
    assert digest("model") not in catalogue.referenced_digests()
    catalogue.delete_run("run")
    catalogue.delete("iris")
    assert catalogue.referenced_digests() == of_resolution


def test_what_pinned_and_labelled_versions_were_last_resolved_to_is_pinned(catalogue: Catalogue) -> None:
    for number in (1, 2, 3, 5, 6):
        catalogue.register("iris", digest(number), pinned=number < 5)
    catalogue.register("iris", digest(1))
    catalogue.label("iris", 4, "stable")
    catalogue.archive("iris", 2)
    catalogue.delete("iris", 3)
    for definition, platform, identity in [
        (1, "linux", "old"),
        (1, "linux", "new"),
        (1, "macos", "mac"),
        (2, "linux", "archived"),
        (3, "linux", "deleted"),
        (4, "linux", "never registered"),
        (5, "linux", "labelled"),
        (6, "linux", "registered by a run"),
    ]:
        catalogue.record_resolution(digest(definition), platform, "3.11", digest("l"), identity, "env.yml")
    assert catalogue.pinned_images() == {"new", "mac", "archived", "labelled"}


# Against a model


class Registry(RuleBasedStateMachine):
    """The catalogue does what a few lines of Python over a list do."""

    names = st.sampled_from(["a", "b"])
    numbers = st.none() | st.integers(1, 4)
    labels = st.sampled_from(["prod", "test"])

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.catalogue = Catalogue(Path(self.folder.name) / "catalogue.db")
        self.versions: dict[str, list[dict[str, Any]]] = {"a": [], "b": []}
        self.labelled: dict[tuple[str, str], int] = {}

    def teardown(self) -> None:
        self.catalogue.close()
        self.folder.cleanup()

    def chosen(self, name: str, number: int | None) -> list[dict[str, Any]]:
        live = [each for each in self.versions[name] if each["state"] != "deleted"]
        return live if number is None else [each for each in live if each["version"] == number]

    @rule(name=names, content=st.integers(0, 4))
    def register(self, name: str, content: int) -> None:
        same = [each for each in self.chosen(name, None) if each["digest"] == digest(content)]
        if not same:
            same = [{"version": len(self.versions[name]) + 1, "digest": digest(content), "state": "active"}]
            self.versions[name] += same
        found = self.catalogue.register(name, digest(content))
        assert found.version == same[0]["version"]
        assert found.archived == (same[0]["state"] == "archived")

    @rule(name=names, number=numbers, verb=st.sampled_from(["archive", "restore", "delete"]))
    def change(self, name: str, number: int | None, verb: str) -> None:
        state = {"archive": "archived", "restore": "active", "delete": "deleted"}[verb]
        chosen = self.chosen(name, number)
        try:
            answer = getattr(self.catalogue, verb)(name, number)
        except NotFound:
            assert not chosen
            return
        assert sorted(each.version for each in answer) == [each["version"] for each in chosen]
        for each in chosen:
            each["state"] = state
            if verb == "delete":
                for key in [key for key, at in self.labelled.items() if (key[0], at) == (name, each["version"])]:
                    del self.labelled[key]

    @rule(name=names, number=st.integers(1, 4), label=labels)
    def label(self, name: str, number: int, label: str) -> None:
        try:
            self.catalogue.label(name, number, label)
        except NotFound:
            assert not self.chosen(name, number)
        else:
            assert self.chosen(name, number)
            self.labelled[name, label] = number

    @precondition(lambda self: self.labelled)
    @rule(data=st.data())
    def unlabel(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.labelled)))
        self.catalogue.unlabel(*key)
        del self.labelled[key]

    @rule()
    def reopen(self) -> None:
        self.catalogue.close()
        self.catalogue = Catalogue(self.catalogue.path)

    @invariant()
    def both_say_the_same(self) -> None:
        for name in self.versions:
            expected = {each["version"]: each for each in self.chosen(name, None)}
            listed = self.catalogue.list(name, archived=True)
            assert [each.version for each in listed] == sorted(expected, reverse=True)
            for each in listed:
                assert each.definition_digest == expected[each.version]["digest"]
                assert each.archived == (expected[each.version]["state"] == "archived")
                of = sorted(label for (owner, label), at in self.labelled.items() if (owner, at) == each[:2])
                assert each.labels == tuple(of)
            active = [each["version"] for each in expected.values() if each["state"] == "active"]
            assert [each.version for each in self.catalogue.list(name)] == sorted(active, reverse=True)
            latest = self.catalogue.list(name, latest=True)
            assert [each.version for each in latest] == ([max(active)] if active else [])
            if active:
                assert self.catalogue.get(name) == latest[0]
        for (name, label), version in self.labelled.items():
            assert self.catalogue.get(name, label=label).version == version


Registry.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestRegistry = Registry.TestCase


def test_a_process_that_only_reads_imports_little() -> None:
    script = """
        import sys
        from envbuild.catalogue import Catalogue
        Catalogue(sys.argv[1]).list()
        heavy = {"dataclasses", "hashlib", "packaging", "inspect", "random", "envbuild.definition", "yaml"}
        print(sorted(heavy & set(sys.modules)))
    """
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        assert ends_well(run_script(script, Path(folder) / "catalogue.db")) == "[]\n"

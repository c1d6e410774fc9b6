"""Models: what is registered comes back byte for byte, from its own files only, and says where it came from."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.desk import Desk

from envbuild import models, retention
from envbuild.digest import Digest
from envbuild.errors import Damaged, EnvbuildError, NotFound, Refused
from envbuild.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "trained"
    (made / "sub").mkdir(parents=True)
    (made / "weights.bin").write_bytes(b"weights")
    (made / "sub" / "vocabulary.txt").write_text("a b c")
    return made


def contents(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


# Registering


def test_a_file_keeps_its_name_and_a_folder_its_own(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    one = models.register(workspace, "iris", folder / "weights.bin")
    two = models.register(workspace, "iris", folder)

    assert (str(one), list(one.files)) == ("iris:1", ["weights.bin"])
    assert (str(two), sorted(two.files)) == ("iris:2", ["trained/sub/vocabulary.txt", "trained/weights.bin"])
    assert one.files["weights.bin"] == {"digest": str(Digest.of(b"weights")), "size": 7}
    assert models.download(workspace, one, tmp_path / "a").read_bytes() == b"weights"
    assert contents(models.download(workspace, two, tmp_path / "b")) == contents(folder)


def test_every_call_makes_a_version_and_the_content_is_kept_once(workspace: Workspace, folder: Path) -> None:
    versions = [models.register(workspace, "iris", folder / "weights.bin").version for _ in range(3)]

    assert versions == [1, 2, 3]
    assert len(list(workspace.store.digests())) == 1


def test_a_folder_is_named_also_where_it_is_the_current_one(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)

    assert models.register(workspace, "iris", Path()).root == "trained"


def test_only_some_files_of_a_folder_can_be_taken(workspace: Workspace, folder: Path) -> None:
    (folder / "sub" / "more").write_text("more")

    made = models.register(workspace, "iris", folder, children=["sub"])

    assert sorted(made.files) == ["trained/sub/more", "trained/sub/vocabulary.txt"]
    with pytest.raises(NotFound, match="trained has no file 'nothing'") as caught:
        models.register(workspace, "iris", folder, children=["nothing"])
    assert "sub/vocabulary.txt" in caught.value.hint


def test_links_are_followed_within_the_folder_and_no_further(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    (folder / "best.bin").symlink_to("weights.bin")
    assert models.register(workspace, "iris", folder).files["trained/best.bin"]["size"] == 7

    (tmp_path / "secret").write_text("secret")
    for name, target in (("stray", tmp_path / "secret"), ("up", tmp_path), ("loop", folder), ("dangling", "nowhere")):
        (folder / name).symlink_to(target)
        with pytest.raises(Refused, match=name):
            models.register(workspace, "iris", folder)
        (folder / name).unlink()
    assert Digest.of(b"secret") not in workspace.store


def test_a_link_that_is_named_itself_is_meant(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(folder)
    (tmp_path / "model.bin").symlink_to(folder / "weights.bin")

    assert sorted(models.register(workspace, "iris", tmp_path / "latest").files) == [
        "latest/sub/vocabulary.txt",
        "latest/weights.bin",
    ]
    assert models.register(workspace, "iris", tmp_path / "model.bin").root == "model.bin"


def test_what_is_not_there_is_answered_with_what_is(workspace: Workspace, folder: Path) -> None:
    with pytest.raises(NotFound, match="no such file or folder") as caught:
        models.register(workspace, "iris", folder / "weights.bim")
    assert "weights.bin" in caught.value.hint
    (folder / "empty").mkdir()
    with pytest.raises(NotFound, match="no files in"):
        models.register(workspace, "iris", folder / "empty")
    with pytest.raises(NotFound, match="no model is named 'iris'"):
        models.find(workspace, "iris")


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "a:1", "ä", "x" * 256, "a\n"])
def test_a_name_that_azure_refuses_is_refused_before_anything_is_kept(
    workspace: Workspace, folder: Path, name: str
) -> None:
    with pytest.raises(EnvbuildError, match="no name for a model"):
        models.register(workspace, name, folder)
    assert not (workspace.root / "store").exists()


def test_a_version_of_no_framework_is_refused() -> None:
    with pytest.raises(EnvbuildError, match=r"said to be 1\.5"):
        models.About(framework_version="1.5")


def test_many_processes_register_at_once_without_gaps(workspace: Workspace, folder: Path) -> None:
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from envbuild import models
        from envbuild.workspace import Workspace
        sys.stdin.readline()
        for _ in range(10):
            print(models.register(Workspace(Path(sys.argv[1])), "iris", Path(sys.argv[2])).version)
        """
    )
    command = [sys.executable, "-c", script, str(workspace.root), str(folder)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    given = [int(line) for each in started for line in each.communicate("\n", timeout=60)[0].split()]

    assert sorted(given) == list(range(1, 81))


# Giving back


def test_what_is_there_is_replaced_only_where_that_is_allowed(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    model = models.register(workspace, "iris", folder)
    place = models.download(workspace, model, tmp_path / "out")
    (place / "weights.bin").write_text("edited")
    (place / "mine").write_text("mine")

    with pytest.raises(Refused, match="is there already"):
        models.download(workspace, model, tmp_path / "out")
    assert (place / "weights.bin").read_text() == "edited"

    models.download(workspace, model, tmp_path / "out", exist_ok=True)
    assert (place / "weights.bin").read_bytes() == b"weights"
    assert (place / "mine").read_text() == "mine"
    assert os.listdir(tmp_path / "out") == ["trained"]


def test_a_damaged_file_is_found_and_nothing_is_written(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    model = models.register(workspace, "iris", folder)
    blob = workspace.store.path(Digest.of(b"weights"))
    blob.chmod(stat.S_IRUSR | stat.S_IWUSR)
    blob.write_bytes(b"wrights")

    with pytest.raises(Damaged):
        models.download(workspace, model, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_a_link_in_the_target_leads_nothing_out_of_it(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    model = models.register(workspace, "iris", folder)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trained").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(Refused, match="a link leads there"):
        models.download(workspace, model, tmp_path / "out", exist_ok=True)
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("path", ["../escaped", "/escaped", "trained/../../escaped"])
def test_a_recorded_path_leads_nothing_out_of_the_target(workspace: Workspace, tmp_path: Path, path: str) -> None:
    digest = workspace.store.put(b"evil")
    record = {"root": "trained", "files": {path: {"digest": str(digest), "size": 4}}}
    model = workspace.catalogue.register_model("iris", record)

    with pytest.raises(Damaged, match="outside"):
        models.download(workspace, model, tmp_path / "out")
    assert not (tmp_path / "escaped").exists()


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.lists(names, min_size=1, max_size=3).map(tuple), st.binary(max_size=50), min_size=1))
def test_any_folder_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, files: dict[tuple[str, ...], bytes]
) -> None:
    root = tmp_path_factory.mktemp("any")
    folder = root / "folder"
    for parts, data in files.items():
        place = folder.joinpath(*parts)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            continue  # one name for a file and for a folder
    workspace = Workspace(root / "workspace")

    model = models.register(workspace, "any", folder)

    assert contents(models.download(workspace, model, root / "out")) == contents(folder)
    workspace.catalogue.close()


# gc


def age(workspace: Workspace) -> None:
    for digest in workspace.store.digests():
        os.utime(workspace.store.path(digest), (1, 1))


def test_gc_keeps_the_files_of_a_model_until_it_is_deleted(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    models.register(workspace, "iris", folder)
    two = models.register(workspace, "iris", folder / "weights.bin")
    workspace.catalogue.archive_model("iris", 2)
    age(workspace)
    retention.enforce(workspace)
    assert contents(models.download(workspace, models.find(workspace, "iris:1"), tmp_path / "a")) == contents(folder)

    workspace.catalogue.delete_model("iris", 1)
    age(workspace)
    retention.enforce(workspace)

    assert models.download(workspace, two, tmp_path / "b").read_bytes() == b"weights"
    assert list(workspace.store.digests()) == [Digest.of(b"weights")]


# From runs, and on the command line

TRAIN = """
    import pathlib
    pathlib.Path("outputs/model.pkl").write_bytes(b"pickled")
    pathlib.Path("outputs/best/sub").mkdir(parents=True)
    pathlib.Path("outputs/best/sub/weights").write_bytes(b"best")
"""


def trained(desk: Desk) -> dict[str, Any]:
    desk.write("train.py", textwrap.dedent(TRAIN))
    run: dict[str, Any] = desk.envbuild("run", "--json", "train.py").json
    return run


def test_a_model_of_a_run_says_which_run_and_which_environment(desk: Desk) -> None:
    run = trained(desk)

    made = desk.envbuild("models", "register", "iris", "outputs/model.pkl", "--run", run["id"], "--json").json

    assert (made["name"], made["version"], made["id"]) == ("iris", 1, "iris:1")
    assert (made["run"], made["experiment"]) == (run["id"], run["experiment"])
    known = run["environment"]
    assert made["environment"] == {"name": known["name"], "version": known["version"], "id": known["id"]}
    assert made["files"] == {"model.pkl": {"digest": str(Digest.of(b"pickled")), "size": 7}}


def test_the_outputs_of_a_run_are_found_by_file_by_folder_and_by_the_name_of_the_model(desk: Desk) -> None:
    run = trained(desk)["id"]

    for path, files in (
        ("outputs/best", {"best/sub/weights"}),
        ("./outputs/best/", {"best/sub/weights"}),
        ("best", {"best/sub/weights"}),
        ("outputs", {"outputs/model.pkl", "outputs/best/sub/weights"}),
        ("logs/output.log", {"output.log"}),
    ):
        assert set(desk.envbuild("models", "register", "a", path, "--run", run, "--json").json["files"]) == files
    assert set(desk.envbuild("models", "register", "model.pkl", "--run", run, "--json").json["files"]) == {"model.pkl"}


@pytest.mark.parametrize("path", ["outputs/nothing", "../run.json", "run.json", "/etc/hostname", "outputs/../run.json"])
def test_what_a_run_does_not_have_is_answered_with_what_it_has(desk: Desk, path: str) -> None:
    run = trained(desk)["id"]

    told = desk.refused("models", "register", "iris", path, "--run", run).err

    assert f"has no file '{path}'" in told
    assert "it has: logs/output.log, outputs/best/sub/weights, outputs/model.pkl\n" in told


def test_the_outputs_of_a_run_are_what_was_recorded_and_not_what_became_of_them(desk: Desk, tmp_path: Path) -> None:
    run = trained(desk)["id"]
    place = desk.workspace.run_folder(run) / "outputs" / "model.pkl"
    place.unlink()
    place.write_bytes(b"edited")

    desk.envbuild("models", "register", "iris", "model.pkl", "--run", run)
    desk.envbuild("runs", "delete", run)
    age(desk.workspace)
    desk.envbuild("store", "gc")

    path = desk.envbuild("models", "download", "iris", tmp_path / "out").out.strip()
    assert Path(path).read_bytes() == b"pickled"


def test_a_script_registers_what_it_has_written_while_it_runs(desk: Desk) -> None:
    desk.write(
        "train.py",
        f"""
import os, pathlib, subprocess, sys, time
pathlib.Path("outputs/model.pkl").write_bytes(b"pickled")
pathlib.Path("outputs/stray").symlink_to("/etc/hostname")
command = [{sys.executable!r}, "-m", "envbuild", "models", "register", "iris"]
def register(path):
    began = time.perf_counter()
    done = subprocess.run(command + [path, "--run", os.environ["ENVBUILD_RUN_ID"], "--json"], capture_output=True)
    print("seconds", time.perf_counter() - began, file=sys.stderr)
    return done
done = register("outputs/model.pkl")
sys.stdout.buffer.write(done.stdout)
sys.exit(done.returncode or register("outputs/stray").returncode != 1)
""",
    )

    done = desk.envbuild("run", "train.py")

    assert '"id": "iris:1"' in done.out
    seconds = min(float(line.split()[1]) for line in done.err.splitlines() if line.startswith("seconds"))
    # Several times what it takes: to find out that something heavy is imported, not to measure.
    assert seconds < 1.5
    model = models.find(desk.workspace, "iris:1")
    assert desk.workspace.store.read(Digest.parse(model.files["model.pkl"]["digest"])) == b"pickled"
    assert model.environment


def test_models_are_listed_shown_archived_and_deleted(desk: Desk) -> None:
    desk.write("a.bin", "a")
    told = ["--tag", "stage=prod", "--property", "f1=0.9", "--description", "irises"]
    of = ["--framework", "ScikitLearn", "--framework-version", "1.5"]
    desk.envbuild("models", "register", "iris", "a.bin", *told, *of)
    desk.envbuild("models", "register", "iris", "a.bin")
    desk.envbuild("models", "register", "wine", "a.bin")

    def listed(*words: str) -> list[str]:
        return [each["id"] for each in desk.envbuild("models", "list", "--json", *words).json]

    assert listed() == ["iris:2", "wine:1"]
    assert listed("--all") == ["iris:2", "iris:1", "wine:1"]
    assert listed("iris", "--limit", "1") == ["iris:2"]
    assert listed("--all", "--tag", "stage") == listed("--all", "--tag", "stage=prod") == ["iris:1"]
    assert listed("--all", "--tag", "stage=test") == []
    shown = desk.envbuild("models", "show", "iris:1").out
    for words in ("iris:1", "irises", "ScikitLearn 1.5", "tag stage", "prod", "property f1", "0.9", "a.bin"):
        assert words in shown
    desk.envbuild("models", "archive", "iris:2")
    assert listed("iris") == ["iris:1"]
    assert listed("iris", "--archived") == ["iris:2", "iris:1"]
    assert desk.envbuild("models", "show", "iris", "--json").json["version"] == 1
    desk.envbuild("models", "restore", "iris")
    assert desk.envbuild("models", "delete", "iris:2", "--json").json == {"deleted": ["iris:2"]}
    assert "has been deleted" in desk.refused("models", "show", "iris:2").err
    assert "no model is named 'irsi'; did you mean 'iris'" in desk.refused("models", "download", "irsi").err
    assert desk.envbuild("models", "register", "iris", "a.bin", "--json").json["version"] == 3


@pytest.mark.parametrize(
    "words", [("register", "iris"), ("register", "iris", "a", "--tag", "x"), ("delete", "iris"), ("register", "", "a")]
)
def test_a_command_that_cannot_be_meant_is_an_error_of_usage(desk: Desk, words: tuple[str, ...]) -> None:
    assert desk.try_("models", *words).code == 2


def test_two_thousand_files_are_registered_and_given_back_in_seconds(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(2_000):
        (folder / str(number)).write_text(str(number % 100))
    began = time.perf_counter()
    model = models.register(workspace, "many", folder)
    models.download(workspace, model, tmp_path / "out")

    assert time.perf_counter() - began < 20
    assert len(model.files) == 2_000

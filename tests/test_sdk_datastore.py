"""`envbuild.sdk.datastore`: data goes in and out whole, and nothing outside the folder is touched."""

from __future__ import annotations

import copy
import json
import os
import pickle
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.desk import guarded

from envbuild.errors import Damaged
from envbuild.sdk.data_reference import DataReference, plain_path
from envbuild.sdk.datastore import Datastore
from envbuild.sdk.exceptions import UserErrorException
from envbuild.sdk.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


@pytest.fixture
def store(workspace: Workspace) -> Datastore:
    return Datastore(workspace)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return lay(tmp_path / "data", {"a.csv": "1", "train/b.csv": "2", "train/deep/c.csv": "3"})


def lay(folder: Path, files: dict[str, str]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return folder


def files(folder: Path) -> dict[str, str]:
    return {
        each.relative_to(folder).as_posix(): each.read_text() for each in sorted(folder.rglob("*")) if each.is_file()
    }


# Names


def test_every_workspace_has_one_that_is_made_when_something_is_put_there(
    workspace: Workspace, data: Path, tmp_path: Path
) -> None:
    with guarded(tmp_path):
        store = Datastore.get_default(workspace)
        assert (store.name, store.datastore_type) == ("workspaceblobstore", "Local")
        assert store.download(tmp_path / "out") == 0
    assert not store.root.exists()

    store.upload(data)
    assert store.root == tmp_path / "ws/datastores/workspaceblobstore"
    assert files(store.root) == files(data)


def test_a_folder_gets_a_name(workspace: Workspace, data: Path) -> None:
    made = Datastore.register_local(workspace, "mine", data)

    assert Datastore(workspace, "mine") == Datastore.get(workspace, "mine") == workspace.datastores["mine"] == made
    assert made.root == data
    assert list(workspace.datastores) == ["workspaceblobstore", "mine"]


def test_a_name_stands_for_another_folder_only_when_told(workspace: Workspace, data: Path) -> None:
    Datastore.register_local(workspace, "mine", data)
    Datastore.register_local(workspace, "mine", data)

    with pytest.raises(UserErrorException, match="already") as refused:
        Datastore.register_local(workspace, "mine", data / "train")
    assert "overwrite=True" in refused.value.message
    assert Datastore.register_local(workspace, "mine", data / "train", overwrite=True).root == data / "train"


@pytest.mark.parametrize("name", ["", "a-b", "a/b", "..", "workspaceblobstore", "é", "a" * 256])
def test_a_name_that_could_be_no_variable_is_refused(workspace: Workspace, data: Path, name: str) -> None:
    with pytest.raises(UserErrorException, match="cannot be the name"):
        Datastore.register_local(workspace, name, data)


def test_what_is_not_there_is_refused(workspace: Workspace, data: Path) -> None:
    with pytest.raises(UserErrorException, match="no folder"):
        Datastore.register_local(workspace, "mine", data / "a.csv")
    with pytest.raises(UserErrorException, match="did you mean 'workspaceblobstore'") as refused:
        Datastore(workspace, "workspaceblob")
    assert "there are: workspaceblobstore" in refused.value.message


def test_azures_storage_accounts_are_not_there_and_the_error_says_what_is() -> None:
    for name in ("register_azure_blob_container", "register_azure_file_share", "register_azure_data_lake"):
        with pytest.raises(AttributeError, match="register_local"):
            getattr(Datastore, name)
    assert not hasattr(Datastore, "register_azure_sql_database")
    with pytest.raises(AttributeError, match="did you mean 'upload_files'"):
        Datastore.upload_file  # type: ignore[attr-defined]  # noqa: B018


def test_an_unregistered_name_is_gone_and_its_folder_is_not(workspace: Workspace, data: Path) -> None:
    made = Datastore.register_local(workspace, "mine", data)
    made.set_as_default()
    assert Datastore(workspace).name == "mine"

    made.unregister()

    assert Datastore(workspace).name == "workspaceblobstore"
    assert (data / "a.csv").exists()
    for again in (made.unregister, made.set_as_default):
        with pytest.raises(UserErrorException, match="no datastore 'mine'"):
            again()
    with pytest.raises(UserErrorException, match="own"):
        Datastore(workspace).unregister()


def test_names_given_at_the_same_time_are_all_kept(workspace: Workspace, data: Path) -> None:
    each = [threading.Thread(target=Datastore.register_local, args=(workspace, f"d{n}", data)) for n in range(20)]
    for thread in each:
        thread.start()
    for thread in each:
        thread.join()

    assert len(workspace.datastores) == 21


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_table_is_named(workspace: Workspace, tmp_path: Path, content: str) -> None:
    lay(tmp_path / "ws", {"datastores.json": content})

    with pytest.raises(Damaged, match=r"datastores\.json"):
        Datastore(workspace)


# In and out


def test_what_is_uploaded_is_downloaded_again(store: Datastore, data: Path, tmp_path: Path) -> None:
    reference = store.upload(str(data), target_path="set/1")

    assert reference.path_on_datastore == "set/1"
    assert files(reference.local_path) == files(data)
    assert store.download(tmp_path / "out", prefix="set/1") == 3
    assert files(tmp_path / "out/set/1") == files(data)


@pytest.mark.parametrize(
    ("prefix", "count"),
    [(None, 3), ("", 3), ("a", 1), ("train", 2), ("train/", 2), ("train/d", 1), ("x", 0), ("a/b", 0)],
)
def test_a_prefix_is_the_beginning_of_a_path(
    store: Datastore, data: Path, tmp_path: Path, prefix: str | None, count: int
) -> None:
    store.upload(data)

    assert store.download(tmp_path / "out", prefix) == count


def test_what_is_there_is_left_alone_unless_told(
    store: Datastore, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.upload(data)
    (data / "a.csv").write_text("new")

    store.upload(data)
    assert (store.root / "a.csv").read_text() == "1"
    assert "3 files there already" in capsys.readouterr().err

    store.upload(data, overwrite=True, show_progress=False)
    assert (store.root / "a.csv").read_text() == "new"

    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.csv").write_text("mine")
    assert store.download(tmp_path / "out", show_progress=False) == 2
    assert (tmp_path / "out/a.csv").read_text() == "mine"
    assert store.download(tmp_path / "out", overwrite=True) == 3
    assert (tmp_path / "out/a.csv").read_text() == "new"
    assert capsys.readouterr() == ("", "")


def test_files_keep_their_names_or_their_paths_below_a_root(store: Datastore, data: Path) -> None:
    store.upload_files([data / "train/b.csv"])
    store.upload_files([str(data / "train/b.csv")], relative_root=str(data), target_path="t")

    assert files(store.root) == {"b.csv": "2", "t/train/b.csv": "2"}


def test_files_that_cannot_be_meant_are_refused_before_any_is_copied(store: Datastore, data: Path) -> None:
    lay(data, {"other/b.csv": "4"})
    for given_, root, said in (
        ([data / "a.csv", data / "gone.csv"], None, "gone.csv"),
        ([data / "a.csv", data / "train"], None, "train"),
        ([data / "train/b.csv", data / "other/b.csv"], None, "several files"),
        ([data / "a.csv"], data / "train", "not below"),
        (str(data / "a.csv"), None, "a list of files"),
    ):
        with pytest.raises(UserErrorException, match=said):
            store.upload_files(given_, relative_root=root)  # type: ignore[arg-type]
    with pytest.raises(UserErrorException, match="no folder"):
        store.upload(data / "a.csv")
    assert not store.root.exists()


def test_a_file_in_the_place_of_a_folder_is_said_in_words(store: Datastore, data: Path) -> None:
    store.upload_files([data / "a.csv"])

    with pytest.raises(UserErrorException, match="there is a file"):
        store.upload(data, "a.csv/below")
    lay(store.root, {"b.csv/x": "1"})
    with pytest.raises(UserErrorException, match="is a folder"):
        store.upload_files([data / "train/b.csv"])


def test_what_a_killed_upload_left_is_not_taken_for_data(store: Datastore, data: Path, tmp_path: Path) -> None:
    store.upload(data)
    (store.root / ".envbuild-copy-0123").write_text("half")

    assert store.download(tmp_path / "out") == 3


def test_links_are_followed_but_not_in_circles(store: Datastore, data: Path) -> None:
    (data / "again").symlink_to(data)
    (data / "train/link.csv").symlink_to(data / "a.csv")

    store.upload(data)

    assert files(store.root)["train/link.csv"] == "1"
    assert len(files(store.root)) == 4
    assert not any(each.is_symlink() for each in store.root.rglob("*"))


def test_progress_is_shown_on_a_terminal_only(data: Path, tmp_path: Path) -> None:
    code = f"""
from envbuild.sdk import Datastore
Datastore({str(tmp_path / "ws")!r} + "/").upload({str(data)!r}, overwrite=True)
"""
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", code], stderr=theirs, stdout=theirs, check=True, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    assert b"Uploading to workspaceblobstore" in os.read(ours, 65536)
    os.close(ours)

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == done.stderr == b""


# Nothing outside


@pytest.mark.parametrize("path", ["/etc", "../x", "a/../../x", "a/..", "..", "a\0b"])
def test_no_path_leaves_a_datastore(store: Datastore, data: Path, tmp_path: Path, path: str) -> None:
    with guarded(tmp_path):
        for act in (
            lambda: store.path(path),
            lambda: store.place(path),
            lambda: store.upload(data, path),
            lambda: store.upload_files([data / "a.csv"], target_path=path),
            lambda: store.download(tmp_path / "out", path),
        ):
            with pytest.raises(UserErrorException, match="no path within"):
                act()


def test_no_link_leads_out_of_a_datastore(store: Datastore, data: Path, tmp_path: Path) -> None:
    secret = lay(tmp_path / "secret", {"key": "k"})
    store.upload(data)
    (store.root / "out").symlink_to(secret)
    (store.root / "train/key").symlink_to(secret / "key")

    with guarded(secret):
        for act in (
            lambda: store.upload(data, "out"),
            lambda: store.path("out/key").local_path,
            lambda: store.download(tmp_path / "got"),
            lambda: store.download(tmp_path / "got", "out/"),
            lambda: store.download(tmp_path / "got", "train"),
        ):
            with pytest.raises(UserErrorException, match="outside"):
                act()
    assert not (tmp_path / "got").exists()
    assert store.download(tmp_path / "got", "a") == 1


def test_a_download_does_not_follow_links_out_of_its_target(store: Datastore, data: Path, tmp_path: Path) -> None:
    store.upload(data)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/train").symlink_to(lay(tmp_path / "else", {"x": "1"}))

    with guarded(tmp_path / "else"), pytest.raises(UserErrorException, match="outside"):
        store.download(tmp_path / "out", overwrite=True)


@given(st.text(alphabet="ab./\\~\0é", max_size=12))
def test_whatever_is_asked_for_is_within_or_refused(text: str) -> None:
    root = Path("/data")
    try:
        path = plain_path(text)
    except UserErrorException:
        assert text.startswith("/") or ".." in text or "\0" in text
        return
    assert Path(os.path.normpath(root / path)).is_relative_to(root)
    assert plain_path(path) == path


# References


def test_a_reference_stands_for_itself_in_a_command(store: Datastore) -> None:
    assert str(store.as_mount()) == "$AZUREML_DATAREFERENCE_workspaceblobstore"
    assert str(store.path("x", data_reference_name="images")) == "$AZUREML_DATAREFERENCE_images"
    assert str(store.path("x")) == str(store.path("./x/").as_download()) != str(store.path("y"))
    assert store.path("x").variable.isidentifier()


def test_a_reference_says_how_its_files_are_wanted(store: Datastore) -> None:
    path = store.path("x")

    assert (path.mode, path.as_mount().mode) == ("mount", "mount")
    download = path.as_download(path_on_compute="in", overwrite=True)
    assert (download.mode, download.path_on_compute, download.overwrite) == ("download", "in", True)
    assert path.as_upload("outputs").mode == "upload"
    assert (store.as_download().mode, store.as_upload().mode) == ("download", "upload")
    assert path.local_path == store.root / "x"
    assert path.path("y").path_on_datastore == "y"


def test_a_reference_that_cannot_be_meant_is_refused(store: Datastore) -> None:
    with pytest.raises(UserErrorException, match="no mode 'hdfs'") as refused:
        DataReference(store, mode="hdfs")
    assert "mount, download, upload" in refused.value.message
    with pytest.raises(UserErrorException, match="cannot name"):
        DataReference(store, data_reference_name="a b")
    with pytest.raises(UserErrorException, match="no path within"):
        DataReference(datastore=store, path_on_datastore="../x")


paths = st.lists(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1), max_size=3).map("/".join)
references = st.builds(
    lambda path, name, mode, inside, overwrite: DataReference(
        Datastore(Workspace("/somewhere/else")), name, path, mode, inside, overwrite
    ),
    paths.filter(lambda path: ".." not in path.split("/")),
    st.from_regex(r"[A-Za-z0-9_]*", fullmatch=True),
    st.sampled_from(["mount", "download", "upload"]),
    st.none() | paths.filter(lambda path: ".." not in path.split("/")),
    st.booleans(),
)


@given(references)
def test_every_reference_is_read_back_as_it_was_written(reference: DataReference) -> None:
    written = json.dumps(reference.to_dict())

    assert DataReference.from_dict("/somewhere/else", json.loads(written)) == reference
    assert "/somewhere" not in written


def test_references_travel(store: Datastore) -> None:
    reference = store.path("x").as_download()

    assert pickle.loads(pickle.dumps(reference)) == copy.deepcopy(reference) == reference
    assert len({reference, store.path("x").as_download()}) == 1


def test_what_an_account_has_is_told_to_be_a_folder_here(store: Datastore) -> None:
    for name in ("account_name", "container_name"):
        with pytest.raises(AttributeError, match="a folder of this machine"):
            getattr(store, name)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "a\0b"])
def test_a_place_outside_of_the_working_copy_is_refused_before_there_is_a_run(store: Datastore, path: str) -> None:
    with pytest.raises(UserErrorException, match="path_on_compute"):
        store.as_download(path)

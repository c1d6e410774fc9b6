"""The store: what it is given it keeps, whatever happens to the process or the disk."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.digest import Digest
from envbuild.errors import Damaged, NotFound, StoreError
from envbuild.store import Damage, Store, delete_tree

HELLO = Digest.of(b"hello")
NOBODY = 65534


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, which only root can make."""
    where = tmp_path / "small"
    where.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", where], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"cannot mount a small file system here: {made.stderr.decode().splitlines()[:1]}")
    yield where
    subprocess.run(["umount", "--lazy", where], check=True)


def as_nobody(folder: Path, act: Callable[[], object]) -> None:
    """Do it in ``folder``, in a process of somebody whom permissions bind, as they do not bind root."""
    child = os.fork()
    if not child:
        failed = 1
        try:
            os.chdir(folder)  # what leads to it may be closed to that somebody
            if os.geteuid() == 0:
                os.chown(folder, NOBODY, NOBODY)
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            act()
            failed = 0
        except BaseException:  # nothing may leave a forked child, not even what pytest stops a test with
            traceback.print_exc()
        finally:
            os._exit(failed)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def damage(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def scratch_of(store: Store) -> list[Path]:
    return list((store.root / "scratch").iterdir())


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


# What is kept


def test_a_store_that_was_only_asked_is_not_made(store: Store) -> None:
    assert HELLO not in store
    assert list(store.digests()) == []
    assert list(store.verify()) == []
    assert list(store.abandoned()) == []
    assert not store.root.exists()


def test_the_folder_is_an_oci_image_layout_and_marked_as_a_cache(store: Store) -> None:
    store.put(b"hello")

    assert json.loads((store.root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((store.root / "index.json").read_text())
    assert (index["schemaVersion"], index["manifests"]) == (2, [])
    assert (store.root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    assert (store.root / "blobs/sha256" / HELLO.hex).read_bytes() == b"hello"


def test_an_index_that_another_tool_wrote_stays(store: Store) -> None:
    store.put(b"hello")
    (store.root / "index.json").write_text("{}")

    Store(store.root).put(b"more")

    assert (store.root / "index.json").read_text() == "{}"


@settings(max_examples=40, deadline=None)
@given(contents=st.lists(st.binary(max_size=200), max_size=6))
def test_what_is_put_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    store = Store(tmp_path_factory.mktemp("store") / "store")

    digests = [store.put(content) for content in contents]

    assert [store.read(digest) for digest in digests] == contents
    assert list(store.digests()) == sorted(set(digests))
    assert list(store.verify()) == []


@pytest.mark.parametrize("way", ["bytes", "file", "linked file", "stream", "fleeting"])
def test_a_blob_is_read_only_and_leaves_nothing_in_scratch(store: Store, tmp_path: Path, way: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"hello")
    ways: dict[str, Callable[[], Digest]] = {
        "bytes": lambda: store.put(b"hello"),
        "file": lambda: store.put_file(source, expected=HELLO),
        "linked file": lambda: store.put_file(source, link=True),
        "stream": lambda: store.put_stream(io.BytesIO(b"hello"), expected=HELLO, size=5),
        "fleeting": lambda: store.put_file(source, durable=False),
    }

    assert ways[way]() == ways[way]() == HELLO

    assert store.path(HELLO).stat().st_mode & 0o777 == 0o444
    assert store.read(HELLO) == b"hello"
    assert scratch_of(store) == []


def test_a_linked_file_shares_its_bytes_with_the_blob(store: Store, tmp_path: Path) -> None:
    source, alias = tmp_path / "big.whl", tmp_path / "alias.whl"
    source.write_bytes(b"hello")
    os.utime(source, (0, 0))
    alias.symlink_to(source)

    store.put_file(alias, link=True)

    assert store.path(HELLO).samefile(source)
    assert not store.path(HELLO).is_symlink()
    assert store.path(HELLO).stat().st_mtime > time.time() - 60


def test_a_file_that_cannot_be_linked_is_copied(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_device(*_: object) -> NoReturn:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    source = tmp_path / "source"
    source.write_bytes(b"hello")
    monkeypatch.setattr(os, "link", other_device)

    assert store.put_file(source, link=True) == HELLO
    assert not store.path(HELLO).samefile(source)


def test_to_put_what_is_there_writes_nothing_and_counts_as_use(store: Store) -> None:
    store.put(b"hello")
    before = store.path(HELLO).stat()
    os.utime(store.path(HELLO), (0, 0))

    store.put(b"hello")

    after = store.path(HELLO).stat()
    assert after.st_ino == before.st_ino
    assert after.st_mtime > time.time() - 60


def test_to_put_a_blob_again_mends_one_that_was_cut_off(store: Store) -> None:
    store.put(b"hello")
    damage(store.path(HELLO), b"hel")

    store.put(b"hello")

    assert store.read(HELLO) == b"hello"


@pytest.mark.parametrize("size", [5, 3 << 20])
def test_only_what_has_to_outlast_a_power_cut_waits_for_the_disk(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    synced: list[int] = []
    store.prepare()
    monkeypatch.setattr(os, "fsync", synced.append)
    for name in ("one", "two", "three"):
        (tmp_path / name).write_bytes(os.urandom(size))

    digests = [store.put_file(tmp_path / "one", durable=False), store.put_file(tmp_path / "two", durable=False)]
    digests += [store.put(os.urandom(size), durable=False)]
    digests += [store.put_file(tmp_path / "two", link=True, durable=False)]
    assert synced == []
    assert [store.path(digest).stat().st_size for digest in digests] == [size] * 4
    assert list(store.verify()) == []

    store.put_file(tmp_path / "three")
    assert synced != []


def test_a_fleeting_blob_that_a_power_cut_left_empty_is_mended_by_the_next_put(store: Store) -> None:
    store.put(b"hello", durable=False)
    damage(store.path(HELLO), b"")

    store.put(b"hello", durable=False)

    assert store.read(HELLO) == b"hello"


def test_what_comes_must_be_what_was_expected(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "six.whl"
    source.write_bytes(b"other")

    with pytest.raises(Damaged, match=r"six\.whl is sha256:.*, and should be sha256:"):
        store.put_file(source, expected=HELLO)
    with pytest.raises(Damaged, match=r"six\.whl is"):
        store.put_file(source, expected=HELLO, link=True)
    with pytest.raises(Damaged, match="should be"):
        store.put_stream(io.BytesIO(b"other"), expected=HELLO)
    with pytest.raises(Damaged, match="more than the 4 bytes"):
        store.put_stream(io.BytesIO(b"hello"), size=4)
    with pytest.raises(Damaged, match="after 5 of 6 bytes"):
        store.put_stream(io.BytesIO(b"hello"), size=6)

    assert list(store.digests()) == []
    assert scratch_of(store) == []


def test_a_network_that_dies_on_the_way_leaves_nothing(store: Store) -> None:
    class Dying:
        def __init__(self) -> None:
            self.left = 3

        def read(self, size: int, /) -> bytes:
            self.left -= 1
            if not self.left:
                raise ConnectionResetError("reset by peer")
            return b"x" * size

    with pytest.raises(ConnectionResetError):
        store.put_stream(Dying())

    assert list(store.digests()) == []
    assert scratch_of(store) == []


def test_only_files_can_be_put(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(NotFound, match="no such file"):
        store.put_file(tmp_path / "nothing")
    with pytest.raises(StoreError, match="only files"):
        store.put_file(tmp_path)
    with pytest.raises(StoreError, match="only files"):
        store.put_file(tmp_path / "fifo")


# What is given


def test_a_blob_that_is_not_there_is_not_found(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=str(HELLO)):
        store.read(HELLO)
    with pytest.raises(NotFound):
        store.open(HELLO)
    with pytest.raises(NotFound):
        store.copy_to(HELLO, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    store.remove(HELLO)


@settings(max_examples=40, deadline=None)
@given(content=st.binary(min_size=1, max_size=300), data=st.data())
def test_no_changed_bit_goes_unseen(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = Store(folder / "store")
    digest = store.put(content)
    place = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    damage(store.path(digest), bytes(changed))
    (folder / "copy").write_bytes(b"as it was")

    with pytest.raises(Damaged) as caught:
        store.read(digest)
    assert str(digest) in str(caught.value)
    assert str(store.path(digest)) in str(caught.value)
    assert "envbuild store verify" in caught.value.hint
    with pytest.raises(Damaged):
        store.copy_to(digest, folder / "copy")
    assert (folder / "copy").read_bytes() == b"as it was"
    assert sorted(path.name for path in folder.iterdir()) == ["copy", "store"]
    assert store.read(digest, verify=False) == changed
    assert list(store.verify()) == [Damage("edited", f"blobs/sha256/{digest.hex}", digest)]


def test_verify_names_what_is_no_blob(store: Store) -> None:
    store.put(b"hello")
    (store.root / "blobs/sha256/notes.txt").touch()

    assert [str(damage) for damage in store.verify()] == ["unexpected: blobs/sha256/notes.txt"]
    assert list(store.digests()) == [HELLO]


def test_a_copy_can_be_edited_and_the_blob_stays(store: Store, tmp_path: Path) -> None:
    store.put(b"hello")

    store.copy_to(HELLO, tmp_path / "copy", mode=0o755)
    (tmp_path / "copy").write_bytes(b"edited")

    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o755
    assert store.read(HELLO) == b"hello"


def test_an_open_blob_can_be_read_after_it_was_removed(store: Store) -> None:
    store.put(b"hello")

    with store.open(HELLO) as stream:
        store.remove(HELLO)
        assert stream.read() == b"hello"
    assert HELLO not in store


def test_a_blob_that_is_wanted_again_in_time_stays(store: Store) -> None:
    store.put(b"hello")

    assert store.remove_if(HELLO, lambda found: found.st_mtime < time.time() - 3600) is None
    assert HELLO in store


# Disks


@pytest.mark.parametrize("way", ["bytes", "file", "stream"])
def test_a_full_disk_is_said_with_what_is_free_and_leaves_nothing(small_disk: Path, tmp_path: Path, way: str) -> None:
    store, big = Store(small_disk / "store"), os.urandom(3 << 20)
    (tmp_path / "big").write_bytes(big)
    ways: dict[str, Callable[[], Digest]] = {
        "bytes": lambda: store.put(big),
        "file": lambda: store.put_file(tmp_path / "big"),
        "stream": lambda: store.put_stream(io.BytesIO(big)),
    }
    store.put(b"hello")

    with pytest.raises(StoreError, match=r"no space left on device, [\d.]+ MB free") as caught:
        ways[way]()

    assert str(store.root) in str(caught.value)
    assert "envbuild store gc" in caught.value.hint
    assert "ENVBUILD_WORKSPACE" in caught.value.hint
    assert scratch_of(store) == []
    assert list(store.digests()) == [HELLO]
    assert store.put(b"small") in store


def test_a_full_destination_is_left_as_it_was(small_disk: Path, store: Store) -> None:
    digest = store.put(os.urandom(3 << 20))

    with pytest.raises(StoreError, match=str(small_disk)):
        store.copy_to(digest, small_disk / "copy")

    assert list(small_disk.iterdir()) == []


def test_a_read_only_store_is_read_and_says_that_it_cannot_be_written(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    store.put(b"hello")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    store = Store(small_disk / "store")

    assert store.read(HELLO) == b"hello"
    assert store.put(b"hello") == HELLO
    assert list(store.verify()) == []
    writes: list[Callable[[], object]] = [
        lambda: store.put(b"more"),
        lambda: store.remove(HELLO),
        lambda: store.locked("build").__enter__(),
        lambda: store.scratch().__enter__(),
    ]
    for write in writes:
        with pytest.raises(StoreError, match="read-only file system") as caught:
            write()
        assert str(store.root) in str(caught.value)
        assert "ENVBUILD_WORKSPACE" in caught.value.hint


def test_a_store_that_one_may_not_write_is_read_and_says_so(tmp_path: Path) -> None:
    def act() -> None:
        store = Store(Path("store"))
        store.put(b"hello")
        for folder in ("blobs/sha256", "scratch", "locks"):
            (store.root / folder).chmod(0o500)
        assert store.read(HELLO) == b"hello"
        assert store.put(b"hello") == HELLO
        with pytest.raises(StoreError, match="permission denied") as caught:
            store.put(b"more")
        assert "ENVBUILD_WORKSPACE" in caught.value.hint

    as_nobody(tmp_path, act)


def test_a_file_that_one_may_not_read_is_said(tmp_path: Path) -> None:
    def act() -> None:
        Path("private").touch(0o000)
        Path("closed").mkdir(0o700)
        Path("closed/file").touch()
        Path("closed").chmod(0o000)
        for path in ("private", "closed/file"):
            for link in (False, True):
                with pytest.raises(StoreError, match=f"cannot read {path}: permission denied"):
                    Store(Path("store")).put_file(Path(path), link=link)

    as_nobody(tmp_path, act)


# Processes


WRITES = """
import io, os, sys
from pathlib import Path
from envbuild.store import Store
store, source = Store(Path(sys.argv[1])), Path(sys.argv[2])
print("ready", flush=True)
while True:
    data = os.urandom(300_000)
    source.write_bytes(data)
    store.put_file(source, link=True)
    source.unlink()
    store.put(data[1:])
    store.put_stream(io.BytesIO(data[2:]))
"""


def test_a_writer_killed_at_any_point_leaves_a_store_that_works(store: Store, tmp_path: Path) -> None:
    for attempt in range(20):
        writer = start(WRITES, store.root, tmp_path / f"source-{attempt}")
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(attempt * 0.0017)
        writer.kill()
        writer.communicate()

    assert list(store.verify()) == []
    for path in store.abandoned():
        delete_tree(path)
    assert scratch_of(store) == []
    assert store.read(store.put(b"hello")) == b"hello"


HOLDS = """
import sys
from pathlib import Path
from envbuild.store import Store
store = Store(Path(sys.argv[1]))
with store.locked("build"), store.scratch("made") as folder:
    (folder / "half").write_text("done")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_scratch_room_is_abandoned_when_its_process_dies_and_not_before(store: Store) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDS, store.root], stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout is not None
        folder = Path(holder.stdout.readline().strip())
        assert list(store.abandoned()) == []
        holder.send_signal(signal.SIGKILL)
        holder.wait()

        assert list(store.abandoned()) == [folder]
        assert (folder / "half").read_text() == "done"
        for path in store.abandoned():
            delete_tree(path)
        assert scratch_of(store) == []
        with store.locked("build"):
            pass


def test_scratch_room_is_given_back_even_if_it_was_made_read_only(store: Store) -> None:
    with store.scratch("a/../b") as folder:
        assert folder.parent == store.root / "scratch"
        (folder / "kept").mkdir()
        (folder / "kept/file").touch()
        (folder / "link").symlink_to(store.root)
        (folder / "kept").chmod(0o500)
        assert list(store.abandoned()) == []

    assert scratch_of(store) == []
    assert store.root.exists()


def test_only_one_is_in_at_a_time_and_the_others_are_told(store: Store) -> None:
    told, entered = threading.Event(), threading.Event()

    def second() -> None:
        with store.locked("image", told.set):
            entered.set()

    thread = threading.Thread(target=second)
    with store.locked("image", lambda: pytest.fail("nobody else is in")), store.locked("other"):
        thread.start()
        assert told.wait(10)
        assert not entered.is_set()
    thread.join(10)
    assert entered.is_set()


@pytest.mark.parametrize("name", ["../../outside", "", ".", "..", "/etc/passwd", ".blobs", "x" * 1000, "naïve name"])
def test_any_name_makes_a_lock_inside_the_store(store: Store, tmp_path: Path, name: str) -> None:
    with store.locked(name):
        assert store.put(b"hello") == store.put(b"hello")
        store.remove(HELLO)

    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert not list(store.root.glob("locks/*/"))


ADDS = """
import sys
from pathlib import Path
from envbuild.store import Store
store = Store(Path(sys.argv[1]))
for number in range(20):
    assert store.read(store.put(b"%d" % number)) == b"%d" % number
"""


def test_sixteen_processes_put_the_same_content_in_a_store_that_is_not_there_yet(store: Store) -> None:
    writers = [start(ADDS, store.root) for _ in range(16)]
    for writer in writers:
        writer.communicate()

    assert [writer.returncode for writer in writers] == [0] * 16
    assert len(list(store.digests())) == 20
    assert list(store.verify()) == []
    assert scratch_of(store) == []


def test_importing_it_loads_nothing_heavy() -> None:
    program = "import sys, envbuild.collect; print(*(set(sys.modules) & set(sys.argv[1:])))"
    heavy = ["rich", "yaml", "sqlite3", "pluggy", "asyncio", "concurrent.futures", "shutil", "tempfile"]
    argv = [sys.executable, "-c", program, *heavy]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip() == ""

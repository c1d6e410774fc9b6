"""Collecting: nothing goes that anybody uses or refers to, and what goes is told with what it gave back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envbuild.collect import Collected, Kept, collect, usage
from envbuild.digest import Digest
from envbuild.image import Image
from envbuild.images import Images
from envbuild.platform import Platform
from envbuild.store import Store

MEGABYTE = 1 << 20
NOTHING: frozenset[Digest] = frozenset()


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(Store(tmp_path / "store"))


def publish(images: Images, name: str, *, used: int, size: int = MEGABYTE, shared: Path | None = None) -> Digest:
    environment = Digest.of(name.encode())
    with images.stage(environment) as stage:
        (stage / "prefix/own").write_bytes(os.urandom(size))
        if shared is not None:
            (stage / "prefix/shared").hardlink_to(shared)
        images.publish(stage, Image(kind="prefix", id=environment, platform=Platform.here()))
    os.utime(images.store.root / "leases" / environment.hex, (used, used))
    return environment


def old_blob(store: Store, data: bytes) -> Digest:
    digest = store.put(data)
    os.utime(store.path(digest), (1, 1))
    return digest


def gone(collected: Collected) -> list[str]:
    return [removed.name for removed in collected.removed if removed.kind == "image"]


def left(images: Images) -> set[Digest]:
    return {held.id for held in images.all()}


def abandon(store: Store) -> None:
    """Leave what a killed process leaves."""
    program = (
        "import os, signal, sys; from pathlib import Path; from envbuild.store import Store\n"
        "with Store(Path(sys.argv[1])).scratch('build') as folder:\n"
        "    (folder / 'half').write_bytes(bytes(100_000)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program, store.root], check=False).returncode == -9


# Usage


def test_a_store_that_is_not_there_takes_no_room(images: Images) -> None:
    found = usage(images.store, images)

    assert (found.total, found.images, found.blob_count) == (0, (), 0)
    assert collect(images.store, images, keep=NOTHING, limit=0, older_than=0) == Collected((), ())


def test_usage_counts_what_deleting_would_give_back(images: Images, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_bytes(os.urandom(2 * MEGABYTE))
    publish(images, "linked", used=1, shared=cache)
    images.store.put(os.urandom(MEGABYTE))
    abandon(images.store)

    found = usage(images.store, images)

    (image,) = found.images
    assert 3 * MEGABYTE <= image.size.apparent < 4 * MEGABYTE
    assert MEGABYTE <= image.size.frees < 2 * MEGABYTE
    assert found.blob_count == 1
    assert found.blobs.apparent == MEGABYTE
    assert 100_000 <= found.leftovers.apparent < 200_000
    assert 2 * MEGABYTE <= found.total < 3 * MEGABYTE


def test_sizes_are_remembered_until_they_are_asked_for_anew(images: Images, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_bytes(os.urandom(2 * MEGABYTE))
    publish(images, "linked", used=1, shared=cache)
    before = usage(images.store, images).images[0].size

    cache.unlink()

    assert usage(images.store, images).images[0].size == before
    assert usage(images.store, images, fresh=True).images[0].size.frees >= 3 * MEGABYTE
    assert usage(images.store, images).images[0].size.frees >= 3 * MEGABYTE
    (held,) = images.all()
    (held.path / "size.json").write_text("{")
    assert usage(images.store, images).images[0].size.frees >= 3 * MEGABYTE
    assert images.verify(held.id) == ()


# What nobody can miss


def test_without_a_limit_only_leftovers_and_loose_blobs_go(images: Images) -> None:
    old = publish(images, "old", used=1)
    loose, kept, young = old_blob(images.store, b"loose"), old_blob(images.store, b"kept"), images.store.put(b"young")
    abandon(images.store)

    collected = collect(images.store, images, keep=frozenset({kept}))

    assert [removed.kind for removed in collected.removed] == ["leftover", "blob"]
    assert collected.removed[1].name == str(loose)
    assert collected.freed >= 100_000
    assert set(images.store.digests()) == {kept, young}
    assert left(images) == {old}
    assert list((images.store.root / "scratch").iterdir()) == []


def test_what_a_living_process_makes_is_left_alone(images: Images) -> None:
    with images.stage(Digest.of(b"new")) as stage:
        collected = collect(images.store, images, keep=NOTHING, limit=0)
        assert (stage / "prefix").is_dir()

    assert collected.removed == ()


def test_an_environment_that_nobody_can_read_goes(images: Images) -> None:
    broken = publish(images, "broken", used=int(time.time()))
    (images.home(broken).parent / "image.json").write_text("{")

    collected = collect(images.store, images, keep=NOTHING, pinned=frozenset({broken}))

    assert gone(collected) == [str(broken)]
    assert collected.freed >= MEGABYTE
    assert left(images) == set()


def test_a_dry_run_tells_the_same_and_does_nothing(images: Images) -> None:
    ids = [publish(images, str(number), used=number + 1) for number in range(3)]
    (images.home(ids[2]).parent / "image.json").unlink()
    old_blob(images.store, os.urandom(MEGABYTE))
    abandon(images.store)

    dry = collect(images.store, images, keep=NOTHING, limit=3 * MEGABYTE // 2, dry_run=True)

    assert dry.dry_run
    assert left(images) == set(ids)
    assert len(list(images.store.digests())) == 1
    wet = collect(images.store, images, keep=NOTHING, limit=3 * MEGABYTE // 2)
    assert [removed.kind for removed in wet.removed] == ["leftover", "image", "blob", "image"]
    assert (wet.removed, wet.kept) == (dry.removed, dry.kept)


# Environments


def test_the_one_longest_unused_goes_first_and_no_more_than_needed(images: Images) -> None:
    ids = {used: publish(images, str(used), used=used) for used in (30, 10, 40, 20)}

    collected = collect(images.store, images, keep=NOTHING, limit=5 * MEGABYTE // 2)

    assert gone(collected) == [str(ids[10]), str(ids[20])]
    assert left(images) == {ids[30], ids[40]}
    assert 2 * MEGABYTE <= collected.freed < 3 * MEGABYTE
    assert collected.kept == ()


def test_use_makes_an_environment_young(images: Images) -> None:
    first, second = publish(images, "first", used=10), publish(images, "second", used=20)
    with images.hold(first):
        pass

    collect(images.store, images, keep=NOTHING, limit=3 * MEGABYTE // 2)

    assert left(images) == {first}
    assert second not in left(images)


def test_what_is_in_use_or_pinned_stays_and_that_is_told(images: Images) -> None:
    used, pinned, free = (publish(images, name, used=1) for name in ("used", "pinned", "free"))

    with images.hold(used):
        os.utime(images.store.root / "leases" / used.hex, (1, 1))
        collected = collect(images.store, images, keep=NOTHING, pinned=frozenset({pinned}), limit=0)

    assert gone(collected) == [str(free)]
    assert set(collected.kept) == {Kept(used, "in use"), Kept(pinned, "pinned")}
    assert left(images) == {used, pinned}


def test_what_was_not_used_for_long_goes_without_a_limit(images: Images) -> None:
    old, young = publish(images, "old", used=1), publish(images, "young", used=int(time.time()))

    assert gone(collect(images.store, images, keep=NOTHING, older_than=3600)) == [str(old)]
    assert left(images) == {young}


def test_what_two_environments_share_comes_back_with_the_second(images: Images, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_bytes(os.urandom(4 * MEGABYTE))
    for used in (1, 2):
        publish(images, str(used), used=used, shared=cache)
    cache.unlink()

    collected = collect(images.store, images, keep=NOTHING, limit=0)

    first, second = (removed.bytes for removed in collected.removed)
    assert MEGABYTE <= first < 2 * MEGABYTE
    assert 5 * MEGABYTE <= second < 6 * MEGABYTE


def test_what_an_installers_cache_has_too_does_not_come_back(images: Images, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_bytes(os.urandom(4 * MEGABYTE))
    for used in (1, 2):
        publish(images, str(used), used=used, shared=cache)

    assert 2 * MEGABYTE <= collect(images.store, images, keep=NOTHING, limit=0).freed < 3 * MEGABYTE


def test_blobs_count_towards_the_limit(images: Images) -> None:
    publish(images, "image", used=1)
    kept = old_blob(images.store, os.urandom(2 * MEGABYTE))
    loose = old_blob(images.store, os.urandom(2 * MEGABYTE))

    collect(images.store, images, keep=frozenset({kept}), limit=7 * MEGABYTE // 2)
    assert len(left(images)) == 1  # to remove the loose blob was enough
    assert loose not in images.store

    collect(images.store, images, keep=frozenset({kept}), limit=5 * MEGABYTE // 2)
    assert left(images) == set()


COLLECTS = """
import sys
from pathlib import Path
from envbuild.collect import collect
from envbuild.images import Images
from envbuild.store import Store
store = Store(Path(sys.argv[1]))
print("ready", flush=True)
collect(store, Images(store), keep=frozenset(), limit=0)
"""


def test_gc_killed_at_any_point_leaves_a_store_that_works(images: Images) -> None:
    store = images.store
    for attempt in range(12):
        for number in range(3):
            with images.stage(Digest.of(b"%d" % number)) as stage:
                for file in range(60):
                    (stage / f"prefix/{file}").write_bytes(b"content")
                image = Image(kind="prefix", id=Digest.of(b"%d" % number), platform=Platform.here())
                images.publish(stage, image)
            old_blob(store, b"%d" % number)
        with subprocess.Popen([sys.executable, "-c", COLLECTS, store.root], stdout=subprocess.PIPE) as collector:
            assert collector.stdout is not None
            collector.stdout.readline()
            time.sleep(attempt * 0.001)
            collector.kill()
        for held in images.all():
            assert held.image is not None
            assert images.verify(held.id) == ()
        assert list(store.verify()) == []

    collect(store, images, keep=NOTHING, limit=0)
    assert left(images) == set()
    assert list(store.digests()) == []
    assert list((store.root / "scratch").iterdir()) == []


def test_gc_beside_writers_takes_nothing_from_them(images: Images) -> None:
    store = images.store
    program = (
        "import sys; from pathlib import Path; from envbuild.store import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for number in range(300): assert store.read(store.put(b'%d' % (number % 10))) == b'%d' % (number % 10)"
    )
    for number in range(10):
        old_blob(store, b"%d" % number)
    writers = [subprocess.Popen([sys.executable, "-c", program, store.root]) for _ in range(3)]
    while any(writer.poll() is None for writer in writers):
        collect(store, images, keep=NOTHING)

    assert [writer.returncode for writer in writers] == [0, 0, 0]

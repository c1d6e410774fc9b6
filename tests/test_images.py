"""Environments on disk: whole or not there, the same for all, and told apart from what somebody made of them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuild.collect import usage
from envbuild.digest import Digest
from envbuild.errors import BuildFailed, Damaged, NotFound, Refused, StoreError
from envbuild.image import Image
from envbuild.images import Images, tree_digest
from envbuild.platform import Platform
from envbuild.store import Store, delete_tree

ID = Digest.of(b"an environment")
IMAGE = Image(kind="prefix", id=ID, platform=Platform("linux", "x86_64"), details={"name": "iris"})
SITE = "lib/python3.11/site-packages"
CODE = b"answer = 42\n"


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(Store(tmp_path / "store"))


def row(name: str, content: bytes) -> str:
    encoded = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={encoded},{len(content)}\n"


def install(prefix: Path, package: str, files: dict[str, bytes], *more: str) -> None:
    """Put a package into ``prefix`` as an installer would; ``more`` are rows of its record that nothing backs."""
    record = f"{package}-1.0.dist-info/RECORD"
    rows = "".join(row(f'"{name}"' if "," in name else name, content) for name, content in files.items())
    for name, content in {**files, record: f"{rows}{''.join(more)}{record},,\n".encode()}.items():
        place = Path(os.path.normpath(prefix / SITE / name))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def fill(prefix: Path) -> None:
    """Make what a builder makes."""
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/python").symlink_to("/usr/bin/python3")
    (prefix / "bin/activate").write_text("# activate\n")
    (prefix / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (prefix / "lib64").symlink_to("lib")
    files = {"six.py": CODE, "a, b.txt": b"comma", "deep/er/data.bin": bytes(range(256)), "deep/__init__.py": b""}
    install(prefix, "six", {**files, "../../../bin/six": b"#!python\n"}, "__pycache__/six.cpython-311.pyc,,\n")


def publish(images: Images, image: Image = IMAGE, build: Callable[[Path], object] = fill) -> Image:
    with images.stage(image.id) as stage:
        build(stage / "prefix")
        return images.publish(stage, image)


def damages(images: Images) -> list[str]:
    return [str(damage) for damage in images.verify(ID)]


# There or not there


def test_what_was_not_published_is_not_there(images: Images) -> None:
    assert images.find(ID) is None
    assert list(images.all()) == []
    for use in (images.verify, images.remove, lambda absent: images.hold(absent).__enter__()):
        with pytest.raises(NotFound, match=ID.short) as caught:
            use(ID)
        assert "envbuild build" in caught.value.hint
    assert not images.store.root.exists()


def test_what_was_published_is_found_with_all_that_is_known_of_it(images: Images) -> None:
    published = publish(images)

    assert published == images.find(ID)
    assert published.path == images.home(ID)
    assert published.platform == IMAGE.platform
    assert published.details == {"name": "iris"}
    assert (images.home(ID) / SITE / "six.py").read_bytes() == CODE
    document = json.loads((images.home(ID).parent / "image.json").read_text())
    assert (document["id"], document["kind"], document["python"]) == (str(ID), "prefix", "bin/python")
    assert document["created"].endswith("Z")
    assert damages(images) == []


def test_a_build_that_fails_leaves_nothing(images: Images) -> None:
    def fail(prefix: Path) -> None:
        fill(prefix)
        raise BuildFailed("no")

    with pytest.raises(BuildFailed, match="no"):
        publish(images, build=fail)

    assert images.find(ID) is None
    assert list((images.store.root / "scratch").iterdir()) == []


def test_who_publishes_second_gets_what_is_there(images: Images) -> None:
    publish(images)

    def other(prefix: Path) -> None:
        install(prefix, "other", {"other.py": b""})

    assert publish(images, build=other).path == images.home(ID)
    assert (images.home(ID) / SITE / "six.py").exists()
    assert not (images.home(ID) / SITE / "other.py").exists()
    assert list((images.store.root / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    "content", [None, b"", b'{"id":', b"[]", b"null", json.dumps({"kind": "prefix", "id": str(ID)}).encode()]
)
def test_what_nobody_can_tell_any_more_is_not_found_and_gives_way(images: Images, content: bytes | None) -> None:
    publish(images)
    described = images.home(ID).parent / "image.json"
    described.unlink()
    if content is not None:
        described.write_bytes(content)

    assert images.find(ID) is None
    assert [held.image for held in images.all()] == [None]
    assert publish(images) == images.find(ID)
    assert damages(images) == []


def test_an_oci_image_has_a_digest_and_no_path(images: Images) -> None:
    manifest = Digest.of(b"manifest")

    def nothing(prefix: Path) -> None:
        assert list(prefix.iterdir()) == []

    image = Image(kind="oci", id=ID, platform=IMAGE.platform, digest=manifest)
    assert publish(images, image, nothing) == image
    assert damages(images) == []


PUBLISHES = """
import sys
from pathlib import Path
from envbuild.digest import Digest
from envbuild.image import Image
from envbuild.images import Images
from envbuild.platform import Platform
from envbuild.store import Store
images, id = Images(Store(Path(sys.argv[1]))), Digest(sys.argv[2])
with images.stage(id) as stage:
    for number in range(100):
        (stage / "prefix" / str(number)).write_text("content")
    if sys.argv[3] == "tell":
        print("ready", flush=True)
    image = images.publish(stage, Image(kind="prefix", id=id, platform=Platform.here()))
with images.hold(id) as held:
    assert held == image and len(list(held.path.iterdir())) == 100
"""


def start(images: Images, tell: str = "") -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", PUBLISHES, str(images.store.root), ID.hex, tell]
    return subprocess.Popen(argv, stdout=subprocess.PIPE)


def test_sixteen_processes_publish_one_id_and_there_is_one(images: Images) -> None:
    builders = [start(images) for _ in range(16)]
    for builder in builders:
        builder.communicate()

    assert [builder.returncode for builder in builders] == [0] * 16
    assert damages(images) == []
    assert list((images.store.root / "scratch").iterdir()) == []


def test_a_publisher_killed_at_any_point_leaves_all_or_nothing(images: Images) -> None:
    for attempt in range(15):
        builder = start(images, "tell")
        assert builder.stdout is not None
        builder.stdout.readline()
        time.sleep(attempt * 0.001)
        builder.kill()
        builder.communicate()
        found = images.find(ID)
        if found is not None:
            assert damages(images) == []
            images.remove(ID)
    for path in images.store.abandoned():
        delete_tree(path)
    assert list((images.store.root / "scratch").iterdir()) == []
    assert publish(images) == images.find(ID)


# In use


def test_a_lease_protects_and_says_when_it_was_last_used(images: Images) -> None:
    publish(images)
    os.utime(images.store.root / "leases" / ID.hex, (1, 1))
    assert [(held.id, held.last_used, held.in_use) for held in images.all()] == [(ID, 1, False)]

    with images.hold(ID) as image, images.hold(ID):
        assert image == images.find(ID)
        (held,) = images.all()
        assert held.in_use
        assert held.last_used > time.time() - 60
        with pytest.raises(Refused, match="in use"):
            images.remove(ID)
        assert damages(images) == []

    images.remove(ID)
    assert images.find(ID) is None
    assert list((images.store.root / "scratch").iterdir()) == []


def test_a_lease_dies_with_its_process(images: Images) -> None:
    publish(images)
    program = (
        "import sys; from pathlib import Path; from envbuild.images import *\n"
        "with Images(Store(Path(sys.argv[1]))).hold(Digest(sys.argv[2])): print(flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", program, str(images.store.root), ID.hex]
    with subprocess.Popen(argv, stdin=-1, stdout=-1) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Refused):
            images.remove(ID)
        holder.kill()
        holder.wait()

    images.remove(ID)


def test_what_is_in_use_is_removed_if_that_is_forced(images: Images) -> None:
    publish(images)

    with images.hold(ID):
        images.remove(ID, force=True)

    assert images.find(ID) is None


def test_to_verify_is_no_use(images: Images) -> None:
    publish(images)
    os.utime(images.store.root / "leases" / ID.hex, (1, 1))

    images.verify(ID)

    assert [held.last_used for held in images.all()] == [1]


def test_a_read_only_store_can_be_used_but_not_changed(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "none", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"cannot mount a file system here: {made.stderr.decode().splitlines()[:1]}")
    try:
        images = Images(Store(disk / "store"))
        publish(images)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

        with images.hold(ID) as image:
            assert image == images.find(ID)
        assert damages(images) == []
        assert usage(images.store, images).total > 0
        with pytest.raises(StoreError, match="read-only file system"):
            images.remove(ID)
        with pytest.raises(StoreError, match="read-only file system"):
            publish(images)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


# Damaged


def test_what_is_left_behind_by_using_an_environment_is_no_damage(images: Images) -> None:
    publish(images)
    before = tree_digest(images.home(ID))
    for name in ("__pycache__/six.cpython-311.pyc", "deep/__pycache__/notes.txt", "legacy.pyc", "../../../.lock"):
        place = images.home(ID) / SITE / name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"compiled")

    assert damages(images) == []
    assert tree_digest(images.home(ID)) == before


def edit(place: Path) -> None:
    place.write_bytes(place.read_bytes() + b"edited")


def relink(place: Path) -> None:
    place.unlink()
    place.symlink_to("/etc/passwd")


def relink_to_same(place: Path) -> None:
    copy = place.rename(place.parent.parent.parent.parent.parent.parent / "copy")
    place.symlink_to(copy)


def to_fifo(place: Path) -> None:
    place.unlink()
    os.mkfifo(place)  # who opens it waits for ever


def to_folder(place: Path) -> None:
    place.unlink()
    place.mkdir()
    (place / "in-it").touch()


@pytest.mark.parametrize(
    ("path", "change", "expected"),
    [
        (f"{SITE}/six.py", edit, ["edited: {}"]),
        (f"{SITE}/a, b.txt", edit, ["edited: {}"]),
        ("bin/six", edit, ["edited: {}"]),
        ("pyvenv.cfg", edit, ["edited: {}"]),
        ("bin/activate", Path.unlink, ["missing: {}"]),
        (f"{SITE}/six-1.0.dist-info/RECORD", edit, ["edited: {}"]),
        (f"{SITE}/six-1.0.dist-info/RECORD", Path.unlink, ["missing: {}"]),
        (f"{SITE}/deep/er/data.bin", Path.unlink, ["missing: {}"]),
        (f"{SITE}/deep/er/data.bin", relink, ["edited: {}"]),
        (f"{SITE}/six.py", relink_to_same, ["edited: {}"]),
        (f"{SITE}/deep/__init__.py", to_fifo, ["edited: {}"]),
        (f"{SITE}/six.py", to_folder, ["missing: {}", "unexpected: {}/in-it"]),
        (f"{SITE}/new.py", Path.touch, ["unexpected: {}"]),
        (f"{SITE}/new.py", os.mkfifo, ["unexpected: {}"]),
        ("bin/python", relink, ["edited: {}"]),
    ],
)
def test_damage_is_named_and_healed(
    images: Images, tmp_path: Path, path: str, change: Callable[[Path], None], expected: list[str]
) -> None:
    publish(images)
    fresh = tmp_path / "fresh"
    fill(fresh)
    before = tree_digest(images.home(ID))

    change(images.home(ID) / path)

    assert damages(images) == [line.format(path) for line in expected]
    assert tree_digest(images.home(ID)) != before
    assert images.heal(ID, fresh) == tuple(line.format(path).partition(": ")[2] for line in expected)
    assert damages(images) == []
    assert tree_digest(images.home(ID)) == before
    assert images.heal(ID, fresh) == ()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 255), bit=st.integers(0, 7))
def test_no_changed_bit_goes_unseen(images: Images, place: int, bit: int) -> None:
    if images.find(ID) is None:
        publish(images)
    path = images.home(ID) / SITE / "deep/er/data.bin"
    content = bytearray(range(256))
    content[place] ^= 1 << bit
    path.write_bytes(content)

    assert damages(images) == [f"edited: {SITE}/deep/er/data.bin"]


def test_a_folder_that_became_a_link_is_not_followed_and_is_healed(images: Images, tmp_path: Path) -> None:
    publish(images)
    fresh, elsewhere, deep = tmp_path / "fresh", tmp_path / "elsewhere", images.home(ID) / SITE / "deep"
    fill(fresh)
    deep.rename(elsewhere)
    deep.symlink_to(elsewhere)
    (elsewhere / "mine.txt").touch()

    assert damages(images) == [
        f"unexpected: {SITE}/deep",
        f"missing: {SITE}/deep/__init__.py",
        f"missing: {SITE}/deep/er/data.bin",
    ]
    images.heal(ID, fresh)

    assert damages(images) == []
    assert not deep.is_symlink()
    assert sorted(path.name for path in elsewhere.iterdir()) == ["__init__.py", "er", "mine.txt"]


def test_healing_leaves_other_links_to_a_damaged_file_alone(images: Images, tmp_path: Path) -> None:
    cache = tmp_path / "cached-six.py"
    cache.write_bytes(CODE)

    def linked(prefix: Path) -> None:
        fill(prefix)
        (prefix / SITE / "six.py").unlink()
        (prefix / SITE / "six.py").hardlink_to(cache)

    publish(images, build=linked)
    cache.write_bytes(b"answer = 41\n")  # in place: as long as before, in the cache and in the environment
    fresh, damaged = tmp_path / "fresh", tmp_path / "damaged"
    fill(fresh)
    linked(damaged)
    assert damages(images) == [f"edited: {SITE}/six.py"]

    with pytest.raises(Damaged, match=r"six\.py") as caught:
        images.heal(ID, damaged)
    assert "cache" in caught.value.hint
    assert images.heal(ID, fresh) == (f"{SITE}/six.py",)

    assert cache.read_bytes() == b"answer = 41\n"
    assert (images.home(ID) / SITE / "six.py").read_bytes() == CODE
    assert (fresh / SITE / "six.py").read_bytes() == CODE


def test_healing_forgets_what_was_compiled_from_an_edited_module(images: Images, tmp_path: Path) -> None:
    publish(images)
    fresh, module = tmp_path / "fresh", images.home(ID) / SITE / "six.py"
    fill(fresh)
    module.write_bytes(b"answer = 41\n")
    (module.parent / "__pycache__").mkdir()
    for name in ("six.cpython-311.pyc", "seven.cpython-311.pyc"):
        (module.parent / "__pycache__" / name).touch()

    images.heal(ID, fresh)

    assert [path.name for path in (module.parent / "__pycache__").iterdir()] == ["seven.cpython-311.pyc"]


def test_a_damaged_seal_is_said_and_made_anew(images: Images, tmp_path: Path) -> None:
    publish(images)
    fresh = tmp_path / "fresh"
    fill(fresh)
    (images.home(ID).parent / "seal.json").write_text("{}")
    edit(images.home(ID) / SITE / "six.py")

    assert damages(images) == ["edited: ../seal.json"]
    assert images.heal(ID, fresh) == ("../seal.json", f"{SITE}/six.py")
    assert damages(images) == []


@pytest.mark.parametrize("name", ["../../../../outside", "/etc/passwd", "deep/../../../../../../outside"])
@pytest.mark.parametrize("rest", [",sha256=AAAA,4", f",sha256={'A' * 43},4", ",,"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_record_that_leads_outside_is_refused(images: Images, name: str, rest: str, quote: str) -> None:
    def build(prefix: Path) -> None:
        install(prefix, "evil", {"evil.py": b""}, f"{quote}{name}{quote}{rest}\n")

    with pytest.raises(BuildFailed, match="outside the environment") as caught:
        publish(images, build=build)

    assert "evil-1.0.dist-info/RECORD" in str(caught.value)
    assert name in str(caught.value)
    assert images.find(ID) is None


def test_a_record_that_leads_outside_later_is_damage_and_not_followed(images: Images, tmp_path: Path) -> None:
    publish(images)
    record = images.home(ID) / SITE / "six-1.0.dist-info/RECORD"
    os.mkfifo(tmp_path / "outside")  # who opens it waits for ever
    with record.open("a") as file:
        file.write(f"{'../' * 12}{tmp_path}/outside,sha256=AAAA,4\n")

    assert damages(images) == [f"edited: {SITE}/six-1.0.dist-info/RECORD"]


def test_a_lost_record_hides_nothing_for_long(images: Images, tmp_path: Path) -> None:
    publish(images)
    fresh, site = tmp_path / "fresh", images.home(ID) / SITE
    fill(fresh)
    record = site / "six-1.0.dist-info/RECORD"
    edit(site / "six.py")
    (site / "new.py").touch()
    # It says that all is well.
    record.write_text(row("six.py", (site / "six.py").read_bytes()) + row("new.py", b""))

    assert damages(images) == [f"edited: {SITE}/six-1.0.dist-info/RECORD"]
    mended = images.heal(ID, fresh)

    assert mended == (f"{SITE}/new.py", f"{SITE}/six-1.0.dist-info/RECORD", f"{SITE}/six.py")
    assert damages(images) == []
    assert (site / "six.py").read_bytes() == CODE
    assert not (site / "new.py").exists()


def test_a_record_that_a_fresh_build_has_otherwise_is_not_mended_and_the_rest_is(
    images: Images, tmp_path: Path
) -> None:
    publish(images)
    fresh, home = tmp_path / "fresh", images.home(ID)
    fill(fresh)
    install(fresh, "six", {"six.py": b"answer = 41\n"})
    (home / SITE / "six-1.0.dist-info/RECORD").unlink()
    edit(home / "pyvenv.cfg")

    with pytest.raises(Damaged, match=r"^1 damaged .*RECORD"):
        images.heal(ID, fresh)

    assert damages(images) == [f"missing: {SITE}/six-1.0.dist-info/RECORD"]
    assert (home / SITE / "six.py").read_bytes() == CODE


@pytest.mark.parametrize("way", ["link", "file"])
def test_what_stands_where_the_folder_of_a_record_was_gives_way(images: Images, tmp_path: Path, way: str) -> None:
    publish(images)
    fresh, elsewhere = tmp_path / "fresh", tmp_path / "elsewhere"
    fill(fresh)
    folder = images.home(ID) / SITE / "six-1.0.dist-info"
    folder.rename(elsewhere)
    if way == "link":
        folder.symlink_to(elsewhere)
    else:
        folder.touch()
    (elsewhere / "RECORD").write_text("mine")

    assert damages(images) == [
        f"unexpected: {folder.relative_to(images.home(ID))}",
        f"missing: {SITE}/{folder.name}/RECORD",
    ]
    images.heal(ID, fresh)

    assert damages(images) == []
    assert (elsewhere / "RECORD").read_text() == "mine"


def test_what_a_record_vouches_for_and_is_not_so_when_it_is_published_is_no_damage(images: Images) -> None:
    def build(prefix: Path) -> None:
        more = [row("absent.py", b""), row("linked.py", CODE), row("legacy.pyc", b""), row("a/../here.py", CODE)]
        install(prefix, "odd", {"odd.py": b""}, *more, row(f"{prefix / SITE}/absolute.py", CODE))
        for name in ("here.py", "absolute.py", "legacy.pyc"):
            (prefix / SITE / name).write_bytes(CODE)
        (prefix / SITE / "linked.py").symlink_to("odd.py")

    publish(images, build=build)
    assert damages(images) == []

    for name in ("absolute.py", "here.py"):
        edit(images.home(ID) / SITE / name)
    relink(images.home(ID) / SITE / "linked.py")
    (images.home(ID) / SITE / "absent.py").touch()
    assert damages(images) == [
        f"{what}: {SITE}/{name}"
        for what, name in [
            ("unexpected", "absent.py"),
            ("edited", "absolute.py"),
            ("edited", "here.py"),
            ("edited", "linked.py"),
        ]
    ]


def test_a_file_that_no_record_vouches_for_is_sealed_by_its_content(images: Images) -> None:
    def build(prefix: Path) -> None:
        # Two packages with one file, a row without a hash, a hash of another kind, a row that is no row.
        install(prefix, "one", {"shared.py": b"one", "bare.py": b""}, "weak.py,md5=abc,3\n", "odd\n", "gone.py,,\n")
        install(prefix, "two", {"shared.py": b"two"})
        (prefix / SITE / "weak.py").write_bytes(b"123")

    publish(images, build=build)
    assert damages(images) == []

    (images.home(ID) / SITE / "shared.py").write_bytes(b"one")
    (images.home(ID) / SITE / "weak.py").write_bytes(b"321")
    assert damages(images) == [f"edited: {SITE}/shared.py", f"edited: {SITE}/weak.py"]


def test_names_that_are_not_text_are_sealed_too(images: Images) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    try:
        publish(images, build=lambda prefix: (prefix / name).write_bytes(b"x"))
    except OSError:
        pytest.skip("this file system wants UTF-8")
    assert damages(images) == []

    edit(images.home(ID) / name)
    assert damages(images) == [f"edited: {name}"]


# The tree digest


def test_the_tree_digest_is_the_same_wherever_the_tree_is_and_however_it_was_made(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    fill(tmp_path / "two")
    for path in sorted((tmp_path / "two").rglob("*.py"), reverse=True):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
        os.utime(path, (1, 1))
    (tmp_path / "two/empty").mkdir()

    assert tree_digest(tmp_path / "one") == tree_digest(tmp_path / "two")


@pytest.mark.parametrize(
    "change",
    [
        lambda prefix: (prefix / "pyvenv.cfg").chmod(0o755),
        lambda prefix: (prefix / "pyvenv.cfg").rename(prefix / "other.cfg"),
        lambda prefix: (prefix / "pyvenv.cfg").write_text("home = /usr/bin"),
        lambda prefix: relink(prefix / "lib64"),
        lambda prefix: (prefix / "new").touch(),
    ],
    ids=["mode", "name", "content", "target", "new"],
)
def test_the_tree_digest_changes_with_what_is_on_disk(tmp_path: Path, change: Callable[[Path], object]) -> None:
    fill(tmp_path)
    before = tree_digest(tmp_path)

    change(tmp_path)

    assert tree_digest(tmp_path) != before


def test_the_tree_digest_does_not_take_the_end_of_a_name_for_the_beginning_of_its_content(tmp_path: Path) -> None:
    for name, target in (("a", "bc"), ("ab", "c")):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).symlink_to(target)

    assert tree_digest(tmp_path / "a") != tree_digest(tmp_path / "ab")

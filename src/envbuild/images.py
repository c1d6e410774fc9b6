"""Images on disk: the environments that the store holds, by id.

An environment is made aside in scratch room and renamed to its place when it is whole, so that what is found is
always complete. It is shared by all who ask for its id and changed by nobody. Whoever uses it holds a lease: as long
as anybody does, gc leaves it alone, and the time of the lease is that of the last use.

A lease is a shared ``flock`` on ``leases/HEX``, taken *before* looking whether the image is there. Lease files are
never deleted: a lease on a deleted file would protect nothing.
"""

# ruff: noqa: A002  an environment's id is called id everywhere
from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from envbuild.digest import Digest
from envbuild.errors import Damaged, NotFound, Refused
from envbuild.image import Image
from envbuild.layout import IMAGE, IMAGES, LEASES, PREFIX
from envbuild.platform import Platform
from envbuild.seal import Seal, Sealed, check, compare, expect, from_json, seal, to_json
from envbuild.seal import tree_digest as tree_digest
from envbuild.store import Damage, Store, delete_tree, is_leased, lease, no_lease, sync_folder, writing

SEAL = "seal.json"
_SCHEME = 1
_HEAL = "run 'envbuild store verify', which mends it"


@dataclass(frozen=True, slots=True)
class Held:
    """An environment that the store holds.

    :param path: the folder with all that belongs to it.
    :param image: ``None`` if what describes it cannot be read: nobody can use it any more.
    :param last_used: seconds since 1970.
    """

    id: Digest
    path: Path
    image: Image | None
    last_used: float
    in_use: bool


class Images:
    """The environments in a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __repr__(self) -> str:
        return f"Images({self.store!r})"

    def home(self, id: Digest) -> Path:
        """Where the prefix is, or will be, whose id this is."""
        return self._folder(id) / PREFIX

    def find(self, id: Digest) -> Image | None:
        """Give the environment; ``None`` if it is not there, or nobody can tell any more what it is."""
        try:
            document = json.loads((self._folder(id) / IMAGE).read_bytes())
            image = _image(document, self.home(id))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return image if image.id == id and (image.path is None or image.path.is_dir()) else None

    def all(self) -> Iterator[Held]:
        """Give all environments that the store holds, in the order of their ids."""
        folder = self.store.root / IMAGES
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            with suppress(ValueError, FileNotFoundError):
                yield self._held(Digest(path.name), path)

    def _held(self, id: Digest, path: Path) -> Held:
        leased = self._lease(id)
        used = (leased if leased.exists() else path).stat().st_mtime
        return Held(id, path, self.find(id), used, is_leased(leased))

    # Making one

    @contextmanager
    def stage(self, id: Digest) -> Iterator[Path]:
        """Lend a folder with an empty ``prefix`` in it to build in, for `publish` to put in its place."""
        with self.store.scratch(f"image-{id.short}") as folder:
            (folder / PREFIX).mkdir()
            yield folder

    def publish(self, stage: Path, image: Image) -> Image:
        """Put what was built in ``stage`` in its place, and seal it.

        If somebody else has published the same id meanwhile, that one stays.

        :param image: what it is; its path does not matter. What else is worth knowing (its name, the digest of its
            lock) goes into its details.
        :returns: the image that is now found under that id, with the path that it has there.
        :raises BuildFailed: a package lays claim to files outside of the prefix.
        :raises StoreError: the store cannot be written.
        """
        self._describe(stage, image)
        folder = self._folder(image.id)
        with writing(self.store.root):
            self._lease(image.id).touch()
            if not _moved(stage, folder) and self.find(image.id) is None:
                # What lies there is of no use to anyone, or it would have been found.
                with self.store.scratch("removed") as scratch:
                    _moved(folder, scratch / folder.name)
                _moved(stage, folder)
        return self._found(image.id)

    def _describe(self, stage: Path, image: Image) -> None:
        sealed = to_json(seal(stage / PREFIX))
        document = {
            "scheme": _SCHEME,
            "kind": image.kind,
            "id": str(image.id),
            "platform": str(image.platform),
            "python": image.python,
            "digest": None if image.digest is None else str(image.digest),
            "activated": dict(image.activated),
            "details": dict(image.details),
            "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "seal": str(Digest.of(sealed)),
        }
        with writing(self.store.root):
            _write(stage / SEAL, sealed)
            _write(stage / IMAGE, _to_json(document))
            sync_folder(stage)

    # Using one

    @contextmanager
    def hold(self, id: Digest) -> Iterator[Image]:
        """Keep the environment from being removed, and note that it was used now.

        :raises NotFound: it is not there.
        """
        with self._leased(id) as image:
            # Not everyone who may use a shared store may write there.
            with suppress(OSError):
                os.utime(self._lease(id))
            yield image

    @contextmanager
    def _leased(self, id: Digest) -> Iterator[Image]:
        if not self._folder(id).exists():
            raise _absent(id)
        with writing(self.store.root):
            held = lease(self._lease(id))
            held.__enter__()
        try:
            yield self._found(id)
        finally:
            held.__exit__(None, None, None)

    # Getting rid of one

    def remove(self, id: Digest, *, force: bool = False) -> None:
        """Throw the environment away.

        :param force: also while it is in use.
        :raises Refused: it is in use.
        :raises NotFound: it is not there.
        """
        folder = self._folder(id)
        if not folder.exists():
            raise _absent(id)
        # It vanishes at once and is deleted then: whoever is killed in between leaves no half of it to be found.
        with (
            self.store.scratch("removed") as scratch,
            writing(self.store.root),
            no_lease(self._lease(id)) as unused,
            suppress(FileNotFoundError),
        ):
            if not (unused or force):
                raise Refused(
                    f"the environment {id.short} is in use",
                    hint="wait for what runs in it ('envbuild runs list' shows that), or ask for it to be forced",
                )
            folder.rename(scratch / folder.name)

    # Looking after one

    def verify(self, id: Digest) -> tuple[Damage, ...]:
        """Read all files of the environment, and name those that are not what they were when it was published.

        Paths are relative to the prefix, ``../seal.json`` if the seal itself is damaged. What Python and uv leave
        behind while an environment is used is no damage.

        :raises NotFound: it is not there.
        """
        with self._leased(id):
            try:
                return compare(self.home(id), expect(self._seal(id), self.home(id)))
            except Damaged:
                return (Damage("edited", f"../{SEAL}"),)

    def heal(self, id: Digest, fresh: Path) -> tuple[str, ...]:
        """Make the environment again what it was when it was published.

        Files are replaced one by one, so that it can be used meanwhile, and by others, so that what else has links
        to a damaged file (uv's cache, other environments) is not touched.

        :param fresh: a prefix just built for the same id. Each file is taken from it only if it is what it should
            be: one that was linked from the same damaged cache is not.
        :returns: the paths that were mended.
        :raises NotFound: it is not there.
        :raises Damaged: some of it cannot be mended with ``fresh``; the rest was.
        """
        with self._leased(id):
            resealed = self._mend_seal(id, fresh)
            home = self.home(id)
            expected = expect(self._seal(id), home, fresh)
            # First what is in the way: a file where a folder should be hides all that is missing in it.
            damages = sorted(compare(home, expected), key=lambda damage: damage.what != "unexpected")
            outcome = {damage.path: self._mend(damage, expected.paths, home, fresh) for damage in damages}
        hopeless = [path for path, mended in outcome.items() if not mended]
        if hopeless:
            raise Damaged(
                f"{len(hopeless)} damaged files of {id.short} are not what they should be in the fresh build either: "
                + ", ".join(hopeless[:5]),
                hint="what it is installed from may be damaged too: clean that cache, and try again",
            )
        return tuple(sorted((*resealed, *outcome)))

    def _mend_seal(self, id: Digest, fresh: Path) -> tuple[str, ...]:
        try:
            self._seal(id)
        except Damaged:
            path, data = self._folder(id) / IMAGE, to_json(seal(fresh))
            document = json.loads(path.read_bytes())
            self.store.write(path.with_name(SEAL), data)
            self.store.write(path, _to_json({**document, "seal": str(Digest.of(data))}))
            return (f"../{SEAL}",)
        return ()

    def _mend(self, damage: Damage, expected: Mapping[str, Sealed], home: Path, fresh: Path) -> bool:
        place, source = home / damage.path, fresh / damage.path
        if damage.what == "unexpected":
            with writing(self.store.root):
                place.unlink(missing_ok=True)
            return True
        with self.store.scratch("mend") as scratch, writing(self.store.root):
            import shutil

            made = scratch / "file"
            try:
                shutil.copy2(source, made, follow_symlinks=False)
            except FileNotFoundError:
                return False
            if check(scratch, made.name, expected[damage.path]) is not None:
                return False
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir() and not place.is_symlink():
                delete_tree(place)
            made.replace(place)
        _forget_compiled(place)
        return True

    def _seal(self, id: Digest) -> Seal:
        path = self._folder(id) / SEAL
        try:
            document = json.loads((self._folder(id) / IMAGE).read_bytes())
            data = path.read_bytes()
            if str(Digest.of(data)) == document["seal"]:
                return from_json(data)
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            raise Damaged(f"{path} cannot be read: {error}", hint=_HEAL) from error
        raise Damaged(f"{path} was edited", hint=_HEAL)

    def _folder(self, id: Digest) -> Path:
        return self.store.root / IMAGES / id.hex

    def _lease(self, id: Digest) -> Path:
        return self.store.root / LEASES / id.hex

    def _found(self, id: Digest) -> Image:
        image = self.find(id)
        if image is None:
            raise _absent(id)
        return image


def _absent(id: Digest) -> NotFound:
    return NotFound(f"the store has no environment {id.short}", hint="build it with 'envbuild build'")


def _to_json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, indent=2).encode() + b"\n"


def _image(document: Any, home: Path) -> Image:
    digest = document["digest"]
    return Image(
        kind=document["kind"],
        id=Digest.parse(document["id"]),
        platform=Platform.parse(document["platform"]),
        python=document["python"],
        path=home if document["kind"] == "prefix" else None,
        digest=None if digest is None else Digest.parse(digest),
        # Those that were made before there was such a thing have none.
        activated=document.get("activated", {}),
        details=document["details"],
    )


def _moved(stage: Path, folder: Path) -> bool:
    """Rename, unless there is something in ``folder`` already."""
    try:
        stage.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    sync_folder(folder.parent)
    return True


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _forget_compiled(source: Path) -> None:
    # Python takes compiled code for current if time and size of its source agree, which an edit can leave as they were.
    if source.suffix == ".py":
        for compiled in (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc"):
            compiled.unlink(missing_ok=True)

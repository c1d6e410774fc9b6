"""Workspaces: where names, versions and runs are recorded, together with the store that holds what they mean."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild import layout
from envbuild.catalogue import Catalogue, EnvironmentVersion
from envbuild.digest import Digest
from envbuild.errors import Damaged, NotFound, StoreError

# Commands that list names and runs read no definition and touch no store, and should not wait for what that takes.
if TYPE_CHECKING:
    from envbuild.definition import Definition
    from envbuild.fingerprint import Document
    from envbuild.images import Images
    from envbuild.store import Store


class Workspace:
    """One workspace; nothing is made on disk before something is recorded.

    :param root: its folder; by default what `envbuild.layout.workspace_root` says.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or Path(layout.workspace_root())

    @cached_property
    def store(self) -> Store:
        """Its content by digest."""
        from envbuild.store import Store

        return Store(self.root / layout.STORE)

    @cached_property
    def images(self) -> Images:
        """Its environments by id."""
        from envbuild.images import Images

        return Images(self.store)

    @cached_property
    def catalogue(self) -> Catalogue:
        """Its names, versions and runs; opened when first asked for."""
        return Catalogue(self.root / layout.CATALOGUE)

    # -- definitions --------------------------------------------------------------------------------------

    def keep(self, document: Document) -> Digest:
        """Keep a canonical document under its digest."""
        return self.store.put(document.encoded)

    def document(self, digest: Digest) -> Document:
        """Read a canonical document back.

        :raises NotFound: it is not kept here.
        """
        from envbuild.fingerprint import Document

        return Document.parse(self.store.read(digest))

    def register(
        self, name: str, definition: Definition, *, description: str = "", pinned: bool = False
    ) -> EnvironmentVersion:
        """Give a definition a name and a version; the same definition keeps the version that it has.

        :param pinned: gc leaves its environment alone.
        """
        from envbuild.fingerprint import definition_document

        document = definition_document(definition)
        self.keep(document)
        # Where it was read from only matters to a definition that names what lies there.
        root = definition.root if definition.is_local else None
        before = self.catalogue.registered(name, document.digest)
        version = self.catalogue.register(name, document.digest, root, description=description, pinned=pinned)
        if before is None:
            self.forget_warm()
        return version

    def definition_of(self, version: EnvironmentVersion) -> Definition:
        """The definition behind a registered version."""
        from envbuild.definition import Definition

        document = self.document(Digest.parse(version.definition_digest))
        root = Path(version.root) if version.root else None
        return Definition.from_content(document.content, name=version.name, root=root)

    def add_wheel(self, digest: Digest) -> None:
        """Remember that a private wheel was added by hand, so that gc keeps it before anything uses it."""
        folder = self.root / layout.WHEELS
        folder.mkdir(parents=True, exist_ok=True)
        (folder / digest.hex).touch()

    def added_wheels(self) -> Iterator[Digest]:
        """The private wheels that were added by hand."""
        folder = self.root / layout.WHEELS
        yield from (Digest(name) for name in (os.listdir(folder) if folder.is_dir() else ()))

    def forget_warm(self) -> None:
        """Make every command look afresh at what it means: names may mean something else now."""
        self.store.write(self.root / layout.NAMES, os.urandom(8).hex().encode())
        shutil.rmtree(self.root / layout.WARM, ignore_errors=True)

    # -- runs ---------------------------------------------------------------------------------------------

    @contextmanager
    def recorded(self) -> Iterator[Catalogue]:
        """The catalogue, with everything in it that runs have left word of."""
        self.take_in()
        yield self.catalogue

    def take_in(self) -> None:
        """Enter into the catalogue what has become of runs since the last time; those that died are found here."""
        inbox = self.root / layout.INBOX
        try:
            waiting = sorted(os.listdir(inbox))
        except FileNotFoundError:
            return
        for run in waiting:
            record = self.run_record(run)
            if record is None:
                # Its folder has gone; there is nothing left to be said of it.
                (inbox / run).unlink(missing_ok=True)
                continue
            self.catalogue.upsert_run(record)
            if record["ended_at"]:
                (inbox / run).unlink(missing_ok=True)

    def run_folder(self, run: str) -> Path:
        """Where a run's files are."""
        return self.root / layout.RUNS / run

    def run_record(self, run: str) -> dict[str, Any] | None:
        """What a run's folder says of it, in the words of `envbuild.outcome.RunRecord`; ``None`` if it says nothing.

        A run without an end whose supervisor is gone is one that failed, and that is recorded.
        """
        folder = self.run_folder(run)
        request = _read_json(folder / layout.REQUEST)
        if request is None:
            return None
        end = _read_json(folder / layout.END)
        if end is None and not self.is_supervised(run):
            # It may have come to its end between the two looks.
            end = _read_json(folder / layout.END) or self._record_death(folder, request)
        record = {**request, **(end or {"status": "Running", "ended_at": None, "exit_code": None})}
        for moment in ("created_at", "ended_at"):
            if record[moment] is not None:
                record[moment] = datetime.datetime.fromtimestamp(record[moment], datetime.UTC).isoformat()
        return {**record, "folder": str(folder)}

    def is_supervised(self, run: str) -> bool:
        """Whether some process holds the run's lease, and so will record its end."""
        try:
            lease = os.open(self.run_folder(run) / layout.LEASE, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lease, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lease)
        return False

    def supervisor(self, run: str) -> int | None:
        """The process that watches a run, or ``None`` if nobody does."""
        if not self.is_supervised(run):
            return None
        text = (self.run_folder(run) / layout.LEASE).read_text(encoding="ascii")
        return int(text) if text.isdigit() else None

    def sweep_runs(self) -> None:
        """Remove the folders of runs that were killed before they started: nobody has heard of those."""
        runs = self.root / layout.RUNS
        for run in os.listdir(runs) if runs.is_dir() else ():
            folder = runs / run
            if not (folder / layout.REQUEST).exists() and not self.is_supervised(run) and _is_old(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def _record_death(self, folder: Path, request: Mapping[str, Any]) -> dict[str, Any]:
        from envbuild.outputs import collect

        try:
            outputs = collect(str(folder), str(self.store.root))
        except (StoreError, FileNotFoundError):
            outputs = {}
        last = max((each.stat().st_mtime for each in folder.iterdir()), default=request["created_at"])
        end = {
            "status": "Failed",
            "exit_code": None,
            "reason": "the process that watched it was killed, or the machine stopped",
            "ended_at": last,
            "seconds": request.get("seconds", {}),
            "outputs": outputs,
            "left": [],
        }
        # Two readers may find the same death; the first one's word stands.
        beside = folder / f"{layout.END}.{os.getpid()}"
        beside.write_text(json.dumps(end), encoding="ascii")
        try:
            os.link(beside, folder / layout.END)
        except FileExistsError:
            end = _read_json(folder / layout.END) or end
        finally:
            beside.unlink()
        return end

    def run(self, identity: str) -> dict[str, Any]:
        """A run by its id, or by enough of its beginning.

        :raises NotFound: there is none, or more than one.
        """
        with self.recorded() as catalogue:
            return catalogue.run(identity)

    def locate_id(self, text: str) -> Digest | None:
        """The environment whose id is, or begins with, ``text``; ``None`` if it looks like no id at all.

        :raises NotFound: no environment here has such an id, or several have.
        """
        digits = text.removeprefix("sha256:")
        if not 8 <= len(digits) <= 64 or set(digits) - set("0123456789abcdef"):
            return None
        found = self.catalogue.resolution_of(f"sha256:{digits}")
        if found is None:
            raise NotFound(f"no environment with the id {text} is known here", hint="see 'envbuild env list'")
        return Digest.parse(found.environment_id)


def _is_old(folder: Path) -> bool:
    # A run that is just being made has its folder a moment before its lease.
    return time.time() - folder.stat().st_mtime > 60


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Damaged(f"{path} is damaged: {error}", hint="remove its folder to forget that run") from error
    return dict(content)

"""Workspaces: where names, versions and runs are recorded, together with the store that holds what they mean."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild import layout
from envbuild.catalogue import Catalogue, EnvironmentVersion, Resolution
from envbuild.digest import Digest
from envbuild.errors import Damaged, NotFound, Refused, StoreError
from envbuild.regular import open_regular

# Commands that list names and runs read no definition and touch no store, and should not wait for what that takes.
if TYPE_CHECKING:
    from envbuild.definition import Definition
    from envbuild.fingerprint import Document
    from envbuild.images import Images
    from envbuild.store import Store


class Workspace:
    """One workspace; nothing is made on disk before something is recorded.

    :param root: its folder; by default what `envbuild.layout.workspace_root` says.
    :raises StoreError: it is no folder.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or Path(layout.workspace_root())
        if self.root.is_file():
            hint = "ENVBUILD_WORKSPACE names a folder, or a workspace"
            raise StoreError(f"the workspace {self.root} is a file", hint=hint)

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

    def resolution_of(self, version: EnvironmentVersion, platform: str) -> Resolution | None:
        """What a version stands for on ``platform``: what it was settled on, else the last that its definition gave."""
        settled = self.catalogue.history(str(version), platform, limit=1)
        return settled[0] if settled else self.catalogue.latest_resolution(version.definition_digest, platform)

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

    def enqueue(self, run: str, queue: str) -> None:
        """Note that a run waits to be started, by whoever minds ``queue``."""
        folder = self.root / layout.QUEUE
        folder.mkdir(parents=True, exist_ok=True)
        # Never seen without what it says, which would be taken for a queue that nobody minds.
        beside = self.run_folder(run) / "queue"
        beside.write_text(queue, encoding="ascii")
        beside.rename(folder / run)

    def claim(self, run: str) -> bool:
        """Take a run out of its queue, to start it or to see that it never is; of all who try, one succeeds."""
        try:
            (self.root / layout.QUEUE / run).unlink()
        except FileNotFoundError:
            return False
        return True

    def lose(self, run: str, reason: str) -> None:
        """Record that a run which waits will not be started, unless somebody else has it by now."""
        if self.claim(run):
            self._record_end(self.run_folder(run), "Failed", reason)

    def is_queued(self, run: str) -> bool:
        """Whether a run waits to be started, and somebody lives who will."""
        try:
            queue = (self.root / layout.QUEUE / run).read_text(encoding="ascii", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return False
        return _is_held(self.root / layout.DISPATCHERS / queue)

    def cancel(self, run: str) -> bool:
        """Ask a run to stop; one that waits to be started is over at once.

        :param run: the whole id.
        :returns: whether there was anything left to be stopped.
        :raises Refused: it is another user's.
        """
        if self.claim(run):
            folder = self.run_folder(run)
            self._record_end(folder, "Canceled", "canceled before it was started")
            # What was copied for it will not be needed.
            shutil.rmtree(folder / layout.WORK, ignore_errors=True)
            return True
        process = self.supervisor(run)
        folder = self.run_folder(run)
        if process is None or (folder / layout.END).exists():
            return False
        if (_read_json(folder / layout.REQUEST, _TOLD) or {}).get("type") == "interactive":
            # Its process has other things to do as well, and is not ended for it.
            from envbuild.inside.envbuild.interactive import finish

            return finish(str(folder), "Canceled", "canceled from outside")
        try:
            os.kill(process, signal.SIGTERM)
        except ProcessLookupError:
            return False  # it has just come to its end
        except PermissionError as error:
            raise Refused(f"run {run} was started by another user", hint="only they can cancel it") from error
        return True

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
        found: list[dict[str, Any]] = []
        over: list[str] = []
        for run in waiting:
            try:
                record = self.run_record(run)
            except Damaged as error:
                record = self._record_loss(run, str(error))
            if record is not None:
                found.append(record)
            # Where its folder has gone, there is nothing left to be said of it.
            if record is None or record["ended_at"]:
                over.append(run)
        # Numbers are given out in the order in which the runs were asked for.
        self.catalogue.upsert_runs(sorted(found, key=lambda each: str(each["created_at"])))
        for run in over:
            (inbox / run).unlink(missing_ok=True)

    def run_folder(self, run: str) -> Path:
        """Where a run's files are."""
        return self.root / layout.RUNS / run

    def run_record(self, run: str) -> dict[str, Any] | None:
        """What a run's folder says of it, in the words of `envbuild.outcome.RunRecord`; ``None`` if it says nothing.

        Besides, ``started_at`` says when it began to run; ``None`` of one that waits, or that ended without. A run
        without an end whose supervisor is gone is one that failed, and that is recorded.

        :raises Damaged: what was run cannot be read.
        """
        folder = self.run_folder(run)
        request = _read_json(folder / layout.REQUEST, _TOLD)
        if request is None:
            return None
        if request["id"] != run:
            raise Damaged(f"{folder / layout.REQUEST} is that of another run, {request['id']!r}", hint=_FORGET)
        end = _read_end(folder)
        if end is None and not self.is_supervised(run):
            # It may have come to its end between the two looks.
            end = _read_end(folder) or self._record_death(folder, request)
        if end is not None and end["outputs"] is None:
            end = self._collect(folder, end)
        began = None if request.get("status") in _WAITING else request["created_at"]
        try:
            noted = _noted(folder, request)
            record = {"started_at": began, **request, **noted, **(end or {"ended_at": None, "exit_code": None})}
            return {**_checked(record), "folder": str(folder)}
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise Damaged(f"{folder} does not say what a run is described by: {error}", hint=_FORGET) from error

    def is_supervised(self, run: str) -> bool:
        """Whether some process holds the run's lease, or will, and so will record its end."""
        # In this order, since whoever takes a run out of its queue holds its lease by then.
        return self.is_queued(run) or _is_held(self.run_folder(run) / layout.LEASE)

    def supervisor(self, run: str) -> int | None:
        """The process that watches a run, or ``None`` if nobody does."""
        lease = self.run_folder(run) / layout.LEASE
        if not _is_held(lease):
            return None
        text = lease.read_text(encoding="ascii", errors="replace")
        # The run's script can write there too; it may not have other processes stopped by that.
        return int(text) if text.isdigit() and int(text) > 1 and _may_hold(int(text), lease) else None

    def sweep_runs(self) -> None:
        """Remove what killed processes left of runs.

        Of those that had not started the folder goes, for nobody has heard of them; of the others the copies of
        their snapshot's files, once what they started can be taken to have ended too.
        """
        dispatchers = self.root / layout.DISPATCHERS
        for each in list(dispatchers.iterdir()) if dispatchers.is_dir() else ():
            with suppress(FileNotFoundError):
                if not _is_held(each) and _age(each) > _MAKING:
                    each.unlink()
        runs = self.root / layout.RUNS
        for run in os.listdir(runs) if runs.is_dir() else ():
            folder = runs / run
            with suppress(FileNotFoundError):
                if self.is_supervised(run):
                    continue
                if not (folder / layout.REQUEST).exists():
                    if _age(folder) > _MAKING:
                        shutil.rmtree(folder, ignore_errors=True)
                elif (folder / layout.DIED).exists() and _age(folder / layout.DIED) > _ENDING:
                    self._clear_copies(folder)

    def recall(self, run: str) -> None:
        """Have the catalogue look at a run again: something has been noted of it."""
        (self.root / layout.INBOX / run).touch()

    def amend_run(self, run: str, **facts: Any) -> None:
        """Add to what is recorded of a run while it goes on.

        :raises Damaged: what is recorded cannot be read.
        """
        file = self.run_folder(run) / layout.REQUEST
        known = _read_json(file, _TOLD)
        self.store.write(file, json.dumps({**(known or {}), **facts}).encode("ascii"))
        self.recall(run)

    def _clear_copies(self, folder: Path) -> None:
        from envbuild.snapshot import remove_copies

        request = _read_json(folder / layout.REQUEST, _TOLD)
        if request is not None and request["snapshot"]:
            with suppress(NotFound, Damaged):
                remove_copies(Digest.parse(request["snapshot"]), self.store, folder / layout.WORK)
        (folder / layout.DIED).unlink(missing_ok=True)

    def _record_death(self, folder: Path, request: Mapping[str, Any]) -> dict[str, Any]:
        self.claim(folder.name)
        status = request.get("status")
        reason = {
            "Queued": "the process that was to start it was killed, or the machine stopped",
            "Preparing": "the process that made its environment ready was killed, or the machine stopped",
        }.get(str(status), "the process that watched it was killed, or the machine stopped")
        # What it started may still be writing: these files are not made unchangeable.
        return self._record_end(folder, "Failed", reason, collecting=status in ("Running", "Finalizing"), died=True)

    def _record_end(
        self, folder: Path, status: str, reason: str, *, collecting: bool = False, died: bool = False
    ) -> dict[str, Any]:
        """Record the end of a run that nobody watches; of several who do so, the first one's word stands."""
        from envbuild.store import writing

        request = _read_json(folder / layout.REQUEST, _TOLD) or {}
        last = max((each.lstat().st_mtime for each in folder.iterdir()), default=time.time())
        end = {
            "status": status,
            "exit_code": None,
            "reason": reason,
            "ended_at": last if died else time.time(),
            "seconds": request.get("seconds", {}),
            "outputs": self._outputs(folder, link=False) if collecting else {},
            "left": [],
        }
        beside = folder / f"{layout.END}.{os.getpid()}"
        with writing(self.root):
            try:
                if died:
                    (folder / layout.DIED).touch()
                (folder / f"{layout.END}.new").unlink(missing_ok=True)
                beside.write_text(json.dumps(end), encoding="ascii")
                os.link(beside, folder / layout.END)
            except FileExistsError:
                known = _read_end(folder)
                if known is not None:
                    return known
                beside.replace(folder / layout.END)
            finally:
                beside.unlink(missing_ok=True)
        return end

    def _collect(self, folder: Path, end: Mapping[str, Any]) -> dict[str, Any]:
        """Take in what a run has left that could not do so itself, as those that say their end themselves cannot."""
        collected = {**end, "outputs": self._outputs(folder, link=True)}
        self.store.write(folder / layout.END, json.dumps(collected).encode())
        return collected

    def _outputs(self, folder: Path, *, link: bool) -> dict[str, Any]:
        from envbuild.outputs import collect

        try:
            return collect(str(folder), str(self.store.root), link=link)
        except (StoreError, FileNotFoundError):
            return {}

    def _record_loss(self, run: str, reason: str) -> dict[str, Any] | None:
        """What there is to be said of a run whose folder cannot be read any more; ``None`` if nothing was known."""
        try:
            known = self.catalogue.run(run)
        except NotFound:
            return None
        now = datetime.datetime.now(datetime.UTC).isoformat()
        return None if known["ended_at"] else {**known, "status": "Failed", "reason": reason, "ended_at": now}

    def delete_run(self, identity: str) -> dict[str, Any]:
        """Forget a run and remove its folder; what of it lies in the store goes with the next gc.

        :raises Refused: it has not ended.
        """
        run = self.run(identity)
        if not run["ended_at"]:
            raise Refused(f"run {run['id']} has not ended", hint=f"stop it: envbuild runs cancel {run['id']}")
        (self.root / layout.INBOX / run["id"]).unlink(missing_ok=True)
        self.claim(run["id"])
        # What the store holds is read-only, and so are the folder's links to it: folders are what has to be writable.
        shutil.rmtree(self.run_folder(run["id"]), ignore_errors=True)
        self.catalogue.delete_run(run["id"])
        return run

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


_KINDS: Mapping[str, Any] = {
    "experiment": str, "status": str, "target": str, "command": list, "environment": dict, "tags": dict,
    "snapshot": str | None, "source": str, "git": dict, "seconds": dict, "variables": list, "secrets": list,
    "created_at": int | float, "started_at": int | float | None, "ended_at": int | float | None,
    "exit_code": int | None, "outputs": dict | None,
    "parent": str | None, "name": str | None, "properties": dict | None, "type": str | None, "data": list | None,
}  # fmt: skip
"""What stands in a record; what may be ``None`` may be missing as well."""

_FORGET = "remove its folder to forget that run"

_MAKING = 60.0
"""In seconds: a run that is just being made has its folder a moment before its lease."""

_ENDING = 3600.0
"""In seconds: what a run that died had started may go on for a while."""

_TOLD = (
    "id",
    "experiment",
    "command",
    "environment",
    "snapshot",
    "created_at",
    "secrets",
    "git",
    "seconds",
    "variables",
)
_ENDED = ("status", "exit_code", "ended_at", "seconds", "outputs")

_WAITING = ("NotStarted", "Queued", "Preparing")
"""As long as its folder says so, a run has not begun."""


def _is_held(lock: Path) -> bool:
    """Whether a living process holds ``lock``."""
    try:
        with open_regular(lock) as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    return False


def _may_hold(process: int, lease: Path) -> bool:
    """Whether a process is among those that the system says hold a lock on that file, where it says anything."""
    try:
        held = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return True
    inode = lease.stat().st_ino
    rows = [line.replace("->", "").split() for line in held.splitlines()]
    return any(row[4] == str(process) and row[5].rpartition(":")[2] == str(inode) for row in rows if len(row) > 5)


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _noted(folder: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """What has been noted of a run since it began, by its script or by anybody else."""
    if not (folder / layout.NOTES).exists():
        return {}
    from envbuild.metrics import read_notes

    notes = read_notes(folder, request.get("tags"))
    # What is said of its end, if there is one, stands above this.
    status = "CancelRequested" if notes.cancel else None
    said = {"name": notes.display_name, "description": notes.description, "status": status}
    return {
        **{key: value for key, value in said.items() if value},
        "tags": dict(notes.tags),
        "properties": {**request.get("properties", {}), **notes.properties},
    }


def _read_end(folder: Path) -> dict[str, Any] | None:
    try:
        return _read_json(folder / layout.END, _ENDED)
    except Damaged:
        # As a power cut may leave it; then nothing is known of the end.
        return None


def _read_json(path: Path, keys: tuple[str, ...]) -> dict[str, Any] | None:
    try:
        with open_regular(path) as stream:
            content = json.loads(stream.read().decode("ascii"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, OSError, RecursionError) as error:
        raise Damaged(f"{path} cannot be read: {error}", hint=_FORGET) from error
    if not isinstance(content, dict) or not content.keys() >= set(keys):
        raise Damaged(f"{path} is damaged: it does not say what a run is described by", hint=_FORGET)
    return content


def _checked(record: dict[str, Any]) -> dict[str, Any]:
    """A record as it may be relied on, whoever could write to the run's folder; its times as texts.

    :raises ValueError: something in it is not what it has to be.
    """
    for key, kinds in _KINDS.items():
        if not isinstance(record.get(key), kinds):
            raise ValueError(f"{key} is {record.get(key)!r}")
    environment = record["environment"]
    named = [environment.get(key) for key in ("name", "version", "id", "definition_digest")]
    for each in (*named, *record["command"], *record["tags"].values(), *(record.get("properties") or {}).values()):
        if not isinstance(each, str | None):
            raise ValueError(f"a text is wanted, not {each!r}")
    if not {"name", "version", "id"} <= environment.keys():
        raise ValueError("the environment is not named")
    for moment in ("created_at", "ended_at", "started_at"):
        if record.get(moment) is not None:
            record[moment] = datetime.datetime.fromtimestamp(record[moment], datetime.UTC).isoformat()
    return record

"""Locks: every artifact that will be installed, by digest, for one platform and one Python.

A lock is written as PEP 751 says, so that other installers can use it too; what that format has no word for
stands under ``[tool.envbuild]``: platform, exact Python, the definition it was made from, packages of other
kinds than pip's. `Resolution` is a lock in the making, which the plugins add their packages to in turn.
"""

from __future__ import annotations

import datetime
import json
import logging
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

import tomli_w
from packaging.markers import Marker
from packaging.pylock import (
    Package as PylockPackage,
)
from packaging.pylock import (
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockValidationError,
)
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from envbuild.digest import Digest
from envbuild.errors import LockError, PackageClash
from envbuild.platform import Platform
from envbuild.progress import QUIET, Progress
from envbuild.requirement import without_credentials

LOCK_VERSION = 1
"""The version of what stands under ``[tool.envbuild]``; readers refuse one that is greater."""

_FORMAT = Version("1.0")
"""The version of PEP 751's format that is known here."""

_AGAIN = "restore it from version control, or remove it and lock again"

_OF_PIP = ("pip", "wheel")
"""The kinds of packages that PEP 751 has words for."""

ArtifactKind = Literal["wheel", "sdist", "archive", "directory", "vcs", "installed"]

_FILES = ("wheel", "sdist", "archive")
"""The kinds of artifacts that are one file."""

_OBSERVED = "what is installed was found so, in an interpreter that somebody else looks after: nothing is pinned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file, folder or revision that a package is installed from.

    :param kind: ``wheel`` and ``sdist`` come from an index, ``archive`` from a direct URL or path,
        ``directory`` is a project on this machine, ``vcs`` a revision of a repository. What is ``installed`` was there
        already, and is neither fetched nor changed: the lock says what was found, and it may have changed since.
    :param url: where it is fetched from, or ``None`` where ``path`` says; never with credentials.
    :param path: relative to the lock's folder, with ``/``.
    :param digest: of the file; ``None`` for directories and repositories, which have none.
    :param size: of the file, in bytes.
    :param filename: of the file; where none is given, what its URL or path ends with.
    :param revision: the full commit id of a ``vcs`` artifact.
    """

    kind: ArtifactKind
    url: str | None = None
    path: str | None = None
    digest: Digest | None = None
    size: int | None = None
    filename: str | None = None
    editable: bool = False
    revision: str | None = None
    vcs: str | None = None
    requested_revision: str | None = None
    subdirectory: str | None = None
    upload_time: datetime.datetime | None = None

    def __post_init__(self) -> None:
        if self.filename is None and self.kind in _FILES:
            object.__setattr__(self, "filename", _last(self.url or self.path))

    @property
    def is_source(self) -> bool:
        """Whether something has to be built before it can be installed."""
        return self.kind != "installed" and self.kind != "wheel" and not (self.filename or "").endswith(".whl")

    @property
    def place(self) -> str:
        """Where it is fetched from, for messages."""
        return self.url or self.path or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package of a lock.

    :param kind: the ecosystem it is installed by: ``pip``, ``wheel`` (a private one), ``conda`` …
    :param details: what only the plugin of that kind understands, as text; part of the environment's id. Under
        ``provides`` everybody finds the Python distribution that a package of another kind than pip's brings.
    """

    name: str
    version: str | None
    artifact: Artifact
    kind: str = "pip"
    marker: str | None = None
    requires_python: str | None = None
    index: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} {self.version}" if self.version else f"{self.name} ({self.artifact.place})"

    @property
    def label(self) -> str:
        """What tells it from all others of a lock: conda has a ``tzdata`` that is not pip's."""
        return self.name if self.kind in _OF_PIP else f"{self.name} ({self.kind})"

    @property
    def provides(self) -> str | None:
        """The normalised name of the Python distribution that it is, if it is one: there can only be one of each."""
        found = self.name if self.kind in _OF_PIP else self.details.get("provides")
        return canonicalize_name(found) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Everything that will be installed.

    :param python: the exact version of the interpreter.
    :param made_from: the digest of what a lock depends on in the definition it was made from (see
        `envbuild.fingerprint.lock_document`); ``None`` for another tool's lock.
    :param definition: the name of the definition's file, beside which the lock lies.
    :param inputs: files besides the definition that it was made from (constraint files, ``pyproject.toml`` of
        local projects), by path relative to the lock, with their digests: they make it stale too.
    :raises ValueError: two packages have one name.
    :param system: what the packages need of the machine itself and the lock was made for, such as ``__glibc=2.28``;
        not part of the environment's id.
    """

    python: str
    platform: Platform
    packages: tuple[Package, ...] = ()
    made_from: Digest | None = None
    definition: str | None = None
    as_of: datetime.date | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    system: tuple[str, ...] = ()
    created_by: str = "envbuild"
    root: Path | None = field(default=None, compare=False)
    """The folder that relative paths are meant from."""

    def __post_init__(self) -> None:
        ordered = sorted(self.packages, key=lambda each: (each.kind, each.name))
        object.__setattr__(self, "packages", tuple(ordered))
        known: dict[str, Package] = {}
        for each in ordered:
            other = known.setdefault(normalize("NFC", each.label), each)
            if other is not each:
                # An id is taken of packages by their names, and would know nothing of one of them.
                raise ValueError(f"two packages are called {each.label}: {other} and {each}")

    @property
    def built_from_source(self) -> tuple[Package, ...]:
        """The packages for which code of theirs runs on this machine before they are installed."""
        return tuple(each for each in self.of_kind("pip") if each.artifact.is_source)

    @property
    def is_observed(self) -> bool:
        """Whether it says what was found somewhere, rather than what will be installed."""
        return any(each.artifact.kind == "installed" for each in self.packages)

    @property
    def brings_python(self) -> bool:
        """Whether the interpreter is one of its packages: no other may be put in its place."""
        return any(each.kind not in _OF_PIP and each.name == "python" for each in self.packages) or self.is_observed

    def of_kind(self, *kinds: str) -> tuple[Package, ...]:
        """The packages that the plugins of ``kinds`` install."""
        return tuple(each for each in self.packages if each.kind in kinds)

    def find(self, name: str) -> Package | None:
        """The package of that name, whatever its kind."""
        wanted = canonicalize_name(name)
        return next((each for each in self.packages if canonicalize_name(each.name) == wanted), None)

    @property
    def packages_digest(self) -> Digest:
        """The digest of what will be installed, by which a lock that was edited by hand is told."""
        rows = [
            (each.kind, each.name, each.version, each.artifact.kind, each.artifact.filename, str(each.artifact.digest),
             each.artifact.revision, each.artifact.path if each.artifact.kind == "directory" else None,
             each.artifact.subdirectory, each.artifact.editable, each.marker, sorted(each.details.items()))
            for each in self.packages
        ]  # fmt: skip
        return Digest.of(json.dumps(rows).encode())

    # -- the written form --------------------------------------------------------------------------------

    def to_toml(self) -> str:
        """Write it as PEP 751 says. Equal locks are written alike; `parse` undoes it."""
        ours: dict[str, Any] = {
            "lock-version": LOCK_VERSION,
            "python": self.python,
            "platform": str(self.platform),
        }
        if self.definition:
            ours["definition"] = self.definition
        if self.made_from:
            ours["made-from"] = str(self.made_from)
        ours["packages-digest"] = str(self.packages_digest)
        if self.as_of:
            ours["as-of"] = self.as_of
        if self.inputs:
            ours["inputs"] = dict(sorted(self.inputs.items()))
        if self.system:
            ours["system"] = list(self.system)
        others = [_foreign_to_dict(each) for each in self.packages if each.kind not in _OF_PIP]
        if others:
            ours["packages"] = others
        if self.is_observed:
            ours["note"] = _OBSERVED
        pylock = Pylock(
            lock_version=_FORMAT,
            created_by=self.created_by,
            # Artifacts fit every patch release; the very one that this environment has stands in our own table.
            requires_python=_range_of(self.python),
            packages=[_to_pylock(each) for each in self.packages if each.kind in _OF_PIP],
            tool={"envbuild": ours},
        )
        return tomli_w.dumps(pylock.to_dict(), multiline_strings=False)

    @classmethod
    def parse(cls, text: str | bytes, *, where: str = "pylock.toml", root: Path | None = None) -> Lock:
        """Read a lock that `to_toml` wrote.

        :param text: what the file holds; bytes are UTF-8, or the lock is refused.
        :param where: the file's name, for messages.
        :raises LockError: it is not valid PEP 751, was not made by envbuild, or by a newer one.
        """
        pylock = read_pylock(text, where=where)
        ours = (pylock.tool or {}).get("envbuild")
        if not isinstance(ours, Mapping):
            raise LockError(f"{where}: made by {pylock.created_by}, not by envbuild")
        written = ours.get("lock-version")
        if type(written) is not int or written < 1:
            raise LockError(f"{where}: {written!r} is no lock version", hint=_AGAIN)
        if written > LOCK_VERSION:
            raise LockError(f"{where}: written by a newer envbuild (lock version {written})", hint="upgrade envbuild")
        try:
            made_from = ours.get("made-from")
            packages = [from_pylock(each) for each in pylock.packages]
            packages += [_foreign_from_dict(each) for each in ours.get("packages", ())]
            lock = cls(
                python=str(Version(ours["python"])),
                platform=Platform.parse(ours["platform"]),
                packages=tuple(packages),
                made_from=Digest.parse(made_from) if made_from else None,
                definition=ours.get("definition"),
                as_of=ours.get("as-of"),
                inputs={str(path): str(found) for path, found in ours.get("inputs", {}).items()},
                system=tuple(str(each) for each in ours.get("system", ())),
                created_by=pylock.created_by,
                root=root,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise LockError(f"{where}: [tool.envbuild] is damaged: {error}", hint=_AGAIN) from error
        _check_python(lock, pylock.requires_python, where)
        if ours.get("packages-digest") != str(lock.packages_digest):
            raise LockError(f"{where}: its packages are not those that were locked: it was edited by hand", hint=_AGAIN)
        return lock


def _check_python(lock: Lock, range_: SpecifierSet | None, where: str) -> None:
    """See to it that a lock says one thing of its Python, wherever it says it.

    :raises LockError: it does not: it was edited by hand.
    """
    said = [str(range_)] if range_ not in (None, _range_of(lock.python)) else []
    # What pip calls `python` is none; whoever else has a package of that name brings the interpreter.
    brought = (each for each in lock.packages if each.kind not in _OF_PIP and each.name == "python")
    said += [str(each.version) for each in brought if _version(each.version) != Version(lock.python)]
    if said:
        raise LockError(f"{where}: says both Python {lock.python} and {said[0]}", hint=_AGAIN)


def _range_of(python: str) -> SpecifierSet:
    return SpecifierSet(f"=={'.'.join(python.split('.')[:2])}.*")


def _version(text: str | None) -> Version | None:
    try:
        return Version(text or "")
    except InvalidVersion:
        return None


def read_pylock(text: str | bytes, *, where: str) -> Pylock:
    """Read any PEP 751 lock, whoever made it.

    One of a newer minor version is read as one of version 1.0, and the log is told of it once, as PEP 751 asks.

    :param text: what the file holds; bytes are UTF-8, or the lock is refused.
    :param where: the file's name, for messages.
    :raises LockError: it is not valid TOML, or not valid PEP 751.
    """
    text = lock_text(text, where=where)
    if text.startswith("\N{BYTE ORDER MARK}"):
        # It could be read, and would be passed on to other tools, most of which do not.
        raise LockError(
            f"{where}: begins with a byte order mark, which TOML 1.0 does not have", hint="save it as UTF-8 without one"
        )
    try:
        form = tomllib.loads(text)
        version = form.get("lock-version")
        newer = _version(version) if isinstance(version, str) else None
        if newer is not None and _FORMAT < newer < Version("2"):
            _tell_of_newer(where, newer)
            # Else packaging tells of it each time, and not of which file.
            form["lock-version"] = str(_FORMAT)
        return Pylock.from_dict(form)
    except (tomllib.TOMLDecodeError, PylockValidationError, RecursionError) as error:
        raise LockError(
            f"{where}: not a valid lock file (PEP 751): {error}",
            hint=_AGAIN,
        ) from error


def lock_text(data: str | bytes, *, where: str) -> str:
    """What a lock's file holds, as text.

    :raises LockError: it is not UTF-8, and so no TOML.
    """
    if isinstance(data, str):
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        said = f"{where}: not UTF-8: byte 0x{data[error.start]:02x} in line {line}"
        raise LockError(said, hint=_AGAIN) from error


@lru_cache(maxsize=64)
def _tell_of_newer(where: str, version: Version) -> None:
    logging.getLogger(__name__).warning(
        "warning: %s: lock-version is %s: what it has beyond %s is not looked at", where, version, _FORMAT
    )


def from_pylock(package: PylockPackage, artifact: object = None) -> Package:
    """Translate a package of a PEP 751 lock.

    :param artifact: which of its artifacts to install; by default the only wheel, else the source.
    :raises ValueError: the artifact has no sha256.
    """
    chosen = artifact or (package.wheels[0] if package.wheels else None)
    chosen = chosen or package.sdist or package.archive or package.directory or package.vcs
    made: Artifact
    match chosen:
        case PackageWheel() | PackageSdist() | PackageArchive():
            made = Artifact(
                kind={PackageWheel: "wheel", PackageSdist: "sdist", PackageArchive: "archive"}[type(chosen)],  # type: ignore[arg-type]
                url=without_credentials(chosen.url) if chosen.url else None,
                path=chosen.path,
                digest=_sha256(package.name, chosen.hashes),
                size=chosen.size,
                filename=getattr(chosen, "name", None) or _last(chosen.url or chosen.path),
                subdirectory=getattr(chosen, "subdirectory", None),
                upload_time=chosen.upload_time,
            )
        case PackageDirectory():
            made = Artifact(
                kind="directory",
                path=chosen.path,
                editable=bool(chosen.editable),
                subdirectory=chosen.subdirectory,
            )
        case PackageVcs():
            made = Artifact(
                kind="vcs",
                url=without_credentials(chosen.url) if chosen.url else None,
                path=chosen.path,
                vcs=chosen.type,
                revision=chosen.commit_id,
                requested_revision=chosen.requested_revision,
                subdirectory=chosen.subdirectory,
            )
        case _:
            raise ValueError(f"{package.name}: nothing to install it from")
    ours = (package.tool or {}).get("envbuild", {})
    return Package(
        name=package.name,
        version=str(package.version) if package.version else None,
        artifact=made,
        kind=str(ours.get("kind", "pip")),
        marker=str(package.marker) if package.marker else None,
        requires_python=str(package.requires_python) if package.requires_python else None,
        index=package.index,
    )


def _to_pylock(package: Package) -> PylockPackage:
    artifact = package.artifact
    kept: dict[str, Any] = {}
    hashes = {"sha256": artifact.digest.hex} if artifact.digest else {}
    common: dict[str, Any] = {"url": artifact.url, "path": artifact.path}
    match artifact.kind:
        case "wheel" | "sdist":
            # The file name is only written where neither URL nor path ends with it (PEP 751, "name").
            shown = None if artifact.filename == _last(artifact.url or artifact.path) else artifact.filename
            common |= {"name": shown, "size": artifact.size, "hashes": hashes, "upload_time": artifact.upload_time}
            if artifact.kind == "wheel":
                kept["wheels"] = [PackageWheel(**common)]
            else:
                kept["sdist"] = PackageSdist(**common)
        case "archive":
            kept["archive"] = PackageArchive(
                **common,
                size=artifact.size,
                hashes=hashes,
                upload_time=artifact.upload_time,
                subdirectory=artifact.subdirectory,
            )
        case "directory":
            kept["directory"] = PackageDirectory(
                path=artifact.path or ".", editable=artifact.editable or None, subdirectory=artifact.subdirectory
            )
        case "vcs":
            kept["vcs"] = PackageVcs(
                **common,
                type=artifact.vcs or "git",
                commit_id=artifact.revision or "",
                requested_revision=artifact.requested_revision,
                subdirectory=artifact.subdirectory,
            )
    return PylockPackage(
        name=canonicalize_name(package.name),
        version=Version(package.version) if package.version else None,
        marker=Marker(package.marker) if package.marker else None,
        requires_python=SpecifierSet(package.requires_python) if package.requires_python else None,
        index=package.index,
        tool={"envbuild": {"kind": package.kind}} if package.kind != "pip" else None,
        **kept,
    )


def _foreign_to_dict(package: Package) -> dict[str, Any]:
    """A package that PEP 751 has no words for, such as conda's."""
    artifact = package.artifact
    ending = _last(artifact.url or artifact.path) if artifact.kind in _FILES else None
    written = {
        "kind": package.kind,
        "name": package.name,
        "version": package.version,
        "marker": package.marker,
        "requires-python": package.requires_python,
        "index": package.index,
        "artifact": None if artifact.kind == "archive" else artifact.kind,
        "url": artifact.url,
        "path": artifact.path,
        "sha256": artifact.digest.hex if artifact.digest else None,
        "size": artifact.size,
        "filename": None if artifact.filename == ending else artifact.filename,
        "editable": artifact.editable or None,
        "vcs": artifact.vcs,
        "revision": artifact.revision,
        "requested-revision": artifact.requested_revision,
        "subdirectory": artifact.subdirectory,
        "upload-time": artifact.upload_time,
        "details": dict(sorted(package.details.items())) or None,
    }
    return {key: value for key, value in written.items() if value is not None}


def _foreign_from_dict(form: Mapping[str, Any]) -> Package:
    kind = form.get("artifact", "archive")
    if kind not in get_args(ArtifactKind):
        raise ValueError(f"{form['name']}: {kind!r} is no kind of artifact")
    return Package(
        kind=form["kind"],
        name=form["name"],
        version=form.get("version"),
        marker=form.get("marker"),
        requires_python=form.get("requires-python"),
        index=form.get("index"),
        artifact=Artifact(
            kind=kind,
            url=form.get("url"),
            path=form.get("path"),
            digest=Digest(form["sha256"]) if "sha256" in form else None,
            size=form.get("size"),
            filename=form.get("filename"),
            editable=form.get("editable", False),
            vcs=form.get("vcs"),
            revision=form.get("revision"),
            requested_revision=form.get("requested-revision"),
            subdirectory=form.get("subdirectory"),
            upload_time=form.get("upload-time"),
        ),
        details={str(key): str(value) for key, value in form.get("details", {}).items()},
    )


def _sha256(name: str, hashes: Mapping[str, str]) -> Digest:
    try:
        return Digest(hashes["sha256"].lower())
    except KeyError:
        raise ValueError(f"{name}: an artifact has no sha256, only {', '.join(hashes) or 'nothing'}") from None


def _last(place: str | None) -> str | None:
    return unquote(PurePosixPath(urlsplit(place).path).name) if place else None


# -- a lock in the making ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRequest:
    """How a definition is to be locked.

    :param previous: the lock that there was; what it has stays unless the definition forbids it.
    :param upgrade: names of packages to bring up to date nonetheless, or ``True`` for all.
    :param offline: use what is cached, and fail rather than ask the network.
    :param source: packages that may be built from source although wheels of other versions fit.
    :param scratch: a folder of the call's own for temporary files, gone afterwards.
    :param store: the folder of the content-addressed store, to be opened with `envbuild.Store`.
    :param variables: values for ``${NAME}`` in URLs, and where engines find their settings.
    """

    scratch: Path
    store: Path
    previous: Lock | None = None
    upgrade: frozenset[str] | Literal[True] = frozenset()
    offline: bool = False
    source: frozenset[str] = frozenset()
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    progress: Progress = QUIET


@dataclass(slots=True, kw_only=True)
class Resolution:
    """A lock in the making: what the plugins before have pinned, and where the next adds its own.

    :param python: the exact version that the environment will have, once a plugin has pinned it.
    :param interpreter: such an interpreter on this machine, or ``None`` where there is none (a lock for another
        machine); to be asked about tags and markers, never to be installed into.
    """

    request: LockRequest
    python: str | None = None
    interpreter: Path | None = None
    packages: tuple[Package, ...] = ()
    inputs: Mapping[str, Digest] = field(default_factory=dict)
    system: tuple[str, ...] = ()

    def add(self, *packages: Package) -> None:
        """Pin ``packages``.

        :raises TypeError: one is no `Package`.
        :raises ValueError: one cannot be meant: its name is none, or nothing says which bytes it is.
        :raises PackageClash: one of that name has been pinned already; both are named.
        """
        for each in packages:
            _check_pinned(each)
            other = next((one for one in self.packages if _clash(one, each)), None)
            if other:
                raise PackageClash(
                    f"{each.name} is asked for twice: {other} by {other.kind} and {each} by {each.kind}",
                    hint=f"ask for {each.name} in one place only",
                )
            self.packages = (*self.packages, each)

    def pin_python(self, version: str, interpreter: Path | None) -> None:
        """Fix the Python of the environment; the first plugin to do so decides.

        :param interpreter: such a one on this machine; ``None`` where the plugin brings it along with its packages.
        :raises PackageClash: another plugin has fixed it.
        """
        if self.python is not None:
            raise PackageClash(f"Python is fixed twice: {self.python} and {version}")
        self.python, self.interpreter = version, interpreter

    def taken_for(self, *system: str) -> None:
        """Note what the answer takes the machine to have, such as ``__glibc=2.28``: the lock says so."""
        self.system = tuple(sorted({*self.system, *system}))

    def made_from(self, inputs: Mapping[str, Digest]) -> None:
        """Note files besides the definition that the answer depends on: a change makes the lock stale.

        :param inputs: their digests, by path relative to the definition's folder.
        """
        self.inputs = {**self.inputs, **inputs}


def _check_pinned(package: Package) -> None:
    """See to it that a package can be locked, while it is known who made it."""
    if not isinstance(package, Package):
        raise TypeError(f"a Package is wanted, not {package!r}")
    try:
        _check_name(package)
    except (InvalidName, TypeError) as error:
        raise ValueError(f"{package.name!r} is no name of a package of kind {package.kind!r}") from error
    artifact = package.artifact
    if artifact.kind in ("wheel", "sdist", "archive") and artifact.digest is None:
        raise ValueError(f"{package}: a file is known by its digest, and this {artifact.kind} has none")
    if artifact.kind == "vcs" and not artifact.revision:
        raise ValueError(f"{package}: what a repository has is known by its revision, and there is none")
    if artifact.url and without_credentials(artifact.url) != artifact.url:
        raise ValueError(f"{package.name}: its URL has credentials in it, and a lock is there for all to read")
    _check_kept(package)


def _check_kept(package: Package) -> None:
    """See to it that a lock says of a package what it is: else it would be read as one that somebody has edited."""
    try:
        if package.kind in _OF_PIP:
            back = from_pylock(_to_pylock(package))
        else:
            back = _foreign_from_dict(_foreign_to_dict(package))
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{package}: no lock can say what it is: {error}") from error
    pairs: list[tuple[str, object, object]] = [
        *((each.name, package, back) for each in fields(Package) if each.name != "artifact"),
        *((each.name, package.artifact, back.artifact) for each in fields(Artifact)),
    ]
    changed = [
        f"{name}: {getattr(was, name)!r} would be read as {getattr(read, name)!r}"
        for name, was, read in pairs
        if getattr(was, name) != getattr(read, name)
    ]
    if changed:
        raise ValueError(f"{package}: no lock can say what it is: {'; '.join(changed)}")


def _check_name(package: Package) -> None:
    """Python distributions are named as PEP 503 has it, packages of other kinds by a text that leads nowhere.

    :raises InvalidName: it is no such name.
    :raises TypeError: it is no text.
    """
    canonicalize_name(package.name, validate=package.kind in _OF_PIP)
    path = PurePosixPath(package.name)
    if not package.name or not package.name.isprintable() or path.is_absolute() or ".." in path.parts:
        raise InvalidName(package.name)


def _clash(one: Package, other: Package) -> bool:
    if one.kind == other.kind or (one.kind in _OF_PIP and other.kind in _OF_PIP):
        return normalize("NFC", one.name) == normalize("NFC", other.name)
    return one.provides is not None and one.provides == other.provides


# -- comparing -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """One package that two locks do not share: ``before`` or ``after`` is ``None`` where it is absent."""

    name: str
    before: Package | None
    after: Package | None

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.after}"
        if self.after is None:
            return f"- {self.before}"
        if self.before.version == self.after.version:
            return f"~ {self.after} (other bytes)"
        return f"~ {self.name} {self.before.version} → {self.after.version}"


def changes(before: Iterable[Package], after: Iterable[Package]) -> tuple[Change, ...]:
    """Which packages were added, removed or replaced; by name."""
    old = {each.label: each for each in before}
    new = {each.label: each for each in after}
    same: Callable[[Package | None], Any] = lambda each: each and (  # noqa: E731
        each.version, each.artifact.digest, each.artifact.revision, each.artifact.path, each.kind
    )  # fmt: skip
    return tuple(
        Change(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if same(old.get(name)) != same(new.get(name))
    )

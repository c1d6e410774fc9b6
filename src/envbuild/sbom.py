"""What a wheel was tested with: a lock as a CycloneDX document, to go with the lock into the wheel (PEP 770).

It says the same whenever and wherever it is made: no serial number, no time. None of the packages is in the wheel,
so each has the scope ``excluded``, CycloneDX's word for what is only used in tests. What that format has no
word for are properties that begin with ``envbuild:``.
"""

from __future__ import annotations

import json
import lzma
import re
import tomllib
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from packaging.pylock import Package as PylockPackage
from packaging.pylock import Pylock
from packaging.utils import canonicalize_name

from envbuild.digest import Digest
from envbuild.distributions import dist_info
from envbuild.errors import Damaged, LockError, NotFound
from envbuild.fingerprint import environment_document
from envbuild.lock import Artifact, Lock, Package, from_pylock, lock_text, read_pylock
from envbuild.requirement import without_credentials_in

T = TypeVar("T")

SBOM = "sboms/envbuild.cdx.json"
LOCK = "sboms/pylock.toml"

_LARGEST = 64 << 20

_SIGNED = re.compile(
    # The token of a conda channel; elsewhere /t/ is a folder of packages whose names begin so.
    r"://[^/\s]+/t/[\w-]{16,}/|"
    # What opens a file in a cloud's store, or in an index.
    r"://\S*[?&](?:sig|[\w-]*(?:signature|token|password|api_?key))=(?!\$\{)[^&#\s]",
    re.IGNORECASE,
)
_PYPI = "https://pypi.org/simple"
_LOCAL = "the environment has the files of projects on the machine it was made on, which a lock has no digest of: "


def sboms(lock: bytes, name: str, version: str, *, where: str = "pylock.toml") -> dict[str, bytes]:
    """The files that a wheel gets, by their path below its ``.dist-info`` folder.

    :param lock: the project's lock: any that PEP 751 allows, as it is in the file.
    :param name: what the wheel brings, with its version.
    :raises LockError: it is not a lock, or has credentials in it.
    """
    made = json.dumps(_document(lock, name, version, where), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return {SBOM: made.encode(), LOCK: lock}


def told(metadata: bytes) -> tuple[str, str]:
    r"""The name and the version that a ``METADATA`` file gives, as they are written there.

    >>> told(b"Metadata-Version: 2.4\nName: Demo.Project\nVersion: 1.0\n\nlong text")
    ('Demo.Project', '1.0')
    """
    headers = BytesHeaderParser().parsebytes(metadata)
    return str(headers["Name"]), str(headers["Version"])


def read(lock: bytes, *, where: str = "pylock.toml") -> tuple[Pylock, Lock | None]:
    """Read a lock that others are to see: any that PEP 751 allows, and what envbuild knows of it if it is its own.

    :raises LockError: it is not a lock, or has credentials in it.
    """
    text = lock_text(lock, where=where)
    pylock = read_pylock(text, where=where)
    form = tomllib.loads(text)
    if any(_opens(each) for each in _texts(form)):
        raise LockError(
            f"{where}: a URL in it has a user, a password or a token, and the lock becomes part of what is built",
            hint="take the credentials out of the lock; ${VARIABLE} may stand for them",
        )
    return pylock, Lock.parse(text, where=where) if "envbuild" in form.get("tool", {}) else None


def _document(text: bytes, name: str, version: str, where: str) -> dict[str, Any]:
    pylock, lock = read(text, where=where)
    own = canonicalize_name(name)
    properties = {"envbuild:lock": str(Digest.of(text)), "envbuild:lock-made-by": pylock.created_by}
    if lock is not None:
        properties |= _identity(lock)
        components = [_component([each]) for each in lock.packages if each.name != own or not _local(each)]
    else:
        if pylock.requires_python is not None:
            properties["envbuild:requires-python"] = str(pylock.requires_python)
        properties["envbuild:environment-unknown"] = (
            f"{pylock.created_by} made the lock, which is for more than one platform or does not say for which Python"
        )
        found = [list(_choices(each)) for each in pylock.packages]
        components = [_component(each) for each in found if each[0].name != own or not all(map(_local, each))]
    reference = f"pkg:pypi/{own}@{quote(version, safe='')}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library", "bom-ref": "wheel", "name": name, "version": version, "purl": reference
            },
            "properties": _properties(properties),
        },
        "components": sorted(_told_apart(components), key=lambda each: str(each["bom-ref"])),
    }  # fmt: skip


def _choices(package: PylockPackage) -> Iterator[Package]:
    """A package of another tool's lock, once for each artifact that may be installed."""
    sources = (package.sdist, package.archive, package.directory, package.vcs)
    for artifact in (*(package.wheels or ()), *(each for each in sources if each)):
        try:
            yield from_pylock(package, artifact)
        except ValueError:
            # It has a hash of another kind only.
            version = str(package.version) if package.version else None
            url = getattr(artifact, "url", None)
            yield Package(name=package.name, version=version, artifact=Artifact(kind="sdist", url=url))


def _opens(text: str) -> bool:
    """Whether a text has a URL by which its reader could get in."""
    return without_credentials_in(text) != text or bool(_SIGNED.search(text))


def _texts(form: object) -> Iterator[str]:
    if isinstance(form, str):
        yield form
    elif isinstance(form, Mapping):
        for name, each in form.items():
            yield name
            yield from _texts(each)
    elif isinstance(form, list):
        for each in form:
            yield from _texts(each)


def _identity(lock: Lock) -> dict[str, str]:
    """The environment's id, where the lock alone tells it."""
    found = {"envbuild:python": lock.python, "envbuild:platform": str(lock.platform)}
    local = [each for each in lock.packages if _local(each)]
    if not local:
        return {**found, "envbuild:environment": str(environment_document(lock, {}).digest)}
    others = replace(lock, packages=tuple(each for each in lock.packages if each not in local))
    return {
        **found,
        "envbuild:environment-unknown": _LOCAL + ", ".join(each.name for each in local),
        "envbuild:environment-without-projects": str(environment_document(others, {}).digest),
    }


def _local(package: Package) -> bool:
    return package.artifact.kind == "directory"


def _component(choices: Sequence[Package]) -> dict[str, Any]:
    """A package, of which any of ``choices`` may be installed."""
    package, artifacts = choices[0], [each.artifact for each in choices]
    digests = {each.digest for each in artifacts}
    purl = _purl(package)
    form: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
        "scope": "excluded",
        "hashes": _hashes(artifacts[0]) if len(digests) == 1 else [],
        "externalReferences": [_reference(each) for each in artifacts if each.url],
        "properties": _properties({"envbuild:kind": package.kind, "envbuild:marker": package.marker}),
    }
    return {key: value for key, value in form.items() if value}


def _reference(artifact: Artifact) -> dict[str, Any]:
    kind = "vcs" if artifact.kind == "vcs" else "distribution"
    found = {"type": kind, "url": artifact.url, "hashes": _hashes(artifact)}
    if artifact.revision:
        found["comment"] = artifact.revision
    return {key: value for key, value in found.items() if value}


def _hashes(artifact: Artifact) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": artifact.digest.hex}] if artifact.digest else []


def _properties(values: Mapping[str, str | None]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in sorted(values.items()) if value]


def _purl(package: Package) -> str:
    """What the package is called across ecosystems (https://github.com/package-url/purl-spec)."""
    artifact = package.artifact
    said: dict[str, str | None] = {}
    if package.kind in ("pip", "wheel"):
        kind = "pypi"
        if artifact.kind == "vcs" and artifact.url:
            said["vcs_url"] = f"{artifact.vcs or 'git'}+{artifact.url}@{artifact.revision}"
        elif artifact.kind == "archive" and artifact.url:
            said["download_url"] = artifact.url
        elif package.index and package.index.rstrip("/") != _PYPI:
            said["repository_url"] = package.index
    elif package.kind == "conda":
        kind = "conda"
        said = {name: package.details.get(name) for name in ("build", "channel", "subdir")}
    else:
        kind = "generic"
    asked = "&".join(f"{name}={quote(value, safe=':/')}" for name, value in sorted(said.items()) if value)
    version = f"@{quote(package.version, safe='')}" if package.version else ""
    return f"pkg:{kind}/{quote(package.name, safe='')}{version}" + (f"?{asked}" if asked else "")


def _told_apart(components: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The components, each with a ``bom-ref`` of its own: a lock may have a package twice, for different machines."""
    seen: dict[str, int] = {}
    for each in components:
        reference = each["bom-ref"]
        seen[reference] = seen.get(reference, 0) + 1
        yield each if seen[reference] == 1 else {**each, "bom-ref": f"{reference}#{seen[reference]}"}


# -- reading it again ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """What a wheel says of the environment that it was tested in.

    :param environment: the environment's id, if the lock alone tells it; if not, ``unknown`` says why.
    :param without_projects: the id of an environment with all but the projects on the machine it was made on.
    :param packages: names and versions.
    """

    name: str
    version: str
    environment: str | None
    without_projects: str | None
    unknown: str | None
    python: str | None
    platform: str | None
    lock: str | None
    packages: tuple[tuple[str, str | None], ...]


_UNREADABLE = (
    # A zip may be cut off, encrypted, or packed in a way that this Python knows nothing of.
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError, KeyError),
)

_KINDS: Mapping[type, str] = {
    dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false"
}  # fmt: skip


def tested(path: Path) -> Tested:
    """Read what a wheel says of its environment.

    :raises NotFound: there is no such file, or it says nothing.
    :raises Damaged: it is no wheel, or what it says cannot be read.
    """
    if not path.is_file():
        raise NotFound(_no_file(path))
    try:
        with zipfile.ZipFile(path) as wheel:
            info, names = dist_info(wheel), wheel.namelist()
            name, lock = f"{info}/{SBOM}", f"{info}/{LOCK}"
            if name not in names:
                raise NotFound(
                    f"{path.name} does not say in which environment it was tested",
                    hint="wheels that envbuild.backend builds beside a pylock.toml do",
                )
            found = _read(_content(wheel, name), name)
            if lock not in names and found.lock:
                raise ValueError(f"{name} is about a lock, {lock}, which is not in the wheel")
            if lock in names and found.lock != str(Digest.of(_content(wheel, lock))):
                raise ValueError(f"{lock} is not the lock that {name} is about")
    except _UNREADABLE as error:
        raise Damaged(f"{path}: not a wheel of envbuild's making: {_shown(error)}") from error
    return found


def _no_file(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder, and a wheel is a file"
    if path.exists():
        return f"{path} is a device, a pipe or a socket, and a wheel is a file"
    return f"no such file: {path}"


def _content(wheel: zipfile.ZipFile, name: str) -> bytes:
    if wheel.getinfo(name).file_size > _LARGEST:
        raise ValueError(f"{name} is larger than any that envbuild writes")
    return wheel.read(name)


def _read(data: bytes, name: str) -> Tested:
    try:
        return _tested(json.loads(data))
    except _Misshapen as error:
        raise ValueError(f"{name}: {error}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} is not JSON: {error}") from error
    except ValueError as error:
        raise ValueError(f"{name} has a number in it with more digits than any that envbuild writes") from error
    except RecursionError as error:
        raise ValueError(f"{name} has values within values within values: nothing that deep can be meant") from error


class _Misshapen(ValueError):
    """A document is not as envbuild writes it: what is wrong, and where in it."""


def _tested(document: object) -> Tested:
    """What a document says.

    :raises _Misshapen: it is not as envbuild writes it.
    """
    form = _a(dict, document, "the document")
    metadata = _member(form, "metadata", dict)
    component = _member(metadata, "component", dict, "metadata")
    said = {}
    for place, each in _objects(metadata, "properties", "metadata"):
        said[_member(each, "name", str, place)] = _shown(_member(each, "value", str, place))
    packages = []
    for place, each in _objects(form, "components"):
        version = _member(each, "version", str, place) if "version" in each else None
        packages.append((_shown(_member(each, "name", str, place)), _shown(version) if version else None))
    return Tested(
        name=_shown(_member(component, "name", str, "metadata.component")),
        version=_shown(_member(component, "version", str, "metadata.component")),
        environment=said.get("envbuild:environment"),
        without_projects=said.get("envbuild:environment-without-projects"),
        unknown=said.get("envbuild:environment-unknown"),
        python=said.get("envbuild:python") or said.get("envbuild:requires-python"),
        platform=said.get("envbuild:platform"),
        lock=said.get("envbuild:lock"),
        packages=tuple(packages),
    )


def _objects(form: Mapping[str, Any], name: str, place: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a list, each with its place."""
    for position, each in enumerate(_member(form, name, list, place)):
        at = _inside(place, f"{name}[{position}]")
        yield at, _a(dict, each, at)


def _member(form: Mapping[str, Any], name: str, kind: type[T], place: str = "") -> T:
    at = _inside(place, name)
    if name not in form:
        raise _Misshapen(f"{at} is not there")
    return _a(kind, form[name], at)


def _inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _a(kind: type[T], value: object, place: str) -> T:
    if not isinstance(value, kind):
        raise _Misshapen(f"{place} is {_KINDS.get(type(value), 'null')}, and not {_KINDS[kind]}")
    return value


def _shown(value: object) -> str:
    """A text of somebody's wheel without what would command a terminal."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in str(value))

"""One requirement: a package of an index, a URL, or something on this machine.

Paths are told from the root of the definition, whichever file they stand in; wheels on this machine are told
by their bytes.
"""

from __future__ import annotations

import hashlib
import os.path
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from packaging.markers import InvalidMarker, Marker
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from envbuild.reading.sources import Place, Sources
from envbuild.requirement import WHEEL_SCHEME, Requirement, WheelRef

_ARCHIVES = (
    ".whl", ".zip", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tlz", ".tar.lz", ".tar.lzma",
)  # fmt: skip
_NAMED = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[(?P<extras>[^\[\]]*)\])?\s*@\s*(?P<target>\S.*)", re.S
)
_WITH_EXTRAS = re.compile(r"(?P<target>.+?)\s*\[(?P<extras>[^\[\]]*)\]", re.S)
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://|(?P<file>file):", re.I)
_REPOSITORIES = ("git",)
"""Of what pip knows, that is what uv fetches."""
_SECRET_IN_QUERY = re.compile(
    r"[?&]((?:[\w-]*(?:token|secret|passw|signature|credential|api[-_]?key|access[-_]?key)[\w-]*)|sig|key)=(?!\$\{)",
    re.I,
)
"""A part of a URL's query that gives its reader access, as signed URLs have it."""

_HASH_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


@dataclass(frozen=True, slots=True)
class Direct:
    """A requirement that says where its package is, rather than which versions of it fit."""

    target: str
    name: str | None = None
    extras: tuple[str, ...] = ()
    marker: str = ""

    @property
    def is_url(self) -> bool:
        """Whether the target is a URL; a path that is written as a ``file:`` URL is one too."""
        return _URL.match(self.target) is not None

    @property
    def behind(self) -> str:
        """The marker, as it is put behind a requirement."""
        return f" ; {self.marker}" if self.marker else ""

    @property
    def brackets(self) -> str:
        """The extras, as they are put behind a name or path."""
        return f"[{','.join(self.extras)}]" if self.extras else ""

    @classmethod
    def parse(cls, text: str) -> Direct | None:
        """Read ``text``, or give ``None`` where it names a package of an index.

        :raises ValueError: its marker or an extra is not one.

        >>> Direct.parse("demo[fast] @ https://host.test/demo.zip ; python_version < '3.12'").behind
        ' ; python_version < "3.12"'
        >>> Direct.parse("./lib[b,a]").extras
        ('a', 'b')
        >>> Direct.parse("demo >= 1; platform_machine == 'a/b'")
        """
        named = _NAMED.fullmatch(text)
        target = named["target"] if named else text
        # A ';' may be part of a URL, which is why PEP 508 wants white space beside it there.
        pieces = re.split(r"\s*;\s+|\s+;\s*" if named or _URL.match(target) else r"\s*;\s*", target, maxsplit=1)
        target, marker = pieces[0].strip(), pieces[1].strip() if len(pieces) > 1 else ""
        extras = named["extras"] if named else None
        if not named and not _URL.match(target):
            bracketed = _WITH_EXTRAS.fullmatch(target)
            if bracketed and not _looks_like_path(bracketed["target"]):
                return None
            if bracketed:
                target, extras = bracketed["target"], bracketed["extras"]
            elif not _looks_like_path(target):
                return None
        return cls(target, named["name"] if named else None, _extras(extras), _marker(marker))


def read_requirement(
    text: str, place: Place, sources: Sources, *, editable: bool = False, hashes: Iterable[str] = ()
) -> Requirement | WheelRef:
    """Read ``text`` as it stands at ``place``.

    :raises ValueError: it is no requirement, or what it points to on this machine is not there.
    """
    checked = tuple(sorted({_hash(each) for each in hashes}))
    text = text.strip().removesuffix(";").rstrip()
    direct = Direct.parse(text) or (Direct(text) if editable else None)
    if direct is None:
        return _of_an_index(text, checked)
    if direct.target.startswith(WHEEL_SCHEME):
        return _private_wheel(direct, editable=editable)
    if direct.is_url and not direct.target.lower().startswith("file:"):
        return _from_url(direct, checked, editable=editable)
    if not direct.is_url and "${" in direct.target and direct.name and not Path(direct.target).exists():
        return Requirement.parse(f"{direct.name}{direct.brackets} @ {direct.target}{direct.behind}", hashes=checked)
    return _from_path(direct, place, sources, checked, editable=editable)


def bound(found: Requirement | WheelRef, index: str) -> Requirement:
    """``found``, to be taken from ``index`` and from nowhere else.

    :raises ValueError: it says itself where it is.
    """
    if isinstance(found, WheelRef):
        raise ValueError(f"{found.filename!r} is on this machine, and comes from no index")
    return replace(found, index=index)


def read_constraint(text: str, hashes: Iterable[str] = ()) -> Requirement:
    """Read a line of a constraint file.

    :raises ValueError: it is no requirement, or one that pip does not take as a constraint.
    """
    checked = tuple(sorted({_hash(each) for each in hashes}))
    text = text.strip().removesuffix(";").rstrip()
    direct = Direct.parse(text)
    if direct and not direct.name:
        direct = _named_by_url(direct)
    if direct and (not direct.name or not direct.is_url or direct.target.startswith(WHEEL_SCHEME)):
        raise ValueError(f"a constraint names a package and its versions: {text!r}")
    found = _of_an_index(
        f"{direct.name}{direct.brackets} @ {direct.target}{direct.behind}" if direct else text, checked
    )
    if "[" in re.split(r"[;@]", found.text, maxsplit=1)[0]:
        raise ValueError(f"a constraint has no extras: {text!r}")
    return found


def spelled(written: str, found: Path, root: Path) -> str:
    """The path ``found`` as definitions in ``root`` spell it; one that was written in full stays so.

    >>> spelled(".", Path("/work"), Path("/work")), spelled("lib", Path("/work/lib"), Path("/work/app"))
    ('./.', '../lib')
    """
    if PurePosixPath(written).is_absolute():
        return os.path.normpath(written)
    path = Path(os.path.relpath(found, root)).as_posix()
    if path == ".." or path.endswith("/.."):
        return f"{path}/."
    return path if path.startswith("../") else f"./{path}"


def path_of_url(url: str) -> str:
    """The path that a ``file:`` URL names.

    >>> path_of_url("file:///srv/my%20wheels")
    '/srv/my wheels'
    """
    return unquote(re.sub(r"(?i)^file:(//(localhost)?(?=/))?", "", url))


def is_project(folder: Path) -> bool:
    """Whether pip can install what is in ``folder``."""
    return (folder / "pyproject.toml").is_file() or (folder / "setup.py").is_file()


def _of_an_index(text: str, hashes: tuple[str, ...]) -> Requirement:
    try:
        return Requirement.parse(text, hashes=hashes)
    except ValueError as error:
        raise ValueError(f"not a requirement: {text!r} ({error}){_meant(text)}") from error


def _meant(text: str) -> str:
    """What may have been meant by what is no requirement."""
    if re.fullmatch(r"(\S+::)\S.*|[\w.-]+=[^=\s]+=[^=\s]+", text):
        # As in what 'conda list --export' writes, and 'conda install --file' reads.
        return "; conda's packages stand in an environment.yml, as 'conda env export' writes it"
    return "; did you mean '=='?" if re.search(r"(?<![=<>!~])=(?!=)", text.partition(";")[0]) else ""


def _from_url(direct: Direct, hashes: tuple[str, ...], *, editable: bool) -> Requirement:
    scheme = direct.target.partition("://")[0].lower()
    kind, plus, _ = scheme.partition("+")
    if scheme not in ("http", "https", "ftp") and not (plus and kind in _REPOSITORIES):
        meant = f"; a repository is written git+{scheme}://" if scheme in ("ssh", "git") else ""
        raise ValueError(f"URLs that begin with {scheme}:// cannot be installed from{meant}")
    secret = _SECRET_IN_QUERY.search(direct.target.partition("#")[0])
    if secret:
        raise ValueError(
            f"the value of {secret[1]!r} in the URL would stand in the lock;"
            " write it as ${NAME}, and set that variable"
        )
    if editable and not plus:
        raise ValueError("-e wants a folder or a repository, not a file")
    direct = direct if direct.name else _named_by_url(direct)
    if direct.name:
        return Requirement.parse(f"{direct.name}{direct.brackets} @ {direct.target}{direct.behind}", hashes=hashes)
    return Requirement.parse(f"{direct.target}{direct.behind}", hashes=hashes)


def _named_by_url(direct: Direct) -> Direct:
    """Give it the name that its ``#egg=`` or the file name of its wheel says."""
    target, _, fragment = direct.target.partition("#")
    others = [each for each in fragment.split("&") if each and not each.startswith("egg=")]
    egg = next((unquote(each[4:]) for each in fragment.split("&") if each.startswith("egg=")), "")
    found = re.fullmatch(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[([^\[\]]*)\])?", egg)
    if egg and not found:
        raise ValueError(f"#egg= wants the name of a package, not {egg!r}")
    if found:
        url = "#".join([target, "&".join(others)] if others else [target])
        return replace(direct, target=url, name=found[1], extras=_extras(found[2]) or direct.extras)
    filename = unquote(PurePosixPath(urlsplit(target).path).name)
    if filename.endswith(".whl"):
        try:
            return replace(direct, name=parse_wheel_filename(filename)[0])
        except InvalidWheelFilename as error:
            raise ValueError(f"{filename!r} is not the file name of a wheel (PEP 427)") from error
    return direct


def _from_path(
    direct: Direct, place: Place, sources: Sources, hashes: tuple[str, ...], *, editable: bool
) -> Requirement | WheelRef:
    if direct.is_url:
        direct = direct if direct.name else _named_by_url(direct)
        path, _, fragment = direct.target.partition("#")
        if "subdirectory=" in fragment:
            raise ValueError("#subdirectory= of something on this machine: write the path of the folder itself")
        direct = replace(direct, target=path_of_url(path))
    elif editable and "#egg=" in direct.target:
        direct = replace(_named_by_url(direct), name=None)
    found = _installable(direct.target, (place.folder, sources.root))
    text = spelled(direct.target, found, sources.root)
    if found.is_file() and editable:
        raise ValueError(f"-e wants the folder of a project, not the file {direct.target!r}")
    if found.suffix == ".whl" and found.is_file():
        wheel = WheelRef(found.name, sources.digest(found), direct.extras, direct.marker, path=text)
        _check_hashes(found, hashes)
        return _check_name(wheel, direct)
    return Requirement(f"{text}{direct.brackets}{direct.behind}", editable, hashes)


def _installable(written: str, folders: Iterable[Path]) -> Path:
    """The file or project that ``written`` names: in the folder of its file, or else in that of the definition.

    pip itself looks in the working directory, which is the definition's folder for whoever wrote ``-e .`` into
    ``requirements/dev.txt``; the file's own folder is meant by whoever includes ``../lib/requirements.txt``.
    """
    candidates = [Path(os.path.normpath(folder / written)) for folder in folders]
    for path in candidates:
        if is_project(path) or (path.is_file() and path.name.lower().endswith(_ARCHIVES)):
            return path
    if any(path.is_dir() for path in candidates):
        raise ValueError(f"{written!r} cannot be installed: the folder has neither pyproject.toml nor setup.py")
    if any(path.is_file() for path in candidates):
        also = "; to read it as requirements, write -r before it" if written.endswith((".txt", ".in")) else ""
        raise ValueError(f"{written!r} is neither a wheel nor an archive{also}")
    raise ValueError(f"no such file or folder: {written!r}")


def _private_wheel(direct: Direct, *, editable: bool) -> WheelRef:
    if editable:
        raise ValueError("-e wants the folder of a project, not a wheel")
    wheel = WheelRef.parse(direct.target)
    return _check_name(replace(wheel, extras=direct.extras, marker=direct.marker), direct)


def _check_name(wheel: WheelRef, direct: Direct) -> WheelRef:
    if direct.name and canonicalize_name(direct.name) != wheel.name:
        raise ValueError(f"{wheel.filename!r} is a wheel of {wheel.name}, not of {direct.name}")
    return wheel


def _check_hashes(path: Path, hashes: tuple[str, ...]) -> None:
    def has(expected: str) -> bool:
        algorithm, _, digits = expected.partition(":")
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, algorithm).hexdigest() == digits

    if hashes and not any(has(each) for each in hashes):
        raise ValueError(f"{path.name!r} has none of the hashes that are given for it")


def _hash(text: str) -> str:
    algorithm, _, digits = text.strip().lower().partition(":")
    if algorithm not in _HASH_LENGTHS:
        raise ValueError(f"a hash is sha256:, sha384: or sha512: and hex digits, not {text!r}")
    if not re.fullmatch(f"[0-9a-f]{{{_HASH_LENGTHS[algorithm]}}}", digits):
        raise ValueError(f"{text!r} is not a hash: {algorithm} has {_HASH_LENGTHS[algorithm]} hex digits")
    return f"{algorithm}:{digits}"


def _looks_like_path(text: str) -> bool:
    return text.startswith(".") or "/" in text or text.lower().endswith(_ARCHIVES)


def _extras(text: str | None) -> tuple[str, ...]:
    names = [each.strip() for each in (text or "").split(",") if each.strip()]
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", name):
            raise ValueError(f"{name!r} is not the name of an extra")
    return tuple(sorted({canonicalize_name(each) for each in names}))


def _marker(text: str) -> str:
    try:
        return str(Marker(text)) if text else ""
    except InvalidMarker as error:
        raise ValueError(f"{text!r} is not a marker: {str(error).splitlines()[0]}") from error

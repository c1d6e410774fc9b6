"""``[tool.uv]``: from where uv takes the packages that a project or a script asks for by name.

A package with an entry under ``sources`` is not that of an index, or not that of any index. It comes from where the
entry says, as with uv: a folder or file, a member of the workspace, a repository, a URL, or one index. What other
projects on this machine say of their own dependencies, uv reads itself when it resolves them; here is told what
stands in the file of the definition. What we have no words for is refused, never taken from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import Requirement as Pep508
from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename

from envbuild.reading import toml
from envbuild.reading.asked import Asked
from envbuild.reading.requirement import bound, read_requirement, spelled
from envbuild.reading.sources import Place, Sources, absolute, shown
from envbuild.reading.toml import Toml, table
from envbuild.requirement import Requirement, WheelRef

_KINDS = ("path", "workspace", "git", "url", "index")
_FURTHER = {
    "path": {"editable", "package"},
    "workspace": {"editable"},
    "git": {"rev", "tag", "branch", "subdirectory", "lfs"},
    "url": {"subdirectory"},
    "index": set[str](),
}
_CONDITIONS = {"marker", "extra", "group"}
_OPPOSITE = {
    "==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "in": "not in", "not in": "in",
    "and": "or", "or": "and",
}  # fmt: skip
_TOKEN = re.compile(r"\"[^\"]*\"|'[^']*'|\(|\)|not\s+in\b|[<>=!~]+|[\w.]+")


@dataclass(frozen=True, slots=True)
class OnlyItsDependencies:
    """A project that is not installed itself (``package = false``), but what it depends on."""

    document: Toml
    extras: tuple[str, ...]
    marker: str


@dataclass(frozen=True, slots=True)
class Workspace:
    """Projects that lie below one folder and know of each other.

    :param members: their folders, by their names.
    """

    root: Toml
    members: Mapping[str, Path]


@dataclass(slots=True)
class UvTables:
    """``[tool.uv]`` of a project or a script, and of the workspace that it belongs to.

    :param workspace: that of a project; a script belongs to none.
    """

    document: Toml
    sources: Sources
    workspace: Workspace | None = None
    entries: dict[str, tuple[str, Any, Toml]] = field(default_factory=dict)

    @classmethod
    def of_project(cls, document: Toml, sources: Sources) -> UvTables:
        """What counts for the project of a ``pyproject.toml``."""
        found = cls(document, sources, _workspace(document, sources))
        found._read_entries()
        return found

    @classmethod
    def of_script(cls, document: Toml, sources: Sources) -> UvTables:
        """What counts for a script."""
        found = cls(document, sources)
        found._read_entries()
        return found

    def _read_entries(self) -> None:
        """Note the sources: those of the workspace's root count for each member that does not say otherwise."""
        for document in self._documents():
            given = table(document.value, "tool", "uv").get("sources", {})
            if not isinstance(given, Mapping):
                self.sources.wrong(document.place("sources", after="tool.uv"), "sources: a table is wanted")
                continue
            own = {canonicalize_name(name): (name, entry, document) for name, entry in given.items()}
            self.entries = own | self.entries

    def _documents(self) -> list[Toml]:
        root = self.workspace.root if self.workspace else None
        return [self.document, *([root] if root and root.file != self.document.file else [])]

    def indexes(self, asked: Asked) -> None:
        """Ask for the indexes that any package may come from; those of a workspace are its root's."""
        document = self._documents()[-1]
        uv, options = table(document.value, "tool", "uv"), asked.options
        place = document.place("uv")
        try:
            if isinstance(uv.get("index-url"), str):
                options.index(asked.location(uv["index-url"], place))
            options.extra_index_urls += [asked.location(str(each), place) for each in uv.get("extra-index-url") or ()]
            for each in self._documents():
                self._note_credentials(each, asked)
            for index in _listed(uv):
                at = document.place(index["url"], after="[tool.uv.index")
                if index.get("explicit"):
                    continue
                if index.get("format") == "flat":
                    options.find_links.append(asked.location(index["url"], at))
                elif index.get("default"):
                    options.index_url = asked.location(index["url"], at)
                else:
                    options.extra_index_urls.append(asked.location(index["url"], at))
        except ValueError as error:
            self.sources.wrong(place, f"[tool.uv]: {error}")

    def _note_credentials(self, document: Toml, asked: Asked) -> None:
        """Keep aside what opens the indexes: what stands in their URLs, or in variables, as uv names them."""
        for index in _listed(table(document.value, "tool", "uv")):
            url = asked.url(index["url"])
            prefix = f"UV_INDEX_{re.sub(r'[^A-Z0-9]', '_', str(index.get('name', '')).upper())}"
            user, password = (self.sources.variables.get(f"{prefix}_{each}", "") for each in ("USERNAME", "PASSWORD"))
            if index.get("name") and (user or password) and "://" in url and "@" not in url:
                asked.credentials[url] = url.replace("://", f"://{quote(user, '')}:{quote(password, '')}@", 1)

    def find(
        self, requirement: Pep508, asked: Asked, *, extra: str = "", group: str = ""
    ) -> list[Requirement | WheelRef | OnlyItsDependencies] | None:
        """What is to be asked for in the place of ``requirement``; ``None``, where nothing is said of it.

        :param extra: the extra that it belongs to, ``group`` the dependency group.
        :raises ValueError: it is not said from where it comes, and has to be; what is said and wrong is noted.
        """
        name = canonicalize_name(requirement.name)
        if requirement.url:
            return None
        written, given, document = self.entries.get(name, ("", None, self.document))
        place = document.place(written, after="tool.uv.sources") if written else Place(document.file)
        try:
            chosen = [
                each for each in _entries(given) if _is_for(each, "extra", extra) and _is_for(each, "group", group)
            ]
            if not chosen:
                self._check_members(name)
                return None
            return [found for each in chosen for found in self._found(requirement, each, document, asked)] + [
                read_requirement(_text(requirement, marker), place, self.sources)
                for marker in _remaining(requirement, chosen)
            ]
        except ValueError as error:
            if not written:
                raise
            self.sources.wrong(place, f"[tool.uv.sources] {written}: {error}")
            return []

    def check_ours(self, requirements: Iterable[Requirement]) -> None:
        """Note what ``[tool.envbuild]`` asks an index for, where uv has another place for it."""
        for each in requirements:
            if each.name in self.entries and not each.index and "://" not in each.text:
                self.sources.wrong(
                    self.document.place(str(each.name), after="tool.envbuild"),
                    f"{each.name}: [tool.uv.sources] says where it comes from, which counts for dependencies only: "
                    "ask for it there, or say here where it comes from",
                )

    def _check_members(self, name: str) -> None:
        own = canonicalize_name(str(table(self.document.value, "project").get("name", "")))
        if self.workspace and name in self.workspace.members and name != own:
            raise ValueError(
                f"a member of the workspace is called {name} too, and nothing says which of the two is meant: "
                f"write {name} = {{ workspace = true }} under [tool.uv.sources]"
            )

    def _found(
        self, requirement: Pep508, entry: Mapping[str, Any], document: Toml, asked: Asked
    ) -> Iterator[Requirement | WheelRef | OnlyItsDependencies]:
        """What one entry makes of a requirement."""
        kind = _kind(entry)
        marker = _both(str(requirement.marker or ""), _marker(entry))
        behind = f" ; {marker}" if marker else ""
        place = Place(document.file)
        if kind in ("path", "workspace"):
            yield self._from_folder(requirement, entry, document, marker)
        elif kind == "index":
            found = read_requirement(_text(requirement, marker), place, self.sources)
            yield bound(found, self._index(_word(entry, "index"), document, asked))
        else:
            url = _repository(entry) if kind == "git" else _word(entry, "url")
            below = _word(entry, "subdirectory") if "subdirectory" in entry else ""
            url += f"{'&' if '#' in url else '#'}subdirectory={below}" if below else ""
            asked.urls_in(url)
            yield read_requirement(f"{_head(requirement)} @ {url}{behind}", place, self.sources)

    def _from_folder(
        self, requirement: Pep508, entry: Mapping[str, Any], document: Toml, marker: str
    ) -> Requirement | WheelRef | OnlyItsDependencies:
        name, extras = canonicalize_name(requirement.name), tuple(sorted(requirement.extras))
        if "path" in entry:
            written = _word(entry, "path")
            found, editable = absolute(document.file.parent / written), bool(entry.get("editable"))
        else:
            found, editable = self._member(entry, name), entry.get("editable") is not False
            written = found.name
        project = _project(found / "pyproject.toml", self.sources) if (found / "pyproject.toml").is_file() else None
        if project:
            called = table(project.value, "project").get("name")
            if isinstance(called, str) and canonicalize_name(called) != name:
                raise ValueError(f"the project in {shown(found)!r} is called {called!r}")
            if entry.get("package", table(project.value, "tool", "uv").get("package")) is False:
                if "project" not in project.value:
                    raise ValueError(f"what {shown(found)!r} depends on does not stand under [project]")
                return OnlyItsDependencies(project, extras, marker)
        _check_archive(found, name)
        path = spelled(written, found, self.sources.root)
        text = f"{_head(requirement)} @ {path}"
        # The path is told from the definition's folder, whichever file it stood in.
        place = Place(self.sources.root / document.file.name)
        return read_requirement(text + (f" ; {marker}" if marker else ""), place, self.sources, editable=editable)

    def _member(self, entry: Mapping[str, Any], name: str) -> Path:
        if entry["workspace"] is not True:
            raise ValueError("workspace: true is wanted; what comes from an index has no entry")
        if self.workspace is None:
            raise ValueError("there is no workspace that this belongs to ([tool.uv.workspace]): name the path")
        if name not in self.workspace.members:
            there = ", ".join(sorted(self.workspace.members)) or "none"
            raise ValueError(f"no member of the workspace in {shown(self.workspace.root.file)!r} ({there})")
        return self.workspace.members[name]

    def _index(self, name: str, document: Toml, asked: Asked) -> str:
        for each in (document, *self._documents()):
            for index in _listed(table(each.value, "tool", "uv")):
                if index.get("name") == name:
                    if index.get("format") == "flat":
                        raise ValueError(
                            f"the index {name!r} is a mere list of files, which no package can be bound to"
                        )
                    return asked.location(index["url"], Place(each.file))
        raise ValueError(f"there is no [[tool.uv.index]] with the name {name!r}")


def _check_archive(file: Path, name: str) -> None:
    """See to it that a source archive is of the package ``name``, as its file name says."""
    try:
        called = parse_sdist_filename(file.name)[0]
    except InvalidSdistFilename:
        # A folder, a wheel, which says its name itself, or an archive called as somebody liked.
        return
    if called != name:
        raise ValueError(f"{file.name!r} is an archive of {called}")


def _listed(uv: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    listed = uv.get("index")
    for index in listed if isinstance(listed, list) else ():
        if isinstance(index, Mapping) and isinstance(index.get("url"), str):
            yield index


def _entries(given: object) -> list[Mapping[str, Any]]:
    entries: list[Any] = given if isinstance(given, list) else [] if given is None else [given]
    if not all(isinstance(each, Mapping) for each in entries):
        raise ValueError("a table is wanted, or a list of tables")
    return entries


def _is_for(entry: Mapping[str, Any], what: str, asked: str) -> bool:
    return what not in entry or canonicalize_name(_word(entry, what)) == asked


def _kind(entry: Mapping[str, Any]) -> str:
    """From where an entry takes its package.

    :raises ValueError: it does not say, says it twice, or says more than we understand.
    """
    kinds = [each for each in _KINDS if each in entry]
    if len(kinds) != 1:
        raise ValueError(f"one of {', '.join(_KINDS)} is wanted")
    unknown = entry.keys() - _FURTHER[kinds[0]] - _CONDITIONS - {kinds[0]}
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: not understood beside {kinds[0]}")
    return kinds[0]


def _word(entry: Mapping[str, Any], key: str) -> str:
    if not isinstance(entry[key], str) or not entry[key].strip():
        raise ValueError(f"{key}: a text is wanted, not {entry[key]!r}")
    return str(entry[key]).strip()


def _repository(entry: Mapping[str, Any]) -> str:
    if entry.get("lfs"):
        raise ValueError("files that git keeps elsewhere (lfs) are not locked: publish a wheel, and ask for that")
    url = _word(entry, "git")
    wanted = [key for key in ("rev", "tag", "branch") if key in entry]
    if len(wanted) > 1:
        raise ValueError(f"{' and '.join(wanted)}: one of them is wanted")
    if "://" not in url:
        raise ValueError(f"{url!r} is no URL: ssh://git@host/me/lib is one")
    url = url if url.startswith("git+") else f"git+{url}"
    return f"{url}@{_word(entry, wanted[0])}" if wanted else url


def _head(requirement: Pep508) -> str:
    return requirement.name + (f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else "")


def _text(requirement: Pep508, marker: str) -> str:
    bare = Pep508(str(requirement))
    bare.marker = Marker(marker) if marker else None
    return str(bare)


def _marker(entry: Mapping[str, Any]) -> str:
    if "marker" not in entry:
        return ""
    try:
        return str(Marker(_word(entry, "marker")))
    except InvalidMarker as error:
        raise ValueError(f"{entry['marker']!r} is not a marker: {str(error).splitlines()[0]}") from error


def _both(one: str, other: str) -> str:
    """A marker that holds where both hold."""
    return f"({one}) and ({other})" if one and other else one or other


def _remaining(requirement: Pep508, chosen: list[Mapping[str, Any]]) -> Iterator[str]:
    """The marker of what none of the entries is for, which comes from an index; nothing, if one is for everything."""
    markers = [_marker(each) for each in chosen]
    if all(markers):
        left = str(requirement.marker or "")
        for marker in markers:
            left = _both(left, negated(marker))
        yield left


def negated(marker: str) -> str:
    """A marker that holds wherever ``marker`` does not.

    :raises ValueError: it has an operator that has no opposite.

    >>> negated('sys_platform == "linux" and (python_version < "3.12" or "arm" in platform_machine)')
    '(sys_platform != "linux" or (python_version >= "3.12" and "arm" not in platform_machine))'
    """
    tokens = [re.sub(r"\s+", " ", each) for each in _TOKEN.findall(marker)]
    text, rest = _either(tokens)
    if rest:
        raise ValueError(f"not a marker: {marker!r}")
    return text


def _either(tokens: list[str]) -> tuple[str, list[str]]:
    """The opposite of what stands between ``or``, and what follows it."""
    parts = []
    while True:
        part, tokens = _each(tokens)
        parts.append(part)
        if not tokens or tokens[0] != "or":
            return (parts[0] if len(parts) == 1 else f"({' and '.join(parts)})"), tokens
        tokens = tokens[1:]


def _each(tokens: list[str]) -> tuple[str, list[str]]:
    """The opposite of what stands between ``and``, and what follows it."""
    parts = []
    while True:
        if tokens[0] == "(":
            part, tokens = _either(tokens[1:])
            tokens = tokens[1:]
        else:
            left, operator, right, *tokens = tokens
            if operator not in _OPPOSITE:
                raise ValueError(f"{operator!r} in a marker has no opposite: write an entry for the other case too")
            part = f"{left} {_OPPOSITE[operator]} {right}"
        parts.append(part)
        if not tokens or tokens[0] != "and":
            return (parts[0] if len(parts) == 1 else f"({' or '.join(parts)})"), tokens
        tokens = tokens[1:]


def _project(file: Path, sources: Sources) -> Toml | None:
    """A ``pyproject.toml`` beside that of the definition; ``None`` where it cannot be read, which is noted."""
    count = len(sources.problems)
    try:
        found = toml.load(sources.text(file), file, sources)
    except ValueError as error:
        sources.wrong(Place(file), error)
        return None
    return found if len(sources.problems) == count else None


def _workspace(document: Toml, sources: Sources) -> Workspace | None:
    """The workspace that a project belongs to: its own, or the nearest above it, if that takes it in."""
    folder = document.file.parent
    if table(document.value, "tool", "uv").get("managed") is False:
        return None
    for above in (folder, *folder.parents):
        file = above / "pyproject.toml"
        if above != folder and not _has_workspace(file):
            continue
        root = document if above == folder else _project(file, sources)
        if root is None:
            return None
        if "workspace" in table(root.value, "tool", "uv"):
            folders = _member_folders(root, sources)
            is_in = above == folder or folder in folders
            return Workspace(root, _named(root, folders, sources)) if is_in else None
    return None


def _has_workspace(file: Path) -> bool:
    try:
        return file.is_file() and re.search(rb"\buv\b.*\bworkspace\b", file.read_bytes(), re.S) is not None
    except OSError:
        # One that nobody may read is not meant for us.
        return False


def _member_folders(root: Toml, sources: Sources) -> list[Path]:
    said = table(root.value, "tool", "uv", "workspace")

    def matching(key: str) -> Iterator[Path]:
        patterns = said.get(key, [])
        for pattern in patterns if isinstance(patterns, list) else [patterns]:
            try:
                yield from (absolute(each) for each in root.file.parent.glob(str(pattern)))
            except (ValueError, NotImplementedError, IndexError) as error:
                sources.wrong(root.place(str(pattern), after="tool.uv.workspace"), f"{key}: {pattern!r}: {error}")

    excluded = set(matching("exclude"))
    return sorted(
        {each for each in matching("members") if each not in excluded and (each / "pyproject.toml").is_file()}
    )


def _named(root: Toml, folders: list[Path], sources: Sources) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in (root.file.parent, *folders):
        file = folder / "pyproject.toml"
        project = root if file == root.file else _project(file, sources)
        name = table(project.value, "project").get("name") if project else None
        if isinstance(name, str):
            found.setdefault(canonicalize_name(name), folder)
    return found

"""``pyproject.toml``: a project's dependencies, one of its extras or one of its dependency groups.

What is installed is the project's dependencies, and with ``pyproject.toml:NAME`` those of the dependency group
(PEP 735) or else the extra of that name too. A project that has a build system is installed itself, editable, and
brings its dependencies along; ``package = false`` under ``[tool.envbuild]`` leaves it out. ``[tool.envbuild]``
has the keys of ``envbuild.yml``, and ``build``, which is for `envbuild.backend` alone. Where packages come from may be
said as uv has it (`uv`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Pep508
from packaging.utils import canonicalize_name

from envbuild.definition import Definition
from envbuild.reading import toml
from envbuild.reading.asked import Asked, assemble
from envbuild.reading.full import read_form
from envbuild.reading.others import refuse_others
from envbuild.reading.requirement import read_requirement
from envbuild.reading.sources import Place, Sources
from envbuild.reading.toml import Toml, table
from envbuild.reading.uv import OnlyItsDependencies, UvTables
from envbuild.requirement import Requirement

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")

_OTHERS = ("package", "build")
"""The keys of ``[tool.envbuild]`` that say nothing of what the environment is."""


def read(path: Path, sources: Sources, group: str | None = None) -> Definition:
    """Read a ``pyproject.toml``.

    :param group: names of dependency groups and extras, with commas between them.
    """
    document = Toml(path, {}, "")
    try:
        document = toml.load(sources.text(path), path, sources)
    except ValueError as error:
        sources.wrong(Place(path), error)
    sources.check()
    if not asks_for_something(document.value):
        sources.wrong(Place(path), _nothing(document))
    asked = Asked(sources)
    ours = table(document.value, "tool", "envbuild")
    project = table(document.value, "project")
    form: dict[str, Any] = {"name": project.get("name"), "python": project.get("requires-python")}
    form |= {key: value for key, value in read_tool_table(document, asked).items() if key not in _OTHERS}
    if not isinstance(ours.get("package", True), bool):
        sources.wrong(document.place("package", after="tool.envbuild"), "package: true or false is wanted")
    groups, extras = _chosen(document, group, sources)
    tables = UvTables.of_project(document, sources)
    if not table(ours, "options").keys() & {"index_url", "index-url", "no_index", "no-index"}:
        tables.indexes(asked)
    # What was asked for up to here stands in our own table.
    tables.check_ours(asked.pip)
    refuse_others(document, _named(document.value), asked)
    is_package = ours.get("package", table(document.value, "tool", "uv").get("package"))
    if is_installable(document.value) and is_package is not False:
        asked.add(Requirement(f"./.{'[' + ','.join(extras) + ']' if extras else ''}", editable=True))
        _check_sources(document, tables, extras, asked)
    else:
        _Dependencies(document, tables, asked).ask(extras)
    for name in groups:
        _Dependencies(document, tables, asked).ask_group(name, ())
    return assemble(asked, form, document.places_in("tool.envbuild" if ours else "project"), source=path)


def asks_for_something(value: Mapping[str, Any]) -> bool:
    """Whether a ``pyproject.toml`` is a definition, and not only settings of tools."""
    project = table(value, "project")
    return bool(
        project.keys() & {"name", "dependencies", "optional-dependencies"}
        or "dependency-groups" in value
        or table(value, "tool", "envbuild")
    )


def is_installable(value: Mapping[str, Any]) -> bool:
    """Whether the project itself is to be installed: it says how, and has a name."""
    return "build-system" in value and bool(table(value, "project").get("name"))


def read_tool_table(document: Toml, asked: Asked) -> dict[str, Any]:
    """Read ``[tool.envbuild]``: ask for what its lists say, and give what else is in it, spelled with ``_``."""

    def underscored(value: Mapping[str, Any]) -> dict[str, Any]:
        return {key.replace("-", "_"): item for key, item in value.items()}

    ours = underscored(table(document.value, "tool", "envbuild"))
    if isinstance(ours.get("options"), Mapping):
        ours["options"] = underscored(ours["options"])

    def at(part: str) -> Place:
        key, _, position = part.partition("[")
        if position:
            value = ours[key][int(position[:-1])]
            text = value.get("requirement") if isinstance(value, Mapping) else value
            if isinstance(text, str):
                return document.place(text, after="tool.envbuild")
        return document.places_in("tool.envbuild")(key)

    return read_form(ours, asked, at)


def wanted_list(document: Toml, parent: Mapping[str, Any], key: str, sources: Sources) -> list[str]:
    """The texts in a list of requirements."""
    values = parent.get(key, [])
    if not isinstance(values, list):
        sources.wrong(document.place(key), f"{key}: a list is wanted, not {type(values).__name__}")
        return []
    for value in values:
        if not isinstance(value, str):
            sources.wrong(document.place(key), f"{key}: a requirement is a text, not {value!r}")
    return [each for each in values if isinstance(each, str)]


def standard_requirement(
    text: str, place: Place, asked: Asked, tables: UvTables, *, extra: str = "", group: str = "", marker: str = ""
) -> None:
    """Ask for a requirement where standards admit no more than PEP 508, from where ``tables`` say that it comes.

    :param extra: the extra that it belongs to, ``group`` the dependency group.
    :param marker: where it is asked for at all.
    """
    try:
        parsed = Pep508(text)
        if marker:
            parsed.marker = Marker(f"({parsed.marker}) and ({marker})" if parsed.marker else marker)
        elsewhere = tables.find(parsed, asked, extra=extra, group=group)
        if elsewhere is None:
            asked.add(read_requirement(str(parsed) if marker else text, place, asked.sources))
            asked.urls_in(text)
        for found in elsewhere or ():
            if isinstance(found, OnlyItsDependencies):
                _in_its_place(found, asked)
            else:
                asked.add(found)
    except InvalidRequirement as error:
        asked.sources.wrong(place, f"{text!r}: {str(error).splitlines()[0]}")
    except ValueError as error:
        asked.sources.wrong(place, error)


def _in_its_place(project: OnlyItsDependencies, asked: Asked) -> None:
    """Ask for what a project depends on, which is not installed itself."""
    document, sources = project.document, asked.sources
    optional = table(document.value, "project", "optional-dependencies")
    extras: list[str] = sorted({canonicalize_name(each) for each in project.extras})
    unknown = sorted(set(extras) - {canonicalize_name(each) for each in optional})
    if unknown:
        sources.wrong(Place(document.file), f"there is no extra {', '.join(unknown)}")
    step = (document.file, tuple(extras), project.marker)
    if step not in asked.replaced:
        # Two projects may well depend on each other.
        asked.replaced.add(step)
        _Dependencies(document, UvTables.of_project(document, sources), asked, project.marker).ask(extras)


def _named(value: Mapping[str, Any]) -> Iterator[str]:
    """The packages that a project asks for by name, in any of the standard's lists."""
    project = table(value, "project")
    lists = [project.get("dependencies"), *table(project, "optional-dependencies").values()]
    for listed in (*lists, *table(value, "dependency-groups").values()):
        for text in listed if isinstance(listed, list) else ():
            found = _NAME.match(text.strip()) if isinstance(text, str) else None
            if found and "@" not in text.partition(";")[0]:
                yield found[0]
    if isinstance(project.get("dynamic"), list) and "dependencies" in project["dynamic"]:
        # Then they are what the tool's own table says.
        yield from table(value, "tool", "poetry", "dependencies")


def _nothing(document: Toml) -> str:
    poetry = "poetry" in table(document.value, "tool")
    also = (
        "; Poetry's own tables are not read: what stands under [project] (PEP 621) is, and a requirements.txt that "
        "'poetry export' writes"
        if poetry
        else ""
    )
    return f"nothing to install: neither [project] nor [dependency-groups] nor [tool.envbuild]{also}"


def _chosen(document: Toml, group: str | None, sources: Sources) -> tuple[list[str], list[str]]:
    """The groups and the extras that are asked for, by their normalised names."""
    groups = _normalised(document, table(document.value, "dependency-groups"), "dependency group", sources)
    extras = _normalised(document, table(document.value, "project", "optional-dependencies"), "extra", sources)
    chosen: tuple[list[str], list[str]] = ([], [])
    for name in filter(None, (each.strip() for each in (group or "").split(","))):
        normal = canonicalize_name(name)
        if normal in groups:
            chosen[0].append(normal)
        elif normal in extras:
            chosen[1].append(normal)
        else:
            there = f"groups: {', '.join(groups) or 'none'}; extras: {', '.join(extras) or 'none'}"
            said = f"neither a dependency group nor an extra: {name!r} ({there}){_elsewhere(document, normal)}"
            sources.wrong(Place(document.file), said)
    if group is not None and not any(chosen) and not sources.problems:
        sources.wrong(Place(document.file), "the name of a dependency group or an extra is missing behind ':'")
    return list(dict.fromkeys(chosen[0])), sorted(set(chosen[1]))


_OWN_GROUPS = (
    ("poetry", "group"),
    ("pdm", "dev-dependencies"),
    ("hatch", "envs"),
)
"""Where tools keep groups of their own, below ``[tool]``."""


def _elsewhere(document: Toml, group: str) -> str:
    """That a group is there, where only the tool that it belongs to looks for it."""
    for tool, key in _OWN_GROUPS:
        for name in table(document.value, "tool", tool, key):
            if canonicalize_name(name) == group:
                return f"; [tool.{tool}.{key}] is not read: put it under [dependency-groups] (PEP 735)"
    if group == "dev" and "dev-dependencies" in table(document.value, "tool", "uv"):
        return "; dev-dependencies of [tool.uv] are not read: put them under [dependency-groups] (PEP 735)"
    return ""


def _normalised(document: Toml, given: Mapping[str, Any], kind: str, sources: Sources) -> dict[str, str]:
    """The names as written, by their normalised form; two that are one are a mistake."""
    found: dict[str, str] = {}
    for name in given:
        normal = canonicalize_name(name)
        if normal in found:
            sources.wrong(document.place(name), f"{found[normal]!r} and {name!r} are the same {kind}")
        found[normal] = name
    return found


def _check_sources(document: Toml, tables: UvTables, extras: list[str], asked: Asked) -> None:
    """Note what is wrong with the sources of a project that is installed itself: uv honours them when it resolves."""
    project = table(document.value, "project")
    optional = table(project, "optional-dependencies")
    lists = [("", project.get("dependencies")), *((canonicalize_name(each), optional[each]) for each in optional)]
    looked_at = Asked(asked.sources)
    for extra, listed in lists:
        for text in listed if isinstance(listed, list) and (not extra or extra in extras) else ():
            found = _NAME.match(text.strip()) if isinstance(text, str) else None
            # What else stands there is for the build backend, which may know forms that no standard does.
            if found and canonicalize_name(found[0]) in tables.entries:
                standard_requirement(text, document.place(text), looked_at, tables, extra=extra)
    asked.credentials.update(looked_at.credentials)


@dataclass(frozen=True, slots=True)
class _Dependencies:
    """What a project depends on, to be asked for without the project.

    :param marker: where it is asked for at all.
    """

    document: Toml
    tables: UvTables
    asked: Asked
    marker: str = ""

    def ask(self, extras: list[str]) -> None:
        """Ask for the dependencies of the project and those of its extras."""
        project = table(self.document.value, "project")
        dynamic = project.get("dynamic", [])
        for key in ("dependencies", *(["optional-dependencies"] if extras else [])):
            if isinstance(dynamic, list) and key in dynamic and key not in project:
                self.asked.sources.wrong(
                    self.document.place(key),
                    f"{key} are dynamic, so that only building the project would tell them: "
                    "a [build-system] and a name are needed, or write them down",
                )
        for text in wanted_list(self.document, project, "dependencies", self.asked.sources):
            self._ask(text)
        optional = table(project, "optional-dependencies")
        names: dict[str, str] = {canonicalize_name(name): name for name in optional}
        for extra in _with_own(extras, optional, names, str(project.get("name", ""))):
            for text in wanted_list(self.document, optional, names[extra], self.asked.sources):
                if not _own_extras(text, str(project.get("name", ""))):
                    self._ask(text, extra=extra)

    def ask_group(self, name: str, trail: tuple[str, ...]) -> None:
        """Ask for what a dependency group holds, and those that it includes (PEP 735)."""
        groups, sources = table(self.document.value, "dependency-groups"), self.asked.sources
        names: dict[str, str] = {canonicalize_name(each): each for each in groups}
        items = groups[names[name]]
        if not isinstance(items, list):
            sources.wrong(self.document.place(names[name]), f"{names[name]}: a list is wanted")
            return
        for item in items:
            if isinstance(item, str):
                self._ask(item, after="dependency-groups", group=trail[0] if trail else name)
                continue
            included = item.get("include-group") if isinstance(item, Mapping) and len(item) == 1 else None
            if not isinstance(included, str):
                said = 'a requirement, or {include-group = "NAME"}, is wanted'
                sources.wrong(self.document.place(names[name], after="dependency-groups"), f"{names[name]}: {said}")
                continue
            normal = canonicalize_name(included)
            place = self.document.place(included, after="dependency-groups")
            if normal in (*trail, name):
                circle = " → ".join((*trail, name, normal))
                sources.wrong(place, f"a dependency group that includes itself: {circle}")
            elif normal not in names:
                there = ", ".join(groups)
                sources.wrong(place, f"{names[name]} includes {included!r}, which is not there ({there})")
            else:
                self.ask_group(normal, (*trail, name))

    def _ask(self, text: str, *, after: str = "", extra: str = "", group: str = "") -> None:
        place = self.document.place(text, after=after)
        standard_requirement(text, place, self.asked, self.tables, extra=extra, group=group, marker=self.marker)


def _with_own(extras: list[str], optional: Mapping[str, Any], names: Mapping[str, str], project: str) -> Iterator[str]:
    """``extras`` and those that they name in turn, as ``all = ["demo[web,db]"]`` does."""
    waiting = list(dict.fromkeys(extras))
    for extra in waiting:
        if extra not in names:
            continue
        yield extra
        texts = optional[names[extra]] if isinstance(optional[names[extra]], list) else []
        own = (each for text in texts if isinstance(text, str) for each in _own_extras(text, project))
        waiting += [each for each in dict.fromkeys(own) if each not in waiting]


def _own_extras(text: str, project: str) -> list[str]:
    """The extras for which a requirement names the project itself."""
    found = re.match(r"([A-Za-z0-9._-]+)\s*\[([^\]]*)\]", text)
    if not project or not found or canonicalize_name(found[1]) != canonicalize_name(project):
        return []
    return [canonicalize_name(each.strip()) for each in found[2].split(",") if each.strip()]

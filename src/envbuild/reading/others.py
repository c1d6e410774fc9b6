"""What Poetry, PDM and Hatch keep in tables of their own about where packages come from.

These tables are not read. Where one of them takes a package from elsewhere than an index, or brings an index in, the
package of that name that we would find may be anybody's; so that is said, with a way to write it for us.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name

from envbuild.reading.asked import Asked
from envbuild.reading.toml import Toml, table

_PLACES = ("path", "git", "url", "file", "source")
_PUBLIC = ("pypi.org", "files.pythonhosted.org")


def refuse_others(document: Toml, names: Iterable[str], asked: Asked) -> None:
    """Note what another tool would take from elsewhere than we would.

    :param names: what is asked for by name, under the standard's keys.
    """
    wanted = {canonicalize_name(each) for each in names} - asked_by_us(document)
    for where, name in _elsewhere(document):
        if canonicalize_name(name) in wanted:
            asked.sources.wrong(
                document.place(name, after=where),
                f"[{where}] says where {name} comes from, and is not read; the {name} of an index may be another "
                f"package: say it under [tool.uv.sources] too, which is read, or write '{name} @ URL'",
            )
    ours = table(document.value, "tool", "envbuild", "options")
    uv = table(document.value, "tool", "uv")
    if (
        not {key.replace("-", "_") for key in ours} & {"index_url", "extra_index_urls", "no_index"}
        and "index" not in uv
    ):
        for where, url in _indexes(document):
            asked.sources.wrong(
                document.place(url, after=f"[{where}"),
                f"[[{where}]] is not read, and without {url} a package may come from elsewhere: "
                "name it under [tool.envbuild.options] or as a [[tool.uv.index]]",
            )


def asked_by_us(document: Toml) -> set[str]:
    """The names of which ``[tool.uv.sources]`` says where they come from."""
    return {canonicalize_name(each) for each in table(document.value, "tool", "uv", "sources")}


def _elsewhere(document: Toml) -> Iterator[tuple[str, str]]:
    """The packages that a tool would take from elsewhere, each with the table that says so."""
    value = document.value
    tables = {"tool.poetry.dependencies": table(value, "tool", "poetry", "dependencies")}
    for group in table(value, "tool", "poetry", "group"):
        where = f"tool.poetry.group.{group}.dependencies"
        tables[where] = table(value, "tool", "poetry", "group", group, "dependencies")
    for where, dependencies in tables.items():
        for name, given in dependencies.items():
            entries = given if isinstance(given, list) else [given]
            if any(isinstance(each, Mapping) and not each.keys().isdisjoint(_PLACES) for each in entries):
                yield where, name
    overrides = table(value, "tool", "pdm", "resolution", "overrides")
    yield from (("tool.pdm.resolution.overrides", name) for name, given in overrides.items() if "://" in str(given))
    for environment in table(value, "tool", "hatch", "envs"):
        yield from _hatch_members(document, environment)


def _hatch_members(document: Toml, environment: str) -> Iterator[tuple[str, str]]:
    import tomllib

    where = f"tool.hatch.envs.{environment}.workspace"
    members = table(document.value, "tool", "hatch", "envs", environment, "workspace").get("members")
    for member in members if isinstance(members, list) else ():
        pattern = member.get("path") if isinstance(member, Mapping) else member
        for folder in document.file.parent.glob(str(pattern).removesuffix("/")) if pattern else ():
            try:
                project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                # No project that Hatch could install either.
                continue
            name = table(project, "project").get("name")
            if isinstance(name, str):
                yield where, name


def _indexes(document: Toml) -> Iterator[tuple[str, str]]:
    for tool, also in (("poetry", "explicit"), ("pdm", "")):
        listed: Any = table(document.value, "tool", tool).get("source")
        for each in listed if isinstance(listed, list) else ():
            url = each.get("url") if isinstance(each, Mapping) else None
            is_only_named = bool(also) and isinstance(each, Mapping) and each.get("priority") == also
            if isinstance(url, str) and not is_only_named and urlsplit(url).hostname not in _PUBLIC:
                yield f"tool.{tool}.source", url

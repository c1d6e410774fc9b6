"""A script that says in a comment what it needs (PEP 723).

``[tool.envbuild]`` has the keys of ``envbuild.yml``. Of ``[tool.uv]``, the indexes, ``sources`` (`uv`) and
``exclude-newer`` are honoured, so that a script written for ``uv run`` finds here what it finds there.
"""

from __future__ import annotations

import datetime
import io
import tokenize
from pathlib import Path
from typing import Any

from envbuild.definition import Definition
from envbuild.form import did_you_mean
from envbuild.reading import toml
from envbuild.reading.asked import Asked, assemble
from envbuild.reading.block import find_blocks, is_empty, is_unclosed
from envbuild.reading.pyproject import read_tool_table, standard_requirement, wanted_list
from envbuild.reading.sources import Place, Sources, ordinary
from envbuild.reading.uv import UvTables

_KEYS = ("requires-python", "dependencies", "tool")


def read(path: Path, sources: Sources) -> Definition:
    """Read the block ``script`` of a script."""
    document = _document(path, sources)
    sources.check()
    asked = Asked(sources)
    for key in document.value:
        if key not in _KEYS:
            sources.wrong(document.place(key), f"unknown key {key!r} in '# /// script'{did_you_mean(key, _KEYS)}")
    tables = UvTables.of_script(document, sources)
    tables.indexes(asked)
    for text in wanted_list(document, document.value, "dependencies", sources):
        standard_requirement(text, document.place(text), asked, tables)
    form: dict[str, Any] = {"python": document.value.get("requires-python")}
    form |= _from_uv(document, asked)
    before = set(asked.pip)
    form |= read_tool_table(document, asked)
    tables.check_ours(each for each in asked.pip if each not in before)
    return assemble(asked, form, document.places_in("tool.envbuild"), source=path)


def _document(path: Path, sources: Sources) -> toml.Toml:
    nothing = toml.Toml(path, {}, "")
    try:
        text = ordinary(_decoded(sources.contents(path)))
    except ValueError as error:
        sources.wrong(Place(path), error)
        return nothing
    blocks = find_blocks(text)
    if is_unclosed(text):
        line = text[: text.index("# /// script")].count("\n") + 1
        sources.wrong(
            Place(path, line), "no '# ///' closes this '# /// script'; every line between the two begins with '# '"
        )
        return nothing
    if not blocks:
        nowhere = "there is no '# /// script' (PEP 723)"
        empty = "its '# /// script' is empty; '# dependencies = []' in it asks for nothing"
        said = empty if is_empty(text) else nowhere
        sources.wrong(Place(path), f"the script says nothing about what it needs: {said}")
        return nothing
    for repeated in blocks[1:]:
        sources.wrong(Place(path, repeated.first - 1), "a second '# /// script'; there may be one")
    return toml.load(blocks[0].text, path, sources, first=blocks[0].first)


def _decoded(data: bytes) -> str:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"not the text of a script: {error}") from error


def _from_uv(document: toml.Toml, asked: Asked) -> dict[str, Any]:
    """What ``[tool.uv]`` says, in our words."""
    uv = toml.table(document.value, "tool", "uv")
    form: dict[str, Any] = {}
    newest = uv.get("exclude-newer")
    if newest is not None:
        try:
            form["as_of"] = last_whole_day(newest)
        except ValueError as error:
            asked.sources.wrong(document.place("exclude-newer"), error)
    return form


def last_whole_day(newest: object) -> datetime.date:
    """The last day of which everything counts where nothing from ``newest`` on does.

    :raises ValueError: it is neither a day nor a time.

    >>> str(last_whole_day("2026-01-31")), str(last_whole_day("2026-02-01T00:00:00Z"))
    ('2026-01-31', '2026-01-31')
    """
    if isinstance(newest, str):
        newest = _day_or_time(newest)
    if isinstance(newest, datetime.datetime):
        if newest.tzinfo:
            newest = newest.astimezone(datetime.UTC)
        return (newest + datetime.timedelta(seconds=1)).date() - datetime.timedelta(days=1)
    if isinstance(newest, datetime.date):
        return newest
    raise ValueError(f"exclude-newer: not a day or a time: {newest!r}")


def _day_or_time(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text) if len(text) <= 10 else datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"exclude-newer: not a day or a time: {text!r}") from error

"""``envbuild.yml``: the full form, in which everything that an environment can be asked to be has a key.

Its ``pip`` takes whatever a line of a requirements file may say, and mappings as `Definition.to_dict` writes
them; its ``wheels`` takes paths and the URLs of private wheels. The same keys stand under ``[tool.envbuild]`` in
``pyproject.toml`` and in scripts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from envbuild.definition import Definition
from envbuild.reading import yaml
from envbuild.reading.asked import Asked, assemble
from envbuild.reading.requirement import bound, read_constraint, read_requirement
from envbuild.reading.requirements import read_lines
from envbuild.reading.sources import Place, Sources
from envbuild.requirement import WheelRef

_LISTS = ("pip", "constraints", "wheels")


def read(path: Path, sources: Sources, text: str) -> Definition:
    """Read an ``envbuild.yml``."""
    marked = yaml.load(text, path, sources)
    form = yaml.mapping(marked, path, sources)
    asked = Asked(sources)
    return assemble(asked, read_form(form, asked, marked.place), marked.place, source=path)


def read_form(form: Mapping[str, Any], asked: Asked, at: Callable[[str], Place]) -> dict[str, Any]:
    """Ask for what stands in the lists of ``form``, and give what else is in it.

    :param at: where a part of the form stands, such as ``pip[2]``.
    """
    for key in _LISTS:
        values = form.get(key)
        if values is None:
            continue
        if not isinstance(values, list):
            asked.sources.wrong(at(key), f"{key}: a list is wanted, not {type(values).__name__}")
            continue
        for position, value in enumerate(values):
            place = at(f"{key}[{position}]")
            try:
                _read_item(key, value, place, asked)
            except ValueError as error:
                asked.sources.wrong(place, f"{key}[{position}]: {error}")
    return {key: value for key, value in form.items() if key not in _LISTS}


def _read_item(key: str, value: Any, place: Place, asked: Asked) -> None:
    if key != "wheels" and isinstance(value, Mapping):
        _read_mapping(value, place, asked, constraint=key == "constraints")
    elif not isinstance(value, str) or not value.strip():
        raise ValueError(f"a text is wanted, not {value!r}")
    elif key == "wheels":
        found = read_requirement(value if "/" in value else f"./{value}", place, asked.sources)
        if not isinstance(found, WheelRef):
            raise ValueError(f"{value!r} is not a wheel on this machine; what pip can find stands under pip")
        asked.add(found)
    else:
        read_lines(value, place, asked, constraint=key == "constraints")


def _read_mapping(value: Mapping[str, Any], place: Place, asked: Asked, *, constraint: bool) -> None:
    text, editable, hashes = value.get("requirement"), value.get("editable", False), value.get("hashes", [])
    index = value.get("index", "")
    if (
        set(value) - {"requirement", "editable", "hashes", "index"}
        or not isinstance(text, str)
        or not isinstance(editable, bool)
        or not isinstance(hashes, list)
        or not isinstance(index, str)
    ):
        raise ValueError(
            "a requirement is a text, or a mapping of requirement, editable (true or false), hashes and index"
        )
    asked.urls_in(text)
    written = [str(each) for each in hashes]
    if constraint and index:
        raise ValueError("a constraint asks for no package: the index stands where the package is asked for")
    if constraint:
        asked.add(read_constraint(text, written), constraint=True)
    else:
        found = read_requirement(text, place, asked.sources, editable=editable, hashes=written)
        asked.add(bound(found, asked.location(index, place)) if index else found)

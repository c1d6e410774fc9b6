"""YAML that is safe to read, with the line that each value stands in.

Only plain values come out, a key that is there twice is a mistake, and a few lines that unfold into millions of
values through aliases are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.reading.sources import Place, Sources

if TYPE_CHECKING:
    import yaml

_MOST_VALUES = 200_000
_DEEPEST = 150


@dataclass(slots=True)
class Marked:
    """What a YAML file says, and the line of each place in it, such as ``pip[2]`` or ``variables.LANG``."""

    file: Path
    value: Any = None
    lines: dict[str, int] = field(default_factory=dict)

    def place(self, part: str) -> Place:
        """Where ``part`` stands in the file."""
        return Place(self.file, self.line(part))

    def line(self, place: str) -> int | None:
        """The line of ``place``, or of the nearest place around it that has one."""
        while place and place not in self.lines:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        return self.lines.get(place)


def load(text: str, file: Path, sources: Sources) -> Marked:
    """Read ``text``; what is wrong with it is noted in ``sources``, and then the value may lack parts."""
    import yaml

    if _depth(text) > _DEEPEST:
        sources.wrong(Place(file), "values within values within values: nothing that deep can be meant")
        return Marked(file)
    try:
        # libyaml's parser is ten times faster where PyYAML was built with it.
        node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(each for each in (error.context, error.problem) if each)
        sources.wrong(Place(file, mark.line + 1 if mark else None), f"not YAML: {said}")
        return Marked(file)
    except (yaml.YAMLError, RecursionError) as error:
        sources.wrong(Place(file), f"not YAML: {str(error).splitlines()[0]}")
        return Marked(file)
    if node is None:
        return Marked(file)
    try:
        _count(node, {})
    except ValueError as error:
        sources.wrong(Place(file), error)
        return Marked(file)
    marked = Marked(file)
    marked.value = _Values(marked, file, sources).value(node, "")
    return marked


def mapping(marked: Marked, file: Path, sources: Sources) -> Mapping[str, Any]:
    """The value, which has to be a mapping for the file to say anything."""
    if isinstance(marked.value, Mapping):
        return marked.value
    if not sources.problems:
        said = "nothing is in it" if marked.value is None else f"{type(marked.value).__name__} instead"
        sources.wrong(Place(file, 1), f"keys and values are wanted ('name: …'): {said}")
    return {}


def _depth(text: str) -> int:
    """How deep the text can nest at the most, told without a parser, which may not survive to tell."""
    indents = {len(line) - len(line.lstrip(" ")) for line in text.splitlines()}
    compact = max((line.count("- ") + line.count("? ") for line in text.splitlines()), default=0)
    flow = deepest = 0
    for character in text:
        if character in "[{":
            flow += 1
            deepest = max(deepest, flow)
        elif character in "]}" and flow:
            flow -= 1
    return len(indents) + compact + deepest


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values ``node`` unfolds into.

    :raises ValueError: too many, or without end.
    """
    if id(node) in known:
        if known[id(node)] < 0:
            raise ValueError("an alias that stands for what it is part of")
        return known[id(node)]
    known[id(node)] = -1
    parts = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
    total = 1 + sum(_count(part, known) for part in parts if not isinstance(part, str))
    if total > _MOST_VALUES:
        raise ValueError(f"its aliases unfold into more than {_MOST_VALUES} values")
    known[id(node)] = total
    return total


class _Values:
    """Makes plain values of nodes, and notes where they stand."""

    def __init__(self, marked: Marked, file: Path, sources: Sources) -> None:
        import yaml

        self.yaml = yaml
        self.constructor = yaml.SafeLoader("")
        self.marked, self.file, self.sources = marked, file, sources

    def wrong(self, node: yaml.Node, message: str) -> None:
        self.sources.wrong(Place(self.file, node.start_mark.line + 1), message)

    def value(self, node: yaml.Node, place: str) -> Any:
        self.marked.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, self.yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self.mapping(node, place)
        if isinstance(node, self.yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self.value(item, f"{place}[{position}]") for position, item in enumerate(node.value)]
        if not isinstance(node, self.yaml.ScalarNode):
            self.wrong(node, f"{node.tag} is not a plain value")
            return None
        try:
            return self.constructor.construct_object(node)
        except self.yaml.MarkedYAMLError as error:
            self.wrong(node, f"not a plain value: {error.problem}")
        except ValueError as error:
            self.wrong(node, f"not a plain value: {error}")
        return None

    def mapping(self, node: yaml.MappingNode, place: str) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key_node, item in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                self.merge(found, item, place)
        own: set[Any] = set()
        for key_node, item in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key_node, self.yaml.ScalarNode):
                self.wrong(key_node, "a key is a text, not a list or a mapping")
                continue
            key = self.value(key_node, "")
            if not isinstance(key, str):
                self.wrong(key_node, f"a key is a text: put quotes around {key_node.value}")
                key = key_node.value
            if key in own:
                self.wrong(key_node, f"{key!r} is there twice")
            own.add(key)
            inner = f"{place}.{key}" if place else key
            self.marked.lines[inner] = key_node.start_mark.line + 1
            found[key] = self.value(item, inner)
        return found

    def merge(self, found: dict[Any, Any], item: yaml.Node, place: str) -> None:
        """``<<``: of several mappings, the first that has a key decides."""
        merged = self.value(item, f"{place}.<<")
        for each in merged if isinstance(merged, list) else [merged]:
            if isinstance(each, Mapping):
                found.update({key: value for key, value in each.items() if key not in found})
            else:
                self.wrong(item, "'<<' wants a mapping")

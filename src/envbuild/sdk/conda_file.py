"""Conda's files as plain data, read and written so that what people wrote into them stays.

An unchanged file is written as it was, to the byte. A changed one is written anew, in its order, with the comments
above and beside each entry that is still there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envbuild.errors import Problem
from envbuild.form import did_you_mean, plain
from envbuild.reading import conda, yaml
from envbuild.reading.sources import Place, Sources, absolute
from envbuild.sdk.exceptions import UserErrorException, user_errors

_Key = tuple[str, ...]
_END: _Key = ()


@dataclass(frozen=True, slots=True)
class Comment:
    """The whole lines above an entry, and what stands behind it."""

    above: tuple[str, ...] = ()
    beside: str = ""


@dataclass(slots=True)
class CondaFile:
    """What a file says, and how it was written.

    :param form: plain data, with the list for pip one line each; whoever holds the file may change it.
    :param path: where it was read from.
    """

    form: dict[str, Any]
    path: Path | None = None
    written: str = ""
    read: dict[str, Any] = field(default_factory=dict)
    comments: dict[_Key, Comment] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> CondaFile:
        """Read a file.

        :raises FileNotFoundError: there is none.
        :raises UserErrorException: it is not conda's form; with everything that is wrong, by file and line.
        """
        if not path.exists():
            raise FileNotFoundError(f"no such file: {str(path)!r}")
        path = absolute(path)
        sources = Sources(path.parent, {})
        try:
            text = sources.text(path)
        except ValueError as error:
            sources.wrong(Place(path), error)
            text = ""
        with user_errors():
            conda.refuse_templates(text, path, sources)
            sources.check()
            marked = yaml.load(text, path, sources)
            form = dict(yaml.mapping(marked, path, sources))
            _check(form, lambda place, message: sources.wrong(Place(path, marked.line(place)), message))
            sources.check()
        comments = _comments(text, form, marked)
        form = _one_line_each(form)
        return cls(form, path, text, deepcopy(form), comments)

    @classmethod
    def of(cls, form: Mapping[str, Any]) -> CondaFile:
        """Take ``form`` as it would be read from a file.

        :raises UserErrorException: it is not conda's form.
        """
        problems: list[Problem] = []
        copied = plain(form)
        _check(copied, lambda place, message: problems.append(Problem(place or "conda dependencies", None, message)))
        if problems:
            raise UserErrorException("\n".join(map(str, problems)))
        return cls(_one_line_each(copied))

    def text(self) -> str:
        """What the file says now, in YAML."""
        return self.written if self.written and self.form == self.read else _write(self.form, self.comments)


def lines_of(text: str) -> list[str]:
    r"""The lines of requirements as pip counts them: what a backslash continues is one line, as it is written.

    >>> lines_of("demo==1\nother \\\n  --hash=sha256:00")
    ['demo==1', 'other \\\n  --hash=sha256:00']
    """
    lines: list[str] = []
    open_line = False
    for line in text.splitlines() or [""]:
        if open_line:
            lines[-1] += f"\n{line}"
        else:
            lines.append(line)
        open_line = line.endswith("\\") and not line.lstrip().startswith("#")
    return lines


def _check(form: Any, wrong: Callable[[str, str], None]) -> None:
    """Tell ``wrong`` each place that is not as conda's form has it, and why."""
    if not isinstance(form, Mapping):
        wrong("", f"keys and values are wanted ('name: …'), not {type(form).__name__}")
        return
    for key, value in form.items():
        if key not in conda.KEYS:
            wrong(str(key), f"unknown key {str(key)!r}{did_you_mean(str(key), conda.KEYS)}")
        elif key in ("channels", "dependencies", "platforms"):
            if value is not None and not isinstance(value, list):
                wrong(key, f"{key}: a list is wanted, not {type(value).__name__}")
        elif key == "variables":
            if value is not None and not isinstance(value, Mapping):
                wrong(key, f"{key}: a mapping is wanted, not {type(value).__name__}")
            for name in value if isinstance(value, Mapping) else ():
                if not isinstance(name, str):
                    wrong(f"{key}.{name}", f"{key}: a key is a text, not {name!r}")
        elif value is not None and not isinstance(value, str):
            wrong(key, f"{key}: a text is wanted, not {value!r}")
    for key in ("channels", "dependencies", "platforms"):
        items = form.get(key)
        _check_items(key, items if isinstance(items, list) else [], wrong)


def _check_items(key: str, items: list[Any], wrong: Callable[[str, str], None]) -> None:
    pip_lists = 0
    for position, item in enumerate(items):
        place = f"{key}[{position}]"
        if key == "dependencies" and isinstance(item, Mapping) and set(item) == {"pip"}:
            pip_lists += 1
            lines = item["pip"] if item["pip"] is not None else []
            if pip_lists > 1:
                wrong(place, "a second list for pip; put both into one")
            if not isinstance(lines, list):
                wrong(f"{place}.pip", f"pip: a list is wanted, not {type(lines).__name__}")
                continue
            for number, line in enumerate(lines):
                if not isinstance(line, str):
                    wrong(f"{place}.pip[{number}]", f"a line of a requirements file is wanted, not {line!r}")
        elif not isinstance(item, str) or not item.strip():
            also = ", or the list 'pip:'" if key == "dependencies" else ""
            wrong(place, f"{key}: a text is wanted{also}, not {item!r}")


def _one_line_each(form: Mapping[str, Any]) -> dict[str, Any]:
    """``form`` with a list where nothing stands, and each block of lines for pip taken apart."""
    found = dict(form)
    for key in ("channels", "dependencies"):
        if key in found:
            found[key] = list(found[key] or [])
    for position, item in enumerate(found.get("dependencies", [])):
        if isinstance(item, Mapping):
            found["dependencies"][position] = {"pip": [one for block in item["pip"] or [] for one in lines_of(block)]}
    return found


@dataclass(frozen=True, slots=True)
class _Line:
    """What has a line of its own in YAML's block form.

    :param key: what its comments are kept under, by what it says rather than by where it stands.
    :param part: its place in the form, as `yaml.Marked` names places.
    """

    key: _Key
    part: str
    depth: int
    head: str
    value: Any
    opens: bool = False


def _lines(form: Mapping[str, Any]) -> Iterator[_Line]:
    for key, value in form.items():
        opens = isinstance(value, (list, Mapping)) and bool(value)
        yield _Line((key,), key, 0, f"{key}:", value, opens)
        if isinstance(value, Mapping):
            for name, item in value.items():
                yield _Line((key, name), f"{key}.{name}", 1, f"{_scalar(name)}:", item)
        elif isinstance(value, list):
            for position, item in enumerate(value):
                yield from _item(key, f"{key}[{position}]", item)


def _item(key: str, part: str, item: Any) -> Iterator[_Line]:
    if not isinstance(item, Mapping):
        yield _Line((key, str(item)), part, 1, "-", item)
        return
    lines = item["pip"] or []
    yield _Line(("pip:",), part, 1, "- pip:", lines, bool(lines))
    for number, line in enumerate(lines):
        yield _Line(("pip:", lines_of(line)[0]), f"{part}.pip[{number}]", 3, "-", line)


def _comments(text: str, form: Mapping[str, Any], marked: yaml.Marked) -> dict[_Key, Comment]:
    """The comments of a file, by what they stand at; those that follow the last entry are at `_END`."""
    written = text.splitlines()
    found: dict[_Key, Comment] = {}
    seen = 0
    for each in _lines(form):
        number = marked.lines.get(each.part, 0)
        if number <= seen:
            continue
        found[each.key] = Comment(_whole(written[seen : number - 1]), _behind(written[number - 1], each))
        # What looks like a comment in a block of text is part of it.
        is_block = isinstance(each.value, str) and "\n" in each.value
        seen = number + (len(each.value.rstrip("\n").splitlines()) if is_block else 0)
    found[_END] = Comment(_whole(written[seen:]))
    return {key: comment for key, comment in found.items() if comment != Comment()}


def _whole(lines: list[str]) -> tuple[str, ...]:
    return tuple(line.strip() for line in lines if line.lstrip().startswith("#"))


def _behind(written: str, line: _Line) -> str:
    """The comment behind a value: the first ``#`` that leaves the value whole."""
    import yaml as pyyaml

    start = written.find(" #")
    while start >= 0:
        before = written[:start].strip()
        try:
            read = pyyaml.safe_load(before.removeprefix(line.head))
        except pyyaml.YAMLError:
            read = written
        if before.startswith(line.head) and read == (None if line.opens else line.value):
            return written[start:].strip()
        start = written.find(" #", start + 1)
    return ""


def _write(form: Mapping[str, Any], comments: Mapping[_Key, Comment]) -> str:
    written: list[str] = []
    for line in _lines(form):
        comment = comments.get(line.key, Comment())
        said = line.head if line.opens else f"{line.head} {_scalar(line.value)}"
        said += f"  {comment.beside}" if comment.beside else ""
        written += ["  " * line.depth + each for each in (*comment.above, said)]
    return "\n".join((*written, *comments.get(_END, Comment()).above, ""))


def _scalar(value: Any) -> str:
    import yaml as pyyaml

    # Only this style escapes what counts as the end of a line in YAML.
    style = '"' if isinstance(value, str) and not value.isprintable() else None
    written = pyyaml.safe_dump(value, default_flow_style=True, default_style=style, allow_unicode=True, width=10**9)
    return str(written).removesuffix("\n").removesuffix("\n...")

"""Requirements files, as pip reads them: continued lines, comments, variables, options, files within files.

Two things differ from pip on purpose. ``${NAME}`` stays as it is wherever a URL is written, because its value is
a secret more often than not and must not get into a lock. And what pip would silently ignore, such as an
``--index-url`` behind a requirement, is a mistake that is told.
"""

from __future__ import annotations

import codecs
import locale
import os.path
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from envbuild.definition import Definition
from envbuild.reading.asked import Asked, assemble
from envbuild.reading.options import OF_REQUIREMENTS, WITHOUT_EFFECT, Option, take_apart
from envbuild.reading.requirement import path_of_url, read_constraint, read_requirement
from envbuild.reading.sources import Place, Sources, absolute, ordinary, shown

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
)
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_BLANKS = re.compile(r"\s{16,}")
"""More than anybody means; what looks for words further on would take its time over them."""
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_KEPT = re.compile(
    r"(?<!\S)(?:-i\s*|--(?:pypi|extra|index)[a-z-]*(?:=|\s+))\S+|(?<![\w+.-])(?!file:)[A-Za-z][A-Za-z0-9+.-]*://\S*"
)


def read(path: Path, sources: Sources) -> Definition:
    """Read a requirements file and all that it includes."""
    asked = Asked(sources)
    try:
        text = decoded(sources.contents(path))
        # An empty one asks for nothing, as pip has it.
        text = ordinary(text) if text.strip() else ""
    except ValueError as error:
        sources.wrong(Place(path), error)
    else:
        _read_text(text, path, asked, constraint=False, trail=(path,))
    return assemble(asked, {}, lambda _: Place(path), source=path)


def decoded(data: bytes) -> str:
    """The text of a requirements file: by its byte order mark, its coding comment, as UTF-8, or as the locale has it.

    :raises ValueError: it is in none of them.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decode(data[len(mark) :], encoding)
    for line in data.split(b"\n")[:2]:
        coding = _CODING.search(line) if line.startswith(b"#") else None
        if coding:
            return _decode(data, coding[1].decode("ascii"))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _decode(data, locale.getpreferredencoding(False))


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    r"""Join continued lines and drop comments and empty lines; a line has the number of its first.

    >>> list(logical_lines("demo \\\n  >=1  # at least\n\n# no more\nhttps://host.test/#egg=x"))
    [(1, 'demo   >=1'), (5, 'https://host.test/#egg=x')]
    """
    for number, line in _joined(text):
        bare = _BLANKS.sub(" ", _COMMENT.sub("", line).strip())
        if bare:
            yield number, bare


def expanded(line: str, variables: Mapping[str, str]) -> str:
    """Put in the values of ``${NAME}``, but not in URLs, nor such that would put in a URL.

    >>> expanded("demo==${V} @ https://${TOKEN}@host.test", {"V": "1.0", "TOKEN": "secret"})
    'demo==1.0 @ https://${TOKEN}@host.test'
    """

    def value(found: re.Match[str]) -> str:
        text = variables.get(found[1]) or found[0]
        return found[0] if "://" in text and not text.lower().startswith("file:") else text

    pieces, end = [], 0
    for kept in _KEPT.finditer(line):
        pieces += [_VARIABLE.sub(value, line[end : kept.start()]), kept[0]]
        end = kept.end()
    return "".join((*pieces, _VARIABLE.sub(value, line[end:])))


def read_lines(text: str, place: Place, asked: Asked, *, constraint: bool = False) -> None:
    """Read ``text``, which stands at ``place`` of a file of another kind, as lines of a requirements file."""
    # Several lines are a block, which begins in the line behind the sign that opens it.
    is_block = place.line is not None and "\n" in text.strip()
    for number, line in logical_lines(text):
        at = Place(place.file, place.line + number) if is_block and place.line else place
        _read_line(line, at, asked, constraint=constraint, trail=(place.file,))


def _joined(text: str) -> Iterator[tuple[int, str]]:
    first, so_far = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        comment = line.lstrip().startswith("#")
        if line.endswith("\\") and not comment:
            first = first or number
            so_far += line.strip("\\")
            continue
        yield first or number, so_far + (f" {line}" if comment else line)
        first, so_far = 0, ""
    if first:
        yield first, so_far


def _decode(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except LookupError as error:
        raise ValueError(f"unknown encoding: {encoding!r}") from error
    except UnicodeDecodeError as error:
        if b"\0" in data:
            raise ValueError("this is a binary file, not a definition") from error
        raise ValueError(
            f"not {encoding}: byte 0x{data[error.start]:02x} at {error.start}; save it as UTF-8"
        ) from error


def _read_text(text: str, path: Path, asked: Asked, *, constraint: bool, trail: tuple[Path, ...]) -> None:
    for number, line in logical_lines(text):
        _read_line(line, Place(path, number), asked, constraint=constraint, trail=trail)


def _read_line(line: str, place: Place, asked: Asked, *, constraint: bool, trail: tuple[Path, ...]) -> None:
    try:
        requirement, options = take_apart(expanded(line, asked.sources.variables))
        if requirement:
            _read_requirement(requirement, options, place, asked, constraint=constraint)
    except ValueError as error:
        asked.sources.wrong(place, error)
        return
    if requirement:
        return
    for option in options:
        try:
            _read_option(option, options, place, asked, constraint=constraint, trail=trail)
        except ValueError as error:
            asked.sources.wrong(place, error)


def _read_requirement(
    text: str, options: tuple[Option, ...], place: Place, asked: Asked, *, constraint: bool, editable: bool = False
) -> None:
    for option in options:
        if option.name not in OF_REQUIREMENTS:
            raise ValueError(f"{option.name} behind a requirement; pip would ignore it: give it a line of its own")
        if option.name != "--hash":
            raise ValueError(f"envbuild does not support {option.name}: build a wheel with it and ask for that")
    hashes = [option.value for option in options]
    if constraint:
        if editable:
            raise ValueError("a constraint cannot be editable")
        asked.add(read_constraint(text, hashes), constraint=True)
    else:
        asked.add(read_requirement(text, place, asked.sources, editable=editable, hashes=hashes))
    asked.urls_in(text)


def _read_option(
    option: Option,
    beside: tuple[Option, ...],
    place: Place,
    asked: Asked,
    *,
    constraint: bool,
    trail: tuple[Path, ...],
) -> None:
    """Let ``option`` of a line without requirement have its effect."""
    options = asked.options
    match option.name:
        case "--requirement":
            _include(option.value, place, asked, constraint=False, trail=trail)
        case "--constraint":
            _include(option.value, place, asked, constraint=True, trail=trail)
        case "--editable":
            own = tuple(each for each in beside if each is not option)
            _read_requirement(option.value, own, place, asked, constraint=constraint, editable=True)
        case "--index-url":
            options.index(asked.location(option.value, place))
        case "--extra-index-url":
            options.extra_index_urls.append(asked.location(option.value, place))
        case "--find-links":
            options.find_links.append(asked.location(option.value, place))
        case "--no-binary" | "--only-binary":
            options.formats(option.name, option.value)
        case "--no-index":
            options.no_index = True
        case "--pre":
            options.pre = True
        case "--require-hashes":
            options.require_hashes = True
        case name if name in OF_REQUIREMENTS:
            if not any(each.name == "--editable" for each in beside):
                raise ValueError(f"{name} stands behind a requirement, not alone")
        case name:
            assert name in WITHOUT_EFFECT  # noqa: S101 - `take_apart` knows no others


def _include(written: str, place: Place, asked: Asked, *, constraint: bool, trail: tuple[Path, ...]) -> None:
    """Read another file where it is named; a second time it would say nothing new."""
    if written.lower().startswith(("http:", "https:")):
        raise ValueError(f"requirements from a URL are not supported; keep a copy beside the definition: {written}")
    named = path_of_url(written) if written.lower().startswith("file:") else written
    path = absolute(Path(os.path.join(place.folder, named)))  # noqa: PTH118
    if path in trail:
        circle = " → ".join(shown(each) for each in (*trail[trail.index(path) :], path))
        raise ValueError(f"a file that includes itself: {circle}")
    if (path, constraint) in asked.included:
        return
    asked.included.add((path, constraint))
    text = decoded(asked.sources.contents(path))
    if "\0" in text:
        raise ValueError(f"{shown(path)!r} is a binary file")
    _read_text(text, path, asked, constraint=constraint, trail=(*trail, path))

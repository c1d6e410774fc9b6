"""Leaks: where a secret turns up, also where it is spelled in another way, or lies in what is compressed.

Spellings are base64 (wherever in it the secret begins, in both alphabets), hex, UTF-16, and what is quoted for a URL or
escaped for JSON, Python or HTML. What is compressed is gzip, zlib, bzip2, xz and zip; in these and in tar archives each
member is looked at by itself. What is larger than `LARGEST` when it is unpacked, or deeper than `DEEPEST`, is looked at
as far as that.
"""

from __future__ import annotations

import base64
import bz2
import html
import io
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

LARGEST = 64 << 20
"""How many bytes of one compressed file are looked at."""

DEEPEST = 4
"""How many layers of compression are taken off."""

_SHORTEST = 6
"""What is left of a spelling between others has to be as long, or it would be found anywhere."""

_UNREADABLE = (
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,  # a member of a zip file that needs a password
    NotImplementedError,
)


class _Spelling(NamedTuple):
    """A way to write the secret.

    :param name: what it is called, as what follows "the secret is there".
    """

    name: str
    pattern: re.Pattern[bytes]


def spellings(held: str | bytes, secret: str) -> list[str]:
    """The ways in which a secret stands in a text or in bytes, by their names; empty if it does not.

    >>> spellings("https://me:p%61ss%77ord@host", "password")
    ['quoted']
    >>> spellings("Basic " + base64.b64encode(b"me:password").decode(), "password")
    ['in base64']
    """
    data = held if isinstance(held, bytes) else os.fsencode(held)
    return [each.name for each in _spellings(secret) if each.pattern.search(data)]


def leaks(folder: Path, secret: str) -> list[str]:
    """What below ``folder`` tells the secret, a line each: the file, the member in it, and how it is spelled there."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        ways = spellings(name, secret)
        if path.is_symlink():
            ways += spellings(str(path.readlink()), secret)
        found += [f"{name}: its name or its link, {way}" for way in ways]
        if path.is_file() and not path.is_symlink():
            found += leaks_of(name, path.read_bytes(), secret)
    return found


def leaks_of(name: str, data: bytes, secret: str) -> list[str]:
    """The same of one file."""
    return [f"{place}: {way}" for place, held in _layers(name, data) for way in spellings(held, secret)]


@lru_cache(maxsize=8)
def _spellings(secret: str) -> tuple[_Spelling, ...]:
    plain = secret.encode()
    # Without the secret as it is, which is found by itself.
    quoted = rb"(?!" + re.escape(plain) + rb")" + b"".join(map(_in_any_form, secret))
    in_base64 = {each for each in _base64(plain) if len(each) >= _SHORTEST}
    written = {html.escape(secret).encode()} - {plain}
    ways = {
        "as it is": re.escape(plain),
        "in base64": b"|".join(re.escape(each) for each in sorted(in_base64)),
        "in hex": re.escape(plain.hex().encode()) + b"|" + re.escape(plain.hex().upper().encode()),
        "in UTF-16": re.escape(secret.encode("utf-16-le")) + b"|" + re.escape(secret.encode("utf-16-be")),
        "quoted": b"|".join([quoted, *map(re.escape, written)]),
    }
    return tuple(_Spelling(name, re.compile(pattern)) for name, pattern in ways.items() if pattern)


def _in_any_form(letter: str) -> bytes:
    """A letter as it is, quoted for a URL (as often as one likes), or escaped by its number."""
    data, number = letter.encode(), ord(letter)
    by_number = rb"\\(?:u00|x)(?i:%02x)" % number if number < 256 else rb"\\u(?i:%04x)" % number
    in_url = b"".join(rb"%%(?:25)*(?i:%02x)" % each for each in data)
    # JSON and Python put a backslash before their own quotes, and before a backslash.
    return rb"(?:\\*%s|%s|%s)" % (re.escape(data), in_url, by_number)


def _base64(data: bytes) -> Iterator[bytes]:
    """What all texts have in common that are the base64 of something with ``data`` in it; three, by where it begins."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            text = encode(bytes(before) + data).rstrip(b"=")
            # The first and the last letter hold bits of what stands beside it.
            begin = (0, 2, 3)[before]
            yield text[begin:] if (before + len(data)) % 3 == 0 else text[begin:-1]


def _layers(name: str, data: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """A file, and all that is found by unpacking it, each with where it is."""
    yield name, data
    if depth < DEEPEST:
        # What is damaged, or only begins like that, is looked at as it is.
        with suppress(*_UNREADABLE):
            for place, inner in _members(name, data):
                yield from _layers(place, inner, depth + 1)


def _members(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    if data.startswith(b"PK\3\4"):
        left = LARGEST
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for each in archive.infolist():
                with archive.open(each) as member:
                    inner = member.read(left)
                left -= len(inner)
                yield f"{name}, in it {each.filename}", inner
    elif data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as packed:
            for entry in packed:
                stream = packed.extractfile(entry) if entry.isreg() else None
                if stream:
                    yield f"{name}, in it {entry.name}", stream.read()
    else:
        unpacked = _unpacked(data)
        if unpacked:
            yield f"{name}, unpacked", unpacked


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _unpacker(data: bytes) -> _Unpacker | None:
    if data.startswith((b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")):
        return zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
    if data.startswith(b"BZh"):
        return bz2.BZ2Decompressor()
    if data.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        return lzma.LZMADecompressor(memlimit=256 << 20)
    return None


def _unpacked(data: bytes) -> bytes:
    """What is in a compressed file, which may have several parts, one after the other."""
    found = b""
    while (unpacker := _unpacker(data)) and len(found) < LARGEST:
        found += unpacker.decompress(data, LARGEST - len(found))
        data = unpacker.unused_data if unpacker.eof else b""
    return found

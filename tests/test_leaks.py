"""Where a secret turns up, in whatever spelling, and in whatever it is packed."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import tarfile
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.testing import leaks

SECRET = "pä/ss+w%rd"
WAYS: dict[str, Callable[[bytes], bytes]] = {
    "in base64": base64.b64encode,
    "in base64, for URLs": base64.urlsafe_b64encode,
    "in hex": lambda data: data.hex().encode(),
    "in HEX": lambda data: data.hex().upper().encode(),
    "quoted": lambda data: urllib.parse.quote(data, safe="").encode(),
    "quoted twice": lambda data: urllib.parse.quote(urllib.parse.quote(data, safe="")).encode(),
    "in UTF-16": lambda data: data.decode().encode("utf-16"),
    "quoted for JSON": lambda data: json.dumps(data.decode()).encode(),
}


@pytest.mark.parametrize("way", WAYS)
@given(before=st.text(), secret=st.from_regex(r"[a-z]{6}[a-z/+%ä\"\\\\]{4,12}", fullmatch=True), after=st.text())
def test_a_secret_is_found_wherever_it_begins(way: str, before: str, secret: str, after: str) -> None:
    told = WAYS[way](f"{before}{secret}{after}".encode())
    assert leaks.spellings(told, secret)


@pytest.mark.parametrize("way", WAYS)
@given(text=st.text(alphabet="ghijk /+%\\\n"))
def test_what_is_not_there_is_not_found(way: str, text: str) -> None:
    assert leaks.spellings(WAYS[way](text.encode()), SECRET) == []


def zipped(name: str, data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("other", b"")
        archive.writestr(name, data)
    return stream.getvalue()


def tarred(name: str, data: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:xz") as archive:
        facts = tarfile.TarInfo(name)
        facts.size = len(data)
        archive.addfile(facts, io.BytesIO(data))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("packed", "place"),
    [
        (gzip.compress(SECRET.encode()), "file, unpacked"),
        (gzip.compress(b"x" * 9) + gzip.compress(SECRET.encode()), "file, unpacked"),
        (zlib.compress(SECRET.encode()), "file, unpacked"),
        (bz2.compress(SECRET.encode()), "file, unpacked"),
        (lzma.compress(SECRET.encode() * 20), "file, unpacked"),
        (zipped("a/b", SECRET.encode()), "file, in it a/b"),
        (tarred("c", zipped("a/b", SECRET.encode())), "file, unpacked, in it c, in it a/b"),
    ],
    ids=["gzip", "gzip in parts", "zlib", "bzip2", "xz", "zip", "tar"],
)
def test_it_is_said_in_which_member_it_is(tmp_path: Path, packed: bytes, place: str) -> None:
    (tmp_path / "file").write_bytes(packed)

    assert leaks.leaks(tmp_path, SECRET) == [f"{place}: as it is"]


def test_names_and_links_count(tmp_path: Path) -> None:
    (tmp_path / "hush-hush").touch()
    (tmp_path / "link").symlink_to("hush-hush")

    assert leaks.leaks(tmp_path, "hush-hush") == [
        "hush-hush: its name or its link, as it is",
        "link: its name or its link, as it is",
    ]


@pytest.mark.parametrize(
    "damaged",
    [gzip.compress(b"x" * 99, mtime=0)[:20], zipped("a", b"b")[:-9], b"BZh", b"PK\3\4", b"\x78\x01"],
    ids=["gzip", "zip", "no bzip2", "no zip", "no zlib"],
)
def test_what_cannot_be_unpacked_is_looked_at_as_it_is(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "file").write_bytes(damaged + SECRET.encode())

    assert leaks.leaks(tmp_path, SECRET) == ["file: as it is"]


def test_what_would_fill_the_memory_is_looked_at_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "LARGEST", 1000)
    (tmp_path / "begins").write_bytes(gzip.compress(SECRET.encode() + bytes(1_000_000)))
    (tmp_path / "ends").write_bytes(zipped("a", bytes(1_000_000) + SECRET.encode()))

    assert leaks.leaks(tmp_path, SECRET) == ["begins, unpacked: as it is"]

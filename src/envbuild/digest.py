"""Digests: the names that content goes by.

A digest says what some bytes are and never where they are kept; `envbuild.store` knows where.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import IO

_HEX = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20


@dataclass(frozen=True, order=True, slots=True)
class Digest:
    """The SHA-256 of some bytes, written ``sha256:`` and 64 hex digits (OCI image spec, "Digests").

    :raises ValueError: ``hex`` is anything but 64 lower-case hex digits.

    >>> Digest.parse(str(Digest.of(b"wheel"))) == Digest.of(b"wheel")
    True
    """

    hex: str

    def __post_init__(self) -> None:
        if not _HEX.fullmatch(self.hex):
            raise ValueError(f"not a sha256: {self.hex!r} (64 lower-case hex digits are)")

    def __str__(self) -> str:
        return f"sha256:{self.hex}"

    @property
    def short(self) -> str:
        """The first twelve digits: enough for people to tell environments apart."""
        return self.hex[:12]

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """Digest ``data``."""
        return cls(hashlib.sha256(data).hexdigest())

    @classmethod
    def of_stream(cls, stream: IO[bytes]) -> Digest:
        """Digest what ``stream`` still has to give, without holding it in memory."""
        hasher = hashlib.sha256()
        while chunk := stream.read(_CHUNK):
            hasher.update(chunk)
        return cls(hasher.hexdigest())

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read the written form.

        :raises ValueError: ``text`` is not a sha256 digest.
        """
        algorithm, _, digits = text.partition(":")
        if algorithm != "sha256":
            raise ValueError(f"not a sha256 digest: {text!r}")
        return cls(digits)

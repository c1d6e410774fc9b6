"""Blocks of metadata in the comments of a script (PEP 723): found, not read."""

from __future__ import annotations

import re
from typing import NamedTuple

# As PEP 723 gives it.
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


class Block(NamedTuple):
    """A block: its text without the comment signs, and the line of the script that this text begins in."""

    text: str
    first: int


_OPENING = re.compile(r"(?m)^# /// script[ \t]*\n#(?! ///$)")


_EMPTY = re.compile(r"(?m)^# /// script$\n# ///$")


def is_empty(script: str) -> bool:
    """Whether a script has the first and the last line of a block and nothing between, which is none for PEP 723."""
    return bool(_EMPTY.search(script))


def is_unclosed(script: str) -> bool:
    r"""Whether a script begins a block of what it needs, and no such block is found in it.

    >>> is_unclosed("# /// script\n# dependencies = []\n#///\n"), is_unclosed("# /// script\n# ///\n")
    (True, False)
    """
    return bool(_OPENING.search(script)) and not find_blocks(script)


def find_blocks(script: str, kind: str = "script") -> tuple[Block, ...]:
    r"""Find the blocks of a kind; one that is not closed does not count.

    >>> find_blocks("#!python\n# /// script\n# dependencies = []\n# ///\n")
    (Block(text='dependencies = []\n', first=3),)
    """
    if f"# /// {kind}" not in script:
        return ()
    return tuple(
        Block(
            "".join(
                line[2:] if line.startswith("# ") else line[1:] for line in found["content"].splitlines(keepends=True)
            ),
            script.count("\n", 0, found.start("content")) + 1,
        )
        for found in _BLOCK.finditer(script)
        if found["type"] == kind
    )

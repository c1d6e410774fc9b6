"""SPECs: the words by which an environment is asked for, as far as they can be told apart without looking.

What is there is a file before it is anything else; `envbuild.project` looks.
"""

from __future__ import annotations

import re
from pathlib import Path

NAME = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?::(?P<version>[0-9]+)|@(?P<label>[\w.-]+))?")
"""A registered name, with a version or a label; an id has its form too."""

_FILES = (".txt", ".toml", ".yml", ".yaml", ".py", ".in", ".lock")


def may_be_registered(spec: str) -> bool:
    """Whether the workspace is asked for ``spec`` where there is no such file: it is no path, and ends like no file.

    >>> may_be_registered("tools"), may_be_registered("tools:2"), may_be_registered("environment.yml")
    (True, True, False)
    """
    return "/" not in spec and Path(spec).suffix not in _FILES

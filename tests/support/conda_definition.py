"""Definitions that ask conda for packages."""

from __future__ import annotations

from pathlib import Path

from support.desk import Desk
from support.index import Index


def asks(
    desk: Desk,
    channels: str | list[str],
    *packages: str,
    pip: tuple[str, ...] = (),
    index: Index | None = None,
) -> Path:
    """Write an ``environment.yml``.

    :param index: where pip finds its packages.
    """
    named = [channels] if isinstance(channels, str) else channels
    lines = ["channels:", *(f'  - "{each}"' for each in named)]
    lines += ["dependencies:", *(f"  - {each!r}" for each in packages)]
    if pip:
        lines += ["  - pip:", *(f"      - {each}" for each in pip)]
        lines += [f"      - --index-url {index.simple}"] if index else []
    return desk.write("environment.yml", "\n".join(lines) + "\n")

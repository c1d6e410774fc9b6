"""Packages that mean harm: every way we know in which one may try to write outside of the environment.

``outside`` is a folder that none of them has any business with.
"""

from __future__ import annotations

from pathlib import Path

from support.packages import Made, sdist, wheel

UP = "../" * 12

HARMLESS = {
    # The double slash is one, and the file is inside.
    "data absolute",
    # On the systems that prefixes are for, that is an unusual name of one file.
    "backslash",
    # It becomes a file that holds the target's name.
    "link to file",
    # uv writes the record of what it has really put there.
    "record",
    "absolute record",
}
"""Tricks that come to nothing."""


def evil_wheels(outside: Path) -> dict[str, Made]:
    away = str(outside / "pwned")
    info = "evil-1.0.dist-info"
    return {
        "parent": wheel("evil", "1.0", files={"../../../../pwned": "x"}),
        "far parent": wheel("evil", "1.0", files={f"{UP}{away[1:]}": "x"}),
        "hidden parent": wheel("evil", "1.0", files={f"evil/../../../../{UP}{away[1:]}": "x"}),
        "absolute": wheel("evil", "1.0", files={away: "x"}),
        "backslash": wheel("evil", "1.0", files={f"evil\\..\\..\\..\\..\\{UP}{away[1:]}".replace("/", "\\"): "x"}),
        "link to file": wheel("evil", "1.0", links={"evil/link": away}),
        "link to folder": wheel("evil", "1.0", links={"evil/link": str(outside)}, files={"evil/link/pwned": "x"}),
        "data parent": wheel("evil", "1.0", files={f"evil-1.0.data/data/{UP}{away[1:]}": "x"}),
        "data absolute": wheel("evil", "1.0", files={f"evil-1.0.data/data/{away}": "x"}),
        "script parent": wheel("evil", "1.0", files={f"evil-1.0.data/scripts/../../{UP}{away[1:]}": "#!python\n"}),
        "header parent": wheel("evil", "1.0", files={f"evil-1.0.data/headers/{UP}{away[1:]}": "x"}),
        "unknown scheme": wheel("evil", "1.0", files={"evil-1.0.data/../../pwned": "x"}),
        "entry point": wheel("evil", "1.0", scripts={f"{UP}{away[1:]}": "evil:main"}),
        "near entry point": wheel("evil", "1.0", scripts={"../../pwned": "evil:main"}),
        "absolute entry point": wheel("evil", "1.0", scripts={away: "evil:main"}),
        "record": wheel("evil", "1.0", record=[f"{UP}{away[1:]},sha256=AAAA,1"]),
        "absolute record": wheel("evil", "1.0", record=[f"{away},sha256=AAAA,1"]),
        "metadata folder": wheel("evil", "1.0", files={f"{info}/../../../../../pwned": "x"}),
    }


def evil_sdists(outside: Path) -> dict[str, Made]:
    away = str(outside / "pwned")
    return {
        "parent": sdist("evil", "1.0", files={f"../{UP}{away[1:]}": "x"}),
        "near parent": sdist("evil", "1.0", files={"../../pwned": "x"}),
        "link to folder": sdist("evil", "1.0", links={"link": str(outside)}, files={"link/pwned": "x"}),
        "relative link": sdist("evil", "1.0", links={"link": "../../.."}, files={"link/pwned": "x"}),
    }


def pwned(root: Path) -> list[str]:
    """Files of that name, but in the cache of uv, whose business that is."""
    return [str(path) for path in root.rglob("*pwned*") if "uv-cache" not in path.parts]

"""The shelf: what every test finds on the index, chosen so that each has one thing to be known for."""

from __future__ import annotations

from support.index import Index
from support.packages import Made, sdist, wheel

DEMO = {
    "1.0": wheel("demo", "1.0", requires=["helper>=1"], scripts={"demo": "demo:main"}),
    "1.1": wheel("demo", "1.1", requires=["helper>=1"], scripts={"demo": "demo:main"}),
    "2.0": wheel(
        "demo",
        "2.0",
        requires=["helper>=1", "fancy; extra == 'fancy'"],
        extras=["fancy"],
        scripts={"demo": "demo:main"},
    ),
}
"""Three releases, one a year, with a dependency, a script and (the last) an extra."""

HELPER = {"1.0": wheel("helper", "1.0"), "1.1": wheel("helper", "1.1")}
FANCY = wheel("fancy", "1.0")

PLATFORMS = ("manylinux_2_17_x86_64.manylinux2014_x86_64", "manylinux_2_17_aarch64", "macosx_11_0_arm64", "win_amd64")
NATIVE = [
    wheel("native", "1.0", tag=f"cp3{minor}-cp3{minor}-{platform}") for minor in (11, 12, 13) for platform in PLATFORMS
]
"""A package with other wheels for each platform and Python; none older than 3.11."""

TRAP = [wheel("trap", "2.0", tag="cp36-cp36m-manylinux_2_17_x86_64"), sdist("trap", "0.9")]
"""The newest release has wheels for another Python only, an old one only a source archive: uv alone takes that."""

RAW = sdist("raw", "1.0", requires=["helper"])
"""A package that never had wheels."""

UP, DOWN = wheel("up", "1.0", requires=["helper>=1.1"]), wheel("down", "1.0", requires=["helper<1.1"])
"""Two that cannot be had together."""


def everything() -> list[Made]:
    """All files that are on the shelf."""
    return [*DEMO.values(), *HELPER.values(), FANCY, *NATIVE, *TRAP, RAW, UP, DOWN]


def stock(index: Index) -> None:
    """Put everything on the index; the releases of demo and helper a year apart."""
    index.publish(*everything())
    index.publish(DEMO["1.1"], uploaded="2025-01-15T12:00:00Z")
    index.publish(DEMO["2.0"], HELPER["1.1"], uploaded="2026-01-15T12:00:00Z")

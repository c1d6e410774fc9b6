"""The shelf of conda packages: what every test finds in the channel, each with one thing to be known for.

What bears the name of a package on `support.shelf` is there to meet it: ``helper`` and ``fancy`` are on both.
"""

from __future__ import annotations

from support.channel import Channel
from support.conda_packages import PLACEHOLDER
from support.packages import installed_files

SITE = "site-packages"


def stock(channel: Channel) -> None:
    """Put everything into the channel."""
    _over_the_years(channel)
    _in_builds(channel)
    _with_a_place(channel)
    _that_meet_pip(channel)
    _that_meet_each_other(channel)
    _beyond_reach(channel)
    _for_other_machines(channel)


def _over_the_years(channel: Channel) -> None:
    """``almanac``: three releases, a year apart, with a script and a dependency; ``veteran``: a package as of old."""
    for version, year in {"1.0": 2024, "1.1": 2025, "2.0": 2026}.items():
        channel.add(
            "almanac",
            version,
            build="pyhd_0",
            noarch="python",
            depends=["python >=3.8", "helper"],
            entry_points={"almanac": "almanac:main"},
            timestamp=f"{year}-01-15T12:00:00Z",
        )
    channel.add("veteran", archive=".tar.bz2", timestamp="2016-01-15T12:00:00Z")


def _in_builds(channel: Channel) -> None:
    """``kernel``: two builds of one version, of which the better wants a GPU, and a repaired one of the other."""
    channel.add("kernel", build="cpu_0")
    channel.add("kernel", build="cpu_1")
    channel.add("kernel", build="cuda_2", depends=["__cuda >=12"])
    channel.add("recent", depends=["__glibc >=99"])


def _with_a_place(channel: Channel) -> None:
    """``rooted``: told its prefix in a text, a script and a binary; ``trigger``: wants to run as it is installed."""
    channel.add(
        "rooted",
        files={
            "etc/rooted.conf": f"home = {PLACEHOLDER}\nshare = {PLACEHOLDER}/share\n",
            "lib/rooted.bin": b"\x7fBIN\0" + f"{PLACEHOLDER}/share/rooted".encode() + b"\0" + b"end\0",
            "bin/rooted": f'#!{PLACEHOLDER}/bin/python\nprint("rooted in {PLACEHOLDER}")\n',
        },
        links={"lib/rooted.link": "rooted.bin"},
        depends=["python"],
    )
    channel.add(
        "trigger",
        files={
            "bin/.trigger-post-link.sh": '#!/bin/sh\ntouch "$PREFIX/triggered"\n',
            "etc/conda/activate.d/trigger.sh": "export TRIGGER=pulled\n",
        },
    )


def _that_meet_pip(channel: Channel) -> None:
    """What pip knows too.

    ``helper`` has the name and files of pip's, ``py-fancy`` another name for the distribution ``fancy``, and
    ``squatter`` a file of it without being it.
    """
    for version in ("1.0", "1.1"):
        channel.add("helper", version, build="pyhd_0", noarch="python")
    told = installed_files("fancy", "1.0")
    files = {f"{SITE}/{path}": content for path, content in told.items()}
    channel.add("py-fancy", build="pyhd_0", noarch="python", files=files)
    channel.add("squatter", build="pyhd_0", noarch="python", files={f"{SITE}/fancy/__init__.py": "squatting = True\n"})


def _that_meet_each_other(channel: Channel) -> None:
    """``rival`` and ``other-rival`` have one file in common, and say other things in it."""
    channel.add("rival", files={"share/rival.txt": "mine\n"})
    channel.add("other-rival", files={"share/rival.txt": "no, mine\n"})


def _beyond_reach(channel: Channel) -> None:
    """``expedition`` needs, two steps on, what nobody has; ``up`` and ``down`` cannot be had together."""
    channel.add("expedition", depends=["rocket >=2"])
    channel.add("rocket", "2.0", depends=["fuel >=3"])
    channel.add("fuel", "2.0")
    channel.add("up", depends=["helper >=1.1"])
    channel.add("down", depends=["helper <1.1"])


def _for_other_machines(channel: Channel) -> None:
    """``python``, in every version that this machine has it in, as far as solving goes: there is nothing in it."""
    for ours in channel.find("python"):
        for subdir in {"linux-64", "linux-aarch64", "osx-arm64", "win-64"} - {ours.subdir}:
            told = {
                key: ours.about[key] for key in ("build", "build_number", "constrains", "python_site_packages_path")
            }
            channel.add("python", ours.about["version"], subdir=subdir, files={}, **told)

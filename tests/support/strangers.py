"""Plugins of strangers, installed without an installer: a module, and beside it what says that it is a plugin."""

from __future__ import annotations

from pathlib import Path

from support.desk import Desk


def put(site: Path, name: str, source: str, *, distribution: str | None = None) -> str:
    """Install a module that answers hooks into the folder ``site``.

    :param name: the plugin's name.
    :param distribution: who brings it, by default likewise; always in version 1.0.
    :returns: the name of the module.
    """
    distribution = distribution or name
    module = f"{distribution.replace('-', '_')}_plugin"
    about = site / f"{distribution}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[envbuild]\n{name} = {module}\n")
    (site / f"{module}.py").write_text(source)
    return module


def install(desk: Desk, name: str, source: str, *, distribution: str | None = None) -> Desk:
    """A desk at which such a module is installed."""
    put(desk.root / "site", name, source, distribution=distribution)
    return desk.set(PYTHONPATH=str(desk.root / "site"))

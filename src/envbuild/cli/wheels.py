"""``envbuild wheel …``: what a wheel says of itself."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from envbuild import render, sbom
from envbuild.cli.context import Context


def show(arguments: argparse.Namespace, context: Context) -> int:
    """Say in which environment a wheel was tested."""
    found = sbom.tested(Path(arguments.file))
    packages = [{"name": name, "version": version} for name, version in found.packages]
    facts = {
        "wheel": f"{found.name} {found.version}",
        "environment": found.environment or found.unknown,
        "without projects": found.without_projects,
        "python": found.python,
        "platform": found.platform,
        "lock": found.lock,
    }
    text = [render.facts({name: value for name, value in facts.items() if value})]
    if packages:
        text += ["", render.table(["PACKAGE", "VERSION"], found.packages)]
    context.show({**asdict(found), "packages": packages}, "\n".join(text))
    return 0

"""``@EXPLICIT``: a list of URLs, which conda, mamba and rattler install without a solver.

What pip is to install stands in comments, as conda-lock writes them: conda skips those, conda-lock and envbuild do not.
"""

from __future__ import annotations

from envbuild.conda import KIND, lines, url_of
from envbuild.definition import Definition
from envbuild.exporting.exported import Exported, direct_url, heading, named, pip_packages, require_python
from envbuild.lock import Lock, Package
from envbuild.platform import subdir_of


def write(lock: Lock, definition: Definition, *, md5: bool = False) -> Exported:
    """Write the packages in an order in which each stands behind what it needs."""
    require_python(lock, "a list of URLs")
    by_pip = pip_packages(lock)
    written = [f"# {heading(lock, definition.name)}", f"# platform: {subdir_of(lock.platform)}", "@EXPLICIT"]
    written += [url_of(each, lock.root) + _digest(each, md5) for each in _ordered(lock)]
    for each in by_pip:
        digest = each.artifact.digest
        written.append(f"# pip {each.name} @ {direct_url(each)}" + (f"#sha256={digest.hex}" if digest else ""))
    left_out = (f"what pip installs stands in comments, which conda skips: {named(by_pip)}",) if by_pip else ()
    return Exported("\n".join(written) + "\n", left_out)


def _digest(package: Package, md5: bool) -> str:
    found, short = package.artifact.digest, package.details.get("md5")
    if short and (md5 or not found):
        return f"#{short}"
    return f"#sha256:{found.hex}" if found else ""


def _ordered(lock: Lock) -> list[Package]:
    """The conda packages, what is needed first: whoever reads the list need not know who needs whom."""
    packages = {each.name: each for each in lock.of_kind(KIND)}
    done: dict[str, Package] = {}
    under_way: set[str] = set()

    def put(name: str) -> None:
        if name in done or name in under_way or name not in packages:
            return
        under_way.add(name)
        for spec in lines(packages[name], "depends"):
            put(spec.split(" ")[0])
        done[name] = packages[name]

    for name in packages:
        put(name)
    return list(done.values())

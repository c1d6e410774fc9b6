"""``requirements.txt`` with a hash of every artifact, for pip and uv."""

from __future__ import annotations

from collections.abc import Iterable

from envbuild.definition import Definition
from envbuild.exporting.exported import Exported, direct_url, heading, named, pip_packages
from envbuild.lock import Lock, Package

PYPI = "https://pypi.org/simple"


def write(lock: Lock, definition: Definition) -> Exported:
    """Write what pip installs; what conda brought has to be there already."""
    packages = pip_packages(lock)
    lines = [f"# {heading(lock, definition.name)}", *index_lines(packages, definition)]
    lines += hashed(packages)
    others = [each for each in lock.packages if each not in packages]
    return Exported("\n".join(lines) + "\n", (f"what conda installs: {named(others)}",) if others else ())


def hashed(packages: Iterable[Package]) -> list[str]:
    """A line for each package, with the digest of the one artifact that may be installed."""
    packages = tuple(packages)
    if all(each.artifact.digest for each in packages):
        return [requirement(each, f"--hash=sha256:{_hex(each)}") for each in packages]
    # As soon as one line has a --hash, pip wants one on each, and a repository has none. It checks a digest that stands
    # in a URL all the same.
    return [_pinned_by_url(each) for each in packages]


def is_hashed(lock: Lock) -> bool:
    """Whether pip may be told to take nothing without a hash."""
    return all(each.artifact.digest for each in lock.of_kind("pip", "wheel"))


def requirement(package: Package, behind: str = "") -> str:
    """The line that asks for exactly this package."""
    # What came from no index has another kind of artifact, is a private wheel, or lies in a folder.
    by_name = package.kind == "pip" and package.artifact.kind in ("wheel", "sdist") and package.version
    if by_name and (package.artifact.url or "file:").partition(":")[0] != "file":
        asked = f"{package.name}=={package.version}"
    else:
        asked = f"{package.name} @ {direct_url(package)}"
    return _line(asked, package, behind)


def index_lines(packages: Iterable[Package], definition: Definition) -> list[str]:
    """Where pip has to look, unless that is only where it looks anyway."""
    asked = [definition.options.index_url, *definition.options.extra_index_urls]
    asked += [each.index for each in definition.pip if each.index]
    used = {each.index: None for each in packages if each.index}
    # Not every lock says which index a package was found on: any of those that were asked, then.
    unsaid = any(each.index is None and each.kind == "pip" for each in packages)
    ordered = dict.fromkeys([each for each in asked if each and (unsaid or each in used)] + sorted(used))
    if not ordered or list(ordered) == [PYPI]:
        return []
    first, *more = ordered
    return [f"--index-url {first}", *(f"--extra-index-url {each}" for each in more)]


def _pinned_by_url(package: Package) -> str:
    url = direct_url(package)
    if package.artifact.digest:
        url += ("&" if "#" in url else "#") + f"sha256={_hex(package)}"
    return _line(f"{package.name} @ {url}", package, "")


def _line(asked: str, package: Package, behind: str) -> str:
    marker = f" ; {package.marker}" if package.marker else ""
    return asked + marker + (f" {behind}" if behind else "")


def _hex(package: Package) -> str:
    return package.artifact.digest.hex if package.artifact.digest else ""

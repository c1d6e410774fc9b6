"""Provided: what other plugins install, told to uv as if it were there already.

uv resolves around what it is asked for, and knows nothing of packages that no index has. For each distribution that
somebody else brings it is given a stand-in: a wheel of that name and version, with nothing in it that anybody needs. It
has the extras of what it stands for once somebody asks for one (`envbuild_pip.extras`).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Pep508
from packaging.version import InvalidVersion, Version

from envbuild import Definition, Package, PackageClash, Requirement
from envbuild_pip.extras import Extras

_STAND_IN = re.compile(r" @ file://\S*/?provided/\S+\.whl")


def by_distribution(packages: Iterable[Package]) -> dict[str, Package]:
    """What other plugins than pip's have pinned, by the Python distribution that it is.

    Where several bring parts of one, it is that of the same name.
    """
    found: dict[str, Package] = {}
    for each in packages:
        if (
            each.kind not in ("pip", "wheel")
            and each.provides
            and (each.provides == each.name or each.provides not in found)
        ):
            found[each.provides] = each
    return found


def check(definition: Definition, provided: Mapping[str, Package]) -> None:
    """Hold what pip is asked for against what is there already.

    :raises PackageClash: pip would have to replace a package; both are named.
    """
    for each in definition.pip:
        there = provided.get(each.name or "")
        if there is not None and not _is_met(each, there):
            raise PackageClash(
                f"pip is asked for {each.text}, and {there.kind} installs {there}",
                hint=f"ask {there.kind} for the version that is wanted, and pip for none of {there.name}",
            )


def explained(complaint: str, provided: Mapping[str, Package]) -> str:
    """``complaint`` of uv, which takes stand-ins for what an index has, with what it should have said of them."""
    text = _STAND_IN.sub("", complaint)
    named = [each for name, each in sorted(provided.items()) if re.search(rf"\b{re.escape(name)}\b(?!-)", text)]
    return "\n".join([text, *(f"{each.kind} installs {each}, which pip may not replace" for each in named)])


def _is_met(requirement: Requirement, package: Package) -> bool:
    """Whether the package is what is required, as it stands."""
    version = version_of(package)
    if requirement.editable or requirement.hashes or requirement.index or requirement.is_path:
        return False
    try:
        asked = Pep508(requirement.text)
    except InvalidRequirement:
        return False
    # Whether a marker holds is for uv to say; what is not to be had at all needs none.
    fits = asked.marker is not None or version is None or asked.specifier.contains(version, prereleases=True)
    return asked.url is None and fits


def stand_ins(
    provided: Mapping[str, Package], folder: Path, known: Mapping[str, Extras] = MappingProxyType({})
) -> dict[str, Path]:
    """Write a stand-in for each distribution.

    :param known: the extras of those of which they are known.
    :returns: where they are, by the distribution's name.
    """
    folder.mkdir(parents=True)
    versions = {name: version_of(package) for name, package in provided.items()}
    return {
        name: _stand_in(name, version, known.get(name, Extras()), folder)
        for name, version in versions.items()
        if version is not None
    }


def version_of(package: Package) -> Version | None:
    """Its version as pip has them; ``None`` where it is none (``2024a``), and pip cannot ask for one."""
    try:
        return Version(package.version or "")
    except InvalidVersion:
        return None


def _stand_in(name: str, version: Version, known: Extras, folder: Path) -> Path:
    stem = f"{name.replace('-', '_')}-{version}"
    file = folder / f"{stem}-py3-none-any.whl"
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{known}",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: envbuild\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(file, "w") as archive:
        for path, content in files.items():
            archive.writestr(f"{stem}.dist-info/{path}", content)
    return file

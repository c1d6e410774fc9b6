"""Real software as conda packages: the CPython of this machine, and what PyPI has as wheels.

What comes out is what conda-forge's packages look like to an installer, except that nobody compiled anything:
the libraries of the system that an interpreter was built against are not packages here, they are the host's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from typing import Any

import uv
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.conda_packages import PLACEHOLDER, Packed, package
from support.packages import recorded

_LEFT_OUT = {
    "site-packages",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "lib2to3",
    "__pycache__",
}
_ASKED = """
import json, platform, sys, sysconfig
print(json.dumps([sys.base_prefix, sysconfig.get_path("stdlib"), platform.python_version()]))
"""


class Unsuitable(Exception):
    """The interpreter cannot be moved to another prefix, and why not."""


def python(interpreter: Path, *, subdir: str) -> list[Packed]:
    """The package ``python`` with what is needed to run programs, and the ``python_abi`` that goes with it.

    :raises Unsuitable: parts of that interpreter lie where no prefix can have them, as a distribution's own do.
    """
    place, stdlib, version = json.loads(_output(interpreter, "-I", "-c", _ASKED))
    prefix = Path(place)
    minor = version.rpartition(".")[0]
    library = f"lib/python{minor}"
    if prefix == Path("/usr") or Path(stdlib) != prefix / library:
        raise Unsuitable(f"{interpreter} is a part of its operating system")
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    for path in _parts_of_python(prefix, minor):
        name = path.relative_to(prefix).as_posix()
        if path.is_symlink():
            links[name] = str(path.readlink())
        else:
            files[name] = _moved(path.read_bytes(), prefix)
    links |= {f"bin/{name}": f"python{minor}" for name in ("python", "python3")}
    abi = f"cp{minor.replace('.', '')}"
    return [
        package(
            "python",
            version,
            build="0_cpython",
            build_number=0,
            subdir=subdir,
            constrains=[f"python_abi {minor}.* *_{abi}"],
            files=files,
            links=links,
            python_site_packages_path=f"{library}/site-packages",
        ),
        package(
            "python_abi",
            minor,
            build=f"0_{abi}",
            build_number=0,
            subdir=subdir,
            noarch="generic",
            constrains=[f"python {minor}.* *_cpython"],
            files={},
        ),
    ]


def wheels(requirements: Iterable[str], interpreter: Path, folder: Path, *, subdir: str) -> list[Packed]:
    """What PyPI has for ``requirements``, and all that they need, as packages for the Python of ``interpreter``.

    :param folder: where they are unpacked first; it need not exist.
    :raises subprocess.CalledProcessError: they could not be had; its ``stderr`` says why.
    """
    command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--no-config", "--only-binary=:all:"]
    _output(*command, "--python", interpreter, "--target", folder, *requirements)
    minor = _output(interpreter, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    found = [PathDistribution(each) for each in sorted(folder.glob("*.dist-info"))]
    return [_repackaged(each, minor, subdir) for each in found]


def _parts_of_python(prefix: Path, minor: str) -> Iterator[Path]:
    yield prefix / f"bin/python{minor}"
    yield from sorted((prefix / "lib").glob("libpython*.so*"))
    library = prefix / f"lib/python{minor}"
    for folder, folders, names in os.walk(library):
        at = Path(folder)
        folders[:] = sorted(
            each for each in folders if each not in _LEFT_OUT and not (at == library and each.startswith("config-"))
        )
        yield from (at / name for name in sorted(names) if not name.endswith((".a", ".pyc")))


def _moved(content: bytes, prefix: Path) -> bytes:
    """The file for a prefix elsewhere: a library is looked for beside the program, a text is told the place."""
    old = os.fsencode(prefix)
    if content.startswith(b"\x7fELF"):
        # The dynamic section points at this string, so that what stands in its place must not be longer.
        search, beside = old + b"/lib\0", b"$ORIGIN/../lib"
        if search in content and len(search) <= len(beside):
            raise Unsuitable(f"its prefix {prefix} is shorter than what would have to stand there")
        return content.replace(search, beside.ljust(len(search), b"\0"))
    if b"\0" in content:
        return content
    return re.sub(re.escape(old) + rb"(?![\w.-])", PLACEHOLDER.encode(), content)


def _repackaged(found: Distribution, minor: str, subdir: str) -> Packed:
    info = next(path.parts[0] for path in found.files or () if path.name == "METADATA")
    added = {f"{info}/{name}" for name in ("INSTALLER", "REQUESTED", "RECORD", "uv_cache.json")}
    inside = {
        str(path): Path(path.locate()).read_bytes()
        for path in found.files or ()
        if path.parts[0] not in ("..", "bin") and path.suffix != ".pyc" and str(path) not in added
    }
    inside = recorded({**inside, f"{info}/INSTALLER": b"conda\n"}, info)
    scripts = {each.name: each.value for each in found.entry_points if each.group == "console_scripts"}
    name, depends = canonicalize_name(found.name), [*_needs(found, minor)]
    if "py3-none-any" in (found.read_text("WHEEL") or ""):
        files = {f"site-packages/{path}": content for path, content in inside.items()}
        pure = {"noarch": "python", "entry_points": scripts, "build": "pyhd_0"}
        return package(name, found.version, subdir=subdir, depends=depends, files=files, **pure)
    files = {f"lib/python{minor}/site-packages/{path}": content for path, content in inside.items()}
    files |= {f"bin/{script}": _script(target) for script, target in scripts.items()}
    abi = minor.replace(".", "")
    pinned = [f"python {minor}.*", f"python_abi {minor}.* *_cp{abi}"]
    return package(name, found.version, build=f"py{abi}_0", subdir=subdir, depends=pinned + depends, files=files)


def _needs(found: Distribution, minor: str) -> Iterator[str]:
    for each in map(Requirement, found.requires or ()):
        if each.marker is None or each.marker.evaluate({"extra": "", "python_version": minor}):
            yield f"{canonicalize_name(each.name)} {each.specifier}".strip()


def _script(target: str) -> bytes:
    module, _, function = target.partition(":")
    return f"#!{PLACEHOLDER}/bin/python\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n".encode()


def _output(*command: Any) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout

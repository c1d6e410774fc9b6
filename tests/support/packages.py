"""Packages made by hand: real wheels and source archives, a few hundred bytes each, the same at every call.

What a well-behaved package has is written by itself; what an evil one has is said as files, links and records.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_EPOCH = (1980, 1, 1, 0, 0, 0)
_LINK = 0o120777 << 16
_FILE = 0o100644 << 16

BACKEND = '''\
"""A build backend that needs nothing but Python: what is in ``src`` becomes the wheel."""
import base64, hashlib, os, zipfile

NAME, VERSION = {name!r}, {version!r}
STEM = NAME.replace("-", "_") + "-" + VERSION


def get_requires_for_build_wheel(config_settings=None):
    return []


get_requires_for_build_sdist = get_requires_for_build_editable = get_requires_for_build_wheel


def _files():
    found = {{}}
    for folder, _, names in os.walk("src"):
        for name in sorted(names):
            if name.endswith(".pyc"):
                continue
            path = os.path.join(folder, name)
            with open(path, "rb") as stream:
                found[os.path.relpath(path, "src").replace(os.sep, "/")] = stream.read()
    return found


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return _write(wheel_directory, _files())


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return _write(wheel_directory, {{STEM + ".pth": os.path.abspath("src").encode() + b"\\n"}})


def _write(wheel_directory, files):
    info = STEM + ".dist-info/"
    with open("PKG-INFO", "rb") as stream:
        files[info + "METADATA"] = stream.read()
    files[info + "WHEEL"] = b"Wheel-Version: 1.0\\nGenerator: backend\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    record = ""
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += "%s,sha256=%s,%d\\n" % (name, digest, len(data))
    files[info + "RECORD"] = (record + info + "RECORD,,\\n").encode()
    filename = STEM + "-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, filename), "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return filename
'''


@dataclass(frozen=True)
class Made:
    """A file of a package, ready to be published or laid on a disk."""

    filename: str
    data: bytes
    metadata: bytes
    requires_python: str | None = None

    @property
    def sha256(self) -> str:
        """The digest, in hex."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def project(self) -> str:
        """The package, as an index calls it."""
        return self.filename.split("-")[0].replace("_", "-").lower()


def wheel(
    name: str,
    version: str,
    *,
    requires: Iterable[str] = (),
    files: Mapping[str, str | bytes] | None = None,
    scripts: Mapping[str, str] | None = None,
    tag: str = "py3-none-any",
    requires_python: str | None = None,
    extras: Iterable[str] = (),
    links: Mapping[str, str] | None = None,
    record: Iterable[str] = (),
    payload: str = "",
) -> Made:
    """Make a wheel; by default its module says its ``__version__``.

    :param scripts: console scripts, ``name`` to ``module:function``.
    :param links: entries that are symbolic links.
    :param record: further rows of RECORD, that nothing backs.
    :param payload: what makes its bytes differ from those of a wheel that is otherwise the same.
    """
    module = name.replace("-", "_")
    stem = f"{module}-{version}"
    told = _metadata(name, version, requires, requires_python, extras)
    inside: dict[str, bytes] = {f"{module}/__init__.py": _source(name, version, payload)}
    inside |= {path: _bytes(content) for path, content in (files or {}).items()}
    inside[f"{stem}.dist-info/METADATA"] = told
    inside[f"{stem}.dist-info/WHEEL"] = _wheel_file(tag)
    if scripts:
        points = "".join(f"{script} = {target}\n" for script, target in scripts.items())
        inside[f"{stem}.dist-info/entry_points.txt"] = f"[console_scripts]\n{points}".encode()
    rows = [_row(path, content) for path, content in inside.items()] + [f"{row}\n" for row in record]
    inside[f"{stem}.dist-info/RECORD"] = ("".join(rows) + f"{stem}.dist-info/RECORD,,\n").encode()
    return Made(f"{stem}-{tag}.whl", _zip(inside, links or {}), told, requires_python)


def sdist(
    name: str,
    version: str,
    *,
    requires: Iterable[str] = (),
    files: Mapping[str, str | bytes] | None = None,
    links: Mapping[str, str] | None = None,
    requires_python: str | None = None,
    payload: str = "",
) -> Made:
    """Make a source archive that builds without the network; ``files`` are told from its top folder."""
    stem = f"{name.replace('-', '_')}-{version}"
    inside = {f"{stem}/{path}": content for path, content in project(name, version, requires=requires).items()}
    inside[f"{stem}/PAYLOAD"] = payload
    inside |= {f"{stem}/{path}": _text(content) for path, content in (files or {}).items()}
    told = _metadata(name, version, requires, requires_python, ())
    moved = {f"{stem}/{path}": target for path, target in (links or {}).items()}
    return Made(f"{stem}.tar.gz", _tar({path: _bytes(each) for path, each in inside.items()}, moved), told)


def project(name: str, version: str, *, requires: Iterable[str] = (), source: str | None = None) -> dict[str, str]:
    """The files of a project whose build backend is in its own tree."""
    module = name.replace("-", "_")
    told = _metadata(name, version, requires, None, ())
    needed = ", ".join(f'"{each}"' for each in requires)
    return {
        "pyproject.toml": (
            f'[project]\nname = "{name}"\nversion = "{version}"\ndependencies = [{needed}]\n\n'
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        ),
        "backend.py": BACKEND.format(name=name, version=version),
        "PKG-INFO": told.decode(),
        f"src/{module}/__init__.py": f'__version__ = "{version}"\n' if source is None else source,
    }


def installed_files(name: str, version: str, *, requires: Iterable[str] = ()) -> dict[str, bytes]:
    """What an installer of conda packages has in ``site-packages`` for a module that says its ``__version__``."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    inside = {
        f"{module}/__init__.py": _source(name, version),
        f"{info}/METADATA": _metadata(name, version, requires, None, ()),
        f"{info}/INSTALLER": b"conda\n",
        f"{info}/WHEEL": _wheel_file("py3-none-any"),
    }
    return recorded(inside, info)


def recorded(files: Mapping[str, bytes], info: str) -> dict[str, bytes]:
    """Those files and the RECORD of them, that lies in the folder ``info``."""
    rows = "".join(_row(path, content) for path, content in files.items())
    return {**files, f"{info}/RECORD": f"{rows}{info}/RECORD,,\n".encode()}


def _source(name: str, version: str, payload: str = "") -> bytes:
    return f'__version__ = "{version}"\n\n\ndef main():\n    print("{name} {version}{payload}")\n'.encode()


def _metadata(
    name: str, version: str, requires: Iterable[str], requires_python: str | None, extras: Iterable[str]
) -> bytes:
    lines = ["Metadata-Version: 2.2", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Provides-Extra: {each}" for each in extras]
    lines += [f"Requires-Dist: {each}" for each in requires]
    return ("\n".join(lines) + "\n").encode()


def _wheel_file(tag: str) -> bytes:
    python, abi, platforms = tag.split("-")
    tags = "".join(f"Tag: {python}-{abi}-{each}\n" for each in platforms.split("."))
    return f"Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\n{tags}".encode()


def _row(path: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(content)}\n"


def _zip(files: Mapping[str, bytes], links: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, target in links.items():
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.external_attr = _LINK
            entry.create_system = 3
            archive.writestr(entry, target)
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.external_attr = _FILE
            entry.create_system = 3
            archive.writestr(entry, content)
    return buffer.getvalue()


def _tar(files: Mapping[str, bytes], links: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, target in links.items():
            link = tarfile.TarInfo(path)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _text(content: str | bytes) -> str:
    return content if isinstance(content, str) else content.decode()

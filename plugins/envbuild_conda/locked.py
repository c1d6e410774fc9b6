"""Locked: conda's records of packages as packages of a lock, and back.

A lock keeps what has to be known to install the package, and to solve around it, without its channel: what channels
only tell for the reader (licences and the like) stands in the package itself.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from envbuild import Artifact, Digest, LockError, Package, bare_url
from envbuild_conda.channels import Channel

KIND = "conda"

Record = Mapping[str, Any]
"""A package as ``repodata.json`` and ``conda-meta`` have it, with ``fn``, ``url`` and ``channel``."""

_OTHERWISE = {
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "opencv": "opencv-python",
    "py-opencv": "opencv-python",
    "dask-core": "dask",
    "python-graphviz": "graphviz",
    "python-build": "build",
    "py-xgboost": "xgboost",
    "pyqt": "PyQt5",
    "pytables": "tables",
    "python-kaleido": "kaleido",
    "python-flatbuffers": "flatbuffers",
    "python-xxhash": "xxhash",
    "seaborn-base": "seaborn",
    "tensorflow-base": "tensorflow",
    "tensorflow-cpu": "tensorflow",
    "uvicorn-standard": "uvicorn",
}
"""Where conda's name of a distribution is not pip's; what a package really brings is only seen as it is built."""

_TEXTS = ("build", "subdir", "md5", "noarch", "python_site_packages_path", "features")
_NUMBERS = ("build_number", "timestamp")
_LISTS = ("depends", "constrains", "track_features")


def package(record: Record, channel: Channel, root: Path | None) -> Package:
    """The package that ``record`` describes.

    :param root: the folder of the lock, which the path of a package in a local channel is told from.
    :raises LockError: the channel has no SHA-256 of it.
    """
    if not record.get("sha256"):
        raise LockError(
            f"{record['name']} {record['version']} cannot be locked: {channel.name} has no sha256 of it",
            hint="have the channel indexed again by a tool that writes them",
        )
    details = {key: str(record[key]) for key in (*_TEXTS, *_NUMBERS) if record.get(key) is not None}
    if details.get("timestamp") == "0":
        # rattler's way of saying that there is none, of a package that was locked before.
        del details["timestamp"]
    details |= {key: "\n".join(record[key]) for key in _LISTS if record.get(key)}
    distribution = _distribution(record)
    if distribution:
        details["provides"] = distribution
    path = None
    if channel.folder:
        file = channel.folder / record["subdir"] / record["fn"]
        path = os.path.relpath(file, root or Path.cwd()).replace(os.sep, "/")
    return Package(
        name=record["name"],
        version=record["version"],
        kind=KIND,
        artifact=Artifact(
            kind="archive",
            url=None if path else bare_url(record["url"]),
            path=path,
            digest=Digest(record["sha256"]),
            size=record.get("size"),
            filename=record["fn"],
        ),
        details={**details, "channel": channel.name},
    )


def _distribution(record: Record) -> str | None:
    """What pip knows the package as; ``None`` for what is no Python package, whatever its name.

    >>> _distribution({"name": "pytorch", "depends": ["python >=3.11,<3.12.0a0"]})
    'torch'
    >>> _distribution({"name": "tzdata", "noarch": "generic", "depends": []}) is None
    True
    """
    names = {re.split(r"[\s=<>!~\[]", each, maxsplit=1)[0] for each in record.get("depends", ())}
    if record.get("noarch") != "python" and not names & {"python", "python_abi"}:
        return None
    name = str(record["name"])
    return str(canonicalize_name(_OTHERWISE.get(name, name)))


def record(package: Package, root: Path | None) -> dict[str, Any]:
    """What channels said of ``package``; `package` undoes it.

    :raises LockError: the lock does not say enough.
    """
    artifact, details = package.artifact, package.details
    url = artifact.url
    if artifact.path:
        url = ((root or Path.cwd()) / artifact.path).resolve().as_uri()
    # Locks of other tools may have nothing better than an MD5.
    is_pinned = artifact.digest or "md5" in details
    if url is None or not is_pinned or not {"build", "build_number", "subdir", "channel"} <= details.keys():
        raise LockError(f"the lock does not say enough of {package} to install it", hint="lock again")
    try:
        numbers = {key: int(details[key]) for key in _NUMBERS if key in details}
    except ValueError as error:
        raise LockError(f"the lock is damaged: {package}: {error}", hint="lock again") from error
    return {
        "name": package.name,
        "version": package.version,
        **{key: details[key] for key in _TEXTS if key in details},
        **numbers,
        "depends": [],
        **{key: details[key].split("\n") for key in _LISTS if key in details},
        "sha256": artifact.digest.hex if artifact.digest else None,
        "size": artifact.size,
        "fn": url.rpartition("/")[2],
        "url": url,
        "channel": url.rsplit("/", 2)[0],
    }


def needs(packages: Iterable[Package]) -> list[str]:
    """The match specs of all that ``packages`` depend on or are bounded by."""
    lines = [each.details.get(key, "") for each in packages for key in ("depends", "constrains")]
    return [spec for each in lines for spec in each.split("\n") if spec]

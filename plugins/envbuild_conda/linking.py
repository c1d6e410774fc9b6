"""Linking: a prefix made of conda packages, as `conda` itself would have left it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from envbuild import BuildFailed, BuildRequest, Damaged, Definition, Lock, Package, subdir_of
from envbuild_conda import channels, engine, locked

_SAID = ("depends", "constrains", "build_number")
"""What a package says of itself, and its channel may say better."""


def link(definition: Definition, lock: Lock, request: BuildRequest) -> None:
    """Fill the empty prefix with the conda packages of ``lock``, each checked against its digest.

    :raises BuildFailed: a package cannot be had or linked.
    :raises Damaged: a package is not the one that was locked.
    """
    packages = lock.of_kind(locked.KIND)
    records = [locked.record(each, lock.root) for each in packages]
    known = channels.channels(definition, lock.platform, request.variables)
    question = {
        "ask": "link",
        "records": records,
        "opened": {each.url: each.opened for each in known},
        "prefix": str(request.destination),
        "home": str(request.home),
        "platform": subdir_of(lock.platform),
        "offline": request.offline,
        "anew": request.anew,
    }
    try:
        answer = engine.ask(
            question,
            known=known,
            variables=request.variables,
            scratch=request.scratch,
            progress=request.progress,
        )
    except engine.EngineFailed as error:
        raise failure(error, definition) from error
    for clash in answer["clashes"]:
        request.progress.note(f"{clash}: one of them is there")
    write_meta(request.destination, packages, Path(answer["cache"]))


def write_meta(prefix: Path, packages: Iterable[Package], cache: Path) -> None:
    """Write ``conda-meta`` as conda has it, and as it would be on every machine.

    What a package says of itself is added to what its channel said of it; where its files were linked from, and where a
    channel lies on this machine, is left out.
    """
    folder = prefix / "conda-meta"
    lines = ["==> 1970-01-01 00:00:00 <=="]
    for each in packages:
        filename, subdir = each.artifact.filename or "", each.details["subdir"]
        said = {**each.details, "build_number": each.details["build_number"].strip("0")}
        stem = filename.removesuffix(".conda").removesuffix(".tar.bz2")
        file = folder / f"{stem}.json"
        linked = json.loads(file.read_bytes())
        own = json.loads((cache / stem / "info/index.json").read_bytes())
        url = each.artifact.url
        if url is None or url.startswith("file:"):
            url = f"file:///{each.details['channel']}/{subdir}/{filename}"
        # What the lock does not say, another tool's perhaps, rattler has put something in the place of.
        told = {
            **own,
            **linked,
            **{key: own[key] for key in _SAID if own.get(key) and not said.get(key)},
            "url": url,
            "channel": url.rsplit("/", 2)[0],
            "extracted_package_dir": "",
            "link": {"source": "", "type": 1},
        }
        # Another file, and not the one that only its owner may read.
        file.unlink()
        file.write_text(_written(told), encoding="utf-8")
        lines.append(f"+{told['channel']}/{subdir}::{stem}")
    # conda takes a folder with this file for an environment.
    (folder / "history").unlink(missing_ok=True)
    (folder / "history").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (prefix / "CACHEDIR.TAG").unlink(missing_ok=True)


def _written(told: Mapping[str, Any]) -> str:
    """``told`` as JSON, a line for each key: breaking more lines takes Python ten times as long."""
    lines = (f"  {json.dumps(key)}: {json.dumps(told[key], sort_keys=True)}" for key in sorted(told))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def failure(error: engine.EngineFailed, definition: Definition) -> BuildFailed | Damaged:
    """What went wrong as packages were fetched and linked, in words for whoever builds."""
    said = str(error).strip()
    if error.kind == "Damaged" or "hash mismatch" in said.lower():
        return Damaged(
            f"a conda package is not the one that was locked\n{said}",
            hint=f"somebody has replaced it, or edited the lock: find out who, then {definition.relocking}",
        )
    if error.kind == "Missing":
        return BuildFailed(f"{said} is not there any more", hint="put it back, or lock again")
    if error.kind == "Unsound":
        return BuildFailed(said, hint="do not install it")
    if error.kind == "Record":
        return BuildFailed(f"the lock is damaged: {said}", hint="lock again")
    if error.kind == "Machine":
        return BuildFailed(
            f"packages need what this machine does not have\n{said}",
            hint="lock here: 'envbuild lock --upgrade'; or say what it has, such as CONDA_OVERRIDE_CUDA=12.4",
        )
    if error.kind == "Clash":
        return BuildFailed(said, hint="leave one of them out, or take other versions of them")
    if error.kind == "Offline":
        return BuildFailed(f"not everything is cached: {said}", hint="run it once without --offline")
    if error.kind == "Fetch":
        return BuildFailed(f"conda packages cannot be fetched\n{said}", hint="check the network and try again")
    if error.kind == "Unpack":
        return BuildFailed(f"a conda package cannot be unpacked\n{said}")
    if "panicked" in said:
        return BuildFailed(f"the lock or a package is damaged: {_panic(said)}", hint="lock again")
    return BuildFailed(f"conda packages cannot be linked\n{said}")


def _panic(said: str) -> str:
    """What rattler says as it breaks down, without where in it that was."""
    lines = said.splitlines()
    at = next(number for number, line in enumerate(lines) if "panicked" in line)
    return " ".join(lines[at + 1 : at + 2]) or lines[at]

"""pip packages, through uv: resolved into a PEP 751 lock, installed from it into a prefix.

`resolving` pins, `installing` builds; `asking` and `answering` translate into uv's words and back, `interpreters`
finds Pythons, `uv` runs the program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from envbuild import (
    BuildRequest,
    Definition,
    Digest,
    EnvbuildError,
    Finding,
    Image,
    Lock,
    Platform,
    Resolution,
    hookimpl,
)


@hookimpl(trylast=True)
def resolve_dependencies(definition: Definition, platform: Platform, resolution: Resolution) -> tuple[str, ...] | None:
    """Pin Python, unless it is pinned, and the pip requirements around what is there already."""
    if resolution.python is not None and not (definition.pip or definition.wheels or definition.pylock):
        return None
    from envbuild_pip import answering, locked, resolving, tool_uv

    resolving.pin_python(definition, platform, resolution)
    root = definition.root
    if definition.pylock:
        resolution.add(*locked.select(definition, platform, resolution))
        return ("pip",)
    if definition.pip or definition.wheels:
        found = resolving.resolve(definition, platform, resolution)
        answering.check_hashes(found, definition)
        tool_uv.check_builds(found, definition.root or Path.cwd())
        installed = tool_uv.without_left_out(found, definition)
        resolution.add(*answering.sized(installed, definition, resolution.request))
        if root:
            resolution.made_from(answering.project_files(found, definition, root))
    return ("pip",)


@hookimpl
def compute_hash(definition: Definition, lock: Lock) -> Mapping[str, Any] | None:  # noqa: ARG001
    """Give the files of local projects: they are the only artifacts of which a lock has no digest or commit."""
    local = [each for each in lock.of_kind("pip") if each.artifact.kind == "directory"]
    if not local:
        return None
    from envbuild_pip.projects import content

    return {each.name: {"files": content(each, lock)} for each in local}


@hookimpl(trylast=True)
def build_image(definition: Definition, lock: Lock, id: Digest, request: BuildRequest) -> Image | None:  # noqa: A002
    """Install pip packages and private wheels: into a new prefix, or into one that has all else of the lock."""
    from envbuild_pip import installing

    done = (request.base.kinds if request.base else None) or frozenset()
    if not installing.is_for(lock.platform, request) or not {each.kind for each in lock.packages} - done <= {
        "pip",
        "wheel",
    }:
        return None
    if request.base:
        installing.complete(definition, lock, request.base, request)
        return replace(request.base, kinds=None)
    interpreter = installing.interpreter_for(lock, request)
    installing.make_prefix(interpreter, request.destination, request)
    installing.install(definition, lock, request.destination, request)
    return Image(kind="prefix", id=id, platform=lock.platform, path=request.destination)


def checkup(variables: Mapping[str, str]) -> Iterator[Finding]:
    """Say how uv fares, and which Pythons it finds."""
    from envbuild_pip import interpreters
    from envbuild_pip.uv import find_uv, run_uv

    try:
        code, told, complaint = run_uv(["--version"], variables=variables)
    except EnvbuildError as error:
        yield Finding("uv", "error", str(error), error.hint)
        return
    if code:
        yield Finding("uv", "error", complaint, "pip install --force-reinstall uv")
        return
    yield Finding("uv", "ok", f"{told.strip()} ({find_uv()})")
    found = [each for each in interpreters.installed(variables) if each.version >= interpreters.OLDEST]
    if found:
        yield Finding("Pythons", "ok", ", ".join(str(each) for each in found))
    else:
        yield Finding("Pythons", "error", "none was found", "uv python install 3.12")

"""Answering: the lock that uv wrote, in envbuild's words."""

from __future__ import annotations

import os.path
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from envbuild import Definition, Digest, LockError, LockRequest, Package, ResolutionFailed, from_pylock, read_pylock
from envbuild_pip import asking
from envbuild_pip.credentials import user_and_password
from envbuild_pip.projects import declaring, folders_of
from envbuild_pip.tool_uv import workspace_files


def packages(text: str, *, written_in: Path, root: Path, without: Iterable[str] = ()) -> tuple[Package, ...]:
    """Read what uv wrote.

    :param written_in: the folder of uv's lock, which its relative paths are meant from; ours are from ``root``.
    :param without: names that other plugins have pinned.
    :raises LockError: uv wrote something that is not PEP 751.
    """
    skipped = set(without)
    pylock = read_pylock(text, where="the lock written by uv")
    try:
        found = [from_pylock(each) for each in pylock.packages if each.name not in skipped]
    except ValueError as error:
        raise LockError(f"cannot be locked: {error}", hint="an index that serves sha256 hashes is needed") from error
    return tuple(_settled(each, written_in, root) for each in found)


def _settled(package: Package, written_in: Path, root: Path) -> Package:
    """``package`` with local files told as paths from ``root``, and with its size."""
    artifact = package.artifact
    path = _local_path(artifact.url, artifact.path, written_in)
    if path is None or artifact.kind == "vcs":
        return package
    told = os.path.relpath(path, root).replace(os.sep, "/")
    size = path.stat().st_size if path.is_file() else None
    return replace(package, artifact=replace(artifact, url=None, path=told, size=size))


def _local_path(url: str | None, path: str | None, base: Path) -> Path | None:
    if path is not None:
        return (base / path).resolve()
    if url is not None and url.startswith("file:"):
        return Path(unquote(urlsplit(url).path))
    return None


def sized(found: Iterable[Package], definition: Definition, request: LockRequest) -> tuple[Package, ...]:
    """``found`` with the sizes that an index did not tell, asked of the files' servers where they answer."""
    return tuple(
        replace(each, artifact=replace(each.artifact, size=_remote_size(each.artifact.url, definition, request)))
        if each.artifact.digest and each.artifact.size is None and each.artifact.url
        else each
        for each in found
    )


def _remote_size(url: str, definition: Definition, request: LockRequest) -> int | None:
    if request.offline or not url.startswith(("http://", "https://")):
        return None
    # Most indexes tell sizes, and importing this takes longer than reading their answer.
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    def opened(asked: Request) -> Request:
        user = user_and_password(asked.full_url, definition, request.variables)
        if user:
            import base64

            # Else it would be sent to whatever server this one leads to.
            asked.add_unredirected_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
        return asked

    class Redirects(HTTPRedirectHandler):
        """Follows redirects; each server is told what is meant for it, and nothing that is meant for another."""

        def redirect_request(self, *told: Any) -> Request | None:
            led_to = super().redirect_request(*told)
            if led_to is None:
                return None
            # It would ask for the whole file.
            led_to.method = "HEAD"
            return opened(led_to)

    try:
        asked = opened(Request(url, method="HEAD"))  # noqa: S310
        with build_opener(Redirects).open(asked, timeout=10) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, TypeError, ValueError):
        # PEP 751 recommends the size and does not require it; the digest is what is checked.
        return None


def check_hashes(found: Iterable[Package], definition: Definition) -> None:
    """Hold what was locked against the hashes that the definition allows.

    :raises ResolutionFailed: an artifact is none of those that its requirement admits, or hashes are
        required and a requirement has none.
    """
    allowed = {each.name: set(each.hashes) for each in definition.pip if each.name and each.hashes}
    wrong = [
        f"{each}: {each.artifact.place} has sha256:{each.artifact.digest.hex}, and the definition admits "
        f"{', '.join(sorted(allowed[each.name]))}"
        for each in found
        if each.name in allowed and each.artifact.digest and str(each.artifact.digest) not in allowed[each.name]
    ]
    if definition.options.require_hashes:
        wrong += [
            f"{each}: hashes are required, and the definition has none" for each in found if each.name not in allowed
        ]
    if wrong:
        raise ResolutionFailed("\n".join(wrong), hint="correct the --hash options, or remove them: a lock has its own")


def project_files(found: Iterable[Package], definition: Definition, root: Path) -> dict[str, Digest]:
    """The files that say what local projects depend on, and where that comes from, with their digests.

    Among them are those of projects that other projects bring along, and of the workspaces that they belong to.
    """
    asked = list(asking.folders(definition, root))
    brought = sorted(folders_of(found, root) - {each.resolve() for each in asked})
    files = [(file, root) for folder in asked for file in declaring(folder)]
    files += [(file, root.resolve()) for folder in brought for file in declaring(folder)]
    files += [(file, root.resolve()) for folder in (*asked, *brought) for file in workspace_files(folder)]
    told = {os.path.relpath(file, base).replace(os.sep, "/"): file for file, base in files}
    return {path: Digest.of(file.read_bytes()) for path, file in told.items()}

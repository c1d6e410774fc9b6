"""conda packages, through rattler: solved into a lock, linked from it into a prefix.

`solving` pins, `linking` builds; `channels` and `virtual` say what a definition means by their names, `locked` writes
records as packages and back. rattler itself is only ever loaded by `worker`, a process of its own, which `engine`
speaks to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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


@hookimpl(tryfirst=True)
def resolve_dependencies(definition: Definition, platform: Platform, resolution: Resolution) -> tuple[str, ...] | None:
    """Pin the conda packages and, among them, Python; what pip is asked for has to fit in around them."""
    if not definition.conda:
        return None
    _check_engine()
    from envbuild_conda import solving

    solving.pin(definition, platform, resolution)
    return ("conda",)


@hookimpl
def build_image(definition: Definition, lock: Lock, id: Digest, request: BuildRequest) -> Image | None:  # noqa: A002
    """Link the conda packages of a lock into an empty prefix; what else it holds is left to others."""
    is_ours = request.kind == "prefix" and request.base is None and lock.platform == Platform.here()
    if not is_ours or not lock.of_kind("conda"):
        return None
    _check_engine()
    from envbuild_conda import linking

    linking.link(definition, lock, request)
    return Image(kind="prefix", id=id, platform=lock.platform, path=request.destination, kinds=frozenset({"conda"}))


def checkup(variables: Mapping[str, str]) -> Iterator[Finding]:  # noqa: ARG001
    """Say whether rattler is there; what it needs is only found out by loading it, which takes its time."""
    from importlib.metadata import version

    if _has_engine():
        yield Finding("rattler", "ok", f"py-rattler {version('py-rattler')}")


def _check_engine() -> None:
    """See to it that the library is there before anything is tried with it.

    :raises EnvbuildError: it is not.
    """
    if not _has_engine():
        raise EnvbuildError(
            "conda packages need py-rattler, which is not installed", hint="pip install 'envbuild[conda]'"
        )


def _has_engine() -> bool:
    from importlib.util import find_spec

    return find_spec("rattler") is not None

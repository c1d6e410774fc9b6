"""Images: the bits that an environment's id stands for.

A *prefix* is a directory with a Python in it; an *OCI image* is what container engines run. `BuildRequest` is
what a builder is asked for, `Image` what is there when it has answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from envbuild.digest import Digest
from envbuild.platform import Platform
from envbuild.progress import QUIET, Progress

ImageKind = Literal["prefix", "oci"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What is to be built.

    :param destination: the folder to build in, empty unless there is a ``base``; the core moves it to ``home`` once it
        is whole, so nothing in it may name ``destination``.
    :param base: what a builder before has put into ``destination``, to be completed; ``None`` to begin.
    :param home: where the environment will live at run time, as seen from inside its target.
    :param store: the folder of the content-addressed store, to be opened with `envbuild.Store`.
    :param offline: use what is cached, and fail rather than ask the network.
    :param anew: what is cached may be damaged: fetch and unpack every artifact anew.
    :param variables: values for ``${NAME}`` in URLs, and where engines find their settings.
    """

    kind: ImageKind
    platform: Platform
    destination: Path
    home: Path
    store: Path
    scratch: Path
    offline: bool = False
    anew: bool = False
    base: Image | None = None
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    progress: Progress = QUIET


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An environment that is there.

    :param id: what it was built for.
    :param path: the prefix; ``None`` for an OCI image, whose manifest ``digest`` names it in the store.
    :param python: the interpreter, relative to ``path`` or inside the container.
    :param kinds: the kinds of packages that are in it so far, where others of the lock are left to another builder;
        ``None`` if it holds all of the lock.
    :param activated: variables by which a process knows that it is in this environment, where they are others than
        ``VIRTUAL_ENV`` with the path; an empty text is for one that is to be absent.
    """

    kind: ImageKind
    id: Digest
    platform: Platform
    python: str = "bin/python"
    path: Path | None = None
    digest: Digest | None = None
    kinds: frozenset[str] | None = None
    activated: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def interpreter(self) -> Path:
        """The environment's Python on this machine.

        :raises ValueError: the image is not a prefix.
        """
        if self.path is None:
            raise ValueError(f"{self.id} is an {self.kind} image and has no interpreter on this machine")
        return self.path / self.python

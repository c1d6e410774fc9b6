"""The five hooks: the only way in which envbuild reaches package managers, engines and machines.

A plugin is a module (or any object) registered under the entry point group ``envbuild``, with functions of
these names marked by ``envbuild.hookimpl``. It may import whatever ``envbuild`` itself names, and nothing
below it. Values go in, values come out: nothing that a plugin is given changes behind its back.

The name of the entry point is the plugin's name: it stands in ``envbuild plugins``, in messages, and in the
document that an environment's id is taken of, so it should never change.

What is promised here `envbuild.testing` has tests of, for the tests of plugins to subclass.

Versions of the hooks: `API_VERSION` grows when a hook or a parameter is added, renamed or removed, or when what it
means changes. A plugin says in ``ENVBUILD_API`` which version it was written for. What goes, or gets another name, is
served throughout the next version: its specification stays, with ``warn_on_impl`` or ``warn_on_impl_args`` and a text
that says what to use instead, and whoever calls the hook passes old and new.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pluggy

from envbuild.definition import Definition
from envbuild.digest import Digest
from envbuild.image import BuildRequest, Image
from envbuild.lock import Lock, Resolution
from envbuild.outcome import RunHandle, RunRequest
from envbuild.platform import Platform

GROUP = "envbuild"
"""The name of the entry point group, and of the pluggy project."""

API_VERSION = 1
"""The version of the hooks."""

OLDEST_API = max(1, API_VERSION - 1)
"""The oldest version for which plugins may have been written that still work."""

SAYS_API = "ENVBUILD_API"
"""The attribute in which a plugin says for which version it was written."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def resolve_dependencies(definition: Definition, platform: Platform, resolution: Resolution) -> tuple[str, ...] | None:
    """Pin what is yours of ``definition``, exactly, and add it to ``resolution``.

    Every plugin is asked, and all answers are used. The order matters, because each sees in
    ``resolution.packages`` what has been pinned before it and has to fit in around that: first those that bring
    whole systems (mark them ``tryfirst``, as conda does), then private wheels, last pip (``trylast``). A package
    that is pinned already may not be pinned again: ``resolution.add`` refuses it. Whoever brings a Python fixes it with
    ``resolution.pin_python``; those who come after resolve for that version and ``platform``, with no such interpreter
    on this machine where ``resolution.interpreter`` is ``None``.

    Equal arguments get equal answers while the indexes do not change, and a package that ``resolution.request``
    names in ``previous`` stays as it is there unless the definition or ``upgrade`` says otherwise. Nothing is
    installed, and nothing written but in ``resolution.request.scratch`` and the store.

    :param definition: what is asked for; paths in it are relative to ``definition.root``.
    :param platform: what the packages are for; it need not be this machine's.
    :param resolution: the lock in the making, and in ``resolution.request`` how it is to be made.
    :returns: the sections of the definition (see ``Definition.sections``) that are now taken care of, or ``None``
        for "nothing in it is mine". A section that nobody takes on is an error that names the plugin to install.
    :raises ResolutionFailed: nothing satisfies the definition; the message says why, in the user's terms.
    :raises PythonNotFound: no interpreter on this machine fits.
    :raises NotFound: a file that the definition names is not there.
    :raises Damaged: a file that the definition names is not what it says.
    :raises PackageClash: a package is pinned already.
    """


@hookspec
def compute_hash(definition: Definition, lock: Lock) -> Mapping[str, Any] | None:
    """Say which facts make this another environment when they change, besides what the lock says.

    Every plugin is asked. Python, platform and every artifact of the lock (name, version, digest or revision, details)
    are in the document already that the environment's id is the SHA-256 of; each answer is put beside them under the
    plugin's name. The document is kept, so that ``envbuild why`` can say what changed: give whatever somebody would
    want to be told, by name. Most plugins have nothing to add; one that installs a folder adds what is in it.

    Equal environments give equal answers on every machine, at any hour: no paths, no times, no names that people
    give to things, no values of variables, no secrets.

    :param definition: what was asked for.
    :param lock: what will be installed.
    :returns: JSON-able data without floats, or ``None`` for "nothing in it is mine".
    """


@hookspec(firstresult=True)
def build_image(definition: Definition, lock: Lock, id: Digest, request: BuildRequest) -> Image | None:  # noqa: A002
    """Make the bits that ``id`` stands for.

    Plugins are asked in turn, the last registered first, and the first answer that is not ``None`` is used;
    ``None`` says "that kind of image, or what this lock holds, is not mine". The core has made sure that nobody else
    builds the same id meanwhile, and publishes the answer in one step: what was in ``request.destination`` when the
    hook raised, or when the process was killed, is thrown away.

    A builder that installs only some kinds of packages says in ``Image.kinds`` which. The core then asks again for the
    rest, with the image as ``request.base``: its files are in ``request.destination``, and belong to the packages that
    brought them. A builder that needs an empty folder declines where there is a base. Where nobody begins, the core
    asks for the lock without its packages first, so that a builder need not know how a prefix is made.

    The environment is what the lock says and nothing else: every artifact is checked against its digest, and two
    builds of one lock on two machines hold the same files, byte for byte. It is shared by everybody who asks for
    that id, so nothing in it may depend on who asked.

    :param definition: what was asked for; paths in it are relative to ``definition.root``.
    :param lock: what to install; paths in it are relative to ``lock.root``.
    :param id: the environment's id.
    :param request: which kind of image, for which platform, built where and to live where.
    :returns: the image, with its path inside ``request.destination``.
    :raises BuildFailed: an artifact cannot be had or installed; the message names it.
    :raises Damaged: an artifact is not the one that was locked.
    """


@hookspec(firstresult=True)
def run_target(run: RunRequest, image: Image) -> RunHandle | None:
    """Start ``run`` in ``image`` on the target that it names.

    Plugins are asked in turn, the last registered first, and the first answer that is not ``None`` is used; ``None``
    says "this target is not mine". The call returns as soon as the program has started: waiting, passing on its
    output and stopping it are the handle's business. The image is already built for the platform of the target.
    Should this process be killed, the program should end as well: its run is recorded as ``Failed``.

    A handle whose class has an attribute ``starter`` may be started again without loading any plugin: it is the
    name (``package.module:function``) of a function that takes ``command``, ``directory``, ``variables`` and the path
    of the prefix, and returns such a handle. A repeated ``envbuild run`` calls it directly; its module, and the package
    that it lies in, should import next to nothing.

    :param run: what to run and where; its working directory is ready and belongs to the run alone.
    :param image: the environment.
    :returns: the handle of the program that has been started.
    :raises TargetError: the target is mine, and it cannot be reached or refuses the run.
    """


@hookspec(firstresult=True)
def deploy_target(deployment: Any, image: Image) -> Any | None:
    """Start the service ``deployment`` in ``image`` on the target that it names.

    Plugins are asked in turn, the last registered first, and the first answer that is not ``None`` is used; ``None``
    says "this target is not mine". No plugin of envbuild's own answers yet, and the types of a deployment and of its
    handle will be fixed together with the first that does; until then this hook is provisional.

    :param deployment: what to serve and where.
    :param image: the environment, already built for the platform of the target.
    :returns: the service's handle.
    :raises TargetError: the target is mine, and it cannot be reached or refuses the deployment.
    """

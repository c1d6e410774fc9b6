"""Building: the build of an environment as it goes on in the background, and what there is once it has ended.

Azure builds in the cloud and is polled; here a thread of this process builds, the program does not end before it, and
its log is a file of the workspace that can be read while it is written.
"""

from __future__ import annotations

import datetime
import os
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from envbuild import layout
from envbuild.digest import Digest
from envbuild.errors import EnvbuildError
from envbuild.progress import Progress, Written
from envbuild.requirement import without_credentials_in
from envbuild.sdk.exceptions import ActivityFailedException
from envbuild.store import writing

if TYPE_CHECKING:
    from envbuild.pipeline import Prepared
    from envbuild.platform import Platform
    from envbuild.project import Project
    from envbuild.sdk.environment import Environment
    from envbuild.workspace import Workspace

_KEPT = 200
"""How many logs of earlier builds stay."""

_YOUNG = 3600.0
"""In seconds: a log that was written to since then stays in any case."""

_LOOK = 0.05
"""In seconds: how often whoever waits looks for what is new in the log."""


class ImageBuildDetails:
    """The build of an environment (Azure's ``azureml.core.environment.ImageBuildDetails``).

    `Environment.build` gives one. Several may go on at the same time; those of one environment wait for each other.
    """

    def __init__(
        self,
        environment: Environment,
        project: Project,
        workspace: Workspace,
        platform: Platform | None = None,
        *,
        force: bool = False,
    ) -> None:
        self._environment = environment
        self._project = project
        self._workspace = workspace
        self._platform = platform
        self._force = force
        self._status = "Queued"
        self._prepared: Prepared | None = None
        self._error: Exception | None = None
        self._ended = threading.Event()
        self._log = _new_log(workspace.root, str(project.spec))

    @property
    def environment(self) -> Environment:
        """What is built, as it is registered; Azure does not tell."""
        return self._environment

    @property
    def status(self) -> str:
        """``Queued``, ``Running``, and then ``Succeeded`` or ``Failed``; in Azure more words come before these."""
        return self._status

    @property
    def log_url(self) -> str:
        """Where the log is: the ``file:`` URL of a file in the workspace."""
        return self._log.as_uri()

    @property
    def id(self) -> str | None:
        """The id of the environment that was built; ``None`` as long as it has not been."""
        return str(self._prepared.id) if self._prepared else None

    @property
    def path(self) -> Path | None:
        """The environment on this machine; ``None`` as long as it has not been built."""
        return self._prepared.image.path if self._prepared else None

    @property
    def built(self) -> bool:
        """Whether it was built just now, rather than found."""
        return self._prepared is not None and self._prepared.built

    def get_log(self) -> str:
        """Read what the log says so far; no credentials are in it."""
        return self._log.read_text(encoding="utf-8")

    def wait_for_completion(self, show_output: bool = True) -> ImageBuildDetails:
        """Wait until the build has ended.

        :param show_output: write the log to standard output as it grows.
        :returns: itself.
        :raises ActivityFailedException: the build has failed; Azure's method returns all the same, and leaves it to
            the caller to look at ``status``.
        """
        with self._log.open(encoding="utf-8") as log:
            while True:
                ended = self._ended.wait(_LOOK)
                if show_output:
                    _pass_on(log)
                if ended:
                    break
        if self._error is not None:
            hint = getattr(self._error, "hint", "") or f"the log is {self.log_url}"
            raise ActivityFailedException(
                f"{self._project.spec} was not built: {self._said}", hint=hint
            ) from self._error
        return self

    def __repr__(self) -> str:
        return f"ImageBuildDetails({self._project.spec}, status={self._status!r}, log_url={self.log_url!r})"

    @property
    def _said(self) -> str:
        known = isinstance(self._error, EnvbuildError)
        return without_credentials_in(str(self._error) if known else f"{type(self._error).__name__}: {self._error}")

    def _build(self, *, shown: bool = False) -> None:
        """Build, and remember how that ended.

        :param shown: write the log to standard output too.
        """
        with self._log.open("a", encoding="utf-8", buffering=1) as log:

            def write(line: str) -> None:
                told = without_credentials_in(line)
                log.write(told)
                if shown:
                    sys.stdout.write(told)
                    sys.stdout.flush()

            self._status = "Running"
            try:
                found = _prepared(self._project, self._workspace, Written(write), self._platform)
                if self._force and not found.built:
                    write(f"{_mended(found, self._workspace, Written(write))}\n")
                self._prepared = found
            except EnvbuildError as error:
                self._error = error
                write(f"error: {error}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
            except Exception as error:
                # Nobody above would see it in a thread: whoever waits is told.
                self._error = error
                write("".join(traceback.format_exception(error)))
            else:
                how = "built" if self._prepared.built else "reused"
                write(f"{how} {self._project.spec}  {self._prepared.id}\n{self._prepared.image.path}\n")
            finally:
                self._status = "Succeeded" if self._prepared else "Failed"
                self._ended.set()


def start(
    environment: Environment, project: Project, workspace: Workspace, *, force: bool = False
) -> ImageBuildDetails:
    """Build ``environment``, whose definition is that of ``project``, in the background.

    The program waits for the build before it ends.

    :param force: mend what was built before, where it is not what was installed then.
    """
    details = ImageBuildDetails(environment, project, workspace, force=force)
    threading.Thread(target=details._build, name=f"build of {project.spec}", daemon=False).start()
    return details


def build(
    environment: Environment, project: Project, workspace: Workspace, platform: Platform | None = None
) -> ImageBuildDetails:
    """Build ``environment`` while the caller waits, and show the log as it grows.

    :raises ActivityFailedException: the build has failed.
    """
    details = ImageBuildDetails(environment, project, workspace, platform)
    details._build(shown=True)
    return details.wait_for_completion(show_output=False)


def _mended(prepared: Prepared, workspace: Workspace, progress: Progress) -> str:
    """Compare an environment that was found with what was installed, and mend it; say what came of that.

    :raises BuildFailed: it cannot be mended.
    """
    from envbuild.errors import BuildFailed
    from envbuild.pipeline import Wishes
    from envbuild.plugins import load_plugins
    from envbuild.upkeep import verify_image

    wishes = Wishes(platform=prepared.locked.lock.platform, progress=progress)
    found = verify_image(prepared.id, workspace, load_plugins(), wishes, heal=True)
    if found.state == "damaged":
        raise BuildFailed(f"{prepared.id.short} is not what was installed: {found.reason}")
    return f"its files are {found.state}: {', '.join(found.damages[:10]) or 'all as they were installed'}"


class DockerImageDetails(dict[str, Any]):
    """What an environment has been built to (Azure's ``azureml.core.environment.DockerImageDetails``).

    A dict with an attribute for each key. Where the environment is a folder of this machine rather than a container's
    image, what only images have is ``None``.
    """

    @property
    def image_exist(self) -> bool:
        """Whether it is built."""
        return bool(self["image_exist"])

    @property
    def repository(self) -> str | None:
        """The repository of the image."""
        return _text(self["repository"])

    @property
    def registry(self) -> str | None:
        """The address of the image's registry; Azure's has the login in it too."""
        return _text(self["registry"])

    @property
    def image(self) -> str | None:
        """The image, by its digest."""
        return _text(self["image"])

    @property
    def interpreter_path(self) -> str | None:
        """The environment's Python."""
        return _text(self["interpreter_path"])

    @property
    def environment_path(self) -> str | None:
        """The environment's folder."""
        return _text(self["environment_path"])

    @property
    def dockerfile(self) -> str | None:
        """The Dockerfile that the image is built on."""
        return _text(self["dockerfile"])

    @property
    def id(self) -> str | None:
        """The id of the environment, or ``None`` where it is not locked yet; not in Azure."""
        return _text(self["id"])

    @property
    def lock_digest(self) -> str | None:
        """The digest of its lock, or ``None`` where it is not locked yet; not in Azure."""
        return _text(self["lock_digest"])


def image_details(project: Project, workspace: Workspace) -> DockerImageDetails:
    """Say what ``project`` has been built to on this machine, building nothing."""
    from envbuild import pipeline
    from envbuild.platform import Platform
    from envbuild.plugins import load_plugins

    locked = pipeline.kept_lock(project, workspace, Platform.here())
    identity = image = None
    if locked is not None:
        identity = pipeline.identify(project, locked, workspace, load_plugins())
        image = workspace.images.find(identity)
    dockerfile = project.definition.docker.get("base_dockerfile")
    return DockerImageDetails(
        image_exist=image is not None,
        repository=image.details.get("repository") if image else None,
        registry=image.details.get("registry") if image else None,
        image=str(image.digest) if image and image.digest else None,
        interpreter_path=str(image.interpreter if image.path else image.python) if image else None,
        environment_path=str(image.path) if image and image.path else None,
        dockerfile=dockerfile,
        id=_text(identity),
        lock_digest=str(Digest.of(locked.to_toml().encode())) if locked else None,
    )


def _prepared(project: Project, workspace: Workspace, progress: Written, platform: Platform | None) -> Prepared:
    """Lock and build a registered environment, and note what its version stands for."""
    from envbuild import pipeline, retention
    from envbuild.platform import Platform
    from envbuild.plugins import load_plugins

    wishes = pipeline.Wishes(progress=progress, platform=platform or Platform.here())
    made = pipeline.prepare(project, workspace, load_plugins(), wishes)
    if project.version is not None:
        pipeline.settle(project.version, project, made.locked.lock, made.id, workspace)
    if made.built:
        retention.keep_bound(workspace)
    return made


def _new_log(root: Path, spec: str) -> Path:
    """Make the log of a build, and let go of the oldest ones."""
    folder = root / layout.BUILDS
    moment = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S%f}"
    log = folder / f"{moment}-{spec.replace(':', '-')}-{os.urandom(4).hex()}.log"
    with writing(root):
        folder.mkdir(parents=True, exist_ok=True)
        log.touch(exist_ok=False)
    for each in sorted(folder.glob("*.log"))[:-_KEPT]:
        # Another process may clear up at the same time; and what is young may still be written.
        with suppress(FileNotFoundError):
            if time.time() - each.stat().st_mtime > _YOUNG:
                each.unlink()
    return log


def _pass_on(log: TextIO) -> None:
    said = log.read()
    if said:
        sys.stdout.write(said)
        sys.stdout.flush()


def _text(value: object) -> str | None:
    return None if value is None else str(value)

"""envbuild: one environment definition, one lock, one id, the same environment everywhere.

What stands here is what plugins and programs may rely on; a name is imported when it is first used, so that
``import envbuild`` costs nothing. Everything else is internal and moves without notice.
"""

from __future__ import annotations

from envbuild.activation import activated as activated
from envbuild.layout import inside_path as inside_path

# Not from typing: importing that would take a third of what a warm `envbuild run` may.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from envbuild.checkup import Finding as Finding
    from envbuild.definition import (
        Definition as Definition,
    )
    from envbuild.digest import Digest as Digest
    from envbuild.errors import (
        BuildFailed as BuildFailed,
    )
    from envbuild.errors import (
        Damaged as Damaged,
    )
    from envbuild.errors import (
        DefinitionError as DefinitionError,
    )
    from envbuild.errors import (
        EnvbuildError as EnvbuildError,
    )
    from envbuild.errors import (
        LockError as LockError,
    )
    from envbuild.errors import (
        NotFound as NotFound,
    )
    from envbuild.errors import (
        PackageClash as PackageClash,
    )
    from envbuild.errors import (
        Problem as Problem,
    )
    from envbuild.errors import (
        PythonNotFound as PythonNotFound,
    )
    from envbuild.errors import (
        ResolutionFailed as ResolutionFailed,
    )
    from envbuild.errors import (
        TargetError as TargetError,
    )
    from envbuild.hookspecs import hookimpl as hookimpl
    from envbuild.image import (
        BuildRequest as BuildRequest,
    )
    from envbuild.image import (
        Image as Image,
    )
    from envbuild.lock import (
        Artifact as Artifact,
    )
    from envbuild.lock import (
        Lock as Lock,
    )
    from envbuild.lock import (
        LockRequest as LockRequest,
    )
    from envbuild.lock import (
        Package as Package,
    )
    from envbuild.lock import (
        Resolution as Resolution,
    )
    from envbuild.lock import (
        from_pylock as from_pylock,
    )
    from envbuild.lock import (
        read_pylock as read_pylock,
    )
    from envbuild.outcome import (
        RunHandle as RunHandle,
    )
    from envbuild.outcome import (
        RunRequest as RunRequest,
    )
    from envbuild.platform import Platform as Platform
    from envbuild.platform import platform_of_subdir as platform_of_subdir
    from envbuild.platform import subdir_of as subdir_of
    from envbuild.process import run_program as run_program
    from envbuild.progress import Progress as Progress
    from envbuild.requirement import (
        PipOptions as PipOptions,
    )
    from envbuild.requirement import (
        PylockFile as PylockFile,
    )
    from envbuild.requirement import (
        Requirement as Requirement,
    )
    from envbuild.requirement import (
        WheelRef as WheelRef,
    )
    from envbuild.requirement import (
        bare_url as bare_url,
    )
    from envbuild.requirement import (
        check_channel_url as check_channel_url,
    )
    from envbuild.requirement import (
        without_credentials as without_credentials,
    )
    from envbuild.sdk.environment import Environment as Environment
    from envbuild.sdk.experiment import Experiment as Experiment
    from envbuild.sdk.model import Model as Model
    from envbuild.sdk.run import Run as Run
    from envbuild.sdk.script_run_config import ScriptRunConfig as ScriptRunConfig
    from envbuild.sdk.workspace import Workspace as Workspace
    from envbuild.source import (
        copy_source as copy_source,
    )
    from envbuild.source import (
        source_files as source_files,
    )
    from envbuild.store import Store as Store

__version__ = "0.1.0"

_HOME = {
    "checkup": ("Finding",),
    "definition": ("Definition",),
    "digest": ("Digest",),
    "errors": (
        "BuildFailed",
        "Damaged",
        "DefinitionError",
        "EnvbuildError",
        "LockError",
        "NotFound",
        "PackageClash",
        "Problem",
        "PythonNotFound",
        "ResolutionFailed",
        "TargetError",
    ),
    "hookspecs": ("hookimpl",),
    "image": ("BuildRequest", "Image"),
    "lock": ("Artifact", "Lock", "LockRequest", "Package", "Resolution", "from_pylock", "read_pylock"),
    "outcome": ("RunHandle", "RunRequest"),
    "platform": ("Platform", "platform_of_subdir", "subdir_of"),
    "process": ("run_program",),
    "progress": ("Progress",),
    "requirement": (
        "PipOptions",
        "PylockFile",
        "Requirement",
        "WheelRef",
        "bare_url",
        "check_channel_url",
        "without_credentials",
    ),
    "sdk": ("Environment", "Experiment", "Model", "Run", "ScriptRunConfig", "Workspace"),
    "source": ("copy_source", "source_files"),
    "store": ("Store",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "__version__",
    "activated",
    "inside_path",
    *sorted(_MODULE_OF),
]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'envbuild' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"envbuild.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

"""Remembered: which environment a SPEC meant last time, as long as nothing has changed that it depends on.

As a repeated run does (`envbuild.warm`), a repeated test session looks at sizes and times of files instead of reading,
resolving and importing anything.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild import layout, warm

if TYPE_CHECKING:
    from envbuild.pipeline import Prepared
    from envbuild.pytest_plugin.environments import Environment
    from envbuild.workspace import Workspace


def recall(root: str, spec: str, label: str, wanted: tuple[str, ...], held: ExitStack) -> Environment | None:
    """The environment that ``spec`` means, if that is known and nothing has changed.

    :param root: the folder of the workspace.
    :param label: what it is called now.
    :param held: keeps it, and what it is lent, from being collected.
    """
    from envbuild.pytest_plugin.environments import Environment

    try:
        text = Path(_place(root, spec, wanted)).read_text(encoding="utf-8")
        known: dict[str, Any] = json.loads(text)
        environment = Environment(**{**known["environment"], "label": label})
        unchanged = all(list(warm.facts_of(path)) == facts for path, facts in known["signs"].items())
        folders = [environment.prefix, *environment.lent]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return environment if unchanged and all(_hold(folder, root, held) for folder in folders) else None


def remember(
    spec: str,
    environment: Environment,
    wanted: tuple[str, ...],
    prepared: Prepared,
    workspace: Workspace,
    began: int,
) -> None:
    """Note what ``spec`` means, if files show when that changes.

    :param began: when it was looked at first, in nanoseconds since 1970.
    """
    from envbuild.stamping import signs

    place = Path(_place(str(workspace.root), spec, wanted))
    found = signs(prepared, workspace, began)
    # Without it the next session takes longer, and nothing else.
    with suppress(OSError):
        if found is None:
            place.unlink(missing_ok=True)
        else:
            place.parent.mkdir(exist_ok=True)
            content = {"environment": asdict(environment), "signs": found}
            workspace.store.write(place, json.dumps(content).encode())


def _place(root: str, spec: str, wanted: tuple[str, ...]) -> str:
    # What an environment is lent depends on the versions that we have.
    return warm.stamp_path(root, spec, ["tests", warm.installation(), *(_ours(name) for name in wanted)])


def _ours(name: str) -> str:
    try:
        return f"{name}=={version(name)}"
    except PackageNotFoundError:
        return name


def _hold(folder: str, root: str, held: ExitStack) -> bool:
    """Keep the environment that a folder lies in from being collected; ``False`` if it is gone already."""
    images = os.path.join(root, layout.STORE, layout.IMAGES)  # noqa: PTH118
    identity = Path(folder).relative_to(images).parts[0]
    lease = warm.hold(os.path.join(root, layout.STORE, layout.LEASES, identity), folder)  # noqa: PTH118
    if lease is None:
        return False
    held.callback(os.close, lease)
    return True

"""What an export gives, and what several formats have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from envbuild.errors import LockError, Refused
from envbuild.lock import Lock, Package
from envbuild.progress import counted
from envbuild.requirement import WHEEL_SCHEME

_NUMBER = re.compile(r"[-+]?(\d[\d_]*(\.\d*)?|\.\d+)([eE][-+]?\d+)?|0[xo][0-9a-fA-F]+")


@dataclass(frozen=True, slots=True)
class Exported:
    """A lock in another tool's words.

    :param left_out: what the format has no words for.
    :param beside: further files that have to lie beside it, by name.
    """

    text: str
    left_out: tuple[str, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)


def heading(lock: Lock, name: str | None) -> str:
    """The first line of a file that can hold comments."""
    return f"{name or 'environment'}: Python {lock.python}, {counted(len(lock.packages), 'package')}, {lock.platform}"


def pip_packages(lock: Lock) -> tuple[Package, ...]:
    """The packages that pip is to install.

    :raises Refused: one of them is on this machine only.
    """
    found = lock.of_kind("pip", "wheel")
    local = [str(each) for each in found if _is_here_only(each)]
    if local:
        raise Refused(
            f"only this machine has {', '.join(local)}",
            hint="upload it to an index that you share, or leave out --format: a bundle takes private wheels along",
        )
    return found


def _is_here_only(package: Package) -> bool:
    url = package.artifact.url
    return url is None or url.startswith((WHEEL_SCHEME, "file:"))


def direct_url(package: Package) -> str:
    """The one URL that a pip package is installed from."""
    artifact = package.artifact
    url = artifact.url or ""
    below = f"#subdirectory={artifact.subdirectory}" if artifact.subdirectory else ""
    if artifact.kind == "vcs":
        return f"{artifact.vcs or 'git'}+{url}@{artifact.revision}{below}"
    return url + below


def require_python(lock: Lock, what: str) -> None:
    """Go on only if conda brings the Python.

    :raises LockError: it does not.
    """
    if not any(each.name == "python" for each in lock.of_kind("conda")):
        raise LockError(
            f"{what} has to bring its Python, and this environment has none of conda's",
            hint="--format requirements, pylock and conda write environments without conda packages too",
        )


def yaml_text(form: Mapping[str, Any]) -> str:
    """``form`` as YAML that means the same to readers of YAML 1.1 and 1.2."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Puts what could be taken for a number in quotes: readers do not agree about ``1e5``."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
            return True

    def text(dumper: Dumper, value: str) -> yaml.Node:
        style = "'" if _NUMBER.fullmatch(value) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return str(yaml.dump(form, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1000))


def named(packages: Iterable[Package]) -> str:
    """Packages in a sentence, the first of them by name."""
    found = list(packages)
    more = f" and {len(found) - 5} more" if len(found) > 6 else ""
    return ", ".join(map(str, found[: 5 if more else None])) + more

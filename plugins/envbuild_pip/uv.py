"""uv, the program: where it is, what it is allowed to see, and what it means when it fails."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from envbuild import EnvbuildError, run_program

_KEPT = (
    "UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_CACHE_DIR", "UV_HTTP", "UV_KEYRING",
    "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_INSECURE_HOST", "UV_LINK_MODE", "UV_CONCURRENT", "UV_REQUEST",
    "UV_LOCK_TIMEOUT", "UV_PYTHON_INSTALL_DIR", "UV_CONFIG_FILE", "UV_NO_CONFIG",
)  # fmt: skip
"""uv's settings that say where packages come from and how they travel. All others (``UV_RESOLUTION``,
``UV_EXCLUDE_NEWER`` …) would change what is locked without standing in the definition, and are dropped."""

_DROPPED = ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__")
"""What would make uv look at an environment that happens to be active."""

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")


def find_uv() -> str:
    """The uv program that was installed with envbuild.

    :raises EnvbuildError: there is none.
    """
    import uv

    try:
        return os.fsdecode(uv.find_uv_bin())
    except FileNotFoundError as error:
        raise EnvbuildError(
            "the uv package has no uv program in it", hint="pip install --force-reinstall uv"
        ) from error


def settings(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that uv is given, of those of the caller.

    pip's names for indexes count where uv's own are absent: they are where people have put their company's.

    >>> settings({"PIP_INDEX_URL": "https://pypi.corp.test/simple", "UV_RESOLUTION": "lowest"})["UV_DEFAULT_INDEX"]
    'https://pypi.corp.test/simple'
    """
    kept = {
        name: value
        for name, value in variables.items()
        if name not in _DROPPED and (not name.startswith("UV_") or name.startswith(_KEPT))
    }
    if "PIP_INDEX_URL" in kept and "UV_INDEX_URL" not in kept:
        kept.setdefault("UV_DEFAULT_INDEX", kept["PIP_INDEX_URL"])
    if "PIP_EXTRA_INDEX_URL" in kept and "UV_EXTRA_INDEX_URL" not in kept:
        kept.setdefault("UV_INDEX", kept["PIP_EXTRA_INDEX_URL"])
    return kept | {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}


def run_uv(
    arguments: Sequence[str | Path],
    *,
    variables: Mapping[str, str],
    directory: Path | None = None,
) -> tuple[int, str, str]:
    """Run uv.

    :returns: its exit code, its output, and what it said about failing, fit to be shown to people; where it has not
        failed, its warnings.
    """
    done = run_program([find_uv(), *arguments], variables=settings(variables), directory=directory)
    return done.code, done.stdout, readable(done.stderr, warnings=done.code == 0)


def readable(complaint: str, *, warnings: bool = False) -> str:
    r"""What uv wrote to standard error, without colours and credentials, and without its warnings unless they count.

    >>> readable("warning: x\n\x1b[31merror\x1b[0m: https://me:pw@host/simple is not there")
    'https://me:****@host/simple is not there'
    """
    plain = _ANSI.sub("", complaint)
    dropped = ("Using ", "Resolved ") if warnings else ("warning:", "Using ", "Resolved ")
    lines = [line for line in plain.splitlines() if not line.startswith(dropped)]
    text = "\n".join(lines).strip().removeprefix("error: ")
    return _USERINFO.sub(lambda found: found.group().split(":", 1)[0].rstrip("@") + ":****@", text)


def is_network_trouble(complaint: str) -> bool:
    """Whether uv failed because something could not be reached, rather than because it is wrong."""
    signs = ("error sending request", "dns error", "Connection refused", "timed out", "Could not connect",
             "Failed to fetch", "connection closed", "Network is unreachable", "error decoding response body",
             "Failed to download", "end of file before message", "Request failed after")  # fmt: skip
    return any(sign.lower() in complaint.lower() for sign in signs)

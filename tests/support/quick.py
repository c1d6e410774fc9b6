"""Commands in processes of their own, without the time that Python takes to start and to import envbuild.

One process has imported everything and does nothing but fork: each command gets a child with the folder, the variables
and the words that it was given, and runs as ``python -m envbuild`` does.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn


def run(words: Sequence[str], directory: Path, variables: Mapping[str, str]) -> tuple[int, str, str]:
    """Run ``envbuild`` with ``words``, and wait for it.

    :returns: its exit code, and what it wrote to its standard output and standard error.
    """
    if "PYTHONPATH" in variables:
        # What is on that path, plugins perhaps, would have to be there before anything is imported.
        command = [sys.executable, "-m", "envbuild", *words]
        done = subprocess.run(command, cwd=directory, env=dict(variables), capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        asked = {"words": words, "directory": str(directory), "variables": dict(variables), "out": str(out)}
        forker = _forker()
        assert forker.stdin is not None
        assert forker.stdout is not None
        forker.stdin.write(json.dumps({**asked, "err": str(err)}) + "\n")
        forker.stdin.flush()
        code = int(forker.stdout.readline())
        return code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")


@cache
def _forker() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    atexit.register(process.communicate)
    return process


def _serve() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _become(asked: Mapping[str, Any]) -> NoReturn:
    from envbuild.__main__ import main

    os.chdir(asked["directory"])
    os.environ.clear()
    os.environ.update(asked["variables"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    out, err = (os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) for name in ("out", "err"))
    for descriptor, place in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(descriptor, place)
    sys.argv = ["envbuild", *asked["words"]]
    try:
        code: object = main()
    except SystemExit as error:
        code = error.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    # What any command may need; loaded plugins too, though each process asks for them anew.
    import envbuild_wheel.plugin  # noqa: F401

    _serve()

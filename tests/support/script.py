"""Scripts, run as a target runs them: with what is inside on the path, in a working copy of their own."""

from __future__ import annotations

import os
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path

from envbuild.layout import inside_path

VARIABLES = {
    "ENVBUILD_RUN_ID": "iris_1_ab",
    "ENVBUILD_EXPERIMENT": "iris",
    "ENVBUILD_ENVIRONMENT_ID": "sha256:" + "0" * 64,
    "ENVBUILD_ENVIRONMENT_NAME": "flowers",
    "ENVBUILD_ENVIRONMENT_VERSION": "3",
}


@dataclass(frozen=True)
class Script:
    """Runs one script after the other in the folder ``work``."""

    interpreter: Path
    work: Path

    def __call__(
        self, source: str, online: Path | None = None, fails: bool = False, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script, as part of the run in the folder ``online`` if one is given."""
        (self.work / "train.py").write_text(textwrap.dedent(source), encoding="utf-8")
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
        known = {**kept, "PYTHONPATH": inside_path(), "PYTHONDONTWRITEBYTECODE": "1"}
        if online is not None:
            known = {**known, **VARIABLES, "ENVBUILD_RUN_FOLDER": str(online)}
        command = [self.interpreter, "-W", "error", "train.py"]
        done = subprocess.run(
            command, cwd=self.work, env={**known, **variables}, capture_output=True, text=True, timeout=60, check=False
        )
        assert bool(done.returncode) == fails, done.stderr
        return done

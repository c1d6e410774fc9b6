"""``python -m envbuild``, and where the ``envbuild`` command begins."""

import os
import sys

from envbuild import warm


def main() -> "int | None":
    """Run the command line: repeated runs at once, all else in `envbuild.cli`."""
    code = warm.attempt(sys.argv[1:])
    if code is not None:
        # Nothing is left to be tidied up, and Python would take its time for it.
        sys.stdout.flush()
        os._exit(code)
    from envbuild.cli import main as whole

    return whole(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

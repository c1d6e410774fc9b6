"""``python -m envbuild``, and where the ``envbuild`` command begins."""

import os
import sys

from envbuild import warm


def main() -> "int | None":
    """Run the command line: repeated runs at once, all else in `envbuild.cli`."""
    _open_streams()
    try:
        code = warm.attempt(sys.argv[1:])
    except Exception as error:
        from envbuild.cli import tell

        return tell(error)
    except KeyboardInterrupt:
        os.write(2, b"\ninterrupted\n")
        code = 130
    if code is not None:
        # Nothing is left to be tidied up, and Python would take its time for it.
        sys.stdout.flush()
        os._exit(code)
    from envbuild.cli import main as whole

    return whole(sys.argv[1:])


def _open_streams() -> None:
    """See to it that no file that is opened later is taken for one of the standard streams, should one be closed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


if __name__ == "__main__":
    sys.exit(main())

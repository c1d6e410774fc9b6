"""What belongs to this process as a whole, and that whoever is asked something in it has to leave as it is."""

from __future__ import annotations

import locale
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ourselves:
    """What there is at one moment."""

    variables: Mapping[str, str]
    directory: Path
    umask: int
    path: tuple[str, ...]
    timeout: float | None
    locale: str
    handlers: Mapping[signal.Signals, Any]

    @classmethod
    def now(cls) -> Ourselves:
        """What there is now."""
        umask = os.umask(0o77)
        os.umask(umask)
        return cls(
            variables=dict(os.environ),
            directory=Path.cwd(),
            umask=umask,
            path=tuple(sys.path),
            timeout=socket.getdefaulttimeout(),
            locale=locale.setlocale(locale.LC_ALL),
            handlers={each: signal.getsignal(each) for each in signal.Signals},
        )

    @property
    def facts(self) -> dict[str, Any]:
        """All but the variables, by names that people know."""
        return {
            "the working directory": str(self.directory),
            "the umask": f"{self.umask:03o}",
            "sys.path": list(self.path),
            "the default timeout of sockets": str(self.timeout),
            "the locale": self.locale,
            "the handler of": {each.name: repr(found) for each, found in self.handlers.items()},
        }

    def restore(self) -> None:
        """Have all be as it was; of the variables one is pytest's own, which changes during a test."""
        mine = "PYTEST_CURRENT_TEST"
        for name in os.environ.keys() - self.variables.keys() - {mine}:
            del os.environ[name]
        os.environ.update({name: value for name, value in self.variables.items() if name != mine})
        os.chdir(self.directory)
        os.umask(self.umask)
        sys.path[:] = self.path
        socket.setdefaulttimeout(self.timeout)
        locale.setlocale(locale.LC_ALL, self.locale)
        if threading.current_thread() is threading.main_thread():
            for each, handler in self.handlers.items():
                # What C has set cannot be set from here, and so is left alone.
                if handler is not None and signal.getsignal(each) is not handler:
                    signal.signal(each, handler)

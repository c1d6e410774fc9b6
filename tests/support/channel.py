"""A conda channel of the tests' own: a folder that rattler indexes, and the same folder over HTTP on loopback.

It can be told to want a password or a token, to break off half-way through a file, and to hold other bytes than its
index promises.
"""

from __future__ import annotations

import base64
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from support.conda_packages import Packed, package
from support.index import QuietServer

_INDEXED = """
import asyncio, os, sys
from rattler.index import index_fs
asyncio.run(index_fs(sys.argv[1], write_zst=True, write_shards=False, force=True))
os._exit(0)
"""


def this_subdir() -> str:
    """This machine, as channels call it: ``linux-64``."""
    system, machine = platform.system().lower(), platform.machine().lower()
    names = {"darwin-arm64": "osx-arm64", "darwin-x86_64": "osx-64", "linux-x86_64": "linux-64"}
    return names.get(f"{system}-{machine}", f"{system}-{machine}")


@dataclass
class Channel:
    """A channel in a folder, for this machine unless a package says otherwise.

    :param packages: what is in it, by folder and file name.
    """

    folder: Path
    packages: dict[str, Packed] = field(default_factory=dict)
    _indexed: bool = False

    @property
    def url(self) -> str:
        """Where it is, on this machine; it is indexed by then, and has to be again if packages are added later."""
        self.index()
        return self.folder.as_uri()

    def add(self, name: str, version: str = "1.0", **told: Any) -> Packed:
        """Make a package and put it there, as `support.conda_packages.package` does."""
        return self.put(package(name, version, **{"subdir": this_subdir(), **told}))[0]

    def put(self, *packed: Packed) -> tuple[Packed, ...]:
        """Put packages there that are made already."""
        for each in packed:
            self.packages[f"{each.subdir}/{each.filename}"] = each
            self.file(each).parent.mkdir(parents=True, exist_ok=True)
            self.file(each).write_bytes(each.data)
        self._indexed = False
        return packed

    def file(self, packed: Packed) -> Path:
        """Where the file of a package is."""
        return self.folder / packed.subdir / packed.filename

    def find(self, name: str) -> list[Packed]:
        """The packages of that name."""
        return [each for each in self.packages.values() if each.about["name"] == name]

    def damage(self, packed: Packed) -> None:
        """Turn a bit of the file, behind the back of the index."""
        data = bytearray(packed.data)
        data[len(data) // 2] ^= 1
        self.file(packed).write_bytes(data)

    def smuggle(self, packed: Packed) -> None:
        """Put another sound package in the place of that of its name, behind the back of the index."""
        self.file(packed).write_bytes(packed.data)

    def index(self) -> None:
        """Say in the channel what is there, unless that is said already."""
        if self._indexed:
            return
        for subdir in ("noarch", this_subdir()):
            (self.folder / subdir).mkdir(parents=True, exist_ok=True)
        # Not in this process, and out of that one at once: as an interpreter ends, rattler's threads may bring it down.
        subprocess.run([sys.executable, "-c", _INDEXED, self.folder], check=True, capture_output=True, timeout=300)
        self._indexed = True


@dataclass
class Server:
    """How a channel is served.

    :param password: what it wants of whoever asks, with the user name ``me``; ``None`` for nothing.
    :param token: what has to stand in its URLs as ``/t/TOKEN/``, or to be sent as a bearer; ``None`` for nothing.
    :param dying: names of files of which only the first half is sent.
    :param gone: names of files that are not there, though the index has them.
    """

    channel: Channel
    host: str = ""
    password: str | None = None
    token: str | None = None
    dying: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    refused: int = 0

    @property
    def url(self) -> str:
        """The address of the channel, with nothing in it that must not be seen."""
        return f"http://{self.host}/{self.channel.folder.name}"

    def with_password(self, password: str | None = None) -> str:
        """That address with credentials in it."""
        return self.url.replace("://", f"://me:{password or self.password}@")

    def with_token(self, token: str | None = None) -> str:
        """That address with a token in it."""
        return self.url.replace(self.host, f"{self.host}/t/{token or self.token}")

    def downloads(self) -> list[str]:
        """The packages that were fetched, each as often as it was."""
        names = [path.rpartition("/")[2] for method, path in self.asked if method == "GET"]
        return [name for name in names if name.endswith((".conda", ".tar.bz2"))]

    def admits(self, path: str, headers: Mapping[str, str]) -> bool:
        """Whether whoever asks for ``path`` has said what is wanted."""
        authorization = headers.get("Authorization", "")
        if self.token is not None and path.split("/")[1:3] != ["t", self.token]:
            return authorization == f"Bearer {self.token}"
        expected = base64.b64encode(f"me:{self.password}".encode()).decode()
        return self.password is None or authorization == f"Basic {expected}"


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *words: Any, served: Server) -> None:
        self.served = served
        super().__init__(*words, directory=os.fspath(served.channel.folder.parent))

    def send_head(self) -> Any:
        path = unquote(urlsplit(self.path).path)
        self.served.asked.append((self.command, path))
        self.served.authorizations.append(self.headers.get("Authorization", ""))
        if not self.served.admits(path, self.headers):
            self.served.refused += 1
            return self._refuse()
        if path.rpartition("/")[2] in self.served.gone:
            return self.send_error(404)
        if path.startswith("/t/"):
            self.path = "/" + path.split("/", 3)[3]
        return super().send_head()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        data = source.read()
        dies = self.path.rpartition("/")[2] in self.served.dying
        outputfile.write(data[: len(data) // 2] if dies else data)
        self.close_connection = self.close_connection or dies

    def _refuse(self) -> None:
        self.send_response(401)
        if self.served.password is not None:
            self.send_header("WWW-Authenticate", 'Basic realm="packages"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nobody reads it."""


@contextmanager
def serving(channel: Channel, *, password: str | None = None, token: str | None = None) -> Iterator[Server]:
    """Serve a channel for as long as the block lasts; what is yielded says where."""
    channel.index()
    served = Server(channel, password=password, token=token)
    with QuietServer(("127.0.0.1", 0), partial(_Handler, served=served)) as server:
        served.host = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()

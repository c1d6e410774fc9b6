"""An index of packages on loopback: PEP 503, 691, 658 and 700, with the mishaps that indexes have.

It answers as PyPI does, counts what it is asked, and can be told to want a password, to die half-way through a
file, and to serve other bytes than it promised.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from support.packages import Made


@dataclass
class Published:
    """A file on the index.

    :param served: what is really sent for it, where that is not what the index says it is.
    """

    made: Made
    uploaded: str
    served: bytes | None = None
    yanked: bool = False


@dataclass
class Index:
    """What is on the index, and how it behaves.

    :param password: what it wants of whoever asks, with the user name ``me``; ``None`` for nothing.
    :param dying: names of files of which only the first half is sent.
    :param bare: say no more than PEP 503 does: no sizes, no times, no metadata.
    """

    url: str = ""
    files: dict[str, Published] = field(default_factory=dict)
    password: str | None = None
    dying: set[str] = field(default_factory=set)
    bare: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    refused: int = 0

    @property
    def simple(self) -> str:
        """The address that installers are given."""
        return f"{self.url}/simple"

    def with_password(self, password: str | None = None) -> str:
        """That address with credentials in it."""
        return self.simple.replace("://", f"://me:{password or self.password}@")

    def publish(self, *made: Made, uploaded: str = "2024-01-15T12:00:00Z") -> None:
        """Put files on the index, in the place of those of the same name."""
        for each in made:
            self.files[each.filename] = Published(each, uploaded)

    def downloads(self, ending: str = "") -> list[str]:
        """The files that were fetched, each as often as it was."""
        paths = [path for method, path in self.asked if method == "GET" and path.startswith("/files/")]
        return [path.rpartition("/")[2] for path in paths if path.endswith(ending) and not path.endswith(".metadata")]

    def answer(self, path: str, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        """The status, content type and body for ``path``."""
        if self.password is not None and not self._admits(headers.get("Authorization", "")):
            self.refused += 1
            return 401, "text/plain", b"who are you?"
        parts = [unquote(each) for each in path.strip("/").split("/")]
        if parts[0] == "simple" and len(parts) == 2:
            return self._page(parts[1], "json" in headers.get("Accept", ""))
        if parts[0] == "files" and len(parts) == 2:
            name = parts[1].removesuffix(".metadata")
            if name in self.files:
                found = self.files[name]
                data = found.made.metadata if name != parts[1] else found.served or found.made.data
                return 200, "application/octet-stream", data
        return 404, "text/plain", b"not here"

    def _admits(self, authorization: str) -> bool:
        expected = base64.b64encode(f"me:{self.password}".encode()).decode()
        return authorization == f"Basic {expected}"

    def _page(self, project: str, as_json: bool) -> tuple[int, str, bytes]:
        found = {name: each for name, each in self.files.items() if each.made.project == project}
        if not found:
            return 404, "text/plain", b"no such project"
        if as_json and not self.bare:
            files = [self._entry(name, each) for name, each in found.items()]
            document = {"meta": {"api-version": "1.1"}, "name": project, "files": files, "versions": []}
            return 200, "application/vnd.pypi.simple.v1+json", json.dumps(document).encode()
        links = "".join(
            f'<a href="{self.url}/files/{name}#sha256={each.made.sha256}">{name}</a><br>'
            for name, each in found.items()
        )
        return 200, "text/html", f"<!DOCTYPE html><html><body>{links}</body></html>".encode()

    def _entry(self, name: str, found: Published) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "filename": name,
            "url": f"{self.url}/files/{name}",
            "hashes": {"sha256": found.made.sha256},
            "size": len(found.made.data),
            "upload-time": found.uploaded,
            "yanked": found.yanked,
        }
        if found.made.requires_python:
            entry["requires-python"] = found.made.requires_python
        if name.endswith(".whl"):
            entry["core-metadata"] = {"sha256": hashlib.sha256(found.made.metadata).hexdigest()}
        return entry


def lay_out(folder: Path, *made: Made) -> Path:
    """Put files into a folder, as ``--find-links`` takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in made:
        (folder / each.filename).write_bytes(each.data)
    return folder


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    index: Index

    def do_GET(self) -> None:
        self._respond(with_body=True)

    def do_HEAD(self) -> None:
        self._respond(with_body=False)

    def _respond(self, *, with_body: bool) -> None:
        self.index.asked.append((self.command, self.path))
        status, kind, body = self.index.answer(self.path, self.headers)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="packages"')
        self.end_headers()
        if with_body:
            dies = self.path.rpartition("/")[2] in self.index.dying
            self.wfile.write(body[: len(body) // 2] if dies else body)
            self.close_connection = self.close_connection or dies

    def log_message(self, *args: object) -> None:
        """Nobody reads it."""


class QuietServer(ThreadingHTTPServer):
    """A server on loopback whose clients may hang up when they like."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is none of our business."""


@contextmanager
def serving(index: Index) -> Iterator[Index]:
    """Serve ``index`` for as long as the block lasts; its ``url`` says where."""
    handler = type("Handler", (_Handler,), {"index": index})
    with QuietServer(("127.0.0.1", 0), handler) as server:
        index.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()

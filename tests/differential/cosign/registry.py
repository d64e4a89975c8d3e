"""A registry on loopback that serves repositories from memory, as they are."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import ClassVar, Self

from tests.signing.making import sha256
from tests.signing.storing import Repository


class MemoryRegistry:
    """Serves each repository below its name, on an ephemeral port."""

    def __init__(self, repositories: Mapping[str, Repository]) -> None:
        class Handler(_Handler):
            served = repositories

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.host = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that cosign resets."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: ClassVar[Mapping[str, Repository]] = {}

    def do_GET(self) -> None:
        name, _, path = self.path.partition("?")[0].removeprefix("/v2/").partition("/")
        if not path:
            return self.answer(200, b"{}", "application/json")
        repository = self.served.get(name)
        found = repository.served.get(path) if repository is not None else None
        if found is None:
            error = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not here"}]}'
            return self.answer(404, error, "application/json")
        return self.answer(200, *found)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    def answer(self, status: int, content: bytes, media_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Content-Digest", sha256(content))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""

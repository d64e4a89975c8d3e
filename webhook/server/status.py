"""Probes and metrics over plain HTTP, for the process that audits: few readers, no secrets.

The webhook has its own server, which faces everybody. This one answers three paths, one request a
connection, each within seconds, and few at a time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from webhook.deadlines import Deadline, DeadlineExceeded, spawn, timeout_at

logger = logging.getLogger(__name__)

POLL: Final = 0.1
"""Seconds between two looks at whether to stop."""

CONNECTION_SECONDS: Final = 10.0
"""For one connection from its first byte to its last."""

MAX_CONNECTIONS: Final = 32

Page = Callable[[], tuple[int, str, bytes]]
"""Returns status, content type and body; must not wait."""


class StatusServer:
    """Serves pages by path until it is stopped."""

    def __init__(self, host: str, port: int, pages: Mapping[str, Page]) -> None:
        """Listen; an empty ``host`` is every address.

        Raises:
            OSError: the address cannot be listened on.
        """
        dual = not host and os.path.exists("/proc/net/if_inet6")  # noqa: PTH110 - a file of the kernel
        address = host or ("::" if dual else "0.0.0.0")  # noqa: S104 - all addresses is what a Pod serves on
        self._server = _Server((address, port), pages, socket.AF_INET6 if ":" in address else socket.AF_INET)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self._server.server_address[1]
        return port

    def start(self) -> None:
        """Serve beside what the process does."""
        spawn(lambda: self._server.serve_forever(POLL), "status")

    def stop(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], pages: Mapping[str, Page], family: int) -> None:
        self.pages = pages
        self.address_family = family
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)  # a probe comes again
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            with contextlib.suppress(DeadlineExceeded), timeout_at(Deadline.after(CONNECTION_SECONDS)):
                super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has gone, or was cut off."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            paths = ", ".join(sorted(self.server.pages))
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", f"there is {paths}\n".encode())
            return
        try:
            self._answer(*page())
        except OSError:
            raise
        except Exception:
            logger.exception("failed to serve a page")
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", b"failed\n")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "swr-trust"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's signature
        """Write nothing: probes come every few seconds."""

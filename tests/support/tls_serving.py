"""A context manager that runs a loopback server with TLS or in plain text."""

from __future__ import annotations

import threading
from socketserver import BaseRequestHandler, ThreadingTCPServer
from ssl import SSLContext
from types import TracebackType
from typing import Any, Self


class TlsServer:
    """Lets a handler answer each connection in its own thread."""

    def __init__(self, handler: type[BaseRequestHandler], context: SSLContext | None) -> None:
        """Listen on a free port; without ``context``, in plain text."""

        class Server(ThreadingTCPServer):
            daemon_threads = True

            def finish_request(self, request: Any, client_address: Any) -> None:
                if context is None:
                    handler(request, client_address, self)
                    return
                # Here, not in the accepting thread: a client that rejects the certificate must not stop the
                # others.
                with context.wrap_socket(request, server_side=True) as wrapped:
                    handler(wrapped, client_address, self)

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Ignore errors, because some tests use clients that reject the certificate."""

        self._server = Server(("127.0.0.1", 0), handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

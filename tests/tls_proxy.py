"""An HTTP proxy that is spoken to over TLS; it makes tunnels to one port of the loopback address."""

from __future__ import annotations

import contextlib
import socket
import threading
from socketserver import StreamRequestHandler, ThreadingTCPServer
from ssl import SSLContext
from types import TracebackType
from typing import Any, Self


class TlsProxy:
    """Notes the hosts it is asked for in ``tunnels``, and connects each to the same ``target``."""

    def __init__(self, context: SSLContext | None, target: int) -> None:
        """Listen on a free port; without ``context`` it is spoken to in plain HTTP."""
        self.tunnels: list[str] = []
        outer = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                line = self.rfile.readline().decode("ascii").split()
                while self.rfile.readline().strip():
                    pass
                if len(line) < 2:
                    return
                outer.tunnels.append(line[1])
                with socket.create_connection(("127.0.0.1", target)) as upstream:
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    back = threading.Thread(target=_pump, args=(upstream, self.request), daemon=True)
                    back.start()
                    _pump(self.request, upstream)
                    back.join()

        class Server(ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

            def finish_request(self, request: Any, client_address: Any) -> None:
                if context is None:
                    Handler(request, client_address, self)
                    return
                with context.wrap_socket(request, server_side=True) as wrapped:
                    Handler(wrapped, client_address, self)

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Ignore it: some tests are about clients that refuse the certificate."""

        self._server = Server(("127.0.0.1", 0), Handler)
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


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)

"""An HTTP proxy with a TLS listener; it tunnels to one port of the loopback address."""

from __future__ import annotations

import contextlib
import socket
import threading
from socketserver import StreamRequestHandler
from ssl import SSLContext

from tests.support.tls_serving import TlsServer


class TlsProxy(TlsServer):
    """Records the requested hosts in ``tunnels``, and connects each to the same ``target``."""

    def __init__(self, context: SSLContext | None, target: int) -> None:
        """Listen on a free port; without ``context``, in plain HTTP."""
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

        super().__init__(Handler, context)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)

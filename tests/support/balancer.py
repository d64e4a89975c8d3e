"""A TCP balancer that behaves like kube-proxy, and a client that behaves like kube-apiserver."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
import threading
from types import TracebackType
from typing import Any, Self


class Balancer:
    """Sends each new connection to the next of its endpoints; open connections keep theirs.

    The rules of kube-proxy do the same: an endpoint that is removed gets no new connections, and a client's
    pooled connection to it stays open.
    """

    def __init__(self, *ports: int) -> None:
        """Balance over these ports of the loopback address."""
        self._endpoints = list(ports)
        self._next = 0
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._server.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def add(self, port: int) -> None:
        """Send new connections to this endpoint, too."""
        with self._lock:
            self._endpoints.append(port)

    def remove(self, port: int) -> None:
        """Send no more new connections to this endpoint."""
        with self._lock:
            self._endpoints.remove(port)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                self._next += 1
                port = self._endpoints[self._next % len(self._endpoints)]
            threading.Thread(target=self._join, args=(client, port), daemon=True).start()

    def _join(self, client: socket.socket, port: int) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", port), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        ends = (client, server)
        with self._lock:
            self._open.update(ends)
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join()
        with self._lock:
            self._open.difference_update(ends)
        for end in ends:
            end.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A thread in accept() holds the socket open until it is shut down.
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._server.close()
        with self._lock:
            left = list(self._open)
        for end in left:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy bytes until one side ends, then end the other side."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        # Reset, not closed in order: reset the other side, too.
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
    else:
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


class ApiServerClient:
    """Calls a webhook as kube-apiserver's Go client does.

    At most 25 idle connections are kept. The most recently used one is used first. One that the server has
    closed in the meantime is dropped unused. A POST that was written is never repeated: an error after that
    is a failed call. (client-go ``transport/cache.go``, Go ``net/http`` ``persistConn.shouldRetryRequest``.)
    """

    MAX_IDLE = 25

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        """Call ``port`` of the loopback address."""
        self._port = port
        self._context = context
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPSConnection] = []
        self.opened = 0

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body of a POST of JSON; raises ``OSError`` or ``HTTPException`` if it fails."""
        connection = self._take()
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.status, response.read()
        except BaseException:
            connection.close()
            raise
        self._give_back(connection, ends=response.will_close)
        return answer

    def _take(self) -> http.client.HTTPSConnection:
        while True:
            with self._lock:
                if not self._idle:
                    self.opened += 1
                    break
                connection = self._idle.pop()
            if not _has_ended(connection.sock):
                return connection
            connection.close()
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=self._context, timeout=30)
        connection.connect()
        return connection

    def _give_back(self, connection: http.client.HTTPSConnection, *, ends: bool) -> None:
        with self._lock:
            if not ends and len(self._idle) < self.MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close all idle connections."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()


def _has_ended(connection: Any) -> bool:
    """Whether the server has closed it. An idle connection receives nothing else but new session tickets."""
    if not select.select([connection], [], [], 0)[0]:
        return False
    connection.setblocking(False)
    try:
        return not connection.recv(1)
    except ssl.SSLWantReadError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(30)

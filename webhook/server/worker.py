"""The gunicorn worker: one gevent loop whose every connection has a deadline.

gunicorn's own gevent worker waits in a handshake or in headers for as long as a client likes, writes
errors in plain text on a TLS port, and at its end waits for idle connections until it cuts what
runs. kube-apiserver always holds idle connections. So the way from an accepted socket to a parsed
request, and the end of the worker, are written anew here; parsing and WSGI stay gunicorn's.
"""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import time
from typing import Any, Final

import gevent
import gevent.hub
from gevent.pool import Pool
from gevent.server import StreamServer
from gevent.ssl import SSLSocket
from gunicorn import http
from gunicorn.http.errors import NoMoreData
from gunicorn.workers.ggevent import GeventWorker

from webhook.server.app import MAX_BODY
from webhook.server.runtime import Runtime

HANDSHAKE_SECONDS: Final = 10.0
"""For a TLS handshake, as kube-apiserver allows itself."""

REQUEST_SECONDS: Final = 20.0
"""For headers and body together, from the first byte; a review is sent in one piece."""

FIRST_BYTE_SECONDS: Final = 10.0
"""For the first byte of a new connection. Later requests may wait for the keep-alive time."""

WRITE_SECONDS: Final = 10.0

ALMOST_FULL: Final = 0.9
"""The share of ``worker_connections`` from which the oldest waiting connection gives way to a new one."""

IDLE_GRACE: Final = 1.0
"""Seconds after the stop signal for which idle connections stay open: a request may be on its way."""

TICK: Final = 0.1


class Slow(ConnectionResetError):
    """A client used up its time; gunicorn takes the error for a reset connection and is silent."""


class BudgetedSocket(SSLSocket):  # type: ignore[misc]  # gevent ships no types
    """A TLS socket whose reads share one budget per request, however slowly bytes drip."""

    idle_seconds: float = FIRST_BYTE_SECONDS
    idle = False
    request_ends: float | None = None

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Read within the budget; raises ``Slow`` once it is used up."""
        if self.request_ends is None:
            self.idle = True
            self.settimeout(self.idle_seconds)
        else:
            self.settimeout(max(0.001, self.request_ends - time.monotonic()))
        try:
            data: bytes = super().recv(buflen, flags)
        except TimeoutError:
            raise Slow from None
        finally:
            self.idle = False
        if self.request_ends is None:
            self.request_ends = time.monotonic() + REQUEST_SECONDS
        return data

    def next_request(self, idle_seconds: float) -> None:
        """Wait for another request, for at most ``idle_seconds``."""
        self.idle_seconds = idle_seconds
        self.request_ends = None
        self.settimeout(WRITE_SECONDS)


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn ships no types
    """Serves until told to stop, then finishes what is in flight and goes."""

    def init_process(self) -> None:
        """Start what the application needs once this is the process that serves."""
        self.runtime: Runtime = self.app.runtime
        self._connections: dict[int, tuple[Any, float]] = {}
        # A client that goes away is no error of ours, and a traceback for each stops the loop.
        hub = gevent.hub.Hub
        hub.NOT_ERROR = (*hub.NOT_ERROR, ConnectionError, ssl.SSLError)
        super().init_process()

    def run(self) -> None:
        """Serve until the stop signal, then end in order."""
        pool = Pool(self.worker_connections)
        servers = []
        for listener in self.sockets:
            listener.setblocking(1)
            server = StreamServer(listener, handle=self._serve_on(listener), spawn=pool)
            server.start()
            servers.append(server)
        self.runtime.serving()
        beat = 0.0
        while self.alive:
            if time.monotonic() - beat >= 1.0:
                self.notify()
                beat = time.monotonic()
            gevent.sleep(TICK)
        for server in servers:
            server.close()
        self._finish(pool)
        self.runtime.stop()

    def _finish(self, pool: Pool) -> None:
        started = time.monotonic()
        while pool and time.monotonic() - started < self.cfg.graceful_timeout:
            self.notify()
            if time.monotonic() - started >= IDLE_GRACE:
                for connection, _ in list(self._connections.values()):
                    if getattr(connection, "idle", True):
                        _shut_down(connection)
            gevent.sleep(TICK)
        pool.kill(timeout=1)

    def _serve_on(self, listener: Any) -> Any:
        name = listener.getsockname()

        def serve(client: Any, address: Any) -> None:
            self._make_room()
            key = id(client)
            self._connections[key] = (client, time.monotonic())
            connection = client
            try:
                connection = self._shake_hands(client)
                if connection is not None:
                    self._connections[key] = (connection, time.monotonic())
                    self._converse(name, connection, address)
            except (OSError, gevent.Timeout):
                pass  # the client is gone, or has been cut and counted
            finally:
                del self._connections[key]
                (connection or client).close()

        return serve

    def _shake_hands(self, client: Any) -> BudgetedSocket | None:
        context = self.runtime.certificate.context()
        connection: BudgetedSocket | None = None
        try:
            with gevent.Timeout(HANDSHAKE_SECONDS, TimeoutError):
                connection = BudgetedSocket(
                    client, server_side=True, do_handshake_on_connect=False, _context=context
                )
                connection.do_handshake()
        except OSError:
            # Silence on the wire, too: nothing in plain text is ever written to the port.
            self.runtime.metrics.connection_cut("handshake")
            (connection or client).close()
            return None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _converse(self, name: Any, connection: BudgetedSocket, address: Any) -> None:
        parser = http.get_parser(self.cfg, connection, address)
        request = None
        try:
            while self.alive or parser.mesg is None:
                request = None
                request = next(parser)
                if request is None:
                    return
                self._take_body(request)
                self.handle_request(name, request, connection, address)
                connection.next_request(self.cfg.keepalive)
        except Slow:
            self.runtime.metrics.connection_cut("idle" if connection.request_ends is None else "request")
        except (NoMoreData, StopIteration):
            pass
        except OSError:
            pass
        except Exception as error:  # noqa: BLE001 - what is no HTTP gets gunicorn's own answer
            self.runtime.metrics.connection_cut("malformed")
            self.handle_error(request, connection, address, error)

    def _take_body(self, request: Any) -> None:
        """Read the body while the request's budget runs, so that the application never waits.

        One byte more than is allowed is enough for the application to refuse it.
        """
        body = request.body.read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            request.force_close()
        request.body = io.BytesIO(body)

    def _make_room(self) -> None:
        if len(self._connections) < self.worker_connections * ALMOST_FULL:
            return
        for connection, _ in self._connections.values():
            # A plain socket is still in its handshake.
            if getattr(connection, "idle", True):
                self.runtime.metrics.connection_cut("full")
                _shut_down(connection)
                return


def _shut_down(connection: Any) -> None:
    # The raw connection: an orderly end of TLS would wait for the client.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)

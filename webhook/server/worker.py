"""gunicorn worker class: gevent, TLS with a deadline on every connection, and an orderly stop.

gunicorn starts, watches and stops the process. Connections are served by ``Conversation``. No plaintext error
is written to the TLS port. On shutdown, idle keep-alive connections, which kube-apiserver always holds, are
closed first.
"""

from __future__ import annotations

import functools
import os
import resource
import signal
import socket
import ssl
import sys
import time
from typing import Any, Final

import gevent
import gevent.hub
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.workers.base import Worker as BaseWorker

from webhook.server.connection_table import ConnectionTable
from webhook.server.connections import Connection
from webhook.server.conversation import Conversation, Server
from webhook.server.gunicorn_server import Service
from webhook.server.scheduler import WaitReason

BUFFER: Final = 16 * 1024
"""Bytes of each kernel buffer: of data that is not read yet, and of an answer that is not sent yet. With the
kernel's overhead, 32 KiB and 55 KiB count as memory of the container: 170 MiB for 2,000 connections with
both. Without the limit the kernel kept 121 KiB of what was sent after a small review, and 0.8 MiB after a
large one."""

ACCEPT_GRACE: Final = 2.0
"""Seconds after the stop signal in which new connections are accepted, because some nodes do not know yet
that this endpoint is being removed."""

IDLE_GRACE: Final = 1.5
"""Seconds after the stop signal in which idle connections stay open. A request may be in transit, and would
fail if its connection was closed. A connection in use is told to close by its next answer, long before
that."""

REQUEST_GRACE: Final = 4.0
"""Seconds after the stop signal in which a request that has started must arrive completely."""

SPARE_DESCRIPTORS: Final = 1000
"""Files and connections to SWR, in addition to the served connections."""

TICK: Final = 0.1


class Worker(BaseWorker):  # type: ignore[misc]  # gunicorn ships no types
    """Serves until the stop signal, then finishes the requests in flight."""

    def init_process(self) -> None:
        """Prepare to serve; called after the fork."""
        gevent.reinit()
        self.service: Service = self.app.service
        places = self.cfg.worker_connections
        self._pool = Pool(places)
        self._connections = ConnectionTable(places, self.service.metrics.connection_aborted)
        self._server = Server(
            application=self.service.app,
            connections=self._connections,
            scheduler=self.service.scheduler,
            keep_alive=self.cfg.keepalive,
            is_stopping=lambda: not self.alive,
            after_response=self.service.after_response,
        )
        self.service.scheduler.start()
        self.service.metrics.load.watch_bodies(lambda: self._server.bodies.held)
        self._quit_requested = False
        # A client that disconnects is not an error, and a traceback for each would block the loop.
        hub = gevent.hub.Hub
        hub.NOT_ERROR = (*hub.NOT_ERROR, ConnectionError, ssl.SSLError)
        _allow_descriptors(places + SPARE_DESCRIPTORS)
        super().init_process()

    def load_wsgi(self) -> None:
        """Load nothing: the service has the application."""

    def handle_quit(self, sig: int, frame: Any) -> None:
        """Stop at once: Ctrl-C, which a terminal sends to every process, or SIGQUIT.

        gunicorn exits within the signal handler, which ends in a traceback under gevent.
        """
        del sig, frame
        self._quit_requested = True
        self.alive = False

    def notify(self) -> None:
        """Show the arbiter that the loop runs, and stop if the arbiter has gone."""
        super().notify()
        if self.ppid != os.getppid():
            sys.exit(0)

    def run(self) -> None:
        """Serve until the stop signal, then shut down in order."""
        servers = [self._listen(listener) for listener in self.sockets]
        self.service.start()
        beat = 0.0
        while self.alive:
            if time.monotonic() - beat >= 1.0:
                self.notify()
                beat = time.monotonic()
            gevent.sleep(TICK)
        self._finish(servers)
        self.service.stop()
        # Python restores the default action of handled signals while it exits. Another stop signal would then
        # kill the process, and the arbiter would report a crash.
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    def _listen(self, listener: Any) -> StreamServer:
        sock = socket.socket(listener.FAMILY, socket.SOCK_STREAM, fileno=listener.sock.detach())
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # connections inherit it
            sock.setsockopt(socket.SOL_SOCKET, buffer, BUFFER)
        server = StreamServer(sock, handle=self._serve, spawn=self._pool)
        server.start()
        return server

    def _finish(self, servers: list[StreamServer]) -> None:
        # Answers that are not sent yet announce that the connection closes (``Server.is_stopping``).
        # Otherwise a client could send its next request just when the connection is closed, and would not
        # send it again.
        started = time.monotonic()
        while (self._pool or servers) and (passed := time.monotonic() - started) < self.cfg.graceful_timeout:
            if self._quit_requested:
                break
            self.notify()
            if passed >= ACCEPT_GRACE:
                while servers:
                    servers.pop().close()
            self._connections.abort_if(functools.partial(_may_end, passed))
            gevent.sleep(TICK)
        self._pool.kill(timeout=1)

    def _serve(self, client: Any, address: Any) -> None:
        del address
        connection = Connection(client, self.service.certificate.context())
        self._connections.open(connection)
        try:
            if self._handshake(connection):
                Conversation(self._server, connection).run()
        finally:
            self._connections.close(connection)
            connection.close()

    def _handshake(self, connection: Connection) -> bool:
        connections = self._connections
        try:
            connection.handshake(
                lambda: self.service.scheduler.checkpoint(WaitReason.HANDSHAKE),
                lambda: connections.begin_handshake(connection),
            )
        except OSError:
            # Nothing is sent: plaintext is never written to the TLS port.
            connections.count_abort(connection, "handshake")
            return False
        finally:
            connections.end_handshake(connection)
        return True


def _may_end(passed: float, connection: Connection) -> bool:
    """Return whether a waiting connection may end ``passed`` seconds after the stop signal."""
    # Data that arrived while the loop was blocked is a request, although it is not read yet.
    is_unused = passed >= IDLE_GRACE and connection.idle and not connection.has_arrived()
    return is_unused or (passed >= REQUEST_GRACE and not connection.sends)


def _allow_descriptors(count: int) -> None:
    """Raise the soft limit of open files, which container runtimes set as low as 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

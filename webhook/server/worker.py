"""gunicorn worker class: gevent, with a deadline on every connection.

Differs from gunicorn's GeventWorker in three ways. Handshakes, headers and bodies have time limits. No
plaintext error is written to the TLS port. On shutdown, idle keep-alive connections, which kube-apiserver
always holds, are closed first. Request parsing and WSGI are gunicorn's.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import gevent
import gevent.hub
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.http.errors import NoMoreData
from gunicorn.workers.ggevent import GeventWorker

from webhook.server.body_budget import BEGINNING, SMALL, BodyBudget, Lease
from webhook.server.connections import Body, ClientTimeout, Connection
from webhook.server.eviction import EvictionQueue
from webhook.server.gunicorn_server import Service
from webhook.server.heads import Parser
from webhook.server.reviews import MAX_BODY, time_to_decide
from webhook.server.scheduler import WaitReason

ALMOST_FULL: Final = 0.9
"""The share of ``worker_connections`` from which each new connection evicts a waiting one."""

CROWDED: Final = 0.75
"""The share of ``worker_connections`` in flight from which a request does not wait. Cached images are
evaluated, and other reviews are denied with the advice to retry. Requests in flight are never evicted. If
they held all places while SWR answers, the next call of the API server would not be accepted."""

MAX_PENDING_HANDSHAKES: Final = 0.25
"""The share of ``worker_connections`` that may be in the middle of a handshake after the ClientHello. OpenSSL
allocates 42 KiB for a handshake, and 160 KiB if a client declares a long certificate, or a second hello, and
stops."""

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

READ_AT_ONCE: Final = 64 * 1024
MAX_DRAINED: Final = 40 * 1024 * 1024
"""Bytes of an oversized body that are read and discarded. An object of 3 MB (the API server's limit) has at
most six times as many bytes in JSON, and an update carries it twice."""

REQUEST_GRACE: Final = 4.0
"""Seconds after the stop signal in which a request that has started must arrive completely."""

SPARE_DESCRIPTORS: Final = 1000
"""Files and connections to SWR, in addition to the served connections."""

TICK: Final = 0.1


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn ships no types
    """Serves until the stop signal, then finishes the requests in flight."""

    def init_process(self) -> None:
        """Prepare to serve; called after the fork."""
        self.service: Service = self.app.service
        self._pool = Pool(self.worker_connections)
        self._waiting: EvictionQueue[Connection] = EvictionQueue()
        self._pending_handshakes: EvictionQueue[Connection] = EvictionQueue()
        self._served: set[Connection] = set()
        """Connections that count in ``worker_connections``. The pool also has those that are not started yet
        or are aborted."""
        self._in_flight: set[Any] = set()
        self._bodies = BodyBudget()
        self.service.scheduler.start()
        self.service.metrics.load.watch_bodies(lambda: self._bodies.held)
        self._quit_requested = False
        # A client that disconnects is not an error, and a traceback for each would block the loop.
        hub = gevent.hub.Hub
        hub.NOT_ERROR = (*hub.NOT_ERROR, ConnectionError, ssl.SSLError)
        _allow_descriptors(self.worker_connections + SPARE_DESCRIPTORS)
        super().init_process()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """Stop at once: Ctrl-C, which a terminal sends to every process, or SIGQUIT.

        gunicorn exits within the signal handler, which ends in a traceback under gevent.
        """
        del sig, frame
        self._quit_requested = True
        self.alive = False

    def run(self) -> None:
        """Serve until the stop signal, then shut down in order."""
        servers = []
        for listener in self.sockets:
            listener.setblocking(1)
            for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # connections inherit it
                listener.setsockopt(socket.SOL_SOCKET, buffer, BUFFER)
            server = StreamServer(listener, handle=self._serve_on(listener), spawn=self._pool)
            server.start()
            servers.append(server)
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

    def _finish(self, servers: list[StreamServer]) -> None:
        # Answers that are not written yet announce that the connection closes. Otherwise a client could send
        # its next request just when the connection is closed, and would not send it again. This is not done
        # in the signal handler, which may interrupt an answer right after its header was written.
        for request in self._in_flight:
            request.force_close()
        started = time.monotonic()
        while (self._pool or servers) and (passed := time.monotonic() - started) < self.cfg.graceful_timeout:
            if self._quit_requested:
                break
            self.notify()
            if passed >= ACCEPT_GRACE:
                while servers:
                    servers.pop().close()
            for connection in self._waiting.all():
                # Data that arrived while the loop was blocked is a request, although it is not read yet.
                is_unused = passed >= IDLE_GRACE and connection.idle and not connection.has_arrived()
                if is_unused or (passed >= REQUEST_GRACE and not connection.sends):
                    self._waiting.remove(connection)
                    connection.abort()
            gevent.sleep(TICK)
        self._pool.kill(timeout=1)

    def _serve_on(self, listener: Any) -> Callable[[Any, Any], None]:
        name = listener.getsockname()

        def serve(client: Any, address: Any) -> None:
            self._make_room()
            connection = Connection(client, self.service.certificate.context())
            self._served.add(connection)
            self._waiting.add(connection, reused=False)
            try:
                if self._handshake(connection):
                    self._serve_connection(name, connection, address)
            finally:
                self._waiting.remove(connection)
                self._served.discard(connection)
                connection.close()

        return serve

    def _make_room(self) -> None:
        if len(self._served) >= self.worker_connections * ALMOST_FULL:
            self._evict_oldest(self._waiting)

    def _evict_oldest(self, connections: EvictionQueue[Connection]) -> None:
        connection = connections.evict()
        if connection is not None:
            self._evict(connection)

    def _evict(self, connection: Connection) -> None:
        self._waiting.remove(connection)
        self._served.discard(connection)
        self.service.metrics.connection_aborted("full")
        connection.abort()

    def _await(self, connection: Connection, *, reused: bool) -> None:
        if not connection.aborted:
            self._waiting.add(connection, reused=reused)

    def _handshake(self, connection: Connection) -> bool:
        try:
            connection.handshake(
                lambda: self.service.scheduler.checkpoint(WaitReason.HANDSHAKE),
                lambda: self._add_pending_handshake(connection),
            )
        except OSError:
            # Nothing is sent: plaintext is never written to the TLS port.
            self._count_abort(connection, "handshake")
            return False
        finally:
            self._pending_handshakes.remove(connection)
        return True

    def _add_pending_handshake(self, connection: Connection) -> None:
        self._pending_handshakes.add(connection, reused=False)
        if len(self._pending_handshakes) > self.worker_connections * MAX_PENDING_HANDSHAKES:
            self._evict_oldest(self._pending_handshakes)

    def _serve_connection(self, name: Any, connection: Connection, address: Any) -> None:
        parser = Parser(self.cfg, connection, address)
        scheduler = self.service.scheduler
        request = None
        iteration = -1  # the first request of a connection is not pipelined
        lease = self._bodies.lease(lambda: self._evict(connection))
        try:
            while True:  # until an answer announced the end of the connection: then the parser raises
                request = None
                request = next(parser)
                if request is None:
                    return
                if scheduler.iterations == iteration:
                    scheduler.wait(WaitReason.PIPELINED)
                self._take_body(request, connection, lease)
                self._waiting.remove(connection)
                self._in_flight.add(request)
                try:
                    # After the body is complete: otherwise many large bodies would be partial, and none fit.
                    scheduler.checkpoint(WaitReason.ARRIVED)
                    self.handle_request(name, request, connection, address)
                finally:
                    self._in_flight.discard(request)
                    request.body.drop()  # the application may have left it unread
                    lease.release()  # before the answer is sent, which the client may not read
                    self._flush(connection)
                self._await(connection, reused=True)
                connection.start_idle_timer(self.cfg.keepalive)
                iteration = scheduler.iterations
        except ClientTimeout:
            self._count_abort(connection, "idle" if connection.idle else "request")
        except (NoMoreData, StopIteration):
            pass
        except OSError:
            pass  # the client has gone
        except Exception as error:  # noqa: BLE001 - gunicorn answers what is not HTTP
            self._answer_error(request, connection, address, error)
        finally:
            lease.release()

    def _take_body(self, request: Any, connection: Connection, lease: Lease) -> None:
        """Read the body within the time limit of the request, so that the application never waits.

        One byte more than allowed is enough for the application to deny the review. The rest is read and
        discarded: a client whose data is left unread may see a connection reset and no answer. The same is
        done if the process holds too many bodies already; the beginning of the body contains the uid of the
        review.
        """
        # At the latest now: the headers may have arrived with the previous request.
        connection.start_request_timer()
        if request._expected_100_continue:  # noqa: SLF001 - gunicorn would send it after the body
            request._expected_100_continue = False  # noqa: SLF001 - the same
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._flush(connection)
            self._await(connection, reused=connection.is_reused)
        lease.expect_answer_within(time_to_decide(request.query))
        parts: list[bytes] = []
        size = 0
        is_truncated = False
        while size <= MAX_BODY:
            # In small pieces at first: the budget does not count a piece until it is complete.
            at_once = BEGINNING if size < SMALL else READ_AT_ONCE
            part = request.body.read(min(at_once, MAX_BODY + 1 - size))
            if not part:
                break
            is_truncated = not self._take_room(request, connection, lease, len(part))
            if is_truncated:
                break
            parts.append(part)
            size += len(part)
        lease.arrived()
        if is_truncated or size > MAX_BODY:
            request.force_close()
            if is_truncated:
                del parts[1:]  # the first has BEGINNING bytes
                lease.shrink_to_beginning()
            for _ in range(MAX_DRAINED // READ_AT_ONCE):
                if not request.body.read(READ_AT_ONCE):
                    break
        began, may_wait = connection.request_began, not self._is_crowded()
        request.body = Body(b"".join(parts), began=began, is_truncated=is_truncated, may_wait=may_wait)

    def _take_room(self, request: Any, connection: Connection, lease: Lease, size: int) -> bool:
        """Return whether there is room for ``size`` more bytes.

        A request that waits here counts as in flight, and its connection is not evicted for newer ones.
        """
        if self._is_crowded():
            lease.expect_answer_within(0)
        self._waiting.remove(connection)
        self._in_flight.add(request)
        try:
            return lease.grow(size)
        finally:
            self._in_flight.discard(request)
            self._await(connection, reused=connection.is_reused)

    def _is_crowded(self) -> bool:
        most: float = self.worker_connections * CROWDED
        return len(self._in_flight) >= most

    def _answer_error(self, request: Any, connection: Connection, address: Any, error: Exception) -> None:
        self._count_abort(connection, "malformed")
        self.handle_error(request, connection, address, error)
        with contextlib.suppress(OSError):  # the client has gone
            self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        """Send the answer. A client that does not read it is evicted like one that never sent a request.

        Other greenlets run, and see the connection in the queue, only if sending blocks.
        """
        self._waiting.remove(connection)
        self._await(connection, reused=False)
        try:
            connection.flush()
        finally:
            self._waiting.remove(connection)

    def _count_abort(self, connection: Connection, stage: str) -> None:
        if not connection.aborted:
            self.service.metrics.connection_aborted(stage)


def _allow_descriptors(count: int) -> None:
    """Raise the soft limit of open files, which container runtimes set as low as 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

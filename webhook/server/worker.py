"""The gunicorn worker: one gevent loop whose every connection has a deadline.

gunicorn's own gevent worker waits in a handshake or in headers for as long as a client likes, writes
errors in plain text on a TLS port, and at its end waits for idle connections until it cuts what
runs. kube-apiserver always holds idle connections. So the way from an accepted socket to a parsed
request, and the end of the worker, are written anew here; parsing and WSGI stay gunicorn's.
"""

from __future__ import annotations

import contextlib
import resource
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
"""The share of ``worker_connections`` from which a waiting connection gives way to each new one."""

CROWDED: Final = 0.75
"""The share of ``worker_connections`` in flight from which a request waits for nothing: what is known is
answered, the rest is told to come back, and the place is free again. Requests in flight give way to nobody:
if they had all places for as long as SWR takes, the API server's next call would not even be accepted."""

HALVES: Final = 0.25
"""The share of ``worker_connections`` that may have sent half of what follows a hello. OpenSSL takes 42 KiB
for a handshake, and 160 KiB where a client declares a long certificate, or another hello, and stops."""

BUFFER: Final = 16 * 1024
"""Bytes that the kernel may keep of what a client sends and nobody reads yet, and as many of an answer. With
what it needs besides, 32 KiB of the first and 55 KiB of the second count as memory of the container: 170 MiB
for 2,000 connections with both.
By itself the kernel kept 121 KiB of what was sent behind a small review, and 0.8 MiB behind a large one."""

ACCEPT_GRACE: Final = 2.0
"""Seconds after the stop signal for which new connections are taken: not every node has heard by then
that this endpoint leaves."""

IDLE_GRACE: Final = 1.5
"""Seconds after the stop signal for which idle connections stay open. A request may be on its way, and what
is closed at that moment fails; whoever is in use is told to close by its next answer, long before that."""

READ_AT_ONCE: Final = 64 * 1024
MAX_DRAINED: Final = 40 * 1024 * 1024
"""Bytes of a body too large that are read and thrown away. An object of 3 MB (the API server's limit) takes
at most six times that in its JSON, and an update carries it twice."""

REQUEST_GRACE: Final = 4.0
"""Seconds after the stop signal in which a request that has begun must have arrived."""

SPARE_DESCRIPTORS: Final = 1000
"""Files and connections to SWR beside those that are served."""

TICK: Final = 0.1


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn ships no types
    """Serves until told to stop, then finishes what is in flight and goes."""

    def init_process(self) -> None:
        """Start what the application needs once this is the process that serves."""
        self.service: Service = self.app.service
        self._pool = Pool(self.worker_connections)
        self._waiting: EvictionQueue[Connection] = EvictionQueue()
        self._halves: EvictionQueue[Connection] = EvictionQueue()
        self._served: set[Connection] = set()
        """Those that have a place. In the pool are those, too, whose turn has not come, or who were cut."""
        self._in_flight: set[Any] = set()
        self._bodies = BodyBudget()
        self.service.scheduler.start()
        self.service.metrics.load.watch_bodies(lambda: self._bodies.held)
        self._quit_requested = False
        # A client that goes away is no error of ours, and a traceback for each stops the loop.
        hub = gevent.hub.Hub
        hub.NOT_ERROR = (*hub.NOT_ERROR, ConnectionError, ssl.SSLError)
        _allow_descriptors(self.worker_connections + SPARE_DESCRIPTORS)
        super().init_process()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """End at once: Ctrl-C, which a terminal sends to every process, or SIGQUIT.

        What gunicorn does, to exit within the signal's handler, ends in a traceback here.
        """
        del sig, frame
        self._quit_requested = True
        self.alive = False

    def run(self) -> None:
        """Serve until the stop signal, then end in order."""
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

    def _finish(self, servers: list[StreamServer]) -> None:
        # Whose answer is not made yet hears by it that the connection ends. A client that was told otherwise
        # could send its next request at the moment in which we close, and would not send it twice. So not in
        # the signal's handler: that interrupts whoever has just said so.
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
                # What came while the loop was held up is a request, too, although nobody has read it yet.
                is_backing_off = passed >= IDLE_GRACE and connection.idle and not connection.has_arrived()
                if is_backing_off or (passed >= REQUEST_GRACE and not connection.sends):
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
                if self._shake_hands(connection):
                    self._serve_connection(name, connection, address)
            finally:
                self._waiting.remove(connection)
                self._served.discard(connection)
                connection.close()

        return serve

    def _make_room(self) -> None:
        if len(self._served) >= self.worker_connections * ALMOST_FULL:
            self._cut_oldest(self._waiting)

    def _cut_oldest(self, connections: EvictionQueue[Connection]) -> None:
        connection = connections.evict()
        if connection is not None:
            self._evict(connection)

    def _evict(self, connection: Connection) -> None:
        self._waiting.remove(connection)
        self._served.discard(connection)
        self.service.metrics.connection_cut("full")
        connection.abort()

    def _await(self, connection: Connection, *, reused: bool) -> None:
        if not connection.aborted:
            self._waiting.add(connection, reused=reused)

    def _shake_hands(self, connection: Connection) -> bool:
        try:
            connection.handshake(
                lambda: self.service.scheduler.checkpoint(WaitReason.HANDSHAKE),
                lambda: self._add_half(connection),
            )
        except OSError:
            # Silence on the wire, too: nothing in plain text is ever written to the port.
            self._count_cut(connection, "handshake")
            return False
        finally:
            self._halves.remove(connection)
        return True

    def _add_half(self, connection: Connection) -> None:
        self._halves.add(connection, reused=False)
        if len(self._halves) > self.worker_connections * HALVES:
            self._cut_oldest(self._halves)

    def _serve_connection(self, name: Any, connection: Connection, address: Any) -> None:
        parser = Parser(self.cfg, connection, address)
        scheduler = self.service.scheduler
        request = None
        iteration = -1  # the first request of a connection is not pipelined
        lease = self._bodies.lease(lambda: self._evict(connection))
        try:
            while True:  # to the first answer that said that the connection ends, for which it raises
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
                    # Not before the body is there: large ones would all be halves, and find no room.
                    scheduler.checkpoint(WaitReason.ARRIVED)
                    self.handle_request(name, request, connection, address)
                finally:
                    self._in_flight.discard(request)
                    request.body.drop()  # the application may have left it unread
                    lease.release()  # whoever reads no answer would keep the room of a body that is gone
                    self._flush(connection)
                self._await(connection, reused=True)
                connection.start_idle_timer(self.cfg.keepalive)
                iteration = scheduler.iterations
        except ClientTimeout:
            self._count_cut(connection, "idle" if connection.idle else "request")
        except (NoMoreData, StopIteration):
            pass
        except OSError:
            pass  # the client has gone
        except Exception as error:  # noqa: BLE001 - what is no HTTP gets gunicorn's own answer
            self._answer_error(request, connection, address, error)
        finally:
            lease.release()

    def _take_body(self, request: Any, connection: Connection, lease: Lease) -> None:
        """Read the body while the request's budget runs, so that the application never waits.

        One byte more than is allowed is enough for the application to refuse it. The rest is read and
        thrown away: a caller whose bytes are left unread may see its connection reset and no answer. The
        same is done where the process holds too many bodies already: the beginning says whose review it is.
        """
        # At the latest now: the headers may have come with the request before.
        connection.start_request_timer()
        if request._expected_100_continue:  # noqa: SLF001 - gunicorn would say it after the body
            request._expected_100_continue = False  # noqa: SLF001 - the same
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._flush(connection)
            self._await(connection, reused=connection.is_reused)
        lease.expect_answer_within(time_to_decide(request.query))
        parts: list[bytes] = []
        size = 0
        is_cut = False
        while size <= MAX_BODY:
            # In small pieces at first: what a piece has brought so far is not in the budget yet.
            at_once = BEGINNING if size < SMALL else READ_AT_ONCE
            part = request.body.read(min(at_once, MAX_BODY + 1 - size))
            if not part:
                break
            is_cut = not self._take_room(request, connection, lease, len(part))
            if is_cut:
                break
            parts.append(part)
            size += len(part)
        lease.arrived()
        if is_cut or size > MAX_BODY:
            request.force_close()
            if is_cut:
                del parts[1:]  # the first has BEGINNING bytes
                lease.shrink_to_beginning()
            for _ in range(MAX_DRAINED // READ_AT_ONCE):
                if not request.body.read(READ_AT_ONCE):
                    break
        began, may_wait = connection.request_began, not self._is_crowded()
        request.body = Body(b"".join(parts), began=began, is_cut=is_cut, may_wait=may_wait)

    def _take_room(self, request: Any, connection: Connection, lease: Lease, size: int) -> bool:
        """Return whether there is room for ``size`` bytes more.

        Whoever waits here waits for us: it is one of the crowd, and does not give way to those who have come
        since.
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
        self._count_cut(connection, "malformed")
        self.handle_error(request, connection, address, error)
        with contextlib.suppress(OSError):  # the client has gone
            self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        """Send the answer. A client that does not read it gives way as if it had never brought a request.

        Nobody else runs, and sees it there, unless it has to be waited for.
        """
        self._waiting.remove(connection)
        self._await(connection, reused=False)
        try:
            connection.flush()
        finally:
            self._waiting.remove(connection)

    def _count_cut(self, connection: Connection, stage: str) -> None:
        if not connection.aborted:
            self.service.metrics.connection_cut(stage)


def _allow_descriptors(count: int) -> None:
    """Raise the soft limit of open files, which container runtimes set as low as 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

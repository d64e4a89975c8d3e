"""The HTTP/1.1 conversation over one connection (RFC 9112): one request at a time, one response to each."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from webhook.errors import BadRequestError
from webhook.server.body_budget import BEGINNING, SMALL, BodyBudget
from webhook.server.connection_table import ConnectionTable
from webhook.server.connections import ClientTimeout, Connection
from webhook.server.exchange import Application, Request, Response, error_response
from webhook.server.heads import Head, parse_head
from webhook.server.inbox import Inbox
from webhook.server.request_bodies import RequestBody
from webhook.server.responses import ResponseWriter
from webhook.server.reviews import MAX_BODY, time_to_decide
from webhook.server.scheduler import FairScheduler, WaitReason
from webhook.server.sockets import do_nothing

logger = logging.getLogger(__name__)

READ_AT_ONCE: Final = 64 * 1024
MAX_DRAINED: Final = 40 * 1024 * 1024
"""Bytes of an oversized body that are read and discarded. An object of 3 MB (the API server's limit) has at
most six times as many bytes in JSON, and an update carries it twice."""

LONG_READING: Final = 0.001
"""Seconds of work on the parts of one request, after which its further parts are less urgent than other
requests. An ordinary review takes a tenth."""

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True, repr=False)
class Server:
    """The parts that all conversations of a process share."""

    application: Application
    connections: ConnectionTable
    scheduler: FairScheduler
    keep_alive: float
    """Seconds that a connection may be idle between two requests."""
    is_stopping: Callable[[], bool]
    """Returns whether each answer must announce the end of its connection."""
    after_response: Callable[[], None] = do_nothing
    """Called after each answer, whether it was sent or not, and before a wait for the client to read it."""
    bodies: BodyBudget = field(default_factory=BodyBudget)
    writer: ResponseWriter = field(default_factory=ResponseWriter)


class Conversation:
    """Reads requests from a connection and answers them, until one side ends it."""

    def __init__(self, server: Server, connection: Connection) -> None:
        """Begin after the handshake."""
        self._server = server
        self._connection = connection
        self._inbox = Inbox(self._receive)
        self._resumed = 0.0
        """When the last data was received, in monotonic seconds."""
        self._worked = 0.0
        """Seconds between receiving data and asking for more, since the last response."""
        self._lease = server.bodies.lease(lambda: server.connections.evict(connection))
        self._iteration = -1
        """The iteration of the loop in which the last response was sent; the first request is not
        pipelined."""

    def run(self) -> None:
        """Return when the conversation has ended; the caller closes the connection."""
        connection, connections = self._connection, self._server.connections
        try:
            while self._answer_next():
                pass
        except BadRequestError as error:
            connections.count_abort(connection, "malformed")
            self._refuse(error)
        except ClientTimeout:
            connections.count_abort(connection, "idle" if connection.idle else "request")
        except OSError:
            pass  # the client has gone
        finally:
            self._lease.release()

    def _answer_next(self) -> bool:
        """Answer the next request; return whether another one may follow."""
        server, connection = self._server, self._connection
        data = self._inbox.read_head()
        if not data:
            return False
        head = parse_head(data)
        del data
        if server.scheduler.iterations == self._iteration:
            server.scheduler.wait(WaitReason.PIPELINED)
        request = self._read_request(head)
        is_oversized = request.is_truncated or len(request.body) > MAX_BODY
        server.connections.begin(connection)
        try:
            # After the body is complete: otherwise many large bodies would be partial, and none fit.
            server.scheduler.checkpoint(WaitReason.ARRIVED)
            response = self._ask(request)
        finally:
            server.connections.end()
            self._lease.release()  # before the answer is sent, which the client may not read
        # Read once, because a signal may arrive at any time: an answer that does not announce the end is
        # followed by a connection that still takes a request.
        is_last = head.is_last or is_oversized or server.is_stopping()
        try:
            self._send(server.writer.encode(response, is_last=is_last, has_body=head.method != "HEAD"))
        finally:
            server.after_response()
        if is_last:
            return False
        self._iteration = server.scheduler.iterations
        self._resumed = self._worked = 0.0
        connection.start_idle_timer(server.keep_alive)
        if self._inbox.has_begun():  # a part of the next request arrived with this one
            connection.start_request_timer()
        server.connections.await_client(connection, reused=True)
        return True

    def _receive(self, size: int) -> bytes:
        """Receive data, and use it in a later iteration if this one has used its budget.

        Some kilobytes in chunks of one byte take milliseconds. A thousand clients may send them together.
        """
        if self._resumed:
            self._worked += time.monotonic() - self._resumed
        data = self._connection.recv(size)
        is_long = self._worked > LONG_READING
        self._server.scheduler.checkpoint(WaitReason.READING if is_long else WaitReason.ARRIVED)
        self._resumed = time.monotonic()
        return data

    def _ask(self, request: Request) -> Response:
        try:
            return self._server.application(request)
        except Exception:
            logger.exception("failed to answer a request")
            return error_response(500, "Internal Server Error")

    def _read_request(self, head: Head) -> Request:
        """Read the body within the time limit of the request, so that the application never waits.

        One byte more than allowed is enough for the application to deny the review. The rest is read and
        discarded: a client whose data is left unread may see a connection reset and no answer. The same is
        done if the process holds too many bodies already; the beginning of the body contains the uid of the
        review.
        """
        server, connection = self._server, self._connection
        # At the latest now: the headers may have arrived with the previous request.
        connection.start_request_timer()
        if head.expects_continue:
            self._send(CONTINUE)
            server.connections.await_client(connection, reused=connection.is_reused)
        path, query = head.split_target()
        body, is_truncated = b"", False
        if head.is_chunked:  # already the first piece may be long work
            self._worked = float("inf")
            server.scheduler.checkpoint(WaitReason.READING)
        if head.length or head.is_chunked:
            body, is_truncated = self._read_body(RequestBody(self._inbox, head), query)
            self._lease.arrived()
        return Request(
            method=head.method,
            path=path,
            query=query,
            content_type=head.content_type,
            host=head.host,
            body=body,
            began=connection.request_began,
            is_truncated=is_truncated,
            may_wait=not server.connections.is_crowded(),
            peer_certificate=connection.getpeercert,
        )

    def _read_body(self, body: RequestBody, query: str) -> tuple[bytes, bool]:
        """Return the body and whether it is only the beginning of it."""
        parts: list[bytes] = []
        size = 0
        has_waited = False
        while size <= MAX_BODY and not body.has_ended():
            # In small pieces at first: the budget does not count a piece until it is complete. No piece
            # belongs to two of its shares.
            if size < SMALL:
                part = body.read(SMALL - size)
            else:
                part = body.read(min(READ_AT_ONCE, MAX_BODY + 1 - size), READ_AT_ONCE)
            if not self._lease.try_grow(len(part)):
                if not has_waited:  # the time to wait is one for all pieces
                    self._lease.expect_answer_within(time_to_decide(query))
                    has_waited = True
                if not self._wait_for_room(len(part)):
                    beginning = _first(parts, BEGINNING)
                    del parts, part
                    self._lease.shrink_to_beginning()
                    _drain(body)
                    return beginning, True
            parts.append(part)
            size += len(part)
        _drain(body)
        return b"".join(parts), False

    def _wait_for_room(self, size: int) -> bool:
        """Wait for room for ``size`` more bytes; return whether there was some in time.

        A request that waits here counts as in flight, and its connection is not evicted for newer ones.
        """
        connection, connections = self._connection, self._server.connections
        if connections.is_crowded():
            self._lease.expect_answer_within(0)
        connections.begin(connection)
        try:
            return self._lease.grow(size)
        finally:
            connections.end()
            connections.await_client(connection, reused=connection.is_reused)

    def _refuse(self, error: BadRequestError) -> None:
        headers = (("Allow", "GET, POST"),) if error.status == 405 else ()  # noqa: PLR2004 - method not allowed
        response = error_response(error.status, str(error), *headers)
        with contextlib.suppress(OSError):  # the client has gone
            self._send(self._server.writer.encode(response, is_last=True))

    def _send(self, data: bytes) -> None:
        """Send an answer. A client that does not read it is evicted like one that never sent a request."""
        self._connection.sendall(data, self._await_reader)

    def _await_reader(self) -> None:
        self._server.after_response()
        self._server.connections.await_client(self._connection, reused=False)


def _first(parts: list[bytes], size: int) -> bytes:
    """Return the first ``size`` bytes of ``parts``."""
    beginning = bytearray()
    for part in parts:
        beginning += part[: size - len(beginning)]
        if len(beginning) >= size:
            break
    return bytes(beginning)


def _drain(body: RequestBody) -> None:
    """Read the rest of a body and discard it."""
    left = MAX_DRAINED
    while left > 0 and (data := body.read(READ_AT_ONCE)):
        left -= len(data)

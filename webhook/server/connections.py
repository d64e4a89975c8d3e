"""Connections whose every wait has an end, and which of them gives way when there are too many."""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import time
from typing import Any, Final, Generic, TypeVar

import gevent
from gevent.socket import socket as GeventSocket  # noqa: N812 - it is a class
from gevent.ssl import SSLSocket

HANDSHAKE_SECONDS: Final = 10.0
"""For a TLS handshake, as kube-apiserver allows itself."""

FIRST_BYTE_SECONDS: Final = 10.0
"""For the first byte of a new connection. Later requests may wait for the keep-alive time."""

REQUEST_SECONDS: Final = 20.0
"""For headers and body together, from the first byte; a review is sent in one piece."""

WRITE_SECONDS: Final = 10.0
"""For an answer, which is smaller than the buffers of a connection whose client reads."""

TURN_SECONDS: Final = 0.005
"""For reading what a client sends so quickly that it never has to be waited for."""

T = TypeVar("T")


def take_turns() -> None:
    """Let all others have their turn; a sleep of no time at all would leave the sockets of others unseen."""
    gevent.sleep(0.0001)


class Slow(ConnectionResetError):
    """A client used up its time; gunicorn takes the error for a reset connection and is silent."""


class Connection(SSLSocket):  # type: ignore[misc]  # gevent ships no types
    """A TLS connection whose reads share one budget per request, however slowly bytes drip.

    What is sent is kept until ``flush``, so that head and body of an answer leave in one TLS record
    and one system call.
    """

    # Of the class, because the constructor that we inherit may read already.
    idle = False
    """Whether nothing of a request has arrived yet."""
    given_up = False
    """Whether we have cut it, and counted that."""
    request_began = 0.0
    """When the first byte of the request arrived, in monotonic seconds."""
    _idle_seconds = FIRST_BYTE_SECONDS
    _turn_began = _ends = float("inf")

    def __init__(self, client: Any, context: ssl.SSLContext) -> None:
        """Take over an accepted socket; raises ``OSError`` where its client has gone already."""
        super().__init__(client, server_side=True, do_handshake_on_connect=False, _context=context)
        self._unsent: list[bytes] = []

    def shake_hands(self) -> None:
        """Do the TLS handshake; raises ``OSError`` for whatever is none, or too slow a one."""
        with gevent.Timeout(HANDSHAKE_SECONDS, TimeoutError):
            self.do_handshake()
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.idle = True

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Read within the budget; raises ``Slow`` once it is used up."""
        first = self.idle
        self.settimeout(self._idle_seconds if first else self._left())
        try:
            data: bytes = super().recv(buflen, flags)
        except TimeoutError:
            raise Slow from None
        if first:
            self.has_begun()
        return data

    def has_begun(self) -> None:
        """Start the budget of a request, unless it runs already."""
        if self.idle:
            self.idle = False
            self.request_began = self._turn_began = time.monotonic()
            self._ends = self._turn_began + REQUEST_SECONDS

    def _left(self) -> float:
        """Return the seconds that are left of the budget, also where there is always something to read."""
        now = time.monotonic()
        if now - self._turn_began > TURN_SECONDS:
            take_turns()
            self._turn_began = now
        if now >= self._ends:
            raise Slow
        return min(self._ends - now, REQUEST_SECONDS)

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Keep data for ``flush``."""
        del flags
        self._unsent.append(data)

    def flush(self) -> None:
        """Send what was kept; raises ``Slow`` where the client does not take it."""
        if not self._unsent:
            return
        data = b"".join(self._unsent)
        self._unsent.clear()
        self.settimeout(WRITE_SECONDS)
        try:
            super().sendall(data)
        except TimeoutError:
            raise Slow from None

    def await_request(self, idle_seconds: float) -> None:
        """Wait for another request, for at most ``idle_seconds``."""
        self._idle_seconds = idle_seconds
        self.idle = True

    def cut(self) -> None:
        """End the connection at once; whoever waits for it gets an ``OSError`` or the end of the data."""
        self.given_up = True
        # The raw connection: an orderly end of TLS would wait for the client.
        with contextlib.suppress(OSError):
            GeventSocket.shutdown(self, socket.SHUT_RDWR)


class Body(io.BytesIO):
    """The body of a request, dropped once it has been read as a whole.

    gunicorn's parser and the WSGI environment refer to it until the next request has come: without this, a
    review that waits for SWR and an idle connection would keep up to 7 MiB each.
    """

    def __init__(self, data: bytes, *, began: float, is_cut: bool = False, may_wait: bool = True) -> None:
        """Hold ``data`` of a request that began to arrive at ``began``, in monotonic seconds.

        ``is_cut`` says that it is the beginning of a body that there was no room for. Without ``may_wait``
        too many requests wait already, and this one is to be answered at once.
        """
        super().__init__(data)
        self.began = began
        self.is_cut = is_cut
        self.may_wait = may_wait

    def read(self, size: int | None = -1) -> bytes:
        """Return up to ``size`` bytes, or all that are left, which are kept no longer."""
        data = super().read(size)
        if size is None or size < 0:
            self.drop()
        return data

    def drop(self) -> None:
        """Keep nothing; later reads return ``b""``."""
        self.seek(0)
        self.truncate()


class Waiting(Generic[T]):
    """Connections that a whole request is awaited from, in the order in which they give way.

    A connection that never brought a request goes first, the oldest of them before the others:
    whoever fills the server with connections that say nothing, or speak ever so slowly, crowds out
    such connections and not those that kube-apiserver keeps open between two reviews.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._strangers: dict[T, None] = {}
        self._regulars: dict[T, None] = {}

    def add(self, connection: T, *, regular: bool) -> None:
        """Await a request; ``regular`` says that the connection has brought one before."""
        (self._regulars if regular else self._strangers)[connection] = None

    def remove(self, connection: T) -> None:
        """Await none any more, because it has come or never will."""
        self._strangers.pop(connection, None)
        self._regulars.pop(connection, None)

    def give_way(self) -> T | None:
        """Remove and return the connection that gives way, ``None`` where there is none."""
        for connections in (self._strangers, self._regulars):
            for connection in connections:
                del connections[connection]
                return connection
        return None

    def all(self) -> list[T]:
        """Return all connections."""
        return [*self._strangers, *self._regulars]

"""The open connections of the process, their limits, and which of them are evicted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from webhook.server.connections import Connection
from webhook.server.eviction import EvictionQueue

ALMOST_FULL: Final = 0.9
"""The share of the places from which each new connection evicts a waiting one."""

CROWDED: Final = 0.75
"""The share of the places in flight from which a request does not wait. Cached images are evaluated, and
other reviews are denied with the advice to retry. Requests in flight are never evicted. If they held all
places while SWR answers, the next call of the API server would not be accepted."""

MAX_PENDING_HANDSHAKES: Final = 0.25
"""The share of the places that may be in the middle of a handshake after the ClientHello. OpenSSL allocates
42 KiB for a handshake, and 160 KiB if a client declares a long certificate, or a second hello, and stops."""


class ConnectionTable:
    """The connections of one worker. A connection that waits for its client may be evicted for another."""

    def __init__(self, places: int, aborted: Callable[[str], None]) -> None:
        """Limit the connections to ``places``; ``aborted`` counts aborted ones by stage."""
        self._places = places
        self._aborted = aborted
        self._served: set[Connection] = set()
        """Connections that count in ``places``. Others are not started yet, or are aborted."""
        self._waiting: EvictionQueue[Connection] = EvictionQueue()
        self._pending_handshakes: EvictionQueue[Connection] = EvictionQueue()
        self._in_flight = 0
        """Requests that are being answered, or wait for the budget of bodies."""

    def open(self, connection: Connection) -> None:
        """Add a new connection, and evict one for it if there are too many."""
        if len(self._served) >= self._places * ALMOST_FULL:
            self._evict_oldest(self._waiting)
        self._served.add(connection)
        self._waiting.add(connection, reused=False)

    def close(self, connection: Connection) -> None:
        """Remove a connection that ends."""
        self._waiting.remove(connection)
        self._served.discard(connection)

    def await_client(self, connection: Connection, *, reused: bool) -> None:
        """Record that a connection waits for its client; ``reused`` ones have sent a request before."""
        if not connection.aborted:
            self._waiting.add(connection, reused=reused)

    def begin(self, connection: Connection) -> None:
        """Record that a request of the connection is in flight."""
        self._waiting.remove(connection)
        self._in_flight += 1

    def end(self) -> None:
        """Record that a request is no longer in flight."""
        self._in_flight -= 1

    def is_crowded(self) -> bool:
        """Return whether so many requests are in flight that further ones must not wait."""
        return self._in_flight >= self._places * CROWDED

    def begin_handshake(self, connection: Connection) -> None:
        """Record that a handshake is pending, and evict the oldest if there are too many."""
        self._pending_handshakes.add(connection, reused=False)
        if len(self._pending_handshakes) > self._places * MAX_PENDING_HANDSHAKES:
            self._evict_oldest(self._pending_handshakes)

    def end_handshake(self, connection: Connection) -> None:
        """Record that a handshake has ended or failed."""
        self._pending_handshakes.remove(connection)

    def evict(self, connection: Connection) -> None:
        """Abort a connection, and count that."""
        self.close(connection)
        self._aborted("full")
        connection.abort()

    def abort_if(self, condition: Callable[[Connection], bool]) -> None:
        """Abort the waiting connections for which ``condition`` holds, without counting that."""
        for connection in self._waiting.all():
            if condition(connection):
                self._waiting.remove(connection)
                connection.abort()

    def count_abort(self, connection: Connection, stage: str) -> None:
        """Count that a connection ends because of its client, unless it was evicted."""
        if not connection.aborted:
            self._aborted(stage)

    def _evict_oldest(self, connections: EvictionQueue[Connection]) -> None:
        connection = connections.evict()
        if connection is not None:
            self.evict(connection)

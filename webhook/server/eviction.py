"""The order in which connections are evicted when there are too many."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class EvictionQueue(Generic[T]):
    """Connections without a request in progress, in eviction order.

    Connections that have never sent a complete request come first, oldest first. A client that opens many
    idle or slow connections therefore evicts its own, not those of kube-apiserver.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._new: dict[T, None] = {}
        self._reused: dict[T, None] = {}

    def add(self, connection: T, *, reused: bool) -> None:
        """Add a connection; ``reused`` says that it has sent a complete request before."""
        added, other = (self._reused, self._new) if reused else (self._new, self._reused)
        other.pop(connection, None)
        added[connection] = None

    def remove(self, connection: T) -> None:
        """Remove a connection, if it is there."""
        self._new.pop(connection, None)
        self._reused.pop(connection, None)

    def __len__(self) -> int:
        """Return the number of connections."""
        return len(self._new) + len(self._reused)

    def evict(self) -> T | None:
        """Remove and return the next connection to evict, ``None`` if there is none."""
        for connections in (self._new, self._reused):
            for connection in connections:
                del connections[connection]
                return connection
        return None

    def all(self) -> list[T]:
        """Return all connections."""
        return [*self._new, *self._reused]

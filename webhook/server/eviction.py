"""Which connection gives way when there are too many."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class EvictionQueue(Generic[T]):
    """Connections that a whole request is awaited from, in the order in which they give way.

    A connection that never brought a request goes first, the oldest of them before the others:
    whoever fills the server with connections that say nothing, or speak ever so slowly, crowds out
    such connections and not those that kube-apiserver keeps open between two reviews.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._new: dict[T, None] = {}
        self._reused: dict[T, None] = {}

    def add(self, connection: T, *, reused: bool) -> None:
        """Await a request; ``reused`` says that the connection has brought one before."""
        (self._reused if reused else self._new)[connection] = None

    def remove(self, connection: T) -> None:
        """Await none any more, because it has come or never will."""
        self._new.pop(connection, None)
        self._reused.pop(connection, None)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._new) + len(self._reused)

    def evict(self) -> T | None:
        """Remove and return the connection that gives way, ``None`` where there is none."""
        for connections in (self._new, self._reused):
            for connection in connections:
                del connections[connection]
                return connection
        return None

    def all(self) -> list[T]:
        """Return all connections."""
        return [*self._new, *self._reused]

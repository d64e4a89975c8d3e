"""Which connection gives way when there are too many."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


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

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._strangers) + len(self._regulars)

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

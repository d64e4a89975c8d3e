"""The limits of connections, and which of them are evicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest

from webhook.server.connection_table import CROWDED, ConnectionTable
from webhook.server.connections import Connection

PLACES = 100


@dataclass(eq=False, slots=True)
class NewConnection:
    """A connection that has sent nothing, and ends a while after it was aborted."""

    aborted: bool = False

    def abort(self) -> None:
        """Record the call."""
        self.aborted = True


@dataclass(slots=True)
class Table:
    """A table with a hundred places, and what it counts."""

    counted: list[str]
    table: ConnectionTable

    def arrive(self, count: int) -> list[NewConnection]:
        """Let so many arrive at once; none ends."""
        strangers = [NewConnection() for _ in range(count)]
        for stranger in strangers:
            self.table.open(cast("Connection", stranger))
        return strangers


@pytest.fixture
def served() -> Table:
    """Return a table without connections."""
    counted: list[str] = []
    return Table(counted, ConnectionTable(PLACES, counted.append))


def waiting(table: ConnectionTable) -> list[Connection]:
    """Return the connections that may be evicted."""
    found: list[Connection] = []

    def find(connection: Connection) -> bool:
        found.append(connection)
        return False

    table.abort_if(find)
    return found


def test_burst_evicts_only_as_many_connections_as_needed(served: Table) -> None:
    """Fault C1: a burst of 1,990 aborted 1,100, because each evicted for all that arrived with it."""
    strangers = served.arrive(PLACES)
    assert sum(stranger.aborted for stranger in strangers) == PLACES // 10
    assert served.counted == ["full"] * (PLACES // 10)


def test_evicted_connection_leaves_eviction_queue(served: Table) -> None:
    """Fault C1: a partial body that was evicted for another would also have been aborted for a connection."""
    (stranger,) = (cast("Connection", one) for one in served.arrive(1))
    served.table.evict(stranger)
    assert waiting(served.table) == []
    served.table.await_client(stranger, reused=False)
    assert waiting(served.table) == []


def test_evicted_connection_frees_its_place(served: Table) -> None:
    """Fault C1: an aborted connection ends later, and its place is free at once."""
    (first, *_) = served.arrive(PLACES * 9 // 10)
    served.table.evict(cast("Connection", first))
    assert not served.arrive(1)[0].aborted
    assert served.counted == ["full"]


def test_oldest_incomplete_handshake_is_evicted(served: Table) -> None:
    """Fault C2: at most a quarter of the connections may have one."""
    strangers = served.arrive(PLACES // 4 + 1)
    for stranger in (*strangers, strangers[1]):
        served.table.begin_handshake(cast("Connection", stranger))
    assert [stranger.aborted for stranger in strangers] == [True] + [False] * (PLACES // 4)


def test_connection_in_flight_is_not_evicted(served: Table) -> None:
    """It waits for the webhook, not the webhook for it."""
    (stranger,) = (cast("Connection", one) for one in served.arrive(1))
    served.table.begin(stranger)
    assert waiting(served.table) == []
    served.table.end()
    served.table.await_client(stranger, reused=True)
    assert waiting(served.table) == [stranger]


def test_table_is_crowded_from_a_share_of_requests_in_flight(served: Table) -> None:
    """Requests in flight are not evicted, so they must not take all places."""
    strangers = [cast("Connection", one) for one in served.arrive(int(PLACES * CROWDED))]
    for stranger in strangers[1:]:
        served.table.begin(stranger)
    assert not served.table.is_crowded()
    served.table.begin(strangers[0])
    assert served.table.is_crowded()
    served.table.end()
    assert not served.table.is_crowded()


def test_abort_of_evicted_connection_is_counted_once(served: Table) -> None:
    """An evicted connection ends with an error of its socket, which is not the client's."""
    first, second = (cast("Connection", one) for one in served.arrive(2))
    served.table.evict(first)
    served.table.count_abort(first, "request")
    served.table.count_abort(second, "request")
    assert served.counted == ["full", "request"]

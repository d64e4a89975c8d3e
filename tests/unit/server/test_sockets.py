"""Sockets with a deadline on every wait."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import gevent
import pytest

from webhook.server.sockets import WatchedSocket


@dataclass(slots=True)
class Pair:
    """A watched socket, and its client."""

    near: WatchedSocket
    far: socket.socket


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return both ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname(), timeout=20)
        accepted, _ = server.accept()
    made = Pair(WatchedSocket(accepted), far)
    yield made
    made.near.close()
    far.close()


def soon(seconds: float = 20.0) -> float:
    """Return a deadline."""
    return time.monotonic() + seconds


def test_data_is_returned_as_it_arrives(pair: Pair) -> None:
    """At most as much as was asked for."""
    gevent.spawn_later(0.01, pair.far.sendall, b"abcdef")
    assert pair.near.recv(4, soon()) == b"abcd"
    assert pair.near.recv(4, soon()) == b"ef"
    pair.far.shutdown(socket.SHUT_WR)
    assert pair.near.recv(4, soon()) == b""


def test_read_ends_at_its_deadline(pair: Pair) -> None:
    """Nothing arrives."""
    with pytest.raises(TimeoutError):
        pair.near.recv(1, soon(0.02))


def test_deadline_that_moved_later_does_not_end_a_read_early(pair: Pair) -> None:
    """The timer of an earlier read fires, and is started again."""
    pair.far.sendall(b"a")
    assert pair.near.recv(2, soon(0.02)) == b"a"
    gevent.spawn_later(0.1, pair.far.sendall, b"b")
    assert pair.near.recv(1, soon()) == b"b"


def test_deadline_that_moved_earlier_ends_a_read(pair: Pair) -> None:
    """The time of a request is shorter than that of an idle connection."""
    pair.far.sendall(b"a")
    assert pair.near.recv(2, soon(60)) == b"a"
    with pytest.raises(TimeoutError):
        pair.near.recv(1, soon(0.02))


def test_timer_of_an_earlier_read_does_not_end_other_work(pair: Pair) -> None:
    """Fault C1: an exception of a timer would end a review that waits for SWR."""
    pair.far.sendall(b"a")
    pair.near.recv(2, soon(0.02))
    gevent.sleep(0.05)
    with pytest.raises(TimeoutError):
        pair.near.recv(2, soon(0.02))


def test_unread_data_is_sent_when_the_client_reads(pair: Pair) -> None:
    """All of it, and the wait is reported once."""
    data = bytes(4_000_000)
    waits: list[None] = []
    sender = gevent.spawn(pair.near.sendall, data, soon(), lambda: waits.append(None))
    received = 0
    while received < len(data):
        received += len(pair.far.recv(65536))
    sender.get(timeout=20)
    assert waits == [None]


def test_write_ends_at_its_deadline(pair: Pair) -> None:
    """The client does not read."""
    with pytest.raises(TimeoutError):
        pair.near.sendall(bytes(8_000_000), soon(0.02))


def test_shutdown_ends_a_read(pair: Pair) -> None:
    """Eviction wakes the greenlet of the connection."""
    reader = gevent.spawn(pair.near.recv, 1, soon())
    gevent.sleep(0.01)
    pair.near.shutdown()
    assert reader.get(timeout=20) == b""


def test_killed_greenlet_stops_watching(pair: Pair) -> None:
    """The process ends connections so; data that arrives later must not wake a greenlet that has ended."""
    reader = gevent.spawn(pair.near.recv, 1, soon())
    gevent.sleep(0.01)
    reader.kill()
    pair.far.sendall(b"a")
    gevent.sleep(0.01)
    assert pair.near.recv(1, soon()) == b"a"


def test_arrived_data_is_left_there(pair: Pair) -> None:
    """It is only looked at."""
    assert not pair.near.has_arrived()
    pair.far.sendall(b"a")
    gevent.sleep(0.01)
    assert pair.near.has_arrived()
    assert pair.near.recv(1, soon()) == b"a"
    pair.near.close()
    assert not pair.near.has_arrived()

"""Eviction of connections in a worker without a running server."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import pytest
from flask import Flask
from gevent.pool import Pool

from tests.support.fakes import FakeCertificate
from webhook.server.connections import Connection
from webhook.server.eviction import EvictionQueue
from webhook.server.gunicorn_server import Service
from webhook.server.scheduler import FairScheduler
from webhook.server.worker import Worker
from webhook.telemetry.metrics import Metrics

PLACES = 100


@dataclass(eq=False, slots=True)
class NewConnection:
    """A connection that has sent nothing, and ends a while after it was aborted."""

    aborted: bool = False

    def abort(self) -> None:
        """Record the call."""
        self.aborted = True


@pytest.fixture
def worker() -> Worker:
    """Return a worker with a hundred free connections."""
    made: Worker = Worker.__new__(Worker)
    made.worker_connections = PLACES
    made.service = Service(
        app=Flask("none"),
        certificate=FakeCertificate(),
        scheduler=FairScheduler(),
        metrics=Metrics("test"),
        start=lambda: None,
        stop=lambda: None,
    )
    made._served, made._pool = set(), []
    made._waiting, made._pending_handshakes = EvictionQueue(), EvictionQueue()
    return made


def arrive(worker: Worker, count: int) -> list[NewConnection]:
    """Let so many arrive at once: all are in the pool before the first is served, and none ends."""
    strangers = [NewConnection() for _ in range(count)]
    worker._pool += strangers
    for stranger in strangers:
        worker._make_room()
        worker._served.add(cast("Connection", stranger))
        worker._await(cast("Connection", stranger), reused=False)
    return strangers


def test_burst_evicts_only_as_many_connections_as_needed(worker: Worker) -> None:
    """Fault C1: a burst of 1,990 aborted 1,100, because each evicted for all that arrived with it."""
    strangers = arrive(worker, PLACES)
    assert sum(stranger.aborted for stranger in strangers) == PLACES // 10


def test_evicted_connection_leaves_eviction_queue(worker: Worker) -> None:
    """Fault C1: a partial body that was evicted for another would also have been aborted for a connection."""
    (stranger,) = (cast("Connection", one) for one in arrive(worker, 1))
    worker._evict(stranger)
    assert not worker._served
    assert worker._waiting.all() == []
    worker._await(stranger, reused=False)
    assert worker._waiting.all() == []


def test_oldest_incomplete_handshake_is_evicted(worker: Worker) -> None:
    """Fault C2: at most a quarter of the connections may have one."""
    strangers = arrive(worker, PLACES // 4 + 1)
    for stranger in (*strangers, strangers[1]):
        worker._add_pending_handshake(cast("Connection", stranger))
    assert [stranger.aborted for stranger in strangers] == [True] + [False] * (PLACES // 4)


@dataclass(eq=False, slots=True)
class Request:
    """A request that is being answered."""

    is_last: bool = False

    def force_close(self) -> None:
        """Record the call."""
        self.is_last = True


def test_stop_signal_does_not_change_answer_in_progress(worker: Worker) -> None:
    """The signal may arrive just after the answer has promised keep-alive; the next request would be lost."""
    request = Request()
    worker._in_flight, worker._pool = {request}, Pool()
    worker.cfg, worker._quit_requested = SimpleNamespace(graceful_timeout=5), False
    worker.handle_exit(15, None)
    assert not request.is_last
    worker._finish([])
    assert request.is_last

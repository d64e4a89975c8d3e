"""Memory does not grow with the number of looked-up images."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.simulation.virtual import VirtualTime, virtual_time
from tests.support.builders import registry
from tests.support.fakes import FakeClock, RecorderSpy
from webhook.deadlines import Deadline
from webhook.trust.cache import RecordCache
from webhook.trust.lookup import LookupRequest, TrustLookup
from webhook.trust.records import CallLimiter, TrustQuery, TrustRecord, TrustStatus
from webhook.trust.replication import TrustEntry
from webhook.trust.settings import CacheSettings, LookupSettings


@pytest.fixture
def clock() -> Iterator[VirtualTime]:
    """Return a virtual clock for all lookups and waits."""
    with virtual_time(seed=3) as clock:
        yield clock


class Quick:
    """Implements ``TrustSource``: every other image is trusted, the others are missing."""

    def __init__(self, clock: VirtualTime) -> None:
        self._clock = clock
        self.asked = 0

    def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        with call_limiter.call(deadline):
            self.asked += 1
        status = TrustStatus.TRUSTED if self.asked % 2 else TrustStatus.MISSING
        return TrustRecord(status, self._clock.now, "sha256:" + "a" * 64)


def test_completed_lookups_leave_only_bounded_cache(clock: VirtualTime) -> None:
    """No pending lookup, queue, namespace or worker is left."""
    settings = CacheSettings(max_entries=100)
    source = Quick(clock)
    rate = LookupSettings(calls_per_second=1000)
    lookup = TrustLookup(source, settings, rate, RecorderSpy(), clock.time)

    def look_up(question: LookupRequest) -> None:
        lookup.look_up([question], Deadline.after(60))

    for index in range(3000):
        query = TrustQuery(registry(), "shop", f"web-{index}", "1")
        question = LookupRequest(query, None, f"team-{index}")
        clock.spawn(partial(look_up, question))
    clock.run(60)
    (queue,) = lookup._queues.values()
    assert source.asked == 3000
    assert lookup.sizes == (100, 100, 0)
    assert lookup._pending == {}
    assert (queue._waiting, queue._count, list(queue._background), queue._workers) == ({}, 0, [], 0)


def grow(count: int, settings: CacheSettings, mark: int, measure: Callable[[], int]) -> tuple[int, int]:
    """Fill a cache with so many trusted, refused, imported and revoked images; measure at the mark and at the
    end.
    """
    clock = FakeClock()
    cache = RecordCache(settings, clock)
    before = 0
    for index in range(count):
        clock.tick(0.001)
        key = ("0123456789abcdef", "shop", "web", f":{index}")
        if index % 10 == 0:
            cache.import_entry(TrustEntry(key, int(clock.now), trusted=index % 20 == 0))
        elif index % 2:
            cache.put(key, TrustRecord(TrustStatus.TRUSTED, clock.now, f"sha256:{index:064x}"))
        else:
            cache.put(key, TrustRecord(TrustStatus.MISSING, clock.now))
        if index + 1 == mark:
            before = measure()
    return before, measure()


def test_full_cache_does_not_grow() -> None:
    """This covers trusted and refused images, and imported entries of other replicas."""
    tracemalloc.start()
    try:
        before, after = grow(
            30_000, CacheSettings(max_entries=500), 10_000, lambda: tracemalloc.get_traced_memory()[0]
        )
    finally:
        tracemalloc.stop()
    assert after < before * 1.25


def resident() -> int:
    """Return the resident bytes of this process (proc(5))."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_many_images_do_not_increase_memory() -> None:
    """With the default limit of ten thousand of each kind. A key alone takes more than 100 bytes."""
    before, after = grow(300_000, CacheSettings(), 100_000, resident)
    assert after - before < 10_000_000

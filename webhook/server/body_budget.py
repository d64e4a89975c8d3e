"""How many bytes of request bodies the process holds, all connections together.

One body may have 7 MiB and 2,000 connections may be open, so a bound for each is none for the process. A body
takes from the budget as its bytes arrive; a declared length reserves nothing. What it took is given back once
its answer is made, for the strings that its review names live as long; little else that was decoded from
it does (``AdmissionRequest.keep_identity``).

The first ``BEGINNING`` bytes of each body are always taken. Connections are limited, so the sum of these is,
too. They say whose review it is: a review that cannot be refused under its uid is a failed call, which a
failure policy of ``Ignore`` lets pass. The rest of the first ``SMALL`` bytes has a share of its own, so that
ordinary reviews do not wait for large ones.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Final

BEGINNING: Final = 16 * 1024
"""Bytes of each body that no share limits: 32 MiB for the 2,000 connections that the process serves."""

SMALL: Final = 64 * 1024
"""Bytes of each body that are not taken from the share of large ones. An ordinary review has 2 to 20 KB."""

SMALL_SHARE: Final = 32 * 1024 * 1024
LARGE_SHARE: Final = 64 * 1024 * 1024
"""Bytes. With what is decoded from them, connections, what the kernel holds for these (``worker.BUFFER``) and
the program itself, it stays below the 512 MiB that the chart allows (``tests/http/test_bodies.py``)."""

WAIT: Final = 2.0
"""Seconds that a body waits for its share before its review is refused as one that comes at a busy moment, or
half of the time that the review may take, where that is less: it is answered in time all the same."""

PART_WAIT: Final = 0.25
"""Seconds after which a body that waits gives what it has to an older one that waits, too, and is refused.
Else all of a crowd could have a part of the share, and none what it needs until their time is over."""

STALLED: Final = 1.0
"""Seconds without a piece after which a body in arrival may be given up for others."""

_TICK: Final = 0.02


class Lease:
    """What one body holds of the budget."""

    def __init__(self, budget: BodyBudget, evict: Callable[[], None]) -> None:
        """Hold nothing yet; ``evict`` ends the connection that the body comes from."""
        self._budget = budget
        self.evict = evict
        self.beginning = 0
        self.small = 0
        self.large = 0
        self.needs = 0
        """Bytes of the large share that it waits for."""
        self.number = 0
        """Its place in the order in which bodies went beyond the small share, 0 while it has not."""
        self.patience = WAIT
        """Seconds that it may still wait, all its pieces together."""

    def expect_answer_within(self, seconds: float) -> None:
        """Wait no longer than half of the ``seconds`` that the review of this body may take."""
        self.patience = min(WAIT, seconds / 2)

    def grow(self, size: int) -> bool:
        """Take ``size`` bytes more; returns whether they could be had in time."""
        beginning = min(size, BEGINNING - self.beginning)
        small = min(size - beginning, SMALL - BEGINNING - self.small)
        return self._budget.take(self, beginning, small, size - beginning - small)

    def arrived(self) -> None:
        """Say that the body has arrived, so that it is no longer given up for others."""
        self._budget.arrived(self)

    def shrink_to_beginning(self) -> None:
        """Give back all but the first ``BEGINNING`` bytes."""
        self._budget.cancel(0, self.small, self.large)
        self.small = self.large = 0

    def release(self) -> None:
        """Give back everything."""
        self._budget.arrived(self)
        self._budget.cancel(self.beginning, self.small, self.large)
        self.beginning = self.small = self.large = self.number = 0
        self.patience = WAIT


class BodyBudget:
    """The budget of a process; thread-safe."""

    def __init__(
        self,
        small_share: int = SMALL_SHARE,
        large_share: int = LARGE_SHARE,
    ) -> None:
        """Allow so many bytes beyond the beginnings of bodies."""
        self._lock = threading.Lock()
        self._small_left = small_share
        self._large_left = large_share
        self._beginnings = 0
        self._total = small_share + large_share
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Lease] = {}
        """Those that wait for a part of the large share, by their numbers."""
        self._arriving: dict[Lease, float] = {}
        """When the last piece of each body in arrival came, the longest ago first."""

    def lease(self, evict: Callable[[], None]) -> Lease:
        """Return the lease of a body that is about to arrive; ``evict`` ends its connection."""
        return Lease(self, evict)

    @property
    def held(self) -> int:
        """Bytes that bodies hold now."""
        return self._beginnings + self._total - self._small_left - self._large_left

    def take(self, lease: Lease, beginning: int, small: int, large: int) -> bool:
        """Take bytes for a lease, or none, and then it may lose its part, too; see ``Lease.grow``."""
        began = time.monotonic()
        self.arrived(lease)  # a body that waits here is not given up for others
        if large and not lease.number:
            lease.number = next(self._numbers)
        try:
            while True:
                with self._lock:
                    short_of_small = small > self._small_left
                    # Else many bodies would each get a part of what they need, and none of them all.
                    is_first = not large or lease.number <= min(self._waiting, default=lease.number)
                    if is_first and not short_of_small and large <= self._large_left:
                        self._beginnings += beginning
                        self._small_left -= small
                        self._large_left -= large
                        lease.beginning += beginning
                        lease.small += small
                        lease.large += large
                        self._arriving[lease] = time.monotonic()
                        return True
                    if large:
                        lease.needs = large
                        self._waiting[lease.number] = lease
                    waited = time.monotonic() - began
                    if waited >= PART_WAIT and self._is_in_the_way(lease):
                        self._large_left += lease.large
                        lease.large = 0
                        return False
                if waited >= lease.patience:
                    return False
                if short_of_small:
                    self._evict_stalled()
                time.sleep(_TICK)
        finally:
            lease.patience -= time.monotonic() - began
            self._waiting.pop(lease.number, None)

    def arrived(self, lease: Lease) -> None:
        """Say that a body has arrived, or that nothing more of it will."""
        with self._lock:
            self._arriving.pop(lease, None)

    def _is_in_the_way(self, lease: Lease) -> bool:
        """Whether an older one waits in vain, and this is the youngest of those that wait and have a part."""
        if lease.number not in self._waiting:
            return False
        oldest = self._waiting[min(self._waiting)]
        youngest = max(
            (one for one in self._waiting.values() if one.large), key=lambda one: one.number, default=oldest
        )
        return lease is youngest is not oldest and oldest.needs > self._large_left

    def _evict_stalled(self) -> None:
        """End the connection whose half of a request has stalled for longest, where that gives back anything.

        Only such a one: who waits here, or for the answer, has a review that must not become a failed call.
        """
        since = time.monotonic() - STALLED
        with self._lock:
            stalled = (lease for lease, last in self._arriving.items() if lease.small and last <= since)
            lease = next(stalled, None)
            if lease is None:
                return
            del self._arriving[lease]
        lease.evict()

    def cancel(self, beginning: int, small: int, large: int) -> None:
        """Take bytes back."""
        with self._lock:
            self._beginnings -= beginning
            self._small_left += small
            self._large_left += large

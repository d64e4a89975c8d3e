"""Memory budget for the request bodies of all connections.

A limit for each body would not limit the process: one body may have 7 MiB, and 2,000 connections may be open.
A body takes bytes from the budget as they arrive; a declared length reserves nothing. The bytes are returned
when the answer is complete, because the strings of the review are in use until then. Most other decoded
values are freed earlier (``AdmissionRequest.keep_identity``).

The first ``BEGINNING`` bytes of each body are always granted. The number of connections limits their sum.
They contain the uid of the review. Without the uid, a denial would be a failed call, which is admitted if the
``failurePolicy`` is ``Ignore``. The rest of the first ``SMALL`` bytes has a separate share, so that ordinary
reviews do not wait for large ones.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Final

BEGINNING: Final = 16 * 1024
"""Bytes of each body that are always granted: 32 MiB for the 2,000 connections that the process serves."""

SMALL: Final = 64 * 1024
"""Bytes of each body that are not taken from the share of large ones. An ordinary review has 2 to 20 KB."""

SMALL_SHARE: Final = 32 * 1024 * 1024
LARGE_SHARE: Final = 64 * 1024 * 1024
"""Bytes. The sum of the shares, the values decoded from them, the connections, their kernel buffers
(``worker.BUFFER``) and the program is below the 512 MiB of the chart (``tests/http/test_bodies.py``)."""

WAIT: Final = 2.0
"""Maximum seconds that a body waits for its share, or half of the time of the review if that is less. After
it, the review is denied because the process is busy. The answer is still in time."""

PART_WAIT: Final = 0.25
"""Seconds after which a waiting body returns its part of the share to an older one, and its review is denied.
Otherwise many bodies could each hold a part of the share, and none of them could be completed in time."""

STALLED: Final = 1.0
"""Seconds without new bytes after which an incomplete body may be evicted."""

_TICK: Final = 0.02


class Lease:
    """The part of the budget that one body holds."""

    def __init__(self, budget: BodyBudget, evict: Callable[[], None]) -> None:
        """Hold nothing yet; ``evict`` ends the connection of the body."""
        self._budget = budget
        self.evict = evict
        self.beginning = 0
        self.small = 0
        self.large = 0
        self.needs = 0
        """Bytes of the large share that it waits for."""
        self.number = 0
        """Its position in the order in which bodies exceeded ``SMALL``, 0 if it has not."""
        self.wait_left = WAIT
        """Seconds that it may still wait, over all its pieces."""

    def expect_answer_within(self, seconds: float) -> None:
        """Wait no longer than half of the ``seconds`` that the review of this body may take."""
        self.wait_left = min(WAIT, seconds / 2)

    def try_grow(self, size: int) -> bool:
        """Take ``size`` more bytes if they are free; return whether they were."""
        return self._budget.try_take(self, *self._divide(size))

    def grow(self, size: int) -> bool:
        """Take ``size`` more bytes; return whether they were granted in time."""
        return self._budget.take(self, *self._divide(size))

    def _divide(self, size: int) -> tuple[int, int, int]:
        """Return the bytes of the beginning, the small and the large share that ``size`` bytes take."""
        beginning = min(size, BEGINNING - self.beginning)
        small = min(size - beginning, SMALL - BEGINNING - self.small)
        return beginning, small, size - beginning - small

    def arrived(self) -> None:
        """Record that the body is complete, so that it is not evicted."""
        self._budget.arrived(self)

    def shrink_to_beginning(self) -> None:
        """Return all but the first ``BEGINNING`` bytes to the budget."""
        self._budget.cancel(0, self.small, self.large)
        self.small = self.large = 0

    def release(self) -> None:
        """Return all bytes to the budget."""
        if not self.beginning:
            return
        self._budget.arrived(self)
        self._budget.cancel(self.beginning, self.small, self.large)
        self.beginning = self.small = self.large = self.number = 0
        self.wait_left = WAIT


class BodyBudget:
    """The budget of a process, used by the greenlets of one loop."""

    def __init__(
        self,
        small_share: int = SMALL_SHARE,
        large_share: int = LARGE_SHARE,
    ) -> None:
        """Set the size of both shares, in bytes."""
        self._small_left = small_share
        self._large_left = large_share
        self._beginnings = 0
        self._total = small_share + large_share
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Lease] = {}
        """Leases that wait for bytes of the large share, by their numbers."""
        self._arriving: dict[Lease, float] = {}
        """The time of the last piece of each incomplete body, oldest first."""

    def lease(self, evict: Callable[[], None]) -> Lease:
        """Return a lease for the next body; ``evict`` ends its connection."""
        return Lease(self, evict)

    @property
    def held(self) -> int:
        """Bytes that bodies hold now."""
        return self._beginnings + self._total - self._small_left - self._large_left

    def try_take(self, lease: Lease, beginning: int, small: int, large: int) -> bool:
        """Take all of these bytes or none, without waiting; return whether they were free."""
        if large and not lease.number:
            lease.number = next(self._numbers)
        # Otherwise many bodies would each get a part, and none of them all of their bytes.
        is_first = not large or lease.number <= min(self._waiting, default=lease.number)
        if not is_first or small > self._small_left or large > self._large_left:
            return False
        self._beginnings += beginning
        self._small_left -= small
        self._large_left -= large
        lease.beginning += beginning
        lease.small += small
        lease.large += large
        self._arriving.pop(lease, None)
        self._arriving[lease] = time.monotonic()
        return True

    def take(self, lease: Lease, beginning: int, small: int, large: int) -> bool:
        """Take all of these bytes or none; return whether they were granted in time.

        If they were not, the lease may also have lost its bytes of the large share.
        """
        began = time.monotonic()
        self.arrived(lease)  # a body that waits here is not evicted
        try:
            while not self.try_take(lease, beginning, small, large):
                if large:
                    lease.needs = large
                    self._waiting[lease.number] = lease
                waited = time.monotonic() - began
                if waited >= PART_WAIT and self._blocks_older(lease):
                    self._large_left += lease.large
                    lease.large = 0
                    return False
                if waited >= lease.wait_left:
                    return False
                if small > self._small_left:
                    self._evict_stalled()
                time.sleep(_TICK)
            return True
        finally:
            lease.wait_left -= time.monotonic() - began
            self._waiting.pop(lease.number, None)

    def arrived(self, lease: Lease) -> None:
        """Record that a body is complete or abandoned."""
        self._arriving.pop(lease, None)

    def _blocks_older(self, lease: Lease) -> bool:
        """Whether an older lease lacks bytes, and this is the youngest waiting one that holds a part."""
        if lease.number not in self._waiting:
            return False
        oldest = self._waiting[min(self._waiting)]
        youngest = max(
            (one for one in self._waiting.values() if one.large), key=lambda one: one.number, default=oldest
        )
        return lease is youngest is not oldest and oldest.needs > self._large_left

    def _evict_stalled(self) -> None:
        """Evict the connection whose incomplete body has stalled for longest and holds bytes of this share.

        Connections that wait here, or for their answer, are not evicted: their reviews must not become failed
        calls.
        """
        since = time.monotonic() - STALLED
        stalled = (lease for lease, last in self._arriving.items() if lease.small and last <= since)
        lease = next(stalled, None)
        if lease is None:
            return
        del self._arriving[lease]
        lease.evict()

    def cancel(self, beginning: int, small: int, large: int) -> None:
        """Return bytes to the budget."""
        self._beginnings -= beginning
        self._small_left += small
        self._large_left += large

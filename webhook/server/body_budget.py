"""How many bytes of request bodies the process holds, all connections together.

One body may have 7 MiB and 2,000 connections may be open, so a bound for each is none for the process. A body
takes from the budget as its bytes arrive; a declared length reserves nothing. What it took is given back once
its answer is written, for what was decoded from it lives as long.

The first ``SMALL`` bytes of each body have a share of their own. Reviews of ordinary Pods are smaller than
that and never wait for large ones.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

SMALL: Final = 64 * 1024
"""Bytes of each body that are taken from the share of small ones. An ordinary review has 2 to 20 KB."""

SMALL_SHARE: Final = 32 * 1024 * 1024
LARGE_SHARE: Final = 64 * 1024 * 1024
"""Bytes. With what is decoded from them, connections and the program itself, the process stays below the
512 MiB that the chart allows it (``tests/http/test_bodies.py``)."""

WAIT: Final = 2.0
"""Seconds that a body waits for its share before its review is refused as one that comes at a busy moment."""

_TICK: Final = 0.02


class Lease:
    """What one body holds of the budget."""

    def __init__(self, budget: BodyBudget) -> None:
        """Hold nothing yet."""
        self._budget = budget
        self.small = 0
        self.large = 0

    def grow(self, size: int) -> bool:
        """Take ``size`` bytes more; returns whether they could be had within ``WAIT`` seconds."""
        small = min(size, max(0, SMALL - self.small))
        return self._budget.take(self, small, size - small)

    def shrink_to_small(self) -> None:
        """Give back all but the first ``SMALL`` bytes."""
        self._budget.give_back(0, self.large)
        self.large = 0

    def release(self) -> None:
        """Give back everything."""
        self._budget.give_back(self.small, self.large)
        self.small = self.large = 0


class BodyBudget:
    """The budget of a process; thread-safe."""

    def __init__(
        self,
        make_room: Callable[[], None],
        small_share: int = SMALL_SHARE,
        large_share: int = LARGE_SHARE,
    ) -> None:
        """Allow so many bytes; ``make_room`` ends a connection that has brought no whole request yet."""
        self._make_room = make_room
        self._lock = threading.Lock()
        self._small_left = small_share
        self._large_left = large_share
        self._total = small_share + large_share

    def lease(self) -> Lease:
        """Return the lease of a body that is about to arrive."""
        return Lease(self)

    @property
    def held(self) -> int:
        """Bytes that bodies hold now."""
        return self._total - self._small_left - self._large_left

    def take(self, lease: Lease, small: int, large: int) -> bool:
        """Take bytes of both shares for a lease, or none of them; see ``Lease.grow``."""
        ends = time.monotonic() + WAIT
        while True:
            with self._lock:
                short_of_small = small > self._small_left
                if not short_of_small and large <= self._large_left:
                    self._small_left -= small
                    self._large_left -= large
                    lease.small += small
                    lease.large += large
                    return True
            if time.monotonic() >= ends:
                return False
            if short_of_small:
                # Whoever fills the small share with halves of requests makes room for those that come whole.
                self._make_room()
            time.sleep(_TICK)

    def give_back(self, small: int, large: int) -> None:
        """Take bytes back."""
        with self._lock:
            self._small_left += small
            self._large_left += large

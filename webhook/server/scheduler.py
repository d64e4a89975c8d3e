"""Fair scheduling of work in one event loop: limits the length of an iteration.

In each iteration, the loop polls all sockets and timers, and then runs every greenlet that is ready. If a
thousand small reviews arrive, or reach their deadlines, at the same time, they run in one iteration. Each
takes half a millisecond, so nothing else would run for half a second. A sleep in each would not help, because
a thousand sleeps end in one iteration, too.

The scheduler records when the loop last polled. Work that would start too long after that is queued, and so
is the next request of a client that did not wait for its answer. After each poll, queued work runs for half
of the budget of an iteration. The other half is for new work.

There is one queue for each reason to wait. The queues are served round-robin, so that much work of one kind
does not delay other kinds. A review whose lookup has ended does not wait for a thousand new reviews. A single
request does not wait for pipelined ones, and neither waits for handshakes.

Before ``start`` is called, no work waits.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

from gevent.hub import Waiter, get_hub

ITERATION_BUDGET: Final = 0.02
"""Seconds after a poll in which work may start; ordinary iterations take one or two milliseconds."""

QUEUE_BUDGET: Final = ITERATION_BUDGET / 2
"""Seconds of an iteration for queued work, if there is any."""


class WaitReason(IntEnum):
    """Why work waits; each reason has a queue."""

    ARRIVED = 0
    """A request has arrived."""
    WOKEN = 1
    """A lookup has ended, or the deadline of its review has passed."""
    PIPELINED = 2
    """The client has sent another request without waiting for the answer."""
    HANDSHAKE = 3
    """A client opens a connection."""
    READING = 4
    """A further part of a long request has arrived."""


class FairScheduler:
    """The scheduler of one loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Measure by ``clock``, in monotonic seconds."""
        self._clock = clock
        self._polled_at = float("inf")
        """When the loop last polled; infinite before ``start``, so that no work waits."""
        self._queues: tuple[deque[Any], ...] = tuple(deque() for _ in WaitReason)
        self.iterations = 0
        """The number of polls. If it has not changed, the caller has not waited."""

    def start(self) -> None:
        """Watch the loop of this thread."""
        hub = get_hub()
        self._make_waiter: Callable[[], Any] = lambda: Waiter(hub)
        # Runs before all other greenlets that are ready, and does not keep the loop alive.
        self._after_poll = hub.loop.check(ref=False, priority=hub.loop.MAXPRI)
        self._after_poll.start(self._run_queued)
        self._no_wait = hub.loop.idle(ref=False)
        """While it is active, the loop polls without waiting."""

    def checkpoint(self, reason: WaitReason) -> None:
        """Return at once, or in a later iteration if this one has used its budget.

        Call it before work starts and after a greenlet was woken, never while a lock is held.
        """
        if self._clock() - self._polled_at > ITERATION_BUDGET:
            self.wait(reason)

    def wait(self, reason: WaitReason) -> None:
        """Return in a later iteration, after all earlier work with this reason."""
        waiter = self._make_waiter()
        self._queues[reason].append(waiter)
        if not self._no_wait.active:
            self._no_wait.start(_do_nothing)
        waiter.get()

    def _run_queued(self) -> None:
        """Run queued work within its budget; called after each poll."""
        self.iterations += 1
        began = self._polled_at = self._clock()
        while any(self._queues):
            for queue in self._queues:
                if queue:
                    queue.popleft().switch(None)  # returns when the work blocks or ends
            if self._clock() - began > QUEUE_BUDGET:
                return
        if self._no_wait.active:
            self._no_wait.stop()


def _do_nothing() -> None:
    """Keep the idle watcher active."""

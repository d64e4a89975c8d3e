"""Turns in the loop that answers everybody: whoever comes late in a long pass goes on in a later one.

A loop looks at all its sockets and timers, runs whoever they have woken, one after the other, and looks
again. A thousand small reviews that arrive, or reach their deadlines, at the same moment are one pass: each
takes half a millisecond, and nobody else is seen for half a second. A sleep in each would not do: a thousand
sleeps end in one pass, too. So one clock knows when the loop last looked. Whoever finds that too long ago
stands in line, and so does whoever sends the next request before it has the answer. After each look those
who stand first go on, for half of a pass; the other half is for whoever is new.

There are several lines, and their heads go on in turn: whoever waits for one kind of crowd waits with it
alone. A review whose answer has come does not stand behind a thousand that have just begun, nor a single
request behind those who send one after the other, nor any of them behind those who open connections.

Nothing here needs gevent before ``start``, and without it nobody waits.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

PASS: Final = 0.02
"""Seconds after a look at sockets and timers in which work may begin; ordinary passes take one or two."""

SHARE: Final = PASS / 2
"""Seconds of a pass for those who stand in line, while there are any."""


class Line(IntEnum):
    """What somebody stands in line for."""

    ARRIVED = 0
    """A request has arrived."""
    WOKEN = 1
    """What a review waited for has come, or its time is over."""
    AGAIN = 2
    """The client has had its turn already, and did not wait for the answer."""
    HANDSHAKE = 3
    """A client, of which nothing is known yet, wants a connection."""


class Turns:
    """The clock of a loop, and the lines of those who wait for their turns in it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Measure by ``clock``, in monotonic seconds."""
        self._clock = clock
        self._looked = float("inf")
        """When the loop last looked; never too long ago where no loop is watched."""
        self._lines: tuple[deque[Any], ...] = tuple(deque() for _ in Line)
        self.looks = 0
        """How often the loop has looked: who did not wait meanwhile sees the same number again."""

    def start(self) -> None:
        """Watch the loop of this thread."""
        from gevent.hub import Waiter, get_hub  # noqa: PLC0415 - the server alone needs it

        hub = get_hub()
        self._make_waiter: Callable[[], Any] = lambda: Waiter(hub)
        # Before all others that a look has woken, and without keeping the loop from its end.
        self._look = hub.loop.check(ref=False, priority=hub.loop.MAXPRI)
        self._look.start(self._go_on)
        self._again = hub.loop.idle(ref=False)
        """While it is active the loop looks without waiting for anything."""

    def take(self, line: Line) -> None:
        """Go on at once, or in a later pass where this one has taken its time.

        For the beginning of a piece of work, and for whoever was woken. Never within a lock.
        """
        if self._clock() - self._looked > PASS:
            self.stale_record(line)

    def stale_record(self, line: Line) -> None:
        """Go on in a later pass, after all who stand in that line."""
        waiter = self._make_waiter()
        self._lines[line].append(waiter)
        if not self._again.active:
            self._again.start(_nothing)
        waiter.get()

    def _go_on(self) -> None:
        """Let those go on who stand first; right after each look."""
        self.looks += 1
        began = self._looked = self._clock()
        while any(self._lines):
            for line in self._lines:
                if line:
                    line.popleft().switch(None)  # comes back once the other waits for something
            if self._clock() - began > SHARE:
                return
        if self._again.active:
            self._again.stop()


def _nothing() -> None:
    """Be called by the loop, and that is all."""

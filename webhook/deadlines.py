"""Waiting, cancelling and deadlines, in one place.

Every process runs on gevent with the standard library patched (``webhook.patching``), so a thread is a
greenlet, and work that waits can be ended by raising an exception in it.

A deadline is a point on the monotonic clock, never a duration: it can be handed down through any
number of calls and every one of them knows what is left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self

import gevent


@dataclass(frozen=True, slots=True, order=True)
class Deadline:
    """A point in time, in seconds on the monotonic clock, at which work must have ended."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return the deadline that lies ``seconds`` from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Return the seconds that are left, 0.0 when there are none."""
        return max(0.0, self.at - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self.at

    def capped(self, seconds: float) -> Deadline:
        """Return the sooner of this deadline and the one ``seconds`` from now."""
        return min(self, Deadline.after(seconds))


Pause = Callable[[], None]
"""Lets others have their turns; called between small pieces of work."""


def no_pause() -> None:
    """Go on: nobody else waits."""


PAUSE: Final = 0.001
"""Seconds after a piece of large work in which everybody else has a turn."""


class LargeWork:
    """Lets one piece of large work run at a time in this process, and everybody else after each piece.

    Under gevent one loop runs everything. A hundred pieces of 10 ms that are all ready would keep a small
    review waiting for a second; one after the other they keep it waiting for one of them.
    """

    def __init__(self, take_turn: Callable[[], None] = lambda: None) -> None:
        """Make one for the process.

        ``take_turn`` lets others go first who wait for longer: many may reach their deadlines, without a
        turn, at the same moment.
        """
        self._take_turn = take_turn
        self._running = threading.BoundedSemaphore(1)

    @staticmethod
    def pause() -> None:
        """Let everybody else have a turn, and keep one's own: in the middle of a piece that takes long."""
        time.sleep(PAUSE)

    @contextmanager
    def piece(self, deadline: Deadline) -> Iterator[bool]:
        """Wait for the turn of a piece; yields whether it came before the deadline.

        Whoever it did not come for has an answer to write all the same: one after the other, like everybody.
        """
        granted = self._running.acquire(timeout=deadline.remaining())
        try:
            if not granted:
                self._take_turn()
            yield granted
        finally:
            if granted:
                time.sleep(PAUSE)
                self._running.release()


class DeadlineExceeded(TimeoutError):
    """The deadline of a block came before its end; see ``timeout_at``.

    Subclasses OSError so that libraries close what they have open, as for a socket that timed out.
    """


@contextmanager
def timeout_at(deadline: Deadline) -> Iterator[None]:
    """Raise ``DeadlineExceeded`` where the block waits, when the deadline comes.

    The work itself ends, not only the waiting for it. What the block makes of the exception does not
    matter: the block either ends before the deadline, or ``DeadlineExceeded`` leaves it. A block that
    never waits is not interrupted.
    """
    exceeded = DeadlineExceeded("the deadline was exceeded")
    timeout = gevent.Timeout.start_new(deadline.remaining(), exceeded)
    try:
        yield
    except Exception:
        if timeout.pending:
            raise
    finally:
        is_exceeded = not timeout.pending
        timeout.close()
    if is_exceeded:
        raise exceeded from None


def new_event() -> threading.Event:
    """Return a new event, of the class that ``threading`` holds now and not when a module was imported."""
    return threading.Event()


def spawn(work: Callable[[], None], name: str) -> threading.Thread:
    """Run ``work`` in a daemon thread (under gevent: a greenlet) and return it, started.

    Whoever calls this must bound how many run at once.
    """
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread

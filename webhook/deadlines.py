"""Deadlines, threads, and long work that must not block other work.

Every process runs on gevent with the standard library patched (``webhook.patching``), so a thread is a
greenlet, and work that waits can be ended by raising an exception in it.

A deadline is a point on the monotonic clock, not a duration, so that it can be passed through any number of
calls.
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
    """A point in time, in seconds on the monotonic clock."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return the deadline ``seconds`` from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Return the remaining seconds, 0.0 if there are none."""
        return max(0.0, self.at - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self.at


NO_DEADLINE: Final = Deadline(float("inf"))
"""For work that nobody waits for."""

Pause = Callable[[], None]
"""Lets other work run; called between small pieces of work."""


def no_pause() -> None:
    """Do nothing."""


PAUSE: Final = 0.001
"""Seconds after a piece of large work in which other work runs."""


class LargeWork:
    """Runs one piece of large work at a time, and lets other work run after each piece.

    One event loop runs everything. A hundred pieces of 10 ms that are all ready would delay a small review by
    a second; one at a time, they delay it by one piece.
    """

    def __init__(self, checkpoint: Callable[[], None] = lambda: None) -> None:
        """Create one for the process.

        ``checkpoint`` yields to work that has waited longer, because many pieces may miss their deadlines at
        the same moment.
        """
        self._checkpoint = checkpoint
        self._running = threading.BoundedSemaphore(1)

    @staticmethod
    def pause() -> None:
        """Let other work run in the middle of a long piece."""
        time.sleep(PAUSE)

    @contextmanager
    def piece(self, deadline: Deadline) -> Iterator[bool]:
        """Wait until the piece may run; yield whether that was before the deadline.

        After the deadline the block runs, too, after a checkpoint, because the caller must respond.
        """
        granted = self._running.acquire(timeout=deadline.remaining())
        try:
            if not granted:
                self._checkpoint()
            yield granted
        finally:
            if granted:
                time.sleep(PAUSE)
                self._running.release()


class DeadlineExceeded(TimeoutError):
    """A block did not end by its deadline; see ``timeout_at``.

    Subclasses OSError so that libraries close their sockets, as after a timeout of a socket.
    """


@contextmanager
def timeout_at(deadline: Deadline) -> Iterator[None]:
    """Raise ``DeadlineExceeded`` where the block waits, when the deadline comes.

    The work itself is interrupted. The block either ends before the deadline, or ``DeadlineExceeded`` is
    raised, even if the block catches it. A block that never waits is not interrupted.
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


def spawn(work: Callable[[], None], name: str) -> threading.Thread:
    """Run ``work`` in a thread (a greenlet) and return it, started.

    The caller must limit the number of threads.
    """
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread

"""Time slices of one review, so that a long evaluation does not block the other requests of the process."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from webhook.deadlines import Deadline, LargeWork, Pause, no_pause

SLICE_SECONDS: Final = 0.005
"""CPU seconds of one slice. A slice may end in the middle of one image: a policy may have tens of thousands
of patterns, each compared with the image."""

MIN_SECONDS: Final = 0.1
"""Seconds that a review whose deadline has passed may still take, to evaluate what needs no lookup."""


class SliceTimeout(Exception):
    """The next slice of a review was not granted in time, or the review has used all of its time."""


class SliceTimer:
    """Calls ``yield_slice`` after ``SLICE_SECONDS`` of work; ``pause`` must be called often in between."""

    def __init__(self, yield_slice: Callable[[], None]) -> None:
        """Start the first slice."""
        self._yield_slice = yield_slice
        self.restart()

    def restart(self) -> None:
        """Start a slice now. The CPU time of other requests since the last one does not count."""
        self._checked, self._spent = time.monotonic(), time.thread_time()

    def pause(self) -> None:
        """End the slice if its time is used up."""
        if time.monotonic() - self._checked < SLICE_SECONDS:
            return
        # A process that was descheduled has used no CPU time. Reading the CPU clock is slow, so it comes
        # second.
        if time.thread_time() - self._spent >= SLICE_SECONDS:
            self._yield_slice()
            self.restart()
        else:
            self._checked = time.monotonic()


class TimeSlices:
    """The slices of one review. A short review needs none; a long one waits for each of its slices."""

    def __init__(self, work: LargeWork | None, deadline: Deadline) -> None:
        """Start without a slice; ``work`` is ``None`` if no other request can be blocked."""
        self._work = work
        self._deadline = deadline
        self._end = max(deadline, Deadline.after(MIN_SECONDS))
        self._slice = ExitStack()
        self._granted = False
        self._timer = SliceTimer(self.take)
        self.pause: Pause = no_pause if work is None else self._timer.pause

    def take(self) -> None:
        """Release the current slice and wait for the next one.

        Raises:
            SliceTimeout: it was not granted in time.
        """
        if self._work is None:
            return
        self.close()
        if self._granted:
            # Wakes the waiting reviews. Without this pause, this review would take the next slice, too.
            self._work.pause()
            if self._end.expired:
                raise SliceTimeout
        self._granted = self._slice.enter_context(self._work.piece(self._deadline))
        if not self._granted:
            raise SliceTimeout
        self._timer.restart()

    def close(self) -> None:
        """Release the current slice."""
        self._slice.close()

"""Standard output that never blocks the loop.

A log collector may stop reading for a while. The pipe is full then and blocks every write, which would block
the loop and with it all reviews. Lines are therefore queued, and a native thread writes them in batches.
Lines that do not fit into the queue, or cannot be written, are dropped and counted.

A greenlet that writes through gevent's thread pool costs the same, about 2 µs for each line (a write from the
loop: 8 µs). It was not chosen because it stops with the loop, and so would the lines from before a stall.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from gevent.monkey import get_original

MAX_QUEUED: Final = 8 * 1024 * 1024
"""Bytes in the queue: some ten thousand decisions."""

FLUSH_SECONDS: Final = 1.0
"""Seconds that the end of the process waits for the reader."""

_POLL_SECONDS: Final = 0.005

_BATCH_SECONDS: Final = 0.02
"""Seconds between two writes. A thread that woke up for each line would take the interpreter lock from the
loop each time, which costs more than the review that the line is about."""

_BATCH_LINES: Final = 512
"""Lines of one write; joining more would hold the interpreter lock for too long."""


class BackgroundWriter:
    """A text stream over a file descriptor; ``write`` never blocks.

    The loop calls ``write`` and ``drain``; everything else runs in the thread. Each counter is written by one
    of the two, so that none needs a lock.
    """

    def __init__(self, descriptor: int, dropped: Callable[[int], None], limit: int = MAX_QUEUED) -> None:
        """Start the thread; the loop calls ``dropped`` with the number of dropped bytes."""
        self._descriptor = descriptor
        self._dropped = dropped
        self._limit = limit
        self._queue: deque[bytes] = deque()
        self._taken = 0
        self._done = 0
        self._refused = 0
        self._refused_reported = 0
        self._asleep = False
        self._woken, self._wake = os.pipe()
        self._pause = get_original("time", "sleep")
        get_original("_thread", "start_new_thread")(self._run, ())

    def write(self, text: str, /) -> int:
        """Queue text, or drop it if the queue is full."""
        data = text.encode("utf-8", "replace")
        if self._refused > self._refused_reported:
            self._report_refused()
        if self._taken - self._done + len(data) > self._limit:
            self._dropped(len(data))
            return len(text)
        self._taken += len(data)
        self._queue.append(data)
        if self._asleep:
            self._asleep = False
            os.write(self._wake, b"!")
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread writes as soon as it can."""

    def isatty(self) -> bool:
        """Return whether the descriptor is a terminal."""
        return os.isatty(self._descriptor)

    def drain(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until everything is written, for at most ``seconds``; return whether it is."""
        ends = time.monotonic() + seconds
        while self._done < self._taken and time.monotonic() < ends:
            time.sleep(_POLL_SECONDS)
        self._report_refused()
        return self._done >= self._taken

    def _report_refused(self) -> None:
        refused = self._refused
        if refused > self._refused_reported:
            self._dropped(refused - self._refused_reported)
            self._refused_reported = refused

    def _run(self) -> None:
        while True:
            while self._queue:
                count = min(len(self._queue), _BATCH_LINES)
                self._write_out(b"".join([self._queue.popleft() for _ in range(count)]))
                self._pause(_BATCH_SECONDS)
            self._asleep = True
            if not self._queue:  # otherwise a line was queued meanwhile, perhaps without waking this thread
                os.read(self._woken, 64)

    def _write_out(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            except BlockingIOError:  # another process that shares the descriptor has made it non-blocking
                self._pause(_BATCH_SECONDS)
                continue
            except OSError:  # the reader has exited, or the disk is full
                written = len(rest)
                self._refused += written
            rest = rest[written:]
            self._done += written

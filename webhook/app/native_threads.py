"""Native threads for a gevent process, for work that blocks or uses the processor for long."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from gevent.threadpool import ThreadPool

T = TypeVar("T")


class NativeThreads:
    """A pool of native threads, separate from the pool of the hub."""

    def __init__(self, count: int, switch_interval: float | None = None) -> None:
        """Start no thread yet: native threads do not survive the fork of the worker.

        ``switch_interval`` is for work in Python: after so many seconds such a thread releases the
        interpreter's lock if the event loop waits for it. It applies to the process from the first work on.
        """
        self._count = count
        self._switch_interval = switch_interval
        self._pool: Any = None

    def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` in one of the threads; return its result or raise its error."""
        if self._pool is None:
            if self._switch_interval is not None:
                sys.setswitchinterval(self._switch_interval)
            self._pool = ThreadPool(self._count)
        result, error = self._pool.apply(_catch, (work,))
        if error is not None:
            raise error
        value: T = result
        return value


def _catch(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """Return an exception as a value: gevent would print a traceback if it left the thread."""
    try:
        return work(), None
    except Exception as error:  # noqa: BLE001 - raised again where it is waited for
        return None, error

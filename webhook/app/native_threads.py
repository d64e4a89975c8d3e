"""Native threads for a gevent process: for what blocks, or takes long while the loop must go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gevent.threadpool import ThreadPool

T = TypeVar("T")


class NativeThreads:
    """A few native threads, apart from those of the hub that everything else shares."""

    def __init__(self, count: int) -> None:
        """Make nothing yet: native threads do not survive the fork of the worker."""
        self._count = count
        self._pool: Any = None

    def run(self, work: Callable[[], T]) -> T:
        """Do ``work`` in one of the threads; return or raise what it does."""
        if self._pool is None:
            self._pool = ThreadPool(self._count)
        result, error = self._pool.apply(_catch, (work,))
        if error is not None:
            raise error
        value: T = result
        return value


def _catch(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """Make a value of an exception: gevent would print a traceback for each one that leaves a thread."""
    try:
        return work(), None
    except Exception as error:  # noqa: BLE001 - raised again where it is waited for
        return None, error

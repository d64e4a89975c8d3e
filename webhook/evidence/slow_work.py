"""Work that takes more than a millisecond, and so must not run in the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class RunSlow(Protocol):
    """Runs such work, as ``NativeThreads.run`` does."""

    def __call__(self, work: Callable[[], T], /) -> T:
        """Return the result of ``work``, or raise its error."""
        ...  # pragma: no cover


def run_here(work: Callable[[], T], /) -> T:
    """Run the work at once: for fast work, and for commands without a server."""
    return work()

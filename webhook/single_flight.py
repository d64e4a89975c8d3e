"""Calls that are shared by all concurrent callers that need the same result (single-flight)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from webhook.deadlines import Deadline, spawn
from webhook.errors import Fault, LookupTimeout, TrustLookupError

T = TypeVar("T")

NOTICE: Final = 0.2
"""Seconds after its deadline in which a call that others wait for reports its outcome."""


class SharedCall(Generic[T]):
    """A call in progress and, once it has ended, its value or its error."""

    def __init__(self) -> None:
        """Wait for ``end``."""
        self._ended = threading.Event()
        self.value: T | None = None
        self.error: Exception | None = None

    def end(self, outcome: T | Exception) -> None:
        """Wake all waiters."""
        if isinstance(outcome, Exception):
            self.error = outcome
        else:
            self.value = outcome
        self._ended.set()

    def wait(self, seconds: float) -> bool:
        """Return whether the call ends within ``seconds``."""
        return self._ended.wait(seconds)


class SingleFlight(Generic[T]):
    """Makes one call at a time for each key; values and errors are not kept."""

    def __init__(self) -> None:
        """Make no call yet."""
        self._lock = threading.Lock()
        self._calls: dict[Hashable, SharedCall[T]] = {}

    def find(self, key: Hashable) -> SharedCall[T] | None:
        """Return the call in progress for ``key``, if any."""
        return self._calls.get(key)

    def call(self, key: Hashable, work: Callable[[], T], background: str = "") -> SharedCall[T]:
        """Return the call in progress for ``key``, or make one.

        ``work`` runs here, before this method returns, or in a thread with the name ``background``.
        """
        with self._lock:
            call = self._calls.get(key)
            if call is not None:
                return call
            call = self._calls[key] = SharedCall()
        if background:
            spawn(lambda: self._run(key, call, work), background)
        else:
            self._run(key, call, work)
        return call

    def share(self, key: Hashable, work: Callable[[], T], deadline: Deadline, doing: str) -> T:
        """Return the result of ``work``, which one of all concurrent callers does; ``doing`` says what it is.

        A caller whose own limits ended the work, such as its deadline, does not decide about the others: each
        of them tries once more.

        Raises:
            LookupTimeout: another caller was still doing it at the deadline, which is our fault.
            TrustLookupError: the work failed; all callers that share it get the error.
        """
        is_own = False

        def run() -> T:
            nonlocal is_own
            is_own = True
            return work()

        while True:
            call = self.call(key, run)
            if not call.wait(deadline.remaining() + NOTICE):
                raise LookupTimeout(f"another lookup was still {doing}", fault=Fault.LOCAL)
            error = call.error
            if error is None:
                return call.value  # type: ignore[return-value]  # work has returned it
            is_local = isinstance(error, TrustLookupError) and error.fault is Fault.LOCAL
            if is_own or not is_local or deadline.expired:
                raise error

    def _run(self, key: Hashable, call: SharedCall[T], work: Callable[[], T]) -> None:
        outcome: T | Exception = RuntimeError("the call was interrupted")
        try:
            outcome = work()
        except Exception as error:  # noqa: BLE001 - for all waiters
            outcome = error
        finally:
            with self._lock:
                del self._calls[key]
            call.end(outcome)

"""Work that takes more than a millisecond, and so must not run in the event loop."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar

from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout

T = TypeVar("T")


class RunSlow(Protocol):
    """Runs such work, as ``SlowQueue.run`` does."""

    def __call__(self, work: Callable[[], T], deadline: Deadline, tenant: Hashable, /) -> T:
        """Return the result of ``work``, or raise its error.

        Raises:
            LookupTimeout: the work could not begin before the deadline.
        """
        ...  # pragma: no cover


def run_here(work: Callable[[], T], deadline: Deadline, tenant: Hashable, /) -> T:
    """Run the work at once: for commands without a server."""
    del deadline, tenant
    return work()


class SlowQueue:
    """Runs one piece of work at a time. Tenants take turns, and so do the callers of one tenant.

    Anyone who may push can store signatures that take a second to verify, for many images. They delay the
    others by one piece of theirs at a time.
    """

    def __init__(self, run: Callable[[Callable[[], T]], T]) -> None:
        """Run each piece with ``run``, such as ``NativeThreads.run``."""
        self._run = run
        self._lock = threading.Lock()
        self._is_busy = False
        self._waiting: OrderedDict[Hashable, deque[threading.Event]] = OrderedDict()

    def run(self, work: Callable[[], T], deadline: Deadline, tenant: Hashable, /) -> T:
        """Run ``work`` when it is its turn; see ``RunSlow``. Work whose caller has left is not run."""
        self._wait(deadline, tenant)
        try:
            result: T = self._run(work)  # type: ignore[arg-type, assignment]  # it is generic
            return result
        finally:
            self._pass_on()

    def _wait(self, deadline: Deadline, tenant: Hashable) -> None:
        if deadline.expired:
            raise _late()
        turn = threading.Event()
        with self._lock:
            if not self._is_busy:
                self._is_busy = True
                return
            self._waiting.setdefault(tenant, deque()).append(turn)
        has_turn = False
        try:
            has_turn = turn.wait(deadline.remaining())
        finally:
            if not has_turn:
                self._leave(turn, tenant)
        if not has_turn:
            raise _late()

    def _leave(self, turn: threading.Event, tenant: Hashable) -> None:
        with self._lock:
            is_next = turn.is_set()
            if not is_next:
                self._waiting[tenant].remove(turn)
                if not self._waiting[tenant]:
                    del self._waiting[tenant]
        if is_next:
            self._pass_on()

    def _pass_on(self) -> None:
        """Wake the first caller of the next tenant, which then waits behind all others."""
        with self._lock:
            if not self._waiting:
                self._is_busy = False
                return
            tenant, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[tenant] = turns
            turn.set()


def _late() -> LookupTimeout:
    return LookupTimeout("no time was left to verify signatures", fault=Fault.LOCAL)

"""One lookup's turn in the rate of calls, and whose fault it is that a call of it was not answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout
from webhook.trust.breaker import BreakerState, CircuitBreaker
from webhook.trust.limiter import RateLimiter

MAX_LOST: Final = 0.1
"""The share of ``lookup.timeout`` that may be over when a call begins whose timeout is SWR's fault."""

MAX_HELD_UP: Final = 0.2
"""The share of ``lookup.timeout`` for which this process may be held up during such a call. Each piece of an
answer waits for the loop, a page of a list has dozens: many short waits cost a call as much as a long one."""


class Reservation:
    """Implements ``CallLimiter``: a rate-limiter reservation, made before the next lookup is chosen."""

    def __init__(
        self,
        limiter: RateLimiter,
        breaker: CircuitBreaker,
        timeout: float,
        lateness: Callable[[], float],
        *,
        background: bool,
    ) -> None:
        """Take part in the rate of ``limiter``, for a lookup of at most ``timeout`` seconds.

        Tells ``breaker`` of every answer, whatever becomes of the lookup.

        ``lateness`` returns for how many seconds this process has been held up since it began.
        """
        self._limiter = limiter
        self._breaker = breaker
        self._timeout = timeout
        self._lateness = lateness
        self._reserved = False
        self.background = background

    def reserve(self) -> None:
        """Wait for the turn, unless there is going to be no call: then nobody should wait to hear so."""
        if self._breaker.state is BreakerState.CLOSED and not self._limiter.is_backing_off:
            self._limiter.reserve(background=self.background)
            self._reserved = True

    @contextmanager
    def call(self, deadline: Deadline) -> Iterator[None]:
        """Wait until one more call may be made, by the turn for the first one; see ``CallLimiter``."""
        reserved, self._reserved = self._reserved, False
        self._limiter.wait(deadline, background=self.background, reserved=reserved)
        with self.timed(deadline):
            yield

    @contextmanager
    def timed(self, deadline: Deadline) -> Iterator[None]:
        """Say of a timeout in the block whose fault it is; see ``CallLimiter``.

        It stays SWR's only if SWR had the time to answer: what our own rate, earlier calls or a busy
        loop took from it, the author of a Pod may have caused.
        """
        left, late = deadline.remaining(), self._lateness()
        try:
            yield
        except LookupTimeout as error:
            if error.fault is not Fault.REGISTRY:
                raise
            if left < self._timeout * (1 - MAX_LOST):
                detail = f"too little of lookup.timeout was left for this call: {error.detail}"
            elif self._lateness() - late > self._timeout * MAX_HELD_UP:
                detail = f"this process was held up: {error.detail}"
            else:
                raise
            raise LookupTimeout(detail, fault=Fault.LOCAL) from None

    def record_answer(self) -> None:
        """Take note that the endpoint is there; see ``CallLimiter``."""
        self._breaker.succeed()

    @property
    def is_probe(self) -> bool:
        """Whether everybody else is kept from asking meanwhile; see ``CallLimiter``."""
        return self._breaker.state is not BreakerState.CLOSED

    def cancel(self) -> None:
        """Give the turn back if there was no call."""
        if self._reserved:
            self._reserved = False
            self._limiter.cancel(background=self.background)

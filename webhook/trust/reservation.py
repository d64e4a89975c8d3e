"""Rate-limiter reservation of a lookup, and the fault of a call that timed out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from typing import Final

from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout
from webhook.trust.breaker import BreakerState, CircuitBreaker
from webhook.trust.limiter import RateLimiter

MAX_SPENT: Final = 0.1
"""The share of ``lookup.timeout`` that may be spent before a call whose timeout is SWR's fault."""

MAX_BLOCKED: Final = 0.2
"""The share of ``lookup.timeout`` for which the event loop may be blocked during such a call, in total. Each
piece of a response waits for the loop, and a page of a list has dozens of pieces."""


@dataclass(slots=True, eq=False)
class Reservation:
    """A rate-limiter reservation, made before the next lookup is chosen. Implements ``CallLimiter``.

    The first call of the lookup uses it; each further call waits for a token of its own.
    """

    limiter: RateLimiter
    breaker: CircuitBreaker
    timeout: float
    """Seconds that the lookup takes at most."""
    lateness: Callable[[], float]
    """Returns for how many seconds the event loop has been blocked since the start."""
    _: KW_ONLY
    background: bool
    _reserved: bool = field(default=False, init=False)

    def reserve(self) -> None:
        """Reserve a token, unless the call will be rejected anyway."""
        if self.breaker.state is BreakerState.CLOSED and not self.limiter.is_backing_off:
            self.limiter.reserve(background=self.background)
            self._reserved = True

    @contextmanager
    def call(self, deadline: Deadline) -> Iterator[None]:
        """Wait until one more call may be made; the first one uses the reservation."""
        reserved, self._reserved = self._reserved, False
        self.limiter.wait(deadline, background=self.background, reserved=reserved)
        with self.timed(deadline):
            yield

    @contextmanager
    def timed(self, deadline: Deadline) -> Iterator[None]:
        """Set the fault of a timeout in the block; see ``CallLimiter``.

        It is SWR's fault only if SWR had enough time. Our own rate limit, earlier calls or a busy loop may
        have used a part of it, and the author of a Pod may have caused that.
        """
        left, late = deadline.remaining(), self.lateness()
        try:
            yield
        except LookupTimeout as error:
            if error.fault is not Fault.REGISTRY:
                raise
            if left < self.timeout * (1 - MAX_SPENT):
                detail = f"too little of lookup.timeout was left for this call: {error.detail}"
            elif self.lateness() - late > self.timeout * MAX_BLOCKED:
                detail = f"the event loop was blocked: {error.detail}"
            else:
                raise
            raise LookupTimeout(detail, fault=Fault.LOCAL) from None

    def record_answer(self) -> None:
        """Record that the endpoint responded; see ``CallLimiter``."""
        self.breaker.succeed()

    @property
    def is_probe(self) -> bool:
        """Whether other lookups are rejected meanwhile; see ``CallLimiter``."""
        return self.breaker.state is not BreakerState.CLOSED

    def cancel(self) -> None:
        """Return the token if there was no call."""
        if self._reserved:
            self._reserved = False
            self.limiter.cancel(background=self.background)

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
"""The share of ``lookup.timeout`` that may be spent before a call whose timeout is SWR's fault without proof.

A proof by control requests (``webhook.http_client.silence``) takes the same time for a call that begins late.
Without one, as for a wait for a login, the call itself must have nearly all the time."""

MAX_BLOCKED: Final = 0.2
"""The share of ``lookup.timeout`` for which the event loop may be blocked during such a call, in total. Each
piece of a response waits for the loop, and a page of a list has dozens of pieces."""

CALLS_FOR_SIGNATURES: Final = 8
"""The calls that most lookups of signatures need at most.

They are for the tag, a token, the ``.sig`` manifest, the referrers and their fallback, and a manifest, a blob
and its redirect.
"""


@dataclass(slots=True, eq=False)
class Reservation:
    """A rate-limiter reservation, made before the next lookup is chosen. Implements ``CallLimiter``.

    The first ``calls`` of the lookup use it; each further one waits for a token of its own.
    """

    limiter: RateLimiter
    breaker: CircuitBreaker
    timeout: float
    """Seconds that the lookup takes at most."""
    lateness: Callable[[], float]
    """Returns for how many seconds the event loop has been blocked since the start."""
    _: KW_ONLY
    background: bool
    calls: int = 1
    """The calls that a lookup takes."""
    _reserved: int = field(default=0, init=False)

    def reserve(self) -> None:
        """Reserve the tokens, unless the calls will be rejected anyway."""
        if self.breaker.state is BreakerState.CLOSED and not self.limiter.is_backing_off:
            self._reserved = self.limiter.reserve(self.calls, background=self.background)

    @contextmanager
    def call(self, deadline: Deadline) -> Iterator[None]:
        """Wait until one more call may be made; the first ones use the reservation."""
        is_reserved = self._reserved > 0
        self._reserved -= is_reserved
        self.limiter.wait(deadline, background=self.background, reserved=is_reserved)
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
            if not error.is_proven and left < self.timeout * (1 - MAX_SPENT):
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
        """Return the tokens that no call has used."""
        unused, self._reserved = self._reserved, 0
        if unused:
            self.limiter.cancel(unused, background=self.background)

"""How often an endpoint is called: a token bucket, and the pauses that SWR itself asks for."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final

from webhook.deadlines import Deadline
from webhook.errors import Fault, Throttled

BURST_SECONDS: Final = 4.0
"""The bucket holds as many calls as this many seconds give: 200 at 50 calls a second."""

BACKGROUND_SHARE: Final = 0.1
"""The share of the calls that is kept for refreshes of images in use, whatever else is asked."""

SHORTEST_BACK_OFF: Final = 0.5
LONGEST_BACK_OFF: Final = 10.0
"""Seconds of silence after SWR has said that it is asked too often, and up to half as many again."""

LONGEST_BLOCK: Final = 1800.0
"""Seconds of silence after SWR has blocked the account, and up to a tenth as many again."""


LEAST_LEFT: Final = 0.1
"""The share of the time that must be left for a call after a wait: it would time out, and nobody see why."""


class RateLimiter:
    """Lets calls through at a rate; thread-safe. Cold lookups and refreshes have a bucket each."""

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """Allow ``rate`` calls a second altogether; ``sleep`` is ``time.sleep`` unless given.

        It is looked up here and not in the signature, which is evaluated when the module is imported.
        """
        self._clock = clock
        self._sleep = sleep or time.sleep
        self._lock = threading.Lock()
        self._cold = _Bucket(rate * (1 - BACKGROUND_SHARE), clock())
        self._background = _Bucket(rate * BACKGROUND_SHARE, clock())
        self._backoff_until = float("-inf")
        self._blocked_until = float("-inf")
        self._back_off = 0.0

    def reserve(self, *, background: bool = False) -> None:
        """Take a turn for a call that is chosen once the turn has come, and wait until then."""
        with self._lock:
            delay = self._bucket(background).take(self._clock())
        if delay > 0:
            self._sleep(delay)

    def cancel(self, *, background: bool = False) -> None:
        """Give back a turn that was reserved and not used."""
        with self._lock:
            self._bucket(background).cancel()

    def wait(self, deadline: Deadline, *, background: bool = False, reserved: bool = False) -> None:
        """Wait until a call may be made, for SWR's pause alone where the turn was ``reserved``.

        Raises:
            Throttled: that would be too late for the call to be answered; the turn is not used up then.
        """
        with self._lock:
            now = self._clock()
            silence = self._backoff_until - now
            longest = deadline.remaining() * (1 - LEAST_LEFT)
            bucket = self._bucket(background)
            if silence > longest:
                if reserved:
                    bucket.cancel()
                blocked = now < self._blocked_until
                detail = "SWR has blocked the account for a while" if blocked else "SWR asked for a pause"
                raise Throttled(detail, retry_after=silence, fault=Fault.REGISTRY)
            own = 0.0 if reserved else bucket.take(now)
            delay = max(silence, own)
            if delay > longest:
                bucket.cancel()
                raise Throttled("our own limit of calls is used up", retry_after=delay, fault=Fault.LOCAL)
        if delay > 0:
            self._sleep(delay)

    def has_token(self, *, background: bool = False) -> bool:
        """Whether a call could be made without waiting for our own limit."""
        with self._lock:
            return self._bucket(background).has_token(self._clock())

    @property
    def is_backing_off(self) -> bool:
        """Whether SWR has asked for a pause that is not over."""
        return self._clock() < self._backoff_until

    @property
    def blocked_for(self) -> float:
        """The seconds for which no call is made because SWR has blocked the account, 0.0 if it has not."""
        return max(0.0, self._blocked_until - self._clock())

    def back_off(self, retry_after: float | None) -> None:
        """Be silent for as long as SWR asks, or longer each time it does not say."""
        with self._lock:
            now = self._clock()
            if now < self._backoff_until:
                return
            self._back_off = min(LONGEST_BACK_OFF, max(SHORTEST_BACK_OFF, self._back_off * 2))
            wanted = self._back_off if retry_after is None else retry_after
            pause = min(LONGEST_BACK_OFF, max(SHORTEST_BACK_OFF, wanted))
            # The bound comes first: replicas must not come back in step, least of all after the longest one.
            self._backoff_until = now + pause * random.uniform(1.0, 1.5)  # noqa: S311 - jitter

    def block(self, seconds: float) -> float:
        """Be silent because SWR has blocked the account; return for how many seconds from now.

        Calls go on at the rate, without a burst: SWR blocks an account that calls too often.
        """
        with self._lock:
            now = self._clock()
            if now >= self._blocked_until:
                pause = min(LONGEST_BLOCK, max(SHORTEST_BACK_OFF, seconds))
                self._blocked_until = now + pause * random.uniform(1.0, 1.1)  # noqa: S311 - jitter
                self._backoff_until = max(self._backoff_until, self._blocked_until)
                for bucket in (self._cold, self._background):
                    bucket.empty(self._backoff_until)
            return self._blocked_until - now

    def change_rate(self, rate: float) -> None:
        """Allow ``rate`` calls a second from now on; a pause that SWR asked for stays."""
        with self._lock:
            now = self._clock()
            self._cold = _Bucket(rate * (1 - BACKGROUND_SHARE), now)
            self._background = _Bucket(rate * BACKGROUND_SHARE, now)
            if now < self._blocked_until:
                for bucket in (self._cold, self._background):
                    bucket.empty(self._blocked_until)

    def reset_backoff(self) -> None:
        """Take note that SWR answered without complaint."""
        self._back_off = 0.0

    def _bucket(self, background: bool) -> _Bucket:  # noqa: FBT001 - which of two
        return self._background if background else self._cold


class _Bucket:
    """Tokens; taking more than there are goes into debt, which is paid by waiting."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._size = max(1.0, rate * BURST_SECONDS)
        self._tokens = self._size
        self._at = now

    def take(self, now: float) -> float:
        """Take one token and return the seconds to wait for it."""
        self._fill(now)
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate)

    def has_token(self, now: float) -> bool:
        """Whether there is one to take without waiting."""
        self._fill(now)
        return self._tokens >= 1

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
            self._at = now

    def empty(self, until: float) -> None:
        """Hold nothing, and fill from ``until`` on."""
        self._tokens = 0.0
        self._at = until

    def cancel(self) -> None:
        self._tokens += 1

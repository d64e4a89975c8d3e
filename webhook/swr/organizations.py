"""Organizations that SWR refuses a credential for, while it accepts the credential for others.

SWR responds 401 to an invalid credential, and may respond 401 about an organization that the credential may
not read. The author of a Pod chooses the organization. So a 401 that does not name the credential does not
pause it until a control request was made. This repeats a request about another organization that was answered
200, preferably with the same secret.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from cachetools import FIFOCache, TTLCache

from webhook.http_client.messages import HttpRequest

REFUSED_SECONDS: Final = 300.0
"""Seconds without a call about a refused organization, because IAM counts failed authentications."""

MAX_REFUSED: Final = 1000
"""Organizations that are remembered as refused."""

MAX_ANSWERED: Final = 4
"""Organizations for which a request that was answered is remembered."""


class Organizations:
    """The organizations of one registry. A refusal holds for one generation of the secret."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        """Measure by ``clock``, in monotonic seconds."""
        self._lock = threading.Lock()
        self._answered: FIFOCache[str, tuple[int, HttpRequest]] = FIFOCache(MAX_ANSWERED)
        self._refused: TTLCache[str, int] = TTLCache(
            MAX_REFUSED, REFUSED_SECONDS, timer=clock if clock is not None else time.monotonic
        )
        self.checking = threading.Lock()
        """Held while a control request is in progress: one is enough for all lookups."""

    def record_answer(self, organization: str, generation: int, request: HttpRequest) -> None:
        """Record a request that was answered 200, without its authorization headers."""
        with self._lock:
            self._answered.pop(organization, None)
            self._answered[organization] = (generation, request)

    def find_control(self, organization: str, generation: int) -> HttpRequest | None:
        """Return a request about another organization that was answered 200, if any.

        A request with this secret is preferred. An earlier secret most likely belongs to the same account.
        """
        with self._lock:
            others = [
                (answered == generation, request)
                for other, (answered, request) in reversed(list(self._answered.items()))
                if other != organization
            ]
        return max(others, key=lambda other: other[0], default=(False, None))[1]

    def record_refusal(self, organization: str, generation: int) -> None:
        """Record that the secret works, but not for this organization."""
        with self._lock:
            self._refused[organization] = generation
            self._answered.pop(organization, None)

    def is_refused(self, organization: str, generation: int) -> bool:
        """Return whether the secret was refused for this organization recently."""
        with self._lock:
            return self._refused.get(organization) == generation

"""Which organisations a credential is refused for while SWR accepts it for others.

SWR answers 401 to a credential that it does not accept, and may answer 401 about an organisation that
the credential may not see. The author of a Pod chooses the organisation. So a 401 that does not say that it
is about the credential pauses nothing before a control request: one that was answered 200 for another
organisation, with the same secret if there is such a one, is sent once more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from cachetools import FIFOCache, TTLCache

from webhook.swr.http import HttpRequest

REFUSED_SECONDS: Final = 300.0
"""For how long an organisation is not asked about again: IAM counts failed authentications."""

MAX_REFUSED: Final = 1000
"""Organisations that are remembered as refused."""

MAX_ANSWERED: Final = 4
"""Organisations for which a request that was answered is remembered."""


class Organizations:
    """What one registry's answers say about organisations; thread-safe.

    A refusal counts for one generation of the secret only.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        """Measure by ``clock``, in monotonic seconds."""
        self._lock = threading.Lock()
        self._answered: FIFOCache[str, tuple[int, HttpRequest]] = FIFOCache(MAX_ANSWERED)
        self._refused: TTLCache[str, int] = TTLCache(
            MAX_REFUSED, REFUSED_SECONDS, timer=clock if clock is not None else time.monotonic
        )
        self.checking = threading.Lock()
        """Held by whoever sends a control request: one is enough for all."""

    def record_answer(self, organization: str, generation: int, request: HttpRequest) -> None:
        """Record a request, without the headers that authorise it, that was answered 200."""
        with self._lock:
            self._answered.pop(organization, None)
            self._answered[organization] = (generation, request)

    def find_control(self, organization: str, generation: int) -> HttpRequest | None:
        """Return a request about another organisation that was answered 200, if any.

        One with this secret, if there is one; else with an earlier one, most likely of the same account.
        """
        with self._lock:
            others = [
                (answered == generation, request)
                for other, (answered, request) in reversed(list(self._answered.items()))
                if other != organization
            ]
        return max(others, key=lambda other: other[0], default=(False, None))[1]

    def record_refusal(self, organization: str, generation: int) -> None:
        """Record that the secret works, but not for this organisation."""
        with self._lock:
            self._refused[organization] = generation
            self._answered.pop(organization, None)

    def is_refused(self, organization: str, generation: int) -> bool:
        """Whether the secret was refused for this organisation not long ago."""
        with self._lock:
            return self._refused.get(organization) == generation

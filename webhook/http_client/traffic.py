"""Bytes of responses by endpoint, to recognize timeouts that a busy line causes.

The author of Pods can make a registry send large responses, such as manifests that they have pushed, until
our line is saturated. A timeout then does not prove anything about the endpoint.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

BUSY: Final = 256 * 1024
"""Bytes per second, of all endpoints, from which on our line may be saturated. 50 responses per second of
5 KB are less."""

MAX_ENDPOINTS: Final = 256
"""Endpoints whose bytes are counted one by one: those of the configuration, and object storage. A registry
chooses where it redirects to."""


class Traffic:
    """Counts bytes since the start of the process, for all transports together."""

    def __init__(self) -> None:
        """Start at 0."""
        self._lock = threading.Lock()
        self._bytes: Counter[str] = Counter()
        self.total = 0
        """Bytes of all endpoints."""

    def record(self, base_url: str, size: int) -> None:
        """Record that ``size`` bytes of a response of the endpoint have arrived."""
        with self._lock:
            if base_url in self._bytes or len(self._bytes) < MAX_ENDPOINTS:
                self._bytes[base_url] += size
            self.total += size

    def received(self, base_url: str) -> int:
        """Return the bytes of all responses of an endpoint, also of incomplete ones."""
        return self._bytes.get(base_url, 0)

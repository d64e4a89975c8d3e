"""How many bytes of answers have arrived, from whom: what waits for its answer may wait for room on the line.

The author of Pods can make SWR send large answers, such as manifests that they have pushed, until the line is
full. A call that is late then says nothing about the endpoint.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

BUSY: Final = 256 * 1024
"""Bytes a second, from all endpoints together, from which on our own line may be full: 50 answers a second of
5 KB each are less."""


class Traffic:
    """One for all transports of a process, counting since it began. Thread-safe."""

    def __init__(self) -> None:
        """Nothing has arrived yet."""
        self._lock = threading.Lock()
        self._bytes: Counter[str] = Counter()
        self.total = 0
        """Bytes of all endpoints."""

    def record(self, base_url: str, size: int) -> None:
        """Record that ``size`` bytes of an answer of the endpoint have arrived."""
        with self._lock:
            self._bytes[base_url] += size
            self.total += size

    def received(self, base_url: str) -> int:
        """Return the bytes of all answers of an endpoint, of those that are not complete, too."""
        return self._bytes[base_url]

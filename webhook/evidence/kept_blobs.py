"""The blobs of signatures that have counted, which need not be downloaded for another verification.

A digest names its content, and each verification decides again whether that content counts. So a kept blob
is as good as a downloaded one, and images that run stay trusted while a registry serves manifests but its
object storage fails (``docs/decisions/0021``). Only blobs of signatures that have counted are kept:
otherwise an author could fill the space with signatures by a key of their own.
"""

from __future__ import annotations

import threading
from typing import Final

from cachetools import LRUCache

MAX_BYTES: Final = 8 * 1024 * 1024
"""Bytes that all blobs may take: some 12,000 payloads of simple signing, or 800 bundles."""

MAX_BLOB: Final = 64 * 1024
"""Bytes of the largest blob that is kept. Payloads have some hundred bytes, bundles below ten thousand."""

OVERHEAD: Final = 400
"""Bytes of memory that an entry takes beside its content: 303 were measured with 8,000 entries."""


class KeptBlobs:
    """Blobs by digest, the ones that were used last, within limits for the sum of their sizes."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._blobs: LRUCache[str, bytes] = LRUCache(MAX_BYTES, getsizeof=_size_of)

    def get(self, digest: str, size: int) -> bytes | None:
        """Return the blob of exactly ``size`` bytes, ``None`` if it is not kept."""
        with self._lock:
            content = self._blobs.get(digest)
        return content if content is not None and len(content) == size else None

    def keep(self, digest: str, content: bytes) -> None:
        """Keep a blob that has the digest."""
        if len(content) <= MAX_BLOB:
            with self._lock:
                self._blobs[digest] = content


def _size_of(content: bytes) -> int:
    return len(content) + OVERHEAD

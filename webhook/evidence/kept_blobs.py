"""The blobs of signatures that have counted, which need not be downloaded for another verification.

A digest names its content, and each verification decides again whether that content counts. So a kept blob
is as good as a downloaded one, and images that run stay trusted while a registry serves manifests but its
object storage fails (``docs/decisions/0021``). Only blobs of signatures that have counted are kept:
otherwise an author could fill the space with signatures by a key of their own.

A bundle can still be copied with other white space in it, and counts as before. So the organization that
takes the most space loses its oldest blobs first, and cannot take the space of others.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

MAX_BYTES: Final = 8 * 1024 * 1024
"""Bytes that all blobs may take: some 12,000 payloads of simple signing, or 5,000 bundles of cosign."""

MAX_BLOB: Final = 16 * 1024
"""Bytes of the largest blob that is kept. Payloads have some hundred bytes, bundles below ten thousand."""

OVERHEAD: Final = 400
"""Bytes of memory that an entry takes beside its content: 303 were measured with 8,000 entries."""


class KeptBlobs:
    """Blobs by organization and digest, the ones that were used last, within a limit for their sizes."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._blobs: dict[str, OrderedDict[str, bytes]] = {}
        self._sizes: dict[str, int] = {}
        self._total = 0

    def get(self, organization: str, digest: str) -> bytes | None:
        """Return the blob with the digest, ``None`` if it is not kept."""
        with self._lock:
            blobs = self._blobs.get(organization)
            if blobs is None or digest not in blobs:
                return None
            blobs.move_to_end(digest)
            return blobs[digest]

    def keep(self, organization: str, digest: str, content: bytes) -> None:
        """Keep a blob that has the digest."""
        if len(content) > MAX_BLOB:
            return
        with self._lock:
            blobs = self._blobs.setdefault(organization, OrderedDict())
            if digest in blobs:
                return
            blobs[digest] = content
            self._add(organization, _size_of(content))
            while self._total > MAX_BYTES:
                self._drop(max(self._sizes, key=self._sizes.__getitem__))

    def _drop(self, organization: str) -> None:
        """Forget the blob of an organization that was not used for longest."""
        _, content = self._blobs[organization].popitem(last=False)
        self._add(organization, -_size_of(content))
        if not self._blobs[organization]:
            del self._blobs[organization], self._sizes[organization]

    def _add(self, organization: str, size: int) -> None:
        self._sizes[organization] = self._sizes.get(organization, 0) + size
        self._total += size


def _size_of(content: bytes) -> int:
    return len(content) + OVERHEAD

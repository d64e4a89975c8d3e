"""Settings of cache and lookups: ``cache`` and ``lookup`` of a configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """How long records are used; all in seconds except ``max_entries``.

    ``pinned`` is the age of a record up to which its digest counts as that of the tag. ``signed`` is for how
    long it counts that a digest is signed.
    """

    trusted: float = 60.0
    refused: float = 10.0
    stale_if_error: float = 12 * 3600.0
    max_entries: int = 10_000
    pinned: float = 2.0
    signed: float = 3600.0


@dataclass(frozen=True, slots=True)
class LookupSettings:
    """Limits of lookups. ``timeout`` is in seconds, for one lookup with its retries."""

    timeout: float = 3.0
    concurrency: int = 128
    retries: int = 1
    calls_per_second: float = 50.0

"""Trust entries that replicas exchange, and how conflicts between them are resolved."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Final

import msgspec

Key = tuple[str, str, str, str]
"""``TrustQuery.key``; its first part is the registry's."""

MAX_CLOCK_SKEW: Final = 5.0
"""Seconds by which clocks of replicas may differ. An entry that is further in the future is ignored, and a
refusal wins over trust that is newer by less."""

MAX_ENTRIES: Final = 10_000
"""Entries that are exchanged at most; the newest ones."""

BATCH_SIZE: Final = 250
"""Entries handled without a pause: a few milliseconds."""


class TrustEntry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """An image that SWR marked as trusted, or whose trust was revoked, at ``at`` (whole epoch seconds).

    Times of trust are rounded down and revocations up, so that rounding never extends trust.
    ``digest`` is the digest of the tag, as in ``TrustRecord``.
    """

    key: Key
    at: int
    trusted: bool
    digest: str | None = None


def resolve_conflict(one: TrustEntry | None, other: TrustEntry) -> TrustEntry:
    """Return the entry that wins a merge: the newer one.

    If one entry revokes trust, the other wins only if it is newer by more than ``MAX_CLOCK_SKEW`` seconds.
    """
    if one is None:
        return other
    if one.trusted == other.trusted:
        return one if one.at >= other.at else other
    trust, loss = (one, other) if one.trusted else (other, one)
    return trust if trust.at > loss.at + MAX_CLOCK_SKEW else loss


class Merger:
    """Merges the stored entries with those of this process.

    ``pause`` is called after each batch, so that other work runs.
    """

    def __init__(
        self,
        stored: Iterable[TrustEntry],
        oldest: float,
        newest: float,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin with the stored entries that are newer than ``oldest`` and not newer than ``newest``."""
        self._pause = pause
        self._oldest, self._newest = oldest, newest
        self._stored: dict[Key, TrustEntry] = {}
        for index, entry in enumerate(stored, 1):
            if oldest < entry.at <= newest:
                self._stored[entry.key] = entry
            if index % BATCH_SIZE == 0:
                pause()
        self._merged = dict(self._stored)

    def add(self, entries: Iterable[TrustEntry]) -> None:
        """Add entries of this process."""
        for entry in entries:
            if self._oldest < entry.at <= self._newest:
                self._merged[entry.key] = resolve_conflict(self._merged.get(entry.key), entry)

    def result(self) -> list[TrustEntry]:
        """Return the newest ``MAX_ENTRIES``, newest first."""
        return sorted(self._merged.values(), key=attrgetter("at"), reverse=True)[:MAX_ENTRIES]

    def has_changes(self, lag: float, *, full: bool) -> bool:
        """Whether an entry is missing, contradicted or older by more than ``lag`` seconds in the store.

        Images in use are refreshed every minute. The store may lag behind, because each write is a new
        version of the whole Secret in etcd. If the store is ``full``, entries that are older than all
        of it do not count: they would not fit.
        """
        oldest = min((entry.at for entry in self._stored.values()), default=0) if full else 0
        for index, entry in enumerate(self._merged.values(), 1):
            stored = self._stored.get(entry.key)
            if stored is None:
                if entry.at > oldest:
                    return True
            elif (
                stored.trusted != entry.trusted or stored.digest != entry.digest or entry.at - stored.at > lag
            ):
                return True
            if index % BATCH_SIZE == 0:
                self._pause()
        return False

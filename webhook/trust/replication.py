"""What processes tell each other about images, and who is right where they disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Final

import msgspec

Key = tuple[str, str, str, str]
"""``TrustQuery.key``; its first part is the registry's."""

MAX_CLOCK_SKEW: Final = 5.0
"""Seconds by which what SWR said may seem to come from the future before it is not believed. Clocks of
replicas may differ by as much, so a refusal wins over trust that is newer by less."""

MAX_ENTRIES: Final = 10_000
"""Facts that are passed on; the newest ones."""

BATCH_SIZE: Final = 250
"""Facts that are handled at a stretch, a few milliseconds' work; then others have their turn."""


class TrustEntry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """An image that SWR called trusted, or that lost its trust: when, in whole epoch seconds.

    Trust is rounded down and its loss up, so that rounding never makes anything trusted for longer.
    ``digest`` is what SWR held under the tag, as in ``TrustRecord``.
    """

    key: Key
    at: int
    trusted: bool
    digest: str | None = None


def resolve_conflict(one: TrustEntry | None, other: TrustEntry) -> TrustEntry:
    """Return which of two facts about the same image holds: the newer one, in doubt the refusal."""
    if one is None:
        return other
    if one.trusted == other.trusted:
        return one if one.at >= other.at else other
    trust, loss = (one, other) if one.trusted else (other, one)
    return trust if trust.at > loss.at + MAX_CLOCK_SKEW else loss


class Merger:
    """Puts what others wrote and what is known here together.

    ``pause`` is called after each slice of work, to let others have their turn.
    """

    def __init__(
        self,
        stored: Iterable[TrustEntry],
        oldest: float,
        newest: float,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin with what is stored, less what is not newer than ``oldest`` or newer than ``newest``."""
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
        """Add what is known here."""
        for entry in entries:
            if self._oldest < entry.at <= self._newest:
                self._merged[entry.key] = resolve_conflict(self._merged.get(entry.key), entry)

    def result(self) -> list[TrustEntry]:
        """Return the newest ``MAX_ENTRIES``, newest first."""
        return sorted(self._merged.values(), key=attrgetter("at"), reverse=True)[:MAX_ENTRIES]

    def has_news(self, lag: float, *, full: bool) -> bool:
        """Whether anything would be new or contrary to what is stored, or newer by more than ``lag`` seconds.

        Images in use are asked about each minute; what is stored may lag behind, for each write is a
        new version of the whole in the API server's store. Where what is stored is ``full``, older
        facts than all of it would not fit in.
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

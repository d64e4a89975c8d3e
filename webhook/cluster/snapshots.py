"""Snapshot of trusted images in a Secret that all replicas share, so that trust survives restarts.

Each replica reads the Secret about once a minute and imports the entries of the others. If it has other
entries, it writes them by compare-and-swap. It does this a last time when it stops. Reviews do not wait for
it.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from webhook.backoff import Backoff, jittered
from webhook.cluster.secrets import SharedSecret, StoredSecret
from webhook.errors import ClusterError, SnapshotError
from webhook.recorder import Recorder
from webhook.trust.lookup import TrustLookup
from webhook.trust.replication import BATCH_SIZE, MAX_CLOCK_SKEW, Merger, TrustEntry
from webhook.trust.snapshot import MAX_BYTES, sign, verify

logger = logging.getLogger(__name__)

ENTRY: Final = "snapshot"
"""The key in the Secret."""

PURPOSE: Final = b"swr-trust snapshot of trusted images"
"""The purpose that the signing key is derived for."""

ROUND: Final = 60.0
"""Seconds between two rounds, jittered downwards by a quarter."""

FIRST_PAUSE: Final = 0.25
"""Seconds before the first retry; the pause doubles up to a round."""

START: Final = 2.0
"""Seconds for which a new replica waits for the snapshot before it is ready without it."""

ATTEMPTS: Final = 3
"""Attempts of one round; another replica may write first."""

LAG: Final = 1 / 24
"""The share of ``staleIfError`` by which the time of a stored entry may lag behind: half an hour of
twelve."""

FULL: Final = MAX_BYTES * 7 // 8

YIELD_SECONDS: Final = 0.001
"""Seconds of a pause between two batches."""


@dataclass(frozen=True, slots=True)
class SnapshotScope:
    """Which entries of a snapshot are used: their maximum age in seconds, and the registries' keys."""

    stale_if_error: float
    registries: Collection[str]


class TrustSnapshot:
    """Maintains the snapshot; ``run`` is its worker."""

    def __init__(
        self,
        secret: SharedSecret,
        lookup: TrustLookup,
        key: Callable[[], bytes | None],
        scope: Callable[[], SnapshotScope],
        recorder: Recorder,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], object] | None = None,
        on_import: Callable[[Sequence[TrustEntry]], object] = lambda _: None,
    ) -> None:
        """Read nothing yet.

        ``key`` returns the key of this installation, ``None`` while it is not known; ``clock`` is in epoch
        seconds; ``pause`` sleeps. ``on_import`` is called with the entries of known registries.
        """
        self._secret = secret
        self._lookup = lookup
        self._key = key
        self._scope = scope
        self._recorder = recorder
        self._clock = clock
        self._pause = pause or time.sleep
        self._on_import = on_import
        self._loaded = False
        self._ready_deadline = float("inf")
        self._seen_at = 0.0
        self._images = 0
        self._rejected = ""
        self.problem = "it has not been read yet"

    @property
    def loading_ended(self) -> bool:
        """Whether the snapshot was read, or the time to wait for it has passed."""
        return self._loaded or time.monotonic() >= self._ready_deadline

    @property
    def state(self) -> str:
        """The state in words."""
        if self.problem:
            return self.problem
        return f"{self._images} images, {max(0.0, self._clock() - self._seen_at):.0f} s ago"

    def run(self, stop: threading.Event) -> None:
        """Make rounds until ``stop`` is set, and a last one then."""
        self._ready_deadline = time.monotonic() + START
        backoff, wait = Backoff(FIRST_PAUSE, ROUND), 0.0
        while not stop.wait(wait):
            if self.check():
                backoff.reset()
                wait = jittered(ROUND)
            else:
                wait = jittered(backoff.fail())
        self.check(lag=ROUND)

    def check(self, lag: float | None = None) -> bool:
        """Make one round; return whether it succeeded.

        Stored entries may lag behind by ``lag`` seconds, by default by ``LAG``.
        """
        try:
            result = self._exchange(lag)
        except ClusterError as error:
            result = "failed"
            self._add_problem(str(error))
        except Exception:
            logger.exception("failed to maintain the snapshot")
            result = "failed"
            self._add_problem("see the log")
        if result:
            self._recorder.snapshot_round_ended(result)
        return result in ("written", "unchanged")

    def _exchange(self, lag: float | None) -> str:
        """Return the result of a round, empty if there is no key yet."""
        key, scope = self._key(), self._scope()
        if key is None:
            # This is normal at the start. If it lasts, ``ManagedCertificate`` logs a warning.
            self.problem = "there is no key yet: the certificate is still missing"
            return ""
        if scope.stale_if_error <= 0:
            self._loaded = True
            self._record_success(0)
            return "unchanged"
        for attempt in range(ATTEMPTS):
            if attempt:
                self._pause(random.uniform(0.05, 0.3))  # noqa: S311 - jitter
            stored = self._secret.read()
            entries = self._read(stored, key)
            self._import(entries, scope)
            self._loaded = True
            now = self._clock()
            merger = Merger(entries, now - scope.stale_if_error, now + MAX_CLOCK_SKEW, self._yield)
            self._collect(merger)
            full = len(stored.data.get(ENTRY, b"")) > FULL
            if not merger.has_changes(
                max(ROUND, LAG * scope.stale_if_error) if lag is None else lag, full=full
            ):
                self._record_success(len(entries))
                return "unchanged"
            signed, count = sign(merger.result(), key, self._yield)
            if self._secret.write(stored, {**stored.data, ENTRY: signed}):
                self._record_success(count)
                return "written"
        return "conflict"

    def _read(self, stored: StoredSecret, key: bytes) -> list[TrustEntry]:
        data = stored.data.get(ENTRY)
        if not data:
            return []
        try:
            entries = verify(data, key, self._yield)
        except SnapshotError as error:
            self._recorder.snapshot_rejected(error.reason)
            if error.reason != self._rejected:
                logger.warning("the stored snapshot is ignored and will be replaced: %s", error)
            self._rejected = error.reason
            return []
        self._rejected = ""
        return entries

    def _import(self, entries: Sequence[TrustEntry], scope: SnapshotScope) -> None:
        for start in range(0, len(entries), BATCH_SIZE):
            known = [
                entry for entry in entries[start : start + BATCH_SIZE] if entry.key[0] in scope.registries
            ]
            self._lookup.import_entries(known)
            self._on_import(known)
            self._yield()

    def _collect(self, merger: Merger) -> None:
        keys = self._lookup.keys()
        for start in range(0, len(keys), BATCH_SIZE):
            merger.add(self._lookup.export_entries(keys[start : start + BATCH_SIZE]))
            self._yield()

    def _record_success(self, images: int) -> None:
        if self.problem and self._seen_at:
            logger.info("the snapshot is maintained again")
        self.problem = ""
        self._images = images
        self._seen_at = self._clock()
        self._recorder.snapshot_seen(images, self._seen_at)

    def _add_problem(self, problem: str) -> None:
        if problem != self.problem:
            logger.warning("cannot maintain the snapshot: %s", problem)
        self.problem = problem

    def _yield(self) -> None:
        self._pause(YIELD_SECONDS)

"""Cache of digests that are signed, for all registries.

A signature of a digest does not change, while a tag moves. So that a digest is signed is cached for longer
(``cache.signed``) than which digest a tag has (``cache.trusted``). It ends at all because a signature can be
deleted. That a digest is not signed is not cached here: it may be signed in a moment, and the record of the
tag keeps it for ``cache.refused``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from cachetools import LRUCache

from webhook.deadlines import Deadline
from webhook.errors import Fault, RegistryUnavailable, TrustLookupError
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.single_flight import SingleFlight
from webhook.trust.cache import BATCH_SIZE, is_ending
from webhook.trust.key_changes import KeyChanges
from webhook.trust.lookup import YIELD_SECONDS
from webhook.trust.replication import MAX_CLOCK_SKEW
from webhook.trust.settings import CacheSettings

Key = tuple[str, str, str]
"""``Registry.key``, repository and digest. The first depends on the keys that count."""


class SignedDigests:
    """Signed digests, by registry, repository and digest. Concurrent callers share one verification."""

    def __init__(self, settings: CacheSettings, clock: Callable[[], float] = time.time) -> None:
        """Keep at most ``settings.max_entries``; ``clock`` is in epoch seconds."""
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._signed: LRUCache[Key, SignatureCheck] = LRUCache(settings.max_entries)
        self._verifications: SingleFlight[SignatureCheck] = SingleFlight()

    def get(self, key: Key, deadline: Deadline, verify: Callable[[], SignatureCheck]) -> SignatureCheck:
        """Return the cached check of a signed digest, or what ``verify`` returns.

        A check that ends soon is renewed. If that fails, it counts until it ends.

        Raises:
            TrustLookupError: ``verify`` failed; all callers that share it get the error.
        """
        with self._lock:
            known = self._signed.get(key)
            now = self._clock()
        if known is not None:
            age = now - known.checked_at
            if not -MAX_CLOCK_SKEW <= age < self._settings.signed:
                known = None
            elif not is_ending(known.checked_at, self._settings.signed, now):
                return known
        try:
            return self._verify(key, deadline, verify)
        except TrustLookupError:
            if known is None:
                raise
            return known

    def configure(self, settings: CacheSettings) -> None:
        """Change the settings; the digests stay as far as the new settings allow."""
        with self._lock:
            if settings.max_entries != self._settings.max_entries:
                kept = LRUCache[Key, SignatureCheck](settings.max_entries)
                while self._signed:  # the least recently used ones first, which do not fit
                    key, check = self._signed.popitem()
                    kept[key] = check
                self._signed = kept
            self._settings = settings

    def carry_over(self, changes: KeyChanges) -> None:
        """Move the digests that are still signed to the new keys of registries whose signing keys change.

        They keep their age.
        """
        with self._lock:
            moving = [key for key in self._signed if key[0] in changes]
        for start in range(0, len(moving), BATCH_SIZE):
            with self._lock:
                for key in moving[start : start + BATCH_SIZE]:
                    self._move(key, changes)
            time.sleep(YIELD_SECONDS)

    def retain(self, registries: Collection[str]) -> None:
        """Forget the digests of registries whose keys are not listed."""
        with self._lock:
            for key in [key for key in self._signed if key[0] not in registries]:
                del self._signed[key]

    def _move(self, key: Key, changes: KeyChanges) -> None:
        check, change = self._signed.pop(key, None), changes[key[0]]
        carried = change.carry_check(check) if check is not None else None
        if carried is not None:
            new_key = (change.key, *key[1:])
            known = self._signed.get(new_key)
            if known is None or known.checked_at < carried.checked_at:
                self._signed[new_key] = carried

    def _verify(self, key: Key, deadline: Deadline, verify: Callable[[], SignatureCheck]) -> SignatureCheck:
        return self._verifications.share(
            key, lambda: self._verify_once(key, verify), deadline, "verifying the signatures"
        )

    def _verify_once(self, key: Key, verify: Callable[[], SignatureCheck]) -> SignatureCheck:
        try:
            check = verify()
        except TrustLookupError:
            raise
        except Exception as error:
            detail = f"the signatures could not be verified: {type(error).__name__}"
            raise RegistryUnavailable(detail, fault=Fault.LOCAL) from error
        with self._lock:
            if check.result is SignatureResult.SIGNED:
                self._signed[key] = check
            else:
                self._signed.pop(key, None)
        return check

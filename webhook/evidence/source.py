"""The trust source of all registries: the tag detail of SWR, signatures, or both, as each registry says."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Protocol

from webhook.deadlines import Deadline
from webhook.errors import MalformedAnswer
from webhook.evidence.signed_digests import SignedDigests
from webhook.recorder import Recorder
from webhook.registries import Evidence, Registry
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.key_changes import KeyChanges
from webhook.trust.records import CallLimiter, TrustQuery, TrustRecord, TrustSource, TrustStatus
from webhook.trust.settings import CacheSettings


class ManifestFinder(Protocol):
    """Finds manifests by the registry API of one registry; ``webhook.oci.client`` does."""

    def resolve_tag(
        self, repository: str, tag: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> str | None:
        """Return the digest of a tag, ``None`` if the tag does not exist.

        Raises:
            TrustLookupError: that is not known.
        """
        ...  # pragma: no cover

    def has_manifest(
        self, repository: str, digest: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> bool:
        """Return whether a digest exists.

        Raises:
            TrustLookupError: that is not known.
        """
        ...  # pragma: no cover


class SignatureVerifier(Protocol):
    """Verifies the signatures of digests in one registry; ``webhook.evidence.signature_lookup`` does."""

    def check(
        self, repository: str, digest: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> SignatureCheck:
        """Return what the signatures of a digest prove.

        Raises:
            TrustLookupError: that is not known.
        """
        ...  # pragma: no cover


class RegistryClients(Protocol):
    """Opens what the signatures of a registry need; always the same for equal registries."""

    def client(self, registry: Registry) -> ManifestFinder:
        """Return the client of the registry API."""
        ...  # pragma: no cover

    def lookup(self, registry: Registry) -> SignatureVerifier:
        """Return the lookup of signatures."""
        ...  # pragma: no cover

    def retain(self, registries: Collection[Registry]) -> None:
        """Forget what belongs to other registries."""
        ...  # pragma: no cover


class EvidenceSource:
    """Implements ``TrustSource``: the record of an image says ``trusted`` if its registry's evidence does."""

    def __init__(
        self,
        tag_details: TrustSource,
        registries: RegistryClients,
        recorder: Recorder,
        cache: CacheSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Fetch tag details from ``tag_details``, and what signatures need through ``registries``."""
        self._tag_details = tag_details
        self._registries = registries
        self._recorder = recorder
        self._clock = clock
        self._signed = SignedDigests(cache, clock)

    def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        """Fetch the record of an image; see ``TrustSource``.

        Under ``both``, signatures are read only for what the tag detail trusts. The record is as old as the
        answer about its tag.
        """
        registry = query.registry
        if not registry.needs_signature:
            return self._tag_details.fetch(query, deadline, call_limiter)
        if registry.is_enterprise:
            record = self._find_manifest(query, deadline, call_limiter)
        else:
            record = self._tag_details.fetch(query, deadline, _FirstPart(call_limiter))
        if record.status is TrustStatus.MISSING:
            return record
        if registry.evidence is Evidence.BOTH and record.status is not TrustStatus.TRUSTED:
            return record
        if record.digest is None:
            raise MalformedAnswer("SWR names no digest of the tag, so its signatures cannot be found")
        check = self._check(query, record.digest, deadline, call_limiter)
        status = TrustStatus.TRUSTED if check.result is SignatureResult.SIGNED else TrustStatus.UNTRUSTED
        is_marked = None if registry.is_enterprise else record.status is TrustStatus.TRUSTED
        return replace(record, status=status, signature=check, is_marked=is_marked)

    def configure(self, cache: CacheSettings) -> None:
        """Change the settings of the cache of signed digests."""
        self._signed.configure(cache)

    def retain(self, registries: Iterable[Registry], changes: KeyChanges | None = None) -> None:
        """Forget the registries that are no longer configured.

        After ``changes`` of signing keys, digests that are still signed stay.
        """
        kept = list(registries)
        self._registries.retain(kept)
        if changes:
            self._signed.carry_over(changes)
        self._signed.retain({registry.key for registry in kept})

    def _find_manifest(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        """Return the digest of a tag in SWR Enterprise, or whether a digest exists; trust is not known."""
        client = self._registries.client(query.registry)
        sent_at = self._clock()
        digest = query.digest
        if query.tag is not None:
            digest = client.resolve_tag(query.path, query.tag, deadline, call_limiter)
        elif digest is not None and not client.has_manifest(query.path, digest, deadline, call_limiter):
            digest = None
        status = TrustStatus.UNTRUSTED if digest is not None else TrustStatus.MISSING
        return TrustRecord(status, sent_at, digest)

    def _check(
        self, query: TrustQuery, digest: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> SignatureCheck:
        settings = query.registry.signatures
        is_survey = settings is not None and settings.reads_all

        def verify() -> SignatureCheck:
            result = "error"
            try:
                lookup = self._registries.lookup(query.registry)
                check = lookup.check(query.path, digest, deadline, call_limiter)
                result = check.result.value
            finally:
                if not is_survey:
                    self._recorder.signature_checked(query.registry.name, result)
            return check

        key = (query.registry.key, query.path, digest)
        return self._signed.get(key, deadline, verify)


class _FirstPart:
    """Limits the calls to the first of two endpoints that a lookup needs. Implements ``CallLimiter``.

    Its answers do not close the circuit breaker, which would hide that the second endpoint does not answer.
    """

    def __init__(self, limiter: CallLimiter) -> None:
        self.call = limiter.call
        self.timed = limiter.timed
        self._limiter = limiter

    def record_answer(self) -> None:
        """Do nothing."""

    @property
    def timeout(self) -> float:
        return self._limiter.timeout

    @property
    def is_probe(self) -> bool:
        return self._limiter.is_probe

"""Finds and verifies the signatures of a digest in a registry, within limits for one digest.

cosign's simple signing is looked for first, because it takes one request less, and because every tool of
Huawei writes it. Sigstore bundles follow if that is not enough. One good signature suffices in either format:
what somebody else stores beside it cannot hide it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Protocol, TypeVar

from webhook.deadlines import Deadline
from webhook.errors import Fault, MalformedAnswer, TrustLookupError, WrongContent
from webhook.evidence.kept_blobs import KeptBlobs
from webhook.evidence.slow_work import RunSlow, run_here
from webhook.oci.manifests import Manifest
from webhook.registries import SignatureSettings
from webhook.signatures.attempt import Attempt, Outcome, SignatureFormat, report_limit
from webhook.signatures.bundles import check_bundle, read_bundle_manifest, read_referrers
from webhook.signatures.check import SignatureCheck
from webhook.signatures.collector import Collector
from webhook.signatures.keys import load_public_key
from webhook.signatures.limits import MAX_MANIFESTS
from webhook.signatures.requirement import Requirement
from webhook.signatures.simple_signing import check_simple_signature, read_signature_manifest, signature_tag
from webhook.trust.records import CallLimiter

T = TypeVar("T")

MAX_IN_LOOP: Final = 32 * 1024
"""Bytes that are read in the event loop, in a millisecond. A manifest of a megabyte takes 15."""


class SignatureStore(Protocol):
    """Where signatures are stored: the registry API of one registry, ``webhook.oci.client``."""

    def get_manifest(
        self, repository: str, reference: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> Manifest | None:
        """Return a manifest by tag or digest, ``None`` if there is none."""
        ...  # pragma: no cover

    def list_referrers(
        self, repository: str, digest: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> bytes | None:
        """Return the OCI index of the manifests that refer to a digest, ``None`` if there is none."""
        ...  # pragma: no cover

    def get_blob(
        self, repository: str, digest: str, size: int, deadline: Deadline, call_limiter: CallLimiter
    ) -> bytes | None:
        """Return a blob of exactly ``size`` bytes, ``None`` if there is none."""
        ...  # pragma: no cover


class SignatureLookup:
    """Verifies the signatures of digests in one registry."""

    def __init__(
        self,
        requirement: Requirement,
        store: SignatureStore,
        run_slow: RunSlow = run_here,
        clock: Callable[[], float] = time.time,
        kept: KeptBlobs | None = None,
    ) -> None:
        """Look in ``store`` for what ``requirement`` asks for; ``clock`` is in epoch seconds.

        ``run_slow`` runs work that takes more than a millisecond, outside of the event loop. ``kept`` may be
        shared by the lookups of all registries.
        """
        self._store = store
        self._kept = kept if kept is not None else KeptBlobs()
        self._requirement = requirement
        self._run_slow = run_slow
        self._clock = clock

    def check(
        self, repository: str, digest: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> SignatureCheck:
        """Return what the signatures of ``digest`` (``sha256:...``) prove.

        If one cannot be read, the others may still suffice.

        Raises:
            TrustLookupError: the signatures that could be read do not suffice, and others could not be read.
        """
        collector = Collector(self._requirement, self._clock())
        for attempt in self.examine(repository, digest, deadline, call_limiter):
            collector.add(attempt)
            if collector.is_satisfied:
                break
        return collector.result()

    def examine(
        self, repository: str, digest: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> Iterator[Attempt]:
        """Yield the outcome of each signature of ``digest`` that is stored, within the limits.

        Raises:
            TrustLookupError: after those that could be read, if others could not.
        """
        reader = _Reader(
            self._store, self._kept, self._requirement.max_signatures, repository, deadline, call_limiter
        )
        yield from self._verify_simple_signatures(reader, digest)
        yield from self._verify_bundles(reader, digest)
        if reader.failure is not None:
            raise reader.failure

    def _verify_simple_signatures(self, reader: _Reader, digest: str) -> Iterator[Attempt]:
        kind = SignatureFormat.SIMPLE_SIGNING
        manifest = reader.manifest(kind, signature_tag(digest))
        if not isinstance(manifest, bytes):
            yield from _known(manifest)
            return
        for layer in self._read(reader, manifest, read_signature_manifest):
            if isinstance(layer, Attempt):
                yield layer
                continue
            if not reader.may_examine():
                yield report_limit(kind, reader.max_signatures)
                return
            payload = reader.blob(kind, layer.digest, layer.size)
            if not isinstance(payload, bytes):
                yield from _known(payload)
                continue
            check = partial(check_simple_signature, layer=layer, digest=digest, requirement=self._requirement)
            yield self._verify(reader, layer.digest, payload, check)

    def _verify_bundles(self, reader: _Reader, digest: str) -> Iterator[Attempt]:
        kind = SignatureFormat.BUNDLE
        index = reader.referrers(kind, digest)
        if not isinstance(index, bytes):
            yield from _known(index)
            return
        for referrer in self._read(reader, index, read_referrers):
            if isinstance(referrer, Attempt):
                yield referrer
                continue
            if not reader.may_examine():
                yield report_limit(kind, reader.max_signatures)
                return
            manifest = reader.manifest(kind, referrer.digest)
            if not isinstance(manifest, bytes):
                yield from _known(manifest)
                continue
            layer = self._read(reader, manifest, read_bundle_manifest)
            if isinstance(layer, Attempt):
                yield layer
                continue
            bundle = reader.blob(kind, layer.digest, layer.size)
            if not isinstance(bundle, bytes):
                yield from _known(bundle)
                continue
            check = partial(check_bundle, digest=digest, requirement=self._requirement)
            yield self._verify(reader, layer.digest, bundle, check)

    def _verify(
        self, reader: _Reader, blob: str, content: bytes, check: Callable[[bytes], Attempt]
    ) -> Attempt:
        """Return the outcome of one signature; ``blob`` is the digest of its content."""
        attempt = self._read(reader, content, check, is_slow=self._requirement.is_slow)
        if attempt.outcome is Outcome.VALID:
            self._kept.keep(reader.organization, blob, content)
        return attempt

    def _read(
        self, reader: _Reader, content: bytes, read: Callable[[bytes], T], *, is_slow: bool = False
    ) -> T:
        """Return what ``read`` makes of content of the registry, which may be large."""
        if not is_slow and len(content) <= MAX_IN_LOOP:
            return read(content)
        # An author can write to all repositories of an organization, as a rule.
        tenant = (id(self._store), reader.organization)
        return self._run_slow(partial(read, content), reader.deadline, tenant)


def make_requirement(settings: SignatureSettings) -> Requirement:
    """Return the requirement of a configuration: the keys that count now."""
    keys = tuple((key.name, load_public_key(key.content)) for key in settings.counting)
    return Requirement(keys, settings.threshold, settings.annotations)


class _Reader:
    """Reads what is stored for one digest, within the limits for it.

    Each method returns bytes, ``None`` if there is nothing, or the attempt that failed at it. ``failure`` is
    the first call that failed for this image: then the signatures that were read are not all. Other failures
    end the search.
    """

    def __init__(
        self,
        store: SignatureStore,
        kept: KeptBlobs,
        max_signatures: int,
        repository: str,
        deadline: Deadline,
        call_limiter: CallLimiter,
    ) -> None:
        self._store = store
        self._kept = kept
        self._repository = repository
        self._call_limiter = call_limiter
        self.deadline = deadline
        self.organization = repository.partition("/")[0]
        self.max_signatures = max_signatures
        self._signatures_left = max_signatures
        self._bytes_left = MAX_MANIFESTS
        self.failure: TrustLookupError | None = None

    def may_examine(self) -> bool:
        """Whether one more signature may be examined; counts it."""
        self._signatures_left -= 1
        return self._signatures_left >= 0

    def manifest(self, kind: SignatureFormat, reference: str) -> bytes | Attempt | None:
        """Read a manifest by its tag or digest."""

        def read() -> bytes | None:
            found = self._store.get_manifest(self._repository, reference, self.deadline, self._call_limiter)
            return found.content if found is not None else None

        return self._read_counted(kind, read)

    def referrers(self, kind: SignatureFormat, digest: str) -> bytes | Attempt | None:
        """Read the list of referrers."""
        return self._read_counted(
            kind,
            lambda: self._store.list_referrers(self._repository, digest, self.deadline, self._call_limiter),
        )

    def blob(self, kind: SignatureFormat, digest: str, size: int) -> bytes | Attempt | None:
        """Read the blob of one signature; its descriptor was checked."""

        def read() -> bytes | Attempt:
            content = self._kept.get(self.organization, digest)
            if content is None:
                content = self._store.get_blob(
                    self._repository, digest, size, self.deadline, self._call_limiter
                )
            if content is None:
                return Attempt(kind, Outcome.MALFORMED, problem="its content is missing")
            if len(content) != size:
                return Attempt(kind, Outcome.MALFORMED, problem="its content has another size than stated")
            return content

        return self._read(kind, read)

    def _read_counted(
        self, kind: SignatureFormat, read: Callable[[], bytes | None]
    ) -> bytes | Attempt | None:
        if self._bytes_left <= 0:
            problem = f"only {MAX_MANIFESTS // 1024 // 1024} MiB of manifests are read"
            return Attempt(kind, Outcome.NOT_EXAMINED, problem=problem)
        content = self._read(kind, read)
        if isinstance(content, bytes):
            self._bytes_left -= len(content)
        return content

    def _read(
        self, kind: SignatureFormat, read: Callable[[], bytes | Attempt | None]
    ) -> bytes | Attempt | None:
        try:
            return read()
        except TrustLookupError as error:
            if isinstance(error, MalformedAnswer) and not isinstance(error, WrongContent):
                # The object is not a signature. It must not hide a good one elsewhere.
                return Attempt(kind, Outcome.MALFORMED, problem=error.detail)
            if error.fault is not Fault.IMAGE:
                raise
            self.failure = self.failure or error
            return None


def _known(attempt: Attempt | None) -> tuple[Attempt, ...]:
    return () if attempt is None else (attempt,)

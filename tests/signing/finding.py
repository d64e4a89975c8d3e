"""The whole lookup of the signatures of a digest: simple signing first, bundles second.

A small copy of the product's own driver, which fetches with deadlines, limits and faults. Here a function
fetches from memory or over HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.signing.making import sha256
from webhook.signatures.attempt import Attempt, Outcome, SignatureFormat
from webhook.signatures.bundles import (
    INDEX_TYPE,
    check_bundle,
    fallback_tag,
    read_bundle_manifest,
    read_referrers,
)
from webhook.signatures.check import SignatureCheck
from webhook.signatures.collector import Collector
from webhook.signatures.limits import MAX_MANIFEST, MAX_SIGNATURES
from webhook.signatures.requirement import Requirement
from webhook.signatures.simple_signing import check_simple_signature, read_signature_manifest, signature_tag

Fetch = Callable[[str, int], tuple[bytes, str] | None]
"""Return content and media type of a path below the repository, of at most so many bytes; ``None`` for a 404."""


def find_signatures(fetch: Fetch, digest: str, requirement: Requirement, now: float = 0.0) -> SignatureCheck:
    """Return what the signatures of a digest prove."""
    collector = Collector(requirement, now)
    for count, attempt in enumerate(list_attempts(fetch, digest, requirement), 1):
        collector.add(attempt)
        if collector.is_satisfied or count == MAX_SIGNATURES:
            break
    return collector.result()


def list_attempts(fetch: Fetch, digest: str, requirement: Requirement) -> Iterator[Attempt]:
    """Yield the outcome of each candidate, in both formats."""
    yield from _simple_signatures(fetch, digest, requirement)
    yield from _bundles(fetch, digest, requirement)


def _simple_signatures(fetch: Fetch, digest: str, requirement: Requirement) -> Iterator[Attempt]:
    manifest = fetch(f"manifests/{signature_tag(digest)}", MAX_MANIFEST)
    for layer in read_signature_manifest(manifest[0]) if manifest else []:
        if isinstance(layer, Attempt):
            yield layer
            continue
        payload = _blob(fetch, layer.digest, layer.size)
        if payload is None:
            yield Attempt(SignatureFormat.SIMPLE_SIGNING, Outcome.MALFORMED, problem=DAMAGED)
        else:
            yield check_simple_signature(payload, layer, digest, requirement)


def _bundles(fetch: Fetch, digest: str, requirement: Requirement) -> Iterator[Attempt]:
    listing = fetch(f"referrers/{digest}", MAX_MANIFEST)
    if listing is None or listing[1] != INDEX_TYPE:
        listing = fetch(f"manifests/{fallback_tag(digest)}", MAX_MANIFEST)
    if listing is None or listing[1] != INDEX_TYPE:
        return
    for entry in read_referrers(listing[0]):
        yield entry if isinstance(entry, Attempt) else _bundle(fetch, entry.digest, digest, requirement)


def _bundle(fetch: Fetch, manifest_digest: str, digest: str, requirement: Requirement) -> Attempt:
    manifest = fetch(f"manifests/{manifest_digest}", MAX_MANIFEST)
    if manifest is None or sha256(manifest[0]) != manifest_digest:
        return Attempt(SignatureFormat.BUNDLE, Outcome.MALFORMED, problem=DAMAGED)
    layer = read_bundle_manifest(manifest[0])
    if isinstance(layer, Attempt):
        return layer
    bundle = _blob(fetch, layer.digest, layer.size)
    if bundle is None:
        return Attempt(SignatureFormat.BUNDLE, Outcome.MALFORMED, problem=DAMAGED)
    return check_bundle(bundle, digest, requirement)


DAMAGED = "the content is not that of its digest and size"


def _blob(fetch: Fetch, digest: str, size: int) -> bytes | None:
    found = fetch(f"blobs/{digest}", size)
    return found[0] if found and len(found[0]) == size and sha256(found[0]) == digest else None

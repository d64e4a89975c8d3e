"""The search for the signatures of a digest, as the webhook does it, in a repository in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.signing.storing import Repository
from tests.support.fakes import free
from webhook.deadlines import Deadline
from webhook.errors import MalformedAnswer
from webhook.evidence.signature_lookup import SignatureLookup
from webhook.oci.answers import compute_digest
from webhook.oci.manifests import OCI_INDEX, Manifest, fallback_tag
from webhook.signatures.attempt import Attempt
from webhook.signatures.check import SignatureCheck
from webhook.signatures.limits import MAX_MANIFEST
from webhook.signatures.requirement import Requirement
from webhook.trust.records import CallLimiter

NAME = "memory"
DAMAGED = "the content is not that of its digest and size"


@dataclass(frozen=True)
class MemoryStore:
    """Implements ``SignatureStore``: refuses what the client of registries refuses."""

    repository: Repository

    def get_manifest(
        self, repository: str, reference: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> Manifest | None:
        """Return a manifest, of the digest by which it is asked for."""
        del repository, deadline, call_limiter
        found = self.repository.served.get(f"manifests/{reference}")
        if found is None:
            return None
        content, media_type = found
        digest = compute_digest(content)
        if len(content) > MAX_MANIFEST or (":" in reference and digest != reference):
            raise MalformedAnswer(DAMAGED)
        return Manifest(content, media_type, digest)

    def list_referrers(
        self, repository: str, digest: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> bytes | None:
        """Return a listing of the referrers API or of the fallback tag."""
        content, media_type = self.repository.served.get(f"referrers/{digest}", (b"", ""))
        if media_type == OCI_INDEX:
            return content
        manifest = self.get_manifest(repository, fallback_tag(digest), deadline, call_limiter)
        return manifest.content if manifest is not None and manifest.media_type == OCI_INDEX else None

    def get_blob(
        self, repository: str, digest: str, size: int, deadline: Deadline, call_limiter: CallLimiter
    ) -> bytes | None:
        """Return a blob of this digest and size."""
        del repository, deadline, call_limiter
        content, _ = self.repository.served.get(f"blobs/{digest}", (None, ""))
        if content is not None and (len(content) != size or compute_digest(content) != digest):
            raise MalformedAnswer(DAMAGED)
        return content


def find_signatures(repository: Repository, digest: str, requirement: Requirement) -> SignatureCheck:
    """Return what the signatures of a digest prove."""
    lookup = SignatureLookup(requirement, MemoryStore(repository), clock=lambda: 0.0)
    return lookup.check(NAME, digest, Deadline.after(60), free)


def list_attempts(repository: Repository, digest: str, requirement: Requirement) -> Iterator[Attempt]:
    """Yield the outcome of each candidate, in both formats."""
    lookup = SignatureLookup(requirement, MemoryStore(repository))
    return lookup.examine(NAME, digest, Deadline.after(60), free)

"""A repository of a registry, in memory: the paths of the distribution API, with content and media type."""

from __future__ import annotations

from typing import Any

from tests.signing.making import IMAGE, MANIFEST_TYPE, bundle_manifest, compact, index, referrer, sha256
from webhook.oci.manifests import OCI_INDEX, fallback_tag
from webhook.signatures.simple_signing import signature_tag


class Repository:
    """What a registry holds of one repository."""

    def __init__(self) -> None:
        self.served: dict[str, tuple[bytes, str]] = {}

    def put_blob(self, content: bytes) -> str:
        """Store a blob."""
        digest = sha256(content)
        self.served[f"blobs/{digest}"] = content, "application/octet-stream"
        return digest

    def put_manifest(self, content: bytes, media_type: str = MANIFEST_TYPE, tag: str | None = None) -> str:
        """Store a manifest by its digest, and by a tag."""
        digest = sha256(content)
        for reference in {digest, tag or digest}:
            self.served[f"manifests/{reference}"] = content, media_type
        return digest

    def put_signatures(self, manifest: bytes, *payloads: bytes, image: str = IMAGE) -> None:
        """Store signatures in simple signing."""
        for payload in payloads:
            self.put_blob(payload)
        self.put_manifest(manifest, tag=signature_tag(image))

    def put_listing(self, listing: bytes, image: str = IMAGE) -> None:
        """Store the listing of a fallback tag."""
        self.put_manifest(listing, OCI_INDEX, fallback_tag(image))

    def put_bundles(self, *contents: bytes, image: str = IMAGE, **changes: Any) -> None:
        """Store bundles, their manifests and the listing; ``changes`` are those of the manifests."""
        manifests = []
        for content in contents:
            self.put_blob(content)
            manifests.append(compact(bundle_manifest(content, image, **changes)))
            self.put_manifest(manifests[-1])
        self.put_listing(compact(index([referrer(manifest) for manifest in manifests])), image)

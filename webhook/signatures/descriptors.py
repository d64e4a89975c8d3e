"""Descriptors of OCI manifests: the digest and size of the content that a caller fetches next.

Source: OCI image specification 1.1, Content Descriptors.
"""

from __future__ import annotations

from webhook.errors import MalformedSignature
from webhook.signatures.claims import is_digest
from webhook.signatures.strict_json import JsonObject


def read_descriptor(descriptor: JsonObject, max_size: int) -> tuple[str, int]:
    """Return the digest, and the size in bytes.

    Raises:
        MalformedSignature: it has no such digest, or its size is not from 0 to ``max_size``.
    """
    digest, size = descriptor.text("digest"), descriptor.integer("size")
    if not is_digest(digest):
        raise MalformedSignature("its digest is not SHA-256")
    if not 0 <= size <= max_size:
        raise MalformedSignature(f"its size is not from 0 to {max_size} bytes")
    return digest, size

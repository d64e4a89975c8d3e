"""OCI manifests and indexes: where the content is that a caller fetches next.

Nothing in them is signed. Source: OCI image specification 1.1. The types are those of go-containerregistry,
which cosign uses.
"""

from __future__ import annotations

from typing import Final

from webhook.errors import MalformedSignature
from webhook.signatures.limits import MAX_MANIFEST
from webhook.signatures.shapes import (
    DIGEST,
    INTEGER,
    TEXT,
    TEXTS,
    Fields,
    JsonObject,
    ListOf,
    read_document,
)

_PLATFORM: Final = Fields(
    {
        "architecture": TEXT,
        "os": TEXT,
        "os.version": TEXT,
        "os.features": ListOf(TEXT),
        "variant": TEXT,
        "features": ListOf(TEXT),
    }
)
_DESCRIPTOR: Final = Fields(
    {
        "mediaType": TEXT,
        "size": INTEGER,
        "digest": DIGEST,
        "data": TEXT,
        "urls": ListOf(TEXT),
        "annotations": TEXTS,
        "platform": _PLATFORM,
        "artifactType": TEXT,
    }
)
_MANIFEST: Final = Fields(
    {
        "schemaVersion": INTEGER,
        "mediaType": TEXT,
        "config": _DESCRIPTOR,
        "layers": ListOf(_DESCRIPTOR),
        "annotations": TEXTS,
        "subject": _DESCRIPTOR,
        "artifactType": TEXT,
    }
)
_INDEX: Final = Fields(
    {
        "schemaVersion": INTEGER,
        "mediaType": TEXT,
        "manifests": ListOf(_DESCRIPTOR),
        "annotations": TEXTS,
        "subject": _DESCRIPTOR,
        "artifactType": TEXT,
    }
)


def read_manifest(data: bytes) -> JsonObject:
    """Return an image manifest.

    Raises:
        MalformedSignature: it is not one, or one of its layers has no digest.
    """
    document = read_document(data, "the manifest", _MANIFEST, MAX_MANIFEST)
    _demand_digests(document.objects("layers"))
    return document


def read_index(data: bytes) -> JsonObject:
    """Return an index, the listing of the manifests that refer to an image.

    Raises:
        MalformedSignature: it is not one, or one of its entries has no digest.
    """
    document = read_document(data, "the listing", _INDEX, MAX_MANIFEST)
    _demand_digests(document.objects("manifests"))
    return document


def _demand_digests(descriptors: list[JsonObject]) -> None:
    for descriptor in descriptors:
        descriptor.text("digest")


def read_descriptor(descriptor: JsonObject, max_size: int) -> tuple[str, int]:
    """Return the digest of the content, and its size in bytes.

    Raises:
        MalformedSignature: the size is absent, or not from 0 to ``max_size``.
    """
    digest, size = descriptor.text("digest"), descriptor.integer("size")
    if not 0 <= size <= max_size:
        raise MalformedSignature(f"its size is not from 0 to {max_size} bytes")
    return digest, size

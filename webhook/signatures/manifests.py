"""OCI manifests and indexes: where the content is that a caller fetches next.

Nothing in them is signed. Source: OCI image specification 1.1. The types are those of go-containerregistry,
which cosign uses.
"""

from __future__ import annotations

from typing import Any, Final

from webhook.errors import MalformedSignature
from webhook.signatures.limits import MAX_MANIFEST
from webhook.signatures.shapes import (
    ANYTHING,
    DIGEST,
    INTEGER,
    TEXT,
    TEXTS,
    Fields,
    JsonObject,
    ListOf,
    check_document,
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
        "layers": ListOf(ANYTHING),
        "annotations": TEXTS,
        "subject": _DESCRIPTOR,
        "artifactType": TEXT,
    }
)
_INDEX: Final = Fields(
    {
        "schemaVersion": INTEGER,
        "mediaType": TEXT,
        "manifests": ListOf(ANYTHING),
        "annotations": TEXTS,
        "subject": _DESCRIPTOR,
        "artifactType": TEXT,
    }
)


def read_manifest(data: bytes) -> JsonObject:
    """Return an image manifest.

    Raises:
        MalformedSignature: it is not one, or one of its layers is not a descriptor.
    """
    document = read_document(data, "the manifest", _MANIFEST, MAX_MANIFEST)
    for layer in _check_each(document, "layers", "the manifest"):
        if isinstance(layer, MalformedSignature):
            raise layer
    return document


def read_layers(data: bytes) -> list[JsonObject | MalformedSignature]:
    """Return each layer of an image manifest, or why it is not a descriptor.

    Raises:
        MalformedSignature: it is not a manifest.
    """
    document = read_document(data, "the manifest", _MANIFEST, MAX_MANIFEST)
    return _check_each(document, "layers", "the manifest")


def read_index(data: bytes) -> list[JsonObject | MalformedSignature]:
    """Return each entry of an index, or why it is not a descriptor.

    An index is the listing of the manifests that refer to an image. Anyone who may push can add to it.

    Raises:
        MalformedSignature: it is not an index.
    """
    document = read_document(data, "the listing", _INDEX, MAX_MANIFEST)
    return _check_each(document, "manifests", "the listing")


def _check_each(document: JsonObject, member: str, name: str) -> list[JsonObject | MalformedSignature]:
    """Return the descriptors of a list one by one: a malformed one says nothing about the others."""
    return [
        _check_descriptor(value, name, f"{member}[{index}]")
        for index, value in enumerate(document.values(member))
    ]


def _check_descriptor(value: Any, name: str, place: str) -> JsonObject | MalformedSignature:
    try:
        descriptor = check_document(value, name, _DESCRIPTOR, place)
        descriptor.text("digest")
    except MalformedSignature as error:
        return error
    return descriptor


def read_descriptor(descriptor: JsonObject, max_size: int) -> tuple[str, int]:
    """Return the digest of the content, and its size in bytes.

    Raises:
        MalformedSignature: the size is absent, or not from 0 to ``max_size``.
    """
    digest, size = descriptor.text("digest"), descriptor.integer("size")
    if not 0 <= size <= max_size:
        raise MalformedSignature(f"its size is not from 0 to {max_size} bytes")
    return digest, size

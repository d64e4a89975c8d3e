"""Manifests, their media types, and the paths of the registry API (OCI distribution, OCI image)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from webhook.errors import InvalidReferenceError
from webhook.images.reference import MAX_NAME_LENGTH, check_digest, check_path, is_digest, is_tag

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"

ACCEPT: Final = (
    f"application/vnd.oci.image.manifest.v1+json, {OCI_INDEX}, "
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json"
)
"""The media types that are asked for. cosign stores signatures under Docker's type, too."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as the registry sent it. ``digest`` was computed from ``content``."""

    content: bytes = field(repr=False)
    media_type: str
    digest: str


def fallback_tag(digest: str) -> str:
    """Return the tag under which referrers are listed where a registry has no referrers API."""
    return digest.replace(":", "-")


def manifest_path(repository: str, reference: str) -> str:
    """Return the path of a manifest by tag or digest.

    Raises:
        InvalidReferenceError: a name is not one of OCI distribution.
    """
    if not is_tag(reference) and not is_digest(reference):
        raise InvalidReferenceError("reference", "is neither a tag nor a SHA-256 digest")
    return f"{_repository_path(repository)}/manifests/{quote(reference, safe=':')}"


def referrers_path(repository: str, digest: str) -> str:
    """Return the path of the referrers of a digest; raises ``InvalidReferenceError``."""
    check_digest(digest)
    return f"{_repository_path(repository)}/referrers/{digest}"


def blob_path(repository: str, digest: str) -> str:
    """Return the path of a blob; raises ``InvalidReferenceError``."""
    check_digest(digest)
    return f"{_repository_path(repository)}/blobs/{digest}"


def _repository_path(repository: str) -> str:
    # Names are checked again, although callers have done so, because they become part of a URL here.
    if len(repository) > MAX_NAME_LENGTH:
        raise InvalidReferenceError("too-long", f"a name has at most {MAX_NAME_LENGTH} characters")
    check_path(repository)
    return f"/v2/{repository}"

"""Manifests, their media types, and the paths of the registry API (OCI distribution, OCI image)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from webhook.errors import InvalidReferenceError

MAX_MANIFEST: Final = 1024 * 1024
"""Bytes of a manifest or a listing; a ``.sig`` manifest with 50 signatures of RSA-4096 has about 45 kB."""

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"

ACCEPT: Final = (
    f"application/vnd.oci.image.manifest.v1+json, {OCI_INDEX}, "
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json"
)
"""The media types that are asked for. cosign stores signatures under Docker's type, too."""

_REPOSITORY: Final = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_MAX_REPOSITORY: Final = 255
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as the registry sent it. ``digest`` was computed from ``content``."""

    content: bytes = field(repr=False)
    media_type: str
    digest: str


def is_digest(text: str) -> bool:
    """Return whether a text is a SHA-256 digest in lower case."""
    return _DIGEST.fullmatch(text) is not None


def fallback_tag(digest: str) -> str:
    """Return the tag under which referrers are listed where a registry has no referrers API."""
    return digest.replace(":", "-")


def manifest_path(repository: str, reference: str) -> str:
    """Return the path of a manifest by tag or digest.

    Raises:
        InvalidReferenceError: a name is not one of OCI distribution.
    """
    if _TAG.fullmatch(reference) is None and not is_digest(reference):
        raise InvalidReferenceError("reference", "is neither a tag nor a SHA-256 digest")
    return f"{_repository_path(repository)}/manifests/{quote(reference, safe=':')}"


def referrers_path(repository: str, digest: str) -> str:
    """Return the path of the referrers of a digest; raises ``InvalidReferenceError``."""
    return f"{_repository_path(repository)}/referrers/{_check_digest(digest)}"


def blob_path(repository: str, digest: str) -> str:
    """Return the path of a blob; raises ``InvalidReferenceError``."""
    return f"{_repository_path(repository)}/blobs/{_check_digest(digest)}"


def _check_digest(digest: str) -> str:
    if not is_digest(digest):
        raise InvalidReferenceError("digest", "is not a SHA-256 digest")
    return digest


def _repository_path(repository: str) -> str:
    # Names are checked again, although callers have done so, because they become part of a URL here.
    if len(repository) > _MAX_REPOSITORY or _REPOSITORY.fullmatch(repository) is None:
        raise InvalidReferenceError("repository", "is not the name of a repository")
    return f"/v2/{repository}"

"""Paths of the registry API: names are checked before they become part of a URL."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from webhook.errors import InvalidReferenceError
from webhook.oci.manifests import blob_path, fallback_tag, manifest_path, referrers_path

DIGEST = "sha256:" + "a" * 64

PATHS = [
    (manifest_path, "shop/web", "1.0", "/v2/shop/web/manifests/1.0"),
    (manifest_path, "shop/tools/web", DIGEST, f"/v2/shop/tools/web/manifests/{DIGEST}"),
    (manifest_path, "a__b/c.d-e", "_x", "/v2/a__b/c.d-e/manifests/_x"),
    (referrers_path, "shop/web", DIGEST, f"/v2/shop/web/referrers/{DIGEST}"),
    (blob_path, "shop/web", DIGEST, f"/v2/shop/web/blobs/{DIGEST}"),
]


@pytest.mark.parametrize(
    ("make", "repository", "reference", "path"), PATHS, ids=[case[3][:40] for case in PATHS]
)
def test_path_is_that_of_oci_distribution(
    make: Callable[[str, str], str], repository: str, reference: str, path: str
) -> None:
    """A repository may have several levels."""
    assert make(repository, reference) == path


REPOSITORIES = [
    "",
    "/",
    "shop/",
    "/web",
    "shop//web",
    "Shop/web",
    "shop/../admin",
    "shop/web?x",
    "shop/web#x",
    "a" * 256,
    "shop/we b",
    "shop/%2e%2e",
]


@pytest.mark.parametrize("repository", REPOSITORIES, ids=lambda name: name[:20])
@pytest.mark.parametrize("make", [manifest_path, referrers_path, blob_path])
def test_invalid_repository_is_rejected(make: Callable[[str, str], str], repository: str) -> None:
    """Nothing else of the registry can be reached by a name."""
    with pytest.raises(InvalidReferenceError):
        make(repository, DIGEST)


@pytest.mark.parametrize(
    "reference",
    ["", ".x", "-x", "a/b", "a" * 129, "sha256:" + "A" * 64, "sha256:abc", "sha512:" + "a" * 128, "1.0\n"],
)
def test_invalid_reference_is_rejected(reference: str) -> None:
    """A digest is SHA-256 in lower case."""
    with pytest.raises(InvalidReferenceError):
        manifest_path("shop/web", reference)
    with pytest.raises(InvalidReferenceError):
        blob_path("shop/web", reference)


def test_fallback_tag_of_digest() -> None:
    """OCI distribution, referrers tag schema."""
    assert fallback_tag(DIGEST) == "sha256-" + "a" * 64

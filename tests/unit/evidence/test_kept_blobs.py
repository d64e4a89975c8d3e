"""Blobs of signatures that have counted: the last ones, within a limit for the sum."""

from __future__ import annotations

import pytest

from webhook.evidence.kept_blobs import MAX_BLOB, MAX_BYTES, OVERHEAD, KeptBlobs

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize("size", [0, 300, MAX_BLOB])
def test_blob_is_found_by_organization_and_digest(size: int) -> None:
    """An organization that never had it in its registry cannot use it."""
    blobs = KeptBlobs()
    blobs.keep("shop", DIGEST, b"x" * size)
    assert blobs.get("shop", DIGEST) == b"x" * size
    assert blobs.get("shop", "sha256:" + "b" * 64) is None
    assert blobs.get("other", DIGEST) is None


def test_large_blob_is_not_kept() -> None:
    blobs = KeptBlobs()
    blobs.keep("shop", DIGEST, b"x" * (MAX_BLOB + 1))
    assert blobs.get("shop", DIGEST) is None


@pytest.mark.parametrize("size", [0, 300, MAX_BLOB])
def test_blobs_that_were_not_used_for_longest_make_way(size: int) -> None:
    """Whatever their sizes, all of them together take no more than the limit."""
    blobs = KeptBlobs()
    fitting = MAX_BYTES // (size + OVERHEAD)
    for number in range(fitting + 10):
        blobs.keep("shop", str(number), b"x" * size)
        blobs.get("shop", "0")
    kept = [number for number in range(fitting + 10) if blobs.get("shop", str(number)) is not None]
    assert kept == [0, *range(11, fitting + 10)]


def test_blob_that_is_kept_again_takes_no_more_space() -> None:
    """Each verification keeps it."""
    blobs = KeptBlobs()
    blobs.keep("shop", "first", b"x" * MAX_BLOB)
    for _ in range(MAX_BYTES // MAX_BLOB + 1):
        blobs.keep("shop", DIGEST, b"x" * MAX_BLOB)
    assert blobs.get("shop", "first") is not None


def test_organization_with_many_blobs_loses_its_own_first() -> None:
    """A good bundle counts with any white space in it, so that an author can make any number of blobs."""
    blobs = KeptBlobs()
    blobs.keep("shop", DIGEST, b"x" * 300)
    for number in range(2 * MAX_BYTES // MAX_BLOB):
        blobs.keep("evil", str(number), b"x" * MAX_BLOB)
    assert blobs.get("shop", DIGEST) is not None
    for number in range(MAX_BYTES // MAX_BLOB // 4):
        blobs.keep("shop", str(number), b"x" * MAX_BLOB)
    assert all(blobs.get("shop", str(number)) is not None for number in range(MAX_BYTES // MAX_BLOB // 4))

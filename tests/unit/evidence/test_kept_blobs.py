"""Blobs of signatures that have counted: the last ones, within a limit for the sum."""

from __future__ import annotations

import pytest

from webhook.evidence.kept_blobs import MAX_BLOB, MAX_BYTES, OVERHEAD, KeptBlobs

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("size", "asked", "is_kept"),
    [(300, 300, True), (300, 301, False), (0, 0, True), (MAX_BLOB, MAX_BLOB, True)],
)
def test_blob_is_found_by_digest_and_size(size: int, asked: int, is_kept: bool) -> None:
    """A manifest that states another size is refused elsewhere, as for a blob that is downloaded."""
    blobs = KeptBlobs()
    blobs.keep(DIGEST, b"x" * size)
    assert (blobs.get(DIGEST, asked) is not None) == is_kept
    assert blobs.get("sha256:" + "b" * 64, asked) is None


def test_large_blob_is_not_kept() -> None:
    blobs = KeptBlobs()
    blobs.keep(DIGEST, b"x" * (MAX_BLOB + 1))
    assert blobs.get(DIGEST, MAX_BLOB + 1) is None


@pytest.mark.parametrize("size", [0, 300, MAX_BLOB])
def test_blobs_that_were_not_used_for_longest_make_way(size: int) -> None:
    """Whatever their sizes, all of them together take no more than the limit."""
    blobs = KeptBlobs()
    fitting = MAX_BYTES // (size + OVERHEAD)
    for number in range(fitting + 10):
        blobs.keep(str(number), b"x" * size)
        blobs.get("0", size)
    kept = [number for number in range(fitting + 10) if blobs.get(str(number), size) is not None]
    assert kept == [0, *range(11, fitting + 10)]

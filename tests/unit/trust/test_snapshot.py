"""The signed snapshot of trust entries: encoding, limits, and the rejection of invalid ones."""

from __future__ import annotations

import hashlib
import hmac
import struct
import tracemalloc
import zlib

import msgspec
import pytest

from webhook.errors import SnapshotError
from webhook.trust.replication import BATCH_SIZE, MAX_ENTRIES, TrustEntry
from webhook.trust.snapshot import FORM, MAX_BYTES, NAME, sign, verify

KEY = b"k" * 32
CODE = 32


def entries(count: int = 3, tag: str = "") -> list[TrustEntry]:
    """Return some entries with digests, newest first."""
    return [
        TrustEntry(
            ("0123456789abcdef", "shop", f"team/web-{index}", f":1.{index}{tag}"),
            1_000_000 - index,
            index % 3 != 2,
            "sha256:" + hashlib.sha256(str(index).encode()).hexdigest(),
        )
        for index in range(count)
    ]


def sign_frame(body: bytes, key: bytes = KEY, form: bytes = FORM) -> bytes:
    """Return any body with a valid signature, which only the owner of the key can create."""
    return form + hmac.digest(key, form + body, "sha256") + body


def frame(data: bytes) -> bytes:
    """Return one frame with any content."""
    packed = zlib.compress(data, 9)
    return struct.pack(">I", len(packed)) + packed


def rejection(data: bytes, key: bytes = KEY) -> str:
    """Return the reason for which a snapshot is rejected."""
    with pytest.raises(SnapshotError) as caught:
        verify(data, key)
    return caught.value.reason


@pytest.mark.parametrize("count", [0, 1, BATCH_SIZE, BATCH_SIZE * 3 + 1])
def test_snapshot_round_trip_preserves_entries(count: int) -> None:
    """Keys, times, digests and refusals."""
    data, signed = sign(entries(count), KEY)
    assert signed == count
    assert verify(data, KEY) == entries(count)


def test_snapshot_is_limited_in_bytes_and_keeps_first_entries() -> None:
    """Half of a Secret's maximum size, for names of any length."""
    many = entries(MAX_ENTRIES, tag="x" * 100 + hashlib.sha512(b"").hexdigest())
    data, count = sign(many, KEY)
    assert len(data) <= MAX_BYTES
    assert 1000 < count <= MAX_ENTRIES
    assert verify(data, KEY) == many[:count]


def test_sign_and_verify_yield_after_each_batch() -> None:
    """Other requests run after each batch, in both directions."""
    turns: list[int] = []
    data, _ = sign(entries(BATCH_SIZE * 4), KEY, lambda: turns.append(1))
    verify(data, KEY, lambda: turns.append(1))
    assert len(turns) == 8


@pytest.mark.parametrize("place", [0, len(FORM) - 2, len(FORM), len(FORM) + CODE, -1])
def test_snapshot_with_changed_byte_is_rejected(place: int) -> None:
    """In the header, in the signature, in the body."""
    data = bytearray(sign(entries(), KEY)[0])
    data[place] ^= 1
    assert rejection(bytes(data)) in ("forged", "version", "malformed")


def test_snapshot_signed_with_another_key_is_rejected() -> None:
    """This includes a snapshot from before the key was replaced."""
    assert rejection(sign(entries(), b"another key")[0]) == "forged"


def test_forged_snapshot_is_not_decompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only signed data is decompressed and decoded."""
    monkeypatch.setattr("webhook.trust.snapshot.zlib.decompressobj", lambda: pytest.fail("unpacked"))
    assert rejection(sign_frame(frame(b"\x00" * 10_000_000), b"another key")) == "forged"


def test_snapshot_of_another_version_is_rejected() -> None:
    """It has a reason of its own."""
    form = NAME + b"2\n"
    assert rejection(sign_frame(b"", form=form)) == "version"


@pytest.mark.parametrize("data", [b"", b"\x00", b"{}", b"x" * MAX_BYTES])
def test_malformed_snapshot_is_rejected(data: bytes) -> None:
    """For any content."""
    assert rejection(data) == "malformed"


def test_oversized_snapshot_is_rejected_before_verification() -> None:
    """Its signature is not checked."""
    assert rejection(b"x" * (MAX_BYTES + 1)) == "oversized"


def test_authentic_zip_bomb_is_rejected_with_little_memory() -> None:
    """Ten megabytes in a frame are truncated at one."""
    bomb = sign_frame(frame(b"\x00" * 10_000_000))
    tracemalloc.start()
    assert rejection(bomb) == "oversized"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_authentic_snapshot_with_too_many_entries_is_rejected() -> None:
    """Small entries compress well."""
    same = msgspec.msgpack.encode([TrustEntry(("r", "o", "n", ":t"), 1, trusted=True)] * BATCH_SIZE)
    assert rejection(sign_frame(frame(same) * (MAX_ENTRIES // BATCH_SIZE + 1))) == "oversized"


@pytest.mark.parametrize(
    "body",
    [
        b"\x00",
        b"\x00\x00\x00\x09short",
        struct.pack(">I", 4) + b"nozl",
        frame(b"no msgpack"),
        frame(msgspec.msgpack.encode([[["r", "o", "n"], 1, True, None]])),
        frame(msgspec.msgpack.encode([[["r", "o", "n", ":t"], "1", True, None]])),
        frame(msgspec.msgpack.encode([[["r", "o", "n", ":t"], 1, "yes", None]])),
    ],
    ids=["half a length", "cut off", "no zlib", "no msgpack", "a short key", "time as text", "trust as text"],
)
def test_authentic_snapshot_with_malformed_body_is_rejected(body: bytes) -> None:
    """Even with a valid signature."""
    assert rejection(sign_frame(body)) == "malformed"

"""Snapshot of trust entries as bytes: compressed, bounded and signed.

The format is a line with a name and a version, an HMAC with SHA-256, and frames. The HMAC covers the line and
the frames. A frame is four bytes of length and zlib data. The HMAC is verified first, so that the
decompressor and the decoder only see signed data. A frame is small enough to be handled without a pause.
"""

from __future__ import annotations

import hmac
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from webhook.errors import SnapshotError
from webhook.trust.replication import BATCH_SIZE, MAX_ENTRIES, TrustEntry

NAME: Final = b"swr-trust snapshot "
FORM: Final = NAME + b"1\n"

MAX_BYTES: Final = 512 * 1024
"""Half of the size limit of a Secret."""

MAX_FRAME: Final = 1024 * 1024
"""Bytes of a decompressed frame; enough for names of any length that SWR allows."""

_CODE_SIZE: Final = 32
_LENGTH: Final = struct.Struct(">I")
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[TrustEntry])


def sign(
    entries: Sequence[TrustEntry], key: bytes, pause: Callable[[], None] = lambda: None
) -> tuple[bytes, int]:
    """Return the first entries that fit into ``MAX_BYTES`` as signed bytes, and their number.

    ``pause`` is called after each frame, so that other work runs.
    """
    count = 0
    frames: list[bytes] = []
    size = len(FORM) + _CODE_SIZE
    for start in range(0, min(len(entries), MAX_ENTRIES), BATCH_SIZE):
        chosen = entries[start : start + BATCH_SIZE]
        packed = zlib.compress(_ENCODER.encode(chosen))
        size += _LENGTH.size + len(packed)
        if size > MAX_BYTES:
            break
        frames += (_LENGTH.pack(len(packed)), packed)
        count += len(chosen)
        pause()
    body = b"".join(frames)
    return FORM + _authenticate(body, key) + body, count


def verify(data: bytes, key: bytes, pause: Callable[[], None] = lambda: None) -> list[TrustEntry]:
    """Return the entries of a snapshot.

    Raises:
        SnapshotError: it was not signed with this key, or cannot be read.
    """
    if len(data) > MAX_BYTES:
        raise SnapshotError("oversized", f"it has {len(data)} bytes, more than {MAX_BYTES}")
    if not data.startswith(FORM):
        known = data.startswith(NAME)
        raise SnapshotError("version" if known else "malformed", "its format is not that of this version")
    body = data[len(FORM) + _CODE_SIZE :]
    if not hmac.compare_digest(data[len(FORM) : len(FORM) + _CODE_SIZE], _authenticate(body, key)):
        raise SnapshotError("forged", "it was not written with the key of this installation")
    entries: list[TrustEntry] = []
    for frame in _split(body):
        entries += _unpack(frame)
        if len(entries) > MAX_ENTRIES:
            raise SnapshotError("oversized", f"it contains more than {MAX_ENTRIES} images")
        pause()
    return entries


def _authenticate(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, FORM + body, "sha256")


def _split(body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        start = at + _LENGTH.size
        if start > len(body):
            raise SnapshotError("malformed", "its last frame is incomplete")
        at = start + _LENGTH.unpack_from(body, at)[0]
        if at > len(body):
            raise SnapshotError("malformed", "its last frame is incomplete")
        yield body[start:at]


def _unpack(frame: bytes) -> list[TrustEntry]:
    unpacker = zlib.decompressobj()
    try:
        packed = unpacker.decompress(frame, MAX_FRAME)
        if unpacker.unconsumed_tail:
            raise SnapshotError("oversized", f"a frame has more than {MAX_FRAME} bytes")
        return _DECODER.decode(packed)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise SnapshotError("malformed", f"a frame cannot be read: {error}") from None

"""Encoding in DER, and in ways that DER does not allow."""

from __future__ import annotations


def integer(number: int, *, before: bytes = b"", long: bool = False) -> bytes:
    """Return an integer. ``before``: more bytes at its beginning. ``long``: a length with more bytes than needed."""
    size = max(1, (number if number >= 0 else ~number).bit_length() // 8 + 1)
    return _tagged(0x02, before + number.to_bytes(size, signed=True), long=long)


def sequence(*parts: bytes, long: bool = False) -> bytes:
    """Return a sequence of encoded values."""
    return _tagged(0x30, b"".join(parts), long=long)


def _tagged(tag: int, content: bytes, *, long: bool) -> bytes:
    size = len(content)
    needed = (size.bit_length() + 7) // 8 if size >= 128 else 0
    if needed or long:
        count = needed + (1 if long else 0)
        return bytes([tag, 0x80 | count]) + size.to_bytes(count) + content
    return bytes([tag, size]) + content

"""Expiry of a certificate, read from its DER encoding (RFC 5280, section 4.1).

A process that serves from files needs one date of one certificate, which OpenSSL has checked already.
``cryptography`` would take 8 MB and a tenth of the start for it.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
from typing import Final

_PEM: Final = re.compile(rb"-----BEGIN (X509 )?CERTIFICATE-----(.*?)-----END \1?CERTIFICATE-----", re.DOTALL)

_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_TIMES: Final = {
    0x17: re.compile(rb"(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z"),
    0x18: re.compile(rb"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z"),
}
"""UTCTime and GeneralizedTime, in the only spelling that RFC 5280 allows."""

_LONG_FORM: Final = 0x80
_CENTURY_SPLIT: Final = 50
"""Years of two digits from here on are in the 20th century (RFC 5280, section 4.1.2.5.1)."""


def read_not_after(pem: bytes) -> float:
    """Return when the first certificate of a PEM file expires, in epoch seconds.

    Raises:
        ValueError: there is no certificate, or it is not encoded as RFC 5280 requires.
    """
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("no certificate in PEM")
    certificate = base64.b64decode(found[2])
    fields = _Fields(_Fields(_Fields(certificate).read(_SEQUENCE)).read(_SEQUENCE))
    if fields.next_tag == _VERSION:
        fields.skip()
    for _ in ("serialNumber", "signature", "issuer"):
        fields.skip()
    validity = _Fields(fields.read(_SEQUENCE))
    validity.skip()  # notBefore
    return _read_time(validity)


class _Fields:
    """The elements of a DER sequence, in order."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def next_tag(self) -> int:
        """The tag of the next element, -1 if there is none."""
        return self._data[0] if self._data else -1

    def read(self, tag: int) -> bytes:
        """Return the content of the next element; raises ``ValueError`` if it has another tag."""
        if self.next_tag != tag:
            raise ValueError(f"tag {self.next_tag} instead of {tag}")
        return self.skip()

    def skip(self) -> bytes:
        """Return the content of the next element, which may have any tag; raises ``ValueError``."""
        if len(self._data) < 2:  # noqa: PLR2004 - a tag and a length
            raise ValueError("the certificate is truncated")
        start, length = 2, self._data[1]
        if length >= _LONG_FORM:
            start += length - _LONG_FORM
            length = int.from_bytes(self._data[2:start], "big")
        content = self._data[start : start + length]
        if len(content) < length:
            raise ValueError("the certificate is truncated")
        self._data = self._data[start + length :]
        return content


def _read_time(fields: _Fields) -> float:
    pattern = _TIMES.get(fields.next_tag)
    found = pattern.fullmatch(fields.skip()) if pattern is not None else None
    if found is None:
        raise ValueError("the certificate has no time of expiry")
    year, *rest = map(int, found.groups())
    if len(found[1]) == 2:  # noqa: PLR2004 - digits
        year += 1900 if year >= _CENTURY_SPLIT else 2000
    return dt.datetime(year, *rest, tzinfo=dt.UTC).timestamp()  # type: ignore[arg-type, misc]  # five numbers

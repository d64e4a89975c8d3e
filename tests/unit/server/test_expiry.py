"""The expiry of a certificate, compared with the library that reads whole certificates."""

from __future__ import annotations

import base64
import datetime as dt

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from webhook.server.expiry import read_not_after

KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swr-trust")])
BEGIN = dt.datetime(1950, 1, 1)  # noqa: DTZ001 - cryptography takes UTC without an offset


def issue(ends: dt.datetime) -> bytes:
    """Return a certificate in PEM that ends at a time in UTC."""
    builder = x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 1, BEGIN, ends)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


SOME = issue(dt.datetime(2031, 1, 1))  # noqa: DTZ001 - the same


@given(st.datetimes(dt.datetime(1951, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59)))  # noqa: DTZ001 - the same
@example(dt.datetime(1999, 12, 31, 23, 59, 59))  # noqa: DTZ001 - the same
@example(dt.datetime(2049, 12, 31, 23, 59, 59))  # noqa: DTZ001 - the last one with two digits
@example(dt.datetime(2050, 1, 1))  # noqa: DTZ001 - the first one with four
def test_expiry_is_that_of_library(ends: dt.datetime) -> None:
    """For both encodings of a time, to the second."""
    pem = issue(ends)
    assert read_not_after(pem) == x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()


def test_first_certificate_of_chain_counts() -> None:
    """It is the server's own; text and a key may be before it, as ``openssl x509 -text`` writes them."""
    leaf = issue(dt.datetime(2031, 5, 6, 7, 8, 9))  # noqa: DTZ001 - see BEGIN
    ca = trustme.CA().cert_pem.bytes()
    key = trustme.CA().private_key_pem.bytes()
    expected = dt.datetime(2031, 5, 6, 7, 8, 9, tzinfo=dt.UTC).timestamp()
    assert read_not_after(b"Certificate:\r\n" + key + leaf.replace(b"\n", b"\r\n") + ca) == expected


def test_old_label_of_certificate_is_accepted() -> None:
    """OpenSSL and the library accept ``X509 CERTIFICATE``, too."""
    leaf = SOME.replace(b"N CERT", b"N X509 CERT").replace(b"D CERT", b"D X509 CERT")
    assert read_not_after(leaf) == x509.load_pem_x509_certificate(leaf).not_valid_after_utc.timestamp()


@pytest.mark.parametrize("pem", [b"", b"\0" * 99, trustme.CA().private_key_pem.bytes()])
def test_file_without_certificate_is_rejected(pem: bytes) -> None:
    """The error is the one that a caller reports as a problem of the file."""
    with pytest.raises(ValueError, match="no certificate in PEM"):
        read_not_after(pem)


@given(st.data())
def test_damaged_certificate_is_rejected_or_read(data: st.DataObject) -> None:
    """A byte that has changed, or a missing end, causes no other error than ``ValueError``."""
    lines = SOME.splitlines()
    der = bytearray(base64.b64decode(b"".join(lines[1:-1])))
    der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(der[: data.draw(st.integers(0, len(der)))])
    pem = b"\n".join([lines[0], base64.b64encode(cut), lines[-1]])
    try:
        assert isinstance(read_not_after(pem), float)
    except ValueError:
        return

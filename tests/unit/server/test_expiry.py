"""The expiry of a certificate, compared with the library that reads whole certificates."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from webhook.server.expiry import read_not_after

KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swr-trust")])
BEGIN = dt.datetime(1950, 1, 1)  # noqa: DTZ001 - cryptography takes UTC without an offset
SOON = dt.datetime(2031, 5, 6, 7, 8, 9)  # noqa: DTZ001 - the same


def issue(ends: dt.datetime, *, usage: x509.ObjectIdentifier | None = None) -> bytes:
    """Return a certificate in PEM that ends at a time in UTC."""
    builder = x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 1, BEGIN, ends)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def read(folder: Path, pem: bytes) -> float:
    """Return the expiry of the certificate that a server shows from such a file."""
    key = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "tls.crt").write_bytes(pem)
    (folder / "tls.key").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return read_not_after(context, pem)


@pytest.mark.parametrize(
    "ends",
    [
        dt.datetime(1999, 12, 31, 23, 59, 59),  # noqa: DTZ001 - see BEGIN
        dt.datetime(2049, 12, 31, 23, 59, 59),  # noqa: DTZ001 - the last one with two digits
        dt.datetime(2050, 1, 1),  # noqa: DTZ001 - the first one with four
        dt.datetime(9999, 12, 31, 23, 59, 59),  # noqa: DTZ001 - RFC 5280: no end
        SOON,
    ],
    ids=str,
)
def test_expiry_is_that_of_library(ends: dt.datetime, tmp_path: Path) -> None:
    """To the second, also if it has passed."""
    pem = issue(ends)
    assert read(tmp_path, pem) == x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()


def test_first_certificate_of_chain_counts(tmp_path: Path) -> None:
    """It is the server's own; text and a key may be before it, as ``openssl x509 -text`` writes them."""
    key, ca = trustme.CA().private_key_pem.bytes(), trustme.CA().cert_pem.bytes()
    pem = "Ärger:\r\n".encode() + key + issue(SOON).replace(b"\n", b"\r\n") + ca
    assert read(tmp_path, pem) == SOON.replace(tzinfo=dt.UTC).timestamp()


def test_old_label_of_certificate_is_accepted(tmp_path: Path) -> None:
    """OpenSSL accepts ``X509 CERTIFICATE``, too."""
    pem = issue(SOON).replace(b"N CERT", b"N X509 CERT").replace(b"D CERT", b"D X509 CERT")
    assert read(tmp_path, pem) == SOON.replace(tzinfo=dt.UTC).timestamp()


def test_byte_that_openssl_ignores_is_accepted(tmp_path: Path) -> None:
    """A file that the server can use does not end it."""
    pem = issue(SOON).replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\n\xff\n", 1)
    assert read(tmp_path, pem) == SOON.replace(tzinfo=dt.UTC).timestamp()


@pytest.mark.parametrize("usage", [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
def test_certificate_that_openssl_does_not_accept_is_read(
    usage: x509.ObjectIdentifier, tmp_path: Path
) -> None:
    """Whether it is accepted is for the client of the API server to decide."""
    assert read(tmp_path, issue(SOON, usage=usage)) == SOON.replace(tzinfo=dt.UTC).timestamp()


@pytest.mark.parametrize("pem", [b"", b"\0" * 99, trustme.CA().private_key_pem.bytes()])
def test_file_without_certificate_is_rejected(pem: bytes) -> None:
    """The error is the one that a caller reports as a problem of the file."""
    with pytest.raises(ValueError, match="no certificate in PEM"):
        read_not_after(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pem)

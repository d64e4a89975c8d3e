"""CAs and serving certificates: creation, validation and renewal. Pure: no clock, no API server.

A CA signs serving certificates of one Service only. When it is renewed, the new CA is trusted beside the old
one before it signs anything, so that every served certificate is trusted by the API servers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFE: Final = dt.timedelta(days=730)
CA_RENEWAL: Final = dt.timedelta(days=180)
"""Remaining lifetime at which a CA is renewed; longer than the lifetime of a serving certificate."""

LEAF_LIFE: Final = dt.timedelta(days=90)
LEAF_RENEWAL: Final = dt.timedelta(days=30)

OVERLAP: Final = dt.timedelta(minutes=10)
"""How long a new CA is trusted before it signs anything. API servers and replicas read it within seconds."""

BACKDATED: Final = dt.timedelta(minutes=5)
"""Certificates are valid from this long ago, because clocks of API servers may be behind."""

BUNDLE: Final = "ca.crt"
CA_KEY: Final = "ca.key"
LEAF: Final = "tls.crt"
LEAF_KEY: Final = "tls.key"


@dataclass(frozen=True, slots=True)
class CertificateBundle:
    """The content of the certificate Secret, in PEM.

    ``bundle`` has all trusted CAs, the newest first; ``ca_key`` is the key of the newest.
    """

    bundle: bytes
    ca_key: bytes
    leaf: bytes
    leaf_key: bytes

    def __repr__(self) -> str:
        """Return a text without secrets."""
        return f"CertificateBundle(authorities={self.bundle.count(b'BEGIN CERTIFICATE')})"

    @property
    def data(self) -> dict[str, bytes]:
        """The entries of the Secret."""
        return {
            BUNDLE: self.bundle,
            CA_KEY: self.ca_key,
            LEAF: self.leaf,
            LEAF_KEY: self.leaf_key,
        }

    @property
    def not_after(self) -> float:
        """The expiry of the serving certificate in epoch seconds."""
        return x509.load_pem_x509_certificate(self.leaf).not_valid_after_utc.timestamp()

    @property
    def ca_not_after(self) -> float:
        """The expiry of the newest CA in epoch seconds."""
        return _split(self.bundle)[0].not_valid_after_utc.timestamp()


def issue(names: Sequence[str], now: dt.datetime, trusted: bytes = b"") -> CertificateBundle:
    """Create a CA and a serving certificate for ``names``.

    ``trusted`` are CAs that stay trusted beside the new one.
    """
    ca, ca_key = _make_ca(now)
    leaf, leaf_key = _make_leaf(ca, ca_key, names, now)
    return CertificateBundle(
        bundle=_bundle([ca, *_still_valid(trusted, now)]),
        ca_key=_key_pem(ca_key),
        leaf=leaf,
        leaf_key=leaf_key,
    )


def read_material(
    data: Mapping[str, bytes], names: Sequence[str], now: dt.datetime
) -> CertificateBundle | None:
    """Return the content of a Secret if it can be served now, ``None`` otherwise.

    All parts must be present, and keys must match their certificates. The serving certificate must be for
    ``names``, valid now, and signed by a valid CA of the bundle.
    """
    try:
        material = CertificateBundle(data[BUNDLE], data[CA_KEY], data[LEAF], data[LEAF_KEY])
        cas = _split(material.bundle)
        leaf = x509.load_pem_x509_certificate(material.leaf)
        good = (
            _is_key_of(material.ca_key, cas[0])
            and _is_key_of(material.leaf_key, leaf)
            and set(names) <= _names_of(leaf)
            and leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc
            and any(_has_signed(ca, leaf) and _is_valid(ca, now) for ca in cas)
        )
    except (KeyError, IndexError, ValueError, TypeError, x509.ExtensionNotFound, UnsupportedAlgorithm):
        return None
    return material if good else None


def renew(material: CertificateBundle, names: Sequence[str], now: dt.datetime) -> CertificateBundle:
    """Return the next step of renewal, or ``material`` itself if none is due.

    First a new CA is trusted, ``OVERLAP`` later it signs a serving certificate, and expired CAs are removed.
    """
    cas = _split(material.bundle)
    newest = cas[0]
    if newest.not_valid_after_utc - now < CA_RENEWAL:
        ca, key = _make_ca(now)
        bundle = _bundle([ca, *_still_valid(material.bundle, now)])
        return replace(material, bundle=bundle, ca_key=_key_pem(key))
    leaf = x509.load_pem_x509_certificate(material.leaf)
    is_trusted_everywhere = now - newest.not_valid_before_utc >= BACKDATED + OVERLAP
    due = leaf.not_valid_after_utc - now < LEAF_RENEWAL or not _has_signed(newest, leaf)
    if due and is_trusted_everywhere:
        signing = serialization.load_pem_private_key(material.ca_key, None)
        assert isinstance(signing, ec.EllipticCurvePrivateKey), "read_material has compared it"
        fresh, fresh_key = _make_leaf(newest, signing, names, now)
        return replace(material, leaf=fresh, leaf_key=fresh_key)
    if len(_still_valid(material.bundle, now)) < len(cas):
        return replace(material, bundle=_bundle(_still_valid(material.bundle, now)))
    return material


def _make_ca(now: dt.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"swr-trust-webhook {now:%Y-%m-%d}")])
    certificate = (
        _begin(name, name, key, now, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _make_leaf(
    ca: x509.Certificate, signing: ec.EllipticCurvePrivateKey, names: Sequence[str], now: dt.datetime
) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    certificate = (
        _begin(name, ca.subject, key, now, LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(entry) for entry in names]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False
        )
        .sign(signing, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key)


def _begin(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
    life: dt.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _split(bundle: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(bundle)


def _bundle(cas: Sequence[x509.Certificate]) -> bytes:
    return b"".join(ca.public_bytes(serialization.Encoding.PEM) for ca in cas)


def _still_valid(bundle: bytes, now: dt.datetime) -> list[x509.Certificate]:
    try:
        return [ca for ca in _split(bundle) if _is_valid(ca, now)]
    except ValueError:
        return []


def _is_valid(certificate: x509.Certificate, now: dt.datetime) -> bool:
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def _has_signed(ca: x509.Certificate, leaf: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _is_key_of(key: bytes, certificate: x509.Certificate) -> bool:
    private = serialization.load_pem_private_key(key, None)
    return (
        isinstance(private, ec.EllipticCurvePrivateKey) and private.public_key() == certificate.public_key()
    )


def _names_of(leaf: x509.Certificate) -> set[str]:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(names.get_values_for_type(x509.DNSName))


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

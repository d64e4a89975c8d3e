"""CAs and serving certificates: issued, checked and renewed without an interruption."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import replace

import pytest
from cryptography import x509

from webhook.cluster.ca import (
    CA_LIFE,
    LEAF_LIFE,
    CertificateBundle,
    issue,
    read_material,
    renew,
)

NOW = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
NAMES = ("gate.swr-trust.svc", "gate.swr-trust.svc.cluster.local")
DAY = dt.timedelta(days=1)


def serials(bundle: bytes) -> list[int]:
    """Return the serial numbers of a bundle, in its order."""
    return [certificate.serial_number for certificate in x509.load_pem_x509_certificates(bundle)]


def verifies(material: CertificateBundle, bundle: bytes, moment: dt.datetime) -> bool:
    """Return whether a client that trusts ``bundle`` would accept the serving certificate."""
    cas = x509.load_pem_x509_certificates(bundle)
    verifier = (
        x509.verification.PolicyBuilder()
        .store(x509.verification.Store(cas))
        .time(moment)
        .build_server_verifier(x509.DNSName(NAMES[0]))
    )
    try:
        verifier.verify(x509.load_pem_x509_certificate(material.leaf), [])
    except x509.verification.VerificationError:
        return False
    return True


def test_issued_certificate_is_valid() -> None:
    """By the strict rules of RFC 5280, for the names of the Service."""
    material = issue(NAMES, NOW)
    assert read_material(material.data, NAMES, NOW) == material
    assert verifies(material, material.bundle, NOW)
    assert material.not_after == (NOW + LEAF_LIFE).timestamp()
    assert material.ca_not_after == (NOW + CA_LIFE).timestamp()


def test_private_keys_are_not_shown() -> None:
    """Neither in a log nor in a traceback."""
    assert repr(issue(NAMES, NOW)) == "CertificateBundle(authorities=1)"


GOOD = issue(NAMES, NOW)
OTHER = issue(NAMES, NOW)


@pytest.mark.parametrize(
    ("broken", "moment"),
    [
        ({}, NOW),
        ({key: value for key, value in GOOD.data.items() if key != "tls.key"}, NOW),
        ({**GOOD.data, "tls.crt": b""}, NOW),
        ({**GOOD.data, "tls.crt": GOOD.leaf[:200]}, NOW),
        ({**GOOD.data, "tls.key": OTHER.leaf_key}, NOW),
        ({**GOOD.data, "ca.key": OTHER.ca_key}, NOW),
        ({**GOOD.data, "ca.crt": OTHER.bundle, "ca.key": OTHER.ca_key}, NOW),
        ({**GOOD.data, "ca.crt": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, NOW),
        (issue(NAMES[:1], NOW).data, NOW),
        (GOOD.data, NOW + LEAF_LIFE),
        (GOOD.data, NOW - DAY),
    ],
    ids=[
        "nothing",
        "no key",
        "an empty certificate",
        "half a certificate",
        "another key",
        "another authority's key",
        "another authority",
        "garbage",
        "other names",
        "ended",
        "not begun",
    ],
)
def test_unusable_certificate_bundle_is_rejected(broken: dict[str, bytes], moment: dt.datetime) -> None:
    """A user who may write the Secret may write anything into it."""
    assert read_material(broken, NAMES, moment) is None


def test_fresh_certificate_is_not_renewed() -> None:
    """The same object is returned, so that nothing is written."""
    assert renew(GOOD, NAMES, NOW) is GOOD
    assert renew(GOOD, NAMES, NOW + 59 * DAY) is GOOD


def test_serving_certificate_is_renewed_a_month_before_expiry() -> None:
    """By the same CA."""
    moment = NOW + 61 * DAY
    renewed = renew(GOOD, NAMES, moment)
    assert renewed.bundle == GOOD.bundle
    assert renewed.leaf != GOOD.leaf
    assert read_material(renewed.data, NAMES, moment) == renewed
    assert renew(renewed, NAMES, moment) is renewed


def test_new_ca_is_trusted_before_it_signs() -> None:
    """First the bundle is extended, then the certificate changes; both sides agree at each step."""
    moment = NOW
    material = GOOD
    seen = [GOOD]
    while material.bundle == GOOD.bundle:
        moment += 20 * DAY
        material = renew(material, NAMES, moment)
        seen.append(material)
    before, grown = seen[-2:]
    assert NOW + 540 * DAY < moment < NOW + 580 * DAY
    assert serials(grown.bundle)[1:] == serials(GOOD.bundle)
    assert grown.leaf == before.leaf
    assert verifies(grown, grown.bundle, moment)
    assert verifies(grown, before.bundle, moment), "an API server that has not seen the new bundle yet"
    assert renew(grown, NAMES, moment + dt.timedelta(minutes=1)).leaf == grown.leaf
    later = moment + dt.timedelta(minutes=11)
    signed = renew(grown, NAMES, later)
    assert signed.leaf != grown.leaf
    assert verifies(signed, grown.bundle, later)


def test_expired_ca_is_removed_from_bundle() -> None:
    """The bundle must not grow without end."""
    moment, material, longest = NOW, GOOD, 0
    for _ in range(400):
        moment += 10 * DAY
        for _ in range(3):
            material = renew(material, NAMES, moment)
            moment += dt.timedelta(minutes=15)
        assert read_material(material.data, NAMES, moment) is not None
        longest = max(longest, len(serials(material.bundle)))
    assert longest == 2


def test_new_bundle_keeps_trusted_cas() -> None:
    """The certificates of other replicas are accepted until they have the new CA."""
    fresh = issue(NAMES, NOW + DAY, GOOD.bundle)
    assert serials(fresh.bundle)[1:] == serials(GOOD.bundle)
    assert verifies(GOOD, fresh.bundle, NOW + DAY)


def test_openssl_accepts_issued_certificate() -> None:
    """It is served by another library than the one that created it."""
    from webhook.cluster.certificates import _load_pair

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_pair(context, GOOD.leaf, GOOD.leaf_key)
    with pytest.raises(ssl.SSLError):
        _load_pair(context, GOOD.leaf, replace(GOOD, leaf_key=OTHER.leaf_key).leaf_key)

"""Checks of certificates: does a ``caBundle`` contain any, and when do they expire?"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Iterator
from typing import Final

from cryptography import x509

from webhook.cli.checks import CLUSTER, Check, CheckStatus

EXPIRY_NOTICE: Final = dt.timedelta(days=14)


def decode_bundle(value: object) -> bytes:
    """Return the PEM file of a ``caBundle``, empty if there is none."""
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        return b""


def check_bundle(title: str, name: str, bundle: bytes, now: dt.datetime) -> Iterator[Check]:
    """Yield the result of the check of a decoded ``caBundle`` of the webhook ``name``."""
    if not bundle:
        advice = "Check the logs of the webhook and cert-manager, one of which writes it. Every call fails."
        yield Check(CLUSTER, title, CheckStatus.FAILED, f"{name}: empty", advice)
        return
    try:
        cas = x509.load_pem_x509_certificates(bundle)
    except ValueError:
        advice = "Set it to the certificate of the CA, in PEM."
        yield Check(CLUSTER, title, CheckStatus.FAILED, f"{name}: contains no certificate", advice)
        return
    yield check_expiry(title, name, max(item.not_valid_after_utc for item in cas), now)


def check_expiry(title: str, name: str, ends: dt.datetime, now: dt.datetime) -> Check:
    """Return the result of the check of a certificate that is valid until ``ends``."""
    found = f"{name}: valid until {ends:%Y-%m-%d %H:%M} UTC"
    if ends <= now:
        advice = "Renew it now. Until then, the API server cannot call the webhook."
        return Check(CLUSTER, title, CheckStatus.FAILED, f"{name}: expired {ends:%Y-%m-%d %H:%M} UTC", advice)
    if ends - now < EXPIRY_NOTICE:
        advice = "Find out why it is not renewed: check the logs of the webhook and of cert-manager."
        return Check(CLUSTER, title, CheckStatus.WARNING, found, advice)
    return Check(CLUSTER, title, CheckStatus.OK, found)

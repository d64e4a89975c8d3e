"""Expiry of the serving certificate, read by OpenSSL.

A process that serves from files needs one date of one certificate. ``cryptography`` would take 8 MB and a
tenth of the start for it. The ``ssl`` module shows the dates of a peer's certificate only. Therefore the
context does a handshake in memory with a client that trusts exactly this certificate.
"""

from __future__ import annotations

import re
import ssl
from typing import Final

_PEM: Final = re.compile(rb"-----BEGIN (X509 )?CERTIFICATE-----.*?-----END \1?CERTIFICATE-----", re.DOTALL)

_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL: the date is wanted, also if it has passed."""

_MAX_FLIGHTS: Final = 4
"""Messages of either side until a handshake is complete."""


def read_not_after(context: ssl.SSLContext, pem: bytes) -> float:
    """Return when the certificate of a server's context expires, in epoch seconds.

    ``pem`` is the file with the certificate, which comes first in its chain.

    Raises:
        ValueError: there is no certificate in ``pem``.
    """
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("no certificate in PEM")
    try:
        return _read_by_handshake(context, found[0].decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        # A client of OpenSSL does not accept it, but that of the API server may: for example, a CA that is
        # its own server, or an unusual curve.
        from cryptography import x509  # noqa: PLC0415 - it takes 8 MB, see above

        return x509.load_pem_x509_certificate(found[0]).not_valid_after_utc.timestamp()


def _read_by_handshake(context: ssl.SSLContext, certificate: str) -> float:
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.load_verify_locations(cadata=certificate)
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = trusting.wrap_bio(to_client, to_server)
    for side in (client, server) * _MAX_FLIGHTS:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    shown = client.getpeercert() or {}
    return float(ssl.cert_time_to_seconds(str(shown["notAfter"])))

"""TLS contexts for the connections that the webhook opens.

Python 3.13 and later set VERIFY_X509_STRICT in ``ssl.create_default_context``. OpenSSL then rejects
certificates that RFC 5280 forbids but that private CAs commonly issue. Examples are a CA without
keyUsage (as ``openssl req -x509`` makes it), basicConstraints that is not critical, and a leaf without
authority key identifier. curl and kubectl accept all of them, and so does this module on every Python.
"""

from __future__ import annotations

import ssl


def client_context(ca_file: str | None = None, *, ca_data: str | None = None) -> ssl.SSLContext:
    """Return a new context that verifies servers as strictly as curl and kubectl do.

    The chain of signatures, the dates, the name and the purpose of a certificate are verified. The
    lowest version is TLS 1.2. A given certificate is trusted even if it is not self-signed: an issuing
    CA without its root, or the server's own certificate. curl (X509_V_FLAG_PARTIAL_CHAIN since 7.68) and
    Go's ``crypto/x509`` do the same. Python sets this flag from 3.13 on only.

    Args:
        ca_file: the path of a file of PEM certificates, the only ones trusted if given.
        ca_data: PEM certificates, trusted like those of ``ca_file``. Without both, the CAs of
            the system are trusted.

    Raises:
        OSError: ``ca_file`` cannot be read.
        ssl.SSLError: ``ca_file`` or ``ca_data`` does not contain a certificate.
    """
    context = ssl.create_default_context(cafile=ca_file, cadata=ca_data)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context

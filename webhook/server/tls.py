"""The serving certificate: files that may be replaced at any moment, a context that is always whole."""

from __future__ import annotations

import hmac
import logging
import ssl
import threading
from collections.abc import Mapping
from typing import Any, Final, Protocol

from cryptography import x509

from webhook.errors import CertificateError
from webhook.file_stamps import FileWatcher
from webhook.recorder import Recorder

logger = logging.getLogger(__name__)

POLL_INTERVAL: Final = 30.0
"""Seconds between looks at the files where nobody connects."""


class ServingCertificate(Protocol):
    """Where handshakes get their TLS context; files or a Secret that is managed in the cluster."""

    not_after: float
    """When the certificate ends, in epoch seconds; 0 while there is none."""

    problem: str
    """Why what is in use is not what there is to use, empty if it is."""

    requires_client: bool
    """Whether ``/validate`` is for callers with a client certificate only."""

    def context(self) -> ssl.SSLContext:
        """Return the context for a handshake that starts now."""
        ...  # pragma: no cover

    def watch(self, stop: threading.Event) -> None:
        """Look after the certificate until ``stop`` is set."""
        ...  # pragma: no cover

    def derive_key(self, purpose: bytes) -> bytes | None:
        """Return a key that whoever does not hold the private key cannot know, ``None`` without one.

        All replicas have the same, as they share the certificate. That of another purpose says
        nothing about it.
        """
        ...  # pragma: no cover


class CertificateFiles:
    """Gives the TLS context for the next handshake.

    When the files change, a new context is built beside the one in use and replaces it only once
    it is complete: loading a chain into a live context poisons it when the key does not match.
    Half-replaced files leave the last good pair in use.
    """

    def __init__(self, certificate: str, key: str, client_ca: str | None, recorder: Recorder) -> None:
        """Load the pair.

        Raises:
            CertificateError: it cannot be used.
        """
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._recorder = recorder
        self.requires_client = client_ca is not None
        self.not_after = 0.0
        self.problem = ""
        self._secret = b""
        self._files = FileWatcher([certificate, key, *([client_ca] if client_ca is not None else [])])
        self._context = self._build()

    def context(self) -> ssl.SSLContext:
        """Return the context for a handshake that starts now."""
        if self._files.has_changed():
            try:
                self._context = self._build()
            except CertificateError as error:
                self.problem = str(error)
                self._recorder.certificate_rejected()
                logger.warning("the new certificate cannot be used; the last good one stays: %s", error)
        return self._context

    def watch(self, stop: threading.Event) -> None:
        """Look at the files now and then, so that a problem shows without a handshake."""
        while not stop.wait(POLL_INTERVAL):
            self.context()

    def derive_key(self, purpose: bytes) -> bytes | None:
        """Return a key made from the private key in use; see ``ServingCertificate``."""
        return hmac.digest(self._secret, purpose, "sha256")

    def _build(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key)
            with open(self._certificate, "rb") as stream:  # noqa: PTH123 - the same path as above, as text
                leaf = x509.load_pem_x509_certificate(stream.read())
            with open(self._key, "rb") as stream:  # noqa: PTH123 - the same
                secret = stream.read()
            if self._client_ca is not None:
                context.load_verify_locations(self._client_ca)
                # Optional here and demanded for /validate alone: a kubelet's probe has none.
                context.verify_mode = ssl.CERT_OPTIONAL
        except (OSError, ValueError) as error:
            raise CertificateError(f"{self._certificate} and {self._key}: {_explain(error)}") from None
        self._secret = secret
        self.not_after = leaf.not_valid_after_utc.timestamp()
        self.problem = ""
        self._recorder.certificate_loaded(self.not_after)
        return context


def has_required_certificate(certificate: ServingCertificate, environ: Mapping[str, Any]) -> bool:
    """Return whether the caller has shown the client certificate that is required, if any is.

    OpenSSL has verified it. Only ``/validate`` requires one, because a kubelet's probe has none.
    """
    if not certificate.requires_client:
        return True
    connection = environ.get("gunicorn.socket")
    return connection is not None and bool(connection.getpeercert())


def _explain(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and "KEY_VALUES_MISMATCH" in str(error):
        return "the key is not that of the certificate"
    if isinstance(error, ssl.SSLError):
        return "no certificate chain and key in PEM"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "no certificate in PEM"

"""The serving certificate from files, which may be replaced at any time."""

from __future__ import annotations

import hmac
import logging
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from webhook.errors import CertificateError
from webhook.file_stamps import FileWatcher
from webhook.recorder import Recorder
from webhook.server.expiry import read_not_after

logger = logging.getLogger(__name__)

POLL_INTERVAL: Final = 30.0
"""Seconds between checks of the files while no client connects."""


class ServingCertificate(Protocol):
    """Source of the TLS context of each handshake: files, or a managed Secret in the cluster."""

    not_after: float
    """When the certificate expires, in epoch seconds; 0 while there is none."""

    problem: str
    """Why the newest certificate is not in use, empty if it is."""

    requires_client: bool
    """Whether ``/validate`` requires a client certificate."""

    def context(self) -> ssl.SSLContext:
        """Return the context for a handshake that starts now."""
        ...  # pragma: no cover

    def watch(self, stop: threading.Event) -> None:
        """Keep the certificate up to date until ``stop`` is set."""
        ...  # pragma: no cover

    def derive_key(self, purpose: bytes) -> bytes | None:
        """Return a key that is derived from the private key, ``None`` without a private key.

        All replicas derive the same key, because they share the certificate. The key of one purpose does not
        reveal that of another.
        """
        ...  # pragma: no cover


class CertificateFiles:
    """Provides the TLS context of each handshake from files.

    When the files change, a new context is built and replaces the current one only if it is valid. A chain is
    never loaded into the current context, which would be unusable if the key did not match. While the files
    do not match, the last good pair stays in use.
    """

    def __init__(self, certificate: str, key: str, client_ca: str | None, recorder: Recorder) -> None:
        """Load certificate and key.

        Raises:
            CertificateError: they cannot be used.
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
        """Check the files regularly, so that a problem is reported even without a handshake."""
        while not stop.wait(POLL_INTERVAL):
            self.context()

    def derive_key(self, purpose: bytes) -> bytes | None:
        """Return a key that is derived from the private key in use; see ``ServingCertificate``."""
        return hmac.digest(self._secret, purpose, "sha256")

    def _build(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key)
            with open(self._certificate, "rb") as stream:  # noqa: PTH123 - the same path as above, as text
                not_after = read_not_after(context, stream.read())
            with open(self._key, "rb") as stream:  # noqa: PTH123 - the same
                secret = stream.read()
            if self._client_ca is not None:
                context.load_verify_locations(self._client_ca)
                # Optional here and required only for /validate, because a kubelet's probe has none.
                context.verify_mode = ssl.CERT_OPTIONAL
        except (OSError, ValueError) as error:
            raise CertificateError(f"{self._certificate} and {self._key}: {_explain(error)}") from None
        self._secret = secret
        self.not_after = not_after
        self.problem = ""
        self._recorder.certificate_loaded(self.not_after)
        return context


def has_required_certificate(
    certificate: ServingCertificate, peer_certificate: Callable[[], Mapping[str, Any] | None]
) -> bool:
    """Return whether the caller has shown the client certificate that is required, if any is.

    OpenSSL has verified it. Only ``/validate`` requires one, because a kubelet's probe has none.
    """
    if not certificate.requires_client:
        return True
    return bool(peer_certificate())


def _explain(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and "KEY_VALUES_MISMATCH" in str(error):
        return "the key does not match the certificate"
    if isinstance(error, ssl.SSLError):
        return "not a certificate chain and key in PEM"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "no certificate in PEM"

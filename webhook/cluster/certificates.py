"""Managed serving certificate, in a Secret that all replicas share.

There is no leader. Every replica checks the Secret and the webhook configuration every two seconds. If a step
is due, each replica takes it and writes by compare-and-swap: the second replica reads what the first one
wrote. If the Secret was deleted, emptied or overwritten, the certificate in memory is written back.
"""

from __future__ import annotations

import base64
import datetime as dt
import hmac
import logging
import os
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from webhook.backoff import Backoff, jittered
from webhook.cluster.ca import CertificateBundle, issue, read_material, renew
from webhook.cluster.client import NOT_FOUND, KubernetesApi
from webhook.cluster.scope import MUTATING, VALIDATING
from webhook.cluster.secrets import SharedSecret, StoredSecret
from webhook.errors import CertificateError, ClusterError
from webhook.recorder import Recorder

logger = logging.getLogger(__name__)

INTERVAL: Final = 2.0
"""Seconds between two checks: a ``caBundle`` that was emptied is restored within five."""

LONGEST_INTERVAL: Final = 30.0
"""Seconds between two checks while the API server does not respond."""

PROPAGATION_DELAY: Final = 1.0
"""Seconds between trusting a new CA and serving the certificate that it signed."""


@dataclass(frozen=True, slots=True)
class ManagedCertificateOptions:
    """The Secret of the certificate, its Service and the webhook configurations.

    ``mutating`` is empty if there is none.
    """

    namespace: str
    secret: str
    service: str
    validating: str
    mutating: str = ""
    client_ca: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The DNS names of the Service."""
        short = f"{self.service}.{self.namespace}.svc"
        return (short, f"{short}.cluster.local", f"{self.service}.{self.namespace}", self.service)


class ManagedCertificate:
    """Provides the TLS context for the next handshake, as ``CertificateFiles`` does for files.

    Until the first check succeeds, an untrusted certificate is served, so that probes work; ``not_after`` is
    0 then, and the replica is not ready.
    """

    def __init__(
        self,
        options: ManagedCertificateOptions,
        api: KubernetesApi,
        recorder: Recorder,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        """Check nothing yet; ``clock`` is in epoch seconds; ``pause`` sleeps."""
        self._options = options
        self._api = api
        self._recorder = recorder
        self._clock = clock
        self._pause = pause or time.sleep
        self._secret = SharedSecret(api, options.namespace, options.secret)
        self._material: CertificateBundle | None = None
        self._placeholder = issue(options.names, self._now())
        self._context = self._build(self._placeholder)
        self.requires_client = options.client_ca is not None
        self.not_after = 0.0
        self.problem = "there is no certificate from the cluster yet"

    def context(self) -> ssl.SSLContext:
        """Return the context for the next handshake."""
        return self._context

    def derive_key(self, purpose: bytes) -> bytes | None:
        """Return a key that is derived from the private key of the CA; see ``ServingCertificate``."""
        material = self._material
        return None if material is None else hmac.digest(material.ca_key, purpose, "sha256")

    def check(self) -> None:
        """Take the steps that are due.

        Raises:
            ClusterError: the API server refused or did not respond. The served certificate stays, unless
                only the mutating configuration could not be written.
        """
        for _ in range(3):
            material = self._agree()
            if material is not None:
                break
        else:
            raise ClusterError(0, "other replicas kept writing the certificate Secret")
        failure = self._trust(material.bundle)
        self._serve(material)
        if failure is not None:
            raise failure

    def watch(self, stop: threading.Event) -> None:
        """Check every two seconds until ``stop`` is set."""
        backoff, wait = Backoff(INTERVAL, LONGEST_INTERVAL), 0.0
        while not stop.wait(wait):
            try:
                self.check()
            except ClusterError as error:
                self._add_problem(str(error))
                wait = backoff.fail()
            except Exception:
                logger.exception("failed to maintain the certificate")
                self._add_problem("see the log")
                wait = LONGEST_INTERVAL
            else:
                backoff.reset()
                wait = INTERVAL
            wait = jittered(wait)

    def _agree(self) -> CertificateBundle | None:
        """Return the certificate of all replicas, ``None`` if another one has just written it."""
        stored = self._secret.read()
        now = self._now()
        material = read_material(stored.data, self._options.names, now)
        if material is None:
            material = self._restored(now)
            return material if self._write(stored, material) else None
        renewed = renew(material, self._options.names, now)
        if renewed is material:
            return material
        logger.info("the certificate is being renewed", extra={"secret": self._options.secret})
        return renewed if self._write(stored, renewed) else None

    def _restored(self, now: dt.datetime) -> CertificateBundle:
        """Return the certificate to write if that of the Secret cannot be served."""
        known = self._material
        if known is not None and read_material(known.data, self._options.names, now) is not None:
            logger.warning("the certificate Secret was lost or damaged and is written again")
            return known
        logger.info("a new CA is created", extra={"secret": self._options.secret})
        return issue(self._options.names, now, known.bundle if known is not None else b"")

    def _write(self, stored: StoredSecret, material: CertificateBundle) -> bool:
        return self._secret.write(stored, {**stored.data, **material.data})

    def _trust(self, bundle: bytes) -> ClusterError | None:
        """Write the CAs to every webhook of the configurations that lacks them.

        A failure about the mutating one is returned: ``/validate`` must be served without it.
        """
        options = self._options
        is_changed = self._trust_in(f"{VALIDATING}/{options.validating}", bundle)
        failure: ClusterError | None = None
        if options.mutating:
            try:
                is_changed |= self._trust_in(f"{MUTATING}/{options.mutating}", bundle)
            except ClusterError as error:
                failure = error
        if is_changed and (self._material is None or self._material.bundle != bundle):
            # API servers read the configurations a moment later.
            self._pause(PROPAGATION_DELAY)
        return failure

    def _trust_in(self, path: str, bundle: bytes) -> bool:
        """Write the CAs to one configuration; return whether it lacked them."""
        try:
            configuration = self._api.get(path)
        except ClusterError as error:
            if error.status == NOT_FOUND:
                return False  # it is not installed, or no longer
            raise
        change = trust_patch(configuration.get("webhooks") or [], bundle)
        if change:
            self._api.patch(path, change)
            logger.info("the webhook configuration trusts the certificate", extra={"configuration": path})
        return bool(change)

    def _serve(self, material: CertificateBundle) -> None:
        if material != self._material:
            self._context = self._build(material)
            self._material = material
            self.not_after = material.not_after
            self._recorder.certificate_loaded(material.not_after)
            self._recorder.ca_loaded(material.ca_not_after)
        self.problem = ""

    def _add_problem(self, problem: str) -> None:
        if problem != self.problem:
            logger.warning("cannot maintain the serving certificate: %s", problem)
        self.problem = problem
        self._recorder.certificate_rejected()

    def _build(self, material: CertificateBundle) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        _load_pair(context, material.leaf, material.leaf_key)
        if self._options.client_ca is not None:
            try:
                context.load_verify_locations(self._options.client_ca)
            except OSError as error:
                raise CertificateError(f"{self._options.client_ca} cannot be used: {error}") from None
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def _now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._clock(), dt.UTC)


def trust_patch(webhooks: Sequence[dict[str, Any]], bundle: bytes) -> list[dict[str, Any]]:
    """Return the JSON Patch (RFC 6902) that makes every webhook trust ``bundle``; empty if all do.

    Each step tests the name of the webhook, because the list may have been reordered.
    """
    wanted = base64.b64encode(bundle).decode()
    change: list[dict[str, Any]] = []
    for index, webhook in enumerate(webhooks):
        if (webhook.get("clientConfig") or {}).get("caBundle") != wanted:
            path = f"/webhooks/{index}"
            change.append({"op": "test", "path": f"{path}/name", "value": webhook.get("name")})
            change.append({"op": "add", "path": f"{path}/clientConfig/caBundle", "value": wanted})
    return change


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Load a pair from memory; OpenSSL reads files only, and the key must not be written to a disk."""
    descriptors = [_in_memory(certificate), _in_memory(key)]
    try:
        context.load_cert_chain(*(f"/proc/self/fd/{descriptor}" for descriptor in descriptors))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _in_memory(data: bytes) -> int:
    descriptor = os.memfd_create("swr-trust", os.MFD_CLOEXEC)
    os.write(descriptor, data)
    return descriptor

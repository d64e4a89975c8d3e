"""The features of the webhook that need the Kubernetes API. All use one client.

Imported only if one of them is on, because the client takes 40 MB.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from webhook.admission.evaluator import Evaluator
from webhook.admission.extraction import ImageUse
from webhook.app.trust_service import TrustService
from webhook.cluster.certificates import ManagedCertificate, ManagedCertificateOptions
from webhook.cluster.client import connect
from webhook.cluster.event_recorder import instance_name
from webhook.cluster.events import DecisionEvents
from webhook.cluster.secrets import SharedSecret
from webhook.cluster.snapshots import PURPOSE, SnapshotScope, TrustSnapshot
from webhook.cluster.warming import WarmUp
from webhook.policy.reloading import PolicyFile
from webhook.server.tls import ServingCertificate
from webhook.telemetry.metrics import Metrics
from webhook.trust.lookup import LookupRequest, TrustLookup


class ClusterFeatures:
    """Makes the features of one process."""

    def __init__(self, metrics: Metrics) -> None:
        """Open the client.

        Raises:
            ClusterError: there is no access to a cluster.
        """
        self._api = connect()
        self._metrics = metrics

    def certificate(
        self, secret: str, service: str, validating: str, mutating: str, client_ca: str | None
    ) -> ManagedCertificate:
        """Return a certificate that is kept in ``secret`` (``namespace/name``).

        ``validating`` and ``mutating`` are the names of the webhook configurations; the latter may be empty.
        """
        namespace, _, name = secret.partition("/")
        options = ManagedCertificateOptions(namespace, name, service, validating, mutating, client_ca)
        return ManagedCertificate(options, self._api, self._metrics)

    def events(self, environment: Mapping[str, str]) -> DecisionEvents:
        """Return the writer of Events on decisions."""
        return DecisionEvents(self._api, instance_name(environment), self._metrics)

    def snapshot(
        self, secret: str, policy: PolicyFile, trust: TrustService, certificate: ServingCertificate
    ) -> TrustSnapshot:
        """Return the snapshot of trusted images in ``secret`` (``namespace/name``)."""

        def scope() -> SnapshotScope:
            current = policy.current
            keys = {registry.key for registry in current.registries.registries}
            return SnapshotScope(current.cache.stale_if_error, keys)

        namespace, _, name = secret.partition("/")
        shared = SharedSecret(self._api, namespace, name)
        return TrustSnapshot(
            shared,
            trust.lookup,
            lambda: certificate.derive_key(PURPOSE),
            scope,
            self._metrics,
            on_import=trust.record_imported,
        )

    def warm_up(self, policy: PolicyFile, lookup: TrustLookup) -> WarmUp:
        """Return the warm-up of the cache with the images of running Pods."""

        def lookup_request_for(namespace: str, use: ImageUse) -> LookupRequest | None:
            return Evaluator(policy.current, lookup).lookup_request_for(use, namespace, time.time())

        return WarmUp(self._api, lookup_request_for, lookup.warm)

"""The trust lookup over SWR and its registries, opened for one policy and reconfigured for the next.

The webhook and the audit have one each for their lifetime. Other commands open one for themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from webhook import __version__
from webhook.evidence.clients import RegistryClientPool
from webhook.evidence.slow_work import RunSlow, run_here
from webhook.evidence.source import EvidenceSource
from webhook.http_client.messages import Credential, Transport
from webhook.http_client.resolver import Address, Resolver, resolve_by_system
from webhook.http_client.traffic import Traffic
from webhook.http_client.transport import PooledTransport
from webhook.policy.model import Policy
from webhook.registries import CredentialSettings, Registry
from webhook.server.health import RegistryStatus
from webhook.swr.client import SwrClient
from webhook.swr.credentials import build_credential
from webhook.swr.source import SwrTrustSource
from webhook.telemetry.metrics import Metrics
from webhook.trust.key_changes import find_key_changes
from webhook.trust.lookup import TrustLookup
from webhook.trust.replication import TrustEntry

if TYPE_CHECKING:
    from webhook.oci.client import OciClient


class TrustService:
    """Owns the lookup, and everything that it needs to query SWR."""

    def __init__(
        self,
        policy: Policy,
        metrics: Metrics,
        environment: Mapping[str, str],
        resolve: Callable[[str], list[Address]] = resolve_by_system,
        lateness: Callable[[], float] = lambda: 0.0,
        checkpoint: Callable[[], None] = lambda: None,
        run_slow: RunSlow = run_here,
    ) -> None:
        """Open the lookup for ``policy``; nothing is queried yet. ``environment`` may hold credentials.

        ``lateness`` and ``checkpoint`` are those of ``TrustLookup``, ``run_slow`` is that of
        ``SignatureLookup``.

        Raises:
            ConfigError: a credential or a CA file of the policy is missing.
        """
        self._metrics = metrics
        self._environment = environment
        self._resolver = Resolver(resolve)
        self._traffic = Traffic()
        self._swr = SwrTrustSource(self._open_transport, self._open_credential, metrics)
        self._registries = RegistryClientPool(self._swr.transport_for, environment, metrics, run_slow)
        self._source = EvidenceSource(self._swr, self._registries, metrics, policy.cache)
        self._open(policy)
        self._applied = policy.registries.registries
        self.lookup = TrustLookup(
            self._source, policy.cache, policy.lookup, metrics, lateness=lateness, checkpoint=checkpoint
        )

    def reconfigure(self, policy: Policy) -> None:
        """Use another policy; the cache keeps the records of unchanged registries.

        If only signing keys of a registry have changed, it also keeps what the other keys prove.

        Raises:
            ConfigError: a credential or a CA file of the policy is missing; nothing has changed.
        """
        registries = policy.registries.registries
        self._open(policy)
        changes = find_key_changes(self._applied, registries)
        self._swr.retain(registries)
        self._source.retain(registries, changes)
        self._source.configure(policy.cache)
        self.lookup.retain(registries, changes)
        self.lookup.configure(policy.cache, policy.lookup)
        self._applied = registries

    def status(self, registry: Registry) -> RegistryStatus:
        """Return the state of a registry for the probes."""
        status = RegistryStatus(
            breaker_open=self.lookup.is_breaker_open(registry),
            blocked_for=self.lookup.blocked_for(registry),
        )
        client = self._swr.client(registry)
        if client is not None:
            status = replace(
                status,
                answered_at=client.answered_at,
                uses_tag_list=client.uses_tag_list,
                ca_file_problem=client.ca_file_problem,
                credential_paused_for=client.credential_paused_for,
            )
        registry_client = self._registries.find(registry)
        if registry_client is not None:
            status = replace(
                status,
                registry_answered_at=registry_client.answered_at,
                registry_failure=registry_client.last_failure,
                login_paused_for=registry_client.login_paused_for,
                ca_file_problem=registry_client.ca_file_problem,
            )
        return status

    def clients(self, registry: Registry) -> list[SwrClient | OciClient]:
        """Return the open clients of a registry: for tag details, for signatures, or for both."""
        opened = (self._swr.client(registry), self._registries.find(registry))
        return [client for client in opened if client is not None]

    def record_imported(self, entries: Iterable[TrustEntry]) -> None:
        """Record entries of the snapshot: their registries have answered about the images before."""
        self._registries.record_imported(entries)

    @property
    def cache_sizes(self) -> tuple[int, int, int]:
        """The numbers of trusted, refused and imported records in the cache."""
        return self.lookup.sizes

    def _open(self, policy: Policy) -> None:
        """Open what the registries need, so that problems are found now."""
        self._swr.open(policy.registries.registries)
        for registry in policy.registries.registries:
            if registry.needs_signature:
                self._registries.lookup(registry)

    def _open_transport(self, *, ca_file: str | None, proxy: str | None) -> Transport:
        return PooledTransport(
            ca_file=ca_file,
            proxy=proxy,
            resolver=self._resolver,
            recorder=self._metrics,
            traffic=self._traffic,
        )

    def _open_credential(
        self, settings: CredentialSettings, registry: Registry, transport: Transport
    ) -> Credential:
        return build_credential(
            settings,
            region=registry.region,
            iam_endpoint=registry.iam_endpoint,
            project_id=registry.project_id,
            transport=transport,
            environment=self._environment,
            recorder=self._metrics,
        )


def open_lookup(policy: Policy) -> TrustLookup:
    """Return a lookup for one command.

    Raises:
        ConfigError: a credential or a CA file of the policy is missing.
    """
    return TrustService(policy, Metrics(__version__), os.environ).lookup

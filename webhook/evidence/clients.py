"""The clients of registry APIs and the lookups of signatures, opened on first use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from webhook.evidence.kept_blobs import KeptBlobs
from webhook.evidence.slow_work import RunSlow, run_here
from webhook.http_client.messages import Credential, Transport
from webhook.recorder import Recorder
from webhook.registries import CredentialSettings, Registry

if TYPE_CHECKING:
    from webhook.evidence.signature_lookup import SignatureLookup
    from webhook.oci.client import OciClient
    from webhook.trust.replication import TrustEntry


class RegistryClientPool:
    """Implements ``RegistryClients`` over the transports that SWR's API is called by.

    Registries with the same login share it, because failed logins are counted per account, not per registry.
    A client is kept while the signing keys change: it knows what the registry has answered.

    The modules that read registries and verify signatures are imported on first use: they take memory, and
    most installations evaluate the tag detail only.
    """

    def __init__(
        self,
        transport_for: Callable[[Registry], Transport],
        environment: Mapping[str, str],
        recorder: Recorder,
        run_slow: RunSlow = run_here,
    ) -> None:
        """Call over ``transport_for``; ``environment`` may hold an access key.

        ``run_slow`` runs work that takes more than a millisecond.
        """
        self._transport_for = transport_for
        self._environment = environment
        self._recorder = recorder
        self._run_slow = run_slow
        self._kept = KeptBlobs()
        self._lock = threading.Lock()
        self._clients: dict[_Route, OciClient] = {}
        self._clients_by_key: dict[str, OciClient] = {}
        """The same, by the keys of the registries."""
        self._lookups: dict[str, SignatureLookup] = {}
        self._logins: dict[_Identity, Credential | None] = {}

    def client(self, registry: Registry) -> OciClient:
        """Return the client of a registry; see ``RegistryClients``.

        Raises:
            ConfigError: the environment lacks the access key, or a CA file cannot be used.
        """
        with self._lock:
            client = self._clients_by_key.get(registry.key)
            if client is None:
                route = _route(registry)
                client = self._clients.get(route)
                if client is None:
                    client = self._clients[route] = self._open(registry)
                self._clients_by_key[registry.key] = client
            return client

    def lookup(self, registry: Registry) -> SignatureLookup:
        """Return the lookup of signatures of a registry; see ``RegistryClients``."""
        from webhook.evidence.signature_lookup import (  # noqa: PLC0415 - see above
            SignatureLookup,
            make_requirement,
        )

        client = self.client(registry)
        with self._lock:
            lookup = self._lookups.get(registry.key)
            if lookup is None:
                assert registry.signatures is not None
                requirement = make_requirement(registry.signatures)
                lookup = SignatureLookup(requirement, client, self._run_slow, kept=self._kept)
                self._lookups[registry.key] = lookup
            return lookup

    def find(self, registry: Registry) -> OciClient | None:
        """Return the client of a registry if it was opened."""
        return self._clients_by_key.get(registry.key)

    def record_imported(self, entries: Iterable[TrustEntry]) -> None:
        """Record that the open registries have answered about the trusted images of a snapshot before.

        Otherwise an outage after a start could not be told from a failure of one image.
        """
        for entry in entries:
            key, organization, repository, _ = entry.key
            client = self._clients_by_key.get(key)
            if entry.trusted and client is not None:
                client.record_found(f"{organization}/{repository}")

    def retain(self, registries: Collection[Registry]) -> None:
        """Forget what belongs to other registries; see ``RegistryClients``."""
        keys = {registry.key for registry in registries}
        with self._lock:
            _keep(self._clients_by_key, keys)
            _keep(self._lookups, keys)
            _keep(self._clients, set(map(_route, registries)))
            _keep(self._logins, set(map(_identity, registries)))

    def _open(self, registry: Registry) -> OciClient:
        from webhook.oci.client import OciClient  # noqa: PLC0415 - see above
        from webhook.oci.login import build_login  # noqa: PLC0415 - the same

        identity = _identity(registry)
        if identity not in self._logins:
            self._logins[identity] = build_login(registry, self._environment, self._recorder)
        login = self._logins[identity]
        return OciClient(registry, self._transport_for(registry), login, self._recorder)


_Identity = tuple[str, tuple[str, ...], str | None, CredentialSettings, str]


def _identity(registry: Registry) -> _Identity:
    """Return what the login of a registry is made from."""
    return (
        registry.registry_endpoint,
        registry.hosts,
        registry.docker_config_file,
        registry.credentials,
        registry.region,
    )


_Route = tuple[_Identity, frozenset[str], str | None, str | None]


def _route(registry: Registry) -> _Route:
    """Return what the client of a registry is made from."""
    return (_identity(registry), registry.organizations, registry.ca_file, registry.proxy)


def _keep(known: dict[Any, Any], keys: Collection[object]) -> None:
    for key in [key for key in known if key not in keys]:
        del known[key]

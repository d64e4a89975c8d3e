"""The trust source of all registries: their clients, credentials and transports."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from webhook.deadlines import Deadline
from webhook.errors import ConfigError, Problem
from webhook.http_client.ca_files import describe
from webhook.http_client.messages import Credential, Transport
from webhook.recorder import Recorder
from webhook.registries import CredentialSettings, Registry
from webhook.swr.client import SwrClient
from webhook.trust.records import CallLimiter, TrustQuery, TrustRecord

K = TypeVar("K")
V = TypeVar("V")


class OpenTransport(Protocol):
    """Creates the transport of a CA file and a proxy; both ``None`` by default."""

    def __call__(self, *, ca_file: str | None, proxy: str | None) -> Transport:
        """Return a transport, which is shared."""
        ...  # pragma: no cover


class OpenCredential(Protocol):
    """Creates a credential, as ``webhook.swr.credentials.build_credential`` does."""

    def __call__(self, settings: CredentialSettings, registry: Registry, transport: Transport) -> Credential:
        """Return a credential, which all registries with the same identity share."""
        ...  # pragma: no cover


class SwrTrustSource:
    """Implements ``TrustSource``. ``open`` creates everything but connections, which are made on first use.

    Registries with equal credential settings and IAM share one credential, because failed authentications
    are counted per account, not per registry.
    """

    def __init__(
        self, open_transport: OpenTransport, open_credential: OpenCredential, recorder: Recorder
    ) -> None:
        """Use the two functions for new transports and credentials."""
        self._open_transport = open_transport
        self._open_credential = open_credential
        self._recorder = recorder
        self._lock = threading.Lock()
        self._transports: dict[tuple[str | None, str | None], Transport] = {}
        self._credentials: dict[tuple[object, ...], Credential] = {}
        self._clients: dict[str, SwrClient] = {}

    def open(self, registries: Iterable[Registry]) -> None:
        """Create the clients of these registries, so that problems are found before the first request.

        SWR Enterprise has no API for tags that is called; there only the transport is created.

        Raises:
            ConfigError: the environment lacks a credential, or a CA file cannot be used.
        """
        problems: dict[Problem, None] = {}
        for registry in registries:
            try:
                if registry.is_enterprise:
                    self.transport_for(registry)
                else:
                    self._client(registry)
            except ConfigError as error:
                problems |= dict.fromkeys(error.problems)
        if problems:
            raise ConfigError(list(problems))

    def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        """Fetch from the query's registry; see ``TrustSource``."""
        client = self._client(query.registry)
        if query.digest is not None:
            return client.find_digest(query, deadline, call_limiter)
        return client.show_tag(query, deadline, call_limiter)

    def client(self, registry: Registry) -> SwrClient | None:
        """Return the client of a registry, ``None`` if it was not opened."""
        return self._clients.get(registry.key)

    def transport_for(self, registry: Registry) -> Transport:
        """Return the transport of a registry, which all with the same CA file and proxy share.

        Raises:
            ConfigError: its CA file cannot be used.
        """
        with self._lock:
            return self._transport(registry)

    def retain(self, registries: Iterable[Registry]) -> None:
        """Remove the clients of registries that are no longer configured."""
        kept = list(registries)
        keys = {registry.key for registry in kept}
        identities = {_identity(registry) for registry in kept}
        routes = {(registry.ca_file, registry.proxy) for registry in kept}
        with self._lock:
            _keep(self._clients, keys)
            _keep(self._credentials, identities)
            _keep(self._transports, routes)

    def _client(self, registry: Registry) -> SwrClient:
        client = self._clients.get(registry.key)
        if client is not None:
            return client
        with self._lock:
            transport = self._transport(registry)
            credential = _get_or_make(
                self._credentials,
                _identity(registry),
                lambda: self._open_credential(registry.credentials, registry, transport),
            )
            return _get_or_make(
                self._clients,
                registry.key,
                lambda: SwrClient(registry, transport, credential, self._recorder),
            )

    def _transport(self, registry: Registry) -> Transport:
        route = (registry.ca_file, registry.proxy)
        return _get_or_make(self._transports, route, lambda: self._connect(registry))

    def _connect(self, registry: Registry) -> Transport:
        try:
            return self._open_transport(ca_file=registry.ca_file, proxy=registry.proxy)
        except OSError as error:  # ssl.SSLError is one
            problem = f"the caFile {registry.ca_file} of {registry.name} cannot be used: {describe(error)}"
            raise ConfigError([Problem("registries", problem)]) from None


def _identity(registry: Registry) -> tuple[object, ...]:
    if registry.credentials.kind in ("aksk", "token"):
        return (registry.credentials,)
    route = (registry.ca_file, registry.proxy)
    return (registry.credentials, registry.iam_endpoint, registry.region, registry.project_id, route)


def _get_or_make(known: dict[K, V], key: K, make: Callable[[], V]) -> V:
    value = known.get(key)
    if value is None:
        value = known[key] = make()
    return value


def _keep(known: dict[K, V], keys: set[K]) -> None:
    for key in [key for key in known if key not in keys]:
        del known[key]

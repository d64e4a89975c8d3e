"""First calls to the registries, before a review waits for them.

Otherwise the first lookup would pay for resolving the name, for the TLS handshake, and for the trial of the
credential, whose end all other lookups await (``docs/decisions/0010``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol

from webhook.deadlines import Deadline, spawn
from webhook.errors import TrustLookupError
from webhook.policy.model import Policy
from webhook.registries import Registry
from webhook.trust.records import CallLimiter, Unlimited

MAX_CONCURRENT: Final = 8
"""Calls at the same time: a policy may name a hundred registries of one account."""

logger = logging.getLogger(__name__)


class RegistryClient(Protocol):
    """Calls a registry; ``webhook.swr.client`` and ``webhook.oci.client`` do."""

    def preconnect(self, deadline: Deadline, call_limiter: CallLimiter) -> None:
        """Connect, and find out what does not depend on an image.

        Raises:
            TrustLookupError: the registry cannot be used now.
        """
        ...  # pragma: no cover


class Preconnector:
    """Calls each registry once: at the start, or when a policy first names it."""

    def __init__(self, clients_of: Callable[[Registry], Iterable[RegistryClient]]) -> None:
        """Call the open clients that ``clients_of`` returns."""
        self._clients_of = clients_of
        self._called: frozenset[str] = frozenset()
        self._places = threading.BoundedSemaphore(MAX_CONCURRENT)

    def connect(self, policy: Policy) -> None:
        """Call the registries that the policy before did not have, in other threads.

        A failure is logged. It has no other effect: the first lookup tries again.
        """
        registries = policy.registries.registries
        for registry in registries:
            if registry.identity not in self._called:
                for client in self._clients_of(registry):
                    call = partial(self._preconnect, registry.name, client, policy.lookup.timeout)
                    spawn(call, f"preconnect-{registry.name}")
        self._called = frozenset(registry.identity for registry in registries)

    def _preconnect(self, name: str, client: RegistryClient, timeout: float) -> None:
        try:
            with self._places:
                client.preconnect(Deadline.after(timeout), Unlimited())
        except TrustLookupError as error:
            logger.warning("%s cannot be used yet: %s", name, error)

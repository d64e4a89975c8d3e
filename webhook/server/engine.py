"""The engine that answers questions of trust: SWR behind a cache, wired for one policy after another.

The webhook holds one for its life; each command of the command line opens one for itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from webhook import __version__
from webhook.deadlines import Deadline
from webhook.policy.model import Policy
from webhook.registries import CredentialSettings, Registry
from webhook.swr.credentials import build_credential
from webhook.swr.http import Credential, Transport
from webhook.swr.resolver import Address, Resolver, resolve_by_system
from webhook.swr.source import SwrTrustSource
from webhook.swr.traffic import Traffic
from webhook.swr.transport import PooledTransport
from webhook.telemetry.metrics import Metrics
from webhook.trust.lookup import LookupRequest, LookupResult, TrustLookup
from webhook.trust.records import CallLimiter, TrustQuery, TrustRecord, TrustStatus


class Engine:
    """Implements ``TrustAnswers`` over SWR; follows the policy."""

    def __init__(
        self,
        policy: Policy,
        metrics: Metrics,
        environment: Mapping[str, str],
        resolve: Callable[[str], list[Address]] = resolve_by_system,
        lateness: Callable[[], float] = lambda: 0.0,
        take_turn: Callable[[], None] = lambda: None,
    ) -> None:
        """Make the parts; nothing is asked yet. ``environment`` may hold credentials.

        ``lateness`` returns for how many seconds this process has been held up since it began;
        ``take_turn`` lets others go first who wait for longer.

        Raises:
            ConfigError: a credential or a CA file that the policy needs is not there.
        """
        self._metrics = metrics
        self._environment = environment
        self._resolver = Resolver(resolve)
        self._traffic = Traffic()
        self._source = SwrTrustSource(self._open_transport, self._open_credential, metrics)
        self._source.open(policy.registries.registries)
        self.lookup = TrustLookup(
            self, policy.cache, policy.lookup, metrics, lateness=lateness, take_turn=take_turn
        )

    def look_up(self, questions: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
        """Answer questions; see ``TrustLookup.look_up``."""
        return self.lookup.look_up(questions, deadline)

    def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        """Ask SWR, noting when it last marked an image as trusted."""
        record = self._source.fetch(query, deadline, call_limiter)
        if record.status is TrustStatus.TRUSTED:
            self._metrics.record_trusted(query.registry.name)
        return record

    def follow(self, policy: Policy) -> None:
        """Go on under another policy: what is known stays for registries that are unchanged.

        Raises:
            ConfigError: the other policy needs what is not there; all goes on as before.
        """
        registries = policy.registries.registries
        self._source.open(registries)
        self._source.retain(registries)
        self.lookup.retain(registries)
        self.lookup.configure(policy.cache, policy.lookup)

    def _open_transport(self, *, ca_file: str | None, proxy: str | None) -> Transport:
        return PooledTransport(
            ca_file=ca_file,
            proxy=proxy,
            resolver=self._resolver,
            recorder=self._metrics.conditions,
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


@contextmanager
def open_engine(policy: Policy) -> Iterator[Engine]:
    """Open an engine for one command."""
    yield Engine(policy, Metrics(__version__), os.environ)

"""Metrics of a registry's state, and their values for the probes."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge


class RegistryMetrics:
    """Gauges with the label ``registry``, absent until the state occurs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the gauges."""
        self._breaker = Gauge(
            "swr_trust_swr_circuit_breaker_open",
            "1 while the circuit breaker of a registry is open.",
            ("registry",),
            registry=registry,
        )
        self.breaker_open: dict[str, bool] = {}
        self._blocked = Gauge(
            "swr_trust_swr_account_blocked_until_timestamp_seconds",
            "Until when a registry is not called because SWR has blocked the account for too many requests.",
            ("registry",),
            registry=registry,
        )
        self.blocked_until: dict[str, float] = {}
        """By registry, in epoch seconds."""
        self._tag_list = Gauge(
            "swr_trust_swr_tag_list_used",
            "1 while tag lists are read because a registry does not offer the call for one tag.",
            ("registry",),
            registry=registry,
        )
        self.uses_tag_list: dict[str, bool] = {}

    def breaker_changed(self, registry: str, *, is_open: bool) -> None:
        """Record whether the circuit breaker of a registry is open."""
        self.breaker_open[registry] = is_open
        self._breaker.labels(registry).set(1 if is_open else 0)

    def account_blocked(self, registry: str, until: float) -> None:
        """Record until when (epoch seconds) no call to a registry is made."""
        self.blocked_until[registry] = until
        self._blocked.labels(registry).set(until)

    def tag_list_used(self, registry: str, *, used: bool) -> None:
        """Record whether tag lists are read instead of single tags."""
        self.uses_tag_list[registry] = used
        self._tag_list.labels(registry).set(1 if used else 0)

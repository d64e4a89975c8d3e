"""Metrics of signatures and of the keys that count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

KEY_STATES: Final = ("counting", "unreadable", "lapsed")
"""Each key of a registry is in one of these states."""


class SignatureMetrics:
    """The metrics of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all metrics."""
        self._checks = Counter(
            "swr_trust_signatures_total",
            "Verifications of the signatures of an image, by result.",
            ("registry", "result"),
            registry=registry,
        )
        self._keys = Gauge(
            "swr_trust_signature_keys", "Signing keys, by state.", ("registry", "state"), registry=registry
        )
        self._missing = Gauge(
            "swr_trust_signature_keys_missing",
            "How many more signing keys must count before an image can be trusted.",
            ("registry",),
            registry=registry,
        )
        self._not_after = Gauge(
            "swr_trust_signature_key_not_after_timestamp_seconds",
            "When a signing key lapses. Absent if it never does.",
            ("registry", "key"),
            registry=registry,
        )
        self._lapsing: dict[str, set[str]] = {}
        """The keys that lapse, by registry."""

    def checked(self, registry: str, result: str) -> None:
        """Count a verification."""
        self._checks.labels(registry, result).inc()

    def keys_changed(self, registry: str, states: Mapping[str, int], missing: int) -> None:
        """Replace the keys of a registry; see ``Recorder.signing_keys_changed``."""
        for key in self._lapsing.pop(registry, set()):
            self._not_after.remove(registry, key)
        for state in KEY_STATES:
            if states:
                self._keys.labels(registry, state).set(states.get(state, 0))
            else:
                self._keys.remove(registry, state)
        if states:
            self._missing.labels(registry).set(missing)
        else:
            self._missing.remove(registry)

    def key_lapses(self, registry: str, key: str, not_after: float) -> None:
        """Record the end of a key, in epoch seconds; see ``Recorder.signing_key_lapses``."""
        self._lapsing.setdefault(registry, set()).add(key)
        self._not_after.labels(registry, key).set(not_after)

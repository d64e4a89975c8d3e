"""Metrics and log lines about signing keys. The log has names of keys and files, never contents."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final

from webhook.policy.model import Policy
from webhook.policy.signing_keys import KeyState, lapsing_keys, state_of
from webhook.recorder import Recorder
from webhook.registries import Registry, SignatureSettings, SigningKey

logger = logging.getLogger(__name__)

NOTICE_INTERVAL: Final = 86400.0
"""Seconds between two log lines about keys that lapse, and about exemptions that expire."""


class KeyReports:
    """Reports the signing keys of the policy in force."""

    def __init__(self, recorder: Recorder) -> None:
        """Report to ``recorder`` and to the log."""
        self._recorder = recorder
        self._noticed_at = float("-inf")

    def report(self, policy: Policy, before: Policy | None, now: float) -> None:
        """Report the keys of a policy that is in force from now on; ``before`` was in force until now."""
        self._noticed_at = float("-inf")
        self._record(policy, before, now)
        known = _settings_of(before) if before is not None else {}
        for registry in policy.registries.registries:
            if registry.signatures is not None and known.get(_identity(registry)) != registry.signatures:
                _log(registry, registry.signatures, is_start=before is None)

    def remind(self, policy: Policy, now: float) -> None:
        """Log keys that lapse soon or have lapsed, once in a while; ``now`` is in epoch seconds."""
        if now - self._noticed_at < NOTICE_INTERVAL:
            return
        soon: list[str] = []
        lapsed: list[str] = []
        for registry, _, key, left in lapsing_keys(policy, now):
            name = f"{key.name} of {policy.registries.registries[registry].name}"
            (soon if left > 0 else lapsed).append(name)
        if soon or lapsed:
            self._noticed_at = now
            logger.warning("signing keys lapse soon or have lapsed", extra={"soon": soon, "ended": lapsed})

    def _record(self, policy: Policy, before: Policy | None, now: float) -> None:
        """Record states and ends of keys that decide. Registries of one name are counted together."""
        states: dict[str, Counter[KeyState]] = {}
        missing: Counter[str] = Counter()
        ends: dict[tuple[str, str], float] = {}
        for registry in policy.registries.registries:
            missing[registry.name] = max(missing[registry.name], _count_missing(registry))
            for key in _deciding_keys(registry):
                states.setdefault(registry.name, Counter(dict.fromkeys(KeyState, 0)))[state_of(key, now)] += 1
                if key.not_after is not None:
                    name = (registry.name, key.name)
                    ends[name] = min(key.not_after, ends.get(name, key.not_after))
        for registry in before.registries.registries if before is not None else ():
            if registry.needs_signature and registry.name not in states:
                self._recorder.signing_keys_changed(registry.name, {}, 0)
        for registry_name, counted in states.items():
            named = {state.value: count for state, count in counted.items()}
            self._recorder.signing_keys_changed(registry_name, named, missing[registry_name])
        for (registry_name, key_name), not_after in ends.items():
            self._recorder.signing_key_lapses(registry_name, key_name, not_after)


def _log(registry: Registry, signatures: SignatureSettings, *, is_start: bool) -> None:
    fields = {
        "registry": registry.name,
        "keys": [key.name for key in signatures.counting],
        "problems": [f"{key.name} {key.problem}" for key in signatures.keys if key.problem],
    }
    if _count_missing(registry):
        logger.error("too few signing keys count: no image of this registry is trusted", extra=fields)
    elif fields["problems"]:
        logger.warning("a signing key does not count", extra=fields)
    elif not is_start:
        logger.info("the signing keys have changed", extra=fields)


def _deciding_keys(registry: Registry) -> Sequence[SigningKey]:
    """Return the keys on which trust depends: none of a registry that is only surveyed."""
    return registry.signing_keys if registry.needs_signature else ()


def _count_missing(registry: Registry) -> int:
    """Return how many more keys must count before an image of a registry can be trusted."""
    signatures = registry.signatures
    return signatures.missing if signatures is not None and registry.needs_signature else 0


def _settings_of(policy: Policy) -> dict[tuple[object, ...], SignatureSettings | None]:
    return {_identity(registry): registry.signatures for registry in policy.registries.registries}


def _identity(registry: Registry) -> tuple[object, ...]:
    """Return what names a registry in two policies; its keys do not."""
    return registry.hosts, registry.organizations

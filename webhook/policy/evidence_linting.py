"""Warnings about the evidence of registries: keys that lapse, and settings that have no effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from webhook.errors import Problem
from webhook.policy.model import Policy
from webhook.policy.quantities import format_duration
from webhook.policy.signing_keys import KeyState, lapsing_keys, last_day, state_of
from webhook.regions import REGIONS
from webhook.registries import Evidence, Registry

LONG_SIGNED: Final = 3600.0
"""Seconds of ``cache.signed`` above which a warning names how long a deleted signature counts."""

_REGION_HOSTS: Final = frozenset(region.host for region in REGIONS.values())


def lint_evidence(policy: Policy, now: float) -> Iterator[Problem]:
    """Yield the warnings about signatures and editions; ``now`` is in epoch seconds."""
    for index, registry in enumerate(policy.registries.registries):
        path = f"registries[{index}]"
        yield from _lint_edition(path, registry)
        if registry.evidence is Evidence.TAG_DETAIL:
            yield from _lint_unused(path, registry)
        else:
            yield from _lint_login(path, registry)
    for index, position, key, left in lapsing_keys(policy, now):
        if left > 0:
            yield Problem(
                f"registries[{index}].signatures.keys[{position}].notAfter",
                f"key {key.name!r} lapses on {last_day(key)}, within 14 days: sign its images with another "
                "key, or set a later notAfter",
            )
    if any(registry.needs_signature for registry in policy.registries.registries):
        yield from _lint_cache(policy)


def find_lapsed(policy: Policy, now: float) -> list[Problem]:
    """Return a problem for each key that has lapsed. The policy can be used: they do not count."""
    return [
        Problem(
            f"registries[{index}].signatures.keys[{position}].notAfter",
            f"key {key.name!r} lapsed on {last_day(key)}: remove it, or set a later notAfter",
        )
        for index, position, key, left in lapsing_keys(policy, now)
        if left <= 0
    ]


def find_unusable(policy: Policy, now: float) -> list[Problem]:
    """Return a problem for each key whose file cannot be used, in a policy that was read nevertheless."""
    return [
        Problem(f"registries[{index}].signatures.keys[{position}].file", f"key {key.name!r} {key.problem}")
        for index, registry in enumerate(policy.registries.registries)
        for position, key in enumerate(registry.signing_keys)
        if state_of(key, now) is KeyState.UNREADABLE
    ]


def _lint_edition(path: str, registry: Registry) -> Iterator[Problem]:
    if registry.is_enterprise:
        for host in registry.hosts:
            if host in _REGION_HOSTS:
                yield Problem(
                    f"{path}.edition",
                    f"{host} is the shared SWR of a region, not SWR Enterprise: write basic",
                )


def _lint_unused(path: str, registry: Registry) -> Iterator[Problem]:
    if registry.signatures is not None:
        yield Problem(
            f"{path}.signatures",
            "only the survey and the audit use them: with evidence tagDetail, no image has to be signed",
        )
        return
    default = f"https://{registry.hosts[0]}"
    for key, is_set in (
        ("registryEndpoint", registry.registry_endpoint not in ("", default)),
        ("registryLogin", registry.docker_config_file is not None),
    ):
        if is_set:
            yield Problem(f"{path}.{key}", "is not used: with evidence tagDetail, no signature is read")


def _lint_login(path: str, registry: Registry) -> Iterator[Problem]:
    has_login = registry.docker_config_file is not None or registry.credentials.is_permanent_key
    if not has_login and not registry.is_enterprise:
        yield Problem(
            f"{path}.registryLogin",
            "is missing: the signatures are read without a login, which works for public images only",
        )


def _lint_cache(policy: Policy) -> Iterator[Problem]:
    cache = policy.cache
    if cache.signed > LONG_SIGNED:
        yield Problem(
            "cache.signed",
            f"an image whose signature is deleted is admitted for up to {format_duration(cache.signed)} more",
        )
    if cache.signed < cache.trusted:
        yield Problem(
            "cache.signed",
            "is shorter than cache.trusted, for which a signed image is trusted anyway",
        )

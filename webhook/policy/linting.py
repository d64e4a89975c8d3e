"""What is legal in a policy but dangerous or useless."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Final

from webhook.errors import Problem
from webhook.images.patterns import ImagePattern
from webhook.policy.findings import Mode
from webhook.policy.model import Exemption, Policy, Rule
from webhook.policy.namespaces import NamespacePatterns

EXPIRY_NOTICE: Final = 14 * 86400.0
"""Seconds before its end from which an exemption is warned of."""


def lint(policy: Policy, now: float) -> list[Problem]:
    """Return the warnings about a policy; ``now`` is in epoch seconds."""
    return [
        *_lint_rules(policy),
        *_lint_exemptions(policy, now),
        *_lint_registries(policy),
        *_lint_modes(policy),
    ]


def expiring(policy: Policy, now: float) -> list[tuple[Exemption, float]]:
    """Return the exemptions that end within the notice or have ended, with the seconds left."""
    ending = []
    for exemption in policy.exemptions:
        if exemption.expires is not None:
            left = exemption.expires.timestamp() - now
            if left <= EXPIRY_NOTICE:
                ending.append((exemption, left))
    return ending


def _lint_rules(policy: Policy) -> Iterator[Problem]:
    for index, rule in enumerate(policy.rules):
        cover = _covering(rule, policy.rules[:index])
        if cover is not None:
            yield Problem(
                f"rules[{index}]",
                f"is never reached: rule {cover.name!r} above it matches all that it matches",
            )


def _lint_exemptions(policy: Policy, now: float) -> Iterator[Problem]:
    for index, exemption in enumerate(policy.exemptions):
        path = f"exemptions[{index}]"
        if any(pattern.is_everything for pattern in exemption.images):
            where = "everywhere" if exemption.namespaces.globs == ("*",) else "in its namespaces"
            yield Problem(path, f"exempts every image {where}: nothing is checked there")
        permanent = [other for other in policy.exemptions[:index] if other.expires is None]
        cover = _covering(exemption, permanent)
        if cover is not None:
            yield Problem(
                path, f"is never reached: exemption {cover.name!r} above it matches all that it matches"
            )
    for exemption, left in expiring(policy, now):
        path = f"exemptions[{policy.exemptions.index(exemption)}].expires"
        assert exemption.expires is not None
        # One second back, so that the end of a day is shown as that day.
        day = (exemption.expires - dt.timedelta(seconds=1)).date()
        if left < 0:
            yield Problem(path, f"exemption {exemption.name!r} has expired on {day}: remove it or renew it")
        else:
            yield Problem(path, f"exemption {exemption.name!r} expires on {day}, within 14 days")


def _lint_registries(policy: Policy) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    taken: dict[str, set[str]] = {}
    for index, registry in enumerate(policy.registries.registries):
        for host in registry.hosts:
            if host in seen:
                yield Problem(
                    f"registries[{index}]",
                    f"{host} is hidden by registries[{seen[host]}], which takes every organisation",
                )
            elif not registry.organizations:
                seen[host] = index
            doubled = taken.setdefault(host, set()) & registry.organizations
            for organization in sorted(doubled):
                yield Problem(
                    f"registries[{index}].organizations",
                    f"{organization} of {host} belongs to an entry above already",
                )
            taken[host] |= registry.organizations


def _lint_modes(policy: Policy) -> Iterator[Problem]:
    if policy.on_lookup_failure == "allow" and policy.may_enforce:
        yield Problem(
            "onLookupFailure",
            "allow admits whatever is asked for while SWR is down: an outage opens the gate",
        )
    if policy.mode is Mode.AUDIT and policy.workloads == "enforce" and not policy.may_enforce:
        yield Problem("workloads", "enforce has no effect while nothing else enforces")
    if policy.unmanaged_registries == "allow" and policy.may_enforce:
        yield Problem("unmanagedRegistries", "allow admits every image that is not of a configured registry")
    if not policy.cache.stale_if_error:
        yield Problem("cache.staleIfError", "0s: while SWR is down no Pod can be rescheduled")
    if policy.cache.refused > policy.cache.trusted:
        yield Problem("cache.refused", "is longer than cache.trusted: a newly trusted image waits needlessly")


def _covering(
    item: Rule | Exemption, others: Sequence[Rule] | Sequence[Exemption]
) -> Rule | Exemption | None:
    for other in others:
        if _covers_namespaces(other.namespaces, item.namespaces) and all(
            _covers_image(other.images, pattern) for pattern in item.images
        ):
            return other
    return None


def _covers_image(patterns: tuple[ImagePattern, ...], pattern: ImagePattern) -> bool:
    return any(wide.covers(pattern) for wide in patterns)


def _covers_namespaces(wide: NamespacePatterns, narrow: NamespacePatterns) -> bool:
    if wide.globs == ("*",):
        return True
    return all(glob in wide.globs or ("*" not in glob and wide.match(glob)) for glob in narrow.globs)

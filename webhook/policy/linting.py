"""Warnings about valid policies that are dangerous or have unused parts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Final

from webhook.errors import Problem
from webhook.images.patterns import ImagePattern, parse_pattern
from webhook.policy.evidence_linting import lint_evidence
from webhook.policy.findings import Mode
from webhook.policy.model import STRICTEST_FIRST, BreakGlass, Exemption, Policy, Rule
from webhook.policy.quantities import format_duration
from webhook.policy.shared_domains import shared_domain
from webhook.registries import Registry

EXPIRY_NOTICE: Final = 14 * 86400.0
"""Seconds before its expiry from which an exemption causes a warning."""

LONG_TRUST: Final = 600.0
"""Seconds of ``cache.trusted`` above which a warning names how long revoked trust stays cached."""


SERVICE_ACCOUNT: Final = "system:serviceaccount:"
"""The prefix of a ServiceAccount's user name."""


def lint(policy: Policy, now: float) -> list[Problem]:
    """Return the warnings about a policy; ``now`` is in epoch seconds."""
    return [
        *_lint_registries(policy),
        *lint_evidence(policy, now),
        *_lint_modes(policy),
        *_lint_rules(policy),
        *_lint_exemptions(policy, now),
        *_lint_patterns(policy),
        *_lint_shared_domains(policy),
        *_lint_break_glass(policy),
        *_lint_cache(policy),
    ]


def expiring(policy: Policy, now: float) -> list[tuple[Exemption, float]]:
    """Return the exemptions that expire within the notice period or have expired, with the seconds left."""
    return [(policy.exemptions[index], left) for index, left in _find_expiring(policy, now)]


def _find_expiring(policy: Policy, now: float) -> Iterator[tuple[int, float]]:
    for index, exemption in enumerate(policy.exemptions):
        if exemption.expires is not None:
            left = exemption.expires.timestamp() - now
            if left <= EXPIRY_NOTICE:
                yield index, left


def _lint_registries(policy: Policy) -> Iterator[Problem]:
    """Compare the entries in the order in which they are matched, by host and organization."""
    whole: dict[str, int] = {}
    shared: dict[tuple[str, str], int] = {}
    for index, registry in enumerate(policy.registries.registries):
        path = f"registries[{index}]"
        hidden = [host for host in registry.hosts if host in whole]
        if len(hidden) == len(registry.hosts):
            yield Problem(
                path, f"is never used: registries[{whole[hidden[0]]}] matches every image of {_all(hidden)}"
            )
        else:
            for host in hidden:
                yield Problem(
                    path, f"is never used for {host}: registries[{whole[host]}] matches every image of it"
                )
            yield from _lint_organizations(path, registry, shared)
        for host in registry.hosts:
            if not registry.organizations:
                whole.setdefault(host, index)
            for organization in registry.organizations:
                shared.setdefault((host, organization), index)


def _lint_organizations(
    path: str, registry: Registry, shared: dict[tuple[str, str], int]
) -> Iterator[Problem]:
    for organization in sorted(registry.organizations):
        for host in registry.hosts:
            if (host, organization) in shared:
                yield Problem(
                    f"{path}.organizations",
                    f"{organization} of {host} belongs to registries[{shared[host, organization]}] already",
                )


def _lint_modes(policy: Policy) -> Iterator[Problem]:
    if policy.on_lookup_failure == "allow" and policy.may_enforce:
        yield Problem(
            "onLookupFailure",
            "allow admits every image while SWR is down: an outage disables the policy",
        )
    if policy.unmanaged_registries == "allow" and policy.may_enforce:
        yield Problem("unmanagedRegistries", "allow admits every image that is not of a configured registry")
    if policy.workloads == "enforce" and not policy.may_enforce:
        yield Problem("workloads", f"enforce has no effect while the mode is {policy.mode}")


def _lint_rules(policy: Policy) -> Iterator[Problem]:
    for index, rule in enumerate(policy.rules):
        path = f"rules[{index}]"
        cover = _covering(rule, [above for above in policy.rules[:index] if _decides(policy, above, rule)])
        if cover is not None:
            yield Problem(path, f"is never reached: rule {cover.name!r} above it matches all that it matches")
        elif _is_everything(rule) and rule.mode not in (None, Mode.ENFORCE) and policy.mode is Mode.ENFORCE:
            yield Problem(
                path,
                f"puts every image into mode {rule.mode}: "
                "an image that no rule above it matches is never denied",
            )


def _decides(policy: Policy, above: Rule, rule: Rule) -> bool:
    """Return whether ``rule`` never applies if the patterns of ``above`` cover its patterns.

    A pattern with a tag or a digest may match an image without certainty. The strictest of the rules that may
    match applies, so ``above`` must then be at least as strict as ``rule``.
    """
    if all(pattern.tag is None and pattern.digest is None for pattern in above.images):
        return True
    order = STRICTEST_FIRST.index
    return (
        order(policy.mode_for(above)) <= order(policy.mode_for(rule))
        and above.require_digest >= rule.require_digest
        and above.require_pull_always >= rule.require_pull_always
        and policy.pins(above) >= policy.pins(rule)
    )


def _lint_exemptions(policy: Policy, now: float) -> Iterator[Problem]:
    for index, exemption in enumerate(policy.exemptions):
        path = f"exemptions[{index}]"
        where = "" if exemption.namespaces.globs == ("*",) else " in its namespaces"
        if any(pattern.is_everything and pattern.tag is None for pattern in exemption.images):
            yield Problem(path, f"exempts every image{where}: nothing is checked there")
        else:
            for host in _hosts_covered(policy, exemption):
                yield Problem(path, f"exempts every image of {host}{where}: SWR is never queried for them")
        permanent = [other for other in policy.exemptions[:index] if other.expires is None]
        cover = _covering(exemption, permanent)
        if cover is not None:
            yield Problem(
                path, f"is never reached: exemption {cover.name!r} above it matches all that it matches"
            )
    for index, left in _find_expiring(policy, now):
        exemption = policy.exemptions[index]
        assert exemption.expires is not None
        # A second is subtracted, so that the end of a day is shown as that day.
        day = (exemption.expires - dt.timedelta(seconds=1)).date()
        path = f"exemptions[{index}].expires"
        if left <= 0:
            yield Problem(path, f"exemption {exemption.name!r} has expired on {day}: remove it or renew it")
        else:
            yield Problem(path, f"exemption {exemption.name!r} expires on {day}, within 14 days")


def _hosts_covered(policy: Policy, exemption: Exemption) -> Iterator[str]:
    for registry in policy.registries.registries:
        for host in registry.hosts:
            if _covers_image(exemption.images, parse_pattern(f"{host}/**")):
                yield host


def _lint_patterns(policy: Policy) -> Iterator[Problem]:
    items = [(f"rules[{index}]", rule.images) for index, rule in enumerate(policy.rules)]
    items += [(f"exemptions[{index}]", item.images) for index, item in enumerate(policy.exemptions)]
    for path, patterns in items:
        for index, pattern in enumerate(patterns):
            # Without a slash it is an image of Docker Hub, and their names rarely contain a dot.
            if "/" not in pattern.text and "." in pattern.components[-1]:
                yield Problem(
                    f"{path}.images[{index}]",
                    f"is an image of Docker Hub: for all images of a registry write {pattern.text}/**",
                )


def _lint_shared_domains(policy: Policy) -> Iterator[Problem]:
    """Warn about wildcard hosts where a match makes the policy less strict."""
    order = STRICTEST_FIRST.index
    items = [
        (f"rules[{index}]", rule.images)
        for index, rule in enumerate(policy.rules)
        if order(policy.mode_for(rule)) > order(policy.mode)
    ]
    items += [(f"exemptions[{index}]", item.images) for index, item in enumerate(policy.exemptions)]
    for path, patterns in items:
        for index, pattern in enumerate(patterns):
            domain = shared_domain(pattern)
            if domain is not None:
                yield Problem(
                    f"{path}.images[{index}]",
                    f"matches hosts of {domain} that anyone can register, such as storage buckets: "
                    "replace *. by the full name of each registry",
                )


def _lint_break_glass(policy: Policy) -> Iterator[Problem]:
    break_glass = policy.break_glass
    if break_glass != BreakGlass() and not break_glass.users and not break_glass.groups:
        yield Problem("breakGlass", "applies to no user: name users or groups")
    for user in sorted(break_glass.users):
        if user.startswith(SERVICE_ACCOUNT):
            yield Problem(
                "breakGlass.users",
                f"{user} is not a person: anyone who can make it create a Pod, such as by a commit, "
                "can use break-glass",
            )


def _lint_cache(policy: Policy) -> Iterator[Problem]:
    cache = policy.cache
    if cache.trusted > LONG_TRUST:
        yield Problem(
            "cache.trusted",
            f"an image whose trust is revoked is admitted for up to {format_duration(cache.trusted)} more",
        )
    if cache.refused > cache.trusted:
        yield Problem(
            "cache.refused",
            "is longer than cache.trusted: a newly trusted image is denied for longer than necessary",
        )
    if policy.may_pin and cache.pinned > cache.trusted:
        yield Problem("cache.pinned", "has no effect beyond cache.trusted, after which SWR is queried anyway")
    if not cache.stale_if_error:
        yield Problem("cache.staleIfError", "0s: while SWR is down no Pod can be rescheduled")
    elif cache.stale_if_error <= cache.trusted:
        yield Problem(
            "cache.staleIfError",
            "is no longer than cache.trusted: while SWR is down no Pod can be rescheduled",
        )


def _covering(
    item: Rule | Exemption, others: Sequence[Rule] | Sequence[Exemption]
) -> Rule | Exemption | None:
    for other in others:
        if other.namespaces.covers(item.namespaces) and all(
            _covers_image(other.images, pattern) for pattern in item.images
        ):
            return other
    return None


def _covers_image(patterns: tuple[ImagePattern, ...], pattern: ImagePattern) -> bool:
    return any(wide.covers(pattern) for wide in patterns)


def _is_everything(rule: Rule) -> bool:
    return rule.namespaces.globs == ("*",) and any(
        pattern.is_everything and pattern.tag is None and pattern.digest is None for pattern in rule.images
    )


def _all(hosts: Sequence[str]) -> str:
    return ", ".join(hosts)

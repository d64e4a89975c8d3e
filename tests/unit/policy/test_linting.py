"""Warnings about policies that are valid but dangerous or useless."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.support.builders import HOST, exemption, policy, registry, rule
from webhook.policy.findings import Mode
from webhook.policy.linting import lint
from webhook.policy.model import BreakGlass, Policy
from webhook.registries import RegistryTable
from webhook.trust.settings import CacheSettings

NOW = dt.datetime(2027, 6, 20, tzinfo=dt.UTC).timestamp()


def day(text: str) -> dt.datetime:
    """Return the end of a day in UTC."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC) + dt.timedelta(days=1)


def table(*entries: dict[str, Any]) -> Policy:
    """Return a policy with several registries."""
    return policy(registries=RegistryTable.of(registry(**entry) for entry in entries))


CASES: list[tuple[str, Policy, list[str]]] = [
    ("the defaults", policy(), []),
    (
        "a rule below one that matches the same",
        policy(
            rules=(
                rule("wide", [f"{HOST}/**"], mode="audit"),
                rule("narrow", [f"{HOST}/shop/*"], mode="enforce"),
            )
        ),
        ["rules[1]: is never reached: rule 'wide' above it matches all that it matches"],
    ),
    (
        "a rule below a milder one of tags, which counts for digests",
        policy(rules=(rule("wide", ["**:v*"], mode="audit"), rule("narrow", ["**:v1"], mode="enforce"))),
        [],
    ),
    (
        "a rule below a stricter one of tags",
        policy(rules=(rule("wide", ["**:v*"], mode="enforce"), rule("narrow", ["**:v1"], mode="audit"))),
        ["rules[1]: is never reached: rule 'wide' above it matches all that it matches"],
    ),
    (
        "a strict rule for a wildcard host of a cloud",
        policy(mode=Mode.AUDIT, rules=(rule("strict", ["*.myhuaweicloud.com/**"], mode="enforce"),)),
        [],
    ),
    (
        "a milder rule for a wildcard host of a cloud",
        policy(rules=(rule("mild", [f"{HOST}/a/**", "*.cn-north-4.myhuaweicloud.com/b/**"], mode="warn"),)),
        [
            "rules[0].images[1]: matches hosts of myhuaweicloud.com that anyone can register, such as "
            "storage buckets: replace *. by the full name of each registry"
        ],
    ),
    (
        "a rule below one of other namespaces",
        policy(rules=(rule("wide", namespaces=["a"], mode="audit"), rule("narrow", mode="enforce"))),
        [],
    ),
    (
        "an exemption of everything",
        policy(exemptions=(exemption("all"),)),
        ["exemptions[0]: exempts every image: nothing is checked there"],
    ),
    (
        "an exemption of everything in a namespace",
        policy(exemptions=(exemption("all", namespaces=["dev"]),)),
        ["exemptions[0]: exempts every image in its namespaces: nothing is checked there"],
    ),
    (
        "an exemption below one that never ends",
        policy(exemptions=(exemption("wide", [f"{HOST}/a/*"]), exemption("narrow", [f"{HOST}/a/b"]))),
        ["exemptions[1]: is never reached: exemption 'wide' above it matches all that it matches"],
    ),
    (
        "an exemption below one that ends",
        policy(
            exemptions=(
                exemption("wide", [f"{HOST}/a/*"], expires=day("2028-01-01")),
                exemption("narrow", [f"{HOST}/a/b"]),
            )
        ),
        [],
    ),
    (
        "an exemption after its last day",
        policy(exemptions=(exemption("old", ["nginx"], expires=day("2027-06-19")),)),
        ["exemptions[0].expires: exemption 'old' has expired on 2027-06-19: remove it or renew it"],
    ),
    (
        "an exemption on its last day",
        policy(exemptions=(exemption("old", ["nginx"], expires=day("2027-06-20")),)),
        ["exemptions[0].expires: exemption 'old' expires on 2027-06-20, within 14 days"],
    ),
    (
        "an exemption that ends soon",
        policy(exemptions=(exemption("soon", ["nginx"], expires=day("2027-06-30")),)),
        ["exemptions[0].expires: exemption 'soon' expires on 2027-06-30, within 14 days"],
    ),
    (
        "an exemption of a whole registry",
        policy(exemptions=(exemption("all of it", [f"{HOST}/**"]),)),
        [f"exemptions[0]: exempts every image of {HOST}: SWR is never queried for them"],
    ),
    (
        "a rule that switches the gate off",
        policy(rules=(rule("all", mode="audit"),)),
        [
            "rules[0]: puts every image into mode audit: an image that no rule above it matches is never denied"
        ],
    ),
    (
        "workloads without enforcement",
        policy(mode=Mode.WARN, workloads="enforce"),
        ["workloads: enforce has no effect while the mode is warn"],
    ),
    (
        "an annotation that counts for nobody",
        policy(break_glass=BreakGlass(annotation="a.example.com/b")),
        ["breakGlass: applies to no user: name users or groups"],
    ),
    (
        "trust that lasts",
        policy(cache=CacheSettings(trusted=3600)),
        ["cache.trusted: an image whose trust is revoked is admitted for up to 1h more"],
    ),
    (
        "a lookup that fails open",
        policy(on_lookup_failure="allow"),
        ["onLookupFailure: allow admits every image while SWR is down: an outage disables the policy"],
    ),
    (
        "unmanaged images",
        policy(unmanaged_registries="allow"),
        ["unmanagedRegistries: allow admits every image that is not of a configured registry"],
    ),
    (
        "a host where an image should stand",
        policy(
            rules=(rule("r", ["10.125.0.198:20202"], mode="audit"),),
            exemptions=(exemption("e", ["nginx", "quay.example.com"]),),
        ),
        [
            "rules[0].images[0]: is an image of Docker Hub: for all images of a registry write "
            "10.125.0.198:20202/**",
            "exemptions[0].images[1]: is an image of Docker Hub: for all images of a registry write "
            "quay.example.com/**",
        ],
    ),
    (
        "break-glass for a ServiceAccount",
        policy(break_glass=BreakGlass(users=frozenset({"ada", "system:serviceaccount:argocd:controller"}))),
        [
            "breakGlass.users: system:serviceaccount:argocd:controller is not a person: anyone who can make "
            "it create a Pod, such as by a commit, can use break-glass"
        ],
    ),
    (
        "nothing stands in",
        policy(cache=CacheSettings(stale_if_error=0)),
        ["cache.staleIfError: 0s: while SWR is down no Pod can be rescheduled"],
    ),
    (
        "refusals that last",
        policy(cache=CacheSettings(trusted=5, refused=10)),
        [
            "cache.refused: is longer than cache.trusted: a newly trusted image is denied for longer than necessary"
        ],
    ),
    (
        "digests that may be older than trust",
        policy(pin_digests=True, cache=CacheSettings(trusted=5, refused=5, pinned=6)),
        ["cache.pinned: has no effect beyond cache.trusted, after which SWR is queried anyway"],
    ),
    (
        "the same without pinning",
        policy(cache=CacheSettings(trusted=5, refused=5, pinned=6)),
        [],
    ),
    (
        "a registry hidden by another",
        table({}, {"organizations": frozenset({"shop"}), "hosts": (HOST,)}),
        [f"registries[1]: is never used: registries[0] matches every image of {HOST}"],
    ),
    (
        "an alias that hides another registry",
        table(
            {"hosts": (HOST, "10.0.0.1:20202")},
            {"hosts": ("swr.cn-south-1.myhuaweicloud.com", "10.0.0.1:20202")},
        ),
        ["registries[1]: is never used for 10.0.0.1:20202: registries[0] matches every image of it"],
    ),
    (
        "an organization twice",
        table(
            {"organizations": frozenset({"a", "b"}), "hosts": (HOST,)},
            {"organizations": frozenset({"b"}), "hosts": (HOST,)},
        ),
        [f"registries[1].organizations: b of {HOST} belongs to registries[0] already"],
    ),
]


@pytest.mark.parametrize(
    ("checked", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_lint_warns_of_dangerous_or_useless_policy(checked: Policy, expected: list[str]) -> None:
    """The warning states the consequence, not only the setting."""
    assert [str(problem) for problem in lint(checked, NOW)] == expected


D = "sha256:" + "a" * 64

SHARED = [
    ("*.myhuaweicloud.com/hwofficial/**", "myhuaweicloud.com"),
    ("*.obs.cn-north-4.myhuaweicloud.com/**", "myhuaweicloud.com"),
    ("*.swr-pro.myhuaweicloud.com/shop/**", "myhuaweicloud.com"),
    ("*.dkr.ecr.eu-central-1.amazonaws.com/a:1", "amazonaws.com"),
    ("*.aliyuncs.com:5000/a", "aliyuncs.com"),
    ("*.github.io/a", "github.io"),
    ("*.t-systems.com/a", "otc.t-systems.com"),
    ("*.windows.net/a", "windows.net"),
    ("*.evilgithub.io/a", None),
    ("*.example.com/a", None),
    (f"*.myhuaweicloud.com/a@{D}", None),
    ("swr.cn-north-4.myhuaweicloud.com/hwofficial/**", None),
]


@pytest.mark.parametrize(("pattern", "domain"), SHARED)
def test_exemption_of_shared_wildcard_host_is_warned_of(pattern: str, domain: str | None) -> None:
    """Fault B8: a wildcard over a cloud's domain includes the buckets of other customers."""
    expected = [
        f"exemptions[0].images[0]: matches hosts of {domain} that anyone can register, such as storage "
        "buckets: replace *. by the full name of each registry"
    ]
    found = [str(problem) for problem in lint(policy(exemptions=(exemption("a", [pattern]),)), NOW)]
    assert found == (expected if domain is not None else [])

"""``swr-trust doctor`` and pinning: the policy that pins needs a webhook that is called."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.builders import policy, rule
from tests.unit.cli.test_doctor import DENIED, Cluster, hook
from webhook.cli.checks import Check, CheckStatus
from webhook.cli.cluster_checks import check_cluster
from webhook.cluster.scope import MUTATING, VALIDATING
from webhook.errors import ClusterError
from webhook.policy.model import Policy

PINNING = policy(pin_digests=True)
BY_RULE = policy(rules=(rule(pin_digests=True),))


def pinning_hook(**changes: Any) -> dict[str, Any]:
    """Return the mutating webhook as the chart registers it."""
    return hook(**{"name": "pinning.gate", "failurePolicy": "Ignore", **changes})


def check(
    mutating: Mapping[str, Any] | None,
    current: Policy = PINNING,
    validating: Mapping[str, Any] | None = None,
    name: str | None = None,
    error: ClusterError | None = None,
    now: dt.datetime | None = None,
) -> list[Check]:
    """Return the checks about pinning; ``error`` is the answer to a read of mutating configurations."""
    api = Cluster(validating if validating is not None else hook(), DENIED)
    obj = {"metadata": {"name": "gate"}, "webhooks": [mutating]}
    api.collections[MUTATING] = [obj] if mutating is not None else []
    if mutating is not None:
        api.objects[f"{MUTATING}/gate"] = obj
    api.objects[f"{VALIDATING}/gate"] = api.collections[VALIDATING][0]

    def before(path: str) -> None:
        if error is not None and path.startswith(MUTATING):
            raise error

    api.before = before
    moment = now if now is not None else dt.datetime.now(dt.UTC)
    found = check_cluster(api, name, "default", current, moment)
    return [item for item in found if item.name.startswith("pinning")]


@pytest.mark.parametrize("name", [None, "gate"], ids=["by label", "by name"])
@pytest.mark.parametrize("current", [PINNING, BY_RULE], ids=["policy", "rule"])
def test_healthy_pinning_passes_all_checks(current: Policy, name: str | None) -> None:
    """One rule that pins is enough to need the webhook."""
    found = check(pinning_hook(), current, name=name)
    ends = found.pop()
    assert found == [
        Check("cluster", "pinning", CheckStatus.OK, "gate covers new Pods"),
        Check("cluster", "pinning: failurePolicy", CheckStatus.OK, "pinning.gate: Ignore"),
        Check("cluster", "pinning: namespaces", CheckStatus.OK, "pinning.gate: the same as of pods.gate"),
    ]
    assert (ends.name, ends.status) == ("pinning: caBundle", CheckStatus.OK)
    assert ends.found.startswith("pinning.gate: valid until ")


def test_policy_without_pinning_needs_no_webhook() -> None:
    """The output has no further line."""
    assert check(None, policy()) == []


def test_webhook_without_effect_is_mentioned() -> None:
    """It is called for new Pods, and changes none."""
    assert check(pinning_hook(failurePolicy="Fail"), policy()) == [
        Check(
            "cluster",
            "pinning",
            CheckStatus.SKIPPED,
            "gate exists, but the policy pins no image, so that its calls change nothing",
        )
    ]


@pytest.mark.parametrize(
    ("name", "which"),
    [(None, "has the label app.kubernetes.io/name=swr-trust-webhook"), ("gate", "is named gate")],
)
def test_missing_webhook_is_warning(name: str | None, which: str) -> None:
    """Pods are still evaluated."""
    assert check(None, name=name) == [
        Check(
            "cluster",
            "pinning",
            CheckStatus.WARNING,
            f"images are not pinned: no MutatingWebhookConfiguration {which}",
            "Set pinning.enabled=true in the chart, or remove pinDigests from the policy.",
        )
    ]


REQUEST = "Request get and list on mutatingwebhookconfigurations, or ask an administrator to run it."


@pytest.mark.parametrize("name", [None, "gate"], ids=["by label", "by name"])
@pytest.mark.parametrize(
    ("error", "advice"),
    [(ClusterError(403, "forbidden"), REQUEST), (ClusterError(0, "no answer"), "Try again.")],
    ids=["no right", "no answer"],
)
def test_unreadable_webhook_is_unknown_with_advice(
    error: ClusterError, advice: str, name: str | None
) -> None:
    """If the policy pins."""
    expected = Check("cluster", "pinning", CheckStatus.UNKNOWN, str(error), advice)
    assert check(None, name=name, error=error) == [expected]


def test_unreadable_webhook_without_pinning_is_not_mentioned() -> None:
    """Nobody needs a right for a feature that is off."""
    assert check(None, policy(), error=ClusterError(403, "forbidden")) == []


SELECTOR = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "shop"]}
TEAMS = {"key": "team", "operator": "Exists"}

DIFFERENT = (
    "Use the same namespaceSelector in both. If only the validating webhook is called for a namespace, "
    "images are not pinned there. If only this one is called, the Pods are not evaluated."
)


@pytest.mark.parametrize(
    ("changes", "title", "status", "found", "advice"),
    [
        (
            {"rules": [{"apiGroups": [""], "operations": ["UPDATE"], "resources": ["pods"]}]},
            "pinning",
            "failed",
            "gate does not cover CREATE pods",
            "Restore the rules of the chart. The images of Pods that they do not cover are not pinned.",
        ),
        (
            {"failurePolicy": "Fail"},
            "pinning: failurePolicy",
            "warning",
            "pinning.gate: Fail denies Pods when the webhook cannot be called, in addition to the validating one",
            "Set it to Ignore. The validating webhook decides about each Pod, pinned or not.",
        ),
        (
            {"namespaceSelector": {"matchExpressions": [SELECTOR]}},
            "pinning: namespaces",
            "warning",
            "pinning.gate: its namespaceSelector is not that of pods.gate",
            DIFFERENT,
        ),
        (
            {"namespaceSelector": None},
            "pinning: namespaces",
            "warning",
            "pinning.gate: its namespaceSelector is not that of pods.gate",
            DIFFERENT,
        ),
        (
            {"clientConfig": {"url": "https://127.0.0.1:1/"}},
            "pinning: caBundle",
            "failed",
            "pinning.gate: empty",
            "Check the logs of the webhook and cert-manager, one of which writes it. Every call fails.",
        ),
        (
            {"clientConfig": {"caBundle": base64.b64encode(b"x").decode()}},
            "pinning: caBundle",
            "failed",
            "pinning.gate: contains no certificate",
            "Set it to the certificate of the CA, in PEM.",
        ),
    ],
    ids=["rules", "failurePolicy", "namespaces", "no selector", "no caBundle", "wrong caBundle"],
)
def test_pinning_problem_is_reported_with_advice(
    changes: dict[str, Any], title: str, status: str, found: str, advice: str
) -> None:
    """Each has its own advice, and no other check changes."""
    problems = [item for item in check(pinning_hook(**changes)) if item.status is not CheckStatus.OK]
    assert problems == [Check("cluster", title, CheckStatus(status), found, advice)]


def test_expired_ca_of_pinning_is_failed_check() -> None:
    """The API server can no longer call the webhook."""
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(days=365 * 1000)
    (found,) = [item for item in check(pinning_hook(), now=moment) if item.name == "pinning: caBundle"]
    assert found.status is CheckStatus.FAILED
    assert found.advice == "Renew it now. Until then, the API server cannot call the webhook."


@pytest.mark.parametrize("labels", [{}, {"gate": "on"}])
def test_order_within_selectors_is_not_compared(labels: dict[str, str]) -> None:
    """GitOps tools and users may write it in another order."""
    reordered = {**SELECTOR, "values": ["shop", "kube-system"]}
    one = {"matchExpressions": [SELECTOR, TEAMS], "matchLabels": labels}
    other = {"matchExpressions": [TEAMS, reordered], **({"matchLabels": labels} if labels else {})}
    found = check(pinning_hook(namespaceSelector=other), validating=hook(namespaceSelector=one))
    assert [item.status for item in found] == [CheckStatus.OK] * 4


def test_namespaces_without_validating_webhook_are_not_compared() -> None:
    """Another check reports that there is none."""
    workloads = hook(rules=[{"apiGroups": ["apps"], "operations": ["*"], "resources": ["deployments"]}])
    found = check(pinning_hook(), validating=workloads)
    assert [item.name for item in found] == ["pinning", "pinning: failurePolicy", "pinning: caBundle"]

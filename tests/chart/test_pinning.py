"""Pinning as the chart renders it: the mutating webhook beside the validating one, and the policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chart.installation import PINNING
from tests.chart.rendering import NAME, NAMESPACE, merged, render
from tests.chart.test_versions import OPTIONS
from webhook.policy.loading import load_policy

ARGUMENT = f"--mutating-webhook-configuration={NAME}"
RIGHT = {
    "apiGroups": ["admissionregistration.k8s.io"],
    "resources": ["mutatingwebhookconfigurations"],
    "resourceNames": [NAME],
    "verbs": ["get", "patch"],
}
EXISTING = OPTIONS["existing certificate"]


def rule(name: str, *, pins: bool) -> dict[str, Any]:
    """Return a rule of the policy."""
    return {"name": name, "images": ["**"], "pinDigests": pins}


def test_pinning_is_off_by_default() -> None:
    """There is neither the object, nor the argument, the right, or the key of the policy."""
    objects = render()
    assert objects.of("MutatingWebhookConfiguration") == []
    assert ARGUMENT not in objects.container["args"]
    assert RIGHT not in objects.one("ClusterRole")["rules"]
    assert "pinDigests" not in objects.policy


@pytest.mark.parametrize(
    "changes",
    [
        {},
        OPTIONS["everything"],
        EXISTING,
        {"events": {"enabled": False}, "presets": {"stage": "audit"}},
        {"webhook": {"standDownWithNamespace": False, "excludedNamespaces": [], "timeoutSeconds": 10}},
        {"policy": {"workloads": "off"}, "service": {"port": 8443}},
    ],
    ids=["defaults", "everything", "existing certificate", "audit", "own namespace", "without workloads"],
)
def test_pinning_webhook_differs_from_pods_webhook_by_its_purpose(changes: dict[str, Any]) -> None:
    """Path, failure policy and reinvocation; all else is the same, also the conditions."""
    objects = render(merged(changes, PINNING))
    pods, pinning = objects.webhooks["pods"], objects.webhooks["pinning"]
    assert pinning == {
        **pods,
        "name": f"pinning.{NAME}.{NAMESPACE}.svc",
        "clientConfig": merged(pods["clientConfig"], {"service": {"path": "/mutate"}}),
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "IfNeeded",
    }


@pytest.mark.parametrize("options", OPTIONS)
def test_pinning_does_not_change_other_objects(options: str) -> None:
    """The validating webhook configuration above all."""
    off = render(merged(OPTIONS[options], {"pinning": {"enabled": False}}))
    on = render(merged(OPTIONS[options], PINNING))
    assert [one for one in on if one["kind"] == "MutatingWebhookConfiguration"]
    changed = ("MutatingWebhookConfiguration", "ClusterRole", "ConfigMap", "Deployment")
    assert [one for one in on if one["kind"] not in changed] == [
        one for one in off if one["kind"] not in changed
    ]
    assert on.one("ValidatingWebhookConfiguration") == off.one("ValidatingWebhookConfiguration")


@pytest.mark.parametrize(
    ("certificates", "is_managed", "annotation", "has_bundle"),
    [
        ({"mode": "self"}, True, None, False),
        ({"mode": "certManager"}, False, f"{NAMESPACE}/{NAME}-tls", False),
        (EXISTING["certificates"], False, None, True),
    ],
    ids=["self", "certManager", "existingSecret"],
)
def test_ca_bundle_comes_from_source_of_certificate(
    certificates: dict[str, Any], is_managed: bool, annotation: str | None, has_bundle: bool
) -> None:
    """The webhook writes it, cert-manager injects it, or the chart renders it."""
    objects = render(merged({"certificates": certificates}, PINNING))
    assert (ARGUMENT in objects.container["args"]) is is_managed
    assert (RIGHT in objects.one("ClusterRole")["rules"]) is is_managed
    annotations = objects.one("MutatingWebhookConfiguration")["metadata"]["annotations"]
    assert annotations.get("cert-manager.io/inject-ca-from") == annotation
    assert ("caBundle" in objects.webhooks["pinning"]["clientConfig"]) is has_bundle


def test_both_configurations_have_same_metadata() -> None:
    """Name, labels and ``webhook.annotations``: Argo CD creates both last and deletes them first."""
    objects = render(merged(PINNING, {"webhook": {"annotations": {"a": "b"}}}))
    mutating = objects.one("MutatingWebhookConfiguration")["metadata"]
    assert mutating == objects.one("ValidatingWebhookConfiguration")["metadata"]
    assert mutating["name"] == NAME
    assert mutating["annotations"] == {"argocd.argoproj.io/sync-wave": "1", "a": "b"}


@pytest.mark.parametrize(
    ("policy", "pins", "may_pin"),
    [
        ({}, True, True),
        ({"pinDigests": True}, True, True),
        ({"pinDigests": False, "rules": [rule("a", pins=True)]}, False, True),
        ({"rules": [rule("a", pins=False)]}, True, True),
    ],
    ids=["unset", "true", "a rule", "not by a rule"],
)
def test_policy_pins_unless_it_says_otherwise(
    policy: dict[str, Any], pins: bool, may_pin: bool, tmp_path: Path
) -> None:
    """The program accepts the rendered policy."""
    objects = render(merged(PINNING, {"policy": policy}))
    path = tmp_path / "policy.yaml"
    path.write_text(objects.policy_text, encoding="utf-8")
    loaded = load_policy(str(path))
    assert (loaded.pin_digests, loaded.may_pin) == (pins, may_pin)
    assert objects.policy.get("rules") == policy.get("rules")

"""The effects of Argo CD and Flux on the chart's objects: replace, revert, prune, without access to the
cluster.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.conftest import Prepare
from tests.chart.installation import (
    AWAY,
    PINNED,
    PINNING,
    REFUSED,
    TEAM,
    TRUSTED,
    UNTRUSTED,
    Installation,
    Replica,
    image_of,
    leftovers,
    run,
    wait_until_called,
    wait_until_pinned,
)
from tests.chart.rendering import NAME
from tests.controlplane import ControlPlane

HEAL: dict[str, tuple[str, ...]] = {
    "client-side": ("apply", "-f", "-"),
    "server-side": (
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=argocd-controller",
        "-f",
        "-",
    ),
}


def rendered(installation: Installation) -> list[dict[str, Any]]:
    """Return the objects as GitOps tools render them."""
    return [one for one in yaml.safe_load_all(installation.render()) if one]


def says(cluster: ControlPlane, image: str, words: str) -> bool:
    """Return whether the answer to a Pod with this image contains a text."""
    return words in run(cluster, "gitops", image, "--dry-run=server")


def is_enforcing(cluster: ControlPlane) -> bool:
    """Return whether the webhook is called over verified TLS, and decides."""
    created = "created (server dry run)"
    return says(cluster, TRUSTED, created) and says(cluster, UNTRUSTED, REFUSED)


def pins_and_enforces(cluster: ControlPlane) -> bool:
    """Return whether both webhooks are called over verified TLS."""
    return is_enforcing(cluster) and image_of(cluster, "gitops") == PINNED


KINDS = ("validatingwebhookconfiguration", "mutatingwebhookconfiguration")


def test_replaced_object_recovers_within_five_seconds(
    cluster: ControlPlane, prepare: Prepare, tmp_path: Path
) -> None:
    """``Replace=true``: certificate, caBundle and snapshot are rendered empty, and filled in again."""
    installation = prepare("gitops-replace", PINNING)
    objects = rendered(installation)
    cluster.kubectl("apply", "-f", "-", stdin=installation.render())
    with Replica(installation, tmp_path):
        wait_until_called(cluster)
        wait_until_pinned(cluster)
        random.Random(1).shuffle(objects)
        for one in objects:
            cluster.kubectl("replace", "-f", "-", stdin=one)
            cluster.wait_for(f"{one['kind']} to do no harm", lambda: pins_and_enforces(cluster), seconds=5)
        for kind in KINDS:
            for entry in cluster.get(kind, NAME)["webhooks"]:
                assert entry["clientConfig"]["caBundle"]


@pytest.mark.parametrize("how", HEAL)
def test_sync_reverts_manual_changes_and_keeps_certificate(
    cluster: ControlPlane, prepare: Prepare, tmp_path: Path, how: str
) -> None:
    """A changed failurePolicy, a removed namespace and a lenient mode are reverted; the certificate is
    kept.
    """
    installation = prepare(f"gitops-heal-{how}", PINNING)
    manifests = installation.render()
    cluster.kubectl(*HEAL[how], stdin=manifests)
    with Replica(installation, tmp_path) as replica:
        wait_until_called(cluster)
        wait_until_pinned(cluster)
        before = [cluster.get(kind, NAME)["webhooks"] for kind in KINDS]
        certificate = cluster.get("secret", f"{NAME}-tls", "-n", installation.namespace)["data"]
        taken_out = "/webhooks/0/namespaceSelector/matchExpressions/0/values/-"
        change = [
            {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"},
            {"op": "add", "path": taken_out, "value": TEAM},
        ]
        cluster.kubectl("patch", KINDS[0], NAME, "--type=json", "-p", json.dumps(change))
        change[0]["value"] = "Fail"
        cluster.kubectl("patch", KINDS[1], NAME, "--type=json", "-p", json.dumps(change))
        policy = ("configmap", f"{NAME}-policy", "-n", installation.namespace)
        text = cluster.get(*policy)["data"]["policy.yaml"].replace("mode: enforce", "mode: audit")
        cluster.kubectl("patch", *policy, "-p", json.dumps({"data": {"policy.yaml": text}}))
        cluster.wait_for("the gate to be open", lambda: not says(cluster, UNTRUSTED, REFUSED))
        cluster.kubectl(*HEAL[how], stdin=manifests)
        replica.mount()
        cluster.wait_for("the gate to be closed again", lambda: pins_and_enforces(cluster))
        assert [cluster.get(kind, NAME)["webhooks"] for kind in KINDS] == before
        assert cluster.get("secret", f"{NAME}-tls", "-n", installation.namespace)["data"] == certificate


def last(kind: str, name: str) -> Callable[[dict[str, Any]], bool]:
    """Return an order in which one object comes last."""
    return lambda one: (one["kind"], one["metadata"]["name"]) == (kind, name)


ORDERS = {
    "the webhook configuration last": last("ValidatingWebhookConfiguration", NAME),
    "the gate's binding last": last("RoleBinding", f"{NAME}-gate"),
    "the Service last": last("Service", NAME),
}


@pytest.mark.parametrize("order", ORDERS)
def test_pruning_in_any_order_ends_admission_control(
    cluster: ControlPlane, prepare: Prepare, order: str
) -> None:
    """There is no replica left. Pods are denied at most until the configuration or the binding is deleted."""
    installation = prepare(f"gitops-prune-{sorted(ORDERS).index(order)}")
    installation.use_certificate()
    objects = rendered(installation)
    cluster.kubectl("apply", "-f", "-", stdin=installation.render())
    cluster.wait_for("the gate to be closed", lambda: says(cluster, TRUSTED, AWAY))
    random.Random(2).shuffle(objects)
    opened = False
    for one in sorted(objects, key=ORDERS[order]):
        cluster.kubectl("delete", "-f", "-", stdin=one)
        opens = one["metadata"]["name"] == f"{NAME}-gate" or one["kind"] == "ValidatingWebhookConfiguration"
        opened = opened or opens
        if opened:
            cluster.wait_for("the gate to be open", lambda: says(cluster, UNTRUSTED, "created"), seconds=5)
        else:
            assert says(cluster, TRUSTED, AWAY)
    assert opened
    assert leftovers(cluster, installation.namespace) == []

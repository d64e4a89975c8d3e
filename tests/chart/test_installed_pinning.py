"""The chart with ``pinning.enabled``, called by a real API server."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chart.installation import (
    HOST,
    IMAGES,
    PINNED,
    PINNING,
    REFUSED,
    TEAM,
    TRUSTED,
    UNTRUSTED,
    Installation,
    Replica,
    image_of,
    run,
    wait_until_called,
    wait_until_pinned,
)
from tests.chart.rendering import NAME
from tests.chart.test_installed_webhook import calls, template_of, workload
from tests.cluster.foreign import ForeignWebhook, patch
from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator
from webhook.cli.checks import CheckStatus
from webhook.cli.cluster_checks import check_cluster
from webhook.cluster.client import connect
from webhook.policy.loading import parse_policy

OTHER = f"{HOST}/shop/api:1.4"


@pytest.fixture(scope="module")
def gate(
    cluster: ControlPlane, swr: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Return the chart with pinning, installed by Helm, with a managed certificate."""
    with Installation(cluster, "chart-pinning", swr.url, PINNING) as installation:
        installation.install()
        with Replica(installation, tmp_path_factory.mktemp("pinning")):
            wait_until_called(cluster)
            wait_until_pinned(cluster)
            yield installation


def pod(name: str, **spec: Any) -> dict[str, Any]:
    """Return a Pod of the team."""
    meta = {"name": name, "namespace": TEAM}
    containers = [{"name": "main", "image": PINNED}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": containers, **spec}}


def test_trusted_pod_gets_digest(cluster: ControlPlane, gate: Installation) -> None:
    """Both webhooks are called by the Service's name over verified TLS, and the Pod is stored so."""
    del gate
    assert run(cluster, "pinned", TRUSTED) == "pod/pinned created"
    assert cluster.get("pod", "pinned", "-n", TEAM)["spec"]["containers"][0]["image"] == PINNED


def test_untrusted_pod_is_denied_by_validating_webhook(cluster: ControlPlane, gate: Installation) -> None:
    """The mutating webhook leaves its image as it is."""
    refused = run(cluster, "unpinned", UNTRUSTED)
    assert refused == (
        f'Error from server (Forbidden): admission webhook "pods.{NAME}.{gate.namespace}.svc" denied the '
        f"request: denied by image trust policy: spec.containers[0].image {REFUSED}. Mark this tag as trusted "
        "in SWR, or use a tag that already is."
    )


@pytest.mark.parametrize("namespace", ["kube-system", "chart-pinning"])
def test_images_in_excluded_namespaces_are_not_pinned(
    cluster: ControlPlane, gate: Installation, namespace: str
) -> None:
    """The same namespaces as for the validating webhook."""
    del gate
    assert image_of(cluster, "own", namespace=namespace) == TRUSTED


def test_templates_of_workloads_are_not_pinned(cluster: ControlPlane, gate: Installation) -> None:
    """They stay as their authors wrote them."""
    del gate
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": template_of(TRUSTED)}
    deployment = workload("Deployment", "apps/v1", spec)
    shown = cluster.kubectl(
        "create",
        "--dry-run=server",
        "-o",
        "jsonpath={.spec.template.spec.containers[*].image}",
        "-f",
        "-",
        stdin=deployment,
    )
    assert shown == TRUSTED


def test_image_volume_and_init_container_get_digest(cluster: ControlPlane, gate: Installation) -> None:
    """All places of a new Pod."""
    del gate
    spec = {
        "initContainers": [{"name": "init", "image": TRUSTED}],
        "volumes": [{"name": "data", "image": {"reference": TRUSTED}}],
    }
    shown = cluster.kubectl(
        "create",
        "--dry-run=server",
        "-o",
        "jsonpath={.spec.initContainers[0].image} {.spec.volumes[0].image.reference}",
        "-f",
        "-",
        stdin=pod("places", **spec),
    )
    assert shown == f"{PINNED} {PINNED}"


def test_updates_of_pinned_pod_are_sent_only_with_new_tag(cluster: ControlPlane, gate: Installation) -> None:
    """A label costs no call; a new tag gets its digest; a debug container does, too."""
    del gate
    cluster.kubectl("create", "-f", "-", stdin=pod("updated-pin"))
    before = calls(cluster, "pinning", "UPDATE")
    cluster.kubectl("label", "pod", "updated-pin", "a=b", "-n", TEAM)
    assert calls(cluster, "pinning", "UPDATE") == before
    cluster.kubectl("set", "image", "pod/updated-pin", f"main={OTHER}", "-n", TEAM)
    assert calls(cluster, "pinning", "UPDATE") == before + 1
    cluster.kubectl("debug", "updated-pin", f"--image={TRUSTED}", "-n", TEAM)
    assert calls(cluster, "pinning", "UPDATE") == before + 2
    spec = cluster.get("pod", "updated-pin", "-n", TEAM)["spec"]
    assert spec["containers"][0]["image"] == f"{OTHER}@sha256:{'3' * 64}"
    assert spec["ephemeralContainers"][0]["image"] == PINNED


@pytest.mark.parametrize(
    ("injector", "image"),
    [
        ("aa-injector", TRUSTED),
        ("zz-injector", TRUSTED),
        ("aa-injector", PINNED),
        # The API server reinvokes only webhooks that it called before.
        ("zz-injector", PINNED),
    ],
    ids=["before, tag", "after, tag", "before, digest", "after, digest"],
)
def test_sidecar_is_pinned_also_beside_digests_only(
    cluster: ControlPlane, gate: Installation, tmp_path: Path, injector: str, image: str
) -> None:
    """The API server calls mutating webhooks in the order of the names of their configurations."""
    del gate
    added = {"op": "add", "path": "/spec/containers/-", "value": {"name": "sidecar", "image": OTHER}}

    def inject(request: dict[str, Any]) -> dict[str, Any]:
        names = [container["name"] for container in request["object"]["spec"]["containers"]]
        return {"allowed": True} if "sidecar" in names else patch(added)

    with ForeignWebhook(cluster, tmp_path, injector, "Mutating", TEAM, inject):
        cluster.wait_for("the sidecar", lambda: OTHER in image_of(cluster, "injected", image))
        assert image_of(cluster, "injected", image) == f"{PINNED} {OTHER}@sha256:{'3' * 64}"


def test_doctor_finds_no_problem_of_pinning(cluster: ControlPlane, gate: Installation) -> None:
    """The API server has added defaults to the rendered object."""
    policy = parse_policy(
        cluster.get("configmap", f"{NAME}-policy", "-n", gate.namespace)["data"]["policy.yaml"]
    )
    api = connect(str(cluster.kubeconfig("admin")))
    try:
        checks = list(check_cluster(api, None, TEAM, policy, dt.datetime.now(dt.UTC)))
    finally:
        api.close()
    assert {
        check.name: check.status for check in checks if check.name.startswith("pinning")
    } == dict.fromkeys(
        ("pinning", "pinning: failurePolicy", "pinning: namespaces", "pinning: caBundle"), CheckStatus.OK
    )


def test_large_pod_stays_within_cel_cost_limit(cluster: ControlPlane, gate: Installation) -> None:
    """Above the limit, the webhook would not be called."""
    del gate
    many = [{"name": f"container-{index}", "image": PINNED} for index in range(198)]
    volumes: list[dict[str, Any]] = [{"name": f"volume-{index}", "emptyDir": {}} for index in range(500)]
    last = {"name": "last", "image": TRUSTED}
    large = pod("large-pin", containers=[*many, last], volumes=volumes)
    shown = cluster.kubectl("create", "--dry-run=server", "-o", IMAGES, "-f", "-", stdin=large)
    assert shown.split()[-1] == PINNED

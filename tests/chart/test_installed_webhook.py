"""The rendered webhook configuration, called by a real API server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.chart.installation import (
    HOST,
    TEAM,
    TRUSTED,
    UNTRUSTED,
    Installation,
    Replica,
    run,
    wait_until_called,
)
from tests.chart.rendering import NAME, NAMESPACE, merged, template
from tests.chart.test_versions import OPTIONS
from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator


@pytest.fixture(scope="module")
def gate(
    cluster: ControlPlane, swr: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Return the chart with its defaults, installed by Helm, with a managed certificate."""
    with Installation(cluster, "chart-gate", swr.url) as installation:
        installation.install()
        with Replica(installation, tmp_path_factory.mktemp("gate")):
            wait_until_called(cluster)
            yield installation


@pytest.mark.parametrize("options", OPTIONS)
def test_api_server_accepts_every_object(cluster: ControlPlane, options: str) -> None:
    """A dry run compiles the conditions and checks ranges and unknown fields."""
    least = {
        "policy": {"registries": [{"region": "cn-north-4"}]},
        "credentials": {"existingSecret": "swr-credentials"},
    }
    text = template(merged(least, OPTIONS[options]), "--skip-tests", kubernetes="1.37.0")
    output = cluster.kubectl(
        "apply",
        "--dry-run=server",
        "--server-side",
        "--validate=strict",
        "-f",
        "-",
        stdin=text.replace(f"namespace: {NAMESPACE}\n", "namespace: default\n"),
    )
    assert output.count("serverside-applied (server dry run)") == sum(
        1 for one in yaml.safe_load_all(text) if one
    )
    assert "Warning" not in output


def test_untrusted_pod_is_denied_through_service(cluster: ControlPlane, gate: Installation) -> None:
    """The webhook configuration is called as it is rendered, by the Service's name over verified TLS."""
    refused = run(cluster, "untrusted", UNTRUSTED)
    assert refused == (
        f'Error from server (Forbidden): admission webhook "pods.{NAME}.{gate.namespace}.svc" denied the request: '
        f'denied by image trust policy: spec.containers[0].image "{UNTRUSTED}": SWR does not mark this tag as '
        "trusted. Mark this tag as trusted in SWR, or use a tag that already is."
    )
    assert run(cluster, "trusted", TRUSTED) == "pod/trusted created"


@pytest.mark.parametrize("namespace", ["kube-system", "chart-gate"])
def test_pods_in_excluded_namespaces_are_not_evaluated(
    cluster: ControlPlane, gate: Installation, namespace: str
) -> None:
    """The cluster's own Pods, and the webhook's."""
    del gate
    output = run(cluster, "own", UNTRUSTED, "--dry-run=server", namespace=namespace)
    assert output == "pod/own created (server dry run)"


def test_untrusted_workload_gets_warning_and_is_admitted(cluster: ControlPlane, gate: Installation) -> None:
    """The Deployment gets the warning, its Pods are denied."""
    del gate
    output = cluster.kubectl("create", "deployment", "advised", f"--image={UNTRUSTED}", "-n", TEAM)
    assert "deployment.apps/advised created" in output
    assert f'Warning: image trust policy: spec.template.spec.containers[0].image "{UNTRUSTED}"' in output
    cluster.kubectl("delete", "deployment", "advised", "-n", TEAM)


def calls(cluster: ControlPlane, entry: str, operation: str) -> int:
    """Return how often the API server has called an entry of the webhook configuration."""
    metrics = cluster.kubectl("get", "--raw", "/metrics")
    pattern = (
        r"apiserver_admission_webhook_request_total\{[^}]*"
        rf'name="{entry}[^"]*"[^}}]*operation="{operation}"[^}}]*\}} (\d+)'
    )
    return sum(int(count) for count in re.findall(pattern, metrics))


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "updated", "namespace": TEAM},
    "spec": {
        "containers": [{"name": "main", "image": TRUSTED}],
        "initContainers": [{"name": "init", "image": TRUSTED}],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    },
}


def template_of(image: str, **spec: Any) -> dict[str, Any]:
    """Return a Pod template."""
    containers = [{"name": "main", "image": image}]
    return {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": containers, **spec}}


def workload(kind: str, version: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Return a workload of the team."""
    name = {"name": f"updated-{kind.lower()}", "namespace": TEAM}
    return {"apiVersion": version, "kind": kind, "metadata": name, "spec": spec}


SELECTOR = {"matchLabels": {"app": "x"}}
WORKLOADS = [
    workload(
        "Deployment", "apps/v1", {"replicas": 0, "selector": SELECTOR, "template": template_of(TRUSTED)}
    ),
    workload("ReplicationController", "v1", {"replicas": 0, "template": template_of(TRUSTED)}),
    workload(
        "CronJob",
        "batch/v1",
        {
            "schedule": "0 0 1 1 *",
            "jobTemplate": {"spec": {"template": template_of(TRUSTED, restartPolicy="Never")}},
        },
    ),
]


@pytest.mark.parametrize(
    ("patch", "sent"),
    [
        ({"metadata": {"labels": {"a": "b"}}}, False),
        ({"metadata": {"annotations": {"a": "b"}}}, False),
        ({"metadata": {"finalizers": ["example.com/held"]}}, False),
        ({"metadata": {"finalizers": None}}, False),
        ({"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}}, False),
        ({"spec": {"activeDeadlineSeconds": 3600}}, False),
        ({"spec": {"containers": [{"name": "main", "image": f"{HOST}/shop/api:1.4"}]}}, True),
        ({"spec": {"initContainers": [{"name": "init", "image": f"{HOST}/shop/api:1.4"}]}}, True),
    ],
)
def test_only_image_updates_of_pods_are_sent(
    cluster: ControlPlane, gate: Installation, patch: dict[str, Any], sent: bool
) -> None:
    """The API server evaluates the condition, which never fails on a valid object."""
    del gate
    if not cluster.get("pods", "-n", TEAM, "--field-selector", "metadata.name=updated")["items"]:
        cluster.kubectl("create", "-f", "-", stdin=POD)
    before = calls(cluster, "pods", "UPDATE")
    cluster.kubectl("patch", "pod", "updated", "-n", TEAM, "-p", json.dumps(patch))
    assert (calls(cluster, "pods", "UPDATE") > before) is sent


@pytest.mark.parametrize("obj", WORKLOADS, ids=[one["kind"] for one in WORKLOADS])
def test_only_image_updates_of_workloads_are_sent(
    cluster: ControlPlane, gate: Installation, obj: dict[str, Any]
) -> None:
    """Changes of scale, labels and restarts are not sent; an image, a pull policy and an image volume are."""
    del gate
    cluster.kubectl("create", "-f", "-", stdin=obj)
    kind, name = obj["kind"], obj["metadata"]["name"]

    def sent_by(pod: dict[str, Any] | None, **spec: Any) -> bool:
        change: dict[str, Any] = {"template": {"spec": pod}} if pod is not None else {}
        change = {"jobTemplate": {"spec": change}} if kind == "CronJob" and change else change
        before = calls(cluster, "workloads", "UPDATE")
        cluster.kubectl("patch", kind, name, "-n", TEAM, "-p", json.dumps({"spec": {**change, **spec}}))
        return calls(cluster, "workloads", "UPDATE") > before

    assert not sent_by(
        None, **({"suspend": True} if kind == "CronJob" else {"replicas": 0, "minReadySeconds": 1})
    )
    assert not sent_by({"terminationGracePeriodSeconds": 1})
    assert sent_by({"containers": [{"name": "main", "image": f"{HOST}/shop/api:1.4"}]})
    assert sent_by({"containers": [{"name": "main", "imagePullPolicy": "Always"}]})
    assert sent_by({"volumes": [{"name": "data", "image": {"reference": TRUSTED}}]})
    assert sent_by({"initContainers": [{"name": "init", "image": TRUSTED}]})


def test_debug_containers_are_sent(cluster: ControlPlane, gate: Installation) -> None:
    """They use a subresource that the rules name (T03)."""
    del gate
    if not cluster.get("pods", "-n", TEAM, "--field-selector", "metadata.name=updated")["items"]:
        cluster.kubectl("create", "-f", "-", stdin=POD)
    output = cluster.kubectl("debug", "updated", f"--image={UNTRUSTED}", "-n", TEAM, check=False)
    assert f'spec.ephemeralContainers[0].image "{UNTRUSTED}"' in output


def test_large_pod_stays_within_cel_cost_limit(cluster: ControlPlane, gate: Installation) -> None:
    """A condition above the limit would deny every update of the Pod."""
    del gate
    many = [{"name": f"container-{index}", "image": TRUSTED} for index in range(199)]
    volumes = [{"name": f"volume-{index}", "emptyDir": {}} for index in range(500)]
    pod = merged(POD, {"metadata": {"name": "large"}, "spec": {"containers": many, "volumes": volumes}})
    cluster.kubectl("create", "-f", "-", stdin=pod)
    assert "labeled" in cluster.kubectl("label", "pod", "large", "a=b", "-n", TEAM)

"""Workloads whose Pods are pinned: templates keep the tag, and no controller replaces such Pods.

There is no scheduler and no kubelet. The tests write the statuses of Pods, as a kubelet does, and a Node for
the DaemonSets.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.pinning import (
    API,
    EXPIRY,
    HOST,
    PINNED_API,
    PINNED_WEB,
    POLICY,
    SHORT_CACHE,
    WEB,
    PinningCluster,
    pinning_cluster,
)
from tests.controlplane import ControlPlane

NAMESPACE = "pinning-workloads"
NODE = "pinning-node"
QUIET = 2.0
"""Seconds in which a controller that does not accept its Pods would replace them: it does so at once."""

REQUESTS = "swr_trust_mutation_requests_total"

SPECS: dict[str, tuple[str, dict[str, Any], int]] = {
    "Deployment": ("apps/v1", {"replicas": 2}, 2),
    "ReplicaSet": ("apps/v1", {"replicas": 2}, 2),
    "StatefulSet": ("apps/v1", {"replicas": 2, "serviceName": "none"}, 2),
    "DaemonSet": ("apps/v1", {}, 1),
    "Job": ("batch/v1", {"completions": 2, "parallelism": 2}, 2),
}
"""API version, spec and number of Pods by kind."""

ROLLING = ("Deployment", "StatefulSet", "DaemonSet")
"""The kinds that replace their Pods when their template changes."""


@pytest.fixture(scope="module")
def stage(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PinningCluster]:
    """Return a cluster with a Node, whose webhook caches answers for a second."""
    folder = tmp_path_factory.mktemp("pinning-workloads")
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    with pinning_cluster(control_plane, folder, NAMESPACE, POLICY + SHORT_CACHE) as stage:
        control_plane.kubectl("create", "-f", "-", stdin=node)
        yield stage
        control_plane.kubectl("delete", "node", NODE)


def workload(kind: str, name: str, image: str) -> dict[str, Any]:
    """Return the manifest of a workload."""
    version, spec, _ = SPECS[kind]
    labels = {"app": name}
    template: dict[str, Any] = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }
    if kind == "Job":
        template["spec"]["restartPolicy"] = "Never"
    else:
        spec = {**spec, "selector": {"matchLabels": labels}}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name},
        "spec": {**spec, "template": template},
    }


def read(stage: PinningCluster, path: str) -> Any:
    """Return an answer of the API server. Starting kubectl would take longer, and the tests read a lot."""
    return json.loads(stage.cluster.read(path))


def pods(stage: PinningCluster, name: str) -> list[dict[str, Any]]:
    """Return the Pods of a workload that are not being deleted."""
    found = read(stage, f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app%3D{name}")["items"]
    return [one for one in found if "deletionTimestamp" not in one["metadata"]]


def get(stage: PinningCluster, kind: str, name: str) -> Any:
    """Return a workload."""
    return read(stage, f"/apis/{SPECS[kind][0]}/namespaces/{NAMESPACE}/{kind.lower()}s/{name}")


def image_of(obj: dict[str, Any]) -> str:
    """Return the first image of a Pod or a Pod template."""
    image: str = obj["spec"]["containers"][0]["image"]
    return image


def is_ready(pod: dict[str, Any]) -> bool:
    """Return whether a Pod is ready."""
    return any(one["type"] == "Ready" for one in pod.get("status", {}).get("conditions", []))


def make_ready(stage: PinningCluster, name: str) -> None:
    """Write the statuses of a workload's Pods, as a kubelet does."""
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = json.dumps({"status": {"phase": "Running", "conditions": [condition]}})
    for pod in pods(stage, name):
        if not is_ready(pod):
            target = pod["metadata"]["name"]
            stage.kubectl("patch", "pod", target, "--subresource=status", "--type=merge", f"--patch={status}")


def wait_until_ready(stage: PinningCluster, kind: str, name: str) -> None:
    """Make Pods ready until the controller has reported all of them, and has no other ones."""

    def has_settled() -> bool:
        make_ready(stage, name)
        obj = get(stage, kind, name)
        status, count = obj["status"], SPECS[kind][2]
        if kind == "Job":
            return bool(status.get("ready") == count)
        numbers = (
            ("currentNumberScheduled", "updatedNumberScheduled", "numberAvailable")
            if kind == "DaemonSet"
            else ("replicas", "readyReplicas") + (("updatedReplicas",) if kind in ROLLING else ())
        )
        return bool(
            status.get("observedGeneration") == obj["metadata"]["generation"]
            and all(status.get(number) == count for number in numbers)
            and len(pods(stage, name)) == count
        )

    stage.cluster.wait_for(f"the Pods of {kind} {name}", has_settled)


def state_of(stage: PinningCluster, kind: str, name: str) -> tuple[Any, ...]:
    """Return what changes if a controller replaces a Pod, tries to, or rewrites its template."""
    obj = get(stage, kind, name)
    found = sorted((one["metadata"]["uid"], image_of(one)) for one in pods(stage, name))
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/replicasets?labelSelector=app%3D{name}"
    owned = sorted(one["metadata"]["uid"] for one in read(stage, path)["items"])
    return obj["metadata"]["generation"], found, owned, stage.server.metric(REQUESTS)


def assert_stays(stage: PinningCluster, kind: str, name: str) -> None:
    """Fail if the workload or its Pods change within ``QUIET``, or /mutate is called."""
    before = state_of(stage, kind, name)
    time.sleep(QUIET)
    assert state_of(stage, kind, name) == before


@pytest.mark.parametrize("kind", SPECS)
def test_controller_keeps_pinned_pods_of_template_by_tag(stage: PinningCluster, kind: str) -> None:
    name = f"new-{kind.lower()}"
    stage.kubectl("apply", "-f", "-", stdin=workload(kind, name, WEB))
    wait_until_ready(stage, kind, name)
    assert [image_of(pod) for pod in pods(stage, name)] == [PINNED_WEB] * SPECS[kind][2]
    assert image_of(get(stage, kind, name)["spec"]["template"]) == WEB
    assert_stays(stage, kind, name)


def test_job_of_pinned_pods_completes(stage: PinningCluster) -> None:
    """The controller counts the Pods that succeeded, and creates no other ones."""
    stage.kubectl("apply", "-f", "-", stdin=workload("Job", "done", WEB))
    wait_until_ready(stage, "Job", "done")
    for pod in pods(stage, "done"):
        target, status = pod["metadata"]["name"], json.dumps({"status": {"phase": "Succeeded"}})
        stage.kubectl("patch", "pod", target, "--subresource=status", "--type=merge", f"--patch={status}")
    stage.cluster.wait_for("the Job", lambda: get(stage, "Job", "done")["status"].get("succeeded") == 2)
    assert [image_of(pod) for pod in pods(stage, "done")] == [PINNED_WEB] * 2
    assert_stays(stage, "Job", "done")


def roll(
    stage: PinningCluster, kind: str, name: str, image: str, change: Callable[[], str]
) -> list[dict[str, Any]]:
    """Create a workload, change it, and return its Pods after the rollout; none is an old one."""
    stage.kubectl("apply", "-f", "-", stdin=workload(kind, name, image))
    wait_until_ready(stage, kind, name)
    old = {pod["metadata"]["uid"] for pod in pods(stage, name)}
    change()
    wait_until_ready(stage, kind, name)
    new = pods(stage, name)
    assert old.isdisjoint(pod["metadata"]["uid"] for pod in new)
    assert_stays(stage, kind, name)
    return new


@pytest.mark.parametrize("kind", ROLLING)
def test_rollout_of_other_tag_pins_new_pods(stage: PinningCluster, kind: str) -> None:
    name = f"updated-{kind.lower()}"
    new = roll(
        stage, kind, name, WEB, lambda: stage.kubectl("set", "image", f"{kind.lower()}/{name}", f"main={API}")
    )
    assert [image_of(pod) for pod in new] == [PINNED_API] * SPECS[kind][2]
    assert image_of(get(stage, kind, name)["spec"]["template"]) == API


@pytest.mark.parametrize("kind", ROLLING)
def test_rollout_restart_pins_digest_of_moved_tag(stage: PinningCluster, kind: str) -> None:
    """The template is unchanged, except for the annotation of kubectl."""
    name = f"restarted-{kind.lower()}"
    image = f"{HOST}/shop/{name}:1"
    stage.push(image, "a")
    moved: list[str] = []

    def restart() -> str:
        moved.append(stage.push(image, "b"))
        time.sleep(EXPIRY)
        return stage.kubectl("rollout", "restart", f"{kind.lower()}/{name}")

    new = roll(stage, kind, name, image, restart)
    assert [image_of(pod) for pod in new] == moved * SPECS[kind][2]
    assert image_of(get(stage, kind, name)["spec"]["template"]) == image


def test_pod_that_replaces_a_lost_one_has_digest_of_moved_tag(stage: PinningCluster) -> None:
    """The Pods of one ReplicaSet can have different digests; its controller does not compare them."""
    image = f"{HOST}/shop/replaced:1"
    old = stage.push(image, "a")
    stage.kubectl("apply", "-f", "-", stdin=workload("Deployment", "replaced", image))
    wait_until_ready(stage, "Deployment", "replaced")
    new = stage.push(image, "b")
    time.sleep(EXPIRY)
    lost = pods(stage, "replaced")[0]["metadata"]["name"]
    stage.kubectl("delete", "pod", lost)
    wait_until_ready(stage, "Deployment", "replaced")
    assert sorted(image_of(pod) for pod in pods(stage, "replaced")) == sorted([old, new])
    assert_stays(stage, "Deployment", "replaced")


def test_manifest_of_deployment_applied_again_changes_nothing(stage: PinningCluster) -> None:
    """The stored template is as its author wrote it, so kubectl and GitOps tools see no difference."""
    manifest = workload("Deployment", "declared", WEB)
    stage.kubectl("apply", "-f", "-", stdin=manifest)
    wait_until_ready(stage, "Deployment", "declared")
    assert stage.kubectl("diff", "-f", "-", stdin=manifest) == ""
    assert stage.kubectl("apply", "-f", "-", stdin=manifest) == "deployment.apps/declared unchanged"
    assert_stays(stage, "Deployment", "declared")


def test_replica_set_adopts_pinned_pod(stage: PinningCluster) -> None:
    """It counts the Pod by its labels, and does not create another one in its place."""
    assert stage.run("orphan", WEB, "--labels=app=adopting") == "pod/orphan created"
    stage.kubectl("apply", "-f", "-", stdin=workload("ReplicaSet", "adopting", WEB))
    wait_until_ready(stage, "ReplicaSet", "adopting")
    assert [image_of(pod) for pod in pods(stage, "adopting")] == [PINNED_WEB] * 2
    orphan = stage.get("pod", "orphan")
    assert [owner["name"] for owner in orphan["metadata"]["ownerReferences"]] == ["adopting"]
    assert_stays(stage, "ReplicaSet", "adopting")

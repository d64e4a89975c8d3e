"""Events on a real API server, written with exactly the webhook's rights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator
from tests.support.serving import ServerProcess, make_certificate

HOST = "swr.cn-north-4.myhuaweicloud.com"
UNTRUSTED = f"{HOST}/shop/web:2.0"
NAMESPACE, WATCHED = "events", "events-watched"
POLICY = f"""\
breakGlass: {{groups: [platform-oncall]}}
rules:
  - {{name: watched, namespaces: [{WATCHED}], images: ["**"], mode: audit}}
"""
RULES = [{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}]
WHAT = f'spec.containers[0].image "{UNTRUSTED}": SWR does not mark this tag as trusted'
USER = "gate"


@pytest.fixture(scope="module")
def server(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return a webhook that writes Events, called for two namespaces."""
    folder = tmp_path_factory.mktemp("events")
    certificate = make_certificate(folder)
    for namespace in (NAMESPACE, WATCHED):
        control_plane.make_namespace(namespace)
    control_plane.grant(USER, "default", RULES, cluster=True)
    environment = {"KUBECONFIG": str(control_plane.kubeconfig(USER)), "POD_NAME": "replica-1"}
    with (
        Emulator() as emulator,
        ServerProcess(folder, emulator.url, certificate, POLICY, ("--events",), environment) as running,
    ):
        control_plane.register_webhook(
            running.url, certificate.ca, [NAMESPACE, WATCHED], "events", sideEffects="NoneOnDryRun"
        )
        control_plane.wait_for(
            "the webhook to be called",
            lambda: "denied" in run(control_plane, NAMESPACE, "probe", "busybox", "--dry-run=server"),
        )
        yield running
        control_plane.kubectl("delete", "validatingwebhookconfiguration", "events")
        control_plane.kubectl("delete", "clusterrole,clusterrolebinding", f"grant-{USER}")


def run(cluster: ControlPlane, namespace: str, name: str, image: str, *arguments: str) -> str:
    """Run ``kubectl run`` and return its output."""
    return cluster.kubectl("run", name, f"--image={image}", "-n", namespace, *arguments, check=False)


def ours(cluster: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    """Return the webhook's Events of a namespace."""
    events = cluster.get("events.events.k8s.io", "-n", namespace)["items"]
    return [event for event in events if event["reportingController"] == "swr-trust/webhook"]


def test_denied_pods_of_deployment_create_event_on_replica_set(
    control_plane: ControlPlane, server: ServerProcess
) -> None:
    """``kubectl describe`` shows the image and the reason."""
    control_plane.kubectl("create", "deployment", "refused", f"--image={UNTRUSTED}", "-n", NAMESPACE)

    def found() -> list[dict[str, Any]]:
        events = ours(control_plane, NAMESPACE)
        return [event for event in events if event["regarding"]["kind"] == "ReplicaSet"]

    control_plane.wait_for("the Event", found)
    (event,) = found()
    assert event["type"] == "Warning"
    assert event["reason"] == "ImageRefused"
    assert event["note"].startswith(f"denied by image trust policy: {WHAT}. ")
    assert event["reportingInstance"] == "replica-1"
    name = event["regarding"]["name"]
    assert name.startswith("refused-")
    selector = "reportingComponent=swr-trust/webhook"
    assert name in control_plane.kubectl("get", "events", "-n", NAMESPACE, "--field-selector", selector)
    assert WHAT in control_plane.kubectl("describe", "replicaset", name, "-n", NAMESPACE)
    assert server.metric("swr_trust_events_total", outcome="failed") == 0


def test_audit_mode_finding_creates_event_on_namespace(
    control_plane: ControlPlane, server: ServerProcess
) -> None:
    """The mode audit admits the Pod and reports it."""
    assert "created" in run(control_plane, WATCHED, "bare", UNTRUSTED)
    control_plane.wait_for("the Event", lambda: ours(control_plane, WATCHED))
    (event,) = ours(control_plane, WATCHED)
    assert event["reason"] == "ImageWouldBeRefused"
    assert event["note"].startswith(f"image trust policy: {WHAT};")
    assert (event["regarding"]["kind"], event["regarding"]["name"]) == ("Namespace", WATCHED)
    assert server.metric("swr_trust_events_total", outcome="failed") == 0


def test_dry_run_creates_no_event(control_plane: ControlPlane, server: ServerProcess) -> None:
    """It must have no side effect; only the real request that follows creates an Event."""
    run(control_plane, NAMESPACE, "dry", f"{HOST}/shop/dry:1", "--dry-run=server")
    run(control_plane, NAMESPACE, "wet", f"{HOST}/shop/wet:1")

    def notes() -> str:
        return " ".join(event["note"] for event in ours(control_plane, NAMESPACE))

    control_plane.wait_for("the Event of the real Pod", lambda: "shop/wet:1" in notes())
    assert "shop/dry:1" not in notes()
    assert "busybox" not in notes()
    assert server.metric("swr_trust_events_total", outcome="failed") == 0

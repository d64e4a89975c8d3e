"""A real API server admits and denies real Pods by their trust in SWR."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.controlplane import WEBHOOK, ControlPlane
from tests.emulator.server import Emulator
from tests.support.serving import ServerProcess, make_certificate

HOST = "swr.cn-north-4.myhuaweicloud.com"
TRUSTED = f"{HOST}/shop/web:1.0"
UNTRUSTED = f"{HOST}/shop/web:2.0"
MISSING = f"{HOST}/shop/web:9.9"
NAMESPACE = "gate"
POLICY = "breakGlass: {groups: [platform-oncall]}\n"
PREFIX = f'admission webhook "{WEBHOOK}" denied the request: denied by image trust policy: '


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """Return one emulator for all tests of the module."""
    with Emulator() as running:
        yield running


@pytest.fixture(scope="module")
def cluster(
    control_plane: ControlPlane, emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """Return a control plane that sends the Pods of one namespace to the webhook."""
    folder = tmp_path_factory.mktemp("gate")
    certificate = make_certificate(folder)
    with ServerProcess(folder, emulator.url, certificate, POLICY) as running:
        control_plane.make_namespace(NAMESPACE)
        control_plane.register_webhook(running.url, certificate.ca, [NAMESPACE])
        denied = lambda: "denied" in run(control_plane, "probe", "busybox", "--dry-run=server")  # noqa: E731
        control_plane.wait_for("the webhook to be called", denied)
        yield control_plane
        control_plane.remove_webhook()


@pytest.fixture(autouse=True)
def _without_faults(emulator: Emulator) -> Iterator[None]:
    """Each test starts and ends with an SWR without faults."""
    yield
    emulator.mend()


def run(cluster: ControlPlane, name: str, image: str, *arguments: str, user: str = "dev") -> str:
    """Run ``kubectl run`` and return its output."""
    return cluster.kubectl(
        "run", name, f"--image={image}", "-n", NAMESPACE, *arguments, user=user, check=False
    ).strip()


def apply(cluster: ControlPlane, spec: dict[str, Any], name: str) -> str:
    """Create a Pod from a spec and return kubectl's output."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }
    return cluster.kubectl("create", "-f", "-", stdin=pod, check=False).strip()


def test_trusted_image_is_admitted(cluster: ControlPlane) -> None:
    assert run(cluster, "trusted", TRUSTED) == "pod/trusted created"


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        (
            "untrusted",
            UNTRUSTED,
            f'spec.containers[0].image "{UNTRUSTED}": SWR does not mark this tag as trusted. '
            "Mark this tag as trusted in SWR, or use a tag that already is.",
        ),
        (
            "missing",
            MISSING,
            f'spec.containers[0].image "{MISSING}": tag does not exist in SWR. '
            "Push the image to SWR, or correct its name and tag.",
        ),
        (
            "foreign",
            "nginx",
            'spec.containers[0].image "nginx": images from registry "docker.io" are not allowed in this cluster. '
            f"Push the image to {HOST} and use it from there.",
        ),
    ],
)
def test_untrusted_image_is_denied_with_full_message(
    cluster: ControlPlane, name: str, image: str, message: str
) -> None:
    """The developer sees the complete message in kubectl."""
    assert run(cluster, name, image) == f"Error from server (Forbidden): {PREFIX}{message}"


@pytest.mark.parametrize(
    ("name", "spec", "field"),
    [
        ("init", {"initContainers": [{"name": "i", "image": UNTRUSTED}]}, "spec.initContainers[0].image"),
        (
            "sidecar",
            {"initContainers": [{"name": "i", "image": UNTRUSTED, "restartPolicy": "Always"}]},
            "spec.initContainers[0].image",
        ),
        (
            "volume",
            {"volumes": [{"name": "v", "image": {"reference": UNTRUSTED}}]},
            "spec.volumes[0].image.reference",
        ),
    ],
)
def test_untrusted_image_in_any_field_is_denied(
    cluster: ControlPlane, name: str, spec: dict[str, Any], field: str
) -> None:
    """An untrusted image beside a trusted container is denied (T01, T02, T05)."""
    spec = {"containers": [{"name": "main", "image": TRUSTED}], **spec}
    assert f'{PREFIX}{field} "{UNTRUSTED}": ' in apply(cluster, spec, name)


def test_untrusted_debug_container_is_denied(cluster: ControlPlane) -> None:
    """``kubectl debug`` reaches the webhook through the subresource (T03)."""
    run(cluster, "debugged", TRUSTED)
    output = cluster.kubectl("debug", "debugged", f"--image={UNTRUSTED}", "-n", NAMESPACE, check=False)
    assert f'spec.ephemeralContainers[0].image "{UNTRUSTED}": SWR does not mark' in output


def test_pod_with_revoked_image_can_be_labeled_and_debugged(
    cluster: ControlPlane, emulator: Emulator
) -> None:
    """Unchanged images are not evaluated again (T04, T07)."""
    emulator.state.set_tag("shop/fading:1", is_trusted=True)
    run(cluster, "fading", f"{HOST}/shop/fading:1")
    emulator.state.set_tag("shop/fading:1", is_trusted=False)
    assert "labeled" in cluster.kubectl("label", "pod", "fading", "a=b", "-n", NAMESPACE)
    cluster.kubectl("debug", "fading", f"--image={HOST}/ops/debug:1", "-n", NAMESPACE)


def test_update_to_untrusted_image_is_denied(cluster: ControlPlane) -> None:
    """``kubectl set image`` is evaluated (T06)."""
    run(cluster, "updated", TRUSTED)
    output = cluster.kubectl(
        "set", "image", "pod/updated", f"updated={UNTRUSTED}", "-n", NAMESPACE, check=False
    )
    assert f'spec.containers[0].image "{UNTRUSTED}"' in output


def test_dry_run_is_evaluated(cluster: ControlPlane) -> None:
    """``--dry-run=server`` shows the denial."""
    assert "denied by image trust policy" in run(cluster, "dry", UNTRUSTED, "--dry-run=server")


def test_denial_of_deployment_pods_is_in_event(cluster: ControlPlane) -> None:
    """``kubectl describe`` shows the message in the ReplicaSet's Event."""
    cluster.kubectl("create", "deployment", "refused", f"--image={UNTRUSTED}", "-n", NAMESPACE)
    expected = f'denied by image trust policy: spec.containers[0].image "{UNTRUSTED}": SWR does not mark'

    def seen() -> bool:
        events = cluster.get("events", "-n", NAMESPACE, "--field-selector", "reason=FailedCreate")
        return any(expected in event["message"] for event in events["items"])

    cluster.wait_for("the Event", seen)


def test_kubectl_retries_after_short_swr_outage(cluster: ControlPlane, emulator: Emulator) -> None:
    """A transient failure answers 503 with Retry-After, which kubectl obeys: the second attempt succeeds."""
    emulator.state.set_tag("shop/retried:1", is_trusted=True)
    emulator.break_with("status", match="retried", status=503, times=2)
    assert run(cluster, "retried", f"{HOST}/shop/retried:1") == "pod/retried created"


def test_replica_set_recovers_within_seconds_of_swr(cluster: ControlPlane, emulator: Emulator) -> None:
    """A controller that is told to retry does so every few seconds instead of backing off for minutes."""
    emulator.state.set_tag("shop/scaled:1", is_trusted=True)
    emulator.break_with("status", match="shop/repos/scaled", status=500)
    cluster.kubectl("create", "deployment", "scaled", f"--image={HOST}/shop/scaled:1", "-n", NAMESPACE)
    cluster.wait_for("a refusal", lambda: emulator.calls("repos/scaled/") >= 2)
    time.sleep(3)
    emulator.mend()

    def running() -> bool:
        return bool(cluster.get("pods", "-n", NAMESPACE, "-l", "app=scaled")["items"])

    cluster.wait_for("the Pod", running, seconds=20)


def test_break_glass_requires_authorized_user(cluster: ControlPlane) -> None:
    """The annotation takes effect by the user that the API server authenticated, not by its presence
    (T17).
    """
    note = "--annotations=swr-trust/break-glass=incident 7"
    refused = run(cluster, "glass", UNTRUSTED, note, user="dev")
    assert 'The annotation "swr-trust/break-glass" is ignored: user "dev" may not use it.' in refused
    admitted = run(cluster, "glass", UNTRUSTED, note, user="oncall")
    assert admitted.startswith("pod/glass created")
    assert (
        'Warning: image trust policy: admitted by the break-glass annotation "swr-trust/break-glass"'
        in admitted
    )

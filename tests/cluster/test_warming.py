"""Cache warm-up from running Pods after the start of the webhook, on a real API server."""

from __future__ import annotations

from pathlib import Path

from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator
from tests.support.serving import ServerProcess, make_certificate

HOST = "swr.cn-north-4.myhuaweicloud.com"
NAMESPACE = "warm"
RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
USER = "gate"


def server(folder: Path, emulator: Emulator, cluster: ControlPlane) -> ServerProcess:
    """Return a webhook that warms up with the rights of ``USER``."""
    environment = {"KUBECONFIG": str(cluster.kubeconfig(USER))}
    return ServerProcess(
        folder, emulator.url, make_certificate(folder), "", ("--warm-up",), environment=environment
    )


def test_images_of_running_pods_are_cached_before_first_review(
    control_plane: ControlPlane, emulator: Emulator, tmp_path: Path
) -> None:
    """The chart's right is necessary and sufficient."""
    control_plane.make_namespace(NAMESPACE)
    control_plane.kubectl("run", "web", f"--image={HOST}/shop/web:1.0", "-n", NAMESPACE)
    with server(tmp_path, emulator, control_plane) as running:
        control_plane.wait_for(
            "a word on the missing right", lambda: "cannot list resource" in running.logs()
        )
        assert "running Pods could not be read to warm up" in running.logs()
    control_plane.grant(USER, "default", RULES, cluster=True)
    try:
        with server(tmp_path, emulator, control_plane) as running:
            control_plane.wait_for(
                "the image", lambda: running.metric("swr_trust_cache_entries", kind="trusted") >= 1
            )
            assert running.metric("swr_trust_admission_requests_total") == 0
    finally:
        control_plane.kubectl("delete", "clusterrole,clusterrolebinding", f"grant-{USER}")
        control_plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false")

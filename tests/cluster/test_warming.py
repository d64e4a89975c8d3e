"""Cache warm-up from running Pods after the start of the webhook, on a real API server."""

from __future__ import annotations

from pathlib import Path

from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator
from tests.support.builders import pod, review
from tests.support.serving import ServerProcess, make_certificate
from tests.support.signed import ENTERPRISE, SigningKeys, write_signed_policy

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


def verified(running: ServerProcess, registry: str) -> bool:
    """Return whether an image of a registry was found to be signed."""
    return running.metric("swr_trust_signatures_total", registry=registry, result="signed") >= 1


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


def test_signatures_of_running_images_are_verified_before_first_review(
    control_plane: ControlPlane, emulator: Emulator, tmp_path: Path
) -> None:
    """Then the first review needs neither SWR nor its registry, also for SWR Enterprise by digest alone."""
    namespace = "warm-signed"
    keys = SigningKeys(tmp_path, "release")
    basic, enterprise = (emulator.state.put_image(image) for image in ("signed/warm:1", "team/warm:1"))
    emulator.state.sign_simple("signed/warm", basic, keys["release"])
    emulator.state.sign_bundle("team/warm", enterprise, keys["release"])
    images = [f"{HOST}/signed/warm:1", f"{ENTERPRISE}/team/warm@{enterprise}"]
    control_plane.make_namespace(namespace)
    for number, image in enumerate(images):
        control_plane.kubectl("run", f"web-{number}", f"--image={image}", "-n", namespace)
    control_plane.grant(USER, "default", RULES, cluster=True)
    running = server(tmp_path, emulator, control_plane)
    write_signed_policy(running, emulator, keys)
    try:
        with running:
            # Pods of other tests may run as well, and are cached, too.
            control_plane.wait_for(
                "the signatures", lambda: all(verified(running, host) for host in (HOST, ENTERPRISE))
            )
            emulator.break_with("reset", match="/v2/")
            for image in images:
                assert running.validate(review(pod(image)))["allowed"]
    finally:
        emulator.mend()
        control_plane.kubectl("delete", "clusterrole,clusterrolebinding", f"grant-{USER}")
        control_plane.kubectl("delete", "namespace", namespace, "--wait=false")

"""SWR is down and every replica is replaced: images of before run again, on a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chart.installation import TEAM, TRUSTED, UNTRUSTED, Installation, Replica, run, wait_until_called
from tests.chart.rendering import NAME
from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator
from webhook.cluster.client import connect
from webhook.errors import ClusterError

NEVER_SEEN = TRUSTED.replace("/web:", "/api:")
"""SWR would report it as trusted, but it was never looked up before the outage."""

UNREACHABLE = "SWR cannot be reached, so trust is not known"


@pytest.fixture
def down(swr: Emulator) -> Iterator[Any]:
    """Takes SWR down when called, until the end of the test."""
    yield lambda: swr.break_with("status", status=503)
    swr.mend()


def create(cluster: ControlPlane, image: str) -> str:
    """Create a Pod as a controller does: without kubectl, which retries by itself for half a minute."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "restarted-"},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }
    api = connect(str(cluster.kubeconfig("admin")))
    try:
        api.create(f"/api/v1/namespaces/{TEAM}/pods", pod)
    except ClusterError as error:
        return str(error)
    finally:
        api.close()
    return "created"


def sources(replica: Replica) -> list[str]:
    """Return the sources of a replica's answers, from its log."""
    lines = [json.loads(line) for line in replica.logs().splitlines() if line.startswith("{")]
    return [found["from"] for line in lines for found in line.get("findings", ()) if "from" in found]


def _restart(
    cluster: ControlPlane, swr: Emulator, folder: Path, installation: Installation, down: Any
) -> Replica:
    """Let a first replica look up one image, take SWR down, and return the replica that replaces it."""
    installation.install()
    swr.state.set_tag("shop/api:1.0", is_trusted=True)
    with Replica(installation, folder) as first:
        wait_until_called(cluster)
        assert run(cluster, "before", TRUSTED, "--dry-run=server").endswith("created (server dry run)")
        assert first.stop() == 0
    down()
    return Replica(installation, folder, "replica-2")


@pytest.mark.parametrize("certificates", ["self", "existingSecret"])
def test_only_images_in_snapshot_are_admitted_after_restart(
    cluster: ControlPlane, swr: Emulator, tmp_path: Path, down: Any, certificates: str
) -> None:
    """With the rights of the chart, and a managed or a given certificate."""
    installation = Installation(cluster, f"restart-{certificates.lower()}", swr.url)
    if certificates == "existingSecret":
        installation.use_certificate()
    try:
        with _restart(cluster, swr, tmp_path, installation, down) as second:
            cluster.wait_for("the webhook", lambda: UNREACHABLE in create(cluster, NEVER_SEEN))
            cluster.wait_for("the image", lambda: create(cluster, TRUSTED) == "created", seconds=10)
            assert UNREACHABLE in create(cluster, NEVER_SEEN)
            assert UNREACHABLE in create(cluster, UNTRUSTED)
            assert set(sources(second)) == {"stale"}
        data = cluster.get("secret", f"{NAME}-snapshot", "-n", installation.namespace)["data"]
        assert list(data) == ["snapshot"]
    finally:
        cluster.kubectl("delete", "pod", "--all", "-n", TEAM, "--wait=false")
        installation.uninstall()


def test_image_without_snapshot_is_denied_after_restart(
    cluster: ControlPlane, swr: Emulator, tmp_path: Path, down: Any
) -> None:
    """The test above depends on this setting."""
    installation = Installation(cluster, "restart-off", swr.url, {"snapshot": {"enabled": False}})
    try:
        with _restart(cluster, swr, tmp_path, installation, down):
            cluster.wait_for("the webhook", lambda: UNREACHABLE in create(cluster, NEVER_SEEN))
            assert UNREACHABLE in create(cluster, TRUSTED)
    finally:
        installation.uninstall()

"""Pods created through a real API server: without a webhook, with a bare one, with this one."""

from __future__ import annotations

import http.client
import json
import ssl
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.floor import FloorProcess
from tests.bench.report import Figure, at_most, interleave
from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator
from tests.support.builders import HOST
from tests.support.serving import Certificate, ServerProcess

PODS = 60
"""Pods per round."""

IMAGE = f"{HOST}/shop/web:1.0"


class _Creator:
    """Creates Pods over one connection, as a controller does."""

    def __init__(self, cluster: ControlPlane) -> None:
        context = ssl._create_unverified_context()
        self._connection = http.client.HTTPSConnection("127.0.0.1", cluster.port, context=context, timeout=30)
        self._count = 0

    def create(self, namespace: str, image: Callable[[int], str]) -> float:
        """Create a round of Pods; return the median seconds of one."""
        took = []
        for _ in range(PODS):
            self._count += 1
            name = f"p{self._count}"
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name},
                "spec": {"containers": [{"name": "main", "image": image(self._count)}]},
            }
            started = time.perf_counter()
            self._send("POST", f"/api/v1/namespaces/{namespace}/pods", pod, 201)
            took.append(time.perf_counter() - started)
        self._send("DELETE", f"/api/v1/namespaces/{namespace}/pods?gracePeriodSeconds=0", None, 200)
        return statistics.median(took)

    def _send(self, method: str, path: str, body: Any, expected: int) -> None:
        headers = {"Authorization": "Bearer admin-token", "Content-Type": "application/json"}
        self._connection.request(method, path, json.dumps(body) if body else None, headers)
        response = self._connection.getresponse()
        text = response.read()
        if response.status != expected:
            raise AssertionError(text.decode())


def measure_creation(
    folder: Path, certificate: Certificate, emulator: Emulator, assets: Path
) -> list[Figure]:
    """Return the time that the webhook adds to the creation of a Pod."""
    home = folder / "cluster"
    home.mkdir()
    with (
        ControlPlane(assets, home) as cluster,
        ServerProcess(folder, emulator.url, certificate, "lookup: {callsPerSecond: 1000}\n") as server,
        FloorProcess(folder, certificate, "ours") as floor,
    ):
        for namespace in ("none", "bare", "ours"):
            cluster.make_namespace(namespace)
        cluster.register_webhook(server.url, certificate.ca, ["ours"])
        cluster.register_webhook(floor.url, certificate.ca, ["bare"], configuration="bare")
        cluster.wait_for("the webhooks to be called", lambda: _is_called(cluster))
        creator = _Creator(cluster)

        def cold(number: int) -> str:
            emulator.state.set_tag(f"fresh/web-{number}:1", is_trusted=True)
            return f"{HOST}/fresh/web-{number}:1"

        def warm(number: int) -> str:
            del number
            return IMAGE

        seen = interleave(
            {
                "none": lambda: creator.create("none", warm),
                "bare": lambda: creator.create("bare", warm),
                "warm": lambda: creator.create("ours", warm),
                "cold": lambda: creator.create("ours", cold),
            }
        )
    none = seen.median("none")
    ratio = (seen.median("warm") - none) / (seen.median("bare") - none)
    return [
        Figure("no webhook", f"{none * 1e3:.2f} ms"),
        Figure("bare Flask route that admits", f"{seen.median('bare') * 1e3:.2f} ms"),
        Figure("webhook, cached image", f"{seen.median('warm') * 1e3:.2f} ms"),
        Figure("webhook, uncached image (SWR without latency)", f"{seen.median('cold') * 1e3:.2f} ms"),
        at_most("  time added by the webhook (cached) relative to the bare route", ratio, 1.25),
    ]


def _is_called(cluster: ControlPlane) -> bool:
    said = cluster.kubectl("run", "probe", "--image=nginx", "-n", "ours", "--dry-run=server", check=False)
    return "denied" in said

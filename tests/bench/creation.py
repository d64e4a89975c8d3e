"""Pods created through a real API server: without a webhook, and with each of several."""

from __future__ import annotations

import http.client
import json
import ssl
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.floor import FloorProcess
from tests.bench.peer import ABSENT, PeerProcess, build_peer
from tests.bench.report import Figure, Rounds, at_most, interleave
from tests.controlplane import ControlPlane, brings_in_images
from tests.emulator.server import Emulator
from tests.support.builders import HOST
from tests.support.serving import Certificate, ServerProcess

PODS = 20
"""Pods per round."""

ROUNDS = 25
"""Short rounds: the differences are fractions of a millisecond, and etcd is slower for seconds at a time."""

IMAGE = f"{HOST}/shop/web:1.0"

PINNED_RULE = """\
rules:
  - {name: pinned, images: ["**"], namespaces: [pinned], pinDigests: true}
"""


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
    """Return the time that the webhook adds to the creation of a Pod, against what others add."""
    home = folder / "cluster"
    home.mkdir()
    peer = build_peer()
    with ExitStack() as stack:
        cluster = stack.enter_context(ControlPlane(assets, home))
        policy = "lookup: {callsPerSecond: 1000}\n" + PINNED_RULE
        urls = {
            "ours": stack.enter_context(ServerProcess(folder, emulator.url, certificate, policy)).url,
            "bare": stack.enter_context(FloorProcess(folder, certificate, "gevent")).url,
        }
        if peer is not None:
            urls["go"] = stack.enter_context(PeerProcess(peer, certificate)).url
        places = ["none", "validated", "pinned", *urls, *(["twice"] if peer is not None else [])]
        for namespace in places:
            cluster.make_namespace(namespace)
        # Both webhooks as the chart registers them: the API server evaluates their match conditions, too.
        conditions = {"matchConditions": [brings_in_images()]}
        both = ["validated", "pinned"]
        cluster.register_webhook(urls["ours"], certificate.ca, both, configuration="pinned", **conditions)
        cluster.register_mutating_webhook(urls["ours"], certificate.ca, ["pinned"], configuration="pinned")
        if peer is not None:
            for register in (cluster.register_webhook, cluster.register_mutating_webhook):
                register(urls["go"], certificate.ca, ["twice"], configuration="twice", **conditions)
        for namespace, url in urls.items():
            cluster.register_webhook(url, certificate.ca, [namespace], configuration=namespace)
        cluster.wait_for("the webhook to be called", lambda: _is_called(cluster))
        cluster.wait_for("the mutating webhook to be called", lambda: _is_pinned(cluster))
        creator = _Creator(cluster)

        def cold(number: int) -> str:
            emulator.state.set_tag(f"fresh/web-{number}:1", is_trusted=True)
            return f"{HOST}/fresh/web-{number}:1"

        def warm(number: int) -> str:
            del number
            return IMAGE

        runs = {name: partial(creator.create, name, warm) for name in places}
        seen = interleave({**runs, "cold": partial(creator.create, "ours", cold)}, ROUNDS)
    figures = [
        Figure("no webhook", _milliseconds(seen, "none")),
        Figure("bare Flask route that admits (gunicorn's conversation)", _milliseconds(seen, "bare")),
        Figure("webhook, cached image", _milliseconds(seen, "ours")),
        Figure("webhook, uncached image (SWR without latency)", _milliseconds(seen, "cold")),
        at_most(
            "  time added by the webhook (cached) relative to the bare route",
            seen.added_ratio("ours", "bare", "none"),
            1.25,
        ),
        Figure("both webhooks, image pinned", _milliseconds(seen, "pinned")),
        at_most(
            "  time added by both webhooks (cached) relative to validating alone",
            seen.added_ratio("pinned", "validated", "none"),
            1.7,
        ),
    ]
    if peer is None:
        return [*figures, Figure("Go net/http that admits", ABSENT)]
    return [
        *figures,
        Figure("Go net/http that admits", _milliseconds(seen, "go")),
        Figure(
            "Go net/http that admits, called twice: mutating and validating", _milliseconds(seen, "twice")
        ),
        Figure(
            "  time added by two calls of Go relative to one, without a patch",
            f"{seen.added_ratio('twice', 'go', 'none'):.2f}",
        ),
        at_most(
            "  time added by the webhook (cached) relative to Go",
            seen.added_ratio("ours", "go", "none"),
            1.3,
        ),
    ]


def _milliseconds(seen: Rounds, name: str) -> str:
    return f"{seen.median(name) * 1e3:.2f} ms"


def _is_called(cluster: ControlPlane) -> bool:
    said = cluster.kubectl("run", "probe", "--image=nginx", "-n", "ours", "--dry-run=server", check=False)
    return "denied" in said


def _is_pinned(cluster: ControlPlane) -> bool:
    said = cluster.kubectl(
        "run", "probe", f"--image={IMAGE}", "-n", "pinned", "--dry-run=server", "-o", "yaml", check=False
    )
    return f"image: {IMAGE}@sha256:" in said

"""Many ``kubectl apply`` at once: every Deployment must get its Pod, and no Pod is denied wrongly."""

from __future__ import annotations

import json
import os
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.report import Figure
from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator
from tests.support.builders import HOST
from tests.support.serving import Certificate, ServerProcess

DEPLOYMENTS = 200
JOBS = (20, 50)
LATENCY = 0.1
"""Seconds of a call to SWR."""

STALE_WAIT = 300.0
"""Seconds until all Pods must exist: the controllers' own rate limit takes longest."""

WATCHED = [
    {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["pods", "pods/ephemeralcontainers"],
    },
    {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["deployments", "replicasets"],
    },
]


def measure_applying(
    folder: Path, certificate: Certificate, emulator: Emulator, assets: Path
) -> list[Figure]:
    """Return how many of 200 Deployments got their Pod, each with an image of its own."""
    home = folder / "applying"
    home.mkdir()
    figures: list[Figure] = []
    with (
        ControlPlane(assets, home) as cluster,
        ServerProcess(folder, emulator.url, certificate) as server,
    ):
        emulator.set_latency(LATENCY)
        for jobs in JOBS:
            namespace = f"jobs-{jobs}"
            cluster.make_namespace(namespace)
            cluster.register_webhook(server.url, certificate.ca, [namespace], rules=WATCHED)
            cluster.wait_for("the webhook to be called", partial(_is_called, cluster, namespace))
            refused = _refused(server)
            started = time.monotonic()
            failed = _apply(cluster, assets, home, _write(emulator, home, namespace, jobs))
            applied = time.monotonic() - started
            pods = _await_pods(cluster, namespace)
            took = time.monotonic() - started
            refused = _refused(server) - refused
            figures += [
                Figure(
                    f"{jobs} parallel jobs, {DEPLOYMENTS // jobs} Deployments each: Deployments with a Pod",
                    f"{pods} of {DEPLOYMENTS}",
                    f"{DEPLOYMENTS}",
                    pods == DEPLOYMENTS,
                ),
                Figure("  failed jobs", f"{failed}", "0", failed == 0),
                Figure("  denied reviews", f"{refused:.0f}", "0", refused == 0),
                Figure("  all applied, all Pods created", f"after {applied:.0f} s, {took:.0f} s"),
            ]
    return figures


def _write(emulator: Emulator, home: Path, namespace: str, jobs: int) -> list[Path]:
    """Write one file per job, and mark the images in them as trusted in SWR."""
    files = []
    each = DEPLOYMENTS // jobs
    for job in range(jobs):
        items = []
        for index in range(job * each, (job + 1) * each):
            image = f"{namespace}/web-{index}:1"
            emulator.state.set_tag(image, is_trusted=True)
            items.append(_deployment(f"web-{index}", namespace, f"{HOST}/{image}"))
        path = home / f"{namespace}-{job}.json"
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}), encoding="utf-8")
        files.append(path)
    return files


def _deployment(name: str, namespace: str, image: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


def _apply(cluster: ControlPlane, assets: Path, home: Path, files: list[Path]) -> int:
    """Run one kubectl per file, all at the same time; return how many failed."""
    command = [str(assets / "kubectl"), f"--kubeconfig={cluster.kubeconfig('admin')}", "apply", "-f"]
    environment = {**os.environ, "HOME": str(home)}
    started = []
    for path in files:
        with path.with_suffix(".log").open("wb") as log:
            started.append(
                subprocess.Popen([*command, str(path)], stdout=log, stderr=log, cwd=home, env=environment)
            )
    codes = [process.wait(600) for process in started]
    for path, code in zip(files, codes, strict=True):
        if code:
            print(path.with_suffix(".log").read_text(encoding="utf-8", errors="replace")[-500:])
    return sum(code != 0 for code in codes)


def _await_pods(cluster: ControlPlane, namespace: str) -> int:
    """Wait until each Deployment has a Pod, and return how many Pods there are."""
    ends = time.monotonic() + STALE_WAIT
    count = 0
    while count < DEPLOYMENTS and time.monotonic() < ends:
        names = cluster.kubectl("get", "pods", "-n", namespace, "-o", "name")
        count = sum(line.startswith("pod/web-") for line in names.splitlines())
        time.sleep(1)
    return count


def _refused(server: ServerProcess) -> float:
    return sum(
        server.metric("swr_trust_admission_requests_total", decision=word) for word in ("deny", "error")
    )


def _is_called(cluster: ControlPlane, namespace: str) -> bool:
    said = cluster.kubectl("run", "probe", "--image=nginx", "-n", namespace, "--dry-run=server", check=False)
    return "denied" in said

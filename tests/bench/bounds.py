"""Latency of a cached review, and memory, beside bodies and Pods at the size limits."""

from __future__ import annotations

import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bench.load import connect, prepare
from tests.bench.processes import receive, resident, worker_of
from tests.bench.report import Figure, at_most
from tests.emulator.server import Emulator
from tests.support.builders import HOST, pod, review
from tests.support.serving import ROOT, Certificate, ServerProcess
from webhook.server.reviews import MAX_BODY

SECONDS = 4.0
SENDERS = 20
SLOWEST = 100.0
"""Milliseconds that a cached review may take on a quiet machine."""

MEMORY = 512.0
"""Mebibytes: the chart's limit."""

NAMES = itertools.count()


def measure_bounds(folder: Path, certificate: Certificate, emulator: Emulator) -> list[Figure]:
    """Return the effect of each kind of load on a cached review beside it, and on memory."""
    figures: list[Figure] = []
    policy = "cache: {trusted: 1h}\nlookup: {callsPerSecond: 50}\n"
    with ServerProcess(folder, emulator.url, certificate, policy) as server:
        assert server.process is not None
        worker = worker_of(server.process.pid)
        alone = _measure_under_load(server, certificate, worker, "")
        figures.append(
            Figure("without load, median and slowest", f"{alone.median:.1f}, {alone.slowest:.1f} ms")
        )
        for what in LOADS:
            seen = _measure_under_load(server, certificate, worker, what)
            figures += [
                Figure(f"during {what}, median", f"{seen.median:.1f} ms"),
                at_most("  99th percentile", seen.late, SLOWEST, " ms"),
                at_most("  resident memory", seen.memory, MEMORY, " MiB"),
            ]
    return figures


def _padded() -> bytes:
    obj = pod(f"{HOST}/shop/web:1.0")
    obj["metadata"]["annotations"] = {"padding": "x" * (MAX_BODY - 20_000)}
    return review(obj)


def _full() -> bytes:
    shell = review({"spec": "HERE"}).decode()
    room = (MAX_BODY - len(shell)) // 3 - 10
    return shell.replace('"HERE"', '{"containers":[' + "{}," * room + "{}]}").encode()


def _wide() -> bytes:
    return review(pod(*(f"{HOST}/shop/n{next(NAMES)}:1" for _ in range(200))), namespace="noisy")


def _with_metadata(metadata: dict[str, Any]) -> bytes:
    obj = {**pod(f"{HOST}/shop/n{next(NAMES)}:1"), "metadata": metadata}
    return json.dumps(json.loads(review(obj, namespace="noisy")), separators=(",", ":")).encode()


def _annotated() -> bytes:
    return _with_metadata({"annotations": {f"{n:x}": "" for n in range(80_000)}})


def _owned() -> bytes:
    return _with_metadata({"ownerReferences": [{"name": "o", "uid": f"{n:x}"} for n in range(30_000)]})


LOADS: dict[str, Callable[[], bytes]] = {
    "reviews of 6.9 MB": _padded,
    "7 MiB of empty containers": _full,
    "Pods with 200 uncached images": _wide,
    "uncached Pods with 80,000 annotations": _annotated,
    "uncached Pods with 30,000 owners": _owned,
}


class _Seen:
    """Latencies in milliseconds, and the peak memory in MiB."""

    def __init__(self, took: list[float], memory: float) -> None:
        took = sorted(took)
        self.median = statistics.median(took)
        self.late = took[max(0, int(len(took) * 0.99) - 1)]
        self.slowest = took[-1]
        self.memory = memory


def _measure_under_load(server: ServerProcess, certificate: Certificate, worker: int, what: str) -> _Seen:
    small = prepare(review(pod(f"{HOST}/shop/web:1.0")))
    client = connect(server.port, certificate.ca)
    took: list[float] = []
    memory = 0.0
    with _load(server, certificate, what):
        client.sendall(small)
        receive(client)
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            began = time.monotonic()
            client.sendall(small)
            receive(client)
            took.append((time.monotonic() - began) * 1000)
            if len(took) % 20 == 0:
                memory = max(memory, resident(worker))
            time.sleep(0.005)
    client.close()
    return _Seen(took, max(memory, resident(worker)))


@contextlib.contextmanager
def _load(server: ServerProcess, certificate: Certificate, what: str) -> Iterator[None]:
    """Send a body over many connections repeatedly, from another process; nothing for ``""``."""
    if not what:
        yield
        return
    command = [sys.executable, "-m", "tests.bench.bounds", str(server.port), str(certificate.ca), what]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as sender:
        time.sleep(1.0)
        try:
            yield
        finally:
            assert sender.stdin is not None
            sender.stdin.close()
            sender.wait(60)


def _send(port: int, ca: Path, make: Callable[[], bytes]) -> None:
    """Send until standard input ends."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError, AssertionError):
                client = connect(port, ca)
                client.sendall(prepare(make()))
                receive(client)
                client.close()

    threads = [threading.Thread(target=go_on, daemon=True) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    _send(int(sys.argv[1]), Path(sys.argv[2]), LOADS[sys.argv[3]])

"""Cold reviews: the time of a lookup, the number of calls of many clients, the size of the cache."""

from __future__ import annotations

import ssl
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.bench.load import connect, prepare
from tests.bench.processes import receive, resident, worker_of
from tests.bench.report import ROUNDS, Figure, at_most
from tests.emulator.server import Emulator
from tests.support.builders import HOST, pod, review
from tests.support.process_stats import wait_until
from tests.support.serving import Certificate, ServerProcess

LATENCY = 0.1
COLD = 10
STARTS = 5
CROWD = 1000
DISTINCT = 10_000
WARM = f"{HOST}/shop/web:1.0"
QUICK = "lookup: {callsPerSecond: 1000}\ncache: {trusted: 1h}\n"


def measure_cold(folder: Path, certificate: Certificate, emulator: Emulator) -> list[Figure]:
    """Return the time that ten distinct cold images add to a review, in round trips to SWR."""

    def push(prefix: str, name: str) -> str:
        emulator.state.set_tag(f"{prefix}/{name}:1", is_trusted=True)
        return f"{HOST}/{prefix}/{name}:1"

    first = statistics.median(
        _time_first(folder, certificate, emulator, partial(push, f"start-{start}")) for start in range(STARTS)
    )
    with ServerProcess(folder, emulator.url, certificate) as server:
        added = time_added(server, emulator, partial(push, "cold"))
    return [
        at_most("time added by ten uncached images, in SWR round trips of 100 ms", added, 1.1),
        at_most("  in the first review after a start, relative to later ones", first / added, 1.1),
    ]


def time_added(
    server: ServerProcess, emulator: Emulator, push: Callable[[str], str], rounds: int = ROUNDS
) -> float:
    """Return the time that ten uncached images add to a review, in round trips: the median of ``rounds``.

    ``push`` pushes a repository of this name, and returns the name of its image in a Pod.
    """
    extra: list[float] = []
    client = connect(server.port, server.certificate.ca)
    for turn in range(rounds):
        body = review(pod(*(push(f"cold-{turn}-{index}") for index in range(COLD))))
        emulator.set_latency(LATENCY)
        cold = time_review(client, body)
        emulator.set_latency(0.0)
        warm = statistics.median(time_review(client, body) for _ in range(5))
        extra.append((cold - warm) / LATENCY)
    client.close()
    return statistics.median(extra)


def _time_first(
    folder: Path, certificate: Certificate, emulator: Emulator, push: Callable[[str], str]
) -> float:
    """Return what ``time_added`` returns of the first review after a start."""
    with ServerProcess(folder, emulator.url, certificate) as server:
        if not wait_until(lambda: server.metric("swr_trust_swr_requests_total") == 1):
            raise AssertionError("the webhook did not call SWR before the first review")
        return time_added(server, emulator, push, rounds=1)


def measure_crowd(folder: Path, certificate: Certificate, emulator: Emulator) -> list[Figure]:
    """Return how many calls 1,000 simultaneous reviews of one cold image make."""
    emulator.state.set_tag("shop/crowd:1", is_trusted=True)
    with ServerProcess(folder, emulator.url, certificate) as server:
        admitted = admit_crowd(server, emulator, f"{HOST}/shop/crowd:1", "an uncached image", 1.0)
    calls = emulator.state.calls["/v2/manage/namespaces/shop/repos/crowd/tags/1"]
    return [admitted, Figure("  calls to SWR", f"{calls}", "1", calls == 1)]


def admit_crowd(server: ServerProcess, emulator: Emulator, image: str, what: str, latency: float) -> Figure:
    """Return how many of 1,000 simultaneous reviews of one image are admitted; ``latency`` in seconds."""
    request = prepare(review(pod(image)))
    used = review(pod(WARM))
    clients = []
    for _ in range(CROWD):
        client = connect(server.port, server.certificate.ca)
        time_review(client, used)  # like kube-apiserver's connections, it has been used before
        clients.append(client)
    emulator.set_latency(latency)
    for client in clients:
        client.sendall(request)
    allowed = sum(b'"allowed":true' in receive(client) for client in clients)
    emulator.set_latency(0.0)
    for client in clients:
        client.close()
    name = f"{CROWD} concurrent reviews of {what}: admitted"
    return Figure(name, f"{allowed}", f"{CROWD}", allowed == CROWD)


def measure_memory(folder: Path, certificate: Certificate, emulator: Emulator) -> list[Figure]:
    """Return the resident memory before and after 10,000 distinct images, and the time to be ready."""
    for index in range(DISTINCT):
        emulator.state.set_tag(f"many/web-{index}:1", is_trusted=True)
    ready = statistics.median(_time_start(folder, certificate, emulator) for _ in range(3))
    with ServerProcess(folder, emulator.url, certificate, QUICK) as server:
        assert server.process is not None
        worker = worker_of(server.process.pid)
        before = resident(worker)
        client = connect(server.port, certificate.ca)
        for first in range(0, DISTINCT, 10):
            body = review(pod(*(f"{HOST}/many/web-{index}:1" for index in range(first, first + 10))))
            client.sendall(prepare(body))
            if b'"allowed":true' not in receive(client):
                raise AssertionError(f"not admitted: {server.logs()[-2000:]}")
        after = resident(worker)
        kept = server.metric("swr_trust_cache_entries", kind="trusted")
        client.close()
    return [
        Figure("time until ready, median of three starts", f"{ready:.2f} s", "< 0.7 s", ready < 0.7),
        Figure("resident memory of the worker at startup", f"{before:.0f} MB", "< 45 MB", before < 45),
        Figure(
            f"  after {kept:.0f} distinct images",
            f"{after:.0f} MB",
            "< 120 MB",
            after < 120 and kept == DISTINCT,
        ),
    ]


def _time_start(folder: Path, certificate: Certificate, emulator: Emulator) -> float:
    started = time.perf_counter()
    with ServerProcess(folder, emulator.url, certificate, QUICK):
        return time.perf_counter() - started


def time_review(client: ssl.SSLSocket, body: bytes) -> float:
    """Return the seconds of a review, whose images must be admitted."""
    started = time.perf_counter()
    client.sendall(prepare(body))
    answer = receive(client)
    took = time.perf_counter() - started
    if b'"allowed":true' not in answer:
        raise AssertionError(answer.decode())
    return took

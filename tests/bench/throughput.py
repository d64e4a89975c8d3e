"""Warm reviews: throughput and latency against gunicorn, a bare loop and Go, and the cost of many rules."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.bench.floor import THREADS, FloorProcess
from tests.bench.load import Load, run_load
from tests.bench.peer import ABSENT, PeerProcess, build_peer
from tests.bench.processes import measure_load, worker_of
from tests.bench.report import Figure, Rounds, at_least, at_most, interleave, repeat
from tests.emulator.server import Emulator
from tests.support.builders import HOST, pod, review
from tests.support.serving import Certificate, ServerProcess

IMAGE = f"{HOST}/shop/web:1.0"
RULES = 200

MANY = 16
"""Connections of the comparison of throughput."""

CROWDED = 64
"""Connections of the second comparison of latency."""

Loads = Mapping[str, Sequence[Load]]


def measure_warm(folder: Path, certificate: Certificate, emulator: Emulator) -> list[Figure]:
    """Return throughput, CPU time and latency of a cached review, against the baselines."""
    body = _write(folder, "warm.json", review(pod(IMAGE)))
    costs: list[float] = []
    with ExitStack() as stack:
        server = stack.enter_context(ServerProcess(folder, emulator.url, certificate))
        assert server.process is not None
        worker = worker_of(server.process.pid)
        ports = {"ours": server.port}
        for name in ("gevent", "gthread", "loop"):
            ports[name] = stack.enter_context(FloorProcess(folder, certificate, name)).port
        peer = build_peer()
        if peer is not None:
            ports["go"] = stack.enter_context(PeerProcess(peer, certificate)).port
            ports["go1"] = stack.enter_context(PeerProcess(peer, certificate, processors=1)).port

        def runs(connections: int, names: Sequence[str]) -> dict[str, Callable[[], Load]]:
            return {
                name: partial(run_load, ports[name], certificate.ca, body, connections=connections)
                for name in names
                if name in ports
            }

        def count_cost(run: Callable[[], Load]) -> Load:
            load, cost = measure_load(worker, run)
            costs.append(cost)
            return load

        many = runs(MANY, tuple(ports))
        many["ours"] = partial(count_cost, many["ours"])
        rates = _rates(repeat(many))
        single = repeat(runs(1, ("ours", "go")))
        crowded = repeat(runs(CROWDED, ("ours", "go")))
    return [
        *_throughput(rates, statistics.median(costs)),
        *_one_connection(single),
        *_latency(f"{CROWDED} connections", crowded, 3),
    ]


def _throughput(rates: Rounds, cost: float) -> list[Figure]:
    """Return the table of 16 connections; ``cost`` is the CPU time of a request in seconds."""
    figures = [
        Figure(
            f"cached review with metrics and decision log, {MANY} connections", _per_second(rates, "ours")
        ),
        Figure("  CPU time of the worker per request", f"{cost * 1e6:.0f} µs"),
        Figure("gunicorn's conversation: bare Flask route, gevent", _per_second(rates, "gevent")),
        at_least("  webhook relative to gunicorn's conversation", rates.ratio("ours", "gevent"), 2),
        Figure(f"bare Flask route, gthread with {THREADS} threads", _per_second(rates, "gthread")),
        at_least("  webhook relative to the bare route on gthread", rates.ratio("ours", "gthread"), 1.5),
        Figure("gevent loop over TLS, parses nothing", _per_second(rates, "loop")),
    ]
    if "go" not in rates.seen:
        return [*figures, Figure("Go net/http, decodes and admits", ABSENT)]
    return [
        *figures,
        Figure("Go net/http, decodes and admits", _per_second(rates, "go")),
        at_least("  webhook relative to Go", rates.ratio("ours", "go"), 0.5),
        Figure("Go with one processor", _per_second(rates, "go1")),
        Figure("  webhook relative to Go with one processor", f"{rates.ratio('ours', 'go1'):.2f}"),
        Figure("  gevent loop relative to Go", f"{rates.ratio('loop', 'go'):.2f}"),
    ]


def _one_connection(loads: Loads) -> list[Figure]:
    figures = _latency("one connection", loads, 2.5)
    if "go" not in loads:
        return figures
    ratio = _rates(loads).ratio("ours", "go")
    return [at_least("one connection, requests per second relative to Go", ratio, 0.65), *figures]


def _latency(what: str, loads: Loads, limit: float) -> list[Figure]:
    """Return median and 99th percentile, and that of Go beside it, which shows what the machine does."""
    figures = [
        Figure(f"{what}, median and p99", _milliseconds(loads["ours"])),
        at_most(f"  p99 relative to median, {what}", _spread(loads["ours"]), limit),
    ]
    if "go" not in loads:
        return figures
    return [
        *figures,
        Figure("  Go, median and p99", _milliseconds(loads["go"])),
        Figure("  Go, p99 relative to median", f"{_spread(loads['go']):.2f}"),
    ]


def _rates(loads: Loads) -> Rounds:
    return Rounds({name: [load.per_second for load in seen] for name, seen in loads.items()})


def _per_second(rates: Rounds, name: str) -> str:
    return f"{rates.median(name):.0f}/s"


def _spread(loads: Sequence[Load]) -> float:
    return statistics.median(load.spread for load in loads)


def _milliseconds(loads: Sequence[Load]) -> str:
    median = statistics.median(load.median for load in loads)
    p99 = statistics.median(load.p99 for load in loads)
    return f"{median * 1e3:.2f} ms, {p99 * 1e3:.2f} ms"


def measure_policy(folder: Path, certificate: Certificate, emulator: Emulator) -> list[Figure]:
    """Return the CPU time of a warm review with 200 rules and 200 exemptions, relative to none."""
    body = _write(folder, "policy.json", review(pod(IMAGE)))
    with (
        ServerProcess(_below(folder, "short"), emulator.url, certificate) as short,
        ServerProcess(_below(folder, "long"), emulator.url, certificate, many_rules(RULES)) as many,
    ):

        def cost(server: ServerProcess) -> Callable[[], float]:
            assert server.process is not None
            worker = worker_of(server.process.pid)
            load = partial(run_load, server.port, certificate.ca, body, connections=MANY)
            return lambda: measure_load(worker, load)[1]

        seen = interleave({"short": cost(short), "many": cost(many)})
    what = f"CPU time with {RULES} rules and {RULES} exemptions, relative to none"
    return [at_most(what, seen.ratio("many", "short"), 1.15)]


def _write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _below(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    return path


def many_rules(count: int) -> str:
    """Return so many rules and exemptions, none of which covers the images of other measurements."""
    rules = (
        f'  - {{name: r{index}, mode: audit, namespaces: ["team-{index}-*"], images: ["{HOST}/t{index}/**"]}}'
        for index in range(count)
    )
    exemptions = (
        f'  - {{name: e{index}, reason: bench, images: ["{HOST}/x{index}/*", "x{index}/y"]}}'
        for index in range(count)
    )
    return "\n".join(["rules:", *rules, "exemptions:", *exemptions, ""]) if count else ""

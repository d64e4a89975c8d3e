"""Warm reviews: the cost of a decision over a bare route, against another language, with many rules."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.bench.floor import THREADS, FloorProcess
from tests.bench.load import run_load
from tests.bench.peer import PeerProcess, build_peer
from tests.bench.report import Figure, at_least, at_most, interleave
from tests.emulator.server import Emulator
from tests.support.builders import HOST, pod, review
from tests.support.serving import Certificate, ServerProcess

IMAGE = f"{HOST}/shop/web:1.0"
RULES = 200


def measure_warm(folder: Path, certificate: Certificate, emulator: Emulator) -> list[Figure]:
    """Return requests per second against the baselines."""
    body = _write(folder, "warm.json", review(pod(IMAGE)))
    peer = build_peer(folder)
    with ExitStack() as stack:
        server = stack.enter_context(ServerProcess(folder, emulator.url, certificate))
        ports = {
            "ours": server.port,
            "floor": stack.enter_context(FloorProcess(folder, certificate, "ours")).port,
            "threads": stack.enter_context(FloorProcess(folder, certificate, "gthread")).port,
        }
        if peer is not None:
            ports["go"] = stack.enter_context(PeerProcess(peer, certificate)).port
        seen = interleave({name: _rate(port, certificate, body) for name, port in ports.items()})
        latency = run_load(server.port, certificate.ca, body, connections=1)
    figures = [
        Figure("bare Flask route, worker of the webhook", f"{seen.median('floor'):.0f}/s"),
        Figure(f"bare Flask route, gthread with {THREADS} threads", f"{seen.median('threads'):.0f}/s"),
        Figure("cached review with metrics and decision log", f"{seen.median('ours'):.0f}/s"),
        at_least("  relative to the bare route on the same worker", seen.ratio("ours", "floor"), 0.8),
        at_least("  relative to the bare route on gthread", seen.ratio("ours", "threads"), 1.5),
        Figure(
            "  one connection, median and p99", f"{latency.median * 1e3:.2f} ms, {latency.p99 * 1e3:.2f} ms"
        ),
    ]
    if peer is None:
        return [*figures, Figure("Go net/http, decodes and admits", "skipped: go is not installed")]
    return [
        *figures,
        Figure("Go net/http, decodes and admits", f"{seen.median('go'):.0f}/s"),
        Figure("  webhook relative to Go", f"{seen.ratio('ours', 'go'):.2f}"),
    ]


def measure_policy(folder: Path, certificate: Certificate, emulator: Emulator) -> list[Figure]:
    """Return the cost of 200 rules and 200 exemptions in a warm review."""
    body = _write(folder, "policy.json", review(pod(IMAGE)))
    with (
        ServerProcess(_below(folder, "short"), emulator.url, certificate) as short,
        ServerProcess(_below(folder, "long"), emulator.url, certificate, many_rules(RULES)) as many,
    ):
        ports = {"short": short.port, "many": many.port}
        seen = interleave({name: _rate(port, certificate, body) for name, port in ports.items()})
    what = f"cost with {RULES} rules and {RULES} exemptions, relative to none"
    return [at_most(what, seen.ratio("short", "many"), 1.25)]


def _rate(port: int, certificate: Certificate, body: Path) -> Callable[[], float]:
    return lambda: run_load(port, certificate.ca, body).per_second


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

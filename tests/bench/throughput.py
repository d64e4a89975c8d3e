"""Warm reviews: what deciding costs over a bare route, over many rules, over large objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.floor import FloorProcess
from tests.bench.load import run_load
from tests.bench.report import Figure, interleave
from tests.builders import HOST, container, pod, review
from tests.emulator.server import Emulator
from tests.serving import Certificate, ServerProcess

IMAGE = f"{HOST}/shop/web:1.0"
RULES = 200


def measure_warm(folder: Path, certificate: Certificate, emulator: Emulator) -> list[Figure]:
    """Return requests a second against the floors."""
    body = _write(folder, "warm.json", review(pod(IMAGE)))
    with (
        ServerProcess(folder, emulator.url, certificate) as server,
        FloorProcess(folder, certificate, "ours") as floor,
        FloorProcess(folder, certificate, "gthread") as threads,
    ):
        ports = {"ours": server.port, "floor": floor.port, "threads": threads.port}
        seen = interleave({name: _rate(port, certificate, body) for name, port in ports.items()})
        latency = run_load(server.port, certificate.authority, body, connections=1)
    to_floor, to_threads = seen["ours"] / seen["floor"], seen["ours"] / seen["threads"]
    return [
        Figure("bare route, our worker", f"{seen['floor']:.0f}/s"),
        Figure(f"bare route, gthread with {32} threads", f"{seen['threads']:.0f}/s"),
        Figure("warm review, metrics and decision log on", f"{seen['ours']:.0f}/s"),
        Figure("  against the bare route", f"{to_floor:.2f}", ">= 0.8", to_floor >= 0.8),
        Figure("  against gthread", f"{to_threads:.2f}", ">= 1.5", to_threads >= 1.5),
        Figure(
            "  one connection, median and p99", f"{latency.median * 1e3:.2f} ms, {latency.p99 * 1e3:.2f} ms"
        ),
    ]


def measure_policy(folder: Path, certificate: Certificate, emulator: Emulator) -> list[Figure]:
    """Return what 200 rules and 200 exemptions add to a warm review."""
    body = _write(folder, "policy.json", review(pod(IMAGE)))
    long = _many_rules()
    with (
        ServerProcess(_below(folder, "short"), emulator.url, certificate) as short,
        ServerProcess(_below(folder, "long"), emulator.url, certificate, long) as many,
    ):
        ports = {"short": short.port, "many": many.port}
        seen = interleave({name: _rate(port, certificate, body) for name, port in ports.items()})
    ratio = seen["short"] / seen["many"]
    return [
        Figure(
            f"cost with {RULES} rules and {RULES} exemptions over none",
            f"{ratio:.2f}",
            "<= 1.25",
            ratio <= 1.25,
        )
    ]


def measure_growth(folder: Path, certificate: Certificate, emulator: Emulator) -> list[Figure]:
    """Return how the cost grows with bytes and with uses."""
    sizes = {2_000: "2 kB", 32_000: "32 kB", 256_000: "256 kB", 1_000_000: "1 MB"}
    counts = (1, 10, 100, 300)
    for index in range(max(counts)):
        emulator.state.set_tag(f"shop/part-{index}:1", is_trusted=True)
    with ServerProcess(folder, emulator.url, certificate, "lookup: {callsPerSecond: 1000}\n") as server:

        def time_of(name: str, content: bytes) -> Callable[[], float]:
            path = _write(folder, f"growth-{name}.json", content)
            server.validate(content)
            return lambda: (
                run_load(server.port, certificate.authority, path, connections=1, seconds=0.5).median
            )

        by_size = interleave({text: time_of(text, _padded(size)) for size, text in sizes.items()}, 3)
        by_count = interleave({str(count): time_of(str(count), _wide(count)) for count in counts}, 3)
    bytes_ratio = by_size["1 MB"] / by_size["2 kB"]
    uses_ratio = by_count["300"] / by_count["1"]
    return [
        Figure("a review of " + ", ".join(by_size), _milliseconds(by_size)),
        Figure(
            "  1 MB against 2 kB (500 times the bytes)", f"{bytes_ratio:.1f}", "<= 500", bytes_ratio <= 500
        ),
        Figure("a review of " + ", ".join(by_count) + " distinct images", _milliseconds(by_count)),
        Figure("  300 against 1", f"{uses_ratio:.1f}", "<= 300", uses_ratio <= 300),
    ]


def _rate(port: int, certificate: Certificate, body: Path) -> Callable[[], float]:
    return lambda: run_load(port, certificate.authority, body).per_second


def _write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _below(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    return path


def _many_rules() -> str:
    rules = (
        f'  - {{name: r{index}, mode: audit, namespaces: ["team-{index}-*"], images: ["{HOST}/t{index}/**"]}}'
        for index in range(RULES)
    )
    exemptions = (
        f'  - {{name: e{index}, reason: bench, images: ["{HOST}/x{index}/*", "x{index}/y"]}}'
        for index in range(RULES)
    )
    return "\n".join(["rules:", *rules, "exemptions:", *exemptions, ""])


def _padded(size: int) -> bytes:
    thing: dict[str, Any] = pod(IMAGE)
    thing["metadata"]["annotations"] = {"padding": ""}
    missing = size - len(review(thing))
    thing["metadata"]["annotations"]["padding"] = "x" * max(0, missing)
    return review(thing)


def _wide(count: int) -> bytes:
    thing = pod()
    thing["spec"]["containers"] = [
        container(f"{HOST}/shop/part-{index}:1", f"c{index}") for index in range(count)
    ]
    return json.dumps(json.loads(review(thing))).encode()


def _milliseconds(values: dict[str, float]) -> str:
    return ", ".join(f"{value * 1e3:.2f}" for value in values.values()) + " ms"

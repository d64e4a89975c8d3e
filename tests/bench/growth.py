"""Growth of the cost of a warm review with bytes, images, rules, cached images and connections.

Cost is the processor time of the worker's threads, which other work on the machine hardly affects. Growth is
linear if the cost of one more byte, or one more image, does not rise. The slope of the last step is compared
with the median slope of the steps before it, which removes the fixed cost.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.floor import FloorProcess
from tests.bench.load import connect, prepare, run_load
from tests.bench.processes import cost_of, measure_load, receive, worker_of
from tests.bench.report import Figure, Rounds, at_most, interleave
from tests.bench.throughput import many_rules
from tests.emulator.server import Emulator
from tests.support.builders import HOST, container, pod, review
from tests.support.serving import Certificate, ServerProcess

IMAGE = f"{HOST}/shop/web:1.0"
SIZES = (2_000, 250_000, 500_000, 750_000, 1_000_000)
USES = (1, 50, 100, 150, 200)
RULES = (0, 200, 400)
DISTINCT = (1, 1_000, 10_000)
CONNECTIONS = (1, 16, 128, 512)

STEEPER = 1.5
"""The factor by which the last step may be steeper than those before it."""

QUICK = "lookup: {callsPerSecond: 1000}\ncache: {trusted: 1h}\n"


def measure_growth(folder: Path, certificate: Certificate, emulator: Emulator) -> list[Figure]:
    """Return the growth of the cost with bytes, images, rules and distinct images."""
    for index in range(max(*USES, *DISTINCT)):
        emulator.state.set_tag(f"many/web-{index}:1", is_trusted=True)
    with _serve(folder, certificate, emulator, QUICK) as measure:
        sizes = interleave({str(size): measure([_padded(size)], 20) for size in SIZES}, 3)
        uses = interleave({str(count): measure([_wide(0, count)], 100) for count in USES}, 5)
    with _serve(folder, certificate, emulator, QUICK) as measure:
        distinct = interleave({str(count): measure(_distinct(count), 500) for count in DISTINCT}, 3)
    with ExitStack() as stack:
        costs = {
            str(count): stack.enter_context(_serve(folder, certificate, emulator, QUICK + many_rules(count)))(
                [review(pod(IMAGE))], 500
            )
            for count in RULES
        }
        rules = interleave(costs, 3)
    return [
        Figure("review of 2, 250, 500, 750 kB and 1 MB", _milliseconds(sizes)),
        at_most("  cost per byte, last step relative to earlier steps", _steepness(SIZES, sizes), STEEPER),
        Figure("review of 1, 50, 100, 150 and 200 images", _milliseconds(uses)),
        at_most("  cost per image, last step relative to earlier steps", _steepness(USES, uses), STEEPER),
        Figure("one image with 0, 200 and 400 rules and the same number of exemptions", _milliseconds(rules)),
        at_most("  400 relative to 0", rules.ratio("400", "0"), 1.25),
        Figure("one image per review, from a set of 1, 1,000 and 10,000", _milliseconds(distinct)),
        Figure("  10,000 relative to 1", f"{distinct.ratio('10000', '1'):.2f}"),
    ]


def measure_connections(folder: Path, certificate: Certificate, emulator: Emulator) -> list[Figure]:
    """Return the cost of a review with increasing numbers of connections, and of the bare route on
    threads.
    """
    body = folder / "connections.json"
    body.write_bytes(review(pod(IMAGE)))
    with (
        ServerProcess(folder, emulator.url, certificate) as server,
        FloorProcess(folder, certificate, "gthread") as threads,
    ):
        assert server.process is not None
        worker, threaded = worker_of(server.process.pid), worker_of(threads.pid)

        def cost(port: int, process: int, connections: int) -> Callable[[], float]:
            load = partial(run_load, port, certificate.ca, body, connections=connections)
            return lambda: measure_load(process, load)[1]

        runs = {str(count): cost(server.port, worker, count) for count in CONNECTIONS}
        runs |= {f"threads-{count}": cost(threads.port, threaded, count) for count in CONNECTIONS}
        seen = interleave(runs, 3)
    counts = ", ".join(map(str, CONNECTIONS))
    return [
        Figure(f"review over {counts} connections, including handshakes", _milliseconds(seen, CONNECTIONS)),
        at_most("  128 connections relative to 16", seen.ratio("128", "16"), STEEPER),
        Figure(
            "bare Flask route on gthread, the same",
            _milliseconds(seen, [f"threads-{count}" for count in CONNECTIONS]),
        ),
    ]


@contextmanager
def _serve(
    folder: Path, certificate: Certificate, emulator: Emulator, policy: str
) -> Iterator[Callable[[list[bytes], int], Callable[[], float]]]:
    """Start a server, and return a function that measures bodies after each was sent once."""
    home = folder / f"server-{len(list(folder.iterdir()))}"
    home.mkdir()
    with ServerProcess(home, emulator.url, certificate, policy) as server:
        assert server.process is not None
        worker = worker_of(server.process.pid)
        client = connect(server.port, certificate.ca)

        def measure(bodies: list[bytes], count: int) -> Callable[[], float]:
            for body in bodies:
                client.sendall(prepare(body))
                receive(client)
            return lambda: cost_of(worker, client, bodies, max(count, len(bodies)))

        yield measure
        client.close()


def _steepness(steps: tuple[int, ...], seen: Rounds) -> float:
    costs = [seen.median(str(step)) for step in steps]
    slopes = [
        (costs[index + 1] - costs[index]) / (steps[index + 1] - steps[index])
        for index in range(len(steps) - 1)
    ]
    return slopes[-1] / statistics.median(slopes[:-1])


def _padded(size: int) -> bytes:
    obj: dict[str, Any] = pod(IMAGE)
    obj["metadata"]["annotations"] = {"padding": ""}
    missing = size - len(review(obj))
    obj["metadata"]["annotations"]["padding"] = "x" * max(0, missing)
    return review(obj)


def _wide(first: int, count: int) -> bytes:
    obj = pod()
    obj["spec"]["containers"] = [
        container(f"{HOST}/many/web-{index}:1", f"c{index}") for index in range(first, first + count)
    ]
    return review(obj)


def _distinct(count: int) -> list[bytes]:
    return [_wide(index, 1) for index in range(count)]


def _milliseconds(seen: Rounds, names: Any = None) -> str:
    chosen = names if names is not None else seen.seen
    return ", ".join(f"{seen.median(str(name)) * 1e3:.2f}" for name in chosen) + " ms"

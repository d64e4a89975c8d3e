"""Soak test: all faults in repeated rounds, with the resource use after each: ``python -m tests.chaos.soak``.

A round consists of reviews, intermittent faults, reloads of the policy, new certificates and misbehaving
clients. Then all of that stops, and the process is measured. The use after the second round is the limit for
the last, because the first round fills caches and pools.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.environment import SwrEnvironment, open_environment
from tests.chaos.matrix import MATRIX, Row
from tests.chaos.running import ReviewLoad, check_healthy, run_row
from tests.http.wire import HELLO, connect, handshake, reset
from tests.support.process_stats import find_worker, read_process_stats
from tests.support.serving import write_pair

ROWS = tuple(row for row in MATRIX if not row.from_start)
"""Without those that begin before the start, because each fault occurs more than once here."""

WARM_UP_SECONDS = 0.7
ROUND_SECONDS = 25.0
CALM_SECONDS = 6.0
FAULT_SECONDS = 4.0
MIN_ROUNDS = 4
SETTLED = 1
"""The round with which the last one is compared, counted from 0."""

GROWTH = {"MiB": 10.0, "threads": 2.0, "descriptors": 10.0, "greenlets": 10.0}
"""The amount by which the last round may exceed the settled one: noise of the allocator, a pending timer."""


@dataclass(frozen=True, slots=True)
class Round:
    """The load of a round, and the resource use after it."""

    reviews: int
    faults: int
    slowest: float
    taken: dict[str, float]


def main() -> int:
    """Return 0 if nothing grew and every decision was right, otherwise 1."""
    parser = argparse.ArgumentParser(description="Watches what grows under load, faults and changes.")
    parser.add_argument("--seconds", type=float, default=240.0, help="for how long, at least four rounds")
    seconds = parser.parse_args().seconds
    console = Console(width=110)
    rounds: list[Round] = []
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as path, open_environment(Path(path), ROWS) as world:
        _warm_up(world)
        ends = time.monotonic() + seconds
        while len(rounds) < MIN_ROUNDS or time.monotonic() < ends:
            done, wrong = _run_round(world)
            rounds.append(done)
            problems += wrong
            console.print(
                f"round {len(rounds)}: {done.reviews} reviews, {done.faults} faults", *wrong, sep="\n  "
            )
        if "Traceback" in world.server.logs():
            problems.append("the log holds a traceback")
    problems += _compare(rounds[SETTLED].taken, rounds[-1].taken)
    console.print(_tabulate(rounds))
    console.print(*(problems or ["nothing grew, and every decision was right"]), sep="\n", highlight=False)
    return 1 if problems else 0


def _warm_up(world: SwrEnvironment) -> None:
    """Call every account with as many clients as during a fault, so that its pool is full."""
    for account in world.accounts.values():
        with ReviewLoad(world, account, 4, pause=0.01):
            time.sleep(WARM_UP_SECONDS)


def _run_round(world: SwrEnvironment) -> tuple[Round, list[str]]:
    problems: list[str] = []
    counts = {"reviews": 0, "faults": 0}
    rows = list(ROWS)
    random.shuffle(rows)
    half = len(rows) // 2

    def break_things(mine: list[Row]) -> Callable[[], None]:
        def step() -> None:
            row = mine[counts["faults"] % len(mine)]
            outcome = run_row(world, row, FAULT_SECONDS, 2)
            counts["faults"] += 1
            counts["reviews"] += outcome.seen.count
            problems.extend(f"{row.name}: {problem}" for problem in outcome.problems)

        return step

    with ReviewLoad(world, world.healthy, 3, pause=0.02) as asking, contextlib.ExitStack() as stack:
        stack.enter_context(_again(break_things(rows[:half]), 0.1))
        stack.enter_context(_again(break_things(rows[half:]), 0.1))
        stack.enter_context(_again(lambda: world.write_policy(_more_policy()), 5.0))
        stack.enter_context(_again(lambda: write_pair(world.ca, world.certificate), 3.0))
        stack.enter_context(_again(lambda: _open_and_reset_connections(world), 1.0))
        stack.enter_context(_again(lambda: problems.extend(_look_at_probes(world)), 2.0))
        time.sleep(ROUND_SECONDS)
    problems += check_healthy(asking.seen)
    time.sleep(CALM_SECONDS)
    vitals = read_process_stats(find_worker(world.server))
    taken = {
        "MiB": vitals.resident,
        "threads": float(vitals.threads),
        "descriptors": float(vitals.descriptors),
        "greenlets": float(world.greenlets.read_text(encoding="ascii") or "nan"),
    }
    reviews = counts["reviews"] + asking.seen.count
    return Round(reviews, counts["faults"], asking.seen.slowest, taken), problems


@contextlib.contextmanager
def _again(work: Callable[[], object], seconds: float) -> Iterator[None]:
    """Repeat ``work`` every so many seconds in a thread until the context ends; its exceptions are raised
    then.
    """
    stop = threading.Event()
    errors: list[Exception] = []

    def repeat() -> None:
        while not stop.wait(seconds):
            try:
                work()
            except Exception as error:  # noqa: BLE001 - raised again at the end
                errors.append(error)
                return

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)
    if errors:
        raise errors[0]


def _more_policy() -> str:
    mark = random.getrandbits(32)
    rules = "".join(
        f'  - {{name: "{mark}-{index}", mode: audit, namespaces: ["team-{index}"], images: ["x/**"]}}\n'
        for index in range(random.choice([1, 100]))
    )
    return f'hint: "{mark}"\nrules:\n{rules}'


def _open_and_reset_connections(world: SwrEnvironment) -> None:
    """Open many connections that send little, and reset them."""
    crowd = [connect(world.server) for _ in range(30)]
    for connection in crowd:
        connection.sendall(HELLO)
    with contextlib.suppress(OSError):  # a certificate that is being replaced
        for data in (b"POST /validate HTTP/1.1\r\nHos", b"no HTTP\r\n\r\n", b""):
            crowd.append(handshake(world.server))
            crowd[-1].sendall(data)
    for connection in crowd:
        reset(connection)


def _look_at_probes(world: SwrEnvironment) -> list[str]:
    world.server.get("/metrics")
    status, report = world.server.get("/readyz?verbose")
    return [] if status == 200 else [f"not ready: {report.decode()}"]


def _compare(settled: dict[str, float], last: dict[str, float]) -> list[str]:
    return [
        f"{name} grew from {settled[name]:.0f} to {last[name]:.0f}"
        for name, allowed in GROWTH.items()
        if not last[name] - settled[name] <= allowed
    ]


def _tabulate(rounds: list[Round]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("round", "reviews", "faults", "slowest beside them", *GROWTH):
        table.add_column(name, justify="right")
    for number, one in enumerate(rounds, start=1):
        taken = (f"{one.taken[name]:.1f}" if name == "MiB" else f"{one.taken[name]:.0f}" for name in GROWTH)
        table.add_row(str(number), str(one.reviews), str(one.faults), f"{one.slowest:.2f} s", *taken)
    return table


if __name__ == "__main__":
    sys.exit(main())

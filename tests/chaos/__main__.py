"""Run each fault in turn against a webhook under load, and print a table: ``python -m tests.chaos
[ROW...]``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.environment import REVIEW_SECONDS, open_environment
from tests.chaos.matrix import MATRIX
from tests.chaos.running import MAX_GROWTH, Outcome, ReviewLoad, Seen, check_healthy, run_row

CLIENTS = 6
HEALTHY_CLIENTS = 2
HEALTHY_PAUSE = 0.02


def main() -> int:
    """Return 0 if every fault passed, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Breaks SWR in every way and watches the webhook.")
    parser.add_argument("rows", nargs="*", help="keys of faults (default: all)")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each fault lasts")
    options = parser.parse_args()
    rows = [row for row in MATRIX if not options.rows or row.key in options.rows]
    console, bad = Console(width=130), 0
    table = Table(box=None, pad_edge=False)
    for name in (
        "fault",
        "reviews",
        "slowest",
        "new image",
        "trusted image",
        "healthy account",
        "recovery",
        "MiB",
        "",
    ):
        table.add_column(name, overflow="fold")
    with tempfile.TemporaryDirectory() as path, open_environment(Path(path), rows) as world:
        for row in rows:
            with ReviewLoad(world, world.healthy, HEALTHY_CLIENTS, pause=HEALTHY_PAUSE) as asking:
                outcome = run_row(world, row, options.seconds, CLIENTS)
            problems = [*outcome.problems, *check_healthy(asking.seen)]
            if outcome.growth > MAX_GROWTH:
                problems.append(f"grew by {outcome.growth:.0f} MiB")
            if asking.seen.slowest > REVIEW_SECONDS / 2:
                problems.append(f"a review of a healthy account took {asking.seen.slowest:.1f} s")
            table.add_row(*_cells(outcome, asking.seen, problems))
            console.print(
                f"{'FAILED' if problems else 'passed'}: {row.name}", *problems, sep="\n    ", highlight=False
            )
            bad += bool(problems)
        if "Traceback" in world.server.logs():
            console.print("the log holds a traceback", world.server.logs()[-3000:], sep="\n")
            bad += 1
    console.print(table)
    console.print(f"{len(rows) - bad} of {len(rows)} faults passed")
    return min(bad, 1)


def _cells(outcome: Outcome, healthy: Seen, problems: list[str]) -> list[str]:
    seen = outcome.seen
    return [
        outcome.row.name,
        str(seen.count),
        f"{seen.slowest:.2f} s",
        seen.findings("cold"),
        seen.findings("earlier") or "(none)",
        f"{healthy.count}, {healthy.slowest:.2f} s",
        f"{outcome.recovery:.1f} s",
        f"{outcome.growth:+.1f}",
        "NO" if problems else "yes",
    ]


if __name__ == "__main__":
    sys.exit(main())

"""What was measured, and the table that shows it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. ``good`` is ``None`` where nothing was wanted of the figure."""

    what: str
    seen: str
    wanted: str = ""
    good: bool | None = None


def interleave(runs: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, float]:
    """Run everything in turns, ``rounds`` times, and return the median of each."""
    seen: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            seen[name].append(run())
    return {name: statistics.median(values) for name, values in seen.items()}


def print_figures(title: str, figures: Sequence[Figure]) -> None:
    """Print one table."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("", "seen", "wanted", ""):
        table.add_column(name, overflow="fold")
    for figure in figures:
        mark = {None: "", True: "yes", False: "NO"}[figure.good]
        table.add_row(figure.what, figure.seen, figure.wanted, mark)
    Console(width=120).print(table)
    print(flush=True)

"""Figures, and the tables that show them on a terminal and as Markdown."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from tests.support.serving import ROOT

Result = TypeVar("Result")

ROUNDS = 5

BEGINS = "<!-- make bench writes from here -->"
ENDS = "<!-- make bench writes to here -->"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a table. ``good`` is ``None`` if the figure has no limit."""

    what: str
    seen: str
    wanted: str = ""
    good: bool | None = None

    @property
    def mark(self) -> str:
        """Return in one word whether the figure is within its limit."""
        return {None: "", True: "yes", False: "NO"}[self.good]


def at_most(what: str, seen: float, limit: float, unit: str = "") -> Figure:
    """Return a line for a figure with an upper limit."""
    return Figure(what, f"{seen:.2f}{unit}", f"<= {limit:g}{unit}", seen <= limit)


def at_least(what: str, seen: float, limit: float) -> Figure:
    """Return a line for a figure with a lower limit."""
    return Figure(what, f"{seen:.2f}", f">= {limit:g}", seen >= limit)


@dataclass(frozen=True, slots=True)
class Rounds:
    """The figures of several things, round by round."""

    seen: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        """Return the median of one thing."""
        return statistics.median(self.seen[name])

    def ratio(self, one: str, other: str) -> float:
        """Return the median ratio of two things, compared within each round, because both ran on the same
        machine then.
        """
        pairs = zip(self.seen[one], self.seen[other], strict=True)
        return statistics.median(first / second for first, second in pairs)

    def added_ratio(self, one: str, other: str, base: str) -> float:
        """Return the median ratio of what two things add to a third, compared within each round."""
        triples = zip(self.seen[one], self.seen[other], self.seen[base], strict=True)
        return statistics.median((first - without) / (second - without) for first, second, without in triples)


def repeat(runs: Mapping[str, Callable[[], Result]], rounds: int = ROUNDS) -> dict[str, list[Result]]:
    """Run all functions alternately, ``rounds`` times; return the results of each."""
    seen: dict[str, list[Result]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            seen[name].append(run())
    return seen


def interleave(runs: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> Rounds:
    """Run all functions alternately, ``rounds`` times; return their figures."""
    return Rounds(repeat(runs, rounds))


def print_figures(title: str, figures: Sequence[Figure]) -> None:
    """Print one table."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("", "measured", "target", ""):
        table.add_column(name, overflow="fold")
    for figure in figures:
        table.add_row(figure.what, figure.seen, figure.wanted, figure.mark)
    Console(width=120).print(table)
    print(flush=True)


def describe_machine(load: str, client: str) -> str:
    """Return a sentence about the machine; ``load`` is its load average at the start, ``client`` a language."""
    return (
        f"Measured on {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, load average at the start {load}, client in {client}."
    )


def render_markdown(tables: Mapping[str, Sequence[Figure]], machine: str) -> str:
    """Return all tables as Markdown, below a sentence about the machine."""
    lines = [machine]
    for title, figures in tables.items():
        lines += ["", f"### {title}", "", "| | measured | target | |", "|---|---|---|---|"]
        for figure in figures:
            indent = "&nbsp;&nbsp;" if figure.what.startswith(" ") else ""
            lines.append(
                f"| {indent}{figure.what.strip()} | {figure.seen} | {figure.wanted} | {figure.mark} |"
            )
    return "\n".join(lines) + "\n"


def write_into_docs(markdown: str) -> None:
    """Write the tables between the marks of both documents: the same figures in both languages."""
    for name in ("performance.md", "performance.zh-CN.md"):
        path = ROOT / "docs" / name
        path.write_text(put_between_marks(path.read_text(encoding="utf-8"), markdown), encoding="utf-8")


def put_between_marks(text: str, markdown: str) -> str:
    """Return the text with the part between its marks replaced."""
    before, begins, rest = text.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not begins or not ends:
        raise ValueError(f"there are no two lines {BEGINS!r} and {ENDS!r}")
    return f"{before}{BEGINS}\n\n{markdown}\n{ENDS}{after}"


def write_markdown(markdown: str, where: Path) -> None:
    """Write the tables to a file."""
    where.write_text(markdown, encoding="utf-8")

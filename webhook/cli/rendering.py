"""Output for people and for programs. Colour only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from webhook.admission.decision import ImageResult
from webhook.admission.messages import printable
from webhook.policy.findings import Finding

MAX_FAILURES: Final = 5

MAX_CELL: Final = 4096
"""Characters of one cell."""

_COLOURS: Final = {
    "trusted": "green",
    "exempt": "cyan",
    "unmanaged": "yellow",
    "unknown": "yellow",
    "untrusted": "red",
    "missing": "red",
    "digest-mismatch": "red",
    "invalid": "red",
}


def print_json(value: Any) -> None:
    """Print a value as indented JSON, file names that are no text included."""
    try:
        text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(value), indent=2)
    sys.stdout.write(text + "\n")


def print_failures(results: Iterable[ImageResult]) -> None:
    """Print on standard error why lookups failed, each cause once."""
    failures = (item.check.failure for item in results if item.check.finding is Finding.UNKNOWN)
    details = dict.fromkeys(failure.detail for failure in failures if failure is not None)
    for detail in list(details)[:MAX_FAILURES]:
        print(f"swr-trust: SWR could not be asked: {printable(detail, 300)}", file=sys.stderr)
    if len(details) > MAX_FAILURES:
        print(f"swr-trust: and for {len(details) - MAX_FAILURES} more reasons", file=sys.stderr)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns: coloured and fitted on a terminal, plain and uncut into a pipe.

    What a manifest or a cluster wrote must not steer the terminal: control characters are escaped.
    """
    rows = [[printable(cell, MAX_CELL) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(header, rows)
        return
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def _print_rich(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal pays for it
    from rich.markup import escape  # noqa: PLC0415 - the same
    from rich.table import Table  # noqa: PLC0415 - the same

    table = Table(box=None, pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_coloured(escape(cell)) for cell in row))
    Console().print(table)


def _coloured(cell: str) -> str:
    colour = _COLOURS.get(cell)
    return f"[{colour}]{cell}[/]" if colour else cell

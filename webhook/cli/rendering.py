"""Output of the commands, and the exit code of evaluated images. Colors are used only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from webhook.admission.decision import ImageResult
from webhook.admission.messages import printable
from webhook.cli.exit_codes import EXIT_DENIED, EXIT_OK, EXIT_UNKNOWN
from webhook.policy.findings import Finding

MAX_FAILURES: Final = 5

MAX_CELL: Final = 4096
"""Characters of one cell."""

_COLORS: Final = {
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
    """Print a value as indented JSON. File names that are not valid UTF-8 are escaped."""
    try:
        text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(value), indent=2)
    sys.stdout.write(text + "\n")


def print_failures(results: Iterable[ImageResult]) -> None:
    """Print to standard error why SWR could not be queried, each cause once."""
    failures = (item.check.failure for item in results if item.check.finding is Finding.UNKNOWN)
    details = dict.fromkeys(failure.detail for failure in failures if failure is not None)
    for detail in list(details)[:MAX_FAILURES]:
        print(f"swr-trust: SWR could not be queried: {printable(detail, 300)}", file=sys.stderr)
    if len(details) > MAX_FAILURES:
        print(f"swr-trust: {len(details) - MAX_FAILURES} more causes are not shown", file=sys.stderr)


def exit_code_of(results: Iterable[ImageResult]) -> int:
    """Return 1 if an image is denied for a known finding, else 3 if SWR could not be queried, else 0."""
    code = EXIT_OK
    for item in results:
        if item.check.finding is Finding.UNKNOWN:
            code = code or EXIT_UNKNOWN
        elif item.would_deny:
            return EXIT_DENIED
    return code


def print_table(header: Sequence[str], values: Sequence[Sequence[object]]) -> None:
    """Print rows of values in columns: colored and wrapped on a terminal, plain and in full elsewhere.

    Control characters are escaped, because a manifest or a cluster must not control the terminal.
    """
    rows = [[printable(str(value), MAX_CELL) for value in row] for row in values]
    if sys.stdout.isatty():
        _print_rich(header, rows)
        return
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def shorten(digest: object) -> str:
    """Return the part of a digest that tables show."""
    return str(digest)[: len("sha256:") + 12]


def _print_rich(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only terminals need it
    from rich.markup import escape  # noqa: PLC0415 - the same
    from rich.table import Table  # noqa: PLC0415 - the same

    table = Table(box=None, pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_colored(escape(cell)) for cell in row))
    Console().print(table)


def _colored(cell: str) -> str:
    color = _COLORS.get(cell)
    return f"[{color}]{cell}[/]" if color else cell

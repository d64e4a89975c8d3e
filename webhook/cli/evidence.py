"""``swr-trust evidence``: the report for auditors, from the decision log."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import sys
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO, Final, cast

import click

from webhook.audit.evidence import Evidence, EvidenceReader, evidence_as_csv, evidence_as_data
from webhook.audit.pages import Language, render_evidence
from webhook.cli.command import Command
from webhook.cli.exit_codes import EXIT_OK, EXIT_UNKNOWN
from webhook.cli.options import FILE, output_option
from webhook.cli.rendering import print_json, print_table

SHOWN: Final = 20
"""Rows of each table; the other formats have all rows."""

_GZIP: Final = b"\x1f\x8b"
"""Source: RFC 1952, 2.3.1, ID1 and ID2."""


def parse_moment(value: str) -> dt.datetime:
    """Return a date or a time, in UTC if it has no offset."""
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        example = "a date or an RFC 3339 time, such as 2026-11-01"
        raise click.BadParameter(f"{value!r} is not a time: write {example}") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


@click.command(
    cls=Command,
    examples=[
        "swr-trust evidence --since 2026-11-01 -o html webhook.log > evidence.html",
        "kubectl logs -n swr-trust -l app.kubernetes.io/name=swr-trust-webhook \\",
        "    --tail=-1 | swr-trust evidence -",
    ],
)
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="LOGFILE...")
@click.option("--since", type=parse_moment, metavar="TIME", help="First moment: a date or an RFC 3339 time.")
@click.option("--until", type=parse_moment, metavar="TIME", help="End, not included. Written as --since.")
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", help="Language of the HTML page.")
@output_option("table", "json", "csv", "html")
def command(
    files: tuple[str, ...],
    since: dt.datetime | None,
    until: dt.datetime | None,
    language: Language,
    output: str,
) -> int:
    """Report denials, exemptions and break-glass from the decision log.

    LOGFILE is the webhook's JSON log, or - for standard input. It may be compressed by gzip, and wrapped
    by Docker, containerd, Fluent Bit or LTS. Times without an offset are UTC. Exit code 3 means that the
    report is incomplete.
    """
    reader = EvidenceReader(since, until)
    for name in files:
        try:
            _read(reader, name)
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or error
            reader.evidence.gaps.append(f"{name} cannot be read: {reason}")
        except KeyboardInterrupt:
            reader.evidence.gaps.append(f"the command was interrupted in {name}")
            break
    evidence = reader.finish()
    if not evidence.decisions and not evidence.gaps:
        evidence.gaps.append(
            "the log contains no decisions of that time; check that it is the webhook's JSON log"
        )
    _print(evidence, output, language)
    return EXIT_UNKNOWN if evidence.is_partial else EXIT_OK


def _read(reader: EvidenceReader, name: str) -> None:
    if name == "-":
        _read_packed_or_plain(reader, sys.stdin.buffer)
    else:
        with open(name, "rb") as stream:  # noqa: PTH123 - Path("").open() would be the folder
            _read_packed_or_plain(reader, stream)


def _read_packed_or_plain(reader: EvidenceReader, stream: BinaryIO) -> None:
    """Read a log. Its first bytes say whether it is compressed, because log rotation renames files."""
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast("Any", stream))
    if buffered.peek(len(_GZIP))[: len(_GZIP)] == _GZIP:
        with gzip.GzipFile(fileobj=buffered, mode="rb") as packed:
            reader.read(cast("BinaryIO", packed))
    else:
        reader.read(buffered)


def _print(evidence: Evidence, output: str, language: Language) -> None:
    if output == "html":
        sys.stdout.write(render_evidence(evidence, language) + "\n")
    elif output == "csv":
        sys.stdout.write(evidence_as_csv(evidence))
    elif output == "json":
        print_json(evidence_as_data(evidence))
    else:
        _print_tables(evidence)
    if output != "table":
        for gap in _gaps_of(evidence):
            print(f"partial: {gap}", file=sys.stderr)


def _gaps_of(evidence: Evidence) -> list[str]:
    """Return clauses that say what is missing from the report."""
    gaps = list(evidence.gaps)
    if evidence.unreadable:
        gaps.append(f"{evidence.unreadable} line(s) of the log cannot be read")
    if evidence.omitted:
        gaps.append(f"{evidence.omitted} record(s) are counted but not listed")
    return gaps


def _print_tables(evidence: Evidence) -> None:
    print("Break-glass:")
    _print_rows(
        ("WHEN", "USER", "REASON", "NAMESPACE", "OBJECT"),
        [(row.at, row.user, row.reason, row.namespace, f"{row.kind}/{row.object}") for row in evidence.glass],
    )
    print("\nExempted:")
    _print_rows(
        ("EXEMPTION", "NAMESPACE", "IMAGE", "TIMES", "LAST"),
        [(row.exemption, row.namespace, row.image, str(row.count), row.last) for row in evidence.exempted],
    )
    for title, rows in (("Denied", evidence.refused), ("Admitted by a mode", evidence.watched)):
        if title != "Denied" and not rows:
            continue
        print(f"\n{title}:")
        _print_rows(
            ("NAMESPACE", "OBJECT", "IMAGE", "FINDING", "USER", "TIMES", "LAST"),
            [
                (
                    row.namespace,
                    f"{row.kind}/{row.object}",
                    row.image,
                    row.finding,
                    row.user,
                    str(row.count),
                    row.last,
                )
                for row in rows
            ],
        )
    print()
    for gap in _gaps_of(evidence):
        print(f"This report is PARTIAL: {gap}.")
    print(
        f"{evidence.decisions} decisions, {evidence.outcomes['deny']} denied, "
        f"{sum(row.count for row in evidence.exempted)} exempted images, "
        f"{len(evidence.glass)} by break-glass"
    )


def _print_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print_table(header, rows[:SHOWN])
    if len(rows) > SHOWN:
        print(f"{len(rows) - SHOWN} more: use -o csv, json or html for all rows")

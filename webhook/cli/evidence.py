"""``swr-trust evidence``: what an auditor asks for, from the decision log."""

from __future__ import annotations

import argparse
import datetime as dt
import gzip
import sys
from typing import Final

from webhook.audit.evidence import Evidence, EvidenceReader, evidence_as_csv, evidence_as_data
from webhook.audit.pages import Language, render_evidence
from webhook.cli.exits import EXIT_OK, EXIT_UNKNOWN, EXIT_USAGE
from webhook.cli.rendering import print_json, print_table

SHOWN: Final = 20
"""Rows of each table for a person; all of them are in the other formats."""


def run(options: argparse.Namespace) -> int:
    """Read ``options.files`` and print the report; exit code 3 where something is missing from it."""
    try:
        since, until = _moment(options.since), _moment(options.until)
    except ValueError:
        print(
            "swr-trust evidence: write --since and --until as a date or an RFC 3339 time, such as 2026-11-01",
            file=sys.stderr,
        )
        return EXIT_USAGE
    reader = EvidenceReader(since, until)
    for name in options.files:
        try:
            _read(reader, name)
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or error
            reader.evidence.gaps.append(f"{name} cannot be read: {reason}")
        except KeyboardInterrupt:
            reader.evidence.gaps.append(f"it was interrupted in {name}")
            break
    evidence = reader.finish()
    if not evidence.decisions and not evidence.gaps:
        evidence.gaps.append("the log holds no decisions of that time; is it the webhook's JSON log?")
    _print(evidence, options.output, options.language)
    return EXIT_UNKNOWN if evidence.is_partial else EXIT_OK


def _read(reader: EvidenceReader, name: str) -> None:
    if name == "-":
        reader.read(sys.stdin.buffer)
    elif name.endswith(".gz"):
        with gzip.open(name, "rb") as packed:
            reader.read(packed)
    else:
        with open(name, "rb") as stream:  # noqa: PTH123 - Path("").open() would be the folder
            reader.read(stream)


def _moment(text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


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
        for gap in evidence.gaps:
            print(f"partial: {gap}", file=sys.stderr)


def _print_tables(evidence: Evidence) -> None:
    print("Break-glass:")
    print_table(
        ("WHEN", "USER", "REASON", "NAMESPACE", "OBJECT"),
        [
            (row.at, row.user, row.reason, row.namespace, f"{row.kind}/{row.object}")
            for row in evidence.glass[:SHOWN]
        ],
    )
    print("\nExempted:")
    print_table(
        ("EXEMPTION", "NAMESPACE", "IMAGE", "TIMES", "LAST"),
        [
            (row.exemption, row.namespace, row.image, str(row.count), row.last)
            for row in evidence.exempted[:SHOWN]
        ],
    )
    print("\nRefused:")
    print_table(
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
            for row in evidence.refused[:SHOWN]
        ],
    )
    print()
    for gap in evidence.gaps:
        print(f"This report is PARTIAL: {gap}.")
    if evidence.unreadable:
        print(f"This report is PARTIAL: {evidence.unreadable} line(s) of the log cannot be read.")
    print(
        f"{evidence.decisions} decisions, {evidence.outcomes['deny']} refused, "
        f"{sum(row.count for row in evidence.exempted)} exempted images, "
        f"{len(evidence.glass)} by break-glass"
    )

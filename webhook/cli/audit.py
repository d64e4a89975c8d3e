"""``swr-trust audit``: what runs now, judged as the webhook would judge it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from webhook.app.trust_service import open_lookup
from webhook.audit.pages import Language, render_audit
from webhook.audit.report import AuditReport
from webhook.audit.scanning import Audit, AuditProgress, NullProgress, with_audit_limits
from webhook.audit.tables import audit_as_csv, audit_as_data, format_moment
from webhook.cli.exit_codes import EXIT_OK, EXIT_REFUSED, EXIT_UNKNOWN
from webhook.cli.rendering import print_json, print_table
from webhook.cluster.client import connect
from webhook.cluster.pods import PodReader, ReadApi, RetryingClient
from webhook.cluster.scope import Scope, read_scope
from webhook.policy.loading import load_policy


def run(options: argparse.Namespace) -> int:
    """Judge the Pods that ``options`` select and print the report."""
    policy = with_audit_limits(load_policy(options.config))
    api = connect(options.kubeconfig, options.context)
    source = PodReader(api, options.namespace, options.selector)
    scope = _scope(api, options)
    with _progress() as progress:
        report = Audit(policy, open_lookup(policy), scope.excluded, progress).run(source)
    if scope.note:
        report.notes.insert(0, scope.note)
    print_report(report, options.output, policy.messages)
    if scope.note and options.output != "table":
        print(f"swr-trust audit: {scope.note}", file=sys.stderr)
    return exit_code(report)


def _scope(api: ReadApi, options: argparse.Namespace) -> Scope:
    """Return the namespaces to leave out: none where the caller names namespaces."""
    if options.namespace:
        return Scope(())
    if options.exclude_namespace:
        return Scope(tuple(options.exclude_namespace))
    return read_scope(RetryingClient(api), options.webhook_configuration)


def exit_code(report: AuditReport) -> int:
    """Return 3 for what is partial or unknown, 1 for what would be refused, else 0."""
    if report.is_partial:
        return EXIT_UNKNOWN
    if report.refused > report.unknown:
        return EXIT_REFUSED
    return EXIT_UNKNOWN if report.unknown else EXIT_OK


def print_report(report: AuditReport, output: str, language: Language = "en") -> None:
    """Print a report as ``table``, ``json``, ``csv`` or ``html``."""
    if output == "json":
        print_json(audit_as_data(report))
    elif output == "csv":
        sys.stdout.write(audit_as_csv(report))
    elif output == "html":
        sys.stdout.write(render_audit(report, language) + "\n")
    else:
        _print_tables(report)
    if output != "table":
        print(f"{report.verdict}{' (PARTIAL)' if report.is_partial else ''}", file=sys.stderr)


def _print_tables(report: AuditReport) -> None:
    if report.rows:
        print_table(
            ("NAMESPACE", "WORKLOAD", "IMAGE", "FINDING", "PODS", "MESSAGE"),
            [
                (
                    row.namespace,
                    str(row.workload),
                    row.image,
                    row.finding.value,
                    str(row.pods),
                    row.message,
                )
                for row in report.rows
            ],
        )
    if report.drift:
        print("\nNodes that run another image than the tag names now:")
        print_table(
            ("NAMESPACE", "WORKLOAD", "IMAGE", "RUNS", "SWR HOLDS", "PODS"),
            [
                (
                    row.namespace,
                    str(row.workload),
                    row.image,
                    _short(row.running),
                    _short(row.current),
                    str(row.pods),
                )
                for row in report.drift
            ],
        )
    if report.endings:
        print("\nWhat runs only by an exemption that ends within 30 days:")
        print_table(
            ("ENDS", "EXEMPTION", "NAMESPACE", "WORKLOAD", "IMAGE", "PODS"),
            [
                (
                    format_moment(row.ends),
                    row.exemption,
                    row.namespace,
                    str(row.workload),
                    row.image,
                    str(row.pods),
                )
                for row in report.endings
            ],
        )
    if report.rows or report.drift or report.endings:
        print()
    for remark in report.remarks:
        print(remark)
    print(report.verdict)


def _short(digest: str) -> str:
    return digest[: len("sha256:") + 12]


@contextmanager
def _progress() -> Iterator[AuditProgress]:
    """Show a bar on standard error where a person looks at it, nothing elsewhere."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield NullProgress()
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal pays for it
    from rich.progress import (  # noqa: PLC0415 - the same
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("Pods"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield BarProgress(bar)


class BarProgress:
    """Implements ``AuditProgress`` by a bar of ``rich``."""

    def __init__(self, bar: Any) -> None:
        """Draw into ``bar``, a ``rich.progress.Progress``."""
        self._bar = bar
        self._task = bar.add_task("Pods", total=None, rate="", note="")

    def pods_judged(self, pods: int, remaining: int | None) -> None:
        """Move the bar; its length is known where the API server says what follows."""
        total = None if remaining is None else pods + remaining
        self._bar.update(self._task, completed=pods, total=total, rate=self._rate())

    def images_asked(self, images: int, pause: float) -> None:
        """Say how many images were asked, and what is waited for."""
        note = f"{images} images asked"
        if pause:
            note += f", SWR asks for a pause of {pause:.0f} s"
        self._bar.update(self._task, note=note, rate=self._rate())

    def _rate(self) -> str:
        speed = self._bar.tasks[0].speed
        return f"{speed:.0f} Pods/s" if speed else ""

"""``swr-trust audit``: evaluate running Pods as the webhook would."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from webhook import __version__
from webhook.app.trust_service import TrustService
from webhook.audit import chinese
from webhook.audit.pages import Language, render_audit
from webhook.audit.report import AuditReport, Drift, DriftRow
from webhook.audit.scanning import Audit
from webhook.audit.tables import audit_as_csv, audit_as_data, format_moment
from webhook.cli.command import Command
from webhook.cli.exit_codes import EXIT_DENIED, EXIT_OK, EXIT_UNKNOWN
from webhook.cli.options import config_option, output_option
from webhook.cli.pod_selection import open_pods, pod_options
from webhook.cli.progress import show_progress
from webhook.cli.registry_calls import find_tag_calls
from webhook.cli.rendering import print_json, print_table, shorten
from webhook.cli.report_policy import load_report_policy
from webhook.telemetry.metrics import Metrics


@click.command(
    cls=Command,
    examples=[
        "swr-trust audit --config policy.yaml",
        "swr-trust audit --config policy.yaml -n shop -n pay -o html > audit.html",
    ],
)
@config_option
@pod_options("audit")
@output_option("table", "json", "csv", "html")
def command(
    config: str,
    namespace: tuple[str, ...],
    selector: str,
    exclude_namespace: tuple[str, ...],
    webhook_configuration: str | None,
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> int:
    """Evaluate running Pods: what would enforcing deny?"""
    policy = load_report_policy(config)
    source, scope = open_pods(
        namespace, selector, exclude_namespace, webhook_configuration, kubeconfig, context
    )
    trust = TrustService(policy, Metrics(__version__), os.environ)
    with show_progress() as progress:
        report = Audit(policy, trust.lookup, scope.excluded, progress).run(source)
    find_tag_calls(report.survey, trust)
    if scope.note:
        report.notes.insert(0, scope.note)
    print_report(report, output, policy.messages)
    if scope.note and output != "table":
        print(f"swr-trust audit: {scope.note}", file=sys.stderr)
    return exit_code(report)


def exit_code(report: AuditReport) -> int:
    """Return 3 for a partial report, else 1 if Pods would be denied, else 3 if some are unknown, else 0."""
    if report.is_partial:
        return EXIT_UNKNOWN
    if report.refused > report.unknown:
        return EXIT_DENIED
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
        _print_tables(report, language)
    if output != "table":
        print(report.headline, file=sys.stderr)


_DRIFTS: Final = {
    Drift.OTHER_THAN_PINNED: "Nodes that report another image than the Pod pins",
    Drift.MOVED: "Nodes that run another image than the tag names now",
    Drift.SUPERSEDED: "Pinned images whose tag names another image now",
}


_ENDINGS: Final = "Images that run only by an exemption that ends within 30 days"


def _print_tables(report: AuditReport, language: Language) -> None:
    if report.rows:
        print_table(
            ("NAMESPACE", "WORKLOAD", "IMAGE", "FINDING", "PODS", "MESSAGE"),
            [
                (row.namespace, row.workload, row.image, row.finding, row.pods, row.message)
                for row in report.rows
            ],
        )
    for reason, title in _DRIFTS.items():
        _print_drift(report.drifted(reason), _heading(title, language))
    if report.endings:
        print(f"\n{_heading(_ENDINGS, language)}")
        print_table(
            ("ENDS", "EXEMPTION", "NAMESPACE", "WORKLOAD", "IMAGE", "PODS"),
            [
                (format_moment(row.ends), row.exemption, row.namespace, row.workload, row.image, row.pods)
                for row in report.endings
            ],
        )
    if report.rows or report.drift or report.endings:
        print()
    for remark in chinese.remarks(report) if language == "zh" else report.remarks:
        print(remark)
    print(chinese.verdict(report) if language == "zh" else report.verdict)


def _heading(text: str, language: Language) -> str:
    return f"{chinese.HEADINGS[text]}：" if language == "zh" else f"{text}:"


def _print_drift(rows: Sequence[DriftRow], title: str) -> None:
    if not rows:
        return
    print(f"\n{title}")
    print_table(
        ("NAMESPACE", "WORKLOAD", "IMAGE", "RUNS", "SWR HOLDS", "PODS"),
        [
            (
                row.namespace,
                row.workload,
                row.image,
                shorten(row.running),
                shorten(row.current or "-"),
                row.pods,
            )
            for row in rows
        ],
    )

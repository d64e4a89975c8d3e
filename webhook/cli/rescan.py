"""``swr-trust rescan``: audit repeatedly, as a Deployment of one replica."""

from __future__ import annotations

from typing import Any, Final

import click

from webhook.app.audit_process import AuditProcess, RescanOptions
from webhook.audit.scanning import EXCLUDED
from webhook.cli.command import Command
from webhook.cli.exit_codes import EXIT_OK
from webhook.cli.options import cluster_options, config_option, listen_options, log_options
from webhook.errors import WebhookError
from webhook.policy.quantities import parse_duration
from webhook.telemetry.logs import Format, configure_logging

SHORTEST_INTERVAL: Final = 10.0


def parse_interval(value: str) -> float:
    """Return a duration such as ``1h30m`` in seconds."""
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a duration: {error}") from None
    if seconds < SHORTEST_INTERVAL:
        raise click.BadParameter(f"{value} is too short: write {SHORTEST_INTERVAL:g}s or longer")
    return seconds


@click.command(
    cls=Command, examples=["swr-trust rescan --config policy.yaml --interval 1h --reports --events"]
)
@config_option
@click.option(
    "--interval", type=parse_interval, default="1h", metavar="DURATION", help="Time between two rounds."
)
@click.option(
    "--exclude-namespace",
    "excluded",
    multiple=True,
    default=EXCLUDED,
    metavar="GLOB",
    help="Namespaces to leave out; repeat it for more.",
)
@click.option(
    "--reports",
    is_flag=True,
    help="Write policy reports in the API that the cluster serves: openreports.io or wgpolicyk8s.io.",
)
@click.option(
    "--report-owner",
    default="",
    metavar="CLUSTERROLE",
    show_default=False,
    help="ClusterRole that owns the reports; Kubernetes deletes them with it.",
)
@click.option(
    "--events",
    is_flag=True,
    help="Write a Kubernetes Event about each running image that would be denied and was not before.",
)
@listen_options(8080, "Port of /metrics, /healthz and /readyz, plain HTTP.")
@cluster_options
@log_options
def command(log_format: Format | None, log_level: str, **options: Any) -> int:
    """Audit the cluster repeatedly.

    Publishes metrics, and policy reports and Events if requested. Runs until it is stopped.
    """
    logs = configure_logging(log_format, log_level)
    try:
        process = AuditProcess(RescanOptions(**options), logs)
    except OSError as error:
        port, reason = options["port"], error.strerror or error
        raise WebhookError(f"cannot listen on port {port}: {reason}") from None
    process.run()
    return EXIT_OK

"""``swr-trust rescan``: the audit again and again, for a Deployment of one replica."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from webhook.app.audit_process import AuditProcess, RescanOptions
from webhook.audit.scanning import EXCLUDED
from webhook.cli.exit_codes import EXIT_OK, EXIT_USAGE
from webhook.policy.quantities import parse_duration
from webhook.telemetry.logs import configure_logging

SHORTEST_INTERVAL: Final = 10.0


def run(options: argparse.Namespace) -> int:
    """Audit until the process is told to stop."""
    try:
        interval = parse_duration(options.interval)
    except ValueError as error:
        return _refuse(f"--interval: {error}")
    if interval < SHORTEST_INTERVAL:
        return _refuse(f"--interval: {SHORTEST_INTERVAL:.0f}s is the shortest")
    logs = configure_logging(options.log_format, options.log_level)
    chosen = RescanOptions(
        config=options.config,
        interval=interval,
        excluded=tuple(options.exclude_namespace or EXCLUDED),
        kubeconfig=options.kubeconfig,
        context=options.context,
        reports=options.reports,
        report_owner=options.report_owner,
        events=options.events,
        host=options.host,
        port=options.port,
    )
    try:
        process = AuditProcess(chosen, logs)
    except OSError as error:
        return _refuse(f"cannot listen on port {options.port}: {error.strerror or error}")
    process.run()
    return EXIT_OK


def _refuse(problem: str) -> int:
    print(f"swr-trust rescan: {problem}", file=sys.stderr)
    return EXIT_USAGE

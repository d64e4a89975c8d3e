"""``swr-trust serve``: run the webhook."""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import Final

from webhook.cli.exit_codes import EXIT_USAGE
from webhook.telemetry.logs import configure_logging

_SECRET: Final = re.compile(r"[a-z0-9-]{1,63}/[a-z0-9.-]{1,253}")


def run(options: argparse.Namespace) -> int:
    """Serve until the process is told to stop."""
    wrong = check_certificate_options(options) or check_snapshot_option(options)
    if wrong:
        print(f"swr-trust serve: {wrong}", file=sys.stderr)
        return EXIT_USAGE
    from webhook.app.webhook_process import ServeOptions, WebhookProcess  # noqa: PLC0415 - only if it serves

    chosen = ServeOptions(
        config=options.config,
        host=options.host,
        port=options.port,
        tls_cert=options.tls_cert or "",
        tls_key=options.tls_key or "",
        cert_secret=options.cert_secret or "",
        service=options.service or "",
        webhook_configuration=options.webhook_configuration or "",
        client_ca=options.client_ca,
        events=options.events,
        snapshot_secret=options.snapshot_secret or "",
        warm_up=options.warm_up,
    )
    return WebhookProcess(chosen, os.environ, configure_logging(options.log_format, options.log_level)).run()


def check_snapshot_option(options: argparse.Namespace) -> str:
    """Return what is wrong with where the snapshot should be kept, empty if nothing is."""
    if options.snapshot_secret and _SECRET.fullmatch(options.snapshot_secret) is None:
        return "write --snapshot-secret as NAMESPACE/NAME"
    return ""


def check_certificate_options(options: argparse.Namespace) -> str:
    """Return what is wrong with where the certificate should come from, empty if nothing is."""
    files = (options.tls_cert, options.tls_key)
    managed = (options.cert_secret, options.service, options.webhook_configuration)
    if any(files) and any(managed):
        return "a certificate comes from files or from the cluster: remove one kind of options"
    if all(files):
        return ""
    if all(managed):
        if _SECRET.fullmatch(options.cert_secret) is None:
            return "write --cert-secret as NAMESPACE/NAME"
        return ""
    return (
        "it serves TLS only: give --tls-cert and --tls-key, "
        "or --cert-secret, --service and --webhook-configuration"
    )

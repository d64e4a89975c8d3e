"""``swr-trust serve``: run the webhook."""

from __future__ import annotations

import argparse
import re
import sys
from typing import Final

from webhook.cli.exit_codes import EXIT_USAGE

_SECRET: Final = re.compile(r"[a-z0-9-]{1,63}/[a-z0-9.-]{1,253}")


def run(options: argparse.Namespace) -> int:
    """Hand over to the server."""
    wrong = check_certificate_options(options) or check_snapshot_option(options)
    if wrong:
        print(f"swr-trust serve: {wrong}", file=sys.stderr)
        return EXIT_USAGE
    from webhook.server.entry import main  # noqa: PLC0415 - it needs gevent, which other commands do without

    return main(options)


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

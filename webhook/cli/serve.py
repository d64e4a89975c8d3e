"""``swr-trust serve``: run the webhook."""

from __future__ import annotations

import os
import re
from typing import Any

import click

from webhook.cli.command import Command
from webhook.cli.options import FILE, config_option, listen_options, log_options
from webhook.telemetry.logs import Format, configure_logging


def parse_secret(value: str) -> str:
    """Return the namespace and name of a Secret, as they were written."""
    if re.fullmatch(r"[a-z0-9-]{1,63}/[a-z0-9.-]{1,253}", value) is None:
        raise click.BadParameter(f"{value!r} has no namespace, or is not a name: write NAMESPACE/NAME")
    return value


@click.command(
    cls=Command,
    examples=[
        "swr-trust serve --config policy.yaml --tls-cert tls.crt --tls-key tls.key",
        "swr-trust serve --config policy.yaml --cert-secret swr-trust/tls \\",
        "    --service swr-trust --webhook-configuration swr-trust",
    ],
)
@config_option
@listen_options(8443, "Port of /validate and /mutate, over TLS.")
@click.option("--tls-cert", type=FILE, metavar="FILE", help="Certificate chain, PEM.")
@click.option("--tls-key", type=FILE, metavar="FILE", help="Private key, PEM.")
@click.option(
    "--cert-secret",
    type=parse_secret,
    metavar="NAMESPACE/NAME",
    help="Secret of the certificate that all replicas share; created if missing.",
)
@click.option(
    "--service",
    metavar="NAME",
    help="Service that the certificate is issued for, in the namespace of --cert-secret.",
)
@click.option(
    "--webhook-configuration",
    metavar="NAME",
    help="ValidatingWebhookConfiguration whose caBundle is maintained.",
)
@click.option(
    "--mutating-webhook-configuration",
    metavar="NAME",
    help="MutatingWebhookConfiguration whose caBundle is maintained, too, if images are pinned.",
)
@click.option(
    "--client-ca",
    type=FILE,
    metavar="FILE",
    help="CA of the API server's client certificate; /validate and /mutate then require one.",
)
@click.option(
    "--events",
    is_flag=True,
    help="Write a Kubernetes Event about each image that is denied, or would be. "
    "Needs create and patch on Events.",
)
@click.option(
    "--snapshot-secret",
    type=parse_secret,
    metavar="NAMESPACE/NAME",
    help="Secret in which replicas keep trusted records across restarts; it must exist.",
)
@click.option(
    "--warm-up",
    is_flag=True,
    help="After the start, look up the images of running Pods in the background. Needs list on Pods.",
)
@log_options
def command(log_format: Format | None, log_level: str, **options: Any) -> int:
    """Run the admission webhook.

    The serving certificate comes either from files (--tls-cert and --tls-key, read again when they
    change) or from the cluster (--cert-secret, --service and --webhook-configuration), where the
    webhook issues and renews it.
    """
    check_certificate_options(options)
    from webhook.app.policy_child import PolicyChild  # noqa: PLC0415 - only if it serves

    child = PolicyChild(options["config"])
    from webhook.app.webhook_process import ServeOptions, WebhookProcess  # noqa: PLC0415 - only if it serves

    given = {name: value for name, value in options.items() if value is not None}
    logs = configure_logging(log_format, log_level)
    return WebhookProcess(ServeOptions(**given), os.environ, logs, child.parse).run()


def check_certificate_options(options: dict[str, Any]) -> None:
    """Check that the options name one source of the serving certificate.

    Raises:
        UsageError: they name none, both, or one in part.
    """
    files = [options[name] for name in ("tls_cert", "tls_key")]
    managed = [options[name] for name in ("cert_secret", "service", "webhook_configuration")]
    if any(files) and (any(managed) or options["mutating_webhook_configuration"]):
        raise click.UsageError(
            "the certificate comes from files or from the cluster: remove --tls-cert and --tls-key, "
            "or --cert-secret, --service and the webhook configurations"
        )
    if not all(files) and not all(managed):
        raise click.UsageError(
            "a serving certificate is needed: add --tls-cert and --tls-key, "
            "or --cert-secret, --service and --webhook-configuration"
        )

"""The running Pods that a command reads, and the options that select them."""

from __future__ import annotations

import click

from webhook.cli.options import (
    Decorator,
    cluster_options,
    configuration_option,
    join,
    namespace_option,
)
from webhook.cluster.client import RetryingClient, connect
from webhook.cluster.pods import PodReader
from webhook.cluster.scope import Scope, read_scope


def pod_options(verb: str) -> Decorator:
    """Return the options whose values are the arguments of ``open_pods``; ``verb`` is for their help."""
    return join(
        namespace_option(multiple=True, show_default="all", help=f"Namespace to {verb}; repeat it for more."),
        click.option(
            "-l", "--selector", default="", show_default=False, help="Label selector, such as app=web."
        ),
        click.option(
            "--exclude-namespace",
            multiple=True,
            metavar="GLOB",
            show_default="those that the webhook configuration excludes",
            help="Namespaces to leave out; repeat it for more. Has no effect together with -n.",
        ),
        configuration_option,
        cluster_options,
    )


def open_pods(
    namespace: tuple[str, ...],
    selector: str,
    exclude_namespace: tuple[str, ...],
    webhook_configuration: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> tuple[PodReader, Scope]:
    """Return the source of the Pods, and the namespaces to leave out.

    Raises:
        ClusterError: there is no access to a cluster, or the named configuration does not exist.
    """
    api = connect(kubeconfig, context)
    if namespace or exclude_namespace:
        scope = Scope(() if namespace else exclude_namespace)
    else:
        scope = read_scope(RetryingClient(api), webhook_configuration)
    return PodReader(api, namespace, selector), scope

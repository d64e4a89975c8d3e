"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

Decorator = Callable[[Any], Any]
"""Adds one or more options to a command's function."""

MAX_PORT: Final = 65535


def parse_port(value: str) -> int:
    """Return a TCP port."""
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= MAX_PORT):
        raise click.BadParameter(f"{value!r} is not a port: write a number from 1 to {MAX_PORT}")
    return int(value)


FILE: Final = click.Path(readable=False)
"""A path. Whether it can be read is checked by the code that reads it."""


def join(*options: Decorator) -> Decorator:
    """Return one decorator for several options; the help shows them in this order."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def namespace_option(*names: str, **attributes: Any) -> Decorator:
    """Return ``-n/--namespace``; ``names`` are further spellings."""
    return click.option("namespace", "-n", "--namespace", *names, metavar="NAMESPACE", **attributes)


def output_option(*formats: str) -> Decorator:
    """Return ``-o/--output``; the first format is the default."""
    return click.option(
        "-o", "--output", type=click.Choice(formats), default=formats[0], help="Output format."
    )


def listen_options(port: int, purpose: str) -> Decorator:
    """Return ``--host`` and ``--port``."""
    return join(
        click.option(
            "--host",
            default="",
            show_default="all addresses",
            metavar="ADDRESS",
            help="Address to listen on.",
        ),
        click.option("--port", type=parse_port, default=str(port), metavar="PORT", help=purpose),
    )


def _complete_context(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the contexts of the kubeconfig files that kubectl would read."""
    del param
    import yaml  # noqa: PLC0415 - only completion reads a kubeconfig as YAML

    files = ctx.params.get("kubeconfig") or os.environ.get("KUBECONFIG") or "~/.kube/config"
    names: list[str] = []
    for file in files.split(os.pathsep):
        try:
            config = yaml.load(Path(file).expanduser().read_bytes(), yaml.CSafeLoader)
            names += [str(context["name"]) for context in config["contexts"]]
        except (OSError, yaml.YAMLError, TypeError, KeyError):
            continue
    return [name for name in names if name.startswith(incomplete)]


config_option: Final = click.option("--config", required=True, type=FILE, metavar="FILE", help="Policy file.")

cluster_options: Final = join(
    click.option(
        "--kubeconfig",
        type=FILE,
        metavar="FILE",
        show_default="the Pod's ServiceAccount, else as kubectl",
        help="Access to the cluster.",
    ),
    click.option(
        "--context", metavar="NAME", shell_complete=_complete_context, help="Context of the kubeconfig."
    ),
)

configuration_option: Final = click.option(
    "--webhook-configuration",
    metavar="NAME",
    show_default="those with the label app.kubernetes.io/name=swr-trust-webhook",
    help="ValidatingWebhookConfiguration to read.",
)

log_options: Final = join(
    click.option(
        "--log-format",
        type=click.Choice(["json", "text"]),
        show_default="text on a terminal",
        help="Log format.",
    ),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        help="Lowest level that is logged.",
    ),
)

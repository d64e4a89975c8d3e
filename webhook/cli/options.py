"""Types of values, and the options that several commands share."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import click

from webhook.policy.quantities import parse_duration

F = TypeVar("F", bound=Callable[..., Any])


class Decorator(Protocol):
    """Adds one or more options to a function."""

    def __call__(self, function: F, /) -> F:
        """Return the function with the options."""
        ...  # pragma: no cover


class Port(click.IntRange):
    """A TCP port."""

    name = "port"

    def __init__(self) -> None:
        """Allow 1 to 65535."""
        super().__init__(1, 65535)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the port."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a port: write a number from 1 to 65535", param, ctx)


class Duration(click.ParamType[float]):
    """A duration such as ``1h30m``, in seconds."""

    name = "duration"

    def __init__(self, shortest: float) -> None:
        """Refuse what is shorter than ``shortest`` seconds."""
        self._shortest = shortest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the duration in seconds."""
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r} is not a duration: {error}", param, ctx)
        if seconds < self._shortest:
            self.fail(f"{value} is too short: write {self._shortest:g}s or longer", param, ctx)
        return seconds


class Moment(click.ParamType[dt.datetime]):
    """A date or a time, in UTC where it has no offset."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        """Return the instant."""
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            example = "a date or an RFC 3339 time, such as 2026-11-01"
            self.fail(f"{value!r} is not a time: write {example}", param, ctx)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


class NamespacedName(click.ParamType[str]):
    """The name of an object with its namespace."""

    name = "namespace/name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value as it was written."""
        if re.fullmatch(r"[a-z0-9-]{1,63}/[a-z0-9.-]{1,253}", value) is None:
            self.fail(f"{value!r} has no namespace, or is not a name: write NAMESPACE/NAME", param, ctx)
        return str(value)


FILE: Final = click.Path(readable=False)
"""A path. Whether it can be read is checked by the code that reads it."""


def join(*options: Decorator) -> Decorator:
    """Return one decorator for several options; the help shows them in this order."""

    def decorate(function: F) -> F:
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
        click.option("--port", type=Port(), default=port, metavar="PORT", help=purpose),
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

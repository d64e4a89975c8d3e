"""The entry point of the server: makes what serves, in a process that was patched before."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from webhook.errors import WebhookError
from webhook.patching import is_patched
from webhook.server.log_writer import BackgroundWriter
from webhook.server.native import NativeThreads
from webhook.server.process import Server
from webhook.server.resolving import NativeResolver
from webhook.server.runtime import Runtime, ServeOptions
from webhook.telemetry.logs import configure_logging


def main(options: argparse.Namespace) -> int:
    """Serve until told to stop; returns the exit code.

    Raises:
        ConfigError: the policy cannot be used.
        CertificateError: the certificate cannot be used.
        WebhookError: the standard library was not patched before the product was imported.
    """
    if not is_patched():
        raise WebhookError("the server must be started as `swr-trust serve` or `python -m webhook serve`")
    logs = configure_logging(options.log_format, options.log_level)
    serve_options = ServeOptions(
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
    # Only the process that serves may have the thread that writes: a fork would leave it behind.
    writer: list[BackgroundWriter] = []

    def open_writer(dropped: Callable[[int], None]) -> None:
        writer.append(BackgroundWriter(sys.stdout.fileno(), dropped))
        logs.lines.stream = writer[0]

    try:
        resolve, aside = NativeResolver(), NativeThreads(1)
        Server(Runtime(serve_options, os.environ, resolve, aside, logs, open_writer)).run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        for stream in writer:
            stream.drain()
    return 0

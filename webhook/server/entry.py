"""The entry point of the server: patches the standard library, then imports what is patched."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable


def main(options: argparse.Namespace) -> int:
    """Serve until told to stop; returns the exit code.

    Raises:
        ConfigError: the policy cannot be used.
        CertificateError: the certificate cannot be used.
    """
    from gevent import monkey  # noqa: PLC0415 - must come before all that it patches

    monkey.patch_all()

    from webhook.server.log_writer import BackgroundWriter  # noqa: PLC0415 - the same
    from webhook.server.native import NativeThreads  # noqa: PLC0415 - the same
    from webhook.server.process import Server  # noqa: PLC0415 - the same
    from webhook.server.resolving import NativeResolver  # noqa: PLC0415 - the same
    from webhook.server.runtime import Runtime, ServeOptions  # noqa: PLC0415 - the same
    from webhook.telemetry.logs import configure_logging  # noqa: PLC0415 - the same

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

"""The entry point of the server: makes what serves, in a process that was patched before."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from webhook.errors import WebhookError
from webhook.patching import is_patched
from webhook.server.log_writer import BackgroundWriter
from webhook.server.native import NativeThreads
from webhook.server.process import Server
from webhook.server.resolving import NativeResolver
from webhook.server.runtime import Runtime, ServeOptions
from webhook.telemetry.logs import Format, configure_logging


def main(log_format: Format | None, log_level: str, **options: Any) -> int:
    """Serve until told to stop; return the exit code. ``options`` are the fields of ``ServeOptions``.

    Raises:
        ConfigError: the policy cannot be used.
        CertificateError: the certificate cannot be used.
        WebhookError: the standard library was not patched before the product was imported.
    """
    if not is_patched():
        raise WebhookError("the server must be started as `swr-trust serve` or `python -m webhook serve`")
    logs = configure_logging(log_format, log_level)
    # Only the process that serves may have the thread that writes: a fork would leave it behind.
    writer: list[BackgroundWriter] = []

    def open_writer(dropped: Callable[[int], None]) -> None:
        writer.append(BackgroundWriter(sys.stdout.fileno(), dropped))
        logs.lines.stream = writer[0]

    try:
        resolve, aside = NativeResolver(), NativeThreads(1)
        Server(Runtime(ServeOptions(**options), os.environ, resolve, aside, logs, open_writer)).run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        for stream in writer:
            stream.drain()
    return 0

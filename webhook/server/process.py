"""The gunicorn process: settings in code, nothing from files, arguments or the environment."""

from __future__ import annotations

import os
from typing import Any, Final

from flask import Flask
from gunicorn.app.base import BaseApplication

from webhook.server.heads import MAX_FIELD, MAX_FIELDS
from webhook.server.runtime import Runtime, ServeOptions

KEEP_ALIVE: Final = 120
"""Seconds: longer than the 90 s after which Go's client drops an idle connection, so that the client
is always the one to end it (kube-apiserver does not repeat a POST that a closing server lost)."""

GRACEFUL: Final = 20
"""Seconds for what is in flight at the end; the API server waits 30 at the most."""

CONNECTIONS: Final = 2000

_SETTINGS: Final[dict[str, Any]] = {
    "workers": 1,  # one process is one cache, one set of metrics, one single-flight
    "worker_class": "webhook.server.worker.Worker",
    "worker_connections": CONNECTIONS,
    "keepalive": KEEP_ALIVE,
    "timeout": 30,  # the worker's heartbeat, not a request's
    "graceful_timeout": GRACEFUL,
    "control_socket_disable": True,
    "http_parser": "python",
    "limit_request_line": 2048,
    "limit_request_fields": MAX_FIELDS,
    "limit_request_field_size": MAX_FIELD,
    "accesslog": None,  # decisions are logged, probes are not
    "forwarded_allow_ips": "",
    "preload_app": False,
    "reload": False,
    "proc_name": "swr-trust",
}


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """Runs one worker under gunicorn's arbiter, which restarts it should it die."""

    def __init__(self, runtime: Runtime) -> None:
        """Serve ``runtime``."""
        self.runtime = runtime
        super().__init__()

    def load_config(self) -> None:
        """Set everything; called by gunicorn."""
        for name, value in _SETTINGS.items():
            self.cfg.set(name, value)
        self.cfg.set("bind", bind_address(self.runtime.options))
        self.cfg.set("logger_class", "webhook.server.gunicorn_logs.QuietLogger")
        if os.access("/dev/shm", os.W_OK):  # noqa: S108 - a tmpfs in every Pod; holds an empty heartbeat file
            self.cfg.set("worker_tmp_dir", "/dev/shm")  # noqa: S108 - the same

    def load(self) -> Flask:
        """Return the application; called in the worker."""
        return self.runtime.app


def bind_address(options: ServeOptions) -> str:
    """Return the address to listen on: all of IPv6 and IPv4 where no host is given."""
    if not options.host:
        return f"[::]:{options.port}" if os.path.exists("/proc/net/if_inet6") else f"0.0.0.0:{options.port}"  # noqa: PTH110 - all addresses is what a Pod serves on
    return f"[{options.host}]:{options.port}" if ":" in options.host else f"{options.host}:{options.port}"

"""The gunicorn server: settings in code, none from files, arguments or the environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gunicorn.app.base import BaseApplication

from webhook.server.exchange import Application
from webhook.server.scheduler import FairScheduler
from webhook.server.tls import ServingCertificate
from webhook.telemetry.metrics import Metrics

KEEP_ALIVE: Final = 120
"""Seconds. Go's client closes an idle connection after 90 s, so the client always closes first.
kube-apiserver does not repeat a POST that was lost because the server closed the connection."""

GRACEFUL: Final = 20
"""Seconds for requests in flight when the process stops; the API server waits at most 30."""

CONNECTIONS: Final = 2000

_SETTINGS: Final[dict[str, Any]] = {
    "workers": 1,  # one process is one cache, one set of metrics, one single-flight
    "worker_class": "webhook.server.worker.Worker",
    "worker_connections": CONNECTIONS,
    "keepalive": KEEP_ALIVE,
    "timeout": 30,  # the worker's heartbeat, not a request's
    "graceful_timeout": GRACEFUL,
    "control_socket_disable": True,
    "preload_app": False,
    "reload": False,
    "proc_name": "swr-trust",
}


@dataclass(frozen=True, slots=True)
class Service:
    """The parts that the worker uses. It calls ``start`` when it listens and ``stop`` when it ends."""

    app: Application
    certificate: ServingCertificate
    scheduler: FairScheduler
    metrics: Metrics
    start: Callable[[], None]
    stop: Callable[[], None]
    after_response: Callable[[], None]
    """Records the decision of a response, after it was sent or could not be sent."""


class GunicornServer(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """Runs one worker under gunicorn's arbiter, which restarts it if it dies."""

    def __init__(self, service: Service, host: str, port: int) -> None:
        """Serve on an address; an empty ``host`` is every address."""
        self.service = service
        self._address = bind_address(host, port)
        super().__init__()

    def load_config(self) -> None:
        """Set all settings; called by gunicorn."""
        for name, value in _SETTINGS.items():
            self.cfg.set(name, value)
        self.cfg.set("bind", self._address)
        self.cfg.set("logger_class", "webhook.server.gunicorn_logs.QuietLogger")
        if os.access("/dev/shm", os.W_OK):  # noqa: S108 - a tmpfs in every Pod; holds an empty heartbeat file
            self.cfg.set("worker_tmp_dir", "/dev/shm")  # noqa: S108 - the same

    def load(self) -> Application:
        """Return the application; called in the worker."""
        return self.service.app


def bind_address(host: str, port: int) -> str:
    """Return the address to listen on: every IPv6 and IPv4 address if ``host`` is empty."""
    if not host:
        host = "::" if os.path.exists("/proc/net/if_inet6") else "0.0.0.0"  # noqa: PTH110, S104 - a Pod serves on all
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

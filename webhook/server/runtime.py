"""The composition root: every part of a serving process, made and wired once."""

from __future__ import annotations

import gc
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from flask import Flask

from webhook import __version__
from webhook.admission.evaluator import Evaluator
from webhook.admission.extraction import ImageUse
from webhook.admission.validator import DecisionObserver, Validator
from webhook.deadlines import LargeWork, spawn
from webhook.policy.loading import parse_policy
from webhook.policy.reloading import PolicyFile
from webhook.server.app import create_app
from webhook.server.engine import Engine
from webhook.server.health import Health
from webhook.server.loop_watch import LoopWatch
from webhook.server.recording import DecisionRecorder
from webhook.server.tls import CertificateFiles, ServingCertificate
from webhook.server.turns import Line, Turns
from webhook.swr.resolver import Address
from webhook.telemetry.logs import SUMMARY_INTERVAL, Logging
from webhook.telemetry.metrics import Metrics
from webhook.trust.lookup import LookupRequest

if TYPE_CHECKING:
    from webhook.cluster.events import DecisionEvents
    from webhook.cluster.snapshots import TrustSnapshot
    from webhook.cluster.warming import WarmUp

logger = logging.getLogger(__name__)

LARGEST_BLOCK: Final = 16 * 1024 * 1024
"""Bytes; the process may keep twice as many that large reviews have taken, for the next ones."""

T = TypeVar("T")

STOP: Final = 2.0
"""Seconds that the last write of the snapshot may take; an API server that is gone holds nothing up."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What ``swr-trust serve`` was told. ``host`` is empty for all addresses.

    The certificate comes from ``tls_cert`` and ``tls_key``, or is kept in ``cert_secret``
    (``namespace/name``) for ``service`` and ``webhook_configuration``; what is not used is empty.
    ``events`` asks for Kubernetes Events on what is refused. ``snapshot_secret`` (``namespace/name``) is
    where what was trusted is kept, empty for nowhere. ``warm_up`` asks for a look at the images of running
    Pods once this replica serves.
    """

    config: str
    host: str
    port: int
    tls_cert: str = ""
    tls_key: str = ""
    cert_secret: str = ""
    service: str = ""
    webhook_configuration: str = ""
    client_ca: str | None = None
    events: bool = False
    snapshot_secret: str = ""
    warm_up: bool = False


class Aside(Protocol):
    """Does work while the loop goes on; ``webhook.server.native.NativeThreads`` in a gevent process."""

    def run(self, work: Callable[[], T]) -> T:
        """Return or raise what ``work`` does."""
        ...  # pragma: no cover


class Runtime:
    """Holds the parts; made before the server forks, started in the process that serves."""

    def __init__(
        self,
        options: ServeOptions,
        environment: Mapping[str, str],
        resolve: Callable[[str], list[Address]],
        aside: Aside,
        logs: Logging,
        open_log_writer: Callable[[Callable[[int], None]], None],
    ) -> None:
        """Make everything.

        ``aside`` does what would hold up the requests: it reads a changed policy. ``open_log_writer``
        puts the writer of the process that serves behind ``logs``; it is given what counts the bytes
        that are thrown away.

        Raises:
            ConfigError: the policy cannot be used.
            CertificateError: the certificate cannot be used.
            ClusterError: there is no access to the cluster, and it is needed.
        """
        self.options = options
        self._logs = logs
        self._open_log_writer = open_log_writer
        self.metrics = Metrics(__version__)
        self.policy = PolicyFile(
            options.config, self.metrics, parse=lambda data: aside.run(lambda: parse_policy(data))
        )
        self.certificate = _open_certificate(options, self.metrics)
        self._loop_watch = LoopWatch()
        self.metrics.load.watch_loop(lambda: self._loop_watch.longest)
        self.turns = Turns()
        self.engine = Engine(
            self.policy.current,
            self.metrics,
            environment,
            resolve,
            lambda: self._loop_watch.lost,
            lambda: self.turns.take(Line.WOKEN),
        )
        self.policy.on_change(self.engine.follow)
        self._stop = threading.Event()
        observers: list[DecisionObserver] = [DecisionRecorder(self.metrics, logs.lines)]
        self._write_events: Callable[[], None] | None = None
        if options.events:
            events = _open_events(self.policy, environment, self.metrics)
            observers.append(events)
            self._write_events = lambda: events.run(self._stop)
        large_work = LargeWork(lambda: self.turns.take(Line.WOKEN))
        self.validator = Validator(lambda: self.policy.current, self.engine, observers, large_work=large_work)
        self._snapshot = _open_snapshot(options, self.policy, self.engine, self.certificate, self.metrics)
        self._snapshot_thread: threading.Thread | None = None
        self._warm_up = _open_warm_up(self.policy, self.engine) if options.warm_up else None
        health = Health(
            self.certificate, self.policy, lambda: self.engine.lookup.sizes, self.metrics, self._snapshot
        )
        self.app: Flask = create_app(self.validator, health, self.metrics, large_work)

    def serving(self) -> None:
        """Start what runs beside the requests; called once the listening sockets are open."""
        self._open_log_writer(self.metrics.log_dropped)
        spawn(lambda: self.policy.watch(self._stop), "policy")
        spawn(self._summarise_logs, "logs")
        spawn(lambda: self._loop_watch.run(self._stop), "loop-watch")
        spawn(lambda: self.certificate.watch(self._stop), "certificate")
        if self._write_events is not None:
            spawn(self._write_events, "events")
        if (snapshot := self._snapshot) is not None:
            self._snapshot_thread = spawn(lambda: snapshot.run(self._stop), "snapshot")
        if (warm_up := self._warm_up) is not None:
            spawn(lambda: warm_up.run(self._stop), "warm-up")
        logger.info(
            "serving",
            extra={
                "version": __version__,
                "port": self.options.port,
                "policy": self.policy.current.version,
                "mode": self.policy.current.mode.value,
                "registries": [registry.name for registry in self.policy.current.registries.registries],
            },
        )
        _tune_memory()

    def stop(self) -> None:
        """End what runs beside the requests; takes ``STOP`` seconds at most."""
        self._stop.set()
        if self._snapshot_thread is not None:
            self._snapshot_thread.join(STOP)
        logger.info("stopped")

    def _summarise_logs(self) -> None:
        while not self._stop.wait(SUMMARY_INTERVAL):
            self._logs.summarise()


def _tune_memory() -> None:
    """Spare the loop what memory costs while it serves."""
    # All that lives now lives to the end: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    # glibc gives the memory of a large body back to the kernel and takes it anew for the next one, unless
    # it has seen a larger block freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, which adjust
    # themselves). This one is never touched, so it takes no memory.
    bytes(LARGEST_BLOCK)


def _open_certificate(options: ServeOptions, metrics: Metrics) -> ServingCertificate:
    if not options.cert_secret:
        return CertificateFiles(options.tls_cert, options.tls_key, options.client_ca, metrics)
    # The client of the Kubernetes API takes 40 MB: who serves from files does without.
    from webhook.cluster.certificates import ManagedCertificate, ManagedCertificateOptions  # noqa: PLC0415
    from webhook.cluster.client import connect  # noqa: PLC0415

    namespace, _, secret = options.cert_secret.partition("/")
    managed = ManagedCertificateOptions(
        namespace, secret, options.service, options.webhook_configuration, options.client_ca
    )
    return ManagedCertificate(managed, connect(), metrics)


def _open_events(policy: PolicyFile, environment: Mapping[str, str], metrics: Metrics) -> DecisionEvents:
    from webhook.cluster.client import connect  # noqa: PLC0415 - as above
    from webhook.cluster.events import DecisionEvents  # noqa: PLC0415 - as above

    instance = environment.get("POD_NAME") or socket.gethostname()
    return DecisionEvents(connect(), lambda: policy.current, instance, metrics)


def _open_snapshot(
    options: ServeOptions,
    policy: PolicyFile,
    engine: Engine,
    certificate: ServingCertificate,
    metrics: Metrics,
) -> TrustSnapshot | None:
    if not options.snapshot_secret:
        return None
    from webhook.cluster.client import connect  # noqa: PLC0415 - as above
    from webhook.cluster.secrets import SharedSecret  # noqa: PLC0415 - as above
    from webhook.cluster.snapshots import PURPOSE, SnapshotScope, TrustSnapshot  # noqa: PLC0415 - as above

    def scope() -> SnapshotScope:
        current = policy.current
        return SnapshotScope(
            current.cache.stale_if_error, {registry.key for registry in current.registries.registries}
        )

    namespace, _, name = options.snapshot_secret.partition("/")
    secret = SharedSecret(connect(), namespace, name)
    return TrustSnapshot(secret, engine.lookup, lambda: certificate.derive_key(PURPOSE), scope, metrics)


def _open_warm_up(policy: PolicyFile, engine: Engine) -> WarmUp:
    from webhook.cluster.client import connect  # noqa: PLC0415 - as above
    from webhook.cluster.warming import WarmUp  # noqa: PLC0415 - as above

    def question_for(namespace: str, use: ImageUse) -> LookupRequest | None:
        return Evaluator(policy.current, engine).lookup_request_for(use, namespace, time.time())

    return WarmUp(connect(), question_for, engine.lookup.warm)

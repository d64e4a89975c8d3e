"""The composition root of ``swr-trust serve``."""

from __future__ import annotations

import gc
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from webhook import __version__
from webhook.admission.mutator import MutationObserver, Mutator
from webhook.admission.selection import AwaitedImages
from webhook.admission.validator import DecisionObserver, Validator
from webhook.app.after_response import AfterResponse
from webhook.app.decision_recorder import DecisionRecorder
from webhook.app.log_writer import BackgroundWriter
from webhook.app.loop_watch import LoopWatch
from webhook.app.mutation_recorder import MutationRecorder
from webhook.app.native_resolver import NativeResolver
from webhook.app.native_threads import NativeThreads
from webhook.app.policy_child import parse_here
from webhook.app.policy_file import open_policy_file
from webhook.app.preconnecting import Preconnector
from webhook.app.trust_service import TrustService
from webhook.deadlines import LargeWork, spawn
from webhook.evidence.slow_work import SlowQueue
from webhook.policy.model import Policy
from webhook.server.app import create_webhook_app
from webhook.server.gunicorn_server import GunicornServer, Service
from webhook.server.health import Health
from webhook.server.scheduler import FairScheduler, WaitReason
from webhook.server.tls import CertificateFiles, ServingCertificate
from webhook.telemetry.logs import Logging
from webhook.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from webhook.app.cluster_features import ClusterFeatures

logger = logging.getLogger(__name__)

LARGEST_BLOCK: Final = 16 * 1024 * 1024
"""Bytes. The process may keep twice as many that large reviews have used, for the next ones."""

VERIFICATION_SLICE: Final = 0.0005
"""Seconds for which a slow verification, SM2 in plain Python, may keep the event loop waiting."""

SNAPSHOT_SECONDS: Final = 2.0
"""Seconds that the last write of the snapshot may take when the process stops."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The options of ``swr-trust serve``. An empty ``host`` is every address.

    The certificate is in the files ``tls_cert`` and ``tls_key``, or in the Secret ``cert_secret``
    (``namespace/name``) for ``service``, ``webhook_configuration`` and ``mutating_webhook_configuration``;
    unused options are empty. ``events``
    turns on Kubernetes Events on denied requests. ``snapshot_secret`` (``namespace/name``) stores what is
    trusted, empty for nowhere. ``warm_up`` turns on lookups of the images of running Pods after the start.
    """

    config: str
    host: str
    port: int
    tls_cert: str = ""
    tls_key: str = ""
    cert_secret: str = ""
    service: str = ""
    webhook_configuration: str = ""
    mutating_webhook_configuration: str = ""
    client_ca: str | None = None
    events: bool = False
    snapshot_secret: str = ""
    warm_up: bool = False


class WebhookProcess:
    """The parts of the webhook. They are created before the server forks, and started in its worker."""

    def __init__(
        self,
        options: ServeOptions,
        environment: Mapping[str, str],
        logs: Logging,
        parse_first: Callable[[bytes], Policy] = parse_here,
    ) -> None:
        """Make all parts and connect them. ``parse_first`` parses the policy now, not after a change.

        Raises:
            ConfigError: the policy cannot be used.
            CertificateError: the certificate cannot be used.
            ClusterError: there is no access to the cluster, and it is needed.
        """
        self._options = options
        self._logs = logs
        self._log_writer: BackgroundWriter | None = None
        self._stop = threading.Event()
        self._metrics = metrics = Metrics(__version__)
        self._policy = policy = open_policy_file(options.config, metrics, parse_first)
        loop_watch = LoopWatch()
        metrics.load.watch_loop(lambda: loop_watch.longest)
        scheduler = FairScheduler()

        def checkpoint() -> None:
            scheduler.checkpoint(WaitReason.WOKEN)

        trust = TrustService(
            policy.current,
            metrics,
            environment,
            NativeResolver(),
            lambda: loop_watch.blocked,
            checkpoint,
            SlowQueue(NativeThreads(1, VERIFICATION_SLICE).run).run,
        )
        policy.on_change(trust.reconfigure)
        self._preconnector = Preconnector(trust.clients)
        policy.on_change(self._preconnector.connect)
        metrics.watch_cache(lambda: trust.cache_sizes)
        certificate = self._open_certificate()
        observers: list[DecisionObserver] = [DecisionRecorder(metrics, logs.lines)]
        mutation_observers: list[MutationObserver] = [MutationRecorder(metrics, logs.lines)]
        self._background: dict[str, Callable[[threading.Event], None]] = {
            "policy": policy.watch,
            "logs": logs.run,
            "loop-watch": loop_watch.run,
            "certificate": certificate.watch,
        }
        if options.events:
            events = self._cluster.events(environment)
            observers.append(events)
            mutation_observers.append(events)
            self._background["events"] = events.run
        snapshot = None
        if options.snapshot_secret:
            snapshot = self._cluster.snapshot(options.snapshot_secret, policy, trust, certificate)
            self._background["snapshot"] = snapshot.run
        if options.warm_up:
            self._background["warm-up"] = self._cluster.warm_up(policy, trust.lookup).run
        large_work, awaited = LargeWork(checkpoint), AwaitedImages()
        records = AfterResponse(observers, mutation_observers)
        validator = Validator(
            lambda: policy.current, trust.lookup, [records], large_work=large_work, awaited=awaited
        )
        mutator = Mutator(
            lambda: policy.current, trust.lookup, [records], large_work=large_work, awaited=awaited
        )
        health = Health(certificate, policy, trust, snapshot)
        app = create_webhook_app(validator, mutator, certificate, health, metrics, large_work)
        self._service = Service(
            app, certificate, scheduler, metrics, self.start, self.stop, after_response=records.flush
        )
        self._threads: dict[str, threading.Thread] = {}

    def run(self) -> int:
        """Serve until a stop signal; return the exit code."""
        try:
            GunicornServer(self._service, self._options.host, self._options.port).run()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        finally:
            if self._log_writer is not None:
                self._log_writer.drain()
        return 0

    def start(self) -> None:
        """Start the background work; called in the process that serves, once it listens."""
        # A fork would not copy the thread that writes.
        self._log_writer = BackgroundWriter(sys.stdout.fileno(), self._metrics.log_dropped)
        self._logs.lines.stream = self._log_writer
        for name, work in self._background.items():
            self._threads[name] = spawn(partial(work, self._stop), name)
        policy = self._policy.current
        self._preconnector.connect(policy)
        logger.info(
            "serving",
            extra={
                "version": __version__,
                "port": self._options.port,
                "policy": policy.version,
                "mode": policy.mode.value,
                "registries": [registry.name for registry in policy.registries.registries],
            },
        )
        _tune_memory()

    def stop(self) -> None:
        """Stop the background work; takes at most ``SNAPSHOT_SECONDS``."""
        self._stop.set()
        if "snapshot" in self._threads:
            self._threads["snapshot"].join(SNAPSHOT_SECONDS)
        logger.info("stopped")

    @cached_property
    def _cluster(self) -> ClusterFeatures:
        from webhook.app.cluster_features import ClusterFeatures  # noqa: PLC0415 - it takes 40 MB

        return ClusterFeatures(self._metrics)

    def _open_certificate(self) -> ServingCertificate:
        options = self._options
        if not options.cert_secret:
            return CertificateFiles(options.tls_cert, options.tls_key, options.client_ca, self._metrics)
        return self._cluster.certificate(
            options.cert_secret,
            options.service,
            options.webhook_configuration,
            options.mutating_webhook_configuration,
            options.client_ca,
        )


def _tune_memory() -> None:
    """Avoid garbage collection and system calls for memory while requests are answered."""
    # All objects that exist now live until the end, so the collector need not examine them again.
    gc.collect()
    gc.freeze()
    # glibc returns the memory of a large body to the kernel and requests it again for the next one. It does
    # not after a larger block was freed, because M_MMAP_THRESHOLD and M_TRIM_THRESHOLD are dynamic
    # (mallopt(3)). This block is never written to, so it takes no memory.
    bytes(LARGEST_BLOCK)

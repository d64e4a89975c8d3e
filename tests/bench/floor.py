"""The baseline: a bare Flask route that decodes and encodes the same typed structures, and does nothing else.

``python -m tests.bench.floor --worker ours`` serves it with the webhook's own worker and settings, ``--worker
gthread`` with gunicorn's threads, 32 of them.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from tests.support.serving import ROOT, Certificate, free_port

THREADS = 32


class FloorProcess:
    """The baseline in its own process, ready when entered."""

    def __init__(self, folder: Path, certificate: Certificate, worker: str) -> None:
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._log = folder / f"floor-{worker}.log"
        self._command = [sys.executable, "-m", "tests.bench.floor", "--worker", worker]
        self._command += ["--port", str(self.port)]
        self._command += ["--cert", str(certificate.certificate), "--key", str(certificate.key)]
        self._certificate = certificate
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The arbiter's process id."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        from tests.bench.load import connect

        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=log, stderr=log)
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            try:
                connect(self.port, self._certificate.ca).close()
            except OSError:
                time.sleep(0.05)
            else:
                return self
        self._process.kill()
        raise AssertionError(self._log.read_text())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


def _make_app() -> Any:
    from flask import Flask, Response, request

    from webhook.admission.decision import Decision
    from webhook.admission.extraction import TargetKind
    from webhook.admission.review import read_review, write_review

    app = Flask("floor", static_folder=None)
    allowed = Decision.allow(
        TargetKind.POD,
        annotations={"decision": "allow", "mode": "enforce", "policy": "0123456789ab", "findings": "x" * 250},
    )

    @app.post("/validate")
    def validate() -> Response:
        review = read_review(request.get_data(cache=False))
        return Response(write_review(review.uid, allowed), mimetype="application/json")

    return app


def _serve_ours(options: argparse.Namespace) -> None:
    from gevent import monkey

    monkey.patch_all()

    from webhook.server.gunicorn_server import GunicornServer, Service
    from webhook.server.scheduler import FairScheduler
    from webhook.server.tls import CertificateFiles

    silent: Any = SimpleNamespace(
        certificate_loaded=lambda not_after: None,
        certificate_rejected=lambda: None,
        connection_aborted=lambda stage: None,
        load=SimpleNamespace(watch_bodies=lambda held: None),
    )

    def freeze() -> None:
        gc.collect()
        gc.freeze()

    service = Service(
        app=_make_app(),
        certificate=CertificateFiles(options.cert, options.key, None, silent),
        scheduler=FairScheduler(),
        metrics=silent,
        start=freeze,
        stop=lambda: None,
    )
    GunicornServer(service, "127.0.0.1", options.port).run()


def _serve_threads(options: argparse.Namespace) -> None:
    from gunicorn.app.base import BaseApplication

    class Threads(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
        def load_config(self) -> None:
            settings = {
                "bind": f"127.0.0.1:{options.port}",
                "certfile": options.cert,
                "keyfile": options.key,
                "worker_class": "gthread",
                "threads": THREADS,
                "keepalive": 120,
                "control_socket_disable": True,
                "errorlog": "/dev/null",
            }
            for name, value in settings.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            return _make_app()

    Threads().run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", choices=("ours", "gthread"), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    arguments = parser.parse_args()
    (_serve_ours if arguments.worker == "ours" else _serve_threads)(arguments)

"""The baselines in Python: a bare Flask route under two workers of gunicorn, and a bare loop.

The route decodes and encodes the same typed structures as the webhook, and does nothing else. ``--worker
gevent`` serves it with gunicorn's GeventWorker and the settings of the webhook, ``--worker gthread`` with
gunicorn's threads. ``--worker loop`` parses nothing: it reads a request and writes a fixed answer, which is the
most that TLS and the event loop of Python leave.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.serving import ROOT, Certificate, free_port

THREADS = 32

SETTINGS: dict[str, dict[str, Any]] = {
    "gevent": {
        "worker_class": "gevent",
        "worker_connections": 2000,
        "timeout": 30,
        "graceful_timeout": 20,
        "http_parser": "python",
        "limit_request_line": 2048,
        "limit_request_fields": 32,
        "limit_request_field_size": 4096,
        "forwarded_allow_ips": "",
        "post_worker_init": lambda worker: _freeze(),
    },
    "gthread": {"worker_class": "gthread", "threads": THREADS},
}
"""The settings of each worker of gunicorn; those of ``gevent`` are the webhook's."""


class FloorProcess:
    """A baseline in its own process, ready when entered."""

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


def _allowed() -> Any:
    from webhook.admission.decision import Decision
    from webhook.admission.extraction import TargetKind

    return Decision.allow(
        TargetKind.POD,
        annotations={"decision": "allow", "mode": "enforce", "policy": "0123456789ab", "findings": "x" * 250},
    )


def _make_app() -> Any:
    from flask import Flask, Response, request

    from webhook.admission.review import read_review, write_review

    app = Flask("floor", static_folder=None)
    allowed = _allowed()

    @app.post("/validate")
    def validate() -> Response:
        review = read_review(request.get_data(cache=False))
        return Response(write_review(review.uid, allowed), mimetype="application/json")

    return app


def _serve_flask(options: argparse.Namespace) -> None:
    if options.worker == "gevent":
        from gevent import monkey

        monkey.patch_all()

    from gunicorn.app.base import BaseApplication

    class Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
        def load_config(self) -> None:
            settings = {
                "bind": f"127.0.0.1:{options.port}",
                "certfile": options.cert,
                "keyfile": options.key,
                "keepalive": 120,
                "control_socket_disable": True,
                "errorlog": "/dev/null",
                **SETTINGS[options.worker],
            }
            for name, value in settings.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            return _make_app()

    Server().run()


def _serve_loop(options: argparse.Namespace) -> None:
    from gevent import ssl
    from gevent.server import StreamServer

    from webhook.admission.review import write_review

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.cert, options.key)
    body = write_review("0b4b36c7-9d9c-4c4e-8d4f-3f1f5f7f9f1f", _allowed())
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = head.encode() + body

    def serve(client: Any, address: Any) -> None:
        del address
        while client.recv(65536):
            client.sendall(answer)

    _freeze()
    StreamServer(("127.0.0.1", options.port), serve, ssl_context=context).serve_forever()


def _freeze() -> None:
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", choices=(*SETTINGS, "loop"), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    arguments = parser.parse_args()
    (_serve_loop if arguments.worker == "loop" else _serve_flask)(arguments)

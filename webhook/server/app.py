"""The applications: two probes and a page of metrics for each process, and reviews for the webhook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from webhook.deadlines import LargeWork
from webhook.server.exchange import JSON, Application, error_response
from webhook.server.health import Probes, Report
from webhook.server.reviews import WRONG_METHOD, Decider, ImagePinner, Reviews
from webhook.server.tls import ServingCertificate
from webhook.server.wsgi import WsgiCaller
from webhook.telemetry.kept_page import KeptPage
from webhook.telemetry.metrics import CONTENT_TYPE, Metrics

_PATHS: Final = "/healthz, /readyz and /metrics"


def create_app(
    probes: Probes,
    render: Callable[[], bytes],
    record_error: Callable[[int], None],
    not_found: str = f"there is {_PATHS}",
    wrong_method: str = "every path takes GET",
) -> Flask:
    """Return an application for ``probes`` and the metrics that ``render`` returns.

    ``record_error`` counts an error by its status.
    """
    app = Flask("swr-trust-webhook", static_folder=None)
    exposition = KeptPage(render)
    sentences = {404: not_found, 405: wrong_method}

    @app.get("/healthz")
    def healthz() -> Response:
        return _answer(probes.live())

    @app.get("/readyz")
    def readyz() -> Response:
        return _answer(probes.ready(verbose="verbose" in request.args), "not ready\n")

    @app.get("/metrics")
    def expose() -> Response:
        return Response(exposition.read(), content_type=CONTENT_TYPE)

    @app.errorhandler(HTTPException)
    def report_error(error: HTTPException) -> Response:
        code = error.code if error.code is not None else 500
        record_error(code)
        body = error_response(code, sentences.get(code, error.name)).body
        return Response(body, status=code, mimetype=JSON)

    return app


def create_webhook_app(
    validator: Decider,
    mutator: ImagePinner,
    certificate: ServingCertificate,
    probes: Probes,
    metrics: Metrics,
    large_work: LargeWork | None = None,
) -> Application:
    """Return the application of the webhook.

    It shares ``large_work`` with ``validator`` and ``mutator``.
    """
    not_found = f"there is /validate, /mutate, {_PATHS}"
    app = create_app(probes, metrics.render, metrics.call_broken, not_found, WRONG_METHOD)
    return Reviews(WsgiCaller(app), validator, mutator, certificate, metrics, large_work or LargeWork())


def _answer(report: Report, failed: str = "") -> Response:
    text = "".join(f"{line}\n" for line in report.lines) + ("ok\n" if report.ok else failed)
    return Response(text, status=200 if report.ok else 503, mimetype="text/plain")

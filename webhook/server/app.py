"""The HTTP surface: one admission path, two probes, one page of metrics."""

from __future__ import annotations

from typing import Final

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from webhook.deadlines import LargeWork
from webhook.server.health import Health
from webhook.server.reviews import JSON, WRONG_METHOD, Decider, Reviews, error_body
from webhook.telemetry.kept_page import KeptPage
from webhook.telemetry.metrics import CONTENT_TYPE, Metrics

_SENTENCES: Final = {
    404: "there is /validate, /healthz, /readyz and /metrics",
    405: WRONG_METHOD,
}


def create_app(
    validator: Decider, health: Health, metrics: Metrics, large_work: LargeWork | None = None
) -> Flask:
    """Return the application; all it needs is handed in, nothing is global.

    ``large_work`` is the process's own, which ``validator`` shares.
    """
    app = Flask("swr-trust-webhook", static_folder=None)

    @app.get("/healthz")
    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @app.get("/readyz")
    def readyz() -> Response:
        report = health.report()
        text = "ok\n" if report.ready else "not ready\n"
        if not report.ready or "verbose" in request.args:
            text = "".join(f"{line}\n" for line in report.lines) + text
        return Response(text, status=200 if report.ready else 503, mimetype="text/plain")

    def render() -> bytes:
        health.refresh()
        return metrics.render()

    exposition = KeptPage(render)

    @app.get("/metrics")
    def expose() -> Response:
        return Response(exposition.read(), content_type=CONTENT_TYPE)

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Response:
        code = error.code if error.code is not None else 500
        metrics.call_broken(code)
        return Response(error_body(_SENTENCES.get(code, error.name)), status=code, mimetype=JSON)

    app.wsgi_app = Reviews(app.wsgi_app, validator, health, metrics, large_work or LargeWork())  # type: ignore[method-assign]
    return app

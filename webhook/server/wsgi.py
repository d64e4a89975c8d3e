"""Calls a WSGI application (PEP 3333): Flask answers the probes and the page of metrics."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication

from webhook.server.exchange import Request, Response, error_response

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WsgiCaller:
    """An ``Application`` that passes each request to a WSGI application."""

    application: WSGIApplication

    def __call__(self, request: Request) -> Response:
        """Return the complete response; an error of the application is logged."""
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            del exc_info
            started[:] = [(status, headers)]

        try:
            body = _join(self.application(_environ(request), start_response))
        except Exception:
            logger.exception("failed to serve a page")
            return error_response(500, "Internal Server Error")
        status, headers = started[0]
        content_type, others = "", []
        for name, value in headers:
            lowered = name.lower()
            if lowered == "content-type":
                content_type = value
            elif lowered != "content-length":
                others.append((name, value))
        return Response(int(status[:3]), body, content_type, tuple(others))


def _join(parts: Iterable[bytes]) -> bytes:
    try:
        return b"".join(parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()


def _environ(request: Request) -> dict[str, Any]:
    body = request.take_body()
    name, _, port = request.host.rpartition(":")
    return {
        # The answer to HEAD has the length of the one to GET; the conversation leaves out the body.
        "REQUEST_METHOD": "GET" if request.method == "HEAD" else request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query,
        "CONTENT_TYPE": request.content_type,
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": name or request.host or "localhost",
        "SERVER_PORT": port or "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": request.host or "localhost",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }

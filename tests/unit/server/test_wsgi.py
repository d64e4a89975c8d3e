"""Calls of a WSGI application."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, request

from webhook.server.exchange import Request, Response
from webhook.server.wsgi import WsgiCaller


def test_application_sees_the_request() -> None:
    """The path is decoded, the query is not."""
    app = Flask("seen", static_folder=None)

    @app.post("/a b")
    def show() -> dict[str, Any]:
        return {
            "query": request.query_string.decode(),
            "host": request.host,
            "type": request.content_type,
            "body": request.get_data(as_text=True),
            "scheme": request.scheme,
        }

    answer = WsgiCaller(app)(Request("POST", "/a%20b", "x=%20", "text/plain", "h:8443", b"body"))
    assert answer.status == 200
    assert answer.content_type == "application/json"
    assert b'"body":"body"' in answer.body.replace(b" ", b"")
    assert b'"query":"x=%20"' in answer.body.replace(b" ", b"")
    assert b'"host":"h:8443"' in answer.body.replace(b" ", b"")
    assert b'"scheme":"https"' in answer.body.replace(b" ", b"")


def test_other_header_fields_are_kept() -> None:
    """The length is left to the conversation."""

    def app(environ: Any, start: Any) -> list[bytes]:
        start("405 METHOD NOT ALLOWED", [("Content-Type", "a/b"), ("Allow", "GET"), ("Content-Length", "2")])
        return [b"n", b"o"]

    assert WsgiCaller(app)(Request("PUT", "/")) == Response(405, b"no", "a/b", (("Allow", "GET"),))


def test_head_is_answered_like_get() -> None:
    """A response to HEAD that has a length has that of GET (RFC 9110, section 8.6): Flask would return no body."""
    app = Flask("head", static_folder=None)
    app.get("/a")(lambda: "text")
    call = WsgiCaller(app)
    assert call(Request("HEAD", "/a")) == call(Request("GET", "/a"))
    assert call(Request("HEAD", "/a")).body == b"text"


def test_result_of_application_is_closed() -> None:
    """PEP 3333 asks for it."""
    closed: list[None] = []

    class Result:
        def __iter__(self) -> Iterator[bytes]:
            yield b"x"

        def close(self) -> None:
            closed.append(None)

    def app(environ: Any, start: Any) -> Result:
        start("200 OK", [("Content-Type", "a/b")])
        return Result()

    assert WsgiCaller(app)(Request("GET", "/")).body == b"x"
    assert closed == [None]


def test_error_of_application_is_logged_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    """The client sees no detail of it."""

    def app(environ: Any, start: Any) -> list[bytes]:
        raise RuntimeError("detail")

    answer = WsgiCaller(app)(Request("GET", "/"))
    assert (answer.status, answer.body) == (500, b'{"error":"Internal Server Error"}')
    assert [record.getMessage() for record in caplog.records] == ["failed to serve a page"]

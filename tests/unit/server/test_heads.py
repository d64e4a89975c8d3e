"""Limits of a request head, and the headers that are kept."""

from __future__ import annotations

from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import LimitRequestHeaders

from webhook.server.heads import MAX_FIELD, MAX_FIELDS, MAX_HEAD, Parser

KIBIBYTE = "x" * 1020


def parse(*fields: str, rest: bytes = b"") -> Any:
    """Return the request whose head has these fields."""
    config = Config()
    for name, value in (("fields", MAX_FIELDS), ("field_size", MAX_FIELD)):
        config.set(f"limit_request_{name}", value)
    head = "\r\n".join(("POST / HTTP/1.1", "Host: x", *fields, "", "")).encode()
    return next(Parser(config, iter([head + rest]), ("127.0.0.1", 1)))


def test_total_size_of_header_fields_is_limited() -> None:
    """Fault C2: each within its limit, and all of them 130 KB."""
    assert parse(*(f"X-{n}: {KIBIBYTE}" for n in range(7)))
    with pytest.raises(LimitRequestHeaders):
        parse(*(f"X-{n}: {KIBIBYTE}" for n in range(9)))


def test_total_size_of_trailers_is_limited() -> None:
    """Fault C2: they follow the body, and gunicorn keeps them as well."""
    trailers = "\r\n".join(f"X-{n}: {KIBIBYTE}" for n in range(9)).encode()
    request = parse("Transfer-Encoding: chunked", rest=b"0\r\n" + trailers + b"\r\n\r\n")
    with pytest.raises(LimitRequestHeaders):
        request.body.read()


def test_unused_headers_and_trailers_are_dropped() -> None:
    """Fault C2: a review that waits for SWR keeps no token, and no trailer."""
    request = parse(
        "Authorization: Bearer secret",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked",
        rest=b"0\r\nX-Late: y\r\n\r\n",
    )
    request.body.read()
    names = [name for name, _ in (*request.headers, *request.trailers)]
    assert names == ["HOST", "CONTENT-TYPE", "TRANSFER-ENCODING"]


def test_header_with_service_account_token_is_accepted() -> None:
    """Prometheus sends one, and a proxy adds its own fields."""
    token = "x" * 3000
    assert parse(f"Authorization: Bearer {token}", *(f"X-{n}: {n}" for n in range(20)))
    assert MAX_HEAD >= 2 * MAX_FIELD


def test_forwarded_proto_header_is_ignored() -> None:
    """Not even from this machine, which gunicorn's default would allow."""
    assert parse("X-Forwarded-Proto: https").scheme == "http"

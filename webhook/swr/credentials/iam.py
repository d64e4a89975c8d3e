"""Calls to IAM and STS, and the formats of their tokens, keys and times."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from webhook.deadlines import Deadline
from webhook.errors import (
    Fault,
    MalformedAnswer,
    RegistryUnavailable,
    Throttled,
    TrustLookupError,
    Unauthorized,
)
from webhook.http_client.messages import HttpRequest, HttpResponse, Transport
from webhook.http_client.statuses import TOO_MANY_REQUESTS, read_retry_after
from webhook.swr.answers import read_codes
from webhook.swr.credentials.fetched import Fetched
from webhook.swr.credentials.secrets import KeyPair

LOGIN_REFUSED: Final = frozenset({400, 401, 403})
"""IAM and STS respond 400 or 403 if a user or an agency cannot log in in this way."""

SUCCESS: Final = frozenset({200, 201})


def post(
    transport: Transport,
    base_url: str,
    path: str,
    body: Mapping[str, Any],
    deadline: Deadline,
    headers: Mapping[str, str] | None = None,
    query: tuple[tuple[str, str], ...] = (),
) -> HttpResponse:
    """Post JSON to IAM and return a successful response.

    Raises:
        Unauthorized: the login was refused.
        TrustLookupError: IAM could not be called, or failed.
    """
    request = HttpRequest(
        "POST",
        base_url,
        path,
        query,
        {"Content-Type": "application/json;charset=utf-8", **(headers or {})},
        msgspec.json.encode(body),
    )
    response = transport.send(request, deadline)
    if response.status in SUCCESS:
        return response
    raise _failure(response)


def _failure(response: HttpResponse) -> TrustLookupError:
    codes = read_codes(response.body)
    detail = f"IAM answered {response.status}" + (f" {codes[0]}" if codes else "")
    if response.status in LOGIN_REFUSED:
        return Unauthorized(detail)
    if response.status == TOO_MANY_REQUESTS:
        return Throttled(detail, retry_after=read_retry_after(response), fault=Fault.REGISTRY)
    # The author of a Pod does not choose requests to IAM: any other response is an outage.
    return RegistryUnavailable(detail)


def read_subject_token(response: HttpResponse) -> str:
    """Return the token of a login.

    Raises:
        MalformedAnswer: there is none.
    """
    token = response.headers.get("x-subject-token", "")
    if not token.isascii() or not token.isprintable() or not token:
        raise MalformedAnswer("IAM answered a login without X-Subject-Token")
    return token


def read_temporary_keys(body: bytes) -> Fetched[KeyPair]:
    """Parse temporary keys, in the formats of IAM, STS and Pod Identity.

    Raises:
        MalformedAnswer: a part is missing.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise MalformedAnswer("temporary credentials came without JSON") from None
    if isinstance(value, dict):
        value = value.get("credential") or value.get("credentials") or value
    if not isinstance(value, dict):
        raise MalformedAnswer("temporary credentials came without an object")

    def pick(*names: str) -> str:
        for name in names:
            text = value.get(name)
            if isinstance(text, str) and text:
                return text
        raise MalformedAnswer(f"temporary credentials came without {names[0]}")

    pair = KeyPair(
        pick("access", "accessKeyId", "access_key_id"),
        pick("secret", "secretAccessKey", "secret_access_key"),
        pick("securitytoken", "securityToken", "security_token"),
    )
    return Fetched(pair, read_time(pick("expires_at", "expiration")))


def read_time(text: str) -> float:
    """Return a time of IAM (``2026-01-01T00:00:00.000000Z``, fraction optional) in epoch seconds.

    Raises:
        MalformedAnswer: it is not such a time.
    """
    try:
        parsed = dt.datetime.fromisoformat(text)
    except ValueError:
        raise MalformedAnswer("an expiry time cannot be read") from None
    return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=dt.UTC)).timestamp()

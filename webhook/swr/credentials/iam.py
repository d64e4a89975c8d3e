"""Talking to IAM and STS: one POST, its answer or its failure, and the formats of expiry times."""

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
from webhook.swr.answers import (
    TOO_MANY_REQUESTS,
    read_codes,
    read_retry_after,
)
from webhook.swr.credentials.fetched import Fetched
from webhook.swr.credentials.secrets import KeyPair
from webhook.swr.http import HttpRequest, HttpResponse, Transport

LOGIN_REFUSED: Final = frozenset({400, 401, 403})
"""400 and 403 count, too: so IAM and STS refuse a user or an agency that cannot log in this way."""

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
    """Post JSON to IAM; the answer is a success.

    Raises:
        Unauthorized: the login was refused.
        TrustLookupError: it could not be asked.
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
    said = f"IAM answered {response.status}" + (f" {codes[0]}" if codes else "")
    if response.status in LOGIN_REFUSED:
        return Unauthorized(said)
    if response.status == TOO_MANY_REQUESTS:
        return Throttled(said, retry_after=read_retry_after(response), fault=Fault.REGISTRY)
    # No author of a Pod chooses what IAM is asked: whatever else it says is an outage of ours.
    return RegistryUnavailable(said)


def read_subject_token(response: HttpResponse) -> str:
    """Return the token that a login gave.

    Raises:
        MalformedAnswer: there is none.
    """
    token = response.headers.get("x-subject-token", "")
    if not token.isascii() or not token.isprintable() or not token:
        raise MalformedAnswer("IAM answered a login without X-Subject-Token")
    return token


def read_temporary_keys(body: bytes) -> Fetched[KeyPair]:
    """Read temporary keys in any of the spellings that IAM, STS and Pod Identity use.

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
        MalformedAnswer: it is no such time.
    """
    try:
        parsed = dt.datetime.fromisoformat(text)
    except ValueError:
        raise MalformedAnswer("an expiry time cannot be read") from None
    return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=dt.UTC)).timestamp()

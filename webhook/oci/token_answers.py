"""Answers of a token service (Docker's token authentication, which OCI registries share)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from webhook.errors import Fault, RegistryUnavailable, TrustLookupError
from webhook.http_client.messages import HttpResponse
from webhook.http_client.statuses import OK
from webhook.oci.answers import TOKEN_SERVICE, read_failure

MAX_TOKEN_ANSWER: Final = 64 * 1024
"""Bytes of an answer; a token of SWR has some kilobytes."""

DEFAULT_SECONDS: Final = 60.0
"""The lifetime of a token whose answer does not name it, as the documents say."""

MAX_SECONDS: Final = 3600.0
"""Seconds for which a token is used at most. SWR's live for about 900."""

MAX_TOKEN: Final = 32 * 1024

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, b64token


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token and its lifetime in seconds."""

    text: str = field(repr=False)
    seconds: float


class _Answer(msgspec.Struct):
    token: Any = None
    access_token: Any = None
    expires_in: Any = None


_decoder: Final = msgspec.json.Decoder(_Answer)


def read_token(response: HttpResponse) -> IssuedToken:
    """Parse an answer; the caller handles refusals.

    Raises:
        RegistryUnavailable: it contains no token, or a lifetime that is not one. The fault is the image's
            until it is compared with control requests, because its author chose the repository.
        TrustLookupError: it is not 200.
    """
    if response.status != OK:
        raise read_failure(response, TOKEN_SERVICE)
    try:
        answer = _decoder.decode(response.body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise _unusable("without a JSON object") from None
    text = answer.token or answer.access_token
    if not isinstance(text, str) or len(text) > MAX_TOKEN or _TOKEN.fullmatch(text) is None:
        raise _unusable("without a token")
    return IssuedToken(text, _read_seconds(answer.expires_in))


def has_token(response: HttpResponse) -> bool:
    """Return whether an answer contains a token; a page with status 200 does not."""
    try:
        read_token(response)
    except TrustLookupError:
        return False
    return True


def _read_seconds(value: object) -> float:
    if value is None:
        return DEFAULT_SECONDS
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise _unusable("with an expires_in that is not a lifetime")
    return float(min(value, MAX_SECONDS))


def _unusable(why: str) -> RegistryUnavailable:
    return RegistryUnavailable(f"the token service answered 200 {why}", fault=Fault.IMAGE)

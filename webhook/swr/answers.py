"""Strict parsing of SWR's responses, from raw bytes.

The SDK's models are not used, because they turn ``"false"`` and ``1`` into ``True`` and accept an HTML
page. Sources: SWR API Reference, Querying an Image Tag, Listing Image Tags (v3) and
Error Codes; API Gateway, error codes of signed requests.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from webhook.errors import (
    Fault,
    Forbidden,
    MalformedAnswer,
    RegistryUnavailable,
    Throttled,
    TrustLookupError,
    Unauthorized,
)
from webhook.http_client.messages import HttpResponse
from webhook.http_client.statuses import (
    FORBIDDEN,
    NOT_FOUND,
    OK,
    REQUEST_TIMEOUT,
    SERVER_ERRORS,
    TOO_MANY_REQUESTS,
    UNAUTHORIZED,
    read_retry_after,
)
from webhook.images.reference import is_digest
from webhook.swr.clock import describe_skew, find_skew
from webhook.trust.records import TrustQuery, TrustRecord, TrustStatus

BLOCKED: Final = "Not allow to login, upload or download image"
"""Message of SWR for an account that is blocked for too many requests (OTC, SWR, FAQ 33)."""

BLOCKED_SECONDS: Final = 1800.0
"""Seconds for which SWR blocks such an account: "about 30 minutes" (the same FAQ)."""

_UNPUBLISHED: Final = frozenset({"APIGW.0101", "APIG.0101"})

_MAX_BLOCKED: Final = 4096
"""Maximum bytes of such a body, so that large responses are not parsed twice."""

THROTTLED_AS_403: Final = frozenset({"4031032", "4031042"})
CROSS_ACCOUNT: Final = "4011064"
NOT_AUTHENTICATED: Final = frozenset({"4010000", "4019000", "4001048", "4031043"})
WRONG_URL: Final = "4040083"
SIGNATURE_REFUSED: Final = frozenset({"APIGW.0301", "APIG.0301", "APIGW.0303", "APIG.0303"})
"""A wrong signature, or one older than 15 minutes; 0303 is the latter, or a wrong key of an app."""

_GATEWAY: Final = re.compile(r"APIGW?\.\d+")
_GATEWAY_THROTTLED: Final = frozenset({"APIGW.0308", "APIG.0308"})
_SWR_CODE: Final = re.compile(r"(?:SVCSTG|SWR)[A-Za-z0-9.]*\.(\d{7})")
_MAX_TEXT: Final = 64


class _Tag(msgspec.Struct):
    """The fields of a tag that are used; types are checked below."""

    tag: Any = None
    is_trusted: Any = None
    digest: Any = None
    path: Any = None
    created: Any = None
    updated: Any = None


class _Page(msgspec.Struct):
    tags: Any = msgspec.UNSET
    next_marker: Any = msgspec.field(default=None, name="nextMarker")
    has_more: Any = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class ListedTag:
    """One tag of a tag list."""

    tag: str
    digest: str | None
    trusted: bool


@dataclass(frozen=True, slots=True)
class TagPage:
    """One page of a tag list; ``marker`` is that of the next page, ``None`` on the last."""

    tags: tuple[ListedTag, ...]
    marker: str | None


_tag_decoder: Final = msgspec.json.Decoder(_Tag)
_page_decoder: Final = msgspec.json.Decoder(_Page)
_DECODE_ERRORS: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


def read_tag(response: HttpResponse, query: TrustQuery, now: float) -> TrustRecord:
    """Parse the response to a query about a tag; ``now`` is in epoch seconds.

    A tag is trusted only by a 200 with a JSON object about the same tag whose ``is_trusted`` is JSON
    ``true``. It is missing only by a 404 with an error code of SWR, because a gateway may respond 404, too.

    Raises:
        TrustLookupError: the response is neither.
    """
    if response.status == NOT_FOUND:
        return _read_missing(response, now)
    if response.status != OK:
        raise read_error(response)
    try:
        answer = _tag_decoder.decode(response.body)
    except _DECODE_ERRORS:
        raise MalformedAnswer("SWR answered 200 without a JSON object") from None
    if answer.tag != query.tag:
        raise MalformedAnswer("SWR's answer is about another tag")
    return _to_record(answer, query, now)


def read_listed_tag(
    response: HttpResponse, query: TrustQuery, now: float
) -> tuple[TrustRecord | None, str | None]:
    """Parse a page of a tag list (v3) for a tag, as strictly as ``read_tag``.

    Returns the record, or ``None`` if the page does not contain the tag, and the marker of the next page,
    ``None`` on the last one.

    Raises:
        TrustLookupError: the page is invalid, or contradicts itself about the tag.
    """
    if response.status == NOT_FOUND:
        return _read_missing(response, now), None
    items, marker = _read_items(response)
    records = {_to_record(item, query, now) for item in items if item.tag == query.tag}
    if len(records) > 1:
        raise MalformedAnswer("SWR lists the tag more than once, with different values")
    return next(iter(records), None), marker


def _to_record(answer: _Tag, query: TrustQuery, now: float) -> TrustRecord:
    image = f"{query.organization}/{query.repository}:{query.tag}"
    if isinstance(answer.path, str) and answer.path and answer.path.partition("/")[2] != image:
        raise MalformedAnswer("SWR's answer is about another image")
    return TrustRecord(
        TrustStatus.TRUSTED if answer.is_trusted is True else TrustStatus.UNTRUSTED,
        fetched_at=now,
        digest=_digest(answer.digest),
        created=_text(answer.created),
        updated=_text(answer.updated),
    )


def read_page(response: HttpResponse, now: float) -> TagPage | TrustRecord:
    """Parse one page of a tag list, or return the record of a missing repository.

    Raises:
        TrustLookupError: the page is invalid, or does not show whether it is the last.
    """
    if response.status == NOT_FOUND:
        return _read_missing(response, now)
    items, marker = _read_items(response)
    return TagPage(
        tuple(ListedTag(item.tag, _digest(item.digest), item.is_trusted is True) for item in items), marker
    )


def _read_items(response: HttpResponse) -> tuple[list[_Tag], str | None]:
    """Return the tags of a page and the marker of the next page."""
    if response.status != OK:
        raise read_error(response)
    try:
        page = _page_decoder.decode(response.body)
        items = msgspec.convert(page.tags, list[_Tag]) if page.tags is not None else []
    except _DECODE_ERRORS:
        raise MalformedAnswer("SWR answered 200 without a list of tags") from None
    if not all(isinstance(item.tag, str) for item in items):
        raise MalformedAnswer("SWR listed a tag without a name")
    return items, _next_marker(page)


def _next_marker(page: _Page) -> str | None:
    marker = page.next_marker
    if page.has_more is False or (page.has_more is msgspec.UNSET and marker in (None, "")):
        return None
    if isinstance(marker, str) and marker and page.has_more in (True, msgspec.UNSET):
        return marker
    raise MalformedAnswer("SWR's list of tags has no valid marker of the next page")


def read_error(response: HttpResponse) -> TrustLookupError:
    """Return the error of a response that is not a 200, not SWR's 404, and not one of ``read_block``."""
    status = response.status
    codes = read_codes(response.body)
    numbers = _numbers(codes)
    detail = f"SWR answered {status}" + (f" {codes[0]}" if codes else "")
    if (
        status == TOO_MANY_REQUESTS
        or not _GATEWAY_THROTTLED.isdisjoint(codes)
        or (status == FORBIDDEN and not THROTTLED_AS_403.isdisjoint(numbers))
    ):
        return Throttled(detail, retry_after=read_retry_after(response), fault=Fault.REGISTRY)
    if CROSS_ACCOUNT in numbers:
        return Forbidden(f"{detail}: another account's image")
    if status == UNAUTHORIZED or not NOT_AUTHENTICATED.isdisjoint(numbers):
        return Unauthorized(detail + _hint_at_clock(response, codes))
    if status == FORBIDDEN:
        return Forbidden(detail)
    if status in SERVER_ERRORS or status == REQUEST_TIMEOUT:
        return RegistryUnavailable(detail, retry_after=read_retry_after(response))
    return MalformedAnswer(detail)


def _hint_at_clock(response: HttpResponse, codes: list[str]) -> str:
    if SIGNATURE_REFUSED.isdisjoint(codes):
        return ""
    skew = find_skew(_read_messages(response.body), response.headers.get("date"), time.time())
    if skew is not None:
        return f": {describe_skew(skew)}"
    return ": is this machine's clock right?" if any(code.endswith("0303") for code in codes) else ""


def read_block(response: HttpResponse) -> Throttled | None:
    """Return the error if a response of any status says that the account is blocked, otherwise ``None``.

    The text must be a complete message of an error body, or the complete body. A response may quote the
    request, which the author of a Pod chose.
    """
    if len(response.body) > _MAX_BLOCKED or not any(map(_is_block, _read_messages(response.body))):
        return None
    return Throttled(
        f"SWR answered {response.status}: the account is blocked for too many requests",
        fault=Fault.REGISTRY,
        retry_after=BLOCKED_SECONDS,
        blocks_account=True,
    )


def _is_block(message: str) -> bool:
    return message.strip().removeprefix("denied: ").rstrip(".") == BLOCKED


def is_failure(response: HttpResponse) -> bool:
    """Return whether a response means that the service behind the endpoint fails or is missing."""
    if response.status != NOT_FOUND:
        return response.status in SERVER_ERRORS or response.status == REQUEST_TIMEOUT
    codes = read_codes(response.body)
    return any(_GATEWAY.fullmatch(code) for code in codes) or WRONG_URL in _numbers(codes)


def is_unauthorized(response: HttpResponse) -> bool:
    """Return whether a response refuses the credential, in general or for this request."""
    return response.status not in (OK, NOT_FOUND) and isinstance(read_error(response), Unauthorized)


def is_unpublished(response: HttpResponse) -> bool:
    """Return whether the gateway does not publish the API (API Gateway, error codes)."""
    return response.status == NOT_FOUND and not _UNPUBLISHED.isdisjoint(read_codes(response.body))


def shows_acceptance(response: HttpResponse) -> bool:
    """Return whether a response shows that the credential was accepted.

    Throttling or a 404 of the gateway, a redirect, a server error and a blocked account do not show it.
    """
    if response.status in SERVER_ERRORS or is_unauthorized(response) or read_block(response) is not None:
        return False
    if response.status in (OK, NOT_FOUND):
        return not is_unpublished(response)
    return isinstance(read_error(response), Forbidden)


def names_credential(response: HttpResponse) -> bool:
    """Return whether a 401 is about the credential, and not about the organization.

    The gateway does not know organizations; some codes of SWR are about authentication.
    """
    codes = read_codes(response.body)
    return any(_GATEWAY.fullmatch(code) for code in codes) or not NOT_AUTHENTICATED.isdisjoint(
        _numbers(codes)
    )


def _read_missing(response: HttpResponse, now: float) -> TrustRecord:
    codes = read_codes(response.body)
    if any(_GATEWAY.fullmatch(code) for code in codes):
        raise RegistryUnavailable(f"the API gateway answered 404 {codes[0]}: is the endpoint right?")
    numbers = _numbers(codes)
    if WRONG_URL in numbers:
        raise RegistryUnavailable(f"SWR answered 404 {codes[0]}: is the endpoint right?")
    if not numbers:
        # The origin of this 404 is not known. It is not "unavailable": the author of a Pod could choose an
        # image that causes it, and onLookupFailure must not admit it.
        raise MalformedAnswer("a 404 without an error code of SWR")
    return TrustRecord(TrustStatus.MISSING, fetched_at=now)


def read_codes(body: bytes) -> list[str]:
    """Return the error codes of an error body, in any of the three documented forms.

    They are an object with ``errors`` and ``error_code``, an array of errors, and the gateway's object with
    ``error_code``. Any other body has no codes.
    """
    codes = []
    for entry in _read_errors(body):
        code = entry.get("errorCode") or entry.get("error_code")
        if isinstance(code, str) and code.isprintable():
            codes.append(code[:_MAX_TEXT])
    return codes


def _read_messages(body: bytes) -> list[str]:
    """Return the messages of an error body, also in the registry's form; a plain-text body is one."""
    errors = _read_errors(body)
    if not errors:
        return [body.decode("utf-8", "replace")]
    keys = ("errorMessage", "error_msg", "message", "detail")
    return [text for error in errors for key in keys if isinstance(text := error.get(key), str)]


def _read_errors(body: bytes) -> list[dict[str, Any]]:
    """Return the first errors of a body, in any of the forms of ``read_codes``."""
    try:
        value = msgspec.json.decode(body)
    except _DECODE_ERRORS:
        return []
    entries: list[Any] = value if isinstance(value, list) else [value]
    if isinstance(value, dict) and isinstance(value.get("errors"), list):
        entries = [*value["errors"], value]
    return [entry for entry in entries[:16] if isinstance(entry, dict)]


def _numbers(codes: list[str]) -> set[str]:
    return {match[1] for code in codes if (match := _SWR_CODE.fullmatch(code)) is not None}


def _digest(value: object) -> str | None:
    return value if isinstance(value, str) and is_digest(value) else None


def _text(value: object) -> str | None:
    return value[:_MAX_TEXT] if isinstance(value, str) and value.isprintable() else None

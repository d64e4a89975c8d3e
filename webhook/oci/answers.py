"""Answers of a registry and of its token service: errors, digests and media types.

Source: OCI distribution, error codes; its bodies are ``{"errors": [{"code", "message", "detail"}]}``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from typing import Final

import msgspec

from webhook.errors import (
    Fault,
    Forbidden,
    RegistryUnavailable,
    Throttled,
    TrustLookupError,
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
from webhook.swr.answers import read_block
from webhook.swr.answers import read_codes as read_swr_codes

REGISTRY: Final = "the registry"
TOKEN_SERVICE: Final = "the token service"  # noqa: S105 - the name in messages

FAILURE: Final = "failure"
"""The oddity of a broken connection, a 5xx or a 408."""

MALFORMED: Final = "malformed"
"""The oddity of an answer that is compressed, or larger than any that was requested."""

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

_TOO_MANY: Final = "TOOMANYREQUESTS"
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,63}")
_GATEWAY: Final = re.compile(r"APIGW?\.\d+")
_MEDIA_TYPE: Final = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,62}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}"
)  # RFC 6838
_MAX_ERRORS: Final = 16
_MAX_BODY: Final = 64 * 1024
"""Bytes of an error body that are parsed."""


def is_failure(response: HttpResponse) -> bool:
    """Return whether a response means that the service fails."""
    return response.status in SERVER_ERRORS or response.status == REQUEST_TIMEOUT


def is_refusal(response: HttpResponse) -> bool:
    """Return whether a response refuses the caller: 401 or 403, but not a throttle."""
    return response.status in (UNAUTHORIZED, FORBIDDEN) and not _is_throttle(response)


def is_of_registry(response: HttpResponse) -> bool:
    """Return whether a registry that works may answer so when a manifest is requested.

    It is a manifest, an error with a code of a registry, or a throttle. Redirects, pages and the errors of
    gateways and firewalls are not.
    """
    if response.status == OK:
        return is_json(read_media_type(response))
    if is_failure(response) or response.status in REDIRECTS:
        return False
    if _is_throttle(response) or (response.status == UNAUTHORIZED and "www-authenticate" in response.headers):
        return True
    return _has_registry_code(response)


def find_oddity(response: HttpResponse) -> str:
    """Return in which sense a response is none of a registry that works, empty if it may be one.

    Errors of the service are of one kind. Others are compared only with their like: a registry may answer
    oddly about what does not exist, and an author may know an image about which it answers oddly otherwise.
    """
    if is_of_registry(response):
        return ""
    return FAILURE if is_failure(response) else str(response.status)


def find_manifest_failure(response: HttpResponse) -> TrustLookupError | None:
    """Return the error of a response that no registry that works gives to a request of a manifest.

    A refusal is handled apart, because another token may be accepted.
    """
    if is_refusal(response) or is_of_registry(response):
        return None
    if response.status != OK:
        return read_failure(response)
    detail = f"the registry answered 200 with {read_media_type(response) or 'no media type'} to a manifest"
    return RegistryUnavailable(detail, fault=Fault.IMAGE)


def find_failure(response: HttpResponse, expected: Collection[int]) -> TrustLookupError | None:
    """Return the error of a response that no registry that works gives; ``expected`` are usual statuses."""
    return None if response.status in expected else find_manifest_failure(response)


def is_page(response: HttpResponse) -> bool:
    """Return whether a response is for people, such as one about maintenance."""
    return "www-authenticate" not in response.headers and read_media_type(response) == "text/html"


def find_block(response: HttpResponse) -> Throttled | None:
    """Return the error if SWR says that the account is blocked, otherwise ``None``.

    A successful response is content that somebody has pushed, which may be the same text.
    """
    return None if response.status == OK else read_block(response)


def read_failure(response: HttpResponse, who: str = REGISTRY) -> TrustLookupError:
    """Return the error of a response that is not the expected one; ``who`` has sent it.

    Answers that no registry should give are the image's fault until they are compared with control requests,
    because an author could choose an image for which a gateway answers so. They are not ``MalformedAnswer``,
    which is about content that was pushed.
    """
    codes = read_codes(response.body)
    detail = f"{who} answered {response.status}" + (f" {codes[0]}" if codes else "")
    retry_after = read_retry_after(response)
    if _is_throttle(response):
        return Throttled(detail, retry_after=retry_after, fault=Fault.REGISTRY)
    if response.status in (UNAUTHORIZED, FORBIDDEN):
        return Forbidden(detail)
    if is_failure(response):
        return RegistryUnavailable(detail, retry_after=retry_after)
    if response.status in REDIRECTS:
        detail += ", a redirect that is not followed"
    elif response.status == NOT_FOUND and not codes:
        detail += " without an error code of a registry"
    return RegistryUnavailable(detail, fault=Fault.IMAGE)


def is_missing(response: HttpResponse) -> bool:
    """Return whether the registry says that it does not have what was requested.

    A 404 without an error code of a registry may be that of a gateway or a portal.
    """
    return response.status == NOT_FOUND and _has_registry_code(response)


def _has_registry_code(response: HttpResponse) -> bool:
    codes = read_codes(response.body)
    return bool(codes) and not any(_GATEWAY.fullmatch(code) for code in codes)


def read_codes(body: bytes) -> list[str]:
    """Return the error codes of a body, in the form of OCI distribution or of SWR; others have none."""
    if len(body) > _MAX_BODY:
        return []
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []
    errors = value.get("errors") if isinstance(value, dict) else None
    entries = errors[:_MAX_ERRORS] if isinstance(errors, list) else []
    found = [error.get("code") for error in entries if isinstance(error, dict)]
    codes = [code for code in found if isinstance(code, str) and _CODE.fullmatch(code) is not None]
    return codes or [code for code in read_swr_codes(body) if _CODE.fullmatch(code) is not None]


def _is_throttle(response: HttpResponse) -> bool:
    if response.status == TOO_MANY_REQUESTS:
        return True
    return response.status in (UNAUTHORIZED, FORBIDDEN) and _TOO_MANY in read_codes(response.body)


def read_media_type(response: HttpResponse) -> str:
    """Return the media type of a response in lower case, without parameters, empty if it is not one."""
    text = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return text if _MEDIA_TYPE.fullmatch(text) is not None else ""


def is_json(media_type: str) -> bool:
    """Return whether a media type is JSON, as that of every manifest."""
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith(("+json", "+prettyjws"))
    )


def read_digest(response: HttpResponse) -> str | None:
    """Return ``Docker-Content-Digest`` if it is a SHA-256 digest."""
    text = response.headers.get("docker-content-digest", "").strip()
    return text if is_digest(text) else None


def compute_digest(content: bytes) -> str:
    """Return the SHA-256 digest of bytes, as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"

"""Verification of SDK-HMAC-SHA256 signatures, written from the published algorithm and not from the SDK.

Source: API Request Signing Guide, "AK/SK Signing and Authentication Algorithm".
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote

MAX_SKEW = 15 * 60
_AUTHORIZATION = re.compile(
    r"SDK-HMAC-SHA256 Access=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)


def access_key_of(headers: Mapping[str, str]) -> str | None:
    """Return the access key of a request; header names are lower case."""
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    return match[1] if match is not None else None


def verify(
    method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, secret_key: str, now: float
) -> str | None:
    """Return ``None`` for a valid signature, otherwise the reason why it is invalid."""
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if match is None:
        return "no signature"
    signed = match[2].split(";")
    if "host" not in signed or "x-sdk-date" not in signed:
        return "host and x-sdk-date must be signed"
    if signed != sorted(signed) or any(name not in headers for name in signed):
        return "the signed headers are not those of the request"
    date = headers["x-sdk-date"]
    try:
        moment = dt.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    except ValueError:
        return "no x-sdk-date"
    if abs(moment.timestamp() - now) > MAX_SKEW:
        theirs = dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
        problem = f"calc aksk signature fail:signature expired, signature time:{date},server time:{theirs}"
        return f"Incorrect IAM authentication information: {problem}"
    uri = "/".join(quote(unquote(part), safe="~") for part in path.split("/"))
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    canonical = "\n".join(
        [
            method,
            uri if uri.endswith("/") else uri + "/",
            "&".join(f"{quote(key, safe='~')}={quote(value, safe='~')}" for key, value in pairs),
            "".join(f"{name}:{headers[name].strip()}\n" for name in signed),
            ";".join(signed),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    text = f"SDK-HMAC-SHA256\n{date}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    expected = hmac.new(secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()
    return None if hmac.compare_digest(expected, match[3]) else "the signature does not match"

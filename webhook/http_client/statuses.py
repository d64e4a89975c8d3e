"""The statuses of responses that decide about a lookup (RFC 9110), and the pause that a response requests."""

from __future__ import annotations

import email.utils
import time
from typing import Final

from webhook.http_client.messages import HttpResponse

OK: Final = 200
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
REQUEST_TIMEOUT: Final = 408
TOO_MANY_REQUESTS: Final = 429
SERVER_ERRORS: Final = range(500, 600)

MAX_RETRY_AFTER: Final = 60.0
"""Maximum seconds of a ``Retry-After``."""


def read_retry_after(response: HttpResponse) -> float | None:
    """Return ``Retry-After`` in seconds (RFC 9110, 10.2.3), limited, ``None`` if there is none."""
    value = response.headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        seconds = float(value[:9])
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)

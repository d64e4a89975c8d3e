"""The pause that a response requests."""

from __future__ import annotations

import pytest

from tests.support.responses import respond
from webhook.http_client.statuses import MAX_RETRY_AFTER, TOO_MANY_REQUESTS, read_retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        ("0", 0.0),
        ("86400", MAX_RETRY_AFTER),
        ("x", None),
        ("", None),
        ("-1", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_and_bounded(value: str, seconds: float | None) -> None:
    """Seconds or a date (RFC 9110), at most a minute."""
    assert read_retry_after(respond(TOO_MANY_REQUESTS, retry_after=value)) == seconds

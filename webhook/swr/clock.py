"""Skew of this machine's clock, as shown by a response of SWR.

A signature is valid for 15 minutes around its time (API Request Signing Guide). The gateway refuses an older
one with 401 and a message such as ``Incorrect IAM authentication information: calc aksk signature
fail:signature expired, signature time:20211217T064303Z,server time:20211217T065804Z``. Source:
huaweicloud-sdk-java-v3, issue 44; APIG.0303 has the same times in the API Gateway FAQ.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import re
from collections.abc import Iterable
from typing import Final

MAX_SKEW: Final = 900.0
"""Seconds by which the time of a signature may differ."""

_TIMES: Final = re.compile(
    r"signature time:\s*([0-9]{8}T[0-9]{6}Z)\s*[,;.]?\s*server time:\s*([0-9]{8}T[0-9]{6}Z)", re.IGNORECASE
)


def find_skew(messages: Iterable[str], date: str | None, now: float) -> float | None:
    """Return by how many seconds this machine's clock is ahead of SWR's, ``None`` if that is not known.

    It is computed from the two times in a message. Without them the ``Date`` header is used, but only if
    the signature cannot be valid at that time. ``now`` is the time of the response in epoch seconds.
    """
    for message in messages:
        match = _TIMES.search(message)
        if match is not None:
            signed, theirs = _read_time(match[1]), _read_time(match[2])
            if signed is not None and theirs is not None:
                return signed - theirs
    try:
        skew = now - email.utils.parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        return None
    return skew if abs(skew) > MAX_SKEW else None


def describe_skew(skew: float) -> str:
    """Describe the skew in a clause."""
    return f"this machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} SWR's"


def _read_time(text: str) -> float | None:
    try:
        return dt.datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC).timestamp()
    except (ValueError, OverflowError):
        return None

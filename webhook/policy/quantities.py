"""Parsing of durations and expiry dates in the configuration file."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

DURATION_PATTERN: Final = (
    r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6}(?:\.[0-9]{1,3})?)s)?"
)
"""Pattern of a duration: whole days, hours and minutes, then seconds, each at most once, in this order."""

_DURATION: Final = re.compile(DURATION_PATTERN)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_UNITS: Final = (("d", 86400), ("h", 3600), ("m", 60))


def parse_duration(value: object) -> float:
    """Return a duration such as ``1h30m`` in seconds.

    Raises:
        ValueError: it does not match ``DURATION_PATTERN``.
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise ValueError("write a duration with its unit, such as 30s, 10m, 12h or 1h30m")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


def format_duration(seconds: float) -> str:
    """Return a number of seconds as a duration of the file; the inverse of ``parse_duration``."""
    text = ""
    for unit, length in _UNITS:
        count, seconds = divmod(seconds, length)
        if count:
            text += f"{count:.0f}{unit}"
    return f"{text}{seconds:g}s" if seconds or not text else text


def parse_expiry(value: object) -> dt.datetime:
    """Return the time of an expiry in UTC: the end of a date, or an RFC 3339 time.

    The result is exclusive: a date is valid until the midnight after it.

    Raises:
        ValueError: it is not such a date or time, has no offset, or does not exist in the calendar.
    """
    text = value if isinstance(value, str) else ""
    try:
        if _DATE.fullmatch(text) is not None:
            return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC) + dt.timedelta(days=1)
        if _TIME.fullmatch(text) is not None:
            return dt.datetime.fromisoformat(text.upper()).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text} is not an existing date or time") from None
    raise ValueError(
        "write a date such as 2027-06-30, or a time with its offset such as 2027-06-30T18:00:00+08:00"
    )

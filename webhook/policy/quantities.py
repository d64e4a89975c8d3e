"""Durations and expiry dates as they are written in the configuration file."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

_DURATION: Final = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6}(?:\.\d{1,3})?)s)?")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


def parse_duration(value: object) -> float:
    """Return a duration such as ``1h30m`` in seconds.

    Raises:
        ValueError: it is not written that way.
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise ValueError("write a duration with its unit, such as 30s, 10m, 12h or 1h30m")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


def parse_expiry(value: object) -> float:
    """Return the instant of a date (its end in UTC) or an RFC 3339 time, in epoch seconds.

    Raises:
        ValueError: it is neither, or a time without an offset.
    """
    message = "write a date such as 2027-06-30, or a time with its offset such as 2027-06-30T18:00:00+08:00"
    if not isinstance(value, str):
        raise ValueError(message)  # noqa: TRY004 - pydantic turns ValueError into a problem
    try:
        if _DATE.fullmatch(value):
            day = dt.datetime.fromisoformat(value).replace(tzinfo=dt.UTC)
            return (day + dt.timedelta(days=1)).timestamp()
        parsed = dt.datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        raise ValueError(message) from None
    if parsed.tzinfo is None:
        raise ValueError(message)
    return parsed.timestamp()

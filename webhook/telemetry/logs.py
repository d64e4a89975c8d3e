"""Logs: one JSON object a line for machines, a short line for people on a terminal.

``LTS`` and most collectors cut multi-line records apart, so a traceback travels inside its line.
"""

from __future__ import annotations

import datetime as dt
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Literal, TextIO

import msgspec

_encoder: Final = msgspec.json.Encoder()
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}

SUMMARY_INTERVAL: Final = 10.0
"""Seconds in which the same warning is counted instead of repeated."""

MAX_REMEMBERED: Final = 256
"""Different warnings that are told apart at a time."""

Format = Literal["json", "text"]


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message`` and the record's extras."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, Any] = {
            "time": format_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **extras_of(record),
        }
        if record.exc_info is not None and record.exc_info[0] is not None:
            line["error"] = self.formatException(record.exc_info)
        return encode_line(line)


class TextFormatter(logging.Formatter):
    """``12:00:00 level message key=value``, for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text; a traceback follows on lines of its own."""
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        extras = "".join(f" {key}={value}" for key, value in extras_of(record).items())
        text = f"{moment} {record.levelname.lower():7} {record.getMessage()}{extras}"
        if record.exc_info is not None and record.exc_info[0] is not None:
            text += "\n" + self.formatException(record.exc_info)
        return text


class RepeatFilter(logging.Filter):
    """Lets a warning through once per interval; the next one says how often it was held back."""

    def __init__(
        self, interval: float = SUMMARY_INTERVAL, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Measure by ``clock`` in monotonic seconds."""
        super().__init__()
        self._interval = interval
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record."""
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, record.levelno, str(record.msg))
        now = self._clock()
        with self._lock:
            last, held = self._seen.get(key, (float("-inf"), 0))
            if now - last < self._interval:
                self._seen[key] = (last, held + 1)
                return False
            if key not in self._seen and len(self._seen) >= MAX_REMEMBERED:
                self._seen.pop(next(iter(self._seen)))
            self._seen[key] = (now, 0)
        if held:
            record.repeated = held
        return True


def configure_logging(style: Format | None, level: str, stream: TextIO | None = None) -> None:
    """Send everything to ``stream`` (standard output), as JSON unless it is a terminal."""
    target = stream if stream is not None else sys.stdout
    chosen = style if style is not None else ("text" if target.isatty() else "json")
    handler = logging.StreamHandler(target)
    handler.setFormatter(JsonFormatter() if chosen == "json" else TextFormatter())
    handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of each broken connection; we count them


def extras_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what was passed as ``extra``."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def encode_line(line: dict[str, Any]) -> str:
    """Return a JSON object; what JSON does not know is written as its text."""
    try:
        return _encoder.encode(line).decode()
    except (TypeError, ValueError):
        return _encoder.encode({key: str(value) for key, value in line.items()}).decode("utf-8", "replace")


def format_time(moment: float) -> str:
    """Return epoch seconds as RFC 3339 in UTC, in milliseconds."""
    text = dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")

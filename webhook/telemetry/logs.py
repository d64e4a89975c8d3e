"""Logs: one JSON object per line, or a short text line on a terminal.

Collectors split records of several lines, so a traceback is part of its line. Nothing is redacted here:
secrets must not be logged.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, Protocol

import msgspec
from cachetools import FIFOCache

SUMMARY_INTERVAL: Final = 10.0
"""Seconds in which equal warnings are counted instead of written."""

MAX_REMEMBERED: Final = 256
"""Different warnings that are tracked."""

MAX_TEXT: Final = 8192
"""Characters of a traceback, from its end, which names the error."""

Format = Literal["json", "text"]

Fields = Mapping[str, Any] | msgspec.Struct
"""The fields of a line by their names. A struct has at least one, and only values of JSON's types."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
_LEVEL_NAMES: Final = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}
_BARE: Final = re.compile(r"[^\s\"'=]+")
"""A value that needs no quotes, because it is unambiguous."""

_encoder: Final = msgspec.json.Encoder()


class Stream(Protocol):
    """Output of lines: standard output, or a writer in front of it."""

    def write(self, text: str, /) -> object:
        """Write text that ends with a newline."""
        ...  # pragma: no cover

    def flush(self) -> object:
        """Flush the text."""
        ...  # pragma: no cover

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        ...  # pragma: no cover


class LineLog:
    """Writes lines of one format at or above one level to one stream.

    ``stream`` may be replaced while lines are written. The loggers of the standard library write here, too.
    The log of decisions writes here directly, because a ``LogRecord`` costs more than the rest of the line.
    """

    def __init__(self, stream: Stream, style: Format, level: int) -> None:
        """Write to ``stream``; ``level`` is one of ``logging``'s."""
        self.stream = stream
        self.level = level
        self._render = _render_json if style == "json" else _render_text

    def write(
        self, level: int, logger: str, message: str, fields: Fields, created: float | None = None
    ) -> None:
        """Write a line, if its level is high enough; ``created`` is in epoch seconds, by default now."""
        if level < self.level:
            return
        stamp = time.time() if created is None else created
        line = self._render(stamp, _LEVEL_NAMES.get(level, "info"), logger, message, fields)
        self.stream.write(line + "\n")
        self.stream.flush()


class LineHandler(logging.Handler):
    """Writes records of the standard library's loggers to a ``LineLog``."""

    def __init__(self, lines: LineLog) -> None:
        """Write through ``lines``."""
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            fields = extras_of(record)
            if record.exc_info is not None and record.exc_info[0] is not None:
                trace = logging.Formatter().formatException(record.exc_info)
                fields["error"] = trace[-MAX_TEXT:]
            self._lines.write(record.levelno, record.name, record.getMessage(), fields, record.created)
        except Exception:  # noqa: BLE001 - as in every handler, an error of the log must not reach the caller
            self.handleError(record)


@dataclass(slots=True)
class _Repeated:
    last: float
    level: int
    logger: str
    message: str
    """The last message, with its arguments."""

    held: int = 0


class RepeatFilter(logging.Filter):
    """Passes a warning once per interval and counts its repetitions.

    Their number is written with the next warning that passes, or by ``summarize``. Warnings are equal if
    logger, level and message are, without their arguments.
    """

    def __init__(
        self, interval: float = SUMMARY_INTERVAL, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Measure by ``clock`` in monotonic seconds."""
        super().__init__()
        self._interval = interval
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: FIFOCache[tuple[str, int, str], _Repeated] = FIFOCache(MAX_REMEMBERED)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record."""
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, record.levelno, str(record.msg))
        now = self._clock()
        with self._lock:
            entry = self._seen.get(key)
            if entry is not None and now - entry.last < self._interval:
                entry.held += 1
                entry.message = _format(record)
                return False
            if entry is not None and entry.held:
                record.repeated = entry.held
            self._seen[key] = _Repeated(now, record.levelno, record.name, "")
        return True

    def summarize(self, lines: LineLog) -> None:
        """Write the number of repetitions of warnings whose interval has ended.

        The message is that of the last repetition.
        """
        now = self._clock()
        with self._lock:
            over = [key for key, entry in self._seen.items() if now - entry.last >= self._interval]
            ended = [self._seen.pop(key) for key in over]
        for entry in ended:
            if entry.held:
                lines.write(entry.level, entry.logger, entry.message, {"repeated": entry.held})


class Logging:
    """The configured logs of a process."""

    def __init__(self, lines: LineLog, repeats: RepeatFilter) -> None:
        """Use ``lines`` for output and ``repeats`` for summaries."""
        self.lines = lines
        self._repeats = repeats

    def run(self, stop: threading.Event) -> None:
        """Write summaries of repeated warnings until ``stop`` is set."""
        while not stop.wait(SUMMARY_INTERVAL):
            self.summarize()

    def summarize(self) -> None:
        """Write summaries that are due; call it periodically."""
        self._repeats.summarize(self.lines)


def configure_logging(style: Format | None, level: str, stream: Stream | None = None) -> Logging:
    """Write all logs to ``stream``, by default standard output; as JSON, unless it is a terminal."""
    target = stream if stream is not None else sys.stdout
    chosen: Format = style if style is not None else ("text" if target.isatty() else "json")
    lines = LineLog(target, chosen, logging.getLevelNamesMapping()[level.upper()])
    repeats = RepeatFilter()
    handler = LineHandler(lines)
    handler.addFilter(repeats)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # It warns of each broken connection, which metrics count.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return Logging(lines, repeats)


def extras_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that were passed as ``extra``."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _format(record: logging.LogRecord) -> str:
    """Return the message with its arguments, or without them if they do not fit."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - as above
        return str(record.msg)


def _render_json(created: float, level: str, logger: str, message: str, fields: Fields) -> str:
    moment = format_time(created)
    try:
        if isinstance(fields, msgspec.Struct):
            rest = _encoder.encode(fields).decode()[1:]
            return f'{{"ts":"{moment}",{_heading(level, logger, message)},{rest}'
        line = {"ts": moment, "level": level, "logger": logger, "message": message, **fields}
        return _encoder.encode(line).decode()
    except (TypeError, ValueError):  # other types are written as text
        line = {"ts": moment, "level": level, "logger": logger, "message": message, **_mapping_of(fields)}
        plain = {key: str(value).encode("utf-8", "replace").decode() for key, value in line.items()}
        return _encoder.encode(plain).decode()


@lru_cache(maxsize=8)
def _heading(level: str, logger: str, message: str) -> str:
    """Return the fields that all lines of a decision share, as JSON without braces."""
    heading = {"level": level, "logger": logger, "message": message}
    return _encoder.encode(heading).decode()[1:-1]


def _render_text(created: float, level: str, logger: str, message: str, fields: Fields) -> str:
    del logger
    fields = _mapping_of(fields)
    moment = time.strftime("%H:%M:%S", time.localtime(created))
    trace = fields.get("error")
    pairs = "".join(f" {key}={_show(value)}" for key, value in fields.items() if key != "error")
    lines = [f"{moment} {level:7} {message}{pairs}"]
    if trace is not None:
        lines += str(trace).splitlines()
    return "\n".join(map(_clean, lines))


def _mapping_of(fields: Fields) -> Mapping[str, Any]:
    if isinstance(fields, msgspec.Struct):
        values: dict[str, Any] = msgspec.to_builtins(fields)
        return values
    return fields


def _show(value: object) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    try:
        return _encoder.encode(value).decode()
    except (TypeError, ValueError):
        return str(value)


def _clean(text: str) -> str:
    """Escape unprintable characters, so that names cannot move the cursor or forge a line."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def format_time(moment: float) -> str:
    """Return epoch seconds as RFC 3339 in UTC, in milliseconds."""
    second, milliseconds = divmod(round(moment * 1e6) // 1000, 1000)
    return f"{_format_second(second)}.{milliseconds:03d}Z"


@lru_cache(maxsize=1)
def _format_second(moment: int) -> str:
    """Return the time without the fraction; it is the same for hundreds of lines."""
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")

"""Log lines: formats, suppressed repeats, and text that cannot forge a line."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fakes import FakeClock
from webhook.telemetry.logs import (
    MAX_REMEMBERED,
    MAX_TEXT,
    Format,
    LineHandler,
    LineLog,
    RepeatFilter,
    configure_logging,
    format_time,
)

MOMENT = 1_800_000_000.125


def written(style: Format, message: str, level: int = logging.INFO, **fields: Any) -> str:
    """Return the line of a message."""
    stream = io.StringIO()
    LineLog(stream, style, logging.DEBUG).write(level, "webhook.x", message, fields, MOMENT)
    return stream.getvalue()


def record(
    message: str, level: int = logging.WARNING, name: str = "webhook.x", *args: object
) -> logging.LogRecord:
    """Return a record."""
    return logging.LogRecord(name, level, "file", 1, message, args, None)


def test_json_line_has_fields_in_order() -> None:
    """Time, level, logger and message, then the fields in their order."""
    assert written("json", "serving", port=8443, registries=["a"]) == (
        '{"ts":"2027-01-15T08:00:00.125Z","level":"info","logger":"webhook.x","message":"serving",'
        '"port":8443,"registries":["a"]}\n'
    )


class Listening(msgspec.Struct, omit_defaults=True):
    """The fields of a line as a struct."""

    port: int
    registries: list[str]
    version: str = ""


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize("more", [{}, {"version": "1"}, {"version": "\ud800"}])
def test_struct_is_written_like_mapping(style: Format, more: dict[str, Any]) -> None:
    """Also if a text cannot be encoded."""
    lines = []
    for fields in ({"port": 8443, "registries": ["a"], **more}, Listening(8443, ["a"], **more)):
        stream = io.StringIO()
        LineLog(stream, style, logging.DEBUG).write(logging.INFO, "webhook.x", "serving", fields, MOMENT)
        lines.append(stream.getvalue())
    assert lines[0] == lines[1]


def test_text_line_is_short_and_in_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a person at a terminal."""
    monkeypatch.setattr("webhook.telemetry.logs.time.localtime", __import__("time").gmtime)
    assert written("text", "serving", port=8443, registries=["a"]) == (
        '08:00:00 info    serving port=8443 registries=["a"]\n'
    )


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (logging.DEBUG, "debug"),
        (logging.WARNING, "warning"),
        (logging.ERROR, "error"),
        (logging.CRITICAL, "critical"),
        (25, "info"),
    ],
)
def test_json_level_is_lowercase_name(level: int, expected: str) -> None:
    """Collectors know these names; an unknown level becomes info."""
    assert json.loads(written("json", "x", level))["level"] == expected


def test_line_below_level_is_not_written() -> None:
    """Its fields are not evaluated either."""
    stream = io.StringIO()
    lines = LineLog(stream, "json", logging.WARNING)
    lines.write(logging.INFO, "x", "x", {"never": object()})
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("sha256:ab/c.d", "sha256:ab/c.d"),
        ("two words", '"two words"'),
        ("", '""'),
        ("allow decision=deny", '"allow decision=deny"'),
        ("a=b", '"a=b"'),
        ('x" decision="deny', r'"x\" decision=\"deny"'),
        ("a\nb", r'"a\nb"'),
        (3, "3"),
        (None, "null"),
        (True, "true"),
        ({"a": [1]}, '{"a":[1]}'),
    ],
)
def test_text_value_other_than_plain_word_is_quoted(value: object, expected: str) -> None:
    """Any text that is not one plain word is quoted as JSON."""
    assert written("text", "m", key=value).endswith(f" m key={expected}\n")


@pytest.mark.parametrize("style", ["json", "text"])
@settings(max_examples=150)
@given(message=st.text(), value=st.text(), nested=st.dictionaries(st.text(), st.text(), max_size=3))
def test_any_message_is_written_as_one_line(
    style: Format, message: str, value: str, nested: dict[str, str]
) -> None:
    """Line breaks, escape sequences and lone surrogates are escaped."""
    line = written(style, message, image=value, more=nested)
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert "\x1b" not in line
    assert "\r" not in line
    if style == "json":
        assert json.loads(line)["message"] == message.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("style", ["json", "text"])
def test_value_without_json_form_is_written_as_text(style: Format) -> None:
    """A log line must never cause an exception."""
    assert "Undefined" in written(style, "m", key=type("Undefined", (), {})(), other="\ud800")


def test_time_is_utc_to_the_millisecond() -> None:
    """RFC 3339."""
    assert format_time(0) == "1970-01-01T00:00:00.000Z"
    assert format_time(1.0009) == "1970-01-01T00:00:01.000Z"


class Logged:
    """A logger that writes to a stream."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.clock = FakeClock()
        self.lines = LineLog(self.stream, "json", logging.DEBUG)
        self.repeats = RepeatFilter(10.0, self.clock)
        self.logger = logging.Logger("webhook.x")  # noqa: LOG001 - one that no other test sees
        handler = LineHandler(self.lines)
        handler.addFilter(self.repeats)
        self.logger.addHandler(handler)

    def seen(self) -> list[tuple[str, int | None]]:
        """Return each line's message and the number of its suppressed repeats."""
        objects = [json.loads(line) for line in self.stream.getvalue().split("\n")[:-1]]
        return [(line["message"], line.get("repeated")) for line in objects]


def test_standard_library_loggers_write_json_lines() -> None:
    """With the values of ``extra``."""
    logged = Logged()
    logged.logger.info("asked %s", "swr", extra={"tries": 2})
    line = json.loads(logged.stream.getvalue())
    assert {key: line[key] for key in ("message", "level", "logger", "tries")} == {
        "message": "asked swr",
        "level": "info",
        "logger": "webhook.x",
        "tries": 2,
    }


def test_traceback_is_written_in_one_line() -> None:
    """Collectors split records of several lines; the end of the line names the error."""
    logged = Logged()
    try:
        dict[str, str]()["y" * 2 * MAX_TEXT]
    except KeyError:
        logged.logger.exception("failed")
    assert logged.stream.getvalue().count("\n") == 1
    error = json.loads(logged.stream.getvalue())["error"]
    assert len(error) == MAX_TEXT
    assert error.endswith("yyy'")


def test_log_record_with_wrong_arguments_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is lost, but the calling code continues."""
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    logged = Logged()
    logged.logger.info("%d things", "many")
    logged.logger.info("next")
    assert [message for message, _ in logged.seen()] == ["next"]
    assert "--- Logging error ---" in errors.getvalue()


def test_repeated_warning_is_written_once_per_interval() -> None:
    """The next one that is written has the number of suppressed ones."""
    logged = Logged()
    for _ in range(5):
        logged.logger.warning("SWR does not answer")
    logged.clock.tick(10)
    logged.logger.warning("SWR does not answer")
    assert logged.seen() == [("SWR does not answer", None), ("SWR does not answer", 4)]


def test_warnings_with_same_template_are_repeats() -> None:
    """A warning per image would be a warning per Pod."""
    logged = Logged()
    for image in ("a", "b", "c"):
        logged.logger.warning("cannot ask about %s", image)
    logged.logger.error("cannot ask about %s", "d")
    assert logged.seen() == [("cannot ask about a", None), ("cannot ask about d", None)]


def test_summary_shows_the_last_message_with_its_arguments() -> None:
    """Fault E12: it showed the template, ``cannot ask about %s``."""
    logged = Logged()
    for image in ("a", "b", "c"):
        logged.logger.warning("cannot ask about %s", image)
    logged.clock.tick(10)
    logged.repeats.summarize(logged.lines)
    assert logged.seen() == [("cannot ask about a", None), ("cannot ask about c", 2)]


def test_summary_of_a_message_that_cannot_be_formatted_is_its_template() -> None:
    """The caller does not see an error of the log."""
    logged = Logged()
    logged.logger.warning("%d things", 1)
    logged.logger.warning("%d things", "many")
    logged.clock.tick(10)
    logged.repeats.summarize(logged.lines)
    assert logged.seen() == [("1 things", None), ("%d things", 1)]


def test_info_lines_are_not_suppressed() -> None:
    """Decisions have the level info."""
    logged = Logged()
    for _ in range(3):
        logged.logger.info("decided")
    assert len(logged.seen()) == 3


def test_suppressed_warnings_are_summarized_after_interval() -> None:
    """Once, when the interval is over."""
    logged = Logged()
    for _ in range(3):
        logged.logger.warning("SWR does not answer")
    logged.logger.warning("once")
    logged.repeats.summarize(logged.lines)
    assert len(logged.seen()) == 2
    logged.clock.tick(10)
    logged.repeats.summarize(logged.lines)
    logged.repeats.summarize(logged.lines)
    assert logged.seen()[2:] == [("SWR does not answer", 2)]


def test_remembered_warnings_are_bounded() -> None:
    """The oldest is dropped, and may be written again."""
    logged = Logged()
    for index in range(3 * MAX_REMEMBERED):
        logged.logger.warning(f"strange {index}")  # noqa: G004 - different messages are the point
    assert len(logged.repeats._seen) == MAX_REMEMBERED


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """Return the root logger, and restore it afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("style", "stream", "expected_json"),
    [
        (None, io.StringIO(), True),
        (None, Terminal(), False),
        ("json", Terminal(), True),
        ("text", io.StringIO(), False),
    ],
)
def test_terminal_output_is_text_by_default(
    root: logging.Logger, style: Format | None, stream: io.StringIO, expected_json: bool
) -> None:
    """Other outputs get JSON."""
    configure_logging(style, "info", stream)
    logging.getLogger("any").info("hello")
    assert stream.getvalue().startswith("{") is expected_json


def test_configured_level_applies_to_library_loggers(root: logging.Logger) -> None:
    stream = io.StringIO()
    configure_logging("json", "warning", stream)
    logging.getLogger("library").info("not this")
    logging.getLogger("library").warning("this")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["this"]


def test_log_stream_can_be_replaced(root: logging.Logger) -> None:
    """The serving process puts its own writer in front of standard output."""
    before, after = io.StringIO(), io.StringIO()
    logs = configure_logging("json", "info", before)
    logging.getLogger("any").info("one")
    logs.lines.stream = after
    logging.getLogger("any").info("two")
    assert ("one" in before.getvalue(), "two" in after.getvalue()) == (True, True)
    assert "two" not in before.getvalue()

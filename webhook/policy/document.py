"""Reads the configuration file as YAML, within limits, from libyaml's events.

A YAML loader is not used, because it builds values before they can be counted. A few lines of aliases can
expand to billions of values, and a tag can name any class.

Plain scalars follow the core schema of YAML 1.2 (section 10.3.2) in its simplest spelling. ``true`` and
``false`` are booleans, decimal digits are numbers, and all other scalars are text. So ``yes``, ``off``,
``0777``, ``12:30:00`` and dates are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from webhook.errors import ConfigError, Problem
from webhook.policy.files import MAX_BYTES

MAX_VALUES: Final = 50_000
"""Values and keys in a file. The values of an alias count once for each use."""

MAX_DEPTH: Final = 20
MAX_KEY_LENGTH: Final = 64
"""Characters of an unknown key that a message shows."""

_TEXT: Final = "tag:yaml.org,2002:str"
_NULL: Final = re.compile(r"~|null|Null|NULL|")
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_NUMBER: Final = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{1,18}")
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def read_document(raw: bytes) -> tuple[dict[str, Any], list[Problem]]:
    """Return the mapping of a file and the problems of single keys.

    Values are dictionaries, lists, text, booleans, integers and decimal numbers. A key without a value has
    the value ``None`` and is a problem.

    Raises:
        ConfigError: the file is not a YAML mapping, or too large.
    """
    if len(raw) > MAX_BYTES:
        raise _whole_file(f"is larger than {MAX_BYTES // 1024} KiB, the limit of a ConfigMap")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _whole_file(f"is not UTF-8 text, from line {line} on") from None
    reader = _Reader(text)
    try:
        value = reader.read()
    except yaml.MarkedYAMLError as error:
        raise _whole_file(_explain(error)) from None
    except yaml.YAMLError as error:
        reason = getattr(error, "reason", "it cannot be read")
        raise _whole_file(f"is not YAML: {reason}") from None
    if value is None:
        raise _whole_file("is empty: write apiVersion, kind, registries and credentials")
    if not isinstance(value, dict):
        raise _whole_file("is not a mapping: write apiVersion, kind, registries and credentials")
    return value, reader.problems


def join_path(path: str, part: str | int) -> str:
    """Return the path of a key or an index below ``path``."""
    if isinstance(part, int):
        return f"{path}[{part}]"
    name = quote_key(part)
    return f"{path}.{name}" if path else name


def quote_key(key: str) -> str:
    """Return a key for a message: shortened, and escaped if it is not printable."""
    if len(key) > MAX_KEY_LENGTH:
        key = f"{key[:MAX_KEY_LENGTH]}..."
    return key if key.isprintable() and key.strip() == key != "" else repr(key)


class _Reader:
    """Builds one document from events."""

    def __init__(self, text: str) -> None:
        self.problems: list[Problem] = []
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.CSafeLoader)  # type: ignore[no-untyped-call, unused-ignore]  # depends on the version of the stubs
        self._left = MAX_VALUES
        self._anchors: dict[str, tuple[Any, int] | None] = {}

    def read(self) -> Any:
        """Return the value of the only document, ``None`` for an empty file."""
        value: Any = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _whole_file(
                        f"contains several documents, from {_line(event)} on: write one file each"
                    )
                first = next(self._events)
                # A key without a value is a problem, but a document without a value is an empty file.
                value = self._value(first, "", 0) if not _is_null(first) else None
        return value

    def _value(self, event: Any, path: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise _whole_file(f"is nested more than {MAX_DEPTH} deep at {_line(event)}")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        before = self._left
        self._count(1, event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.MappingStartEvent):
            value: Any = self._mapping(event, path, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(event, path, depth)
        else:
            value = self._scalar(event, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, before - self._left)
        return value

    def _mapping(self, start: Any, path: str, depth: int) -> dict[str, Any]:
        self._reject_tag(start, path)
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _whole_file(f"has a key at {_line(event)} that is not plain text")
            self._count(1, event)
            key = event.value
            below = join_path(path, key)
            if key in mapping:
                self._add_problem(below, f"is given twice, again in {_line(event)}: keep one of them")
            value = self._value(next(self._events), below, depth + 1)
            mapping.setdefault(key, value)
        return mapping

    def _sequence(self, start: Any, path: str, depth: int) -> list[Any]:
        self._reject_tag(start, path)
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, join_path(path, len(items)), depth + 1))
        return items

    def _scalar(self, event: Any, path: str) -> Any:
        text: str = event.value
        if _is_null(event):
            self._add_problem(path, "has no value: write one, or remove the key")
            return None
        if event.tag not in (None, "!", _TEXT):
            self._reject_tag(event, path)
        if event.tag is not None or not event.implicit[0]:
            return text
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if _INTEGER.fullmatch(text) is not None:
            return int(text)
        return float(text) if _NUMBER.fullmatch(text) is not None else text

    def _alias(self, event: Any, path: str) -> Any:
        known = self._anchors.get(event.anchor)
        if known is None:
            reason = "holds itself" if event.anchor in self._anchors else "is not defined above"
            self._add_problem(path, f"the alias *{quote_key(event.anchor)} {reason}")
            return None
        value, size = known
        self._count(size, event)
        return value

    def _reject_tag(self, event: Any, path: str) -> None:
        if event.tag not in (None, "!", _TEXT):
            self._add_problem(path, f"the YAML tag {quote_key(event.tag)} is not used here: remove it")

    def _count(self, values: int, event: Any) -> None:
        self._left -= values
        if self._left < 0:
            raise _whole_file(f"contains more than {MAX_VALUES} values, from {_line(event)} on")

    def _add_problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))


def _is_null(event: Any) -> bool:
    """Whether the event is a plain ``null``, ``~`` or an empty scalar."""
    return (
        isinstance(event, yaml.ScalarEvent)
        and event.tag is None
        and event.implicit[0]
        and _NULL.fullmatch(event.value) is not None
    )


def _line(event: Any) -> str:
    return f"line {event.start_mark.line + 1}"


def _explain(error: yaml.MarkedYAMLError) -> str:
    where = f" in line {error.problem_mark.line + 1}" if error.problem_mark is not None else ""
    context = f" {error.context}" if error.context else ""
    return f"is not YAML{where}: {error.problem}{context}"


def _whole_file(message: str) -> ConfigError:
    return ConfigError([Problem("", f"the file {message}")])

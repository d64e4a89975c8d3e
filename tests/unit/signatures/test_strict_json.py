"""Strict JSON: one meaning for every reader, within limits."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.errors import MalformedSignature
from webhook.signatures.limits import MAX_VALUES
from webhook.signatures.strict_json import MAX_DEPTH, parse_object

ACCEPTED: list[tuple[bytes, dict[str, Any]]] = [
    (b"{}", {}),
    (b' \n\t\r{"a" : 1 }\n', {"a": 1}),
    (b'{"a":null,"b":[true,false,-0.5e-3],"c":{}}', {"a": None, "b": [True, False, -0.0005], "c": {}}),
    (b'{"a":{"x":1},"b":{"x":1}}', {"a": {"x": 1}, "b": {"x": 1}}),
    (rb'{"\u0061":"\u00e9\ud83d\ude00\"\\"}', {"a": 'é😀"\\'}),
    ('{"é":"[{"}'.encode(), {"é": "[{"}),
]


@pytest.mark.parametrize(("data", "value"), ACCEPTED)
def test_object_is_read(data: bytes, value: dict[str, Any]) -> None:
    """Insignificant white space, escapes, and keys that are there once in each object."""
    assert parse_object(data, "the text", 100) == value


NOT_JSON = [
    b"",
    b" ",
    b"{",
    b'{"a":1',
    b'{"a":1}x',
    b'{"a":1}{}',
    b'{"a":1}\0',
    b'{"a":1}//',
    b'{"a":1,}',
    b"{'a':1}",
    b"{a:1}",
    b'{"a":01}',
    b'{"a":+1}',
    b'{"a":.5}',
    b'{"a":0x1}',
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":1e999}',
    b'{"a":-1e999}',
    b'{"a":%s}' % (b"1" * 301),
    b'{"a":True}',
    b'{"a":"\n"}',
    b'{"a":"\\x41"}',
    b'{"a":"\xff"}',
    b'{"a":"\xed\xa0\x80"}',
    rb'{"a":"\ud800"}',
    rb'{"a":"\udc00\ud800"}',
    rb'{"\udfff":1}',
    b'\xef\xbb\xbf{"a":1}',
    '{"a":1}'.encode("utf-16"),
    b'{"a"\x0b:1}',
    b'\x0c{"a":1}',
]


@pytest.mark.parametrize("data", NOT_JSON)
def test_other_text_is_not_json(data: bytes) -> None:
    """Also what Python or Go would accept."""
    assert problem(data) == "the text is not JSON"


def problem(data: bytes, max_size: int = 1000) -> str:
    """Return the problem of a text."""
    with pytest.raises(MalformedSignature) as caught:
        parse_object(data, "the text", max_size)
    return str(caught.value)


@pytest.mark.parametrize("data", [b"[]", b"[{}]", b'"x"', b"1", b"null", b"true"])
def test_other_value_is_not_an_object(data: bytes) -> None:
    """Documents are objects."""
    assert problem(data) == "the text is not a JSON object"


@pytest.mark.parametrize(
    "data",
    [b'{"a":1,"a":1}', b'{"a":1,"b":{"c":[{"d":1,"d":2}]}}', rb'{"a":1,"\u0061":2}', b'{"":1,"":2}'],
)
def test_key_twice_is_refused_at_any_depth(data: bytes) -> None:
    """Go takes the last one, others the first."""
    assert problem(data) == "the text has a key twice"


def nested(depth: int) -> bytes:
    """Return objects and lists in one another."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_depth_is_limited() -> None:
    """Python would raise RecursionError, or use the stack of a greenlet."""
    assert parse_object(nested(MAX_DEPTH), "the text", 1000)
    assert problem(nested(MAX_DEPTH + 1)) == "the text is nested more than 32 deep"
    assert problem(nested(50_000)[:20_000], 20_000) == "the text is nested more than 32 deep"


def test_brackets_in_strings_are_not_nesting() -> None:
    """Also after escaped quotation marks and backslashes."""
    text = json.dumps({"a": '\\"' + "[{" * 50, "b\\": "]" * 50}).encode()
    assert parse_object(text, "the text", 1000)
    assert problem(rb'{"a\\":' + b"[" * 40) == "the text is nested more than 32 deep"


@pytest.mark.parametrize(
    "part",
    [b"1,", b"[],", b'{"":1},', b'"",', b'"', b"[", b"{", b",", b"]", b"}"],
    ids=lambda part: part.decode(),
)
def test_number_of_values_is_limited(part: bytes) -> None:
    """A megabyte of small values would occupy the event loop."""
    data = b'{"a":[' + part * 4 * MAX_VALUES + b"0]}"
    assert problem(data, len(data)) == "the text has more than 20000 values"
    data = b'{"a":[' + part * 40 + b"0]}"
    with pytest.raises(MalformedSignature) as caught:
        parse_object(data, "the text", len(data), 8)
    assert str(caught.value) == "the text has more than 8 values"


@pytest.mark.parametrize("end", [b"", b"\\", b'"', b'"}'], ids=["open", "escape", "closed", "whole"])
def test_escaped_quotation_marks_are_read_once(end: bytes) -> None:
    """Seen: 90 s for this string without an end, in which no other request was answered."""
    data = b'{"a":"' + b'\\"' * 79_000 + end
    started = time.thread_time()
    with contextlib.suppress(MalformedSignature):
        parse_object(data, "the text", len(data))
    assert time.thread_time() - started < 2


def test_size_is_limited() -> None:
    """In bytes."""
    assert parse_object(b'{"a":"xx"}', "the text", 10)
    assert problem(b'{"a":"xxx"}', 10) == "the text has more than 10 bytes"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=3), values), st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_json_of_any_writer_is_read(value: dict[str, Any], is_ascii: bool, indent: Any) -> None:
    """Escapes, white space and order do not matter."""
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()
    assert parse_object(text, "the text", 100_000) == value


@given(st.binary(max_size=40) | st.text('{}[]":,\\ au0e.-1', max_size=30).map(str.encode))
def test_any_bytes_are_an_object_or_a_problem(data: bytes) -> None:
    """Nothing else is raised, and a plain reader reads the same."""
    try:
        value = parse_object(data, "the text", 1000)
    except MalformedSignature:
        return
    assert value == json.loads(data)

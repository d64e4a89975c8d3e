"""Strict reading of JSON that anyone may have written, so that it has one meaning for every reader.

Go takes the last of duplicate keys, and other readers the first. Such a document is refused, and so is one
that is not UTF-8 or too deep for some readers.
"""

from __future__ import annotations

import json
import math
import re
from functools import partial
from itertools import accumulate
from typing import Any, Final, NoReturn

from webhook.errors import MalformedSignature
from webhook.signatures.limits import MAX_VALUES

MAX_DEPTH: Final = 32
"""Maximum nesting. Signatures need 5; deeper documents can exhaust the stack."""

_MAX_DIGITS: Final = 300
"""Maximum digits of an integer. Go reads numbers without a type as float64, up to 1.8e308."""

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, or one that does not end: otherwise each of its escaped quotation marks would begin another.
All of them would be read to the end of the document: a minute for 160 KB, in which nothing else runs.
"""

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_NOT_A_BRACKET: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def parse_object(data: bytes, document: str, max_size: int, max_values: int = MAX_VALUES) -> dict[str, Any]:
    """Return a JSON object: UTF-8 without a byte order mark, no duplicate keys, nothing after it.

    ``document`` names it in problems, such as "the payload". ``max_size`` is in bytes.
    At most ``max_values`` lists, objects and commas are in it, and four quotation marks for each.

    Raises:
        MalformedSignature: it is not such an object, or exceeds a limit.
    """
    _check_limits(data, document, max_size, max_values)
    decoder = json.JSONDecoder(
        object_pairs_hook=partial(_without_duplicates, document),
        parse_constant=_refuse_constant,
        parse_float=_to_float,
        parse_int=_to_integer,
    )
    try:
        value = decoder.decode(data.decode("utf-8"))
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise MalformedSignature(f"{document} is not JSON") from None
    if not isinstance(value, dict):
        raise MalformedSignature(f"{document} is not a JSON object")
    return value


def _check_limits(data: bytes, document: str, max_size: int, max_values: int) -> None:
    if len(data) > max_size:
        raise MalformedSignature(f"{document} has more than {max_size} bytes")
    opened, closed = data.count(b"[") + data.count(b"{"), data.count(b"]") + data.count(b"}")
    if max(opened + data.count(b","), closed, data.count(b'"') / 4) > max_values:
        raise MalformedSignature(f"{document} has more than {max_values} values")
    brackets = _STRING.sub(b"", data).translate(None, _NOT_A_BRACKET)
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_DEPTH:
        raise MalformedSignature(f"{document} is nested more than {MAX_DEPTH} deep")


def _without_duplicates(document: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedSignature(f"{document} has a key twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON (RFC 8259)")


def _to_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("the number is too large")
    return number


def _to_integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError("the number is too large")
    return int(text)

"""Strict reading of JSON that anyone may have written, so that it has one meaning for every reader.

Go takes the last of duplicate keys and ignores the case of field names. protobuf also accepts ``media_type``
for ``mediaType``. A document that uses this is refused, because another tool could read something else in it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from functools import partial
from itertools import accumulate
from typing import Any, Final, NoReturn, TypeVar

from webhook.errors import MalformedSignature

MAX_DEPTH: Final = 32
"""Maximum nesting. Signatures need 5; deeper documents can exhaust the stack."""

MAX_VALUES: Final = 50_000
"""Maximum number of lists, objects and commas. 50 signatures have about 500.

A document of the maximum size could otherwise stop the event loop for a tenth of a second.
"""

_Value = TypeVar("_Value")

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NOT_A_BRACKET: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def read_object(data: bytes, document: str, max_size: int) -> JsonObject:
    """Return a JSON object: UTF-8 without a byte order mark, no duplicate keys, nothing after it.

    ``document`` names it in problems, such as "the payload". ``max_size`` is in bytes.

    Raises:
        MalformedSignature: it is not such an object, or exceeds a limit.
    """
    if len(data) > max_size:
        raise MalformedSignature(f"{document} has more than {max_size} bytes")
    if sum(map(data.count, (b"[", b"{", b","))) > MAX_VALUES:
        raise MalformedSignature(f"{document} has more than {MAX_VALUES} values")
    brackets = _STRING.sub(b"", data).translate(None, _NOT_A_BRACKET)
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_DEPTH:
        raise MalformedSignature(f"{document} is nested more than {MAX_DEPTH} deep")
    decoder = json.JSONDecoder(
        object_pairs_hook=partial(_without_duplicates, document), parse_constant=_refuse_constant
    )
    try:
        value = decoder.decode(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise MalformedSignature(f"{document} is not JSON") from None
    if not isinstance(value, dict):
        raise MalformedSignature(f"{document} is not a JSON object")
    return JsonObject(value, document)


def _without_duplicates(document: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedSignature(f"{document} has a key twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON (RFC 8259)")


class JsonObject:
    """An object of a document. Its readers raise ``MalformedSignature`` if a member is not of the type."""

    __slots__ = ("_document", "_folded", "_members", "_path")

    def __init__(self, members: dict[str, Any], document: str, path: str = "") -> None:
        """Read these members; ``path`` is the object's place in the document."""
        self._members = members
        self._document = document
        self._path = path
        self._folded = Counter(map(_fold, members))

    def text(self, name: str) -> str:
        """Return a string."""
        return self._read(name, str, "a string")

    def integer(self, name: str) -> int:
        """Return an integer."""
        return self._read(name, int, "an integer")

    def object(self, name: str) -> JsonObject:
        """Return an object."""
        return self._wrap(self._read(name, dict, "an object"), name)

    def objects(self, name: str) -> list[JsonObject]:
        """Return a list of objects."""
        values = self._read(name, list, "a list")
        if not all(isinstance(value, dict) for value in values):
            raise MalformedSignature(f"{self._place(name)} of {self._document} is not a list of objects")
        return [self._wrap(value, f"{name}[{index}]") for index, value in enumerate(values)]

    def has(self, name: str) -> bool:
        """Return whether the member is there and is not null, which protobuf reads as absent."""
        return self._find(name) is not None

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Return an object whose keys are data and not fields, empty if it is absent or null."""
        return self._read(name, dict, "an object") if self.has(name) else {}

    def _read(self, name: str, wanted: type[_Value], noun: str) -> _Value:
        value = self._find(name)
        if value is None:
            raise MalformedSignature(f"{self._document} has no {self._place(name)}")
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise MalformedSignature(f"{self._place(name)} of {self._document} is not {noun}")
        return value

    def _find(self, name: str) -> Any:
        if self._folded[_fold(name)] > (name in self._members):
            raise MalformedSignature(f"{self._document} has another spelling of {self._place(name)}")
        return self._members.get(name)

    def _wrap(self, members: dict[str, Any], name: str) -> JsonObject:
        return JsonObject(members, self._document, self._place(name))

    def _place(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


def _fold(name: str) -> str:
    """Return the name without what other readers ignore: case, also beyond ASCII, and underscores."""
    return name.casefold().replace("_", "")

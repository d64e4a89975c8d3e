"""The shapes of documents: which members an object has, and their types.

Also members that are not used have a type, because other readers refuse a document that has another one.
Null is the same as absent, in Go and in protobuf, except for digests.

Objects that Go reads by ``encoding/json`` may have more members. Names that differ only in case are refused,
because Go takes them for the same. Objects of protobuf are closed: protobuf refuses unknown members.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from webhook.errors import MalformedSignature
from webhook.signatures.limits import MAX_VALUES
from webhook.signatures.strict_json import parse_object

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def is_digest(text: object) -> bool:
    """Return whether it is a digest: SHA-256, in lower case."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value without members."""

    noun: str
    accepts: Callable[[Any], bool]
    is_nullable: bool = True


TEXT: Final = Scalar("a string", lambda value: isinstance(value, str))
INTEGER: Final = Scalar(
    "an integer",
    lambda value: isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63,
)
DIGEST: Final = Scalar("a digest by SHA-256", is_digest, is_nullable=False)
"""The only algorithm that registries and cosign use. go-containerregistry refuses null for it."""

ANYTHING: Final = Scalar("a value", lambda _: True)
"""A value that is checked later, by itself."""

MAP: Final = Scalar("an object", lambda value: isinstance(value, dict))
"""An object whose keys and values are data."""

TEXTS: Final = Scalar(
    "an object of strings",
    lambda value: isinstance(value, dict) and all(isinstance(member, str) for member in value.values()),
)


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of values of one shape, none of them null."""

    item: Shape


@dataclass(frozen=True, slots=True)
class Fields:
    """An object with these members. ``is_closed``: and with no others."""

    members: Mapping[str, Shape]
    is_closed: bool = False
    folded: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Keep the names without regard to case."""
        object.__setattr__(self, "folded", frozenset(map(str.casefold, self.members)))


Shape = Scalar | ListOf | Fields


def read_document(
    data: bytes, name: str, shape: Fields, max_size: int, max_values: int = MAX_VALUES
) -> JsonObject:
    """Return a document of a shape. ``name`` names it in problems; for the limits see ``parse_object``.

    Raises:
        MalformedSignature: it is not strict JSON of this shape, or exceeds a limit.
    """
    return check_document(parse_object(data, name, max_size, max_values), name, shape)


def check_document(members: Any, name: str, shape: Fields, place: str = "") -> JsonObject:
    """Return a document of a shape, or the object at ``place`` of the document.

    Raises:
        MalformedSignature: it is not of this shape.
    """
    _check(members, shape, name, place)
    return JsonObject(members, name, place)


def _check(value: Any, shape: Shape, document: str, place: str) -> None:
    if isinstance(shape, Scalar):
        _demand(shape.accepts(value), document, place, shape.noun)
    elif isinstance(shape, ListOf):
        _demand(isinstance(value, list), document, place, "a list")
        for index, item in enumerate(value):
            _check(item, shape.item, document, f"{place}[{index}]")
    else:
        _demand(isinstance(value, dict), document, place, "an object")
        for name, member in value.items():
            known = shape.members.get(name)
            if known is not None:
                if member is not None or (isinstance(known, Scalar) and not known.is_nullable):
                    _check(member, known, document, f"{place}.{name}" if place else name)
            elif shape.is_closed:
                raise MalformedSignature(f"{document} has a member that is not known")
            elif name.casefold() in shape.folded:
                raise MalformedSignature(f"{document} has another spelling of a member")


def _demand(is_accepted: bool, document: str, place: str, noun: str) -> None:  # noqa: FBT001 - the condition
    if not is_accepted:
        raise MalformedSignature(f"{place} of {document} is not {noun}")


class JsonObject:
    """An object of a document, whose members are of their types or absent."""

    __slots__ = ("_document", "_members", "_place")

    def __init__(self, members: dict[str, Any], document: str, place: str = "") -> None:
        """Read these members; ``place`` is the object's place in the document."""
        self._members = members
        self._document = document
        self._place = place

    def has(self, name: str) -> bool:
        """Return whether a member is there and not null."""
        return self._members.get(name) is not None

    def text(self, name: str) -> str:
        """Return a string."""
        return str(self._require(name))

    def integer(self, name: str) -> int:
        """Return an integer."""
        return int(self._require(name))

    def object(self, name: str) -> JsonObject:
        """Return an object."""
        return JsonObject(self._require(name), self._document, self._join(name))

    def objects(self, name: str) -> list[JsonObject]:
        """Return a list of objects, empty if it is absent."""
        return [
            JsonObject(item, self._document, self._join(f"{name}[{index}]"))
            for index, item in enumerate(self._members.get(name) or [])
        ]

    def values(self, name: str) -> list[Any]:
        """Return a list, empty if it is absent."""
        return list(self._members.get(name) or [])

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Return an object whose keys are data, empty if it is absent."""
        return self._members.get(name) or {}

    def _require(self, name: str) -> Any:
        value = self._members.get(name)
        if value is None:
            raise MalformedSignature(f"{self._document} has no {self._join(name)}")
        return value

    def _join(self, name: str) -> str:
        return f"{self._place}.{name}" if self._place else name


def decode_base64(text: str, name: str) -> bytes:
    """Return the bytes of padded standard base64 (RFC 4648, section 4), in its only spelling.

    Raises:
        MalformedSignature: it is not that. ``name`` names it in the text.
    """
    try:
        data = base64.b64decode(text)
    except ValueError:
        data = None
    # The decoder ignores bytes that are not in the alphabet, and spare bits.
    if data is None or base64.b64encode(data).decode() != text:
        raise MalformedSignature(f"{name} is not base64")
    return data

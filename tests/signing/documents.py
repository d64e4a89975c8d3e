"""JSON documents that are changed at random places, also in ways that no JSON writer offers."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any


class Object(list[tuple[str, Any]]):
    """An object as a list of members, so that a key can be there twice."""


def parse(text: bytes) -> Any:
    """Return a document with ``Object`` for objects."""
    return json.loads(text, object_pairs_hook=Object)


def write(value: Any) -> str:
    """Return the document, without white space."""
    if isinstance(value, Object):
        return "{" + ",".join(f"{json.dumps(key)}:{write(child)}" for key, child in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def places(value: Any) -> list[Any]:
    """Return all objects and lists of a document."""
    children = [child for _, child in value] if isinstance(value, Object) else value
    inner = [place for child in children if isinstance(child, list) for place in places(child)]
    return [value, *inner]


ODD: list[Callable[[], Any]] = [
    lambda: None,
    lambda: True,
    lambda: 0,
    lambda: 1.5,
    lambda: 10**30,
    lambda: "",
    lambda: "x",
    list,
    Object,
    lambda: [None],
    lambda: [Object()],
    lambda: Object([("x", "y")]),
]
"""Values that are unusual wherever they are."""


def change(document: Any, random: Random) -> str:
    """Change one place of a document, which has at least one, and return the kind of the change."""
    place = random.choice([place for place in places(document) if place])
    index = random.randrange(len(place))
    changes: list[Callable[[Any, int, Random], str]] = [_reelement, _add]
    if isinstance(place, Object):
        changes = [_replace, _remove, _repeat, _respell, _reword, _add]
    return random.choice(changes)(place, index, random)


def _odd(random: Random) -> Any:
    return random.choice(ODD)()


def _replace(place: Object, index: int, random: Random) -> str:
    key, _ = place[index]
    value = _odd(random)
    place[index] = (key, value)
    return f"{key} is {write(value)}"


def _remove(place: Object, index: int, random: Random) -> str:
    key, _ = place.pop(index)
    return f"no {key}"


def _repeat(place: Object, index: int, random: Random) -> str:
    key, value = place[index]
    other = random.choice([value, _odd(random), "sha256:" + "0" * 64])
    place.insert(index + random.randrange(2), (key, other))
    return f"{key} twice"


def _respell(place: Object, index: int, random: Random) -> str:
    key, value = place[index]
    spellings: list[Callable[[str], str]] = [
        str.upper,
        str.title,
        lambda key: key[:1].upper() + key[1:],
        lambda key: "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key),
        lambda key: key.replace("k", "\u212a").replace("s", "\u017f"),
        lambda key: key.lstrip("_"),
        lambda key: f" {key}",
    ]
    other = random.choice(spellings)(key)
    if random.random() < 0.5:
        place[index] = (other, value)
    else:
        place.insert(index + random.randrange(2), (other, random.choice([value, _odd(random)])))
    return f"{key} as {other!a}"


def _reword(place: Object, index: int, random: Random) -> str:
    key, value = place[index]
    if not isinstance(value, str):
        return _replace(place, index, random)
    words: list[Callable[[str], str]] = [
        str.upper,
        lambda text: f"{text} ",
        lambda text: f"\ufeff{text}",
        lambda text: text[:-1],
        lambda text: f"{text}\0",
        lambda text: text[::-1],
        lambda text: text.replace("v1", "v0.1"),
        lambda text: text.replace("v0.3", "v0.2"),
        lambda text: text.replace(".v0.3+json", "+json;version=0.3"),
    ]
    place[index] = (key, random.choice(words)(value))
    return f"{key} reworded"


def _reelement(place: list[Any], index: int, random: Random) -> str:
    choice = random.randrange(4)
    if choice == 0:
        place.insert(index, _odd(random))
        return "another element"
    if choice == 1:
        place.insert(index, place[index])
        return "an element twice"
    if choice == 2:
        place.pop(index)
        return "no element"
    place[index] = _odd(random)
    return "an element replaced"


def _add(place: Any, index: int, random: Random) -> str:
    if isinstance(place, Object):
        key = random.choice(["x", "keyid", "name", "optional", "", "subject", "digest", "critical", "hint"])
        place.insert(index, (key, _odd(random)))
        return f"more {key}"
    place.append(_odd(random))
    return "more elements"


def respace(text: bytes, random: Random) -> tuple[bytes, str]:
    """Return the text of a document with one change that is not one of its values, and its kind."""
    kinds: dict[str, Callable[[bytes], bytes]] = {
        "white space": lambda text: text.replace(b":", b" :\t", 2).replace(b",", b"\r\n,", 1) + b"\n",
        "a byte order mark": lambda text: b"\xef\xbb\xbf" + text,
        "another value after it": lambda text: text + b"{}",
        "a zero byte after it": lambda text: text + b"\0",
        "text after it": lambda text: text + b" x",
        "a comment": lambda text: text + b"//",
        "a comma too many": lambda text: text[:-1] + b",}",
        "single quotes": lambda text: text.replace(b'"', b"'", 2),
        "a vertical tab": lambda text: text.replace(b":", b":\x0b", 1),
        "an escaped letter": lambda text: _escape(text, random),
        "an invalid byte": lambda text: _insert(text, b"\xff", random),
        "half a surrogate": lambda text: _insert(text, rb"\ud800", random),
        "a control character": lambda text: _insert(text, b"\x01", random),
        "another bit": lambda text: flip(text, random),
        "a part missing": lambda text: text[: random.randrange(len(text))],
        "deep nesting": lambda text: text[:-1] + b',"x":' + b"[" * 40 + b"]" * 40 + b"}",
        "deeper nesting": lambda text: text[:-1] + b',"x":' + b"[" * 12000 + b"]" * 12000 + b"}",
        "not a number": lambda text: text[:-1] + b',"x":NaN}',
        "a large number": lambda text: text[:-1] + b',"x":1e999}',
        "a number that begins with a zero": lambda text: text[:-1] + b',"x":01}',
    }
    kind = random.choice(list(kinds))
    return kinds[kind](text), kind


def flip(data: bytes, random: Random) -> bytes:
    """Return the bytes with one bit changed."""
    index = random.randrange(len(data))
    return data[:index] + bytes([data[index] ^ 1 << random.randrange(8)]) + data[index + 1 :]


def _escape(text: bytes, random: Random) -> bytes:
    letters = [index for index, byte in enumerate(text) if bytes([byte]).isalpha()]
    index = random.choice(letters or [0])
    return text[:index] + b"\\u%04x" % ord(text[index : index + 1] or b"x") + text[index + 1 :]


def _insert(text: bytes, what: bytes, random: Random) -> bytes:
    quotes = [index for index, byte in enumerate(text) if byte == ord('"')]
    index = random.choice(quotes or [0]) + 1
    return text[:index] + what + text[index:]

"""Shapes: types of members, other spellings of names, and strict base64."""

from __future__ import annotations

from typing import Any

import pytest

from tests.signing.making import IMAGE
from webhook.errors import MalformedSignature
from webhook.signatures.shapes import (
    DIGEST,
    INTEGER,
    MAP,
    TEXT,
    TEXTS,
    Fields,
    ListOf,
    check_document,
    decode_base64,
    read_document,
)

SHAPE = Fields(
    {
        "text": TEXT,
        "number": INTEGER,
        "digest": DIGEST,
        "map": MAP,
        "texts": TEXTS,
        "items": ListOf(Fields({"some-text": TEXT})),
        "closed": Fields({"_type": TEXT}, is_closed=True),
    }
)

ACCEPTED: list[dict[str, Any]] = [
    {},
    {"text": "", "number": 0, "digest": IMAGE, "map": {}, "texts": {}, "items": [], "closed": {}},
    dict.fromkeys(SHAPE.members.keys() - {"digest"}),
    {"number": 2**63 - 1, "map": {"x": [1, None]}, "texts": {"x": "y", "Text": "z"}},
    {"number": -(2**63), "items": [{"some-text": "x", "more": 1}, {}], "closed": {"_type": None}},
    {"more": {"Text": [1]}, "te-xt": 1},
]


@pytest.mark.parametrize("members", ACCEPTED)
def test_document_of_shape_is_accepted(members: dict[str, Any]) -> None:
    """Null is the same as absent, and open objects may have more members."""
    check_document(members, "the text", SHAPE)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"text": 1}, "text of the text is not a string"),
    ({"text": ["x"]}, "text of the text is not a string"),
    ({"number": "1"}, "number of the text is not an integer"),
    ({"number": 1.0}, "number of the text is not an integer"),
    ({"number": True}, "number of the text is not an integer"),
    ({"number": 2**63}, "number of the text is not an integer"),
    ({"number": -(2**63) - 1}, "number of the text is not an integer"),
    ({"digest": IMAGE.upper()}, "digest of the text is not a digest by SHA-256"),
    ({"digest": IMAGE[:-1]}, "digest of the text is not a digest by SHA-256"),
    ({"digest": f"{IMAGE}\n"}, "digest of the text is not a digest by SHA-256"),
    ({"digest": IMAGE.removeprefix("sha256:")}, "digest of the text is not a digest by SHA-256"),
    ({"digest": f"sha512:{'0' * 128}"}, "digest of the text is not a digest by SHA-256"),
    ({"digest": ""}, "digest of the text is not a digest by SHA-256"),
    ({"digest": 5}, "digest of the text is not a digest by SHA-256"),
    ({"digest": None}, "digest of the text is not a digest by SHA-256"),
    ({"map": []}, "map of the text is not an object"),
    ({"map": "x"}, "map of the text is not an object"),
    ({"texts": {"x": 1}}, "texts of the text is not an object of strings"),
    ({"texts": {"x": None}}, "texts of the text is not an object of strings"),
    ({"texts": []}, "texts of the text is not an object of strings"),
    ({"items": {}}, "items of the text is not a list"),
    ({"items": [{}, None]}, "items[1] of the text is not an object"),
    ({"items": [{}, {"some-text": 1}]}, "items[1].some-text of the text is not a string"),
    ({"closed": {"_type": 1}}, "closed._type of the text is not a string"),
    ({"closed": {"type": "x"}}, "the text has a member that is not known"),
    ({"closed": {"more": None}}, "the text has a member that is not known"),
    ({"Text": "x"}, "the text has another spelling of a member"),
    ({"text": "x", "TEXT": "y"}, "the text has another spelling of a member"),
    ({"item\u017f": []}, "the text has another spelling of a member"),
    ({"items": [{"Some-Text": "x"}]}, "the text has another spelling of a member"),
]


@pytest.mark.parametrize(("members", "message"), REFUSED, ids=[str(case[0])[:60] for case in REFUSED])
def test_other_document_is_refused(members: dict[str, Any], message: str) -> None:
    """Also members that are not used."""
    with pytest.raises(MalformedSignature) as caught:
        check_document(members, "the text", SHAPE)
    assert str(caught.value) == message


def test_members_are_read() -> None:
    """By their types; absent ones are named."""
    document = read_document(
        b'{"text":"x","number":5,"map":{"a":1},"items":[{"some-text":"y"},{}],"closed":{"_type":null}}',
        "the text",
        SHAPE,
        200,
    )
    first, second = document.objects("items")
    assert (document.text("text"), document.integer("number"), document.mapping("map")) == ("x", 5, {"a": 1})
    assert (first.text("some-text"), document.mapping("texts")) == ("y", {})
    assert [document.has(name) for name in ("closed", "texts")] == [True, False]
    assert not document.object("closed").has("_type")
    for parent, name, message in [
        (document, "digest", "the text has no digest"),
        (document.object("closed"), "_type", "the text has no closed._type"),
        (second, "some-text", "the text has no items[1].some-text"),
    ]:
        with pytest.raises(MalformedSignature) as caught:
            parent.text(name)
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "data"), [("", b""), ("AA==", b"\0"), ("AAA=", b"\0\0"), ("+/+/", b"\xfb\xff\xbf")]
)
def test_standard_base64_is_decoded(text: str, data: bytes) -> None:
    """RFC 4648, section 4."""
    assert decode_base64(text, "it") == data


@pytest.mark.parametrize(
    "text",
    [
        *("A", "AA", "AA=", "AAA", "A===", "AA===", "====", "=AAA"),
        *("AB==", "AAB=", "-_-_", "AA*="),
        *("AA==\n", " AA==", "A\nA==", "AA==AA=="),
        *("AA\u00e9=", "\uff21\uff21=="),
    ],
)
def test_other_base64_is_refused(text: str) -> None:
    """One content has one spelling: no line breaks, no other alphabet, no spare bits."""
    with pytest.raises(MalformedSignature, match=r"\Ait is not base64\Z"):
        decode_base64(text, "it")

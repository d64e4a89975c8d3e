"""The typed request of an AdmissionReview."""

from __future__ import annotations

import json
import sys
import tracemalloc
from typing import Any

import msgspec
import pytest

from tests.support.builders import pod, request, review
from webhook.admission.review import read_review


@pytest.mark.parametrize(
    ("name", "metadata", "expected"),
    [
        ("web", {"name": "other"}, "web"),
        ("", {"name": "web"}, "web"),
        ("", {"generateName": "web-"}, "web-*"),
        ("", {"name": "web", "generateName": "web-"}, "web"),
        ("", {}, ""),
        ("", None, ""),
        ("", {"name": "x" * 100_000}, "x" * 253),
    ],
)
def test_object_name_falls_back_to_generate_name(
    name: str, metadata: dict[str, Any] | None, expected: str
) -> None:
    """A controller's Pod has no name yet when it is evaluated."""
    obj = pod("a") | {"metadata": metadata}
    assert request(obj, name=name).object_name == expected


def test_object_name_without_object_is_that_of_request() -> None:
    """The request contains the name of a deleted object."""
    assert request(None, operation="DELETE", name="web").object_name == "web"
    assert request(None, name="").object_name == ""


def test_keep_identity_keeps_identifying_fields_only() -> None:
    """Fault C2: the records of a decision need them; the rest is dropped before the review waits."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u", "controller": True}
    obj = pod("a")
    obj["metadata"] = {
        "generateName": "web-",
        "uid": "42",
        "annotations": {"a": "b"},
        "ownerReferences": [{**owner, "controller": False}, owner],
    }
    review = request(obj, old=obj, operation="UPDATE", name="", user="alice", groups=["devs"])
    review.keep_identity()
    assert json.loads(msgspec.json.encode(review.object)) == {
        "metadata": {
            "name": "",
            "generateName": "web-",
            "uid": "42",
            "ownerReferences": None,
            "annotations": None,
            "controller": owner,
        },
        "spec": None,
    }
    assert (review.old_object, review.user_info.username, review.user_info.groups) == (None, "alice", [])
    assert review.object_name == "web-*"


FACE = "\N{GRINNING FACE}"
"""One of these characters makes each other character of its string take four bytes."""


@pytest.mark.parametrize("text", ["x" * 253, "x" * 1000, FACE, FACE + "x" * 252, "\u540d" * 1000])
def test_kept_identity_is_truncated_by_bytes(text: str) -> None:
    """Fault C2: truncated by characters, 600 bytes of a body were kept as 2 KB. Valid names are kept
    whole.
    """
    owner = {"apiVersion": text, "kind": text, "name": text, "uid": text, "controller": True}
    obj = pod("a") | {
        "metadata": {"name": text, "generateName": text, "uid": text, "ownerReferences": [owner] * 10}
    }
    typed = request(obj, user=text)
    typed.keep_identity()
    assert typed.object is not None
    meta = typed.object.metadata
    assert meta is not None
    (kept,) = meta.owner_references
    texts = (meta.name, meta.generate_name, meta.uid, kept.api_version, kept.kind, kept.name, kept.uid)
    for seen in (*texts, typed.user_info.username):
        assert text.startswith(seen)
        assert len(seen) >= min(len(text), 512 if text.isascii() else 128)
        assert sys.getsizeof(seen) - sys.getsizeof("\u540d") <= 512 + 16


@pytest.mark.parametrize(
    ("annotations", "value"),
    [
        ({"a/b": "x", "c": "y"}, "x"),
        ({"a/b": ""}, ""),
        ({"c": "x", "d": '"a/b":"y"'}, None),
        ({"c": {"a/b": "x"}}, None),
        ({"a/b": 5}, None),
        ({}, None),
        (None, None),
        ("a/b", None),
    ],
)
def test_annotation_is_read_by_its_key(annotations: Any, value: str | None) -> None:
    """The annotation of the object itself, if it is a string; other types count as absent."""
    obj = pod("a") | {"metadata": {"annotations": annotations}}
    meta = request(obj).object
    assert meta is not None
    assert meta.metadata is not None
    assert meta.metadata.annotation("a/b") == value


@pytest.mark.parametrize(
    ("groups", "expected"),
    [(["a", "b"], ["a", "b"]), ([], []), ([5], []), (["g" * 128] * 1500, ["g" * 128] * 1500)],
)
def test_user_groups_are_read_if_well_formed(groups: Any, expected: list[str]) -> None:
    """Other types count as absent."""
    assert request(pod("a"), groups=groups).user_info.groups == expected


def long_texts(count: int) -> list[str]:
    """Return so many strings of 70 bytes in a body, and 270 decoded."""
    return [f"{number:05}" + "\n" * 28 + FACE for number in range(count)]


def test_unused_fields_are_not_decoded() -> None:
    """Fault C3: 190,000 keys and values of annotations were decoded without a yield, for a tenth of a
    second.
    """
    texts = long_texts(30_000)
    obj = pod("a")
    obj["metadata"]["annotations"] = {**dict.fromkeys(texts, texts[0]), "a/b": "x"}
    obj["metadata"]["ownerReferences"] = [{"uid": text, "controller": True} for text in texts[:10_000]]
    body = json.dumps(json.loads(review(obj, groups=texts)), ensure_ascii=False).encode()
    assert len(body) > 6 * 2**20
    tracemalloc.start()
    try:
        typed = read_review(body)
        assert typed.object is not None
        assert typed.object.metadata is not None
        assert typed.object.metadata.annotation("a/b") == "x"
        assert (typed.user_info.groups, typed.object.metadata.owner_references) == ([], [])
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert typed.unreadable == ""
    assert kept < 64 * 1024


@pytest.mark.parametrize("obj", [None, {"spec": {}}])
def test_object_without_metadata_has_no_identity(obj: Any) -> None:
    """No field of it is kept."""
    review = request(obj)
    review.keep_identity()
    assert review.object is None

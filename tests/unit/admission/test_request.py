"""The request of an AdmissionReview, typed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.builders import pod, request


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
def test_an_object_is_called_by_its_name_or_the_beginning_of_it(
    name: str, metadata: dict[str, Any] | None, expected: str
) -> None:
    """A Pod of a controller has no name yet when it is judged."""
    thing = pod("a") | {"metadata": metadata}
    assert request(thing, name=name).object_name == expected


def test_without_an_object_there_is_no_name() -> None:
    """The name of a deleted object stands in the request."""
    assert request(None, operation="DELETE", name="web").object_name == "web"
    assert request(None, name="").object_name == ""


def test_what_identifies_an_object_is_kept_and_nothing_else() -> None:
    """Fault C2: what records of a decision name; the rest is forgotten before the review waits."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u", "controller": True}
    thing = pod("a")
    thing["metadata"] = {
        "generateName": "web-",
        "uid": "42",
        "annotations": {"a": "b"},
        "ownerReferences": [{**owner, "controller": False}, owner],
    }
    review = request(thing, old=thing, operation="UPDATE", name="", user="alice", groups=["devs"])
    review.keep_identity()
    assert msgspec.to_builtins(review.object, str_keys=True) == {
        "metadata": {
            "name": "",
            "generateName": "web-",
            "uid": "42",
            "annotations": None,
            "ownerReferences": [owner],
        },
        "spec": None,
    }
    assert (review.old_object, review.user_info.username, review.user_info.groups) == (None, "alice", None)
    assert review.object_name == "web-*"


@pytest.mark.parametrize("thing", [None, {"spec": {}}])
def test_an_object_without_metadata_has_no_identity(thing: Any) -> None:
    """Nothing of it is kept."""
    review = request(thing)
    review.keep_identity()
    assert review.object is None

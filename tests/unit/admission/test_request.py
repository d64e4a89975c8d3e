"""The request of an AdmissionReview, typed."""

from __future__ import annotations

from typing import Any

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

"""Contract of lists of the Kubernetes API: the same tests in memory and on a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.controlplane import ControlPlane
from tests.unit.cluster.lists import FakeLists
from webhook.cluster.client import ReadApi, connect
from webhook.errors import ClusterError

NAMESPACE = "lists"
PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
NAMES = ["a", "b", "c", "d", "e"]
SELECTOR = {"labelSelector": "of=the-contract"}
"""The API server creates objects of its own in each namespace."""


@pytest.fixture(params=["memory", "API server"])
def api(request: pytest.FixtureRequest) -> Iterator[ReadApi]:
    """Return an API server with five objects, in memory or a real one."""
    objs: list[dict[str, Any]] = [
        {"metadata": {"name": name, "labels": {"of": "the-contract"}}} for name in NAMES
    ]
    if request.param == "memory":
        lists = FakeLists({PATH: objs}, size=100)
        lists.objects = {f"{PATH}/{obj['metadata']['name']}": obj for obj in objs}
        yield lists
        return
    cluster: ControlPlane = request.getfixturevalue("control_plane")
    real = connect(str(cluster.kubeconfig("admin")))
    for path, obj in [
        ("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}}),
        *((PATH, obj) for obj in objs),
    ]:
        try:
            real.create(path, obj)
        except ClusterError as error:
            if error.status != 409:
                raise
    yield real


def names(answer: dict[str, object]) -> list[str]:
    """Return the names of a page, in its order."""
    items = answer["items"]
    assert isinstance(items, list)
    return [item["metadata"]["name"] for item in items]


def test_list_is_returned_in_pages(api: ReadApi) -> None:
    """Each page has a token and the number of remaining objects; the last page has neither."""
    pages: list[list[str]] = []
    left: list[object] = []
    query = {"limit": "2"}
    while True:
        answer = api.get(PATH, query)
        pages.append([name for name in names(answer) if name in NAMES])
        left.append(answer["metadata"].get("remainingItemCount"))
        token = answer["metadata"].get("continue")
        if not token:
            break
        query = {"limit": "2", "continue": token}
    assert [name for page in pages for name in page] == NAMES
    assert left[-1] is None
    assert all(isinstance(count, int) for count in left[:-1])
    assert len(pages) >= 3


def test_list_without_limit_is_returned_in_one_page(api: ReadApi) -> None:
    """The page has no continue token."""
    answer = api.get(PATH, SELECTOR)
    assert names(answer) == NAMES
    assert not answer["metadata"].get("continue")


def test_object_is_returned_by_path(api: ReadApi) -> None:
    assert api.get(f"{PATH}/c")["metadata"]["name"] == "c"


def test_missing_object_raises_404(api: ReadApi) -> None:
    """The error has the HTTP status."""
    with pytest.raises(ClusterError) as caught:
        api.get(f"{PATH}/z")
    assert caught.value.status == 404


def test_empty_collection_returns_empty_list(api: ReadApi) -> None:
    """An empty list is not an error."""
    answer = api.get("/api/v1/namespaces/nowhere/pods", {"limit": "2"})
    assert names(answer) == []

"""Cache warm-up from running Pods: the images, the limits, and the Pods that it skips."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.builders import HOST, NOW, FakeAnswers, exemption, policy
from tests.unit.cluster.lists import FakeLists
from webhook.admission.evaluator import Evaluator
from webhook.cluster import warming
from webhook.cluster.warming import PAGE_SIZE, WarmUp
from webhook.errors import ClusterError
from webhook.policy.model import Policy
from webhook.trust.records import TrustQuery


def running(*images: str, namespace: str = "shop", phase: str = "Running", **spec: Any) -> dict[str, Any]:
    """Return a Pod as it is in a list."""
    containers = [{"name": f"c{index}", "image": image} for index, image in enumerate(images)]
    return {
        "metadata": {"namespace": namespace, "name": images[0] if images else "none"},
        "spec": {"containers": containers, **spec},
        "status": {"phase": phase},
    }


class Watched:
    """A warm-up with a list of Pods."""

    def __init__(self, *pods: Any, current: Policy | None = None) -> None:
        self.api = FakeLists({"/api/v1/pods": list(pods)})
        evaluator = Evaluator(current or policy(), FakeAnswers({}))
        self.rounds: list[list[str]] = []
        self.stop = threading.Event()
        self.warm_up = WarmUp(
            self.api, lambda namespace, use: evaluator.lookup_request_for(use, namespace, NOW), self._warm
        )

    def _warm(self, queries: Sequence[TrustQuery]) -> None:
        self.rounds.append([str(query).removeprefix(f"{HOST}/") for query in queries])

    def run(self) -> list[str]:
        """Run it, and return the looked-up images."""
        self.warm_up.run(self.stop)
        return [image for images in self.rounds for image in images]


@pytest.fixture(autouse=True)
def _no_page_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "PAGE_PAUSE", 0.0)


def test_warm_up_looks_up_each_running_image_once() -> None:
    """In any place of a Pod, and with any number of Pods."""
    pods = [
        running(f"{HOST}/shop/web:1", f"{HOST}/shop/api:1"),
        running(f"{HOST}/shop/web:1", initContainers=[{"name": "i", "image": f"{HOST}/shop/init:1"}]),
        running(f"{HOST}/shop/web:1", f"{HOST}/shop/log"),
    ]
    assert Watched(*pods).run() == ["shop/web:1", "shop/api:1", "shop/init:1", "shop/log:latest"]


def test_warm_up_skips_images_that_need_no_lookup() -> None:
    """Ended Pods, other registries, exempt images, invalid references, digests without a tag, and unreadable
    Pods.
    """
    pods = [
        running(f"{HOST}/shop/done:1", phase="Succeeded"),
        running("nginx", "NO REFERENCE", f"{HOST}/shop/web@sha256:{'a' * 64}"),
        running(f"{HOST}/shop/exempt:1"),
        {"metadata": 7},
        running(f"{HOST}/shop/web:1"),
    ]
    current = policy(exemptions=(exemption("e", [f"{HOST}/shop/exempt"]),))
    assert Watched(*pods, current=current).run() == ["shop/web:1"]


def test_warm_up_reads_small_pages() -> None:
    """A page is decoded without a yield, which delays others."""
    watched = Watched(*(running(f"{HOST}/shop/web:{index}") for index in range(5)))
    watched.run()
    assert [query["limit"] for query in watched.api.queries] == [str(PAGE_SIZE)] * 3
    assert [len(images) for images in watched.rounds] == [2, 2, 1]


@pytest.mark.parametrize(("bound", "value"), [("MAX_IMAGES", 3), ("MAX_PAGES", 2)])
def test_warm_up_is_limited_in_images_and_pages(
    monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    """A large cluster is not read to its end."""
    monkeypatch.setattr(warming, bound, value)
    watched = Watched(*(running(f"{HOST}/shop/web:{index}") for index in range(10)))
    assert len(watched.run()) == {"MAX_IMAGES": 3, "MAX_PAGES": 4}[bound]
    assert len(watched.api.calls) == 2


def test_warm_up_stops_with_process() -> None:
    """After the current page."""
    watched = Watched(*(running(f"{HOST}/shop/web:{index}") for index in range(10)))
    watched.stop.set()
    assert len(watched.run()) == 2


def test_warm_up_without_permission_is_logged_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    """The webhook serves as without a warm-up."""
    watched = Watched(running(f"{HOST}/shop/web:1"))
    watched.api.failures[1] = ClusterError(403, 'cannot list resource "pods"')
    assert watched.run() == []
    assert 'running Pods could not be read to warm up: cannot list resource "pods"' in caplog.text

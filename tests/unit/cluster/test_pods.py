"""Reading of running Pods: pages, owners, digests and failures."""

from __future__ import annotations

from typing import Any

import pytest

import webhook.cluster.client
from tests.unit.cluster.lists import FakeLists, owned_by, pod
from webhook.audit.coverage_texts import translate
from webhook.audit.pods import PodPage, RunningPod
from webhook.cluster.pods import PodReader
from webhook.errors import ClusterError

PODS = "/api/v1/pods"
REPLICA_SETS = "/apis/apps/v1/namespaces/shop/replicasets"
DIGEST = "sha256:" + "a" * 64


def read(api: FakeLists, *namespaces: str, selector: str = "") -> list[PodPage]:
    """Read all pages without pauses; each gap and each note must have a Chinese text."""
    pages = list(PodReader(api, namespaces, selector, sleep=lambda _seconds: None).pages())
    for page in pages:
        assert not [line for line in (*page.gaps, *page.notes) if translate(line) == line]
    return pages


def names(pages: list[PodPage]) -> list[str]:
    """Return namespace and name of every Pod in order."""
    return [f"{item.namespace}/{item.name}" for page in pages for item in page.pods]


def gaps(pages: list[PodPage]) -> list[str]:
    """Return all gaps."""
    return [gap for page in pages for gap in page.gaps]


def one(**changes: Any) -> RunningPod:
    """Return the only Pod of a list, as it was read."""
    return read(FakeLists({PODS: [pod("a", **changes)]}))[0].pods[0]


def test_all_pod_pages_are_read_with_remaining_count() -> None:
    """Five Pods in pages of two."""
    pages = read(FakeLists({PODS: [pod(name) for name in "abcde"]}))
    assert names(pages) == [f"shop/{name}" for name in "abcde"]
    assert [page.remaining for page in pages] == [3, 1, 0]


def test_each_namespace_is_listed_once_with_selector() -> None:
    """One list per namespace."""
    api = FakeLists(
        {"/api/v1/namespaces/a/pods": [pod("x", "a")], "/api/v1/namespaces/b/pods": [pod("y", "b")]}
    )
    assert names(read(api, "a", "b", "a", selector="app=web")) == ["a/x", "b/y"]
    assert [query["labelSelector"] for query in api.queries] == ["app=web", "app=web"]


def test_ended_pods_are_skipped() -> None:
    """They run no container."""
    api = FakeLists(
        {
            PODS: [
                pod(phase, status={"phase": phase}) for phase in ("Pending", "Succeeded", "Failed", "Unknown")
            ]
        }
    )
    assert names(read(api)) == ["shop/Pending", "shop/Unknown"]


@pytest.mark.parametrize(
    ("image_id", "digests"),
    [
        (f"swr.example.com/shop/web@{DIGEST}", {("containers", "main"): DIGEST}),
        (f"docker-pullable://swr.example.com/shop/web@{DIGEST}", {("containers", "main"): DIGEST}),
        (DIGEST, {}),
        ("", {}),
    ],
    ids=["containerd", "docker", "an image ID", "not started yet"],
)
def test_running_digest_is_read_from_image_id(image_id: str, digests: Any) -> None:
    """Only a manifest's digest can be compared with SWR's."""
    statuses = [{"name": "main", "imageID": image_id}]
    assert one(status={"containerStatuses": statuses}).digests == digests


def test_running_digests_are_keyed_by_container_list_and_name() -> None:
    """A container and an init container may have one name."""
    status = {
        "initContainerStatuses": [{"name": "main", "imageID": f"a@{DIGEST}"}],
        "ephemeralContainerStatuses": [{"name": "debug", "imageID": f"b@{DIGEST}"}],
    }
    assert set(one(status=status).digests) == {("initContainers", "main"), ("ephemeralContainers", "debug")}


def test_static_pod_is_recognized_by_node_owner() -> None:
    """Any user may set the annotation."""
    mirror = {"annotations": {"kubernetes.io/config.mirror": "x"}}
    assert one(**mirror, **owned_by("Node", "n1")).is_static
    assert not one(**mirror).is_static


@pytest.mark.parametrize(
    ("owner", "workload"),
    [
        (("ReplicaSet", "web-5d4f"), "Deployment/web"),
        (("ReplicaSet", "alone"), "ReplicaSet/alone"),
        (("Job", "report-1"), "CronJob/report"),
        (("Job", "once"), "Job/once"),
        (("StatefulSet", "db"), "StatefulSet/db"),
        (("Rollout", "x"), "Rollout/x"),
    ],
)
def test_workload_of_pod_is_its_top_level_owner(owner: tuple[str, str], workload: str) -> None:
    """The owner's owner if that is a controller of Kubernetes, otherwise the owner."""
    api = FakeLists(
        {
            PODS: [pod("p", **owned_by(*owner))],
            REPLICA_SETS: [
                {"metadata": {"name": "alone"}},
                {"metadata": {"name": "web-5d4f", **owned_by("Deployment", "web")}},
            ],
            "/apis/batch/v1/namespaces/shop/jobs": [
                {"metadata": {"name": "report-1", **owned_by("CronJob", "report")}}
            ],
        }
    )
    assert str(read(api)[0].pods[0].workload) == workload


def test_pod_without_owner_is_its_own_workload() -> None:
    assert str(one().workload) == "Pod/a"


def test_replica_sets_are_listed_once_per_namespace() -> None:
    """Not one call per Pod."""
    pods = [pod(f"p{number}", **owned_by("ReplicaSet", f"r{number}")) for number in range(7)]
    api = FakeLists({PODS: pods})
    read(api)
    assert api.calls.count(REPLICA_SETS) == 1


def test_workload_is_guessed_without_permission_to_list_replica_sets() -> None:
    """By the hash that the Deployment's controller writes into label and name; this is reported once."""
    labels: dict[str, Any] = {"labels": {"pod-template-hash": "5d4f"}}
    api = FakeLists({PODS: [pod("p", **owned_by("ReplicaSet", "web-5d4f"), **labels)]})
    api.failures[2] = ClusterError(403, "forbidden")
    pages = read(api)
    assert str(pages[0].pods[0].workload) == "Deployment/web"
    assert pages[-1].notes == ("some workloads are named after their ReplicaSets or Jobs: forbidden",)
    assert gaps(pages) == []


def test_expired_continue_token_restarts_list_after_last_pod() -> None:
    """410 Gone: no Pod is lost or counted twice, and the report says that it is of two moments."""
    keys = [("a-b", "x"), ("a", "y"), ("a", "z"), ("b", "w")]
    api = FakeLists({PODS: [pod(name, namespace) for namespace, name in keys]})
    api.failures[2] = ClusterError(410, "the provided continue parameter is too old")
    pages = read(api)
    assert names(pages) == ["a-b/x", "a/y", "a/z", "b/w"]
    assert [note for page in pages for note in page.notes] == [
        "the list of Pods was restarted, so its Pods are of several moments"
    ]


def test_repeatedly_expired_continue_token_leaves_gap() -> None:
    """Retries end; the missing part makes the report partial."""
    api = FakeLists({PODS: [pod(name) for name in "abcd"]})
    api.failures = {call: ClusterError(410, "too old") for call in (2, 4, 6, 8, 10)}
    pages = read(api)
    assert names(pages) == ["shop/a", "shop/b"]
    assert gaps(pages) == [
        "the list of Pods in all namespaces expired again and again while it was read: too old"
    ]


@pytest.mark.parametrize("status", [0, 429, 500, 503])
def test_transient_list_failure_is_retried(status: int) -> None:
    """An API server is away for some seconds during its upgrade."""
    api = FakeLists({PODS: [pod(name) for name in "abc"]})
    api.failures = {call: ClusterError(status, "away") for call in (2, 3, 4)}
    pages = read(api)
    assert (names(pages), gaps(pages)) == (["shop/a", "shop/b", "shop/c"], [])


def test_lasting_api_server_outage_leaves_gap() -> None:
    """The pages before it are kept."""
    api = FakeLists({PODS: [pod(name) for name in "abc"]})
    api.failures = {call: ClusterError(0, "refused") for call in range(2, 99)}
    pages = read(api)
    assert names(pages) == ["shop/a", "shop/b"]
    assert gaps(pages) == ["Pods in all namespaces could not be read to the end: refused"]


def test_missing_permission_to_list_pods_is_named() -> None:
    """403: the other namespaces are still read."""
    api = FakeLists({"/api/v1/namespaces/b/pods": [pod("y", "b")]})
    api.failures[1] = ClusterError(403, "no")
    pages = read(api, "a", "b")
    assert names(pages) == ["b/y"]
    assert gaps(pages) == [
        "the API server does not let you list Pods in the namespace a: you need the verb list on pods there (no)"
    ]
    everywhere = FakeLists({})
    everywhere.failures[1] = ClusterError(403, "no")
    assert gaps(read(everywhere)) == [
        "the API server does not let you list Pods in all namespaces: name some with -n, or get the right to (no)"
    ]


def test_unknown_namespace_is_reported_as_gap() -> None:
    """The API server answers with an empty list: a misspelled name must not look clean."""
    api = FakeLists({})
    api.objects["/api/v1/namespaces/empty"] = {}
    assert gaps(read(api, "empty")) == []
    assert gaps(read(api, "shpo")) == ["the namespace shpo does not exist, or no longer"]


def test_namespace_deleted_during_list_keeps_pods_seen() -> None:
    """Its last pages are empty; the pages before them are kept."""
    api = FakeLists({"/api/v1/namespaces/shop/pods": [pod(name) for name in "abc"]})

    def delete(_path: str) -> None:
        if len(api.calls) == 2:
            api.collections["/api/v1/namespaces/shop/pods"] = []

    api.before = delete
    assert names(read(api, "shop")) == ["shop/a", "shop/b"]


def test_unreadable_pod_is_reported_as_gap() -> None:
    """It is not skipped silently."""
    broken = pod("b")
    broken["spec"] = {"containers": 1}
    pages = read(FakeLists({PODS: [pod("a"), broken, {"metadata": None}]}))
    assert names(pages) == ["shop/a"]
    assert gaps(pages) == [
        "the Pod shop/b cannot be read: Expected `array | null`, got `int` - at `$.spec.containers`",
        "the Pod / cannot be read: Expected `object`, got `null` - at `$.metadata`",
    ]


def test_endless_list_call_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is on the whole answer, not between two bytes of it."""
    import threading

    release = threading.Event()
    monkeypatch.setattr(webhook.cluster.client, "CALL_SECONDS", 0.02)
    api = FakeLists({})
    api.before = lambda _path: release.wait(30)
    (gap,) = gaps(read(api))
    release.set()
    assert gap.startswith(
        "Pods in all namespaces could not be read to the end: the API server did not answer"
    )

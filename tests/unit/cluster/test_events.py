"""Events about denials, also those that a mode prevents: their text, their limits, and requests
without one.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.support.builders import DIGEST, HOST, NOW, SOON, FakeAnswers, pod, policy, request, rule
from tests.support.fakes import FakeClock, RecorderSpy
from webhook.admission.extraction import ImageUse
from webhook.admission.mutation import Mutation, Pin
from webhook.admission.request import AdmissionRequest
from webhook.admission.validator import Validator
from webhook.cluster.client import JSON_PATCH, KubernetesApi
from webhook.cluster.event_recorder import (
    MAX_NOTE,
    MAX_PENDING,
    MAX_PENDING_OF_NAMESPACE,
    MAX_SERIES,
    SERIES_INTERVAL,
    SERIES_LIFETIME,
    WRITES_PER_ROUND,
)
from webhook.cluster.events import DecisionEvents
from webhook.deadlines import Deadline
from webhook.errors import ClusterError
from webhook.policy.findings import Mode
from webhook.policy.model import BreakGlass, Policy
from webhook.trust.lookup import LookupRequest, LookupResult
from webhook.trust.records import TrustStatus

FACTS: dict[str, Any] = {"shop/web:1": TrustStatus.TRUSTED, "shop/web:2": TrustStatus.UNTRUSTED}
GOOD, BAD = f"{HOST}/shop/web:1", f"{HOST}/shop/web:2"
WHAT = f'spec.containers[0].image "{BAD}": SWR does not mark this tag as trusted'
ADVICE = "Mark this tag as trusted in SWR, or use a tag that already is."
OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u-1", "controller": True}
EVENTS = "/apis/events.k8s.io/v1/namespaces/shop/events"


class FakeEventApi(KubernetesApi):
    """Keeps the written objects; ``error`` is raised instead."""

    def __init__(self) -> None:
        self.created: list[tuple[str, Mapping[str, Any]]] = []
        self.patched: list[tuple[str, Any, str]] = []
        self.error: ClusterError | None = None
        self.patch_error: ClusterError | None = None

    def create(self, path: str, obj: Mapping[str, Any]) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        self.created.append((path, obj))
        return dict(obj)

    def patch(self, path: str, change: Any, content_type: str = JSON_PATCH) -> dict[str, Any]:
        error = self.error or self.patch_error
        if error is not None:
            raise error
        self.patched.append((path, change, content_type))
        return {}


class Watched:
    """A validator whose decisions become Events."""

    def __init__(self, current: Policy | None = None) -> None:
        self.api, self.notes, self.clock = FakeEventApi(), RecorderSpy(), FakeClock(NOW)
        chosen = current if current is not None else policy()
        self.events = DecisionEvents(self.api, "pod-1", self.notes, self.clock)
        self._validator = Validator(lambda: chosen, FakeAnswers(FACTS), [self.events], clock=lambda: NOW)

    def validate(self, body: AdmissionRequest, times: int = 1) -> None:
        for _ in range(times):
            self._validator.validate(copy.deepcopy(body), SOON)

    def written(self) -> list[Mapping[str, Any]]:
        """Flush until nothing is due, and return every created Event."""
        while self.events.flush():
            before = len(self.api.created) + len(self.api.patched)
            self.events.flush()
            if len(self.api.created) + len(self.api.patched) == before:
                break
        return [obj for _, obj in self.api.created]

    @property
    def outcomes(self) -> list[object]:
        return [outcome for (outcome,) in self.notes.named("event_ended")]


def owned(*images: str, owner: Mapping[str, Any] = OWNER) -> dict[str, Any]:
    """Return a Pod with a controller."""
    obj = pod(*images)
    obj["metadata"] = {"generateName": "web-1-", "ownerReferences": [owner]}
    return obj


def test_denied_pod_creates_event_on_its_owner() -> None:
    """The whole Event, as Kubernetes requires it."""
    watched = Watched()
    watched.validate(request(owned(BAD)))
    (event,) = watched.written()
    name = event["metadata"]["name"]
    assert name.startswith("swr-trust.")
    assert event == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "shop"},
        "type": "Warning",
        "eventTime": "2027-01-15T08:00:00.000000Z",
        "reportingController": "swr-trust/webhook",
        "reportingInstance": "pod-1",
        "action": "JudgeImages",
        "reason": "ImageRefused",
        "note": f"denied by image trust policy: {WHAT}. {ADVICE}",
        "regarding": {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": "web-1",
            "uid": "u-1",
            "namespace": "shop",
        },
    }
    assert watched.api.created[0][0] == EVENTS
    assert watched.outcomes == ["created"]


@pytest.mark.parametrize("mode", ["warn", "audit"])
def test_pod_that_would_be_denied_creates_event(mode: str) -> None:
    """No person sees the warning that a controller receives."""
    watched = Watched(policy(rules=(rule(mode=mode),)))
    watched.validate(request(owned(BAD)))
    (event,) = watched.written()
    assert (event["reason"], event["note"]) == (
        "ImageWouldBeRefused",
        f"image trust policy: {WHAT}; would be denied once enforced. {ADVICE}",
    )


def test_break_glass_event_names_user_and_reason() -> None:
    """Others can see an emergency admission."""
    watched = Watched(policy(break_glass=BreakGlass("swr-trust/break-glass", groups=frozenset({"oncall"}))))
    obj = pod(BAD)
    obj["metadata"]["annotations"] = {"swr-trust/break-glass": "incident 7"}
    watched.validate(request(obj, user="alice", groups=["oncall"]))
    (event,) = watched.written()
    assert event["reason"] == "BreakGlassUsed"
    assert event["note"].startswith("alice: incident 7 image trust policy: ")
    assert WHAT in event["note"]


def test_denied_pod_without_controller_creates_event_on_namespace() -> None:
    """A denied Pod does not exist, so that an Event cannot refer to it."""
    watched = Watched()
    watched.validate(request(pod(BAD)))
    assert watched.written()[0]["regarding"] == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "name": "shop",
        "namespace": "shop",
    }


def test_denied_update_creates_event_on_pod() -> None:
    """The Pod exists."""
    watched = Watched()
    obj = pod(BAD)
    obj["metadata"] = {"name": "web", "uid": "u-2"}
    watched.validate(request(obj, old=pod(GOOD), operation="UPDATE"))
    assert watched.written()[0]["regarding"]["name"] == "web"


@pytest.mark.parametrize(
    "body",
    [
        request(owned(GOOD)),
        request(owned(BAD), dryRun=True),
        request(owned(BAD), namespace="../../nodes"),
        request(owned(BAD), namespace=""),
        request(owned(BAD), operation="DELETE"),
    ],
    ids=["trusted", "dry run", "a path for a namespace", "no namespace", "DELETE"],
)
def test_request_without_denial_or_valid_namespace_creates_no_event(body: AdmissionRequest) -> None:
    """An invalid namespace must not become part of a path of the API server."""
    watched = Watched()
    watched.validate(body)
    assert watched.written() == []


def test_repeated_event_becomes_series_with_count() -> None:
    """A ReplicaSet that retries all day is one Event."""
    watched = Watched()
    watched.validate(request(owned(BAD)), times=3)
    (event,) = watched.written()
    assert event["series"] == {"count": 3, "lastObservedTime": "2027-01-15T08:00:00.000000Z"}
    watched.validate(request(owned(BAD)), times=2)
    assert len(watched.written()) == 1
    assert watched.api.patched == []
    watched.clock.tick(SERIES_INTERVAL)
    watched.written()
    change = {"series": {"count": 5, "lastObservedTime": "2027-01-15T08:00:00.000000Z"}}
    path = f"{EVENTS}/{event['metadata']['name']}"
    assert watched.api.patched == [(path, change, "application/merge-patch+json")]
    assert watched.outcomes == ["created", "repeated"]


def test_repetition_after_series_lifetime_creates_new_event() -> None:
    """The API server deletes Events after an hour."""
    watched = Watched()
    watched.validate(request(owned(BAD)))
    watched.written()
    watched.clock.tick(SERIES_LIFETIME)
    watched.validate(request(owned(BAD)))
    assert len(watched.written()) == 2


def test_deleted_event_is_created_again() -> None:
    """A user or the API server has deleted it."""
    watched = Watched()
    watched.validate(request(owned(BAD)))
    watched.written()
    watched.clock.tick(SERIES_INTERVAL)
    watched.api.patch_error = ClusterError(404, "not found")
    watched.validate(request(owned(BAD)))
    assert len(watched.written()) == 2


def test_event_writes_per_round_are_limited() -> None:
    """The rate of calls has a limit."""
    watched = Watched()
    for number in range(WRITES_PER_ROUND + 5):
        watched.validate(request(pod(f"{HOST}/shop/gone:{number}")))
    assert watched.events.flush()
    assert len(watched.api.created) == WRITES_PER_ROUND


def test_pending_events_per_namespace_are_limited() -> None:
    """A flood of different images in one namespace leaves room for another's Event."""
    watched = Watched()
    for number in range(MAX_PENDING_OF_NAMESPACE + 7):
        watched.validate(request(pod(f"{HOST}/shop/gone:{number}"), namespace="noisy"))
    watched.validate(request(pod(BAD), namespace="quiet"))
    assert watched.outcomes == ["dropped"] * 7
    assert watched.written()[-1]["metadata"]["namespace"] == "quiet"


def test_pending_events_are_limited() -> None:
    """Events above the limit are counted and dropped."""
    watched = Watched()
    for number in range(MAX_PENDING + 3):
        watched.validate(request(pod(BAD), namespace=f"n{number}"))
    assert watched.outcomes == ["dropped"] * 3


def test_remembered_event_series_are_limited() -> None:
    """The oldest series is dropped."""
    watched = Watched()
    for number in range(MAX_SERIES + 1):
        watched.validate(request(pod(BAD), namespace=f"n{number}"))
        watched.events.flush()
    watched.clock.tick(SERIES_INTERVAL)
    watched.validate(request(pod(BAD), namespace="n0"))
    watched.validate(request(pod(BAD), namespace=f"n{MAX_SERIES}"))
    watched.written()
    assert watched.outcomes[-2:] == ["created", "repeated"]


@pytest.mark.parametrize("status", [0, 429, 500, 503])
def test_event_is_retried_after_api_server_outage(status: int) -> None:
    """Nothing is lost, and the retries have pauses."""
    watched = Watched()
    watched.validate(request(owned(BAD)))
    watched.validate(request(pod(BAD)))
    watched.api.error = ClusterError(status, "away")
    assert not watched.events.flush()
    watched.api.error = None
    assert len(watched.written()) == 2
    assert watched.outcomes == ["created", "created"]


@pytest.mark.parametrize("status", [403, 404, 422])
def test_rejected_event_is_counted_and_dropped(status: int) -> None:
    """No rights, a namespace that is being deleted, or an invalid Event."""
    watched = Watched()
    watched.validate(request(owned(BAD)))
    watched.api.error = ClusterError(status, "no")
    assert watched.events.flush()
    watched.api.error = None
    assert watched.written() == []
    assert watched.outcomes == ["failed"]


def test_event_note_is_truncated_to_limit() -> None:
    """Whole characters within the number of bytes."""
    watched = Watched(policy(hint="信" * 500))
    watched.validate(request(owned(BAD)))
    (event,) = watched.written()
    assert len(event["note"].encode()) <= MAX_NOTE
    assert event["note"].endswith("信...")


def test_denied_pod_owned_by_node_creates_event_on_namespace() -> None:
    """Nodes have no namespace."""
    watched = Watched()
    watched.validate(request(owned(BAD, owner={**OWNER, "kind": "Node"})))
    assert watched.written()[0]["regarding"]["kind"] == "Namespace"


def test_event_worker_stops_on_request() -> None:
    """It does not outlive the server."""
    watched = Watched()
    stop = threading.Event()
    worker = threading.Thread(target=lambda: watched.events.run(stop), daemon=True)
    worker.start()
    stop.set()
    worker.join(30)
    assert not worker.is_alive()


def test_an_event_uses_the_language_of_the_policy_that_decided() -> None:
    """The policy may change while a review waits for SWR."""
    current = [policy(mode=Mode.WARN)]

    class Reloading(FakeAnswers):
        def look_up(self, questions: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
            current[:] = [policy(mode=Mode.WARN, messages="zh")]
            return super().look_up(questions, deadline)

    api = FakeEventApi()
    events = DecisionEvents(api, "pod-1", RecorderSpy(), FakeClock(NOW))
    Validator(lambda: current[0], Reloading(FACTS), [events], clock=lambda: NOW).validate(
        request(pod(BAD)), SOON
    )
    events.flush()
    ((_, event),) = api.created
    assert WHAT in event["note"]


# Pinned images.


def pinned(images: int = 1, *, is_kept: bool = False) -> Mutation:
    """Return a mutation that pins some images."""
    places = [f"spec.containers[{index}].image" for index in range(images)]
    uses = [ImageUse(field, ("containers", field), GOOD) for field in places]
    return Mutation(pins=tuple(Pin(use, f"{GOOD}@{DIGEST}", is_kept) for use in uses))


def test_pinned_images_create_normal_event_on_owner() -> None:
    """Pods of one rollout have the same digest, so they are one series."""
    watched = Watched()
    for _ in range(3):
        watched.events.observe_mutation(request(owned(GOOD)), pinned(), 0.0)
    (event,) = watched.written()
    assert (event["type"], event["reason"], event["action"], event["series"]["count"]) == (
        "Normal",
        "ImagePinned",
        "PinImages",
        3,
    )
    assert event["note"] == f'spec.containers[0].image "{GOOD}": {DIGEST}'
    assert event["regarding"]["name"] == "web-1"


def test_event_names_three_pinned_images_and_counts_the_rest() -> None:
    """A note has at most 1,024 bytes."""
    watched = Watched()
    watched.events.observe_mutation(request(owned(GOOD)), pinned(5), 0.0)
    (event,) = watched.written()
    assert event["note"].count(DIGEST) == 3
    assert event["note"].endswith(" (+2)")


@pytest.mark.parametrize(
    ("mutation", "rest"),
    [
        (Mutation(), {}),
        (pinned(is_kept=True), {}),
        (pinned(), {"dryRun": True}),
        (pinned(), {"namespace": "../x"}),
    ],
    ids=["nothing pinned", "kept", "dry run", "not a namespace"],
)
def test_mutation_without_news_creates_no_event(mutation: Mutation, rest: dict[str, Any]) -> None:
    """A kept digest was reported when it was pinned."""
    watched = Watched()
    watched.events.observe_mutation(request(owned(GOOD), **rest), mutation, 0.0)
    assert watched.written() == []


@pytest.mark.parametrize(
    ("namespaces", "dropped"),
    [(MAX_PENDING, MAX_PENDING // 2), (1, MAX_PENDING - MAX_PENDING_OF_NAMESPACE // 2)],
)
def test_pinned_images_leave_room_for_denials(namespaces: int, dropped: int) -> None:
    """After a node is drained, the images of many Pods are pinned while others are denied."""
    watched = Watched()
    for number in range(MAX_PENDING):
        body = request(
            owned(GOOD, owner={**OWNER, "name": f"web-{number}"}), namespace=f"n{number % namespaces}"
        )
        watched.events.observe_mutation(body, pinned(), 0.0)
    assert watched.outcomes == ["dropped"] * dropped
    watched.validate(request(owned(BAD), namespace="n0"))
    assert len(watched.outcomes) == dropped

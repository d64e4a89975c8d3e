"""The record of a mutation: one log line, and counters."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from tests.support.builders import DIGEST, HOST, NOW, SOON, UID, FakeAnswers, pod, policy, request, rule
from tests.support.recorded import Recorded
from webhook.admission.mutator import Mutator
from webhook.admission.request import AdmissionRequest
from webhook.admission.validator import Validator
from webhook.app.decision_recorder import MAX_FINDINGS, DecisionRecorder
from webhook.app.mutation_recorder import MutationRecorder
from webhook.policy.model import Policy
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.telemetry.logs import LineLog
from webhook.trust.records import TrustRecord, TrustStatus

GOOD, BAD, SIGNED = f"{HOST}/shop/web:1", f"{HOST}/shop/web:2", f"{HOST}/shop/signed:1"
FACTS: dict[str, Any] = {
    "shop/web:1": TrustStatus.TRUSTED,
    "shop/web:2": TrustStatus.UNTRUSTED,
    "shop/signed:1": TrustRecord(
        TrustStatus.TRUSTED,
        NOW,
        DIGEST,
        signature=SignatureCheck(SignatureResult.SIGNED, NOW, ("release",), ("bundle",), 1),
    ),
}
PINS = policy(pin_digests=True)
OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u-1", "controller": True}


class RecordedPinning(Recorded):
    """A mutator and a validator with recorders, whose lines and counters can be read."""

    def __init__(self, current: Policy = PINS, level: int = logging.INFO) -> None:
        super().__init__(level)
        answers = FakeAnswers(FACTS)
        self.mutator = Mutator(
            lambda: current, answers, [MutationRecorder(self.metrics, self.log)], clock=lambda: NOW
        )
        quiet = LineLog(io.StringIO(), "json", logging.INFO)
        self.validator = Validator(
            lambda: current, answers, [DecisionRecorder(self.metrics, quiet)], clock=lambda: NOW
        )

    def mutate(self, body: AdmissionRequest) -> None:
        self.mutator.mutate(body, SOON)


def test_line_names_pinned_images_and_others() -> None:
    """The whole line."""
    recorded = RecordedPinning()
    obj = pod(GOOD, BAD)
    obj["metadata"]["ownerReferences"] = [OWNER]
    recorded.mutate(request(obj))
    assert recorded.lines == [
        {
            "level": "info",
            "logger": "webhook.mutations",
            "message": "mutated",
            "uid": UID,
            "outcome": "pinned",
            "operation": "CREATE",
            "namespace": "shop",
            "object": "web",
            "user": "dev",
            "pinned": [{"field": "spec.containers[0].image", "image": GOOD, "digest": DIGEST}],
            "notPinned": [{"field": "spec.containers[1].image", "image": BAD, "reason": "untrusted"}],
            "owner": "ReplicaSet/web-1",
        }
    ]


def test_log_and_annotation_name_signers_of_pinned_images() -> None:
    """What is written into the Pod is what these keys signed."""
    recorded = RecordedPinning()
    mutation = recorded.mutator.mutate(request(pod(SIGNED, GOOD)), SOON)
    pinned = [
        {"field": "spec.containers[0].image", "image": SIGNED, "digest": DIGEST, "signers": ["release"]},
        {"field": "spec.containers[1].image", "image": GOOD, "digest": DIGEST},
    ]
    (line,) = recorded.lines
    assert line["pinned"] == pinned
    assert json.loads(mutation.annotations["pinned"]) == pinned


def test_line_counts_images_beyond_limit() -> None:
    """A Pod may have two hundred."""
    recorded = RecordedPinning()
    recorded.mutate(request(pod(*[GOOD] * (MAX_FINDINGS + 3), *[BAD] * (MAX_FINDINGS + 4))))
    (line,) = recorded.lines
    assert (len(line["pinned"]), len(line["notPinned"]), line["more"]) == (MAX_FINDINGS, MAX_FINDINGS, 7)


@pytest.mark.parametrize(("level", "lines"), [(logging.INFO, 0), (logging.DEBUG, 1)])
def test_request_without_image_to_pin_is_logged_at_debug(level: int, lines: int) -> None:
    """There is one for each Pod, and its decision is logged anyway."""
    recorded = RecordedPinning(level=level)
    recorded.mutate(request(pod("nginx")))
    assert len(recorded.lines) == lines


def test_counters_follow_outcomes_and_results() -> None:
    """Requests, their time, and images."""
    recorded = RecordedPinning()
    recorded.mutate(request(pod(GOOD, BAD)))
    recorded.mutate(request(pod("nginx"), dryRun=True))
    recorded.mutate(request(pod(GOOD), old=pod(f"{GOOD}@{DIGEST}"), operation="UPDATE"))
    recorded.mutator.skip_as_busy(request(pod(GOOD)))
    requests = {
        (outcome, dry_run): recorded.count("mutation_requests_total", outcome=outcome, dry_run=dry_run)
        for outcome, dry_run in (("pinned", "false"), ("unchanged", "true"), ("busy", "false"))
    }
    assert requests == {("pinned", "false"): 2, ("unchanged", "true"): 1, ("busy", "false"): 1}
    assert recorded.count("mutation_duration_seconds_count", outcome="pinned") == 2
    results = {
        result: recorded.count("pin_images_total", result=result)
        for result in ("pinned", "kept", "untrusted")
    }
    assert results == {"pinned": 1, "kept": 1, "untrusted": 1}


@pytest.mark.parametrize(
    ("image", "current", "unpinned"),
    [
        (GOOD, PINS, 1),
        (GOOD, policy(pin_digests=True, rules=(rule("r", require_digest=True),)), 1),
        (f"{GOOD}@{DIGEST}", PINS, 0),
        (BAD, PINS, 0),
        ("nginx", PINS, 0),
        (GOOD, policy(), 0),
        (GOOD, policy(rules=(rule("r", namespaces=["else"], pin_digests=True),)), 0),
    ],
    ids=["by tag", "denied", "pinned", "untrusted", "unmanaged", "off", "off in this namespace"],
)
def test_trusted_image_that_reaches_validate_by_tag_is_counted(
    image: str, current: Policy, unpinned: int
) -> None:
    """It shows that the mutating webhook was not called, or failed."""
    recorded = RecordedPinning(current)
    assert recorded.count("unpinned_images_total") == 0
    recorded.validator.validate(request(pod(image)), SOON)
    assert recorded.count("unpinned_images_total") == unpinned


def test_dry_run_does_not_count_as_unpinned() -> None:
    """No Pod runs by its tag."""
    recorded = RecordedPinning()
    recorded.validator.validate(request(pod(GOOD), dryRun=True), SOON)
    assert recorded.count("unpinned_images_total") == 0


def test_template_by_tag_does_not_count_as_unpinned() -> None:
    """Templates are never pinned."""
    recorded = RecordedPinning()
    template = {"metadata": {"name": "web"}, "spec": {"template": pod(GOOD)}}
    rest: dict[str, Any] = {"resource": ("apps", "v1", "deployments"), "kind": "Deployment"}
    recorded.validator.validate(request(template, **rest), SOON)
    assert recorded.count("unpinned_images_total") == 0

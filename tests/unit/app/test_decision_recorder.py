"""The record of a decision: one log line, and counters."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.support.builders import (
    ALIAS,
    DIGEST,
    HOST,
    NOW,
    SOON,
    UID,
    FakeAnswers,
    container,
    exemption,
    pod,
    policy,
    request,
    rule,
)
from tests.support.recorded import Recorded
from webhook.admission.request import AdmissionRequest
from webhook.admission.validator import Validator
from webhook.app.decision_recorder import MAX_FINDINGS, DecisionRecorder
from webhook.errors import Fault, LookupTimeout, Unauthorized
from webhook.policy.model import BreakGlass, Policy
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.records import TrustRecord, TrustStatus

FACTS: dict[str, Any] = {
    "shop/web:1": TrustStatus.TRUSTED,
    "shop/web:2": TrustStatus.UNTRUSTED,
    "shop/slow:1": LookupTimeout("no answer in 3.0 s", fault=Fault.REGISTRY),
    "shop/locked:1": Unauthorized("the token is not accepted"),
    "shop/signed:1": TrustRecord(
        TrustStatus.TRUSTED,
        NOW,
        DIGEST,
        signature=SignatureCheck(SignatureResult.SIGNED, NOW, ("release", "qa"), ("bundle",), 2),
    ),
    "shop/signed:2": TrustRecord(
        TrustStatus.UNTRUSTED,
        NOW,
        DIGEST,
        signature=SignatureCheck(SignatureResult.BAD_SIGNATURE, NOW, found=1, problems=("another key",)),
    ),
}


class RecordedDecisions(Recorded):
    """A validator with a recorder, whose lines and counters can be read."""

    def __init__(self, current: Policy | None = None, level: int = logging.INFO) -> None:
        super().__init__(level)
        recorder = DecisionRecorder(self.metrics, self.log)
        chosen = current if current is not None else policy()
        self._validator = Validator(lambda: chosen, FakeAnswers(FACTS), [recorder], clock=lambda: NOW)

    def decide(self, body: AdmissionRequest) -> None:
        self._validator.validate(body, SOON)


def line(**changes: Any) -> dict[str, Any]:
    """Return the line of an admitted Pod, changed."""
    return {
        "level": "info",
        "logger": "webhook.decisions",
        "message": "decided",
        "uid": UID,
        "decision": "allow",
        "allowed": True,
        "operation": "CREATE",
        "kind": "Pod",
        "namespace": "shop",
        "object": "web",
        "user": "dev",
        "findings": [finding()],
        **changes,
    }


def finding(**changes: Any) -> dict[str, Any]:
    """Return the entry of a trusted image, changed; ``None`` removes a key."""
    values = {
        "field": "spec.containers[0].image",
        "image": f"{HOST}/shop/web:1",
        "finding": "trusted",
        "effect": "allow",
        "from": "swr",
        **changes,
    }
    return {key: value for key, value in values.items() if value is not None}


REFUSED = finding(image=f"{HOST}/shop/web:2", finding="untrusted", effect="deny")
GLASS = BreakGlass(groups=frozenset({"devs"}))


def break_glass_pod() -> dict[str, Any]:
    """Return a Pod with an untrusted image and the break-glass annotation."""
    obj = pod(f"{HOST}/shop/web:2")
    obj["metadata"]["annotations"] = {GLASS.annotation: "incident 7"}
    return obj


CASES: list[tuple[str, Policy, AdmissionRequest, dict[str, Any]]] = [
    ("trusted", policy(), request(pod(f"{HOST}/shop/web:1")), line()),
    (
        "untrusted",
        policy(),
        request(pod(f"{HOST}/shop/web:2")),
        line(decision="deny", allowed=False, findings=[REFUSED]),
    ),
    (
        "two images",
        policy(),
        request(pod(f"{HOST}/shop/web:1", f"{ALIAS}/shop/web:2")),
        line(
            decision="deny",
            allowed=False,
            findings=[
                finding(),
                {**REFUSED, "field": "spec.containers[1].image", "image": f"{ALIAS}/shop/web:2"},
            ],
        ),
    ),
    (
        "unknown",
        policy(),
        request(pod(f"{HOST}/shop/slow:1")),
        line(
            decision="deny",
            allowed=False,
            findings=[
                {
                    "field": "spec.containers[0].image",
                    "image": f"{HOST}/shop/slow:1",
                    "finding": "unknown",
                    "effect": "deny",
                    "reason": "timeout",
                    "detail": "no answer in 3.0 s",
                    "fault": "registry",
                }
            ],
        ),
    ),
    (
        "signed and wrongly signed",
        policy(),
        request(pod(f"{HOST}/shop/signed:1", f"{HOST}/shop/signed:2")),
        line(
            decision="deny",
            allowed=False,
            findings=[
                finding(image=f"{HOST}/shop/signed:1", signers=["release", "qa"]),
                finding(
                    field="spec.containers[1].image",
                    image=f"{HOST}/shop/signed:2",
                    finding="untrusted",
                    effect="deny",
                    reason="bad-signature",
                ),
            ],
        ),
    ),
    (
        "a rule that only watches",
        policy(rules=(rule("watched", mode="audit"),)),
        request(pod(f"{HOST}/shop/web:2")),
        line(decision="audit", findings=[{**REFUSED, "effect": "record", "rule": "watched"}]),
    ),
    (
        "an exemption",
        policy(exemptions=(exemption("add-ons"),)),
        request(pod("docker.io/library/nginx")),
        line(
            findings=[
                {
                    "field": "spec.containers[0].image",
                    "image": "docker.io/library/nginx",
                    "finding": "exempt",
                    "effect": "allow",
                    "exemption": "add-ons",
                }
            ]
        ),
    ),
    (
        "dry run of a subresource",
        policy(),
        request(
            pod(f"{HOST}/shop/web:1"), operation="UPDATE", subresource="ephemeralcontainers", dryRun=True
        ),
        line(operation="UPDATE", subresource="ephemeralcontainers", dryRun=True),
    ),
    (
        "broken glass",
        policy(break_glass=GLASS),
        request(break_glass_pod()),
        line(decision="warn", breakGlass="incident 7", findings=[{**REFUSED, "effect": "warn"}]),
    ),
    (
        "a kind that nobody taught us",
        policy(),
        request({"metadata": {"name": "x"}}, resource=("batch", "v9", "things"), kind="Thing"),
        line(
            decision="deny",
            allowed=False,
            kind="Thing",
            findings=[],
            reason="",  # filled in below, because the sentence belongs to the messages
        ),
    ),
]


@pytest.mark.parametrize(
    ("current", "body", "expected_line"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_decision_is_logged_as_one_line(
    current: Policy, body: AdmissionRequest, expected_line: dict[str, Any]
) -> None:
    recorded = RecordedDecisions(current)
    recorded.decide(body)
    [seen] = recorded.lines
    if "reason" in expected_line:
        assert seen["reason"].startswith("denied by image trust policy: ")
        expected_line = {**expected_line, "reason": seen["reason"]}
    assert seen == expected_line


@pytest.mark.parametrize(
    ("references", "owner"),
    [
        ([{"kind": "ReplicaSet", "name": "web-7d4b9c", "controller": True}], "ReplicaSet/web-7d4b9c"),
        ([{"kind": "A", "name": "a"}, {"kind": "Job", "name": "b", "controller": True}], "Job/b"),
        ([{"kind": "A" * 1000, "name": "b" * 1000, "controller": True}], f"{'A' * 300}/{'b' * 300}"),
        ([{"kind": "ReplicaSet", "name": "web", "controller": False}], None),
        ([{"kind": "", "name": "web", "controller": True}], None),
        ([], None),
    ],
)
def test_line_names_the_controller_that_creates_the_pod(
    references: list[dict[str, Any]], owner: str | None
) -> None:
    """Fault E5: it groups the retries of one workload."""
    recorded = RecordedDecisions()
    obj = pod("a:1")
    obj["metadata"]["ownerReferences"] = references
    recorded.decide(request(obj))
    [seen] = recorded.lines
    assert seen.get("owner") == owner


def test_ignored_request_is_logged_at_debug_level_only() -> None:
    """A cluster deletes Pods all day."""
    deletion = request(None, old=pod(f"{HOST}/shop/web:1"), operation="DELETE")
    quiet, talkative = RecordedDecisions(), RecordedDecisions(level=logging.DEBUG)
    quiet.decide(deletion)
    talkative.decide(deletion)
    assert quiet.lines == []
    assert talkative.lines == [line(level="debug", operation="DELETE", findings=[])]


def test_images_in_decision_line_are_limited() -> None:
    """A Pod of hundreds of containers is one line of bounded length."""
    obj = pod()
    obj["spec"]["containers"] = [
        container(f"{HOST}/shop/{'x' * 100}/{index}:1", f"c{index}") for index in range(MAX_FINDINGS + 5)
    ]
    recorded = RecordedDecisions()
    recorded.decide(request(obj))
    [seen] = recorded.lines
    assert (len(seen["findings"]), seen["more"]) == (MAX_FINDINGS, 5)


def test_text_of_author_cannot_forge_line_or_field() -> None:
    """The author of a Pod chooses names and images; they stay inside their strings."""
    evil = 'a:1\n{"message":"decided","allowed":true}\r\u2028"},"allowed":true,"x":{"y":"'
    recorded = RecordedDecisions()
    recorded.decide(request(pod(evil), user=evil))
    assert recorded.stream.getvalue().count("\n") == 1
    [seen] = recorded.lines
    assert (seen["allowed"], seen["user"], seen["findings"][0]["image"]) == (False, evil, evil)


def test_overlong_image_in_decision_line_is_truncated() -> None:
    """A string of a megabyte is not a reference, and its beginning is enough to find it."""
    recorded = RecordedDecisions()
    recorded.decide(request(pod("x" * 1_000_000)))
    assert len(recorded.stream.getvalue()) < 1500


def test_overlong_names_in_decision_line_are_truncated() -> None:
    """A client of the port can invent a user and an object of any length."""
    recorded = RecordedDecisions()
    obj = pod("a:1")
    obj["metadata"]["name"] = "x" * 1_000_000
    recorded.decide(request(obj, name="", user="y" * 1_000_000))
    assert len(recorded.stream.getvalue()) < 1500


def test_decision_line_does_not_contain_secrets() -> None:
    """Neither those of the Pod nor those in a failure."""
    obj = pod(f"{HOST}/shop/locked:1")
    obj["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "value": "hunter2"}]
    obj["metadata"]["annotations"] = {"example.com/token": "hunter2"}
    recorded = RecordedDecisions()
    recorded.decide(request(obj))
    assert "hunter2" not in recorded.stream.getvalue()
    assert recorded.lines[0]["findings"][0]["detail"] == "the token is not accepted"


def test_internal_error_is_logged_at_error_level() -> None:
    """An operator who searches for errors finds it, with its uid."""
    broken = policy()
    # An invalid policy, so that every decision raises an exception.
    object.__setattr__(broken, "_index", None)
    recorded = RecordedDecisions(broken)
    recorded.decide(request(pod(f"{HOST}/shop/web:1")))
    [seen] = recorded.lines
    assert (seen["level"], seen["decision"], seen["allowed"], seen["uid"]) == ("error", "error", False, UID)


def test_decisions_and_images_are_counted() -> None:
    """By bounded labels: no image, no namespace, no user."""
    recorded = RecordedDecisions()
    recorded.decide(request(pod(f"{HOST}/shop/web:1", f"{HOST}/shop/web:2")))
    recorded.decide(request(pod(f"{HOST}/shop/web:1"), dryRun=True))
    assert (
        recorded.count(
            "admission_requests_total", subject="pod", operation="CREATE", decision="deny", dry_run="false"
        )
        == 1
    )
    assert (
        recorded.count(
            "admission_requests_total", subject="pod", operation="CREATE", decision="allow", dry_run="true"
        )
        == 1
    )
    assert (
        recorded.count("image_findings_total", finding="trusted", reason="", mode="enforce", effect="allow")
        == 2
    )
    assert (
        recorded.count("image_findings_total", finding="untrusted", reason="", mode="enforce", effect="deny")
        == 1
    )


@pytest.mark.parametrize(("dry_run", "expected"), [(False, 1), (True, 0)])
def test_break_glass_is_counted_except_in_dry_run(dry_run: bool, expected: int) -> None:
    """A dry run does not use break-glass."""
    recorded = RecordedDecisions(policy(break_glass=GLASS))
    recorded.decide(request(break_glass_pod(), dryRun=dry_run))
    assert recorded.count("break_glass_total") == expected


def test_unknown_operation_is_counted_as_other() -> None:
    """A client of the port can invent any number of operations."""
    recorded = RecordedDecisions()
    recorded.decide(request(pod(f"{HOST}/shop/web:1"), operation="INVENTED"))
    text = recorded.metrics.render().decode()
    assert "INVENTED" not in text
    assert 'operation="other"' in text

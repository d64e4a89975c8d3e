"""The validator: whole requests and whole decisions."""

from __future__ import annotations

import gc
import itertools
import json
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.builders import (
    DIGEST,
    HOST,
    NOW,
    SOON,
    UID,
    FakeAnswers,
    container,
    exemption,
    make_validator,
    pod,
    policy,
    request,
    review,
    rule,
)
from webhook.admission import selection
from webhook.admission.decision import Decision, Effect, status_of
from webhook.admission.evaluator import FEW
from webhook.admission.extraction import TargetKind
from webhook.admission.messages import printable
from webhook.admission.objects import KubernetesObject, ObjectMeta, Spec
from webhook.admission.request import AdmissionRequest
from webhook.admission.review import read_review, write_review
from webhook.admission.validator import Validator
from webhook.deadlines import Deadline
from webhook.errors import Fault, LookupTimeout, RegistryUnavailable, Throttled, Unauthorized
from webhook.policy.findings import Mode
from webhook.policy.model import BreakGlass, Policy
from webhook.trust.lookup import Found, LookupRequest, LookupResult, Origin
from webhook.trust.records import TrustRecord, TrustStatus

TRUSTED, UNTRUSTED, MISSING = f"{HOST}/shop/web:1", f"{HOST}/shop/web:2", f"{HOST}/shop/web:3"
FACTS = {"shop/web:1": TrustStatus.TRUSTED, "shop/web:2": TrustStatus.UNTRUSTED}
DENIED = "denied by image trust policy: "
UNTRUSTED_TEXT = "SWR does not mark this tag as trusted"
ADVICE = "Mark this tag as trusted in SWR, or use a tag that already is."
DEPLOYMENT: dict[str, Any] = {"resource": ("apps", "v1", "deployments"), "kind": "Deployment"}


def decide(
    body: AdmissionRequest, current: Policy | None = None, facts: dict[str, Any] | None = None
) -> Decision:
    """Return the decision on a request under a policy."""
    chosen, _ = make_validator(current, facts=FACTS if facts is None else facts)
    return chosen.validate(body, SOON)


def deployment(*images: str, replicas: int = 1) -> dict[str, Any]:
    """Return a Deployment."""
    return {
        "metadata": {"name": "d"},
        "spec": {"replicas": replicas, "template": {"spec": pod(*images)["spec"]}},
    }


def test_trusted_pod_is_admitted() -> None:
    """The whole decision."""
    decision = decide(request(pod(TRUSTED)))
    assert (decision.effect, decision.allowed, decision.message, decision.warnings) == (
        Effect.ALLOW,
        True,
        "",
        (),
    )
    assert decision.annotations == {
        "decision": "allow",
        "mode": "enforce",
        "policy": "v1",
        "findings": f'[{{"field":"spec.containers[0].image","image":"{TRUSTED}","finding":"trusted","digest":"{DIGEST}"}}]',
    }


def test_untrusted_pod_is_denied() -> None:
    """Code, reason and the whole sentence."""
    decision = decide(request(pod(TRUSTED, UNTRUSTED)))
    assert (decision.effect, decision.allowed, decision.code, decision.status_reason) == (
        Effect.DENY,
        False,
        403,
        "Forbidden",
    )
    assert decision.retry_after_seconds == 0
    assert decision.message == f'{DENIED}spec.containers[1].image "{UNTRUSTED}": {UNTRUSTED_TEXT}. {ADVICE}'


def test_missing_tag_is_named_in_denial() -> None:
    """The sentence that users know."""
    image = f"{HOST}/shop/api:1.4"
    message = decide(request(pod(TRUSTED, image))).message
    assert message.startswith(f'{DENIED}spec.containers[1].image "{image}": tag does not exist in SWR')


PLACES = [
    ("init container", {"initContainers": [container(UNTRUSTED)]}),
    ("native sidecar", {"initContainers": [container(UNTRUSTED, restartPolicy="Always")]}),
    ("ephemeral container", {"ephemeralContainers": [container(UNTRUSTED)]}),
    ("image volume", {"volumes": [{"name": "v", "image": {"reference": UNTRUSTED}}]}),
]


@pytest.mark.parametrize("spec", [case[1] for case in PLACES], ids=[case[0] for case in PLACES])
def test_untrusted_image_in_any_place_is_denied(spec: dict[str, Any]) -> None:
    """It is beside a trusted container (T01, T02, T03, T05)."""
    assert decide(request(pod(TRUSTED, **spec))).allowed is False


PINNED = f"{TRUSTED}@{DIGEST}"
STRICT = policy(rules=(rule("strict", require_digest=True, require_pull_always=True),))
KINDS_OF_USE: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "container": lambda image, pull: {"containers": [container(image, imagePullPolicy=pull)]},
    "init container": lambda image, pull: {"initContainers": [container(image, imagePullPolicy=pull)]},
    "ephemeral container": lambda image, pull: {
        "ephemeralContainers": [container(image, imagePullPolicy=pull)]
    },
    "image volume": lambda image, pull: {
        "volumes": [{"name": "v", "image": {"reference": image, "pullPolicy": pull}}]
    },
}
DEMANDS = [
    (PINNED, "Always", ""),
    (TRUSTED, "Always", "this namespace requires images pinned to a digest"),
    (PINNED, "IfNotPresent", "this namespace requires imagePullPolicy Always"),
    (PINNED, "", "this namespace requires imagePullPolicy Always"),
]


@pytest.mark.parametrize("place", KINDS_OF_USE)
@pytest.mark.parametrize(
    ("image", "pull", "message"), DEMANDS, ids=["met", "no digest", "not pulled", "unset"]
)
def test_rule_demands_apply_to_image_in_any_place(place: str, image: str, pull: str, message: str) -> None:
    """A node may use a cached image of a tag in every place."""
    spec: dict[str, Any] = {"containers": [], **KINDS_OF_USE[place](image, pull)}
    decision = decide(request({"spec": spec}), STRICT)
    assert decision.allowed is (message == "")
    assert message in decision.message


def test_update_is_evaluated_for_changed_images_only() -> None:
    """Changes of labels and finalizers are admitted, changes of images are evaluated (T06, T07)."""
    old = pod(UNTRUSTED)
    assert decide(request(pod(UNTRUSTED, hostname="x"), old=old, operation="UPDATE")).allowed is True
    assert decide(request(pod(MISSING), old=old, operation="UPDATE")).allowed is False


def test_unchanged_image_is_not_looked_up() -> None:
    """SWR is not queried for images that are not evaluated."""
    chosen, answers = make_validator(facts=FACTS)
    chosen.validate(request(pod(UNTRUSTED), old=pod(UNTRUSTED), operation="UPDATE"), SOON)
    assert answers.asked == []


def test_image_change_with_scale_down_is_evaluated() -> None:
    """Fewer replicas are not an exemption (T08)."""
    body = request(
        deployment(UNTRUSTED, replicas=0), old=deployment(TRUSTED), operation="UPDATE", **DEPLOYMENT
    )
    assert decide(body, policy(workloads="enforce")).allowed is False


def test_deployment_with_zero_replicas_is_evaluated() -> None:
    """It may be scaled up later (T10)."""
    assert (
        decide(request(deployment(UNTRUSTED, replicas=0), **DEPLOYMENT), policy(workloads="enforce")).allowed
        is False
    )


def test_untrusted_workload_is_admitted_with_warning_by_default() -> None:
    """The author sees the message at once; the Pods are denied later."""
    decision = decide(request(deployment(UNTRUSTED), **DEPLOYMENT))
    assert (decision.effect, decision.allowed) == (Effect.WARN, True)
    assert decision.warnings == [
        f'image trust policy: spec.template.spec.containers[0].image "{UNTRUSTED}": {UNTRUSTED_TEXT}; '
        f"its Pods will be denied. {ADVICE}"
    ]


def test_workloads_off_skips_evaluation() -> None:
    """``workloads: off`` causes no lookup."""
    chosen, answers = make_validator(policy(workloads="off"), facts=FACTS)
    assert chosen.validate(request(deployment(UNTRUSTED), **DEPLOYMENT), SOON).allowed is True
    assert answers.asked == []


@pytest.mark.parametrize(
    "metadata",
    [
        {
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "1", "controller": True}
            ]
        },
        {"ownerReferences": []},
        {"annotations": {"swr-trust/verified": "true", "kubernetes.io/config.mirror": "x"}},
        {"labels": {"swr-trust/ignore": "true"}},
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
    ],
)
def test_metadata_does_not_make_object_trusted(metadata: dict[str, Any]) -> None:
    """Owners, labels and annotations are written by their author (T09, T13, T14, T15, T16, T18)."""
    obj = pod(UNTRUSTED)
    obj["metadata"].update(metadata)
    assert decide(request(obj)).allowed is False


def test_mirror_pod_of_its_node_is_admitted_and_recorded() -> None:
    """The kubelet already runs it (T18)."""
    obj = pod(UNTRUSTED, nodeName="n1")
    obj["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    decision = decide(request(obj, user="system:node:n1", groups=["system:nodes"]))
    assert (decision.allowed, decision.target, decision.annotations["mirror-pod"]) == (
        True,
        "mirror-pod",
        "true",
    )


def volumes(count: int) -> list[dict[str, Any]]:
    """Return image volumes."""
    return [{"name": f"v{n}", "image": {"reference": f"a/b:{n}"}} for n in range(count)]


TELL = "Contact your cluster administrators."
NOT_JUDGED = [
    (
        "unknown kind",
        request(None, resource=("apps.kruise.io", "v1", "clonesets"), kind="CloneSet"),
        "unknown-kind",
        f"the webhook cannot read CREATE apps.kruise.io/clonesets; its rules must not match this kind. {TELL}",
    ),
    (
        "unknown subresource",
        request(pod(TRUSTED), subresource="newthing"),
        "unknown-kind",
        f"the webhook cannot read CREATE pods/newthing; its rules must not match this kind. {TELL}",
    ),
    (
        "unknown operation",
        request(pod(TRUSTED), operation="PA\nTCH"),
        "unknown-kind",
        f"the webhook cannot read PA\\nTCH pods; its rules must not match this kind. {TELL}",
    ),
    ("no object", request(None), "unreadable", f"the object cannot be evaluated: it has no Pod spec. {TELL}"),
    ("no spec", request({}), "unreadable", f"the object cannot be evaluated: it has no Pod spec. {TELL}"),
    (
        "unreadable",
        request({"spec": {"containers": 5}}),
        "unreadable",
        "the object cannot be evaluated: Expected `array | null`, got `int` - at `$.request.object.spec.containers`. "
        f"{TELL}",
    ),
    (
        "too many images",
        request(pod(TRUSTED, volumes=volumes(1000))),
        "too-many-images",
        f"the object cannot be evaluated: it has 1001 images, and the limit is 200. {TELL}",
    ),
]


@pytest.mark.parametrize(
    ("body", "error", "message"), [case[1:] for case in NOT_JUDGED], ids=[case[0] for case in NOT_JUDGED]
)
def test_request_that_cannot_be_evaluated_is_treated_by_mode(
    body: AdmissionRequest, error: str, message: str
) -> None:
    """Fault C3: it is denied with a message (T12, T44), warned of or recorded, depending on the mode
    (T50).
    """
    refused = decide(body)
    assert (refused.effect, refused.allowed, refused.code, refused.message) == (
        Effect.DENY,
        False,
        403,
        DENIED + message,
    )
    assert refused.annotations == {"decision": "deny", "mode": "enforce", "policy": "v1", "error": error}
    warned = decide(body, policy(mode=Mode.WARN))
    assert (warned.effect, warned.allowed, warned.message) == (Effect.WARN, True, "")
    follows = "This would be denied once enforced."
    assert warned.warnings == (printable(f"image trust policy: {message} {follows}", 256),)
    recorded = decide(body, policy(mode=Mode.AUDIT))
    assert (recorded.effect, recorded.allowed, recorded.warnings) == (Effect.AUDIT, True, ())
    assert (recorded.annotations["mode"], recorded.annotations["error"]) == ("audit", error)


def test_unchanged_images_do_not_count_toward_image_limit() -> None:
    """Unchanged images cost nothing."""
    old = pod(TRUSTED, volumes=volumes(5000))
    new = pod(TRUSTED, volumes=volumes(5000), hostname="x")
    assert decide(request(new, old=old, operation="UPDATE")).allowed is True


@pytest.mark.parametrize(
    ("workloads", "outcome"), [("off", Effect.ALLOW), ("warn", Effect.WARN), ("enforce", Effect.DENY)]
)
def test_unreadable_workload_follows_workloads_setting(workloads: str, outcome: Effect) -> None:
    """A warning does not stop a Deployment, because its Pods are evaluated themselves."""
    decision = decide(request({"spec": {}}, **DEPLOYMENT), policy(workloads=workloads))
    assert decision.effect is outcome


PROD = rule("prod", namespaces=["prod"], mode="enforce")
SANDBOX = rule("sandbox", namespaces=["sandbox"], mode="audit")
STRICT_SHOP = rule("shop", [f"{HOST}/shop/**"], mode="enforce")
MILD_SHOP = rule("shop", [f"{HOST}/shop/**"], mode="audit")
UNREADABLE: list[tuple[str, str, Policy, Effect]] = [
    ("enforced by rule", "prod", policy(mode=Mode.AUDIT, rules=(PROD,)), Effect.DENY),
    ("elsewhere", "dev", policy(mode=Mode.AUDIT, rules=(PROD,)), Effect.AUDIT),
    ("watched by rule", "sandbox", policy(rules=(SANDBOX,)), Effect.AUDIT),
    ("elsewhere than watched", "dev", policy(rules=(SANDBOX,)), Effect.DENY),
    ("perhaps one that is enforced", "dev", policy(mode=Mode.AUDIT, rules=(STRICT_SHOP,)), Effect.DENY),
    ("perhaps one that is watched", "dev", policy(rules=(MILD_SHOP,)), Effect.DENY),
    ("watched before enforced", "sandbox", policy(rules=(SANDBOX, STRICT_SHOP)), Effect.AUDIT),
    ("enforced before watched", "sandbox", policy(rules=(STRICT_SHOP, SANDBOX)), Effect.DENY),
    (
        "a tag of everything is not everything",
        "sandbox",
        policy(rules=(rule("latest", ["**:latest"], mode="audit"),)),
        Effect.DENY,
    ),
]


@pytest.mark.parametrize(
    "obj",
    [pod("sha256:" + "a" * 64), pod(f"{HOST}/shop/web@sha512:{'a' * 128}"), {"spec": {"containers": 5}}],
    ids=["an image ID", "a digest of another kind", "an object"],
)
@pytest.mark.parametrize(
    ("namespace", "current", "outcome"),
    [case[1:] for case in UNREADABLE],
    ids=[case[0] for case in UNREADABLE],
)
def test_unreadable_image_does_not_bypass_strict_rule(
    namespace: str, current: Policy, outcome: Effect, obj: dict[str, Any]
) -> None:
    """A node runs an image by its ID: an invalid reference could be the image of a rule (T25, T12)."""
    assert decide(request(obj, namespace=namespace), current).effect is outcome


@pytest.mark.parametrize(
    "arguments",
    [
        {"operation": "DELETE"},
        {"operation": "CONNECT"},
        {"subresource": "status"},
        {"subresource": "binding"},
    ],
)
def test_request_without_images_is_admitted_without_evaluation(arguments: dict[str, Any]) -> None:
    """A deletion always works (T44)."""
    assert decide(request(None, **arguments)) == Decision.allow(TargetKind.IGNORED)


MODES = [
    (Mode.ENFORCE, Effect.DENY, False, 0),
    (Mode.WARN, Effect.WARN, True, 1),
    (Mode.AUDIT, Effect.AUDIT, True, 0),
]


@pytest.mark.parametrize(("mode", "outcome", "allowed", "warnings"), MODES)
def test_mode_determines_effect_of_finding(mode: Mode, outcome: Effect, allowed: bool, warnings: int) -> None:
    """Images that would have been denied are always recorded (T50)."""
    decision = decide(request(pod(UNTRUSTED)), policy(mode=mode))
    assert (decision.effect, decision.allowed, len(decision.warnings)) == (outcome, allowed, warnings)
    assert (decision.annotations["decision"], decision.annotations["mode"]) == (outcome.decision_label, mode)
    assert decision.results[0].would_deny


def test_warning_has_same_text_as_denial() -> None:
    """Both have the same text, and the warning adds the consequence."""
    clause = f'spec.containers[0].image "{UNTRUSTED}": {UNTRUSTED_TEXT}'
    assert f"{clause}. {ADVICE}" in decide(request(pod(UNTRUSTED))).message
    assert decide(request(pod(UNTRUSTED)), policy(mode=Mode.WARN)).warnings == [
        f"image trust policy: {clause}; would be denied once enforced. {ADVICE}"
    ]


def test_image_of_enforced_rule_is_denied_beside_audited_images() -> None:
    """Each image has its own mode."""
    current = policy(mode=Mode.AUDIT, rules=(rule("strict", [MISSING], mode="enforce"),))
    decision = decide(request(pod(UNTRUSTED, MISSING)), current)
    assert decision.allowed is False
    assert MISSING in decision.message
    assert UNTRUSTED not in decision.message
    assert decision.annotations["rule"] == "strict"


DEGREES = ("allow", "audit", "warn", "enforce")


@pytest.mark.parametrize("degrees", list(itertools.product(DEGREES, repeat=2)))
def test_strongest_effect_determines_outcome(degrees: tuple[str, str]) -> None:
    """In any order of the images."""
    rules = tuple(rule(mode, [f"{HOST}/{mode}/web"], mode=mode) for mode in DEGREES[1:])
    facts = {"allow/web:1": TrustStatus.TRUSTED}
    decision = decide(request(pod(*(f"{HOST}/{name}/web:1" for name in degrees))), policy(rules=rules), facts)
    assert decision.effect == max(map(DEGREES.index, degrees))


GLASS = policy(break_glass=BreakGlass(users=frozenset({"alice"}), groups=frozenset({"platform-oncall"})))
NOTE = {"swr-trust/break-glass": "incident 7"}


def glass(annotations: dict[str, str], image: str = UNTRUSTED, **who: Any) -> Decision:
    """Return the decision on a Pod with a break-glass annotation."""
    obj = pod(image)
    obj["metadata"]["annotations"] = annotations
    return decide(request(obj, **who), GLASS)


@pytest.mark.parametrize("who", [{"user": "alice"}, {"groups": ["x", "platform-oncall"]}])
def test_break_glass_of_authorized_user_admits_and_is_recorded(who: dict[str, Any]) -> None:
    """Its reason is in the annotation and the warning (T17)."""
    decision = glass(NOTE, **who)
    assert (decision.allowed, decision.break_glass, decision.annotations["break-glass"]) == (
        True,
        "incident 7",
        "incident 7",
    )
    assert decision.annotations["decision"] == "deny"
    assert (
        decision.warnings[0]
        == 'image trust policy: admitted by the break-glass annotation "swr-trust/break-glass"; '
        "this use has been recorded"
    )


def test_break_glass_is_recorded_even_if_not_needed() -> None:
    """A trusted image with the annotation is recorded, too (T17)."""
    decision = glass(NOTE, TRUSTED, user="alice")
    assert decision.annotations["break-glass"] == "incident 7"
    assert decision.warnings == [
        'image trust policy: the break-glass annotation "swr-trust/break-glass" was not needed; '
        "this use has been recorded"
    ]


def test_break_glass_of_unauthorized_user_is_ignored() -> None:
    """The denial says so (T17)."""
    decision = glass(NOTE, user="mallory")
    assert decision.allowed is False
    assert decision.message.endswith(
        'The annotation "swr-trust/break-glass" is ignored: user "mallory" may not use it.'
    )
    assert "break-glass" not in decision.annotations


def count_decoded() -> int:
    """Return the number of decoded objects, and of their parts, that are still referenced."""
    return sum(isinstance(obj, (KubernetesObject, ObjectMeta, Spec)) for obj in gc.get_objects())


def test_decoded_objects_are_released_before_review_waits() -> None:
    """Fault C2: 93 decoded objects of 7 MB waited for SWR at the same time. Break-glass still works."""
    obj = pod(UNTRUSTED)
    obj["metadata"]["annotations"] = {**NOTE, "padding": "x"}
    seen: list[tuple[Any, int]] = []

    class EvictionQueue(FakeAnswers):
        def look_up(self, questions: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
            seen.append((json.loads(msgspec.json.encode(body)), count_decoded()))
            return super().look_up(questions, deadline)

    before = count_decoded()
    body = request(obj, old=pod(TRUSTED), operation="UPDATE", groups=["platform-oncall"])
    decision = Validator(lambda: GLASS, EvictionQueue(FACTS), clock=lambda: NOW).validate(body, SOON)
    assert decision.break_glass == "incident 7"
    ((waiting, after),) = seen
    assert waiting["object"]["spec"] is waiting["object"]["metadata"]["annotations"] is None
    assert waiting["oldObject"] is waiting["userInfo"]["groups"] is None
    assert after - before <= 2


def decide_and_measure(body: bytes) -> tuple[Decision, int]:
    """Return the decision on a review, and the bytes that were kept of it during the lookups."""
    kept: list[int] = []

    class EvictionQueue(FakeAnswers):
        def look_up(self, questions: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
            gc.collect()
            kept.append(tracemalloc.get_traced_memory()[0])
            return super().look_up(questions, deadline)

    validator = Validator(lambda: GLASS, EvictionQueue(FACTS), clock=lambda: NOW)
    tracemalloc.start()
    try:
        decision = validator.validate(read_review(body), SOON)
    finally:
        tracemalloc.stop()
    return decision, kept[0]


@pytest.mark.parametrize("where", ["image", "name", "pullPolicy", "generateName", "owner", "user"])
def test_long_strings_are_not_kept_while_review_waits(where: str) -> None:
    """Fault C2: 1,300 reviews of 62 kB, with a character of four bytes each, took 542 MiB."""
    text, obj = "x" * 100_000 + "\N{GRINNING FACE}", pod(UNTRUSTED, "a")
    odd, meta = obj["spec"]["containers"][1], obj["metadata"]
    match where:
        case "image":
            odd["image"] = text
        case "name":
            odd["name"] = text
        case "pullPolicy":
            odd["imagePullPolicy"] = text
        case "generateName":
            meta["generateName"] = text
        case "owner":
            meta["ownerReferences"] = [{"name": "o", "uid": text, "controller": True}]
    body = review(obj, user=text if where == "user" else "alice")
    decision, kept = decide_and_measure(body)
    assert not decision.allowed
    assert kept < len(text)


def test_bytes_kept_per_image_while_review_waits_are_bounded() -> None:
    """Fault C2: 245 reviews of 200 odd images and 1,150 smaller ones took 494 MiB: 5 KB for each image."""

    def odd(size: int, number: int = 0) -> str:
        return f"\N{GRINNING FACE}{number}".ljust(size, "x")

    obj = pod(UNTRUSTED)
    obj["spec"]["containers"] += [
        container(odd(512, n), name=odd(253, n), imagePullPolicy=odd(253, n)) for n in range(199)
    ]
    body = json.dumps(json.loads(review(obj, user=odd(512))), ensure_ascii=False).encode()
    decision, kept = decide_and_measure(body)
    assert {item.check.reason for item in decision.results[1:]} == {"non-ascii"}
    assert kept < 200 * 2048 + 64 * 1024


def test_review_of_many_images_does_not_wait_beyond_image_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C2: reviews of 200 images keep data of each while they wait; a review of few images still
    waits.
    """
    monkeypatch.setattr(selection, "MAX_AWAITED", 2 * FEW)
    waited: list[tuple[str, bool]] = []

    def many(name: str) -> AdmissionRequest:
        return request(pod(*(f"{HOST}/{name}/n:{n}" for n in range(FEW + 1))))

    class Nested(FakeAnswers):
        def look_up(self, questions: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
            organization = questions[0].query.organization
            waited.append((organization, not deadline.expired))
            if organization == "first":
                it.validate(many("second"), SOON)
                it.validate(request(pod(f"{HOST}/third/n:1")), SOON)
            return super().look_up(questions, deadline)

    chosen = policy()
    it = Validator(lambda: chosen, Nested({}), clock=lambda: NOW)
    it.validate(many("first"), SOON)
    it.validate(many("fourth"), SOON)
    assert waited == [("first", True), ("second", False), ("third", True), ("fourth", True)]


def test_update_without_new_image_does_not_use_break_glass() -> None:
    """The annotation stays on the Pod: a user who labels it later has not used break-glass."""
    obj = pod(UNTRUSTED)
    obj["metadata"]["annotations"] = NOTE
    decision = decide(request(obj, old=obj, operation="UPDATE", user="alice"), GLASS)
    assert (decision.effect, decision.break_glass, decision.warnings) == (Effect.ALLOW, None, ())


def test_break_glass_warnings_stay_within_api_server_limit() -> None:
    """All of them together, with the one about break-glass first."""
    obj = pod(*[f"{HOST}/shop/{'x' * 60}:{n}" for n in range(200)])
    obj["metadata"]["annotations"] = NOTE
    warnings = decide(request(obj, user="alice"), GLASS).warnings
    assert "admitted by the break-glass annotation" in warnings[0]
    assert sum(map(len, warnings)) <= 4096
    assert warnings[-1].startswith("image trust policy: and 1")


def test_break_glass_without_reason_is_ignored() -> None:
    """An empty value admits nothing."""
    decision = glass({"swr-trust/break-glass": " "}, user="alice")
    assert decision.allowed is False
    assert decision.message.endswith(
        'The annotation "swr-trust/break-glass" is ignored: its value must be the reason.'
    )


def test_break_glass_reason_is_shortened_and_made_printable() -> None:
    """Text of a user is written into audit logs."""
    decision = glass({"swr-trust/break-glass": "a\n" + "b" * 1000}, user="alice")
    assert decision.break_glass is not None
    assert len(decision.break_glass) == 200
    assert decision.break_glass.isprintable()


FAILURES = [
    ([LookupTimeout("x", fault=Fault.REGISTRY)], 503, "ServiceUnavailable"),
    ([RegistryUnavailable("x")], 503, "ServiceUnavailable"),
    ([Throttled("x", fault=Fault.REGISTRY)], 429, "TooManyRequests"),
    (
        [Throttled("x", fault=Fault.REGISTRY), LookupTimeout("x", fault=Fault.REGISTRY)],
        503,
        "ServiceUnavailable",
    ),
    ([Unauthorized("x")], 403, "Forbidden"),
    ([LookupTimeout("x", fault=Fault.REGISTRY), Unauthorized("x")], 403, "Forbidden"),
]


@pytest.mark.parametrize(("failures", "code", "reason"), FAILURES)
def test_denial_for_transient_failure_is_retryable(failures: list[Any], code: int, reason: str) -> None:
    """503 or 429 with Retry-After if every denial may be transient, otherwise 403 (T40)."""
    facts = {f"shop/f{index}:1": failure for index, failure in enumerate(failures)}
    images = [f"{HOST}/{name}" for name in facts]
    decision = decide(request(pod(TRUSTED, *images)), facts={**FACTS, **facts})
    assert (decision.allowed, decision.code, decision.status_reason) == (False, code, reason)
    assert (1 <= decision.retry_after_seconds <= 5) is (code != 403)


@pytest.mark.parametrize(
    ("retry_after", "jitter", "seconds"),
    [(None, 0.0, 1), (None, 0.999, 4), (3.2, 0.0, 4), (60.0, 0.0, 5), (0.0, 0.5, 3)],
)
def test_retry_after_of_denial_is_short_and_jittered(
    retry_after: float | None, jitter: float, seconds: int
) -> None:
    """One to five seconds, and at least SWR's Retry-After."""
    failure = LookupTimeout("x", fault=Fault.REGISTRY, retry_after=retry_after)
    decision = decide(request(pod(f"{HOST}/a/b:1")), facts={"a/b:1": failure})
    assert status_of(decision.results, lambda: jitter)[2] == seconds


def test_transient_and_permanent_denials_together_are_forbidden() -> None:
    """A retry would not help."""
    facts = {**FACTS, "shop/slow:1": LookupTimeout("x", fault=Fault.REGISTRY)}
    assert decide(request(pod(UNTRUSTED, f"{HOST}/shop/slow:1")), facts=facts).code == 403


def test_stale_answer_is_marked_in_annotation() -> None:
    """The audit log distinguishes a stale answer from a fresh one."""
    stale = Found(TrustRecord(TrustStatus.TRUSTED, NOW, DIGEST), Origin.STALE, RegistryUnavailable("down"))
    decision = decide(request(pod(TRUSTED)), facts={"shop/web:1": stale})
    assert decision.allowed is True
    assert json.loads(decision.annotations["findings"])[0]["origin"] == "stale"


class Broken(FakeAnswers):
    """Fails with an unexpected exception."""

    def look_up(self, questions: Sequence[Any], deadline: Any) -> Any:
        raise ZeroDivisionError


CRASHES: list[tuple[Policy, str, bool, int, int]] = [
    (policy(), "shop", False, 500, 0),
    (policy(mode=Mode.WARN), "shop", True, 0, 1),
    (policy(mode=Mode.AUDIT), "shop", True, 0, 0),
    (policy(mode=Mode.AUDIT, rules=(PROD,)), "prod", False, 500, 0),
    (policy(mode=Mode.AUDIT, rules=(PROD,)), "dev", True, 0, 0),
    (policy(rules=(SANDBOX,)), "sandbox", True, 0, 0),
]


@pytest.mark.parametrize(("current", "namespace", "allowed", "code", "warnings"), CRASHES)
def test_internal_error_is_denied_if_any_rule_enforces(
    current: Policy, namespace: str, allowed: bool, code: int, warnings: int
) -> None:
    """An internal error leads to a decision, too (T43)."""
    body = request(pod(TRUSTED), namespace=namespace)
    decision = Validator(lambda: current, Broken({})).validate(body, SOON)
    assert (decision.effect, decision.allowed, decision.code) == (Effect.ERROR, allowed, code)
    assert (decision.annotations["error"], len(decision.warnings)) == ("crash", warnings)
    assert json.loads(write_review(UID, decision))["response"]["uid"] == UID


def test_internal_error_with_unknown_mode_is_denied() -> None:
    """Even if the mode itself is not known (T43)."""
    current = policy(mode=Mode.AUDIT)
    object.__setattr__(current, "_index", None)
    decision = Validator(lambda: current, FakeAnswers(FACTS)).validate(request(pod(TRUSTED)), SOON)
    assert (decision.effect, decision.allowed, decision.code) == (Effect.ERROR, False, 500)


def test_internal_error_about_workload_is_admitted() -> None:
    """Its Pods are evaluated themselves."""
    current = policy()
    body = request(deployment(TRUSTED), **DEPLOYMENT)
    assert Validator(lambda: current, Broken({})).validate(body, SOON).allowed is True


def test_request_without_policy_is_denied() -> None:
    def gone() -> Policy:
        raise RuntimeError

    decision = Validator(gone, FakeAnswers({})).validate(request(pod(TRUSTED)), SOON)
    assert (decision.effect, decision.allowed) == (Effect.ERROR, False)


class Failing:
    """An observer that fails."""

    def observe(self, request: AdmissionRequest, decision: Decision, seconds: float) -> None:
        raise RuntimeError


def test_failing_observer_does_not_change_decision() -> None:
    """A failure to record must not change the answer."""
    current = policy()
    assert (
        Validator(lambda: current, FakeAnswers(FACTS), [Failing()])
        .validate(request(pod(TRUSTED)), SOON)
        .allowed
        is True
    )


def test_request_is_evaluated_by_one_policy_during_reload() -> None:
    """A reload in the middle of a request does not mix two policies."""
    strict, mild = policy(version="strict"), policy(version="mild", mode=Mode.AUDIT)
    current = [strict]

    class Reloading(FakeAnswers):
        def look_up(self, questions: Sequence[Any], deadline: Any) -> Any:
            current[0] = mild
            return super().look_up(questions, deadline)

    chosen = Validator(lambda: current[0], Reloading(FACTS))
    decision = chosen.validate(request(pod(UNTRUSTED)), SOON)
    assert (decision.allowed, decision.annotations["policy"]) == (False, "strict")
    assert chosen.validate(request(pod(UNTRUSTED)), SOON).annotations["policy"] == "mild"


def test_exemption_is_named_in_audit_annotation() -> None:
    """An auditor sees the exemption by which an image was admitted."""
    decision = decide(request(pod("nginx")), policy(exemptions=(exemption("base images", ["nginx"]),)))
    assert json.loads(decision.annotations["findings"])[0]["exemption"] == "base images"


def test_finding_annotation_of_many_images_is_bounded() -> None:
    """Two hundred containers do not flood the audit log."""
    findings = decide(request(pod(*[f"{HOST}/a/b:{n}" for n in range(200)]))).annotations["findings"]
    assert findings.endswith(" and 180 more")


RECORDED = sorted((Path(__file__).parents[2] / "data" / "reviews").glob("*.json"))
EXPECTED = {
    "cronjob-create": "warn",
    "daemonset-create-untagged": "warn",
    "deployment-create": "warn",
    "deployment-scale": "allow",
    "deployment-update-image": "warn",
    "deployment-update-scaled": "warn",
    "job-create-tag-and-digest": "warn",
    "pod-create": "deny",
    "pod-create-by-daemonset": "deny",
    "pod-create-by-replicaset": "deny",
    "pod-create-digest-only-by-statefulset": "deny",
    "pod-create-dry-run": "deny",
    "pod-create-foreign-registry": "deny",
    "pod-create-generate-name-break-glass": "deny",
    "pod-create-image-volume": "deny",
    "pod-create-mirror-by-node": "allow",
    "pod-create-tag-and-digest-by-job": "deny",
    "pod-delete": "allow",
    "pod-ephemeralcontainers-foreign-debug": "deny",
    "pod-ephemeralcontainers-second-debug": "deny",
    "pod-resize": "allow",
    "pod-update-add-finalizer": "allow",
    "pod-update-image": "deny",
    "pod-update-label": "allow",
    "pod-update-remove-finalizer-while-deleting": "allow",
    "replicaset-create-by-controller": "warn",
    "replicaset-update-by-controller": "allow",
    "replicationcontroller-create": "warn",
    "statefulset-create-digest-only": "warn",
}


@pytest.mark.parametrize("path", RECORDED, ids=[path.stem for path in RECORDED])
def test_recorded_review_has_expected_outcome(path: Path) -> None:
    """The recorded reviews, with an SWR in which every image is missing."""
    body = read_review(path.read_bytes())
    decision = decide(body, facts={})
    assert (decision.effect.decision_label, body.unreadable) == (EXPECTED[path.stem], "")
    assert json.loads(write_review(body.uid, decision))["response"]["uid"] == body.uid


def test_every_recording_has_expected_outcome() -> None:
    """No recording is without its decision, and no decision without its recording."""
    assert {path.stem for path in RECORDED} == set(EXPECTED)


@pytest.mark.parametrize(
    ("mode", "allowed", "code"), [("enforce", False, 429), ("warn", True, 0), ("audit", True, 0)]
)
def test_busy_webhook_denies_with_429_if_any_rule_enforces(mode: str, allowed: bool, code: int) -> None:
    """Fault C2: with 429, so that kubectl and controllers retry; it is observed like any decision."""
    seen: list[Decision] = []

    class Observer:
        def observe(self, request: Any, decision: Decision, seconds: float) -> None:
            seen.append(decision)

    decision = Validator(lambda: policy(mode=Mode(mode)), FakeAnswers({}), [Observer()]).deny_as_busy(
        request(pod(TRUSTED))
    )
    assert (decision.allowed, decision.code, bool(decision.retry_after_seconds)) == (
        allowed,
        code,
        code == 429,
    )
    assert decision.annotations["error"] == "busy"
    assert seen == [decision]
    if not allowed:
        assert decision.message == (
            "denied by image trust policy: the webhook is reading too many large objects at the moment. "
            "Try again in a minute. If the problem persists, contact your cluster administrators."
        )

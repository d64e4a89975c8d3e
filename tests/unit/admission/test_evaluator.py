"""Evaluation of images under a policy: the order of findings, and the effect of each."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import (
    ALIAS,
    DIGEST,
    HOST,
    NOW,
    OTHER_DIGEST,
    SOON,
    FakeAnswers,
    exemption,
    policy,
    registry,
    rule,
)
from webhook.admission import evaluator as evaluator_module
from webhook.admission import time_slices
from webhook.admission.decision import CheckResult, Effect, ImageResult
from webhook.admission.evaluator import FEW, Evaluator
from webhook.admission.extraction import ImageUse
from webhook.admission.local_checks import ParsedImage
from webhook.deadlines import Deadline, LargeWork
from webhook.errors import (
    Fault,
    Forbidden,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    Throttled,
    TrustLookupError,
    Unauthorized,
)
from webhook.images.reference import ImageReference
from webhook.policy.findings import Finding, Mode
from webhook.policy.model import Policy
from webhook.registries import RegistryTable
from webhook.trust.lookup import Failed, Found, LookupRequest, LookupResult, Origin
from webhook.trust.records import TrustRecord, TrustStatus

FACTS: dict[str, Any] = {
    "shop/web:1": TrustStatus.TRUSTED,
    "shop/web:2": TrustStatus.UNTRUSTED,
    f"shop/web@{DIGEST}": TrustStatus.TRUSTED,
    "shop/slow:1": LookupTimeout("late", fault=Fault.REGISTRY),
    "shop/down:1": RegistryUnavailable("down"),
    "shop/hidden:1": Forbidden("no"),
}
PAST = dt.datetime.fromtimestamp(NOW - 1, dt.UTC)
MAX_CLOCK_SKEW = dt.datetime.fromtimestamp(NOW + 1, dt.UTC)


def use(image: str, *, template: bool = False, pull_policy: str = "") -> ImageUse:
    """Return one use of an image."""
    return ImageUse("spec.containers[0].image", ("containers", "main"), image, pull_policy, template)


def judge(
    image: str, current: Policy, namespace: str = "shop", **how: Any
) -> tuple[ImageResult, FakeAnswers]:
    """Evaluate one image."""
    answers = FakeAnswers(FACTS)
    (item,) = Evaluator(current, answers).evaluate([use(image, **how)], namespace, SOON, NOW)
    return item, answers


DEFAULT = policy()
RESOLVE = policy(digest_only="resolve")
EXEMPT_ALL = policy(exemptions=(exemption("all", ["**"]),))
CASES: list[tuple[str, Policy, str, Finding, str, Effect]] = [
    (f"{HOST}/shop/web:1", DEFAULT, "trusted", Finding.TRUSTED, "", Effect.ALLOW),
    (f"{ALIAS}/shop/web:1", DEFAULT, "trusted by alias", Finding.TRUSTED, "", Effect.ALLOW),
    (f"{HOST.upper()}/shop/web:1", DEFAULT, "trusted in capitals", Finding.TRUSTED, "", Effect.ALLOW),
    (f"{HOST}/shop/web:1@{DIGEST}", DEFAULT, "trusted and pinned", Finding.TRUSTED, "", Effect.ALLOW),
    (
        f"{HOST}/shop/web:1@{OTHER_DIGEST}",
        DEFAULT,
        "pinned to another",
        Finding.DIGEST_MISMATCH,
        "",
        Effect.DENY,
    ),
    (f"{HOST}/shop/web:2", DEFAULT, "untrusted", Finding.UNTRUSTED, "", Effect.DENY),
    (f"{HOST}/shop/web", DEFAULT, "no tag is latest", Finding.MISSING, "", Effect.DENY),
    (f"{HOST}/shop/web@{DIGEST}", DEFAULT, "digest only", Finding.INVALID, "digest-only", Effect.DENY),
    (f"{HOST}/shop/web@{DIGEST}", RESOLVE, "digest resolved", Finding.TRUSTED, "", Effect.ALLOW),
    (f"{HOST}/shop/web@{OTHER_DIGEST}", RESOLVE, "unknown digest", Finding.MISSING, "", Effect.DENY),
    ("nginx", DEFAULT, "another registry", Finding.UNMANAGED, "", Effect.DENY),
    (
        f"{HOST}.evil.io/shop/web:1",
        DEFAULT,
        "a host that only looks right",
        Finding.UNMANAGED,
        "",
        Effect.DENY,
    ),
    (f"evil.io/{HOST}/shop/web:1", DEFAULT, "the host in the path", Finding.UNMANAGED, "", Effect.DENY),
    (f"{HOST}:444/shop/web:1", DEFAULT, "another port", Finding.UNMANAGED, "", Effect.DENY),
    (
        "10.125.0.199:20202/shop/web:1",
        DEFAULT,
        "an internal address that is no alias",
        Finding.UNMANAGED,
        "",
        Effect.DENY,
    ),
    (
        "swr.cn-east-3.myhuaweicloud.com/shop/web:1",
        DEFAULT,
        "another region",
        Finding.UNMANAGED,
        "",
        Effect.DENY,
    ),
    (
        "a-b.swr-pro.myhuaweicloud.com/shop/web:1",
        DEFAULT,
        "enterprise",
        Finding.UNMANAGED,
        "enterprise",
        Effect.DENY,
    ),
    ("nginx", policy(unmanaged_registries="warn"), "unmanaged warned of", Finding.UNMANAGED, "", Effect.WARN),
    ("nginx", policy(unmanaged_registries="allow"), "unmanaged allowed", Finding.UNMANAGED, "", Effect.ALLOW),
    ("", DEFAULT, "empty", Finding.INVALID, "empty", Effect.DENY),
    ("auto", DEFAULT, "auto in a Pod", Finding.UNMANAGED, "", Effect.DENY),
    (f"{HOST}/shop/../admin:1", DEFAULT, "a way up", Finding.INVALID, "bad-path", Effect.DENY),
    (f"{HOST}/shop/a$b:1", DEFAULT, "a dollar", Finding.INVALID, "bad-path", Effect.DENY),
    (f"{HOST}/web:1", DEFAULT, "no organization", Finding.INVALID, "no-organization", Effect.DENY),
    (f"{HOST}/0shop/web:1", DEFAULT, "a bad organization", Finding.INVALID, "organization", Effect.DENY),
    ("INVALID", EXEMPT_ALL, "invalid although exempt", Finding.INVALID, "uppercase", Effect.DENY),
    ("nginx", EXEMPT_ALL, "exempt", Finding.EXEMPT, "", Effect.ALLOW),
    (
        "nginx",
        policy(exemptions=(exemption("e", expires=MAX_CLOCK_SKEW),)),
        "exempt until soon",
        Finding.EXEMPT,
        "",
        Effect.ALLOW,
    ),
    (
        "nginx",
        policy(exemptions=(exemption("e", expires=PAST),)),
        "no longer exempt",
        Finding.UNMANAGED,
        "",
        Effect.DENY,
    ),
    (
        "nginx",
        policy(exemptions=(exemption("e", namespaces=["other"]),)),
        "exempt elsewhere",
        Finding.UNMANAGED,
        "",
        Effect.DENY,
    ),
    (
        f"{HOST}/infra-evil/x:1",
        policy(exemptions=(exemption("e", [f"{HOST}/infra/**"]),)),
        "no prefix",
        Finding.MISSING,
        "",
        Effect.DENY,
    ),
    (f"{HOST}/shop/slow:1", DEFAULT, "timeout", Finding.UNKNOWN, "timeout", Effect.DENY),
    (
        f"{HOST}/shop/slow:1",
        policy(on_lookup_failure="allow"),
        "timeout passes",
        Finding.UNKNOWN,
        "timeout",
        Effect.WARN,
    ),
    (
        f"{HOST}/shop/hidden:1",
        policy(on_lookup_failure="allow"),
        "forbidden never passes",
        Finding.UNKNOWN,
        "forbidden",
        Effect.DENY,
    ),
    (f"{HOST}/shop/web:2", policy(mode=Mode.WARN), "warn", Finding.UNTRUSTED, "", Effect.WARN),
    (f"{HOST}/shop/web:2", policy(mode=Mode.AUDIT), "audit", Finding.UNTRUSTED, "", Effect.AUDIT),
    (
        f"{HOST}/shop/web:2",
        policy(rules=(rule("r", mode="audit"),)),
        "audit by rule",
        Finding.UNTRUSTED,
        "",
        Effect.AUDIT,
    ),
    (
        f"{HOST}/shop/web:2",
        policy(mode=Mode.AUDIT, rules=(rule("r", mode="enforce"),)),
        "enforce by rule",
        Finding.UNTRUSTED,
        "",
        Effect.DENY,
    ),
    (
        f"{HOST}/shop/web:2",
        policy(rules=(rule("a", mode="warn"), rule("b", mode="enforce"))),
        "the first rule",
        Finding.UNTRUSTED,
        "",
        Effect.WARN,
    ),
    (
        f"{HOST}/shop/web:1",
        policy(rules=(rule("r", require_digest=True),)),
        "digest demanded",
        Finding.INVALID,
        "digest-required",
        Effect.DENY,
    ),
    (
        f"{HOST}/shop/web:1@{DIGEST}",
        policy(rules=(rule("r", require_digest=True),)),
        "digest there",
        Finding.TRUSTED,
        "",
        Effect.ALLOW,
    ),
    (
        f"{HOST}/shop/web:1",
        policy(rules=(rule("r", require_pull_always=True),)),
        "pull demanded",
        Finding.INVALID,
        "pull-policy",
        Effect.DENY,
    ),
]


ALLOW_UNMANAGED: dict[str, Any] = {"unmanaged_registries": "allow"}
CASES += [
    (
        "nginx",
        policy(rules=(rule("r", require_digest=True),), **ALLOW_UNMANAGED),
        "digest demanded of an unmanaged image",
        Finding.INVALID,
        "digest-required",
        Effect.DENY,
    ),
    (
        "nginx",
        policy(rules=(rule("r", require_pull_always=True),), **ALLOW_UNMANAGED),
        "pull demanded of an unmanaged image",
        Finding.INVALID,
        "pull-policy",
        Effect.DENY,
    ),
    (
        f"nginx@{DIGEST}",
        policy(rules=(rule("r", require_digest=True),), **ALLOW_UNMANAGED),
        "digest of an unmanaged image",
        Finding.UNMANAGED,
        "",
        Effect.ALLOW,
    ),
    (
        "nginx",
        policy(rules=(rule("r", require_digest=True),)),
        "unmanaged before any demand",
        Finding.UNMANAGED,
        "",
        Effect.DENY,
    ),
    (
        f"{HOST}/base/web:1",
        policy(registries=RegistryTable.of([registry(organizations=frozenset({"shop"}))])),
        "an organization of nobody",
        Finding.UNMANAGED,
        "organization",
        Effect.DENY,
    ),
]


@pytest.mark.parametrize(
    ("image", "current", "finding", "reason", "effect"),
    [(image, current, finding, reason, effect) for image, current, _, finding, reason, effect in CASES],
    ids=[case[2] for case in CASES],
)
def test_each_image_has_one_finding_and_one_effect(
    image: str, current: Policy, finding: Finding, reason: str, effect: Effect
) -> None:
    """The whole table of findings (T19 to T27, T35, T39, T50)."""
    item, _ = judge(image, current)
    assert (item.check.finding, item.check.reason, item.effect) == (finding, reason, effect)


@pytest.mark.parametrize(
    ("image", "current"),
    [
        ("", DEFAULT),
        ("nginx", DEFAULT),
        (f"{HOST}/shop/../x:1", DEFAULT),
        (f"{HOST}/0shop/x:1", DEFAULT),
        (f"{HOST}/shop/web@{DIGEST}", DEFAULT),
        (f"{HOST}/shop/web:1", EXEMPT_ALL),
        (f"{HOST}/shop/web:1", policy(rules=(rule("r", require_digest=True),))),
        ("a-b.swr-pro.myhuaweicloud.com/shop/web:1", DEFAULT),
    ],
)
def test_image_that_needs_no_lookup_is_not_looked_up(image: str, current: Policy) -> None:
    """Exempt images work while SWR is down, and an image cannot cause a call to an unconfigured host
    (T42).
    """
    _, answers = judge(image, current)
    assert answers.asked == []


def test_pull_policy_always_satisfies_require_pull_always() -> None:
    """``imagePullPolicy: Always`` meets the rule: the node may not use its cached image (T31)."""
    item, _ = judge(
        f"{HOST}/shop/web:1", policy(rules=(rule("r", require_pull_always=True),)), pull_policy="Always"
    )
    assert item.check.finding is Finding.TRUSTED


@pytest.mark.parametrize("image", ["", "auto"])
def test_placeholder_in_template_causes_warning_only(image: str) -> None:
    """It is replaced before the Pod is evaluated (T11)."""
    for workloads in ("warn", "enforce"):
        item, _ = judge(image, policy(workloads=workloads), template=True)
        assert (item.check.reason, item.effect, item.would_deny) == ("placeholder", Effect.WARN, False)


@pytest.mark.parametrize(("workloads", "effect"), [("warn", Effect.WARN), ("enforce", Effect.DENY)])
def test_template_effect_follows_workloads_setting(workloads: str, effect: Effect) -> None:
    """Early feedback is a warning unless the policy sets more."""
    item, _ = judge(f"{HOST}/shop/web:2", policy(workloads=workloads), template=True)
    assert (item.effect, item.would_deny) == (effect, True)


def test_image_used_twice_is_looked_up_once() -> None:
    """All lookups of a Pod start at once, one for each image (T41)."""
    answers = FakeAnswers(FACTS)
    images = [f"{HOST}/shop/web:1", f"{ALIAS}/shop/web:1", f"{HOST}/shop/web:2", "nginx"]
    judged = Evaluator(DEFAULT, answers).evaluate([use(image) for image in images], "shop", SOON, NOW)
    assert answers.asked == ["shop/web:1", "shop/web:2"]
    assert [item.check.finding.value for item in judged] == [
        "trusted",
        "trusted",
        "untrusted",
        "unmanaged",
    ]


def test_accounts_of_one_host_are_selected_by_organization() -> None:
    """Each image is looked up with the credential of its own account."""
    shop = registry(organizations=frozenset({"shop"}), project_id="p1")
    rest = registry(project_id="p2")
    answers = FakeAnswers({})
    Evaluator(policy(registries=RegistryTable.of([shop, rest])), answers).evaluate(
        [use(f"{HOST}/shop/a:1"), use(f"{HOST}/base/a:1")], "ns", SOON, NOW
    )
    assert [question.query.registry.project_id for question in answers.questions] == ["p1", "p2"]


def test_exemption_expiry_is_checked_for_cached_image() -> None:
    """An exemption ends on time although the image is cached."""
    current = policy(exemptions=(exemption("e", expires=MAX_CLOCK_SKEW),))
    evaluator = Evaluator(current, FakeAnswers({}))
    assert evaluator.evaluate([use("nginx")], "shop", SOON, NOW)[0].check.finding is Finding.EXEMPT
    assert evaluator.evaluate([use("nginx")], "shop", SOON, NOW + 2)[0].check.finding is Finding.UNMANAGED


def test_oversized_image_string_is_not_cached() -> None:
    """Image strings of megabytes must not stay in memory."""
    evaluator = Evaluator(DEFAULT, FakeAnswers({}))
    evaluator.evaluate([use("x" * 100_000)], "shop", SOON, NOW)
    assert evaluator._parse_cached.cache_info().currsize == 0
    assert evaluator._remembered.cache_info().currsize == 0


def test_cached_checks_apply_to_equal_uses_only() -> None:
    """Namespace, pull policy and the place in a template decide, too, in any order of the reviews."""
    pull, digest = (
        rule("pull", require_pull_always=True),
        rule("digest", namespaces=["pin"], require_digest=True),
    )
    evaluator = Evaluator(policy(rules=[digest, pull]), FakeAnswers(FACTS))
    image = f"{HOST}/shop/web:1"
    for _ in range(2):
        reasons = [
            evaluator.evaluate([item], namespace, SOON, NOW)[0].check.reason
            for item, namespace in [
                (use(image, pull_policy="Always"), "shop"),
                (use(image, pull_policy="IfNotPresent"), "shop"),
                (use(image, pull_policy="Always"), "pin"),
                (use("auto", template=True), "shop"),
                (use("auto"), "shop"),
            ]
        ]
        assert reasons == ["", "pull-policy", "digest-required", "placeholder", ""]


def test_image_evaluated_before_needs_no_time_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most Pods have the images of others."""
    evaluator = Evaluator(DEFAULT, FakeAnswers(FACTS), LargeWork())
    expected = evaluator.evaluate([use(f"{HOST}/shop/web:1")], "shop", SOON, NOW)
    monkeypatch.delattr(evaluator_module, "TimeSlices")
    assert evaluator.evaluate([use(f"{HOST}/shop/web:1")], "shop", SOON, NOW) == expected


def test_lookup_throttled_by_own_limit_is_unknown() -> None:
    """Our own limit denies with the advice to retry."""
    answers = FakeAnswers({"shop/web:1": Throttled("full", fault=Fault.LOCAL)})
    (item,) = Evaluator(DEFAULT, answers).evaluate([use(f"{HOST}/shop/web:1")], "shop", SOON, NOW)
    assert (item.check.finding, item.check.reason) == (Finding.UNKNOWN, "throttled")


def test_many_images_are_evaluated_in_pieces() -> None:
    """Fault C3: other requests run between the pieces, and a piece that does not run in time denies."""
    work = LargeWork()
    uses = [
        ImageUse(f"spec.containers[{n}].image", ("containers", str(n)), f"{HOST}/shop/web:1")
        for n in range(FEW + 1)
    ]
    answers = FakeAnswers({"shop/web:1": TrustStatus.TRUSTED})
    evaluator = Evaluator(policy(), answers, work)
    with work.piece(SOON):
        refused = evaluator.evaluate(uses, "shop", Deadline.after(0.01), NOW)
        few = evaluator.evaluate(uses[:FEW], "shop", Deadline.after(0.01), NOW)
    assert {item.check.finding for item in few} == {Finding.TRUSTED}
    assert {(item.check.finding, item.would_deny) for item in refused} == {(Finding.UNKNOWN, True)}
    assert {item.check.failure.fault for item in refused if item.check.failure} == {Fault.LOCAL}
    judged = evaluator.evaluate(uses, "shop", SOON, NOW)
    assert {item.check.finding for item in judged} == {Finding.TRUSTED}


def long_policy() -> Policy:
    """Return a policy of which a hundred patterns are compared with each image."""
    return policy(rules=[rule(f"r{n}", [f"{HOST}/**/{n}/x"], mode="audit") for n in range(100)])


def test_long_evaluation_of_few_images_is_done_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C3: a policy can make one image long work. Other requests run between its comparisons."""
    monkeypatch.setattr(time_slices, "SLICE_SECONDS", 0.0)
    work = LargeWork()
    uses = [ImageUse("f", ("containers", "0"), f"{HOST}/shop/web:1")]
    answers = FakeAnswers({"shop/web:1": TrustStatus.TRUSTED})
    turns: list[None] = []
    piece = work.piece

    def count(deadline: Deadline) -> AbstractContextManager[bool]:
        turns.append(None)
        return piece(deadline)

    monkeypatch.setattr(work, "piece", count)
    evaluator = Evaluator(long_policy(), answers, work)
    with piece(SOON):
        (refused,) = evaluator.evaluate(uses, "shop", Deadline.after(0.01), NOW)
    assert (refused.check.finding, refused.would_deny) == (Finding.UNKNOWN, True)
    assert refused.check.failure is not None
    assert refused.check.failure.fault is Fault.LOCAL
    turns.clear()
    (judged,) = evaluator.evaluate(uses, "shop", SOON, NOW)
    assert judged.check.finding is Finding.TRUSTED
    assert len(turns) > 100
    turns.clear()
    monkeypatch.setattr(time_slices, "SLICE_SECONDS", 60.0)
    evaluator.evaluate(uses, "other", SOON, NOW)
    assert not turns


def test_background_evaluation_yields_to_reviews(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C3: reviews must be answered during the warm-up of a replica, too."""
    monkeypatch.setattr(time_slices, "SLICE_SECONDS", 0.0)
    pauses: list[None] = []
    monkeypatch.setattr(LargeWork, "pause", lambda: pauses.append(None))
    use = ImageUse("f", ("containers", "0"), f"{HOST}/shop/web:1")
    assert Evaluator(long_policy(), FakeAnswers({})).lookup_request_for(use, "shop", NOW) is not None
    assert len(pauses) >= 100


def test_long_evaluation_yields_to_other_reviews(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C3: a waiting request runs after one piece, and not when all work is done."""
    monkeypatch.setattr(time_slices, "SLICE_SECONDS", 0.0)
    work, others_wait, other_had_it = LargeWork(), threading.Event(), threading.Event()
    left: list[int] = []
    uses = [ImageUse(f"f[{n}]", ("containers", str(n)), f"{HOST}/shop/web:{n}") for n in range(FEW + 1)]
    evaluator = Evaluator(long_policy(), FakeAnswers({"shop/web:*": TrustStatus.TRUSTED}), work)
    read = evaluator.parse

    def watch(image: str) -> ParsedImage:
        left.append(1)
        others_wait.set()
        return read(image)

    monkeypatch.setattr(evaluator, "parse", watch)

    def wait() -> None:
        assert others_wait.wait(60)
        with work.piece(SOON):
            left.append(0)
            other_had_it.set()

    thread = threading.Thread(target=wait)
    thread.start()
    evaluator.evaluate(uses, "shop", SOON, NOW)
    assert other_had_it.wait(60)
    thread.join()
    assert left.index(0) < len(uses)


def test_evaluation_beyond_deadline_is_aborted_and_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C3: a deadline also ends the comparisons, and an image that was not compared is not admitted."""
    monkeypatch.setattr(time_slices, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(time_slices, "MIN_SECONDS", 0.0)
    evaluator = Evaluator(long_policy(), FakeAnswers({"shop/web:1": TrustStatus.TRUSTED}), LargeWork())
    (item,) = evaluator.evaluate(
        [ImageUse("f", ("containers", "0"), f"{HOST}/shop/web:1")], "shop", Deadline.after(0), NOW
    )
    assert (item.check.finding, item.would_deny) == (Finding.UNKNOWN, True)


def test_results_of_many_lookups_are_evaluated_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C3: many reviews reach their deadlines at once. A review that gets no turn is answered
    nevertheless.
    """
    work = LargeWork()
    uses = [ImageUse(f"f[{n}]", ("containers", str(n)), f"{HOST}/shop/web:1") for n in range(FEW + 1)]
    asked, weighed = threading.Event(), threading.Event()
    turn = work.piece(SOON)

    class Answers(FakeAnswers):
        def look_up(self, questions: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
            turn.__enter__()
            asked.set()
            return super().look_up(questions, deadline)

    evaluator = Evaluator(policy(), Answers({"shop/web:1": TrustStatus.TRUSTED}), work)
    monkeypatch.setattr(evaluator_module, "RESULTS_WAIT", 60.0)

    def review() -> None:
        evaluator.evaluate(uses, "shop", Deadline.after(60), NOW)
        weighed.set()

    thread = threading.Thread(target=review)
    thread.start()
    assert asked.wait(60)
    assert not weighed.wait(0.1)
    turn.__exit__(None, None, None)
    assert weighed.wait(60)
    thread.join()
    turn = work.piece(SOON)
    monkeypatch.setattr(evaluator_module, "RESULTS_WAIT", 0.01)
    judged = evaluator.evaluate(uses, "shop", Deadline.after(60), NOW)
    assert {item.check.finding for item in judged} == {Finding.TRUSTED}


D, E = "sha256:" + "a" * 64, "sha256:" + "b" * 64
TAGGED = ImageReference("h", "a/b", "1", None)
PINNED = ImageReference("h", "a/b", "1", D)
DIGEST_ONLY = ImageReference("h", "a/b", None, D)
DOWN = RegistryUnavailable("down")


def found(status: TrustStatus, digest: str | None = D, origin: Origin = Origin.SWR) -> Found:
    """Return an answer of SWR."""
    failure = DOWN if origin is Origin.STALE else None
    return Found(TrustRecord(status, 1.0, digest), origin, failure)


ANSWERS = [
    ("trusted", TAGGED, found(TrustStatus.TRUSTED), Finding.TRUSTED),
    ("untrusted", TAGGED, found(TrustStatus.UNTRUSTED), Finding.UNTRUSTED),
    ("missing", TAGGED, found(TrustStatus.MISSING, None), Finding.MISSING),
    ("pinned and equal", PINNED, found(TrustStatus.TRUSTED), Finding.TRUSTED),
    ("pinned to another digest", PINNED, found(TrustStatus.TRUSTED, E), Finding.DIGEST_MISMATCH),
    ("pinned, and SWR names no digest", PINNED, found(TrustStatus.TRUSTED, None), Finding.DIGEST_MISMATCH),
    ("pinned and untrusted", PINNED, found(TrustStatus.UNTRUSTED, E), Finding.UNTRUSTED),
    ("by digest alone", DIGEST_ONLY, found(TrustStatus.TRUSTED), Finding.TRUSTED),
    ("stale and trusted", TAGGED, found(TrustStatus.TRUSTED, D, Origin.STALE), Finding.TRUSTED),
    ("stale and pinned", PINNED, found(TrustStatus.TRUSTED, D, Origin.STALE), Finding.TRUSTED),
    (
        "stale with another digest proves nothing",
        PINNED,
        found(TrustStatus.TRUSTED, E, Origin.STALE),
        Finding.UNKNOWN,
    ),
    ("unknown", TAGGED, Failed(DOWN), Finding.UNKNOWN),
]


@pytest.mark.parametrize(
    ("reference", "answer", "finding"), [case[1:] for case in ANSWERS], ids=[case[0] for case in ANSWERS]
)
def test_each_lookup_result_has_one_finding(
    reference: ImageReference, answer: LookupResult, finding: Finding
) -> None:
    """The table of findings (T26)."""
    assert Evaluator.check_trust(reference, answer).finding is finding


REASONS = [
    (LookupTimeout("x", fault=Fault.REGISTRY), "timeout", True),
    (Throttled("x", fault=Fault.REGISTRY), "throttled", True),
    (RegistryUnavailable("x"), "unavailable", True),
    (Throttled("x", fault=Fault.LOCAL), "throttled", True),
    (LookupTimeout("x", fault=Fault.IMAGE), "timeout", True),
    (Unauthorized("x"), "unauthorized", False),
    (Forbidden("x"), "forbidden", False),
    (MalformedAnswer("x"), "malformed", False),
]


@pytest.mark.parametrize(("failure", "reason", "passes"), REASONS)
def test_lookup_failure_keeps_its_reason(failure: TrustLookupError, reason: str, passes: bool) -> None:
    """Only a failure that may end soon is worth a retry."""
    assert Evaluator.check_trust(TAGGED, Failed(failure)) == CheckResult(
        Finding.UNKNOWN, reason, failure=failure
    )
    assert failure.transient is passes


answers = st.builds(
    found, st.sampled_from(TrustStatus), st.sampled_from([D, E, None]), st.sampled_from(Origin)
) | st.sampled_from([Failed(case[0]) for case in REASONS])


@given(st.sampled_from([TAGGED, PINNED, DIGEST_ONLY]), answers)
def test_trusted_finding_requires_trusted_record_and_same_digest(
    reference: ImageReference, answer: LookupResult
) -> None:
    """No other combination is trusted."""
    if Evaluator.check_trust(reference, answer).finding is Finding.TRUSTED:
        assert isinstance(answer, Found)
        assert answer.record.status is TrustStatus.TRUSTED
        assert reference is not PINNED or answer.record.digest == D


TRANSIENT = [
    LookupTimeout("x", fault=Fault.REGISTRY),
    RegistryUnavailable("x"),
]
OF_AN_AUTHOR = [
    *(
        cause("x", fault=fault)
        for cause in (LookupTimeout, Throttled, RegistryUnavailable)
        for fault in (Fault.LOCAL, Fault.IMAGE)
    ),
    Throttled("x", fault=Fault.REGISTRY),
    Unauthorized("x", fault=Fault.LOCAL),
    Forbidden("x"),
    MalformedAnswer("x"),
]
LASTING = [Unauthorized("x"), *OF_AN_AUTHOR]


def enforced(check: CheckResult, **settings: Any) -> Effect:
    """Return the effect of a finding under the mode ``enforce``."""
    return Evaluator(policy(**settings), FakeAnswers({})).enforced_effect(check)


ADMITTING: dict[Finding, Effect] = {Finding.TRUSTED: Effect.ALLOW, Finding.EXEMPT: Effect.ALLOW}


@pytest.mark.parametrize("finding", Finding)
def test_every_finding_has_effect_and_only_two_admit(finding: Finding) -> None:
    """With the default settings; an unknown finding denies."""
    assert enforced(CheckResult(finding)) is ADMITTING.get(finding, Effect.DENY)


@pytest.mark.parametrize(
    ("setting", "effect"),
    [("deny", Effect.DENY), ("warn", Effect.WARN), ("allow", Effect.ALLOW), ("?", Effect.DENY)],
)
def test_unmanaged_image_has_effect_of_policy(setting: Any, effect: Effect) -> None:
    """An unknown value of the setting denies."""
    assert enforced(CheckResult(Finding.UNMANAGED), unmanaged_registries=setting) is effect


@pytest.mark.parametrize(
    "failure", [*TRANSIENT, *LASTING], ids=lambda failure: f"{type(failure).__name__}-{failure.fault}"
)
@pytest.mark.parametrize("setting", ["deny", "allow"])
def test_failed_lookup_is_admitted_only_if_no_author_can_cause_it(setting: Any, failure: Any) -> None:
    """Fault B3: ``onLookupFailure: allow`` is about outages, not about failures that an author can cause."""
    check = CheckResult(Finding.UNKNOWN, failure.reason, failure=failure)
    passes = setting == "allow" and failure in TRANSIENT
    assert enforced(check, on_lookup_failure=setting) is (Effect.WARN if passes else Effect.DENY)


def test_unknown_finding_without_failure_is_denied() -> None:
    """An unknown finding without a reason is denied."""
    assert enforced(CheckResult(Finding.UNKNOWN), on_lookup_failure="allow") is Effect.DENY


MODES = [
    (Effect.ALLOW, Mode.ENFORCE, Effect.ALLOW),
    (Effect.ALLOW, Mode.WARN, Effect.ALLOW),
    (Effect.ALLOW, Mode.AUDIT, Effect.ALLOW),
    (Effect.WARN, Mode.ENFORCE, Effect.WARN),
    (Effect.WARN, Mode.WARN, Effect.WARN),
    (Effect.WARN, Mode.AUDIT, Effect.AUDIT),
    (Effect.DENY, Mode.ENFORCE, Effect.DENY),
    (Effect.DENY, Mode.WARN, Effect.WARN),
    (Effect.DENY, Mode.AUDIT, Effect.AUDIT),
]


@pytest.mark.parametrize(("enforced", "mode", "effect"), MODES)
def test_mode_weakens_but_does_not_strengthen_effect(enforced: Effect, mode: Mode, effect: Effect) -> None:
    """``warn`` warns, ``audit`` only records (T50)."""
    assert Evaluator.apply_mode(enforced, mode) is effect


def test_image_fault_is_transient_but_not_admitted() -> None:
    """SWR may have failed only for a moment: the client is told to retry, and kubectl does."""
    failure = RegistryUnavailable("SWR answered 503", fault=Fault.IMAGE)
    assert (failure.transient, failure.allows_stale, failure.allows_pass) == (True, False, False)

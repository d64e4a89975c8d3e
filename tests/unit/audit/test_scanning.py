"""The audit: its counts, its rows and its calls."""

from __future__ import annotations

import datetime as dt
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.support.builders import (
    DIGEST,
    HOST,
    NOW,
    OTHER_DIGEST,
    FakeAnswers,
    exemption,
    policy,
    registry,
    rule,
)
from tests.unit.audit.builders import FACTS, audit, running
from webhook.audit.caching_lookup import BATCH, OUTAGE_RETRY_BUDGET, THROTTLING_RETRY_BUDGET, CachingLookup
from webhook.audit.pods import PodPage
from webhook.audit.report import AuditReport
from webhook.audit.scanning import Audit, with_audit_limits
from webhook.deadlines import Deadline
from webhook.errors import Fault, Forbidden, RegistryUnavailable, Throttled, TrustLookupError, Unauthorized
from webhook.policy.findings import Finding
from webhook.trust.lookup import Failed, Found, LookupRequest, LookupResult, Origin
from webhook.trust.records import TrustQuery, TrustRecord, TrustStatus
from webhook.trust.settings import LookupSettings

SOON = Deadline(1e12)


def test_verdict_counts_pods_and_namespaces() -> None:
    """Two denied Pods of four, in two namespaces."""
    report = audit(
        running(),
        running("shop/api:1", name="api-1"),
        running(name="w", namespace="ops"),
        running("shop/gone:1", name="x", namespace="ops"),
    )
    assert report.verdict == "enforcing now would deny 2 of 4 Pods in 2 namespaces"
    assert [(row.name, row.pods, row.refused) for row in report.namespaces] == [("ops", 2, 1), ("shop", 2, 1)]


@pytest.mark.parametrize(
    ("pods", "verdict"),
    [
        ([], "no Pods were seen, so nothing can be said"),
        ([running()], "enforcing now would deny none of 1 Pods"),
        ([running("shop/api:1")], "enforcing now would deny 1 of 1 Pods in 1 namespace"),
        (
            [running(), PodPage(gaps=("the API server went away",))],
            "enforcing now would deny none of the 1 Pods that were seen",
        ),
    ],
    ids=["none", "all trusted", "one", "partial"],
)
def test_verdict_text_covers_only_pods_seen(pods: list[Any], verdict: str) -> None:
    """The sentence claims nothing about other Pods."""
    assert audit(*pods).verdict == verdict


def test_pods_are_grouped_by_namespace_workload_and_image() -> None:
    """Three Pods of one Deployment are one row; the same image twice in a Pod counts once."""
    report = audit(
        running(["shop/api:1", "shop/api:1"], name="a"),
        running("shop/api:1", name="b"),
        running("shop/api:1", name="c", workload="CronJob/report"),
    )
    assert [
        (row.namespace, str(row.workload), row.image, row.finding, row.pods, row.example)
        for row in report.rows
    ] == [
        ("shop", "CronJob/report", f"{HOST}/shop/api:1", Finding.UNTRUSTED, 1, "c"),
        ("shop", "Deployment/web", f"{HOST}/shop/api:1", Finding.UNTRUSTED, 2, "a"),
    ]


def test_audit_row_has_message_of_denial() -> None:
    """Message and advice come from the webhook's catalog."""
    (row,) = audit(running("nginx.example.com/x:1")).rows
    assert (row.message, row.advice) == (
        'images from registry "nginx.example.com" are not allowed in this cluster',
        f"Push the image to {HOST} and use it from there.",
    )


def test_audit_counts_effect_of_enforcement_in_any_mode() -> None:
    """An audit predicts enforcement; the effect of the current modes is listed beside it."""
    report = audit(running("shop/api:1"), current=policy(rules=(rule(mode="audit"),)))
    assert (report.refused, report.enforced) == (1, 0)
    assert "With the policy's modes as they are (mode enforce), 0 Pods would be denied." in report.remarks


def test_node_with_another_digest_is_reported() -> None:
    """The tag was pushed again: SWR's answer is about another image than the running one."""
    report = audit(running(digest=OTHER_DIGEST), running(name="same", digest=DIGEST))
    assert [(row.running, row.current, row.example, row.pods) for row in report.drift] == [
        (OTHER_DIGEST, DIGEST, "web-1", 1)
    ]
    assert report.refused == 0
    assert report.remarks == [
        "Running another image than the tag names in SWR now: 1 Pod. "
        "SWR's mark of the tag does not apply to the running image."
    ]


def test_pod_that_depends_on_ending_exemption_is_listed() -> None:
    """The Pod is evaluated as after the end: a trusted image and one of another exemption are not listed."""

    def ending(days: float, name: str, images: Sequence[str]) -> Any:
        ends = dt.datetime.fromtimestamp(NOW + days * 86400, dt.UTC)
        return exemption(name, [f"{HOST}/{image}" for image in images], expires=ends)

    current = policy(
        exemptions=(
            ending(29, "soon", ["shop/**"]),
            ending(31, "later", ["ops/**"]),
            ending(400, "long", ["shop/base"]),
        )
    )
    report = audit(
        running("shop/api:1"),
        running("shop/web:1", name="trusted"),
        running("shop/base:1", name="covered"),
        running("ops/tool:1", name="later"),
        current=current,
    )
    assert [(row.exemption, row.image, row.finding) for row in report.endings] == [
        ("soon", f"{HOST}/shop/api:1", Finding.UNTRUSTED)
    ]
    assert "Running only by an exemption that ends within 30 days: 1 Pod." in report.remarks


def test_excluded_namespaces_and_static_pods_are_not_looked_up() -> None:
    """Pods that admission does not stop are not denied."""
    report = audit(
        running("shop/api:1", namespace="kube-system"),
        running("shop/api:1", is_static=True),
        excluded=("kube-*",),
    )
    assert (report.pods, report.excluded, report.static, report.images_looked_up) == (0, 1, 1, 0)


@pytest.mark.parametrize(
    ("facts", "loud"),
    [
        ({"shop/web:1": TrustStatus.UNTRUSTED, "shop/api:1": TrustStatus.UNTRUSTED}, [(HOST, 2)]),
        (FACTS, []),
        ({}, []),
    ],
    ids=["none trusted", "one trusted", "nothing there"],
)
def test_account_without_trusted_images_is_reported(facts: Any, loud: list[tuple[str, int]]) -> None:
    """SWR does not document what sets the mark, so that it may never be set."""
    report = audit(running(), running("shop/api:1"), facts=facts)
    assert report.never_trusted == loud
    assert any(remark.startswith("NO IMAGE IS TRUSTED: ") for remark in report.remarks) == bool(loud)


def test_interrupt_produces_partial_report() -> None:
    """The results until then are kept and marked."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    report = audit(running("shop/api:1"), interrupt, running())
    assert (report.pods, report.is_partial, report.remarks[0]) == (
        1,
        True,
        "This report is PARTIAL: it was interrupted.",
    )


def test_failed_lookups_are_counted_as_unknown() -> None:
    """These Pods are denied only as unknown."""
    report = audit(
        running("shop/api:1"),
        running("shop/other:1", name="o"),
        facts={**FACTS, "shop/other:1": Forbidden("another account's")},
    )
    assert (report.refused, report.unknown) == (2, 1)
    assert "SWR could not be queried about 1 image: another account's." in report.remarks


def test_pod_with_thousands_of_images_is_audited() -> None:
    """Looked up in batches, counted as one Pod, a row for each image."""
    report = audit(running([f"shop/app-{number}:1" for number in range(3000)]))
    assert (report.pods, report.refused, report.images_looked_up, len(report.rows)) == (1, 1, 3000, 3000)


def test_rows_beyond_limit_are_counted_but_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report is bounded and says so; the figures of the summary are complete."""
    monkeypatch.setattr("webhook.audit.scanning.MAX_ROWS", 2)
    report = audit(*(running("shop/api:1", f"p{number}", f"n{number}") for number in range(5)))
    assert (report.refused, len(report.rows), report.omitted) == (5, 2, 3)
    assert "3 more rows are counted but not listed." in report.remarks


class Cluster:
    """Many Pods of few images, created when they are read."""

    def __init__(self, pods: int, images: int) -> None:
        self._pods, self._images = pods, images

    def pages(self) -> Iterator[PodPage]:
        for start in range(0, self._pods, 250):
            page = [
                running(
                    f"shop/app-{number % self._images}:1",
                    f"app-{number}",
                    f"team-{number * 20 // self._pods}",
                    f"Deployment/app-{number % 50}",
                )
                for number in range(start, min(start + 250, self._pods))
            ]
            yield PodPage(tuple(page), self._pods - start - len(page))


def scan(pods: int, images: int) -> tuple[AuditReport, FakeAnswers, int]:
    """Audit a large cluster; return the report, the lookups, and the peak of memory in bytes."""
    facts = {f"shop/app-{number}:1": TrustStatus.TRUSTED for number in range(images) if number % 7}
    answers = FakeAnswers(facts)
    tracemalloc.start()
    try:
        report = Audit(policy(), answers, clock=lambda: NOW).run(Cluster(pods, images))
        return report, answers, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_audit_makes_one_call_per_distinct_image() -> None:
    """2,000 distinct images: 2,000 lookups, one for each."""
    report, answers, _ = scan(10_000, 2_000)
    assert (report.pods, report.images_seen, report.images_looked_up) == (10_000, 2_000, 2_000)
    assert len(answers.asked) == len(set(answers.asked)) == 2_000


@pytest.mark.slow
def test_audit_memory_does_not_grow_with_number_of_pods() -> None:
    """Three times the Pods of the same images and workloads take about the same memory."""
    _, _, small = scan(4_000, 200)
    _, _, large = scan(12_000, 200)
    assert large < small * 1.3


def question(number: int) -> LookupRequest:
    """Return a request for an image of its own."""
    return LookupRequest(TrustQuery(registry(), "shop", f"app-{number}", tag="1"))


class Failing:
    """Fails a number of times for each lookup, then answers trusted."""

    def __init__(self, failure: TrustLookupError, times: int) -> None:
        self.failure, self.times = failure, times
        self.sizes: list[int] = []

    def look_up(self, questions: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
        self.sizes.append(len(questions))
        if len(self.sizes) <= self.times:
            return [Failed(self.failure) for _ in questions]
        return [Found(TrustRecord(TrustStatus.TRUSTED, NOW), Origin.SWR) for _ in questions]


@pytest.mark.parametrize(
    ("failure", "times", "pauses", "known"),
    [
        (Throttled("slow down", fault=Fault.REGISTRY), 3, [1, 2, 4], True),
        (Throttled("slow down", retry_after=7, fault=Fault.REGISTRY), 1, [7], True),
        (RegistryUnavailable("500"), 2, [1, 2], True),
        (RegistryUnavailable("500"), 99, [1, 2, 4, 8], False),
        (Unauthorized("401"), 99, [], False),
        (Forbidden("403"), 99, [], False),
    ],
    ids=["throttled", "as long as SWR asks", "away for a moment", "down", "credential", "another account"],
)
def test_transient_failures_are_retried(
    failure: TrustLookupError, times: int, pauses: list[float], known: bool
) -> None:
    """Throttling for minutes, an outage for seconds, other failures not at all."""
    slept: list[float] = []
    answers = CachingLookup(Failing(failure, times), sleep=slept.append)
    (answer,) = answers.look_up([question(1)], SOON)
    assert slept == pauses
    assert isinstance(answer, Found) is known


def test_retry_time_is_limited_for_whole_audit() -> None:
    """The audit does not wait for a thousand images one after another while SWR is down."""
    slept: list[float] = []
    answers = CachingLookup(Failing(RegistryUnavailable("500"), 10**9), sleep=slept.append)
    answers.look_up([question(number) for number in range(1000)], SOON)
    assert sum(slept) <= OUTAGE_RETRY_BUDGET < THROTTLING_RETRY_BUDGET


def test_lookup_failure_is_cached_for_audit() -> None:
    """The next Pod with the image does not wait again."""
    source = Failing(Unauthorized("401"), 10**9)
    answers = CachingLookup(source)
    answers.look_up([question(1)], SOON)
    answers.look_up([question(1), question(2)], SOON)
    assert source.sizes == [1, 1]


def test_lookups_are_made_in_batches() -> None:
    """A batch has as many images as the rate limit allows within a lookup's time."""
    source = Failing(Unauthorized(""), 0)
    CachingLookup(source).look_up([question(number) for number in range(BATCH * 2 + 1)], SOON)
    assert source.sizes == [BATCH, BATCH, 1]


def test_audit_limits_raise_timeout_and_lower_concurrency() -> None:
    """Longer lookups, fewer at a time, and the policy's own rate."""
    changed = with_audit_limits(
        policy(lookup=LookupSettings(timeout=3, concurrency=128, calls_per_second=20))
    )
    assert changed.lookup == LookupSettings(timeout=10, concurrency=16, calls_per_second=20)

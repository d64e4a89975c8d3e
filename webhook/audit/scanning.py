"""The audit: evaluates Pods page by page into a report. Its memory does not grow with the number of Pods."""

from __future__ import annotations

import datetime as dt
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol, TypeVar

import msgspec

from webhook.admission.decision import Effect, ImageResult
from webhook.admission.evaluator import Evaluator, TrustAnswers
from webhook.admission.extraction import ImageUse
from webhook.admission.messages import printable
from webhook.audit.audit_survey import AuditSurvey
from webhook.audit.caching_lookup import CachingLookup
from webhook.audit.coverage import MAX_IMAGE
from webhook.audit.drift import current_digest, find_drift
from webhook.audit.pods import PodPage, PodSource, RunningPod
from webhook.audit.report import (
    MAX_ROWS,
    AuditReport,
    Drift,
    DriftRow,
    ExpiringExemptionRow,
    FindingRow,
    NamespaceRow,
    Result,
    count,
    sort_report,
)
from webhook.audit.survey import find_without
from webhook.deadlines import NO_DEADLINE
from webhook.policy.findings import Finding
from webhook.policy.model import Policy
from webhook.policy.namespaces import NamespacePatterns
from webhook.registries import Evidence

EXCLUDED: Final = ("kube-system", "kube-public", "kube-node-lease")
"""Namespaces that the webhook excludes by default."""

ENDING_DAYS: Final = 30
"""The report lists exemptions that expire within so many days."""

DAY: Final = 86400.0

MAX_IMAGES: Final = 200_000
MAX_SHOWN_FAILURES: Final = 5

LOOKUP_SECONDS: Final = 10.0
"""Seconds of one lookup; no API server waits for it, so it may be slow."""

LOOKUP_CONCURRENCY: Final = 16
"""Concurrent lookups; the webhook queries the same SWR at the same time."""

RowT = TypeVar("RowT", FindingRow, DriftRow, ExpiringExemptionRow)


class AuditProgress(Protocol):
    """Receives the progress of an audit."""

    def pods_evaluated(self, pods: int, remaining: int | None) -> None:
        """Report how many Pods are evaluated and how many remain, if that is known."""
        ...  # pragma: no cover

    def images_looked_up(self, images: int, pause: float) -> None:
        """Report the number of images looked up, and the seconds of a requested pause."""
        ...  # pragma: no cover


class NullProgress:
    """Implements ``AuditProgress`` by doing nothing."""

    def pods_evaluated(self, pods: int, remaining: int | None) -> None:
        """Ignore it."""

    def images_looked_up(self, images: int, pause: float) -> None:
        """Ignore it."""


def with_audit_limits(policy: Policy) -> Policy:
    """Return the policy with the lookup limits of an audit; results are the same."""
    lookup = replace(
        policy.lookup,
        timeout=max(policy.lookup.timeout, LOOKUP_SECONDS),
        concurrency=min(policy.lookup.concurrency, LOOKUP_CONCURRENCY),
    )
    return replace(policy, lookup=lookup)


class Audit:
    """One audit under one policy; use it once."""

    def __init__(
        self,
        policy: Policy,
        answers: TrustAnswers,
        excluded: Sequence[str] = (),
        progress: AuditProgress | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """Evaluate under ``policy`` with lookups by ``answers``; ``excluded`` are globs of namespaces."""
        self._progress = progress if progress is not None else NullProgress()
        self._answers = CachingLookup(answers, self._progress.images_looked_up, sleep)
        self._evaluator = Evaluator(policy, self._answers, before_pinning=True)
        self._survey = AuditSurvey(policy, self._evaluator, answers, self._report_pause, sleep)
        self._excluded = NamespacePatterns(tuple(excluded))
        self._clock = clock
        self._started = clock()
        self.report = AuditReport(
            started=dt.datetime.fromtimestamp(self._started, dt.UTC),
            policy=policy.version,
            mode=policy.mode,
            excluded_namespaces=tuple(excluded),
        )
        self._namespaces: dict[str, NamespaceRow] = {}
        self._rows: dict[tuple[object, ...], FindingRow] = {}
        self._drift: dict[tuple[object, ...], DriftRow] = {}
        self._endings: dict[tuple[object, ...], ExpiringExemptionRow] = {}
        self._images: set[str] = set()

    def run(self, source: PodSource) -> AuditReport:
        """Evaluate all Pods of ``source``. An interrupt ends the audit early; the report is then partial."""
        try:
            for page in source.pages():
                if page.remaining is not None:
                    self._progress.pods_evaluated(self.report.pods, page.remaining + len(page.pods))
                self._add_page(page)
                self._progress.pods_evaluated(self.report.pods, page.remaining)
        except KeyboardInterrupt:
            self.report.add_gap("it was interrupted")
        self._finish()
        return self.report

    def _add_page(self, page: PodPage) -> None:
        by_namespace: defaultdict[str, list[RunningPod]] = defaultdict(list)
        for pod in self.report.select(page, self._excluded):
            by_namespace[pod.namespace].append(pod)
        for namespace, pods in by_namespace.items():
            self._evaluate_pods(namespace, pods)

    def _evaluate_pods(self, namespace: str, pods: Sequence[RunningPod]) -> None:
        now = self._clock()
        results = self._evaluate(namespace, [use for pod in pods for use in pod.uses], now)
        self._survey.add(namespace, results)
        start = 0
        ending: list[tuple[RunningPod, ImageResult]] = []
        for pod in pods:
            mine = results[start : start + len(pod.uses)]
            start += len(pod.uses)
            drifts = [find_drift(item, pod.digests.get(item.use.place)) for item in mine]
            self._count(pod, mine, drifts)
            counted: set[tuple[object, ...]] = set()
            for item, drift in zip(mine, drifts, strict=True):
                self._record(pod, item, drift, counted)
                if _ends_soon(item, now):
                    ending.append((pod, item))
        self._record_endings(namespace, ending, now)

    def _report_pause(self, images: int, pause: float) -> None:
        del images
        self._progress.images_looked_up(self._answers.looked_up, pause)

    def _evaluate(self, namespace: str, uses: Sequence[ImageUse], now: float) -> list[ImageResult]:
        results = self._evaluator.evaluate(uses, namespace, NO_DEADLINE, now) if uses else ()
        return [
            self._evaluate_by_tag(item, namespace, now)
            if item.check.finding is Finding.DIGEST_MISMATCH
            else item
            for item in results
        ]

    def _evaluate_by_tag(self, item: ImageResult, namespace: str, now: float) -> ImageResult:
        """Return the result for the tag alone of a pinned image, if the policy pins it.

        A controller creates Pods from its template, which has the tag alone if the webhook wrote the digest.
        The next Pod gets the digest that the tag has then. Who wrote a digest cannot be seen in a Pod.
        """
        use = msgspec.structs.replace(item.use, image=item.use.image.partition("@")[0])
        for by_tag in self._evaluator.evaluate_to_pin([use], namespace, NO_DEADLINE, now):
            return msgspec.structs.replace(by_tag, use=item.use, reference=item.reference)
        return item

    def _count(self, pod: RunningPod, results: Sequence[ImageResult], drifts: Sequence[Drift | None]) -> None:
        report = self.report
        space = self._namespaces.setdefault(pod.namespace, NamespaceRow(pod.namespace))
        denied = [item for item in results if item.would_deny]
        report.pods += 1
        space.pods += 1
        if denied:
            report.refused += 1
            space.refused += 1
            if all(item.check.finding is Finding.UNKNOWN for item in denied):
                report.unknown += 1
                space.unknown += 1
        if any(item.effect is Effect.DENY for item in results):
            report.enforced += 1
            space.enforced += 1
        for item, drift in zip(results, drifts, strict=True):
            report.findings[item.check.finding] += 1
            space.findings[item.check.finding] += 1
            space.results[_result_of(item, drift)] += 1

    def _record(
        self, pod: RunningPod, item: ImageResult, drift: Drift | None, counted: set[tuple[object, ...]]
    ) -> None:
        """Add the rows of one image; ``counted`` are the keys of rows that count this Pod already."""
        check = item.check
        image = printable(item.use.image, MAX_IMAGE)
        if len(self._images) < MAX_IMAGES:
            self._images.add(image)
        if item.would_deny or item.effect is not Effect.ALLOW:
            row = FindingRow(
                namespace=pod.namespace,
                workload=pod.workload,
                field=item.use.field,
                image=image,
                finding=check.finding,
                reason=check.reason,
                mode=item.mode,
                refused=item.would_deny,
                enforced=item.effect is Effect.DENY,
                message=self._evaluator.messages.describe(item),
                advice=self._evaluator.messages.advise(item),
                example=pod.name,
                signers=item.check.signers,
            )
            self._count_in(self._rows, row, (check.finding, check.reason), counted)
        if drift is not None:
            drift_row = DriftRow(
                namespace=pod.namespace,
                workload=pod.workload,
                image=image,
                reason=drift,
                running=pod.digests[item.use.place],
                current=current_digest(item),
                finding=check.finding,
                example=pod.name,
            )
            self._count_in(self._drift, drift_row, (drift_row.running, "runs"), counted)

    def _record_endings(
        self, namespace: str, ending: Sequence[tuple[RunningPod, ImageResult]], now: float
    ) -> None:
        """Evaluate the images of exemptions that expire soon as if these had expired."""
        then = now + ENDING_DAYS * DAY
        later = self._evaluate(namespace, [item.use for _, item in ending], then)
        counted: defaultdict[str, set[tuple[object, ...]]] = defaultdict(set)
        for (pod, item), future in zip(ending, later, strict=True):
            exemption = item.exemption
            assert exemption is not None
            assert exemption.expires is not None
            if future.would_deny:
                row = ExpiringExemptionRow(
                    pod.namespace,
                    pod.workload,
                    printable(item.use.image, MAX_IMAGE),
                    exemption.name,
                    exemption.expires,
                    future.check.finding,
                    self._evaluator.messages.describe(future),
                )
                self._count_in(self._endings, row, (exemption.name, "ends"), counted[pod.name])

    def _count_in(
        self,
        rows: dict[tuple[object, ...], RowT],
        row: RowT,
        what: tuple[object, ...],
        counted: set[tuple[object, ...]],
    ) -> None:
        """Count a Pod in the row equal to ``row``, once for all of its containers."""
        key = (row.namespace, row.workload, row.image, *what)
        if key in counted:
            return
        counted.add(key)
        known = rows.get(key)
        if known is None:
            if len(rows) >= MAX_ROWS:
                self.report.omitted += 1
                return
            known = rows[key] = row
        known.pods += 1

    def _finish(self) -> None:
        report = self.report
        if self._answers.unanswered:
            report.add_gap(f"SWR gave no answer about {count(self._answers.unanswered, 'image')}")
        report.rows = list(self._rows.values())
        report.drift = list(self._drift.values())
        report.endings = list(self._endings.values())
        report.images_looked_up = self._answers.looked_up
        report.images_seen = len(self._images)
        report.seconds = self._clock() - self._started
        report.survey = self._survey.finish()
        report.never_trusted = find_without(
            report.survey, (Evidence.TAG_DETAIL, Evidence.BOTH), Evidence.TAG_DETAIL
        )
        report.never_signed = find_without(
            report.survey, (Evidence.SIGNATURE, Evidence.BOTH), Evidence.SIGNATURE
        )
        report.failures = [
            (printable(detail, MAX_IMAGE), images)
            for detail, images in self._answers.failures.most_common(MAX_SHOWN_FAILURES)
        ]
        sort_report(report, self._namespaces.values())


def _result_of(item: ImageResult, drift: Drift | None) -> Result:
    finding = item.check.finding
    if finding is Finding.UNKNOWN:
        return Result.ERROR
    if item.effect is Effect.DENY:
        return Result.FAIL
    if item.would_deny or item.effect is not Effect.ALLOW or drift is Drift.OTHER_THAN_PINNED:
        return Result.WARN
    return Result.SKIP if finding is Finding.EXEMPT else Result.PASS


def _ends_soon(item: ImageResult, now: float) -> bool:
    exemption = item.exemption
    return exemption is not None and not exemption.active(now + ENDING_DAYS * DAY)

"""The audit itself: pages of Pods in, a report out, in memory that does not grow with the Pods."""

from __future__ import annotations

import datetime as dt
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol, TypeVar

from webhook.admission.decision import Effect, JudgedUse
from webhook.admission.judging import Judge, TrustAnswers
from webhook.admission.messages import Messages, printable
from webhook.admission.uses import ImageUse
from webhook.audit.caching_lookup import CachingLookup
from webhook.audit.pods import PodPage, PodSource, RunningPod
from webhook.audit.report import (
    MAX_ROWS,
    AuditReport,
    DriftRow,
    ExpiringExemptionRow,
    FindingRow,
    NamespaceRow,
    Result,
    count,
    sort_report,
)
from webhook.deadlines import Deadline
from webhook.policy.findings import Finding
from webhook.policy.model import Policy
from webhook.policy.namespaces import NamespacePatterns
from webhook.trust.records import TrustStatus

EXCLUDED: Final = ("kube-system", "kube-public", "kube-node-lease")
"""Namespaces that the webhook leaves out as it is installed."""

ENDING_DAYS: Final = 30
"""An exemption that ends within so many days is spoken of."""

DAY: Final = 86400.0

MAX_IMAGE: Final = 300
MAX_IMAGES: Final = 200_000
MAX_NOTES: Final = 50
MAX_SHOWN_FAILURES: Final = 5

LOOKUP_SECONDS: Final = 10.0
"""For one lookup: nobody waits at an API server, so SWR may take its time."""

LOOKUP_CONCURRENCY: Final = 16
"""Lookups at a time: the webhook asks the same SWR meanwhile."""

_NEVER: Final = Deadline(float("inf"))

RowT = TypeVar("RowT", FindingRow, DriftRow, ExpiringExemptionRow)


class AuditProgress(Protocol):
    """Is told how far an audit has come."""

    def pods_judged(self, pods: int, remaining: int | None) -> None:
        """Take note of how many Pods are done and how many are to come, where that is known."""
        ...  # pragma: no cover

    def images_asked(self, images: int, pause: float) -> None:
        """Take note of how many images were asked, and of a pause in seconds that SWR asks for."""
        ...  # pragma: no cover


class NullProgress:
    """Implements ``AuditProgress`` by doing nothing."""

    def pods_judged(self, pods: int, remaining: int | None) -> None:
        """Ignore it."""

    def images_asked(self, images: int, pause: float) -> None:
        """Ignore it."""


def with_audit_limits(policy: Policy) -> Policy:
    """Return the policy with lookups as an audit makes them; what it decides is the same."""
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
        """Judge by ``policy``, asking ``answers``; ``excluded`` are globs of namespaces to leave out."""
        self._progress = progress if progress is not None else NullProgress()
        self._answers = CachingLookup(answers, self._progress.images_asked, sleep)
        self._judge = Judge(policy, self._answers)
        self._messages = Messages(policy)
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
        """Judge all Pods of ``source``. An interrupt ends it early and leaves a partial report."""
        try:
            for page in source.pages():
                if page.remaining is not None:
                    self._progress.pods_judged(self.report.pods, page.remaining + len(page.pods))
                self._take(page)
                self._progress.pods_judged(self.report.pods, page.remaining)
        except KeyboardInterrupt:
            self._add(self.report.gaps, "it was interrupted")
        self._finish()
        return self.report

    def _take(self, page: PodPage) -> None:
        for gap in page.gaps:
            self._add(self.report.gaps, gap)
        for note in page.notes:
            self._add(self.report.notes, note)
        by_namespace: defaultdict[str, list[RunningPod]] = defaultdict(list)
        for pod in page.pods:
            if self._excluded.match(pod.namespace):
                self.report.excluded += 1
            elif pod.is_static:
                self.report.static += 1
            else:
                by_namespace[pod.namespace].append(pod)
        for namespace, pods in by_namespace.items():
            self._judge_pods(namespace, pods)

    def _judge_pods(self, namespace: str, pods: Sequence[RunningPod]) -> None:
        now = self._clock()
        judged = self._judge_uses(namespace, [use for pod in pods for use in pod.uses], now)
        start = 0
        ending: list[tuple[RunningPod, JudgedUse]] = []
        for pod in pods:
            mine = judged[start : start + len(pod.uses)]
            start += len(pod.uses)
            self._count(pod, mine)
            counted: set[tuple[object, ...]] = set()
            for item in mine:
                self._record(pod, item, counted)
                if _ends_soon(item, now):
                    ending.append((pod, item))
        self._record_endings(namespace, ending, now)

    def _judge_uses(self, namespace: str, uses: Sequence[ImageUse], now: float) -> tuple[JudgedUse, ...]:
        return self._judge.judge(uses, namespace, _NEVER, now) if uses else ()

    def _count(self, pod: RunningPod, judged: Sequence[JudgedUse]) -> None:
        report = self.report
        space = self._namespaces.setdefault(pod.namespace, NamespaceRow(pod.namespace))
        refused = [item for item in judged if item.refused]
        report.pods += 1
        space.pods += 1
        if refused:
            report.refused += 1
            space.refused += 1
            if all(item.judgement.finding is Finding.UNKNOWN for item in refused):
                report.unknown += 1
                space.unknown += 1
        if any(item.effect is Effect.DENY for item in judged):
            report.enforced += 1
            space.enforced += 1
        for item in judged:
            report.findings[item.judgement.finding] += 1
            space.findings[item.judgement.finding] += 1
            space.results[_result_of(item)] += 1

    def _record(self, pod: RunningPod, item: JudgedUse, counted: set[tuple[object, ...]]) -> None:
        """Keep what is worth a row; ``counted`` holds the rows in which this Pod stands already."""
        judgement = item.judgement
        image = printable(item.use.image, MAX_IMAGE)
        if len(self._images) < MAX_IMAGES:
            self._images.add(image)
        if item.refused or item.effect is not Effect.ALLOW:
            row = FindingRow(
                namespace=pod.namespace,
                workload=pod.workload,
                field=item.use.field,
                image=image,
                finding=judgement.finding,
                reason=judgement.reason,
                mode=item.mode,
                refused=item.refused,
                enforced=item.effect is Effect.DENY,
                message=self._messages.describe(item),
                advice=self._messages.advise(item),
                example=pod.name,
            )
            self._count_in(self._rows, row, (judgement.finding, judgement.reason), counted)
        running, record = pod.digests.get(item.use.place), judgement.record
        current = record.digest if record is not None else None
        if running is not None and current is not None and running != current:
            drift = DriftRow(
                pod.namespace, pod.workload, image, running, current, judgement.finding, pod.name
            )
            self._count_in(self._drift, drift, (running, "runs"), counted)

    def _record_endings(
        self, namespace: str, ending: Sequence[tuple[RunningPod, JudgedUse]], now: float
    ) -> None:
        """Judge what an exemption lets in as it will be judged once that has ended."""
        then = now + ENDING_DAYS * DAY
        later = self._judge_uses(namespace, [item.use for _, item in ending], then)
        counted: defaultdict[str, set[tuple[object, ...]]] = defaultdict(set)
        for (pod, item), future in zip(ending, later, strict=True):
            exemption = item.exemption
            assert exemption is not None
            assert exemption.expires is not None
            if future.refused:
                row = ExpiringExemptionRow(
                    pod.namespace,
                    pod.workload,
                    printable(item.use.image, MAX_IMAGE),
                    exemption.name,
                    exemption.expires,
                    future.judgement.finding,
                    self._messages.describe(future),
                )
                self._count_in(self._endings, row, (exemption.name, "ends"), counted[pod.name])

    def _count_in(
        self,
        rows: dict[tuple[object, ...], RowT],
        row: RowT,
        what: tuple[object, ...],
        counted: set[tuple[object, ...]],
    ) -> None:
        """Count a Pod in the row that is like ``row``, once however many of its containers are."""
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
            self._add(report.gaps, f"SWR gave no answer about {count(self._answers.unanswered, 'image')}")
        report.rows = list(self._rows.values())
        report.drift = list(self._drift.values())
        report.endings = list(self._endings.values())
        report.images_asked = self._answers.asked
        report.images_seen = len(self._images)
        report.seconds = self._clock() - self._started
        report.never_trusted = [
            (name, said.total())
            for name, said in sorted(self._answers.said.items())
            if said[TrustStatus.UNTRUSTED] and not said[TrustStatus.TRUSTED]
        ]
        report.failures = [
            (printable(detail, MAX_IMAGE), images)
            for detail, images in self._answers.failures.most_common(MAX_SHOWN_FAILURES)
        ]
        sort_report(report, self._namespaces.values())

    @staticmethod
    def _add(lines: list[str], line: str) -> None:
        if line not in lines and len(lines) < MAX_NOTES:
            lines.append(line)


def _result_of(item: JudgedUse) -> Result:
    finding = item.judgement.finding
    if finding is Finding.UNKNOWN:
        return Result.ERROR
    if item.effect is Effect.DENY:
        return Result.FAIL
    if item.refused or item.effect is not Effect.ALLOW:
        return Result.WARN
    return Result.SKIP if finding is Finding.EXEMPT else Result.PASS


def _ends_soon(item: JudgedUse, now: float) -> bool:
    exemption = item.exemption
    return exemption is not None and not exemption.active(now + ENDING_DAYS * DAY)

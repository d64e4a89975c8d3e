"""The rounds of the audit in the cluster, with their metrics, log lines, Events and policy reports."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Final

from webhook.admission.evaluator import TrustAnswers
from webhook.audit.diff import FindingDiff
from webhook.audit.pods import PodSource
from webhook.audit.report import AuditReport, Drift, DriftRow, FindingRow, NamespaceRow
from webhook.audit.scanning import Audit, AuditProgress, with_audit_limits
from webhook.audit.survey import RegistrySurvey
from webhook.audit.survey_advice import recommend
from webhook.cluster.reports import PolicyReports
from webhook.cluster.running import RunningEvents
from webhook.errors import ClusterError
from webhook.policy.model import Policy
from webhook.telemetry.audit_metrics import AuditMetrics, NamespaceFigures, RegistryFigures, RoundFigures

logger = logging.getLogger(__name__)

CALLS_PER_SECOND: Final = 10.0
"""Calls to SWR in a round, at most. 2,000 images take three minutes; the rest is for the webhook."""

MAX_LOGGED: Final = 20


def with_background_limits(policy: Policy) -> Policy:
    """Return the policy with lookups as a round makes them; its decisions are the same.

    No stale record is used. A round retries instead while SWR does not answer, and is then partial.
    """
    policy = with_audit_limits(policy)
    calls = min(policy.lookup.calls_per_second, CALLS_PER_SECOND)
    return replace(
        policy,
        lookup=replace(policy.lookup, calls_per_second=calls),
        cache=replace(policy.cache, stale_if_error=0.0),
    )


@dataclass(slots=True, eq=False)
class AuditRounds:
    """Audits the cluster, and publishes what is new since the last round."""

    pods: PodSource
    answers: TrustAnswers
    metrics: AuditMetrics
    progress: AuditProgress
    _: KW_ONLY
    excluded: tuple[str, ...] = ()
    """Namespaces to leave out, as globs."""
    events: RunningEvents | None = None
    reports: PolicyReports | None = None
    clock: Callable[[], float] = time.time
    last: str = field(default="no round has ended yet", init=False)
    """The result of the last round, in words."""
    _diff: FindingDiff = field(default_factory=FindingDiff, init=False)

    def run(self, policy: Policy) -> bool:
        """Make one round; return whether it was complete and is published. Never raises."""
        try:
            return self._run(with_background_limits(policy))
        except Exception:
            logger.exception("a round failed")
            self.metrics.round_failed()
            self.last = "the last round failed"
            return False

    def _run(self, policy: Policy) -> bool:
        report = Audit(policy, self.answers, self.excluded, self.progress, self.clock).run(self.pods)
        self.metrics.round_ended(_figures(report))
        new_rows = self._diff.update(report)
        self.metrics.newly_refused(len(new_rows))
        if self.events is not None:
            self.events.record(new_rows)
        if new_rows:
            # One line for all: of similar lines, only the first one in ten seconds is written.
            logger.warning(
                "running images would be denied now",
                extra={"images": [_loggable(row) for row in new_rows[:MAX_LOGGED]], "count": len(new_rows)},
            )
        not_pinned = report.drifted(Drift.OTHER_THAN_PINNED)
        if not_pinned:
            logger.warning(
                "nodes report other images than Pods pin",
                extra={
                    "images": [_loggable_drift(row) for row in not_pinned[:MAX_LOGGED]],
                    "count": len(not_pinned),
                },
            )
        published = self._publish(report)
        self._log(report)
        return published and not report.is_partial

    def _publish(self, report: AuditReport) -> bool:
        if self.reports is None or (report.is_partial and not report.pods):
            return True
        try:
            self.reports.publish(report)
        except ClusterError as error:
            self.metrics.report_ended("failed")
            logger.warning("policy reports are not up to date", extra={"detail": str(error)})
            return False
        return True

    def _log(self, report: AuditReport) -> None:
        self.last = report.headline
        logger.log(
            logging.WARNING if report.is_partial else logging.INFO,
            "a round ended",
            extra={
                "verdict": self.last,
                "partial": report.is_partial,
                "seconds": round(report.seconds, 1),
                "pods": report.pods,
                "refused": report.refused,
                "images": report.images_looked_up,
                "gaps": report.gaps[:MAX_LOGGED],
                "notes": report.notes[:MAX_LOGGED],
            },
        )


def _loggable(row: FindingRow) -> dict[str, str]:
    return {
        "namespace": row.namespace,
        "workload": str(row.workload),
        "image": row.image,
        "finding": row.finding.value,
    }


def _loggable_drift(row: DriftRow) -> dict[str, str]:
    return {
        "namespace": row.namespace,
        "workload": str(row.workload),
        "image": row.image,
        "running": row.running,
        "pod": row.example,
    }


def _figures(report: AuditReport) -> RoundFigures:
    return RoundFigures(
        complete=not report.is_partial,
        seconds=report.seconds,
        pods=report.pods,
        images=report.images_looked_up,
        other_digest={reason.value: report.drifted_pods(reason) for reason in Drift},
        ending_exemptions=sum(row.pods for row in report.endings),
        namespaces=tuple(_namespace_figures(row) for row in report.namespaces),
        mode=report.mode.value,
        registries=tuple(_registry_figures(survey) for survey in report.survey if survey.images),
    )


def _registry_figures(survey: RegistrySurvey) -> RegistryFigures:
    counts = survey.counts
    images = {"existing": counts.existing, "missing": counts.missing, "unknown": counts.unknown}
    if not survey.registry.is_enterprise:
        images["marked"] = counts.marked
    if survey.reads_signatures:
        images["signed"] = counts.signed
    return RegistryFigures(
        name=survey.registry.name,
        evidence=survey.registry.evidence.value,
        advice=recommend(survey).advice.value,
        images=images,
        denied={evidence.value: counts.denied[evidence] for evidence in survey.candidates},
    )


def _namespace_figures(row: NamespaceRow) -> NamespaceFigures:
    pods = {
        "admitted": row.pods - row.refused,
        "refused": row.refused - row.unknown,
        "unknown": row.unknown,
    }
    return NamespaceFigures(row.name, pods, {finding.value: uses for finding, uses in row.findings.items()})

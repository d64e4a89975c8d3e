"""Runs a survey: inspects all evidence of the images of running Pods. It evaluates no image."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from webhook.admission.evaluator import Evaluator, TrustAnswers
from webhook.admission.extraction import ImageUse
from webhook.audit.caching_lookup import CachingLookup
from webhook.audit.coverage import Coverage
from webhook.audit.pods import PodPage, PodSource
from webhook.audit.report import count
from webhook.audit.scanning import AuditProgress, NullProgress
from webhook.audit.survey import MAX_IMAGES, RegistrySurvey, Survey, SurveyedImage
from webhook.deadlines import NO_DEADLINE
from webhook.errors import Fault
from webhook.evidence.inspection import Inspector, Known
from webhook.policy.findings import Finding
from webhook.policy.model import Policy
from webhook.policy.namespaces import NamespacePatterns
from webhook.trust.records import TrustQuery


@dataclass(slots=True)
class SurveyReport(Coverage):
    """The report of a survey.

    ``left_out`` counts distinct images that were not inspected, by their finding: exempt images, images of
    other registries, and invalid references. ``omitted`` images were too many.
    """

    omitted: int = 0
    left_out: Counter[Finding] = field(default_factory=Counter)
    registries: list[RegistrySurvey] = field(default_factory=list)

    @property
    def denied(self) -> int:
        """How many images their configured evidence would deny."""
        return sum(one.counts.denied[one.registry.evidence] for one in self.registries)

    @property
    def unknown(self) -> int:
        """Of how many images something is not known."""
        return sum(one.counts.unknown for one in self.registries)


class SurveyRun:
    """One survey under one policy; use it once."""

    def __init__(
        self,
        policy: Policy,
        answers: TrustAnswers,
        excluded: Sequence[str] = (),
        progress: AuditProgress | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """Inspect the images that ``policy`` evaluates; the arguments are those of ``Audit``."""
        self._progress = progress if progress is not None else NullProgress()
        self._lookup = CachingLookup(answers, self._progress.images_looked_up, sleep)
        self._inspector = Inspector(
            lambda requests: self._lookup.look_up(requests, NO_DEADLINE), lambda _registry: True
        )
        self._policy = policy
        self._evaluator = Evaluator(policy, answers, before_pinning=True)
        self._excluded = NamespacePatterns(tuple(excluded))
        self._clock = clock
        self._started = clock()
        self._survey = Survey()
        self._left_out: dict[str, Finding] = {}
        self.report = SurveyReport(
            started=dt.datetime.fromtimestamp(self._started, dt.UTC),
            policy=policy.version,
            mode=policy.mode,
            excluded_namespaces=tuple(excluded),
        )

    def run(self, source: PodSource) -> SurveyReport:
        """Inspect the images of all Pods of ``source``. An interrupt makes the report partial."""
        report = self.report
        try:
            for page in source.pages():
                self._add_page(page)
                self._progress.pods_evaluated(report.pods, page.remaining)
        except KeyboardInterrupt:
            report.add_gap("it was interrupted")
        registries = self._policy.registries.registries
        report.registries = self._survey.finish(registries, registries)
        report.omitted = self._survey.omitted
        report.left_out = Counter(self._left_out.values())
        report.seconds = self._clock() - self._started
        unanswered = sum(_is_unanswered(one) for survey in report.registries for one in survey.images)
        if unanswered:
            report.add_gap(f"not everything is known about {count(unanswered, 'image')}")
        return report

    def _add_page(self, page: PodPage) -> None:
        found: list[tuple[str, TrustQuery]] = []
        for pod in self.report.select(page, self._excluded):
            self.report.pods += 1
            found += self._find_queries(pod.namespace, pod.uses)
        self._inspect(found)

    def _find_queries(self, namespace: str, uses: Sequence[ImageUse]) -> list[tuple[str, TrustQuery]]:
        """Return the queries about images that the policy evaluates by their evidence."""
        queries = []
        for use, local in zip(
            uses, self._evaluator.check_locally(uses, namespace, NO_DEADLINE, self._clock()), strict=True
        ):
            if local.lookup is not None:
                queries.append((namespace, local.lookup.query))
            elif local.check is not None and len(self._left_out) < MAX_IMAGES:
                self._left_out[use.image] = local.check.finding
        return queries

    def _inspect(self, found: Sequence[tuple[str, TrustQuery]]) -> None:
        unseen: dict[TrustQuery, Known] = {
            query: (query, None)
            for _, query in found
            if self._survey.find(query) is None and not self._survey.is_full
        }
        inspections = dict(zip(unseen, self._inspector.inspect(list(unseen.values())), strict=True))
        for namespace, query in found:
            self._survey.add(namespace, query, inspections.get(query))


def _is_unanswered(one: SurveyedImage) -> bool:
    """Whether something is not known of an image for a reason that is not the image's."""
    return any(failure.fault is not Fault.IMAGE for failure in one.inspection.failures)

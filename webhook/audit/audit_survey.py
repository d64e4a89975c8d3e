"""The survey as a part of an audit, which has looked most of it up already."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from webhook.admission.decision import ImageResult
from webhook.admission.evaluator import Evaluator, TrustAnswers
from webhook.audit.caching_lookup import CachingLookup
from webhook.audit.survey import RegistrySurvey, Survey
from webhook.deadlines import NO_DEADLINE
from webhook.evidence.inspection import Inspector, Known
from webhook.policy.model import Policy
from webhook.registries import Registry
from webhook.trust.lookup import Failed, Found, LookupResult, Origin
from webhook.trust.records import TrustQuery


class AuditSurvey:
    """Collects the images that an audit looks up.

    The few other lookups that only the survey needs have their own cache and retries. If they fail, no image
    becomes unknown to the audit, and the audit does not become partial.
    """

    def __init__(
        self,
        policy: Policy,
        evaluator: Evaluator,
        answers: TrustAnswers,
        report_pause: Callable[[int, float], None],
        sleep: Callable[[float], None] | None,
    ) -> None:
        """Look up with ``answers``; the last two are those of ``CachingLookup``."""
        self._registries = policy.registries.registries
        self._evaluator = evaluator
        lookup = CachingLookup(answers, report_pause, sleep)
        self._inspector = Inspector(
            lambda requests: lookup.look_up(requests, NO_DEADLINE), _reads_other_signatures
        )
        self._survey = Survey()

    def add(self, namespace: str, results: Sequence[ImageResult]) -> None:
        """Add the images of a namespace that were looked up."""
        unseen: dict[TrustQuery, Known] = {}
        queries: dict[TrustQuery, None] = {}
        for item in results:
            query = self._evaluator.parse(item.use.image).query
            answer = _answer_of(item)
            if query is None or answer is None:
                continue
            queries[query] = None
            if self._survey.find(query) is None and not self._survey.is_full:
                unseen[query] = (query, answer)
        inspections = dict(zip(unseen, self._inspector.inspect(list(unseen.values())), strict=True))
        for query in queries:
            self._survey.add(namespace, query, inspections.get(query))

    def finish(self) -> list[RegistrySurvey]:
        """Return the survey of each registry of the policy."""
        reading = [registry for registry in self._registries if _reads_other_signatures(registry)]
        return self._survey.finish(self._registries, reading)


def _reads_other_signatures(registry: Registry) -> bool:
    """Whether signatures are read that are not evidence, or not needed for it.

    Only where keys are configured for it: this takes several calls for each image in each round, and SWR
    blocks an account for too many calls.
    """
    return registry.signatures is not None


def _answer_of(item: ImageResult) -> LookupResult | None:
    check = item.check
    if check.record is not None:
        return Found(check.record, check.origin or Origin.SWR)
    return Failed(check.failure) if check.failure is not None else None

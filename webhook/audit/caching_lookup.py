"""Lookups of an audit: one for each distinct image, with retries while SWR fails."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from cachetools import FIFOCache

from webhook.admission.evaluator import TrustAnswers
from webhook.backoff import Backoff
from webhook.deadlines import Deadline
from webhook.errors import Fault, TrustLookupError
from webhook.trust.lookup import Failed, LookupRequest, LookupResult

BATCH: Final = 64
"""Lookups at a time: few enough to wait no longer in a queue than a lookup may take."""

BATCH_SECONDS: Final = 60.0
"""Deadline of one batch."""

THROTTLING_RETRY_BUDGET: Final = 300.0
OUTAGE_RETRY_BUDGET: Final = 20.0
"""Seconds that a whole audit spends on pauses before retries."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 15.0

MAX_CACHED: Final = 200_000
"""Distinct images in the cache; a result takes about 500 bytes."""

MAX_FAILURES: Final = 100
"""Causes of failures that are counted separately."""

Key = tuple[str, str, str, str]


class CachingLookup:
    """Caches lookups for one audit. Implements ``TrustAnswers``.

    Each image is looked up once. Failures are cached, too, because the next Pod with the image would wait
    for the same timeout.
    """

    def __init__(
        self,
        source: TrustAnswers,
        report_progress: Callable[[int, float], None] = lambda _images, _pause: None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """Look images up with ``source``.

        ``report_progress`` is called with the number of images looked up so far, and with the seconds of
        a pause, 0.0 if there is none.
        """
        self._source = source
        self._report_progress = report_progress
        self._sleep = sleep or time.sleep
        self._results: FIFOCache[Key, LookupResult] = FIFOCache(MAX_CACHED)
        self._retry_budget = {True: THROTTLING_RETRY_BUDGET, False: OUTAGE_RETRY_BUDGET}
        self.looked_up = 0
        """Distinct images that were looked up."""
        self.failures: Counter[str] = Counter()
        """Why SWR could not be queried, as text for operators, with the number of distinct images."""
        self.unanswered = 0
        """Distinct images whose lookup failed, unless the fault is ``image``. Any makes the audit partial."""

    def look_up(self, requests: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
        """Return one result for each request. ``deadline`` is ignored, because no API server waits."""
        del deadline
        results = {
            request.query.key: self._results[request.query.key]
            for request in requests
            if request.query.key in self._results
        }
        missing = {request.query.key: request for request in requests if request.query.key not in results}
        pending = list(missing.values())
        for start in range(0, len(pending), BATCH):
            batch = pending[start : start + BATCH]
            for request, result in zip(batch, self._lookup_with_retries(batch), strict=True):
                results[request.query.key] = result
                self._store(request, result)
            self.looked_up += len(batch)
            self._report_progress(self.looked_up, 0.0)
        return [results[request.query.key] for request in requests]

    def _store(self, request: LookupRequest, result: LookupResult) -> None:
        self._results[request.query.key] = result
        if isinstance(result, Failed):
            self.unanswered += result.failure.fault is not Fault.IMAGE
            if result.failure.detail in self.failures or len(self.failures) < MAX_FAILURES:
                self.failures[result.failure.detail] += 1

    def _lookup_with_retries(self, batch: Sequence[LookupRequest]) -> list[LookupResult]:
        results = self._source.look_up(batch, Deadline.after(BATCH_SECONDS))
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        while True:
            failures = {
                index: result.failure
                for index, result in enumerate(results)
                if isinstance(result, Failed) and result.failure.transient
            }
            throttled = any(failure.reason == "throttled" for failure in failures.values())
            wait = min(LONGEST_PAUSE, max(backoff.fail(), _requested_pause(list(failures.values()))))
            if not failures or self._retry_budget[throttled] < wait:
                return results
            self._retry_budget[throttled] -= wait
            self._report_progress(self.looked_up, wait)
            self._sleep(wait)
            retried = self._source.look_up(
                [batch[index] for index in failures], Deadline.after(BATCH_SECONDS)
            )
            for index, result in zip(failures, retried, strict=True):
                results[index] = result


def _requested_pause(failures: Sequence[TrustLookupError]) -> float:
    """Return the longest pause that SWR requested, in seconds."""
    return max((failure.retry_after or 0.0 for failure in failures), default=0.0)

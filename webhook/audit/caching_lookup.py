"""Answers for an audit: one call per distinct image, however many Pods use it, and patience with SWR."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from cachetools import FIFOCache

from webhook.admission.evaluator import TrustAnswers
from webhook.deadlines import Deadline
from webhook.errors import Fault, TrustLookupError
from webhook.trust.lookup import Failed, Found, LookupRequest, LookupResult
from webhook.trust.records import TrustStatus

BATCH: Final = 64
"""Questions asked at a time: few enough that none waits its turn for longer than a lookup may take."""

BATCH_SECONDS: Final = 60.0

THROTTLING_RETRY_BUDGET: Final = 300.0
OUTAGE_RETRY_BUDGET: Final = 20.0
"""Seconds that a whole audit waits for SWR to answer again."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 15.0

MAX_REMEMBERED: Final = 200_000
"""Distinct images that are kept; an answer takes about 500 bytes."""

MAX_FAILURES: Final = 100
"""Different reasons for failures that are told apart."""

Key = tuple[str, str, str, str]


class CachingLookup:
    """Implements ``TrustAnswers`` for the length of one audit.

    An audit is a picture of one moment: what was answered is not asked again, a failure included,
    as the next Pod would only wait for it once more.
    """

    def __init__(
        self,
        answers: TrustAnswers,
        notice: Callable[[int, float], None] = lambda _asked, _pause: None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """Ask ``answers``; ``notice`` is told how many images were asked, and of pauses in seconds."""
        self._answers = answers
        self._notice = notice
        self._sleep = sleep or time.sleep
        self._known: FIFOCache[Key, LookupResult] = FIFOCache(MAX_REMEMBERED)
        self._retry_budget = {True: THROTTLING_RETRY_BUDGET, False: OUTAGE_RETRY_BUDGET}
        self.asked = 0
        self.said: dict[str, Counter[TrustStatus]] = {}
        """By registry, how many distinct images SWR called what."""
        self.failures: Counter[str] = Counter()
        """Why SWR could not be asked, in words for an operator, by the number of distinct images."""
        self.unanswered = 0
        """Distinct images that SWR gave no answer about, for no reason of theirs: the audit is partial."""

    def look_up(self, questions: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
        """Answer all questions; ``deadline`` is not that of a waiting API server and is not kept."""
        del deadline
        answers = {
            question.query.key: self._known[question.query.key]
            for question in questions
            if question.query.key in self._known
        }
        fresh = {question.query.key: question for question in questions if question.query.key not in answers}
        waiting = list(fresh.values())
        for start in range(0, len(waiting), BATCH):
            batch = waiting[start : start + BATCH]
            for question, answer in zip(batch, self._lookup_with_retries(batch), strict=True):
                answers[question.query.key] = answer
                self._keep(question, answer)
            self.asked += len(batch)
            self._notice(self.asked, 0.0)
        return [answers[question.query.key] for question in questions]

    def _keep(self, question: LookupRequest, answer: LookupResult) -> None:
        self._known[question.query.key] = answer
        if isinstance(answer, Found):
            said = self.said.setdefault(question.query.registry.name, Counter())
            said[answer.record.status] += 1
        else:
            self.unanswered += answer.failure.fault is not Fault.IMAGE
            if answer.failure.detail in self.failures or len(self.failures) < MAX_FAILURES:
                self.failures[answer.failure.detail] += 1

    def _lookup_with_retries(self, batch: Sequence[LookupRequest]) -> list[LookupResult]:
        answers = self._answers.look_up(batch, Deadline.after(BATCH_SECONDS))
        pause = FIRST_PAUSE
        while True:
            failures = {
                index: answer.failure
                for index, answer in enumerate(answers)
                if isinstance(answer, Failed) and answer.failure.transient
            }
            throttled = any(failure.reason == "throttled" for failure in failures.values())
            wait = min(LONGEST_PAUSE, max(pause, _asked_pause(list(failures.values()))))
            if not failures or self._retry_budget[throttled] < wait:
                return answers
            self._retry_budget[throttled] -= wait
            self._notice(self.asked, wait)
            self._sleep(wait)
            pause = min(LONGEST_PAUSE, pause * 2)
            again = self._answers.look_up([batch[index] for index in failures], Deadline.after(BATCH_SECONDS))
            for index, answer in zip(failures, again, strict=True):
                answers[index] = answer


def _asked_pause(failures: Sequence[TrustLookupError]) -> float:
    return max((failure.retry_after or 0.0 for failure in failures), default=0.0)

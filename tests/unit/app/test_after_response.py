"""Decisions are recorded after their responses."""

from __future__ import annotations

from tests.support.builders import pod, review
from webhook.admission.decision import Decision
from webhook.admission.extraction import TargetKind
from webhook.admission.mutation import Mutation
from webhook.admission.request import AdmissionRequest
from webhook.admission.review import read_review
from webhook.app.after_response import AfterResponse

REQUEST = read_review(review(pod("a")))
ALLOWED = Decision.allow(TargetKind.POD)


class Spy:
    """Records the times of decisions; fails if it is told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.seen: list[float] = []
        self._fails = fails

    def observe(self, request: AdmissionRequest, decision: Decision, seconds: float) -> None:
        if self._fails:
            raise RuntimeError
        self.seen.append(seconds)

    def observe_mutation(self, request: AdmissionRequest, mutation: Mutation, seconds: float) -> None:
        if self._fails:
            raise RuntimeError
        self.seen.append(-seconds)


def test_decisions_are_passed_on_in_order_and_once() -> None:
    """Not before the responses are sent."""
    spy = Spy()
    records = AfterResponse([spy])
    for seconds in (0.1, 0.2):
        records.observe(REQUEST, ALLOWED, seconds)
    assert spy.seen == []
    records.flush()
    records.flush()
    assert spy.seen == [0.1, 0.2]


def test_decisions_and_mutations_keep_their_order() -> None:
    """A mutation comes before the decision on the same Pod."""
    spy = Spy()
    records = AfterResponse([spy], [spy])
    records.observe_mutation(REQUEST, Mutation(), 0.1)
    records.observe(REQUEST, ALLOWED, 0.2)
    records.flush()
    assert spy.seen == [-0.1, 0.2]


def test_error_of_one_observer_does_not_affect_others() -> None:
    """As for decisions that are recorded at once."""
    spy = Spy()
    records = AfterResponse([Spy(fails=True), spy], [Spy(fails=True), spy])
    records.observe(REQUEST, ALLOWED, 0.1)
    records.observe_mutation(REQUEST, Mutation(), 0.2)
    records.flush()
    assert spy.seen == [0.1, -0.2]

"""The mutator: returns one mutation for each request, even if an internal error occurs.

The mutator only adds digests. An image that it cannot pin stays as it is, and the validator decides about it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from webhook.admission.evaluator import CurrentEvaluator, Evaluator, TrustAnswers
from webhook.admission.extraction import ImageUse, TargetKind, classify, uses_by_place
from webhook.admission.mutation import Mutation, NotPinned, Outcome, Pin, describe_not_pinned
from webhook.admission.observing import notify
from webhook.admission.pinning import Place, choose_pins, find_kept_pins, pinned_images
from webhook.admission.request import AdmissionRequest
from webhook.admission.selection import MAX_IMAGES, AwaitedImages, select_images
from webhook.deadlines import Deadline, LargeWork
from webhook.policy.model import Policy

logger = logging.getLogger(__name__)


class MutationObserver(Protocol):
    """Records mutations: metrics, the log, Events. Must not raise or block."""

    def observe_mutation(self, request: AdmissionRequest, mutation: Mutation, seconds: float) -> None:
        """Record a mutation that took ``seconds``."""
        ...  # pragma: no cover


class Mutator:
    """Pins images of Pods; each request is evaluated under the policy that is current when it arrives."""

    def __init__(
        self,
        policy: Callable[[], Policy],
        answers: TrustAnswers,
        observers: Sequence[MutationObserver] = (),
        clock: Callable[[], float] = time.time,
        large_work: LargeWork | None = None,
        awaited: AwaitedImages | None = None,
    ) -> None:
        """Use ``policy()`` for each request; ``clock`` is in seconds since the epoch.

        ``large_work`` and ``awaited`` are shared with the ``Validator`` of the process.
        """
        self._evaluator = CurrentEvaluator(policy, answers, large_work or LargeWork(), before_pinning=True)
        self._observers = tuple(observer.observe_mutation for observer in observers)
        self._clock = clock
        self._awaited = awaited or AwaitedImages()

    def mutate(self, request: AdmissionRequest, deadline: Deadline) -> Mutation:
        """Return the mutation of a request; never raises. Only the identity of the request is kept."""
        started = time.monotonic()
        try:
            mutation = self._mutate(request, deadline)
        except Exception:
            logger.exception("failed to pin images", extra={"uid": request.uid})
            mutation = Mutation(Outcome.ERROR, annotations={"error": "crash"})
        notify(self._observers, request, mutation, time.monotonic() - started)
        return mutation

    def skip_as_busy(self, request: AdmissionRequest) -> Mutation:
        """Return the mutation of a request that the webhook has no capacity for; never raises."""
        mutation = Mutation(Outcome.BUSY, annotations={"error": "busy"})
        notify(self._observers, request, mutation, 0.0)
        return mutation

    def _mutate(self, request: AdmissionRequest, deadline: Deadline) -> Mutation:
        evaluator = self._evaluator.get()
        target = classify(request)
        if target is not TargetKind.POD or not evaluator.policy.may_pin:
            return Mutation()
        uses, count = select_images(request, target)
        if uses is None or count > MAX_IMAGES:
            return Mutation(annotations={"error": "unreadable" if uses is None else "too-many-images"})
        before: dict[Place, str] = {}
        if request.operation == "UPDATE":
            before = pinned_images(uses, uses_by_place(target, request.kind.kind, request.old_object))
        request.keep_identity()
        pins, not_pinned = self._pin(evaluator, uses, before, request.namespace, deadline)
        return Mutation.of(pins, not_pinned, evaluator.policy.version)

    def _pin(
        self,
        evaluator: Evaluator,
        uses: Sequence[ImageUse],
        before: dict[Place, str],
        namespace: str,
        deadline: Deadline,
    ) -> tuple[list[Pin], list[NotPinned]]:
        now = self._clock()
        end = self._awaited.enter(len(uses), deadline)
        try:
            kept = find_kept_pins(evaluator, uses, before, namespace, end, now)
            fields = {pin.use.field for pin in kept}
            changed = [use for use in uses if use.field not in fields] if fields else uses
            results = evaluator.evaluate_to_pin(changed, namespace, end, now)
            chosen = choose_pins(evaluator, results, namespace, end, now)
        finally:
            self._awaited.leave(len(uses))
        pairs = list(zip(results, chosen, strict=True))
        not_pinned = [describe_not_pinned(item) for item, pin in pairs if pin is None]
        return [*kept, *(pin for _, pin in pairs if pin is not None)], not_pinned

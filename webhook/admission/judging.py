"""Judging images under one policy: the same engine for the webhook, ``check``, ``review`` and ``audit``.

The order is fixed: invalid, exempt, unmanaged, the demands of a rule, digest-only, lookup; where
unmanaged images are let in, the demands of a rule count for them, too. All that can be said without
SWR is said first; what is left is asked in one go, each image once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

import msgspec

from webhook.admission.decision import Effect, JudgedUse, refuses, temper
from webhook.admission.uses import ImageUse
from webhook.deadlines import Deadline, LargeWork, Pause, no_pause
from webhook.errors import Fault, InvalidReferenceError, LookupTimeout
from webhook.images.reference import ImageReference, parse_reference
from webhook.policy.evaluation import Judgement, evaluate
from webhook.policy.findings import Finding
from webhook.policy.model import Exemption, Policy, Rule
from webhook.regions import is_enterprise_host
from webhook.registries import Registry
from webhook.swr.naming import check_names, split_path
from webhook.trust.lookup import LookupRequest, LookupResult
from webhook.trust.records import TrustQuery

PLACEHOLDERS: Final = frozenset({"", "auto"})
"""What templates hold where something fills the image in later (a sidecar injector's ``auto``)."""

PLACEHOLDER: Final = "placeholder"
"""The reason of the finding that such an image gets."""

FEW: Final = 10
"""Images of one object that are judged at once: hardly any Pod has more."""

STRETCH: Final = 0.005
"""Seconds of work after which others have their turns, also in the middle of one image: a policy may hold
tens of thousands of patterns that are compared with each."""

LEAST: Final = 0.1
"""Seconds of judging that a review has whose deadline is now: enough to say what is known."""

WEIGHING: Final = 0.3
"""Seconds that many answers may wait for the turn to be weighed: of the time that is kept back behind the
deadline for the way back, because many reviews reach their deadlines at the same moment."""

MAX_REMEMBERED: Final = 4096
"""Image strings whose reading is kept per policy."""

MAX_REMEMBERED_LENGTH: Final = 512
"""Longer strings are read each time: an attacker's megabytes are not kept."""


class TrustAnswers(Protocol):
    """Answers questions about trust; ``webhook.trust.lookup.TrustLookup`` is one."""

    def look_up(self, questions: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
        """Answer all questions in their order, none later than the deadline."""
        ...  # pragma: no cover


@dataclass(frozen=True, slots=True)
class Reading:
    """What an image string says, before policy: a reference and where it can be asked about.

    ``reference`` is ``None`` where ``invalid`` says why; ``query`` is ``None`` for an image of no
    configured registry.
    """

    reference: ImageReference | None
    query: TrustQuery | None
    invalid: str = ""


class _Pending(msgspec.Struct, frozen=True):
    """A use on its way: either ``judgement`` is there already, or ``question`` has to be asked."""

    use: ImageUse
    reference: ImageReference | None
    rule: Rule | None = None
    exemption: Exemption | None = None
    judgement: Judgement | None = None
    question: LookupRequest | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """The identity of the question: the same image, pinned to the same digest."""
        assert self.question is not None
        return self.question.query.key, self.question.pinned


class _NotInTime(Exception):
    """The turn of a review did not come, or its work took longer than it had."""


class _Stretch:
    """Calls something whenever work has gone on for long; ``pause`` is called between small pieces of it."""

    def __init__(self, give_way: Callable[[], None]) -> None:
        self._give_way = give_way
        self.begin()

    def begin(self) -> None:
        """Count from now on: what others did meanwhile took the same processor's time."""
        self._looked, self._spent = time.monotonic(), time.thread_time()

    def pause(self) -> None:
        """Give way if it is time to."""
        if time.monotonic() - self._looked < STRETCH:
            return
        # A process that was held up has not worked for long. This clock is dear, so it is asked second.
        if time.thread_time() - self._spent >= STRETCH:
            self._give_way()
            self.begin()
        else:
            self._looked = time.monotonic()


class _Turns:
    """The turns of one review: none for a short one, and then one for each stretch of its work."""

    def __init__(self, work: LargeWork | None, deadline: Deadline) -> None:
        self._work = work
        self._deadline = deadline
        self._end = max(deadline, Deadline.after(LEAST))
        self._turn = ExitStack()
        self._has_turn = False
        self._stretch = _Stretch(self.take)
        self.pause: Pause = no_pause if work is None else self._stretch.pause

    def take(self) -> None:
        """Let others have their turns, and wait for one's own.

        Raises:
            _NotInTime: it did not come.
        """
        if self._work is None:
            return
        self.close()
        if self._has_turn:
            # Whoever waits has heard by then that the turn is free; without this we would take it again.
            self._work.pause()
            if self._end.expired:
                raise _NotInTime
        self._has_turn = self._turn.enter_context(self._work.piece(self._deadline))
        if not self._has_turn:
            raise _NotInTime
        self._stretch.begin()

    def close(self) -> None:
        """Leave the turn to others."""
        self._turn.close()


class Judge:
    """Judges image uses under one policy. Make a new one for a new policy."""

    def __init__(self, policy: Policy, answers: TrustAnswers, large_work: LargeWork | None = None) -> None:
        """Judge by ``policy``, asking ``answers`` what it cannot know.

        ``large_work`` lets others have their turns while many images are judged; ``None`` where nobody
        else waits.
        """
        self.policy = policy
        self._answers = answers
        self._large_work = large_work
        self._read_and_keep = lru_cache(maxsize=MAX_REMEMBERED)(self._read)

    def judge(
        self, uses: Sequence[ImageUse], namespace: str, deadline: Deadline, now: float
    ) -> tuple[JudgedUse, ...]:
        """Judge all uses of one object; ``now`` is in seconds since the epoch."""
        pending: list[_Pending] = []
        questions: dict[tuple[object, ...], LookupRequest] = {}
        with suppress(_NotInTime), closing(_Turns(self._large_work, deadline)) as turns:
            if len(uses) > FEW:
                turns.take()
            for use in uses:
                turns.pause()
                item = self._settle(use, namespace, now, turns.pause)
                pending.append(item)
                if item.question is not None:
                    questions.setdefault(item.key, item.question)
        pending += self._not_in_time(uses[len(pending) :], namespace)
        answers: dict[tuple[object, ...], LookupResult] = {}
        if questions:
            asked = self._answers.look_up(list(questions.values()), deadline)
            answers = dict(zip(questions, asked, strict=True))
        if self._large_work is None or not answers or len(pending) <= FEW:
            return tuple(self._weigh(item, answers) for item in pending)
        # Without a turn, too: an answer is due, and this is less than it took to ask.
        with self._large_work.piece(Deadline.after(WEIGHING)):
            return tuple(self._weigh(item, answers) for item in pending)

    def _not_in_time(self, uses: Sequence[ImageUse], namespace: str) -> list[_Pending]:
        failure = LookupTimeout("the turn of this review did not come in time", fault=Fault.LOCAL)
        judgement = Judgement(Finding.UNKNOWN, failure.reason, failure=failure)
        rule = self.policy.rule_for(namespace, None)
        return [_Pending(use, None, rule, judgement=judgement) for use in uses]

    def read(self, image: str) -> Reading:
        """Read an image string, remembering what it says."""
        if len(image) > MAX_REMEMBERED_LENGTH:
            return self._read(image)
        return self._read_and_keep(image)

    def question_for(self, use: ImageUse, namespace: str, now: float) -> LookupRequest | None:
        """Return what a review of this use would ask, ``None`` where it would ask nothing."""
        # In the background: nobody waits for this, so that it takes no turns and only gives way.
        stretch = _Stretch(LargeWork.pause)
        return self._settle(use, namespace, now, stretch.pause).question

    def _read(self, image: str) -> Reading:
        reference: ImageReference | None = None
        try:
            reference = parse_reference(image)
            registry = self.policy.registries.find(reference)
            query = _query_for(reference, registry) if registry is not None else None
        except InvalidReferenceError as error:
            return Reading(reference, None, error.reason)
        return Reading(reference, query)

    def _settle(self, use: ImageUse, namespace: str, now: float, pause: Pause) -> _Pending:
        """Say what can be said without a lookup; what cannot becomes a question."""
        reading = self.read(use.image)
        reference = reading.reference
        rule = self.policy.rule_for(namespace, reference, pause)

        def say(finding: Finding, reason: str = "") -> _Pending:
            return _Pending(use, reference, rule, judgement=Judgement(finding, reason))

        if use.template and use.image in PLACEHOLDERS:
            return say(Finding.INVALID, PLACEHOLDER)
        if reference is None or reading.invalid:
            return say(Finding.INVALID, reading.invalid)
        exemption = self.policy.exemption_for(namespace, reference, now, pause)
        if exemption is not None:
            return _Pending(use, reference, None, exemption, Judgement(Finding.EXEMPT))
        query = reading.query
        if query is None and self.policy.unmanaged_registries == "deny":
            return say(Finding.UNMANAGED, self._why_unmanaged(reference))
        if rule is not None and rule.require_digest and reference.digest is None:
            return say(Finding.INVALID, "digest-required")
        if rule is not None and rule.require_pull_always and use.pull_policy != "Always":
            return say(Finding.INVALID, "pull-policy")
        if query is None:
            return say(Finding.UNMANAGED, self._why_unmanaged(reference))
        if query.tag is None and self.policy.digest_only != "resolve":
            return say(Finding.INVALID, "digest-only")
        pinned = reference.digest if query.tag is not None else None
        return _Pending(use, reference, rule, question=LookupRequest(query, pinned, namespace))

    def _why_unmanaged(self, reference: ImageReference) -> str:
        if is_enterprise_host(reference.domain):
            return "enterprise"
        return "organization" if self.policy.registries.knows(reference.domain) else ""

    def _weigh(self, item: _Pending, answers: Mapping[tuple[object, ...], LookupResult]) -> JudgedUse:
        judgement = item.judgement
        if judgement is None:
            assert item.reference is not None
            judgement = evaluate(item.reference, answers[item.key])
        mode = self.policy.mode_for(item.rule)
        enforced = refuses(judgement, self.policy)
        effect = temper(enforced, mode)
        placeholder = judgement.reason == PLACEHOLDER
        if placeholder or (item.use.template and self.policy.workloads != "enforce"):
            effect = min(effect, Effect.WARN)
        return JudgedUse(
            use=item.use,
            judgement=judgement,
            effect=effect,
            refused=enforced is Effect.DENY and not placeholder,
            mode=mode,
            reference=item.reference,
            rule=item.rule,
            exemption=item.exemption,
        )


def _query_for(reference: ImageReference, registry: Registry) -> TrustQuery:
    """Return the question that an image of a configured registry leads to.

    Raises:
        InvalidReferenceError: outside SWR's naming rules.
    """
    organization, repository = split_path(reference.path)
    check_names(organization, repository)
    if reference.tag is None:
        return TrustQuery(registry, organization, repository, digest=reference.digest)
    return TrustQuery(registry, organization, repository, tag=reference.tag)

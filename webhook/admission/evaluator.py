"""Evaluation of images under one policy, the same for the webhook, ``check``, ``review`` and ``audit``.

The order of the checks is fixed: invalid, exempt, unmanaged, requirements of the rule, digest without a tag,
lookup. Requirements of a rule also apply to unmanaged images if the policy admits those. All local checks
come first. Then one call looks up all other images, each once. If the policy pins an image, a digest that its
rule requires is checked after the lookup.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final, Protocol, assert_never

from webhook.admission.decision import CheckResult, Effect, ImageResult
from webhook.admission.extraction import ImageUse, TargetKind
from webhook.admission.local_checks import LocalCheck, ParsedImage, make_query
from webhook.admission.messages import Messages
from webhook.admission.time_slices import SliceTimeout, SliceTimer, TimeSlices
from webhook.deadlines import Deadline, LargeWork, Pause
from webhook.errors import Fault, InvalidReferenceError, LookupTimeout, RegistryUnavailable
from webhook.images.reference import ImageReference, parse_reference
from webhook.policy.findings import Finding, Mode
from webhook.policy.model import Policy
from webhook.regions import is_enterprise_host
from webhook.trust.lookup import Failed, Found, LookupRequest, LookupResult, Origin
from webhook.trust.records import TrustStatus

PLACEHOLDERS: Final = frozenset({"", "auto"})
"""Images in templates that are replaced before a Pod is created (a sidecar injector replaces ``auto``)."""

PLACEHOLDER: Final = "placeholder"
"""The reason of the finding for a placeholder."""

NOT_PINNED: Final = "not-pinned"
"""The reason of the finding for a trusted tag that no webhook has pinned, although its rule admits only
digests. An image that is not trusted keeps its own finding, because pinning cannot help it."""

FEW: Final = 10
"""Images of one object that are evaluated without waiting for a time slice; few Pods have more."""

RESULTS_WAIT: Final = 0.3
"""Seconds to wait for a time slice before the answers to many lookups are evaluated. Many reviews reach their
deadlines at the same moment; the time comes from the reserve behind the deadline."""

MAX_CACHED: Final = 4096
"""Parsed images, and local checks, that are cached for each policy."""

MAX_CACHED_LENGTH: Final = 512
"""Maximum characters of an image that is cached, so that an attacker cannot fill the memory."""


class TrustAnswers(Protocol):
    """Looks up the trust of images; ``webhook.trust.lookup.TrustLookup`` is one implementation."""

    def look_up(self, requests: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
        """Return the results of all lookups in their order, before the deadline."""
        ...  # pragma: no cover


@dataclass(slots=True)
class _Remembered:
    """The local checks of one kind of use of an image in one namespace; filled in on first use."""

    local: LocalCheck | None = None


class Evaluator:
    """Evaluates images under one policy; a new policy needs a new evaluator."""

    def __init__(
        self,
        policy: Policy,
        answers: TrustAnswers,
        large_work: LargeWork | None = None,
        *,
        before_pinning: bool = False,
    ) -> None:
        """Use ``answers`` for lookups.

        ``large_work`` shares the process between long evaluations; ``None`` if there is only one. With
        ``before_pinning``, Pods are evaluated as their authors wrote them, before a webhook pins their
        images. Templates are always evaluated in this way.
        """
        self.policy = policy
        self.messages = Messages(policy)
        self._before_pinning = before_pinning
        self._answers = answers
        self._large_work = large_work
        self._parse_cached = lru_cache(maxsize=MAX_CACHED)(self._parse)
        # Entries are created empty and filled in by the first user, which may pause in between.
        self._remembered = lru_cache(maxsize=MAX_CACHED)(lambda *_: _Remembered())

    def evaluate(
        self, uses: Sequence[ImageUse], namespace: str, deadline: Deadline, now: float
    ) -> tuple[ImageResult, ...]:
        """Return the result of each image use of one object; ``now`` is in seconds since the epoch."""
        return self._evaluate_checked(uses, self.check_locally(uses, namespace, deadline, now), deadline)

    def evaluate_to_pin(
        self, uses: Sequence[ImageUse], namespace: str, deadline: Deadline, now: float
    ) -> tuple[ImageResult, ...]:
        """Return the results of those image uses that the policy pins; no other image is looked up."""
        checks = self.check_locally(uses, namespace, deadline, now)
        chosen = [(use, local) for use, local in zip(uses, checks, strict=True) if local.is_to_pin]
        return self._evaluate_checked([use for use, _ in chosen], [local for _, local in chosen], deadline)

    def check_locally(
        self, uses: Sequence[ImageUse], namespace: str, deadline: Deadline, now: float
    ) -> list[LocalCheck]:
        """Return the local checks of image uses; those that get no time slice in time have timed out."""
        checks = self._recall(uses, namespace) if len(uses) <= FEW else None
        return self._check_in_slices(uses, namespace, deadline, now) if checks is None else checks

    def _evaluate_checked(
        self, uses: Sequence[ImageUse], checks: Sequence[LocalCheck], deadline: Deadline
    ) -> tuple[ImageResult, ...]:
        answers = self._look_up(checks, deadline)
        if self._large_work is None or len(uses) <= FEW or not any(answers):
            return self._to_results(uses, checks, answers)
        # This runs even if the slice is not granted: the response is due, and it takes less time than the
        # local checks.
        with self._large_work.piece(Deadline.after(RESULTS_WAIT)):
            return self._to_results(uses, checks, answers)

    def effect_without_images(self, namespace: str, target: TargetKind) -> tuple[Mode, Effect]:
        """Return mode and effect for a request whose images cannot be evaluated."""
        mode = self.policy.mode_for(self.policy.rule_for(namespace, None))
        effect = self.apply_mode(Effect.DENY, mode)
        return mode, self._limit_template(effect) if target is TargetKind.WORKLOAD else effect

    def lookup_request_for(self, use: ImageUse, namespace: str, now: float) -> LookupRequest | None:
        """Return the lookup that a review of this image use needs, ``None`` if it needs none."""
        # Called in the background, without a deadline: it pauses between slices and does not wait for them.
        timer = SliceTimer(LargeWork.pause)
        return self._check_use(use, namespace, now, timer.pause).lookup

    def parse(self, image: str) -> ParsedImage:
        """Parse an image string; the result is cached."""
        return self._parse_cached(image) if len(image) <= MAX_CACHED_LENGTH else self._parse(image)

    def enforced_effect(self, check: CheckResult) -> Effect:
        """Return the effect of a finding under the mode ``enforce``; an unexpected value denies."""
        match check.finding:
            case Finding.TRUSTED | Finding.EXEMPT:
                return Effect.ALLOW
            case Finding.UNMANAGED:
                effects = {"allow": Effect.ALLOW, "warn": Effect.WARN}
                return effects.get(self.policy.unmanaged_registries, Effect.DENY)
            case Finding.UNKNOWN:
                may_pass = check.failure is not None and check.failure.allows_pass
                return Effect.WARN if may_pass and self.policy.on_lookup_failure == "allow" else Effect.DENY
            case _:
                return Effect.DENY

    @staticmethod
    def apply_mode(enforced: Effect, mode: Mode) -> Effect:
        """Return the effect under a mode: ``warn`` warns instead of denying, ``audit`` only records."""
        if enforced is Effect.ALLOW or mode is Mode.ENFORCE:
            return enforced
        return Effect.WARN if mode is Mode.WARN else Effect.AUDIT

    @staticmethod
    def check_trust(reference: ImageReference, answer: LookupResult) -> CheckResult:
        """Return the finding of an image that was looked up.

        A reference that pins a digest is trusted only if SWR has exactly that digest under the tag: a runtime
        pulls the digest and ignores the tag. A tag that is not trusted is untrusted with any digest.
        """
        match answer:
            case Failed(failure):
                return CheckResult(Finding.UNKNOWN, failure.reason, failure=failure)
            case Found(record):
                pass
            case _:
                assert_never(answer)
        match record.status:
            case TrustStatus.MISSING:
                finding = Finding.MISSING
            case TrustStatus.UNTRUSTED:
                finding = Finding.UNTRUSTED
            case TrustStatus.TRUSTED if reference.digest in (None, record.digest):
                finding = Finding.TRUSTED
            case TrustStatus.TRUSTED if answer.origin is Origin.STALE:
                # A stale record does not prove that SWR still has another digest.
                failure = answer.failure or RegistryUnavailable(
                    "SWR could not be queried for the tag's digest"
                )
                return CheckResult(Finding.UNKNOWN, failure.reason, failure=failure)
            case TrustStatus.TRUSTED:
                finding = Finding.DIGEST_MISMATCH
            case _:
                assert_never(record.status)
        return CheckResult(finding, record.untrusted_reason, record, answer.origin, answer.failure)

    def _parse(self, image: str) -> ParsedImage:
        reference: ImageReference | None = None
        try:
            reference = parse_reference(image)
            registry = self.policy.registries.find(reference)
            query = make_query(reference, registry) if registry is not None else None
        except InvalidReferenceError as error:
            return ParsedImage(reference, None, error.reason)
        return ParsedImage(reference, query)

    def _recall(self, uses: Sequence[ImageUse], namespace: str) -> list[LocalCheck] | None:
        """Return the local checks of all images if they are cached, so that none needs a time slice."""
        checks: list[LocalCheck] = []
        for use in uses:
            local = self._remembered_check(use, namespace).local
            if local is None:
                return None
            checks.append(local)
        return checks

    def _check_in_slices(
        self, uses: Sequence[ImageUse], namespace: str, deadline: Deadline, now: float
    ) -> list[LocalCheck]:
        """Run the local checks in time slices; images that get none in time have timed out."""
        checks: list[LocalCheck] = []
        with suppress(SliceTimeout), closing(TimeSlices(self._large_work, deadline)) as slices:
            if len(uses) > FEW:
                slices.take()
            for use in uses:
                slices.pause()
                checks.append(self._check_use(use, namespace, now, slices.pause))
        return checks + self._time_out(len(uses) - len(checks), namespace)

    def _look_up(self, checks: Sequence[LocalCheck], deadline: Deadline) -> Sequence[LookupResult | None]:
        """Return the answer for each local check, ``None`` for those that have a result."""
        lookups = {item.key: item.lookup for item in checks if item.lookup is not None}
        if not lookups:
            return [None] * len(checks)
        found = self._answers.look_up(list(lookups.values()), deadline)
        if len(lookups) == len(checks):  # as nearly always, each image has a lookup of its own
            return found
        answers = dict(zip(lookups, found, strict=True))
        return [None if item.lookup is None else answers[item.key] for item in checks]

    def _remembered_check(self, use: ImageUse, namespace: str) -> _Remembered:
        if len(use.image) > MAX_CACHED_LENGTH:
            return _Remembered()
        return self._remembered(use.image, namespace, use.template, use.pull_policy == "Always")

    def _check_use(self, use: ImageUse, namespace: str, now: float, pause: Pause) -> LocalCheck:
        """Run the checks that need no lookup, or return their cached result."""
        remembered = self._remembered_check(use, namespace)
        local = remembered.local
        if local is None:
            local = self._run_local_checks(use, namespace, now, pause)
            if not self.policy.has_expiring_exemption(namespace, local.reference, pause):
                remembered.local = local
        return local

    def _run_local_checks(self, use: ImageUse, namespace: str, now: float, pause: Pause) -> LocalCheck:
        parsed = self.parse(use.image)
        reference = parsed.reference
        rule = self.policy.rule_for(namespace, reference, pause)
        mode = self.policy.mode_for(rule)

        def result(finding: Finding, reason: str = "") -> LocalCheck:
            return LocalCheck(reference, mode, rule, check=CheckResult(finding, reason))

        if use.template and use.image in PLACEHOLDERS:
            return result(Finding.INVALID, PLACEHOLDER)
        if reference is None or parsed.invalid:
            return result(Finding.INVALID, parsed.invalid)
        exemption = self.policy.exemption_for(namespace, reference, now, pause)
        if exemption is not None:
            exempt = CheckResult(Finding.EXEMPT)
            return LocalCheck(reference, self.policy.mode, exemption=exemption, check=exempt)
        query = parsed.query
        if query is None and self.policy.unmanaged_registries == "deny":
            return result(Finding.UNMANAGED, self._unmanaged_reason(reference))
        pins = self.policy.pins(rule)
        is_to_pin = pins and query is not None and reference.digest is None
        by_digest_only = rule is not None and rule.require_digest and reference.digest is None
        if by_digest_only and not is_to_pin:
            return result(Finding.INVALID, "digest-required")
        if rule is not None and rule.require_pull_always and use.pull_policy != "Always":
            return result(Finding.INVALID, "pull-policy")
        if query is None:
            return result(Finding.UNMANAGED, self._unmanaged_reason(reference))
        # In SWR Enterprise, signatures are of digests, so that a digest needs no tag.
        needs_tag = self.policy.digest_only != "resolve" and not query.registry.is_enterprise
        if query.tag is None and needs_tag:
            return result(Finding.INVALID, "digest-only")
        pinned = reference.digest if query.tag is not None else None
        # The digest of a tag must be current where it is written into a Pod, or compared with one that was.
        matters = pins and (pinned is not None or self._before_pinning)
        lookup = LookupRequest(query, pinned, namespace, self.policy.cache.pinned if matters else None)
        return LocalCheck(
            reference,
            mode,
            rule,
            lookup=lookup,
            key=(query.key, pinned),
            is_to_pin=is_to_pin,
            needs_digest=by_digest_only and not (use.template or self._before_pinning),
        )

    def _unmanaged_reason(self, reference: ImageReference) -> str:
        if is_enterprise_host(reference.domain):
            return "enterprise"
        return "organization" if self.policy.registries.knows(reference.domain) else ""

    def _time_out(self, count: int, namespace: str) -> list[LocalCheck]:
        if not count:
            return []
        failure = LookupTimeout("the review got no time slice before its deadline", fault=Fault.LOCAL)
        rule = self.policy.rule_for(namespace, None)
        check = CheckResult(Finding.UNKNOWN, failure.reason, failure=failure)
        mode, is_to_pin = self.policy.mode_for(rule), self.policy.pins(rule)
        return [LocalCheck(None, mode, rule, check=check, is_to_pin=is_to_pin)] * count

    def _to_results(
        self,
        uses: Sequence[ImageUse],
        checks: Sequence[LocalCheck],
        answers: Sequence[LookupResult | None],
    ) -> tuple[ImageResult, ...]:
        # A use without a result would be admitted, so a missing answer is an error, which denies.
        items = zip(uses, checks, answers, strict=True)
        return tuple([self._to_result(use, local, answer) for use, local, answer in items])

    def _to_result(self, use: ImageUse, local: LocalCheck, answer: LookupResult | None) -> ImageResult:
        check = local.check
        if check is None:
            assert local.reference is not None
            assert answer is not None
            check = self.check_trust(local.reference, answer)
            if local.needs_digest and self.enforced_effect(check) is not Effect.DENY:
                check = CheckResult(Finding.INVALID, NOT_PINNED)
        enforced = self.enforced_effect(check)
        effect = self.apply_mode(enforced, local.mode)
        placeholder = check.reason == PLACEHOLDER
        if placeholder:
            effect = min(effect, Effect.WARN)
        elif use.template:
            effect = self._limit_template(effect)
        return ImageResult(
            use,
            check,
            effect,
            enforced is Effect.DENY and not placeholder,
            local.mode,
            local.reference,
            local.rule,
            local.exemption,
        )

    def _limit_template(self, effect: Effect) -> Effect:
        """Return the effect on a workload: a warning at most, unless the policy enforces workloads."""
        return effect if self.policy.workloads == "enforce" else min(effect, Effect.WARN)


class CurrentEvaluator:
    """Provides the evaluator of the current policy, which is kept until the policy changes."""

    def __init__(
        self,
        policy: Callable[[], Policy],
        answers: TrustAnswers,
        large_work: LargeWork,
        *,
        before_pinning: bool = False,
    ) -> None:
        """Make evaluators of ``policy()``; the other arguments are those of ``Evaluator``."""
        self._policy = policy
        self._make = partial(Evaluator, answers=answers, large_work=large_work, before_pinning=before_pinning)
        self._evaluator: Evaluator | None = None

    def get(self) -> Evaluator:
        """Return the evaluator of the policy that is current now."""
        policy = self._policy()
        evaluator = self._evaluator
        if evaluator is None or evaluator.policy is not policy:
            evaluator = self._evaluator = self._make(policy)
        return evaluator

"""Combining the outcomes of all candidates of one digest into one result."""

from __future__ import annotations

from webhook.signatures.attempt import Attempt, Outcome
from webhook.signatures.check import MAX_PROBLEMS, SignatureCheck, SignatureResult
from webhook.signatures.requirement import Requirement


class Collector:
    """Collects attempts until enough keys have signed.

    The same key counts once, however many signatures it has made. Signers of different formats add up.
    """

    def __init__(self, requirement: Requirement, now: float) -> None:
        """Begin without attempts; ``now`` is in epoch seconds."""
        self._requirement = requirement
        self._now = now
        self._signers: set[str] = set()
        self._without_annotations: set[str] = set()
        self._formats: set[str] = set()
        self._stored: set[str] = set()
        self._problems: dict[str, None] = {}
        self._limits: dict[str, None] = {}
        self._found = 0

    def add(self, attempt: Attempt) -> None:
        """Count the outcome of one more candidate."""
        if attempt.outcome is Outcome.NOT_A_SIGNATURE:
            return
        problem = f"{attempt.format}: {attempt.problem}"
        if attempt.outcome is Outcome.NOT_EXAMINED:
            self._limits[problem] = None
            return
        self._found += 1
        self._stored.add(attempt.format)
        if attempt.outcome is Outcome.VALID:
            self._signers.update(attempt.signers)
            self._formats.add(attempt.format)
            return
        if attempt.outcome is Outcome.ANNOTATIONS:
            self._without_annotations.update(attempt.signers)
        if len(self._problems) < MAX_PROBLEMS:
            self._problems[problem] = None

    @property
    def is_satisfied(self) -> bool:
        """Whether enough keys have signed, so that no more candidates need to be fetched."""
        return self._requirement.threshold >= 1 and len(self._signers) >= self._requirement.threshold

    def result(self) -> SignatureCheck:
        """Return what the attempts prove. No attempts prove nothing."""
        return SignatureCheck(
            self._find_result(),
            self._now,
            tuple(name for name, _ in self._requirement.keys if name in self._signers),
            tuple(sorted(self._formats)),
            self._found,
            (*self._limits, *self._problems)[:MAX_PROBLEMS],
            tuple(sorted(self._stored)),
        )

    def _find_result(self) -> SignatureResult:
        if self.is_satisfied:
            return SignatureResult.SIGNED
        if self._found == 0 and not self._limits:
            return SignatureResult.UNSIGNED
        all_signers = self._signers | self._without_annotations
        if not all_signers:
            return SignatureResult.BAD_SIGNATURE
        # If more keys must sign anyway, that is the larger problem.
        is_enough = len(all_signers) >= self._requirement.threshold
        if self._without_annotations and (is_enough or not self._signers):
            return SignatureResult.ANNOTATIONS
        return SignatureResult.THRESHOLD

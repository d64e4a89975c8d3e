"""Recommends an evidence for a registry, from its survey."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from webhook.audit.survey import RegistrySurvey
from webhook.registries import Evidence


class Advice(StrEnum):
    """The advice about a registry. Stable: a value of JSON and a metric label."""

    READY = "ready"
    """The configured evidence accepts every image that exists."""
    SWITCH = "switch"
    """Another evidence does."""
    PREPARE = "prepare"
    """The best evidence accepts some images: sign or mark the others first."""
    CHECK_KEYS = "check-keys"
    """There are signatures that do not count: none of them, or a key has lapsed or is unreadable."""
    ADD_KEYS = "add-keys"
    """There are signatures, and no key is configured."""
    NO_EVIDENCE = "no-evidence"
    """Nothing is marked, and nothing is signed."""
    NO_MARK = "no-mark"
    """Nothing is marked, and signatures were not looked for."""
    UNKNOWN = "unknown"
    """Too little is known."""
    NOTHING_RUNS = "nothing-runs"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The advice, and the evidence that it is about; ``None`` if no evidence accepts any image."""

    advice: Advice
    evidence: Evidence | None = None


def recommend(survey: RegistrySurvey) -> Recommendation:
    """Return the recommendation for one registry. Images that do not exist do not count.

    If several kinds of evidence accept equally many images, the configured one is kept. While it is not known
    what it accepts, no other is recommended: an outage or a lapsed key would lead to weaker evidence.
    """
    counts, configured = survey.counts, survey.registry.evidence
    if not counts.existing:
        return Recommendation(Advice.UNKNOWN if counts.unknown else Advice.NOTHING_RUNS)
    complete = [one for one in survey.candidates if counts.passing[one] == counts.images - counts.missing]
    if configured in complete:
        return Recommendation(Advice.READY, configured)
    if survey.unusable_keys and counts.with_signatures > counts.signed:
        return Recommendation(Advice.CHECK_KEYS)
    if counts.undetermined(configured) or (configured is Evidence.BOTH and counts.passing[configured]):
        best = configured
    elif complete:
        return Recommendation(Advice.SWITCH, complete[0])
    else:
        # Every image that ``both`` accepts is accepted by each of the others.
        single = [one for one in survey.candidates if one is not Evidence.BOTH]
        best = max(single, key=lambda one: (counts.passing[one], one is configured))
    if counts.passing[best]:
        return Recommendation(Advice.PREPARE, best)
    if counts.unknown:
        return Recommendation(Advice.UNKNOWN)
    return Recommendation(_advise_without_evidence(survey))


def _advise_without_evidence(survey: RegistrySurvey) -> Advice:
    if not survey.reads_signatures:
        return Advice.NO_MARK
    if survey.counts.with_signatures:
        return Advice.CHECK_KEYS if survey.has_keys else Advice.ADD_KEYS
    return Advice.NO_EVIDENCE

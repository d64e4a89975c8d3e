"""Converts the survey of a registry to values that JSON can represent."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Any

from webhook.audit.report import MAX_ROWS
from webhook.audit.survey import EvidenceCounts, RegistrySurvey, SurveyedImage
from webhook.audit.survey_advice import recommend
from webhook.audit.survey_texts import Language, describe, recommendation
from webhook.policy.findings import Mode
from webhook.registries import Evidence


def registry_as_data(survey: RegistrySurvey, mode: Mode, language: Language = "en") -> dict[str, Any]:
    """Return the survey of one registry, under the mode of the policy."""
    registry, found = survey.registry, recommend(survey)
    keys = registry.signatures.counting if registry.signatures is not None else ()
    projects = survey.project_ids
    return {
        "registry": registry.name,
        "organizations": sorted(registry.organizations),
        "edition": registry.edition,
        "evidence": registry.evidence.value,
        "keys": [key.name for key in keys],
        "signaturesRead": survey.reads_signatures,
        "advice": found.advice.value,
        "recommended": found.evidence.value if found.evidence is not None else None,
        "recommendation": recommendation(survey, mode, language),
        "remarks": describe(survey, language),
        "showRepoTag": survey.tag_call.value,
        "projectIds": {"configured": projects.configured, "none": projects.none} if projects else None,
        "counts": _counts(survey.counts),
        "failures": [{"detail": detail, "images": images} for detail, images in survey.failures.items()],
        "namespaces": [{"name": name, **_counts(counts)} for name, counts in survey.namespaces],
        "images": [_image(one) for one in survey.images[:MAX_ROWS]],
    }


def _counts(counts: EvidenceCounts) -> dict[str, Any]:
    return {
        "images": counts.images,
        "existing": counts.existing,
        "missing": counts.missing,
        "marked": counts.marked,
        "withSignatures": counts.with_signatures,
        "signed": counts.signed,
        "unknown": counts.unknown,
        "denied": {one.value: counts.denied[one] for one in Evidence},
        "undetermined": {one.value: counts.undetermined(one) for one in Evidence},
        "signers": _ranked(counts.signers),
        "formats": _ranked(counts.formats),
        "storedFormats": _ranked(counts.stored_formats),
    }


def _ranked(numbers: Counter[str]) -> dict[str, int]:
    return {_plain(name): number for name, number in sorted(numbers.items())}


def _image(one: SurveyedImage) -> dict[str, Any]:
    found = one.inspection
    check = found.signature
    return {
        "image": one.image,
        "namespaces": sorted(one.namespaces),
        "exists": found.exists,
        "marked": found.is_marked,
        "signed": found.is_signed,
        "examined": check.found if check is not None else None,
        "signers": list(check.signers) if check is not None else [],
        "formats": list(map(_plain, check.formats)) if check is not None else [],
        "storedFormats": list(map(_plain, check.stored)) if check is not None else [],
        "problems": list(check.problems) if check is not None else [],
        "failures": [failure.detail for failure in found.failures],
    }


def _plain(value: str) -> str:
    return value.value if isinstance(value, StrEnum) else value

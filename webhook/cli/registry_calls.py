"""Finds out, for a survey, which call answers about tags and which project ID works."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from webhook.app.trust_service import TrustService
from webhook.audit.survey import ProjectIdAnswer, ProjectIds, RegistrySurvey, TagCall
from webhook.deadlines import Deadline
from webhook.errors import Forbidden, TrustLookupError, Unauthorized
from webhook.evidence.inspection import for_signatures, for_tag_detail
from webhook.registries import CredentialSettings
from webhook.trust.lookup import Found, LookupRequest
from webhook.trust.records import TrustQuery

SECONDS: Final = 10.0
"""Deadline of the one lookup without a project ID."""

_Caller = tuple[str, CredentialSettings, str | None]


def find_tag_calls(surveys: Iterable[RegistrySurvey], trust: TrustService) -> None:
    """Set ``tag_call`` of each registry that answered about an image, without a call."""
    for survey in surveys:
        registry = survey.registry
        if registry.is_enterprise or not _has_answered(survey):
            continue
        variants = (registry, for_signatures(registry), for_tag_detail(registry))
        uses_list = any(trust.status(variant).uses_tag_list for variant in variants)
        survey.tag_call = TagCall.UNPUBLISHED if uses_list else TagCall.PUBLISHED


def try_project_ids(surveys: Iterable[RegistrySurvey], trust: TrustService) -> None:
    """Set ``project_ids`` of each registry of SWR Basic with images.

    That of the configuration was used for the survey. If there is one, one lookup without it is made for each
    account, if no authentication has failed: more than five failures in a row lock the access key.
    """
    known: dict[_Caller, ProjectIds] = {}
    for survey in surveys:
        registry = survey.registry
        if registry.is_enterprise or not survey.images:
            continue
        caller = (registry.endpoint, registry.credentials, registry.project_id)
        if caller not in known:
            used = _read_survey(survey)
            if registry.project_id is None:
                known[caller] = ProjectIds(None, used)
            else:
                known[caller] = ProjectIds(used, _try_without(survey, trust))
        survey.project_ids = known[caller]


def _has_answered(survey: RegistrySurvey) -> bool:
    return any(one.inspection.exists is not None for one in survey.images)


def _failures(survey: RegistrySurvey) -> list[TrustLookupError]:
    """Return why the images could not be looked up of which nothing is known."""
    unknown = (one.inspection for one in survey.images if one.inspection.exists is None)
    return [failure for inspection in unknown for failure in inspection.failures]


def _read_survey(survey: RegistrySurvey) -> ProjectIdAnswer:
    if _has_answered(survey):
        return ProjectIdAnswer.ANSWERED
    is_refused = any(isinstance(failure, (Unauthorized, Forbidden)) for failure in _failures(survey))
    return ProjectIdAnswer.REFUSED if is_refused else ProjectIdAnswer.UNKNOWN


def _try_without(survey: RegistrySurvey, trust: TrustService) -> ProjectIdAnswer:
    registry = replace(for_tag_detail(survey.registry), project_id=None)
    # A token of IAM is for one project: another login would be needed, which may fail.
    if registry.credentials.kind == "iamUser":
        return ProjectIdAnswer.NOT_TRIED
    if any(isinstance(failure, Unauthorized) for failure in _failures(survey)):
        return ProjectIdAnswer.NOT_TRIED
    request = LookupRequest(replace(_choose(survey), registry=registry))
    (result,) = trust.lookup.look_up([request], Deadline.after(SECONDS))
    if isinstance(result, Found):
        return ProjectIdAnswer.ANSWERED
    is_refused = isinstance(result.failure, (Unauthorized, Forbidden))
    return ProjectIdAnswer.REFUSED if is_refused else ProjectIdAnswer.UNKNOWN


def _choose(survey: RegistrySurvey) -> TrustQuery:
    """Return the query about an image that exists, or about any if none is known to."""
    existing = [one.query for one in survey.images if one.inspection.exists]
    return existing[0] if existing else survey.images[0].query

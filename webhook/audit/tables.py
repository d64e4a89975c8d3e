"""Converts the reports of an audit and of a survey to JSON and CSV."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, Final

from webhook.audit.pods import Workload
from webhook.audit.report import AuditReport, DriftRow, ExpiringExemptionRow, FindingRow, count
from webhook.audit.survey import RegistrySurvey
from webhook.audit.survey_tables import registry_as_data
from webhook.audit.survey_texts import Language
from webhook.audit.surveying import SurveyReport

SCHEMA: Final = "swr-trust/audit/v1"
SURVEY_SCHEMA: Final = "swr-trust/survey/v1"

_FINDING: Final = (
    *("namespace", "workload", "field", "image", "finding", "reason"),
    *("refused", "enforced", "mode", "pods", "example", "message", "advice", "signers"),
)
_DRIFT: Final = (
    *("namespace", "workload", "image", "finding", "reason"),
    *("running", "current", "pods", "example", "message"),
)
_ENDING: Final = ("namespace", "workload", "image", "exemption", "ends", "finding", "message", "pods")

COLUMNS: Final = ("kind", *(name for name in _FINDING if name != "field"))

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def audit_as_data(report: AuditReport) -> dict[str, Any]:
    """Return the report as values that JSON can represent."""
    return {
        "schema": SCHEMA,
        "started": format_moment(report.started),
        "seconds": round(report.seconds, 1),
        "policy": report.policy,
        "mode": report.mode.value,
        "partial": report.is_partial,
        "gaps": report.gaps,
        "verdict": report.verdict,
        "remarks": report.remarks,
        "pods": report.pods,
        "refused": report.refused,
        "refusedAsUnknown": report.unknown,
        "enforced": report.enforced,
        "static": report.static,
        "excluded": report.excluded,
        "excludedNamespaces": list(report.excluded_namespaces),
        "images": {"seen": report.images_seen, "asked": report.images_looked_up},
        "uses": {finding.value: number for finding, number in sorted(report.findings.items())},
        "neverTrusted": [
            {"registry": registry, "images": images} for registry, images in report.never_trusted
        ],
        "neverSigned": [{"registry": registry, "images": images} for registry, images in report.never_signed],
        "failures": [{"detail": detail, "images": images} for detail, images in report.failures],
        "namespaces": [
            {"name": row.name, "pods": row.pods, "refused": row.refused, "enforced": row.enforced}
            for row in report.namespaces
        ],
        "findings": [_pick(row, _FINDING) for row in report.rows],
        "otherDigest": [_pick(row, _DRIFT) for row in report.drift],
        "endingExemptions": [_pick(row, _ENDING) for row in report.endings],
        "survey": [registry_as_data(one, report.mode) for one in report.survey],
        "omitted": report.omitted,
    }


def survey_as_data(report: SurveyReport, language: Language) -> dict[str, Any]:
    """Return the report of a survey; its sentences are in ``language``."""
    return {
        "schema": SURVEY_SCHEMA,
        "started": format_moment(report.started),
        "seconds": round(report.seconds, 1),
        "policy": report.policy,
        "mode": report.mode.value,
        "partial": report.is_partial,
        "gaps": report.gaps,
        "notes": report.notes,
        "pods": report.pods,
        "static": report.static,
        "excluded": report.excluded,
        "excludedNamespaces": list(report.excluded_namespaces),
        "leftOut": {finding.value: number for finding, number in sorted(report.left_out.items())},
        "omitted": report.omitted,
        "registries": [registry_as_data(one, report.mode, language) for one in report.registries],
    }


def audit_as_csv(report: AuditReport) -> str:
    """Return one table of all rows.

    ``kind`` is ``finding``, ``other-digest``, ``ending-exemption``, ``signature`` or ``partial``.
    """
    rows: list[dict[str, Any]] = [{"kind": "finding", **_pick(row, _FINDING)} for row in report.rows]
    rows += [{"kind": "other-digest", **_pick(drift, _DRIFT)} for drift in report.drift]
    for ending in report.endings:
        message = f"exemption {ending.exemption} ends {format_moment(ending.ends)}: {ending.message}"
        rows.append({"kind": "ending-exemption", **_pick(ending, _ENDING), "message": message})
    rows += [row for survey in report.survey for row in _signature_rows(survey)]
    rows += [{"kind": "partial", "message": gap} for gap in report.gaps]
    return write_csv(COLUMNS, ([row.get(column, "") for column in COLUMNS] for row in rows))


def _signature_rows(survey: RegistrySurvey) -> Iterator[dict[str, Any]]:
    """Yield a row for each image and namespace whose signatures were looked for."""
    for one in survey.images:
        check = one.inspection.signature
        if check is None:
            continue
        message = f"{count(check.found, 'signature')} examined"
        if check.problems and not one.inspection.is_signed:
            message += f"; {'; '.join(check.problems)}"
        for namespace in sorted(one.namespaces):
            yield {
                "kind": "signature",
                "namespace": namespace,
                "image": one.image,
                "reason": "signed" if one.inspection.is_signed else check.result.value,
                "message": message,
                "signers": check.signers,
            }


def write_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return CSV (RFC 4180). Cells that a spreadsheet would read as a formula are marked as text."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(header)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return stream.getvalue()


def format_moment(moment: dt.datetime) -> str:
    """Return a time as RFC 3339 in UTC, in seconds."""
    return moment.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _pick(row: FindingRow | DriftRow | ExpiringExemptionRow, names: Sequence[str]) -> dict[str, Any]:
    """Return these fields of a row as JSON represents them."""
    return {name: _plain(getattr(row, name)) for name in names}


def _plain(value: object) -> object:
    if isinstance(value, dt.datetime):
        return format_moment(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Workload) else value

"""Self-contained HTML pages: no scripts, no external resources, all values escaped."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from webhook import __version__
from webhook.audit import chinese
from webhook.audit.coverage_texts import translate
from webhook.audit.evidence import Evidence
from webhook.audit.report import AuditReport, Drift
from webhook.audit.tables import format_moment
from webhook.policy.findings import Finding
from webhook.registries import Evidence as EvidenceKind

MAX_BARS: Final = 20
MAX_SHOWN: Final = 5_000
"""Rows of one table on a page; CSV and JSON have all rows."""

WIDTH: Final = 420
"""Width of the longest bar, in units of the drawing."""

Language = Literal["en", "zh"]

LANGUAGE_TAGS: Final[Mapping[Language, str]] = {"en": "en", "zh": "zh-CN"}
"""BCP 47 tag of a page, by the policy's ``messages``."""

_GOOD: Final = (Finding.TRUSTED, Finding.EXEMPT)


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a chart: ``part`` of ``total`` is drawn in color, the rest pale."""

    label: str
    part: int
    total: int
    part_width: float
    total_width: float


def render_audit(report: AuditReport, language: Language = "en") -> str:
    """Return the page of an audit; its messages are in the language of the policy."""
    verdict, remarks = f"{report.verdict[0].upper()}{report.verdict[1:]}.", report.remarks
    if language == "zh":
        verdict, remarks = f"{chinese.verdict(report)}。", chinese.remarks(report)
    prominent = len(report.gaps) + len(report.never_trusted) + len(report.never_signed)
    prominent += bool(report.drifted(Drift.OTHER_THAN_PINNED))
    findings = [(finding.value, count, count) for finding, count in report.findings.most_common()]
    spaces = [(row.name, row.refused, row.pods) for row in report.namespaces]
    return (
        _environment(language)
        .get_template("audit.html.j2")
        .render(
            report=report,
            verdict=verdict,
            prominent=remarks[:prominent],
            remarks=remarks[prominent:],
            version=__version__,
            finding_bars=_bars(findings),
            good={finding.value for finding in _GOOD},
            namespace_bars=_bars(spaces),
            more_namespaces=max(0, len(spaces) - MAX_BARS),
            evidence_kinds=list(EvidenceKind),
            surveys=[one for one in report.survey if one.images],
            signatures=[one for survey in report.survey for one in survey.images if one.inspection.signature],
            shown=MAX_SHOWN,
        )
    )


def render_evidence(evidence: Evidence, language: Language = "en") -> str:
    """Return the page of an evidence report."""
    outcomes = [(name, count, count) for name, count in evidence.outcomes.most_common()]
    gaps = [translate(gap) for gap in evidence.gaps] if language == "zh" else evidence.gaps
    return (
        _environment(language)
        .get_template("evidence.html.j2")
        .render(
            evidence=evidence,
            gaps=gaps,
            version=__version__,
            outcome_bars=_bars(outcomes),
            good={"allow"},
            shown=MAX_SHOWN,
            made=dt.datetime.now(dt.UTC),
        )
    )


def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader("webhook.audit", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = format_moment
    environment.globals["lang"] = LANGUAGE_TAGS[language]
    environment.globals["t"] = _translate_chinese if language == "zh" else _translate_english
    return environment


def _translate_english(text: str, *values: object) -> str:
    return text.format(*values)


def _translate_chinese(text: str, *values: object) -> str:
    return chinese.HEADINGS[text].format(*values)


def _bars(lines: Sequence[tuple[str, int, int]]) -> list[Bar]:
    shown = lines[:MAX_BARS]
    longest = max((total for _, _, total in shown), default=0) or 1
    return [
        Bar(label, part, total, round(WIDTH * part / longest, 1), round(WIDTH * total / longest, 1))
        for label, part, total in shown
    ]

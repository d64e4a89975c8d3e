"""``swr-trust survey``: which evidence do running images have, and which can this account enforce?"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from webhook import __version__
from webhook.app.trust_service import TrustService
from webhook.audit.coverage_texts import TEXTS as COVERAGE_TEXTS
from webhook.audit.coverage_texts import describe_coverage
from webhook.audit.survey import EvidenceCounts, RegistrySurvey, SurveyedImage
from webhook.audit.survey_texts import TEXTS, Language, describe, recommendation
from webhook.audit.surveying import SurveyReport, SurveyRun
from webhook.audit.tables import survey_as_data
from webhook.cli.command import Command
from webhook.cli.exit_codes import EXIT_DENIED, EXIT_OK, EXIT_UNKNOWN
from webhook.cli.options import config_option, output_option
from webhook.cli.pod_selection import open_pods, pod_options
from webhook.cli.progress import show_progress
from webhook.cli.registry_calls import find_tag_calls, try_project_ids
from webhook.cli.rendering import print_json, print_table
from webhook.cli.report_policy import load_report_policy
from webhook.registries import Evidence
from webhook.telemetry.metrics import Metrics

SHOWN: Final = 20
"""Images of each registry in the table; JSON has all."""

ALL: Final = "(all)"
"""Stands for all namespaces together, whose images are counted once. It is not a valid name of one."""


@click.command(
    cls=Command,
    examples=[
        "swr-trust survey --config policy.yaml",
        "swr-trust survey --config policy.yaml -n shop -o json > survey.json",
    ],
)
@config_option
@pod_options("survey")
@output_option("table", "json")
def command(
    config: str,
    namespace: tuple[str, ...],
    selector: str,
    exclude_namespace: tuple[str, ...],
    webhook_configuration: str | None,
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> int:
    """Show which evidence running images have, and recommend one.

    Looks up the tag detail and the signatures of each image that runs, whichever of them is evidence now.
    Nothing is changed. The exit code is 1 if the configured evidence denies an image, 3 if something is not
    known.
    """
    policy = load_report_policy(config)
    source, scope = open_pods(
        namespace, selector, exclude_namespace, webhook_configuration, kubeconfig, context
    )
    trust = TrustService(policy, Metrics(__version__), os.environ)
    with show_progress() as progress:
        report = SurveyRun(policy, trust.lookup, scope.excluded, progress).run(source)
    find_tag_calls(report.registries, trust)
    try_project_ids(report.registries, trust)
    if scope.note:
        report.notes.insert(0, scope.note)
    print_survey(report, output, policy.messages)
    return exit_code(report)


def exit_code(report: SurveyReport) -> int:
    """Return 3 for a partial report, else 1 if an image would be denied, else 3 if something is unknown."""
    if report.is_partial:
        return EXIT_UNKNOWN
    if report.denied:
        return EXIT_DENIED
    return EXIT_UNKNOWN if report.unknown else EXIT_OK


def print_survey(report: SurveyReport, output: str, language: Language) -> None:
    """Print a report as ``table`` or ``json``; its sentences are in the language of the policy."""
    if output == "json":
        print_json(survey_as_data(report, language))
        for gap in report.gaps:
            print(f"partial: {gap}", file=sys.stderr)
        return
    for survey in report.registries:
        _print_registry(survey, report, language)
    for line in describe_coverage(report, language):
        print(line)


def _print_registry(survey: RegistrySurvey, report: SurveyReport, language: Language) -> None:
    print(f"{survey.label}, evidence: {survey.registry.evidence}, mode {report.mode}")
    if survey.counts.images:
        rows = [(ALL, survey.counts), *survey.namespaces]
        print_table(
            (
                *("NAMESPACE", "IMAGES", "EXIST", "MARKED", "WITH SIGNATURES", "SIGNED", "UNKNOWN"),
                *(f"DENIED BY {evidence}" for evidence in Evidence),
            ),
            [_row(name, counts, survey) for name, counts in rows],
        )
        print()
        _print_images(survey.images, language, has_marks=not survey.registry.is_enterprise)
    for sentence in describe(survey, language):
        print(sentence)
    text = recommendation(survey, report.mode, language)
    print(TEXTS[language]["recommendation"].format(text=text))
    print()


def _row(name: str, counts: EvidenceCounts, survey: RegistrySurvey) -> tuple[object, ...]:
    basic = not survey.registry.is_enterprise
    denied = (
        counts.denied[evidence] if basic or evidence is Evidence.SIGNATURE else "-" for evidence in Evidence
    )
    return (
        *(name, counts.images, counts.existing, counts.marked if basic else "-"),
        *(counts.with_signatures, counts.signed, counts.unknown, *denied),
    )


def _print_images(images: Sequence[SurveyedImage], language: Language, *, has_marks: bool) -> None:
    """Print the images, those first that some evidence would deny."""
    ranked = sorted(images, key=_rank)
    print_table(
        ("IMAGE", "EXISTS", "MARKED", "SIGNED BY", "FORMAT", "WHY NOT"),
        [
            (
                one.image,
                _yes(one.inspection.exists),
                _yes(one.inspection.is_marked) if has_marks and one.inspection.exists is not False else "-",
                *_describe_signature(one),
            )
            for one in ranked[:SHOWN]
        ],
    )
    if len(ranked) > SHOWN:
        print(COVERAGE_TEXTS[language]["more"].format(len(ranked) - SHOWN))
    print()


def _rank(one: SurveyedImage) -> tuple[int, str]:
    found = one.inspection
    proofs = (found.exists is True) + (found.is_marked is True) + (found.is_signed is True)
    return proofs, one.image


def _yes(known: bool | None) -> str:  # noqa: FBT001 - one of three values
    return "?" if known is None else "yes" if known else "no"


def _describe_signature(one: SurveyedImage) -> tuple[str, str, str]:
    check = one.inspection.signature
    if check is None:
        return "-" if one.inspection.exists is False else "?", "-", _first_failure(one)
    problems = ""
    if not one.inspection.is_signed:
        problems = "; ".join(check.problems) if check.found else "no signature"
    return ", ".join(check.signers) or "-", ", ".join(check.stored) or "-", problems or "-"


def _first_failure(one: SurveyedImage) -> str:
    return next((failure.detail for failure in one.inspection.failures), "-")

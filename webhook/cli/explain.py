"""``swr-trust explain``: why a workload is denied, for its developer.

Needs only the rights of Kubernetes' ``view`` role, no policy and no credential of SWR. The explanation
is the webhook's own message, which a controller has written into an Event or a condition.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import click

from webhook.admission.catalogues import DENIALS
from webhook.admission.messages import printable
from webhook.cli.command import Command
from webhook.cli.exit_codes import EXIT_DENIED, EXIT_OK, EXIT_UNKNOWN, EXIT_USAGE
from webhook.cli.options import cluster_options, namespace_option, output_option
from webhook.cli.rendering import print_json
from webhook.cluster.client import FORBIDDEN, RetryingClient, connect
from webhook.cluster.workload_status import KINDS, CreateFailure, WorkloadState, find_kind, read_workload
from webhook.errors import ClusterError
from webhook.images.reference import DEFAULT_TAG

MAX_MESSAGE: Final = 4000
MAX_SHOWN: Final = 3

_IMAGE: Final = re.compile(r'"([^"]{1,300})"')
_CALL_FAILED: Final = re.compile(r'failed calling webhook "([^"]*)"')


class Verdict(StrEnum):
    """Why a workload has no Pods, according to its conditions and Events."""

    REFUSED = "refused"
    """Image trust denies them."""
    WEBHOOK_UNREACHABLE = "gate-silent"
    """The API server could not call the webhook."""
    OTHER = "other"
    """Another check denies them, such as a quota."""
    OUTDATED = "outdated"
    """Its Pods were denied, but now all exist, or the workload names other images."""
    FINE = "fine"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The result. ``message`` is the webhook's own message, or the API server's."""

    verdict: Verdict
    message: str = ""
    failure: CreateFailure | None = None


@click.command(
    cls=Command,
    examples=[
        "swr-trust explain shop/web",
        "swr-trust explain shop/CronJob/report",
        "swr-trust explain -n shop web",
    ],
)
@click.argument("workload", metavar="[NAMESPACE/][KIND/]NAME")
@namespace_option(help="Namespace of the workload, which is then written as [KIND/]NAME.")
@cluster_options
@output_option("table", "json")
def command(
    workload: str, namespace: str | None, kubeconfig: str | None, context: str | None, output: str
) -> int:
    """Explain why a workload is denied and what to do.

    Reads the conditions and Events of a Deployment, Job or other workload, and of its Pods. Needs the
    rights of the view role, and neither a policy nor a credential of SWR.
    """
    target = parse_target(f"{namespace}/{workload}" if namespace else workload)
    if target is None:
        form = "NAME or KIND/NAME" if namespace else "NAMESPACE/NAME or NAMESPACE/KIND/NAME"
        raise click.UsageError(
            f"{workload!r} is not a workload: write {form}, with a kind of {', '.join(KINDS)}"
        )
    namespace, kind, name = target
    try:
        state = read_workload(RetryingClient(connect(kubeconfig, context)), namespace, kind, name)
    except ClusterError as error:
        if error.status != FORBIDDEN:
            raise
        print(f"swr-trust explain: {error}", file=sys.stderr)
        return EXIT_UNKNOWN
    if state is None:
        what = kind if kind is not None else "workload"
        print(f"swr-trust explain: there is no {what} {name} in the namespace {namespace}", file=sys.stderr)
        if kind in (None, "Pod"):
            print(
                "A denied Pod does not exist. Name the Deployment, Job or other workload that creates it. "
                "For a Pod created by hand, kubectl has shown the reason.",
                file=sys.stderr,
            )
        return EXIT_USAGE
    explanation = explain(state)
    if output == "json":
        print_json(_row(state, explanation))
    else:
        _print(state, explanation)
    if explanation.verdict in (Verdict.REFUSED, Verdict.WEBHOOK_UNREACHABLE, Verdict.OTHER):
        return EXIT_DENIED
    return EXIT_UNKNOWN if state.gaps else EXIT_OK


def parse_target(text: str) -> tuple[str, str | None, str] | None:
    """Return namespace, kind (``None`` where none is given) and name."""
    parts = text.split("/")
    if not all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", part) for part in parts):
        return None
    if len(parts) == 2:  # noqa: PLR2004 - namespace and name
        return parts[0], None, parts[1]
    if len(parts) == 3 and (kind := find_kind(parts[1])) is not None:  # noqa: PLR2004 - with a kind
        return parts[0], kind, parts[2]
    return None


def explain(state: WorkloadState) -> Explanation:
    """Return why a workload has no Pods. Denials by image trust come first, the newest first."""
    outdated: Explanation | None = None
    for failure in state.failures:
        message = find_denial(failure.message)
        if message:
            if not state.is_settled and _is_about(message, state.images):
                return Explanation(Verdict.REFUSED, message, failure)
            outdated = outdated or Explanation(Verdict.OUTDATED, message, failure)
    others = [failure for failure in state.failures if not find_denial(failure.message)]
    if others and not state.is_settled:
        unreachable = [failure for failure in others if _CALL_FAILED.search(failure.message)]
        verdict, chosen = (
            (Verdict.WEBHOOK_UNREACHABLE, unreachable[0]) if unreachable else (Verdict.OTHER, others[0])
        )
        return Explanation(verdict, printable(chosen.message, MAX_MESSAGE), chosen)
    return outdated or Explanation(Verdict.FINE)


def find_denial(text: str) -> str:
    """Return the webhook's message within the API server's, or ``""``."""
    for start in DENIALS:
        place = text.find(start)
        if place >= 0:
            return printable(text[place:], MAX_MESSAGE)
    return ""


def _is_about(message: str, images: tuple[str, ...]) -> bool:
    """Whether a denial is about an image of the workload, or may be."""
    named = _IMAGE.findall(message)
    if not named or not images:
        return True
    # The webhook may have pinned the image of the template, so the denial names it with a digest.
    tags = {name.partition("@")[0] for name in named}
    written = {*images, *(f"{image}:{DEFAULT_TAG}" for image in images)}
    return not written.isdisjoint({*named, *tags}) or any("..." in name for name in named)


_HEADLINES: Final = {
    Verdict.REFUSED: "Its Pods are denied because of an image:",
    Verdict.WEBHOOK_UNREACHABLE: "Its Pods are not created because the API server could not call an "
    "admission webhook. Your images are not the cause. Contact your cluster administrators:",
    Verdict.OTHER: "Its Pods are not created, and image trust is not the reason:",
    Verdict.OUTDATED: "Its Pods are no longer denied: they exist, or the workload names other images now. "
    "The denial was:",
    Verdict.FINE: "No condition and no Event says that its Pods are denied. "
    "Events are kept for about an hour.",
}


def _print(state: WorkloadState, explanation: Explanation) -> None:
    figures = f", {state.ready or 0} of {state.wanted} Pods ready" if state.wanted is not None else ""
    print(f"{state.kind} {state.namespace}/{state.name}{figures}")
    for image in dict.fromkeys(state.images):
        print(f"  image {printable(image, MAX_MESSAGE)}")
    print(f"\n{_HEADLINES[explanation.verdict]}")
    if explanation.message:
        for sentence in _sentences(explanation.message):
            print(f"  {sentence}")
    failure = explanation.failure
    if failure is not None:
        times = f", {failure.count} times" if failure.count > 1 else ""
        last = f", last at {failure.at}" if failure.at else ""
        print(f"\nReported by {failure.source}{times}{last}.")
    for gap in state.gaps:
        print(f"Incomplete: {printable(gap, MAX_MESSAGE)}.")


def _sentences(message: str) -> list[str]:
    """Return a message as lines: each image, then what to do."""
    return [line for line in re.split(r"(?<=[.;。])\s+(?=[A-Z\"s])|(?<=。)", message) if line]


def _row(state: WorkloadState, explanation: Explanation) -> dict[str, Any]:
    failure = explanation.failure
    return {
        "namespace": state.namespace,
        "kind": state.kind,
        "name": state.name,
        "images": list(state.images),
        "wanted": state.wanted,
        "ready": state.ready,
        "verdict": explanation.verdict.value,
        "message": explanation.message,
        "source": failure.source if failure is not None else None,
        "at": failure.at if failure is not None else None,
        "gaps": state.gaps,
    }

"""``swr-trust explain``: why a workload is refused, for its developer.

Needs the rights of Kubernetes' ``view`` role and nothing else: no policy, no credential of SWR. All
that is said was said before, by the webhook, to a controller that could only write it into an Event.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from webhook.admission.catalogues import DENIALS
from webhook.admission.messages import printable
from webhook.cli.exit_codes import EXIT_OK, EXIT_REFUSED, EXIT_UNKNOWN, EXIT_USAGE
from webhook.cli.rendering import print_json
from webhook.cluster.client import FORBIDDEN, connect
from webhook.cluster.pods import RetryingClient
from webhook.cluster.workload_status import KINDS, CreateFailure, WorkloadState, find_kind, read_workload
from webhook.errors import ClusterError

MAX_MESSAGE: Final = 4000
MAX_SHOWN: Final = 3

_IMAGE: Final = re.compile(r'"([^"]{1,300})"')
_GATE: Final = re.compile(r'failed calling webhook "([^"]*)"')


class Verdict(StrEnum):
    """Why a workload has no Pods, as far as the cluster says."""

    REFUSED = "refused"
    """By image trust."""
    GATE_SILENT = "gate-silent"
    """The API server could not ask the webhook."""
    OTHER = "other"
    """By something else: a quota, another webhook."""
    OUTDATED = "outdated"
    """It was refused, but all its Pods are there by now, or it names other images."""
    FINE = "fine"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is to be said. ``message`` is the gate's own sentence, or the API server's."""

    verdict: Verdict
    message: str = ""
    complaint: CreateFailure | None = None


def run(options: argparse.Namespace) -> int:
    """Explain ``options.workload``."""
    target = parse_target(options.workload)
    if target is None:
        print(
            "swr-trust explain: write NAMESPACE/NAME or NAMESPACE/KIND/NAME, with a kind of "
            + ", ".join(KINDS),
            file=sys.stderr,
        )
        return EXIT_USAGE
    namespace, kind, name = target
    try:
        state = read_workload(
            RetryingClient(connect(options.kubeconfig, options.context)), namespace, kind, name
        )
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
                "A Pod that was refused does not exist: ask for the Deployment, Job or other workload that "
                "creates it. A Pod created by hand was refused with the reason right then.",
                file=sys.stderr,
            )
        return EXIT_USAGE
    explanation = explain(state)
    if options.output == "json":
        print_json(_row(state, explanation))
    else:
        _print(state, explanation)
    if explanation.verdict in (Verdict.REFUSED, Verdict.GATE_SILENT, Verdict.OTHER):
        return EXIT_REFUSED
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
    """Return why a workload has no Pods; the gate's own refusals come first, the newest first."""
    outdated: Explanation | None = None
    for complaint in state.complaints:
        message = find_denial(complaint.message)
        if message:
            if not state.is_settled and _is_about(message, state.images):
                return Explanation(Verdict.REFUSED, message, complaint)
            outdated = outdated or Explanation(Verdict.OUTDATED, message, complaint)
    others = [complaint for complaint in state.complaints if not find_denial(complaint.message)]
    if others and not state.is_settled:
        silent = [complaint for complaint in others if _GATE.search(complaint.message)]
        verdict, chosen = (Verdict.GATE_SILENT, silent[0]) if silent else (Verdict.OTHER, others[0])
        return Explanation(verdict, printable(chosen.message, MAX_MESSAGE), chosen)
    return outdated or Explanation(Verdict.FINE)


def find_denial(text: str) -> str:
    """Return the gate's sentence within the API server's, or ``""``."""
    for start in DENIALS:
        place = text.find(start)
        if place >= 0:
            return printable(text[place:], MAX_MESSAGE)
    return ""


def _is_about(message: str, images: tuple[str, ...]) -> bool:
    """Whether a denial is about an image the workload names now; in doubt it is."""
    named = _IMAGE.findall(message)
    return (
        not named or not images or any(image in named for image in images) or any("..." in n for n in named)
    )


_SAY: Final = {
    Verdict.REFUSED: "Its Pods are refused because of an image:",
    Verdict.GATE_SILENT: "Its Pods are not created because the API server could not ask an admission "
    "webhook. This is not about your images; contact your cluster administrators:",
    Verdict.OTHER: "Its Pods are not created, and image trust is not the reason:",
    Verdict.OUTDATED: "It was refused, but is not any more: its Pods are there, or it names other images "
    "now. The refusal was:",
    Verdict.FINE: "Nothing of it is refused, as far as its conditions and Events say. "
    "Events are kept for about an hour.",
}


def _print(state: WorkloadState, explanation: Explanation) -> None:
    figures = f", {state.ready or 0} of {state.wanted} Pods ready" if state.wanted is not None else ""
    print(f"{state.kind} {state.namespace}/{state.name}{figures}")
    for image in dict.fromkeys(state.images):
        print(f"  image {printable(image, MAX_MESSAGE)}")
    print(f"\n{_SAY[explanation.verdict]}")
    if explanation.message:
        for sentence in _sentences(explanation.message):
            print(f"  {sentence}")
    complaint = explanation.complaint
    if complaint is not None:
        times = f", {complaint.count} times" if complaint.count > 1 else ""
        last = f", last at {complaint.at}" if complaint.at else ""
        print(f"\nSaid by {complaint.source}{times}{last}.")
    for gap in state.gaps:
        print(f"Not known: {printable(gap, MAX_MESSAGE)}.")


def _sentences(message: str) -> list[str]:
    """Return a message line by line: each image, then what to do."""
    return [line for line in re.split(r"(?<=[.;。])\s+(?=[A-Z\"s])|(?<=。)", message) if line]


def _row(state: WorkloadState, explanation: Explanation) -> dict[str, Any]:
    complaint = explanation.complaint
    return {
        "namespace": state.namespace,
        "kind": state.kind,
        "name": state.name,
        "images": list(state.images),
        "wanted": state.wanted,
        "ready": state.ready,
        "verdict": explanation.verdict.value,
        "message": explanation.message,
        "source": complaint.source if complaint is not None else None,
        "at": complaint.at if complaint is not None else None,
        "gaps": state.gaps,
    }

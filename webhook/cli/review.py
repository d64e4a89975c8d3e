"""``swr-trust review``: manifests judged as the webhook would judge them, before they reach a cluster."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from webhook.admission.judging import Judge
from webhook.admission.messages import Messages
from webhook.app.trust_service import open_lookup
from webhook.cli.exit_codes import EXIT_OK, EXIT_UNKNOWN, EXIT_USAGE, exit_code_of
from webhook.cli.junit import build_junit
from webhook.cli.manifests import Manifest, Passed, Read, ReviewedUse, Unjudged, Unreadable, read_manifests
from webhook.cli.rendering import print_failures, print_json, print_table
from webhook.cli.sarif import build_sarif, is_reported
from webhook.deadlines import Deadline
from webhook.policy.loading import load_policy

OBJECT_TIMEOUT = 30.0
"""Seconds for one object: nobody waits at an API server, so a cold lookup may take its time."""


def run(options: argparse.Namespace) -> int:
    """Judge every object of ``options.files``; what cannot be judged is named and hides nothing else."""
    policy = load_policy(options.config)
    read = list(read_manifests(options.files))
    manifests = [item for item in read if isinstance(item, Manifest)]
    messages = Messages(policy)
    reviewed = review(manifests, Judge(policy, open_lookup(policy)), options.namespace)
    if options.output == "json":
        print_json([_row(item, messages) for item in reviewed])
    elif options.output == "sarif":
        print_json(build_sarif(reviewed, messages, list(map(_explain, _not_judged(read)))))
    elif options.output == "junit":
        sys.stdout.write(build_junit(reviewed, messages))
    else:
        _print(reviewed, messages, len(manifests))
    print_failures(item.judged for item in reviewed)
    for item in _not_judged(read):
        print(f"swr-trust: {_explain(item)}", file=sys.stderr)
    if not manifests and not _not_judged(read):
        what = "no Kubernetes object was found" if not read else "no object that holds images was found"
        print(f"swr-trust: {what}", file=sys.stderr)
    code = _exit_code(reviewed, options.fail_on)
    if any(isinstance(item, Unreadable) for item in read) or (not read and not options.allow_empty):
        return EXIT_USAGE
    if any(isinstance(item, Unjudged) for item in read) and not options.allow_unjudged:
        return code or EXIT_UNKNOWN
    return code


def _not_judged(read: Sequence[Read]) -> list[Unreadable | Unjudged]:
    return [item for item in read if not isinstance(item, (Manifest, Passed))]


def _explain(item: Unreadable | Unjudged) -> str:
    if isinstance(item, Unreadable):
        return item.problem
    named = f"{item.kind}/{item.name}" if item.name else item.kind
    return (
        f"{item.file}:{item.line}: {named} is not judged: the webhook reads no {item.kind}, "
        "and judges its Pods when they are created"
    )


def review(manifests: Sequence[Manifest], judge: Judge, namespace: str) -> list[ReviewedUse]:
    """Judge each manifest in its namespace, or in ``namespace`` where it names none."""
    reviewed: list[ReviewedUse] = []
    for manifest in manifests:
        judged = judge.judge(
            manifest.uses, manifest.namespace or namespace, Deadline.after(OBJECT_TIMEOUT), time.time()
        )
        reviewed += [
            ReviewedUse(manifest, line, item) for line, item in zip(manifest.lines, judged, strict=True)
        ]
    return reviewed


def _exit_code(reviewed: Sequence[ReviewedUse], fail_on: str) -> int:
    if fail_on == "never":
        return EXIT_OK
    return exit_code_of(item.judged for item in reviewed if fail_on == "refused" or item.is_enforced)


def _row(item: ReviewedUse, messages: Messages) -> dict[str, object]:
    judgement = item.judged.judgement
    return {
        "file": item.manifest.file,
        "line": item.line,
        "kind": item.manifest.kind,
        "name": item.manifest.name,
        "namespace": item.manifest.namespace,
        "field": item.judged.use.field,
        "image": item.judged.use.image,
        "finding": judgement.finding.value,
        "reason": judgement.reason,
        "refused": item.judged.refused,
        "mode": item.judged.mode.value,
        "message": messages.describe(item.judged),
        "advice": messages.advise(item.judged),
    }


def _advised(item: ReviewedUse, messages: Messages) -> str:
    """Return what is wrong with an image and, where it is refused, what to do."""
    what = messages.describe(item.judged)
    advice = messages.advise(item.judged) if is_reported(item) else ""
    return f"{what}. {advice}" if advice else what


def _print(reviewed: Sequence[ReviewedUse], messages: Messages, objects: int) -> None:
    rows = [
        (
            f"{item.manifest.file}:{item.line}",
            f"{item.manifest.kind}/{item.manifest.name}",
            item.judged.use.image,
            item.judged.judgement.finding.value,
            _advised(item, messages),
        )
        for item in reviewed
    ]
    if rows:
        print_table(("WHERE", "OBJECT", "IMAGE", "FINDING", "MESSAGE"), rows)
    refused = sum(item.judged.refused for item in reviewed)
    summary = f"{len(reviewed)} image(s) in {objects} object(s), {refused} refused"
    print(summary if sys.stdout.isatty() else f"\n{summary}")

"""``swr-trust review``: evaluate manifests as the webhook would, before they reach a cluster."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Final

import click

from webhook.admission.evaluator import Evaluator
from webhook.admission.messages import Messages
from webhook.admission.pinning import choose_pins
from webhook.app.trust_service import open_lookup
from webhook.cli.command import Command
from webhook.cli.exit_codes import EXIT_OK, EXIT_UNKNOWN, EXIT_USAGE
from webhook.cli.junit import build_junit
from webhook.cli.manifests import (
    Manifest,
    Read,
    ReviewedUse,
    UnknownKind,
    Unreadable,
    WithoutImages,
    read_manifests,
)
from webhook.cli.options import FILE, config_option, namespace_option, output_option
from webhook.cli.rendering import exit_code_of, print_failures, print_json, print_table, shorten
from webhook.cli.sarif import build_sarif, is_reported
from webhook.deadlines import Deadline
from webhook.policy.loading import load_policy

OBJECT_TIMEOUT: Final = 30.0
"""Seconds for one object. Longer than in the webhook, because no API server waits for the answer."""


@click.command(
    cls=Command,
    examples=[
        "helm template ./chart | swr-trust review --config policy.yaml -",
        "swr-trust review --config policy.yaml -o sarif deploy/ > findings.sarif",
    ],
)
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@config_option
@namespace_option(default="default", help="Namespace of objects that name none.")
@click.option(
    "--fail-on",
    type=click.Choice(["refused", "enforced", "never"]),
    default="refused",
    help="What makes the exit code 1: an image that mode enforce would deny, or only one that the "
    "policy's modes deny today.",
)
@click.option("--allow-empty", is_flag=True, help="Succeed if there is no object, instead of exit code 2.")
@click.option(
    "--allow-unjudged",
    is_flag=True,
    help="Succeed if there are custom resources that create Pods, instead of exit code 3. They cannot be "
    "evaluated.",
)
@output_option("table", "json", "sarif", "junit")
def command(
    files: tuple[str, ...],
    config: str,
    namespace: str,
    fail_on: str,
    output: str,
    *,
    allow_empty: bool,
    allow_unjudged: bool,
) -> int:
    """Evaluate manifests as the webhook would.

    FILE is a YAML or JSON file, a folder, or - for standard input. Objects that cannot be evaluated are
    listed; all others are evaluated nevertheless.
    """
    policy = load_policy(config)
    read = list(read_manifests(files))
    manifests = [item for item in read if isinstance(item, Manifest)]
    evaluator = Evaluator(policy, open_lookup(policy), before_pinning=True)
    messages = evaluator.messages
    reviewed = review(manifests, evaluator, namespace)
    if output == "json":
        print_json([_row(item, messages) for item in reviewed])
    elif output == "sarif":
        print_json(build_sarif(reviewed, messages, list(map(_explain, _not_evaluated(read)))))
    elif output == "junit":
        sys.stdout.write(build_junit(reviewed, messages))
    else:
        _print(reviewed, messages, len(manifests))
    print_failures(item.result for item in reviewed)
    for item in _not_evaluated(read):
        print(f"swr-trust: {_explain(item)}", file=sys.stderr)
    if not manifests and not _not_evaluated(read):
        what = "no Kubernetes object was found" if not read else "no object with images was found"
        print(f"swr-trust: {what}", file=sys.stderr)
    code = _exit_code(reviewed, fail_on)
    if any(isinstance(item, Unreadable) for item in read) or (not read and not allow_empty):
        return EXIT_USAGE
    if any(isinstance(item, UnknownKind) for item in read) and not allow_unjudged:
        return code or EXIT_UNKNOWN
    return code


def _not_evaluated(read: Sequence[Read]) -> list[Unreadable | UnknownKind]:
    return [item for item in read if not isinstance(item, (Manifest, WithoutImages))]


def _explain(item: Unreadable | UnknownKind) -> str:
    if isinstance(item, Unreadable):
        return item.problem
    named = f"{item.kind}/{item.name}" if item.name else item.kind
    return (
        f"{item.file}:{item.line}: {named} is not evaluated: the webhook does not know its kind. "
        "Its Pods are evaluated when they are created"
    )


def review(manifests: Sequence[Manifest], evaluator: Evaluator, namespace: str) -> list[ReviewedUse]:
    """Evaluate each manifest in its namespace, or in ``namespace`` if it names none."""
    reviewed: list[ReviewedUse] = []
    for manifest in manifests:
        context = (manifest.namespace or namespace, Deadline.after(OBJECT_TIMEOUT), time.time())
        results = evaluator.evaluate(manifest.uses, *context)
        pins = choose_pins(evaluator, results, *context)
        reviewed += [
            ReviewedUse(manifest, line, item, pin.digest if pin is not None else None)
            for line, item, pin in zip(manifest.lines, results, pins, strict=True)
        ]
    return reviewed


def _exit_code(reviewed: Sequence[ReviewedUse], fail_on: str) -> int:
    if fail_on == "never":
        return EXIT_OK
    return exit_code_of(item.result for item in reviewed if fail_on == "refused" or item.is_enforced)


def _row(item: ReviewedUse, messages: Messages) -> dict[str, object]:
    check = item.result.check
    return {
        "file": item.manifest.file,
        "line": item.line,
        "kind": item.manifest.kind,
        "name": item.manifest.name,
        "namespace": item.manifest.namespace,
        "field": item.result.use.field,
        "image": item.result.use.image,
        "finding": check.finding.value,
        "reason": check.reason,
        "refused": item.result.would_deny,
        "mode": item.result.mode.value,
        "message": messages.describe(item.result),
        "advice": messages.advise(item.result),
        "pinned": item.pinned,
        "signers": list(item.result.check.signers),
    }


def _advised(item: ReviewedUse, messages: Messages) -> str:
    """Return the message of an image and, if it is denied, what to do."""
    if is_reported(item):
        return messages.describe_with_advice(item.result)
    return messages.describe_found(item.result, shorten(item.pinned) if item.pinned is not None else None)


def _print(reviewed: Sequence[ReviewedUse], messages: Messages, objects: int) -> None:
    rows = [
        (
            f"{item.manifest.file}:{item.line}",
            f"{item.manifest.kind}/{item.manifest.name}",
            item.result.use.image,
            item.result.check.finding.value,
            _advised(item, messages),
        )
        for item in reviewed
    ]
    if rows:
        print_table(("WHERE", "OBJECT", "IMAGE", "FINDING", "MESSAGE"), rows)
    denied = sum(item.result.would_deny for item in reviewed)
    summary = f"{len(reviewed)} image(s) in {objects} object(s), {denied} denied"
    print(summary if sys.stdout.isatty() else f"\n{summary}")

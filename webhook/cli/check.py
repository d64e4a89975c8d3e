"""``swr-trust check``: look up images in SWR and evaluate them against the policy."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from typing import Final

import click

from webhook.admission.decision import ImageResult
from webhook.admission.evaluator import Evaluator
from webhook.admission.extraction import ImageUse
from webhook.admission.messages import Messages
from webhook.app.trust_service import open_lookup
from webhook.cli.command import Command
from webhook.cli.options import config_option, namespace_option, output_option
from webhook.cli.rendering import exit_code_of, print_failures, print_json, print_table, shorten
from webhook.cli.signatures import explain_signatures, required_row, signature_row
from webhook.deadlines import Deadline
from webhook.policy.loading import load_policy
from webhook.policy.model import Policy
from webhook.registries import Registry
from webhook.trust.records import TrustRecord, TrustStatus

TIMEOUT: Final = 30.0
"""Seconds for all images together."""


@click.command(
    cls=Command,
    examples=[
        "swr-trust check --config policy.yaml \\",
        "    swr.cn-north-4.myhuaweicloud.com/shop/web:1.0",
        "swr-trust check --config policy.yaml -n shop -o json IMAGE IMAGE",
    ],
)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@config_option
@namespace_option(default="default", help="Namespace whose rules and exemptions apply.")
@output_option("table", "json")
def command(images: tuple[str, ...], config: str, namespace: str, output: str) -> int:
    """Look up images in SWR.

    Evaluates each IMAGE against the policy, as a container of a Pod in the namespace.
    """
    policy = load_policy(config)
    uses = [
        ImageUse(f"arguments[{index}]", ("arguments", str(index)), image, "Always")
        for index, image in enumerate(images)
    ]
    evaluator = Evaluator(policy, open_lookup(policy), before_pinning=True)
    results = evaluator.evaluate(uses, namespace, Deadline.after(TIMEOUT), time.time())
    messages = evaluator.messages
    if output == "json":
        print_json([_row(item, messages, policy) for item in results])
    else:
        _print(results, messages, policy)
    print_failures(results)
    return exit_code_of(results)


def _registry_of(item: ImageResult, policy: Policy) -> Registry | None:
    return policy.registries.find(item.reference) if item.reference is not None else None


def _print(results: Sequence[ImageResult], messages: Messages, policy: Policy) -> None:
    are_signed = any(item.check.signature is not None for item in results)
    rows = []
    for item in results:
        record = item.check.record
        rows.append(
            (
                item.use.image,
                item.check.finding.value,
                *([", ".join(item.check.signers) or "-"] if are_signed else []),
                shorten((record.digest if record is not None else None) or "-"),
                (record.updated if record is not None else None) or "-",
                messages.describe(item),
            )
        )
    columns = ("IMAGE", "FINDING", *(["SIGNED BY"] if are_signed else []), "DIGEST", "UPDATED", "MESSAGE")
    print_table(columns, rows)
    explained = [
        line for item in results for line in explain_signatures(item, messages, _registry_of(item, policy))
    ]
    if explained:
        print()
    for line in explained:
        print(line)


def _row(item: ImageResult, messages: Messages, policy: Policy) -> dict[str, object]:
    check = item.check
    record = check.record
    registry = _registry_of(item, policy)
    row: dict[str, object] = {
        "image": item.use.image,
        "reference": str(item.reference) if item.reference is not None else None,
        "finding": check.finding.value,
        "reason": check.reason,
        "refused": item.would_deny,
        "mode": item.mode.value,
        "rule": item.rule.name if item.rule is not None else None,
        "exemption": item.exemption.name if item.exemption is not None else None,
        "message": messages.describe(item),
        "advice": messages.advise(item),
        "detail": check.failure.detail if check.failure is not None else None,
        "evidence": registry.evidence.value if registry is not None else None,
        "required": required_row(registry),
        "signature": signature_row(item.check.signature),
    }
    if record is not None:
        fetched = dt.datetime.fromtimestamp(record.fetched_at, dt.UTC)
        row |= {
            "digest": record.digest,
            "tags": list(record.tags),
            "created": record.created,
            "updated": record.updated,
            "marked": record.is_marked if record.signature is not None else _is_marked(record),
            "asked": fetched.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
    return row


def _is_marked(record: TrustRecord) -> bool | None:
    """Return what the tag detail says, where no signature was looked at; ``None`` if the tag is missing."""
    return None if record.status is TrustStatus.MISSING else record.status is TrustStatus.TRUSTED

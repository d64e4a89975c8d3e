"""``swr-trust check``: what SWR and the policy say about images."""

from __future__ import annotations

import argparse
import datetime as dt
import time
from typing import Final

from webhook.admission.decision import JudgedUse
from webhook.admission.judging import Judge
from webhook.admission.messages import Messages
from webhook.admission.uses import ImageUse
from webhook.app.trust_service import open_lookup
from webhook.cli.exit_codes import exit_code_of
from webhook.cli.rendering import print_failures, print_json, print_table
from webhook.deadlines import Deadline
from webhook.policy.loading import load_policy

TIMEOUT: Final = 30.0
"""Seconds for all images together."""


def run(options: argparse.Namespace) -> int:
    """Judge ``options.images`` as containers of a Pod in ``options.namespace``."""
    policy = load_policy(options.config)
    uses = [
        ImageUse(f"arguments[{index}]", ("arguments", str(index)), image, "Always")
        for index, image in enumerate(options.images)
    ]
    judge = Judge(policy, open_lookup(policy))
    judged = judge.judge(uses, options.namespace, Deadline.after(TIMEOUT), time.time())
    messages = Messages(policy)
    if options.output == "json":
        print_json([_row(item, messages) for item in judged])
    else:
        print_table(
            ("IMAGE", "FINDING", "DIGEST", "UPDATED", "MESSAGE"),
            [
                (
                    item.use.image,
                    item.judgement.finding.value,
                    _short(item),
                    (item.judgement.record.updated if item.judgement.record is not None else None) or "-",
                    messages.describe(item),
                )
                for item in judged
            ],
        )
    print_failures(judged)
    return exit_code_of(judged)


def _short(item: JudgedUse) -> str:
    record = item.judgement.record
    return record.digest[: len("sha256:") + 12] if record is not None and record.digest else "-"


def _row(item: JudgedUse, messages: Messages) -> dict[str, object]:
    judgement = item.judgement
    record = judgement.record
    row: dict[str, object] = {
        "image": item.use.image,
        "reference": str(item.reference) if item.reference is not None else None,
        "finding": judgement.finding.value,
        "reason": judgement.reason,
        "refused": item.refused,
        "mode": item.mode.value,
        "rule": item.rule.name if item.rule is not None else None,
        "exemption": item.exemption.name if item.exemption is not None else None,
        "message": messages.describe(item),
        "advice": messages.advise(item),
        "detail": judgement.failure.detail if judgement.failure is not None else None,
    }
    if record is not None:
        asked = dt.datetime.fromtimestamp(record.fetched_at, dt.UTC)
        row |= {
            "digest": record.digest,
            "tags": list(record.tags),
            "created": record.created,
            "updated": record.updated,
            "asked": asked.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
    return row

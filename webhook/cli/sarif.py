"""SARIF 2.1.0: findings at their lines, for code hosts.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from webhook import __version__
from webhook.admission.decision import Effect
from webhook.admission.messages import Messages, printable
from webhook.cli.manifests import ReviewedUse
from webhook.policy.findings import Finding

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
HOME: Final = "https://github.com/swr-trust/swr-trust-webhook"
MAX_IMAGE: Final = 300

STDIN: Final = "stdin"
"""Location of standard input, because it must be a URI and cannot be ``-``."""

_RULES: Final = {
    Finding.UNTRUSTED: (
        "ImageUntrusted",
        "The image does not have the evidence that its registry requires: a mark of SWR, or signatures.",
        "Mark the tag as trusted in SWR, or sign the image, as the finding says; or use a trusted tag.",
    ),
    Finding.MISSING: (
        "ImageMissing",
        "The image's tag does not exist in SWR.",
        "Push the image to SWR, or correct its organization, name and tag.",
    ),
    Finding.DIGEST_MISMATCH: (
        "DigestMismatch",
        "The pinned digest differs from the digest of the tag in SWR.",
        "Pin the digest that SWR shows for the tag. If you did not push it again, find out who replaced it.",
    ),
    Finding.INVALID: (
        "ImageInvalid",
        "The image is not a valid reference.",
        "Write the image as host/organization/name:tag, and as the rule of its namespace requires.",
    ),
    Finding.UNMANAGED: (
        "RegistryUnmanaged",
        "The image's registry is not allowed in the cluster.",
        "Push the image to a registry of the policy, and use it from there.",
    ),
    Finding.UNKNOWN: (
        "TrustUnknown",
        "SWR could not be queried about the image.",
        "Run the review again. If the problem persists, contact your cluster administrators.",
    ),
}
_INDEX: Final = {finding: index for index, finding in enumerate(_RULES)}


def build_sarif(
    reviewed: Sequence[ReviewedUse], messages: Messages, not_evaluated: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a SARIF log of the images that are denied or cause a warning.

    The level is ``error`` if the policy's current mode denies the image, ``warning`` if mode ``enforce``
    would, else ``note``. Fingerprints do not contain the line, so that a finding stays the same when it
    moves in its file. ``not_evaluated`` are sentences about objects that could not be evaluated.
    """
    driver = {
        "name": "swr-trust",
        "informationUri": HOME,
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(finding) for finding in _RULES],
    }
    results = [_result(item, messages) for item in reviewed if is_reported(item)]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    if not_evaluated:
        notes = [{"level": "error", "message": {"text": text}} for text in not_evaluated]
        run["invocations"] = [{"executionSuccessful": False, "toolExecutionNotifications": notes}]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def is_reported(item: ReviewedUse) -> bool:
    """Whether a reviewed use is denied or causes a warning."""
    return item.result.would_deny or item.result.effect is not Effect.ALLOW


def _rule(finding: Finding) -> dict[str, Any]:
    name, text, help_text = _RULES[finding]
    uri = f"{HOME}/blob/main/docs/runbook.md#findings"
    return {
        "id": f"swr-trust/{finding.value}",
        "name": name,
        "shortDescription": {"text": text},
        "fullDescription": {"text": text},
        "help": {"text": help_text, "markdown": f"{help_text} See the [runbook]({uri})."},
        "helpUri": uri,
        "defaultConfiguration": {"level": "error"},
    }


def _result(item: ReviewedUse, messages: Messages) -> dict[str, Any]:
    result, manifest = item.result, item.manifest
    finding = result.check.finding
    image = printable(result.use.image, MAX_IMAGE)
    text = f'{result.use.field} "{image}": {messages.describe(result)}.'
    advice = messages.advise(result)
    where = f"{manifest.file}\n{manifest.kind}\n{manifest.namespace}\n{manifest.name}"
    identity = f"{where}\n{result.use.field}\n{result.use.image}"
    level = "note"
    if result.would_deny:
        level = "error" if item.is_enforced else "warning"
    return {
        "ruleId": f"swr-trust/{finding.value}",
        "ruleIndex": _INDEX[finding],
        "level": level,
        "message": {"text": f"{text} {advice}" if advice else text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(manifest.file)},
                    "region": {"startLine": item.line},
                },
                "logicalLocations": [
                    {"fullyQualifiedName": f"{manifest.kind}/{manifest.name}.{result.use.field}"}
                ],
            }
        ],
        "partialFingerprints": {"imageUse/v1": hashlib.sha256(identity.encode()).hexdigest()},
    }


def _uri(file: str) -> str:
    if file == "<stdin>":
        return STDIN
    prefix = "file://" if file.startswith("/") else ""
    return prefix + quote(file.removeprefix("./"))

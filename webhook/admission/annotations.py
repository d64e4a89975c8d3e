"""Audit annotations: the record of a decision in the API server's audit log.

kube-apiserver prefixes each key with the webhook's name. The keys are stable:

- ``decision``: ``allow``, ``audit``, ``warn``, ``deny`` or ``error``.
- ``mode``: the strictest mode that applied to an image of the request.
- ``policy``: the version of the policy that was applied.
- ``rule``: the names of the rules that applied.
- ``findings``: a JSON list with field, image, finding and, if set, reason, digest, origin, exemption and
  signers, the names of the keys that signed the digest. The configuration limits their number and length.
  It has at most ``MAX_FINDINGS`` images; the number of the others follows.
- ``break-glass``: the reason that an authorized user gave.
- ``error``: why the images could not be evaluated: ``unknown-kind``, ``unreadable``, ``too-many-images``,
  ``busy`` or ``crash``.
- ``mirror-pod``: ``true`` for the mirror of a static Pod, which the kubelet already runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from webhook.admission.decision import Effect, ImageResult
from webhook.policy.findings import Mode
from webhook.policy.model import STRICTEST_FIRST, Policy
from webhook.trust.lookup import Origin

MAX_FINDINGS: Final = 20
MAX_IMAGE_LENGTH: Final = 300


class _Finding(msgspec.Struct, omit_defaults=True, gc=False):
    field: str
    image: str
    finding: str
    reason: str = ""
    digest: str = ""
    origin: str = ""
    exemption: str = ""
    signers: tuple[str, ...] = ()


_encoder: Final = msgspec.json.Encoder()


def annotate(
    policy: Policy,
    effect: Effect,
    results: Sequence[ImageResult],
    *,
    break_glass: str | None = None,
    error: str = "",
    mode: Mode | None = None,
    mirror: bool = False,
) -> dict[str, str]:
    """Return the audit annotations of one decision; their sizes are limited.

    ``mode`` applies if no image was evaluated; by default it is the policy's.
    """
    modes = {item.mode for item in results} or {mode or policy.mode}
    (strictest, *_) = [mode for mode in STRICTEST_FIRST if mode in modes]
    annotations = {"decision": effect.decision_label, "mode": str(strictest), "policy": policy.version}
    rules = {item.rule.name: None for item in results if item.rule is not None}
    if rules:
        annotations["rule"] = ", ".join(list(rules)[:MAX_FINDINGS])
    if results:
        annotations["findings"] = list_images(list(map(_finding, results[:MAX_FINDINGS])), len(results))
    if break_glass is not None:
        annotations["break-glass"] = break_glass
    if error:
        annotations["error"] = error
    if mirror:
        annotations["mirror-pod"] = "true"
    return annotations


def list_images(listed: Sequence[msgspec.Struct], count: int) -> str:
    """Return images as a JSON list, followed by the number of the others of ``count``."""
    text = _encoder.encode(listed).decode()
    more = count - len(listed)
    return text if not more else f"{text} and {more} more"


def _finding(item: ImageResult) -> _Finding:
    check = item.check
    record = check.record
    return _Finding(
        field=item.use.field,
        image=item.use.image[:MAX_IMAGE_LENGTH],
        finding=str(check.finding),
        reason=check.reason,
        digest=(record.digest or "") if record is not None else "",
        origin="stale" if check.origin is Origin.STALE else "",
        exemption=item.exemption.name if item.exemption is not None else "",
        signers=check.signers,
    )

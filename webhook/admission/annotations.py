"""Audit annotations: what the API server's audit log keeps of a decision.

kube-apiserver puts the webhook's name in front of each key. The keys are stable:

- ``decision``: ``allow``, ``audit``, ``warn``, ``deny`` or ``error``;
- ``mode``: the strictest mode that applied to an image of the request;
- ``policy``: the version of the policy that decided;
- ``rule``: the names of the rules that applied;
- ``findings``: a JSON list of field, image, finding and, where there are any, reason, digest,
  origin and exemption of each image, at most ``MAX_FINDINGS``, then how many more there were;
- ``break-glass``: the reason that an authorised user gave;
- ``error``: what kept the request from being judged: ``unknown-kind``, ``unreadable``,
  ``too-many-images`` or ``crash``;
- ``mirror-pod``: ``true`` for a static Pod's mirror, which the kubelet runs already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from webhook.admission.decision import JudgedUse, Outcome
from webhook.policy.findings import Mode
from webhook.policy.model import Policy
from webhook.trust.lookup import Origin

MAX_FINDINGS: Final = 20
MAX_IMAGE_LENGTH: Final = 300

_STRICTNESS: Final[Mapping[Mode, int]] = {Mode.AUDIT: 0, Mode.WARN: 1, Mode.ENFORCE: 2}


class _Finding(msgspec.Struct, omit_defaults=True, gc=False):
    field: str
    image: str
    finding: str
    reason: str = ""
    digest: str = ""
    origin: str = ""
    exemption: str = ""


_encoder: Final = msgspec.json.Encoder()


def annotate(
    policy: Policy,
    outcome: Outcome,
    judged: Sequence[JudgedUse],
    *,
    break_glass: str | None = None,
    error: str = "",
    mode: Mode | None = None,
    mirror: bool = False,
) -> dict[str, str]:
    """Return the audit annotations of one decision; sizes are bounded.

    ``mode`` is that of a request without images to be judged; by default the policy's.
    """
    mode = max((item.mode for item in judged), key=_STRICTNESS.__getitem__, default=mode or policy.mode)
    annotations = {"decision": str(outcome), "mode": str(mode), "policy": policy.version}
    rules = dict.fromkeys(item.rule.name for item in judged if item.rule is not None)
    if rules:
        annotations["rule"] = ", ".join(list(rules)[:MAX_FINDINGS])
    if judged:
        annotations["findings"] = _findings(judged)
    if break_glass is not None:
        annotations["break-glass"] = break_glass
    if error:
        annotations["error"] = error
    if mirror:
        annotations["mirror-pod"] = "true"
    return annotations


def _findings(judged: Sequence[JudgedUse]) -> str:
    listed = [_finding(item) for item in judged[:MAX_FINDINGS]]
    text = _encoder.encode(listed).decode()
    more = len(judged) - len(listed)
    return text if not more else f"{text} and {more} more"


def _finding(item: JudgedUse) -> _Finding:
    judgement = item.judgement
    record = judgement.record
    return _Finding(
        field=item.use.field,
        image=item.use.image[:MAX_IMAGE_LENGTH],
        finding=str(judgement.finding),
        reason=judgement.reason,
        digest=(record.digest or "") if record is not None else "",
        origin="stale" if judgement.origin is Origin.STALE else "",
        exemption=item.exemption.name if item.exemption is not None else "",
    )

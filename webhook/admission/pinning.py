"""Pinning: the digest that SWR has for a trusted tag, written into the image of a new Pod.

A tag can be moved between admission and pull, and a node may hold another image under it. A runtime that
receives ``name:tag@digest`` pulls the digest and ignores the tag. ``/mutate`` writes it, and ``/validate``
decides about the result as about any other image (docs/decisions/0020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from webhook.admission.decision import ImageResult
from webhook.admission.evaluator import Evaluator
from webhook.admission.extraction import MAX_IMAGE_LENGTH, ImageUse
from webhook.admission.local_checks import LocalCheck
from webhook.admission.mutation import Pin
from webhook.deadlines import Deadline
from webhook.policy.findings import Finding
from webhook.policy.model import STRICTEST_FIRST

Place = tuple[str, str]
"""``ImageUse.place``"""


def choose_pins(
    evaluator: Evaluator, results: Sequence[ImageResult], namespace: str, deadline: Deadline, now: float
) -> list[Pin | None]:
    """Return for each result the image with its digest, ``None`` if it stays as it is.

    An image is pinned if the policy says so, it has a tag and no digest, it is trusted, and SWR sent a
    digest. The pinned image must also be exempt, or need the same lookup under the rules of the policy, in no
    stricter mode. Otherwise pinning could turn an admitted Pod into a denied one.
    """
    pins = [_with_digest(item) if evaluator.policy.pins(item.rule) else None for item in results]
    uses = [msgspec.structs.replace(pin.use, image=pin.image) for pin in pins if pin is not None]
    checks = iter(evaluator.check_locally(uses, namespace, deadline, now))
    return [
        pin if pin is not None and _is_evaluated_alike(evaluator, item, pin, next(checks)) else None
        for item, pin in zip(results, pins, strict=True)
    ]


def _is_evaluated_alike(evaluator: Evaluator, written: ImageResult, pin: Pin, pinned: LocalCheck) -> bool:
    if pinned.exemption is not None:
        return True
    query = evaluator.parse(pin.use.image).query
    if query is None or pinned.lookup is None or pinned.key != (query.key, pin.digest):
        return False
    # Until /validate evaluates it, the tag may move or lose its trust, or a lookup may fail.
    return STRICTEST_FIRST.index(pinned.mode) >= STRICTEST_FIRST.index(written.mode)


def _with_digest(item: ImageResult) -> Pin | None:
    reference, record = item.reference, item.check.record
    if item.check.finding is not Finding.TRUSTED or reference is None or record is None:
        return None
    if reference.digest is not None or reference.tag is None or record.digest is None:
        return None
    # Trust belongs to a tag: /validate denies a digest without one, or looks for it under every tag.
    implied = "" if item.use.image.endswith(f":{reference.tag}") else f":{reference.tag}"
    return Pin(item.use, f"{item.use.image}{implied}@{record.digest}", signers=record.signers)


def pinned_images(uses: Sequence[ImageUse], old: Mapping[Place, ImageUse]) -> dict[Place, str]:
    """Return the images with a digest that the places of ``uses`` had in the old object.

    A use whose pull policy is changed as well is evaluated in any case. The images are kept during lookups,
    so longer ones than a valid image are left out.
    """
    images: dict[Place, str] = {}
    for use in uses:
        before = old.get(use.place)
        if before is None or before.pull_policy != use.pull_policy:
            continue
        if "@" in before.image and len(before.image) <= MAX_IMAGE_LENGTH and before.image.isascii():
            images[use.place] = before.image
    return images


def find_kept_pins(
    evaluator: Evaluator,
    uses: Sequence[ImageUse],
    before: Mapping[Place, str],
    namespace: str,
    deadline: Deadline,
    now: float,
) -> list[Pin]:
    """Return the pins that an update would lose; ``before`` are the ``pinned_images`` of the old object.

    If a new image is the old one without its digest, the author of the update has not changed it: ``kubectl
    apply`` of an unchanged manifest does this. A new digest would restart the container, and an evaluation
    could deny an update that changes nothing.
    """
    pins = [pin for use in uses if (pin := _keep(evaluator, use, before.get(use.place))) is not None]
    checks = evaluator.check_locally([pin.use for pin in pins], namespace, deadline, now)
    return [pin for pin, local in zip(pins, checks, strict=True) if evaluator.policy.pins(local.rule)]


def _keep(evaluator: Evaluator, use: ImageUse, old: str | None) -> Pin | None:
    if old is None:
        return None
    parsed = evaluator.parse(use.image)
    written, running = parsed.reference, evaluator.parse(old).reference
    if parsed.query is None or written is None or written.digest is not None:
        return None
    if running is None or running.tag is None:
        return None
    return Pin(use, old, is_kept=True) if replace(running, digest=None) == written else None

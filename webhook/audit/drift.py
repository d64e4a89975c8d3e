"""Compares the digest that a node reports with the digest that the Pod pins, and with SWR's."""

from __future__ import annotations

from webhook.admission.decision import ImageResult
from webhook.audit.report import Drift


def find_drift(item: ImageResult, running: str | None) -> Drift | None:
    """Return how a running image differs from the Pod or from SWR, ``None`` if it does not.

    ``running`` is the digest that the node reports, ``None`` if it is unknown. Images that are not looked
    up are not compared, because their content was not evaluated. A pinned digest is compared without SWR's
    answer.
    """
    check, reference = item.check, item.reference
    if running is None or reference is None or (check.record is None and check.failure is None):
        return None
    if reference.digest is not None and running != reference.digest:
        return Drift.OTHER_THAN_PINNED
    current = current_digest(item)
    if not current or running == current:
        return None
    return Drift.MOVED if reference.digest is None else Drift.SUPERSEDED


def current_digest(item: ImageResult) -> str:
    """Return the digest that SWR has for an image now, ``""`` if it has named none."""
    record = item.check.record
    return (record.digest if record is not None else None) or ""

"""Selection of the images of a request that are evaluated, and the limits of their number."""

from __future__ import annotations

from typing import Final

from webhook.admission.evaluator import FEW
from webhook.admission.extraction import (
    ImageUse,
    TargetKind,
    changed_images,
    count_images,
    extract_images,
    has_same_images,
    shorten,
)
from webhook.admission.request import AdmissionRequest
from webhook.deadlines import Deadline

MAX_IMAGES: Final = 200
"""Images of one request that are evaluated. Pods have a handful; an object of 3 MB can have tens of
thousands, which would block all other requests for seconds."""

MAX_EXTRACTED: Final = 1000
"""Images of one object that are compared to find those that an update adds or changes."""

MAX_AWAITED: Final = 50_000
"""Images of all reviews together above which a review of many images does not wait for lookups. An image
takes 2 KB until its lookup ends and 90 bytes in the body; 1,500 ordinary reviews have some thousands of
images."""


def select_images(request: AdmissionRequest, target: TargetKind) -> tuple[list[ImageUse] | None, int]:
    """Return the image uses that a request adds or changes, at most ``MAX_IMAGES``, and their number.

    The uses are ``None`` if the object has no Pod spec. They are shortened: they are kept during lookups.
    """
    kind, is_update = request.kind.kind, request.operation == "UPDATE"
    count = count_images(target, kind, request.object)
    if count > MAX_EXTRACTED:
        unchanged = is_update and has_same_images(target, kind, request.object, request.old_object)
        return [], 0 if unchanged else count
    uses = extract_images(target, kind, request.object)
    if uses is None:
        return None, 0
    if is_update:
        if count_images(target, kind, request.old_object) > MAX_EXTRACTED:
            request.old_object = None
        uses = changed_images(uses, extract_images(target, kind, request.old_object))
    return [shorten(use) for use in uses[:MAX_IMAGES]], len(uses)


class AwaitedImages:
    """Counts the images of all reviews that wait for lookups; shared by ``/validate`` and ``/mutate``."""

    def __init__(self) -> None:
        """Start with none."""
        self._count = 0

    def enter(self, count: int, deadline: Deadline) -> Deadline:
        """Count the images of one review until ``leave``; return how long it may wait for them.

        A review of many images does not wait if too many images are awaited already.
        """
        self._count += count
        return Deadline.after(0) if count > FEW and self._count > MAX_AWAITED else deadline

    def leave(self, count: int) -> None:
        """Stop counting the images of one review."""
        self._count -= count

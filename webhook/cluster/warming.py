"""What runs already is asked about once after the start, so that the first Pods of a replica need not wait.

Politely: small pages with pauses between them, a bounded number of images, and the calls to SWR go the way
of refreshes, which have a tenth of the rate and never go before a review. Without it, or where it
fails, the first review of an image waits for SWR, as ever.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from webhook.admission.extraction import ImageUse
from webhook.cluster.pods import ReadApi, read_uses
from webhook.errors import ClusterError
from webhook.trust.lookup import LookupRequest
from webhook.trust.records import TrustQuery
from webhook.trust.replication import Key

logger = logging.getLogger(__name__)

PAGE_SIZE: Final = 50
"""Pods of one answer, up to 1 MB: it is decoded at a stretch."""

PAGE_PAUSE: Final = 0.5
"""Seconds between two pages."""

MAX_PAGES: Final = 400
MAX_IMAGES: Final = 1000
"""What is read and asked at most: 20,000 Pods, and as many images as refreshes may wait."""


class WarmUp:
    """Reads the images of running Pods once and has them asked about."""

    def __init__(
        self,
        api: ReadApi,
        question_for: Callable[[str, ImageUse], LookupRequest | None],
        warm: Callable[[Sequence[TrustQuery]], None],
    ) -> None:
        """``question_for`` says what is to be asked about a use in a namespace, if anything."""
        self._api = api
        self._question_for = question_for
        self._warm = warm

    def run(self, stop: threading.Event) -> None:
        """Do it, unless told to stop before the end."""
        seen: set[Key] = set()
        try:
            for count, uses in enumerate(read_uses(self._api, PAGE_SIZE), 1):
                new: list[TrustQuery] = []
                for namespace, use in uses:
                    question = self._question_for(namespace, use)
                    if question is not None and question.query.key not in seen and len(seen) < MAX_IMAGES:
                        seen.add(question.query.key)
                        new.append(question.query)
                self._warm(new)
                if count >= MAX_PAGES or len(seen) >= MAX_IMAGES or stop.wait(PAGE_PAUSE):
                    break
        except ClusterError as error:
            logger.warning("running Pods could not be read to warm up: %s", error)
        logger.info("images of running Pods are asked about", extra={"images": len(seen)})

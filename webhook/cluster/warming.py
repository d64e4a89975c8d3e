"""Optional cache warm-up after start.

Lists running Pods in small pages and queues background lookups for their images. Background lookups have 10 %
of the rate limit and never precede a review's. If the warm-up fails, the first review of an image waits for
SWR.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from webhook.admission.extraction import ImageUse
from webhook.cluster.client import ReadApi
from webhook.cluster.pods import read_uses
from webhook.errors import ClusterError
from webhook.trust.lookup import LookupRequest
from webhook.trust.records import TrustQuery
from webhook.trust.replication import Key

logger = logging.getLogger(__name__)

PAGE_SIZE: Final = 50
"""Pods of one page, up to 1 MB, which is decoded without a pause."""

PAGE_PAUSE: Final = 0.5
"""Seconds between two pages."""

MAX_PAGES: Final = 400
MAX_IMAGES: Final = 1000
"""Limits: 20,000 Pods, and as many images as background lookups may be queued."""


@dataclass(frozen=True, slots=True, repr=False)
class WarmUp:
    """Reads the images of running Pods once and queues lookups for them."""

    api: ReadApi
    request_for: Callable[[str, ImageUse], LookupRequest | None]
    """Returns the lookup for a use in a namespace, if one is needed."""
    warm: Callable[[Sequence[TrustQuery]], None]

    def run(self, stop: threading.Event) -> None:
        """Warm up, until done or ``stop`` is set."""
        seen: set[Key] = set()
        try:
            for count, uses in enumerate(read_uses(self.api, PAGE_SIZE), 1):
                new: list[TrustQuery] = []
                for namespace, use in uses:
                    request = self.request_for(namespace, use)
                    if request is not None and request.query.key not in seen and len(seen) < MAX_IMAGES:
                        seen.add(request.query.key)
                        new.append(request.query)
                self.warm(new)
                if count >= MAX_PAGES or len(seen) >= MAX_IMAGES or stop.wait(PAGE_PAUSE):
                    break
        except ClusterError as error:
            logger.warning("running Pods could not be read to warm up: %s", error)
        logger.info("lookups of running images are queued", extra={"images": len(seen)})

"""Finds a few images of running Pods, on which ``swr-trust doctor`` tries out its registries."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NoReturn

from webhook.admission.evaluator import Evaluator
from webhook.audit.scanning import EXCLUDED
from webhook.cluster.client import ReadApi
from webhook.cluster.pods import read_uses
from webhook.deadlines import Deadline
from webhook.errors import ClusterError
from webhook.policy.model import Policy
from webhook.trust.lookup import LookupRequest, LookupResult
from webhook.trust.records import TrustQuery

PAGE_SIZE: Final = 100
"""Pods that are read."""

MAX_IMAGES: Final = 5
"""Images of each registry."""


class _NoAnswers:
    """Implements ``TrustAnswers`` for local checks, which look up nothing."""

    def look_up(self, requests: Sequence[LookupRequest], deadline: Deadline) -> list[LookupResult]:
        del requests, deadline
        _fail()


def _fail() -> NoReturn:
    raise AssertionError("local checks look up nothing")


def find_running(policy: Policy, api: ReadApi) -> dict[str, list[TrustQuery]]:
    """Return queries about images of running Pods, by ``Registry.key``: those that a review would look up.

    It is empty if Pods cannot be listed.
    """
    evaluator = Evaluator(policy, _NoAnswers())
    found: dict[str, list[TrustQuery]] = {}
    try:
        uses = next(read_uses(api, PAGE_SIZE), [])
    except ClusterError:
        return found
    for namespace, use in uses:
        request = evaluator.lookup_request_for(use, namespace, time.time())
        if namespace in EXCLUDED or request is None:
            continue
        known = found.setdefault(request.query.registry.key, [])
        if request.query not in known and len(known) < MAX_IMAGES:
            known.append(request.query)
    return found

"""Lookup of tags in tag lists, for registries that do not offer the call for one tag (ShowRepoTag).

In some regions the API gateway does not publish that call and responds 404 ``APIGW.0101`` to it. The tag list
(SWR API Reference, Listing Image Tags, v3) is published and has the same fields. A wrong endpoint responds
404 ``APIGW.0101`` to every call: only if the list works, the call for one tag is missing.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Final

from webhook.http_client.messages import HttpRequest, HttpResponse
from webhook.recorder import Recorder
from webhook.registries import Registry
from webhook.swr.answers import read_listed_tag
from webhook.swr.naming import repository_path
from webhook.swr.tag_lists import MAX_PAGE, MAX_PAGES, PAGE_SIZE, follow_markers
from webhook.trust.records import TrustQuery, TrustRecord, TrustStatus

RETRY_SECONDS: Final = 3600.0
"""Seconds for which tag lists are used before the call for one tag is tried again."""

PROBE: Final = "swr-trust-probe"
"""Prefix of organization and repository of control requests. They need not exist, because any response
counts. A random number follows, so that an attacker can neither push a slow image under that name nor own the
organization."""

NO_IMAGE: Final = ""
"""In place of the organization of an image, if a control request is not sent beside a call about one."""

logger = logging.getLogger(__name__)


class TagDetail:
    """Records whether a registry offers the call for one tag."""

    def __init__(
        self, registry: Registry, recorder: Recorder, clock: Callable[[], float] | None = None
    ) -> None:
        """Assume that it does. ``clock`` is in monotonic seconds."""
        self._registry = registry
        self._recorder = recorder
        self._clock = clock if clock is not None else time.monotonic
        self._lock = threading.Lock()
        self._missing = False
        self._retry_at = float("-inf")

    @property
    def is_missing(self) -> bool:
        """Whether the registry was last seen not to offer it."""
        return self._missing

    @property
    def is_due(self) -> bool:
        """Whether to make the call: it is offered, or was not tried for ``RETRY_SECONDS``."""
        return not self._missing or self._clock() >= self._retry_at

    def record_missing(self) -> None:
        """Record that the registry does not offer the call, and offers the tag list."""
        with self._lock:
            self._retry_at = self._clock() + RETRY_SECONDS
            changed, self._missing = not self._missing, True
        if changed:
            self._recorder.tag_source_changed(self._registry.name, "list")
            logger.warning(
                "%s does not offer the call for one tag (404 APIGW.0101): tag lists are used instead, "
                "which need the action swr:repo:listRepoTags",
                self._registry.name,
            )

    def record_offered(self) -> None:
        """Record that SWR offers the call."""
        if not self._missing:
            return
        with self._lock:
            changed, self._missing = self._missing, False
        if changed:
            self._recorder.tag_source_changed(self._registry.name, "tag")
            logger.warning("%s offers the call for one tag again", self._registry.name)

    def make_control(self, organization: str | None = None) -> HttpRequest:
        """Return the call for one tag of a random image.

        Its organization is random, too. If ``organization`` is given and the policy names others, it is one
        of them, because the credential may not read a random one.
        """
        path = f"/v2{repository_path(self.other_than(organization), make_probe_name())}/tags/none"
        return HttpRequest("GET", self._registry.endpoint, path)

    def make_list_control(self, organization: str | None = None) -> HttpRequest:
        """Return the call for the tag list of a random repository; see ``make_control``."""
        path = f"/v3{repository_path(self.other_than(organization), make_probe_name())}/tags"
        return HttpRequest("GET", self._registry.endpoint, path, (("limit", "1"),))

    def other_than(self, organization: str | None) -> str:
        """Return an organization of the policy other than this one, or this one if there is no other.

        For ``None``, or if the policy names none, return a random one.
        """
        own = self._registry.organizations
        if organization is None or not own:
            return make_probe_name()
        return next((name for name in sorted(own) if name != organization), organization)


def make_probe_name() -> str:
    """Return a random name that cannot be guessed."""
    return f"{PROBE}-{secrets.token_hex(8)}"


def find_in_list(
    query: TrustQuery,
    endpoint: str,
    read: Callable[[HttpRequest, bool], HttpResponse],
    clock: Callable[[], float],
) -> TrustRecord:
    """Return the record of the tag of ``query`` from the tag list of its repository.

    ``read`` sends a request; its second argument is whether it is for the first page. The list is filtered by
    ``tag``, which SWR compares loosely, so names are compared here. The tag is missing only if the complete
    list does not contain it.

    Raises:
        TrustLookupError: the tag was not found, and the list could not be read completely.
    """
    assert query.tag is not None
    path = f"/v3{repository_path(query.organization, query.repository)}/tags"
    filtered = (("limit", str(PAGE_SIZE)), ("tag", query.tag))

    def fetch(marker: str | None) -> tuple[tuple[TrustRecord | None, float], str | None]:
        parameters = filtered if marker is None else (*filtered, ("marker", marker))
        now = clock()
        response = read(HttpRequest("GET", endpoint, path, parameters, max_answer=MAX_PAGE), marker is None)
        record, following = read_listed_tag(response, query, now)
        return (record, now), following

    too_long = f"more than {MAX_PAGES * PAGE_SIZE} tags of the repository are named like this one"
    times: list[float] = []
    for record, now in follow_markers(fetch, too_long):
        if record is not None:
            return record
        times.append(now)
    return TrustRecord(TrustStatus.MISSING, times[0])

"""Client of SWR's API for one registry: details of tags and tag lists."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from webhook.deadlines import Deadline
from webhook.errors import (
    Fault,
    Forbidden,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    TrustLookupError,
    Unauthorized,
)
from webhook.http_client.messages import Credential, HttpRequest, HttpResponse, Transport
from webhook.http_client.statuses import OK, REQUEST_TIMEOUT, SERVER_ERRORS
from webhook.recorder import Recorder
from webhook.registries import Registry
from webhook.swr.answers import (
    ListedTag,
    TagPage,
    is_unauthorized,
    is_unpublished,
    names_credential,
    read_error,
    read_page,
    read_tag,
    shows_acceptance,
)
from webhook.swr.calls import Calls
from webhook.swr.fallback import TagDetail, find_in_list
from webhook.swr.naming import repository_path
from webhook.swr.organizations import Organizations
from webhook.swr.tag_lists import MAX_PAGE, MAX_PAGES, PAGE_SIZE, TagList, TagLists, follow_markers
from webhook.trust.records import CallLimiter, TrustQuery, TrustRecord, TrustStatus

MAX_NAMED: Final = 10
"""Tags of a digest in a record."""


class SwrClient:
    """Looks up images in one registry."""

    def __init__(
        self,
        registry: Registry,
        transport: Transport,
        credential: Credential,
        recorder: Recorder,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Call ``registry`` over ``transport`` with ``credential``; ``clock`` is in epoch seconds."""
        self._registry = registry
        self._transport = transport
        self._credential = credential
        self._clock = clock
        self._lists = TagLists()
        self._organizations = Organizations()
        self._detail = TagDetail(registry, recorder)
        self._calls = Calls(registry, transport, credential, recorder, self._detail)

    def preconnect(self, deadline: Deadline, call_limiter: CallLimiter) -> None:
        """Connect, and try the credential, so that the first lookup need not.

        Raises:
            TrustLookupError: SWR does not answer, or does not accept the credential.
        """
        self._calls.try_credential(deadline, call_limiter)

    def show_tag(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        """Return the record of a tag (SWR API Reference, Querying an Image Tag).

        Raises:
            TrustLookupError: there is none.
        """
        assert query.tag is not None
        path = f"/v2{repository_path(query.organization, query.repository)}/tags/{quote(query.tag, safe='')}"
        request = HttpRequest("GET", self._registry.endpoint, path)
        if not self._detail.is_due:
            return self._find_in_list(query, deadline, call_limiter)
        sent_at = self._clock()
        try:
            response = self._get(request, query.organization, deadline, call_limiter)
            if not is_unpublished(response):
                record = read_tag(response, query, sent_at)
                self._detail.record_offered()
                return record
        except RegistryUnavailable as error:
            raise self._calls.compare(error, deadline, call_limiter) from None
        # The list comes first: if the endpoint is wrong, it fails.
        try:
            record = self._find_in_list(query, deadline, call_limiter)
        except Forbidden:
            self._confirm_missing(query, deadline, call_limiter)
            raise
        self._confirm_missing(query, deadline, call_limiter)
        return record

    def _confirm_missing(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> None:
        """Record that the call for one tag is missing, if a control request confirms it.

        Raises:
            MalformedAnswer: it does not: the gateway rejects the path of this image only.
        """
        control = self._detail.make_control(query.organization)
        if not is_unpublished(self._calls.send_control(control, deadline, call_limiter)):
            detail = "the API gateway answers 404 APIGW.0101 about this image, and not about others"
            raise MalformedAnswer(detail)
        self._detail.record_missing()

    @property
    def uses_tag_list(self) -> bool:
        """Whether tags are looked up in tag lists (``webhook.swr.fallback``)."""
        return self._detail.is_missing

    @property
    def answered_at(self) -> float | None:
        """When the registry last answered 200 or 404, in epoch seconds."""
        return self._calls.answered_at

    @property
    def ca_file_problem(self) -> str:
        """Why the content of the CA file is not the one in use, empty if it is."""
        return self._transport.ca_file_problem

    @property
    def credential_paused_for(self) -> float:
        """The seconds for which the credential is paused after a failed authentication, 0.0 if it is not."""
        return self._credential.paused_for

    def _find_in_list(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        def read(request: HttpRequest, first: bool) -> HttpResponse:  # noqa: FBT001 - see find_in_list
            return self._get_page(request, query.organization, deadline, call_limiter, first=first)

        try:
            return find_in_list(query, self._registry.endpoint, read, self._clock)
        except Forbidden as error:
            detail = f"{error.detail} (to the tag list: the registry does not offer the call for one tag)"
            raise Forbidden(detail) from None
        except RegistryUnavailable as error:
            raise self._calls.compare(error, deadline, call_limiter, of_list=True) from None

    def find_digest(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
        """Return the record of a digest, from the complete tag list.

        It is trusted only if at least one tag has the digest, and all tags that have it are trusted.

        Raises:
            TrustLookupError: the list could not be read completely.
        """
        assert query.digest is not None
        repository = (query.organization, query.repository)

        def read() -> TagList:
            try:
                return self._read_list(query, deadline, call_limiter)
            except RegistryUnavailable as error:
                raise self._calls.compare(error, deadline, call_limiter, of_list=True) from None

        found = self._lists.get(repository, deadline, read)
        holders = found.holders.get(query.digest, ())
        if not holders:
            return TrustRecord(TrustStatus.MISSING, found.read_at)
        trusted = all(tag.trusted for tag in holders)
        return TrustRecord(
            TrustStatus.TRUSTED if trusted else TrustStatus.UNTRUSTED,
            found.read_at,
            query.digest,
            tags=tuple(tag.tag for tag in holders[:MAX_NAMED]),
        )

    def _read_list(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TagList:
        """Read the complete tag list of a repository; a missing repository has no tags.

        It uses the markers of API v3, because offsets (v2) shift while tags are pushed, so that an untrusted
        tag could be missed. The list is as old as the request for its first page.
        """
        path = f"/v3{repository_path(query.organization, query.repository)}/tags"
        holders: dict[str, list[ListedTag]] = {}

        def fetch(marker: str | None) -> tuple[tuple[TagPage | TrustRecord, float], str | None]:
            parameters = [("limit", str(PAGE_SIZE))]
            if marker is not None:
                parameters.append(("marker", marker))
            request = HttpRequest(
                "GET", self._registry.endpoint, path, tuple(parameters), max_answer=MAX_PAGE
            )
            now = self._clock()
            response = self._get_page(
                request, query.organization, deadline, call_limiter, first=marker is None
            )
            page = read_page(response, now)
            return (page, now), page.marker if isinstance(page, TagPage) else None

        times: list[float] = []
        too_long = f"the repository has more than {MAX_PAGES * PAGE_SIZE} tags; name a tag"
        for page, now in follow_markers(fetch, too_long):
            if isinstance(page, TrustRecord):
                return TagList(page.fetched_at, {})
            times.append(now)
            for tag in page.tags:
                if tag.digest is not None:
                    holders.setdefault(tag.digest, []).append(tag)
        return TagList(times[0], holders)

    def _get_page(
        self,
        request: HttpRequest,
        organization: str,
        deadline: Deadline,
        call_limiter: CallLimiter,
        *,
        first: bool,
    ) -> HttpResponse:
        """Send the request for one page of a list.

        The time of a list, and whether SWR fails on it, depend on the repository, which the author of a Pod
        chooses. So only the timeout of a first page may be the registry's fault.
        """
        try:
            response = self._get(request, organization, deadline, call_limiter)
        except LookupTimeout:
            if first:
                raise
            detail = "SWR did not list all tags of the repository in time"
            raise LookupTimeout(detail, fault=Fault.IMAGE) from None
        if response.status in SERVER_ERRORS or response.status == REQUEST_TIMEOUT:
            detail = f"SWR answered {response.status} to the list of the repository's tags"
            raise RegistryUnavailable(detail, fault=Fault.IMAGE)
        return response

    def _get(
        self, request: HttpRequest, organization: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> HttpResponse:
        """Send an authorized request; after a 401 at most once more, with a fresh secret.

        Raises:
            Forbidden: SWR refuses the credential for this organization and accepts it for others.
            TrustLookupError: there was no response.
        """
        again = True
        while True:
            authorized, generation = self._calls.authorize(request, deadline, call_limiter)
            is_reported = False
            unanswered: LookupTimeout | None = None
            try:
                if self._organizations.is_refused(organization, generation):
                    raise Forbidden(f"SWR recently refused the credential for organization {organization}")
                response = self._calls.send(authorized, generation, deadline, call_limiter)
                refused = is_unauthorized(response)
                if refused:
                    fault = self._attribute_refusal(
                        response, organization, generation, deadline, call_limiter
                    )
                    again = self._credential.reject(generation, fault) and again
                    is_reported = True
                    if not again and fault is not Fault.REGISTRY:
                        raise _undecided(response)
                elif shows_acceptance(response):
                    self._credential.accept(generation)
                    is_reported = True
                    if response.status == OK:
                        self._organizations.record_answer(organization, generation, request)
            except LookupTimeout as error:
                unanswered = error
                raise
            finally:
                if not is_reported:
                    self._credential.release(generation, unanswered)
            if not refused or not again:
                return response
            again = False

    def _attribute_refusal(
        self,
        response: HttpResponse,
        organization: str,
        generation: int,
        deadline: Deadline,
        call_limiter: CallLimiter,
    ) -> Fault:
        """Return the fault of a 401 after which the credential is paused.

        It is ``registry`` only if the response names the credential. Any other 401 may be about the image,
        which its author chose. If a control request is refused, too, the credential is paused to be safe:
        more than five failures lock the access key. The fault is then ``local``, so that nothing is admitted.

        Raises:
            Forbidden: the credential is accepted for another organization.
            Unauthorized: that is not known. It is the image's fault: its author chose the organization.
        """
        if names_credential(response):
            return Fault.REGISTRY
        answered = self._organizations.find_control(organization, generation)
        control = answered or self._detail.make_control(organization)
        if not self._organizations.checking.acquire(timeout=deadline.remaining()):
            raise _undecided(response)
        try:
            if not self._organizations.is_refused(organization, generation):
                try:
                    answer = self._calls.send_control(control, deadline, call_limiter, trial=generation)
                except TrustLookupError:
                    raise _undecided(response) from None
                if is_unauthorized(answer):
                    return Fault.REGISTRY if names_credential(answer) else Fault.LOCAL
                if not shows_acceptance(answer):
                    raise _undecided(response)
                if not answered and self._detail.other_than(organization) == organization:
                    raise Forbidden(f"{read_error(response)} about this repository, and not about others")
                self._organizations.record_refusal(organization, generation)
        finally:
            self._organizations.checking.release()
        error = read_error(response)
        raise Forbidden(f"{error} about organization {organization} and accepts the credential for others")


def _undecided(response: HttpResponse) -> Unauthorized:
    return Unauthorized(
        f"{read_error(response)}; whether it is about the credential is not known", fault=Fault.IMAGE
    )

"""Client of one registry: paths, headers, pages, and the handling of a 401."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.builders import registry
from tests.support.fakes import FakeCredential, FakeTransport, RecorderSpy, Turns, free
from tests.support.registries import guarded_token
from tests.support.responses import respond
from webhook.deadlines import Deadline
from webhook.errors import (
    Fault,
    Forbidden,
    InvalidReferenceError,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    Throttled,
    TrustLookupError,
    Unauthorized,
)
from webhook.http_client.messages import HttpRequest, HttpResponse
from webhook.http_client.silence import SAMPLES
from webhook.swr.answers import BLOCKED
from webhook.swr.client import SwrClient
from webhook.swr.fallback import PROBE
from webhook.swr.tag_lists import MAX_PAGES
from webhook.trust.records import TrustQuery, TrustStatus

DIGEST = "sha256:" + "a" * 64


GOOD = respond(200, {"tag": "1.0", "is_trusted": True, "digest": DIGEST})
MISSING = respond(404, {"error_code": "SVCSTG.SWR.4040115"})
UNPUBLISHED = respond(404, {"error_code": "APIGW.0101"})
EXPIRED = respond(401, {"error_code": "SVCSTG.SWR.4010000"})


def client(
    answers: list[HttpResponse | TrustLookupError], *, renewable: bool = False, **changes: Any
) -> tuple[SwrClient, FakeTransport, FakeCredential, RecorderSpy]:
    """Return a client with fakes."""
    transport, credential, notes = FakeTransport(answers), FakeCredential(renewable), RecorderSpy()
    return SwrClient(registry(**changes), transport, credential, notes), transport, credential, notes


def tag_query(repository: str = "tools/web", tag: str = "1.0") -> TrustQuery:
    """Return a query for a tag."""
    return TrustQuery(registry(), "shop", repository, tag=tag)


SOON = Deadline(1e9)


def test_tag_request_follows_api_documentation() -> None:
    """Method, path with ``$`` for ``/``, headers and credential."""
    asked, transport, _, _ = client([GOOD], project_id="p1")
    assert asked.show_tag(tag_query(), SOON, free).status is TrustStatus.TRUSTED
    (request,) = transport.sent
    assert (request.method, request.base_url, request.path) == (
        "GET",
        "https://swr-api.cn-north-4.myhuaweicloud.com",
        "/v2/manage/namespaces/shop/repos/tools$web/tags/1.0",
    )
    assert dict(request.headers) == {
        "Content-Type": "application/json;charset=utf-8",
        "X-Project-Id": "p1",
        "X-Auth-Token": "t1",
    }


def test_record_time_is_that_of_request() -> None:
    """Fault B1: a slow answer is not newer than its request."""
    times = iter([5.0, 8.0])
    asked = SwrClient(
        registry(), FakeTransport([GOOD]), FakeCredential(), RecorderSpy(), clock=lambda: next(times)
    )
    assert asked.show_tag(tag_query(), SOON, free).fetched_at == 5.0


def test_invalid_repository_name_is_not_sent() -> None:
    """A caller without a check cannot leave the tag API either (T23)."""
    asked, transport, _, _ = client([GOOD])
    with pytest.raises(InvalidReferenceError):
        asked.show_tag(tag_query("../../admin"), SOON, free)
    assert transport.sent == []


def test_401_is_retried_once_with_renewed_secret() -> None:
    """A token that was invalidated early is replaced within the same lookup (T39)."""
    asked, transport, credential, _ = client([EXPIRED, GOOD], renewable=True)
    assert asked.show_tag(tag_query(), SOON, free).status is TrustStatus.TRUSTED
    assert [request.headers["X-Auth-Token"] for request in transport.sent] == ["t1", "t2"]
    assert credential.told == ["reject 1 registry", "accept 2"]


def test_second_401_is_final() -> None:
    """Without a loop: more than five failures lock the key."""
    asked, transport, credential, _ = client([EXPIRED], renewable=True)
    with pytest.raises(Unauthorized):
        asked.show_tag(tag_query(), SOON, free)
    assert len(transport.sent) == 2
    assert credential.told == ["reject 1 registry", "reject 2 registry"]


def test_401_without_renewed_secret_is_not_retried() -> None:
    """The same secret is not sent twice."""
    asked, transport, _, _ = client([EXPIRED])
    with pytest.raises(Unauthorized):
        asked.show_tag(tag_query(), SOON, free)
    assert len(transport.sent) == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (respond(200, {"tag": "1.0"}), "accept 1"),
        (respond(200, b"<html>"), "accept 1"),
        (respond(404, {"error_code": "SVCSTG.SWR.4040115"}), "accept 1"),
        (respond(403, {"error_code": "SVCSTG.SWR.4039001"}), "accept 1"),
        (respond(401, {"error_code": "SVCSTG.SWR.4011064"}), "accept 1"),
        (respond(403, {"error_code": "SVCSTG.SWR.4031042"}), "release 1"),
        (respond(429), "release 1"),
        (respond(302), "release 1"),
        (LookupTimeout("late", fault=Fault.REGISTRY), "release 1"),
    ],
)
def test_call_result_is_reported_to_credential(answer: HttpResponse | TrustLookupError, told: str) -> None:
    """Another account's image is not a failure of the credential; a timeout says nothing about it."""
    asked, _, credential, _ = client([answer])
    with contextlib.suppress(TrustLookupError):
        asked.show_tag(tag_query(), SOON, free)
    assert credential.told == [told]


def test_every_call_uses_token_and_is_counted() -> None:
    """The rate limit applies to each call, and the result is recorded."""
    turns: list[Deadline] = []
    asked, _, _, notes = client([EXPIRED, GOOD], renewable=True)
    asked.show_tag(tag_query(), SOON, Turns(turns.append))
    assert turns == [SOON, SOON]
    assert [line[:2] for line in notes.named("record_call")] == [
        ("swr.cn-north-4.myhuaweicloud.com", "401"),
        ("swr.cn-north-4.myhuaweicloud.com", "200"),
    ]


def test_throttled_call_releases_credential() -> None:
    """Our own limit has no effect on the credential."""

    def full(deadline: Deadline) -> None:
        raise Throttled("full", fault=Fault.LOCAL)

    asked, transport, credential, _ = client([GOOD])
    with pytest.raises(Throttled):
        asked.show_tag(tag_query(), SOON, Turns(full))
    assert (transport.sent, credential.told) == ([], ["release 1"])


def tags(*facts: tuple[str, str, object], marker: str | None = None) -> HttpResponse:
    """Return a page of a tag list."""
    items = [{"tag": tag, "digest": digest, "is_trusted": trusted} for tag, digest, trusted in facts]
    return respond(200, {"tags": items, "has_more": marker is not None, "nextMarker": marker})


def find(*answers: HttpResponse | TrustLookupError) -> tuple[Any, FakeTransport]:
    """Look up a digest."""
    asked, transport, _, _ = client(list(answers))
    query = TrustQuery(registry(), "shop", "web", digest=DIGEST)
    return asked.find_digest(query, SOON, free), transport


OTHER = "sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("answers", "status", "holders"),
    [
        ([tags(("1", DIGEST, True))], TrustStatus.TRUSTED, ("1",)),
        ([tags(("1", DIGEST, True), ("2", OTHER, False))], TrustStatus.TRUSTED, ("1",)),
        ([tags(("1", DIGEST, True), ("2", DIGEST, False))], TrustStatus.UNTRUSTED, ("1", "2")),
        ([tags(("1", DIGEST, True), ("2", DIGEST, "true"))], TrustStatus.UNTRUSTED, ("1", "2")),
        ([tags(("1", OTHER, True))], TrustStatus.MISSING, ()),
        ([tags()], TrustStatus.MISSING, ()),
        (
            [tags(("1", DIGEST, True), marker="1"), tags(("2", DIGEST, False))],
            TrustStatus.UNTRUSTED,
            ("1", "2"),
        ),
        ([tags(("1", OTHER, True), marker="1"), tags(("2", DIGEST, True))], TrustStatus.TRUSTED, ("2",)),
        ([respond(404, {"error_code": "SVCSTG.SWR.4040113"})], TrustStatus.MISSING, ()),
    ],
)
def test_digest_is_trusted_if_all_its_tags_are(
    answers: list[HttpResponse], status: TrustStatus, holders: tuple[str, ...]
) -> None:
    """At least one tag has it, and every such tag on all pages is trusted."""
    record, _ = find(*answers)
    assert (record.status, record.tags) == (status, holders)


def test_tag_pages_are_requested_by_marker() -> None:
    """The list is read to its end."""
    _, transport = find(tags(marker="m1"), tags())
    assert [request.query for request in transport.sent] == [
        (("limit", "1000"),),
        (("limit", "1000"), ("marker", "m1")),
    ]
    assert transport.sent[0].path == "/v3/manage/namespaces/shop/repos/web/tags"


def test_tag_list_with_too_many_pages_is_malformed() -> None:
    """No repository has so many pages."""
    pages = [tags(("x", DIGEST, True), marker=f"m{index}") for index in range(MAX_PAGES + 5)]
    with pytest.raises(MalformedAnswer, match="more than 20000 tags"):
        find(*pages)


def test_tag_list_with_repeated_marker_is_malformed() -> None:
    """The same marker twice would repeat a page and hide another."""
    with pytest.raises(MalformedAnswer, match="repeats a marker"):
        find(tags(marker="m"), tags(marker="m"))


LATE = LookupTimeout("late", fault=Fault.REGISTRY)


@pytest.mark.parametrize(
    ("answers", "failure", "fault"),
    [
        ([LATE], LookupTimeout, Fault.LOCAL),
        ([tags(marker="m"), LATE], LookupTimeout, Fault.IMAGE),
        ([RegistryUnavailable("no connection")], RegistryUnavailable, Fault.REGISTRY),
        ([RegistryUnavailable("no connection"), MISSING], RegistryUnavailable, Fault.IMAGE),
        ([respond(500)], RegistryUnavailable, Fault.REGISTRY),
        ([respond(500), MISSING], RegistryUnavailable, Fault.IMAGE),
        ([respond(504), respond(200, {"tags": []})], RegistryUnavailable, Fault.IMAGE),
        ([respond(408), respond(403)], RegistryUnavailable, Fault.IMAGE),
        ([tags(marker="m"), respond(503)], RegistryUnavailable, Fault.REGISTRY),
        ([tags(marker="m"), respond(503), MISSING], RegistryUnavailable, Fault.IMAGE),
        ([UNPUBLISHED], RegistryUnavailable, Fault.REGISTRY),
        ([UNPUBLISHED, MISSING], RegistryUnavailable, Fault.IMAGE),
        ([respond(429)], Throttled, Fault.REGISTRY),
    ],
)
def test_failed_tag_list_is_image_fault_unless_control_list_fails(
    answers: list[HttpResponse | TrustLookupError], failure: type[TrustLookupError], fault: Fault
) -> None:
    """Fault B4: an author chose the image. A list that no author can choose shows whether the endpoint is
    down.
    """
    with pytest.raises(failure) as caught:
        find(*answers)
    assert caught.value.fault is fault


BROKEN = RegistryUnavailable("the connection broke")


@pytest.mark.parametrize(
    ("answer", "control", "fault"),
    [
        (respond(500), respond(502), Fault.REGISTRY),
        (respond(500), BROKEN, Fault.REGISTRY),
        (respond(500), MISSING, Fault.IMAGE),
        (respond(503), respond(403), Fault.IMAGE),
        (respond(408), GOOD, Fault.IMAGE),
        (
            respond(404, {"error_code": "APIGW.0307"}),
            respond(404, {"error_code": "APIGW.0307"}),
            Fault.REGISTRY,
        ),
        (respond(404, {"error_code": "APIGW.0307"}), MISSING, Fault.IMAGE),
        (respond(404, {"error_code": "SVCSTG.SWR.4040083"}), MISSING, Fault.IMAGE),
        (BROKEN, BROKEN, Fault.REGISTRY),
        (BROKEN, MISSING, Fault.IMAGE),
    ],
)
def test_failure_about_one_image_is_image_fault(
    answer: HttpResponse | TrustLookupError, control: HttpResponse | TrustLookupError, fault: Fault
) -> None:
    """Fault B4: the author of a Pod chose the tag; no author can choose the image of the control request."""
    asked, transport, _, _ = client([answer, control])
    with pytest.raises(RegistryUnavailable) as caught:
        asked.show_tag(tag_query(), SOON, free)
    assert caught.value.fault is fault
    first, *controls = [request.path.rpartition("/manage/namespaces/")[2] for request in transport.sent]
    assert first == "shop/repos/tools$web/tags/1.0"
    assert len(controls) == (SAMPLES if fault is Fault.REGISTRY else 1)
    for sent in controls:
        assert re.fullmatch(f"{PROBE}-[0-9a-f]{{16}}/repos/{PROBE}-[0-9a-f]{{16}}/tags/none", sent)


def test_single_failed_control_request_is_not_registry_fault() -> None:
    """Fault B4: an author may repeat requests until that happens."""
    asked, transport, _, _ = client([respond(500), respond(502), MISSING])
    with pytest.raises(RegistryUnavailable) as caught:
        asked.show_tag(tag_query(), SOON, free)
    assert (caught.value.fault, len(transport.sent)) == (Fault.IMAGE, 3)


@pytest.mark.parametrize(("was_sent", "fault"), [(False, Fault.REGISTRY), (True, Fault.LOCAL)])
def test_unsent_request_is_registry_fault_without_control_request(was_sent: bool, fault: Fault) -> None:
    """For example, a name that is not resolved: the image cannot have had any effect."""
    late = LookupTimeout("too little of lookup.timeout was left for this call", fault=Fault.LOCAL)
    asked, *_ = client([RegistryUnavailable("no connection", was_sent=was_sent), late])
    with pytest.raises(TrustLookupError) as caught:
        asked.show_tag(tag_query(), SOON, free)
    assert caught.value.fault is fault


def test_control_request_with_401_pauses_credential() -> None:
    """Fault B6: more than five failures lock the key, and each waiting call may send control requests."""
    asked, _, credential, _ = client([EXPIRED])
    asked._calls._send_any_control(1, SOON, lambda: None)
    assert credential.told == ["reject 1 registry"]


def test_answered_control_request_accepts_credential_on_trial() -> None:
    """Fault B6: an author kept new secrets on trial by slow names, and all other lookups waited."""
    asked, _, credential, _ = client([MISSING])
    asked._calls._send_any_control(1, SOON, lambda: None)
    assert credential.told == ["accept 1"]


@pytest.mark.parametrize(
    "answer",
    [
        respond(503),
        respond(404, {"error_code": "APIGW.0101"}),
        respond(429, {"error_code": "APIGW.0308"}),
        respond(403, {"errors": [{"code": "DENIED", "message": f"denied: {BLOCKED}"}]}),
    ],
)
def test_control_answer_before_authentication_does_not_accept_credential(
    answer: HttpResponse,
) -> None:
    """Fault B6: the secret may be wrong, and a hundred calls would be a hundred failures."""
    asked, _, credential, _ = client([answer, answer])
    asked._calls._send_any_control(1, SOON, lambda: None)
    assert credential.told == []


FOREIGN = respond(401, {"error_code": "SVCSTG.SWR.4019999"})
LISTED = respond(401, {"error_code": "SVCSTG.SWR.4010000"})
GATEWAY = respond(401, {"error_code": "APIGW.0301"})


class Organizations:
    """Implements ``Transport``: answers by organization; one that is not listed exists and is trusted."""

    def __init__(self, **answers: HttpResponse | TrustLookupError) -> None:
        self.answers: dict[str, HttpResponse | TrustLookupError] = answers
        self.asked: list[str] = []
        self.ca_file_problem = ""

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        organization = re.sub(f"{PROBE}-.*", PROBE, request.path.split("/")[4])
        self.asked.append(organization)
        answer = self.answers.get(organization, GOOD)
        if isinstance(answer, TrustLookupError):
            raise answer
        return answer

    def received(self, base_url: str) -> int:
        return 0


def guarded(
    organizations: frozenset[str] = frozenset(), /, **answers: HttpResponse | TrustLookupError
) -> tuple[Callable[[str], str], Organizations]:
    """Return a lookup of an organization's image with a real credential, and the list of called
    organizations.
    """
    transport = Organizations(**answers)
    credential = guarded_token()
    asked = SwrClient(registry(organizations=organizations), transport, credential, RecorderSpy())

    def ask(organization: str) -> str:
        query = TrustQuery(registry(), organization, "web", tag="1.0")
        try:
            return asked.show_tag(query, Deadline.after(5), free).status.value
        except TrustLookupError as error:
            return f"{error.reason}, {error.fault}: {error.detail}"

    return ask, transport


def test_401_about_one_organization_does_not_pause_working_credential() -> None:
    """Fault B6: an unlisted code may be about the image, which an author chose."""
    ask, transport = guarded(foreign=FOREIGN)
    assert ask("shop") == "trusted"
    assert ask("foreign") == (
        "forbidden, image: SWR answered 401 SVCSTG.SWR.4019999 about organization foreign "
        "and accepts the credential for others"
    )
    assert ask("shop") == "trusted"
    assert transport.asked == ["shop", "foreign", "shop", "shop"]


def test_missing_control_image_shows_that_credential_works() -> None:
    """An answer about a tag shows that the credential was accepted, with any content."""
    ask, transport = guarded(foreign=FOREIGN)
    ask("shop")
    transport.answers["shop"] = respond(404, {"error_code": "SVCSTG.SWR.4040115"})
    assert ask("foreign").startswith("forbidden, image: SWR answered 401 SVCSTG.SWR.4019999 about")


def test_organization_with_401_is_not_requested_again_at_once() -> None:
    """Each call counts as a failed authentication of the account."""
    ask, transport = guarded(foreign=FOREIGN)
    ask("shop")
    ask("foreign")
    transport.asked.clear()
    assert ask("foreign") == (
        "forbidden, image: SWR recently refused the credential for organization foreign"
    )
    assert transport.asked == []


@pytest.mark.parametrize("answer", [FOREIGN, LISTED, GATEWAY], ids=["not listed", "listed", "gateway"])
def test_credential_that_fails_for_all_organizations_is_paused(answer: HttpResponse) -> None:
    """After one failure if the code is about the credential, otherwise after two."""
    ask, transport = guarded()
    assert ask("shop") == "trusted"
    transport.answers = dict.fromkeys(["shop", "other", "third"], answer)
    said, paused = ("image", "local") if answer is FOREIGN else ("registry", "registry")
    assert ask("other").startswith(f"unauthorized, {said}: SWR answered 401")
    assert ask("third").startswith(f"unauthorized, {paused}: the token credential is paused for")
    assert transport.asked[1:] == (["other", "shop"] if answer is FOREIGN else ["other"])


@pytest.mark.parametrize("answer", [respond(500), respond(429), LATE], ids=["500", "429", "late"])
def test_unexplained_401_is_image_fault_without_pause(
    answer: HttpResponse | TrustLookupError,
) -> None:
    """The control request had no answer: the image's fault, because its author may have chosen the moment."""
    ask, transport = guarded(foreign=FOREIGN)
    ask("shop")
    transport.answers["shop"] = answer
    assert ask("foreign") == (
        "unauthorized, image: SWR answered 401 SVCSTG.SWR.4019999; "
        "whether it is about the credential is not known"
    )
    del transport.answers["shop"]
    assert ask("shop") == "trusted"


def test_first_401_is_compared_with_control_request() -> None:
    """Fault B6: just after the start no request has been answered."""
    ask, transport = guarded(foreign=FOREIGN, **{PROBE: MISSING})
    assert ask("foreign") == (
        "forbidden, image: SWR answered 401 SVCSTG.SWR.4019999 about organization foreign "
        "and accepts the credential for others"
    )
    assert ask("shop") == "trusted"
    assert transport.asked == ["foreign", PROBE, "shop"]


def test_pause_after_unexplained_401_is_not_registry_fault() -> None:
    """Fault B6: SWR may reject an organization that it does not know, and its author chose the organization.

    There is a pause, because more than five failures lock the key.
    """
    ask, transport = guarded(foreign=FOREIGN, **{PROBE: FOREIGN})
    assert ask("foreign") == (
        "unauthorized, image: SWR answered 401 SVCSTG.SWR.4019999; "
        "whether it is about the credential is not known"
    )
    assert ask("shop").startswith("unauthorized, local: the token credential is paused for")
    assert transport.asked == ["foreign", PROBE]


def test_unlisted_401_in_policy_organization_is_not_registry_fault() -> None:
    """Fault B6: the organizations may be those of authors, who can remove our permission."""
    ask, transport = guarded(frozenset({"mine", "mine2"}), mine=FOREIGN, mine2=FOREIGN)
    assert ask("mine").startswith("unauthorized, image: SWR answered 401")
    assert ask("mine").startswith("unauthorized, local: the token credential is paused for")
    assert transport.asked == ["mine", "mine2"]


def test_401_about_one_repository_of_only_organization_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault B6: there is no other organization for a comparison, and this one is called again."""
    transport = Organizations(shop=FOREIGN)
    credential = FakeCredential()
    asked = SwrClient(registry(organizations=frozenset({"shop"})), transport, credential, RecorderSpy())

    def answer(request: HttpRequest, deadline: Deadline) -> HttpResponse:
        transport.asked.append(re.sub(f"{PROBE}-[0-9a-f]*", PROBE, request.path.rpartition("/repos/")[2]))
        return FOREIGN if "/private/" in request.path else MISSING

    monkeypatch.setattr(transport, "send", answer)
    for _ in range(2):
        with pytest.raises(Forbidden) as caught:
            asked.show_tag(TrustQuery(registry(), "shop", "private", tag="1.0"), SOON, free)
        assert str(caught.value) == (
            "SWR answered 401 SVCSTG.SWR.4019999 about this repository, and not about others"
        )
    assert transport.asked == ["private/tags/1.0", f"{PROBE}/tags/none"] * 2
    assert credential.told == ["accept 1", "release 1"] * 2


def test_organization_with_401_is_not_used_as_control() -> None:
    """Fault B6: otherwise an author with two of them could have each rejected because of the other."""
    ask, transport = guarded(**{PROBE: MISSING})
    assert ask("shop") == "trusted"
    assert ask("mine") == "trusted"
    transport.answers["mine"] = transport.answers["mine2"] = FOREIGN
    assert ask("mine").startswith("forbidden, image")
    transport.asked.clear()
    assert ask("mine2").startswith("forbidden, image")
    assert transport.asked == ["mine2", "shop"]


def test_request_answered_with_earlier_secret_is_used_as_control() -> None:
    """Fault B6: temporary keys change every few hours, and no request was answered with the new ones yet."""
    transport = Organizations(foreign=FOREIGN)
    credential = FakeCredential()
    asked = SwrClient(registry(), transport, credential, RecorderSpy())
    for organization in ("shop", "foreign"):
        query = TrustQuery(registry(), organization, "web", tag="1.0")
        with contextlib.suppress(Forbidden):
            asked.show_tag(query, SOON, free)
        credential.generation += 1
    assert transport.asked == ["shop", "foreign", "shop"]
    assert credential.told == ["accept 1", "accept 2", "release 2"]

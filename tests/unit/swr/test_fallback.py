"""Regions without the call for one tag: when tag lists are used, and what they prove."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.builders import registry
from tests.support.fakes import FakeClock, FakeCredential, RecorderSpy, free
from tests.support.responses import respond
from webhook.deadlines import Deadline
from webhook.errors import (
    Fault,
    Forbidden,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    TrustLookupError,
)
from webhook.http_client.messages import HttpRequest, HttpResponse
from webhook.http_client.silence import SAMPLES
from webhook.swr.client import SwrClient
from webhook.swr.fallback import PROBE, RETRY_SECONDS, TagDetail
from webhook.swr.tag_lists import MAX_PAGES
from webhook.trust.records import TrustQuery, TrustRecord, TrustStatus

NAME = "swr.cn-north-4.myhuaweicloud.com"
DIGEST = "sha256:" + "a" * 64
SOON = Deadline(1e9)
QUERY = TrustQuery(registry(), "shop", "tools/web", tag="1.0")
TAG = {"tag": "1.0", "is_trusted": True, "digest": DIGEST, "created": "c", "updated": "u"}

Reply = HttpResponse | TrustLookupError


def listed(*tags: dict[str, Any], marker: str | None = None) -> HttpResponse:
    """Return a page of a tag list."""
    return respond(200, {"tags": list(tags), "has_more": marker is not None, "nextMarker": marker})


UNPUBLISHED = respond(404, {"error_code": "APIGW.0101", "error_msg": "The API does not exist"})
NO_ORGANIZATION = respond(404, {"error_code": "SVCSTG.SWR.4040058"})


@dataclass
class Region:
    """Implements ``Transport``: SWR in a region without the call for one tag."""

    detail: Reply = UNPUBLISHED
    pages: list[Reply] = field(default_factory=lambda: [listed(TAG)])
    control: Reply = UNPUBLISHED
    list_control: Reply = NO_ORGANIZATION
    sent: list[HttpRequest] = field(default_factory=list)
    ca_file_problem: str = ""

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        self.sent.append(request)
        is_list = request.path.startswith("/v3/")
        if PROBE in request.path:
            reply = self.list_control if is_list else self.control
        elif is_list:
            reply = self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]
        else:
            reply = self.detail
        if isinstance(reply, TrustLookupError):
            raise reply
        return reply

    def received(self, base_url: str) -> int:
        return 0

    @property
    def calls(self) -> list[str]:
        """The calls: the paths below the API's version and ``manage``."""
        paths = [request.path.replace("/manage/namespaces", "") for request in self.sent]
        return [re.sub(f"{PROBE}-[0-9a-f]{{16}}", PROBE, path) for path in paths]


class Asked:
    """A client in such a region."""

    def __init__(self, **replies: Any) -> None:
        self.region, self.credential, self.notes = Region(**replies), FakeCredential(), RecorderSpy()
        self.client = SwrClient(registry(), self.region, self.credential, self.notes, clock=lambda: 5.0)

    def ask(self, query: TrustQuery = QUERY) -> TrustRecord:
        """Look up a tag."""
        return self.client.show_tag(query, SOON, free)

    def fail(self) -> TrustLookupError:
        """Look up a tag and return the reason of the failure."""
        with pytest.raises(TrustLookupError) as caught:
            self.ask()
        return caught.value


DETAIL = "/v2/shop/repos/tools$web/tags/1.0"
LIST = "/v3/shop/repos/tools$web/tags"
CONTROL = f"/v2/{PROBE}/repos/{PROBE}/tags/none"
LIST_CONTROL = f"/v3/{PROBE}/repos/{PROBE}/tags"


def test_region_without_tag_call_uses_tag_list(caplog: pytest.LogCaptureFixture) -> None:
    """Fault D5: after the first lookup each takes one call; the log and the metric report it once."""
    asked = Asked()
    assert asked.ask() == TrustRecord(TrustStatus.TRUSTED, 5.0, DIGEST, "c", "u")
    assert asked.ask().status is TrustStatus.TRUSTED
    assert asked.region.calls == [DETAIL, LIST, CONTROL, LIST]
    assert asked.region.sent[1].query == (("limit", "1000"), ("tag", "1.0"))
    assert asked.client.uses_tag_list
    assert asked.notes.named("tag_source_changed") == [(NAME, "list")]
    assert [record.getMessage() for record in caplog.records] == [
        f"{NAME} does not offer the call for one tag (404 APIGW.0101): tag lists are used instead, "
        "which need the action swr:repo:listRepoTags"
    ]


def test_restored_tag_call_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault D5: it is tried again from time to time."""
    asked = Asked()
    asked.ask()
    monkeypatch.setattr("webhook.swr.fallback.RETRY_SECONDS", 0.0)
    asked.client._detail.record_missing()
    asked.ask()
    assert asked.region.calls[3:] == [DETAIL, LIST, CONTROL]
    asked.region.detail = respond(200, TAG)
    asked.ask()
    assert asked.region.calls[6:] == [DETAIL]
    assert not asked.client.uses_tag_list
    assert asked.notes.named("tag_source_changed") == [(NAME, "list"), (NAME, "tag")]


def test_missing_tag_call_is_retried_after_an_hour() -> None:
    """Fault D5: by a clock that cannot be set."""
    clock = FakeClock()
    detail = TagDetail(registry(), RecorderSpy(), clock)
    detail.record_missing()
    clock.tick(RETRY_SECONDS - 1)
    assert (detail.is_missing, detail.is_due) == (True, False)
    clock.tick(1)
    assert (detail.is_missing, detail.is_due) == (True, True)


SIMILAR = [{**TAG, "tag": name} for name in ("1.0.1", "v1.0", "1.0-rc1", "11.0")]


def test_tags_in_filtered_list_are_compared_exactly() -> None:
    """Fault D5: the trust of another tag, on any page, does not apply to this one."""
    asked = Asked(pages=[listed(*SIMILAR, marker="m"), listed({**TAG, "is_trusted": False})])
    assert asked.ask().status is TrustStatus.UNTRUSTED
    assert asked.region.sent[2].query == (("limit", "1000"), ("tag", "1.0"), ("marker", "m"))


@pytest.mark.parametrize(
    "page",
    [listed(*SIMILAR), listed(), respond(200, {"tags": None}), NO_ORGANIZATION],
    ids=["only others", "empty", "null", "no organization"],
)
def test_tag_is_missing_only_if_the_list_ends_without_it(page: HttpResponse) -> None:
    """Fault D5: a repository or organization that does not exist has no tags."""
    assert Asked(pages=[page]).ask() == TrustRecord(TrustStatus.MISSING, 5.0)


UNPROVEN: dict[str, tuple[list[Reply], str]] = {
    "endless": (
        [listed(*SIMILAR, marker=f"m{index}") for index in range(MAX_PAGES + 1)],
        "more than 20000 tags of the repository are named like this one",
    ),
    "a circle": (
        [listed(marker="m"), listed(marker="m")],
        "SWR's list of tags repeats a marker",
    ),
    "no marker": (
        [respond(200, {"tags": [], "has_more": True})],
        "SWR's list of tags has no valid marker of the next page",
    ),
    "no list": ([respond(200, b"<html>")], "SWR answered 200 without a list of tags"),
    "two minds": (
        [listed(TAG, {**TAG, "is_trusted": False})],
        "SWR lists the tag more than once, with different values",
    ),
    "another image": (
        [listed({**TAG, "path": f"{NAME}/evil/web:1.0"})],
        "SWR's answer is about another image",
    ),
    "a later page times out": (
        [listed(*SIMILAR, marker="m"), LookupTimeout("no answer", fault=Fault.REGISTRY)],
        "SWR did not list all tags of the repository in time",
    ),
}


@pytest.mark.parametrize(("pages", "detail"), UNPROVEN.values(), ids=UNPROVEN)
def test_inconclusive_tag_list_is_image_fault(pages: list[Reply], detail: str) -> None:
    """Fault D5: an author must not get an image admitted by a repository whose list is slow."""
    error = Asked(pages=pages).fail()
    assert (str(error), error.fault) == (detail, Fault.IMAGE)


@pytest.mark.parametrize("value", [False, None, 1, "true", [True]])
def test_value_other_than_json_true_in_list_is_untrusted(value: object) -> None:
    """Fault D5: a list is parsed as strictly as a tag."""
    assert Asked(pages=[listed({**TAG, "is_trusted": value})]).ask().status is TrustStatus.UNTRUSTED


def test_wrong_endpoint_keeps_its_message() -> None:
    """Fault D5: such a server answers 404 to everything, so nothing is remembered."""
    asked = Asked(pages=[UNPUBLISHED], list_control=UNPUBLISHED)
    error = asked.fail()
    assert str(error) == "the API gateway answered 404 APIGW.0101: is the endpoint right?"
    assert (type(error), error.fault) == (RegistryUnavailable, Fault.REGISTRY)
    assert not asked.client.uses_tag_list
    assert asked.notes.named("tag_source_changed") == []


def test_unrouted_image_does_not_switch_to_tag_list() -> None:
    """Fault D5: before anything is remembered, a control request about an image that no author chose
    is sent.
    """
    asked = Asked(control=NO_ORGANIZATION)
    error = asked.fail()
    assert str(error) == "the API gateway answers 404 APIGW.0101 about this image, and not about others"
    assert (type(error), error.fault) == (MalformedAnswer, Fault.IMAGE)
    assert not asked.client.uses_tag_list


@pytest.mark.parametrize(
    ("organizations", "control"),
    [({"shop", "ops"}, "ops"), ({"shop", "teams"}, "teams"), ({"shop"}, "shop"), (set(), PROBE)],
)
def test_control_request_uses_another_organization_of_policy(organizations: set[str], control: str) -> None:
    """Fault B4: the image's own may be its author's; those outside of the policy may be inaccessible."""
    region = Region()
    limited = registry(organizations=frozenset(organizations))
    SwrClient(limited, region, FakeCredential(), RecorderSpy()).show_tag(QUERY, SOON, free)
    assert region.calls[2] == f"/v2/{control}/repos/{PROBE}/tags/none"


@pytest.mark.parametrize(
    ("control", "fault"),
    [(respond(503), Fault.REGISTRY), (NO_ORGANIZATION, Fault.IMAGE), (listed(), Fault.IMAGE)],
    ids=["another list fails, too", "another is missing", "another is listed"],
)
def test_server_error_is_registry_fault_only_if_control_list_fails(
    control: HttpResponse, fault: Fault
) -> None:
    """Fault D5: a repository may be too large to be listed, and an outage must let stale trust be served."""
    asked = Asked()
    asked.ask()
    asked.region.pages, asked.region.list_control = [respond(503)], control
    error = asked.fail()
    assert str(error) == "SWR answered 503 to the list of the repository's tags"
    assert (type(error), error.fault) == (RegistryUnavailable, fault)
    controls = SAMPLES if fault is Fault.REGISTRY else 1
    assert asked.region.calls[3:] == [LIST, *[LIST_CONTROL] * controls]


BROKEN = RegistryUnavailable("the connection broke")


@pytest.mark.parametrize("detail", [BROKEN, respond(503)], ids=["cut", "503"])
@pytest.mark.parametrize(
    ("list_control", "fault"), [(NO_ORGANIZATION, Fault.IMAGE), (BROKEN, Fault.REGISTRY)]
)
def test_control_request_is_tag_list_if_tag_call_is_missing(
    detail: Reply, list_control: Reply, fault: Fault
) -> None:
    """Fault B4: the gateway answers 404 there, for any image."""
    asked = Asked(detail=detail, list_control=list_control)
    assert asked.fail().fault is fault
    controls = SAMPLES if fault is Fault.REGISTRY else 1
    assert asked.region.calls == [DETAIL, *[CONTROL, LIST_CONTROL] * controls]


def test_control_request_uses_unpredictable_names() -> None:
    """Fault B4: an author could push a slow image with a known name, or into a known organization."""
    detail = TagDetail(registry(organizations=frozenset({"shop", "ops"})), RecorderSpy())
    controls = [detail.make_control(), detail.make_list_control()]
    names = [part for control in controls for part in control.path.split("/") if part.startswith(PROBE)]
    assert len(names) == 4
    assert len(set(names)) == 4


def test_missing_permission_to_list_tags_is_named() -> None:
    """Fault D5: it was not needed before."""
    asked = Asked(pages=[respond(403, {"error_code": "SVCSTG.SWR.4039001"})])
    error = asked.fail()
    assert asked.client.uses_tag_list
    assert isinstance(error, Forbidden)
    assert str(error) == (
        "SWR answered 403 SVCSTG.SWR.4039001 (to the tag list: the registry does not offer the call for one tag)"
    )


@pytest.mark.parametrize("control", [UNPUBLISHED, respond(401)], ids=["404", "401"])
def test_gateway_404_does_not_accept_or_reject_credential(control: HttpResponse) -> None:
    """Fault D5: it comes before the signature is checked; IAM locks an account after five failures."""
    asked = Asked(control=control)
    answer: Callable[[], object] = asked.ask if control is UNPUBLISHED else asked.fail
    answer()
    assert asked.credential.told == ["release 1", "accept 1", "release 1"]


def test_malformed_detail_is_not_a_missing_call() -> None:
    """Fault D5: only the gateway's own code leads to the list."""
    asked = Asked(detail=respond(404, b"<html>not found</html>"))
    assert isinstance(asked.fail(), MalformedAnswer)
    assert asked.region.calls == [DETAIL]

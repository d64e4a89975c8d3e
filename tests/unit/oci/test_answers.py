"""Answers of registries: which error each is, and by whose fault."""

from __future__ import annotations

import json

import pytest

from tests.support.registries import refuse, respond
from webhook.errors import Throttled
from webhook.http_client.messages import HttpResponse
from webhook.oci.answers import (
    TOKEN_SERVICE,
    find_block,
    is_json,
    is_missing,
    is_of_registry,
    is_page,
    read_digest,
    read_failure,
    read_media_type,
)
from webhook.swr.answers import BLOCKED

HTML = respond(404, b"<html>not here</html>", content_type="text/html")
GATEWAY = respond(404, {"error_code": "APIGW.0101", "error_msg": "The API does not exist"})

FAILURES = [
    (refuse(401, "UNAUTHORIZED"), "forbidden, image: the registry answered 401 UNAUTHORIZED"),
    (refuse(403, "DENIED"), "forbidden, image: the registry answered 403 DENIED"),
    (
        refuse(429, "TOOMANYREQUESTS", retry_after="7"),
        "throttled, registry: the registry answered 429 TOOMANYREQUESTS",
    ),
    (respond(429), "throttled, registry: the registry answered 429"),
    (refuse(403, "TOOMANYREQUESTS"), "throttled, registry: the registry answered 403 TOOMANYREQUESTS"),
    (respond(500), "unavailable, registry: the registry answered 500"),
    (respond(503, b"<html>"), "unavailable, registry: the registry answered 503"),
    (respond(408), "unavailable, registry: the registry answered 408"),
    (
        HTML,
        "unavailable, image: the registry answered 404 without an error code of a registry",
    ),
    (GATEWAY, "unavailable, image: the registry answered 404 APIGW.0101"),
    (respond(302), "unavailable, image: the registry answered 302, a redirect that is not followed"),
    (refuse(400, "NAME_INVALID"), "unavailable, image: the registry answered 400 NAME_INVALID"),
    (respond(206), "unavailable, image: the registry answered 206"),
    (refuse(400, "x\r\ny"), "unavailable, image: the registry answered 400"),
    (refuse(400, "a" * 65), "unavailable, image: the registry answered 400"),
]


@pytest.mark.parametrize(("response", "said"), FAILURES, ids=[case[1] for case in FAILURES])
def test_failure_has_reason_fault_and_detail(response: HttpResponse, said: str) -> None:
    """Only failures of the service are the registry's fault; nothing of a body but its code is quoted."""
    error = read_failure(response)
    assert f"{error.reason}, {error.fault}: {error.detail}" == said


ANSWERS = [
    (respond(200, b"{}", content_type="application/vnd.oci.image.index.v1+json"), True),
    (respond(200, b"<html>", content_type="text/html"), False),
    (respond(200, b"{}"), False),
    (refuse(404, "MANIFEST_UNKNOWN"), True),
    (respond(404, {"error_code": "SVCSTG.SWR.4040001", "error_msg": "no such repository"}), True),
    (HTML, False),
    (GATEWAY, False),
    (refuse(400, "NAME_INVALID"), True),
    (refuse(401, "UNAUTHORIZED"), True),
    (respond(401, b"", www_authenticate="Bearer"), True),
    (respond(401, b"<html>"), False),
    (refuse(403, "DENIED"), True),
    (respond(403, b"<html>"), False),
    (respond(429, b"<html>"), True),
    (refuse(302, "MOVED", location="/"), False),
    (refuse(408, "TIMEOUT"), False),
    (refuse(503, "UNAVAILABLE"), False),
]


@pytest.mark.parametrize(
    ("response", "expected"), ANSWERS, ids=[f"{case[0].status} {case[0].body[:40]!r}" for case in ANSWERS]
)
def test_answer_of_a_registry_that_works_is_known(response: HttpResponse, expected: bool) -> None:
    """Others are those of a gateway, a firewall or a portal."""
    assert is_of_registry(response) is expected


def test_page_is_for_people() -> None:
    """Some front ends send one with a challenge."""
    assert is_page(respond(403, b"<html>", content_type="text/html; charset=utf-8"))
    assert not is_page(respond(401, b"<html>", content_type="text/html", www_authenticate="Bearer"))
    assert not is_page(respond(200, {}))


def test_failure_names_token_service() -> None:
    """An operator must know which of the two answered."""
    assert str(read_failure(respond(503), TOKEN_SERVICE)) == "the token service answered 503"


def test_throttle_has_retry_after() -> None:
    """The pause is the registry's."""
    assert read_failure(respond(429, retry_after="7")).retry_after == 7.0
    assert read_failure(respond(503, retry_after="7")).retry_after == 7.0


MISSING = [
    (refuse(404, "MANIFEST_UNKNOWN"), True),
    (refuse(404, "NAME_UNKNOWN"), True),
    (refuse(404, "NOT_FOUND"), True),
    (respond(404, [{"errorCode": "SVCSTG.SWR.4041060"}]), True),
    (HTML, False),
    (GATEWAY, False),
    (respond(404), False),
    (respond(404, {"errors": []}), False),
    (respond(404, {"errors": ["MANIFEST_UNKNOWN"]}), False),
    (respond(404, {"errors": [{"code": 404}]}), False),
    (respond(404, b"[" * 5000), False),
    (respond(404, json.dumps({"errors": [{"code": "X"}], "x": "y" * 70_000}).encode()), False),
    (refuse(200, "MANIFEST_UNKNOWN"), False),
    (refuse(400, "MANIFEST_UNKNOWN"), False),
]


@pytest.mark.parametrize(("response", "is_known"), MISSING, ids=[repr(case[0].body[:40]) for case in MISSING])
def test_404_means_missing_only_with_code_of_registry(response: HttpResponse, is_known: bool) -> None:
    """A portal or a gateway may answer 404 to everything."""
    assert is_missing(response) is is_known


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
def test_blocked_account_is_recognized_under_any_error(status: int) -> None:
    """SWR blocks the account for about half an hour."""
    blocked = find_block(refuse(status, "DENIED", f"denied: {BLOCKED}"))
    assert isinstance(blocked, Throttled)
    assert blocked.blocks_account


def test_pushed_content_is_not_a_block() -> None:
    """Fault: an author who pushed this text as a blob would have stopped all lookups for half an hour."""
    assert find_block(respond(200, BLOCKED.encode())) is None


TYPES = [
    ("application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.index.v1+json", True),
    ("Application/JSON; charset=utf-8", "application/json", True),
    ("application/vnd.docker.distribution.manifest.v1+prettyjws", None, True),
    ("text/html; charset=utf-8", "text/html", False),
    ("text/x+json", "text/x+json", False),
    ("", "", False),
    ("application/x json", "", False),
    ("application/" + "x" * 200 + "+json", "", False),
    ("application/\x1b[2J+json", "", False),
]


@pytest.mark.parametrize(("header", "media_type", "is_manifest"), TYPES, ids=[case[0] for case in TYPES])
def test_media_type_is_read_without_parameters(
    header: str, media_type: str | None, is_manifest: bool
) -> None:
    """Every manifest is JSON."""
    found = read_media_type(respond(200, b"", content_type=header))
    assert found == (media_type if media_type is not None else header)
    assert is_json(found) is is_manifest


DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("header", "digest"),
    [
        (DIGEST, DIGEST),
        (f" {DIGEST} ", DIGEST),
        (DIGEST.upper(), None),
        ("sha512:" + "a" * 128, None),
        (DIGEST + "a", None),
        ("", None),
    ],
)
def test_stated_digest_is_checked_for_its_form(header: str, digest: str | None) -> None:
    """Whatever is not a SHA-256 digest counts as none."""
    assert read_digest(respond(200, b"", docker_content_digest=header)) == digest

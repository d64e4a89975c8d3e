"""Strict parsing of SWR's answers: only one form of one status is trust."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import registry
from tests.support.responses import respond
from webhook.errors import (
    Forbidden,
    MalformedAnswer,
    RegistryUnavailable,
    Throttled,
    TrustLookupError,
    Unauthorized,
)
from webhook.http_client.messages import HttpResponse
from webhook.swr.answers import TagPage, read_page, read_tag
from webhook.trust.records import TrustQuery, TrustRecord, TrustStatus

QUERY = TrustQuery(registry(), "shop", "tools/web", tag="1.0")
DIGEST = "sha256:" + "a" * 64
GOOD = {"tag": "1.0", "is_trusted": True, "digest": DIGEST, "created": "c", "updated": "u"}


def read(status: int, body: Any, **headers: str) -> TrustRecord:
    """Parse an answer to the query."""
    return read_tag(respond(status, body, **headers), QUERY, 5.0)


def test_trusted_answer_is_json_true_for_same_tag() -> None:
    """The whole record of a valid answer."""
    assert read(200, GOOD) == TrustRecord(TrustStatus.TRUSTED, 5.0, DIGEST, "c", "u")


@pytest.mark.parametrize("value", [False, None, 1, 1.0, "true", "True", [True], {"a": True}, 0, "", "false"])
def test_other_value_of_is_trusted_is_untrusted(value: object) -> None:
    """No other type is converted (T35)."""
    assert read(200, {**GOOD, "is_trusted": value}).status is TrustStatus.UNTRUSTED


def test_absent_is_trusted_is_untrusted() -> None:
    """The default is not to trust (T35)."""
    assert read(200, {"tag": "1.0"}).status is TrustStatus.UNTRUSTED


MALFORMED = [
    (200, b""),
    (200, b"<html>ok</html>"),
    (200, b"null"),
    (200, b"5"),
    (200, b"true"),
    (200, []),
    (200, [GOOD]),
    (200, b'{"tag":"1.0","is_trusted":true'),
    (200, b'{"tag":"1.0","is_trusted":true}x'),
    (200, b"\xff\xfe"),
    (200, {**GOOD, "tag": "1.1"}),
    (200, {**GOOD, "tag": None}),
    (200, {"is_trusted": True}),
    (200, {"Tag": "1.0", "is_trusted": True}),
    (200, {**GOOD, "path": "swr.cn-north-4.myhuaweicloud.com/shop/other:1.0"}),
    (200, {**GOOD, "path": "swr.cn-north-4.myhuaweicloud.com/evil/tools/web:1.0"}),
    (204, b""),
    (201, GOOD),
    (301, b""),
    (302, b""),
    (304, b""),
    (400, {"errors": [{"errorCode": "SVCSTG.SWR.4000014"}]}),
    (405, b""),
    (404, b""),
    (404, b"<html>not found</html>"),
    (404, {"message": "nothing here"}),
    (404, {"error_code": "IAM.0004"}),
]


@pytest.mark.parametrize(("status", "body"), MALFORMED, ids=[f"{s} {str(b)[:50]}" for s, b in MALFORMED])
def test_undocumented_answer_is_malformed(status: int, body: Any) -> None:
    """An invalid success, another image's answer, a redirect, a 404 without SWR's code (T35, T36, T37)."""
    with pytest.raises(MalformedAnswer):
        read(status, body)


def test_image_path_in_answer_is_accepted_under_any_host() -> None:
    """The answer names the image by the public host even if an alias was requested."""
    answer = {**GOOD, "path": "swr.cn-north-4.myhuaweicloud.com/shop/tools/web:1.0"}
    assert read(200, answer).status is TrustStatus.TRUSTED


@pytest.mark.parametrize("digest", ["sha256:abc", 5, None, "", "sha512:" + "a" * 128, "SHA256:" + "A" * 64])
def test_invalid_digest_in_answer_is_dropped(digest: object) -> None:
    """A pinned image then has no digest to be equal to."""
    assert read(200, {**GOOD, "digest": digest}).digest is None


FORMATS = {
    "current": lambda code: {
        "errors": [{"errorCode": code, "errorMessage": "m", "detail": ""}],
        "error_code": code,
        "error_msg": "m",
    },
    "new form only": lambda code: {"errors": [{"errorCode": code, "errorMessage": "m"}]},
    "legacy array": lambda code: [{"errorCode": code, "errorMessage": "m", "detail": "d"}],
    "gateway": lambda code: {"error_code": code, "error_msg": "m", "request_id": "r"},
}


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize(
    "number",
    [
        "4040115",
        "4040048",
        "4041056",
        "4041057",
        "4040113",
        "4040010",
        "4040009",
        "4040004",
        "4040058",
        "4041061",
        "4041060",
        "4049999",
    ],
)
def test_404_with_swr_error_code_is_missing(form: Any, number: str) -> None:
    """Tag, repository or organization, in every documented form; new codes, too."""
    assert read(404, form(f"SVCSTG.SWR.{number}")) == TrustRecord(TrustStatus.MISSING, 5.0)


ERRORS: list[tuple[int, str, type[TrustLookupError], str]] = [
    # identity
    (401, "SVCSTG.SWR.4010000", Unauthorized, "SWR answered 401 SVCSTG.SWR.4010000"),
    (401, "SVCSTG.S2I.4019000", Unauthorized, "SWR answered 401 SVCSTG.S2I.4019000"),
    (401, "APIGW.0301", Unauthorized, "SWR answered 401 APIGW.0301"),
    (401, "APIGW.0303", Unauthorized, "SWR answered 401 APIGW.0303: is this machine's clock right?"),
    (401, "", Unauthorized, "SWR answered 401"),
    (400, "SVCSTG.SWR.4001048", Unauthorized, "SWR answered 400 SVCSTG.SWR.4001048"),
    (403, "SVCSTG.SWR.4031043", Unauthorized, "SWR answered 403 SVCSTG.SWR.4031043"),
    # permissions
    (401, "SVCSTG.SWR.4011064", Forbidden, "SWR answered 401 SVCSTG.SWR.4011064: another account's image"),
    (403, "SVCSTG.SWR.4039001", Forbidden, "SWR answered 403 SVCSTG.SWR.4039001"),
    (403, "SVCSTG.SWR.4039002", Forbidden, "SWR answered 403 SVCSTG.SWR.4039002"),
    (403, "SVCSTG.SWR.4037017", Forbidden, "SWR answered 403 SVCSTG.SWR.4037017"),
    (403, "SVCSTG.SWR.4037018", Forbidden, "SWR answered 403 SVCSTG.SWR.4037018"),
    (403, "SVCSTG.SWR.4037020", Forbidden, "SWR answered 403 SVCSTG.SWR.4037020"),
    (403, "SVCSTG.SWR.4030170", Forbidden, "SWR answered 403 SVCSTG.SWR.4030170"),
    (403, "SVCSTG.SWR.4031033", Forbidden, "SWR answered 403 SVCSTG.SWR.4031033"),
    (403, "APIGW.0310", Forbidden, "SWR answered 403 APIGW.0310"),
    (403, "", Forbidden, "SWR answered 403"),
    # rate limits
    (403, "SVCSTG.SWR.4031032", Throttled, "SWR answered 403 SVCSTG.SWR.4031032"),
    (403, "SVCSTG.SWR.4031042", Throttled, "SWR answered 403 SVCSTG.SWR.4031042"),
    (429, "APIGW.0308", Throttled, "SWR answered 429 APIGW.0308"),
    (429, "APIG.0308", Throttled, "SWR answered 429 APIG.0308"),
    (429, "", Throttled, "SWR answered 429"),
    (503, "APIGW.0308", Throttled, "SWR answered 503 APIGW.0308"),
    # not an answer of SWR itself
    (
        404,
        "APIGW.0101",
        RegistryUnavailable,
        "the API gateway answered 404 APIGW.0101: is the endpoint right?",
    ),
    (404, "APIG.0101", RegistryUnavailable, "the API gateway answered 404 APIG.0101: is the endpoint right?"),
    (
        404,
        "SVCSTG.SWR.4040083",
        RegistryUnavailable,
        "SWR answered 404 SVCSTG.SWR.4040083: is the endpoint right?",
    ),
    (404, "", MalformedAnswer, "a 404 without an error code of SWR"),
    (404, "IAM.0004", MalformedAnswer, "a 404 without an error code of SWR"),
    # SWR fails
    (500, "SVCSTG.SWR.5000002", RegistryUnavailable, "SWR answered 500 SVCSTG.SWR.5000002"),
    (500, "SVCSTG.SWR.5000112", RegistryUnavailable, "SWR answered 500 SVCSTG.SWR.5000112"),
    (500, "SVCSTG.SWR.5000114", RegistryUnavailable, "SWR answered 500 SVCSTG.SWR.5000114"),
    (500, "SVCSTG.SWR.5001026", RegistryUnavailable, "SWR answered 500 SVCSTG.SWR.5001026"),
    (500, "SVCSTG.SWR.5001059", RegistryUnavailable, "SWR answered 500 SVCSTG.SWR.5001059"),
    (502, "", RegistryUnavailable, "SWR answered 502"),
    (503, "", RegistryUnavailable, "SWR answered 503"),
    (504, "", RegistryUnavailable, "SWR answered 504"),
    (408, "", RegistryUnavailable, "SWR answered 408"),
    # SWR rejects the request as malformed
    (400, "SVCSTG.SWR.4000014", MalformedAnswer, "SWR answered 400 SVCSTG.SWR.4000014"),
    (400, "SVCSTG.SWR.4001008", MalformedAnswer, "SWR answered 400 SVCSTG.SWR.4001008"),
    (400, "SVCSTG.SWR.4001028", MalformedAnswer, "SWR answered 400 SVCSTG.SWR.4001028"),
    (400, "SVCSTG.SWR.4001029", MalformedAnswer, "SWR answered 400 SVCSTG.SWR.4001029"),
    (400, "SVCSTG.SWR.4009011", MalformedAnswer, "SWR answered 400 SVCSTG.SWR.4009011"),
    (400, "SVCSTG.SWR.4009021", MalformedAnswer, "SWR answered 400 SVCSTG.SWR.4009021"),
    (302, "", MalformedAnswer, "SWR answered 302"),
    (204, "", MalformedAnswer, "SWR answered 204"),
]


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize(
    ("status", "code", "expected", "message"), ERRORS, ids=[f"{case[0]} {case[1]}" for case in ERRORS]
)
def test_error_statuses_and_codes_map_to_specific_failures(
    form: Any, status: int, code: str, expected: type[TrustLookupError], message: str
) -> None:
    """Each status and code leads to the failure with the right advice, by either API (T39)."""
    body = form(code) if code else b""
    either: list[Callable[[], object]] = [
        lambda: read(status, body),
        lambda: read_page(respond(status, body), 5.0),
    ]
    for ask in either:
        with pytest.raises(TrustLookupError) as caught:
            ask()
        assert (type(caught.value), str(caught.value)) == (expected, message)


@given(st.integers(100, 599), st.binary(max_size=200))
def test_arbitrary_answer_is_not_trusted(status: int, body: bytes) -> None:
    """The result is a failure or no trust."""
    try:
        record = read_tag(HttpResponse(status, {}, body), QUERY, 5.0)
    except TrustLookupError:
        return
    assert record.status is not TrustStatus.TRUSTED


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["tag", "is_trusted", "digest", "path", "x"]), json_values | st.just("1.0")
    )
)
def test_only_json_true_for_same_tag_is_trusted(answer: dict[str, Any]) -> None:
    """Every trusted object contains ``true``, for exactly this tag."""
    try:
        record = read(200, answer)
    except TrustLookupError:
        return
    assert answer["tag"] == "1.0"
    assert (record.status is TrustStatus.TRUSTED) == (answer.get("is_trusted") is True)


def page(body: Any) -> TagPage | TrustRecord:
    """Parse a page of a tag list."""
    return read_page(respond(200, body), 5.0)


def test_tag_page_has_tags_and_marker() -> None:
    """Tags with digest and trust, and the marker of the next page."""
    first = page({"tags": [GOOD, {"tag": "2", "is_trusted": "true"}], "has_more": True, "nextMarker": "m"})
    assert isinstance(first, TagPage)
    assert [(tag.tag, tag.digest, tag.trusted) for tag in first.tags] == [
        ("1.0", DIGEST, True),
        ("2", None, False),
    ]
    assert first.marker == "m"


@pytest.mark.parametrize(
    "body",
    [
        {"tags": []},
        {"tags": None, "has_more": False},
        {"tags": [], "has_more": False, "nextMarker": "x"},
        {"tags": [], "nextMarker": ""},
    ],
)
def test_last_tag_page_has_no_marker(body: Any) -> None:
    """No marker, or an empty one, is the end."""
    last = page(body)
    assert isinstance(last, TagPage)
    assert last.marker is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        [],
        {},
        {"tags": 5},
        {"tags": [{"is_trusted": True}]},
        {"tags": [], "has_more": True},
        {"tags": [], "has_more": "no", "nextMarker": "m"},
    ],
)
def test_tag_page_without_clear_end_is_malformed(body: Any) -> None:
    """A list that was not read to its end proves nothing."""
    with pytest.raises(MalformedAnswer):
        page(body)

"""Clock skew, as it appears in SWR's answers."""

from __future__ import annotations

import email.utils
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.errors import Unauthorized
from webhook.http_client.messages import HttpResponse
from webhook.swr.answers import read_error
from webhook.swr.clock import describe_skew, find_skew

NOW = 1_700_000_000.0
# huaweicloud-sdk-java-v3, issue 44, and the API Gateway FAQ.
SDK = (
    "Incorrect IAM authentication information: calc aksk signature fail:signature expired, "
    "signature time:20211217T064303Z,server time:20211217T065804Z"
)
FAQ = (
    "Incorrect app authentication information: signature expired, "
    "signature time:20230527T000431Z,server time:20230527T020608Z"
)
AHEAD = "signature expired, signature time: 20190301T001600Z, server time: 20190301T000000Z"
OTHERS = [
    "",
    "ak not exist",
    "signature time:20211317T064303Z,server time:20211217T065804Z",
    "signature time:99999999T999999Z,server time:20211217T065804Z",
    "server time:20211217T065804Z",
]


@pytest.mark.parametrize(("message", "skew"), [(SDK, -901), (FAQ, -7297), (AHEAD, 960)])
def test_skew_is_computed_from_times_in_message(message: str, skew: float) -> None:
    """Fault D4: signature time and server time."""
    assert find_skew([message], None, NOW) == skew


@pytest.mark.parametrize("message", OTHERS)
def test_message_without_times_has_no_skew(message: str) -> None:
    """Most rejected signatures have other causes."""
    assert find_skew([message], None, NOW) is None


DATES = [(-901.0, 901), (901.0, -901), (-899.0, None), (899.0, None)]


@pytest.mark.parametrize(("theirs", "skew"), DATES)
def test_date_header_gives_skew_beyond_signature_tolerance(theirs: float, skew: float | None) -> None:
    """Fault D4: if the message has no times."""
    date = email.utils.formatdate(NOW + theirs, usegmt=True)
    assert find_skew(["ak not exist"], date, NOW) == skew


@given(st.text(), st.text())
def test_any_message_and_date_are_read_without_error(message: str, date: str) -> None:
    """The body may come from any server at the endpoint."""
    find_skew([message], date, NOW)


@pytest.mark.parametrize(
    ("skew", "clause"),
    [
        (960.4, "this machine's clock is 960 s ahead of SWR's"),
        (-901, "this machine's clock is 901 s behind SWR's"),
    ],
)
def test_clause_says_direction_and_amount(skew: float, clause: str) -> None:
    """An operator must not correct the wrong clock."""
    assert describe_skew(skew) == clause


def refuse(code: str, message: str, date: float | None = None) -> str:
    """Return the failure of a 401."""
    body = json.dumps({"error_msg": message, "error_code": code, "request_id": "0"}).encode()
    headers = {"date": email.utils.formatdate(time.time() + date, usegmt=True)} if date is not None else {}
    error = read_error(HttpResponse(401, headers, body))
    assert type(error) is Unauthorized
    return error.detail


REFUSALS = [
    ("APIGW.0301", SDK, None, ": this machine's clock is 901 s behind SWR's"),
    ("APIG.0303", FAQ, None, ": this machine's clock is 7297 s behind SWR's"),
    ("APIGW.0303", AHEAD, None, ": this machine's clock is 960 s ahead of SWR's"),
    ("APIGW.0303", "", None, ": is this machine's clock right?"),
    ("APIGW.0303", "", 0.0, ": is this machine's clock right?"),
    ("APIGW.0301", "verify aksk signature fail", None, ""),
    ("APIGW.0301", "verify aksk signature fail", 0.0, ""),
    ("SVCSTG.SWR.4010000", SDK, None, ""),
]


@pytest.mark.parametrize(("code", "message", "date", "hint"), REFUSALS)
def test_rejected_signature_error_states_clock_skew(
    code: str, message: str, date: float | None, hint: str
) -> None:
    """Fault D4: the log only said "SWR answered 401"."""
    assert refuse(code, message, date) == f"SWR answered 401 {code}{hint}"


@pytest.mark.parametrize(("date", "direction"), [(-7200.0, "ahead of"), (7200.0, "behind")])
def test_rejected_signature_is_compared_with_date_header(date: float, direction: str) -> None:
    """Fault D4: the gateway does not always include the times."""
    detail = refuse("APIGW.0301", "verify aksk signature fail", date)
    assert detail.startswith("SWR answered 401 APIGW.0301: this machine's clock is 7")
    assert f"s {direction} SWR's" in detail

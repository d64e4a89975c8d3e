"""An account that SWR has blocked for too many requests: the answers that say so, and their effect."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.builders import registry
from tests.support.fakes import FakeCredential, FakeTransport, RecorderSpy, free
from tests.support.responses import respond
from webhook.deadlines import Deadline
from webhook.errors import Fault, Throttled, TrustLookupError
from webhook.swr.answers import BLOCKED_SECONDS, read_block
from webhook.swr.client import SwrClient
from webhook.trust.records import TrustQuery

TEXT = "Not allow to login, upload or download image"
SOON = Deadline(1e9)
TAG = TrustQuery(registry(), "shop", "web", tag="1.0")
DIGEST = TrustQuery(registry(), "shop", "web", digest="sha256:" + "a" * 64)

SAYS_SO: dict[str, Any] = {
    "current": {"errors": [{"errorCode": "SVCSTG.SWR.4030000", "errorMessage": TEXT}], "error_msg": TEXT},
    "legacy array": [{"errorCode": "SVCSTG.SWR.4010000", "errorMessage": TEXT, "detail": ""}],
    "gateway": {"error_code": "APIGW.0301", "error_msg": TEXT},
    "registry": {"errors": [{"code": "DENIED", "message": f"denied: {TEXT}."}]},
    "not found": {"error_code": "SVCSTG.SWR.4040115", "error_msg": TEXT},
    "plain text": f"{TEXT}\n".encode(),
}
DOES_NOT: dict[str, Any] = {
    "a quotation": {"error_code": "SVCSTG.SWR.4040115", "error_msg": f"tag {TEXT} does not exist"},
    "a code": {"error_code": TEXT, "error_msg": "m"},
    "a tag": {"tag": TEXT, "is_trusted": True, "digest": TEXT},
    "a list": {"tags": [{"tag": "1.0", "message": TEXT}]},
    "another case": {"error_msg": TEXT.upper()},
    "a page": f"<html>{TEXT}</html>".encode(),
    "a long body": f"{TEXT}{' ' * 5000}".encode(),
    "nothing": b"",
}


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("body", SAYS_SO.values(), ids=SAYS_SO)
@pytest.mark.parametrize("query", [TAG, DIGEST], ids=["tag", "list"])
def test_blocked_account_under_any_status_is_throttled_for_half_an_hour(
    query: TrustQuery, body: Any, status: int
) -> None:
    """Fault D6: neither the image nor the credential is at fault, and neither is rejected."""
    credential, notes = FakeCredential(), RecorderSpy()
    client = SwrClient(registry(), FakeTransport([respond(status, body)]), credential, notes)
    with pytest.raises(TrustLookupError) as caught:
        (client.show_tag if query is TAG else client.find_digest)(query, SOON, free)
    error = caught.value
    assert isinstance(error, Throttled)
    assert str(error) == f"SWR answered {status}: the account is blocked for too many requests"
    assert (error.fault, error.retry_after, error.blocks_account) == (Fault.REGISTRY, BLOCKED_SECONDS, True)
    assert credential.told == ["release 1"]
    assert notes.named("record_call")[0][1] == str(status)


@pytest.mark.parametrize("body", DOES_NOT.values(), ids=DOES_NOT)
def test_partial_block_message_does_not_block_account(body: Any) -> None:
    """Fault D6: the author of a Pod chooses the parts of the request that an answer quotes."""
    assert read_block(respond(403, body)) is None

"""Only the exact answer of SWR is read as trust."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import seeds, thorough
from tests.fuzz.inputs import junk
from tests.support.builders import DIGEST, OTHER_DIGEST, SOON, registry
from tests.support.fakes import FakeCredential, FakeTransport, RecorderSpy, free
from webhook.errors import TrustLookupError
from webhook.http_client.messages import HttpResponse
from webhook.swr.client import SwrClient
from webhook.trust.records import TrustQuery, TrustRecord, TrustStatus

STATUSES = st.sampled_from([200, 200, 200, 200, 201, 204, 206, 302, 400, 401, 403, 404, 429, 500, 503])
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "content-type", "content-range"]), st.text(max_size=12), max_size=2
)
true_ish = st.sampled_from([True, True, True, False, None, 1, "true", [True]])
tag = st.fixed_dictionaries(
    {"tag": st.sampled_from(["1", "1", "1", "2", "", None]), "is_trusted": true_ish},
    optional={
        "digest": st.sampled_from([DIGEST, OTHER_DIGEST, "", None, 5]),
        "path": st.sampled_from(["h/shop/tools/web:1", "h/shop/web:1", "h/evil/tools/web:1", "", None, 7]),
        "created": junk,
        "Tag": st.just("1"),
    },
)
error = st.sampled_from(["SVCSTG.SWR.4040115", "APIGW.0101", "SVCSTG.SWR.4011064", "x", 5, None]).map(
    lambda code: {"errors": [{"errorCode": code}]}
)


def client(*answers: HttpResponse) -> SwrClient:
    """Return a client that receives these answers."""
    return SwrClient(
        registry(), FakeTransport(list(answers)), FakeCredential(), RecorderSpy(), clock=lambda: 1.0
    )


def body(value: Any) -> bytes:
    """Return a body as it is, or as JSON."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def loaded(raw: bytes) -> Any:
    """Return a body as parsed by a plain JSON parser."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def ask(query: TrustQuery, *answers: HttpResponse) -> TrustRecord | None:
    """Return the record, or ``None`` if the lookup failed."""
    asked = client(*answers)
    try:
        found = (asked.find_digest if query.digest is not None else asked.show_tag)(query, SOON, free)
    except TrustLookupError as error:
        failure = error
    else:
        return found
    assert failure.detail.isprintable()
    assert len(failure.detail) < 300
    return None


@thorough
@given(STATUSES, HEADERS, (tag | tag | error | junk | st.binary(max_size=60)).map(body))
def test_only_exact_response_is_trusted(status: int, headers: dict[str, str], raw: bytes) -> None:
    """Status 200, a JSON object, about exactly this tag, JSON ``true``."""
    record = ask(TrustQuery(registry(), "shop", "tools/web", tag="1"), HttpResponse(status, headers, raw))
    if record is not None and record.status is TrustStatus.TRUSTED:
        value = loaded(raw)
        assert status == 200
        assert (value["tag"], value["is_trusted"]) == ("1", True)
        assert value["is_trusted"] is True
        assert value.get("path") in ("h/shop/tools/web:1", "", None, 7)


def make_list(random: Random) -> list[tuple[int, Any]]:
    """Return the pages of a tag list, sometimes with an unusual value."""

    def odd(value: Any, *others: Any) -> Any:
        return random.choice(others) if random.random() < oddness else value

    oddness = random.choice([0.0, 0.03, 0.2])
    count = random.randrange(1, 4)
    pages: list[tuple[int, Any]] = []
    for number in range(count):
        holders = [
            {
                "tag": odd(f"t{number}", None, 5),
                "is_trusted": random.choice([True] * 6 + [False, odd(False, 1, "true", None)]),
                "digest": random.choice([DIGEST] * 3 + [OTHER_DIGEST, odd(OTHER_DIGEST, None, 5)]),
            }
            for _ in range(random.randrange(4))
        ]
        page = {"tags": odd(holders, None, {}, "x", [5])}
        more = number + 1 < count
        if odd(True, False):
            page["has_more"] = odd(more, None, "no", not more)
        if odd(more, not more):
            page["nextMarker"] = odd(f"m{number}", "m0", "", None, 3)
        pages.append((odd(200, 404, 500), odd(page, [], None, 5)))
    return pages


def test_digest_is_trusted_only_by_complete_list() -> None:
    """Every tag of the digest on every page must be trusted, and the last page must say that it is the
    last.
    """
    for seed in seeds(20):
        random = Random(seed)
        for _ in range(20):
            check_list(make_list(random))


def check_list(pages: list[tuple[int, Any]]) -> None:
    """Compare the client's answer with a plain reading of the pages."""
    responses = [HttpResponse(status, {}, body(value)) for status, value in pages]
    record = ask(TrustQuery(registry(), "shop", "tools/web", digest=DIGEST), *responses)
    if record is None or record.status is not TrustStatus.TRUSTED:
        return
    holders: list[Any] = []
    # The transport repeats its last answer.
    for status, page in [*pages, pages[-1], (0, None)]:
        assert status == 200
        holders += [item["is_trusted"] for item in page["tags"] or () if item.get("digest") == DIGEST]
        if page.get("has_more") is False or not page.get("nextMarker"):
            break
    assert holders, pages
    assert all(trusted is True for trusted in holders), pages

"""A region without the call for one tag, and an account that SWR has blocked, with the running webhook."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.emulator.server import Emulator
from tests.support.builders import HOST, pod, review
from tests.support.serving import ServerProcess, make_certificate

pytestmark = pytest.mark.slow

BLOCKED = json.dumps({"error_msg": "Not allow to login, upload or download image"})


def outcome(server: ServerProcess, image: str) -> tuple[bool, int]:
    """Return whether a Pod with the image is admitted, and the status code of the denial."""
    response = server.validate(review(pod(f"{HOST}/{image}")))
    return response["allowed"], response.get("status", {}).get("code", 0)


def test_region_without_single_tag_call_uses_tag_lists(tmp_path: Path) -> None:
    """Fault D5: an image is admitted if the list reports exactly its tag as trusted; probe and metric show
    the mode.
    """
    with Emulator() as emulator:
        emulator.state.offers_tag_detail = False
        emulator.state.set_tag("shop/web:2.0.1", is_trusted=True)
        with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path)) as server:
            images = ("shop/web:1.0", "shop/web:2.0", "shop/web:2.0.", "shop/nothing:1")
            assert [outcome(server, image) for image in images] == [(True, 0), *[(False, 403)] * 3]
            report = server.get("/readyz?verbose")[1].decode()
            assert f"[+] swr {HOST}: " in report
            assert ", tag lists are used: it does not offer the call for one tag" in report
            assert server.metric("swr_trust_swr_tag_list_used", registry=HOST) == 1


def test_blocked_account_pauses_calls_and_denies_with_429(tmp_path: Path) -> None:
    """Fault D6: the client is told to retry, and SWR is called once."""
    with (
        Emulator() as emulator,
        ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path)) as server,
    ):
        emulator.break_with("status", match="/tags", status=404, body=BLOCKED)
        images = ("shop/web:1.0", "shop/web:2.0", "shop/web:9.9")
        assert [outcome(server, image) for image in images] == [(False, 429)] * 3
        assert emulator.calls("/namespaces/shop/") == 1
        assert ", SWR has blocked the account: no calls for 1" in server.get("/readyz?verbose")[1].decode()
        assert server.metric("swr_trust_swr_account_blocked_until_timestamp_seconds", registry=HOST) > 0
        errors = [line for line in server.log_lines() if line["level"] == "error"]
        assert len(errors) == 1

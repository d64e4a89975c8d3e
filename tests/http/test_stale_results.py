"""Stale answers while SWR is down: the installed program marks them in every output."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.demo import review
from tests.emulator.server import Emulator
from tests.support.serving import ServerProcess, make_certificate

HOST = "swr.cn-north-4.myhuaweicloud.com"
TRUSTED = f"{HOST}/shop/web:1.0"
QUICK = "cache: {trusted: 1s}\n"


def test_stale_result_is_marked_in_annotation_log_and_metric(emulator: Emulator, tmp_path: Path) -> None:
    """The fresh answer before it is not marked."""
    body = review({"containers": [{"name": "c", "image": TRUSTED}]})
    with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path), QUICK) as server:
        fresh = server.validate(body)
        emulator.break_with("status", status=503)
        time.sleep(1.1)
        stale = server.validate(body)
        assert (fresh["allowed"], stale["allowed"]) == (True, True)
        found = [
            json.loads(answer["auditAnnotations"]["findings"])[0].get("origin") for answer in (fresh, stale)
        ]
        assert found == [None, "stale"]
        assert server.metric("swr_trust_cache_requests_total", result="stale") == 1
        assert server.stop() == 0
    findings = [line["findings"][0] for line in server.log_lines() if line.get("findings")]
    assert [finding["from"] for finding in findings] == ["swr", "stale"]
    assert [bool(finding.get("detail")) for finding in findings] == [False, True]

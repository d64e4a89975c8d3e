"""Images about which SWR never answers, while it answers about all others, are not an outage."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path

import pytest

from tests.emulator.server import Emulator
from tests.emulator.state import Fault
from tests.support.builders import HOST, pod, review
from tests.support.process_stats import wait_until
from tests.support.serving import ServerProcess, make_certificate
from webhook.swr.fallback import PROBE
from webhook.trust.breaker import FAILURES_TO_OPEN

pytestmark = pytest.mark.slow

LENIENT = "cache: {trusted: 1s}\nlookup: {timeout: 1s, retries: 0}\nonLookupFailure: allow\n"
LOST = review(pod(f"{HOST}/shop/web:1.0"))


def slow(number: int) -> bytes:
    """Return a review of an image about which SWR never answers."""
    return review(pod(f"{HOST}/slow/web:{number}"))


def admit(server: ServerProcess, body: bytes, admitted: list[bool]) -> None:
    """Send a review, and record its answer."""
    admitted.append(server.validate(body)["allowed"])


def look_up_slow_names(server: ServerProcess) -> list[bool]:
    """Look up enough of them at once to open a breaker; return whether each was admitted."""
    admitted: list[bool] = []
    threads = [
        threading.Thread(target=admit, args=(server, slow(number), admitted))
        for number in range(FAILURES_TO_OPEN + 4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return admitted


def check_that_nothing_is_admitted(emulator: Emulator, folder: Path, faults: list[Fault]) -> None:
    """Neither slow names nor an image that has lost its trust are admitted during these faults of SWR."""
    with ServerProcess(folder, emulator.url, make_certificate(folder), LENIENT) as server:
        assert server.validate(LOST)["allowed"]
        emulator.state.set_tag("shop/web:1.0", is_trusted=False)
        emulator.state.faults.extend(faults)
        time.sleep(1.1)  # the policy's ``cache.trusted``
        assert not any(look_up_slow_names(server))
        assert not server.validate(LOST)["allowed"]


def test_slow_image_names_are_not_treated_as_outage(emulator: Emulator, tmp_path: Path) -> None:
    """Fault B4: neither they nor an image without trust are admitted, even under the most lenient policy."""
    check_that_nothing_is_admitted(emulator, tmp_path, [Fault("hang", match="/slow/")])


def test_single_lost_control_request_is_not_outage(emulator: Emulator, tmp_path: Path) -> None:
    """Fault B4: an author may keep slow names in flight until one control request is lost by itself."""
    faults = [Fault("hang", match="/slow/"), Fault("hang", match=PROBE, times=1)]
    check_that_nothing_is_admitted(emulator, tmp_path, faults)


def test_slow_image_does_not_block_unproven_credential(emulator: Emulator, tmp_path: Path) -> None:
    """Fault B6: after each new secret, all lookups waited for its end, and then for the next one."""
    policy = "lookup: {timeout: 6s, retries: 0}\n"
    with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path), policy) as server:
        assert wait_until(lambda: emulator.calls(PROBE) > 0)
        emulator.state.tokens["new"] = math.inf
        (tmp_path / "token").write_text("new", encoding="utf-8")
        emulator.state.faults.append(Fault("hang", match="/slow/"))
        admitted: list[bool] = []
        first = threading.Thread(target=admit, args=(server, slow(0), admitted))
        first.start()
        assert wait_until(lambda: emulator.calls("/slow/") > 0)
        assert server.validate(LOST, timeout="5s")["allowed"]
        assert first.is_alive()
        first.join()
        assert admitted == [False]


def test_swr_without_any_response_is_treated_as_outage(emulator: Emulator, tmp_path: Path) -> None:
    """The policy's ``onLookupFailure`` then applies. A busy machine denies once, because it was late itself."""
    with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path), LENIENT) as server:
        assert server.validate(LOST)["allowed"]
        emulator.state.faults.append(Fault("hang"))
        assert any(server.validate(slow(0))["allowed"] for _ in range(3))

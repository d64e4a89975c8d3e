"""The start of the program: what a worker that serves from files has loaded, and what it loads later."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.emulator.server import Emulator
from tests.http.inspection import inspect_program
from tests.support.builders import HOST, pod, review
from tests.support.process_stats import wait_until
from tests.support.serving import ServerProcess, make_certificate

pytestmark = pytest.mark.slow

EXPENSIVE = {
    "cryptography": "makes certificates of --cert-secret",
    "huaweicloudsdkcore": "signs with an access key",
    "kubernetes": "is the client of the cluster",
    "pydantic": "checks a changed policy",
    "rich": "draws tables",
    "yaml": "reads a changed policy",
}
"""Libraries that take several megabytes, or a tenth of the start, and what each is for."""


def test_worker_that_serves_from_files_loads_no_expensive_library(emulator: Emulator, tmp_path: Path) -> None:
    """The worker had 53 MB, and a module that imports one of them at its top costs every replica."""
    loaded = set(inspect_program(emulator, tmp_path)["modules"])
    assert "flask" in loaded
    assert loaded & EXPENSIVE.keys() == set()


def test_changed_policy_is_parsed_without_library_of_start(emulator: Emulator, tmp_path: Path) -> None:
    """The first policy was parsed by another process."""
    with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path)) as server:
        body = review(pod("nginx:1.27"))
        assert not server.validate(body)["allowed"]
        server.config.write_text(f"{server.base_policy}mode: inform\n", encoding="utf-8")
        assert wait_until(lambda: "the changed policy cannot be used" in server.logs())
        server.config.write_text(f"{server.base_policy}mode: audit\n", encoding="utf-8")
        assert wait_until(lambda: "the policy has changed" in server.logs())
        assert server.validate(body)["allowed"]
    (rejected,) = (line for line in server.log_lines() if "problems" in line)
    assert rejected["problems"] == ["mode: write enforce, warn or audit"]


PROBES = "/repos/swr-trust-probe-"


def test_images_of_first_review_do_not_wait_for_one_another(emulator: Emulator, tmp_path: Path) -> None:
    """The credential was tried by the first lookup, whose end all others awaited."""
    policy = "lookup: {timeout: 25s}\n"
    with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path), policy) as server:
        assert wait_until(lambda: server.metric("swr_trust_swr_requests_total", code="404") == 1)
        emulator.set_latency(20.0)  # longer than a slow machine needs to send three requests
        body = review(pod(*(f"{HOST}/shop/cold-{index}:1" for index in range(3))))
        waiting = threading.Thread(target=server.validate, args=(body, "1s"))
        waiting.start()
        assert wait_until(lambda: emulator.calls("/repos/cold-") == 3, seconds=15.0)
        waiting.join()
    assert emulator.calls(PROBES) == 1


def test_refused_credential_is_logged_before_the_first_review(emulator: Emulator, tmp_path: Path) -> None:
    """A wrong Secret was only known once a Pod was denied."""
    server = ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path))
    (tmp_path / "token").write_text("wrong", encoding="utf-8")
    with server:
        assert wait_until(lambda: "cannot be used yet" in server.logs())
        assert server.metric("swr_trust_credential_paused_until_timestamp_seconds") > 0
    (line,) = (line for line in server.log_lines() if "cannot be used yet" in line["message"])
    assert line["message"] == f"{HOST} cannot be used yet: SWR answered 401 SVCSTG.SWR.4010000"
    assert emulator.calls(PROBES) == 1


def test_registry_of_changed_policy_is_called_before_a_review(emulator: Emulator, tmp_path: Path) -> None:
    """A changed endpoint pays for its first connection, too."""
    with Emulator() as other, ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path)) as server:
        assert wait_until(lambda: emulator.calls(PROBES) == 1)
        server.config.write_text(server.base_policy.replace(emulator.url, other.url), encoding="utf-8")
        assert wait_until(lambda: other.calls(PROBES) == 1)
    assert emulator.calls(PROBES) == 1

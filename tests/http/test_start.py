"""The start of the program: what a worker that serves from files has loaded, and what it loads later."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.emulator.server import Emulator
from tests.http.inspection import inspect_program
from tests.support.builders import pod, review
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

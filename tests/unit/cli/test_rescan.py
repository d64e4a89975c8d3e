"""``swr-trust rescan``: wrong arguments, and the process from its start to its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.support.serving import COMMAND, ROOT, free_port
from tests.unit.cli.conftest import WritePolicy
from webhook.cli.main import main

Output = pytest.CaptureFixture[str]


def kubeconfig(folder: Path) -> Path:
    """Return the path of a kubeconfig whose API server does not exist."""
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{free_port()}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def test_occupied_port_exits_with_code_2(write_policy: WritePolicy, tmp_path: Path, capsys: Output) -> None:
    """The error names the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        arguments = ["rescan", "--config", str(write_policy("")), "--host", "127.0.0.1", "--port", port]
        assert main([*arguments, "--kubeconfig", str(kubeconfig(tmp_path))]) == 2
    assert capsys.readouterr().err == f"swr-trust: cannot listen on port {port}: Address already in use\n"


def test_rescan_without_cluster_exits_with_code_2(
    write_policy: WritePolicy, tmp_path: Path, capsys: Output
) -> None:
    """The error says what is missing."""
    arguments = ["rescan", "--config", str(write_policy("")), "--kubeconfig", str(tmp_path / "none")]
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("swr-trust: no access to a cluster: ")


@pytest.mark.slow
def test_rescan_serves_probes_without_api_server_until_sigterm(
    write_policy: WritePolicy, tmp_path: Path
) -> None:
    """No crash loop: probes are answered during a round, and it ends at once."""
    port = free_port()
    command = [*COMMAND, "rescan", "--config", str(write_policy(""))]
    command += ["--host", "127.0.0.1", "--port", str(port), "--kubeconfig", str(kubeconfig(tmp_path))]
    command += ["--reports", "--events", "--log-format", "json"]
    log = tmp_path / "log"
    with (
        log.open("wb") as stream,
        subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=stream, env={**os.environ}) as process,
    ):
        pages = {
            path: _get(process, log, f"http://127.0.0.1:{port}{path}") for path in ("/healthz", "/readyz")
        }
        assert pages == {"/healthz": b"ok\n", "/readyz": pages["/readyz"]}
        assert pages["/readyz"].startswith(b"no round has ended yet\n")
        assert b"swr_trust_audit_info" in _get(process, log, f"http://127.0.0.1:{port}/metrics")
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert (lines[0]["message"], lines[-1]["message"]) == ("auditing", "stopped")


def _get(process: subprocess.Popen[bytes], log: Path, url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    ends = time.monotonic() + 30
    while True:
        try:
            with opener.open(url, timeout=5) as response:
                body: bytes = response.read()
                return body
        except OSError:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < ends
            time.sleep(0.05)

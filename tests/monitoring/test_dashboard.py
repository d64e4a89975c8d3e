"""The dashboard: a real Prometheus scrapes a running webhook and answers the query of every panel."""

from __future__ import annotations

import http.server
import json
import math
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.demo import SAMPLES, review
from tests.emulator.server import Emulator
from tests.monitoring.auditing import audited
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.registered import families, sample_names
from tests.monitoring.rules import FILES
from tests.support.serving import ServerProcess, make_certificate

DASHBOARD = json.loads((FILES / "dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES = {
    "$__rate_interval": "1m",
    "$namespace": ".*",
    "$webhook": DASHBOARD["templating"]["list"][2]["query"],
}
HOST = "swr.cn-north-4.myhuaweicloud.com"

MAY_BE_EMPTY = re.compile(
    "swr_trust_credential_(fetches|paused)|swr_trust_events|swr_trust_snapshot|result=.failed."
    "|account_blocked|tag_list_used|swr_trust_signature|reason!="
)
"""The panels without data: an access token is not fetched, and no cluster receives Events or a snapshot. No
token and no certificate failed. SWR neither blocks the account nor lacks the call for one tag. No registry of
the policy has signatures as evidence.
"""

API_SERVER = """\
apiserver_admission_webhook_admission_duration_seconds_bucket{name="pods.swr-trust-webhook.swr-trust.svc",le="0.5"} 9
apiserver_admission_webhook_admission_duration_seconds_bucket{name="pods.swr-trust-webhook.swr-trust.svc",le="+Inf"} 9
apiserver_admission_webhook_rejection_count{name="pods.swr-trust-webhook.swr-trust.svc",error_type="calling_webhook_error"} 1
apiserver_admission_webhook_fail_open_count{name="pods.swr-trust-webhook.swr-trust.svc"} 1
"""
"""The metrics of an API server about the webhook, as its /metrics has them."""


class _ApiServer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = API_SERVER.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def api_server() -> Iterator[int]:
    """Serve an API server's metrics and yield the port."""
    with http.server.HTTPServer(("127.0.0.1", 0), _ApiServer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(10)


def _expressions() -> list[tuple[str, str]]:
    return [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


def _fill(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def _load(server: ServerProcess) -> None:
    for sample in SAMPLES:
        server.validate(review(sample.spec))
        server.mutate(review(sample.spec))


def _cause_failures(server: ServerProcess, emulator: Emulator) -> None:
    """Call a missing path, send malformed HTTP, and open the breaker."""
    server.get("/nothing")
    connection = server.connect()
    connection.connect()
    connection.sock.sendall(b"no HTTP\r\n\r\n")
    connection.sock.recv(4096)
    connection.close()
    emulator.break_with("status", status=500)
    names = [{"name": f"c{i}", "image": f"{HOST}/shop/api:{i}"} for i in range(12)]
    server.validate(review({"containers": names}))


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is absent")
@pytest.mark.timeout(180)
def test_every_panel_has_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All queries are valid, and all except those about failed logins have a numeric answer."""
    certificate = make_certificate(tmp_path)
    policy = (
        f"pinDigests: true\nrules:\n  - {{name: odd is watched, images: ['{HOST}/shop/odd'], mode: audit}}\n"
    )
    with (
        Emulator() as emulator,
        ServerProcess(tmp_path, emulator.url, certificate, policy) as server,
        api_server() as port,
        audited(tmp_path, monkeypatch) as rescanner,
    ):
        _load(server)
        webhook = {
            "job_name": "swr-trust-webhook",
            "scheme": "https",
            "tls_config": {"ca_file": str(certificate.ca), "server_name": "localhost"},
            "static_configs": [
                {
                    "targets": [f"127.0.0.1:{server.port}"],
                    "labels": {"namespace": "swr-trust", "pod": "webhook-0"},
                }
            ],
        }
        api = {"job_name": "apiserver", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        audit_job = {
            "job_name": "swr-trust-webhook-audit",
            "static_configs": [
                {
                    "targets": [f"127.0.0.1:{rescanner.process.server.server_port}"],
                    "labels": {"namespace": "swr-trust", "pod": "audit-0"},
                }
            ],
        }
        with Prometheus(tmp_path, [webhook, api, audit_job]) as prometheus:
            prometheus.wait_for("count_over_time(swr_trust_audit_newly_refused_total[1m]) > 1")
            prometheus.wait_for("count_over_time(swr_trust_build_info[1m]) > 1")
            _cause_failures(server, emulator)
            _load(server)
            prometheus.wait_for("swr_trust_swr_circuit_breaker_open")
            prometheus.wait_for("count_over_time(swr_trust_connections_cut_total[1m]) > 1")
            prometheus.wait_for("count_over_time(apiserver_admission_webhook_fail_open_count[1m]) > 1")
            empty = []
            for title, expression in _expressions():
                values = [float(item["value"][1]) for item in prometheus.query(_fill(expression))]
                # No failed call was timed at the API server, and a quantile of nothing is not a number.
                if "apiserver" in expression:
                    assert values, expression
                elif MAY_BE_EMPTY.search(expression):
                    continue
                elif not any(math.isfinite(value) for value in values):
                    empty.append((title, expression))
            assert empty == []
            for annotation in DASHBOARD["annotations"]["list"]:
                prometheus.query(_fill(annotation["expr"]))
            assert prometheus.query('up{job="swr-trust-webhook"}')[0]["value"][1] == "1"


def test_dashboard_shows_every_metric() -> None:
    """A new metric needs a panel or a mark of changes."""
    marks = [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
    shown = " ".join([*marks, *(expression for _, expression in _expressions())])
    names = [family.name for family in families() if family.name.startswith("swr_trust_")]
    assert [name for name in names if name not in shown] == []


def test_dashboard_uses_existing_metrics() -> None:
    """No name on it is misspelled."""
    asked = set(re.findall(r"\b(?:swr_trust|process)_\w+", " ".join(e for _, e in _expressions())))
    assert asked - sample_names() == set()


def test_panels_do_not_overlap_and_have_legends() -> None:
    """Each square of the grid belongs to one panel; ids are unique; each panel has a title and a legend or
    one value.
    """
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]
        assert place["x"] + place["w"] <= 24
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert [
        panel["title"]
        for panel in PANELS
        if panel["type"] == "timeseries" and not all(target["legendFormat"] for target in panel["targets"])
    ] == []


def test_every_used_dashboard_variable_is_defined() -> None:
    """Grafana's own variables are exempt."""
    defined = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD)))
    assert {name for name in used if not name.startswith("__")} == defined

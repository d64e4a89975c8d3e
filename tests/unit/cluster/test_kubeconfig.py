"""Invalid kubeconfigs: one sentence for each problem, without a secret."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from webhook.cli.main import main
from webhook.cluster.client import connect
from webhook.errors import ClusterError

SECRET = "eyJhbGciOi.secret"


@contextmanager
def api_server() -> Iterator[tuple[str, list[str]]]:
    """Run a server that records the Authorization headers."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_kubeconfig(folder: Path, server: str, **user: Any) -> Path:
    """Write a kubeconfig of one user."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "  \n\n"])
def test_line_end_of_token_file_is_stripped(tmp_path: Path, ending: str) -> None:
    """Fault E4: as in kubectl."""
    token = tmp_path / "token"
    token.write_text(SECRET + ending, encoding="ascii")
    with api_server() as (url, seen):
        connect(str(write_kubeconfig(tmp_path, url, tokenFile=str(token)))).get("/version")
    assert seen == [f"Bearer {SECRET}"]


@pytest.mark.parametrize("text", [f"{SECRET}\nx", f"{SECRET}\0", f"{SECRET}é"])
def test_invalid_token_is_rejected_and_not_shown(tmp_path: Path, text: str) -> None:
    """Fault E4: no traceback, and no token in the message."""
    token = tmp_path / "token"
    token.write_text(text, encoding="utf-8")
    with api_server() as (url, seen):
        api = connect(str(write_kubeconfig(tmp_path, url, tokenFile=str(token))))
        with pytest.raises(
            ClusterError, match=r"^the token for the API server contains an invalid character$"
        ):
            api.get("/version")
    assert seen == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "token: [" + SECRET,
        "\t" + SECRET,
        f"- {SECRET}",
        SECRET,
        f"{{clusters: {SECRET}, users: 1, contexts: 2, current-context: c}}",
        f"{{users: [{{name: u, user: {SECRET}}}], clusters: [{{name: c, cluster: 1}}], "
        "contexts: [{name: c, context: {cluster: c, user: u}}], current-context: c}",
        "\0",
    ],
    ids=["empty", "cut off", "a tab", "a list", "a word", "odd parts", "odd user", "NUL"],
)
def test_unusable_kubeconfig_is_reported_in_one_line(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault E4: exit code 2, one line, and no content of the file."""
    path = tmp_path / "kubeconfig"
    path.write_text(text, encoding="utf-8")
    assert main(["explain", "shop/web", "--kubeconfig", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("swr-trust: no access to a cluster: ")
    assert error.count("\n") == 1
    assert SECRET not in error


def test_kubeconfig_with_invalid_proxy_url_is_reported_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault E4: the client rejects it when it is created, not when the file is read."""
    path = write_kubeconfig(tmp_path, "https://127.0.0.1:1", token=SECRET)
    config = json.loads(path.read_text(encoding="utf-8"))
    config["clusters"][0]["cluster"]["proxy-url"] = "::"
    path.write_text(json.dumps(config), encoding="utf-8")
    assert main(["explain", "shop/web", "--kubeconfig", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"swr-trust: no access to a cluster: the kubeconfig {path} cannot be read: LocationParseError\n"
    )


def test_internal_error_message_does_not_contain_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault E4: the text of an exception may contain a secret. The message says where it happened."""

    def fail(*_: object) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr("webhook.cli.explain.connect", fail)
    assert main(["explain", "shop/web"]) == 3
    error = capsys.readouterr().err
    assert error.startswith("swr-trust: internal error: KeyError in explain:")
    assert SECRET not in error
    monkeypatch.setenv("SWR_TRUST_TRACEBACK", "1")
    with pytest.raises(KeyError):
        main(["explain", "shop/web"])

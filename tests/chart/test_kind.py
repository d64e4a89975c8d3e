"""docs/kind.md on a real API server: everything except Docker, kind and the network of Pods."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.guide import Reader
from tests.chart.installation import REFUSED, UNTRUSTED, Release, Replica
from tests.chart.rendering import NAMESPACE, merged
from tests.controlplane import ControlPlane
from tests.support.serving import ROOT, free_port, is_free

GUIDE = ROOT / "docs" / "kind.md"
EMULATOR = "swr-emulator"


def pump(source: socket.socket, target: socket.socket) -> None:
    """Forward bytes until one side ends, then end the other."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(port: int) -> Iterator[str]:
    """Run a proxy whose every CONNECT leads to a port of the loopback address; yields its URL."""

    def serve(client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=pump, args=(server, client))
            back.start()
            pump(client, server)
            back.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def emulator_pod(cluster: ControlPlane, folder: Path, port: int) -> Iterator[None]:
    """Run the container of the emulator's Deployment on the files of its volumes."""
    spec = cluster.get("deployment", EMULATOR, "-n", EMULATOR)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    source, tls = (str(folder / name) for name in ("emulator", "tls"))
    paths = {"/emulator": source, "/etc/emulator": tls}
    files = {
        "source": cluster.get("configmap", EMULATOR, "-n", EMULATOR)["data"],
        "tls": {
            key: base64.b64decode(text).decode()
            for key, text in cluster.get("secret", EMULATOR, "-n", EMULATOR)["data"].items()
        },
    }
    for mount in container["volumeMounts"]:
        (root,) = [path for path in paths if mount["mountPath"].startswith(path)]
        target = Path(mount["mountPath"].replace(root, paths[root], 1))
        target.mkdir(parents=True, exist_ok=True)
        for key, text in files[mount["name"]].items():
            (target / key).write_text(text, encoding="utf-8")
    # In the image nothing else is called "tests". Here the checkout is, and a package precedes a plain
    # folder.
    (folder / "emulator" / "tests" / "__init__.py").touch()
    arguments = [argument.replace("/etc/emulator", tls) for argument in container["args"]]
    arguments += ["--host=127.0.0.1", f"--port={port}"]
    variables = {one["name"]: one["value"].replace("/emulator", source, 1) for one in container["env"]}
    command = [sys.executable, *container["command"][1:], *arguments]
    with subprocess.Popen(command, cwd=folder, env={**os.environ, **variables}) as process:
        try:
            ends = time.monotonic() + 30
            while is_free(port) and process.poll() is None and time.monotonic() < ends:
                time.sleep(0.05)
            assert process.poll() is None
            yield
        finally:
            process.terminate()


def lay_out(folder: Path, changes: dict[str, Any]) -> None:
    """Create the part of a checkout that the document uses."""
    for name in ("charts", "deploy", "tests/emulator"):
        shutil.copytree(ROOT / name, folder / name)
    path = folder / "deploy" / "kind" / "values.yaml"
    values = merged(yaml.safe_load(path.read_text(encoding="utf-8")), changes)
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.timeout(300)
def test_kind_walkthrough_denies_and_admits_as_documented(
    cluster: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The emulator from its ConfigMap, over its own TLS, queried by the webhook from its chart."""
    home = tmp_path / "checkout"
    home.mkdir()
    port = free_port()
    release = Release(cluster, NAMESPACE, free_port())
    cache = {"trusted": "1s", "refused": "1s"}
    lay_out(home, {"service": {"port": release.port}, "policy": {"cache": cache}})
    reader = Reader(GUIDE, home, cluster)
    with ExitStack() as stack:
        stack.callback(cluster.kubectl, "delete", "namespace", EMULATOR, "--wait=false")
        list(reader.follow("Deploy the emulator"))
        monkeypatch.setenv("HTTPS_PROXY", stack.enter_context(proxy_to(port)))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        stack.callback(cluster.kubectl, "delete", "namespace", NAMESPACE, "--wait=false")
        stack.enter_context(release)
        list(reader.follow("Install the webhook"))
        stack.enter_context(Replica(release, tmp_path))
        run = f"kubectl run untrusted --image={UNTRUSTED} --dry-run=server"
        with emulator_pod(cluster, tmp_path, port):
            cluster.wait_for("the gate", lambda: REFUSED in reader.type(f"{run} || true"))
            steps = reader.follow("Create trusted and untrusted Pods")
            output = next(steps)
            assert "pod/trusted created" in output
            assert output.count("denied\n") == 2
            assert "tag does not exist" in output
            assert "deployment.apps/advised created" in output
            assert "Warning: image trust policy" in output
            assert next(steps)
        with emulator_pod(cluster, tmp_path, port):
            cluster.wait_for("the new mark to count", lambda: "created" in reader.type(f"{run} || true"))
        cluster.kubectl("delete", "pod/trusted", "deployment/advised")
    assert reader.skipped() == []

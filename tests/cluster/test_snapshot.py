"""The snapshot of a running webhook when the API server is slow, unreachable or available."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.demo import review
from tests.emulator.server import Emulator
from tests.support.serving import Certificate, ServerProcess, make_certificate
from tests.support.signed import SigningKeys, write_signed_policy
from webhook.cluster.snapshots import ENTRY

HOST = "swr.cn-north-4.myhuaweicloud.com"
TRUSTED = f"{HOST}/shop/web:1.0"
SECRET = "snapshots-at-work/gate-snapshot"
NAMESPACE, NAME = SECRET.split("/")


def kubeconfig(folder: Path, url: str) -> Path:
    """Write access to an API server at ``url``."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.fixture
def silent_api_server() -> Iterator[str]:
    """Return an API server that accepts connections and never answers."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take() -> None:
            try:
                while True:
                    taken.append(listener.accept()[0])
            except OSError:
                pass

        thread = threading.Thread(target=take)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    for connection in taken:
        connection.close()


@pytest.fixture
def nobody() -> str:
    """Return an address without an API server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def server(folder: Path, emulator: Emulator, config: Path, certificate: Certificate) -> ServerProcess:
    """Return a webhook with a snapshot, not yet started."""
    environment = {"KUBECONFIG": str(config), "POD_NAME": "replica-1"}
    arguments = ("--snapshot-secret", SECRET)
    return ServerProcess(folder, emulator.url, certificate, "", arguments, environment)


@pytest.mark.parametrize("api", ["silent_api_server", "nobody"])
def test_unresponsive_api_server_does_not_delay_start_or_shutdown(
    api: str, request: pytest.FixtureRequest, emulator: Emulator, tmp_path: Path
) -> None:
    """It becomes ready, evaluates Pods and stops normally, all within seconds, and reports the missing
    snapshot.
    """
    url = request.getfixturevalue(api)
    certificate = make_certificate(tmp_path)
    with server(tmp_path, emulator, kubeconfig(tmp_path, url), certificate) as running:
        assert running.validate(review({"containers": [{"name": "c", "image": TRUSTED}]}))["allowed"]
        lines = running.get("/readyz?verbose")[1].decode().splitlines()
        (line,) = [line for line in lines if "snapshot" in line]
        assert line.startswith("[!] snapshot: ")
        began = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - began < 10
    assert "Traceback" not in running.logs()


def test_snapshot_is_written_at_shutdown(
    control_plane: ControlPlane, emulator: Emulator, tmp_path: Path
) -> None:
    """It is written before the first minute is over; metrics and the readiness report show it."""
    control_plane.make_namespace(NAMESPACE)
    control_plane.kubectl("create", "secret", "generic", NAME, "-n", NAMESPACE)
    config, certificate = control_plane.kubeconfig("admin"), make_certificate(tmp_path)
    with server(tmp_path, emulator, config, certificate) as running:
        running.validate(review({"containers": [{"name": "c", "image": TRUSTED}]}))
        assert running.metric("swr_trust_snapshot_rounds_total", result="unchanged") == 1
        assert time.time() - running.metric("swr_trust_snapshot_last_success_timestamp_seconds") < 30
        assert b"[+] snapshot: 0 images, " in running.get("/readyz?verbose")[1]
        assert running.stop() == 0
    assert list(control_plane.get("secret", NAME, "-n", NAMESPACE)["data"]) == [ENTRY]
    with server(tmp_path, emulator, config, certificate) as running:
        assert b"[+] snapshot: 1 images, " in running.get("/readyz?verbose")[1]
        assert b"1 recalled" in running.get("/readyz?verbose")[1]
        assert running.metric("swr_trust_cache_entries", kind="recalled") == 1


@pytest.mark.parametrize(
    ("replaced", "allowed"), [(False, True), (True, False)], ids=["same key", "another key"]
)
def test_signed_image_is_admitted_after_a_restart_without_swr(
    control_plane: ControlPlane, emulator: Emulator, tmp_path: Path, replaced: bool, allowed: bool
) -> None:
    """SWR and its registry are both away. What another key had signed is not recalled."""
    namespace = f"signed-snapshots-{'other' if replaced else 'same'}"
    control_plane.make_namespace(namespace)
    control_plane.kubectl("create", "secret", "generic", NAME, "-n", namespace)
    secret = f"{namespace}/{NAME}"
    config, certificate = control_plane.kubeconfig("admin"), make_certificate(tmp_path)
    keys = SigningKeys(tmp_path, "release")
    digest = emulator.state.put_image("signed/recalled:1")
    emulator.state.sign_simple("signed/recalled", digest, keys["release"])
    environment = {"KUBECONFIG": str(config), "POD_NAME": "replica-1"}
    running = ServerProcess(
        tmp_path, emulator.url, certificate, "", ("--snapshot-secret", secret), environment
    )
    write_signed_policy(running, emulator, keys)
    pod = review({"containers": [{"name": "c", "image": f"{HOST}/signed/recalled:1"}]})
    with running:
        assert running.validate(pod)["allowed"]
        assert running.stop() == 0
    if replaced:
        keys.replace("release")
    emulator.break_with("reset", match="/v2/")
    try:
        with running:
            response = running.validate(pod)
            assert response["allowed"] is allowed
            if allowed:
                (finding,) = json.loads(response["auditAnnotations"]["findings"])
                assert (finding["finding"], finding["origin"]) == ("trusted", "stale")
    finally:
        emulator.mend()
